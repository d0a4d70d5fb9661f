"""Does the table of a figure hold the numbers that the figure shows, whoever wrote it?"""

from __future__ import annotations

import base64
import json

import numpy as np
import plotly.graph_objects as go
import pytest

from scetm_core.errors import FigureError
from scetm_core.printing_table import figure_table


def as_browser_has_it(figure: go.Figure) -> dict:
    return json.loads(figure.to_json())


def test_a_scatter_gives_a_row_a_point_under_the_titles_of_its_axes() -> None:
    figure = go.Figure(go.Scattergl(x=np.array([1, 2], "f4"), y=np.array([3, 4], "f4")))
    figure.update_layout(xaxis_title="<b>dose</b> &lt; 5", yaxis_title="response")
    table = figure_table(as_browser_has_it(figure))
    assert list(table.columns) == ["dose < 5", "response"]
    assert table.to_numpy().tolist() == [[1, 3], [2, 4]]


def test_several_traces_are_told_apart_by_name_and_hidden_ones_are_left_out() -> None:
    figure = go.Figure([
        go.Scatter(x=[1], y=[2], name="beta"),
        go.Scatter(x=[3], y=[4], name="alpha"),
        go.Scatter(x=[5], y=[6], name="gone", visible="legendonly"),
    ])  # fmt: skip
    table = figure_table(figure)
    assert table.to_dict("list") == {"series": ["beta", "alpha"], "x": [1, 3], "y": [2, 4]}


def test_numbers_that_colour_points_are_told_and_names_of_colours_are_not() -> None:
    figure = go.Figure(
        go.Scatter(x=[1, 2], y=[3, 4], marker={"color": [0.5, 0.7], "colorbar": {"title": {"text": "theta"}}})
    )
    assert figure_table(figure)["theta"].tolist() == [0.5, 0.7]
    figure.data[0].marker.color = ["red", "#00ff00"]
    assert list(figure_table(figure).columns) == ["x", "y"]


def test_a_heatmap_gives_its_matrix() -> None:
    matrix = np.arange(6, dtype="f4").reshape(2, 3)
    figure = go.Figure(go.Heatmap(z=matrix, x=["0", "1", "2"], y=["Ins1", "Gcg"]))
    figure.update_layout(yaxis_title="gene")
    table = figure_table(as_browser_has_it(figure))
    assert list(table.columns) == ["gene", "0", "1", "2"]
    assert table["gene"].tolist() == ["Ins1", "Gcg"]
    assert table.iloc[:, 1:].to_numpy() == pytest.approx(matrix)


def test_a_heatmap_beside_another_gives_a_row_a_cell() -> None:
    figure = go.Figure([go.Heatmap(z=[[1, 2]], x=["a", "b"], y=["r"]), go.Heatmap(z=[[3]], x=["c"], y=["r"])])
    table = figure_table(figure)
    assert table["value"].tolist() == [1, 2, 3]
    assert table["x"].tolist() == ["a", "b", "c"]
    assert table["series"].tolist() == ["heatmap 1", "heatmap 1", "heatmap 2"]


def test_rows_that_are_arrays_of_their_own_are_read_as_well() -> None:
    rows = [
        {"dtype": "f8", "bdata": base64.b64encode(np.array(row, "<f8").tobytes()).decode()} for row in ([1, 2], [3, 4])
    ]
    table = figure_table({"data": [{"type": "heatmap", "z": rows}], "layout": {}})
    assert table.iloc[:, 1:].to_numpy().tolist() == [[1, 2], [3, 4]]


def test_bars_keep_names_numbers_and_what_is_written_on_them() -> None:
    figure = go.Figure(go.Bar(x=[0.2, 0.1], y=["Ins1", "Gcg"], text=["best", "next"], orientation="h"))
    assert figure_table(figure).to_numpy().tolist() == [[0.2, "Ins1", "best"], [0.1, "Gcg", "next"]]


def test_axes_of_one_title_are_still_two_columns() -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[2])).update_layout(xaxis_title="ARI", yaxis_title="ARI")
    assert figure_table(figure).to_dict("list") == {"x: ARI": [1], "y: ARI": [2]}


def test_a_histogram_gives_its_values() -> None:
    assert figure_table(go.Figure(go.Histogram(x=[1, 2, 2])))["x"].tolist() == [1, 2, 2]


def test_a_figure_of_nothing_has_no_rows() -> None:
    assert figure_table(go.Figure()).empty
    assert figure_table({"data": [{"type": "scatter"}, {"type": "heatmap"}], "layout": {}}).empty


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no figure"),
        ({"data": 3, "layout": {}}, "no figure"),
        ({"data": [{"x": {"dtype": "O", "bdata": ""}}], "layout": {}}, "is unknown"),
        ({"data": [{"x": {"dtype": "f8", "bdata": "%%"}}], "layout": {}}, "cannot be read"),
        ({"data": [{"x": {"dtype": "f8", "bdata": "AAA="}}], "layout": {}}, "cannot be read"),
        ({"data": [{"x": {"dtype": "i1", "bdata": "AAA=", "shape": "9, 9"}}], "layout": {}}, "cannot be read"),
        ({"data": [{"type": "heatmap", "z": [["a", "b"]]}], "layout": {}}, "no table of numbers"),
        ({"data": [{"type": "heatmap", "z": [[1], [1, 2]]}], "layout": {}}, "no table of numbers"),
    ],
)
def test_what_is_no_figure_is_said_in_words(content: dict, words: str) -> None:
    with pytest.raises(FigureError, match=words):
        figure_table(content)
