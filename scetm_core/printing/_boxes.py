"""How are distributions drawn as violins and boxes?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.printing._axes import Axis, column_of, is_upright
from scetm_core.printing._color import RGBA, faded, rgba
from scetm_core.printing._read import Json, inside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scetm_core.printing._traces import Look

_GRID = 160


def _groups(trace: Json, along: Axis, up: Axis) -> list[tuple[float, np.ndarray]]:
    """Place and values of each distribution of a trace."""
    values = up.linear(column_of(trace, is_x=up.is_x))
    names = column_of(trace, is_x=along.is_x)
    places = along.linear(names if names is not None else [""])
    if len(places) != len(values):
        return [(float(places[0]) if np.isfinite(places[0]) else 0.0, values[np.isfinite(values)])]
    known = np.isfinite(values) & np.isfinite(places)
    return [(float(place), values[known & (places == place)]) for place in np.unique(places[known])]


def _half_width(trace: Json, traces: list[Json], gap: float) -> float:
    stated: Any = trace.get("width")
    return float(stated) / 2 if isinstance(stated, (int, float)) and stated else (1 - gap) / 2


def fill_and_line(trace: Json) -> tuple[RGBA, RGBA]:
    """Of the line and of the area."""
    stated = inside(trace, "line.color") or inside(trace, "marker.color")
    line = rgba(stated if isinstance(stated, str) else "#636efa")
    fill = trace.get("fillcolor")
    return line, rgba(fill) if isinstance(fill, str) else faded(line, 0.5)


def draw_violin(ax: Axes, trace: Json, traces: list[Json], axes: tuple[Axis, Axis], look: Look) -> None:
    """The density of values on both sides of a middle line, with box and mean where they are asked for."""
    upright = is_upright(trace)
    along, up = axes if upright else axes[::-1]
    line, fill = fill_and_line(trace)
    half = _half_width(trace, traces, float(inside(trace, "_gap", 0.3)))
    groups = [(place, values) for place, values in _groups(trace, along, up) if len(values)]
    shapes = [(place, *density(values, hard=trace.get("spanmode") == "hard")) for place, values in groups]
    for (place, grid, heights), (_, values) in zip(shapes, groups, strict=True):
        reach = half * heights / max(float(heights.max()), 1e-12)
        outline = np.r_[np.c_[place - reach, grid], np.c_[place + reach, grid][::-1]]
        width = look.line(float(inside(trace, "line.width", 2)))
        _polygon(ax, outline, upright, fill, line, width, trace)
        if inside(trace, "box.visible"):
            wide = half * 2 * float(inside(trace, "box.width", 0.25)) / 2
            _box(ax, place, values, wide, upright, (line, fill), width, trace, whiskers=True)
        if inside(trace, "meanline.visible"):
            mean = float(values.mean())
            wide = half * float(inside(trace, "box.width", 0.25))
            at = wide if inside(trace, "box.visible") else float(np.interp(mean, grid, reach))
            _line(ax, [(place - at, mean), (place + at, mean)], upright, line, width, trace, dash=(0, (3, 2)))


def density(values: np.ndarray, *, hard: bool) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian density estimate (Silverman 1986): places and heights; `hard`: between lowest and highest value."""
    low, high = float(values.min()), float(values.max())
    spread = min(float(values.std()), float(np.subtract(*np.percentile(values, [75, 25]))) / 1.349 or np.inf)
    width = 1.059 * spread * len(values) ** -0.2 or max((high - low) / 10, 1e-6)
    grid = np.linspace(low, high, _GRID) if hard else np.linspace(low - 2 * width, high + 2 * width, _GRID)
    heights = np.zeros(len(grid))
    for start in range(0, len(values), 4096):
        steps = (grid[:, None] - values[None, start : start + 4096]) / width
        heights += np.exp(-0.5 * steps**2).sum(axis=1)
    return grid, heights


def draw_box(ax: Axes, trace: Json, traces: list[Json], axes: tuple[Axis, Axis], look: Look) -> None:
    """Quartiles and median; whiskers to the farthest value within 1.5 of their distance, points beyond."""
    upright = is_upright(trace)
    along, up = axes if upright else axes[::-1]
    colors = fill_and_line(trace)
    half = _half_width(trace, traces, 0.4)
    width = look.line(float(inside(trace, "line.width", 2)))
    for place, values in _groups(trace, along, up):
        if not len(values):
            continue
        low, high = _box(ax, place, values, half, upright, colors, width, trace, whiskers=True)
        if trace.get("boxpoints", "outliers") is False:
            continue
        from matplotlib.lines import Line2D

        beyond = values if trace.get("boxpoints") == "all" else values[(values < low) | (values > high)]
        at = np.full(len(beyond), place)
        size = float(inside(trace, "marker.size", 6)) * look.marker_unit
        ax.add_line(
            Line2D(
                *((at, beyond) if upright else (beyond, at)), linestyle="none", marker="o", markersize=size,
                markerfacecolor=colors[0], markeredgewidth=0, zorder=_zorder(trace), gid=f"points-{trace['_id']}",
            )
        )  # fmt: skip


def _zorder(trace: Json) -> float:
    from scetm_core.printing._traces import LAYERS

    return float(LAYERS[trace["type"]])


def _box(
    ax: Axes, place: float, values: np.ndarray, half: float, upright: bool, colors: tuple[RGBA, RGBA], width: float,
    trace: Json, *, whiskers: bool,
) -> tuple[float, float]:  # fmt: skip
    """Draw one box; returns where its whiskers end."""
    first, median, third = (float(part) for part in np.percentile(values, [25, 50, 75], method="hazen"))
    reach = 1.5 * (third - first)
    near = values[(values >= first - reach) & (values <= third + reach)]
    low, high = float(near.min()), float(near.max())
    line, fill = colors
    outline = np.array([(place - half, first), (place + half, first), (place + half, third), (place - half, third)])
    for end, edge in ((low, first), (high, third)):
        _line(ax, [(place, edge), (place, end)], upright, line, width, trace)
        if trace["type"] == "box":
            _line(ax, [(place - half / 2, end), (place + half / 2, end)], upright, line, width, trace)
    _polygon(ax, outline, upright, fill, line, width, trace)
    _line(ax, [(place - half, median), (place + half, median)], upright, line, width, trace)
    return low, high


def _polygon(ax: Axes, outline: np.ndarray, upright: bool, fill: RGBA, line: RGBA, width: float, trace: Json) -> None:
    from matplotlib.patches import Polygon

    shape = Polygon(
        outline if upright else outline[:, ::-1], closed=True, facecolor=fill, edgecolor=line, linewidth=width,
        zorder=_zorder(trace), gid=f"shape-{trace['_id']}", joinstyle="round",
    )  # fmt: skip
    ax.add_patch(shape)


def _line(
    ax: Axes, ends: list[tuple[float, float]], upright: bool, color: RGBA, width: float, trace: Json,
    *, dash: Any = "-",
) -> None:  # fmt: skip
    from matplotlib.lines import Line2D

    points = np.array(ends) if upright else np.array(ends)[:, ::-1]
    ax.add_line(Line2D(*points.T, color=color, linewidth=width, linestyle=dash, zorder=_zorder(trace)))
