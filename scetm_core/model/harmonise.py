"""Which cells are of one kind, whatever their batch? Clusters, and coordinates freed from the batches' shifts.

`harmonise` follows the algorithm of Harmony (Korsunsky et al., Nature Methods 2019): cells are clustered softly, with
a bonus for clusters that mix the batches; then, cluster by cluster, each batch is moved onto the common mean. Written
from the paper's equations; only used to find a start before training.
"""

from __future__ import annotations

import numpy as np

MAX_FITTED = 20_000  # k-means looks at this many points; the others join the nearest centroid
KMEANS_ROUNDS = 30

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


def harmonise(points: np.ndarray, batch: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Move the batches onto each other, cluster by cluster.

    Parameters
    ----------
    points
        (n_cells, n_dimensions), e.g. principal components.
    batch
        (n_cells,) codes from 0 on.

    Returns
    -------
    (n_cells, n_dimensions) float32; unchanged if there is one batch only.
    """
    original = np.asarray(points, dtype=np.float32)
    is_in = np.eye(int(batch.max()) + 1, dtype=np.float32)[batch]  # (n_cells, n_batches)
    if (is_in.any(axis=0)).sum() < 2:
        return original
    n_clusters = int(np.clip(round(len(points) / CELLS_PER_CLUSTER), 1, MAX_CLUSTERS))
    corrected = original
    directions = _unit(original)
    weights = _soft(directions, _unit(find_centroids(directions, n_clusters, rng=rng)))  # (n_cells, n_clusters)
    weights /= weights.sum(axis=1, keepdims=True)
    for _ in range(CORRECTIONS):
        for _ in range(SWEEPS):
            weights = _reassign(directions, weights, is_in, rng=rng)
        corrected = original - _shifts(original, weights, is_in)
        directions = _unit(corrected)
    return corrected


def _unit(points: np.ndarray) -> np.ndarray:
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12))


def _soft(directions: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Closeness of each cell to each cluster, 1 in the same direction; not yet normalised over the clusters."""
    return np.asarray(np.exp(-2 * (1 - directions @ centroids.T) / SOFTNESS))


def _reassign(
    directions: np.ndarray, weights: np.ndarray, is_in: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Weights of the clusters for each cell, given the batches the clusters already hold; some cells at a time."""
    closeness = _soft(directions, _unit(weights.T @ directions))
    share = is_in.mean(axis=0)  # (n_batches,)
    found = weights.T @ is_in  # (n_clusters, n_batches)
    weights = weights.copy()
    for block in np.array_split(rng.permutation(len(weights)), min(N_BLOCKS, len(weights))):
        found -= weights[block].T @ is_in[block]
        expected = found.sum(axis=1, keepdims=True) * share
        bonus = ((expected + 1) / (found + 1)) ** DIVERSITY
        fresh = closeness[block] * (is_in[block] @ bonus.T)
        weights[block] = fresh / np.maximum(fresh.sum(axis=1, keepdims=True), 1e-30)
        found += weights[block].T @ is_in[block]
    return weights


def _shifts(points: np.ndarray, weights: np.ndarray, is_in: np.ndarray) -> np.ndarray:
    """How far each cell's batch lies from the common mean, by ridge regression in each cluster; (n_cells, n_dims)."""
    members = [np.flatnonzero(column) for column in is_in.T]
    own = np.arange(1, len(members) + 1)
    found = weights.T @ is_in  # (n_clusters, n_batches)
    sums = np.stack([weights[rows].T @ points[rows] for rows in members], axis=1)  # (n_clusters, n_batches, n_dims)
    design = np.zeros((len(found), len(members) + 1, len(members) + 1))
    design[:, 0, 0] = found.sum(axis=1) + 1e-6
    design[:, 0, 1:] = design[:, 1:, 0] = found
    design[:, own, own] = found + RIDGE
    target = np.concatenate([sums.sum(axis=1, keepdims=True), sums], axis=1)  # the common mean first
    shift = np.linalg.solve(design, target)[:, 1:].astype(np.float32)  # (n_clusters, n_batches, n_dims)
    shifts = np.zeros_like(points)
    for code, rows in enumerate(members):
        shifts[rows] = weights[rows] @ shift[:, code]
    return shifts
