"""Does a legend name what is drawn, and grow tools when it grows long?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import pytest
from dash import html

from pages._shared.legend import N_WITHOUT_SEARCH, legend_of

Components = Callable[[Any], list[Any]]


def figure_of(n_groups: int, name: str = "group") -> go.Figure:
    traces = [go.Scatter(x=[0], y=[0], name=f"{name} {i}", marker={"color": "#123456"}) for i in range(n_groups)]
    return go.Figure(traces)


def test_every_group_has_a_button_that_names_its_trace(components_in: Components, words_in: Any) -> None:
    entries = [
        node
        for node in components_in(legend_of(figure_of(3), "graph"))
        if node.__dict__.get("className") == "legend-item"
    ]
    assert [(words_in(entry), getattr(entry, "data-trace")) for entry in entries] == [
        ("group 0", 0), ("group 1", 1), ("group 2", 2),
    ]  # fmt: skip


def test_names_are_read_as_they_are_not_as_the_figure_marks_them_up(words_in: Any) -> None:
    assert "CD8<b> & T 0" in words_in(legend_of(figure_of(1, "CD8&lt;b&gt; &amp; T"), "graph"))


@pytest.mark.parametrize(("n_groups", "is_long"), [(N_WITHOUT_SEARCH, False), (N_WITHOUT_SEARCH + 1, True)])
def test_long_legends_can_be_searched_and_shown_or_hidden_as_a_whole(
    n_groups: int, is_long: bool, components_in: Components, words_in: Any
) -> None:
    legend = legend_of(figure_of(n_groups), "graph")
    names = [getattr(node, "aria-label", None) for node in components_in(legend)]
    assert ("Find in the legend" in names) is is_long
    assert ("Show none" in words_in(legend)) is is_long


def test_colours_are_offered_only_where_a_column_is_shown(components_in: Components) -> None:
    def offered(legend: Any) -> list[str]:
        return [
            getattr(node, "data-palette-column")
            for node in components_in(legend)
            if isinstance(node, html.Button) and hasattr(node, "data-palette-column")
        ]

    assert offered(legend_of(figure_of(2), "graph")) == []
    assert offered(legend_of(figure_of(2), "graph", column="cell_type")) == ["cell_type"]


def test_nothing_named_needs_no_legend() -> None:
    assert legend_of(go.Figure(), "graph") is None
