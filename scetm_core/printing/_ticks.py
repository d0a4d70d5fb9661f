"""At which values does an axis have ticks, and what is written there?"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from scetm_core.printing._axis import Axis

_FORMAT = re.compile(r"(,?)(?:\.(\d+))?(~?)([%a-z]?)")
Tick = tuple[float, str]
"""Number along the axis, and its text."""


def ticks_of(axis: Axis, *, at_most: int) -> list[Tick]:
    """Ticks within the range of an axis.

    Parameters
    ----------
    at_most
        How many have room, for axes that leave it open.
    """
    spec = axis.spec
    if spec.get("tickvals") is not None and spec.get("tickmode") in (None, "array"):
        ticks = _given(axis)
    elif axis.kind in ("category", "multicategory"):
        ticks = [(float(place), name) for place, name in enumerate(axis.categories)]
    elif axis.kind == "log":
        ticks = _exponents(axis, at_most)
    else:
        ticks = _even(axis, at_most)
    low, high = sorted(axis.range)
    slack = 1e-6 * (high - low)
    return [(place, text) for place, text in ticks if low - slack <= place <= high + slack]


def _given(axis: Axis) -> list[Tick]:
    places = [axis.spot(value) for value in axis.spec["tickvals"]]
    texts = axis.spec.get("ticktext")
    if texts is None:
        texts = [written(float(value), axis.spec.get("tickformat")) for value in axis.spec["tickvals"]]
    return [(place, str(text)) for place, text in zip(places, texts, strict=False)]


def nice_step(span: float, at_most: int) -> float:
    """The smallest of 1, 2, 5, 10 ... that makes no more steps than that."""
    rough = span / max(at_most, 1)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def _even(axis: Axis, at_most: int) -> list[Tick]:
    low, high = sorted(axis.range)
    step = axis.spec.get("dtick")
    step = float(step) if isinstance(step, (int, float)) else nice_step(
        high - low, min(int(axis.spec.get("nticks") or at_most), at_most)
    )  # fmt: skip
    return even_ticks(low, high, step, axis.spec.get("tickformat"))


def even_ticks(low: float, high: float, step: float, tickformat: Any) -> list[Tick]:
    """Multiples of a step with their texts."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 1000:
        return []
    values = [number * step for number in range(first, last + 1)]
    if tickformat:
        texts = [written(value, str(tickformat)) for value in values]
        return list(zip(values, texts, strict=True))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if max(abs(low), abs(high)) < 1e-3 or digits > 4:
        return [(value, written(value, None)) for value in values]
    return [(value, _signed(f"{value + 0.0:,.{digits}f}")) for value in values]


def _exponents(axis: Axis, at_most: int) -> list[Tick]:
    low, high = sorted(axis.range)
    dtick, tickformat = axis.spec.get("dtick"), axis.spec.get("tickformat")
    decades = range(math.floor(low), math.ceil(high) + 1)
    if dtick == "D1":
        digits: tuple[int, ...] = tuple(range(1, 10))
    elif dtick == "D2" or (dtick is None and high - low < 2.5):
        digits = (1, 2, 5)
    else:
        digits = (1,)
    ticks = [(decade + math.log10(digit), digit * 10.0**decade) for decade in decades for digit in digits]
    inside = [(place, value) for place, value in ticks if low - 1e-9 <= place <= high + 1e-9]
    if len(inside) > at_most:
        kept = [(place, value) for place, value in inside if abs(place - round(place)) < 1e-9]
        inside = kept if len(kept) >= 2 else inside[:: -(-len(inside) // max(at_most, 1))]
    return [
        (place, _power(value) if tickformat is None else written(value, str(tickformat))) for place, value in inside
    ]


def _power(value: float) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:,.10g}"
    exponent = round(math.log10(value))
    lead = value / 10.0**exponent
    times = "" if abs(lead - 1) < 1e-6 else f"{lead:.3g} \u00d7 "
    return f"{times}10<sup>{_signed(str(exponent))}</sup>"


def written(value: float, tickformat: str | None) -> str:
    """A number in one of d3's formats that the figures use, such as ``".0%"`` and ``",.2~f"``."""
    if not np.isfinite(value):
        return ""
    match = _FORMAT.fullmatch(tickformat or "")
    if not tickformat or match is None:
        return _signed(f"{value:.6g}")
    comma, precision, trim, kind = match.groups()
    digits = int(precision) if precision is not None else 6
    if kind == "%":
        text = f"{100 * value:{comma}.{digits if precision is not None else 0}f}"
    elif kind == "d":
        text = f"{round(value):{comma}d}"
    elif kind == "f":
        text = f"{value:{comma}.{digits}f}"
    elif kind == "e":
        text = f"{value:.{digits}e}"
    elif kind == "s":
        return _signed(_with_prefix(value))
    else:
        text = f"{value:{comma}.{digits}g}" if abs(value) < 1e6 else f"{value:{comma}.0f}"
    if trim and "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return _signed(text + ("%" if kind == "%" else ""))


def _with_prefix(value: float) -> str:
    for factor, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{sign}"
    return f"{value:.3g}"


def _signed(text: str) -> str:
    """With a minus in place of a hyphen, and none before 0."""
    if text.startswith("-") and not text.strip("-0.,%"):
        return text[1:]
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text
