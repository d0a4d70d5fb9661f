"""Which range does an axis show, which categories, and what is written along it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scetm_core.printing._read import Json, Scene, inside, mode_of
from scetm_core.printing._ticks import linear_ticks, log_ticks, number_text

VERTICAL = {"bar", "violin", "box", "histogram"}


@dataclass
class Axis:
    """One axis of a figure; `start` and `stop` are points of the page, set when the page is laid out."""

    name: str
    options: Json
    kind: str = "linear"
    categories: list[str] = field(default_factory=list)
    low: float = 0.0
    high: float = 1.0
    """Ends of the range, the left or lower first; categories by their place, logarithms to base 10."""
    start: float = 0.0
    stop: float = 1.0

    @property
    def is_x(self) -> bool:
        """Whether it runs from left to right."""
        return self.name.startswith("x")

    @property
    def domain(self) -> tuple[float, float]:
        """Its part of the plot."""
        low, high = self.options.get("domain") or (0, 1)
        return float(low), float(high)

    @property
    def side(self) -> str:
        """Where its labels stand."""
        return str(self.options.get("side") or ("bottom" if self.is_x else "left"))

    @property
    def is_visible(self) -> bool:
        """Whether anything of it is drawn."""
        return self.options.get("visible") is not False

    def linear(self, values: Any) -> np.ndarray:
        """Values as numbers along the axis: places of categories, logarithms."""
        if self.kind == "category":
            place = {name: number for number, name in enumerate(self.categories)}
            found = [place.get(_word(value), np.nan) if not _is_number(value) else _or_place(value, place)
                     for value in values]  # fmt: skip
            return np.array(found, dtype=float)
        numbers = as_numbers(values)
        if self.kind == "log":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(numbers > 0, np.log10(numbers), np.nan)
        return numbers

    def reference(self, value: Any, *, is_shape: bool) -> float:
        """Where an annotation's or a shape's coordinate lies; of annotations, that of a log axis is a logarithm."""
        if self.kind == "category" and isinstance(value, str):
            return float(self.categories.index(value)) if value in self.categories else float("nan")
        if self.kind == "log" and is_shape:
            return float(self.linear([value])[0])
        return float(value)

    def page(self, linear: Any) -> Any:
        """Numbers along the axis -> points of the page."""
        return self.start + (np.asarray(linear, dtype=float) - self.low) / (self.high - self.low) * (
            self.stop - self.start
        )

    def shows(self, linear: np.ndarray) -> np.ndarray:
        """Which numbers lie in its range."""
        room = 1e-9 * abs(self.high - self.low)
        inside_range: np.ndarray = (linear >= min(self.low, self.high) - room) & (
            linear <= max(self.low, self.high) + room
        )
        return inside_range

    def ticks(self, length: float, font: float) -> tuple[np.ndarray, list[str]]:
        """Places and texts of the ticks in the range, for an axis so long and a type so large, in points."""
        options = self.options
        if options.get("tickvals") is not None and options.get("tickmode", "array") == "array":
            places = self.linear(_list(options["tickvals"]))
            texts = options.get("ticktext")
            words = [str(text) for text in _list(texts)] if texts is not None else self._texts(places)
            shown = np.flatnonzero(self.shows(places[: len(words)]))
            return places[shown], [words[number] for number in shown]
        if self.kind == "category":
            places = np.arange(len(self.categories), dtype=float)
            shown = np.flatnonzero(self.shows(places))
            return places[shown], [self.categories[number] for number in shown]
        room = max(2, int(length / (font * (5.5 if self.is_x else 3.2))))
        n_at_most = min(int(options.get("nticks") or 8), room)
        if self.kind == "log":
            places = log_ticks(self.low, self.high, n_at_most=n_at_most, every=str(options.get("dtick") or ""))
        else:
            step: Any = options.get("dtick")
            fixed = float(step) if _is_number(step) and float(step) > 0 else None
            places = linear_ticks(self.low, self.high, n_at_most=n_at_most, step=fixed)
        return places, self._texts(places)

    def _texts(self, places: np.ndarray) -> list[str]:
        pattern = str(self.options.get("tickformat") or "")
        ends = str(self.options.get("tickprefix") or ""), str(self.options.get("ticksuffix") or "")
        step = float(np.diff(places).min()) if len(places) > 1 and self.kind == "linear" else 0.0
        values = 10.0**places if self.kind == "log" else places
        return [f"{ends[0]}{number_text(float(value), pattern=pattern, step=abs(step))}{ends[1]}" for value in values]


def axes_of(scene: Scene) -> dict[str, Axis]:
    """Every axis that traces, or the layout, speak of; with range and categories."""
    pairs = {(x_of(trace), y_of(trace)) for trace in scene.traces}
    names = {name for pair in pairs for name in pair} or {"x", "y"}
    for key, value in scene.layout.items():
        if key[1:].startswith("axis") and key[:1] in "xy" and isinstance(value, dict) and key[5:].isdigit():
            names.add(key[0] + key[5:])
    axes = {name: Axis(name=name, options=scene.axis(name)) for name in sorted(names)}
    for name in names.difference(*pairs) if pairs else ():
        axes[name].options["visible"] = False  # its plot is empty
    for axis in axes.values():
        traces = [trace for trace in scene.traces if axis.name in (x_of(trace), y_of(trace))]
        columns = [column for trace in traces if (column := column_of(trace, is_x=axis.is_x)) is not None]
        axis.kind = _kind(axis, columns)
        if axis.kind == "category":
            axis.categories = _categories(axis, columns)
    for axis in axes.values():
        _set_range(axis, [trace for trace in scene.traces if axis.name in (x_of(trace), y_of(trace))], axes)
    for axis in axes.values():
        other = axes.get(str(axis.options.get("matches") or ""))
        if other is not None and other is not axis and not axis.options.get("range"):
            axis.low, axis.high = other.low, other.high
    return axes


def x_of(trace: Json) -> str:
    """Name of the trace's x axis."""
    return str(trace.get("xaxis") or "x")


