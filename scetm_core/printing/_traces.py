"""How are the traces of one plot drawn into its axes?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._axes import Axis, column_of, is_upright
from scetm_core.printing._boxes import draw_box, draw_violin
from scetm_core.printing._color import RGBA, Scale, ends, faded, rgba, rgba_of_each
from scetm_core.printing._points import draw_point_texts, draw_points
from scetm_core.printing._read import Json, inside, mode_of
from scetm_core.printing._shapes import bars_of, edges_of
from scetm_core.printing._text import Type
from scetm_core.printing._ticks import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_VECTOR_CELLS = 6_000
"""A heatmap of more cells is drawn as an image."""
LAYERS = {"heatmap": 2, "bar": 3, "histogram": 3, "violin": 4, "box": 4.2, "scattergl": 5, "scatter": 6}
"""What lies above what, whatever the order of the traces."""
_DASHES = {"dot": (0, (1, 1.6)), "dash": (0, (4, 2.2)), "longdash": (0, (7, 3)), "dashdot": (0, (4, 2, 1, 2))}


@dataclass(frozen=True)
class Look:
    """What traces of a page share.

    Attributes
    ----------
    type
        Its `unit` turns pixels of lines and texts into points.
    marker_unit
        Points that a pixel of a marker becomes: markers grow with the plot.
    text_color
        Of the layout.
    bitmap
        Layers (of `LAYERS`) whose points are drawn as a bitmap.
    """

    type: Type
    marker_unit: float
    text_color: RGBA
    bitmap: frozenset[str]

    def line(self, px: float) -> float:
        """Width of a line in points; none is thinner than a printer can draw."""
        return max(px * self.type.unit, 0.25) if px > 0 else 0.0


def dash_of(name: Any) -> Any:
    """A line style of matplotlib."""
    return _DASHES.get(str(name), "-")


def draw_trace(ax: Axes, trace: Json, traces: list[Json], axes: tuple[Axis, Axis], look: Look) -> None:
    """Draw a trace; `traces` are all on these axes, among which bars share the room."""
    kind = trace["type"]
    if kind in ("scatter", "scattergl"):
        _draw_scatter(ax, trace, traces, axes, look)
    elif kind == "heatmap":
        _draw_heatmap(ax, trace, axes, look)
    elif kind in ("bar", "histogram"):
        _draw_bars(ax, trace, traces, axes, look)
    else:
        draw: Callable[..., None] = draw_violin if kind == "violin" else draw_box
        draw(ax, trace, traces, axes, look)


def _draw_scatter(ax: Axes, trace: Json, traces: list[Json], axes: tuple[Axis, Axis], look: Look) -> None:
    x_values, y_values = column_of(trace, is_x=True), column_of(trace, is_x=False)
    if x_values is None or y_values is None:
        return
    x, y = axes[0].linear(x_values), axes[1].linear(y_values)
    n_both = min(len(x), len(y))
    x, y, mode = x[:n_both], y[:n_both], mode_of(trace)
    if trace.get("fill") not in (None, "none"):
        _fill(ax, trace, (x, y), traces, axes)
    if "lines" in mode:
        _draw_line(ax, trace, (x, y), look)
    if "markers" in mode:
        draw_points(ax, trace, (x, y), axes, look)
    if "text" in mode:
        draw_point_texts(ax, trace, (x, y), axes, look)


def _draw_line(ax: Axes, trace: Json, xy: tuple[np.ndarray, np.ndarray], look: Look) -> None:
    from matplotlib.lines import Line2D

    shape = inside(trace, "line.shape", "linear")
    steps: Any = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}.get(shape, "default")
    x, y = xy
    if trace.get("connectgaps"):
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
    color = line_color(trace)
    line = Line2D(
        x, y, color=faded(color, float(trace.get("opacity") or 1)), linewidth=look.line(inside(trace, "line.width", 2)),
        linestyle=dash_of(inside(trace, "line.dash", "solid")), drawstyle=steps, solid_joinstyle="round",
        zorder=LAYERS[trace["type"]], gid=f"line-{trace['_id']}",
    )  # fmt: skip
    ax.add_line(line)


def line_color(trace: Json) -> RGBA:
    """Of a trace's line, or of its markers where the line has none."""
    own = inside(trace, "line.color")
    marker = inside(trace, "marker.color")
    return rgba(own if isinstance(own, str) else marker if isinstance(marker, str) else "#636efa")


