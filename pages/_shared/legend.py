"""Which colour is what, and which groups are shown? A legend of buttons: reachable by keyboard, readable on a phone.

A click hides or shows a group, a double click (or Shift and click) shows it alone; assets/studio.js does both.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import html
from dash.development.base_component import Component


def legend_of(figure: go.Figure, graph: str) -> Component | None:
    """Buttons for the named traces of a figure, in the order of its own legend; None if there is nothing to name.

    Takes the figure's own legend off the screen; exports show it.
    """
    named = [(place, trace) for place, trace in enumerate(figure.data) if trace.showlegend is not False and trace.name]
    if not named:
        return None
    figure.update_layout(showlegend=False)
    named.sort(key=lambda entry: entry[1].legendrank or 1000)
    buttons = [_button(place, trace) for place, trace in named if isinstance(trace.marker.color, str)]
    hint = dmc.Text("Click: hide or show. Double click: show alone.", size="xs", c="dimmed", className="legend-hint")
    names: dict[str, Any] = {"data-graph": graph, "aria-label": "Legend"}
    return html.Div([*buttons, hint], className="legend", role="group", **names)


def _button(place: int, trace: go.Scatter) -> Component:
    state: dict[str, Any] = {"data-trace": place, "aria-pressed": "true"}
    swatch = html.Span(className="swatch", style={"background": trace.marker.color})
    return html.Button([swatch, trace.name], type="button", className="legend-item", **state)
