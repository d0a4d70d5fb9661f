"""How good is this embedding, by every score we have?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import nearest_neighbors
from scetm_core.metrics.ari import score_ari
from scetm_core.metrics.asw import score_asw
from scetm_core.metrics.ebm import score_ebm
from scetm_core.metrics.kbet import score_kbet
from scetm_core.metrics.nmi import score_nmi


def evaluate(
    embedding: np.ndarray,
    *,
    clusters_by_resolution: Mapping[float, np.ndarray],
    fixed_resolution: float,
    labels: Labels | None = None,
    batches: Labels | None = None,
    neighbors: np.ndarray | None = None,
) -> dict[str, float | None]:
    """All scores of one embedding; for each of them higher is better.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions), e.g. delta.
    clusters_by_resolution
        Leiden resolution -> (n_cells,) clusters, from `embedding.leiden_clusters`.
    fixed_resolution
        The resolution chosen before anybody looked at the labels.
    labels, batches
        (n_cells,) known cell types and batches, where there are any.
    neighbors
        (n_cells, k) from `nearest_neighbors`, if already known.

    Returns
    -------
    `ari`, `nmi`, `n_clusters` at `fixed_resolution`; `best_ari`, `best_nmi` over all resolutions, with
    `best_resolution` that of the best ARI (the smallest, if tied). These are chosen by the labels, as the paper
    reports them, and therefore optimistic. `asw` of the labels; `kbet` and `ebm` of the batches. None where labels
    or batches are not known; not-a-number where they do not allow a score.

    Raises
    ------
    DataError
        If there are no clusters at `fixed_resolution`, or lengths differ.
    """
    if fixed_resolution not in clusters_by_resolution:
        raise DataError(
            f"There are no clusters at the fixed resolution {fixed_resolution:g}; "
            f"found: {sorted(clusters_by_resolution)}."
        )
    fixed = clusters_by_resolution[fixed_resolution]
    scores: dict[str, float | None] = dict.fromkeys(
        ("ari", "nmi", "best_ari", "best_nmi", "best_resolution", "asw", "kbet", "ebm")
    )
    scores |= {"fixed_resolution": float(fixed_resolution), "n_clusters": len(label_codes(fixed)[1])}
    if labels is not None:
        aris = {resolution: score_ari(labels, found) for resolution, found in sorted(clusters_by_resolution.items())}
        nmis = {resolution: score_nmi(labels, found) for resolution, found in clusters_by_resolution.items()}
        scores |= {"ari": aris[fixed_resolution], "nmi": nmis[fixed_resolution], "asw": score_asw(embedding, labels)}
        scores |= {"best_ari": max(aris.values()), "best_nmi": max(nmis.values())}
        scores["best_resolution"] = float(max(aris, key=lambda resolution: aris[resolution]))
    if batches is not None:
        near = nearest_neighbors(embedding, 15) if neighbors is None else neighbors
        scores["kbet"] = score_kbet(embedding, batches, neighbors=near)
        scores["ebm"] = score_ebm(embedding, batches, neighbors=near)
    return scores
