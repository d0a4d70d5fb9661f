"""What are the mean and the spread of each gene? One pass over the cells, a piece in memory at a time.

From these sums follow the start of lambda, the choice of variable genes and how the encoder scales them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scetm_core.model.cells import Cells

COUNTS_PER_CELL = 1e4  # shares are scaled to this depth before the logarithm


@dataclass(frozen=True, kw_only=True)
class GeneSums:
    """Means and variances of each gene, zeros included; float64."""

    n_in_batch: np.ndarray  # (n_batches,), cells
    mean: np.ndarray  # (n_batches, n_genes), of counts over the cell's total; 0 for a batch without cells
    variance: np.ndarray  # (n_batches, n_genes), of the same, unbiased
    log_mean: np.ndarray  # (n_genes,), of log1p(10,000 x counts / total), over all cells
    log_variance: np.ndarray  # (n_genes,), of the same, biased

    @classmethod
    def of(cls, cells: Cells, n_batches: int) -> GeneSums:
        """Of all these cells."""
        pieces = ((chunk.fractions, chunk.batch) for chunk in cells.chunks())
        return cls.of_pieces(pieces, n_genes=cells.counts.shape[1], n_batches=n_batches)

    @classmethod
    def of_pieces(cls, pieces: Iterable[tuple[sp.csr_matrix, np.ndarray]], *, n_genes: int, n_batches: int) -> GeneSums:
        """Of normalised counts (some cells, n_genes) and their batches, piece by piece."""
        n_in_batch = np.zeros(n_batches, dtype=np.int64)
        total, squares = np.zeros((n_batches, n_genes)), np.zeros((n_batches, n_genes))
        log_total, log_squares = np.zeros(n_genes), np.zeros(n_genes)
        for fractions, batch in pieces:
            n_in_batch += np.bincount(batch, minlength=n_batches)
            add_group_sums(total, fractions, batch, squares=squares)
            logged = np.log1p(COUNTS_PER_CELL * fractions.data).astype(np.float64)
            log_total += np.bincount(fractions.indices, logged, minlength=n_genes)
            log_squares += np.bincount(fractions.indices, np.square(logged, out=logged), minlength=n_genes)
        n_each = n_in_batch[:, None]
        mean = total / np.maximum(n_each, 1)
        n_cells = max(int(n_in_batch.sum()), 1)
        log_mean = log_total / n_cells
        return cls(
            n_in_batch=n_in_batch,
            mean=mean,
            variance=np.maximum(squares - n_each * mean**2, 0) / np.maximum(n_each - 1, 1),
            log_mean=log_mean,
            log_variance=np.maximum(log_squares - n_cells * log_mean**2, 0) / n_cells,
        )


def add_group_sums(
    total: np.ndarray, rows: sp.csr_matrix, group: np.ndarray, *, squares: np.ndarray | None = None
) -> None:
    """Add each row to the sum of its group, and its squares to theirs, in place.

    Parameters
    ----------
    total, squares
        (n_groups, n_columns) float64.
    rows
        (n_rows, n_columns)
    group
        (n_rows,) codes.
    """
    n_columns = rows.shape[1]
    order = np.argsort(group, kind="stable")
    if (np.diff(group) < 0).any():
        rows = rows[order]
    codes, starts = np.unique(group[order], return_index=True)
    for code, start, stop in zip(codes, starts, [*starts[1:], len(group)], strict=True):
        inside = slice(rows.indptr[start], rows.indptr[stop])
        columns, values = rows.indices[inside], rows.data[inside].astype(np.float64)
        total[code] += np.bincount(columns, values, minlength=n_columns)
        if squares is not None:
            squares[code] += np.bincount(columns, np.square(values, out=values), minlength=n_columns)
