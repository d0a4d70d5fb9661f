"""Where does each cell sit, coloured by what is known about it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._colors import (
    MAGNITUDE_SCALE,
    MISSING_COLOR,
    OTHER_COLOR,
    SIGNED_SCALE,
    category_colors,
)
from scetm_core.figures._result import empty_frame, reason_of
from scetm_core.figures._theme import ACCENT, AXIS, MUTED, empty_figure, new_figure, plain_text
from scetm_core.figures.density import Window, pixels_of
from scetm_core.figures.umap_density import PIXELS, add_density
from scetm_core.figures.umap_names import add_names

if TYPE_CHECKING:
    import anndata as ad

N_CATEGORIES_SHOWN = 40
MAX_POINTS = 50_000
"""Cells drawn as points; more are drawn as a picture of all of them."""
MAX_POINTS_IN_VIEW = 20_000
"""Cells in a window of such a map from which on they are drawn as points."""
MISSING = "missing"


def umap_frame(result: ad.AnnData, *, color: str, values: pd.Series | None = None) -> pd.DataFrame:
    """Position and colour of each cell.

    Parameters
    ----------
    result
        With obsm["X_umap"].
    color
        A column of obs; "topic_7" for its theta; or, with `values`, the name of a gene.
    values
        Log-normalised expression of that gene, log1p(counts per 10,000), indexed by cell name; cells that it does
        not have are shown as not measured.

    Returns
    -------
    One row per cell in the order of the result: `x`, `y` (float32), `cell`, `color`. `attrs`: `kind` "category",
    "magnitude" (0 or more) or "signed"; `title`; `unit`; `colors` (category -> colour). Of more than 40 categories
    the 39 largest are kept and the others put together under a name that says how many they are. Empty, with
    `attrs["reason"]`, if there is no UMAP or nothing called `color`.
    """
    if keys.X_UMAP not in result.obsm:
        return empty_frame("This run has no UMAP. Train it again with 'Compute UMAP' switched on.")
    xy = np.asarray(result.obsm[keys.X_UMAP], dtype=np.float32)
    frame = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "cell": np.asarray(result.obs_names, dtype=object)})
    topic = keys.topic_number(color)
    if values is not None:
        numbers = values[~values.index.duplicated()].reindex(result.obs_names).to_numpy(dtype=np.float32)
        return _with_numbers(frame, numbers, title=color, unit="log1p(CP10k)")
    if color in result.obs:
        return _with_column(frame, result, color)
    if topic is not None and keys.THETA in result.obsm and topic < result.obsm[keys.THETA].shape[1]:
        theta = np.asarray(result.obsm[keys.THETA])[:, topic].astype(np.float32)
        return _with_numbers(frame, theta, title=f"topic {topic}", unit="theta")
    return empty_frame(f"Nothing here is called '{color}': no column of the cells, no topic, no gene.")


def _with_column(frame: pd.DataFrame, result: ad.AnnData, column: str) -> pd.DataFrame:
    """Colour by a column of obs."""
    values = result.obs[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return _with_numbers(frame, values.to_numpy(dtype=np.float32, na_value=np.nan), title=column, unit="")
    values = values if isinstance(values.dtype, pd.CategoricalDtype) else values.astype("category")
    names = [str(name) for name in values.cat.categories]
    codes = values.cat.codes.to_numpy()
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > 0]
    kept = order if len(order) <= N_CATEGORIES_SHOWN else order[: N_CATEGORIES_SHOWN - 1]
    colors = _colors_of(names, kept, uns_colors=result.uns.get(f"{column}_colors"))
    shown = [names[i] for i in kept]
    n_other = len(order) - len(kept)
    slot = np.full(len(names) + 1, len(kept))  # category -> its place in `shown`
    slot[kept] = np.arange(len(kept))
    slot[-1] = len(kept) + int(n_other > 0)  # answers code -1
    if n_other:
        colors[other := _free_name(f"other ({n_other} categories)", names)] = OTHER_COLOR
        shown.append(other)
    if missing := bool((codes < 0).any()):
        colors[name := _free_name(MISSING, names)] = MISSING_COLOR
        shown.append(name)
    frame["color"] = pd.Categorical.from_codes(slot[codes].astype(np.int64), categories=pd.Index(shown, dtype=object))
    colors = {name: colors[name] for name in shown}
    n_plain = len(shown) - int(missing) - int(n_other > 0)
    frame.attrs |= {"kind": "category", "title": column, "unit": "", "colors": colors, "background": shown[n_plain:]}
    return frame


def _colors_of(names: list[str], kept: list[int], *, uns_colors: object) -> dict[str, str]:
    """Colours in the order of the categories where all are shown, so that they do not depend on their sizes."""
    own = list(uns_colors) if isinstance(uns_colors, (list, tuple, np.ndarray)) else None
    if len(kept) == len(names) or (own is not None and len(own) >= len(names)):
        return category_colors(names, own)
    return category_colors([names[i] for i in kept])


def column_colors(result: ad.AnnData, column: str) -> list[str]:
    """The colours in which maps show a column of obs, in the order of its categories: for `uns["<column>_colors"]`."""
    values = result.obs[column].astype("category")
    names = [str(name) for name in values.cat.categories]
    shown = _with_column(pd.DataFrame(index=result.obs_names), result, column).attrs["colors"]
    return [shown.get(name, OTHER_COLOR) for name in names]


def _free_name(name: str, taken: list[str]) -> str:
    """The name, changed if a category is called so already."""
    return name if name not in taken else f"{name} (not given)"


def _with_numbers(frame: pd.DataFrame, numbers: np.ndarray, *, title: str, unit: str) -> pd.DataFrame:
    """Colour by a number per cell."""
    frame["color"] = np.where(np.isfinite(numbers), numbers, np.float32(np.nan))
    signed = bool((frame["color"] < 0).any())
    frame.attrs |= {"kind": "signed" if signed else "magnitude", "title": title, "unit": unit, "colors": {}}
    return frame


def default_point_size(n_cells: int) -> float:
    """Diameter in pixels at which neither 100 nor 1,000,000 cells look sparse or smeared."""
    return float(np.clip(40 * max(n_cells, 1) ** -0.27, 1.5, 9))


def plot_umap(
    frame: pd.DataFrame,
    *,
    point_size: float | None = None,
    labels: bool = True,
    for_print: bool = False,
    behind: np.ndarray | None = None,
    selected: np.ndarray | None = None,
    window: Window | None = None,
    hidden: Sequence[str] = (),
    pixels: int = PIXELS,
) -> go.Figure:
    """Draw cells as a square map with one legend entry, or one colour bar, for what they are coloured by.

    Up to 50,000 cells are points. More are drawn as a picture in which every cell counts (see `density`), and as
    points again in a window that holds at most 20,000.

    Parameters
    ----------
    frame
        From `umap_frame`.
    point_size
        Diameter in pixels; by default from the number of cells.
    labels
        Write the name of each category at its middle.
    for_print
        Real vectors on white instead of WebGL, which an exported SVG or PDF would hold as a picture only.
    behind
        (n_others, 2) places of other cells on the same map, drawn in grey behind these.
    selected
        (n_cells,) yes or no: the others fade.
    window
        left, right, bottom, top of the part of the map that is in view; all of it by default.
    hidden
        Categories that are not drawn.
    pixels
        Width and height of the picture of many cells.

    Returns
    -------
    Each point's `customdata` is its row in `frame`. A click on the legend hides a category, a double click isolates
    it. `layout.meta`: `n_cells`; `drawn` "points", "picture", or "window" for the points of a window only.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="umap")
    trace = go.Scatter if for_print else go.Scattergl
    size = default_point_size(len(frame)) if point_size is None else point_size
    places = frame[["x", "y"]].to_numpy()
    full = _square_around(places if behind is None else np.concatenate([places, behind]))
    within = None
    if not for_print and len(frame) > MAX_POINTS:
        within, _ = pixels_of(places, window or full, (1, 1))
        if len(within) > MAX_POINTS_IN_VIEW:
            within = np.zeros(0, dtype=np.int64)
    if behind is not None:
        _add_others(figure, behind, trace=trace, size=size)
    if frame.attrs["kind"] == "category":
        _add_categories(figure, frame, trace=trace, size=size, within=within)
        if labels:
            add_names(figure, frame)
    else:
        _add_numbers(figure, frame, trace=trace, size=size, within=within)
    drawn = "points" if within is None else "window" if len(within) else "picture"
    if drawn == "picture":
        add_density(
            figure, frame, window=window or full, limits=_limits(frame), radius=max(size - 1.5, 0),
            pixels=pixels, hidden=hidden, selected=selected,
        )  # fmt: skip
    elif selected is not None:
        _fade_others(figure, selected)
    for entry in figure.data if hidden else ():
        if entry.name and any(entry.name.startswith(f"{plain_text(name)} (") for name in hidden):
            entry.visible = "legendonly"
    _lay_out(figure, frame, full if window is None else window)
    figure.update_layout(meta={"n_cells": len(frame), "drawn": drawn, "full": list(full)})
    if for_print:
        figure.update_layout(paper_bgcolor="white", plot_bgcolor="white")
    return figure


