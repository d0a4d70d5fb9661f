"""How wide is a text with its bold words and breaks, and how is it written on the page?"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.errors import ConfigError
from scetm_core.printing._color import RGBA, rgba
from scetm_core.printing.settings import AUTOMATIC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFERRED = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")
WORTH_OFFERING = (
    *PREFERRED, "Helvetica Neue", "Inter", "Roboto", "Open Sans", "Noto Sans", "Source Sans 3", "Source Sans Pro",
    "Lato", "Myriad Pro", "Calibri", "Segoe UI", "Verdana", "Tahoma", "Liberation Sans Narrow", "Arial Narrow",
    "Times New Roman", "Liberation Serif", "DejaVu Serif", "Georgia", "Cambria", "STIXGeneral",
)  # fmt: skip
LINE, CAP, DESCENT = 1.22, 0.74, 0.22
"""Heights, of the size: from line to line, of capitals, below the line."""
_SIZE = re.compile(r"font-size:\s*([\d.]+)px")
_COLOR = re.compile(r"(?:^|;)\s*color:\s*([^;]+)")


def font_families() -> list[str]:
    """Installed typefaces worth offering, the best for print first."""
    installed = _installed()
    return [name for name in WORTH_OFFERING if name in installed]


def chosen_family(name: str) -> str:
    """The typeface asked for, or the best installed.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    installed = _installed()
    if name == AUTOMATIC:
        return next(family for family in PREFERRED if family in installed)
    if name not in installed:
        raise ConfigError(
            f"Typeface (font_family) '{name}' is not installed; installed are {font_families()}.", field="font_family"
        )
    return name


@functools.lru_cache(maxsize=1)
def _installed() -> frozenset[str]:
    from matplotlib.font_manager import fontManager

    return frozenset(fontManager.get_font_names())


@dataclass(frozen=True)
class Run:
    """Letters of one look."""

    text: str
    bold: bool = False
    italic: bool = False
    color: str = ""
    scale: float = 1.0
    rise: float = 0.0


