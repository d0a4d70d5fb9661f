"""Which colour does a word, or a number on a scale, mean?"""

from __future__ import annotations

import colorsys
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from scetm_core.errors import FigureError

RGBA = tuple[float, float, float, float]
BLACK: RGBA = (0.0, 0.0, 0.0, 1.0)
_CALL = re.compile(r"(rgba?|hsla?)\(([^)]*)\)")


@functools.lru_cache(maxsize=4096)
def rgba(color: str) -> RGBA:
    """A CSS colour as red, green, blue, alpha between 0 and 1.

    Raises
    ------
    FigureError
        If it is no colour.
    """
    from matplotlib.colors import to_rgba

    text = str(color).strip().lower()
    try:
        if match := _CALL.fullmatch(text):
            parts = [part for part in re.split(r"[,\s/]+", match[2].strip()) if part]
            alpha = _share(parts[3], 1) if len(parts) > 3 else 1.0
            if match[1].startswith("hsl"):
                hue = float(parts[0].removesuffix("deg")) / 360
                red, green, blue = colorsys.hls_to_rgb(hue, _share(parts[2], 100), _share(parts[1], 100))
                return red, green, blue, alpha
            red, green, blue = (_share(part, 255) for part in parts[:3])
            return red, green, blue, alpha
        return to_rgba("none" if text == "transparent" else text)
    except (ValueError, IndexError) as error:
        raise FigureError(f"'{color}' is no colour.") from error


def _share(text: str, whole: float) -> float:
    return min(max(float(text[:-1]) / 100 if text.endswith("%") else float(text) / whole, 0.0), 1.0)


def faded(color: RGBA, opacity: float) -> RGBA:
    """The colour with that share of its opacity."""
    return (*color[:3], color[3] * opacity)


def ends(values: np.ndarray, low: Any, high: Any) -> tuple[float, float]:
    """Where a scale begins and ends: as stated, else (or where not-a-number is) at the lowest, highest value."""
    known = values[np.isfinite(values)]
    lowest, highest = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (
        lowest if low is None or not np.isfinite(float(low)) else float(low),
        highest if high is None or not np.isfinite(float(high)) else float(high),
    )


class Scale:
    """Colours along a line: `Scale("Viridis", 0, 1)(values)` -> (n, 4).

    Parameters
    ----------
    steps
        Name of a scale, or pairs of place (0 to 1) and colour.
    low, high
        Values at its ends.
    """

    def __init__(self, steps: Any, low: float, high: float, *, reverse: bool = False) -> None:
        places, colors = _steps(steps)
        self.places, self.colors = (1 - places[::-1], colors[::-1]) if reverse else (places, colors)
        self.low, self.high = (low, high) if high > low else (low - 0.5, low + 0.5)

    def __call__(self, values: Any) -> np.ndarray:
        """(n,) -> (n, 4); not-a-number is fully transparent."""
        numbers = np.asarray(values, dtype=float)
        place = np.clip((numbers - self.low) / (self.high - self.low), 0, 1)
        known = np.isfinite(place)
        place = np.where(known, place, 0)
        found = np.stack([np.interp(place, self.places, self.colors[:, i]) for i in range(4)], axis=-1)
        found[~known] = 0
        return found


def _steps(steps: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(steps, str):
        from plotly.colors import get_colorscale

        try:
            steps = get_colorscale(steps)
        except Exception as error:
            raise FigureError(f"There is no colour scale called '{steps}'.") from error
    try:
        if isinstance(steps[0], str):
            steps = list(zip(np.linspace(0, 1, len(steps)), steps, strict=True))
        places = np.array([float(step[0]) for step in steps])
        return places, np.array([rgba(step[1]) for step in steps])
    except (TypeError, IndexError, KeyError, ValueError) as error:
        raise FigureError(f"A colour scale must be pairs of a place and a colour, got {str(steps)[:60]}.") from error


def rgba_of_each(colors: Sequence[Any]) -> np.ndarray:
    """(n, 4) of many colour words, of which few differ."""
    words, which = np.unique(np.asarray(colors, dtype=object).astype(str), return_inverse=True)
    return np.array([rgba(word) for word in words])[which]
