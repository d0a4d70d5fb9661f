"""How is one figure laid out in its part of a page, so that nothing is cut off and nothing overlaps?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scetm_core.printing._axes import Axis, axes_of, column_of, x_of, y_of
from scetm_core.printing._bars import ColorBar, color_bars_of
from scetm_core.printing._color import RGBA, rgba
from scetm_core.printing._labels import keep_clear
from scetm_core.printing._legend import Legend, legend_of, names_on_plot
from scetm_core.printing._marks import (
    Frame,
    annotations_of,
    draw_arrows,
    draw_images,
    draw_shapes,
)
from scetm_core.printing._place import SMALLEST_PT, Rect, Written, axis_texts, draw_axis, place_axes
from scetm_core.printing._points import DEFAULT_PX
from scetm_core.printing._read import MAX_VECTOR_POINTS, Json, Scene, inside, n_points_of
from scetm_core.printing._text import Block, Type
from scetm_core.printing._traces import Look, draw_trace
from scetm_core.printing.settings import LARGEST_MM, MM, PrintSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCREEN_PX = 13.0
"""Pixels of most text on the screen: they become the font size of the page."""
_MAP_PX = 480.0
"""Pixels of a map at which markers have the size that their traces state."""
_MANY_POINTS = 200
_HIGHEST = 235 * MM
"""Points: a figure is not made higher than a page by itself."""


@dataclass
class Plot:
    """One figure with all that surrounds it; `area` is what its axes share."""

    scene: Scene
    settings: PrintSettings
    type: Type
    title: Block
    axes: dict[str, Axis]
    legend: Legend
    bars: list[ColorBar]
    text_color: RGBA
    legend_side: str
    area: Rect = (0.0, 0.0, 1.0, 1.0)
    outer: Rect = (0.0, 0.0, 1.0, 1.0)
    texts: list[Written] = field(default_factory=list)

    # ---- room -------------------------------------------------------------------------------------------------------

    def lay_out(self, outer: Rect) -> None:
        """Find the area for the axes within a part of the page."""
        self.outer = outer
        inner = self._inner(outer)
        area = inner
        for _ in range(4):
            self._place(area)
            left, bottom, right, top = self._reach()
            area = (
                min(inner[0] + max(area[0] - left, 0.0), inner[2] - 20),
                min(inner[1] + max(area[1] - bottom, 0.0), inner[3] - 20),
                max(inner[2] - max(right - area[2], 0.0), inner[0] + 20),
                max(inner[3] - max(top - area[3], 0.0), inner[1] + 20),
            )
            area = (area[0], area[1], max(area[2], area[0] + 10), max(area[3], area[1] + 10))
        self._place(area)

    def natural_height(self, width: float) -> float:
        """Points that the figure wants to be high, if it is so wide."""
        height = width * 0.8
        for _ in range(4):
            self.lay_out((0.0, 0.0, width, height))
            chrome = height - (self.area[3] - self.area[1])
            highest = min(max(_HIGHEST, chrome + self._height_of_names()), LARGEST_MM * MM)
            height = min(self._wanted(self.area[2] - self.area[0]) + chrome, highest)
        return max(height, 20 * MM)

    def _height_of_names(self) -> float:
        """Points at which each row's name can just be read."""
        lists = [axis.options.get("tickvals") for axis in self.axes.values() if not axis.is_x and axis.is_visible]
        return max((len(names) for names in lists if names is not None), default=0) * SMALLEST_PT * 1.02

    def _wanted(self, width: float) -> float:
        """Height of the area by the figure's proportions: those of a map, or its height on the screen."""
        tied = [axis for axis in self.axes.values() if axis.options.get("scaleanchor")]
        if len(tied) == 1 and not tied[0].is_x:
            axis, other = tied[0], self.axes.get(str(tied[0].options["scaleanchor"]))
            if other is not None:
                ratio = float(axis.options.get("scaleratio") or 1)
                return width * float(np.clip(ratio * abs(axis.high - axis.low) / abs(other.high - other.low), 0.3, 1.5))
        layout = self.scene.layout
        if self._is_map:
            first = self.scene.traces[0]
            (left, right), (bottom, top) = self.axes[x_of(first)].domain, self.axes[y_of(first)].domain
            return width * (right - left) / max(top - bottom, 0.05)
        if layout.get("height"):
            margin = layout.get("margin") or {}
            px = float(layout["height"]) - float(margin.get("t", 100)) - float(margin.get("b", 80))
            return max(px, 60.0) * self.type.unit
        return min(width * 0.72, 300 * self.type.unit * 1.4)

    def _inner(self, outer: Rect) -> Rect:
        """What is left for axes and their texts beside title, colour bars and legend."""
        left, bottom, right, top = outer
        gap = 12 * self.type.unit
        if self.title:
            top -= self.title.height + gap * 0.7
        for bar in self.bars:
            width, height = bar.size(self._bar_room(bar))
            if bar.side == "top":
                top -= height + gap * 0.8
            elif bar.side == "bottom":
                bottom += height + gap * 0.6
            else:
                right -= width + gap
        if self.legend and self.legend_side == "right":
            right -= self.legend.width + gap
        elif self.legend and self.legend_side == "below":
            bottom += self.legend.height + gap * 0.6
        return left, bottom, right, top

    def _bar_room(self, bar: ColorBar) -> float:
        left, bottom, right, top = self.outer
        return top - bottom if bar.is_upright else right - left

    def choose_legend(self, width: float, height: float) -> None:
        """Columns of the legend; it goes below where it would leave too little room at the right."""
        if not self.legend or self.legend_side not in ("right", "below"):
            return
        if self.legend_side == "right":
            self.legend = self.legend.within_height(height * 0.97)
            if self.legend.width <= width * 0.42:
                return
            self.legend_side = "below"
        self.legend = self.legend.within_width(width)

    # ---- texts ------------------------------------------------------------------------------------------------------

    def _place(self, area: Rect) -> None:
        self.area = area
        place_axes(self.axes, area)
        self.texts = [
            text for axis in self.axes.values() for text in axis_texts(axis, self.axes, self.type, self.text_color)
        ]

    def _annotations(
        self,
    ) -> tuple[list[Written], list[Written], list[tuple[tuple[float, float], Written, RGBA, float]]]:
        frame = Frame(self.axes, self.area)
        width = self.outer[2] - self.outer[0]
        return annotations_of(self.scene, frame, self.type, self.text_color, widest=width)

    def _reach(self) -> Rect:
        """What axes, their texts and annotations beside them cover."""
        beside, _, _ = self._annotations()
        shown = [axis for axis in self.axes.values() if axis.is_visible]
        boxes = [text.box for text in (*self.texts, *beside)]
        boxes.append(self.area)
        room = 1.5 if shown else 0.0
        lows, highs = np.min([box[:2] for box in boxes], axis=0), np.max([box[2:] for box in boxes], axis=0)
        return float(lows[0]), float(lows[1]), float(highs[0]) + room, float(highs[1]) + room

    # ---- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, figure: Figure) -> None:
        """Draw all of it."""
        frame = Frame(self.axes, self.area)
        draw_images(figure, self.scene, frame)
        for axis in self.axes.values():
            draw_axis(figure, axis, self.axes, self.type, self.text_color)
        self._draw_traces(figure)
        draw_shapes(figure, self.scene, frame, self.type)
        beside, on_plot, arrows = self._annotations()
        if self.legend_side == "on" and self._is_map:
            on_plot += self._names(on_plot)
        elif self.legend_side == "on" and self.legend:
            self._draw_legend_within(figure)
        led = {id(arrow[1]) for arrow in arrows if _is_away(arrow[0], arrow[1])}
        held = {number for number, text in enumerate(on_plot) if id(text) in led}
        points = np.concatenate([self._on_page(trace) for trace in self.scene.traces] or [np.empty((0, 2))])
        on_plot = keep_clear(on_plot, points, self._inner(self.outer), held=held)
        shown = {id(text) for text in (*on_plot, *beside)}
        draw_arrows(figure, [arrow for arrow in arrows if id(arrow[1]) in shown])
        for text in (*self.texts, *beside, *on_plot):
            text.draw(figure)
        self._draw_surroundings(figure)

    def _draw_traces(self, figure: Figure) -> None:
        size = figure.get_size_inches() * 72
        look = self._look()
        pairs = dict.fromkeys((x_of(trace), y_of(trace)) for trace in self.scene.traces)
        for x_name, y_name in pairs:
            x, y = self.axes[x_name], self.axes[y_name]
            place = (x.start / size[0], y.start / size[1], (x.stop - x.start) / size[0], (y.stop - y.start) / size[1])
            ax = figure.add_axes(place, frame_on=False, zorder=2)
            ax.set_axis_off()
            ax.set_autoscale_on(False)
            ax.set_xlim(x.low, x.high)
            ax.set_ylim(y.low, y.high)
            traces = [trace for trace in self.scene.traces if (x_of(trace), y_of(trace)) == (x_name, y_name)]
            for trace in traces:
                draw_trace(ax, trace, traces, (x, y), look)

    @property
    def _is_map(self) -> bool:
        """Whether both axes are of one scale, or have no numbers."""
        first = next(iter(self.scene.traces), None)
        if first is None or not first["type"].startswith("scatter"):
            return False
        pair = self.axes[x_of(first)], self.axes[y_of(first)]
        return all(a.options.get("showticklabels") is False or not a.is_visible for a in pair) or any(
            a.options.get("scaleanchor") for a in pair
        )

    def _look(self) -> Look:
        """Markers grow with a map of many points, and by the size asked for."""
        unit, scene = self.type.unit, self.scene
        if scene.n_points >= _MANY_POINTS:
            pairs = {(x_of(t), y_of(t)) for t in scene.traces if n_points_of(t)}
            sides = [np.sqrt(self.axes[x].stop - self.axes[x].start) * np.sqrt(self.axes[y].stop - self.axes[y].start)
                     for x, y in pairs]  # fmt: skip
            full = _MAP_PX if self._is_map else _MAP_PX * 1.5
            unit *= float(np.clip(max(sides) / (full * unit), 0.5, 1.4))
        if self.settings.point_size:
            main = max(scene.traces, key=n_points_of, default=None)
            size = inside(main or {}, "marker.size", DEFAULT_PX)
            unit = self.settings.point_size / max(float(np.median(np.asarray(size, dtype=float))), 1e-6)
        on_layer = {
            kind: sum(n_points_of(t) for t in scene.traces if t["type"] == kind) for kind in ("scatter", "scattergl")
        }
        bitmap = frozenset(kind for kind, n in on_layer.items() if scene.is_rasterised and n > MAX_VECTOR_POINTS // 10)
        return Look(self.type, unit, self.text_color, bitmap)

    def _draw_legend_within(self, figure: Figure) -> None:
        """The legend in the corner of the first axes that holds least."""
        first = self.scene.traces[0]
        x, y = self.axes[x_of(first)], self.axes[y_of(first)]
        legend, room = self.legend.in_columns(1), self.legend.entries[0].block.size
        points = np.concatenate([self._on_page(trace) for trace in self.scene.traces] or [np.empty((0, 2))])
        found: list[tuple[int, float, float]] = []
        for top in (y.stop - room / 2, y.start + legend.height + room / 2):
            for left in (x.stop - legend.width - room / 2, x.start + room):
                covered = (points >= (left, top - legend.height)) & (points <= (left + legend.width, top))
                found.append((int(covered.all(axis=1).sum()), left, top))
        _, left, top = min(found, key=lambda corner: corner[0])
        legend.draw(figure, left, top, self.text_color)

    def _on_page(self, trace: Json) -> np.ndarray:
        """(n, 2) places of a trace on the page, as far as its axes show them."""
        x, y = self.axes[x_of(trace)], self.axes[y_of(trace)]
        columns = column_of(trace, is_x=True), column_of(trace, is_x=False)
        if columns[0] is None or columns[1] is None or trace["type"] == "heatmap":
            return np.empty((0, 2))
        places = x.linear(columns[0]), y.linear(columns[1])
        if len(places[0]) != len(places[1]):
            return np.empty((0, 2))
        shown = x.shows(places[0]) & y.shows(places[1])
        return np.asarray(np.c_[x.page(places[0]), y.page(places[1])][shown])

    def _names(self, written: list[Written]) -> list[Written]:
        taken = {text.block.plain for text in written}
        return names_on_plot(self.scene, self.type, self.text_color, self._on_page, taken)

    def _draw_surroundings(self, figure: Figure) -> None:
        left, bottom, right, top = self.outer
        gap = 12 * self.type.unit
        if self.title:
            Written(self.title, (left, top), "left", "top", self.text_color).draw(figure)
            top -= self.title.height + gap * 0.7
        if self.legend and self.legend_side == "below":
            x = left + max((right - left - self.legend.width) / 2, 0.0)
            self.legend.draw(figure, x, bottom + self.legend.height, self.text_color)
            bottom += self.legend.height + gap * 0.6
        elif self.legend and self.legend_side == "right":
            right -= self.legend.width
            self.legend.draw(figure, right, self._plot_top(), self.text_color)
            right -= gap
        for bar in self.bars:
            room = self._bar_room(bar)
            width, height = bar.size(room)
            if bar.side == "top":
                bar.draw(figure, left, top, room=room, color=self.text_color)
                top -= height + gap * 0.8
            elif bar.side == "bottom":
                x = (self.area[0] + self.area[2] - width) / 2
                bar.draw(figure, max(x, left), bottom + height, room=room, color=self.text_color)
                bottom += height + gap * 0.6
            else:
                right -= width
                bar.draw(figure, right, self._plot_top(), room=room, color=self.text_color)
                right -= gap

    def _plot_top(self) -> float:
        """Top of the highest axes, where a legend beside them begins."""
        return max((axis.stop for axis in self.axes.values() if not axis.is_x), default=self.area[3])


def _is_away(point: tuple[float, float], text: Written) -> bool:
    """Whether a text stands beside the point that it speaks of."""
    left, bottom, right, top = text.box
    return not (left <= point[0] <= right and bottom <= point[1] <= top)


def plot_of(scene: Scene, settings: PrintSettings, type: Type, *, title: str, width: float) -> Plot:
    """Measure a figure for a width in points; `lay_out` then gives it its place."""
    layout = scene.layout
    color = rgba(str(inside(layout, "font.color", "#1f2933")))
    bars, is_taken = color_bars_of(scene, type, legend=settings.legend, widest=width)
    own = inside(layout, "title.text") or (layout["title"] if isinstance(layout.get("title"), str) else "")
    is_own = not title and not is_taken
    block = type.block(
        title or ("" if is_taken else own),
        float(inside(layout, "title.font.size", 15)) if is_own else 15.0,
        bold=not is_own,
        widest=width,
    )
    legend = Legend() if settings.legend == "off" else legend_of(scene, type)
    return Plot(scene, settings, type, block, axes_of(scene), legend, bars, color, settings.legend)
