"""What are the counts of a target in the columns of a model? In memory, or made as they are read from disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.data.names import count
from scetm_core.data.stream import row_sums
from scetm_core.errors import TransferError
from scetm_core.gene_alignment import GeneAlignment, GeneReport
from scetm_core.gene_names import SYMBOL

CHUNK_CELLS = 4096  # cells looked at together where counts stay on disk
N_LOUDEST = 5  # unused genes whose share of the counts is told


class AlignedCounts:
    """Counts of a target in the columns of a model, made some rows at a time from counts on disk.

    Parameters
    ----------
    counts
        (n_all, n_target), gives out rows as CSR.
    membership
        (n_target, n_model)
    rows, totals
        Cells that have counts then, and their total counts, (n_cells,).
    """

    def __init__(self, counts: Any, membership: sp.csr_matrix, *, rows: np.ndarray, totals: np.ndarray) -> None:
        self._counts, self._membership, self._rows, self.totals = counts, membership, rows, totals
        self.shape = (len(rows), membership.shape[1])
        self.block_size: int | None = getattr(counts, "block_size", None)

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Some cells, in the order asked for."""
        return _times(self._counts[self._rows[rows]], self._membership)


@dataclass(frozen=True, kw_only=True)
class AlignedData:
    """A target in the columns of a model, in memory or on disk; the surface of a loaded data set."""

    X: sp.csr_matrix | AlignedCounts
    obs: pd.DataFrame
    var: pd.DataFrame
    uns: Mapping[str, Any]
    obsm: Mapping[str, Any]

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes, those of the model."""
        return self.var.index


def align_dataset(
    data: Any, alignment: GeneAlignment, *, symbols: list[str] | None = None, new_genes: bool = False
) -> tuple[AlignedData, GeneReport, list[str]]:
    """A loaded data set in the columns of a model.

    Parameters
    ----------
    data
        From `load_dataset`.
    alignment
        Of its genes.
    symbols
        Of the model's genes, for the gene table.
    new_genes
        Whether genes that the model does not know come after its own.

    Returns
    -------
    The data; `var` names the model's genes, with `target_gene` and `way` as in the alignment. The report with the
    share of counts. And sentences about cells that are left out for having no counts in these genes.

    Raises
    ------
    TransferError
        If hardly any cell is left.
    """
    table, membership = alignment.table.copy(), alignment.membership
    if symbols is not None:
        table[SYMBOL] = symbols
    if new_genes:
        rows = np.flatnonzero(~alignment.used)
        membership = sp.csr_matrix(sp.hstack([membership, sp.identity(len(alignment.used), format="csr")[:, rows]]))
        table = pd.concat([table, _new_rows(table, [str(name) for name in data.var_names[rows]])])
    aligned, left, per_gene = _in_columns(data, membership, table, n_known=alignment.membership.shape[1])
    n_lost = len(data.obs) - len(left)
    said = [f"{count(n_lost, 'cell')} without counts in the model's genes left out."] if n_lost else []
    return aligned, covered(alignment, per_gene, None), said


def restrict_dataset(data: Any, genes: np.ndarray) -> tuple[AlignedData, np.ndarray]:
    """A loaded data set without the counts of some genes, which keep their columns.

    Parameters
    ----------
    genes
        (n_genes,) mask of those whose counts stay.

    Returns
    -------
    The data; and the rows that are left, those with counts in these genes.

    Raises
    ------
    TransferError
        If hardly any cell is left.
    """
    aligned, left, _ = _in_columns(data, sp.csr_matrix(sp.diags(genes.astype(np.float32))), data.var)
    return aligned, left


def _in_columns(
    data: Any, membership: sp.csr_matrix, var: pd.DataFrame, *, n_known: int | None = None
) -> tuple[AlignedData, np.ndarray, np.ndarray]:
    """Data in new columns, the rows that have counts in the first `n_known` of them, and sums of the old columns."""
    counts, totals, of_known, per_gene = _look_through(data.X, membership, n_known or membership.shape[1])
    left = np.flatnonzero(of_known > 0)
    if len(left) < 2:
        raise TransferError("No cell of the target has counts in the genes that the model knows. Look at its genes.")
    if counts is not None and len(left) < counts.shape[0]:
        counts = counts[left]
    aligned = AlignedData(
        X=AlignedCounts(data.X, membership, rows=left, totals=totals[left]) if counts is None else counts,
        obs=data.obs.iloc[left],
        var=var,
        uns=data.uns,
        obsm={name: values[left] for name, values in data.obsm.items()},
    )
    return aligned, left, per_gene


def _new_rows(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Rows of genes that the model does not know; one that is called like a gene of the model is renamed."""
    taken = set(table.index)
    index = pd.Index([f"{name} (target)" if name in taken else name for name in names], dtype=object)
    new = pd.DataFrame({keys.TARGET_GENE: names, keys.WAY: "new"}, index=index, dtype=object)
    return new if SYMBOL not in table else new.assign(**{SYMBOL: ""})


def _look_through(
    counts: Any, membership: sp.csr_matrix, n_known: int
) -> tuple[sp.csr_matrix | None, np.ndarray, np.ndarray, np.ndarray]:
    """Counts in the new columns if they are in memory, and sums over them.

    These are the total counts of each cell in the new columns and in the first `n_known` of them, (n_cells,) each, and
    the sum of each old column.
    """
    if sp.issparse(counts) or isinstance(counts, np.ndarray):
        whole: sp.csr_matrix = sp.csr_matrix(counts)  # type: ignore[arg-type]
        aligned = _times(whole, membership)
        return aligned, *_totals(aligned, n_known), np.asarray(whole.sum(axis=0, dtype=np.float64)).ravel()
    totals, of_known, per_gene = np.zeros(counts.shape[0]), np.zeros(counts.shape[0]), np.zeros(counts.shape[1])
    for first in range(0, counts.shape[0], CHUNK_CELLS):
        rows = np.arange(first, min(first + CHUNK_CELLS, counts.shape[0]))
        piece = counts[rows]
        totals[rows], of_known[rows] = _totals(_times(piece, membership), n_known)
        per_gene += np.asarray(piece.sum(axis=0, dtype=np.float64)).ravel()
    return None, totals, of_known, per_gene


def _times(counts: sp.csr_matrix, membership: sp.csr_matrix) -> sp.csr_matrix:
    product = sp.csr_matrix(counts @ membership, dtype=np.float32)
    product.sort_indices()
    return product


def _totals(counts: sp.csr_matrix, n_known: int) -> tuple[np.ndarray, np.ndarray]:
    """Total counts of each cell in all columns, and in the first `n_known`, (n_cells,) each."""
    totals = row_sums(counts.data, counts.indptr)
    if n_known == counts.shape[1]:
        return totals, totals
    known = counts[:, :n_known]
    return totals, row_sums(known.data, known.indptr)


def covered(alignment: GeneAlignment, per_gene: np.ndarray, n_cells: int | None) -> GeneReport:
    """The report of an alignment with the share of counts that it covers.

    Parameters
    ----------
    per_gene
        (n_target,) counts of each gene, over the cells looked at.
    n_cells
        How many these were; None for all.
    """
    total = max(float(per_gene.sum()), 1.0)
    unused = np.flatnonzero(~alignment.used)
    loudest = np.argsort(-per_gene[unused], kind="stable")
    report = alignment.report
    return dataclasses.replace(
        report,
        covered=float(per_gene[alignment.used].sum()) / total,
        covered_cells=n_cells,
        unused=[report.unused[place] for place in loudest],
        unused_shares=tuple(float(per_gene[unused[place]]) / total for place in loudest[:N_LOUDEST]),
    )
