"""How far do clusters agree with known labels, pair of cells by pair of cells? (adjusted Rand index)"""

from __future__ import annotations

from scetm_core.metrics._labels import Labels, shared_codes


def score_ari(labels: Labels, clusters: Labels) -> float:
    """Adjusted Rand index of clusters against labels.

    Parameters
    ----------
    labels, clusters
        (n_cells,) each. Cells that miss either are left out.

    Returns
    -------
    1 for identical partitions, about 0 for chance, below 0 for less than chance; not-a-number if no cell has both.

    Raises
    ------
    DataError
        If the two differ in length.

    Notes
    -----
    Hubert and Arabie (1985), as in scikit-learn: the contingency table is sparse, so millions of cells are fine.
    """
    from sklearn.metrics import adjusted_rand_score

    first, second = shared_codes(labels, clusters)
    return float(adjusted_rand_score(first, second)) if len(first) else float("nan")
