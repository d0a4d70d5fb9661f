"""Which categories are named on a map, and where, so that no name covers another?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core.figures._theme import LABEL_BACKGROUND, MUTED, add_annotations, plain_text

LABEL_MIN_SHARE = 0.01
LABEL_MAX_SPREAD = 0.8
"""A category is named on the map if it has this share of the cells, and lies closer together than all cells do."""
_MAP_WIDTH = 440
_NARROW_WIDTH = 300
_LINE = 18
"""Pixels: a map of middling width, one on a phone, and a line of text, for keeping labels apart and inside."""
_SIDES = {"left": 1, "center": 0, "right": -1}  # where a label lies from its cell
_ENOUGH = 50_000


def add_names(figure: go.Figure, frame: pd.DataFrame) -> None:
    """The name of each category on the cell nearest to its median; where names would collide, above or below it.

    Categories of few cells, and those scattered over the whole map, are named in the legend only. Of more than 50,000
    cells, an even part of them says where the middles lie.
    """
    every = 1 + len(frame) // (_ENOUGH + 1)
    xy = frame[["x", "y"]].to_numpy()[::every]
    codes, names = frame["color"].cat.codes.to_numpy()[::every], frame["color"].cat.categories
    scale = _MAP_WIDTH / max(float(np.ptp(xy, axis=0).max()), 1e-6)  # pixels per unit
    low, high = (float(xy[:, 1].min()) * scale, float(xy[:, 1].max()) * scale)
    widest = LABEL_MAX_SPREAD * _spread(xy)
    taken: list[tuple[float, float, float]] = []
    notes: list[dict[str, object]] = []
    for code, name in enumerate(names):
        cells = xy[codes == code]
        if name in frame.attrs.get("background", []) or len(cells) < max(1, LABEL_MIN_SHARE * len(xy)):
            continue
        if len(names) > 1 and _spread(cells) > widest:
            continue
        middle = cells[np.square(cells - np.median(cells, axis=0)).sum(axis=1).argmin()]
        half_width = 3.6 * len(name) + 3
        side = _side_of(middle[0], half_width / scale, within=(xy[:, 0].min(), xy[:, 0].max()))
        place = middle * scale + np.array([_SIDES[side] * half_width, 0.0])
        shift = _free_shift(place, half_width, taken, within=(low - _LINE, high + _LINE))
        notes.append(
            {
                "x": float(middle[0]), "y": float(middle[1]), "text": plain_text(name), "font": {"size": 12},
                "xanchor": side, "bgcolor": LABEL_BACKGROUND, "borderpad": 1,
                "captureevents": False, "showarrow": bool(shift),
                "arrowhead": 0, "arrowwidth": 1, "arrowcolor": MUTED, "ax": 0, "ay": -shift,
            }
        )  # fmt: skip
    add_annotations(figure, notes)


def _side_of(x: float, half_width: float, *, within: tuple[float, float]) -> str:
    """Which end of a label stands at its cell: the middle, unless it would stick out of a narrow map."""
    room = half_width * _MAP_WIDTH / _NARROW_WIDTH
    if x + room > within[1]:
        return "right"
    return "left" if x - room < within[0] else "center"


def _spread(xy: np.ndarray) -> float:
    """Median distance of points (n, 2) from their median."""
    return float(np.median(np.linalg.norm(xy - np.median(xy, axis=0), axis=1)))


def _free_shift(
    middle: np.ndarray,
    half_width: float,
    taken: list[tuple[float, float, float]],
    *,
    within: tuple[float, float],
) -> int:
    """Pixels upwards at which a label meets no other and stays `within` the map; its place is added to `taken`."""
    x, y = float(middle[0]), float(middle[1])

    def is_free(shift: int) -> bool:
        inside = within[0] <= y + shift <= within[1]
        return inside and all(
            abs(x - x2) > half_width + half2 or abs(y + shift - y2) >= _LINE for x2, y2, half2 in taken
        )

    shift = next((s for s in (_LINE * step * sign for step in range(12) for sign in (1, -1)) if is_free(s)), 0)
    taken.append((x, y + shift, half_width))
    return shift
