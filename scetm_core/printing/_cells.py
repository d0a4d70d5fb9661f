"""How are heatmaps drawn: cells as vectors, or as a bitmap where there are too many?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection

from scetm_core.errors import FigureError
from scetm_core.printing._axis import Axis
from scetm_core.printing._colors import ColorScale, scale_of
from scetm_core.printing._read import Node
from scetm_core.printing._ticks import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_VECTOR_CELLS = 6_000
_GRID = 4_000


def values_of(trace: Node) -> np.ndarray:
    """(n_rows, n_columns) numbers of a heatmap; not-a-number where there is none."""
    given = trace.get("z")
    rows = [] if given is None else given
    if isinstance(rows, list):
        rows = [[np.nan if value is None else value for value in row] for row in rows]
    try:
        values = np.asarray(rows, dtype=float)
    except (TypeError, ValueError) as error:
        raise FigureError(f"The values of a heatmap are no table of numbers ({error}).") from error
    if values.ndim != 2:
        if values.size:
            raise FigureError("The values of a heatmap must be rows of numbers.")
        return np.zeros((0, 0))
    return values.T if trace.get("transpose") else values


def heat_scale(trace: Node) -> ColorScale:
    """The colours of its numbers."""
    return scale_of(trace, values_of(trace), letter="z")


def edges_of(trace: Node, axis: Axis) -> np.ndarray:
    """Borders of columns (of an x axis) or rows along the axis."""
    n_cells = values_of(trace).shape[1 if axis.letter == "x" else 0]
    given = trace.get(axis.letter)
    if given is None:
        start, step = float(trace.get(f"{axis.letter}0") or 0), float(trace.get(f"d{axis.letter}") or 1)
        return start + step * (np.arange(n_cells + 1) - 0.5)
    places = axis.along(given)
    if len(places) == n_cells + 1:
        return places
    if len(places) != n_cells:
        raise FigureError(f"A heatmap has {n_cells:,} cells along {axis.letter} and {len(places):,} places for them.")
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    between = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - between[0]], between, [2 * places[-1] - between[-1]]])


def draw_heatmap(axes: Axes, trace: Node, x: Axis, y: Axis, *, pixel: float) -> None:
    """Draw its cells; `pixel` is a screen pixel in points."""
    values = values_of(trace)
    if not values.size:
        return
    colors = heat_scale(trace)(values)
    colors[..., 3] *= float(trace.get("opacity") or 1)
    x_edges, y_edges = edges_of(trace, x), edges_of(trace, y)
    if values.size <= MAX_VECTOR_CELLS:
        gaps = (float(trace.get("xgap") or 0) * pixel, float(trace.get("ygap") or 0) * pixel)
        _draw_vectors(axes, colors, x_edges, y_edges, gaps)
    else:
        _draw_bitmap(axes, colors, x_edges, y_edges)


def _draw_vectors(
    axes: Axes, colors: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray, gaps: tuple[float, float]
) -> None:
    """One rectangle a cell; without gaps each has a hairline of its own colour, which closes the seams."""
    box = axes.bbox
    shrink_x = gaps[0] / 2 * np.ptp(axes.get_xlim()) / max(box.width, 1e-9)
    shrink_y = gaps[1] / 2 * np.ptp(axes.get_ylim()) / max(box.height, 1e-9)
    left, right = np.minimum(x_edges[:-1], x_edges[1:]) + shrink_x, np.maximum(x_edges[:-1], x_edges[1:]) - shrink_x
    low, high = np.minimum(y_edges[:-1], y_edges[1:]) + shrink_y, np.maximum(y_edges[:-1], y_edges[1:]) - shrink_y
    left, low = np.meshgrid(left, low)
    right, high = np.meshgrid(right, high)
    corners = np.stack([np.stack([left, low], -1), np.stack([right, low], -1), np.stack([right, high], -1),
                        np.stack([left, high], -1)], axis=2).reshape(-1, 4, 2)  # fmt: skip
    flat = colors.reshape(-1, 4)
    shown = flat[:, 3] > 0
    has_gaps = any(gaps)
    axes.add_collection(
        PolyCollection(
            list(corners[shown]), facecolors=flat[shown], edgecolors="none" if has_gaps else flat[shown],
            lw=0 if has_gaps else 0.2, zorder=1,
        ),
        autolim=False,
    )  # fmt: skip


def _draw_bitmap(axes: Axes, colors: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray) -> None:
    columns, rows = _even_places(x_edges), _even_places(y_edges)
    picture = np.round(colors[rows][:, columns] * 255).astype(np.uint8)
    axes.imshow(
        picture, extent=(x_edges[0], x_edges[-1], y_edges[0], y_edges[-1]), origin="lower", aspect="auto",
        interpolation="nearest", zorder=1, resample=False,
    )  # fmt: skip
    x_range, y_range = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(x_range)
    axes.set_ylim(y_range)


def _even_places(edges: np.ndarray) -> np.ndarray:
    """Which cell each of many even steps lies in; one step a cell if cells are even."""
    widths = np.abs(np.diff(edges))
    if np.allclose(widths, widths[0]):
        return np.arange(len(widths))
    n_steps = int(min(round(widths.sum() / max(widths.min(), 1e-12)), _GRID))
    middles = edges[0] + (np.arange(n_steps) + 0.5) / n_steps * (edges[-1] - edges[0])
    ordered = edges if edges[0] < edges[-1] else -edges
    found = np.searchsorted(ordered, middles if edges[0] < edges[-1] else -middles, side="right") - 1
    return np.asarray(np.clip(found, 0, len(widths) - 1))


def cell_texts(trace: Node, x: Axis, y: Axis) -> list[tuple[float, float, str, bool]]:
    """What is written into cells: place, text, whether the cell is dark."""
    template = trace.get("texttemplate")
    if not template:
        return []
    values, scale = values_of(trace), heat_scale(trace)
    if values.size > MAX_VECTOR_CELLS:
        return []
    x_edges, y_edges = edges_of(trace, x), edges_of(trace, y)
    found = []
    for row, column in np.ndindex(*values.shape):
        if not np.isfinite(values[row, column]):
            continue
        red, green, blue, _ = scale(values[row, column])
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        place = ((x_edges[column] + x_edges[column + 1]) / 2, (y_edges[row] + y_edges[row + 1]) / 2)
        found.append((*place, _filled(str(template), trace, float(values[row, column]), (row, column)), bool(is_dark)))
    return found


def _filled(template: str, trace: Node, value: float, cell: tuple[int, int]) -> str:
    import re

    def text_for(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        if name == "z":
            return written(value, form or None)
        texts: Any = trace.get("text")
        return str(texts[cell[0]][cell[1]]) if name == "text" and texts is not None else ""

    return re.sub(r"%\{([^}]*)\}", text_for, template)
