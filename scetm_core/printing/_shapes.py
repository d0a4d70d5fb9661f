"""How are shapes (lines, rectangles, ellipses, paths) and pictures of a layout drawn?"""

from __future__ import annotations

import base64
import io
import math
import re
from typing import TYPE_CHECKING

import numpy as np

from scetm_core.errors import FigureError
from scetm_core.printing._colors import CLEAR, faded, rgba
from scetm_core.printing._geometry import Geometry
from scetm_core.printing._read import Node
from scetm_core.printing._text import Box

if TYPE_CHECKING:
    from scetm_core.printing._page import Page

_STEP = re.compile(r"([MLHVZ])([^MLHVZ]*)", re.IGNORECASE)


def draw_shapes(page: Page, entries: list[Node], geometry: Geometry, *, pixel: float) -> None:
    """Draw all shapes, clipped to the planes they belong to."""
    for node in entries:
        if node.get("visible") is False:
            continue
        x_ref, y_ref = str(node.get("xref") or "x"), str(node.get("yref") or "y")
        corners = _corners(node, geometry, x_ref, y_ref)
        corners = _clipped(corners, geometry, x_ref, y_ref)
        if not len(corners):
            continue
        line = node.get("line") or {}
        width = float(2 if line.get("width") is None else line["width"]) * pixel
        opacity = float(1 if node.get("opacity") is None else node["opacity"])
        color = faded(rgba(str(line.get("color") or "#444444")), opacity)
        zorder = 0.8 if node.get("layer") in ("below", "between") else 2.8
        dash = str(line.get("dash") or "solid")
        is_open = node.get("type") == "line" or (
            node.get("type") == "path" and "Z" not in str(node.get("path")).upper()
        )
        if not is_open and node.get("fillcolor"):
            page.area(corners.tolist(), fill=faded(rgba(str(node["fillcolor"])), opacity), edge=CLEAR, zorder=zorder)
        if width:
            closed = corners if is_open else np.vstack([corners, corners[:2]])
            page.line(closed[:, 0].tolist(), closed[:, 1].tolist(), color=color, width=width, dash=dash, zorder=zorder)


def _corners(node: Node, geometry: Geometry, x_ref: str, y_ref: str) -> np.ndarray:
    def at(x: object, y: object) -> tuple[float, float]:
        return geometry.spot(x, x_ref, "x", is_exponent=False), geometry.spot(y, y_ref, "y", is_exponent=False)

    if node.get("type") == "path":
        return np.array([at(x, y) for x, y in _path(str(node.get("path") or ""))])
    start, end = at(node.get("x0", 0), node.get("y0", 0)), at(node.get("x1", 1), node.get("y1", 1))
    if node.get("type") == "line":
        return np.array([start, end])
    if node.get("type") == "circle":
        turns = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        middle, half = (np.array(start) + end) / 2, np.abs(np.array(end) - start) / 2
        return np.asarray(middle + half * np.column_stack([np.cos(turns), np.sin(turns)]))
    return np.array([start, (end[0], start[1]), end, (start[0], end[1])])


def _path(text: str) -> list[tuple[float, float]]:
    places: list[tuple[float, float]] = []
    for kind, numbers in _STEP.findall(text):
        values = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", numbers)]
        if kind.upper() == "H" and places:
            places += [(value, places[-1][1]) for value in values]
        elif kind.upper() == "V" and places:
            places += [(places[-1][0], value) for value in values]
        else:
            places += list(zip(values[::2], values[1::2], strict=False))
    return places


def _clipped(corners: np.ndarray, geometry: Geometry, x_ref: str, y_ref: str) -> np.ndarray:
    """Held within the axes that they are given along; empty if all lies outside."""
    if not len(corners):
        return corners
    found = corners.copy()
    for column, (ref, offset) in enumerate(((x_ref, geometry.left), (y_ref, geometry.bottom))):
        if ref == "paper" or ref.endswith(" domain") or ref not in geometry.ends:
            continue
        low, high = (end + offset for end in geometry.ends[ref])
        values = found[:, column]
        if (values < low - 0.5).all() or (values > high + 0.5).all():
            return found[:0]
        found[:, column] = np.clip(values, low - 0.5, high + 0.5)
    return found


def draw_images(page: Page, entries: list[Node], geometry: Geometry) -> None:
    """Draw pictures given as data URIs, below the points unless they say otherwise."""
    for node in entries:
        if node.get("visible") is False:
            continue
        picture = _picture(str(node.get("source") or ""))
        box = _picture_box(node, geometry, picture.shape[1] / picture.shape[0])
        axes = page.axes(box, (0, 1), (0, 1), zorder=0.7 if node.get("layer") == "below" else 2.7)
        opacity = float(1 if node.get("opacity") is None else node["opacity"])
        axes.imshow(picture, extent=(0, 1, 0, 1), aspect="auto", interpolation="antialiased", alpha=opacity)


def _picture(source: str) -> np.ndarray:
    from PIL import Image

    if not source.startswith("data:image/"):
        raise FigureError("A picture of this figure is no data URI; pictures elsewhere are not fetched.")
    try:
        raw = base64.b64decode(source.partition(",")[2], validate=True)
        return np.asarray(Image.open(io.BytesIO(raw)).convert("RGBA"))
    except (ValueError, OSError) as error:
        raise FigureError(f"A picture of this figure cannot be read ({error}).") from error


def _picture_box(node: Node, geometry: Geometry, aspect: float) -> Box:
    x_ref, y_ref = str(node.get("xref") or "paper"), str(node.get("yref") or "paper")

    def length(start: object, size: float, ref: str, letter: str) -> float:
        first = geometry.spot(start, ref, letter)
        return abs(geometry.spot(float(start) + size, ref, letter) - first)  # type: ignore[arg-type]

    x, y = node.get("x", 0), node.get("y", 0)
    width = length(x, float(node.get("sizex") or 0), x_ref, "x")
    height = length(y, float(node.get("sizey") or 0), y_ref, "y")
    if (node.get("sizing") or "contain") == "contain" and width and height:
        width, height = min(width, height * aspect), min(height, width / aspect)
    left = (
        geometry.spot(x, x_ref, "x") - {"left": 0.0, "center": width / 2, "right": width}[node.get("xanchor") or "left"]
    )
    top = (
        geometry.spot(y, y_ref, "y")
        + {"top": 0.0, "middle": height / 2, "bottom": height}[node.get("yanchor") or "top"]
    )
    return left, top - height, left + width, top
