"""Which numbers does the model see of each cell? Normalised counts, and what is known of it that is not biology.

`Cells` holds the counts wherever they are, in memory or on disk, and loads some rows at a time. `LoadedCells` are such
rows, still as numpy; `Minibatch` is the same on the device, ready for the model.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.model.ranks import GROUP
from scetm_core.model.sparse import SparseRows

if TYPE_CHECKING:
    from scetm_core.model.scetm import ScETM

SINGLE_BATCH = "all"  # name of the one batch of data without a batch column
CHUNK_CELLS = 4096  # cells loaded at once where all are gone through
ROWS_DIVIDED = 64  # cells divided by their totals at once


class Counts(Protocol):
    """Raw counts (n_cells, n_genes): a scipy CSR matrix, or something on disk that gives out rows like one."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_cells, n_genes)."""

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Some rows as CSR, in the order asked for."""


class CellData(Protocol):
    """What training and inference need of a data set: an AnnData in memory, or one whose counts stay on disk."""

    @property
    def obs(self) -> Any:
        """The cell table."""

    @property
    def var(self) -> Any:
        """The gene table."""

    @property
    def var_names(self) -> Any:
        """Names of the genes."""

    @property
    def X(self) -> Any:
        """`Counts`, or what scipy makes a CSR matrix of."""

    @property
    def obsm(self) -> Any:
        """Further measurements of the cells."""

    @property
    def uns(self) -> Any:
        """What belongs to no cell or gene."""


class Minibatch(NamedTuple):
    """Some cells as the model takes them, on its device."""

    cells: SparseRows  # normalised counts (n_cells, n_genes), rows sum to 1
    seen: SparseRows  # the same as the encoder sees it: thinned in training, if so wanted
    batch: Tensor  # (n_cells,): row of lambda
    factors: Tensor  # (n_cells, n_columns): codes of the further batch columns
    numbers: Tensor  # (n_cells, n_columns): numeric covariates, standardised
    total: Tensor  # (n_cells,): total counts
    depth: Tensor  # (n_cells,): total counts over the mean of all cells
    features: SparseRows | None  # normalised counts of the second modality (n_cells, n_features)


@dataclass(frozen=True, kw_only=True)
class LoadedCells:
    """Some cells in memory: normalised counts and covariates, rows in step with each other."""

    fractions: sp.csr_matrix  # (n_cells, n_genes), rows sum to 1
    batch: np.ndarray  # (n_cells,), int64
    factors: np.ndarray  # (n_cells, n_columns), int64
    numbers: np.ndarray  # (n_cells, n_columns), float32
    totals: np.ndarray  # (n_cells,), total counts
    depth: np.ndarray  # (n_cells,), float32: total counts over the mean of all cells
    features: sp.csr_matrix | None  # (n_cells, n_features), rows sum to 1
    seen: sp.csr_matrix | None = None  # what the encoder sees, where that is not `fractions`

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: np.ndarray) -> LoadedCells:
        """Some of these cells."""
        parts = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: part[rows] for name, part in parts.items() if part is not None})

    def seen_by(self, genes: np.ndarray | None) -> LoadedCells:
        """The same cells, of which the encoder is given only some genes: those it looks at anyway.

        Parameters
        ----------
        genes
            (n_genes,), true for those; None for all.
        """
        return self if genes is None else self._with_seen(self.fractions.data, genes[self.fractions.indices])

    def thinned(
        self, min_depth: float, *, genes: np.ndarray | None = None, rngs: Iterable[np.random.Generator]
    ) -> LoadedCells:
        """The same cells, of which the encoder sees a random part of the counts, as if they were sequenced less.

        Each count is kept with a chance that is drawn for the cell between `min_depth` and 1; `genes` as in `seen_by`.

        Parameters
        ----------
        rngs
            One for every `GROUP` cells, so that the numbers are the same whichever process has these cells.
        """
        fractions, edges = self.fractions, np.append(np.arange(0, len(self), GROUP), len(self))
        looked_at = np.arange(fractions.nnz) if genes is None else np.flatnonzero(genes[fractions.indices])
        cell = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(fractions.indptr))[looked_at]
        counts = np.rint(fractions.data[looked_at] * self.totals[cell]).astype(np.int64)
        chance, kept = np.empty(len(self)), np.empty_like(counts)
        places = np.searchsorted(cell, edges)
        for cells, values, rng in zip(_slices(edges), _slices(places), rngs, strict=False):
            chance[cells] = rng.uniform(min_depth, 1.0, cells.stop - cells.start)
            kept[values] = _binomial(counts[values], chance[cell[values]], rng=rng)
        shares = np.zeros(fractions.nnz, dtype=np.float32)
        shares[looked_at] = kept / (chance * self.totals)[cell]
        return self._with_seen(shares, shares > 0)

    def _with_seen(self, shares: np.ndarray, is_there: np.ndarray) -> LoadedCells:
        """What the encoder sees: of the stored places those that are there, with these values."""
        stored = self.fractions
        starts = np.concatenate([[0], np.cumsum(is_there)])[stored.indptr].astype(stored.indptr.dtype)
        seen = sp.csr_matrix((shares[is_there], stored.indices[is_there], starts), stored.shape)
        return dataclasses.replace(self, seen=seen)

    def to(self, device: torch.device) -> Minibatch:
        """As the model wants them."""

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        cells = SparseRows.from_scipy(self.fractions, device=device)
        return Minibatch(
            cells=cells,
            seen=cells if self.seen is None else SparseRows.from_scipy(self.seen, device=device),
            batch=tensor(self.batch),
            factors=tensor(self.factors),
            numbers=tensor(self.numbers),
            total=tensor(self.totals.astype(np.float32)),
            depth=tensor(self.depth),
            features=None if self.features is None else SparseRows.from_scipy(self.features, device=device),
        )


@dataclass(frozen=True, kw_only=True)
class Cells:
    """All cells of a data set, or some of them; their counts are loaded when they are asked for."""

    counts: Counts  # (n_all, n_genes), of all cells
    rows: np.ndarray  # (n_cells,), which of them these are
    batch: np.ndarray  # these and the following are of all cells, (n_all,) or (n_all, n_columns)
    factors: np.ndarray
    numbers: np.ndarray
    totals: np.ndarray  # total counts
    features: sp.csr_matrix | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def codes(self) -> np.ndarray:
        """Row of lambda of each of these cells, (n_cells,)."""
        return np.asarray(self.batch[self.rows])

    def subset(self, places: np.ndarray) -> Cells:
        """Some of these cells, nothing loaded."""
        return dataclasses.replace(self, rows=self.rows[places])

    def load(self, places: np.ndarray) -> LoadedCells:
        """Some of these cells, by their position among them."""
        rows = self.rows[places]
        return LoadedCells(
            fractions=_divided(self.counts[rows], self.totals[rows]),
            batch=self.batch[rows],
            factors=self.factors[rows],
            numbers=self.numbers[rows],
            totals=self.totals[rows],
            depth=(self.totals[rows] / self.totals.mean()).astype(np.float32),
            features=None if self.features is None else self.features[rows],
        )

    def chunks(self, size: int = CHUNK_CELLS) -> Iterator[LoadedCells]:
        """All of these cells in their order, some at a time."""
        return (self.load(places) for places in row_chunks(len(self), size))


def batch_names(data: CellData, batch_key: str | None) -> list[str]:
    """Names of the batches in row order of lambda: sorted, so that they do not depend on the order of cells."""
    return sorted(data.obs[batch_key].astype(str).unique()) if batch_key else [SINGLE_BATCH]


def prepare_cells(data: CellData, model: ScETM, *, batch_key: str | None) -> Cells:
    """Cells to train on: genes, batches and covariates looked up by name.

    Raises
    ------
    DataError
        If the genes differ from the model's, a cell is empty, or a batch is unknown to the model.
    """
    cells = cells_to_embed(data, model)
    factors = [_codes(data.obs, column, names) for column, names in model.factors.items()]
    numbers = [_standardised(data.obs, column, scale) for column, scale in model.numbers.items()]
    return dataclasses.replace(
        cells,
        batch=_batch_codes(data.obs, model.batches, batch_key),
        factors=np.stack(factors, axis=1) if factors else cells.factors,
        numbers=np.stack(numbers, axis=1) if numbers else cells.numbers,
    )


def cells_to_embed(data: CellData, model: ScETM, *, batch_key: str | None = None) -> Cells:
    """Cells for the encoder alone, which needs no covariates; a batch it does not know, or none, is -1.

    Raises
    ------
    DataError
        If the genes differ from the model's or a cell is empty.
    """
    if list(data.var_names) != model.genes:
        raise DataError(
            f"The data have {len(data.var_names)} genes that differ from the model's {len(model.genes)} in name or "
            "order. Select the model's genes, in its order, first."
        )
    counts = as_counts(data.X)
    n_cells = counts.shape[0]
    names = pd.Index(model.batches)
    is_known = batch_key is not None and batch_key in data.obs
    batch = np.full(n_cells, -1) if not is_known else names.get_indexer(pd.Index(data.obs[batch_key].astype(str)))
    return Cells(
        counts=counts,
        rows=np.arange(n_cells),
        batch=np.asarray(batch, dtype=np.int64),
        factors=np.zeros((n_cells, len(model.factors)), dtype=np.int64),
        numbers=np.zeros((n_cells, len(model.numbers)), dtype=np.float32),
        totals=total_counts(counts),
        features=_features(data, model) if model.features else None,
    )


def as_counts(stored: Any) -> Counts:
    """Counts as they are if they give out CSR rows, else as a CSR matrix in memory."""
    is_plain = sp.issparse(stored) or isinstance(stored, np.ndarray)
    counts: Counts = sp.csr_matrix(stored, dtype=np.float32) if is_plain else stored
    return counts


def total_counts(counts: Counts) -> np.ndarray:
    """Total counts of each cell, (n_cells,), float64.

    Raises
    ------
    DataError
        If a cell has no counts.
    """
    known = getattr(counts, "totals", None)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel() if known is None else known  # type: ignore[attr-defined]
    if not (totals > 0).all():
        raise DataError(f"{int((totals <= 0).sum())} cells have no counts. Leave them out: `load_dataset` does.")
    return np.asarray(totals, dtype=np.float64)


def normalise(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Counts over the total counts of the cell, (n_cells, n_genes); a row without counts stays empty."""
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    return _divided(counts.astype(np.float32), np.where(totals > 0, totals, 1.0))


