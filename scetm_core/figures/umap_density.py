"""How is a map of too many cells for single points drawn? As a picture of all of them, with the same legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core.figures._colors import MAGNITUDE_SCALE, MISSING_COLOR, SIGNED_SCALE
from scetm_core.figures.density import (
    BACKGROUND_OPACITY,
    Window,
    color_steps,
    faded,
    over,
    png_address,
    rgb_of,
    shade_categories,
    shade_numbers,
)

PIXELS = 840
"""Width and height of the picture: of a square map of some 600 pixels, sharp on most screens."""
GREY = np.array(rgb_of(MISSING_COLOR))


def add_density(
    figure: go.Figure, frame: pd.DataFrame, *, window: Window, limits: tuple[float, float], radius: float,
    pixels: int = PIXELS, hidden: Sequence[str] = (), selected: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Lay a picture of all cells of a `umap_frame` under the axes of a figure.

    Parameters
    ----------
    window
        The part of the map that is drawn.
    limits
        The numbers at the ends of the colour scale, where cells are coloured by numbers.
    radius
        Of each cell, in pixels of a picture of the usual size.
    pixels
        Width and height of the picture.
    hidden
        Categories that are left out.
    selected
        (n_cells,) yes or no; the others are drawn in grey behind.
    """
    left, right, bottom, top = window
    picture = _picture(
        frame, window, pixels=pixels, limits=limits, radius=round(radius * pixels / PIXELS), hidden=hidden,
        selected=selected,
    )  # fmt: skip
    figure.add_layout_image(
        source=png_address(picture), x=left, y=top, sizex=right - left, sizey=top - bottom, xref="x", yref="y",
        xanchor="left", yanchor="top", sizing="stretch", layer="below",
    )  # fmt: skip


def _picture(
    frame: pd.DataFrame, window: Window, *, pixels: int, limits: tuple[float, float], radius: int,
    hidden: Sequence[str], selected: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    places, size = frame[["x", "y"]].to_numpy(), (pixels, pixels)
    is_shown = np.ones(len(frame), dtype=bool)
    if frame.attrs["kind"] == "category":
        codes, names = frame["color"].cat.codes.to_numpy(), list(frame["color"].cat.categories)
        rgb = np.array([rgb_of(frame.attrs["colors"][name]) for name in names])
        if hidden:
            is_shown = ~np.isin(codes, [i for i, name in enumerate(names) if name in hidden])
        front = is_shown if selected is None else is_shown & selected
        picture = shade_categories(places[front], rgb[codes[front]], window, size, radius=radius)
        behind = is_shown & ~front
    else:
        values = frame["color"].to_numpy()
        is_measured = np.isfinite(values)
        front = is_measured if selected is None else is_measured & selected
        scale = color_steps(SIGNED_SCALE if frame.attrs["kind"] == "signed" else MAGNITUDE_SCALE)
        picture = shade_numbers(
            places[front], values[front], window, size, scale=scale, low=limits[0], high=limits[1], radius=radius
        )
        behind = ~front
    if behind.any():
        grey = np.broadcast_to(GREY, (int(behind.sum()), 3))
        others = shade_categories(places[behind], grey, window, size, radius=radius)
        picture = over(picture, faded(others, BACKGROUND_OPACITY if selected is not None else 0.6))
    return picture
