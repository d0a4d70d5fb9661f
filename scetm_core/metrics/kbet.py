"""Are batches mixed around each cell as they are in the whole data set? (kBET)"""

from __future__ import annotations

import numpy as np

from scetm_core.metrics._composition import batch_composition
from scetm_core.metrics._labels import Labels


def score_kbet(
    embedding: np.ndarray,
    batches: Labels,
    *,
    n_neighbors: int = 15,
    significance: float = 0.05,
    neighbors: np.ndarray | None = None,
) -> float:
    """Share of cells around which the batches are mixed as in the whole data set.

    For each cell a chi-square test (n_batches - 1 degrees of freedom) compares the batches of its neighbourhood, the
    cell itself included as Pegasus does, with the batches of all cells.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    batches
        (n_cells,); cells without a batch are left out.
    n_neighbors
        Cells per neighbourhood.
    significance
        A neighbourhood with a smaller p-value counts as badly mixed.
    neighbors
        (n_cells, k) from `nearest_neighbors`, the cell itself first, if already known; the first `n_neighbors`
        columns are used.

    Returns
    -------
    Between 0 (every batch on its own) and about 1 - `significance` (mixed at random); higher is better mixed.
    Not-a-number with fewer than two batches: there is nothing to mix.

    Raises
    ------
    DataError
        If the number of batch labels is not that of the cells, or the embedding is not finite.

    Notes
    -----
    Buettner et al., Nature Methods 2019; acceptance rate as in Pegasus (Li et al., 2020). A batch that holds a cell
    type of its own can never be mixed, so the best possible value may be well below 1.
    """
    from scipy.stats import chi2

    counts, shares = batch_composition(embedding, batches, n_neighbors=n_neighbors, neighbors=neighbors)
    if len(shares) < 2:
        return float("nan")
    expected = counts.sum(axis=1, keepdims=True) * shares
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    p_value = chi2.sf(statistic, df=len(shares) - 1)
    return float(np.mean(p_value >= significance))
