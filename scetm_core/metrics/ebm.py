"""How varied are the batches around each cell? (entropy of batch mixing)"""

from __future__ import annotations

import numpy as np

from scetm_core.metrics._composition import batch_composition
from scetm_core.metrics._labels import Labels


def score_ebm(
    embedding: np.ndarray, batches: Labels, *, n_neighbors: int = 15, neighbors: np.ndarray | None = None
) -> float:
    """Mean entropy, in nats, of the batch labels in each cell's neighbourhood (the cell itself included).

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    batches
        (n_cells,); cells without a batch are left out.
    n_neighbors
        Cells per neighbourhood.
    neighbors
        (n_cells, k) from `nearest_neighbors`, if already known; the first `n_neighbors` columns are used.

    Returns
    -------
    Between 0 (each neighbourhood holds one batch) and log(n_batches); higher is better mixed. Not-a-number with
    fewer than two batches. Compare it only between embeddings of the same cells.

    Raises
    ------
    DataError
        If the number of batch labels is not that of the cells, or the embedding is not finite.
    """
    from scipy.special import entr

    counts, shares = batch_composition(embedding, batches, n_neighbors=n_neighbors, neighbors=neighbors)
    if len(shares) < 2:
        return float("nan")
    proportions = counts / counts.sum(axis=1, keepdims=True)
    return float(entr(proportions).sum(axis=1).mean())
