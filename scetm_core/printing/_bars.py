"""Where do bars, violins and boxes stand, and how are they drawn?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection

from scetm_core.printing._axis import Axis
from scetm_core.printing._colors import CLEAR, colors_of, faded, is_numeric, rgba, scale_of
from scetm_core.printing._points import main_color
from scetm_core.printing._read import Node

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VIOLIN_STEPS = 128


def histogram_as_bar(trace: Node) -> Node:
    """A histogram counted: the bar trace that it amounts to."""
    letter = "y" if trace.get("y") is not None and trace.get("x") is None else "x"
    other = "x" if letter == "y" else "y"
    values = np.asarray([value for value in trace[letter] if value is not None])
    if values.dtype.kind not in "fiub":
        names, counts = np.unique(values.astype(str), return_counts=True)
        return {**trace, "type": "bar", letter: names.tolist(), other: counts, "orientation": "hv"[letter == "x"]}
    numbers = values.astype(float)
    numbers = numbers[np.isfinite(numbers)]
    bins = trace.get(f"{letter}bins") or {}
    if bins.get("size"):
        low = float(bins.get("start", numbers.min(initial=0)))
        edges = np.arange(low, float(bins.get("end", numbers.max(initial=1))) + bins["size"], float(bins["size"]))
    else:
        edges = np.histogram_bin_edges(numbers, int(trace.get(f"nbins{letter}") or 0) or "auto")
    counts, edges = np.histogram(numbers, edges)
    shown = counts / max(counts.sum(), 1) if str(trace.get("histnorm", "")).startswith("prob") else counts
    return {
        **trace, "type": "bar", letter: (edges[:-1] + edges[1:]) / 2, other: shown, "width": np.diff(edges),
        "orientation": "hv"[letter == "x"],
    }  # fmt: skip


def stands_on(trace: Node) -> str:
    """Letter of the axis along which bars, violins or boxes stand side by side."""
    given = trace.get("orientation")
    if given in ("h", "v"):
        return "y" if given == "h" else "x"
    return "y" if trace["type"] != "bar" and trace.get("y") is None and trace.get("x") is not None else "x"


def bar_boxes(traces: list[Node], axes: dict[str, Axis], layout: Node) -> dict[int, np.ndarray]:
    """Place of each bar trace in its figure -> its bars (n, 4): along from, along to, base, end."""
    mode = str(layout.get("barmode") or "group")
    gap = float(0.2 if layout.get("bargap") is None else layout["bargap"])
    found: dict[int, np.ndarray] = {}
    tops: dict[tuple[str, float, bool], float] = {}
    n_side = len(traces) if mode == "group" else 1
    for number, trace in enumerate(traces):
        letter = stands_on(trace)
        along, value = axes[letter], axes["y" if letter == "x" else "x"]
        heights = value.along(trace.get(value.letter) if trace.get(value.letter) is not None else [])
        given = trace.get(letter)
        centres = np.arange(len(heights), dtype=float) if given is None else along.along(given)
        raw = np.asarray(trace["width"], dtype=float) if trace.get("width") is not None else None
        steps = np.diff(np.unique(centres))
        room = float(steps.min()) if len(steps) else 1.0
        width = np.broadcast_to(room * (1 - gap) / n_side if raw is None else raw, centres.shape)
        left, right = centres - width / 2, centres + width / 2
        if raw is not None and along.kind == "log":
            middles = np.asarray(given, dtype=float)
            left, right = along.along(np.maximum(middles - raw / 2, 1e-300)), along.along(middles + raw / 2)
        elif raw is None and n_side > 1:
            shift = (number - (n_side - 1) / 2) * room * (1 - gap) / n_side
            left, right = left + shift, right + shift
        base = np.zeros(len(heights)) if trace.get("base") is None else np.broadcast_to(
            np.asarray(trace["base"], dtype=float), heights.shape).copy()  # fmt: skip
        if value.kind == "log":
            base = np.full(len(heights), np.nanmin(heights) - 1)
            ends = heights
        elif mode in ("stack", "relative"):
            for place, height in enumerate(heights):
                key = (along.name, float(centres[place]), bool(height >= 0))
                base[place] = tops.get(key, 0.0)
                tops[key] = base[place] + (height if np.isfinite(height) else 0.0)
            ends = base + heights
        else:
            ends = base + heights
        found[trace["place"]] = np.column_stack([left, right, base, ends])
    return found


def draw_bars(axes: Axes, trace: Node, boxes: np.ndarray, *, pixel: float, zorder: float) -> None:
    """Draw the bars of one trace."""
    boxes, shown = boxes, np.isfinite(boxes).all(axis=1)
    marker = trace.get("marker") or {}
    color = marker.get("color")
    if color is None or isinstance(color, str):
        colors = np.tile(np.array(main_color(trace)), (len(boxes), 1))
    elif is_numeric(color):
        values = np.asarray(color, dtype=float)
        colors = scale_of(marker, values, letter="c")(values)
    else:
        colors = colors_of(color)
    opacity = float(1 if trace.get("opacity") is None else trace["opacity"])
    own = marker.get("opacity")
    colors = colors * np.array([1, 1, 1, opacity * (float(own) if isinstance(own, (int, float)) else 1.0)])
    low, high, base, end = boxes.T
    corners = np.stack([np.stack([low, base], -1), np.stack([high, base], -1), np.stack([high, end], -1),
                        np.stack([low, end], -1)], axis=1)  # fmt: skip
    if stands_on(trace) == "y":
        corners = corners[..., ::-1]
    line = marker.get("line") or {}
    width = float(line["width"]) if isinstance(line.get("width"), (int, float)) else 0.0
    edge = rgba(line["color"]) if width and isinstance(line.get("color"), str) else CLEAR
    axes.add_collection(
        PolyCollection(corners[shown], facecolors=colors[shown], edgecolors=[edge], lw=width * pixel, zorder=zorder),
        autolim=False,
    )


# ---- violins and boxes ----------------------------------------------------------------------------------------------


def spread_groups(trace: Node, axes: dict[str, Axis]) -> list[tuple[float, np.ndarray]]:
    """Place along the axis, and values, of each violin or box of a trace."""
    letter = stands_on(trace)
    value = "y" if letter == "x" else "x"
    numbers = axes[value].along(trace.get(value) if trace.get(value) is not None else [])
    if trace.get(letter) is None:
        return [(axes[letter].spot(_own_name(trace)), numbers[np.isfinite(numbers)])]
    places = axes[letter].along(trace[letter])
    return [
        (float(place), numbers[(places == place) & np.isfinite(numbers)])
        for place in np.unique(places[places == places])
    ]


def _own_name(trace: Node) -> str:
    return str(trace.get("name") or f"trace {trace['place']}")


def learn_spread(trace: Node, axes: dict[str, Axis]) -> None:
    """Tell the axis on which violins stand what they are called."""
    letter = stands_on(trace)
    if trace.get(letter) is None:
        axes[letter].learn([_own_name(trace)])


def draw_spread(axes: Axes, trace: Node, groups: list[tuple[float, np.ndarray]], *, gap: float, pixel: float) -> None:
    """Draw violins (with the boxes and means that they are to have) or boxes."""
    color = main_color(trace, "line")
    fill = rgba(str(trace["fillcolor"])) if trace.get("fillcolor") else faded(color, 0.5)
    line = trace.get("line") or {}
    width = float(2 if line.get("width") is None else line["width"]) * pixel
    half = (1 - gap) / 2 if not trace.get("width") else float(trace["width"]) / 2
    style = {"color": color, "lw": width, "fill": fill}
    is_upright = stands_on(trace) == "x"
    for place, values in groups:
        if not len(values):
            continue
        if trace["type"] == "box":
            _box(axes, values, place, half, style, is_upright, whiskers=True)
            continue
        outline, steps = _density(values, hard=trace.get("spanmode") == "hard")
        outline = outline / outline.max() * half
        sides = {"positive": (0, 1), "negative": (1, 0)}.get(str(trace.get("side")), (1, 1))
        shape = np.column_stack(
            [np.concatenate([place - sides[0] * outline, (place + sides[1] * outline)[::-1]]),
             np.concatenate([steps, steps[::-1]])]
        )  # fmt: skip
        axes.add_collection(
            PolyCollection([shape if is_upright else shape[:, ::-1]], facecolors=[fill], edgecolors=[color], lw=width,
                           zorder=2), autolim=False,
        )  # fmt: skip
        if (box := trace.get("box") or {}).get("visible"):
            share = float(0.25 if box.get("width") is None else box["width"])
            _box(axes, values, place, half * share, {**style, "fill": (1, 1, 1, 0.85)}, is_upright, whiskers=True)
        if (trace.get("meanline") or {}).get("visible"):
            reach = float(np.interp(values.mean(), steps, outline))
            ends = ([place - sides[0] * reach, place + sides[1] * reach], [values.mean()] * 2)
            axes.plot(*(ends if is_upright else ends[::-1]), color=color, lw=width, ls=(0, (3, 2)), zorder=2.2)


def _box(
    axes: Axes,
    values: np.ndarray,
    place: float,
    half: float,
    style: dict[str, Any],
    is_upright: bool,
    *,
    whiskers: bool,
) -> None:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (high - low)
    ends = values[(values >= low - reach) & (values <= high + reach)]

    def lay(xs: list[float], ys: list[float]) -> tuple[list[float], list[float]]:
        return (xs, ys) if is_upright else (ys, xs)

    if whiskers and len(ends):
        for start, end in ((low, ends.min()), (high, ends.max())):
            axes.plot(*lay([place, place], [start, end]), color=style["color"], lw=style["lw"], zorder=2.3)
    left, right = place - half, place + half
    axes.fill(
        *lay([left, right, right, left], [low, low, high, high]), facecolor=style["fill"], edgecolor=style["color"],
        lw=style["lw"], zorder=2.4,
    )  # fmt: skip
    axes.plot(*lay([left, right], [middle, middle]), color=style["color"], lw=style["lw"], zorder=2.5,
              solid_capstyle="butt")  # fmt: skip


def _density(values: np.ndarray, *, hard: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density of a sample, by binning, and where."""
    deviation = min(values.std(), np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349 or np.inf)
    width = 0.9 * (deviation or 1.0) * len(values) ** -0.2
    low, high = float(values.min()), float(values.max())
    if low == high or not hard:
        low, high = low - 2 * width, high + 2 * width
    steps = np.linspace(low, high, _VIOLIN_STEPS)
    sample = values if len(values) <= 5000 else np.quantile(values, np.linspace(0, 1, 5000))
    outline = np.exp(-0.5 * ((steps[:, None] - sample) / width) ** 2).sum(axis=1)
    return outline, steps


def spread_reach(trace: Node, values: np.ndarray) -> np.ndarray:
    """How far a violin or box goes, for the range of its axis."""
    if not len(values):
        return values
    if trace["type"] == "violin" and trace.get("spanmode") != "hard":
        steps = _density(values, hard=False)[1]
        return np.array([steps[0], steps[-1]])
    return np.array([values.min(), values.max()])