def y_of(trace: Json) -> str:
    """Name of the trace's y axis."""
    return str(trace.get("yaxis") or "y")


def is_upright(trace: Json) -> bool:
    """Whether bars, boxes and violins stand upright."""
    if orientation := trace.get("orientation"):
        return bool(orientation == "v")
    if trace["type"] == "bar":
        return True
    return (trace.get("y") is not None and not (trace["type"] == "histogram" and trace.get("x") is None)) or (
        trace["type"] == "histogram" and trace.get("x") is not None
    )


def column_of(trace: Json, *, is_x: bool) -> Sequence[Any] | np.ndarray | None:
    """What a trace says along an axis: its x or y; the name of a box or violin that has none; or numbers from 0."""
    own: Sequence[Any] | None = trace.get("x" if is_x else "y")
    if own is not None:
        return own if isinstance(own, (list, tuple, np.ndarray)) else list(own)
    if trace["type"] in ("box", "violin") and is_upright(trace) == is_x:
        return [str(trace.get("name") or "")]
    other = trace.get("y" if is_x else "x")
    if trace["type"] == "heatmap":
        z = np.atleast_2d(np.asarray(trace.get("z"), dtype=object))
        return np.arange(z.shape[1 if is_x else 0])
    if trace["type"] in ("scatter", "scattergl", "bar") and other is not None:
        return np.arange(len(other))
    return None


def as_numbers(values: Any) -> np.ndarray:
    """Numbers; what is none becomes not-a-number."""
    array = np.asarray(values)
    if array.dtype.kind in "fiub":
        return array.astype(float)
    return np.array([float(v) if _is_number(v) else np.nan for v in array.ravel()], dtype=float).reshape(array.shape)


def _list(values: Any) -> Any:
    return values if isinstance(values, (list, tuple, np.ndarray)) else list(values) if values is not None else []


