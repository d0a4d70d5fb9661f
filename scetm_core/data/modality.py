"""What else was measured in the same cells? Counts of a second modality, e.g. surface proteins.

They lie in a slot of obsm (table, array or sparse matrix), or are a modality of a MuData file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core.data.bounds import refuse_what_does_not_fit
from scetm_core.data.formats import kind_of, open_store, readable
from scetm_core.data.matrix import ValueTally, ignore_values, tidy
from scetm_core.data.names import unique_names
from scetm_core.data.stored import MODALITIES, AnnDataStore
from scetm_core.errors import DataError

if TYPE_CHECKING:
    from scetm_core.data.matrix import Csr


def read_modality(path: Path, name: str, cells: Sequence[str]) -> tuple[Csr, list[str], list[str]]:
    """Counts of the second modality for the cells of a data set, by name.

    Parameters
    ----------
    cells
        Names as stored. Cells the modality lacks get no counts.

    Returns
    -------
    Counts (n_cells, n_features), feature names, sentences about what was matched.

    Raises
    ------
    DataError
        If there is no such modality, or it holds no counts.
    """
    if kind_of(path) not in ("hdf5", "zarr"):
        raise DataError(
            f"{path.name} cannot hold a second modality. Put its counts into a slot of obsm of an .h5ad, or take a "
            "MuData file (.h5mu)."
        )
    with readable(path), open_store(path) as root:
        if MODALITIES in root and name in root[MODALITIES]:
            store = AnnDataStore(root[MODALITIES][name])
            counts, names = store.matrix("X").to_csr(ignore_values), list(store.var("X").index.astype(str))
            rows = pd.Index(store.obs().index.astype(str)).get_indexer(list(cells))
            counts = _rows_of(counts, rows)
            n_missing = int((rows < 0).sum())
        else:
            counts, names = _of_obsm(AnnDataStore(root), name)
            n_missing = 0
    if counts.shape[0] != len(cells):
        raise DataError(f"{name!r} has {counts.shape[0]:,} rows for {len(cells):,} cells. The file is damaged.")
    tally = ValueTally()
    tally.add(counts.data)
    if problem := tally.problem():
        raise DataError(f"The second modality {name!r} {problem}; scETM needs raw counts of it too.")
    if not counts.nnz:
        raise DataError(f"The second modality {name!r} holds no counts at all. Pick another one.")
    said = [f"Second modality {name!r}: {len(names):,} features."]
    if n_missing:
        said.append(f"{n_missing:,} cells have no counts in {name!r}; they follow the genes alone.")
    return tidy(sp.csr_matrix(counts, dtype=np.float32)), unique_names(pd.Index(names))[0], said


def _of_obsm(store: AnnDataStore, name: str) -> tuple[Csr, list[str]]:
    from anndata.io import read_elem

    if name not in store.obsm():
        raise DataError(f"There is no second modality {name!r}. Pick one with counts; found: {store.modalities()}.")
    refuse_what_does_not_fit(store.root["obsm"][name], f"{name!r} in obsm")
    values = read_elem(store.root["obsm"][name])
    if isinstance(values, pd.DataFrame):
        return sp.csr_matrix(values.to_numpy(dtype=np.float32)), [str(column) for column in values.columns]
    counts = sp.csr_matrix(values)
    return counts, [f"{name}_{place}" for place in range(counts.shape[1])]


def _rows_of(counts: Csr, rows: np.ndarray) -> Csr:
    """Rows by position, empty where the position is -1."""
    there = np.flatnonzero(rows >= 0)
    chosen = sp.csr_matrix((np.ones(len(there)), (there, rows[there])), (len(rows), counts.shape[0]))
    return sp.csr_matrix(chosen @ counts)