def _fade_others(figure: go.Figure, selected: np.ndarray) -> None:
    """Points that are not selected nearly vanish, in every trace of cells."""
    for entry in figure.data:
        if entry.customdata is not None:
            inside = np.flatnonzero(selected[np.asarray(entry.customdata)])
            entry.update(selectedpoints=inside, unselected={"marker": {"opacity": 0.08}})


def _add_others(figure: go.Figure, places: np.ndarray, *, trace: type, size: float) -> None:
    """Other cells in grey, without a name."""
    marker = {"size": size, "color": MISSING_COLOR, "opacity": 0.25}
    x, y = np.asarray(places, dtype=np.float32).T
    figure.add_trace(trace(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False))


def _add_categories(
    figure: go.Figure, frame: pd.DataFrame, *, trace: type, size: float, within: np.ndarray | None
) -> None:
    """One trace per category, the large ones at the back; missing and other behind all, last in the legend.

    Of the cells `within` only, if given; the legend counts them all.
    """
    attrs, codes = frame.attrs, frame["color"].cat.codes.to_numpy()
    names, background = list(frame["color"].cat.categories), attrs.get("background", [])
    for name in [*reversed(background), *(name for name in names if name not in background)]:
        code = names.index(name)
        rows = np.flatnonzero(codes == code) if within is None else within[codes[within] == code]
        n_cells = len(rows) if within is None else int(np.count_nonzero(codes == code))
        figure.add_trace(
            _points(frame, rows, trace=trace, hover=plain_text(name)).update(
                name=f"{plain_text(name)} ({n_cells:,})",
                legendrank=2000 if name in background else 1000,
                marker={"size": size, "color": attrs["colors"][name], "opacity": 0.5 if name in background else 0.85},
            )
        )


