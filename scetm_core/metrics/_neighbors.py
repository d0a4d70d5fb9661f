"""Which cells are closest to each cell? Exact up to 100,000 cells, approximate (seeded) beyond."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scetm_core.errors import DataError

N_CELLS_EXACT = 100_000
"""Up to this many cells every pair is compared. NN-descent compiles itself for 40 s in each process before it starts,
so that comparing all pairs is quicker for long: 1 s for 20,000 cells, 8 s for 50,000 (50 dimensions, two cores)."""


class Neighbors(NamedTuple):
    """The k nearest cells of each cell, the cell itself first, then by rising distance.

    `indices` is (n_cells, k) row numbers, `distances` (n_cells, k) euclidean; the first column of distances is 0.
    """

    indices: np.ndarray
    distances: np.ndarray


def find_neighbors(embedding: np.ndarray, n_neighbors: int, *, seed: int = 0) -> Neighbors:
    """The nearest cells of each cell by euclidean distance.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    n_neighbors
        Cells per neighbourhood, the cell itself included; capped at the number of cells.
    seed
        Of the approximate search, used above `N_CELLS_EXACT` cells.

    Raises
    ------
    DataError
        If the embedding is not a table of finite numbers.
    """
    points = as_embedding(embedding)
    n_cells = len(points)
    n_others = min(n_neighbors, n_cells) - 1
    if n_others < 1:
        return Neighbors(np.arange(n_cells)[:, None], np.zeros((n_cells, 1), dtype=np.float32))
    search = _search_exactly if n_cells <= N_CELLS_EXACT else _search_by_descent
    others, distances = search(points, n_others, seed)
    return Neighbors(
        np.column_stack([np.arange(n_cells), others]),
        np.column_stack([np.zeros(n_cells, dtype=np.float32), distances.astype(np.float32)]),
    )


def nearest_in(reference: np.ndarray, points: np.ndarray, n_neighbors: int) -> Neighbors:
    """The cells of a reference that lie nearest to some other cells, by rising euclidean distance; every pair compared.

    Parameters
    ----------
    reference
        (n_reference, n_dimensions)
    points
        (n_points, n_dimensions)
    n_neighbors
        Capped at the number of reference cells.

    Returns
    -------
    `indices`, rows of the reference, and `distances`, both (n_points, n_neighbors).

    Raises
    ------
    DataError
        If either is not a table of finite numbers.
    """
    from sklearn.neighbors import NearestNeighbors

    known, new = as_embedding(reference), as_embedding(points)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(known)), algorithm="brute").fit(known)
    distances, indices = search.kneighbors(new)
    return Neighbors(indices, distances.astype(np.float32))


def nearest_neighbors(embedding: np.ndarray, n_neighbors: int, *, seed: int = 0) -> np.ndarray:
    """Row numbers of the nearest cells, (n_cells, k), the cell itself first; see `find_neighbors`."""
    return find_neighbors(embedding, n_neighbors, seed=seed).indices


def as_embedding(embedding: np.ndarray) -> np.ndarray:
    """The embedding as a plain float table.

    Raises
    ------
    DataError
        If it is not a table, or holds values that are not finite.
    """
    points = np.asarray(embedding)
    if points.dtype not in (np.float32, np.float64):
        points = points.astype(np.float64)
    if points.ndim != 2:
        raise DataError(
            f"An embedding has one row per cell and one column per dimension; got the shape {points.shape}."
        )
    if not np.isfinite(points).all():
        n_bad = int((~np.isfinite(points)).any(axis=1).sum())
        raise DataError(f"The embedding of {n_bad:,} cells is not finite (NaN or infinity). Leave these cells out.")
    return points


def _search_exactly(points: np.ndarray, n_others: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair compared; the cell itself is left out even where other cells lie at the same place."""
    from sklearn.neighbors import NearestNeighbors

    distances, others = NearestNeighbors(n_neighbors=n_others, algorithm="brute").fit(points).kneighbors()
    return others, distances


def _search_by_descent(points: np.ndarray, n_others: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """NN-descent (Dong et al. 2011); the cell itself is taken out of its list, wherever it stands."""
    from pynndescent import NNDescent

    index = NNDescent(points.astype(np.float32), n_neighbors=n_others + 1, random_state=seed)
    found, distances = index.neighbor_graph
    return _without_self(found, distances)


def _without_self(found: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neighbours of each cell but the cell itself, wherever it stands; the farthest if it did not find itself."""
    is_self = found == np.arange(len(found))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    shape = (len(found), found.shape[1] - 1)
    return found[~is_self].reshape(shape), distances[~is_self].reshape(shape)
