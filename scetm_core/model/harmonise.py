"""Which cells are of one kind, whatever their batch? Clusters, and coordinates freed from the batches' shifts.

`harmonise` follows the algorithm of Harmony (Korsunsky et al., Nature Methods 2019): cells are clustered softly, with
a bonus for clusters that mix the batches; then, cluster by cluster, each batch is moved onto the common mean. Written
from the paper's equations; only used to find a start before training.

Of many cells a sample is harmonised. Each round of that leaves its centroids, bonuses and shifts behind, and the other
cells go through the same rounds with them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_FITTED = 20_000  # k-means looks at this many points; the others join the nearest centroid
KMEANS_ROUNDS = 30

MAX_HARMONISED = 50_000  # cells the rounds are worked out on; the others follow
CHUNK_POINTS = 20_000  # of those, moved at once
CELLS_PER_CLUSTER, MAX_CLUSTERS = 30, 100
SOFTNESS = 0.1  # sigma of the paper: width of the soft clusters, in cosine distance
DIVERSITY = 2.0  # theta: how strongly a cluster shuns batches it already has too much of
RIDGE = 1.0  # lambda: pull of a batch's shift to 0, in cells
CORRECTIONS, SWEEPS, N_BLOCKS = 10, 4, 20


def find_centroids(points: np.ndarray, n_clusters: int, *, rng: np.random.Generator) -> np.ndarray:
    """Centroids by k-means, started apart from each other (k-means++).

    Parameters
    ----------
    points
        (n_points, n_dimensions)
    n_clusters
        Capped at the number of points.

    Returns
    -------
    (n_clusters, n_dimensions) float32. Where points coincide, so may centroids.
    """
    points = np.asarray(points, dtype=np.float32)
    if len(points) > MAX_FITTED:
        points = points[rng.choice(len(points), MAX_FITTED, replace=False)]
    n_clusters = min(n_clusters, len(points))
    centroids = _spread_out(points, n_clusters, rng=rng)
    for _ in range(KMEANS_ROUNDS):
        nearest = squared_distances(points, centroids).argmin(axis=1)
        members = np.eye(n_clusters, dtype=np.float32)[nearest]  # (n_points, n_clusters)
        sizes = members.sum(axis=0)[:, None]
        centroids = np.where(sizes > 0, members.T @ points / np.maximum(sizes, 1), centroids)
    return np.asarray(centroids, dtype=np.float32)


def _spread_out(points: np.ndarray, n_clusters: int, *, rng: np.random.Generator) -> np.ndarray:
    """Points drawn with probability proportional to the squared distance to those drawn; the best of a few tries."""
    n_tries = 2 + int(np.log(n_clusters))
    chosen = [int(rng.integers(len(points)))]
    nearest = squared_distances(points, points[chosen])[:, 0].astype(np.float64)
    for _ in range(1, n_clusters):
        chance = nearest / nearest.sum() if nearest.sum() > 0 else None
        tries = rng.choice(len(points), n_tries, p=chance)
        left = np.minimum(nearest[:, None], squared_distances(points, points[tries]))
        best = int(left.sum(axis=0).argmin())
        chosen.append(int(tries[best]))
        nearest = left[:, best]
    return points[chosen]


def squared_distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(n_points, n_centroids), euclidean."""
    cross = points @ centroids.T
    squares = (points**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * cross, 0))


class Round(NamedTuple):
    """What one round of corrections did to a cell, by its cluster and batch."""

    centroids: np.ndarray  # (n_clusters, n_dimensions), unit rows
    bonus: np.ndarray  # (n_clusters, n_batches)
    shift: np.ndarray  # (n_clusters, n_batches, n_dimensions)


def harmonise(
    points: np.ndarray, batch: np.ndarray, *, rng: np.random.Generator, max_fitted: int = MAX_HARMONISED
) -> np.ndarray:
    """Move the batches onto each other, cluster by cluster.

    Parameters
    ----------
    points
        (n_cells, n_dimensions), e.g. principal components.
    batch
        (n_cells,) codes from 0 on.
    max_fitted
        Of more cells, a sample of this size is harmonised, and the others follow it.

    Returns
    -------
    (n_cells, n_dimensions) float32; unchanged if there is one batch only.
    """
    original = np.asarray(points, dtype=np.float32)
    n_batches = int(batch.max()) + 1
    if len(np.unique(batch)) < 2:
        return original
    if len(original) <= max_fitted:
        return _fit(original, np.eye(n_batches, dtype=np.float32)[batch], rng=rng)[0]
    is_fitted = np.zeros(len(original), dtype=bool)
    is_fitted[rng.choice(len(original), max_fitted, replace=False)] = True
    corrected = np.empty_like(original)
    in_batch = np.eye(n_batches, dtype=np.float32)[batch[is_fitted]]
    corrected[is_fitted], rounds = _fit(original[is_fitted], in_batch, rng=rng)
    rest = np.flatnonzero(~is_fitted)
    for first in range(0, len(rest), CHUNK_POINTS):
        rows = rest[first : first + CHUNK_POINTS]
        corrected[rows] = follow(original[rows], batch[rows], rounds)
    return corrected


