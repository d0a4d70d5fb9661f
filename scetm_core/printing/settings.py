"""How large, in which letters and with what beside it shall a figure be printed?"""

from __future__ import annotations

from dataclasses import dataclass

from scetm_core.errors import ConfigError
from scetm_core.settings import Config, setting

JOURNAL_WIDTHS: dict[str, float] = {"One column": 85.0, "One and a half": 114.0, "Two columns": 174.0}
"""Widths that most journals ask for, in millimetres."""
FORMATS = ("svg", "pdf", "png")
LEGENDS = ("right", "below", "on", "off")
SMALLEST_MM, LARGEST_MM = 20.0, 400.0
MAX_VECTOR_POINTS = 50_000
"""With more points than that, a file of vectors would open slowly: points become a bitmap between vector axes."""


@dataclass(frozen=True, kw_only=True)
class PrintSettings(Config):
    """How a figure is drawn for paper."""

    width_mm: float = setting(
        85.0, "Width", "Of the page, in millimetres; one column is 85, two are 174.", ge=SMALLEST_MM, le=LARGEST_MM
    )
    height_mm: float = setting(
        0.0, "Height", "Of the page, in millimetres; 0: as the figure needs it.", ge=0, le=LARGEST_MM
    )
    font_size: float = setting(
        7.0, "Text size", "Of plain text, in points; smaller and larger text keeps its proportion.", ge=4, le=24
    )
    font_family: str = setting("Arial", "Font", "An installed family, as `font_families` lists them.")
    legend: str = setting(
        "right",
        "Legend",
        "Beside the figure, below it, on it (names beside the points they mean), or off.",
        choices=LEGENDS,
    )
    transparent: bool = setting(False, "Transparent", "No white page behind the figure.")
    title: str = setting("", "Title", "Above the figure; empty: none.")
    point_size: float = setting(
        0.0, "Point size", "Diameter of the points of a map, in points; 0: in proportion to the figure.", ge=0, le=20
    )
    dpi: int = setting(600, "Resolution", "Dots per inch of a PNG, and of points drawn as a bitmap.", ge=72, le=1200)

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.height_mm < SMALLEST_MM:
            raise ConfigError(
                f"Height (height_mm) must be 0 (as the figure needs it) or at least {SMALLEST_MM:g}, "
                f"got {self.height_mm:g}.",
                field="height_mm",
            )
