"""Where do the axes of a figure stand on the page, and what is written around them?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._axes import Axis
from scetm_core.printing._color import RGBA, rgba
from scetm_core.printing._read import inside
from scetm_core.printing._text import Block, Type
from scetm_core.printing._ticks import MINUS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rect = tuple[float, float, float, float]
"""Left, bottom, right, top in points of the page."""
SMALLEST_PT = 4.0
"""Names beside rows may shrink to this before some are left out."""
AXIS_PT = 0.5


@dataclass
class Written:
    """A text with its place on the page."""

    block: Block
    at: tuple[float, float]
    ha: str
    va: str
    color: RGBA
    angle: float = 0.0
    background: RGBA | None = None
    pad: float = 0.0
    zorder: float = 6.0

    @property
    def box(self) -> Rect:
        """What it covers, with its background."""
        left, bottom, right, top = self.block.box(*self.at, ha=self.ha, va=self.va, angle=self.angle)
        return left - self.pad, bottom - self.pad, right + self.pad, top + self.pad

    def moved(self, x: float, y: float) -> None:
        """Shift it by points."""
        self.at = (self.at[0] + x, self.at[1] + y)

    def draw(self, figure: Figure) -> None:
        """Write it, over its background."""
        if self.background is not None and self.background[3] > 0:
            draw_rect(figure, self.box, face=self.background, zorder=self.zorder)
        self.block.draw(
            figure, self.at, ha=self.ha, va=self.va, color=self.color, angle=self.angle, zorder=self.zorder + 0.01
        )


def page_of(figure: Figure) -> Any:
    """Transform from points of the page."""
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(1 / 72) + figure.dpi_scale_trans


def draw_rect(
    figure: Figure, rect: Rect, *, face: Any = "none", edge: Any = "none", width: float = 0.0, dash: Any = "-",
    zorder: float = 1.0,
) -> Any:  # fmt: skip
    """A rectangle on the page."""
    from matplotlib.patches import Rectangle

    left, bottom, right, top = rect
    patch = Rectangle(
        (left, bottom), right - left, top - bottom, facecolor=face, edgecolor=edge, linewidth=width, linestyle=dash,
        transform=page_of(figure), zorder=zorder,
    )  # fmt: skip
    return figure.add_artist(patch)


def draw_line(figure: Figure, x: Any, y: Any, *, color: Any, width: float, dash: Any = "-", zorder: float = 3.0) -> Any:
    """A line on the page, through points; not-a-number breaks it."""
    from matplotlib.lines import Line2D

    line = Line2D(
        x, y, color=color, linewidth=width, linestyle=dash, transform=page_of(figure), zorder=zorder,
        solid_capstyle="butt",
    )  # fmt: skip
    return figure.add_artist(line)


def place_axes(axes: dict[str, Axis], area: Rect) -> None:
    """Give each axis its part of the area; of axes tied to one scale, the longer one shrinks."""
    left, bottom, right, top = area
    for axis in axes.values():
        low, high = axis.domain
        base, length = (left, right - left) if axis.is_x else (bottom, top - bottom)
        axis.start, axis.stop = base + low * length, base + high * length
    for axis in axes.values():
        other = axes.get(str(axis.options.get("scaleanchor") or ""))
        if other is None or other is axis:
            continue
        ratio = float(axis.options.get("scaleratio") or 1)
        own = (axis.stop - axis.start) / abs(axis.high - axis.low) / ratio
        its = (other.stop - other.start) / abs(other.high - other.low)
        if own > its:
            _shrink(axis, its / own)
        elif its > own:
            _shrink(other, own / its)


def _shrink(axis: Axis, share: float) -> None:
    toward = str(axis.options.get("constraintoward") or ("center" if axis.is_x else "middle"))
    spare = (axis.stop - axis.start) * (1 - share)
    before = {"left": 0.0, "bottom": 0.0, "right": 1.0, "top": 1.0}.get(toward, 0.5)
    axis.start, axis.stop = axis.start + spare * before, axis.stop - spare * (1 - before)


def counterpart(axis: Axis, axes: dict[str, Axis]) -> Axis | None:
    """The axis at whose end this one stands."""
    anchor = str(axis.options.get("anchor") or "")
    if anchor in axes:
        return axes[anchor]
    same = ("y" if axis.is_x else "x") + axis.name[1:]
    return axes.get(same) or axes.get("y" if axis.is_x else "x")


def line_place(axis: Axis, axes: dict[str, Axis]) -> float:
    """Where its line lies: a height for an axis along x, else a distance from the left."""
    other = counterpart(axis, axes)
    if other is None:
        return 0.0
    return other.stop if axis.side in ("top", "right") else other.start


@dataclass(frozen=True)
class Ticks:
    """What stands along an axis."""

    places: np.ndarray
    blocks: list[Block]
    angle: float

    def depth(self, is_x: bool) -> float:
        """How far the texts reach from the axis."""
        extents = [block.extent(self.angle) for block in self.blocks]
        return max((extent[1 if is_x else 0] for extent in extents), default=0.0)


def ticks_of(axis: Axis, type: Type) -> Ticks:
    """Ticks that fit: turned, smaller, or only some of them where there are too many."""
    px = float(inside(axis.options, "tickfont.size", 12))
    length = abs(axis.stop - axis.start)
    places, texts = axis.ticks(length, px * type.unit)
    blocks = [type.block(text, px) for text in texts]
    if not len(places) or axis.options.get("showticklabels") is False:
        return Ticks(places, [], 0.0)
    at = np.sort(axis.page(places))
    room = float(np.diff(at).min()) if len(at) > 1 else length
    return _fitting_x(axis, places, blocks, room) if axis.is_x else _fitting_y(places, blocks, room)


def _fitting_y(places: np.ndarray, blocks: list[Block], room: float) -> Ticks:
    tallest = max(block.height for block in blocks) * 1.08
    if tallest > room:
        size = max(SMALLEST_PT, blocks[0].size * room / tallest)
        blocks = [block.resized(min(block.size, size)) for block in blocks]
        tallest = max(block.height for block in blocks) * 1.02
    return _thinned(places, blocks, 0.0, room, tallest)


def _fitting_x(axis: Axis, places: np.ndarray, blocks: list[Block], room: float) -> Ticks:
    stated = axis.options.get("tickangle")
    widest, height = max(block.width for block in blocks), blocks[0].height
    gap = blocks[0].size * 0.35
    if stated not in (None, "auto") and float(stated) != 0:
        angle = -float(stated)
        if height > room:
            size = max(SMALLEST_PT, blocks[0].size * room / height)
            blocks = [block.resized(size) for block in blocks]
        return _thinned(places, blocks, angle, room, blocks[0].height)
    are_words = axis.kind == "category" or axis.options.get("tickvals") is not None
    if widest + gap <= room or not are_words:
        return _thinned(places, blocks, 0.0, room, widest + gap)
    are_short = max(len(block.plain) for block in blocks) <= 3
    if not are_short or height <= room * 1.05:
        size = max(SMALLEST_PT + 0.5, blocks[0].size * min(1.0, room / height))
        blocks = [block.resized(size) for block in blocks]
        return _thinned(places, blocks, 90.0, room, size * 0.95)
    size = min(blocks[0].size, max(SMALLEST_PT + 1, blocks[0].size * room / (widest + gap)))
    smaller = [block.resized(size) for block in blocks]
    needed = (widest + gap) * size / blocks[0].size
    plain = _thinned(places, blocks, 0.0, room, widest + gap)
    shrunk = _thinned(places, smaller, 0.0, room, needed)
    return shrunk if len(shrunk.places) > len(plain.places) else plain


def _thinned(places: np.ndarray, blocks: list[Block], angle: float, room: float, needed: float) -> Ticks:
    every = max(1, int(np.ceil(needed / max(room, 1e-6) - 1e-3)))
    return Ticks(places[::every], blocks[::every], angle)


def axis_texts(axis: Axis, axes: dict[str, Axis], type: Type, color: RGBA) -> list[Written]:
    """Texts of the ticks, and the title beyond them."""
    if not axis.is_visible:
        return []
    ticks, line = ticks_of(axis, type), line_place(axis, axes)
    away = -1.0 if axis.side in ("bottom", "left") else 1.0
    reach = _tick_length(axis, type) + 3 * type.unit if ticks.blocks else 0.0
    found: list[Written] = []
    tick_color = _color(axis, "tickfont.color", color)
    for place, block in zip(axis.page(ticks.places).tolist(), ticks.blocks, strict=False):
        if axis.is_x:
            at, ha, va = (place, line + away * reach), "center", "top" if away < 0 else "bottom"
        else:
            at, ha, va = (line + away * reach, place), "right" if away < 0 else "left", "middle"
        nudge = block.size * 0.11 if va == "middle" and len(block.lines) == 1 else 0.0  # middle of the digits
        found.append(Written(block, (at[0], at[1] - nudge), ha, va, tick_color, ticks.angle))
    title = inside(axis.options, "title.text") or ""
    title = axis.options["title"] if isinstance(axis.options.get("title"), str) else title
    title = re.sub(r"^-log10\b", f"{MINUS}log<sub>10</sub>", title)
    px = float(inside(axis.options, "title.font.size", 13))
    block = type.block(title, px, widest=max(abs(axis.stop - axis.start) * 1.15, 40.0))
    if block:
        middle = (axis.start + axis.stop) / 2
        beyond = reach + ticks.depth(axis.is_x) + 4 * type.unit
        at = (middle, line + away * beyond) if axis.is_x else (line + away * beyond, middle)
        sides = (
            ("center", "top" if away < 0 else "bottom") if axis.is_x else ("right" if away < 0 else "left", "middle")
        )
        found.append(Written(block, at, *sides, _color(axis, "title.font.color", color), 0.0 if axis.is_x else 90.0))
    return found


def _color(axis: Axis, path: str, default: RGBA) -> RGBA:
    stated = inside(axis.options, path)
    return rgba(stated) if isinstance(stated, str) else default


def _tick_length(axis: Axis, type: Type) -> float:
    return float(inside(axis.options, "ticklen", 5)) * type.unit if axis.options.get("ticks") == "outside" else 0.0


def draw_axis(figure: Figure, axis: Axis, axes: dict[str, Axis], type: Type, color: RGBA) -> None:
    """Its line, ticks, grid and the line at zero."""
    other = counterpart(axis, axes)
    if not axis.is_visible or other is None:
        return
    ticks, line = ticks_of(axis, type), line_place(axis, axes)
    at = axis.page(ticks.places)
    if axis.options.get("showgrid") is not False and axis.kind != "category":
        grid = inside(axis.options, "gridcolor", "#e5e8ec")
        _rungs(figure, axis, at, (other.start, other.stop), color=rgba(grid), width=0.4, zorder=0.7)
    if axis.options.get("zeroline") and axis.shows(np.zeros(1))[0] and axis.kind == "linear":
        zero = rgba(inside(axis.options, "zerolinecolor", "#444"))
        _rungs(figure, axis, axis.page(np.zeros(1)), (other.start, other.stop), color=zero, width=0.5, zorder=0.8)
    if axis.options.get("showline"):
        ends, across = [axis.start, axis.stop], [line, line]
        x, y = (ends, across) if axis.is_x else (across, ends)
        draw_line(figure, x, y, color=color, width=AXIS_PT)
    if axis.options.get("ticks") == "outside":
        away = -1.0 if axis.side in ("bottom", "left") else 1.0
        ends_of_tick = (line, line + away * _tick_length(axis, type))
        _rungs(figure, axis, at, ends_of_tick, color=color, width=AXIS_PT, zorder=3)


def _rungs(
    figure: Figure, axis: Axis, at: np.ndarray, ends: tuple[float, float], *, color: RGBA, width: float, zorder: float
) -> None:
    """Short or long lines across an axis, as one path."""
    if not len(at):
        return
    along = np.repeat(np.asarray(at, dtype=float), 3)
    across = np.tile([ends[0], ends[1], np.nan], len(at))
    x, y = (along, across) if axis.is_x else (across, along)
    draw_line(figure, x, y, color=color, width=width, zorder=zorder)
