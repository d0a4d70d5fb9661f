"""How strongly does each cell express one gene? Read from disk without loading the counts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from scetm_core.config import DataConfig
from scetm_core.data.bounds import plain_path
from scetm_core.data.formats import OpenInput, is_anndata, kind_of, open_counts, open_input
from scetm_core.data.matrix import MAX_BLOCK, StoredMatrix
from scetm_core.data.names import close_matches, unique_names
from scetm_core.errors import DataError

TARGET_SUM = 10_000.0

Floats = npt.NDArray[np.float64]


def gene_expression(config: DataConfig, gene: str) -> pd.Series[float]:
    """Normalised expression of one gene: log1p(10,000 x count / total counts of the cell).

    Cells and names are those of `load_dataset` (made unique, cells without counts left out). The total of each cell
    is worked out once per file and kept.

    Returns
    -------
    Series
        Indexed by cell name, called like the gene.

    Raises
    ------
    DataError
        If there is no such gene, with names close to it, or the file cannot be read.
    """
    counts, totals, cells = _counts_of(config, gene, _stamp(config))
    kept = totals > 0
    values = np.log1p(TARGET_SUM * counts[kept] / totals[kept])
    return pd.Series(values, index=pd.Index(cells, dtype=object)[kept], name=gene)


def list_genes(config: DataConfig) -> list[str]:
    """All gene names of the input, made unique, in its order.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    return list(_tables(config, _stamp(config))[1])


def search_genes(genes: Sequence[str], text: str, limit: int = 50) -> list[str]:
    """Genes that match what somebody types: those that begin with it first, then those that hold it.

    Letter case is ignored; an exact match comes first of all.
    """
    wanted = text.strip().lower()
    starting = [gene for gene in genes if gene.lower().startswith(wanted)]
    starting.sort(key=lambda gene: gene.lower() != wanted)
    within = [gene for gene in genes if wanted in gene.lower()[1:] and not gene.lower().startswith(wanted)]
    return [*starting, *within][:limit]


def _stamp(config: DataConfig) -> tuple[int, int]:
    """Changes when the file does, so that nothing stale is kept."""
    path = plain_path(config.path)
    kind_of(path)  # says what is wrong with a missing file
    newest = max((entry.stat().st_mtime_ns for entry in path.iterdir()), default=0) if path.is_dir() else 0
    return max(path.stat().st_mtime_ns, newest), path.stat().st_size


def _counts_of(config: DataConfig, gene: str, stamp: tuple[int, int]) -> tuple[Floats, Floats, tuple[str, ...]]:
    cells, genes = _tables(config, stamp)
    if gene not in genes:
        near = close_matches(gene, list(genes))
        raise DataError(f"There is no gene {gene!r}. " + (f"Close to it: {near}." if near else "Check its name."))
    totals = _totals(config, stamp)
    with _matrix(config, stamp) as matrix:
        return gene_column(matrix, genes[gene]), totals, cells


@contextlib.contextmanager
def _matrix(config: DataConfig, stamp: tuple[int, int]) -> Iterator[StoredMatrix]:
    """The counts: on disk if the format allows it, else read whole and kept."""
    if is_anndata(plain_path(config.path)):
        with open_counts(config) as matrix:
            yield matrix
    else:
        yield _whole(config, stamp).matrix


@functools.lru_cache(maxsize=4)
def _tables(config: DataConfig, stamp: tuple[int, int]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the cells; position of each gene by name."""
    if is_anndata(plain_path(config.path)):
        with open_input(config) as source:
            cells, genes = source.obs.index, source.var.index
    else:
        cells, genes = _whole(config, stamp).obs.index, _whole(config, stamp).var.index
    return tuple(unique_names(cells)[0]), {name: i for i, name in enumerate(unique_names(genes)[0])}


@functools.lru_cache(maxsize=4)
def _totals(config: DataConfig, stamp: tuple[int, int]) -> Floats:
    """Total counts of each cell, (n_cells,)."""
    with _matrix(config, stamp) as matrix:
        return _sum_cells(matrix)


@functools.lru_cache(maxsize=1)
def _whole(config: DataConfig, stamp: tuple[int, int]) -> OpenInput:
    """An input whose format is read whole."""
    with open_input(config) as source:
        return source


def _sum_cells(matrix: StoredMatrix) -> Floats:
    totals = np.zeros(matrix.shape[0])
    for block in matrix.blocks():
        first, stop = (int(block.cells.min()), int(block.cells.max()) + 1) if block.cells.size else (0, 0)
        totals[first:stop] += np.bincount(block.cells - first, block.values, stop - first)
    return totals


def gene_column(matrix: StoredMatrix, gene: int) -> Floats:
    """Counts of one gene, (n_cells,): direct in CSC and dense, a search of the positions in CSR."""
    column = np.zeros(matrix.shape[0])
    if matrix.layout == "dense":
        return np.asarray(matrix.data[:, gene]).astype(np.float64)
    if matrix.layout == "csc":
        low, high = int(matrix.indptr[gene]), int(matrix.indptr[gene + 1])
        np.add.at(column, np.asarray(matrix.indices[low:high]), np.asarray(matrix.data[low:high]))
        return column
    for low in range(0, matrix.n_stored, MAX_BLOCK):
        found = np.flatnonzero(np.asarray(matrix.indices[low : low + MAX_BLOCK]) == gene)
        if found.size:
            values = np.asarray(matrix.data[low : low + MAX_BLOCK])[found]
            np.add.at(column, np.searchsorted(matrix.indptr, found + low, side="right") - 1, values)
    return column
