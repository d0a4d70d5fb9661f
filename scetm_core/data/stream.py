"""How can counts be used that do not fit into memory? They stay in the file; rows are read when they are asked for.

`look_through` goes once over the file, checks every value and keeps the sums; `StoredCounts` then gives out rows as
`load_dataset` would have given them: empty cells and genes left out, duplicates summed, no zeros stored.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil
import scipy.sparse as sp

from scetm_core import processes
from scetm_core.config import DataConfig
from scetm_core.data.bounds import plain_path
from scetm_core.data.formats import open_counts, readable
from scetm_core.data.matrix import MAX_BLOCK, Array, StoredMatrix, tidy
from scetm_core.errors import DataError

if TYPE_CHECKING:
    from scetm_core.data.matrix import Csr

BYTES_PER_VALUE = 24  # of counts in memory: value and position, three times over while they are made ready
MEMORY_SHARE = 0.5  # of what is available: more is not taken for counts
BLOCK_VALUES = 125_000  # stored values of a block of neighbouring cells (1 MB with their positions), at least
MAX_BLOCK_VALUES = 450_000  # of a file in long chunks, which are unpacked whole; 128 blocks are shuffled together
MAX_BLOCK_SIZE = 1024  # cells
ROWS_SUMMED = 256  # cells of which totals are taken at once
VALUES_MOVED = 1 << 17  # stored values whose genes are renumbered at once


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look at all counts found.

    Attributes
    ----------
    totals
        Total counts of each cell, (n_cells,) float64.
    genes
        Which genes have a count in any cell, (n_genes,) bool.
    n_nonzero
        Stored values that are not 0.
    is_tidy
        Whether each cell's genes are stored in ascending order, each once, without zeros.
    chunk_values
        As of `StoredMatrix`.
    """

    totals: npt.NDArray[np.float64]
    genes: npt.NDArray[np.bool_]
    n_nonzero: int
    is_tidy: bool
    chunk_values: int = 1


def stays_on_disk(matrix: StoredMatrix, memory: str) -> bool:
    """Whether counts are to be left in their file, by the setting `DataConfig.memory`.

    Raises
    ------
    DataError
        If they are to, but cannot be read by cell.
    """
    is_read_whole = isinstance(matrix.data, np.ndarray)
    if memory == "on disk" and (is_read_whole or matrix.layout == "csc"):
        how = "as a text or 10x file" if is_read_whole else "by gene (CSC)"
        raise DataError(
            f"Counts stored {how} cannot be read cell by cell from disk. Save them as .h5ad with X in CSR, or keep "
            "them in memory."
        )
    if memory != "auto" or is_read_whole or matrix.layout == "csc":
        return memory == "on disk"
    available = psutil.virtual_memory().available / processes.local_world()  # each would hold the counts
    return bool(BYTES_PER_VALUE * _n_nonzero(matrix) > MEMORY_SHARE * available)


