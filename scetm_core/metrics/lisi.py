"""How many batches, or cell types, does a cell meet among its neighbours? (local inverse Simpson's index, LISI)"""

from __future__ import annotations

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import Neighbors, find_neighbors

N_NEIGHBORS_LISI = 90
"""Cells per neighbourhood, the cell itself included: three times the perplexity of 30, as in scib-metrics."""

N_FEWEST = 5
"""A cell with fewer known neighbours than this has no LISI: its perplexity would be below 2."""

N_VALUES_AT_ONCE = 1 << 19
"""Neighbours looked at together: about 4 MB for each of a handful of arrays."""

TOLERANCE, MAX_STEPS = 1e-5, 50
"""Of the entropy of the weights, in nats, and of the search for it; those of scib-metrics."""


def score_ilisi(
    embedding: np.ndarray, batches: Labels, *, neighbors: Neighbors | None = None, perplexity: float = 30
) -> float:
    """Median number of batches around a cell, scaled to 0..1 (integration LISI).

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    batches
        (n_cells,); cells without one are left out: as centres, and as neighbours of others, whose remaining neighbours
        then share the weight.
    neighbors
        From `find_neighbors`, if already known; the first `N_NEIGHBORS_LISI` columns are used. If not, neighbours are
        looked for among the cells that have a batch.
    perplexity
        How many neighbours count in effect; see `inverse_simpson`.

    Returns
    -------
    0 if a cell meets its own batch only, 1 if it meets all batches equally often; higher is better mixed. Batches of
    unequal size cannot reach 1. Not-a-number with fewer than two batches, or if no cell has `N_FEWEST` neighbours.

    Raises
    ------
    DataError
        If the number of batch labels, or of cells in `neighbors`, is not that of the cells; if the embedding is not
        finite, or the perplexity not above 1.

    Notes
    -----
    Korsunsky et al., Nature Methods 2019; scaled as by Luecken et al., Nature Methods 2022. Equal to `ilisi_knn` of
    scib-metrics on the same neighbours.
    """
    lisi, n_batches = _median_lisi(embedding, batches, neighbors=neighbors, perplexity=perplexity)
    return (lisi - 1) / (n_batches - 1) if n_batches > 1 else float("nan")


def score_clisi(
    embedding: np.ndarray, labels: Labels, *, neighbors: Neighbors | None = None, perplexity: float = 30
) -> float:
    """Median number of labels around a cell, scaled to 0..1 and turned round (cell-type LISI).

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    labels
        (n_cells,) known groups, e.g. cell types; cells without one are left out, as in `score_ilisi`.
    neighbors, perplexity
        As in `score_ilisi`.

    Returns
    -------
    1 if a cell meets its own label only, 0 if it meets all labels equally often; higher is better kept apart. Easily
    close to 1, as a cell rarely meets more than a few of many labels. Not-a-number with fewer than two labels, or if
    no cell has `N_FEWEST` neighbours.

    Raises
    ------
    DataError
        As in `score_ilisi`.

    Notes
    -----
    Sources as for `score_ilisi`. Equal to `clisi_knn` of scib-metrics on the same neighbours.
    """
    lisi, n_labels = _median_lisi(embedding, labels, neighbors=neighbors, perplexity=perplexity)
    return (n_labels - lisi) / (n_labels - 1) if n_labels > 1 else float("nan")


