"""Where does each cell sit, coloured by what is known about it?"""

from __future__ import annotations

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
from scetm_core.figures._result import empty_frame, reason_of, topic_number
from scetm_core.figures._theme import AXIS, LABEL_BACKGROUND, MUTED, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

N_CATEGORIES_SHOWN = 30
N_CELLS_WITH_HOVER = 100_000
LABEL_MIN_SHARE = 0.01
LABEL_MAX_SPREAD = 0.8
"""A category is named on the map if it has this share of the cells, and lies closer together than all cells do."""
MISSING = "missing"
_MAP_WIDTH = 440
_LINE = 18
"""Pixels: a map of middling width, and a line of text, for keeping labels apart."""


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
    "magnitude" (0 or more) or "signed"; `title`; `unit`; `colors` (category -> colour). Of more than 30 categories
    the 29 largest are kept and the others put together under a name that says how many they are. Empty, with
    `attrs["reason"]`, if there is no UMAP or nothing called `color`.
    """
    if keys.X_UMAP not in result.obsm:
        return empty_frame("This run has no UMAP. Train it again with 'Compute UMAP' switched on.")
    xy = np.asarray(result.obsm[keys.X_UMAP], dtype=np.float32)
    frame = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "cell": np.asarray(result.obs_names, dtype=object)})
    topic = topic_number(color)
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
) -> go.Figure:
    """Draw cells as a square map with one legend entry, or one colour bar, for what they are coloured by.

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

    Returns
    -------
    Each point's `customdata` is its row in `frame`. A click on the legend hides a category, a double click isolates
    it. Above 100,000 cells there is no hover.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="umap")
    trace = go.Scatter if for_print else go.Scattergl
    size = default_point_size(len(frame)) if point_size is None else point_size
    places = frame[["x", "y"]].to_numpy()
    if behind is not None:
        _add_others(figure, behind, trace=trace, size=size)
        places = np.concatenate([places, behind])
    if frame.attrs["kind"] == "category":
        _add_categories(figure, frame, trace=trace, size=size)
        if labels:
            _add_labels(figure, frame)
    else:
        _add_numbers(figure, frame, trace=trace, size=size)
    _lay_out(figure, frame, places)
    if for_print:
        figure.update_layout(paper_bgcolor="white", plot_bgcolor="white")
    return figure


def _add_others(figure: go.Figure, places: np.ndarray, *, trace: type, size: float) -> None:
    """Other cells in grey, without a name."""
    marker = {"size": size, "color": MISSING_COLOR, "opacity": 0.25}
    x, y = np.asarray(places, dtype=np.float32).T
    figure.add_trace(trace(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False))


def _add_categories(figure: go.Figure, frame: pd.DataFrame, *, trace: type, size: float) -> None:
    """One trace per category, the large ones at the back; missing and other behind all, last in the legend."""
    attrs, codes = frame.attrs, frame["color"].cat.codes.to_numpy()
    names, background = list(frame["color"].cat.categories), attrs.get("background", [])
    for name in [*reversed(background), *(name for name in names if name not in background)]:
        rows = np.flatnonzero(codes == names.index(name))
        figure.add_trace(
            _points(frame, rows, trace=trace, hover=plain_text(name)).update(
                name=f"{plain_text(name)} ({len(rows):,})",
                legendrank=2000 if name in background else 1000,
                marker={"size": size, "color": attrs["colors"][name], "opacity": 0.5 if name in background else 0.85},
            )
        )