def _fill(
    ax: Axes, trace: Json, xy: tuple[np.ndarray, np.ndarray], traces: list[Json], axes: tuple[Axis, Axis]
) -> None:
    """The area to zero, to the trace before, or within the line."""
    from matplotlib.collections import PolyCollection

    x, y = (values[np.isfinite(xy[0]) & np.isfinite(xy[1])] for values in xy)
    if not len(x):
        return
    fill, below = str(trace["fill"]), np.array([])
    if fill == "tozerox":
        outline = np.r_[np.c_[x, y], [[0.0, y[-1]], [0.0, y[0]]]]
    elif fill in ("tonexty", "tonextx"):
        before = [other for other in traces if other["_place"] < trace["_place"] and other["type"] == trace["type"]]
        if before:
            last = before[-1]
            below = np.c_[axes[0].linear(column_of(last, is_x=True)), axes[1].linear(column_of(last, is_x=False))]
        outline = np.r_[np.c_[x, y], below[::-1]] if len(below) else np.c_[x, y]
    elif fill == "toself":
        outline = np.c_[x, y]
    else:
        outline = np.r_[np.c_[x, y], [[x[-1], 0.0], [x[0], 0.0]]]
    color = trace.get("fillcolor")
    face = rgba(color) if isinstance(color, str) else faded(line_color(trace), 0.5)
    ax.add_collection(
        PolyCollection([outline], facecolors=[face], edgecolors="none", zorder=LAYERS[trace["type"]] - 0.1),
        autolim=False,
    )


def scale_of(options: Json) -> Scale:
    """The colour scale of a heatmap, with `zmin` and `zmax`."""
    values = np.asarray(options["z"], dtype=float) if not isinstance(options["z"], list) else matrix(options["z"])
    low, high = ends(values, options.get("zmin"), options.get("zmax"))
    return Scale(options.get("colorscale") or "Viridis", low, high, reverse=bool(options.get("reversescale")))


