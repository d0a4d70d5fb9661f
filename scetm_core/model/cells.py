"""Which numbers does the model see of each cell? Normalised counts and the code of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from scetm_core.errors import DataError
from scetm_core.model.sparse import SparseRows

if TYPE_CHECKING:
    from scetm_core.model.scetm import ScETM

SINGLE_BATCH = "all"  # name of the one batch of data without a batch column


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells ready for the model: normalised counts and batch codes, rows in step with each other."""

    fractions: sp.csr_matrix  # (n_cells, n_genes), rows sum to 1
    batch: np.ndarray  # (n_cells,), int64: row of lambda

    def __len__(self) -> int:
        return int(self.fractions.shape[0])

    def take(self, rows: np.ndarray) -> Cells:
        """Some of the cells."""
        return Cells(fractions=self.fractions[rows], batch=self.batch[rows])

    def to(self, device: torch.device) -> tuple[SparseRows, Tensor]:
        """As the model wants them."""
        rows = SparseRows.from_scipy(self.fractions, device=device)
        return rows, torch.from_numpy(self.batch).to(device)


def batch_names(data: ad.AnnData, batch_key: str | None) -> list[str]:
    """Names of the batches in row order of lambda: sorted, so that they do not depend on the order of cells."""
    return sorted(data.obs[batch_key].astype(str).unique()) if batch_key else [SINGLE_BATCH]


def prepare_cells(data: ad.AnnData, model: ScETM, *, batch_key: str | None) -> Cells:
    """Normalise counts and look batches up by name.

    Raises
    ------
    DataError
        If the genes differ from the model's, a cell is empty, or a batch is unknown to the model.
    """
    if list(data.var_names) != model.genes:
        raise DataError(
            f"The data have {data.n_vars} genes that differ from the model's {len(model.genes)} in name or order. "
            "Select the model's genes, in its order, first."
        )
    return Cells(fractions=normalise(data), batch=_batch_codes(data, model.batches, batch_key))


def normalise(data: ad.AnnData) -> sp.csr_matrix:
    """Counts over the total counts of the cell, (n_cells, n_genes).

    Raises
    ------
    DataError
        If a cell has no counts.
    """
    counts = sp.csr_matrix(data.X, dtype=np.float32)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    if not (totals > 0).all():
        raise DataError(f"{int((totals <= 0).sum())} cells have no counts. Leave them out: `load_dataset` does.")
    per_value = np.repeat(totals, np.diff(counts.indptr))
    return sp.csr_matrix(((counts.data / per_value).astype(np.float32), counts.indices, counts.indptr), counts.shape)


def _batch_codes(data: ad.AnnData, batches: list[str], batch_key: str | None) -> np.ndarray:
    if batch_key is None:
        if len(batches) > 1:
            raise DataError(f"The model knows the batches {batches}; say which column of obs holds them.")
        return np.zeros(data.n_obs, dtype=np.int64)
    codes = pd.Index(batches).get_indexer(data.obs[batch_key].astype(str))
    if (codes < 0).any():
        unknown = sorted(set(data.obs[batch_key].astype(str)) - set(batches))
        raise DataError(f"Column {batch_key!r} holds batches the model does not know: {unknown[:5]}; known: {batches}.")
    return codes.astype(np.int64)


def batch_means(cells: Cells, n_batches: int) -> np.ndarray:
    """Mean normalised expression of each batch, (n_batches, n_genes), float32."""
    membership = sp.csr_matrix((np.ones(len(cells)), (cells.batch, np.arange(len(cells)))), (n_batches, len(cells)))
    sizes = np.maximum(np.asarray(membership.sum(axis=1)), 1)
    return np.asarray((membership @ cells.fractions).toarray() / sizes, dtype=np.float32)


def row_chunks(n_cells: int, size: int) -> Iterator[np.ndarray]:
    """Consecutive rows, `size` at a time."""
    return (np.arange(first, min(first + size, n_cells)) for first in range(0, n_cells, size))
