"""How are scatters drawn: lines, fills, error bars and markers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

from scetm_core.printing._axis import Axis
from scetm_core.printing._colors import CLEAR, RGBA, colors_of, faded, is_numeric, rgba, scale_of
from scetm_core.printing._page import line_style
from scetm_core.printing._read import Node, mode_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

SYMBOLS = {
    "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X", "triangle-up": "^", "triangle-down": "v",
    "triangle-left": "<", "triangle-right": ">", "pentagon": "p", "hexagon": "h", "star": "*", "line-ns": "|",
    "line-ew": "_", "cross-thin": "+", "x-thin": "x", "asterisk": "*",
}  # fmt: skip
_HOLLOW = {"|", "_", "+", "x"}


def draw_scatter(
    axes: Axes, trace: Node, x: Axis, y: Axis, *, pixel: float, point: float, size: float, bitmap: bool, zorder: float
) -> None:
    """Draw one trace.

    Parameters
    ----------
    pixel, point
        A screen pixel in points: of lines, of markers.
    size
        Diameter of all markers in points instead of their own; 0: their own.
    bitmap
        Markers as a bitmap.
    """
    xs, ys = coordinates(trace, x, y)
    mode, opacity = mode_of(trace), float(1 if trace.get("opacity") is None else trace["opacity"])
    _fill(axes, trace, (xs, ys), opacity=opacity, zorder=zorder)
    if "lines" in mode:
        line = trace.get("line") or {}
        color = faded(main_color(trace, "line"), opacity)
        places = _stepped(xs, ys, str(line.get("shape") or "linear"))
        width = float(2 if line.get("width") is None else line["width"])
        axes.plot(*places, color=color, lw=width * pixel, ls=line_style(str(line.get("dash") or "solid")),
                  solid_capstyle="round", solid_joinstyle="round", zorder=zorder)  # fmt: skip
    for letter in "xy":
        _error_bars(axes, trace, (xs, ys), letter=letter, log=(x if letter == "x" else y).kind == "log", pixel=pixel,
                    zorder=zorder)  # fmt: skip
    if "markers" in mode:
        for markers in marker_groups(trace, xs, ys, pixel=pixel, point=point, size=size, opacity=opacity):
            markers.set_offset_transform(axes.transData)
            markers.set(zorder=zorder + 0.01, rasterized=bitmap or None)
            axes.add_collection(markers, autolim=False)
            if not trace.get("cliponaxis", True):
                markers.set_clip_on(False)


def coordinates(trace: Node, x: Axis, y: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Both of the trace's points along the axes; the missing one counts from 0."""
    given = {letter: trace.get(letter) for letter in "xy"}
    n_points = min((len(values) for values in given.values() if values is not None), default=0)
    numbers = [
        np.arange(n_points, dtype=float) if given[axis.letter] is None else axis.along(given[axis.letter])[:n_points]
        for axis in (x, y)
    ]
    return numbers[0], numbers[1]


def main_color(trace: Node, of: str = "marker") -> RGBA:
    """The one colour of a trace, as its legend shows it."""
    for part in (of, "marker", "line"):
        color = (trace.get(part) or {}).get("color")
        if isinstance(color, str):
            return rgba(color)
        if color is not None and not isinstance(color, (int, float)) and len(color) and isinstance(color[0], str):
            return rgba(color[0])
    return rgba(str(trace["default_color"]))


def marker_groups(
    trace: Node, xs: np.ndarray, ys: np.ndarray, *, pixel: float, point: float, size: float, opacity: float
) -> list[PathCollection]:
    """The markers, those of one symbol together."""
    marker = trace.get("marker") or {}
    n_points = len(xs)
    shown = np.isfinite(xs) & np.isfinite(ys)
    own = marker.get("opacity")
    alpha = np.broadcast_to(np.asarray(1.0 if own is None else own, dtype=float), n_points) * opacity
    colors = _colors(trace, marker, n_points)
    colors = colors * np.array([1, 1, 1, 0]) + np.stack([0 * alpha, 0 * alpha, 0 * alpha, colors[:, 3] * alpha], -1)
    sizes = _sizes(marker, n_points, point=point, size=size)
    symbols = marker.get("symbol")
    symbols = [symbols] * n_points if symbols is None or isinstance(symbols, (str, int)) else list(symbols)
    kinds = np.array([str(symbol or "circle") for symbol in symbols], dtype=object)
    edge = marker.get("line") or {}
    found = []
    for kind in dict.fromkeys(kinds.tolist()):
        rows = np.flatnonzero((kinds == kind) & shown)
        if len(rows):
            found.append(_collection(kind, (xs[rows], ys[rows]), colors[rows], sizes[rows], edge, alpha[rows], pixel))
    return found


