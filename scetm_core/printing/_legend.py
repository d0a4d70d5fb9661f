"""What does the legend list, and how does it find room?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._boxes import fill_and_line
from scetm_core.printing._color import RGBA, rgba
from scetm_core.printing._place import Written, draw_line, page_of
from scetm_core.printing._points import colors_of, scale_of_points, symbol_of
from scetm_core.printing._read import Json, Scene, inside, mode_of
from scetm_core.printing._text import Block, Type
from scetm_core.printing._traces import dash_of, line_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW, _SWATCH, _GAP = 1.5, 0.85, 1.4
"""Of the size of the text: height of a row, width of a swatch, room between columns."""


@dataclass(frozen=True)
class Swatch:
    """The sample beside a name: a mark, a line, or both; neither beside a heading."""

    color: RGBA | None = None
    symbol: str = "circle"
    line: RGBA | None = None
    dash: Any = "-"


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    block: Block
    swatch: Swatch
    is_heading: bool = False

    @property
    def indent(self) -> float:
        """Where its words begin, in points."""
        if self.is_heading:
            return 0.0
        return self.block.size * (2.1 if self.swatch.line is not None else _SWATCH + 0.45)

    @property
    def height(self) -> float:
        """Points, with the room to the next."""
        return self.block.height + self.block.size * (_ROW - 0.96)


@dataclass(frozen=True)
class Legend:
    """Entries in columns."""

    entries: tuple[Entry, ...] = ()
    columns: tuple[tuple[Entry, ...], ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def widths(self) -> list[float]:
        """Points that each column takes."""
        return [max(entry.indent + entry.block.width for entry in column) for column in self.columns]

    @property
    def width(self) -> float:
        """Points of all columns with the room between them."""
        size = self.entries[0].block.size
        return sum(self.widths) + _GAP * size * (len(self.columns) - 1)

    @property
    def height(self) -> float:
        """Points of the longest column."""
        return max((sum(entry.height for entry in column) for column in self.columns), default=0.0)

    def in_columns(self, n_columns: int) -> Legend:
        """Entries down the columns, as even as they can be; a heading stays with its entries."""
        n_rows = math.ceil(len(self.entries) / max(n_columns, 1))
        columns: list[list[Entry]] = [[]]
        for entry in self.entries:
            if len(columns[-1]) >= n_rows and len(columns) < n_columns:
                columns.append([columns[-1].pop()] if columns[-1][-1].is_heading and len(columns[-1]) > 1 else [])
            columns[-1].append(entry)
        return replace(self, columns=tuple(map(tuple, columns)))

    def within_height(self, highest: float) -> Legend:
        """In as few columns as the height allows."""
        found = self.in_columns(1)
        for n_columns in range(1, len(self.entries) + 1):
            found = self.in_columns(n_columns)
            if found.height <= highest:
                break
        return found

    def within_width(self, widest: float) -> Legend:
        """In as many columns as the width allows, with names broken that are wider than all of it."""
        entries = tuple(replace(e, block=e.block.wrapped(max(widest - e.indent, 10.0))) for e in self.entries)
        whole = replace(self, entries=entries)
        for n_columns in range(len(entries), 1, -1):
            found = whole.in_columns(n_columns)
            if found.width <= widest:
                return found
        return whole.in_columns(1)

    def draw(self, figure: Figure, left: float, top: float, color: RGBA) -> None:
        """Write it, from its upper left corner."""
        x = left
        for column, width in zip(self.columns, self.widths, strict=True):
            y = top
            for entry in column:
                size = entry.block.size
                middle = y - size * 0.37
                _draw_swatch(figure, entry.swatch, (x, middle), size)
                Written(entry.block, (x + entry.indent, y), "left", "top", color).draw(figure)
                y -= entry.height
            x += width + _GAP * column[0].block.size


def legend_of(scene: Scene, type: Type) -> Legend:
    """Named traces, or nothing where names would tell nothing apart."""
    layout = scene.layout
    shown = [trace for trace in scene.traces if _is_listed(trace)]
    order = sorted(shown, key=lambda trace: (trace.get("legendrank") or 1000, trace["_place"]))
    if inside(layout, "legend.traceorder") == "reversed":
        order.reverse()
    px = float(inside(layout, "legend.font.size", 12))
    found: dict[tuple[str, str, Swatch], tuple[Json, Swatch]] = {}
    for trace in order:
        swatch = swatch_of(trace)
        found.setdefault((str(trace.get("legendgroup") or ""), str(trace["name"]), swatch), (trace, swatch))
    is_wanted = layout.get("showlegend") is True or any(trace.get("showlegend") is True for trace in order)
    if not found or (len(found) == 1 and not is_wanted):
        return Legend()
    if layout.get("showlegend") is False and len({swatch for _, swatch in found.values()}) < len(found) / 2 + 1:
        return Legend()
    groups: dict[str, list[Entry]] = {}
    for (group, name, _), (trace, swatch) in found.items():
        entries = groups.setdefault(group, [])
        if heading := inside(trace, "legendgrouptitle.text"):
            entries.insert(0, Entry(type.block(heading, px, bold=True), Swatch(), is_heading=True))
        entries.append(Entry(type.block(name, px), swatch))
    entries = [entry for group in groups.values() for entry in group]
    title = inside(layout, "legend.title.text")
    if title and (block := type.block(title, px, bold=True)):
        entries.insert(0, Entry(block, Swatch(), is_heading=True))
    return Legend(tuple(entries))


def _is_listed(trace: Json) -> bool:
    if trace.get("showlegend") is False or not str(trace.get("name") or "").strip():
        return False
    if trace["type"] == "heatmap":
        return trace.get("showlegend") is True
    return not (
        trace["type"].startswith("scatter") and scale_of_points(trace) is not None and not trace.get("showlegend")
    )


def swatch_of(trace: Json) -> Swatch:
    """The sample of a trace: solid, as faint ones would not be recognised."""
    if trace["type"] in ("violin", "box"):
        line, _ = fill_and_line(trace)
        return Swatch(color=(*line[:3], 1.0))
    if trace["type"] in ("bar", "histogram"):
        color = inside(trace, "marker.color", "#636efa")
        return Swatch(color=rgba(color if isinstance(color, str) else "#636efa"))
    mode = mode_of(trace)
    stroke = line_color(trace) if "lines" in mode else None
    dash = dash_of(inside(trace, "line.dash", "solid"))
    if "markers" not in mode:
        return Swatch(line=stroke or rgba("#636efa"), dash=dash)
    symbol = inside(trace, "marker.symbol", "circle")
    own = colors_of(trace, 1)[0].tolist() if _has_one_color(trace) else rgba("#7b8794")
    is_seen = own[3] > 0.02
    solid: RGBA = (own[0], own[1], own[2], 1.0 if is_seen else 0.0)
    if not is_seen and isinstance(inside(trace, "marker.line.color"), str):
        return Swatch(color=rgba(inside(trace, "marker.line.color")), symbol="circle-open", line=stroke, dash=dash)
    return Swatch(color=solid, symbol=symbol if isinstance(symbol, (str, int)) else "circle", line=stroke, dash=dash)  # type: ignore[arg-type]


def _has_one_color(trace: Json) -> bool:
    color = inside(trace, "marker.color")
    return color is None or isinstance(color, str)


def _draw_swatch(figure: Figure, swatch: Swatch, at: tuple[float, float], size: float) -> None:
    from matplotlib.lines import Line2D

    x, y = at
    if swatch.line is not None:
        draw_line(
            figure,
            [x, x + size * 1.7],
            [y, y],
            color=swatch.line,
            width=max(size * 0.13, 0.7),
            dash=swatch.dash,
            zorder=6,
        )
        x += size * 0.85
    else:
        x += size * _SWATCH / 2
    if swatch.color is None:
        return
    marker, larger, hollow = symbol_of(swatch.symbol)
    figure.add_artist(
        Line2D(
            [x], [y], linestyle="none", marker=marker, markersize=size * _SWATCH * 0.92 * min(larger, 1.1),
            markerfacecolor="none" if hollow else swatch.color, markeredgecolor=swatch.color if hollow else "none",
            markeredgewidth=max(size * 0.14, 0.6) if hollow else 0, transform=page_of(figure), zorder=6.1,
        )
    )  # fmt: skip


def names_on_plot(scene: Scene, type: Type, color: RGBA, page_xy: Any, taken: set[str]) -> list[Written]:
    """The name of each trace of points on the point nearest to their median; `taken` are written there already."""
    found = []
    for trace in scene.traces:
        if not _is_listed(trace) or "markers" not in mode_of(trace):
            continue
        xy: np.ndarray = page_xy(trace)
        xy = xy[np.isfinite(xy).all(axis=1)]
        name = str(trace["name"])
        if not len(xy) or name in taken or name.rpartition(" (")[0] in taken:
            continue
        middle = xy[np.square(xy - np.median(xy, axis=0)).sum(axis=1).argmin()]
        short = name.rpartition(" (")[0] or name
        place = float(middle[0]), float(middle[1])
        block = type.block(short, float(inside(scene.layout, "legend.font.size", 12)))
        found.append(Written(block, place, "center", "middle", color, background=(1, 1, 1, 0.72), pad=type.unit))
    return found
