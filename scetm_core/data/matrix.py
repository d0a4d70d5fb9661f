"""How are counts read in pieces? One view over CSR, CSC and dense counts, on disk or in memory.

`StoredMatrix` holds anything that slices to numpy (an h5py data set, a zarr array, a numpy array), so the same code
loads a file whole, scans it without holding it, and picks one gene out of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from scetm_core.data.chunks import PackedVector
from scetm_core.errors import DataError

if TYPE_CHECKING:
    Csr = sp.csr_matrix[Any]

Array = npt.NDArray[Any]
MAX_BLOCK = 4_000_000
"""Stored values held at once while reading in pieces (about 100 MB with their positions)."""
MAX_GAP = 16_384
"""Stored values read in vain rather than starting anew behind them."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of the counts: values with their cell and gene positions, three arrays of one length."""

    values: Array
    cells: npt.NDArray[np.int64]
    genes: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StoredMatrix:
    """Counts (n_cells, n_genes) as they are stored.

    Parameters
    ----------
    layout
        ``"csr"``, ``"csc"`` or ``"dense"``.
    shape
        (n_cells, n_genes).
    data
        Stored values: one-dimensional, or (n_cells, n_genes) if dense.
    indices, indptr
        Of the compressed layouts, as in scipy; `indptr` is in memory.

    Raises
    ------
    DataError
        If the parts contradict each other: the file is damaged.
    """

    layout: str
    shape: tuple[int, int]
    data: Any
    indices: Any = None
    indptr: Any = None

    def __post_init__(self) -> None:
        if np.dtype(self.data.dtype).kind not in "biuf":
            raise DataError(f"The counts are stored as {self.data.dtype}, not as numbers. Save them as integers.")
        if self.layout == "dense":
            fits = tuple(self.data.shape) == self.shape
        else:
            starts = self.indptr
            fits = bool(
                starts.shape == (self.shape[0 if self.layout == "csr" else 1] + 1,)
                and starts[0] == 0
                and (np.diff(starts) >= 0).all()
                and starts[-1] == self.data.shape[0] == self.indices.shape[0]
            )
        if not fits:
            raise DataError(
                "The counts are damaged: their parts do not fit together. Write or download the file again."
            )

    @classmethod
    def from_csr(cls, counts: Csr) -> StoredMatrix:
        """View of a matrix in memory."""
        return cls(
            layout="csr",
            shape=(int(counts.shape[0]), int(counts.shape[1])),
            data=counts.data,
            indices=counts.indices,
            indptr=counts.indptr,
        )

    @property
    def n_stored(self) -> int:
        """Number of stored values; of a dense matrix, all."""
        return self.shape[0] * self.shape[1] if self.layout == "dense" else int(self.indptr[-1])

    @property
    def chunk_values(self) -> int:
        """Stored values that a file gives out together only, as they are compressed; 1 where none are."""
        chunks = getattr(self.data, "chunks", None)
        return int(chunks[0]) * (self.shape[1] if self.layout == "dense" else 1) if chunks else 1

    def blocks(self, *, cells: tuple[int, int] | None = None, max_values: int | None = None) -> Iterator[Block]:
        """The stored values, piece by piece, each once.

        Parameters
        ----------
        cells
            Only cells `start` to `stop`; a CSC matrix is always read whole, because its cells lie scattered.
        max_values
            Values held at once, `MAX_BLOCK` by default (one cell, or gene if CSC, is the least).
        """
        limit = MAX_BLOCK if max_values is None else max_values
        if self.layout == "dense":
            yield from self._dense_blocks(cells or (0, self.shape[0]), limit)
            return
        n_major, n_minor = self.shape if self.layout == "csr" else self.shape[::-1]
        first, last = cells if cells and self.layout == "csr" else (0, n_major)
        for start, stop in _spans(self.indptr, first, last, limit):
            low, high = int(self.indptr[start]), int(self.indptr[stop])
            major = np.repeat(np.arange(start, stop, dtype=np.int64), np.diff(self.indptr[start : stop + 1]))
            minor = _positions(self.indices[low:high], n_minor).astype(np.int64, copy=False)
            by_cell, by_gene = (major, minor) if self.layout == "csr" else (minor, major)
            yield Block(values=np.asarray(self.data[low:high]), cells=by_cell, genes=by_gene)

    def _dense_blocks(self, cells: tuple[int, int], limit: int) -> Iterator[Block]:
        step = max(1, limit // max(self.shape[1], 1))
        for start in range(cells[0], cells[1], step):
            piece = np.asarray(self.data[start : min(start + step, cells[1]), :])
            rows, genes = np.nonzero(piece)
            yield Block(values=piece[rows, genes], cells=rows + start, genes=genes)

    def cell_spans(self, max_values: int) -> Iterator[tuple[int, int]]:
        """Runs of cells of a CSR matrix that hold at most `max_values` stored values, but at least one cell."""
        return _spans(self.indptr, 0, self.shape[0], max_values)

    def stretch(self, low: int, high: int) -> tuple[Array, Array]:
        """Stored values `low` to `high` of a compressed matrix and their positions, which lie within the table."""
        n_minor = self.shape[1 if self.layout == "csr" else 0]
        return np.asarray(self.data[low:high]), _positions(self.indices[low:high], n_minor)

    def read_rows(self, rows: npt.NDArray[np.int64]) -> Csr:
        """Some cells as float32 CSR, as stored: with zeros, duplicates and in the file's order of genes.

        Cells that lie near each other are read in one go.

        Parameters
        ----------
        rows
            In ascending order, each once. The matrix is not CSC.
        """
        if self.layout == "dense":
            return self._dense_rows(rows)
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        indptr = np.concatenate([[0], np.cumsum(stops - starts)])
        values = np.empty(indptr[-1], dtype=np.float32)
        indices = np.empty(indptr[-1], dtype=np.int32 if max(*self.shape, indptr[-1]) < 2**31 else np.int64)
        is_packed = isinstance(self.data, PackedVector) and isinstance(self.indices, PackedVector)
        if is_packed and self.indices.dtype == indices.dtype:
            for first, last in _near_each_other(starts, stops, max_gap=0, max_length=MAX_BLOCK):
                place = slice(int(indptr[first]), int(indptr[last]))
                self.data.read_into(values[place], int(starts[first]))
                self.indices.read_into(indices[place], int(starts[first]))
            _positions(indices, self.shape[1])
        else:
            self._read_stretches(values, indices, starts=starts, stops=stops)
        parts: Any = (values, indices, indptr.astype(indices.dtype))
        return sp.csr_matrix(parts, (len(rows), self.shape[1]))

    def _read_stretches(self, values: Array, indices: Array, *, starts: Array, stops: Array) -> None:
        """Fill in what lies between these places; the cells between them are read too where they are few."""
        indptr = np.concatenate([[0], np.cumsum(stops - starts)])
        for first, last in _near_each_other(starts, stops, max_gap=MAX_GAP, max_length=MAX_BLOCK):
            low, high = int(starts[first]), int(stops[last - 1])
            found_values, found_indices = self.stretch(low, high)
            # copying what is unbroken is faster than picking by a mask
            for one, other in _near_each_other(starts[first:last], stops[first:last], max_gap=0, max_length=MAX_BLOCK):
                place = slice(int(indptr[first + one]), int(indptr[first + other]))
                found = slice(int(starts[first + one]) - low, int(stops[first + other - 1]) - low)
                values[place], indices[place] = found_values[found], found_indices[found]

    def _dense_rows(self, rows: npt.NDArray[np.int64]) -> Csr:
        step = max(1, MAX_BLOCK // max(self.shape[1], 1))
        max_gap = MAX_GAP // max(self.shape[1], 1)
        pieces = []
        for first, last in _near_each_other(rows, rows + 1, max_gap=max_gap, max_length=step):
            low, high = int(rows[first]), int(rows[last - 1]) + 1
            piece = np.asarray(self.data[low:high, :])[rows[first:last] - low]
            pieces.append(sp.csr_matrix(piece.astype(np.float32)))
        nothing: Any = sp.csr_matrix((0, self.shape[1]))
        return sp.csr_matrix(sp.vstack([nothing.astype(np.float32), *pieces], format="csr"))

    def to_csr(self, check: Callable[[Array], None]) -> Csr:
        """All counts as float32 CSR with sorted indices and no stored zeros.

        Read in pieces, so that no second copy in the file's own type is held.

        Parameters
        ----------
        check
            Called with the values of each piece before they are converted; raises if they are unfit.
        """
        if self.layout == "dense":
            return self._dense_to_csr(check)
        n_minor = self.shape[1 if self.layout == "csr" else 0]
        small = self.n_stored < 2**31 and max(self.shape) < 2**31
        values = np.empty(self.n_stored, dtype=np.float32)
        indices = np.empty(self.n_stored, dtype=np.int32 if small else np.int64)
        for low in range(0, self.n_stored, MAX_BLOCK):
            piece = np.asarray(self.data[low : low + MAX_BLOCK])
            check(piece)
            values[low : low + MAX_BLOCK] = piece
            indices[low : low + MAX_BLOCK] = _positions(self.indices[low : low + MAX_BLOCK], n_minor)
        parts: Any = (values, indices, self.indptr.astype(indices.dtype))
        whole = sp.csr_matrix(parts, self.shape) if self.layout == "csr" else sp.csc_matrix(parts, self.shape).tocsr()
        return tidy(whole)

    def _dense_to_csr(self, check: Callable[[Array], None]) -> Csr:
        step = max(1, MAX_BLOCK // max(self.shape[1], 1))
        pieces = []
        for start in range(0, self.shape[0], step):
            piece = np.asarray(self.data[start : start + step, :])
            check(piece.ravel())
            pieces.append(sp.csr_matrix(piece.astype(np.float32)))
        return tidy(sp.csr_matrix(sp.vstack(pieces, format="csr")) if pieces else sp.csr_matrix(self.shape))


def ignore_values(values: Array) -> None:
    """A check that lets everything pass, for files known to hold counts."""


def tidy(counts: Csr) -> Csr:
    """The same counts with duplicates summed, zeros not stored and indices sorted (in place)."""
    counts.sum_duplicates()
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def _positions(stored: Any, n: int) -> Array:
    """Positions as stored, refused if they point outside (which would crash the compiled code behind scipy)."""
    found = np.asarray(stored)
    if found.size and (found.min() < 0 or found.max() >= n):
        raise DataError("The counts are damaged: they point outside the table. Write or download the file again.")
    return found


def _spans(starts: Array, first: int, last: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut `first` to `last` into runs of at most `limit` stored values, but of at least one row."""
    while first < last:
        stop = int(np.searchsorted(starts, starts[first] + limit, side="right")) - 1
        stop = min(max(stop, first + 1), last)
        yield first, stop
        first = stop


def _near_each_other(starts: Array, stops: Array, *, max_gap: int, max_length: int) -> Iterator[tuple[int, int]]:
    """Runs of stretches with small gaps, none longer than `max_length` unless it is a single stretch."""
    after_gap = np.flatnonzero(starts[1:] - stops[:-1] > max_gap) + 1
    for first, last in itertools.pairwise([0, *after_gap.tolist(), len(starts)] if len(starts) else []):
        while first < last:
            stop = int(np.searchsorted(stops[first:last], starts[first] + max_length, side="right")) + first
            stop = max(stop, first + 1)
            yield first, stop
            first = stop


class ValueTally:
    """What kinds of values has one seen? Counts, or something else; fed piece by piece."""

    def __init__(self) -> None:
        self.n_values = 0
        self.largest = 0.0
        self.n_bad = {"missing": 0, "negative": 0, "fraction": 0}
        self.example: dict[str, float] = {}

    def add(self, values: Array) -> None:
        """Look at further values."""
        self.n_values += values.size
        if not values.size or values.dtype.kind == "b":
            return
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                self._note("missing", values[~finite])
                values = values[finite]
            self._note("fraction", values[values != np.rint(values)])
        if values.dtype.kind != "u":
            self._note("negative", values[values < 0])
        self.largest = max(self.largest, float(values.max(initial=0)))

    def _note(self, kind: str, values: Array) -> None:
        if values.size:
            self.n_bad[kind] += values.size
            self.example.setdefault(kind, float(values[0]))

    @property
    def looks_log_normalised(self) -> bool:
        """Fractions, nothing negative, nothing beyond what a logarithm of counts reaches."""
        return bool(self.n_bad["fraction"]) and not self.n_bad["negative"] and self.largest < 20

    def problem(self) -> str:
        """What is wrong, to follow the name of the place (``"holds negative values (e.g. -0.4)"``), or empty."""
        if self.n_bad["missing"]:
            return f"holds missing or infinite values (e.g. {self.example['missing']:g})"
        if self.n_bad["negative"]:
            return f"holds negative values (e.g. {self.example['negative']:.3g})"
        if self.n_bad["fraction"]:
            return f"holds non-integer values (e.g. {self.example['fraction']:.3g})"
        return ""
