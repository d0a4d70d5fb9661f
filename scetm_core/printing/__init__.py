"""How does a figure of the app come to paper? SVG, PDF or PNG in millimetres and points, drawn without a browser.

What a figure shows on screen is read from its JSON: visible traces, axis ranges, annotations. Text stays text, sizes
are those of a journal, and points that are too many for vectors become a bitmap between vector axes. matplotlib draws;
it is imported with the first figure that is printed, so that a server starts without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from scetm_core.errors import FigureError
from scetm_core.printing.panel import Panel
from scetm_core.printing.settings import FORMATS, JOURNAL_WIDTHS, LEGENDS, MAX_VECTOR_POINTS, PrintSettings

__all__ = [
    "FORMATS",
    "JOURNAL_WIDTHS",
    "LEGENDS",
    "MAX_VECTOR_POINTS",
    "Panel",
    "PrintSettings",
    "font_families",
    "rasterised",
    "render",
    "render_panels",
]


def render(
    figure: go.Figure | Mapping[str, Any], settings: PrintSettings | None = None, *, file_format: str = "pdf"
) -> bytes:
    """Draw a figure for paper.

    Parameters
    ----------
    figure
        Made here, or its JSON as a browser has it.
    settings
        Size, letters, legend; by default those of one column.
    file_format
        One of `FORMATS`.

    Raises
    ------
    FigureError
        If the figure cannot be read or holds what cannot be drawn, or the format is unknown.
    ConfigError
        If the font is not installed.
    """
    from scetm_core.printing._panels import one_figure
    from scetm_core.printing._read import read_figure

    return one_figure(read_figure(figure), settings or PrintSettings(), _known(file_format))


def render_panels(
    panels: Sequence[Panel],
    settings: PrintSettings | None = None,
    *,
    file_format: str = "pdf",
    letters: bool = True,
) -> bytes:
    """Draw several figures on one page, each in its place on a grid of equal columns.

    Parameters
    ----------
    panels
        At least one; no two in the same place.
    settings
        Of the whole page.
    file_format
        One of `FORMATS`.
    letters
        Bold a, b, c at the top left of the panels, in reading order.

    Raises
    ------
    FigureError
        As for `render`; also without panels, or with two in one place.
    ConfigError
        If the font is not installed.
    """
    from scetm_core.printing._panels import many_figures
    from scetm_core.printing._read import read_figure

    drawings = [read_figure(panel.figure) for panel in panels]
    chosen = settings or PrintSettings()
    return many_figures(panels, drawings, chosen, file_format=_known(file_format), letters=letters)


def rasterised(figure: go.Figure | Mapping[str, Any]) -> bool:
    """Whether the points of a figure will be a bitmap, as they are too many for a file of vectors."""
    from scetm_core.printing._read import read_figure

    return read_figure(figure).n_points > MAX_VECTOR_POINTS


def font_families() -> list[str]:
    """Installed families worth offering, the best default first."""
    from scetm_core.printing._fonts import families

    return list(families())


def _known(file_format: str) -> str:
    if file_format not in FORMATS:
        raise FigureError(f"There is no format '{str(file_format)[:20]}'; choose one of {', '.join(FORMATS)}.")
    return file_format
