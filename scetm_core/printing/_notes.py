"""Where do annotations stand, so that those of a map do not cover each other?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scetm_core.printing._colors import CLEAR, faded, rgba
from scetm_core.printing._geometry import Geometry
from scetm_core.printing._read import Node
from scetm_core.printing._text import Block, Box, Type

if TYPE_CHECKING:
    from scetm_core.printing._page import Page


@dataclass
class Note:
    """One annotation, placed."""

    node: Node
    block: Block
    point: tuple[float, float]
    box: Box
    angle: float
    plane: Box | None
    """Of a note that names a place on a map: the plane it must stay on."""
    is_moved: bool = False

    def draw(self, page: Page, pixel: float) -> None:
        """Draw line, background and text."""
        node = self.node
        opacity = float(1 if node.get("opacity") is None else node["opacity"])
        x, y = self.point
        left, bottom, right, top = self.box
        has_line = node.get("showarrow", True) or self.is_moved
        if has_line and not (left <= x <= right and bottom <= y <= top):
            end = (min(max(x, left), right), min(max(y, bottom), top))
            if self.node.get("showarrow", True) and not self.is_moved:
                end = (min(max((left + right) / 2, left), right), end[1]) if bottom > y or top < y else end
            color = rgba(str(node.get("arrowcolor") or (node.get("font") or {}).get("color") or "#7b8794"))
            width = float(1 if node.get("arrowwidth") is None else node["arrowwidth"]) * pixel
            page.line([end[0], x], [end[1], y], color=faded(color, opacity), width=width, zorder=4.4)
            if int(1 if node.get("arrowhead") is None else node["arrowhead"]) > 0 and node.get("showarrow", True):
                _arrow_head(page, end, (x, y), color=faded(color, opacity), size=4.5 * pixel)
        if node.get("bgcolor") or node.get("bordercolor"):
            pad = float(1 if node.get("borderpad") is None else node["borderpad"]) * pixel - 0.08 * self.block.font.size
            fill = rgba(str(node["bgcolor"])) if node.get("bgcolor") else CLEAR
            edge = rgba(str(node["bordercolor"])) if node.get("bordercolor") else CLEAR
            width = float(node.get("borderwidth") or 1) * pixel if node.get("bordercolor") else 0.0
            page.rectangle((left - pad, bottom - pad, right + pad, top + pad), fill=faded(fill, opacity), edge=edge,
                           width=width, zorder=4.5)  # fmt: skip
        self.block.draw(page, self.box, angle=self.angle)


def _arrow_head(page: Page, tail: tuple[float, float], tip: tuple[float, float], *, color: tuple, size: float) -> None:  # type: ignore[type-arg]
    turn = math.atan2(tip[1] - tail[1], tip[0] - tail[0])
    corners = [
        tip,
        *((tip[0] - size * math.cos(turn + side), tip[1] - size * math.sin(turn + side)) for side in (0.4, -0.4)),
    ]
    page.area(corners, fill=color, zorder=4.45)


def notes_of(entries: list[Node], geometry: Geometry, letters: Type) -> list[Note]:
    """All annotations that are to be seen, those of places in a plane moved apart."""
    placed = [note for node in entries if (note := _place(node, geometry, letters)) is not None]
    fixed = [note for note in placed if note.plane is None]
    return fixed + _apart([note for note in placed if note.plane is not None], [note.box for note in fixed], letters)


def _place(node: Node, geometry: Geometry, letters: Type) -> Note | None:
    if node.get("visible") is False or not str(node.get("text") or "").strip():
        return None
    x_ref, y_ref = str(node.get("xref") or "x"), str(node.get("yref") or "y")
    point = (geometry.spot(node.get("x", 0.5), x_ref, "x"), geometry.spot(node.get("y", 0.5), y_ref, "y"))
    on_data = all(ref != "paper" and "domain" not in ref for ref in (x_ref, y_ref))
    plane = geometry.plane_of(x_ref, y_ref) if on_data else None
    if plane and not (plane[0] - 1 <= point[0] <= plane[2] + 1 and plane[1] - 1 <= point[1] <= plane[3] + 1):
        return None
    pixel, has_arrow = letters.scale, node.get("showarrow", True)
    block = letters.block(str(node["text"]), node.get("font"), align=str(node.get("align") or "center"))
    angle = float(node.get("textangle") or 0)
    ha = _anchor(node.get("xanchor"), node.get("x", 0.5), x_ref, has_arrow, ("left", "center", "right"))
    va = _anchor(node.get("yanchor"), node.get("y", 0.5), y_ref, has_arrow, ("bottom", "middle", "top"))
    at = [point[0] + float(node.get("xshift") or 0) * pixel, point[1] + float(node.get("yshift") or 0) * pixel]
    if has_arrow:
        for number, (letter, ref, sign) in enumerate((("x", x_ref, 1), ("y", y_ref, -1))):
            given = node.get(f"a{letter}")
            if str(node.get(f"a{letter}ref") or "pixel") != "pixel":
                at[number] = geometry.spot(given, ref, letter)
            else:
                at[number] += sign * float((-10, -30)[number] if given is None else given) * pixel
        if node.get("axref", "pixel") == "pixel" and node.get("xanchor") in (None, "auto"):
            ha = "center"
    return Note(node, block, point, block.box(at[0], at[1], ha=ha, va=va, angle=angle), angle, plane)


def _anchor(given: object, value: object, ref: str, has_arrow: bool, names: tuple[str, str, str]) -> str:
    if given in names:
        return str(given)
    if has_arrow or (ref != "paper" and "domain" not in ref) or not isinstance(value, (int, float)):
        return names[1]
    return names[0] if value < 1 / 3 else names[1] if value < 2 / 3 else names[2]


def _apart(notes: list[Note], taken: list[Box], letters: Type) -> list[Note]:
    """Move notes of a map to free places near their points, with a line to each that moved; pins stay if they can."""
    found: list[Note] = []
    boxes = list(taken)
    for note in notes:
        if note.plane is None or not note.node.get("bgcolor"):
            found.append(note)
            boxes.append(note.box)
            continue
        place = _free_place(note, boxes, letters.plain.size)
        if place is None:
            if note.node.get("xshift") or note.node.get("yshift"):
                continue  # one of many names beside points
            place = _inside(note.box, note.plane)
        own = note.box
        note.is_moved = abs(place[0] - own[0]) + abs(place[1] - own[1]) > 0.9 * note.block.height
        note.box = place
        found.append(note)
        boxes.append(place)
    return found


def _free_place(note: Note, boxes: list[Box], size: float) -> Box | None:
    plane = note.plane
    assert plane is not None
    start = _inside(note.box, plane)
    step = 0.55 * note.block.height
    reach = 4 if note.node.get("xshift") or note.node.get("yshift") else 15
    turns = [math.pi * share for share in (0.5, -0.5, 0, 1, 0.25, 0.75, -0.25, -0.75)]
    tries = [(0.0, 0.0)]
    for ring in range(1, reach):
        tries += [(ring * step * math.cos(turn) * 1.8, ring * step * math.sin(turn)) for turn in turns]
    for dx, dy in tries:
        box = (start[0] + dx, start[1] + dy, start[2] + dx, start[3] + dy)
        if box[0] < plane[0] - 1 or box[2] > plane[2] + 1 or box[1] < plane[1] - 1 or box[3] > plane[3] + 1:
            continue
        if not any(_meet(box, other) for other in boxes):
            return box
    return None


def _inside(box: Box, plane: Box) -> Box:
    dx = max(plane[0] - box[0], 0.0) - max(box[2] - plane[2], 0.0)
    dy = max(plane[1] - box[1], 0.0) - max(box[3] - plane[3], 0.0)
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] + 0.5 < other[3] and other[1] + 0.5 < one[3]
