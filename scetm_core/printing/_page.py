"""What is drawn on? A page measured in points, its letters, lines and areas, and how it becomes a file."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from scetm_core.printing._colors import CLEAR, RGBA, rgba
from scetm_core.printing._fonts import ALIKE, FALLBACK, drawn_with, properties
from scetm_core.printing._text import Box, Font, Run, Type
from scetm_core.printing.settings import PrintSettings

MM = 72 / 25.4
"""Points of a millimetre."""
INK = "#1f2933"
DASHES = {"dot": (1.0, 1.6), "dash": (4.0, 2.4), "longdash": (7.0, 3.0), "dashdot": (4.0, 1.8, 1.0, 1.8)}
_LOCK = threading.RLock()
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.hinting": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "scetm",
    "path.simplify": True,
    "axes.unicode_minus": True,
    "agg.path.chunksize": 20_000,
}


class Page:
    """A page of some width and height in points, the origin at the bottom left."""

    def __init__(self, width: float, height: float, settings: PrintSettings) -> None:
        self.width, self.height, self.settings = width, height, settings
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasAgg(self.figure)
        self.figure.patch.set_visible(not settings.transparent)
        self.figure.patch.set_facecolor("white")
        self.points = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans

    def axes(self, box: Box, x_range: Sequence[float], y_range: Sequence[float], *, zorder: float = 1.0) -> Axes:
        """A bare plane in a box of the page, with linear coordinates."""
        left, bottom, right, top = box
        place = (left / self.width, bottom / self.height, (right - left) / self.width, (top - bottom) / self.height)
        axes: Axes = self.figure.add_axes(place, zorder=zorder, label=str(len(self.figure.axes)))
        axes.set_axis_off()
        axes.patch.set_visible(False)
        axes.set_xlim(*x_range)
        axes.set_ylim(*y_range)
        axes.set_autoscale_on(False)
        return axes

    def letters(self, run: Run, place: tuple[float, float], *, turn: float, zorder: float) -> None:
        """One run of letters with the start of its baseline at a place."""
        font = run.font
        self.figure.add_artist(
            Text(
                *place,
                run.text,
                color=font.color,
                fontproperties=properties(font.family, font.size, font.bold, font.italic),
                rotation=turn,
                rotation_mode="anchor",
                ha="left",
                va="baseline",
                transform=self.points,
                parse_math=False,
                zorder=zorder,
            )
        )

    def line(
        self,
        x: Sequence[float],
        y: Sequence[float],
        *,
        color: RGBA,
        width: float,
        dash: str = "solid",
        zorder: float = 3,
    ) -> None:
        """A line through places on the page."""
        self.figure.add_artist(
            Line2D(x, y, color=color, lw=width, ls=line_style(dash), transform=self.points, zorder=zorder,
                   solid_capstyle="butt", solid_joinstyle="miter")
        )  # fmt: skip

    def area(
        self,
        corners: Sequence[tuple[float, float]],
        *,
        fill: RGBA,
        edge: RGBA = CLEAR,
        width: float = 0,
        zorder: float = 2,
    ) -> None:
        """A filled polygon."""
        self.figure.add_artist(
            Polygon(np.asarray(corners), closed=True, facecolor=fill, edgecolor=edge, lw=width, transform=self.points,
                    zorder=zorder, joinstyle="miter")
        )  # fmt: skip

    def rectangle(self, box: Box, *, fill: RGBA, edge: RGBA = CLEAR, width: float = 0, zorder: float = 2) -> None:
        """A filled rectangle."""
        left, bottom, right, top = box
        corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
        self.area(corners, fill=fill, edge=edge, width=width, zorder=zorder)

    def rectangles(self, boxes: np.ndarray, colors: np.ndarray, *, zorder: float = 2) -> None:
        """Many rectangles (n, 4) that touch without a seam."""
        left, bottom, right, top = boxes.T
        corners = np.stack([np.stack([left, bottom], -1), np.stack([right, bottom], -1), np.stack([right, top], -1),
                            np.stack([left, top], -1)], axis=1)  # fmt: skip
        self.figure.add_artist(
            PolyCollection(
                list(corners), facecolors=colors, edgecolors=colors, lw=0.15, transform=self.points, zorder=zorder
            )
        )


def line_style(dash: str) -> str | tuple[float, tuple[float, ...]]:
    """A dash of plotly as matplotlib wants it."""
    if dash in DASHES:
        return (0.0, DASHES[dash])
    lengths = [float(part) for part in re.findall(r"[\d.]+", str(dash))]
    return (0.0, tuple(lengths)) if len(lengths) >= 2 else "-"


def type_of(settings: PrintSettings, *, pixels: float) -> Type:
    """The letters of a page whose plain text is `pixels` high on screen."""
    family = drawn_with(settings.font_family)
    return Type(family, settings.font_size / pixels, Font(family, settings.font_size, rgba(INK)))


def as_file(make: Callable[[], Page], file_format: str) -> bytes:
    """Make a page and write it; one at a time, since matplotlib's settings belong to the whole process."""
    with _LOCK, mpl.rc_context(_STYLE):
        page = make()
        buffer = io.BytesIO()
        metadata: dict[str, dict[str, None]] = {
            "svg": {"Date": None, "Creator": None},
            "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
            "png": {"Software": None},
        }
        page.figure.savefig(
            buffer,
            format=file_format,
            dpi=page.settings.dpi,
            metadata=metadata[file_format],
            facecolor="none" if page.settings.transparent else "white",
        )
    content = buffer.getvalue()
    return _in_millimetres(content, page) if file_format == "svg" else content


def _in_millimetres(content: bytes, page: Page) -> bytes:
    """An SVG whose size is in millimetres, and whose fonts are those asked for before those at hand."""
    text = content.decode()
    size = f'width="{page.width / MM:g}mm" height="{page.height / MM:g}mm"'
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, text, count=1)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*mm" height="[^"]*mm"', rf"\1 {size}", text, count=1)
    wanted, drawn = page.settings.font_family, drawn_with(page.settings.font_family)
    chain = [wanted, *(name for name in ALIKE.get(wanted, ()) if name != wanted), drawn, FALLBACK]
    names = ", ".join(f"'{name}'" if " " in name else name for name in dict.fromkeys(chain))
    generic = "serif" if "Serif" in drawn or "Times" in drawn else "sans-serif"
    for quoted in (f"'{drawn}', '{FALLBACK}'", f"'{drawn}'"):
        text = text.replace(f" {quoted};", f" {names}, {generic};").replace(f' {quoted}"', f' {names}, {generic}"')
    return text.encode()
