"""Which figure stands where on a page of several?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """A figure and its place on the grid of a page; rows and columns count from 0."""

    figure: go.Figure | Mapping[str, Any]
    title: str = ""
    row: int = 0
    column: int = 0
    row_span: int = 1
    column_span: int = 1

    def cells(self) -> Iterator[tuple[int, int]]:
        """Rows and columns of the grid that it takes."""
        for row in range(self.row, self.row + self.row_span):
            for column in range(self.column, self.column + self.column_span):
                yield row, column