def _word(value: Any) -> str:
    return str(value)


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _or_place(value: Any, place: dict[str, int]) -> float:
    """A number on an axis of categories: the category of that name, or the place."""
    return float(place.get(str(value), float(value)))


def _kind(axis: Axis, columns: Iterable[Any]) -> str:
    stated = axis.options.get("type")
    if stated in ("linear", "log", "category"):
        return str(stated)
    for column in columns:
        array = np.asarray(column)
        if array.dtype.kind in "fiub":
            return "linear"
        known = [value for value in array.ravel()[:200] if value is not None]
        if known:
            return "linear" if all(_is_number(value) for value in known) else "category"
    return "linear"


def _categories(axis: Axis, columns: Iterable[Any]) -> list[str]:
    seen = dict.fromkeys(_word(value) for column in columns for value in column if value is not None)
    order = axis.options.get("categoryorder")
    if order == "array" or (order is None and axis.options.get("categoryarray") is not None):
        stated = [str(name) for name in _list(axis.options.get("categoryarray"))]
        return list(dict.fromkeys([*stated, *seen]))
    if order in ("category ascending", "category descending"):
        return sorted(seen, reverse=order.endswith("descending"))
    return list(seen)


def _set_range(axis: Axis, traces: list[Json], axes: dict[str, Axis]) -> None:
    stated = axis.options.get("range")
    auto = axis.options.get("autorange")
    ends: list[Any] = list(stated) if stated is not None and len(stated) == 2 else [None, None]
    if not all(_is_number(end) for end in ends):  # a screen writes down the range it chose; a figure states none or one
        fitted = _fitting(axis, traces, axes)
        if auto in ("reversed", "min reversed", "max reversed"):
            fitted = fitted[::-1]
        ends = [end if _is_number(end) else fit for end, fit in zip(ends, fitted, strict=True)]
    axis.low, axis.high = (float(end) for end in ends)
    if axis.low == axis.high or not np.isfinite([axis.low, axis.high]).all():
        middle = axis.low if np.isfinite(axis.low) else 0.0
        axis.low, axis.high = middle - 0.5, middle + 0.5


def _fitting(axis: Axis, traces: list[Json], axes: dict[str, Axis]) -> tuple[float, float]:
    """The range of what is drawn, with some room around it."""
    from scetm_core.printing._shapes import edges_of, extent_of_bars

    ends: list[tuple[float, float, float]] = []  # low, high, room on each side as a share
    if axis.kind == "category" and axis.categories:
        ends.append((-0.5, len(axis.categories) - 0.5, 0.0))
    for trace in traces:
        if trace["type"] == "heatmap":
            edges = edges_of(trace, axis)
            ends.append((float(edges.min()), float(edges.max()), 0.0))
        elif trace["type"] in ("bar", "histogram"):
            ends.append((*extent_of_bars(trace, traces, axis, axes), 0.05 if is_upright(trace) != axis.is_x else 0.0))
        elif (column := column_of(trace, is_x=axis.is_x)) is not None and axis.kind != "category":
            numbers = axis.linear(column)
            if np.isfinite(numbers).any():
                only_line = trace["type"].startswith("scatter") and "markers" not in mode_of(trace) and axis.is_x
                ends.append((float(np.nanmin(numbers)), float(np.nanmax(numbers)), 0.0 if only_line else 0.05))
    if not ends:
        return (0.0, 1.0) if axis.kind != "log" else (0.0, 2.0)
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    room = max(end[2] for end in ends) * ((high - low) or 2 * abs(high) or 20.0)
    touches_zero = any(trace["type"] in ("bar", "histogram") for trace in traces) and axis.kind == "linear"
    fitted = (
        low - (0 if touches_zero and low == 0 else room),
        high + (0 if touches_zero and high == 0 else room),
    )
    mode = inside(axis.options, "rangemode", "normal")
    if mode in ("tozero", "nonnegative") and axis.kind == "linear":
        return min(fitted[0], 0.0) if low < 0 and mode == "tozero" else 0.0, max(fitted[1], 0.0)
    return fitted
