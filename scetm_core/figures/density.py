"""How are more cells drawn than there are pixels? All of them are counted, pixel by pixel; none is left out.

A pixel of categories has the mean of its cells' colours, each cell counting once; a pixel of numbers has the colour of
their mean; how many cells share it shows in its opacity, on a logarithmic scale. (What datashader does; here as a few
sums with numpy, which need no compiling when the server starts.)
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.colors as pc
from PIL import Image, ImageColor

Floats = npt.NDArray[np.float64]
Window = tuple[float, float, float, float]
"""left, right, bottom, top, in the units of the map."""

MIN_OPACITY = 0.45
BACKGROUND_OPACITY = 0.25


def pixels_of(places: np.ndarray, window: Window, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pixel of each place inside a window.

    Parameters
    ----------
    places
        (n, 2), x and y.
    size
        Width and height in pixels.

    Returns
    -------
    Rows of `places` that are inside, and the number of the pixel of each: row of pixels x width + column, from the
    top left. The right and the top edge belong to the last pixel.
    """
    (width, height), (left, right, bottom, top) = size, window
    column = ((places[:, 0] - left) * (width / (right - left))).astype(np.float32)
    row = ((top - places[:, 1]) * (height / (top - bottom))).astype(np.float32)
    inside = np.flatnonzero((column >= 0) & (column <= width) & (row >= 0) & (row <= height))
    columns = np.minimum(column[inside].astype(np.int64), width - 1)
    rows = np.minimum(row[inside].astype(np.int64), height - 1)
    return inside, rows * width + columns


def count_cells(places: np.ndarray, window: Window, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Cells in each pixel, (height, width), the top row first."""
    _, pixels = pixels_of(places, window, size)
    return np.bincount(pixels, minlength=size[0] * size[1]).reshape(size[1], size[0])


def shade_categories(
    places: np.ndarray, colors: np.ndarray, window: Window, size: tuple[int, int], *, radius: int = 0
) -> npt.NDArray[np.uint8]:
    """A picture in which each pixel has the mean colour of its cells.

    Parameters
    ----------
    places
        (n, 2).
    colors
        (n, 3), red, green, blue of each cell, 0 to 255.
    radius
        Of the disc of pixels that each cell covers; 0: one pixel.

    Returns
    -------
    (height, width, 4) red, green, blue, opacity.
    """
    inside, pixels = pixels_of(places, window, size)
    sums = [_sum(pixels, size, None), *(_sum(pixels, size, colors[inside, i]) for i in range(3))]
    total, *mixed = (_spread(plane, radius) for plane in sums)
    has_cells = total > 0
    counts = total[has_cells]
    return _painted(has_cells, np.stack([plane[has_cells] / counts for plane in mixed], axis=1), counts)


def shade_numbers(
    places: np.ndarray, values: np.ndarray, window: Window, size: tuple[int, int], *, scale: Floats,
    low: float, high: float, radius: int = 0,
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """A picture in which each pixel has the colour of the mean of its cells.

    Parameters
    ----------
    places
        (n, 2).
    values
        (n,), finite.
    scale
        (n_steps, 3), see `color_steps`; its ends stand for `low` and `high`.

    Returns
    -------
    (height, width, 4) red, green, blue, opacity.
    """
    inside, pixels = pixels_of(places, window, size)
    total = _spread(_sum(pixels, size, None), radius)
    has_cells = total > 0
    counts = total[has_cells]
    mean = _spread(_sum(pixels, size, values[inside]), radius)[has_cells] / counts
    share = np.clip((mean - low) / max(high - low, 1e-30), 0, 1)
    return _painted(has_cells, scale[(share * (len(scale) - 1)).round().astype(np.int64)], counts)


def _painted(has_cells: npt.NDArray[np.bool_], rgb: Floats, counts: Floats) -> npt.NDArray[np.uint8]:
    """A picture, transparent but for the pixels with cells: their colours (n, 3), 0 to 255, and their counts (n,)."""
    picture = np.zeros((*has_cells.shape, 4), dtype=np.uint8)
    picture[has_cells] = np.column_stack([rgb, 255 * _opacity(counts)]).round().astype(np.uint8)
    return picture


def over(front: npt.NDArray[np.uint8], back: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One picture laid over another."""
    a, b = front[..., 3:] / 255.0, back[..., 3:] / 255.0
    alpha = a + b * (1 - a)
    with np.errstate(invalid="ignore", divide="ignore"):
        rgb = np.nan_to_num((front[..., :3] * a + back[..., :3] * b * (1 - a)) / alpha)
    return np.concatenate([rgb, 255 * alpha], axis=2).round().astype(np.uint8)


def faded(picture: npt.NDArray[np.uint8], opacity: float) -> npt.NDArray[np.uint8]:
    """The picture, more transparent."""
    picture = picture.copy()
    picture[..., 3] = (picture[..., 3] * opacity).astype(np.uint8)
    return picture


def _sum(pixels: np.ndarray, size: tuple[int, int], weights: np.ndarray | None) -> Floats:
    sums = np.bincount(pixels, weights, minlength=size[0] * size[1])
    return sums.astype(np.float64).reshape(size[1], size[0])


def _spread(plane: Floats, radius: int) -> Floats:
    """Each pixel's cells counted in all pixels of a disc around it."""
    if radius <= 0:
        return plane
    spread, (height, width) = np.zeros_like(plane), plane.shape
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if down * down + right * right > radius * radius + 0.5:
                continue
            to = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
            source = (slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0)))
            spread[to] += plane[source]
    return spread


def _opacity(counts: Floats) -> Floats:
    """From `MIN_OPACITY` to 1 with the logarithm of the number of cells in a pixel, 1 or more."""
    logs = np.log1p(counts)
    opacity: Floats = MIN_OPACITY + (1 - MIN_OPACITY) * logs / logs.max(initial=1e-30)
    return opacity


@functools.lru_cache(maxsize=8)
def _steps_of(scale: str | tuple[tuple[float, str], ...]) -> Floats:
    named = pc.get_colorscale(scale) if isinstance(scale, str) else [list(step) for step in scale]
    sampled = pc.sample_colorscale(named, list(np.linspace(0, 1, 256)), colortype="tuple")
    return np.array(sampled) * 255


def color_steps(scale: str | Sequence[Sequence[object]]) -> Floats:
    """A colour scale of plotly as (256, 3) red, green, blue, 0 to 255."""
    return _steps_of(scale if isinstance(scale, str) else tuple((float(at), str(c)) for at, c in scale))  # type: ignore[arg-type]


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green, blue of a colour as plotly names it: ``"#0072B2"``, ``"rgb(0, 114, 178)"``, ``"teal"``."""
    return ImageColor.getrgb(color)[:3]


def png_address(picture: npt.NDArray[np.uint8]) -> str:
    """(height, width, 4) as the data URI of a PNG, as figures hold pictures."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="png", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
