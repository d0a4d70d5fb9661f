"""How much do clusters tell about known labels? (normalised mutual information)"""

from __future__ import annotations

from scetm_core.metrics._labels import Labels, shared_codes


def score_nmi(labels: Labels, clusters: Labels) -> float:
    """Mutual information of clusters and labels, divided by the arithmetic mean of their entropies.

    Parameters
    ----------
    labels, clusters
        (n_cells,) each. Cells that miss either are left out.

    Returns
    -------
    1 for identical partitions, 0 if one tells nothing about the other; not-a-number if no cell has both.

    Raises
    ------
    DataError
        If the two differ in length.

    Notes
    -----
    Not adjusted for chance: many small clusters score too well. Read it beside the ARI.
    """
    from sklearn.metrics import normalized_mutual_info_score

    first, second = shared_codes(labels, clusters)
    if len(first) == 0:
        return float("nan")
    return float(normalized_mutual_info_score(first, second, average_method="arithmetic"))
