"""How do one figure, or several with their letters, stand on a page?"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from scetm_core.errors import FigureError
from scetm_core.printing._page import MM, Page, as_file, type_of
from scetm_core.printing._plot import Plot
from scetm_core.printing._read import Drawing
from scetm_core.printing._text import Block, Font
from scetm_core.printing.panel import Panel
from scetm_core.printing.settings import LARGEST_MM, MAX_VECTOR_POINTS, SMALLEST_MM, PrintSettings

_GUTTER = 3.0 * MM
_FEW = 2_000
"""Points of a panel that stay vectors whatever else is on the page."""


def one_figure(drawing: Drawing, settings: PrintSettings, file_format: str) -> bytes:
    """A file of one figure that fills the page."""

    def make() -> Page:
        letters = type_of(settings, pixels=_pixels(drawing))
        plot = Plot(drawing, settings, letters, bitmap=drawing.n_points > MAX_VECTOR_POINTS)
        title = Block(settings.title, _bold(letters.plain, 1.15)).wrapped(settings.width_mm * MM)
        above = title.height + 2.0 if title.text.strip() else 0.0
        width = settings.width_mm * MM
        height = settings.height_mm * MM or _allowed(plot.fit(width, None) + above)
        page = Page(width, height, settings)
        plot.fit(width, height - above)
        plot.draw(page)
        if above:
            title.draw(page, title.box(2.0, height - 1.0, va="top"))
        return page

    return as_file(make, file_format)


def _allowed(height: float) -> float:
    return min(max(height, SMALLEST_MM * MM), LARGEST_MM * MM)


def _pixels(drawing: Drawing) -> float:
    return float((drawing.layout.get("font") or {}).get("size") or 12)


def _bold(font: Font, factor: float) -> Font:
    return Font(font.family, font.size * factor, font.color, bold=True)


def many_figures(
    panels: Sequence[Panel], drawings: Sequence[Drawing], settings: PrintSettings, *, file_format: str, letters: bool
) -> bytes:
    """A file of panels on a grid."""
    _check(panels)

    def make() -> Page:
        grid = _Grid(panels, drawings, settings, letters=letters)
        page = Page(grid.width, grid.height, settings)
        grid.draw(page)
        return page

    return as_file(make, file_format)


def _check(panels: Sequence[Panel]) -> None:
    if not panels:
        raise FigureError("There is no panel to print. Add a figure first.")
    taken: dict[tuple[int, int], int] = {}
    for number, panel in enumerate(panels):
        if min(panel.row, panel.column) < 0 or min(panel.row_span, panel.column_span) < 1:
            raise FigureError(f"Panel {number + 1} has no place: rows and columns count from 0, spans from 1.")
        for cell in panel.cells():
            if cell in taken:
                raise FigureError(
                    f"Panels {taken[cell] + 1} and {number + 1} both stand in row {cell[0] + 1}, column {cell[1] + 1}."
                )
            taken[cell] = number


class _Grid:
    """Columns of equal width, rows as high as their panels need."""

    def __init__(
        self, panels: Sequence[Panel], drawings: Sequence[Drawing], settings: PrintSettings, *, letters: bool
    ) -> None:
        rows = sorted({row for panel in panels for row, _ in panel.cells()})
        columns = sorted({column for panel in panels for _, column in panel.cells()})
        self.panels, self.settings = panels, settings
        self.width = settings.width_mm * MM
        self.column = (self.width - _GUTTER * (len(columns) - 1)) / len(columns)
        self.plain = type_of(settings, pixels=13).plain
        self.title = Block(settings.title, _bold(self.plain, 1.15)).wrapped(self.width)
        above = self.title.height + 3.0 if self.title.text.strip() else 0.0
        self.top = {row: place for place, row in enumerate(rows)}
        self.left = {column: place for place, column in enumerate(columns)}
        total = sum(drawing.n_points for drawing in drawings)
        reading = sorted(range(len(panels)), key=lambda i: (panels[i].row, panels[i].column))
        names = [*string.ascii_lowercase, *(a + b for a in string.ascii_lowercase for b in string.ascii_lowercase)]
        self.heads = [""] * len(panels)
        for place, i in enumerate(reading):
            self.heads[i] = names[place] if letters else ""
        self.plots = [
            Plot(drawing, settings, type_of(settings, pixels=_pixels(drawing)),
                 bitmap=total > MAX_VECTOR_POINTS and drawing.n_points > _FEW)
            for drawing in drawings
        ]  # fmt: skip
        self.strips = [
            1.35 * self.plain.size * 1.15 if self.heads[i] or panels[i].title else 0.0 for i in range(len(panels))
        ]
        self.rows = self._row_heights(len(rows))
        self.height = settings.height_mm * MM or _allowed(sum(self.rows) + _GUTTER * (len(rows) - 1) + above)
        free = self.height - above - _GUTTER * (len(rows) - 1)
        self.rows = self.rows / self.rows.sum() * free
        self.above = above

    def _row_heights(self, n_rows: int) -> np.ndarray:
        """Each row as high as its highest panel needs; what spans rows lifts them evenly."""
        heights = np.zeros(n_rows)
        order = sorted(range(len(self.panels)), key=lambda i: self.panels[i].row_span)
        for i in order:
            panel = self.panels[i]
            need = self.plots[i].fit(self._width(panel), None) + self.strips[i]
            first = self.top[panel.row]
            spanned = slice(first, first + panel.row_span)
            lacking = need - heights[spanned].sum() - _GUTTER * (panel.row_span - 1)
            if lacking > 0:
                heights[spanned] += lacking / panel.row_span
        return np.maximum(heights, 30.0)

    def _width(self, panel: Panel) -> float:
        return self.column * panel.column_span + _GUTTER * (panel.column_span - 1)

    def draw(self, page: Page) -> None:
        """Draw title, letters and panels."""
        if self.above:
            self.title.draw(page, self.title.box(0.0, self.height - 1.0, va="top"))
        for i, panel in enumerate(self.panels):
            first = self.top[panel.row]
            top = self.height - self.above - self.rows[:first].sum() - _GUTTER * first
            height = self.rows[first : first + panel.row_span].sum() + _GUTTER * (panel.row_span - 1)
            left = self.left[panel.column] * (self.column + _GUTTER)
            room = min(height - self.strips[i], max(height - self.strips[i], 20.0))
            self.plots[i].fit(self._width(panel), room)
            self.plots[i].draw(page, left, top - self.strips[i] - room)
            letter = Block(self.heads[i], _bold(self.plain, 1.15)) if self.heads[i] else None
            if letter:
                letter.draw(page, letter.box(left, top, va="top"))
            if panel.title:
                title = Block(panel.title, _bold(self.plain, 1.0))
                start = left + (1.2 * self.plain.size + letter.width * 0.3 if letter else 0.0)
                title.draw(page, title.box(start, top, va="top"))
