"""Which colour does each category or value get? Colour-blind-considerate, legible on light and dark pages."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8A8F98")
"""Okabe and Ito (2008) without black, which a dark page would swallow; a mid grey is the eighth."""
MISSING_COLOR = "#C9CED6"
OTHER_COLOR = "#A3ABB6"
LEAST_DISTANCE_IF_COLOR_BLIND = 0.03
"""In Oklab, as deuteranopia sees it; 0.02 is about the least that is seen side by side. The nearest two of our first
eight colours are 0.035 apart."""
MAGNITUDE_SCALE = "Viridis"
SIGNED_SCALE = [
    [0.0, "#1b4f8f"],
    [0.25, "#5b9bd0"],
    [0.45, "#d3e2ee"],
    [0.5, "#f1f1ef"],
    [0.55, "#f6ddd0"],
    [0.75, "#e07f59"],
    [1.0, "#9c1f2e"],
]
"""Blue below 0, near white at 0, red above: tell-apart also without red and green."""

_SRGB_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_LMS_TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)  # linear RGB; Machado, Oliveira, Fernandes (2009), severity 1


def category_colors(categories: Sequence[str], uns_colors: Sequence[str] | None = None) -> dict[str, str]:
    """A colour for each category.

    Parameters
    ----------
    categories
        In the order of the column's categories.
    uns_colors
        `uns["<column>_colors"]`, where other tools keep the user's own choice; taken if there are enough of them and
        each is a colour, else left aside.

    Returns
    -------
    Category -> colour: the user's own; else Okabe-Ito for up to 8, and a larger set beyond.
    """
    if uns_colors is not None and (own := _valid_colors(uns_colors, n_needed=len(categories))):
        return dict(zip(categories, own, strict=True))
    return dict(zip(categories, palette(len(categories)), strict=True))


def _valid_colors(colors: Sequence[str], *, n_needed: int) -> list[str]:
    """The first `n_needed` colours without their transparency, or an empty list if they cannot be used."""
    names = [str(color) for color in colors][:n_needed]
    names = [name[:7] if name.startswith("#") and len(name) == 9 else name for name in names]
    if len(names) < n_needed:
        return []
    try:
        for name in names:
            go.scatter.Marker(color=name)
    except ValueError:
        return []
    return names


def hard_to_tell_apart(colors: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of categories whose colours look alike to somebody with deuteranopia, the most alike first.

    Deuteranopia is the most common colour blindness; colours that everybody would mix up are among the pairs.

    Parameters
    ----------
    colors
        Category -> ``"#rrggbb"``.
    """
    names = list(colors)
    if len(names) < 2:
        return []
    places = _oklab(np.array([_rgb(color) for color in colors.values()]), deuteranopia=True)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    rows, columns = np.triu_indices(len(names), k=1)
    order = np.argsort(apart[rows, columns], kind="stable")
    return [
        (names[rows[i]], names[columns[i]]) for i in order if apart[rows[i], columns[i]] < LEAST_DISTANCE_IF_COLOR_BLIND
    ]


def _rgb(color: str) -> list[float]:
    """``"#rrggbb"`` as red, green and blue in [0, 1]."""
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@functools.lru_cache(maxsize=64)
def palette(n_colors: int) -> tuple[str, ...]:
    """`n_colors` colours that are easy to tell apart.

    Up to 8 these are Okabe-Ito. Beyond, the seven coloured ones of them stay, and each further colour is the one
    farthest from all before (Glasbey et al. 2007), half of the distance being that seen with deuteranopia; neither
    near white nor near black nor grey, so that they read on light and dark pages. Above 256 colours repeat.
    """
    if n_colors <= len(OKABE_ITO):
        return OKABE_ITO[:n_colors]
    distinct = _distinct_colors()
    return tuple(distinct[i % len(distinct)] for i in range(n_colors))


@functools.lru_cache(maxsize=1)
def _distinct_colors(n_colors: int = 256) -> tuple[str, ...]:
    """Okabe-Ito's seven, then greedily the farthest of a grid of colours, in Oklab space (Ottosson 2020)."""
    steps = np.linspace(0, 1, 18)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, green_red, blue_yellow = _oklab(grid).T
    grid = grid[(lightness > 0.42) & (lightness < 0.86) & (np.hypot(green_red, blue_yellow) > 0.06)]
    start = np.array([_rgb(color) for color in OKABE_ITO[:7]])
    rgb = np.concatenate([start, grid])
    seen, seen_blind = _oklab(rgb), _oklab(rgb, deuteranopia=True)
    nearest, chosen = np.full(len(rgb), np.inf), list(range(len(start)))

    def distance_to(i: int) -> np.ndarray:
        return np.asarray(np.linalg.norm(seen - seen[i], axis=1) + np.linalg.norm(seen_blind - seen_blind[i], axis=1))

    for i in chosen:
        nearest = np.minimum(nearest, distance_to(i))
    while len(chosen) < n_colors:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance_to(chosen[-1]))
    further = ("#" + "".join(f"{round(255 * channel):02X}" for channel in rgb[i]) for i in chosen[len(start) :])
    return (*OKABE_ITO[: len(start)], *further)


def _oklab(rgb: np.ndarray, *, deuteranopia: bool = False) -> np.ndarray:
    """(n_colors, 3) sRGB in [0, 1] -> (n_colors, 3) lightness, green-red, blue-yellow."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if deuteranopia:
        linear = np.clip(linear @ _DEUTERANOPIA.T, 0, 1)
    return np.asarray(np.cbrt(linear @ _SRGB_TO_LMS.T) @ _LMS_TO_OKLAB.T)
