"""How are counts spread over cells?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from scetm_core.figures._theme import ACCENT, TEXT, empty_figure, new_figure

N_BINS = 50


def histogram_edges(values: np.ndarray, *, log: bool, n_bins: int = N_BINS) -> np.ndarray:
    """Borders of the bins, evenly spaced on a linear or logarithmic axis; whole numbers never lie on a border.

    Parameters
    ----------
    values
        Finite, and above 0 if `log`.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low - 0.5, high + 0.5]) if not log else np.array([low / 1.2, high * 1.2])
    edges = np.geomspace(low, high, n_bins + 1) if log else np.linspace(low, high, n_bins + 1)
    if np.array_equal(values, np.round(values)):
        whole = np.arange(low, high + 2) if high - low < n_bins else np.append(np.floor(edges[:-1]), high + 1)
        edges = np.unique(whole) - 0.5
    else:
        edges[[0, -1]] = low, high  # geomspace may miss its ends by rounding
    return edges


def plot_histogram(values: npt.ArrayLike, *, title: str, unit: str, log: bool = True) -> go.Figure:
    """Draw how many cells have which value, with the median marked.

    Parameters
    ----------
    values
        (n_cells,) e.g. counts per cell, genes per cell.
    title
        What is counted: "Library size".
    unit
        "counts per cell".
    log
        Logarithmic axis. Cells with 0 cannot stand on it; how many they are is said in the title of the axis.
    """
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    shown = numbers[numbers > 0] if log else numbers
    if not len(shown):
        return empty_figure(f"{title}: there are no cells with a value to count.")
    edges = histogram_edges(shown, log=log)
    counts, _ = np.histogram(shown, edges)
    figure = new_figure(uirevision=f"histogram-{title}")
    figure.add_trace(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            customdata=np.column_stack([edges[:-1], edges[1:]]),
            marker={"color": ACCENT, "line": {"width": 0}},
            name=title,
            hovertemplate="%{y:,} cells<br>%{customdata[0]:,.4~g} to %{customdata[1]:,.4~g} "
            + f"{unit}<extra></extra>",
        )
    )
    median = float(np.median(numbers))
    if not log or median > 0:
        figure.add_vline(x=median, line={"color": TEXT, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=np.log10(median) if log else median, y=1, yref="paper", yanchor="bottom", showarrow=False,
            text=f"median {median:,.0f}" if median >= 10 else f"median {median:.3g}", font={"size": 12},
        )  # fmt: skip
    n_hidden = len(numbers) - len(shown)
    note = f"; {n_hidden:,} cells with 0 not shown" if n_hidden else ""
    figure.update_xaxes(type="log" if log else "linear", showgrid=False, title={"text": f"{title} ({unit}{note})"})
    if log:
        figure.update_xaxes(dtick=1 if edges[-1] / edges[0] > 30 else "D2", tickformat=",~r", minor={"ticks": ""})
    figure.update_yaxes(title={"text": "cells"}, rangemode="tozero", nticks=5)
    figure.update_layout(height=240, bargap=0, showlegend=False, dragmode=False)
    return figure
