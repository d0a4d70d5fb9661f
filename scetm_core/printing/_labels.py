"""Where on a map can a name stand, so that it hides neither small groups of points nor another name?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scetm_core.printing._place import Rect, Written

MOST_HIDDEN = 0.25
"""Share of the points around a name that it may hide: more, and it steps aside."""
_STEPS = 9


def keep_clear(texts: list[Written], points: np.ndarray, within: Rect, *, held: set[int]) -> list[Written]:
    """Move texts inside the page, apart from each other, and off groups of points that they would hide.

    Parameters
    ----------
    texts
        Moved in place; the first ones are placed first.
    points
        (n_points, 2) places on the page.
    within
        What they may cover.
    held
        Places in `texts` of those that a line leads to: they move up and down only, and only for others.

    Returns
    -------
    The texts that found room: of names on each other none can be read.
    """
    taken: list[Rect] = []
    kept: list[Written] = []
    for number, text in enumerate(texts):
        left, bottom, right, top = text.box
        text.moved(max(within[0] - left, 0.0) + min(within[2] - right, 0.0), 0.0)
        text.moved(0.0, max(within[1] - bottom, 0.0) + min(within[3] - top, 0.0))
        box = text.box
        if number in held or text.background is None:
            free = (shift for shift in _up_and_down(text) if _is_free(_shifted(box, shift), taken, within))
            shift = next(free, (0.0, 0.0))
        elif (found := _best(text, _near(points, box), taken, within)) is not None:
            shift = found
        else:
            continue
        text.moved(*shift)
        taken.append(text.box)
        kept.append(text)
    return kept


def _near(points: np.ndarray, box: Rect) -> np.ndarray:
    """Points that a name could be about: in a window of some times its size."""
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    reach = np.array([0.7 * (box[2] - box[0]), 2.5 * (box[3] - box[1])])
    return np.asarray(points[(np.abs(points - middle) <= reach).all(axis=1)])


def _best(text: Written, near: np.ndarray, taken: list[Rect], within: Rect) -> tuple[float, float] | None:
    """The nearest free place that hides few points, or the one that hides fewest; None if no place is free."""
    best: tuple[float, float] | None = None
    least = np.inf
    for shift in _around(text):
        box = _shifted(text.box, shift)
        if not _is_free(box, taken, within):
            continue
        share = _hidden(near, box) / max(len(near), 1)
        if share <= MOST_HIDDEN:
            return shift
        if share < least:
            best, least = shift, share
    return best


def _hidden(points: np.ndarray, box: Rect) -> int:
    return int(((points > box[:2]) & (points < box[2:])).all(axis=1).sum())


def _around(text: Written) -> Iterator[tuple[float, float]]:
    """Shifts from where it stands outwards: above and below first, then aside."""
    width, height = text.box[2] - text.box[0], text.box[3] - text.box[1]
    yield 0.0, 0.0
    for step in range(1, _STEPS):
        up, aside = height * 0.5 * step, width * 0.25 * step
        yield from ((0.0, up), (0.0, -up), (aside, 0.0), (-aside, 0.0))
        yield from ((aside, up), (-aside, up), (aside, -up), (-aside, -up))


def _up_and_down(text: Written) -> Iterator[tuple[float, float]]:
    step = text.block.height * 0.35
    for number in range(16):
        yield from ((0.0, step * number), (0.0, -step * number))


def _shifted(box: Rect, shift: tuple[float, float]) -> Rect:
    return box[0] + shift[0], box[1] + shift[1], box[2] + shift[0], box[3] + shift[1]


def _is_free(box: Rect, taken: list[Rect], within: Rect) -> bool:
    """Whether it lies within the page and covers no other."""
    left, bottom, right, top = box[0] - 0.6, box[1] + 0.4, box[2] + 0.6, box[3] - 0.4
    if box[0] < within[0] - 0.5 or box[2] > within[2] + 0.5 or bottom < within[1] - 0.5 or top > within[3] + 0.5:
        return False
    return all(right <= other[0] or left >= other[2] or top <= other[1] or bottom >= other[3] for other in taken)
