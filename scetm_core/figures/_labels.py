"""Where can labels stand beside their points, so that none covers another?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LINE_HEIGHT = 15
"""Pixels, of a label of 11 points."""
_LETTER = 6.2
_GAP = 6


def text_width(text: str) -> float:
    """Pixels that a label of 11 points takes, roughly."""
    return _LETTER * len(text) + 4


def place_labels(
    points: np.ndarray, texts: Sequence[str], *, size: tuple[float, float], always: int = 0
) -> list[tuple[float, float] | None]:
    """A free place beside each point, the first labels first.

    Parameters
    ----------
    points
        (n_points, 2) in pixels, y upwards, within 0 and `size`.
    texts
        One line each.
    size
        Width and height of the figure in pixels.
    always
        The first so many labels are placed even where they cover something.

    Returns
    -------
    For each label how far its middle lies from its point, in pixels to the right and upwards; None if it found no
    place and is left out.
    """
    taken: list[tuple[float, float, float, float]] = []
    found: list[tuple[float, float] | None] = []
    for number, ((x, y), text) in enumerate(zip(points.tolist(), texts, strict=True)):
        half = text_width(text) / 2
        shifts = _shifts(half)
        free = (shift for shift in shifts if _is_free((x + shift[0], y + shift[1], half), taken, size))
        shift = next(free, shifts[0] if number < always else None)
        found.append(shift)
        if shift is not None:
            middle_x, middle_y = x + shift[0], y + shift[1]
            taken.append((middle_x - half, middle_x + half, middle_y - LINE_HEIGHT / 2, middle_y + LINE_HEIGHT / 2))
    return found


def _shifts(half: float) -> list[tuple[float, float]]:
    """Places to try: right, left, above, below, then the corners."""
    aside, up, corner = half + _GAP, LINE_HEIGHT / 2 + _GAP, half + 2
    return [
        (aside, 0), (-aside, 0), (0, up), (0, -up), (corner, up), (-corner, up), (corner, -up), (-corner, -up),
    ]  # fmt: skip


def _is_free(
    label: tuple[float, float, float], taken: list[tuple[float, float, float, float]], size: tuple[float, float]
) -> bool:
    x, y, half = label
    low, high = y - LINE_HEIGHT / 2, y + LINE_HEIGHT / 2
    inside = x - half >= 0 and x + half <= size[0] and low >= 0 and high <= size[1]
    return inside and all(
        x + half <= left or x - half >= right or high <= bottom or low >= top for left, right, bottom, top in taken
    )
