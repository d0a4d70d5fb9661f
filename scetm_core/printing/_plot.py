"""How is a figure laid out in the room it has: title, colour bars, planes with their axes, legend?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scetm_core.printing._axis import axes_of
from scetm_core.printing._cells import cell_texts
from scetm_core.printing._colors import rgba
from scetm_core.printing._geometry import Geometry
from scetm_core.printing._legend import ColorBar, Legend, color_bars
from scetm_core.printing._notes import Note, notes_of
from scetm_core.printing._points import coordinates
from scetm_core.printing._read import Drawing, Node, mode_of
from scetm_core.printing._rulers import Ruler, ruler_of
from scetm_core.printing._shapes import draw_images, draw_shapes
from scetm_core.printing._subplot import draw_traces, subplots_of
from scetm_core.printing._text import Block, Box, Font, Type
from scetm_core.printing.settings import PrintSettings

if TYPE_CHECKING:
    from scetm_core.printing._page import Page

_EDGE = 2.0
"""Points that stay free at each side."""
_SCREEN_WIDTH = 560.0
"""Pixels of a plot of middling width on screen, to which sizes of points belong."""
_ROUNDS = 6


class Plot:
    """One figure and where its parts go; call `fit`, then `draw`."""

    def __init__(self, drawing: Drawing, settings: PrintSettings, letters: Type, *, bitmap: bool) -> None:
        self.drawing, self.settings, self.letters, self.bitmap = drawing, settings, letters, bitmap
        self.subplots, axes = subplots_of(drawing)
        self.geometry = Geometry(self.subplots, axes, axes_of(drawing))
        layout = drawing.layout
        self.gap = 0.6 * letters.plain.size
        self.heading = letters.block(str(layout["title"].get("text") or ""), layout["title"].get("font"), pixels=15)
        self.bars = color_bars(drawing, letters)
        self.legend = Legend(drawing, letters)
        self.place = settings.legend if self.legend.entries else "off"
        self.names_on_map: list[Node] = []
        if self.place == "on":
            self.names_on_map = self._names_on_map()
        self.rulers: list[Ruler] = []
        self.notes: list[Note] = []
        self.margins = [0.0, 0.0, 0.0, 0.0]  # left, bottom, right, top, of what hangs out of the area
        self.gaps: tuple[list[float], list[float]] = ([], [])
        self.area = (100.0, 100.0)
        self.height = 0.0

    @property
    def above(self) -> list[ColorBar]:
        """Colour bars above the plot."""
        return [bar for bar in self.bars if bar.is_above]

    @property
    def below(self) -> list[ColorBar]:
        """Colour bars below the plot."""
        return [bar for bar in self.bars if bar.is_lying and not bar.is_above]

    @property
    def beside(self) -> list[ColorBar]:
        """Colour bars at the right."""
        return [bar for bar in self.bars if not bar.is_lying]

    def fit(self, width: float, height: float | None) -> float:
        """Lay out in a width, and in a height or as high as needed; the height in points."""
        self.width = width
        area = (0.6 * width, 0.5 * width)
        for _ in range(_ROUNDS):
            left, bottom, right, top = self._strips(width, area, height)
            free = width - left - right
            area_width = max(free - self.margins[0] - self.margins[2], 0.2 * width)
            if height is None:
                area_height = self._natural_height(area_width)
            else:
                area_height = max(height - top - bottom - self.margins[1] - self.margins[3], 0.2 * height)
                if len(self.subplots) == 1 and (ratio := self.subplots[0].ratio):
                    area_width = min(area_width, area_height / ratio)
            area = (area_width, area_height)
            self._measure(area)
        left, bottom, right, top = self._strips(width, area, height)
        self.area = area
        self.height = height or area[1] + self.margins[1] + self.margins[3] + bottom + top
        if height is None and self.place == "right":
            self.height = max(self.height, self.legend.height + top + _EDGE)
        self.corner = (left + self.margins[0], self.height - top - self.margins[3] - area[1])
        return self.height

    def _natural_height(self, area_width: float) -> float:
        layout = self.drawing.layout
        if len(self.subplots) == 1 and (ratio := self.subplots[0].ratio):
            return area_width * ratio
        if layout.get("height"):
            margin = layout.get("margin") or {}
            inside = float(layout["height"]) - float(margin.get("t") or 0) - float(margin.get("b") or 0)
            return max(inside, 60.0) * self.letters.scale
        return min(0.68 * area_width, 62 / 25.4 * 72)

    def _strips(
        self, width: float, area: tuple[float, float], height: float | None
    ) -> tuple[float, float, float, float]:
        """Room at the left, bottom, right and top for all that is not the plot itself."""
        inner = width - 2 * _EDGE
        for bar in self.bars:
            bar.arrange(along=area[0] if bar.is_lying else area[1], max_width=inner if bar.is_lying else 0.3 * inner)
        top = bottom = right = _EDGE
        if self.heading.text:
            self.heading = self.heading.wrapped(inner)
            top += self.heading.height + 0.4 * self.gap
        top += sum(bar.height + self.gap for bar in self.above)
        bottom += sum(bar.height + self.gap for bar in self.below)
        if self.beside:
            right += max(bar.width for bar in self.beside) + self.gap
        if self.place == "right":
            self.legend.arrange(max_width=0.42 * inner, max_height=max(area[1], 30.0), wide=False)
            right += self.legend.width + 1.5 * self.gap
        elif self.place == "below":
            self.legend.arrange(max_width=inner, max_height=1e9, wide=True)
            bottom += self.legend.height + self.gap
        elif self.place == "on" and not self.names_on_map:
            self.legend.arrange(max_width=0.6 * area[0], max_height=1e9, wide=False)
        return _EDGE, bottom, right, top

    def _measure(self, area: tuple[float, float]) -> None:
        """Lay out the axes in an area at the origin, and find what hangs out of it and between its planes."""
        geometry = self.geometry
        geometry.lay(area, self.gaps)
        self.rulers = [ruler_of(axis, geometry.beside(axis), self.letters) for axis in geometry.axes.values()]
        self.notes = notes_of(self._note_nodes(), geometry, self.letters)
        n_columns, n_rows = len(geometry.x.bands), len(geometry.y.bands)
        overhang = {
            "left": [0.0] * n_columns,
            "right": [0.0] * n_columns,
            "bottom": [0.0] * n_rows,
            "top": [0.0] * n_rows,
        }
        ends_x = [(geometry.x(low), geometry.x(high)) for low, high in geometry.x.bands]
        ends_y = [(geometry.y(low), geometry.y(high)) for low, high in geometry.y.bands]

        def hang(column: int, row: int, box: Box, *, sideways: bool = True) -> None:
            if sideways:
                overhang["left"][column] = max(overhang["left"][column], ends_x[column][0] - box[0])
                overhang["right"][column] = max(overhang["right"][column], box[2] - ends_x[column][1])
            overhang["bottom"][row] = max(overhang["bottom"][row], ends_y[row][0] - box[1])
            overhang["top"][row] = max(overhang["top"][row], box[3] - ends_y[row][1])

        outside = [0.0, 0.0, 0.0, 0.0]
        for ruler in self.rulers:
            plane = geometry.beside(ruler.axis)
            column, row = _nearest(ends_x, (plane[0], plane[2])), _nearest(ends_y, (plane[1], plane[3]))
            for _, box, _ in ruler.texts:
                hang(column, row, box)
            for stroke in ruler.strokes:
                hang(column, row, stroke.box)
        for note in self.notes:
            if note.plane is not None and note.node.get("bgcolor"):
                continue
            box = note.box
            row = _nearest(ends_y, (box[1], box[3]))
            is_above = str(note.node.get("yref")) == "paper" and 0 < ends_y[row][1] - box[1] + 1 < 3
            if is_above and len(ends_y) > 1:
                overhang["top"][row] = max(overhang["top"][row], box[3] - ends_y[row][1])
            outside = [
                max(outside[0], -box[0]), max(outside[1], -box[1]),
                max(outside[2], box[2] - area[0]), max(outside[3], box[3] - area[1]),
            ]  # fmt: skip
        pad = 0.9 * self.letters.plain.size
        self.gaps = (
            [overhang["right"][i] + overhang["left"][i + 1] + pad * 0.6 * bool(overhang["left"][i + 1] > 0.5)
             for i in range(n_columns - 1)],
            [overhang["top"][i] + overhang["bottom"][i + 1] + pad * 0.8 for i in range(n_rows - 1)],
        )  # fmt: skip
        self.margins = [
            max(overhang["left"][0] - ends_x[0][0], outside[0], 0.0),
            max(overhang["bottom"][0] - ends_y[0][0], outside[1], 0.0),
            max(overhang["right"][-1] - (area[0] - ends_x[-1][1]), outside[2], 0.0),
            max(overhang["top"][-1] - (area[1] - ends_y[-1][1]), outside[3], 0.0),
        ]

    # ---- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, page: Page, left: float = 0.0, bottom: float = 0.0) -> None:
        """Draw with the bottom left corner of the room there."""
        geometry, pixel, layout = self.geometry, self.letters.scale, self.drawing.layout
        geometry.left, geometry.bottom = left + self.corner[0], bottom + self.corner[1]
        rulers = [ruler_of(axis, geometry.beside(axis), self.letters) for axis in geometry.axes.values()]
        for ruler in rulers:
            ruler.draw(page)
        for subplot in self.subplots:
            plane = geometry.plane(subplot)
            axes = page.axes(plane, subplot.x.range, subplot.y.range)
            if (background := rgba(str(layout.get("plot_bgcolor") or "transparent")))[3] and background[:3] != (
                1,
                1,
                1,
            ):
                page.rectangle(plane, fill=background, zorder=0.3)
            share = (plane[2] - plane[0]) / _SCREEN_WIDTH
            point = min(max(share, 0.45 * pixel), 1.6 * pixel)
            draw_traces(axes, subplot, layout, pixel=pixel, point=point, size=self.settings.point_size,
                        bitmap=self.bitmap)  # fmt: skip
            self._write_in(page, plane, subplot.traces, point)
        draw_shapes(page, layout["shapes"], geometry, pixel=pixel)
        draw_images(page, layout["images"], geometry)
        for note in notes_of(self._note_nodes(), geometry, self.letters):
            note.draw(page, pixel)
        self._draw_around(page, left, bottom)

    def _draw_around(self, page: Page, left: float, bottom: float) -> None:
        """Title, colour bars, legend."""
        area_left, area_bottom = left + self.corner[0], bottom + self.corner[1]
        area_right, area_top = area_left + self.area[0], area_bottom + self.area[1]
        y = bottom + self.height - _EDGE
        if self.heading.text:
            self.heading.draw(page, self.heading.box(left + _EDGE, y, va="top"))
            y -= self.heading.height + 0.4 * self.gap
        for bar in self.above:
            bar.draw(page, left + _EDGE if bar.x < 0.4 else self._centred(bar, area_left, left), y)
            y -= bar.height + self.gap
        right = area_right + self.margins[2] + self.gap
        y = area_top
        for bar in self.beside:
            bar.draw(page, right, y)
            y -= bar.height + self.gap
        if self.beside:
            right += max(bar.width for bar in self.beside) + self.gap
        y = area_bottom - self.margins[1] - self.gap
        for bar in self.below:
            bar.draw(page, self._centred(bar, area_left, left), y)
            y -= bar.height + self.gap
        if self.place == "right":
            high = self.geometry.plane(self.subplots[0])[3] if len(self.subplots) == 1 else area_top
            self.legend.draw(page, right + 0.5 * self.gap, max(high, bottom + self.legend.height + _EDGE))
        elif self.place == "below":
            start = min(area_left, left + self.width - _EDGE - self.legend.width)
            self.legend.draw(page, max(start, left + _EDGE), y)
        elif self.place == "on" and not self.names_on_map:
            self._draw_inside(page)

    def _centred(self, bar: ColorBar, area_left: float, left: float) -> float:
        start = area_left + (self.area[0] - bar.length) * (0.5 if bar.x >= 0.4 else 0.0)
        return max(start, left + _EDGE)

    def _draw_inside(self, page: Page) -> None:
        """The legend in the corner of the first plane with the fewest points."""
        subplot = self.subplots[0]
        left, bottom, right, top = self.geometry.plane(subplot)
        width, height = self.legend.width, self.legend.height
        pad = 0.8 * self.gap
        far, low = right - width - pad, bottom + height + pad
        corners = [(far, top - pad), (left + pad, top - pad), (far, low),
                   (left + pad, low)]  # fmt: skip
        counts = [0] * 4
        for trace in subplot.traces:
            if not trace["type"].startswith("scatter"):
                continue
            xs, ys = coordinates(trace, subplot.x, subplot.y)
            px = left + (xs - subplot.x.range[0]) / (subplot.x.range[1] - subplot.x.range[0]) * (right - left)
            py = bottom + (ys - subplot.y.range[0]) / (subplot.y.range[1] - subplot.y.range[0]) * (top - bottom)
            for number, (x, y) in enumerate(corners):
                counts[number] += int(((px > x) & (px < x + width) & (py < y) & (py > y - height)).sum())
        x, y = corners[counts.index(min(counts))]
        page.rectangle((x - 2, y - height - 1, x + width + 2, y + 1), fill=(1, 1, 1, 0.8), zorder=3.5)
        self.legend.draw(page, x, y)

    # ---- text in planes ---------------------------------------------------------------------------------------------

    def _note_nodes(self) -> list[Node]:
        return [*self.drawing.layout["annotations"], *self.names_on_map]

    def _names_on_map(self) -> list[Node]:
        """Names of the traces of a map at the middles of their points, where no annotation says them already."""
        import numpy as np

        if len(self.subplots) != 1 or not self.subplots[0].ratio:
            return []
        subplot = self.subplots[0]
        said = {str(node.get("text")) for node in self.drawing.layout["annotations"]}
        found: list[Node] = []
        for entry in self.legend.entries:
            if entry.trace is None:
                continue
            name = str(entry.trace["name"]).rpartition(" (")[0] or str(entry.trace["name"])
            xs, ys = coordinates(entry.trace, subplot.x, subplot.y)
            if name in said or f"<b>{name}</b>" in said or not len(xs):
                continue
            middle = np.nanmedian(xs), np.nanmedian(ys)
            nearest = int(np.nanargmin((xs - middle[0]) ** 2 + (ys - middle[1]) ** 2))
            found.append(
                {"x": float(xs[nearest]), "y": float(ys[nearest]), "text": name, "showarrow": False,
                 "font": {"size": 12}, "bgcolor": "rgba(255, 255, 255, 0.72)"}
            )  # fmt: skip
        return found if found or said else []

    def _write_in(self, page: Page, plane: Box, traces: list[Node], point: float) -> None:
        for block, box in self._texts(plane, traces, point):
            block.draw(page, box, zorder=4)

    def _texts(self, plane: Box, traces: list[Node], point: float) -> Iterator[tuple[Block, Box]]:
        """Texts of points and of cells."""
        left, bottom, right, top = plane
        subplot = next(s for s in self.subplots if s.traces is traces)
        x, y = subplot.x, subplot.y
        for trace in traces:
            if trace["type"] == "heatmap":
                for at_x, at_y, text, is_dark in cell_texts(trace, x, y):
                    font = self.letters.font(trace.get("textfont"), pixels=11)
                    size = min(font.size, 0.42 * (right - left) / max(abs(x.range[1] - x.range[0]), 1))
                    color = (1.0, 1.0, 1.0, 1.0) if is_dark else font.color
                    block = Block(text, Font(font.family, size, color))
                    place = left + x.share(at_x) * (right - left), bottom + y.share(at_y) * (top - bottom)
                    yield block, block.box(*place, ha="center", va="middle")
            elif trace["type"].startswith("scatter") and "text" in mode_of(trace) and trace.get("text") is not None:
                yield from self._point_texts(plane, trace, (x, y), point)

    def _point_texts(self, plane: Box, trace: Node, axes: tuple, point: float) -> Iterator[tuple[Block, Box]]:  # type: ignore[type-arg]
        left, bottom, right, top = plane
        x, y = axes
        xs, ys = coordinates(trace, x, y)
        given = trace["text"]
        texts = [given] * len(xs) if isinstance(given, str) else list(given)
        position = trace.get("textposition") or "middle center"
        positions = [position] * len(xs) if isinstance(position, str) else list(position)
        size = (trace.get("marker") or {}).get("size")
        away = (
            (float(size) if isinstance(size, (int, float)) else 6.0) * point / 2 if "markers" in mode_of(trace) else 0
        )
        for at_x, at_y, text, where in zip(xs, ys, texts, positions, strict=False):
            if not text or not (0 <= x.share(at_x) <= 1 and 0 <= y.share(at_y) <= 1):
                continue
            up, across = str(where).split()
            block = self.letters.block(str(text), trace.get("textfont"))
            px = left + x.share(at_x) * (right - left) + {"left": -away, "right": away}.get(across, 0.0)
            py = bottom + y.share(at_y) * (top - bottom) + {"top": away, "bottom": -away}.get(up, 0.0)
            ha = {"left": "right", "right": "left"}.get(across, "center")
            va = {"top": "bottom", "bottom": "top"}.get(up, "middle")
            box = block.box(px, py, ha=ha, va=va)
            shift = max(left - box[0], 0.0) - max(box[2] - right, 0.0) if ha == "center" else 0.0
            yield block, (box[0] + shift, box[1], box[2] + shift, box[3])


def _nearest(ends: list[tuple[float, float]], own: tuple[float, float]) -> int:
    """The band whose middle is nearest."""
    middle = (own[0] + own[1]) / 2
    distance = [max(low - middle, middle - high, 0.0) for low, high in ends]
    return distance.index(min(distance))
