"""How does a figure get on paper? `render` draws any figure as SVG, PDF or PNG, in mm and points.

Any figure of `scetm_core.figures`, that is, or its JSON as a browser has it. No browser is needed; matplotlib is
imported with the first figure drawn. A page is laid out here, in points: texts are measured, room is found for them,
and what remains belongs to the axes; matplotlib draws and writes. Screen pixels become print sizes: 13 px of text are
the font size of the settings, all else keeps its proportion to that; the points of a map grow with it.
"""

from scetm_core.printing._panels import Panel, rasterised, render, render_panels
from scetm_core.printing._read import MAX_VECTOR_POINTS
from scetm_core.printing._text import font_families
from scetm_core.printing.settings import FORMATS, JOURNAL_WIDTHS, PrintSettings

__all__ = [
    "FORMATS",
    "JOURNAL_WIDTHS",
    "MAX_VECTOR_POINTS",
    "Panel",
    "PrintSettings",
    "font_families",
    "rasterised",
    "render",
    "render_panels",
]