def matrix(rows: Any) -> np.ndarray:
    """Rows of numbers, with not-a-number where there is none."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind in "fiu":
        return np.atleast_2d(rows).astype(float)
    return np.array([[np.nan if value is None else float(value) for value in row] for row in rows], dtype=float)


def _draw_heatmap(ax: Axes, trace: Json, axes: tuple[Axis, Axis], look: Look) -> None:
    z = matrix(trace["z"])
    x, y = edges_of(trace, axes[0]), edges_of(trace, axes[1])
    if not z.size or not np.isfinite(x).all() or not np.isfinite(y).all():
        return
    colors = scale_of({**trace, "z": z})(z)  # (n_rows, n_columns, 4)
    colors[..., 3] *= float(trace.get("opacity") or 1)
    place = f"heatmap-{trace['_id']}"
    if z.size <= MAX_VECTOR_CELLS:
        gaps = float(trace.get("xgap") or 0) * look.type.unit, float(trace.get("ygap") or 0) * look.type.unit
        _draw_cells(ax, colors, (x, y), gaps, place)
    else:
        _draw_image(ax, colors, (x, y), place)
    if trace.get("texttemplate"):
        _write_cells(ax, trace, z, (x, y), axes, colors, look)


def _draw_cells(
    ax: Axes, colors: np.ndarray, edges: tuple[np.ndarray, np.ndarray], gaps: tuple[float, float], place: str
) -> None:
    """A rectangle for each cell; without gaps each reaches under its neighbours, or pages would show seams."""
    from matplotlib.collections import PolyCollection

    (x, y), shown = edges, colors[..., 3] > 0
    rows, columns = np.nonzero(shown)
    left, right, bottom, top = x[columns], x[columns + 1], y[rows], y[rows + 1]
    if max(gaps) > 0:
        half = [gap / 2 * span / max(points, 1e-9) for gap, span, points in _per_point(ax, gaps)]
        half = [min(half[0], abs(float(np.diff(x).min())) / 4), min(half[1], abs(float(np.diff(y).min())) / 4)]
        left, right = left + np.sign(right - left) * half[0], right - np.sign(right - left) * half[0]
        bottom, top = bottom + np.sign(top - bottom) * half[1], top - np.sign(top - bottom) * half[1]
    else:
        following = np.zeros(shown.shape, dtype=bool)
        following[:, :-1] = shown[:, 1:]
        right = np.where(following[rows, columns], right + 0.3 * (right - left), right)
        following[:] = False
        following[:-1] = shown[1:]
        top = np.where(following[rows, columns], top + 0.3 * (top - bottom), top)
    corners = np.stack([np.c_[left, bottom], np.c_[right, bottom], np.c_[right, top], np.c_[left, top]], axis=1)
    cells = PolyCollection(
        list(corners), facecolors=colors[rows, columns], edgecolors="none", zorder=LAYERS["heatmap"], gid=place
    )
    ax.add_collection(cells, autolim=False)


def _per_point(ax: Axes, gaps: tuple[float, float]) -> list[tuple[float, float, float]]:
    """For each direction: the gap, the span of the axis, and its length in points."""
    figure = ax.figure
    box, size = ax.get_position(), figure.get_size_inches() * 72  # type: ignore[union-attr]
    spans = abs(np.subtract(*ax.get_xlim())), abs(np.subtract(*ax.get_ylim()))
    return [(gaps[0], float(spans[0]), box.width * size[0]), (gaps[1], float(spans[1]), box.height * size[1])]


def _draw_image(ax: Axes, colors: np.ndarray, edges: tuple[np.ndarray, np.ndarray], place: str) -> None:
    """Very many cells: an image if they are even, else rectangles drawn as a bitmap."""
    x, y = edges
    even = all(np.allclose(np.diff(values), np.diff(values)[0], rtol=1e-3) for values in edges)
    if not even:
        _draw_cells(ax, colors, edges, (0.0, 0.0), place)
        ax.collections[-1].set_rasterized(True)
        return
    limits = ax.get_xlim(), ax.get_ylim()
    image = ax.imshow(
        colors, extent=(x[0], x[-1], y[-1], y[0]), aspect="auto", interpolation="nearest", zorder=LAYERS["heatmap"],
        resample=False, origin="upper",
    )  # fmt: skip
    image.set_gid(place)
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])


def _write_cells(
    ax: Axes, trace: Json, z: np.ndarray, edges: tuple[np.ndarray, np.ndarray], axes: tuple[Axis, Axis],
    colors: np.ndarray, look: Look,
) -> None:  # fmt: skip
    """A text in each cell, dark on light and light on dark, as large as the cell allows."""
    template, texts = str(trace["texttemplate"]), trace.get("text")
    px = float(inside(trace, "textfont.size", 12))
    x, y = axes[0].page(edges[0]), axes[1].page(edges[1])
    width, height = float(np.abs(np.diff(x)).min()), float(np.abs(np.diff(y)).min())
    written: list[tuple[int, int, Any]] = []
    for row, column in zip(*np.nonzero(np.isfinite(z)), strict=True):
        own = texts[row][column] if texts is not None else ""
        if block := look.type.block(_filled(template, float(z[row, column]), own), px):
            written.append((row, column, block))
    if not written:
        return
    widest = max(block.width for _, _, block in written)
    size = min(px * look.type.unit, px * look.type.unit * 0.94 * width / max(widest, 1e-9), height * 0.95)
    if size < 2.5:
        return
    stated = inside(trace, "textfont.color")
    for row, column, block in written:
        if not (axes[0].shows(np.array([edges[0][column]]))[0] and axes[1].shows(np.array([edges[1][row]]))[0]):
            continue
        light = float(colors[row, column, :3] @ [0.299, 0.587, 0.114]) > 0.55
        color = rgba(stated) if isinstance(stated, str) else rgba("#1a1a1a" if light else "white")
        place = (x[column] + x[column + 1]) / 2, (y[row] + y[row + 1]) / 2
        lower = block.size * 0.17 if block.plain == "*" else 0.0  # an asterisk hangs above the middle of its line
        block.resized(size).draw(
            ax.figure,
            (place[0], place[1] - lower - size * 0.11),
            ha="center",
            va="middle",
            color=color,
        )


def _filled(template: str, z: float, text: Any) -> str:
    """`%{z:.2f}` and `%{text}` with their values."""
    import re

    found = template.replace("%{text}", str(text if text is not None else ""))
    return re.sub(r"%\{z(?::([^}]*))?\}", lambda match: number_text(z, pattern=match[1] or ""), found)


def _draw_bars(ax: Axes, trace: Json, traces: list[Json], axes: tuple[Axis, Axis], look: Look) -> None:
    from matplotlib.collections import PolyCollection

    upright = is_upright(trace)
    along, up = axes if upright else axes[::-1]
    left, right, bottom, top = bars_of(trace, traces, along, up)
    known = np.isfinite(left) & np.isfinite(right) & np.isfinite(bottom) & np.isfinite(top)
    left, right, bottom, top = left[known], right[known], bottom[known], top[known]
    corners = np.stack([np.c_[left, bottom], np.c_[right, bottom], np.c_[right, top], np.c_[left, top]], axis=1)
    corners = corners if upright else corners[..., ::-1]
    color = inside(trace, "marker.color", "#636efa")
    if isinstance(color, str):
        faces = np.broadcast_to(rgba(color), (len(known), 4))
    else:
        values = np.asarray(color)
        numeric = values.dtype.kind in "fiu"
        faces = _by_number(trace, values) if numeric else rgba_of_each(values.tolist())
    faces = np.array(faces[: len(known)])[known]
    faces[:, 3] *= float(inside(trace, "marker.opacity", 1)) * float(trace.get("opacity") or 1)
    width = float(inside(trace, "marker.line.width", 0) or 0)
    edge = inside(trace, "marker.line.color")
    touch = len(left) > 1 and np.allclose(left[1:], right[:-1]) and bool((faces[:, 3] == 1).all())
    edges: Any = rgba(edge) if width and isinstance(edge, str) else faces if touch else "none"  # touching: no seams
    bars = PolyCollection(
        list(corners), facecolors=faces, edgecolors=edges, linewidths=look.line(width) or 0.2,
        zorder=LAYERS[trace["type"]], gid=f"bars-{trace['_id']}",
    )  # fmt: skip
    ax.add_collection(bars, autolim=False)


def _by_number(trace: Json, values: np.ndarray) -> np.ndarray:
    scale = Scale(
        inside(trace, "marker.colorscale", "Viridis"),
        *ends(values.astype(float), inside(trace, "marker.cmin"), inside(trace, "marker.cmax")),
        reverse=bool(inside(trace, "marker.reversescale", False)),
    )
    return scale(values)
