"""How do one or several figures become a page of exact size, as bytes of a file?"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from scetm_core.errors import ConfigError, FigureError, ScetmError
from scetm_core.printing._place import Written
from scetm_core.printing._plot import SCREEN_PX, Plot, plot_of
from scetm_core.printing._read import read_scene
from scetm_core.printing._text import Block, Type, chosen_family
from scetm_core.printing.settings import FORMATS, LARGEST_MM, MM, PrintSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOCK = threading.Lock()
_MARGIN = 1.5
"""Points of white at the rim of a page."""
MAX_PIXELS = 150_000_000
"""Of a page that is drawn as an image: a larger one would fill the memory."""
_GUTTER = 1.6
"""Between panels, of the font size."""
_RC: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "scetm", "svg.image_inline": True, "pdf.fonttype": 42,
    "path.simplify": False, "agg.path.chunksize": 0, "text.usetex": False, "text.hinting": "none",
    "axes.unicode_minus": False,
}  # fmt: skip
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "scETM Studio"},
    "pdf": {"CreationDate": None, "Creator": "scETM Studio", "Producer": None},
    "png": {"Software": "scETM Studio"},
}
_ALIKE = {"Liberation Sans": "'Liberation Sans', Arial, Helvetica, sans-serif"}


def render(figure: go.Figure | Mapping[str, Any], settings: PrintSettings, *, file_format: str) -> bytes:
    """Draw a figure for paper.

    Parameters
    ----------
    figure
        A figure, or its JSON as a browser has it, with what was zoomed and hidden there.
    settings
        Size, type, legend.
    file_format
        One of `FORMATS`.

    Returns
    -------
    The content of the file: the same for the same figure and settings.

    Raises
    ------
    FigureError
        If the figure cannot be read, or holds something that cannot be printed.
    ConfigError
        If the format or the typeface is not known.
    """
    _check_format(file_format)
    type = _type_of(settings)
    width = settings.width_mm * MM
    inner = width - 2 * _MARGIN
    with _alone():
        plot = plot_of(read_scene(figure), settings, type, title=settings.title, width=inner)
        height = _height_of(plot, inner, settings.height_mm * MM - 2 * _MARGIN) + 2 * _MARGIN
        plot.lay_out((_MARGIN, _MARGIN, width - _MARGIN, height - _MARGIN))
        return _saved([plot], [], (width, height), settings, file_format)


def rasterised(figure: go.Figure | Mapping[str, Any]) -> bool:
    """Whether a figure has so many points (more than 50,000) that they become a bitmap within SVG and PDF."""
    return read_scene(figure).is_rasterised


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure with its place in a grid.

    Attributes
    ----------
    figure
        As `render` takes.
    title
        Written beside its letter.
    row, column
        From 0.
    row_span, column_span
        How many rows and columns it takes.
    """

    figure: go.Figure | Mapping[str, Any]
    title: str = ""
    row: int = 0
    column: int = 0
    row_span: int = 1
    column_span: int = 1

    def __post_init__(self) -> None:
        if min(self.row, self.column) < 0 or min(self.row_span, self.column_span) < 1:
            raise ConfigError(
                f"A panel stands in row and column 0 or later, takes 1 or more of each; got row {self.row}, column "
                f"{self.column}, spans {self.row_span} and {self.column_span}.",
                field="row",
            )


def render_panels(panels: Sequence[Panel], settings: PrintSettings, *, file_format: str, letters: bool = True) -> bytes:
    """Draw figures in a grid on one page, with bold letters a, b, c at the upper left of each.

    Rows are as high as their figures need, unless the settings state a height: then they share it.

    Parameters
    ----------
    panels
        In the order of their letters.
    settings
        Of the whole page; its title stands above all.
    file_format
        One of `FORMATS`.
    letters
        Whether panels are lettered.

    Raises
    ------
    FigureError
        If a figure cannot be printed.
    ConfigError
        If there is no panel, two share a place, or they need a page that is too high.
    """
    _check_format(file_format)
    _check_places(panels)
    with _alone():
        return _page_of(panels, settings, file_format, letters=letters)