def follow(points: np.ndarray, batch: np.ndarray, rounds: list[Round]) -> np.ndarray:
    """Take cells through the rounds that others were harmonised in; (n_cells, n_dimensions) float32."""
    corrected = points
    for centroids, bonus, shift in rounds:
        weights = _soft(_unit(corrected), centroids) * bonus.T[batch]
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)  # (n_cells, n_clusters)
        corrected = points - _own_shifts(
            weights, shift, [np.flatnonzero(batch == code) for code in range(shift.shape[1])]
        )
    return np.asarray(corrected, dtype=np.float32)


def _fit(original: np.ndarray, is_in: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, list[Round]]:
    """Corrected points, and the rounds that led to them; `is_in` (n_cells, n_batches) is 1 in a cell's batch."""
    n_clusters = int(np.clip(round(len(original) / CELLS_PER_CLUSTER), 1, MAX_CLUSTERS))
    corrected, rounds = original, []
    directions = _unit(original)
    weights = _soft(directions, _unit(find_centroids(directions, n_clusters, rng=rng)))  # (n_cells, n_clusters)
    weights /= weights.sum(axis=1, keepdims=True)
    members = [np.flatnonzero(column) for column in is_in.T]
    for _ in range(CORRECTIONS):
        for _ in range(SWEEPS):
            weights, centroids, bonus = _reassign(directions, weights, is_in, rng=rng)
        shift = _shift(original, weights, is_in, members)
        corrected = original - _own_shifts(weights, shift, members)
        directions = _unit(corrected)
        rounds.append(Round(centroids, bonus, shift))
    return corrected, rounds


def _unit(points: np.ndarray) -> np.ndarray:
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12))


def _soft(directions: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Closeness of each cell to each cluster, 1 in the same direction; not yet normalised over the clusters."""
    return np.asarray(np.exp(-2 * (1 - directions @ centroids.T) / SOFTNESS))


def _reassign(
    directions: np.ndarray, weights: np.ndarray, is_in: np.ndarray, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the clusters for each cell, given the batches the clusters already hold; some cells at a time.

    With the centroids and the last bonuses (n_clusters, n_batches) that they came from.
    """
    centroids = _unit(weights.T @ directions)
    closeness = _soft(directions, centroids)
    share = is_in.mean(axis=0)  # (n_batches,)
    found = weights.T @ is_in  # (n_clusters, n_batches)
    weights, bonus = weights.copy(), np.ones_like(found)
    for block in np.array_split(rng.permutation(len(weights)), min(N_BLOCKS, len(weights))):
        found -= weights[block].T @ is_in[block]
        expected = found.sum(axis=1, keepdims=True) * share
        bonus = ((expected + 1) / (found + 1)) ** DIVERSITY
        fresh = closeness[block] * (is_in[block] @ bonus.T)
        weights[block] = fresh / np.maximum(fresh.sum(axis=1, keepdims=True), 1e-30)
        found += weights[block].T @ is_in[block]
    return weights, centroids, bonus


def _shift(points: np.ndarray, weights: np.ndarray, is_in: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """How far each batch lies from the common mean, by ridge regression in each cluster.

    (n_clusters, n_batches, n_dimensions); `members` are the cells of each batch.
    """
    found = (weights.T @ is_in).astype(np.float64)  # (n_clusters, n_batches)
    sums = np.stack([weights[rows].T @ points[rows] for rows in members], axis=1)  # (n_clusters, n_batches, n_dims)
    pull = RIDGE / (found + RIDGE)  # the normal equations solved for the shifts, then for the common mean
    common = (pull[..., None] * sums).sum(axis=1) / ((pull * found).sum(axis=1) + 1e-6)[:, None]
    return np.asarray((sums - found[..., None] * common[:, None]) / (found[..., None] + RIDGE), dtype=np.float32)


def _own_shifts(weights: np.ndarray, shift: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Shift of each cell, over its clusters; (n_cells, n_dimensions). `members` are the cells of each batch."""
    shifts = np.zeros((len(weights), shift.shape[2]), dtype=np.float32)
    for code, rows in enumerate(members):
        shifts[rows] = weights[rows] @ shift[:, code]
    return shifts
