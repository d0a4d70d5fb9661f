"""Which colour is what? Entries of a legend in columns, and bars of colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.transforms import Affine2D

from scetm_core.printing._axis import axis_name
from scetm_core.printing._cells import heat_scale
from scetm_core.printing._colors import CLEAR, RGBA, ColorScale, faded, rgba, scale_of
from scetm_core.printing._points import SYMBOLS, main_color, symbol_path
from scetm_core.printing._read import Drawing, Node, mode_of, text_node
from scetm_core.printing._text import LINE, Block, Type
from scetm_core.printing._ticks import even_ticks, nice_step

if TYPE_CHECKING:
    from scetm_core.printing._page import Page

_GAP = 1.6
"""Between columns of a legend, in sizes of its font."""


def named_traces(drawing: Drawing) -> list[Node]:
    """Traces that a legend lists, in its order.

    A figure that hides its legend since the page has buttons instead is given one; one that has several planes, or a
    single name, and hides it, is not.
    """
    named = [
        trace
        for trace in drawing.traces
        if trace.get("name") and trace.get("showlegend", trace["type"] != "heatmap") is not False
    ]
    if drawing.layout.get("showlegend") is False:
        planes = {(axis_name(trace, "x"), axis_name(trace, "y")) for trace in named}
        if len(planes) > 1 or len({trace["name"] for trace in named}) < 2:
            return []
    elif len(drawing.traces) == 1 and not any(trace.get("showlegend") for trace in named):
        return []
    named.sort(key=lambda trace: float(trace.get("legendrank") or 1000))
    groups = list(dict.fromkeys(str(trace.get("legendgroup") or "") for trace in named))
    if len(groups) > 1:
        named.sort(key=lambda trace: groups.index(str(trace.get("legendgroup") or "")))
    return named


@dataclass
class _Entry:
    block: Block
    trace: Node | None


class Legend:
    """Entries set in columns; `width` and `height` in points."""

    def __init__(self, drawing: Drawing, letters: Type) -> None:
        node = drawing.layout.get("legend") or {}
        self.letters, self.entries = letters, list[_Entry]()
        font = node.get("font")
        self.size = letters.font(font).size
        traces = named_traces(drawing)
        title = text_node(node.get("title"))
        if traces and title.get("text"):
            self.entries.append(_Entry(letters.block(f"<b>{title['text']}</b>", font), None))
        for trace in traces:
            heading = (trace.get("legendgrouptitle") or {}).get("text")
            if heading:
                self.entries.append(_Entry(letters.block(f"<b>{heading}</b>", font), None))
            self.entries.append(_Entry(letters.block(str(trace["name"]), font), trace))
        self.line, self.swatch = self.size * (LINE + 0.12), self.size * 1.35
        self.rows: list[list[_Entry]] = []
        self.width = self.height = 0.0

    def arrange(self, *, max_width: float, max_height: float, wide: bool) -> None:
        """Choose columns: as few as the height allows, or as many as the width does if `wide`."""
        if not self.entries:
            return
        for entry in self.entries:
            entry.block = entry.block.wrapped(max(max_width - self.swatch, 4 * self.size))
        n_lines = sum(len(entry.block.lines) for entry in self.entries)
        most = len(self.entries)
        choices = range(min(most, 12), 0, -1) if wide else range(1, min(most, 12) + 1)
        best: list[list[_Entry]] = [self.entries]
        for n_columns in choices:
            columns = self._columns(-(-n_lines // n_columns))
            fits = self._width(columns) <= max_width
            if wide and fits:
                best = columns
                break
            if not wide:
                if not fits:
                    break
                best = columns
                if self._height(columns) <= max_height:
                    break
        self.rows, self.width, self.height = best, self._width(best), self._height(best)

    def _columns(self, n_lines: int) -> list[list[_Entry]]:
        columns: list[list[_Entry]] = [[]]
        used = 0
        for place, entry in enumerate(self.entries):
            need = len(entry.block.lines)
            is_heading = entry.trace is None and place + 1 < len(self.entries)
            if columns[-1] and used + need + is_heading > n_lines:
                columns.append([])
                used = 0
            columns[-1].append(entry)
            used += need
        return columns

    def _width(self, columns: list[list[_Entry]]) -> float:
        widths = [max(self._indent(e) + e.block.width for e in column) for column in columns]
        return sum(widths) + _GAP * self.size * (len(widths) - 1)

    def _height(self, columns: list[list[_Entry]]) -> float:
        return max(self.line * sum(len(e.block.lines) for e in column) for column in columns)

    def _indent(self, entry: _Entry) -> float:
        return self.swatch if entry.trace is not None else 0.0

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw with its top left corner there."""
        for column in self.rows:
            y = top
            for entry in column:
                high = self.line * len(entry.block.lines)
                if entry.trace is not None:
                    draw_key(page, entry.trace, (left + self.size * 0.5, y - self.line / 2), self.size)
                box = entry.block.box(left + self._indent(entry), y - high / 2, va="middle")
                entry.block.draw(page, box)
                y -= high
            left += max(self._indent(e) + e.block.width for e in column) + _GAP * self.size


