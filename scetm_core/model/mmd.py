"""Do the batches lie alike in topic space? The maximum mean discrepancy, with cells weighed for fair comparison.

Two batches may differ because their kinds of cells do. Each batch is therefore compared with the pool as if it held
the kinds of cells in the pool's proportions: its cells are weighed up or down cluster by cluster, and clusters it
hardly has are left out of its comparison on both sides.

Gretton et al., JMLR 2012.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WIDTHS = (0.1, 0.3, 1.0)  # of the kernels, in median squared distances
MAX_RATIO = 10.0  # a cluster this much rarer in a batch than in the pool is no part of its comparison
N_MEDIAN = 256  # cells among which the median distance is taken, evenly spread over the minibatch


def composition_ratios(cluster: np.ndarray, batch: np.ndarray, *, n_batches: int) -> np.ndarray:
    """Weight of a cell in its batch's comparison: share of its cluster in the pool over that in the batch.

    Parameters
    ----------
    cluster, batch
        (n_cells,) codes.

    Returns
    -------
    (n_batches, n_clusters) float32; 0 where the cluster is left out.
    """
    counts = np.zeros((n_batches, int(cluster.max()) + 1))
    np.add.at(counts, (batch, cluster), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pool = counts.sum(axis=0) / counts.sum()
    ratio = np.divide(pool, share, out=np.full_like(share, np.inf), where=share > 0)
    return np.where(ratio <= MAX_RATIO, ratio, 0.0).astype(np.float32)


def batch_discrepancy(points: Tensor, batch: Tensor, weights: Tensor) -> Tensor:
    """Squared MMD between each batch and the pool, averaged over the batches that are there.

    With the weights a_d of the batch's cells and b_d of the pool's, each summing to 1, and the kernel k, this is
    sum_de (a_d - b_d) (a_e - b_e) k(x_d, x_e).

    Parameters
    ----------
    points
        (n_cells, n_dimensions), e.g. mu; differentiable.
    batch
        (n_cells,) codes.
    weights
        (n_cells, n_batches): for each cell, its cluster's column of `composition_ratios`; all ones for plain MMD.

    Returns
    -------
    Scalar; 0 if the batches lie alike, and without a gradient if there is nothing to compare.
    """
    own = weights * torch.nn.functional.one_hot(batch, weights.shape[1])  # (n_cells, n_batches)
    pool = (weights > 0).to(weights.dtype)
    is_there = own.sum(dim=0) > 0  # (n_batches,)
    contrast = _shares(own) - _shares(pool) * is_there  # (n_cells, n_batches)
    per_batch = (contrast * (_kernel(points) @ contrast)).sum(dim=0)  # (n_batches,)
    return per_batch.sum() / is_there.sum().clamp(min=1)


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=0).clamp(min=1e-12)


def _kernel(points: Tensor) -> Tensor:
    """(n_cells, n_cells): mean of Gaussian kernels of several widths."""
    squares = points.square().sum(dim=1)
    squared = (squares[:, None] + squares[None] - 2 * points @ points.T).clamp(min=0)
    n_looked_at = min(len(points), N_MEDIAN)
    looked_at = torch.arange(n_looked_at, device=points.device) * len(points) // n_looked_at
    one, other = looked_at[torch.triu_indices(n_looked_at, n_looked_at, 1, device=points.device)]
    median = squared.detach()[one, other].median().clamp(min=1e-12)
    return torch.stack([(-squared / (width * median)).exp() for width in WIDTHS]).mean(dim=0)
