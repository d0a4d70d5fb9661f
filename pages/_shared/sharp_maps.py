"""How does a map that is a picture on screen leave the app? Drawn anew for paper; its table holds every cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pages._shared import colors, selecting
from scetm_core.errors import FigureError
from scetm_core.figures import plot_umap

if TYPE_CHECKING:
    import pandas as pd

    from scetm_core.printing import PrintSettings

MM_PER_INCH = 25.4
MAX_PIXELS = 5_000


def is_picture(figure: Mapping[str, Any]) -> bool:
    """Whether a figure from the browser is a map drawn as a picture by `cell_maps.draw_map`."""
    meta = (figure.get("layout") or {}).get("meta")
    return isinstance(meta, Mapping) and meta.get("drawn") == "picture" and isinstance(meta.get("redraw"), Mapping)


def sharpened(figure: Mapping[str, Any], settings: PrintSettings) -> dict[str, Any]:
    """The figure with its picture drawn at the resolution of the print, for the part in view.

    Raises
    ------
    ScetmError
        If its run, colour or selection cannot be had.
    """
    asked, layout = _asked(figure), dict(figure["layout"])
    try:
        ends = [float(end) for axis in ("xaxis", "yaxis") for end in layout[axis]["range"]]
        left, right, bottom, top = ends
        hidden, size = [str(name) for name in asked["hidden"]], asked["size"]
        size = None if size is None else float(size)
    except (KeyError, TypeError, ValueError) as error:
        raise FigureError(f"This map does not say what part of it is in view ({error}).") from error
    if not all(map(math.isfinite, ends)) or left >= right or bottom >= top:
        raise FigureError("This map has no part in view. Zoom out and try again.")
    drawn = plot_umap(
        colors.colored_frame(asked["run"], asked["color"]),
        point_size=size,
        labels=False,
        selected=selecting.mask_of(asked["run"], asked["selection"]),
        window=(left, right, bottom, top),
        hidden=hidden,
        pixels=min(round(settings.width_mm / MM_PER_INCH * settings.dpi), MAX_PIXELS),
    )
    layout["images"] = [image.to_plotly_json() for image in drawn.layout.images]
    return {**figure, "layout": layout}


def table_of(figure: Mapping[str, Any]) -> pd.DataFrame:
    """Every cell of the map: its name, its place, what it is coloured by.

    Raises
    ------
    ScetmError
        If its run or colour cannot be had.
    """
    asked = _asked(figure)
    return colors.map_table(asked["run"], asked["color"]).reset_index()


def _asked(figure: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"hidden": [], "size": None, **figure["layout"]["meta"]["redraw"]}
    if not all(isinstance(asked.get(name), str) for name in ("run", "color", "selection")):
        raise FigureError("This map does not say of what it was drawn. Open it anew and try again.")
    return asked