def draw_key(page: Page, trace: Node, middle: tuple[float, float], size: float) -> None:
    """What stands for a trace in a legend, of about the size of its letters, opaque."""
    x, y = middle
    if not trace["type"].startswith("scatter"):
        color = main_color(trace, "line" if trace["type"] in ("violin", "box") else "marker")
        half = size * 0.36
        page.rectangle((x - half, y - half, x + half, y + half), fill=color)
        return
    mode = mode_of(trace)
    if "lines" in mode:
        line = trace.get("line") or {}
        width = float(2 if line.get("width") is None else line["width"]) * size / 12
        page.line([x - size * 0.55, x + size * 0.55], [y, y], color=main_color(trace, "line"), width=width,
                  dash=str(line.get("dash") or "solid"))  # fmt: skip
    if "markers" in mode:
        _draw_mark(page, trace, middle, size * (0.45 if "lines" in mode else 0.68))


def _draw_mark(page: Page, trace: Node, middle: tuple[float, float], size: float) -> None:
    marker = trace.get("marker") or {}
    kind = marker.get("symbol")
    kind = str(
        (kind if isinstance(kind, (str, int)) else (list(kind) if kind is not None else ["circle"])[0]) or "circle"
    )
    sign = SYMBOLS.get(kind.removesuffix("-dot").removesuffix("-open"), "o")
    edge = marker.get("line") or {}
    is_open = kind.endswith("-open") or sign in "|_+x"
    color = main_color(trace)
    color = (*color[:3], 1.0 if color[3] > 0 else 0.0)
    own = rgba(edge["color"]) if isinstance(edge.get("color"), str) else color
    is_ring = color[3] == 0 and own[3] > 0 and bool(edge.get("width"))
    stroke = own if is_ring or sign in "|_+x" else color
    marks = PathCollection(
        [symbol_path(sign)], sizes=[size**2], facecolors="none" if is_open or is_ring else [color],
        edgecolors=[stroke] if is_open or is_ring else "none", linewidths=[size * 0.16 if is_open or is_ring else 0],
        offsets=[middle], offset_transform=page.points, zorder=4,
    )  # fmt: skip
    marks.set_transform(Affine2D())
    page.figure.add_artist(marks)


# ---- colour bars ----------------------------------------------------------------------------------------------------