class _Reader(HTMLParser):
    """Reads the few tags that figures use; others are passed over."""

    def __init__(self, base_px: float) -> None:
        super().__init__(convert_charrefs=True)
        self.base_px = base_px
        self.lines: list[list[Run]] = [[]]
        self.looks: list[tuple[str, Run]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A look begins, or a line."""
        look = self.looks[-1][1] if self.looks else Run("")
        if tag == "br":
            self.lines.append([])
            return
        if tag in ("b", "strong"):
            look = replace(look, bold=True)
        elif tag in ("i", "em"):
            look = replace(look, italic=True)
        elif tag in ("sup", "sub"):
            look = replace(look, scale=look.scale * 0.7, rise=0.35 if tag == "sup" else -0.15)
        elif tag == "span":
            style = dict(attrs).get("style") or ""
            if color := _COLOR.search(style):
                look = replace(look, color=color[1].strip())
            if size := _SIZE.search(style):
                look = replace(look, scale=float(size[1]) / self.base_px)
        self.looks.append((tag, look))

    def handle_endtag(self, tag: str) -> None:
        """A look ends."""
        while self.looks:
            ended, _ = self.looks.pop()
            if ended == tag:
                return

    def handle_data(self, data: str) -> None:
        """Letters."""
        look = self.looks[-1][1] if self.looks else Run("")
        text = data.replace("\n", " ")
        if text:
            self.lines[-1].append(replace(look, text=text))


@dataclass(frozen=True)
class Type:
    """The typeface of a page, and how many points a screen pixel becomes."""

    family: str
    unit: float

    @property
    def families(self) -> list[str]:
        """The typeface, and one that has most letters it may lack."""
        return [self.family] if self.family == "DejaVu Sans" else [self.family, "DejaVu Sans"]

    def width(self, text: str, size: float, *, bold: bool = False, italic: bool = False) -> float:
        """Points that a text takes."""
        return _width(text, tuple(self.families), bold, italic) * size / 100

    def block(self, text: Any, px: float, *, bold: bool = False, widest: float = 0.0) -> Block:
        """A text of so many screen pixels, with its tags; lines wider than `widest` points are broken."""
        reader = _Reader(px)
        reader.feed(str(text))
        reader.close()
        lines = [[replace(run, bold=run.bold or bold) for run in line] for line in reader.lines]
        block = Block(lines=tuple(map(tuple, lines)), size=px * self.unit, type=self)
        return block.wrapped(widest) if widest and block.width > widest else block


@functools.lru_cache(maxsize=20_000)
def _width(text: str, families: tuple[str, ...], bold: bool, italic: bool) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    look = FontProperties(
        family=list(families), size=100, weight="bold" if bold else "normal", style="italic" if italic else "normal"
    )
    width, _, _ = text_to_path.get_text_width_height_descent(text, look, ismath=False)
    trailing = len(text) - len(text.rstrip(" "))
    return float(width) + 27.8 * (trailing if text.strip() else len(text))


@dataclass(frozen=True)
class Block:
    """Lines of text of one size in points."""

    lines: tuple[tuple[Run, ...], ...]
    size: float
    type: Type

    def __bool__(self) -> bool:
        return any(run.text.strip() for line in self.lines for run in line)

    @property
    def plain(self) -> str:
        """The words alone."""
        return " ".join("".join(run.text for run in line) for line in self.lines)

    def _line_width(self, line: tuple[Run, ...]) -> float:
        return sum(self.type.width(r.text, self.size * r.scale, bold=r.bold, italic=r.italic) for r in line)

    @property
    def width(self) -> float:
        """Points, of the widest line."""
        return max((self._line_width(line) for line in self.lines), default=0.0)

    @property
    def height(self) -> float:
        """Points, from the capitals of the first line to below the last."""
        return self.size * (CAP + DESCENT + LINE * (len(self.lines) - 1))

    def extent(self, angle: float) -> tuple[float, float]:
        """Width and height in points, turned by degrees."""
        turn = np.deg2rad(angle)
        sin, cos = abs(float(np.sin(turn))), abs(float(np.cos(turn)))
        return self.width * cos + self.height * sin, self.width * sin + self.height * cos

    def resized(self, size: float) -> Block:
        """The same in another size."""
        return replace(self, size=size)

    def wrapped(self, widest: float) -> Block:
        """With further breaks between words, so that no line is wider, unless a word is."""
        lines: list[tuple[Run, ...]] = []
        for line in self.lines:
            current: list[Run] = []
            for run in line:
                for word in re.findall(r"\S+\s*|\s+", run.text):
                    piece = replace(run, text=word)
                    if current and self._line_width((*current, replace(piece, text=word.rstrip()))) > widest:
                        lines.append(_joined(current))
                        current = []
                    current.append(piece)
            lines.append(_joined(current))
        return replace(self, lines=tuple(lines))

    def box(self, x: float, y: float, *, ha: str, va: str, angle: float = 0.0) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in points of a text that stands at (x, y)."""
        width, height = self.extent(angle)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[ha]
        bottom = y - {"bottom": 0.0, "middle": height / 2, "top": height}[va]
        return left, bottom, left + width, bottom + height

    def draw(
        self,
        figure: Figure,
        at: tuple[float, float],
        *,
        ha: str,
        va: str,
        color: RGBA,
        angle: float = 0.0,
        zorder: float = 6,
    ) -> None:
        """Write it; `ha` and `va` tell which side of its (turned) box stands at the place, in points of the page."""
        from matplotlib.text import Text
        from matplotlib.transforms import Affine2D

        left, bottom, right, top = self.box(*at, ha=ha, va=va, angle=angle)
        middle = np.array([(left + right) / 2, (bottom + top) / 2])
        turn = np.deg2rad(angle)
        along, up = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        side = _side_in_line(ha, va, angle)
        page = Affine2D().scale(1 / 72) + figure.dpi_scale_trans
        for number, line in enumerate(self.lines):
            width = self._line_width(line)
            base = self.height / 2 - self.size * (CAP + LINE * number)
            start = {"left": -self.width / 2, "center": -width / 2, "right": self.width / 2 - width}[side]
            whole = len(line) == 1  # then a viewer with another typeface still aligns it
            if whole:
                start += {"left": 0.0, "center": width / 2, "right": width}[side]
            for run in line:
                size = self.size * run.scale
                x, y = middle + along * start + up * (base + run.rise * self.size)
                text = Text(
                    x, y, run.text, fontsize=size, color=rgba(run.color) if run.color else color,
                    family=self.type.families, weight="bold" if run.bold else "normal",
                    style="italic" if run.italic else "normal", ha=side if whole else "left", va="baseline",
                    rotation=angle, rotation_mode="anchor", transform=page, zorder=zorder, parse_math=False,
                )  # fmt: skip
                figure.add_artist(text)
                start += self.type.width(run.text, size, bold=run.bold, italic=run.italic)


def _side_in_line(ha: str, va: str, angle: float) -> str:
    """How the lines of a turned block stand to each other."""
    turned = angle % 180
    if turned < 30 or turned > 150:
        return ha
    outward = {"top": "right", "bottom": "left", "middle": "center"}[va]
    if angle % 360 > 180:
        outward = {"right": "left", "left": "right", "center": "center"}[outward]
    return outward


def _joined(runs: list[Run]) -> tuple[Run, ...]:
    """Neighbours of one look as one, no blanks at the end."""
    found: list[Run] = []
    for run in runs:
        if found and replace(found[-1], text="") == replace(run, text=""):
            found[-1] = replace(run, text=found[-1].text + run.text)
        else:
            found.append(run)
    if found:
        found[-1] = replace(found[-1], text=found[-1].text.rstrip())
    return tuple(found)
