"""Which colour is what, and which groups are shown? A legend of buttons: reachable by keyboard, readable on a phone.

A click hides or shows a group, a double click (or Shift and click) shows it alone; assets/studio.js does both. Long
legends can be searched, and shown or hidden as a whole (assets/legend.js).
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component

N_WITHOUT_SEARCH = 12
"""A legend of more entries gets a field that filters them."""


def legend_of(figure: go.Figure, graph: str, *, column: str | None = None) -> Component | None:
    """Buttons for the named traces of a figure, in the order of its own legend; None if there is nothing to name.

    Takes the figure's own legend off the screen; exports show it.

    Parameters
    ----------
    column
        Column of obs that colours the cells, where its colours may be chosen (see `palette`).
    """
    named = [(place, trace) for place, trace in enumerate(figure.data) if trace.showlegend is not False and trace.name]
    if not named:
        return None
    figure.update_layout(showlegend=False)
    named.sort(key=lambda entry: entry[1].legendrank or 1000)
    buttons = [_button(place, trace) for place, trace in named if isinstance(trace.marker.color, str)]
    hint = dmc.Text("Click: hide or show. Double click: show alone.", size="xs", c="dimmed", className="legend-hint")
    names: dict[str, Any] = {"data-graph": graph, "aria-label": "Legend"}
    entries = html.Div(buttons, className="legend", role="group", **names)
    choose = [] if column is None else [_tool("Colours…", "data-palette-column", column)]
    foot = html.Div([hint, *choose], className="legend-foot")
    return html.Div([_tools(len(buttons)), entries, foot], className="legend-box")


def _button(place: int, trace: go.Scatter) -> Component:
    state: dict[str, Any] = {"data-trace": place, "aria-pressed": "true"}
    swatch = html.Span(className="swatch", style={"background": trace.marker.color})
    return html.Button([swatch, _plain(trace.name)], type="button", className="legend-item", **state)


def _plain(name: str) -> str:
    """A trace's name as one reads it: plotly's is marked up."""
    return name.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _tools(n_entries: int) -> Component | None:
    """For long legends: the field that filters, and the buttons for all."""
    if n_entries <= N_WITHOUT_SEARCH:
        return None
    field = dmc.TextInput(
        placeholder=f"Find among {n_entries}",
        size="xs",
        w=150,
        className="legend-search",
        attributes={"input": {"autoComplete": "off"}},
        **{"aria-label": "Find in the legend"},
    )
    buttons = [_tool("Show all", "data-legend-all", "true"), _tool("Show none", "data-legend-all", "false")]
    return html.Div([field, *buttons, html.Span(className="visually-hidden", role="status")], className="legend-tools")


def _tool(label: str, attribute: str, value: str) -> Component:
    what: dict[str, Any] = {attribute: value}
    return html.Button(label, type="button", className="legend-tool", **what)
