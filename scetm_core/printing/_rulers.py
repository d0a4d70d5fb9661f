"""How is an axis drawn: line, ticks, labels that do not overlap, title, grid?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scetm_core.printing._axis import Axis
from scetm_core.printing._colors import RGBA, rgba
from scetm_core.printing._read import text_node
from scetm_core.printing._text import Block, Box, Font, Type
from scetm_core.printing._ticks import Tick, ticks_of

if TYPE_CHECKING:
    from scetm_core.printing._page import Page

_SMALLEST = 0.78
"""Labels of a crowded axis shrink to that share before some are left out."""


@dataclass
class Stroke:
    """A straight line in points."""

    box: Box
    color: RGBA
    width: float

    def draw(self, page: Page, *, zorder: float) -> None:
        """Draw it."""
        x0, y0, x1, y1 = self.box
        page.line([x0, x1], [y0, y1], color=self.color, width=self.width, zorder=zorder)


@dataclass
class Ruler:
    """All that belongs to one axis beside a plane, in points."""

    axis: Axis
    texts: list[tuple[Block, Box, float]] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    grid: list[Stroke] = field(default_factory=list)

    def draw(self, page: Page) -> None:
        """Draw it; the grid below all else."""
        for stroke in self.grid:
            stroke.draw(page, zorder=0.5)
        for stroke in self.strokes:
            stroke.draw(page, zorder=3)
        for block, box, angle in self.texts:
            block.draw(page, box, angle=angle)


def ruler_of(axis: Axis, plane: Box, letters: Type) -> Ruler:
    """Lay out an axis beside a plane."""
    ruler, spec, pixel = Ruler(axis), axis.spec, letters.scale
    if not axis.is_shown:
        return ruler
    left, bottom, right, top = plane
    is_x = axis.letter == "x"
    start, length = (left, right - left) if is_x else (bottom, top - bottom)
    side = str(spec.get("side") or ("bottom" if is_x else "left"))
    edge = {"bottom": bottom, "top": top, "left": left, "right": right}[side]
    out = -1.0 if side in ("bottom", "left") else 1.0
    labels, angle, pitch = _labels(axis, length, letters)
    places = [start + axis.share(value) * length for value, _ in pitch]
    grid_color = rgba(str(spec.get("gridcolor") or "#e5e8ec"))
    if spec.get("showgrid", axis.kind not in ("category", "multicategory")):
        width = float(spec.get("gridwidth") or 1) * pixel
        for place in places:
            ends = (place, bottom, place, top) if is_x else (left, place, right, place)
            ruler.grid.append(Stroke(ends, grid_color, width))
    low, high = sorted(axis.range)
    if spec.get("zeroline") and axis.kind in ("linear", "-") and low < 0 < high:
        place = start + axis.share(0.0) * length
        ends = (place, bottom, place, top) if is_x else (left, place, right, place)
        color = rgba(str(spec.get("zerolinecolor") or "#7b8794"))
        ruler.grid.append(Stroke(ends, color, float(spec.get("zerolinewidth") or 1) * pixel))
    line_color, line_width = rgba(str(spec.get("linecolor") or "#444444")), float(spec.get("linewidth") or 1) * pixel
    if spec.get("showline"):
        edges = [edge]
        if spec.get("mirror"):
            edges.append({bottom: top, top: bottom, left: right, right: left}[edge])
        for at in edges:
            ruler.strokes.append(
                Stroke((left, at, right, at) if is_x else (at, bottom, at, top), line_color, line_width)
            )
    reach = 0.0
    if spec.get("ticks") == "outside":
        reach = float(5 if spec.get("ticklen") is None else spec["ticklen"]) * pixel
        color = rgba(str(spec.get("tickcolor") or "#444444"))
        for place in places:
            ends = (place, edge, place, edge + out * reach) if is_x else (edge, place, edge + out * reach, place)
            ruler.strokes.append(Stroke(ends, color, line_width))
    reach += 3 * pixel
    deepest = _write_labels(ruler, labels, places, (edge, out, reach, angle), is_x) if labels else 0.0
    _write_title(ruler, plane, edge + out * (reach + deepest), out, letters)
    return ruler


def _write_labels(
    ruler: Ruler, labels: list[Block], places: list[float], where: tuple[float, float, float, float], is_x: bool
) -> float:
    """Place the labels; how deep they reach."""
    edge, out, reach, angle = where
    deepest = 0.0
    at = edge + out * reach
    for block, place in zip(labels, places, strict=True):
        width, height = block.size(angle)
        if is_x:
            va = "top" if out < 0 else "bottom"
            box = block.box(place, at, ha="center", va=va, angle=angle)
            if angle % 90:  # slanted: the end of the text stands at the tick
                shift = (width / 2 - block.height * 0.35) * (-1 if (angle < 0) == (out < 0) else 1)
                box = (box[0] + shift, box[1], box[2] + shift, box[3])
            deepest = max(deepest, height)
        else:
            box = block.box(at, place, ha="right" if out < 0 else "left", va="middle", angle=angle)
            deepest = max(deepest, width)
        if block.text:
            ruler.texts.append((block, box, angle))
    return deepest


def _write_title(ruler: Ruler, plane: Box, at: float, out: float, letters: Type) -> None:
    title = text_node(ruler.axis.spec.get("title"))
    if not title.get("text"):
        return
    left, bottom, right, top = plane
    block = letters.block(str(title["text"]), title.get("font"), align="center")
    standoff = float(8 if title.get("standoff") is None else title["standoff"]) * letters.scale * 0.7
    at += out * standoff
    if ruler.axis.letter == "x":
        block = block.wrapped(max(right - left, 60.0))
        box = block.box((left + right) / 2, at, ha="center", va="top" if out < 0 else "bottom")
        ruler.texts.append((block, box, 0.0))
    else:
        block = block.wrapped(max(top - bottom, 60.0))
        angle = -90.0 if out < 0 else 90.0
        box = block.box(at, (bottom + top) / 2, ha="right" if out < 0 else "left", va="middle", angle=angle)
        ruler.texts.append((block, box, angle))


def _labels(axis: Axis, length: float, letters: Type) -> tuple[list[Block], float, list[Tick]]:
    """Labels, their angle, and the ticks that have them: turned, shrunk, thinned out until none overlap."""
    spec = axis.spec
    font = letters.font(spec.get("tickfont"), pixels=12)
    is_x = axis.letter == "x"
    is_free = spec.get("tickvals") is None and axis.kind not in ("category", "multicategory")
    at_most = max(int(length / (font.size * (3.0 if is_x else 2.2))), 2)
    ticks = ticks_of(axis, at_most=at_most)
    if spec.get("showticklabels") is False:
        return [], 0.0, ticks
    while is_free and is_x and at_most > 2 and not _fit(_blocks(ticks, font, letters), ticks, axis, length, 0.0):
        at_most -= 1
        ticks = ticks_of(axis, at_most=at_most)
    given = spec.get("tickangle")
    angle = float(given) if isinstance(given, (int, float)) else 0.0
    blocks = _blocks(ticks, font, letters)
    if is_x and given in (None, "auto") and not is_free and not _fit(blocks, ticks, axis, length, 0.0):
        angle = -90.0
    for share in (1.0, 0.92, 0.85, _SMALLEST):
        smaller = Font(font.family, max(font.size * share, 4.0), font.color, font.bold, font.italic)
        blocks = _blocks(ticks, smaller, letters)
        if _fit(blocks, ticks, axis, length, angle):
            return blocks, angle, ticks
    step = 2
    while step < len(ticks) and not _fit(blocks[::step], ticks[::step], axis, length, angle):
        step += 1
    return blocks[::step], angle, ticks[::step]


def _blocks(ticks: list[Tick], font: Font, letters: Type) -> list[Block]:
    return [Block(text, font, scale=letters.scale, align="right") for _, text in ticks]


def _fit(blocks: list[Block], ticks: list[Tick], axis: Axis, length: float, angle: float) -> bool:
    """Whether no label meets the next one."""
    entries = [(axis.share(value) * length, block) for (value, _), block in zip(ticks, blocks, strict=True)]
    entries.sort(key=lambda entry: entry[0])
    is_x = axis.letter == "x"
    for (place, block), (following, other) in itertools.pairwise(entries):
        if angle % 90 and is_x:
            need = block.font.size * 1.3
        else:
            first, second = block.size(angle), other.size(angle)
            need = (first[0] + second[0]) / 2 + block.font.size * 0.5 if is_x else (first[1] + second[1]) / 2 * 0.86
            if is_x and abs(angle) % 180 == 90:
                need = (first[0] + second[0]) / 2 * 0.86
        if following - place < need:
            return False
    return True