def _page_of(panels: Sequence[Panel], settings: PrintSettings, file_format: str, *, letters: bool) -> bytes:
    """Lay the panels out, row by row, and draw them."""
    type = _type_of(settings)
    width, inner = settings.width_mm * MM, settings.width_mm * MM - 2 * _MARGIN
    n_columns = max(panel.column + panel.column_span for panel in panels)
    gutter = _GUTTER * settings.font_size
    column = (inner - gutter * (n_columns - 1)) / n_columns
    plots, heads = [], []
    for number, panel in enumerate(panels):
        own = column * panel.column_span + gutter * (panel.column_span - 1)
        if own < 40:
            raise ConfigError(
                f"A page of {settings.width_mm:g} mm is too narrow for {n_columns} columns.", field="width_mm"
            )
        plots.append(
            plot_of(read_scene(panel.figure, prefix=f"{_letter(number)}-"), settings, type, title="", width=own)
        )
        heads.append(_head(type, _letter(number) if letters else "", panel.title, own))
    title = type.block(settings.title, 15.0, bold=True, widest=inner)
    above = title.height + gutter * 0.6 if title else 0.0
    stated = settings.height_mm * MM - 2 * _MARGIN - above if settings.height_mm else 0.0
    rows = _row_heights(panels, plots, heads, gutter, stated, column)
    height = sum(rows) + gutter * (len(rows) - 1) + 2 * _MARGIN + above
    if height > LARGEST_MM * MM:
        raise ConfigError(
            f"The panels need a page of {height / MM:.0f} mm, more than {LARGEST_MM}. State a height, or fewer rows.",
            field="height_mm",
        )
    texts = [Written(title, (_MARGIN, height - _MARGIN), "left", "top", plots[0].text_color)] if title else []
    for panel, plot, head in zip(panels, plots, heads, strict=True):
        left = _MARGIN + panel.column * (column + gutter)
        right = left + column * panel.column_span + gutter * (panel.column_span - 1)
        top = height - _MARGIN - above - sum(rows[: panel.row]) - gutter * panel.row
        bottom = top - sum(rows[panel.row : panel.row + panel.row_span]) - gutter * (panel.row_span - 1)
        texts += [Written(block, (left + x, top), "left", "top", plot.text_color) for block, x in head]
        top -= _head_height(head, gutter)
        plot.choose_legend(right - left, top - bottom)
        plot.lay_out((left, bottom, right, top))
    return _saved(plots, texts, (width, height), settings, file_format)


Head = list[tuple[Block, float]]
"""Letter and title above a panel, with their distance from its left."""


