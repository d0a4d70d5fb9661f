"""How large is a printed figure, in which type, and where does its legend stand?"""

from __future__ import annotations

from dataclasses import dataclass

from scetm_core.errors import ConfigError
from scetm_core.settings import Config, setting

JOURNAL_WIDTHS = {"One column": 85.0, "One and a half": 114.0, "Two columns": 174.0}
"""Widths of a page's columns in mm, as most journals ask for."""
FORMATS = ("svg", "pdf", "png")
AUTOMATIC = "automatic"
SMALLEST_MM, LARGEST_MM = 20, 400
MM = 72 / 25.4
"""Points in a millimetre."""


@dataclass(frozen=True, kw_only=True)
class PrintSettings(Config):
    """What to ask of a figure on paper."""

    width_mm: float = setting(
        85.0, "Width", "In mm. One column of a journal is about 85, a page about 174.", ge=SMALLEST_MM, le=LARGEST_MM
    )
    height_mm: float = setting(
        0.0,
        "Height",
        "In mm; 0: as the figure needs, by its proportions or the rows of a heatmap.",
        ge=0,
        le=LARGEST_MM,
    )
    font_size: float = setting(7.0, "Text size", "In points, of most text. Journals ask for 5 to 8.", ge=4, le=24)
    font_family: str = setting(
        AUTOMATIC,
        "Typeface",
        "Name of an installed one; 'automatic': the first installed of Arial, Helvetica, Liberation Sans.",
    )
    legend: str = setting(
        "right",
        "Legend",
        "'right' of the figure or 'below' it; 'on': names stand on the points of a map, or the legend within the axes;"
        " 'off': none.",
        choices=("right", "below", "on", "off"),
    )
    transparent: bool = setting(False, "Transparent", "No white page behind the figure.")
    title: str = setting("", "Title", "Written above; empty: the figure's own, if it has one.")
    point_size: float = setting(
        0.0, "Point size", "Diameter of a point in points (1/72 inch); 0: by the size of the plot.", ge=0, le=40
    )
    dpi: int = setting(
        600, "Resolution", "Dots per inch of a PNG, and of points that are drawn as a bitmap.", ge=72, le=1200
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.height_mm < SMALLEST_MM:
            raise ConfigError(
                f"Height (height_mm) must be 0, or between {SMALLEST_MM} and {LARGEST_MM} mm, got {self.height_mm:g}.",
                field="height_mm",
            )
