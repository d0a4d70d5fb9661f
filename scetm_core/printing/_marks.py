"""What stands on a figure besides its traces: annotations, shapes and images?"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.errors import FigureError
from scetm_core.printing._axes import Axis
from scetm_core.printing._color import RGBA, faded, rgba
from scetm_core.printing._place import Rect, Written, draw_line, draw_rect
from scetm_core.printing._read import Json, Scene, inside
from scetm_core.printing._text import Type
from scetm_core.printing._traces import dash_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrow = tuple[tuple[float, float], Written, RGBA, float]
"""From a point of the page to a text, in a colour and width."""


class Frame:
    """Turns the references of marks ("x", "y2 domain", "paper") into points of the page."""

    def __init__(self, axes: dict[str, Axis], area: Rect) -> None:
        self.axes, self.area = axes, area

    def place(self, ref: str, value: Any, *, is_x: bool, is_shape: bool) -> float:
        """A coordinate in points of the page; not-a-number if it cannot be told."""
        name, _, is_domain = ref.partition(" ")
        axis = self.axes.get(name)
        try:
            if axis is None:
                low, high = (self.area[0], self.area[2]) if is_x else (self.area[1], self.area[3])
                return low + float(value) * (high - low)
            if is_domain:
                return axis.start + float(value) * (axis.stop - axis.start)
            return float(axis.page(axis.reference(value, is_shape=is_shape)))
        except (TypeError, ValueError):
            return float("nan")

    def is_shown(self, ref: str, value: Any) -> bool:
        """Whether a coordinate lies in the range of its axis; of the paper, all do."""
        axis = self.axes.get(ref)
        if axis is None:
            return True
        try:
            return bool(axis.shows(np.array([axis.reference(value, is_shape=False)]))[0])
        except (TypeError, ValueError):
            return False

    def clip(self, x_ref: str, y_ref: str) -> Rect:
        """What a shape may cover: the plot of the axes it refers to."""
        x, y = self.axes.get(x_ref.partition(" ")[0]), self.axes.get(y_ref.partition(" ")[0])
        far = 1e5
        return (
            x.start if x else -far, y.start if y else -far, x.stop if x else far, y.stop if y else far,
        )  # fmt: skip


def annotations_of(
    scene: Scene, frame: Frame, type: Type, color: RGBA, *, widest: float
) -> tuple[list[Written], list[Written], list[Arrow]]:
    """Texts beside the plot, texts on it, and arrows from the latter to what they speak of."""
    beside: list[Written] = []
    on_plot: list[Written] = []
    arrows: list[Arrow] = []
    for note in scene.layout.get("annotations") or []:
        if note.get("visible") is False or not str(note.get("text") or "").strip():
            continue
        x_ref, y_ref = str(note.get("xref") or "x"), str(note.get("yref") or "y")
        if not (frame.is_shown(x_ref, note.get("x")) and frame.is_shown(y_ref, note.get("y"))):
            continue
        x = frame.place(x_ref, note.get("x"), is_x=True, is_shape=False)
        y = frame.place(y_ref, note.get("y"), is_x=False, is_shape=False)
        if not np.isfinite([x, y]).all():
            continue
        x, y = x + float(note.get("xshift") or 0) * type.unit, y + float(note.get("yshift") or 0) * type.unit
        written, is_pointing = _written(note, (x, y), frame, type, color, widest)
        is_free = x_ref in frame.axes and y_ref in frame.axes
        (on_plot if is_free else beside).append(written)
        if is_pointing:
            line = rgba(str(note.get("arrowcolor") or "#444"))
            arrows.append(((x, y), written, line, max(float(note.get("arrowwidth") or 1) * type.unit, 0.3)))
    return beside, on_plot, arrows


def _written(
    note: Json, at: tuple[float, float], frame: Frame, type: Type, color: RGBA, widest: float
) -> tuple[Written, bool]:
    """The text of an annotation at its place, and whether a line leads to it."""
    px = float(inside(note, "font.size", 13))
    stated = inside(note, "font.color")
    block = type.block(note["text"], px, widest=widest)
    x, y = at
    is_pointing = note.get("showarrow") is not False
    ha, va = str(note.get("xanchor") or "auto"), str(note.get("yanchor") or "auto")
    if is_pointing:
        tail_x, tail_y = note.get("ax", -10), note.get("ay", -30)
        x_ref, y_ref = str(note.get("axref") or "pixel"), str(note.get("ayref") or "pixel")
        x = x + float(tail_x) * type.unit if x_ref == "pixel" else frame.place(x_ref, tail_x, is_x=True, is_shape=False)
        y = (
            y - float(tail_y) * type.unit
            if y_ref == "pixel"
            else frame.place(y_ref, tail_y, is_x=False, is_shape=False)
        )
        ha, va = ("center" if ha == "auto" else ha), ("middle" if va == "auto" else va)
    ha = _auto(ha, str(note.get("xref") or "x"), note.get("x"), ("left", "center", "right"))
    va = _auto(va, str(note.get("yref") or "y"), note.get("y"), ("bottom", "middle", "top"))
    background = note.get("bgcolor")
    written = Written(
        block, (x, y), ha, va,
        faded(rgba(stated) if isinstance(stated, str) else color, float(inside(note, "opacity", 1))),
        angle=-float(note.get("textangle") or 0),
        background=rgba(background) if isinstance(background, str) else None,
        pad=(float(note.get("borderpad", 1)) + 1) * type.unit,
    )  # fmt: skip
    return written, is_pointing


def _auto(stated: str, ref: str, value: Any, sides: tuple[str, str, str]) -> str:
    """Plotly's automatic anchor: by thirds of the paper; on axes, the middle."""
    if stated != "auto":
        return stated
    if ref != "paper" and "domain" not in ref:
        return sides[1]
    share = float(value)
    return sides[0] if share < 1 / 3 else sides[1] if share < 2 / 3 else sides[2]