def _letter(number: int) -> str:
    """a, b ... z, aa, ab."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _head(type: Type, letter: str, title: str, width: float) -> Head:
    found: Head = []
    x = 0.0
    if letter:
        block = type.block(letter, 15.0, bold=True)
        found.append((block, 0.0))
        x = block.width + block.size * 0.7
    if title and (block := type.block(title, 13.0, widest=width - x)):
        found.append((block, x))
    return found


def _head_height(head: Head, gutter: float) -> float:
    return max((block.height for block, _ in head), default=-gutter * 0.35) + gutter * 0.35


def _row_heights(
    panels: Sequence[Panel], plots: Sequence[Plot], heads: Sequence[Head], gutter: float, stated: float, column: float
) -> list[float]:
    """Heights of the rows in points: what their figures need, then what wide ones need, shared; or a stated sum."""
    n_rows = max(panel.row + panel.row_span for panel in panels)
    rows = [0.0] * n_rows
    for panel, plot, head in sorted(zip(panels, plots, heads, strict=True), key=lambda entry: entry[0].row_span):
        own = column * panel.column_span + gutter * (panel.column_span - 1)
        needed = _height_of(plot, own, 0.0) + _head_height(head, gutter)
        span = slice(panel.row, panel.row + panel.row_span)
        missing = needed - sum(rows[span]) - gutter * (panel.row_span - 1)
        if missing > 0:
            rows[span] = [row + missing / panel.row_span for row in rows[span]]
    if stated:
        free = stated - gutter * (n_rows - 1)
        rows = [row * free / max(sum(rows), 1e-6) for row in rows]
    return rows


def _check_places(panels: Sequence[Panel]) -> None:
    if not panels:
        raise ConfigError("There is no panel to draw. Add a figure first.", field="panels")
    taken: dict[tuple[int, int], int] = {}
    for number, panel in enumerate(panels):
        for row in range(panel.row, panel.row + panel.row_span):
            for column in range(panel.column, panel.column + panel.column_span):
                if (row, column) in taken:
                    raise ConfigError(
                        f"Panels {_letter(taken[row, column])} and {_letter(number)} both take row {row}, column "
                        f"{column}. Move one of them.",
                        field="row",
                    )
                taken[row, column] = number


def _height_of(plot: Plot, width: float, stated: float) -> float:
    """Height in points of a figure so wide; its legend is given columns on the way."""
    if stated > 0:
        plot.choose_legend(width, stated)
        return stated
    plot.choose_legend(width, width)
    height = plot.natural_height(width)
    if plot.legend_side == "right" and plot.legend:
        plot.choose_legend(width, height)
        height = max(plot.natural_height(width), plot.legend.height if plot.legend_side == "right" else 0.0)
    return height


@contextmanager
def _alone() -> Iterator[None]:
    """One print at a time, with matplotlib set up for it."""
    from matplotlib import rc_context

    with _LOCK, rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # letters that no installed typeface has
        try:
            yield
        except ScetmError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:  # JSON of somebody's making
            raise FigureError(f"The figure holds something that cannot be printed ({error}).") from error


def _type_of(settings: PrintSettings) -> Type:
    return Type(chosen_family(settings.font_family), settings.font_size / SCREEN_PX)


def _check_format(file_format: str) -> None:
    if file_format not in FORMATS:
        raise ConfigError(f"File format must be one of {list(FORMATS)}, got {file_format!r}.", field="file_format")


def _saved(
    plots: Sequence[Plot], texts: Sequence[Written], size: tuple[float, float], settings: PrintSettings,
    file_format: str,
) -> bytes:  # fmt: skip
    """Draw everything on a page of so many points, and write it."""
    from matplotlib.figure import Figure

    if file_format == "png" or any(plot.scene.may_hold_bitmap for plot in plots):
        _check_pixels(size, settings.dpi)
    page: Figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=settings.dpi)
    page.patch.set_facecolor("none" if settings.transparent else "white")
    for plot in plots:
        plot.draw(page)
    for text in texts:
        text.draw(page)
    stream = io.BytesIO()
    page.savefig(stream, format=file_format, dpi=settings.dpi, metadata=_METADATA[file_format])
    content = stream.getvalue()
    return _in_mm(content, size) if file_format == "svg" else content


def _check_pixels(size: tuple[float, float], dpi: int) -> None:
    n_pixels = size[0] * size[1] * (dpi / 72) ** 2
    if n_pixels > MAX_PIXELS:
        raise ConfigError(
            f"A page of {size[0] / MM:.0f} x {size[1] / MM:.0f} mm at {dpi} dpi has {n_pixels / 1e6:.0f} million "
            f"pixels, over {MAX_PIXELS / 1e6:.0f}. Ask for fewer dots per inch.",
            field="dpi",
        )


def _in_mm(content: bytes, size: tuple[float, float]) -> bytes:
    """An SVG that states its size in mm, and typefaces that look alike where one is not installed."""
    text = content.decode("utf-8")
    width, height = (f"{round(points / MM, 3):g}mm" for points in size)
    text = re.sub(
        r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', rf'<svg \1width="{width}" height="{height}"', text, count=1
    )
    text = re.sub(r'height="[\d.]+pt"([^>]*?)width="[\d.]+pt"', rf'height="{height}"\1width="{width}"', text, count=1)
    for family, alike in _ALIKE.items():
        text = text.replace(f"'{family}'", alike)
    return text.encode("utf-8")