def inverse_simpson(neighbors: Neighbors, codes: np.ndarray, n_codes: int, *, perplexity: float = 30) -> np.ndarray:
    """How many groups each cell meets among its neighbours, the cell itself not counted.

    Neighbours are weighted by exp(-beta x distance), with beta such that the entropy of the weights is
    log(perplexity): about that many neighbours count. The answer is 1 / the sum of the squared shares of the groups.

    Parameters
    ----------
    neighbors
        Of n_cells cells, from `find_neighbors`.
    codes
        (n_cells,) the group of each cell as a whole number below `n_codes`, or -1 if it is not known.
    n_codes
        How many groups there are.
    perplexity
        Lowered to a third of the known neighbours of a cell, itself included, where it has fewer than three times
        this many.

    Returns
    -------
    (n_cells,) from 1 (one group) to `n_codes` (all of them, equally often). Not-a-number for a cell whose group is not
    known, or that has fewer than `N_FEWEST` neighbours with a known one.

    Raises
    ------
    DataError
        If there are not as many codes as cells, or the perplexity is not above 1.
    """
    indices, distances = neighbors
    if len(indices) != len(codes):
        raise DataError(f"There are neighbours of {len(indices):,} cells for {len(codes):,} cells.")
    if not perplexity > 1:
        raise DataError(f"The perplexity is the number of neighbours that count, and above 1; got {perplexity:g}.")
    lisi = np.full(len(indices), np.nan)
    step = max(1, N_VALUES_AT_ONCE // max(indices.shape[1], n_codes))
    for start in range(0, len(indices), step):
        rows = start + np.flatnonzero(codes[start : start + step] >= 0)
        counted = (codes[indices[rows]] >= 0) & (indices[rows] != rows[:, None])
        enough = counted.sum(axis=1) >= N_FEWEST
        rows, counted = rows[enough], counted[enough]
        weights = _weights(distances[rows], counted, perplexity)  # (n_rows, k)
        slots = np.arange(len(rows))[:, None] * n_codes + np.where(counted, codes[indices[rows]], 0)
        shares = np.bincount(slots.ravel(), weights=weights.ravel(), minlength=len(rows) * n_codes)
        lisi[rows] = 1 / (shares.reshape(len(rows), n_codes) ** 2).sum(axis=1)
    return lisi.clip(1, max(n_codes, 1))  # nothing but rounding lies outside


def _median_lisi(
    embedding: np.ndarray, labels: Labels, *, neighbors: Neighbors | None, perplexity: float
) -> tuple[float, int]:
    """Median over the cells that have a LISI, and the number of labels."""
    codes, names = label_codes(labels, n_cells=len(embedding))
    if neighbors is None:
        known = codes >= 0
        neighbors, codes = find_neighbors(np.asarray(embedding)[known], N_NEIGHBORS_LISI), codes[known]
    near = Neighbors(neighbors.indices[:, :N_NEIGHBORS_LISI], neighbors.distances[:, :N_NEIGHBORS_LISI])
    lisi = inverse_simpson(near, codes, len(names), perplexity=perplexity)
    lisi = lisi[np.isfinite(lisi)]
    return float(np.median(lisi)) if len(lisi) else float("nan"), len(names)


def _weights(distances: np.ndarray, counted: np.ndarray, perplexity: float) -> np.ndarray:
    """Weights of the neighbours counted, (n_rows, k), each row of sum 1 and of the entropy asked for; 0 for others.

    The entropy falls as beta rises, so beta is doubled or halved until it is bracketed, and then bisected. Distances
    are taken from the nearest neighbour on: the weights stay the same, and exp does not vanish for distances that are
    large compared with their differences.
    """
    n_rows = len(distances)
    nearest = np.min(distances, axis=1, where=counted, initial=np.inf)
    beyond = np.where(counted, distances.astype(np.float64) - nearest[:, None], 0)
    aimed = np.log(np.minimum(perplexity, (counted.sum(axis=1) + 1) // 3))
    beta, low, high = np.ones(n_rows), np.zeros(n_rows), np.full(n_rows, np.inf)
    weights, rows = np.zeros(beyond.shape), np.arange(n_rows)
    for _ in range(MAX_STEPS + 1):
        found = np.exp(-beta[rows, None] * beyond[rows]) * counted[rows]
        total = found.sum(axis=1)
        mean = (found * beyond[rows]).sum(axis=1) / total
        excess = np.log(total) + beta[rows] * mean - aimed[rows]  # entropy above what is aimed at
        weights[rows] = found / total[:, None]
        is_open = np.abs(excess) >= TOLERANCE
        rows, excess = rows[is_open], excess[is_open]
        if len(rows) == 0:
            break
        low[rows] = np.where(excess > 0, beta[rows], low[rows])
        high[rows] = np.where(excess > 0, high[rows], beta[rows])
        beta[rows] = np.where(np.isinf(high[rows]), 2 * beta[rows], (low[rows] + high[rows]) / 2)
    return weights
