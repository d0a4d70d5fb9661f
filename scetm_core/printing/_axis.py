"""Where along an axis does a value stand, and from where to where does the axis go?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scetm_core.printing._read import Drawing, Node

ROOM = 0.05
"""Share of its length that an axis without a range leaves free at either end."""


class Axis:
    """One axis: what it is called, its kind, its range, and values as numbers along it.

    Along a logarithmic axis these are exponents of 10, along one of categories their places from 0.
    """

    def __init__(self, name: str, spec: Node) -> None:
        self.name, self.letter, self.spec = name, name[0], spec
        self.kind = str(spec.get("type") or "-")
        self.categories: list[str] = [str(entry) for entry in spec.get("categoryarray") or []]
        self.lookup = {entry: place for place, entry in enumerate(self.categories)}
        self.low, self.high = np.inf, -np.inf
        self.pad_low = self.pad_high = False
        self.range = (0.0, 1.0)

    @property
    def domain(self) -> tuple[float, float]:
        """Its share of the plot, from 0 to 1."""
        low, high = self.spec.get("domain") or (0.0, 1.0)
        return float(low), float(high)

    @property
    def is_shown(self) -> bool:
        """Whether anything of the axis itself is drawn."""
        return self.spec.get("visible") is not False

    def learn(self, values: Any) -> None:
        """Find the kind of the axis, and new categories, in values that stand on it."""
        if values is None or not len(values):
            return
        if self.kind in ("-", "date") and not _are_numbers(values):
            self.kind = "category"
        if self.kind in ("category", "multicategory"):
            for value in _listed(values):
                if value is not None and (name := _name(value)) not in self.lookup:
                    self.lookup[name] = len(self.categories)
                    self.categories.append(name)

    def along(self, values: Any) -> np.ndarray:
        """Values of a trace as numbers along the axis; not-a-number where there is none."""
        if self.kind in ("category", "multicategory"):
            return np.array([self._category(value) for value in _listed(values)], dtype=float)
        numbers = np.array([np.nan if value is None else value for value in values], dtype=float) if isinstance(
            values, list
        ) else np.asarray(values, dtype=float)  # fmt: skip
        if self.kind == "log":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(numbers > 0, np.log10(np.where(numbers > 0, numbers, 1.0)), np.nan)
        return numbers

    def _category(self, value: Any) -> float:
        if value is None:
            return np.nan
        name = _name(value)
        if name in self.lookup:
            return float(self.lookup[name])
        return float(value) if isinstance(value, (int, float, np.number)) else np.nan

    def spot(self, value: Any, *, is_exponent: bool = False) -> float:
        """One value of a shape; of an annotation, which names exponents on a logarithmic axis."""
        if is_exponent and self.kind == "log":
            return float(value)
        if self.kind in ("category", "multicategory") and isinstance(value, (int, float, np.number)):
            return float(value)
        return float(self.along([value])[0])

    def cover(self, numbers: np.ndarray, *, pad: bool) -> None:
        """Let the axis reach over numbers along it, and some way beyond if `pad`."""
        finite = numbers[np.isfinite(numbers)]
        if not finite.size:
            return
        low, high = float(finite.min()), float(finite.max())
        if low < self.low:
            self.low, self.pad_low = low, pad
        if high > self.high:
            self.high, self.pad_high = high, pad

    def settle(self) -> None:
        """Work out the range, once all that stands on the axis is known."""
        low, high = (self.low, self.high) if np.isfinite(self.low) else (0.0, 1.0)
        if self.kind in ("category", "multicategory"):
            low, high = min(low, -0.5), max(high, len(self.categories) - 0.5)
        elif low == high:
            low, high = low - 1, high + 1
        else:
            room = ROOM * (high - low)
            low, high = low - room * self.pad_low, high + room * self.pad_high
        mode = self.spec.get("rangemode")
        if self.kind != "log" and mode in ("tozero", "nonnegative"):
            low, high = (min(low, 0.0) if self.low < 0 else 0.0), max(high, 0.0)
        given = self.spec.get("range")
        is_reversed = str(self.spec.get("autorange", "")).endswith("reversed")
        if given is not None and self.spec.get("autorange") not in (True, "reversed"):
            ends = [auto if end is None else self._end(end) for end, auto in zip(given, (low, high), strict=True)]
            self.range = (ends[0], ends[1]) if ends[0] != ends[1] else (ends[0] - 0.5, ends[1] + 0.5)
        else:
            self.range = (high, low) if is_reversed else (low, high)

    def _end(self, end: Any) -> float:
        return float(end) if isinstance(end, (int, float, np.number)) else self._category(end)

    def share(self, number: float) -> float:
        """How far along its range a number is: 0 at its start, 1 at its end."""
        return (number - self.range[0]) / (self.range[1] - self.range[0])


def _are_numbers(values: Any) -> bool:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return bool(np.issubdtype(values.dtype, np.number))
    return all(value is None or isinstance(value, (int, float, np.number)) for value in values)


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def axes_of(drawing: Drawing) -> dict[str, Axis]:
    """All axes of a figure by their short names, kinds known, without ranges."""
    axes = {name: Axis(name, spec) for name, spec in drawing.axes()}
    for trace in drawing.traces:
        for letter in "xy":
            name = axis_name(trace, letter)
            axes.setdefault(name, Axis(name, {}))
    return axes


def axis_name(trace: Node, letter: str) -> str:
    """Short name of the axis that a trace (or shape) stands on."""
    name = str(trace.get(f"{letter}axis") or letter)
    return letter if name == f"{letter}1" else name


def settle_all(axes: dict[str, Axis]) -> None:
    """Ranges of all axes; those that match another share the range over both."""
    for axis in axes.values():
        group = [axis, *_matching(axis, axes)]
        axis.low, axis.high = min(member.low for member in group), max(member.high for member in group)
        axis.pad_low = any(member.pad_low for member in group)
        axis.pad_high = any(member.pad_high for member in group)
        if axis.spec.get("range") is None:
            given = next((member.spec["range"] for member in group if member.spec.get("range") is not None), None)
            if given is not None:
                axis.spec["range"] = given
        axis.settle()


def _matching(axis: Axis, axes: dict[str, Axis]) -> Sequence[Axis]:
    leader = str(axis.spec.get("matches") or axis.name)
    return [
        other for other in axes.values() if other is not axis and str(other.spec.get("matches") or other.name) == leader
    ]