def _add_numbers(figure: go.Figure, frame: pd.DataFrame, *, trace: type, size: float) -> None:
    """One trace of all measured cells, the highest (of signed ones: the farthest from 0) on top."""
    attrs, values = frame.attrs, frame["color"].to_numpy()
    signed, measured = attrs["kind"] == "signed", np.flatnonzero(np.isfinite(values))
    if len(measured) < len(values):
        rows = np.flatnonzero(~np.isfinite(values))
        figure.add_trace(
            _points(frame, rows, trace=trace, hover="not measured").update(
                name=f"not measured ({len(rows):,})", marker={"size": size, "color": MISSING_COLOR, "opacity": 0.5}
            )
        )
    rows = measured[np.argsort(np.abs(values[measured]), kind="stable")]
    limit = float(np.abs(values[measured]).max(initial=0)) or 1.0
    lowest = 0.0 if attrs["unit"] or not len(rows) else float(values[measured].min())
    what = plain_text(attrs["title"])
    marker = {
        "size": size,
        "color": values[rows].astype(np.float32),
        "colorscale": SIGNED_SCALE if signed else MAGNITUDE_SCALE,
        "cmin": -limit if signed else min(lowest, limit * 0.999),
        "cmax": limit,
        "opacity": 0.9,
        "colorbar": _color_bar(f"{attrs['unit']}, {what}" if attrs["unit"] else what),
    }
    points = _points(frame, rows, trace=trace, hover=f"{what}: %{{marker.color:.3~g}}")
    figure.add_trace(points.update(marker=marker, showlegend=False, name=what))


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
    points = trace(
        x=frame["x"].to_numpy()[rows],
        y=frame["y"].to_numpy()[rows],
        mode="markers",
        customdata=rows.astype(np.int32),
    )
    if len(frame) > N_CELLS_WITH_HOVER:
        return points.update(hoverinfo="skip")
    cells = [plain_text(cell) for cell in frame["cell"].to_numpy()[rows]]
    return points.update(text=cells, hovertemplate=f"<b>{hover}</b><br>%{{text}}<extra></extra>")


def _add_labels(figure: go.Figure, frame: pd.DataFrame) -> None:
    """The name of each category on the cell nearest to its median; where names would collide, above or below it.

    Categories of few cells, and those scattered over the whole map, are named in the legend only.
    """
    xy = frame[["x", "y"]].to_numpy()
    codes, names = frame["color"].cat.codes.to_numpy(), frame["color"].cat.categories
    scale = _MAP_WIDTH / max(float(np.ptp(xy, axis=0).max()), 1e-6)  # pixels per unit
    low, high = (float(xy[:, 1].min()) * scale, float(xy[:, 1].max()) * scale)
    widest = LABEL_MAX_SPREAD * _spread(xy)
    taken: list[tuple[float, float, float]] = []
    for code, name in enumerate(names):
        cells = xy[codes == code]
        if name in frame.attrs.get("background", []) or len(cells) < max(1, LABEL_MIN_SHARE * len(xy)):
            continue
        if len(names) > 1 and _spread(cells) > widest:
            continue
        middle = cells[np.square(cells - np.median(cells, axis=0)).sum(axis=1).argmin()]
        shift = _free_shift(middle * scale, 3.6 * len(name) + 3, taken, within=(low - _LINE, high + _LINE))
        figure.add_annotation(
            x=float(middle[0]),
            y=float(middle[1]),
            text=plain_text(name),
            font={"size": 12},
            bgcolor=LABEL_BACKGROUND,
            borderpad=1,
            captureevents=False,
            showarrow=bool(shift),
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=MUTED,
            ax=0,
            ay=-shift,
        )


def _spread(xy: np.ndarray) -> float:
    """Median distance of points (n, 2) from their median."""
    return float(np.median(np.linalg.norm(xy - np.median(xy, axis=0), axis=1)))


def _free_shift(
    middle: np.ndarray,
    half_width: float,
    taken: list[tuple[float, float, float]],
    *,
    within: tuple[float, float],
) -> int:
    """Pixels upwards at which a label meets no other and stays `within` the map; its place is added to `taken`."""
    x, y = float(middle[0]), float(middle[1])

    def is_free(shift: int) -> bool:
        inside = within[0] <= y + shift <= within[1]
        return inside and all(
            abs(x - x2) > half_width + half2 or abs(y + shift - y2) >= _LINE for x2, y2, half2 in taken
        )

    shift = next((s for s in (_LINE * step * sign for step in range(12) for sign in (1, -1)) if is_free(s)), 0)
    taken.append((x, y + shift, half_width))
    return shift


def _lay_out(figure: go.Figure, frame: pd.DataFrame, places: np.ndarray) -> None:
    """A square around all places, without ticks, the legend below it."""
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 0.5) * 1.05
    axis = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    figure.update_xaxes(**axis, range=[middle[0] - half, middle[0] + half], constrain="domain")
    figure.update_yaxes(
        **axis, range=[middle[1] - half, middle[1] + half],
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
        meta={"n_cells": len(frame)},
    )
