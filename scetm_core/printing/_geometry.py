"""Where on the page is a place of a figure, given as a value, as a share of a plane, or of the whole plot?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from scetm_core.printing._axis import Axis
from scetm_core.printing._subplot import Subplot
from scetm_core.printing._text import Box


class Spread:
    """Shares of the plot to points along one direction, wider between planes than the figure has it where needed."""

    def __init__(self, domains: Iterable[tuple[float, float]]) -> None:
        self.bands: list[tuple[float, float]] = []
        for low, high in sorted(set(domains)):
            if self.bands and low < self.bands[-1][1] - 1e-9:
                self.bands[-1] = (self.bands[-1][0], max(self.bands[-1][1], high))
            else:
                self.bands.append((low, high))
        self.knots, self.places = np.array([0.0, 1.0]), np.array([0.0, 1.0])

    def band(self, share: float) -> int:
        """The band of planes at a share of the plot, or nearest to it."""
        return int(np.argmin([max(low - share, share - high, 0.0) for low, high in self.bands]))

    def set(self, length: float, gaps: list[float]) -> None:
        """Spread over a length in points, with at least these gaps between bands."""
        ends = [(low * length, high * length) for low, high in self.bands]
        if not ends:
            return
        wanted = [max(ends[i + 1][0] - ends[i][1], gap) for i, gap in enumerate(gaps)]
        old = sum(high - low for low, high in ends)
        head, tail = ends[0][0], length - ends[-1][1]
        room = max(length - head - tail - sum(wanted), 0.2 * length)
        knots, places, at = [0.0], [0.0], head
        for number, (low, high) in enumerate(ends):
            width = (high - low) / old * room
            knots += [low / length, high / length]
            places += [at, at + width]
            at += width + (wanted[number] if number < len(wanted) else 0.0)
        self.knots, self.places = np.array([*knots, 1.0]), np.array([*places, places[-1] + tail])

    def __call__(self, share: float) -> float:
        """Points from the start of the plot; also beyond its ends."""
        if share < 0 or share > 1:
            end = 0.0 if share < 0 else 1.0
            return self(end) + (share - end) * float(self.places[-1])
        keep = np.concatenate([[True], np.diff(self.knots) > 1e-12])
        return float(np.interp(share, self.knots[keep], self.places[keep]))


class Geometry:
    """A plot laid out: its area at (left, bottom), and where its planes are."""

    def __init__(self, subplots: list[Subplot], axes: dict[str, Axis], all_axes: dict[str, Axis]) -> None:
        self.subplots, self.axes, self.all_axes = subplots, axes, all_axes
        self.x = Spread(self.domain(axis) for axis in axes.values() if axis.letter == "x")
        self.y = Spread(self.domain(axis) for axis in axes.values() if axis.letter == "y")
        self.left = self.bottom = 0.0
        self.ends: dict[str, tuple[float, float]] = {}

    def domain(self, axis: Axis) -> tuple[float, float]:
        """Share of the plot that an axis takes: its own, or that of the axis it lies over."""
        over = self.all_axes.get(str(axis.spec.get("overlaying") or ""))
        return over.domain if over is not None and axis.spec.get("domain") is None else axis.domain

    def lay(self, size: tuple[float, float], gaps: tuple[list[float], list[float]]) -> None:
        """Place all axes in an area of that size, its corner at the origin."""
        self.left = self.bottom = 0.0
        self.x.set(size[0], gaps[0])
        self.y.set(size[1], gaps[1])
        for axis in self.axes.values():
            spread = self.x if axis.letter == "x" else self.y
            low, high = self.domain(axis)
            self.ends[axis.name] = (spread(low), spread(high))
        for subplot in self.subplots:
            if subplot.ratio:
                self._make_equal(subplot)

    def _make_equal(self, subplot: Subplot) -> None:
        """Shrink one of a plane's axes until a step along both is as long."""
        (left, right), (bottom, top) = self.ends[subplot.x.name], self.ends[subplot.y.name]
        width, height = right - left, top - bottom
        if height > width * subplot.ratio:
            self.ends[subplot.y.name] = (top - width * subplot.ratio, top)
        else:
            self.ends[subplot.x.name] = (left, left + height / subplot.ratio)

    def plane(self, subplot: Subplot) -> Box:
        """The box of a plane."""
        return self._box(subplot.x.name, subplot.y.name)

    def plane_of(self, x_ref: str, y_ref: str) -> Box | None:
        """The box of the plane of two axes."""
        return self._box(x_ref, y_ref) if x_ref in self.ends and y_ref in self.ends else None

    def _box(self, x: str, y: str) -> Box:
        (left, right), (bottom, top) = self.ends[x], self.ends[y]
        return left + self.left, bottom + self.bottom, right + self.left, top + self.bottom

    def beside(self, axis: Axis) -> Box:
        """The box of the plane that an axis is drawn at."""
        other = str(axis.spec.get("anchor") or ("y" if axis.letter == "x" else "x"))
        if other not in self.ends:
            mates = [s for s in self.subplots if axis in (s.x, s.y)]
            other = (mates[0].y if axis.letter == "x" else mates[0].x).name
        return self._box(axis.name, other) if axis.letter == "x" else self._box(other, axis.name)

    def spot(self, value: Any, ref: str, letter: str, *, is_exponent: bool = True) -> float:
        """Where a value is, by its reference: "paper", "x2 domain" or an axis."""
        offset = self.left if letter == "x" else self.bottom
        if ref in ("paper", "container"):
            return offset + (self.x if letter == "x" else self.y)(float(value))
        name = ref.removesuffix(" domain")
        if name not in self.ends:
            name = next(iter(name for name in self.ends if name[0] == letter))
        low, high = self.ends[name]
        if ref.endswith(" domain"):
            return offset + low + float(value) * (high - low)
        axis = self.axes[name]
        return offset + low + axis.share(axis.spot(value, is_exponent=is_exponent)) * (high - low)