def _add_numbers(
    figure: go.Figure, frame: pd.DataFrame, *, trace: type, size: float, within: np.ndarray | None
) -> None:
    """One trace of all measured cells, the highest (of signed ones: the farthest from 0) on top."""
    attrs, values = frame.attrs, frame["color"].to_numpy()
    rows = np.arange(len(values)) if within is None else within
    is_measured = np.isfinite(values[rows])
    n_missing = len(values) - int(np.isfinite(values).sum())
    if n_missing:
        figure.add_trace(
            _points(frame, rows[~is_measured], trace=trace, hover="not measured").update(
                name=f"not measured ({n_missing:,})", marker={"size": size, "color": MISSING_COLOR, "opacity": 0.5}
            )
        )
    rows = rows[is_measured]
    rows = rows[np.argsort(np.abs(values[rows]), kind="stable")]
    low, high = _limits(frame)
    what = plain_text(attrs["title"])
    marker = {
        "size": size,
        "color": values[rows].astype(np.float32) if len(rows) else [low],
        "colorscale": SIGNED_SCALE if attrs["kind"] == "signed" else MAGNITUDE_SCALE,
        "cmin": low,
        "cmax": high,
        "showscale": True,
        "opacity": 0.9,
        "colorbar": _color_bar(f"{attrs['unit']}, {what}" if attrs["unit"] else what),
    }
    points = _points(frame, rows, trace=trace, hover=f"{what}: %{{marker.color:.3~g}}")
    figure.add_trace(points.update(marker=marker, showlegend=False, name=what))


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """The numbers at the ends of the colour scale; signed ones lie around 0."""
    if frame.attrs["kind"] == "category":
        return 0.0, 1.0
    values = frame["color"].to_numpy()
    lowest, highest = (float(value) for value in _ends(values))
    limit = max(abs(lowest), abs(highest)) or 1.0
    if frame.attrs["kind"] == "signed":
        return -limit, limit
    return min(0.0 if frame.attrs["unit"] else lowest, limit * 0.999), limit


