"""How does every figure look? Background, text, grid, margins, buttons; importing this registers the template "scetm".

Figures are transparent with dark text, as a paper wants them. On a dark page the app turns text and axis colours by
style sheet; the figure itself stays as it is, so that nothing is drawn anew and exports do not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

TEMPLATE = "scetm"
TEXT = "#1f2933"
MUTED = "#7b8794"
GRID = "rgba(123, 135, 148, 0.22)"
AXIS = "rgba(123, 135, 148, 0.6)"
ACCENT = "#0c8599"
LABEL_BACKGROUND = "rgba(255, 255, 255, 0.72)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FONT_SIZE = 13

GRAPH_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "displayModeBar": False,
    "showSendToCloud": False,
    "responsive": True,
    "scrollZoom": False,
}
"""For every graph: no logo, no sending of figures to a cloud, no buttons over the figure (the app has its own)."""

MAP_CONFIG: dict[str, Any] = {
    **GRAPH_CONFIG,
    "displayModeBar": "hover",
    "doubleClick": "reset",
    "scrollZoom": True,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
}
"""For maps of cells or genes: the wheel zooms, and buttons tell zoom from pan."""


def _template() -> go.layout.Template:
    axis = {
        "showline": True,
        "linecolor": AXIS,
        "linewidth": 1,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": AXIS,
        "gridcolor": GRID,
        "gridwidth": 1,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": FONT_SIZE}},
        "tickfont": {"size": 12},
    }
    colorbar = {"thickness": 10, "outlinewidth": 0, "ticklen": 3, "tickcolor": AXIS, "tickfont": {"size": 11}}
    layout = go.Layout(
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"family": FONT, "size": FONT_SIZE, "color": TEXT},
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        hovermode="closest",
        hoverlabel={"font": {"family": FONT, "size": 12}, "align": "left", "namelength": -1},
        dragmode="pan",
        xaxis=axis,
        yaxis=axis,
        legend={"font": {"size": 12}, "bgcolor": "rgba(0, 0, 0, 0)", "itemsizing": "constant"},
        modebar={"bgcolor": "rgba(0, 0, 0, 0)", "color": MUTED, "activecolor": ACCENT},
        title={"font": {"size": 15}, "x": 0, "xanchor": "left"},
    )
    data = {"heatmap": [{"colorbar": colorbar}]}
    return go.layout.Template(layout=layout, data=data)


pio.templates[TEMPLATE] = _template()


def new_figure(*, uirevision: str) -> go.Figure:
    """An empty figure in the house look.

    Parameters
    ----------
    uirevision
        As long as this text stays the same, zoom and hidden legend entries survive a redraw: name what is shown
        ("umap"), not how it is coloured.
    """
    figure = go.Figure()
    figure.update_layout(template=TEMPLATE, uirevision=uirevision)
    return figure


def empty_figure(reason: str) -> go.Figure:
    """A figure of nothing that says why, and what would fill it.

    Parameters
    ----------
    reason
        One or two plain sentences.
    """
    figure = new_figure(uirevision="empty")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=_wrap(reason), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": MUTED, "size": 14}
    )
    figure.update_layout(dragmode=False, height=280)
    return figure


def add_annotations(figure: go.Figure, notes: Sequence[Mapping[str, Any]]) -> None:
    """Add many annotations at once: plotly checks all there are anew with each one that is added singly."""
    figure.layout.annotations = [*figure.layout.annotations, *notes]


def _wrap(text: str, *, width: int = 44) -> str:
    """The text in lines short enough for a phone."""
    import html
    import textwrap

    return "<br>".join(textwrap.wrap(html.escape(text, quote=False), width))


def plain_text(text: object) -> str:
    """A name as plotly shows it: `<` and `&` in gene or cell type names are no markup, and `%{` is no template."""
    shown = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("%{", "&#37;{")
