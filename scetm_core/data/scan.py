"""What do the counts of a file look like? One pass in pieces, of all cells or of an evenly spread sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scetm_core.data.matrix import StoredMatrix, ValueTally

MAX_VALUES = 200_000_000
"""Stored values looked at, at most: beyond, a sample of cells."""

_N_STRETCHES = 100


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Sums over the cells looked at.

    Attributes
    ----------
    cells
        Positions of the cells looked at.
    counts_per_cell, genes_per_cell
        Of those cells, in their order.
    counts_per_gene
        Over those cells, (n_genes,).
    tally
        What kinds of values were seen. Missing and infinite values count as 0 in the sums.
    """

    cells: npt.NDArray[np.int64]
    counts_per_cell: npt.NDArray[np.float64]
    genes_per_cell: npt.NDArray[np.int64]
    counts_per_gene: npt.NDArray[np.float64]
    genes_seen: npt.NDArray[np.bool_]
    n_nonzero: int
    tally: ValueTally


def scan_counts(matrix: StoredMatrix, *, max_values: int = MAX_VALUES, max_block: int | None = None) -> Scan:
    """Go once through the counts without holding them.

    Parameters
    ----------
    max_values
        Beyond this many stored values, stretches of cells spread evenly over the file are looked at. A CSC matrix is
        always looked at whole: its cells lie scattered over the file.
    max_block
        Values held at once.
    """
    n_cells, n_genes = matrix.shape
    counts, genes = np.zeros(n_cells), np.zeros(n_cells, dtype=np.int64)
    per_gene, seen, n_nonzero = np.zeros(n_genes), np.zeros(n_genes, dtype=bool), 0
    tally = ValueTally()
    stretches = _stretches(matrix, max_values)
    for stretch in stretches:
        for block in matrix.blocks(cells=stretch, max_values=max_block):
            tally.add(block.values)
            values = np.nan_to_num(block.values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
            present = block.values != 0
            first, stop = (int(block.cells.min()), int(block.cells.max()) + 1) if block.cells.size else (0, 0)
            counts[first:stop] += np.bincount(block.cells - first, values, stop - first)
            genes[first:stop] += np.bincount(block.cells[present] - first, minlength=stop - first)
            per_gene += np.bincount(block.genes, values, n_genes)
            seen[block.genes[present]] = True
            n_nonzero += int(present.sum())
    cells = np.concatenate([np.arange(*stretch) for stretch in stretches] or [np.zeros(0, dtype=np.int64)])
    return Scan(
        cells=cells,
        counts_per_cell=counts[cells],
        genes_per_cell=genes[cells],
        counts_per_gene=per_gene,
        genes_seen=seen,
        n_nonzero=n_nonzero,
        tally=tally,
    )


def _stretches(matrix: StoredMatrix, max_values: int) -> list[tuple[int, int]]:
    """Which cells to look at: all, or about a hundred stretches spread evenly that hold `max_values` together."""
    n_cells = matrix.shape[0]
    if matrix.layout == "csc" or matrix.n_stored <= max_values or n_cells <= 1:
        return [(0, n_cells)] if n_cells else []
    n_wanted = max(1, int(n_cells * (max_values / matrix.n_stored)))
    n_stretches = min(_N_STRETCHES, n_wanted)
    length = max(1, n_wanted // n_stretches)
    starts = np.linspace(0, n_cells - length, n_stretches).astype(np.int64)
    return [(int(start), int(start) + length) for start in starts]
