"""Do cells keep their neighbours from one embedding to the next? (stability of the neighbour graph)"""

from __future__ import annotations

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics._neighbors import as_embedding


def neighbour_stability(
    before: np.ndarray,
    after: np.ndarray,
    *,
    n_neighbors: int = 15,
    n_cells: int = 1000,
    max_reference: int = 5000,
    seed: int = 0,
) -> float:
    """Mean overlap of the nearest neighbours of a sample of cells in two embeddings; no label is needed.

    Parameters
    ----------
    before, after
        (n_cells, n_dimensions) of the same cells in the same order; the dimensions may differ.
    n_neighbors
        Nearest cells compared, the cell itself not among them; capped at the number of others.
    n_cells
        Cells whose neighbours are compared, drawn from those they are looked for among.
    max_reference
        Cells among which neighbours are looked for: all, or a sample of this many; a million cells cost no more.
    seed
        Of the samples; the same seed draws the same cells.

    Returns
    -------
    Mean Jaccard overlap (shared neighbours over all that are a neighbour in either): 1 if no neighbourhood changed,
    about n_neighbors / (2 x the number of reference cells) if they have nothing in common. Not-a-number with fewer than
    two cells.

    Raises
    ------
    DataError
        If the embeddings are not tables for the same number of cells, or not finite where they are looked at.
    """
    if before.ndim != 2 or after.ndim != 2 or len(before) != len(after):
        raise DataError(
            "Neighbours can be compared between embeddings (n_cells, n_dimensions) of the same cells; "
            f"got {before.shape} and {after.shape}."
        )
    if len(before) < 2:
        return float("nan")
    reference = np.random.default_rng(seed).permutation(len(before))[:max_reference]
    before, after = as_embedding(before[reference]), as_embedding(after[reference])
    n_neighbors = min(n_neighbors, len(reference) - 1)
    one, other = (_is_neighbour(points, n_cells, n_neighbors) for points in (before, after))
    shared = (one & other).sum(axis=1)
    return float((shared / (2 * n_neighbors - shared)).mean())


def _is_neighbour(points: np.ndarray, n_cells: int, n_neighbors: int) -> np.ndarray:
    """Which points are among the nearest of each of the first `n_cells`, (n_cells, n_points) booleans."""
    points = points.astype(np.float64) - points.mean(axis=0)
    centres = points[:n_cells]
    distances = (points**2).sum(axis=1) - 2 * centres @ points.T  # squared, less what is the same for all of a row
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, n_neighbors - 1, axis=1)[:, :n_neighbors]
    found = np.zeros(distances.shape, dtype=bool)
    np.put_along_axis(found, nearest, True, axis=1)
    return found
