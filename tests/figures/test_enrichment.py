"""Do the figures of enrichment show what was tested, and nothing that was not?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scetm_core import figures as fig
from scetm_core.enrichment import prerank, running_sum


@pytest.fixture
def beta() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 4))
    values[:20, 1] += 4
    return pd.DataFrame(values, index=[f"g{i}" for i in range(300)]).add_prefix("topic_")


@pytest.fixture
def tests(beta: pd.DataFrame) -> pd.DataFrame:
    """Twelve sets in four topics; "LEADS_ONE" leads topic 1, "TRAILS_ONE" stands at its end."""
    rng = np.random.default_rng(1)
    sets = {f"REACTOME_SET_{s}": list(rng.choice(beta.index, 15, replace=False)) for s in range(10)}
    sets["LEADS_ONE"] = list(beta.index[:20])
    sets["TRAILS_ONE"] = list(beta["topic_1"].nsmallest(20).index)
    return prerank(beta, sets, n_permutations=200, refine_to=20_000, tail="either")


def dots_of(figure: object) -> pd.DataFrame:
    """All dots that can be clicked."""
    traces = [trace for trace in figure.data if trace.type == "scattergl"]  # type: ignore[attr-defined]
    columns = {"row": "customdata", "x": "x", "y": "y"}
    return pd.concat([pd.DataFrame({name: getattr(t, key) for name, key in columns.items()}) for t in traces])


def test_a_dot_is_a_test_at_the_place_of_its_topic(tests: pd.DataFrame) -> None:
    frame = fig.manhattan_frame(tests, only_up=False, q_drawn=1)
    assert len(frame) == len(tests) == 48
    assert frame.attrs["topics"] == ["topic_0", "topic_1", "topic_2", "topic_3"]
    assert (np.rint(frame["x"]) == frame["topic"].str.removeprefix("topic_").astype(int)).all()
    offsets = (frame["x"] - np.rint(frame["x"])).groupby(frame["gene_set"]).agg(np.ptp)
    assert offsets.max() < 1e-5  # a set stands at the same place in each topic
    dots = dots_of(fig.plot_manhattan(frame, topic="topic_1"))
    assert sorted(dots["row"]) == list(range(48))
    q_values = tests["q_value"].to_numpy()[dots["row"]]
    np.testing.assert_allclose(dots["y"], np.minimum(-np.log10(q_values), 5), rtol=1e-5)


def test_what_is_not_drawn_is_said(tests: pd.DataFrame) -> None:
    frame = fig.manhattan_frame(tests, q_drawn=0.5)
    n_left = int(((tests["q_value"] > 0.5) | (tests["es"] <= 0)).sum())
    assert frame.attrs["n_left_out"] == n_left > 0
    notes = " ".join(note.text for note in fig.plot_manhattan(frame).layout.annotations)
    assert f"drawn: {48 - n_left} of 48 tests" in notes


def test_of_very_many_topics_some_are_labelled_and_the_one_in_focus_always(tests: pd.DataFrame) -> None:
    many = pd.concat([tests.assign(topic=f"topic_{topic}") for topic in range(60)], ignore_index=True)
    frame = fig.manhattan_frame(many, only_up=False, q_drawn=1)
    axis = fig.plot_manhattan(frame, topic="topic_7").layout.xaxis
    labels = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert labels[7] == "7"
    assert 15 < sum(text != "" for text in labels.values()) <= 26
    assert all(text in ("", str(place)) for place, text in labels.items())


def test_of_too_many_dots_the_surest_stay(tests: pd.DataFrame) -> None:
    frame = fig.manhattan_frame(tests, only_up=False, q_drawn=1, max_dots=10)
    assert len(frame) == 10
    assert frame["q_value"].max() <= np.sort(tests["q_value"])[9]


def test_sets_below_zero_are_left_out_unless_both_ends_were_tested(tests: pd.DataFrame) -> None:
    up, both = (fig.manhattan_frame(tests, only_up=only, q_drawn=0.05) for only in (True, False))
    assert "TRAILS_ONE" not in set(up["gene_set"])
    assert "TRAILS_ONE" in set(both["gene_set"])
    symbols = [symbol for trace in fig.plot_manhattan(both).data for symbol in np.atleast_1d(trace.marker.symbol)]
    assert "circle-open" in symbols


def test_the_cap_is_kept_and_marked(tests: pd.DataFrame) -> None:
    sure = tests.assign(q_value=np.where(tests["gene_set"] == "LEADS_ONE", 1e-9, tests["q_value"]))
    frame = fig.manhattan_frame(sure)
    assert frame["y"].max() == 5
    assert set(frame.loc[frame["capped"], "gene_set"]) == {"LEADS_ONE"}
    figure = fig.plot_manhattan(frame)
    assert "capped at 5" in figure.layout.yaxis.title.text
    assert any("triangle-up" in np.atleast_1d(trace.marker.symbol) for trace in figure.data)


def test_the_topic_in_focus_names_its_leading_sets_and_the_set_is_ringed(tests: pd.DataFrame) -> None:
    frame = fig.manhattan_frame(tests)
    names = {"topic_1": "beta <cells>"}
    figure = fig.plot_manhattan(frame, topic="topic_1", gene_set="LEADS_ONE", topic_names=names)
    texts = [note.text for note in figure.layout.annotations]
    assert any("eads one" in text for text in texts)
    assert "1 beta &lt;cells&gt;" in figure.layout.xaxis.ticktext
    ring = next(trace for trace in figure.data if trace.type == "scatter")
    assert len(ring.x) == (frame["gene_set"] == "LEADS_ONE").sum()


def test_nothing_to_draw_is_said(tests: pd.DataFrame) -> None:
    assert "press Test" in fig.manhattan_frame(pd.DataFrame()).attrs["reason"]
    none = fig.manhattan_frame(tests.assign(q_value=0.9))
    assert "the smallest is 0.9" in none.attrs["reason"]
    assert fig.plot_manhattan(none).layout.annotations


def test_the_corners_of_the_running_sum_are_the_running_sum(beta: pd.DataFrame) -> None:
    ranked = beta["topic_1"].sort_values(ascending=False)
    hits = np.sort(ranked.index.get_indexer([f"g{i}" for i in (0, 3, 5, 120, 280)]))
    curve = running_sum(ranked.to_numpy(), hits)
    frame = fig.running_sum_frame(curve, hits, ranked.to_numpy(), ranked.index.to_numpy())
    assert len(frame) < 15
    whole = np.interp(np.arange(1, 301), frame["place"], frame["sum"])
    np.testing.assert_allclose(whole, curve, atol=1e-12)
    assert frame.attrs["es"] == pytest.approx(curve[np.abs(curve).argmax()])
    assert frame.attrs["peak"] == np.abs(curve).argmax() + 1
    found = frame[frame["gene"] != ""]
    assert set(found["gene"]) == {"g0", "g3", "g5", "g120", "g280"}
    np.testing.assert_allclose(found["beta"], ranked[found["gene"]])


@pytest.mark.parametrize(("genes", "edge"), [(range(10), "top"), (None, "bottom")])
def test_the_leading_edge_is_shaded_from_its_end_of_the_ranking(
    beta: pd.DataFrame, genes: range | None, edge: str
) -> None:
    ranked = beta["topic_1"].sort_values(ascending=False)
    names = [f"g{i}" for i in genes] if genes else list(ranked.index[-10:])
    hits = ranked.index.get_indexer(names)
    curve = running_sum(ranked.to_numpy(), hits)
    frame = fig.running_sum_frame(curve, hits, ranked.to_numpy(), ranked.index.to_numpy())
    figure = fig.plot_running_sum(frame, title=("a <b>set</b>", "in a topic"))
    shade = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (shade.x0, shade.x1) == ((0, frame.attrs["peak"]) if edge == "top" else (frame.attrs["peak"], 300))
    assert len(figure.data[1].x) == 10
    assert figure.layout.title.text == "a &lt;b&gt;set&lt;/b&gt;<br>in a topic"
