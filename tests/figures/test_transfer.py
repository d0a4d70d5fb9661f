"""Do the figures of a transfer say what is in their frames, and the frames what is in the cells?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scetm_core.figures import flagged_frame, plot_flagged, plot_topic_use, plot_umap, side_frames, topic_use_frame

PLACES = (np.array([[0, 0], [1, 1], [2, 0]], float), np.array([[0, 1], [9, 9]], float))


def named(values: object, prefix: str) -> pd.Series:
    return pd.Series(values, index=[f"{prefix}{number}" for number in range(len(values))])  # type: ignore[arg-type]


def test_a_category_has_one_colour_on_both_sides_whatever_the_side_lacks() -> None:
    source, target = named(["alpha", "beta", "beta"], "s"), named(["beta", "new"], "t")
    left, right = side_frames(PLACES, (source, target), title="kind")
    assert list(left["color"].astype(str)) == ["alpha", "beta", "beta"]
    assert list(right["color"].cat.categories) == ["beta", "new"]
    assert left.attrs["colors"]["beta"] == right.attrs["colors"]["beta"]
    assert list(right["cell"]) == ["t0", "t1"]
    np.testing.assert_array_equal(right[["x", "y"]], PLACES[1])


def test_given_colours_are_taken_if_there_is_one_for_each_category() -> None:
    values = named(["alpha", "beta", "beta"], "s"), named(["beta", "alpha"], "t")
    colors = {"alpha": "#111111", "beta": "#222222", "gamma": "#333333"}
    left, _ = side_frames(PLACES, values, title="kind", colors=colors)
    assert {name: left.attrs["colors"][name] for name in ("alpha", "beta")} == {"alpha": "#111111", "beta": "#222222"}
    left, _ = side_frames(PLACES, values, title="kind", colors={"alpha": "#111111"})
    assert left.attrs["colors"]["alpha"] != "#111111"


def test_numbers_share_a_scale_and_cells_without_one_are_grey() -> None:
    values = named([np.nan] * 3, "s"), named([0.2, 0.8], "t")
    left, right = side_frames(PLACES, values, title="confidence")
    assert left.attrs["kind"] == right.attrs["kind"] == "magnitude"
    figure = plot_umap(left, behind=PLACES[1])
    assert [trace.name for trace in figure.data] == [None, "not measured (3)", "confidence"]
    np.testing.assert_allclose(right["color"], [0.2, 0.8], rtol=1e-6)


def test_cells_of_one_name_on_both_sides_stay_apart() -> None:
    left, right = side_frames(PLACES, (named(["a", "b", "c"], "x"), named(["a", "b"], "x")), title="kind")
    assert (len(left), len(right)) == (3, 2)


def test_the_frame_of_a_map_holds_the_cells_behind_as_well() -> None:
    left, right = side_frames(PLACES, (named(["a"] * 3, "s"), named(["a"] * 2, "t")), title="kind")
    figures = [plot_umap(left, behind=PLACES[1]), plot_umap(right, behind=PLACES[0])]
    assert figures[0].layout.xaxis.range == figures[1].layout.xaxis.range
    assert figures[0].layout.xaxis.range[1] >= 9
    assert figures[0].data[0].showlegend is False


def test_topics_are_ordered_by_how_differently_they_are_used() -> None:
    source, target = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([[0.1, 0.4, 0.5]])
    frame = topic_use_frame(source, target)
    assert list(frame["topic"]) == ["topic_0", "topic_2", "topic_1"]
    np.testing.assert_allclose(frame["difference"], [-0.4, 0.3, 0.1])
    figure = plot_topic_use(frame, n_topics=2, topic_names={"topic_2": "beta cells"})
    assert list(figure.layout.yaxis.ticktext) == ["0", "2 beta cells"]  # from the bottom: least used in the target
    assert list(figure.data[1].x) == pytest.approx([0.1, 0.5])


def test_a_side_without_cells_is_said() -> None:
    frame = topic_use_frame(np.zeros((0, 3)), np.zeros((2, 3)))
    assert frame.empty
    assert "no such cells on both sides" in frame.attrs["reason"]
    assert "no such cells" in plot_topic_use(frame).layout.annotations[0].text.replace("<br>", " ")


def test_the_flagged_share_is_counted_group_by_group() -> None:
    groups = pd.Series(["a", "a", "b", "b", "b", "b", None])
    flagged = pd.Series([True, True, True, False, False, False, True])
    frame = flagged_frame(groups, flagged)
    assert frame.to_dict("list") == {"group": ["a", "b"], "n_cells": [2, 4], "n_flagged": [2, 1], "share": [1.0, 0.25]}
    figure = plot_flagged(frame, rate=0.05)
    assert list(figure.data[0].y) == ["b (4)", "a (2)"]
    assert figure.layout.shapes[0].x0 == 0.05
    assert flagged_frame(pd.Series([None, None], dtype=object), pd.Series([True, False])).empty