def _n_nonzero(matrix: StoredMatrix) -> int:
    """Values that would be stored in memory; of a dense matrix, guessed from its first cells."""
    if matrix.layout != "dense":
        return matrix.n_stored
    first = np.asarray(matrix.data[: max(1, MAX_BLOCK // 4 // max(matrix.shape[1], 1)), :])
    return int(matrix.n_stored * np.count_nonzero(first) / max(first.size, 1))


def look_through(matrix: StoredMatrix, check: Callable[[Array], None]) -> Seen:
    """Go once over counts by cell, holding little: the next piece is read while one is looked at.

    Parameters
    ----------
    check
        Called with the values of each piece; raises if they are unfit.
    """
    totals, genes = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[1], dtype=bool)
    n_nonzero, is_tidy = 0, True

    def look(piece: _Piece) -> None:
        nonlocal n_nonzero, is_tidy
        check(piece.values.ravel())
        totals[piece.first : piece.stop] = piece.totals()
        present = piece.values != 0
        found = int(np.count_nonzero(present))
        n_nonzero += found
        if piece.indices is None:
            genes[present.any(axis=0)] = True
            return
        genes[piece.indices if found == present.size else piece.indices[present]] = True
        is_tidy = is_tidy and found == present.size and piece.is_ascending()

    with ThreadPoolExecutor(1) as looker:
        waiting: deque[Future[None]] = deque()
        for piece in _pieces(matrix):
            waiting.append(looker.submit(look, piece))
            if len(waiting) > 1:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
    return Seen(totals=totals, genes=genes, n_nonzero=n_nonzero, is_tidy=is_tidy, chunk_values=matrix.chunk_values)


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Cells `first` to `stop` as they are stored; `indices` and `indptr` are of CSR only."""

    first: int
    stop: int
    values: Array
    indices: Array | None = None
    indptr: Array | None = None

    def totals(self) -> npt.NDArray[np.float64]:
        """Total counts of each cell."""
        values = self.values.astype(np.float32, copy=False)
        if self.indptr is None:
            return np.asarray(values.sum(axis=1, dtype=np.float64))
        return row_sums(values, self.indptr)

    def is_ascending(self) -> bool:
        """Whether the genes of each cell ascend without repetition."""
        assert self.indices is not None
        assert self.indptr is not None
        ascends = self.indices[1:] > self.indices[:-1]
        starts = self.indptr[1:-1]  # a new cell may start anywhere
        ascends[starts[(starts > 0) & (starts < len(self.indices))] - 1] = True
        return bool(ascends.all())


def _pieces(matrix: StoredMatrix) -> Iterator[_Piece]:
    limit = MAX_BLOCK // 2
    if matrix.layout == "dense":
        step = max(1, limit // max(matrix.shape[1], 1))
        for first in range(0, matrix.shape[0], step):
            stop = min(first + step, matrix.shape[0])
            yield _Piece(first=first, stop=stop, values=np.asarray(matrix.data[first:stop, :]))
        return
    for first, stop in matrix.cell_spans(limit):
        indptr = matrix.indptr[first : stop + 1] - matrix.indptr[first]
        values, indices = matrix.stretch(int(matrix.indptr[first]), int(matrix.indptr[stop]))
        yield _Piece(first=first, stop=stop, values=values, indices=indices, indptr=indptr)


def row_sums(values: Array, indptr: Array) -> npt.NDArray[np.float64]:
    """Sum of each row of a CSR matrix, (n_rows,), in float64.

    Some rows at a time: numpy first copies what it sums up to float64, and new memory is what costs most.
    """
    sums = np.zeros(len(indptr) - 1)
    for first in range(0, len(sums), ROWS_SUMMED):
        edges = indptr[first : first + ROWS_SUMMED + 1]
        filled = np.diff(edges) > 0
        if filled.any():
            some = values[edges[0] : edges[-1]]
            sums[first : first + ROWS_SUMMED][filled] = np.add.reduceat(
                some, (edges[:-1] - edges[0])[filled], dtype=np.float64
            )
    return sums


class StoredCounts:
    """Raw counts (n_cells, n_genes) in a file, given out by row: `counts[rows]` is a float32 CSR matrix.

    The file is opened at the first read and held open until `close`. Several threads may read; they take turns.

    Parameters
    ----------
    config
        Which counts of which file.
    seen
        What `look_through` found there. Cells without counts, and genes without, are left out.

    Attributes
    ----------
    totals
        Total counts of each cell, (n_cells,).
    block_size
        How many neighbouring cells are best read together.
    """

    def __init__(self, config: DataConfig, seen: Seen) -> None:
        self._config, self._path = config, plain_path(config.path)
        self._stamp = _stamp(self._path)
        cells = seen.totals > 0
        self._rows, self.totals = np.flatnonzero(cells), seen.totals[cells]
        self._columns = None if seen.genes.all() else (np.cumsum(seen.genes) - 1).astype(np.int32)
        self._is_tidy = seen.is_tidy
        self.shape = (len(self._rows), int(seen.genes.sum()))
        per_cell = seen.n_nonzero / max(len(self._rows), 1)
        block_values = np.clip(seen.chunk_values, BLOCK_VALUES, MAX_BLOCK_VALUES)
        self.block_size = int(np.clip(block_values / max(per_cell, 1), 1, MAX_BLOCK_SIZE))
        self._lock, self._handle = threading.Lock(), contextlib.ExitStack()
        self._matrix: StoredMatrix | None = None
        weakref.finalize(self, self._handle.close)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Csr:
        """Some cells in the order asked for; fast where they lie near each other in the file.

        Raises
        ------
        DataError
            If the file is gone, damaged, or not the one that was looked through.
        """
        ordered, places = np.unique(rows, return_inverse=True)
        counts = self._read(ordered)
        in_order = len(ordered) == len(rows) and bool((ordered == rows).all())
        return counts if in_order else counts[places]

    def close(self) -> None:
        """Let go of the file; a later read opens it anew."""
        with self._lock:
            self._handle.close()
            self._matrix = None

    def _read(self, rows: npt.NDArray[np.int64]) -> Csr:
        if _stamp(self._path) != self._stamp:
            raise self._changed()
        with self._lock, readable(self._path):
            if self._matrix is None:
                self._matrix = self._handle.enter_context(open_counts(self._config))
            counts = self._matrix.read_rows(self._rows[rows])
        if not np.array_equal(row_sums(counts.data, counts.indptr), self.totals[rows]):
            raise self._changed()
        if not self._is_tidy:
            counts = tidy(counts)
        if self._columns is None:
            return counts
        for first in range(0, len(counts.indices), VALUES_MOVED):
            some = counts.indices[first : first + VALUES_MOVED]
            some[:] = self._columns[some]
        parts: Any = (counts.data, counts.indices, counts.indptr)
        return sp.csr_matrix(parts, (len(rows), self.shape[1]))

    def _changed(self) -> DataError:
        return DataError(
            f"{self._path} has changed since its counts were looked through. Leave it as it is while they are in use, "
            "and start again."
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    """What tells a file, or folder, from one that has been put in its place."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise DataError(f"{path} is gone or cannot be reached ({error.strerror}). Put it back, and go on.") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """A data set whose counts stay on disk, with the surface of the AnnData that `load_dataset` returns otherwise."""

    X: StoredCounts
    obs: pd.DataFrame
    var: pd.DataFrame
    uns: dict[str, Any]
    obsm: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.obs)

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.var)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_cells, n_genes)."""
        return self.n_obs, self.n_vars

    @property
    def obs_names(self) -> pd.Index:
        """Names of the cells."""
        return self.obs.index

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes."""
        return self.var.index
