"""Which numbers do colours stand for: how is a colour bar drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scetm_core.printing._color import RGBA, Scale
from scetm_core.printing._place import AXIS_PT, Written, draw_line, page_of
from scetm_core.printing._points import scale_of_points
from scetm_core.printing._read import Json, Scene, inside
from scetm_core.printing._text import Block, Type
from scetm_core.printing._ticks import linear_ticks, number_text
from scetm_core.printing._traces import scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEPS = 128


@dataclass(frozen=True)
class ColorBar:
    """A scale of colours with its numbers and its title.

    Attributes
    ----------
    side
        "top", "bottom" or "right" of the plot.
    """

    scale: Scale
    title: Block
    side: str
    type: Type
    px: float
    options: Json

    @property
    def is_upright(self) -> bool:
        """Whether it stands at the right."""
        return self.side == "right"

    @property
    def thickness(self) -> float:
        """Points."""
        return 9 * self.type.unit

    @property
    def _labels(self) -> tuple[np.ndarray, list[Block]]:
        stated = self.options.get("tickvals")
        low, high = self.scale.low, self.scale.high
        if stated is not None:
            places = np.asarray(stated, dtype=float)
            texts = [str(text) for text in self.options.get("ticktext") or [f"{place:g}" for place in places]]
        else:
            places = linear_ticks(low, high, n_at_most=min(int(self.options.get("nticks") or 5), 5))
            step = float(np.diff(places).min()) if len(places) > 1 else 0.0
            pattern = str(self.options.get("tickformat") or "")
            texts = [number_text(float(place), pattern=pattern, step=step) for place in places]
        return places, [self.type.block(text, self.px) for text in texts]

    def length(self, room: float) -> float:
        """Points along the scale, where there is so much room."""
        return min(150 * self.type.unit, room * (0.8 if self.is_upright else 0.6))

    def size(self, room: float) -> tuple[float, float]:
        """Width and height in points, with numbers and title."""
        _, labels = self._labels
        unit, title = self.type.unit, self.title.height + 5 * self.type.unit if self.title else 0.0
        if self.is_upright:
            beside = max((block.width for block in labels), default=0.0) + 5 * unit
            return max(self.thickness + beside, self.title.width), self.length(room) + title + 3 * unit
        below = max((block.height for block in labels), default=0.0) + 5 * unit
        ends = max((block.width for block in labels), default=0.0)
        return max(self.length(room) + ends, self.title.width), self.thickness + below + title

    def draw(self, figure: Figure, left: float, top: float, *, room: float, color: RGBA) -> None:
        """Draw it, from its upper left corner."""
        unit, length = self.type.unit, self.length(room)
        places, labels = self._labels
        share = (places - self.scale.low) / (self.scale.high - self.scale.low)
        if self.title:
            Written(self.title, (left, top), "left", "top", color).draw(figure)
            top -= self.title.height + 5 * unit
        if self.is_upright:
            x, y, vector = left, top - length - 2 * unit, (0.0, length)
        else:
            x, y, vector = (
                left + labels[0].width / 2 * (share[0] < 0.05) if labels else left,
                top - self.thickness,
                (length, 0.0),
            )
        _draw_strip(figure, self.scale, (x, y), vector, self.thickness)
        for part, block in zip(share.tolist(), labels, strict=True):
            if not -1e-6 <= part <= 1 + 1e-6:
                continue
            if self.is_upright:
                at = x + self.thickness, y + part * length
                draw_line(figure, [at[0], at[0] + 2.5 * unit], [at[1]] * 2, color=color, width=AXIS_PT)
                text = Written(block, (at[0] + 5 * unit, at[1] - block.size * 0.11), "left", "middle", color)
            else:
                at = x + part * length, y
                draw_line(figure, [at[0]] * 2, [at[1], at[1] - 2.5 * unit], color=color, width=AXIS_PT)
                text = Written(block, (at[0], at[1] - 5 * unit), "center", "top", color)
            text.draw(figure)


def _draw_strip(
    figure: Figure, scale: Scale, at: tuple[float, float], vector: tuple[float, float], thickness: float
) -> None:
    """Rectangles, each reaching under all that follow: no seams, and no image."""
    from matplotlib.collections import PolyCollection

    start = np.array(at)
    along = np.array(vector)
    across = np.array([thickness, 0.0]) if vector[0] == 0 else np.array([0.0, thickness])
    edges = np.linspace(0, 1, _STEPS + 1)
    corners = [
        [start + along * edge, start + along, start + along + across, start + along * edge + across]
        for edge in edges[:-1]
    ]
    colors = scale(scale.low + (edges[:-1] + edges[1:]) / 2 * (scale.high - scale.low))
    strip = PolyCollection(
        [np.array(corner) for corner in corners],
        facecolors=colors,
        edgecolors="none",
        transform=page_of(figure),
        zorder=3,
    )
    figure.add_artist(strip)


def color_bars_of(scene: Scene, type: Type, *, legend: str, widest: float) -> tuple[list[ColorBar], bool]:
    """The colour bars of a figure, and whether the figure's title became the title of the first."""
    found: list[ColorBar] = []
    titled = False
    for trace in scene.traces:
        is_heatmap = trace["type"] == "heatmap"
        if is_heatmap:
            if trace.get("showscale") is False or "z" not in trace or not len(trace["z"]):
                continue
            scale, options = scale_of(trace), trace.get("colorbar") or {}
        elif trace["type"].startswith("scatter") and (points := scale_of_points(trace)) is not None:
            if inside(trace, "marker.showscale") is False or inside(trace, "marker.colorbar") is None:
                continue
            scale, options = points, inside(trace, "marker.colorbar", {})
        else:
            continue
        is_flat = options.get("orientation") == "h"
        if is_heatmap:
            side = "top" if is_flat else "right"
        else:
            side = "right" if legend == "right" or not is_flat else "bottom"
        title = inside(options, "title.text") or ""
        if not title and not found and is_heatmap and (own := inside(scene.layout, "title.text")):
            title, titled = own, True
        px = float(inside(options, "title.font.size", 12))
        block = type.block(title, px, widest=widest * (0.3 if side == "right" else 1.0))
        bar = ColorBar(scale, block, side, type, float(inside(options, "tickfont.size", 11)), options)
        found.append(bar)
    return found, titled