def _collection(
    kind: str, places: tuple[np.ndarray, np.ndarray], colors: np.ndarray, sizes: np.ndarray, edge: Node,
    alpha: np.ndarray, pixel: float,
) -> PathCollection:  # fmt: skip
    base = kind.removesuffix("-dot").removesuffix("-open")
    sign = SYMBOLS.get(base, "o")
    width = edge.get("width")
    width = float(width) if isinstance(width, (int, float)) else None
    is_open = kind.endswith("-open") or sign in _HOLLOW
    if is_open:
        if sign in _HOLLOW and isinstance(edge.get("color"), str):
            edges = np.array([faded(rgba(edge["color"]), float(a)) for a in alpha[:1]])
        else:
            edges = colors
        faces: Any = "none"
        width = (1.2 if width is None else width) * pixel
    else:
        faces, edges = _one(colors), np.array([CLEAR])
        width = (width or 0) * pixel
        if width:
            edges = np.array([rgba(edge["color"]) if isinstance(edge.get("color"), str) else (0.27, 0.27, 0.27, 1.0)])
    markers = PathCollection(
        [symbol_path(sign)], sizes=_one(sizes**2), facecolors=faces, edgecolors=_one(edges) if width else "none",
        linewidths=[width], offsets=np.column_stack(places),
    )  # fmt: skip
    markers.set_transform(Affine2D())
    return markers


def symbol_path(sign: str) -> Path:
    """Outline of a symbol, one across."""
    style = MarkerStyle(sign)
    scale = 1.0 if sign not in ("D",) else 0.92
    return style.get_path().transformed(style.get_transform() + Affine2D().scale(scale))


def _one(values: np.ndarray) -> np.ndarray:
    """The first alone if all are equal: files then name it once."""
    return values[:1] if len(values) > 1 and (values == values[0]).all() else values


def _colors(trace: Node, marker: Node, n_points: int) -> np.ndarray:
    color = marker.get("color")
    if color is None or isinstance(color, str):
        one = rgba(color) if color is not None else main_color(trace)
        return np.tile(np.array(one), (n_points, 1))
    if is_numeric(color):
        values = np.array([np.nan if value is None else value for value in color], dtype=float)[:n_points]
        return scale_of(marker, values, letter="c")(values)
    return colors_of(color)[:n_points]


def _sizes(marker: Node, n_points: int, *, point: float, size: float) -> np.ndarray:
    given = marker.get("size")
    if isinstance(given, (list, np.ndarray)):
        sizes = np.array([0 if value is None else value for value in given], dtype=float)[:n_points]
        reference = float(marker.get("sizeref") or 1)
        if marker.get("sizemode") == "area":
            sizes = 2 * np.sqrt(np.maximum(sizes, 0) / 2 / reference * 2) / 2
        else:
            sizes = sizes / reference
        return np.maximum(sizes, float(marker.get("sizemin") or 0)) * point
    return np.full(n_points, size or float(6 if given is None else given) * point)


def _fill(axes: Axes, trace: Node, places: tuple[np.ndarray, np.ndarray], *, opacity: float, zorder: float) -> None:
    kind = trace.get("fill")
    if not kind or kind == "none" or not len(places[0]):
        return
    given = trace.get("fillcolor")
    color = rgba(given) if given else faded(main_color(trace, "line"), 0.5)
    xs, ys = places
    style: dict[str, Any] = {"facecolor": faded(color, opacity), "lw": 0, "zorder": zorder - 0.01}
    if kind in ("toself", "tonext"):
        axes.fill(xs, ys, **style)
    elif kind == "tozerox":
        axes.fill_betweenx(ys, xs, 0, **style)
    elif kind == "tonexty" and "beneath" in trace:
        below_x, below_y = trace["beneath"]
        axes.fill(np.concatenate([xs, below_x[::-1]]), np.concatenate([ys, below_y[::-1]]), **style)
    else:
        axes.fill_between(xs, ys, 0, **style)


def _stepped(xs: np.ndarray, ys: np.ndarray, shape: str) -> tuple[np.ndarray, np.ndarray]:
    if shape == "hv":
        return np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]
    if shape == "vh":
        return np.repeat(xs, 2)[:-1], np.repeat(ys, 2)[1:]
    return xs, ys


def _error_bars(
    axes: Axes,
    trace: Node,
    places: tuple[np.ndarray, np.ndarray],
    *,
    letter: str,
    log: bool,
    pixel: float,
    zorder: float,
) -> None:
    error = trace.get(f"error_{letter}") or {}
    if not error or error.get("visible") is False or error.get("array") is None:
        return
    up = np.asarray(error["array"], dtype=float)
    down = up if error.get("arrayminus") is None else np.asarray(error["arrayminus"], dtype=float)
    middle, across = (places[0], places[1]) if letter == "x" else (places[1], places[0])
    if log:
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = np.log10(10**middle - down), np.log10(10**middle + up)
    else:
        low, high = middle - down, middle + up
    ends = [np.column_stack([low, across]), np.column_stack([high, across])]
    segments = np.stack(ends if letter == "x" else [end[:, ::-1] for end in ends], axis=1)
    color = rgba(error["color"]) if isinstance(error.get("color"), str) else main_color(trace)
    width = float(1.5 if error.get("thickness") is None else error["thickness"]) * pixel
    known = np.isfinite(segments).all(axis=(1, 2))
    axes.add_collection(LineCollection(list(segments[known]), colors=[color], lw=width, zorder=zorder), autolim=False)
    cap = float(4 if error.get("width") is None else error["width"]) * pixel
    if cap:
        caps = segments[known].reshape(-1, 2)
        axes.plot(
            *caps.T, ls="none", marker="|" if letter == "x" else "_", ms=2 * cap, mew=width, color=color, zorder=zorder
        )
