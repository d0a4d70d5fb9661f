"""Which traces stand on which axes, how far do these reach, and how are they drawn?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scetm_core.printing._axis import Axis, axes_of, axis_name, settle_all
from scetm_core.printing._bars import (
    bar_boxes,
    draw_bars,
    draw_spread,
    histogram_as_bar,
    learn_spread,
    spread_groups,
    spread_reach,
    stands_on,
)
from scetm_core.printing._cells import draw_heatmap, edges_of
from scetm_core.printing._points import coordinates, draw_scatter
from scetm_core.printing._read import Drawing, Node, mode_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
class Subplot:
    """A pair of axes and the traces on it."""

    x: Axis
    y: Axis
    traces: list[Node] = field(default_factory=list)
    bars: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Height over width of the plane for equal scales; 0 if the axes are free."""
        for axis, other in ((self.y, self.x), (self.x, self.y)):
            if axis.spec.get("scaleanchor") == other.name:
                scale = float(axis.spec.get("scaleratio") or 1)
                spans = abs(self.y.range[1] - self.y.range[0]), abs(self.x.range[1] - self.x.range[0])
                return spans[0] / spans[1] * (scale if axis is self.y else 1 / scale)
        return 0.0


def subplots_of(drawing: Drawing) -> tuple[list[Subplot], dict[str, Axis]]:
    """The planes of a figure in order, with ranges; and all axes by name."""
    drawing = Drawing([histogram_as_bar(t) if t["type"] == "histogram" else t for t in drawing.traces], drawing.layout)
    axes = axes_of(drawing)
    found: dict[tuple[str, str], Subplot] = {}
    for trace in drawing.traces:
        names = axis_name(trace, "x"), axis_name(trace, "y")
        subplot = found.setdefault(names, Subplot(axes[names[0]], axes[names[1]]))
        subplot.traces.append(trace)
    if not found:
        found["x", "y"] = Subplot(axes["x"], axes["y"])
    for subplot in found.values():
        pair = {"x": subplot.x, "y": subplot.y}
        for trace in subplot.traces:
            if trace["type"] in ("violin", "box"):
                learn_spread(trace, pair)
            for letter in "xy":
                pair[letter].learn(trace.get(letter))
    for subplot in found.values():
        _cover(subplot, drawing.layout)
    used = {axis.name for subplot in found.values() for axis in (subplot.x, subplot.y)}
    settle_all(axes)
    return list(found.values()), {name: axis for name, axis in axes.items() if name in used}


def _cover(subplot: Subplot, layout: Node) -> None:
    pair = {"x": subplot.x, "y": subplot.y}
    bars = [trace for trace in subplot.traces if trace["type"] == "bar"]
    subplot.bars = bar_boxes(bars, pair, layout)
    for trace in subplot.traces:
        if trace["type"] == "bar":
            boxes, letter = subplot.bars[trace["place"]], stands_on(trace)
            pair[letter].cover(boxes[:, :2], pad=False)
            value = pair["y" if letter == "x" else "x"]
            value.cover(boxes[:, 2], pad=False)
            value.cover(boxes[:, 3], pad=True)
        elif trace["type"] == "heatmap":
            for axis in pair.values():
                axis.cover(edges_of(trace, axis), pad=False)
        elif trace["type"] in ("violin", "box"):
            letter = stands_on(trace)
            for place, values in spread_groups(trace, pair):
                pair[letter].cover(np.array([place - 0.5, place + 0.5]), pad=False)
                pair["y" if letter == "x" else "x"].cover(spread_reach(trace, values), pad=True)
        else:
            xs, ys = coordinates(trace, subplot.x, subplot.y)
            has_marks = "markers" in mode_of(trace) or "text" in mode_of(trace)
            subplot.x.cover(xs, pad=has_marks)
            subplot.y.cover(ys, pad=True)
            if str(trace.get("fill", "")).startswith("tozero"):
                pair[str(trace["fill"])[-1]].cover(np.zeros(1), pad=False)
            _cover_errors(trace, pair, {"x": xs, "y": ys})


def _cover_errors(trace: Node, pair: dict[str, Axis], places: dict[str, np.ndarray]) -> None:
    for letter, axis in pair.items():
        error = trace.get(f"error_{letter}") or {}
        if error.get("array") is not None and axis.kind != "log":
            up = np.asarray(error["array"], dtype=float)
            down = up if error.get("arrayminus") is None else np.asarray(error["arrayminus"], dtype=float)
            axis.cover(np.concatenate([places[letter] - down, places[letter] + up]), pad=True)


def draw_traces(
    axes: Axes, subplot: Subplot, layout: Node, *, pixel: float, point: float, size: float, bitmap: bool
) -> None:
    """Draw all traces of a plane, in their order."""
    pair = {"x": subplot.x, "y": subplot.y}
    before: tuple[np.ndarray, np.ndarray] | None = None
    for number, trace in enumerate(subplot.traces):
        zorder = 2.0 + number * 0.001 if trace["type"] != "heatmap" else 1.0
        if trace["type"] == "heatmap":
            draw_heatmap(axes, trace, subplot.x, subplot.y, pixel=pixel)
        elif trace["type"] == "bar":
            draw_bars(axes, trace, subplot.bars[trace["place"]], pixel=pixel, zorder=zorder)
        elif trace["type"] in ("violin", "box"):
            gap = layout.get(f"{trace['type']}gap")
            draw_spread(axes, trace, spread_groups(trace, pair), gap=float(0.3 if gap is None else gap), pixel=pixel)
        else:
            if before is not None:
                trace = {**trace, "beneath": before}
            is_map = subplot.ratio > 0 or trace["type"] == "scattergl"
            draw_scatter(axes, trace, subplot.x, subplot.y, pixel=pixel, point=point, size=size if is_map else 0.0,
                         bitmap=bitmap, zorder=zorder)  # fmt: skip
            before = coordinates(trace, subplot.x, subplot.y)