def draw_arrows(figure: Figure, arrows: list[Arrow]) -> None:
    """A thin line from each text to its point; none where the text stands on it."""
    for (x, y), text, color, width in arrows:
        left, bottom, right, top = text.box
        if left <= x <= right and bottom <= y <= top:
            continue
        near = min(max(x, left), right), min(max(y, bottom), top)
        draw_line(figure, [x, near[0]], [y, near[1]], color=color, width=width, zorder=5.5)


def draw_shapes(figure: Figure, scene: Scene, frame: Frame, type: Type) -> None:
    """Lines, rectangles, circles and paths."""
    for shape in scene.layout.get("shapes") or []:
        if shape.get("visible") is False:
            continue
        refs = str(shape.get("xref") or "x"), str(shape.get("yref") or "y")
        zorder = 0.9 if shape.get("layer") in ("below", "between") else 4.0
        width = float(inside(shape, "line.width", 2) or 0)
        opacity = float(shape.get("opacity") if shape.get("opacity") is not None else 1)
        edge = faded(rgba(str(inside(shape, "line.color", "#444"))), opacity) if width else "none"
        fill = shape.get("fillcolor")
        face = faded(rgba(fill), opacity) if isinstance(fill, str) else "none"
        ends = [
            frame.place(refs[0], shape.get("x0"), is_x=True, is_shape=True),
            frame.place(refs[1], shape.get("y0"), is_x=False, is_shape=True),
            frame.place(refs[0], shape.get("x1"), is_x=True, is_shape=True),
            frame.place(refs[1], shape.get("y1"), is_x=False, is_shape=True),
        ]
        if not np.isfinite(ends).all():
            continue
        points = max(width * type.unit, 0.3) if width else 0.0
        dash = dash_of(inside(shape, "line.dash", "solid"))
        if shape.get("type") == "line":
            drawn = draw_line(figure, ends[::2], ends[1::2], color=edge, width=points, dash=dash, zorder=zorder)
        else:
            rect = min(ends[::2]), min(ends[1::2]), max(ends[::2]), max(ends[1::2])
            drawn = draw_rect(figure, rect, face=face, edge=edge, width=points, dash=dash, zorder=zorder)
        _clip(figure, drawn, frame.clip(*refs), room=points)


