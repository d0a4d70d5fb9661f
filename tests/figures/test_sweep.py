"""Do the figures of a sweep show its numbers: scores by number of topics, matched topics, steady topics?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core.choice import SCORES, summarise
from scetm_core.figures.sweep import (
    plot_sweep,
    plot_topic_match,
    plot_topic_stability,
    stability_frame,
    sweep_frame,
    topic_match_frame,
)
from scetm_core.metrics.matching import match_topics, topic_stability

OF_SEED = {0: 0.0, 1: 0.13, 2: -0.08}
OF_NUMBER = {10: 0.05, 30: 0.0, 80: 0.02}


@pytest.fixture
def trainings() -> pd.DataFrame:
    """Three numbers of topics, three seeds: the NLL is 7 + what its seed's cells cost + what its number costs."""
    rows = [
        dict.fromkeys(SCORES, 0.5)
        | {"n_topics": k, "seed": seed, "test_nll": 7 + OF_SEED[seed] + excess, "topic_coherence": excess + seed / 100}
        for seed in (2, 0, 1)
        for k, excess in OF_NUMBER.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def by_k(trainings: pd.DataFrame) -> pd.DataFrame:
    return summarise(trainings, {10: 0.9, 30: 0.8, 80: 0.6})


def panels_of(figure: go.Figure) -> list[str]:
    titles = [annotation.text.split("<br>")[0] for annotation in figure.layout.annotations]
    return [title for title in titles if title != "number of topics"]


def traces_of(figure: go.Figure, name: str, mode: str) -> go.Scatter:
    (trace,) = [trace for trace in figure.data if (trace.name, trace.mode) == (name, mode)]
    return trace


def reason_shown(figure: go.Figure) -> str:
    return str(figure.layout.annotations[0].text.replace("<br>", " "))


# ---- scores by number of topics -------------------------------------------------------------------------------------


def test_aligned_nlls_differ_by_the_number_of_topics_only(trainings: pd.DataFrame) -> None:
    frame = sweep_frame(trainings)
    assert frame[["n_topics", "seed"]].to_numpy().tolist() == [[k, seed] for k in OF_NUMBER for seed in (0, 1, 2)]
    assert frame["test_nll"][1] == pytest.approx(7.18), "the measured one stays"
    expected = [7 + 0.05 / 3 + OF_NUMBER[k] for k in OF_NUMBER for _ in range(3)]
    assert frame["test_nll_aligned"].tolist() == pytest.approx(expected)


def test_unfinished_seeds_are_aligned_over_what_all_have_finished(trainings: pd.DataFrame) -> None:
    trainings.loc[(trainings["n_topics"] == 10) & (trainings["seed"] == 1), "test_nll"] = np.nan
    frame = sweep_frame(trainings)
    assert len(frame) == 8
    assert frame.groupby("n_topics")["test_nll_aligned"].std().tolist() == pytest.approx([0, 0, 0], abs=1e-12)


def test_each_panel_has_a_dot_for_each_seed_and_a_line_through_the_medians(
    trainings: pd.DataFrame, by_k: pd.DataFrame
) -> None:
    figure = plot_sweep(sweep_frame(trainings), by_k=by_k, chosen=30)
    assert panels_of(figure) == ["held-out NLL", "stability", "coherence", "diversity", "ARI"]
    dots = traces_of(figure, "topic_coherence", "markers")
    assert list(dots.x) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(dots.y) == pytest.approx([0.05, 0.06, 0.07, 0, 0.01, 0.02, 0.02, 0.03, 0.04])
    assert dots.text[4] == "30 topics, seed 1"
    line = traces_of(figure, "topic_coherence", "lines")
    assert (list(line.x), list(line.y)) == ([0, 1, 2], pytest.approx([0.06, 0.01, 0.03]))
    stability = traces_of(figure, "stability", "markers")
    assert (list(stability.x), list(stability.y)) == ([0, 1, 2], [0.9, 0.8, 0.6])
    assert "7.1800 on its own cells" in traces_of(figure, "test_nll_aligned", "markers").text[1]


def test_the_recommended_number_is_marked_in_every_panel(trainings: pd.DataFrame, by_k: pd.DataFrame) -> None:
    frame = sweep_frame(trainings)
    figure = plot_sweep(frame, by_k=by_k, chosen=30)
    assert [(line.x0, line.x1, line.line.dash) for line in figure.layout.shapes] == [(1, 1, "dot")] * 5
    assert figure.layout.xaxis.ticktext == ("10", "<b>30</b>", "80")
    assert figure.layout.xaxis.tickvals == (0, 1, 2), "evenly spaced"
    assert not plot_sweep(frame, by_k=by_k).layout.shapes
    assert not plot_sweep(frame, by_k=by_k, chosen=40).layout.shapes


def test_panels_of_what_nobody_knows_are_left_out(trainings: pd.DataFrame) -> None:
    trainings = trainings.assign(ari=np.nan)
    figure = plot_sweep(sweep_frame(trainings), by_k=summarise(trainings, {}))
    assert panels_of(figure) == ["held-out NLL", "coherence", "diversity"]


@pytest.mark.parametrize(("n_columns", "n_rows"), [(5, 1), (3, 2), (2, 3), (1, 5)])
def test_panels_wrap_to_the_width_there_is(
    trainings: pd.DataFrame, by_k: pd.DataFrame, n_columns: int, n_rows: int
) -> None:
    figure = plot_sweep(sweep_frame(trainings), by_k=by_k, n_columns=n_columns)
    assert len({axis.domain for axis in figure.select_xaxes()}) == n_columns
    assert len({axis.domain for axis in figure.select_yaxes()}) == n_rows
    starts = [axis.domain[0] for axis in figure.select_xaxes()][:5]
    assert [title.x for title in figure.layout.annotations[:5]] == pytest.approx(starts), "titles stand at the left"
    assert figure.layout.height > 150 * n_rows


def test_one_training_is_shown_too(trainings: pd.DataFrame) -> None:
    alone = trainings.iloc[:1]
    figure = plot_sweep(sweep_frame(alone), by_k=summarise(alone, {}), chosen=10)
    assert list(traces_of(figure, "ari", "markers").y) == [0.5]


def test_a_sweep_without_trainings_says_so(trainings: pd.DataFrame, by_k: pd.DataFrame) -> None:
    for nothing in (trainings.iloc[:0], trainings.assign(test_nll=np.nan)):
        assert "No training has finished yet" in reason_shown(plot_sweep(sweep_frame(nothing), by_k=by_k))


# ---- topics ---------------------------------------------------------------------------------------------------------


def draw(n_topics: int, *, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(500, n_topics))
    return pd.DataFrame(values, [f"g{g}" for g in range(500)], [f"topic_{k}" for k in range(n_topics)])


@pytest.fixture
def betas() -> list[pd.DataFrame]:
    """The second has the first's topics 3, 2, 0, 1, each noisier than the one before; of the last nothing is left."""
    first = draw(4)
    noise = draw(4, seed=1).to_numpy() * [0.1, 0.2, 0.5, 9]
    second = pd.DataFrame(first.to_numpy()[:, [3, 2, 0, 1]] + noise, first.index, first.columns)
    return [first, second]


def test_matched_pairs_lie_on_the_diagonal_by_falling_similarity(betas: list[pd.DataFrame]) -> None:
    matching = match_topics(*betas)
    frame = topic_match_frame(matching)
    assert frame.index.tolist() == ["topic_3", "topic_2", "topic_0", "topic_1"]
    assert frame.columns.tolist() == ["topic_0", "topic_1", "topic_2", "topic_3"]
    diagonal = np.diag(frame)
    assert diagonal.tolist() == matching.pairs["similarity"].tolist()
    assert (np.diff(diagonal) < 0).all()
    assert frame.loc["topic_2", "topic_3"] == matching.similarity.loc["topic_2", "topic_3"]
    assert frame.attrs == {"n_matched": 4, "mean_similarity": pytest.approx(diagonal.mean())}


def test_topics_without_a_match_come_last(betas: list[pd.DataFrame]) -> None:
    frame = topic_match_frame(match_topics(betas[0], betas[1].iloc[:, 1:3]))
    assert frame.shape == (4, 2)
    assert frame.index.tolist()[:2] == ["topic_2", "topic_0"]
    assert set(frame.index[2:]) == {"topic_1", "topic_3"}
    wide = topic_match_frame(match_topics(betas[1].iloc[:, 1:3], betas[0]))
    assert wide.columns.tolist()[:2] == ["topic_2", "topic_0"]


def test_similarities_are_drawn_around_zero_and_both_topics_are_named_on_hover(betas: list[pd.DataFrame]) -> None:
    frame = topic_match_frame(match_topics(*betas))
    figure = plot_topic_match(frame, first_name="run <A>", second_name="run B")
    (heat,) = figure.data
    np.testing.assert_allclose(heat.z, frame, rtol=1e-6)
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert list(heat.x) == ["0", "1", "2", "3"]
    assert heat.text[0][2] == "topic 3 of run &lt;A&gt;"
    assert heat.meta == ("run B",)
    assert "%{text} and topic %{x} of %{meta[0]}" in heat.hovertemplate
    assert figure.layout.yaxis.ticktext == ("3", "2", "0", "1")
    assert figure.layout.xaxis.title.text == "topics of run B"
    assert f"4 pairs, mean {frame.attrs['mean_similarity']:.2f}" in figure.layout.title.text


def test_trainings_without_topics_in_use_say_so(betas: list[pd.DataFrame]) -> None:
    figure = plot_topic_match(
        topic_match_frame(match_topics(betas[0], betas[1].iloc[:, :0])), first_name="a", second_name="b"
    )
    assert "no topic that could be compared" in reason_shown(figure)


def test_topics_are_sorted_by_how_well_they_come_back(betas: list[pd.DataFrame]) -> None:
    table = topic_stability(betas)
    frame = stability_frame(table)
    assert frame["topic"].tolist() == ["topic_3", "topic_2", "topic_0", "topic_1"]
    assert frame["match_mean"].tolist() == table["match_mean"].sort_values(ascending=False).tolist()
    figure = plot_topic_stability(frame, topic_names={"topic_2": "beta cells"})
    bars, lowest, best = figure.data
    assert list(bars.x) == frame["match_mean"].tolist()
    assert list(lowest.x) == frame["match_min"].tolist()
    assert list(best.x) == frame["best_mean"].tolist()
    assert figure.layout.yaxis.ticktext == ("3", "2 beta cells", "0", "1")
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "the steadiest on top"


def test_a_match_below_zero_is_not_cut_off(betas: list[pd.DataFrame]) -> None:
    frame = stability_frame(topic_stability(betas)).assign(match_min=-0.2)
    assert plot_topic_stability(frame).layout.xaxis.range[0] == -0.2


def test_one_training_has_no_stability_and_says_so(betas: list[pd.DataFrame]) -> None:
    for table in (topic_stability(betas[:1]), None):
        assert "With one training nothing is known" in reason_shown(plot_topic_stability(stability_frame(table)))


def test_figures_are_in_the_house_look_and_serialise(
    trainings: pd.DataFrame, by_k: pd.DataFrame, betas: list[pd.DataFrame]
) -> None:
    for figure in (
        plot_sweep(sweep_frame(trainings), by_k=by_k, chosen=30),
        plot_topic_match(topic_match_frame(match_topics(*betas)), first_name="a", second_name="b"),
        plot_topic_stability(stability_frame(topic_stability(betas))),
    ):
        assert json.loads(figure.to_json())["data"]
        assert figure.layout.template.layout.paper_bgcolor == "rgba(0, 0, 0, 0)"
        assert figure.layout.uirevision