def _ends(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _color_bar(title: str) -> dict[str, object]:
    """A thin bar below the map, so that the map keeps its width on a phone."""
    return {
        "orientation": "h",
        "thickness": 8,
        "len": 0.6,
        "x": 0.5,
        "y": -0.03,
        "yanchor": "top",
        "outlinewidth": 0,
        "ticklen": 3,
        "tickcolor": AXIS,
        "tickfont": {"size": 11},
        "nticks": 5,
        "title": {"text": title, "side": "top", "font": {"size": 12}},
    }


def _points(frame: pd.DataFrame, rows: np.ndarray, *, trace: type, hover: str) -> go.Scatter | go.Scattergl:
    """Points of some rows of the frame, without their colour."""
    points = trace(mode="markers", customdata=rows.astype(np.int32))
    if not len(rows) and len(frame) > MAX_POINTS:  # stands in the legend, or for the colour bar, of a picture
        return points.update(x=[None], y=[None], hoverinfo="skip")
    points.update(x=frame["x"].to_numpy()[rows], y=frame["y"].to_numpy()[rows])
    cells = [plain_text(cell) for cell in frame["cell"].to_numpy()[rows]]
    return points.update(text=cells, hovertemplate=f"<b>{hover}</b><br>%{{text}}<extra></extra>")


def _square_around(places: np.ndarray) -> Window:
    """A square around all places, with some air."""
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 0.5) * 1.05
    x, y = float(middle[0]), float(middle[1])
    return x - half, x + half, y - half, y + half


def _lay_out(figure: go.Figure, frame: pd.DataFrame, window: Window) -> None:
    """A map without ticks, the legend below it."""
    axis = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    figure.update_xaxes(**axis, range=list(window[:2]), constrain="domain")
    figure.update_yaxes(
        **axis, range=list(window[2:]),
        scaleanchor="x", scaleratio=1, constrain="domain", constraintoward="top",
    )  # fmt: skip
    corner = {"xref": "x domain", "yref": "y domain", "x": 0, "y": 0, "showarrow": False}
    for text, place in (
        ("UMAP 1 \u2192", {"xanchor": "left", "yanchor": "bottom", "xshift": 12, "yshift": -6}),
        ("UMAP 2 \u2192", {"xanchor": "left", "yanchor": "bottom", "textangle": -90, "xshift": -6, "yshift": 12}),
    ):
        figure.add_annotation(text=text, font={"size": 11, "color": MUTED}, **place, **corner)
    below = {"orientation": "h", "yanchor": "top", "y": -0.04, "x": 0.5, "xanchor": "center"}
    figure.update_layout(
        dragmode="pan",
        legend=below
        if frame.attrs["kind"] == "category"
        else {"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0},
        margin={"l": 4, "r": 4, "t": 28, "b": 4},
        newshape={"line": {"color": ACCENT, "width": 1.5, "dash": "dot"}, "fillcolor": "rgba(12, 133, 153, 0.08)"},
    )
