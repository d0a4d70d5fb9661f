"""How many neighbours of each cell come from each batch?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import nearest_neighbors


class Composition(NamedTuple):
    """Neighbourhoods of the cells whose batch is known, the cell itself included.

    `counts` is (n_known_cells, n_batches) neighbours per batch, `shares` (n_batches,) each batch's share of all cells.
    """

    counts: np.ndarray
    shares: np.ndarray


def batch_composition(
    embedding: np.ndarray, batches: Labels, *, n_neighbors: int, neighbors: np.ndarray | None
) -> Composition:
    """Count batches in every neighbourhood; cells without a batch are left out, as centres and as neighbours.

    Raises
    ------
    DataError
        If the number of batch labels, or of rows in `neighbors`, is not that of the cells.
    """
    codes, names = label_codes(batches, n_cells=len(embedding))
    known = codes >= 0
    if neighbors is None:
        neighbors = nearest_neighbors(np.asarray(embedding)[known], n_neighbors)
        codes = codes[known]
    elif len(neighbors) != len(embedding):
        raise DataError(f"There are neighbours of {len(neighbors):,} cells for {len(embedding):,} cells.")
    else:
        neighbors = neighbors[known, :n_neighbors]
    n_cells, n_batches = len(neighbors), len(names)
    found = codes[neighbors]  # (n_known_cells, k)
    slots = (np.arange(n_cells)[:, None] * n_batches + found)[found >= 0]
    counts = np.bincount(slots, minlength=n_cells * n_batches).reshape(n_cells, n_batches)
    shares = np.bincount(codes[codes >= 0], minlength=n_batches) / max(n_cells, 1)
    return Composition(counts, shares)