def _clip(figure: Figure, artist: Any, rect: Rect, *, room: float) -> None:
    from matplotlib.patches import Rectangle

    from scetm_core.printing._place import page_of

    left, bottom, right, top = rect
    window = Rectangle((left - room, bottom - room), right - left + 2 * room, top - bottom + 2 * room)
    window.set_transform(page_of(figure))
    artist.set_clip_path(window)


def draw_images(figure: Figure, scene: Scene, frame: Frame) -> None:
    """Pictures that the figure carries with it, below its points."""
    for number, image in enumerate(scene.layout.get("images") or []):
        if image.get("visible") is False:
            continue
        pixels = _pixels(str(image.get("source") or ""))
        x_ref, y_ref = str(image.get("xref") or "paper"), str(image.get("yref") or "paper")
        rect = _image_rect(image, frame, (x_ref, y_ref))
        if image.get("sizing") in (None, "contain"):
            rect = _contained(rect, pixels.shape[1] / pixels.shape[0])
        axes = figure.add_axes((0, 0, 1, 1), frame_on=False, zorder=0.5 if image.get("layer") == "below" else 1.5)
        axes.set_axis_off()
        size = figure.get_size_inches() * 72
        left, bottom, right, top = rect
        axes.set_position((left / size[0], bottom / size[1], (right - left) / size[0], (top - bottom) / size[1]))
        shown = axes.imshow(pixels, aspect="auto", alpha=float(image.get("opacity") or 1), interpolation="antialiased")
        shown.set_gid(f"image-{number}")
        _clip(figure, shown, frame.clip(x_ref, y_ref), room=0.0)


def _image_rect(image: Json, frame: Frame, refs: tuple[str, str]) -> Rect:
    """By its anchor and its size along the axes."""
    ends = []
    for ref, key, is_x, sides in (
        (refs[0], "x", True, ("left", "center", "right")), (refs[1], "y", False, ("bottom", "middle", "top")),
    ):  # fmt: skip
        at, size = float(image.get(key) or 0), float(image.get(f"size{key}") or 0)
        side = str(image.get(f"{key}anchor") or ("left" if is_x else "top"))
        axis = frame.axes.get(ref)
        grows = -1.0 if axis is not None and axis.high < axis.low else 1.0
        before = {sides[0]: 0.0, sides[1]: 0.5, sides[2]: 1.0}.get(side, 0.0)
        low = at - grows * size * before
        ends.append(sorted(frame.place(ref, low + grows * part, is_x=is_x, is_shape=False) for part in (0.0, size)))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _contained(rect: Rect, aspect: float) -> Rect:
    left, bottom, right, top = rect
    width, height = right - left, top - bottom
    if width > height * aspect:
        spare = (width - height * aspect) / 2
        return left + spare, bottom, right - spare, top
    spare = (height - width / aspect) / 2
    return left, bottom + spare, right, top - spare


def _pixels(source: str) -> np.ndarray:
    """A picture from its data URI, a PNG as our figures have it; nothing is ever fetched.

    Pillow would try all formats it knows, EPS among them, for which it starts Ghostscript.
    """
    from PIL import Image

    head, _, content = source.partition(",")
    if not head.startswith("data:image/") or "base64" not in head:
        raise FigureError("A picture in the figure is no data URI (data:image/...;base64,...), and none is fetched.")
    try:
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True)), formats=["PNG"]) as picture:
            return np.asarray(picture.convert("RGBA"))
    except (ValueError, OSError, Image.DecompressionBombError) as error:
        raise FigureError(f"A picture in the figure cannot be decoded as PNG ({error}).") from error
