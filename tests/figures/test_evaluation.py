"""Do the figures of an evaluation show the numbers they are made of?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scetm_core.figures import (
    agreement_frame,
    confusion_frame,
    plot_agreement,
    plot_confusion,
    plot_maps,
    plot_silhouettes,
    plot_tradeoff,
    silhouette_frame,
    tradeoff_frame,
)

LABELS = pd.Series(["a"] * 6 + ["b"] * 3 + ["c"] + [None])
CLUSTERS = pd.Series(["0"] * 5 + ["1"] + ["1"] * 3 + ["0"] + ["2"])
TABLE = pd.DataFrame(
    [
        ("asw", "a", "", 0.5, np.nan, 6), ("asw", "a", "x", 0.6, np.nan, 4), ("asw", "a", "y", 0.3, np.nan, 2),
        ("asw", "b", "", 0.7, np.nan, 3), ("asw", "b", "x", 0.7, np.nan, 3), ("asw", "", "", 0.56, 0.1, 9),
        ("ari at resolution", "0.16", "", 0.8, np.nan, 9), ("nmi at resolution", "0.16", "", 0.7, np.nan, 9),
        ("ari at resolution", "0.04", "", 0.9, np.nan, 9), ("nmi at resolution", "0.04", "", 0.6, np.nan, 9),
        ("fixed_resolution", "", "", 0.16, np.nan, 9), ("best_resolution", "", "", 0.04, np.nan, 9),
    ],
    columns=["score", "label", "batch", "value", "se", "n_cells"],
)  # fmt: skip
SCORES = pd.DataFrame(
    {
        "label": ["run", "A", "A", "B", "C"],
        "seed": [0, 0, 1, 0, 0],
        "is_own": [True, False, False, False, False],
        "best_ari": [0.95, 0.9, 0.94, 0.96, np.nan],
        "kbet": [0.5, 0.3, 0.5, 0.2, 0.9],
    }
)


def test_confusion_counts_cells_and_puts_clusters_beside_the_label_most_of_them_have() -> None:
    frame = confusion_frame(LABELS, CLUSTERS)
    assert list(frame.index) == ["a", "b", "c"]
    assert list(frame.columns) == ["0", "1"]
    assert frame.to_numpy().tolist() == [[5, 1], [0, 3], [1, 0]]
    heatmap = plot_confusion(frame).data[0]
    np.testing.assert_allclose(heatmap.z, [[5 / 6, 1 / 6], [0, 1], [1, 0]])


def test_without_labels_a_confusion_says_why_it_is_empty() -> None:
    frame = confusion_frame(pd.Series([None, None]), pd.Series(["0", "1"]))
    assert frame.empty
    assert "Choose a label column" in plot_confusion(frame).layout.annotations[0].text.replace("<br>", " ")


def test_silhouettes_stand_by_label_and_batch_with_gaps_where_there_are_no_cells() -> None:
    frame = silhouette_frame(TABLE)
    assert list(frame.index) == ["b", "a"]
    assert list(frame.columns) == ["all batches", "x", "y"]
    np.testing.assert_allclose(frame.to_numpy(), [[0.7, 0.7, np.nan], [0.5, 0.6, 0.3]])
    assert frame.attrs["n_cells"].tolist() == [[3, 3, 0], [6, 4, 2]]
    assert plot_silhouettes(frame).data[0].zmid is None
    assert plot_silhouettes(silhouette_frame(TABLE.iloc[:0])).layout.annotations


def test_agreement_is_drawn_by_resolution_with_the_fixed_and_the_best_marked() -> None:
    frame = agreement_frame(TABLE)
    assert frame["resolution"].tolist() == [0.04, 0.16]
    assert frame["ari"].tolist() == [0.9, 0.8]
    figure = plot_agreement(frame, resolution=0.08)
    assert {shape.x0 for shape in figure.layout.shapes} == {0.16, 0.04, 0.08}
    assert {note.text for note in figure.layout.annotations} == {"fixed beforehand", "best by the labels"}
    same = frame.copy()
    same.attrs = {"fixed": 0.16, "best": 0.16}
    assert [note.text for note in plot_agreement(same).layout.annotations] == ["fixed beforehand, and best"]
    assert "Choose a label column" in str(agreement_frame(TABLE.iloc[:3]).attrs["reason"])


def test_the_front_holds_the_methods_that_no_other_beats_by_their_medians() -> None:
    frame = tradeoff_frame(SCORES)
    assert frame.groupby("label")["on_front"].first().to_dict() == {"run": True, "A": False, "B": True}
    figure = plot_tradeoff(frame, x_title="kBET", y_title="ARI")
    front, seeds, medians = figure.data
    assert list(front.x) == [0.2, 0.5]
    assert len(seeds.x) == 4
    assert dict(zip(medians.text, medians.x, strict=True)) == {"run": 0.5, "A": 0.4, "B": 0.2}
    assert "label column" in str(tradeoff_frame(SCORES.drop(columns="kbet")).attrs["reason"])


def test_maps_have_the_same_cells_in_the_same_colours_and_their_scores_beneath() -> None:
    groups = pd.Series(pd.Categorical(["a", "b", None, "a"]), name="kind")
    first, second = np.arange(8.0).reshape(4, 2), np.arange(8.0).reshape(4, 2) * 2
    figure = plot_maps({"one": first, "two": second}, groups, beneath={"one": "ARI .9"})
    one, two = figure.data[:2]
    assert sorted(one.x) == [0, 2, 4, 6]
    assert list(two.x) == [2 * x for x in one.x]
    assert list(one.marker.color) == list(two.marker.color)
    colors = dict(zip(one.x, one.marker.color, strict=True))
    assert colors[0] == colors[6] != colors[2]
    assert figure.layout.xaxis.title.text == "ARI .9"
    assert [trace.name for trace in figure.data[2:]] == ["a", "b"]
    assert plot_maps({}, groups, beneath={}).layout.annotations


def test_of_very_many_cells_a_sample_is_drawn_and_said() -> None:
    n_cells = 20_010
    groups = pd.Series(np.where(np.arange(n_cells) % 2, "a", "b"), name="kind")
    figure = plot_maps({"one": np.zeros((n_cells, 2))}, groups, beneath={})
    assert len(figure.data[0].x) == 20_000
    assert "20,000 of 20,010 cells" in figure.layout.legend.title.text


@pytest.mark.parametrize("name", ["<b>x</b>"])
def test_names_are_no_markup(name: str) -> None:
    frame = confusion_frame(pd.Series([name] * 2), pd.Series(["0", "1"]))
    assert plot_confusion(frame).data[0].y[0] == "&lt;b&gt;x&lt;/b&gt;"
