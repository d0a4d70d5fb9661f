"""How is text with plotly's markup (`<b>`, `<br>`, `<sup>`, colours) set, and how much room does it take?"""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from scetm_core.printing._colors import RGBA, rgba
from scetm_core.printing._fonts import drawable, width_of

if TYPE_CHECKING:
    from scetm_core.printing._page import Page

ASCENT, DESCENT, LINE = 0.92, 0.22, 1.2
"""In sizes of the font: room above and below the baseline, even around the middle of capitals; and between lines."""
_PIXELS = re.compile(r"font-size:\s*([\d.]+)px")
_COLOR = re.compile(r"(?<![\w-])color:\s*([^;'\"]+)")
Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


@dataclass(frozen=True)
class Font:
    """Of a run of letters; `size` in points, `rise` above the baseline."""

    family: str
    size: float
    color: RGBA
    bold: bool = False
    italic: bool = False
    rise: float = 0.0


@dataclass(frozen=True)
class Run:
    """Letters that look alike."""

    text: str
    font: Font

    @property
    def width(self) -> float:
        """In points."""
        font = self.font
        return width_of(self.text, font.family, font.size, font.bold, font.italic)


class _Parser(HTMLParser):
    """Markup to lines of runs."""

    def __init__(self, font: Font, scale: float) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[list[Run]] = [[]]
        self.fonts = [("", font)]
        self.scale = scale

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a style, or a line."""
        font = self.fonts[-1][1]
        if tag == "br":
            self.lines.append([])
            return
        if tag in ("b", "strong"):
            font = replace(font, bold=True)
        elif tag in ("i", "em"):
            font = replace(font, italic=True)
        elif tag in ("sup", "sub"):
            rise = font.size * (0.38 if tag == "sup" else -0.18)
            font = replace(font, size=font.size * 0.7, rise=font.rise + rise)
        style = html.unescape(dict(attrs).get("style") or "")
        if match := _PIXELS.search(style):
            font = replace(font, size=float(match[1]) * self.scale)
        if match := _COLOR.search(style):
            font = replace(font, color=rgba(match[1].strip()))
        self.fonts.append((tag, font))

    def handle_endtag(self, tag: str) -> None:
        """Close the style that was opened last with this tag."""
        for place in range(len(self.fonts) - 1, 0, -1):
            if self.fonts[place][0] == tag:
                del self.fonts[place:]
                return

    def handle_data(self, data: str) -> None:
        """Letters in the style that is open."""
        font = self.fonts[-1][1]
        for number, part in enumerate(data.split("\n")):
            if number:
                self.lines.append([])
            if part:
                self.lines[-1].append(Run(drawable(part, font.family), font))


class Block:
    """Lines of text, measured, that can be placed by any of their sides."""

    def __init__(self, markup: str, font: Font, *, scale: float = 1.0, align: str = "left") -> None:
        if "<" in markup or "&" in markup:
            parser = _Parser(font, scale)
            parser.feed(markup)
            parser.close()
            self.lines = parser.lines
        else:
            self.lines = [[Run(drawable(line, font.family), font)] if line else [] for line in markup.split("\n")]
        self.font, self.align, self.scale = font, align, scale
        self.widths = [sum(run.width for run in line) for line in self.lines]
        self.width = max(self.widths, default=0.0)
        self.height = font.size * (ASCENT + DESCENT + LINE * (len(self.lines) - 1))
        self.text = " ".join("".join(run.text for run in line) for line in self.lines)

    def wrapped(self, width: float) -> Block:
        """The same in lines no wider than that, if it has no markup within; else itself."""
        if self.width <= width or any(len(line) > 1 for line in self.lines):
            return self
        letters = max(int(width / max(self.width / max(len(self.text), 1), 0.1)), 6)
        first = next(run for line in self.lines for run in line)
        lines = [part for line in self.lines for run in line for part in textwrap.wrap(run.text, letters)]
        return Block("\n".join(html.unescape(line) for line in lines), first.font, scale=self.scale, align=self.align)

    def size(self, angle: float = 0.0) -> tuple[float, float]:
        """Width and height of the upright box around the text turned clockwise by `angle` degrees."""
        turn = math.radians(angle)
        cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
        return self.width * cos + self.height * sin, self.width * sin + self.height * cos

    def box(self, x: float, y: float, *, ha: str = "left", va: str = "baseline", angle: float = 0.0) -> Box:
        """The box if placed with this side of it at (x, y)."""
        width, height = self.size(angle)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[ha]
        if va == "baseline":
            bottom = y - self.font.size * (DESCENT + LINE * (len(self.lines) - 1))
        else:
            bottom = y - {"bottom": 0.0, "middle": height / 2, "top": height}[va]
        return left, bottom, left + width, bottom + height

    def draw(self, page: Page, box: Box, *, angle: float = 0.0, zorder: float = 5.0) -> None:
        """Write into a box that `box` gave."""
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        turn = math.radians(-angle)
        cos, sin = math.cos(turn), math.sin(turn)
        for number, (line, width) in enumerate(zip(self.lines, self.widths, strict=True)):
            free = self.width - width
            along = -self.width / 2 + {"left": 0.0, "center": free / 2, "right": free}[self.align]
            up = self.height / 2 - self.font.size * (ASCENT + LINE * number)
            for run in line:
                across = up + run.font.rise
                place = (middle_x + along * cos - across * sin, middle_y + along * sin + across * cos)
                page.letters(run, place, turn=-angle, zorder=zorder)
                along += run.width


@dataclass(frozen=True)
class Type:
    """The letters of a page: family, points of a screen pixel, plain font."""

    family: str
    scale: float
    plain: Font

    def font(self, node: Mapping[str, Any] | None, *, pixels: float | None = None) -> Font:
        """A font of a figure (`{"size": 12, "color": ...}`) on this page; smallest 5 points, or the plain size."""
        node = node or {}
        given = node.get("size") or pixels
        size = self.plain.size if given is None else max(float(given) * self.scale, min(5.0, self.plain.size))
        bold = str(node.get("weight", "")) in ("bold", "700", "600")
        italic = node.get("style") == "italic"
        color = rgba(node["color"]) if node.get("color") else self.plain.color
        return Font(self.family, size, color, bold, italic)

    def block(
        self, markup: str, node: Mapping[str, Any] | None = None, *, pixels: float | None = None, align: str = "left"
    ) -> Block:
        """Text in a font of the figure."""
        return Block(markup, self.font(node, pixels=pixels), scale=self.scale, align=align)
