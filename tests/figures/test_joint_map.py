"""Does the map of genes and topics show who is where, who is highlighted, and names that can be read?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from scetm_core.figures import Highlight, joint_map_frame, neighborhood, plot_joint_map, plot_neighborhood
from scetm_core.figures._labels import LINE_HEIGHT, place_labels, text_width

N_GENES = 300


@pytest.fixture
def table() -> pd.DataFrame:
    """300 genes in three heaps, with a topic in the middle of each; topics 0 and 1 have genes g0.. and g100.. ."""
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0], [20, 0], [0, 20]], dtype=np.float32)
    xy = np.concatenate([np.repeat(middles, 100, axis=0) + rng.normal(size=(N_GENES, 2)), middles]).astype(np.float32)
    names = [f"g{row}" for row in range(N_GENES)] + ["topic_0", "topic_1", "topic_2"]
    kinds = ["gene"] * N_GENES + ["topic"] * 3
    return pd.DataFrame({"name": names, "kind": kinds, "x": xy[:, 0], "y": xy[:, 1]})


HIGHLIGHTS = [
    Highlight(name="Insulin <set>", members=["g1", "g2", "g150", "nobody"], color="#E69F00"),
    Highlight(name="Searched", members=["g2"], color="#9C36B5", symbol="circle-open", size=11),
    Highlight(name="No member", members=["nobody", "topic_1"], color="#000000"),
]


def trace_of(figure: object, beginning: str) -> object:
    return next(trace for trace in figure.data if trace.name.startswith(beginning))  # type: ignore[attr-defined]


def labels_in(figure: object) -> list[str]:
    texts = [note.text for note in figure.layout.annotations]  # type: ignore[attr-defined]
    return [text for text in texts if "UMAP" not in text]


def test_highlights_become_columns_of_the_map(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table, highlights=HIGHLIGHTS)
    assert set(frame["name"][frame["Insulin <set>"]]) == {"g1", "g2", "g150"}
    assert set(frame["name"][frame["Searched"]]) == {"g2"}
    assert "No member" not in frame  # a topic is no member of anything
    assert "highlights" not in table.attrs


def test_every_gene_and_topic_is_a_point_that_knows_its_row(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table, highlights=HIGHLIGHTS)
    figure = plot_joint_map(frame, topic=1)
    genes, topics, focus = (trace_of(figure, name) for name in ("Genes (300)", "Topics (2)", "Topic 1"))
    assert len(genes.x) == N_GENES
    assert genes.type == "scattergl"
    assert [frame["name"][row] for row in topics.customdata] == ["topic_0", "topic_2"]
    assert [frame["name"][row] for row in focus.customdata] == ["topic_1"]
    assert max(focus.marker.size, topics.marker.size) == focus.marker.size
    searched = trace_of(figure, "Searched (1)")
    assert (searched.marker.color, searched.marker.symbol) == ("#9C36B5", "circle-open")
    assert [frame["name"][row] for row in searched.customdata] == ["g2"]
    assert trace_of(figure, "Insulin &lt;set&gt; (3)")


def test_rows_come_back_with_a_click(table: pd.DataFrame) -> None:
    content = json.loads(plot_joint_map(joint_map_frame(table)).to_json())
    assert all(isinstance(trace["customdata"], list) for trace in content["data"])


def test_the_map_is_square_without_ticks_and_keeps_its_zoom(table: pd.DataFrame) -> None:
    figure = plot_joint_map(joint_map_frame(table), topic=0)
    x, y = figure.layout.xaxis, figure.layout.yaxis
    assert np.ptp(x.range) == pytest.approx(np.ptp(y.range))
    assert (y.scaleanchor, y.scaleratio) == ("x", 1)
    assert not x.showticklabels
    assert figure.layout.uirevision == plot_joint_map(joint_map_frame(table), topic=2).layout.uirevision


def test_topics_are_named_as_the_user_named_them(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table)
    named = plot_joint_map(frame, topic=0, topic_names={"topic_1": "beta & co"})
    assert sorted(labels_in(named)) == ["1 beta &amp; co", "2", "<b>0</b>"]
    assert labels_in(plot_joint_map(frame, topic=0, names=False)) == ["<b>0</b>"]
    assert labels_in(plot_joint_map(frame, topic=None, names=False)) == []


def test_a_heap_of_topics_is_not_a_heap_of_names(table: pd.DataFrame) -> None:
    heap = pd.DataFrame({"name": [f"topic_{n}" for n in range(3, 63)], "kind": "topic", "x": 0.0, "y": 0.0})
    labels = labels_in(plot_joint_map(joint_map_frame(pd.concat([table, heap])), topic=60))
    assert "<b>60</b>" in labels
    assert len(labels) < 20


def test_the_neighbourhood_holds_the_nearest_and_the_leading_points(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table)
    left, right, bottom, top = neighborhood(frame, 1) or (0, 0, 0, 0)
    inside = frame[frame["x"].between(left, right) & frame["y"].between(bottom, top)]
    assert right - left == pytest.approx(top - bottom)
    assert 30 <= (inside["kind"] == "gene").sum() <= 60
    assert set(inside["name"]) <= {"topic_1", *(f"g{row}" for row in range(100, 200))}
    all_of_it = neighborhood(frame, 1, leaders=[f"g{row}" for row in range(100, 200)]) or (0, 0)
    assert all_of_it[1] - all_of_it[0] > right - left
    assert neighborhood(frame, 1, leaders=["g250"]) == (left, right, bottom, top)  # too far to be a neighbour
    assert neighborhood(frame, 99) is None


def test_leading_points_are_named_first_and_names_do_not_overlap(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table, highlights=HIGHLIGHTS, labels={"g150": "Ins1"})
    window = neighborhood(frame, 1)
    leaders = ["g150", "g103", "g130"]
    figure = plot_neighborhood(frame, (17, 23, -3, 3), topic=1, leaders=leaders)
    labels = labels_in(figure)
    assert labels[0] == "<b>topic 1</b>"
    assert labels[1:4] == ["<b>Ins1</b>", "<b>g103</b>", "<b>g130</b>"]
    assert len(labels) <= 45
    assert window is not None
    shown = trace_of(figure, "Insulin")
    assert [frame["name"][row] for row in shown.customdata] == ["g150"]  # the others lie outside


def test_the_neighbourhood_is_outlined_on_the_map(table: pd.DataFrame) -> None:
    frame = joint_map_frame(table)
    (outline,) = plot_joint_map(frame, topic=1, window=(1, 2, 3, 4)).layout.shapes
    assert (outline.x0, outline.x1, outline.y0, outline.y1) == (1, 2, 3, 4)


def test_what_cannot_be_drawn_says_why(table: pd.DataFrame) -> None:
    empty = joint_map_frame(None)
    assert empty.empty
    for figure in (plot_joint_map(empty), plot_neighborhood(empty, None, topic=0)):
        assert "no map yet" in figure.layout.annotations[0].text.replace("<br>", " ")
    nowhere = plot_neighborhood(joint_map_frame(table), None, topic=9)
    assert "no place on the map" in nowhere.layout.annotations[0].text.replace("<br>", " ")


def test_gene_sets_can_be_the_points(table: pd.DataFrame) -> None:
    sets = table.assign(kind=table["kind"].replace("gene", "set"))
    assert trace_of(plot_joint_map(joint_map_frame(sets)), "Gene sets (300)")


# ---- labels -------------------------------------------------------------------------------------------------------


def test_placed_labels_overlap_nothing_and_stay_inside() -> None:
    rng = np.random.default_rng(0)
    points, texts = rng.uniform(0, 400, size=(120, 2)), [f"Gene{n}" for n in range(120)]
    boxes = []
    for point, text, shift in zip(points, texts, place_labels(points, texts, size=(400, 400)), strict=True):
        if shift is not None:
            x, y = point + shift
            half = text_width(text) / 2
            boxes.append((x - half, x + half, y - LINE_HEIGHT / 2, y + LINE_HEIGHT / 2))
    assert len(boxes) > 40
    for number, (left, right, bottom, top) in enumerate(boxes):
        assert min(left, bottom) >= 0
        assert max(right, top) <= 400
        for left2, right2, bottom2, top2 in boxes[:number]:
            assert right <= left2 or left >= right2 or top <= bottom2 or bottom >= top2


def test_the_first_labels_are_placed_in_any_case() -> None:
    crowd = np.full((9, 2), 50.0)
    placed = place_labels(crowd, ["a rather long name"] * 9, size=(60, 60), always=2)
    assert [shift is not None for shift in placed[:3]] == [True, True, False]
