"""Where do the ticks of an axis stand, and how are their numbers written?"""

from __future__ import annotations

import math
import re

import numpy as np

_FORMAT = re.compile(r"(,)?(?:\.(\d+))?(~)?([dfegrs%])?")
_PREFIXES = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
MINUS = "\u2212"


def nice_step(low: float, high: float, n_at_most: int) -> float:
    """1, 2 or 5 times a power of ten, so that at most that many steps (and one) fit."""
    raw = abs(high - low) / max(n_at_most, 1)
    if raw <= 0 or not math.isfinite(raw):
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= raw * (1 - 1e-9))


def linear_ticks(low: float, high: float, *, n_at_most: int, step: float | None = None) -> np.ndarray:
    """Round numbers between the two."""
    low, high = min(low, high), max(low, high)
    step = step or nice_step(low, high, n_at_most)
    if (high - low) / step > 200:
        step = nice_step(low, high, n_at_most)
    while math.floor(high / step + 1e-6) - math.ceil(low / step - 1e-6) < 1 and n_at_most < 12:
        n_at_most += 1  # one number alone tells nothing of the scale
        step = nice_step(low, high, n_at_most)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return np.array([number * step for number in range(first, last + 1)])


def log_ticks(low: float, high: float, *, n_at_most: int, every: str) -> np.ndarray:
    """Logarithms (base 10) of round numbers; `every` is "" or plotly's dtick: "1", "D1", "D2"."""
    low, high = min(low, high), max(low, high)
    decades = np.arange(math.floor(low), math.ceil(high) + 1)
    if every not in ("D1", "D2") and (every or high - low > 2.5):
        stride = max(1, math.ceil((high - low) / max(n_at_most, 1)), int(float(every)) if _is_number(every) else 1)
        return np.array([d for d in decades[::stride] if low - 1e-9 <= d <= high + 1e-9], dtype=float)
    digits = range(1, 10) if every == "D1" else (1, 2, 5)
    ticks = np.array([d + math.log10(digit) for d in decades for digit in digits])
    ticks = ticks[(ticks >= low - 1e-9) & (ticks <= high + 1e-9)]
    if len(ticks) < 2:
        values = linear_ticks(10**low, 10**high, n_at_most=n_at_most)
        return np.asarray(np.log10(values[values > 0]))
    return ticks


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def number_text(value: float, *, pattern: str = "", step: float = 0.0) -> str:
    """A number as an axis writes it: by plotly's `tickformat`, or with the decimals that its step needs.

    Parameters
    ----------
    pattern
        The part of d3's formats that figures here use: ",d", ".2f", ".0%", ".2~%", ",~r", "~s".
    step
        Distance to the next number; 0 if there is none.
    """
    match = _FORMAT.fullmatch(pattern.lstrip("$(+- "))
    text = _by_pattern(value, match) if match and match[4] else _plain(value, step)
    return MINUS + text[1:] if text.startswith("-") and text.strip("-0.%") else text.removeprefix("-")


def _by_pattern(value: float, match: re.Match[str]) -> str:
    comma, digits, trim, kind = match[1] or "", match[2], match[3], match[4]
    if kind == "d":
        return f"{round(value):{comma}d}"
    if kind == "%":
        text = f"{value * 100:{comma}.{int(digits) if digits is not None else 6}f}"
        return (_trimmed(text) if trim or digits is None else text) + "%"
    if kind == "f":
        text = f"{value:{comma}.{int(digits) if digits is not None else 6}f}"
        return _trimmed(text) if trim else text
    if kind == "s":
        power = 0 if value == 0 else int(min(max(math.floor(math.log10(abs(value)) / 3) * 3, -9), 9))
        return f"{value / 10.0**power:.{int(digits or 3)}g}{_PREFIXES[power]}"
    if kind == "r":
        places = int(digits or 6)
        decimals = max(0, places - 1 - (math.floor(math.log10(abs(value))) if value else 0))
        text = f"{value:{comma}.{min(decimals, 12)}f}"
        return _trimmed(text) if trim else text
    text = f"{value:.{int(digits or 6)}{kind}}"
    return _trimmed(text) if trim and "e" not in text else text


def _plain(value: float, step: float) -> str:
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        mantissa, power = f"{value:.2e}".split("e")
        sup = f"10<sup>{int(power)}</sup>".replace("-", MINUS)
        mantissa = _trimmed(mantissa)
        return sup if mantissa == "1" else f"{mantissa}×{sup}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 6
    text = f"{value:{',' if abs(value) >= 10_000 else ''}.{min(decimals, 8)}f}"
    return _trimmed(text) if step <= 0 else text


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
