"""How is a heatmap with topics along x drawn, so that it stays readable from 5 to 500 rows?"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core.figures._colors import MAGNITUDE_SCALE, SIGNED_SCALE
from scetm_core.figures._result import topic_label
from scetm_core.figures._theme import ACCENT, new_figure

ROW_HEIGHT = 15
TOP = 108
"""Pixels above the rows: colour bar, title and labels of the axis."""


def topic_heatmap(
    frame: pd.DataFrame,
    *,
    uirevision: str,
    signed: bool,
    unit: str,
    hover: str,
    topic_names: Mapping[str, str] | None = None,
) -> go.Figure:
    """Rows x topics as colours, the first row on top, topics by their number along x.

    Parameters
    ----------
    frame
        Rows x topics, columns called "topic_7".
    uirevision
        See `new_figure`.
    signed
        Diverging colours around 0 instead of viridis from 0.
    unit
        Title of the colour bar.
    hover
        Text of the hover label.
    topic_names
        Names given to topics ("topic_7" -> "beta cells"), written upright beside their numbers.
    """
    values = frame.to_numpy(dtype=np.float32)
    there = values[np.isfinite(values)]  # rows of headings hold nothing
    limit = float(np.abs(there).max(initial=0)) or 1.0
    figure = new_figure(uirevision=uirevision)
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=topic_ticks(frame),
            y=np.arange(len(frame)),
            colorscale=SIGNED_SCALE if signed else MAGNITUDE_SCALE,
            zmin=-limit if signed else min(0.0, float(there.min(initial=0))),
            zmax=limit,
            name="",
            hovertemplate=hover + "<extra></extra>",
            colorbar=_color_bar(),
        )
    )
    figure.update_xaxes(
        type="category",
        side="top",  # a tall figure is read from its top
        title={"text": "topic", "standoff": 4},
        showgrid=False,
        showline=False,
        ticks="",
        tickfont={"size": 11},
    )
    figure.update_yaxes(showgrid=False, ticks="", showline=False, range=[len(frame) - 0.5, -0.5])
    place = {"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 12, "t": 6}}
    top = TOP
    if named := [topic_label(name, topic_names) for name in frame.columns if name in (topic_names or {})]:
        labels = [topic_label(name, topic_names) for name in frame.columns]
        figure.update_xaxes(tickmode="array", tickvals=topic_ticks(frame), ticktext=labels, tickangle=-90)
        top += round(5.9 * max(len(html.unescape(label)) for label in named))
    figure.update_layout(margin={"t": top}, dragmode="zoom", title={"text": unit, "font": {"size": 12}, **place})
    return figure


def _color_bar() -> dict[str, object]:
    """A thin bar at the top left of the whole figure, below its title."""
    place = {"x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    return {
        **place,
        "orientation": "h",
        "thickness": 8,
        "lenmode": "pixels",
        "len": 220,
        "xpad": 12,
        "ypad": 24,
        "nticks": 5,
    }


def topic_ticks(frame: pd.DataFrame) -> list[str]:
    """`["7", ...]` for columns called "topic_7": short enough for 100 of them along an axis."""
    return [str(name).removeprefix("topic_") for name in frame.columns]


def name_rows(figure: go.Figure, names: Sequence[str], *, row_height: int = ROW_HEIGHT) -> None:
    """Give every row its name, and the figure the height that this takes."""
    figure.update_yaxes(
        tickmode="array", tickvals=np.arange(len(names)), ticktext=list(names), tickfont={"size": 11}, automargin=True
    )
    figure.update_layout(height=(figure.layout.margin.t or TOP) + 12 + row_height * max(len(names), 4))


def outline_topic(figure: go.Figure, frame: pd.DataFrame, topic: int) -> None:
    """Draw a thin frame around one topic's column, if it is shown."""
    if (tick := str(topic)) not in (ticks := topic_ticks(frame)):
        return
    place = ticks.index(tick)
    figure.add_shape(
        type="rect", x0=place - 0.5, x1=place + 0.5, y0=-0.5, y1=len(frame) - 0.5, line={"color": ACCENT, "width": 2}
    )
