"""Which red, green, blue and opacity does a colour of a figure have, or a number on its colour scale?"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors as mcolors
from plotly import colors as pcolors
from plotly.exceptions import PlotlyError

from scetm_core.errors import FigureError

RGBA = tuple[float, float, float, float]
CLEAR: RGBA = (0.0, 0.0, 0.0, 0.0)
_FUNCTION = re.compile(r"rgba?\(\s*([^)]*)\)", re.IGNORECASE)


@functools.lru_cache(maxsize=4096)
def rgba(color: str) -> RGBA:
    """A colour as plotly writes it.

    Raises
    ------
    FigureError
        If it is none.
    """
    text = str(color).strip()
    try:
        if match := _FUNCTION.fullmatch(text):
            red, green, blue, *rest = (part.strip() for part in match[1].split(","))
            opacity = float(rest[0]) if rest else 1.0
            return (float(red) / 255, float(green) / 255, float(blue) / 255, opacity)
        if text.lower() in ("transparent", "none", ""):
            return CLEAR
        red_part, green_part, blue_part, opacity = mcolors.to_rgba(text.lower())
        return (red_part, green_part, blue_part, opacity)
    except ValueError as error:
        raise FigureError(f"'{text[:40]}' is no colour.") from error


def faded(color: RGBA, opacity: float) -> RGBA:
    """The colour at some of its opacity."""
    return (*color[:3], color[3] * opacity)


def colors_of(values: Any) -> np.ndarray:
    """(n, 4) of a list of colours, each looked up once."""
    names = np.asarray(values, dtype=object)
    table = {name: rgba(name) for name in dict.fromkeys(names.tolist())}
    return np.array([table[name] for name in names.tolist()], dtype=float).reshape(-1, 4)


def is_numeric(values: Any) -> bool:
    """Whether a list of colours is one of numbers."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return bool(np.issubdtype(values.dtype, np.number))
    return isinstance(values, (list, tuple, np.ndarray)) and all(
        value is None or (isinstance(value, (int, float, np.number)) and not isinstance(value, bool))
        for value in values
    )


class ColorScale:
    """Numbers to colours, linear between its stops in red, green and blue."""

    def __init__(self, scale: Any, *, low: float, high: float, reverse: bool = False) -> None:
        stops = _stops(scale)
        self.places = np.array([float(place) for place, _ in stops])
        self.colors = np.array([rgba(color) for _, color in stops])
        if reverse:
            self.places, self.colors = 1 - self.places[::-1], self.colors[::-1]
        self.low, self.high = low, high

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Colours (..., 4); not-a-number is clear."""
        numbers = np.asarray(values, dtype=float)
        span = self.high - self.low
        share = np.clip((numbers - self.low) / span, 0, 1) if span else np.full(numbers.shape, 0.5)
        known = np.where(np.isfinite(share), share, 0.0)
        found = np.stack([np.interp(known, self.places, channel) for channel in self.colors.T], axis=-1)
        found[~np.isfinite(numbers)] = 0.0
        return found


def _stops(scale: Any) -> Sequence[Sequence[Any]]:
    if scale is None:
        scale = "Viridis"
    if isinstance(scale, str):
        try:
            return pcolors.get_colorscale(scale)  # type: ignore[no-any-return]
        except PlotlyError as error:
            raise FigureError(f"There is no colour scale called '{scale}'.") from error
    stops = list(scale)
    if stops and isinstance(stops[0], str):
        return [[float(place), color] for place, color in zip(np.linspace(0, 1, len(stops)), stops, strict=True)]
    if len(stops) < 2:
        raise FigureError("A colour scale needs two colours at least.")
    return stops


def scale_of(node: dict[str, Any], values: np.ndarray, *, letter: str) -> ColorScale:
    """The scale of a marker (letter "c") or heatmap ("z") for these values."""
    finite = values[np.isfinite(values)]
    low, high, middle = (node.get(f"{letter}{end}") for end in ("min", "max", "mid"))
    low = float(finite.min(initial=np.inf)) if low is None else float(low)
    high = float(finite.max(initial=-np.inf)) if high is None else float(high)
    if not np.isfinite([low, high]).all():
        low, high = 0.0, 1.0
    if middle is not None:
        half = max(abs(high - middle), abs(low - middle))
        low, high = middle - half, middle + half
    return ColorScale(node.get("colorscale"), low=low, high=high, reverse=bool(node.get("reversescale")))
