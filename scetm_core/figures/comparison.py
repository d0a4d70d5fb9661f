"""Which method is best at what? Scores against each other, and the maps of several methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scetm_core.figures._colors import MISSING_COLOR, category_colors
from scetm_core.figures._result import empty_frame, reason_of
from scetm_core.figures._theme import ACCENT, AXIS, MUTED, TEMPLATE, empty_figure, new_figure, plain_text

N_CELLS_AT_MOST = 20_000
"""Cells drawn in each of the small maps."""
_PANEL = 300


def tradeoff_frame(scores: pd.DataFrame, *, x: str = "kbet", y: str = "best_ari") -> pd.DataFrame:
    """Two scores of each method and seed, and which methods no other beats in both.

    Parameters
    ----------
    scores
        `label`, `seed`, `is_own` and the scores, one row per method and seed.

    Returns
    -------
    `label`, `seed`, `is_own`, `x`, `y` of the rows that have both; `on_front`: no method is at least as good in both
    and better in one, by the medians over its seeds. Empty, with `attrs["reason"]`, if no row has both.
    """
    known = scores.dropna(subset=[x, y]) if {x, y} <= set(scores.columns) else scores.iloc[:0]
    if known.empty:
        return empty_frame("No method has both scores: they need a label column and a batch column.")
    frame = known[["label", "seed", "is_own"]].assign(x=known[x].astype(float), y=known[y].astype(float))
    medians = frame.groupby("label", sort=False)[["x", "y"]].median()
    values = medians.to_numpy()
    beaten = [bool(((values >= own).all(axis=1) & (values > own).any(axis=1)).any()) for own in values]  # (n_methods,)
    front = dict(zip(medians.index, np.logical_not(beaten), strict=True))
    return frame.assign(on_front=[bool(front[label]) for label in frame["label"]]).reset_index(drop=True)


def plot_tradeoff(frame: pd.DataFrame, *, x_title: str, y_title: str) -> go.Figure:
    """Draw the methods with a line through those that no other beats; from `tradeoff_frame`."""
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="tradeoff")
    medians = frame.groupby("label", sort=False).agg(
        x=("x", "median"), y=("y", "median"), on_front=("on_front", "first"), is_own=("is_own", "first")
    )
    front = medians[medians["on_front"]].sort_values("x")
    figure.add_trace(
        go.Scatter(x=front["x"], y=front["y"], mode="lines", line={"color": AXIS, "dash": "dot"}, hoverinfo="skip")
    )
    colors = [ACCENT if is_own else MUTED for is_own in frame["is_own"]]
    figure.add_trace(
        go.Scatter(
            x=frame["x"], y=frame["y"], mode="markers", marker={"color": colors, "size": 6, "opacity": 0.45},
            customdata=[f"{label}, seed {seed}" for label, seed in zip(frame["label"], frame["seed"], strict=True)],
            hovertemplate="%{customdata}: %{x:.3f}, %{y:.3f}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=medians["x"],
            y=medians["y"],
            mode="markers+text",
            text=[plain_text(label) for label in medians.index],
            textposition="top center",
            textfont={"size": 12},
            marker={
                "color": [ACCENT if is_own else MUTED for is_own in medians["is_own"]],
                "size": 10,
                "symbol": ["circle" if on_front else "circle-open" for on_front in medians["on_front"]],
            },
            hovertemplate="%{text}: median %{x:.3f}, %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title={"text": f"{x_title} (higher is better)"})
    figure.update_yaxes(title={"text": f"{y_title} (higher is better)"})
    for axis, column in (("xaxis", "x"), ("yaxis", "y")):
        low, high = float(frame[column].min()), float(frame[column].max())
        room = 0.2 * max(high - low, 0.05)
        figure.update_layout({axis: {"range": [low - room, high + room]}})
    figure.update_layout(height=420, showlegend=False, dragmode=False)
    return figure


def plot_maps(
    maps: Mapping[str, np.ndarray],
    groups: pd.Series,
    *,
    beneath: Mapping[str, str],
    n_columns: int = 3,
    uns_colors: Sequence[str] | None = None,
) -> go.Figure:
    """Draw the map of each method, all in the same colours, with a line of scores beneath each.

    Parameters
    ----------
    maps
        Name -> (n_cells, 2) positions.
    groups
        (n_cells,) the group of each cell; missing ones are grey.
    beneath
        Name -> what stands beneath its map.
    uns_colors
        Colours of the categories of `groups`, in their order, where the input has some.

    Above 20,000 cells a sample of that many is drawn, the same in each map, and it is said.
    """
    if not maps:
        return empty_figure("There is no map to show. Compare with a method first.")
    values = groups.astype("category")
    names = [str(name) for name in values.cat.categories]
    colors = category_colors(names, uns_colors=uns_colors)
    n_cells = len(values)
    rows = np.arange(n_cells)
    if n_cells > N_CELLS_AT_MOST:
        rows = np.sort(np.random.default_rng(0).choice(n_cells, N_CELLS_AT_MOST, replace=False))
    rows = rows[np.random.default_rng(1).permutation(len(rows))]  # no group lies on top of the others
    palette = np.array([*(colors[name] for name in names), MISSING_COLOR], dtype=object)
    drawn = palette[values.cat.codes.to_numpy()[rows]]
    n_rows = -(-len(maps) // n_columns)
    figure = make_subplots(
        rows=n_rows, cols=n_columns, horizontal_spacing=0.03, vertical_spacing=0.13 / n_rows + 0.02,
        subplot_titles=[plain_text(name) for name in maps],
    )  # fmt: skip
    for place, (name, positions) in enumerate(maps.items()):
        row, column = place // n_columns + 1, place % n_columns + 1
        figure.add_trace(
            go.Scattergl(
                x=positions[rows, 0].astype(np.float32), y=positions[rows, 1].astype(np.float32), mode="markers",
                marker={"size": 3 if len(rows) < 5000 else 2, "color": drawn}, hoverinfo="skip", name=name,
            ),
            row=row,
            col=column,
        )  # fmt: skip
        figure.update_xaxes(title={"text": beneath.get(name, ""), "font": {"size": 12}}, row=row, col=column)
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, showline=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, showline=False)
    legend = [
        go.Scatter(x=[None], y=[None], mode="markers", marker={"color": colors[name], "size": 9}, name=plain_text(name))
        for name in names
    ]
    figure.update_annotations(font={"size": 13})
    for trace in figure.data:
        trace.showlegend = False
    figure.add_traces(legend)
    note = f" · {len(rows):,} of {n_cells:,} cells drawn" if len(rows) < n_cells else ""
    figure.update_layout(
        template=TEMPLATE,
        uirevision="maps",
        height=n_rows * _PANEL + 110,
        margin={"t": 34, "b": 20},
        dragmode=False,
        legend={
            "orientation": "h", "y": -56 / (n_rows * _PANEL), "yanchor": "top", "x": 0,
            "title": {"text": f"{plain_text(groups.name or '')}{note}"},
        },
    )  # fmt: skip
    return figure
