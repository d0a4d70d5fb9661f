"""Who decides what an input looks like? A die that a seed, hypothesis or atheris throws."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decisions made one by one; `below(n)` gives a whole number from 0 to n - 1."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    @classmethod
    def of_seed(cls, seed: int) -> Choices:
        return cls(random.Random(seed).randrange)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def once_in(self, n: int) -> bool:
        return self.below(n) == 0

    def bytes(self, most: int) -> bytes:
        return bytes(self.below(256) for _ in range(self.below(most + 1)))