class ColorBar:
    """A bar of colours with ticks and a title, lying or standing."""

    def __init__(self, scale: ColorScale, node: Node, letters: Type, *, fallback: bool = False) -> None:
        self.scale, self.node, self.letters = scale, node, letters
        self.is_lying = node.get("orientation") == "h"
        y, self.x = node.get("y"), float(0.5 if node.get("x") is None else node["x"])
        self.is_above = self.is_lying and float(1 if y is None else y) >= 0.9
        title = text_node(node.get("title"))
        self.title = letters.block(str(title.get("text") or ""), title.get("font"), pixels=12)
        thickness = float(10 if node.get("thickness") is None else node["thickness"])
        self.thick = thickness * letters.scale
        self.width = self.height = self.length = 0.0
        self.ticks: list[tuple[float, Block]] = []

    def arrange(self, *, along: float, max_width: float) -> None:
        """Find its size beside a plot that is `along` wide (of a lying bar) or high."""
        given = float(1 if self.node.get("len") is None else self.node["len"])
        in_pixels = self.node.get("lenmode") == "pixels"
        length = given * self.letters.scale if in_pixels else given * along
        size = self.letters.font(self.node.get("tickfont"), pixels=11).size
        self.length = min(max(length, 9 * size), max_width if self.is_lying else max(along, 9 * size), 28 * size)
        self.title = self.title.wrapped(max_width)
        span = self.scale.high - self.scale.low
        most = int(self.length / (size * (3.6 if self.is_lying else 2.4)))
        step = nice_step(span, max(min(int(self.node.get("nticks") or 5), most), 1)) if span else 1.0
        ticks = even_ticks(self.scale.low, self.scale.high, step, self.node.get("tickformat"))
        self.ticks = [
            ((value - self.scale.low) / (span or 1), self.letters.block(text, self.node.get("tickfont"), pixels=11))
            for value, text in ticks
        ]
        labels = [block.size() for _, block in self.ticks] or [(0.0, 0.0)]
        gap = 0.3 * size
        title = self.title.height + gap if self.title.text else 0.0
        if self.is_lying:
            self.width = max(self.length, self.title.width) + max(width for width, _ in labels) / 2
            self.height = title + self.thick + gap + max(height for _, height in labels)
        else:
            self.width = max(self.thick + 1.5 * gap + max(width for width, _ in labels), self.title.width)
            self.height = title + self.length + size * 0.5
        self.gap = gap

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw with its top left corner there."""
        if self.title.text:
            self.title.draw(page, self.title.box(left, top, va="top"))
            top -= self.title.height + self.gap
        shades = np.linspace(0, 1, 129)
        colors = self.scale(self.scale.low + (shades[:-1] + shades[1:]) / 2 * (self.scale.high - self.scale.low))
        tick = 2.5 * self.letters.scale
        ink = rgba(str(self.node.get("tickcolor") or "#7b8794"))
        if self.is_lying:
            bottom = top - self.thick
            ends = left + shades * self.length
            boxes = np.column_stack([ends[:-1], np.full(128, bottom), ends[1:], np.full(128, top)])
            page.rectangles(boxes, colors)
            for share, block in self.ticks:
                x = left + share * self.length
                page.line([x, x], [bottom, bottom - tick], color=ink, width=self.letters.scale)
                low = max(x - block.width / 2, left - (left if x - block.width / 2 < 0 else 0))
                shift = low - (x - block.width / 2)
                block.draw(page, block.box(x + shift, bottom - tick * 0.6, ha="center", va="top"))
            return
        bottom = top - self.length
        ends = bottom + shades * self.length
        boxes = np.column_stack([np.full(128, left), ends[:-1], np.full(128, left + self.thick), ends[1:]])
        page.rectangles(boxes, colors)
        for share, block in self.ticks:
            y = bottom + share * self.length
            x = left + self.thick
            page.line([x, x + tick], [y, y], color=ink, width=self.letters.scale)
            block.draw(page, block.box(x + tick + self.gap, y, va="middle"))


def color_bars(drawing: Drawing, letters: Type) -> list[ColorBar]:
    """The bars of a figure: of heatmaps, and of markers coloured by numbers; a shared one once."""
    found: list[ColorBar] = []
    seen: set[str] = set()
    for trace in drawing.traces:
        marker = trace.get("marker") or {}
        owner: Node | None = None
        scale: Any = None
        if trace["type"] == "heatmap" and trace.get("showscale", True) and trace.get("z") is not None:
            owner, scale = trace, heat_scale(trace)
        elif isinstance(marker.get("color"), (list, np.ndarray)) and marker.get("colorbar") and marker.get(
            "showscale", True
        ):  # fmt: skip
            owner = marker
            scale = scale_of(marker, np.asarray(marker["color"], dtype=float), letter="c")
        if owner is None or (name := str(owner.get("coloraxis") or "")) in seen - {""}:
            continue
        seen.add(name)
        found.append(ColorBar(scale, owner.get("colorbar") or {}, letters))
    return found


__all__ = ["CLEAR", "RGBA", "ColorBar", "Legend", "color_bars", "draw_key", "faded", "named_traces"]
