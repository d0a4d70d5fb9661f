"""Which number is a text? Python's own answer: pandas' parser writes where it must not on some long exponents."""

from __future__ import annotations

import math


def to_float(value: object) -> float:
    """The number a text (or a number) is; not-a-number for anything else."""
    if isinstance(value, str) and "_" in value:
        return math.nan  # 1_000 is a number in programs, not in tables
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
