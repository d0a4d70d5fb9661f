"""Where do the bars, boxes and cells of a trace begin and end along an axis?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._read import Json, inside

if TYPE_CHECKING:
    from scetm_core.printing._axes import Axis


def edges_of(trace: Json, axis: Axis) -> np.ndarray:
    """Borders (n + 1) of a heatmap's cells along an axis, from its middles or from borders stated."""
    from scetm_core.printing._axes import column_of

    z = trace["z"]
    n_cells = len(z) if not axis.is_x else max((len(row) for row in z), default=0)
    places = axis.linear(column_of(trace, is_x=axis.is_x))
    if axis.kind != "category" and len(places) == n_cells + 1:
        return places
    places = places[:n_cells]
    if len(places) == 0:
        return np.array([-0.5, 0.5])
    if len(places) == 1 or axis.kind == "category":
        return np.append(places - 0.5, places[-1] + 0.5)
    middles = (places[:-1] + places[1:]) / 2
    return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])


def histogram_of(trace: Json, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the bins, and counts (or the share, by `histnorm`) in each."""
    values = axis.linear(trace["x" if axis.is_x else "y"])
    values = values[np.isfinite(values)]
    name = "xbins" if axis.is_x else "ybins"
    start, end, size = (inside(trace, f"{name}.{key}") for key in ("start", "end", "size"))
    if axis.kind == "category":
        edges = np.arange(len(axis.categories) + 1) - 0.5
    elif start is not None and end is not None and size:
        edges = np.arange(float(start), float(end) + float(size) * 0.5, float(size))
    else:
        n_bins = int(inside(trace, f"nbins{'x' if axis.is_x else 'y'}", 0)) or "auto"
        edges = np.histogram_bin_edges(values, n_bins) if len(values) else np.array([0.0, 1.0])
    counts = np.histogram(values, edges)[0].astype(float)
    norm = str(trace.get("histnorm") or "")
    total = max(counts.sum(), 1.0)
    if norm.startswith("percent"):
        counts *= 100 / total
    elif norm.startswith("probability"):
        counts /= total
    if norm.endswith("density"):
        counts /= np.diff(edges)
    return (edges[:-1] + edges[1:]) / 2, counts


def bars_of(
    trace: Json, traces: list[Json], along: Axis, up: Axis
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left and right end of each bar along its axis, bottom and top, all along the axes.

    Parameters
    ----------
    traces
        All on these axes: neighbours and what it stands on.
    along, up
        The axis of places, and that of lengths.
    """
    from scetm_core.printing._axes import as_numbers, column_of

    if trace["type"] == "histogram":
        places, lengths = histogram_of(trace, along)
    else:
        places = along.linear(column_of(trace, is_x=along.is_x))
        lengths = as_numbers(column_of(trace, is_x=up.is_x))
    mode, gap = str(trace["_barmode"]), float(trace["_bargap"])
    same = [other for other in traces if other["type"] == trace["type"]]
    number = [other["_place"] for other in same].index(trace["_place"])
    step = float(np.diff(np.unique(places)).min()) if len(np.unique(places)) > 1 else 1.0
    width = step * (1 - gap)
    shift = 0.0
    if mode == "group" and len(same) > 1 and trace.get("width") is None:
        width /= len(same)
        shift = (number - (len(same) - 1) / 2) * width
    left, right = _sides(trace, places + shift, along, width)
    base = np.broadcast_to(as_numbers(trace.get("base") if trace.get("base") is not None else 0.0), lengths.shape)
    if mode in ("stack", "relative"):
        base = base + _beneath(same[:number], along, up, places, lengths)
    bottom, top = base, base + lengths
    if up.kind == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            bottom, top = np.where(bottom > 0, np.log10(bottom), -30.0), np.log10(top)
    return left, right, bottom, top


def _sides(trace: Json, middles: np.ndarray, along: Axis, width: float) -> tuple[np.ndarray, np.ndarray]:
    stated: Any = trace.get("width")
    if stated is None:
        return middles - width / 2, middles + width / 2
    widths = np.broadcast_to(np.asarray(stated, dtype=float), middles.shape)
    if along.kind == "log":  # stated in values, not in logarithms
        values = 10.0**middles
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(np.maximum(values - widths / 2, 1e-300)), np.log10(values + widths / 2)
    return middles - widths / 2, middles + widths / 2


def _beneath(before: list[Json], along: Axis, up: Axis, places: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What earlier bars of the same sign reach to at each place."""
    from scetm_core.printing._axes import as_numbers, column_of

    reached = np.zeros(len(places))
    for other in before:
        if other["type"] == "histogram":
            at, high = histogram_of(other, along)
        else:
            at, high = (
                along.linear(column_of(other, is_x=along.is_x)),
                as_numbers(column_of(other, is_x=up.is_x)),
            )
        for number, place in enumerate(places):
            here = high[np.isclose(at, place) & (np.sign(high) == np.sign(lengths[number]))]
            reached[number] += float(np.nansum(here))
    return reached


def extent_of_bars(trace: Json, traces: list[Json], axis: Axis, axes: dict[str, Axis]) -> tuple[float, float]:
    """Lowest and highest place that bars take along an axis."""
    from scetm_core.printing._axes import is_upright, x_of, y_of

    x, y = axes[x_of(trace)], axes[y_of(trace)]
    along, up = (x, y) if is_upright(trace) else (y, x)
    left, right, bottom, top = bars_of(trace, traces, along, up)
    ends = (left, right) if axis is along else (bottom, top)
    return float(np.nanmin(np.minimum(*ends))), float(np.nanmax(np.maximum(*ends)))