def _divided(rows: sp.csr_matrix, totals: np.ndarray) -> sp.csr_matrix:
    """Float32 rows over their totals, in place; some at a time, which stay in the processor's cache."""
    totals, lengths = totals.astype(np.float32), np.diff(rows.indptr)
    for first in range(0, len(totals), ROWS_DIVIDED):
        part = slice(first, first + ROWS_DIVIDED)
        values = rows.data[rows.indptr[first] : rows.indptr[min(first + ROWS_DIVIDED, len(totals))]]
        values /= np.repeat(totals[part], lengths[part])
    return rows


def _slices(edges: np.ndarray) -> Iterator[slice]:
    return itertools.starmap(slice, itertools.pairwise(edges.tolist()))


def _binomial(counts: np.ndarray, chance: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """How many of each count are kept, each with its chance; most counts are 1, which takes one comparison."""
    kept = (rng.random(len(counts), dtype=np.float32) < chance).astype(np.int64)
    more = np.flatnonzero(counts > 1)
    kept[more] = rng.binomial(counts[more], chance[more])
    return kept


def _batch_codes(obs: pd.DataFrame, batches: list[str], batch_key: str | None) -> np.ndarray:
    if batch_key is None:
        if len(batches) > 1:
            raise DataError(f"The model knows the batches {batches}; say which column of obs holds them.")
        return np.zeros(len(obs), dtype=np.int64)
    return _codes(obs, batch_key, batches)


def _codes(obs: pd.DataFrame, column: str, names: list[str]) -> np.ndarray:
    values = _column(obs, column).astype(str)
    codes = pd.Index(names).get_indexer(pd.Index(values))
    if (codes < 0).any():
        unknown = sorted(set(values) - set(names))
        raise DataError(f"Column {column!r} holds batches the model does not know: {unknown[:5]}; known: {names}.")
    return codes.astype(np.int64)


def _standardised(obs: pd.DataFrame, column: str, scale: tuple[float, float]) -> np.ndarray:
    mean, spread = scale
    return ((_column(obs, column).to_numpy(dtype=np.float64) - mean) / spread).astype(np.float32)


def _column(obs: pd.DataFrame, column: str) -> pd.Series:
    if column not in obs:
        raise DataError(f"obs has no column {column!r}, which the model corrects for; found: {list(obs.columns)}.")
    return obs[column]


def _features(data: CellData, model: ScETM) -> sp.csr_matrix | None:
    """Normalised counts of the second modality in the model's order; None if the data lack it, as a transfer's may."""
    if keys.MODALITY not in data.obsm:
        return None
    counts, names = sp.csr_matrix(data.obsm[keys.MODALITY]), pd.Index(data.uns[keys.MODALITY])
    places = names.get_indexer(model.features)
    there = np.flatnonzero(places >= 0)
    if not len(there):
        raise DataError(f"None of the second modality's features is known to the model, e.g. {list(names[:3])}.")
    chosen = (np.ones(len(there), dtype=np.float32), (places[there], there))
    return normalise(sp.csr_matrix(counts @ sp.csr_matrix(chosen, shape=(len(names), len(model.features)))))


def number_scale(values: pd.Series) -> tuple[float, float]:
    """Mean and standard deviation that a numeric covariate is standardised by; a constant one is left at 0."""
    numbers = values.to_numpy(dtype=np.float64)
    mean, spread = float(numbers.mean()), float(numbers.std())
    return mean, spread if spread > 1e-9 * abs(mean) else 1.0


def some_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """The rows, or where they are more than `most`, that many drawn at random, in ascending order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def row_chunks(n_cells: int, size: int) -> Iterator[np.ndarray]:
    """Consecutive rows, `size` at a time."""
    return (np.arange(first, min(first + size, n_cells)) for first in range(0, n_cells, size))
