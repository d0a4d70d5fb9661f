"""Do the figures of differential topics show what was tested?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import figures as fig
from scetm_core import keys


@pytest.fixture
def tests() -> pd.DataFrame:
    """Three labels, four topics; topic_1 is higher in "a", topic_2 lower in "b"."""
    rows = [(topic, label) for label in ("a", "b", "c") for topic in range(4)]
    table = pd.DataFrame(
        {
            "topic": [f"topic_{topic}" for topic, _ in rows],
            "label": [label for _, label in rows],
            "mean_difference": 0.1,
            "p_value": 0.5,
            "q_bonferroni": 1.0,
            "q_bh": 0.5,
            "effect_size": 0.2,
            "n_cells": [{"a": 10, "b": 20, "c": 30}[label] for _, label in rows],
        }
    )
    table.loc[1, ["mean_difference", "q_bonferroni", "q_bh"]] = [3.0, 0.001, 0.0005]
    table.loc[6, ["mean_difference", "q_bonferroni", "q_bh"]] = [-2.5, 0.02, 0.004]
    return table


def test_a_topic_is_differential_if_both_thresholds_are_passed(tests: pd.DataFrame) -> None:
    def found(**thresholds: float | str) -> list[int]:
        marked = fig.mark_differential(tests, **{"significance": 0.01, "min_difference": 2.0, **thresholds})
        return list(np.flatnonzero(marked["differential"]))

    assert found() == [1]
    assert found(correction="q_bh") == [1, 6]
    assert found(significance=0.05) == [1, 6]
    assert found(min_difference=3.5) == []


def test_the_heatmap_has_labels_as_rows_in_the_order_asked_for(tests: pd.DataFrame) -> None:
    marked = fig.mark_differential(tests, significance=0.01, min_difference=2.0)
    order = (["c", "a", "b"], ["topic_3", "topic_1", "topic_0", "topic_2"])
    frame = fig.differential_frame(marked, order=order)
    assert (list(frame.index), list(frame.columns)) == order
    assert frame.loc["a", "topic_1"] == 3
    figure = fig.plot_differential_heatmap(frame, selected=("a", "topic_1"), topic_names={"topic_1": "ducts"})
    heatmap = figure.data[0]
    assert np.argwhere(heatmap.text == "*").tolist() == [[1, 1]]
    assert list(figure.layout.yaxis.ticktext) == ["c (30)", "a (10)", "b (20)"]
    assert list(figure.layout.xaxis.ticktext) == ["3", "1 ducts", "0", "2"]
    frame_drawn = figure.layout.shapes[0]
    assert (frame_drawn.x0, frame_drawn.y0) == (0.5, 0.5)
    assert heatmap.customdata[1][1][2] == pytest.approx(0.001)


def test_only_differential_topics_on_request_and_how_many_that_are(tests: pd.DataFrame) -> None:
    marked = fig.mark_differential(tests, significance=0.05, min_difference=2.0)
    frame = fig.differential_frame(marked, only_differential=True)
    assert list(frame.columns) == ["topic_1", "topic_2"]
    assert "2 of 4 topics" in fig.plot_differential_heatmap(frame).layout.title.text
    none = fig.mark_differential(tests, significance=1e-9, min_difference=2.0)
    assert "Loosen them" in fig.differential_frame(none, only_differential=True).attrs["reason"]


def test_before_the_first_test_the_figures_say_what_to_do() -> None:
    reasons = [fig.differential_frame(pd.DataFrame()).attrs["reason"]]
    reasons.append(fig.plot_volcano(pd.DataFrame(), significance=0.01, min_difference=2).layout.annotations[0].text)
    assert all("press Test" in reason.replace("<br>", " ") for reason in reasons)


def test_a_distribution_holds_the_cells_inside_and_outside(result: ad.AnnData) -> None:
    frame = fig.topic_distribution_frame(result, topic=1, groupby="cell_type", label="t1")
    inside = (result.obs["cell_type"] == "t1").to_numpy()
    np.testing.assert_array_equal(frame["inside"], inside)
    np.testing.assert_array_equal(frame["delta"], result.obsm[keys.DELTA][:, 1])
    figure = fig.plot_topic_distribution(frame)
    assert [trace.name for trace in figure.data] == ["t1 (35)", "all others (85)"]
    np.testing.assert_array_equal(figure.data[0].y, result.obsm[keys.DELTA][inside, 1])


def test_a_large_distribution_is_sampled_and_says_so(result: ad.AnnData) -> None:
    frame = fig.topic_distribution_frame(result, topic=0, groupby="cell_type", label="t0", n_cells=50)
    assert len(frame) == 50
    assert "50 cells sampled of 120" in fig.plot_topic_distribution(frame).layout.yaxis.title.text


def test_cells_without_a_label_are_on_no_side(result: ad.AnnData) -> None:
    frame = fig.topic_distribution_frame(result, topic=0, groupby="patchy", label="known")
    assert len(frame) == 90
    assert frame["inside"].all()


@pytest.mark.parametrize(
    ("topic", "groupby", "label"), [(99, "cell_type", "t0"), (0, "none", "t0"), (0, "batch", "b9")]
)
def test_an_unknown_topic_column_or_label_is_said(result: ad.AnnData, topic: int, groupby: str, label: str) -> None:
    frame = fig.topic_distribution_frame(result, topic=topic, groupby=groupby, label=label)
    assert frame.empty
    assert fig.plot_topic_distribution(frame).layout.annotations


def test_the_volcano_points_at_rows_of_the_table(tests: pd.DataFrame) -> None:
    marked = fig.mark_differential(tests, significance=0.05, min_difference=2.0)
    figure = fig.plot_volcano(marked, significance=0.05, min_difference=2.0, selected=("b", "topic_2"))
    traces = {trace.name.split(" (")[0]: trace for trace in figure.data if trace.name}
    assert {name: len(trace.x) for name, trace in traces.items()} == {"not differential": 10, "higher": 1, "lower": 1}
    assert list(traces["lower"].customdata) == [6]
    assert traces["higher"].y[0] == pytest.approx(3)
    ring = figure.data[-1]
    assert list(ring.x) == [-2.5]
