"""How are the points of a trace drawn: their place, size, symbol and colour?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._axes import Axis, as_numbers
from scetm_core.printing._color import Scale, ends, rgba, rgba_of_each
from scetm_core.printing._read import Json, inside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scetm_core.printing._traces import Look

DEFAULT_PX = 6.0
SMALLEST_PT = 0.9
"""Diameter below which print loses a point."""
_SYMBOLS = {  # plotly's name -> matplotlib's, and how much larger the latter must be
    "circle": ("o", 1.0), "square": ("s", 1.0), "diamond": ("D", 0.92), "cross": ("P", 1.1), "x": ("X", 1.1),
    "triangle-up": ("^", 1.1), "triangle-down": ("v", 1.1), "triangle-left": ("<", 1.1), "triangle-right": (">", 1.1),
    "pentagon": ("p", 1.1), "hexagon": ("h", 1.1), "hexagon2": ("H", 1.1), "star": ("*", 1.35),
    "star-diamond": ("D", 1.0), "diamond-tall": ("d", 1.2), "diamond-wide": ("D", 1.0), "line-ns": ("|", 1.4),
    "line-ew": ("_", 1.4), "cross-thin": ("+", 1.4), "x-thin": ("x", 1.0), "asterisk": ("x", 1.0),
}  # fmt: skip
_NUMBERED = (
    "circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "triangle-left", "triangle-right",
)  # fmt: skip


def is_one(value: Any) -> bool:
    """Whether it is one number for all points."""
    return isinstance(value, (int, float, np.number))


def symbol_of(name: Any) -> tuple[str, float, bool]:
    """Marker of matplotlib, how much larger it must be, and whether it is hollow."""
    text = str(name)
    if text.isdigit():
        number = int(text)
        base = number % 100
        text = _NUMBERED[base] if base < len(_NUMBERED) else "circle"
        text += "-open" if 100 <= number % 300 < 200 else ""
    base_name = text.replace("-dot", "").removesuffix("-open")
    marker, larger = _SYMBOLS.get(base_name, ("o", 1.0))
    return marker, larger, text.replace("-dot", "").endswith("-open") or marker in "|_+x"


def scale_of_points(trace: Json) -> Scale | None:
    """The colour scale of points that are coloured by numbers."""
    values = inside(trace, "marker.color")
    if values is None or isinstance(values, str) or not _is_numeric(values):
        return None
    low, high = ends(as_numbers(values), inside(trace, "marker.cmin"), inside(trace, "marker.cmax"))
    return Scale(
        inside(trace, "marker.colorscale", "Viridis"), low, high,
        reverse=bool(inside(trace, "marker.reversescale", False)),
    )  # fmt: skip


def _is_numeric(values: Any) -> bool:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return True
    first = next((value for value in values if value is not None), None) if len(values) else None
    return isinstance(first, (int, float, np.number))


def colors_of(trace: Json, n_points: int) -> np.ndarray:
    """(n, 4), or (1, 4) where all have one colour; opacity included, but for selections."""
    color = inside(trace, "marker.color")
    if (scale := scale_of_points(trace)) is not None:
        found = scale(as_numbers(color))[:n_points]
    elif color is None or isinstance(color, str):
        line = inside(trace, "line.color")
        found = np.array([rgba(color or (line if isinstance(line, str) else "#636efa"))])
    else:
        found = rgba_of_each(color)[:n_points]
    found = np.array(found)
    opacity: Any = inside(trace, "marker.opacity", 1.0)
    if not is_one(opacity):
        values = np.asarray(opacity, dtype=float)[:n_points]
        found = np.repeat(found, n_points, axis=0) if len(found) == 1 else found
        found[:, 3] *= values
    else:
        found[:, 3] *= float(opacity)
    found[:, 3] *= float(inside(trace, "opacity", 1.0))
    return found


def _with_selection(trace: Json, colors: np.ndarray, n_points: int) -> np.ndarray:
    """Points outside a selection fade."""
    chosen = trace.get("selectedpoints")
    if chosen is None:
        return colors
    is_chosen = np.zeros(n_points, dtype=bool)
    rows = np.asarray(chosen, dtype=int)
    is_chosen[rows[(rows >= 0) & (rows < n_points)]] = True
    found = np.repeat(colors, n_points, axis=0) if len(colors) == 1 else colors
    base: Any = inside(trace, "marker.opacity", 1.0)
    faint: Any = inside(trace, "unselected.marker.opacity")
    own = np.asarray(base, dtype=float) if not is_one(base) else float(base)
    share = 0.2 if faint is None else float(faint) / np.maximum(own, 1e-9)
    found[:, 3] = np.where(is_chosen, found[:, 3], np.minimum(found[:, 3] * share, 1))
    if (other := inside(trace, "unselected.marker.color")) is not None:
        found[~is_chosen, :3] = rgba(other)[:3]
    return found


def draw_points(ax: Axes, trace: Json, xy: tuple[np.ndarray, np.ndarray], axes: tuple[Axis, Axis], look: Look) -> None:
    """Points within the range of the axes; those of one look as one marker that is drawn many times."""
    x, y = xy
    n_points = len(x)
    shown = np.isfinite(x) & np.isfinite(y) & axes[0].shows(x) & axes[1].shows(y)
    if not shown.any():
        return
    colors = _with_selection(trace, colors_of(trace, n_points), n_points)
    size: Any = inside(trace, "marker.size", DEFAULT_PX)
    sizes = np.asarray([float(size)]) if is_one(size) else as_numbers(size)[:n_points]
    if not is_one(size):
        sizes = _sized(trace, sizes)
    sizes = np.maximum(sizes * look.marker_unit, SMALLEST_PT if is_one(size) else 0.0)
    symbols = inside(trace, "marker.symbol", "circle")
    words = np.array([str(symbols)]) if isinstance(symbols, (str, int)) else np.asarray(symbols).astype(str)[:n_points]
    for number, word in enumerate(dict.fromkeys(words.tolist())):
        name = f"points-{trace['_id']}" + (f"-{number}" if number else "")
        rows = np.flatnonzero(shown & (words == word) if len(words) > 1 else shown)
        if not len(rows):
            continue
        rgba_rows = colors if len(colors) == 1 else colors[rows]
        sizes_rows = sizes if len(sizes) == 1 else sizes[rows]
        _draw_one_symbol(ax, trace, (x[rows], y[rows]), (word, name), rgba_rows, sizes_rows, look)


def _sized(trace: Json, sizes: np.ndarray) -> np.ndarray:
    """Sizes in pixels, by `sizemode` and `sizeref`."""
    reference = float(inside(trace, "marker.sizeref", 1) or 1)
    scaled = sizes / reference
    if inside(trace, "marker.sizemode", "diameter") == "area":
        scaled = 2 * np.sqrt(np.maximum(scaled, 0) / np.pi)
    return np.asarray(np.maximum(np.nan_to_num(scaled), float(inside(trace, "marker.sizemin", 0) or 0)))


def _draw_one_symbol(
    ax: Axes, trace: Json, xy: tuple[np.ndarray, np.ndarray], symbol_and_name: tuple[str, str], colors: np.ndarray,
    sizes: np.ndarray, look: Look,
) -> None:  # fmt: skip
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import IdentityTransform

    from scetm_core.printing._traces import LAYERS

    symbol, name = symbol_and_name
    marker, larger, hollow = symbol_of(symbol)
    width: Any = inside(trace, "marker.line.width", 1.0 if hollow else 0.0)
    width = float(width if is_one(width) else np.max(width))
    stated = inside(trace, "marker.line.color")
    edge: Any = rgba(stated) if isinstance(stated, str) else None
    if hollow:
        faces: Any = "none"
        edges: Any = np.broadcast_to(edge, colors.shape) if edge is not None and marker in "|_+x" else colors
    else:
        faces = colors
        edges = "none" if width == 0 else edge if edge is not None else rgba("#444")
    common: dict[str, Any] = {"zorder": LAYERS[trace["type"]], "gid": name, "clip_on": False}
    if len(colors) == 1 and len(sizes) == 1:
        points: Any = Line2D(
            *xy, linestyle="none", marker=marker, markersize=float(sizes[0]) * larger,
            markerfacecolor="none" if hollow else tuple(colors[0]),
            markeredgecolor=tuple(edges[0]) if isinstance(edges, np.ndarray) else edges,
            markeredgewidth=look.line(width), **common,
        )  # fmt: skip
        points.set_rasterized(trace["type"] in look.bitmap)
        ax.add_line(points)
        return
    style = MarkerStyle(marker)
    points = PathCollection(
        [style.get_path().transformed(style.get_transform())], sizes=(sizes * larger) ** 2, offsets=np.c_[xy],
        offset_transform=ax.transData, facecolors=faces, edgecolors=edges, linewidths=look.line(width), **common,
    )  # fmt: skip
    points.set_transform(IdentityTransform())
    points.set_rasterized(trace["type"] in look.bitmap)
    ax.add_collection(points, autolim=False)


def draw_point_texts(
    ax: Axes, trace: Json, xy: tuple[np.ndarray, np.ndarray], axes: tuple[Axis, Axis], look: Look
) -> None:
    """A text at each point, on the side that `textposition` says."""
    texts = trace.get("text")
    if texts is None:
        return
    words = [str(texts)] * len(xy[0]) if isinstance(texts, str) else [str(text) for text in texts]
    sides = trace.get("textposition") or "middle center"
    sides = [sides] * len(words) if isinstance(sides, str) else list(sides)
    size: Any = inside(trace, "marker.size", DEFAULT_PX) if "markers" in str(trace.get("mode")) else 0.0
    px, color = float(inside(trace, "textfont.size", 12)), inside(trace, "textfont.color")
    shown = axes[0].shows(xy[0]) & axes[1].shows(xy[1])
    for number in np.flatnonzero(shown[: len(words)]):
        up, across = sides[number].split()
        own = float(size if is_one(size) else size[number]) * look.marker_unit / 2 + look.type.unit * 2
        x, y = float(axes[0].page(xy[0][number])), float(axes[1].page(xy[1][number]))
        y += {"top": own, "bottom": -own}.get(up, 0.0)
        x += {"right": own, "left": -own}.get(across, 0.0)
        look.type.block(words[number], px).draw(
            ax.figure,  # type: ignore[arg-type]
            (x, y),
            ha={"left": "right", "right": "left"}.get(across, "center"),
            va={"top": "bottom", "bottom": "top"}.get(up, "middle"),
            color=rgba(color) if isinstance(color, str) else look.text_color,
        )
