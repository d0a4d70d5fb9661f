"""How good is this embedding, by every score we have?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import Neighbors, find_neighbors
from scetm_core.metrics.ari import score_ari
from scetm_core.metrics.asw import score_asw, score_batch_asw
from scetm_core.metrics.connectivity import score_graph_connectivity
from scetm_core.metrics.ebm import score_ebm
from scetm_core.metrics.kbet import score_kbet
from scetm_core.metrics.lisi import N_NEIGHBORS_LISI, score_clisi, score_ilisi
from scetm_core.metrics.nmi import score_nmi

_OF_LABELS = ("ari", "nmi", "best_ari", "best_nmi", "best_resolution", "asw", "clisi", "graph_connectivity")
_OF_BATCHES, _OF_BOTH = ("kbet", "ebm", "ilisi"), ("batch_asw",)


def evaluate(
    embedding: np.ndarray,
    *,
    clusters_by_resolution: Mapping[float, np.ndarray],
    fixed_resolution: float,
    labels: Labels | None = None,
    batches: Labels | None = None,
    neighbors: Neighbors | None = None,
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
        (n_cells,) known cell types and batches, where there are any. Cells that miss one are left out of its scores.
    neighbors
        From `find_neighbors`, if already known. LISI uses the first `N_NEIGHBORS_LISI` columns (fewer lower its
        perplexity), the other scores of neighbourhoods the first 15.

    Returns
    -------
    `ari`, `nmi`, `n_clusters` at `fixed_resolution`; `best_ari`, `best_nmi` over all resolutions, with
    `best_resolution` that of the best ARI (the smallest, if tied). These are chosen by the labels, as the paper
    reports them, and therefore optimistic. `asw`, `clisi` and `graph_connectivity` of the labels; `kbet`, `ebm` and
    `ilisi` of the batches; `batch_asw` of the batches within the labels. None where labels or batches are not known;
    not-a-number where they do not allow a score.

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
    scores: dict[str, float | None] = dict.fromkeys((*_OF_LABELS, *_OF_BATCHES, *_OF_BOTH))
    scores |= {"fixed_resolution": float(fixed_resolution), "n_clusters": len(label_codes(fixed)[1])}
    if labels is None and batches is None:
        return scores
    near = find_neighbors(embedding, N_NEIGHBORS_LISI) if neighbors is None else neighbors
    if labels is not None:
        aris = {resolution: score_ari(labels, found) for resolution, found in sorted(clusters_by_resolution.items())}
        nmis = {resolution: score_nmi(labels, found) for resolution, found in clusters_by_resolution.items()}
        scores |= {"ari": aris[fixed_resolution], "nmi": nmis[fixed_resolution], "asw": score_asw(embedding, labels)}
        scores |= {"best_ari": max(aris.values()), "best_nmi": max(nmis.values())}
        scores["best_resolution"] = float(max(aris, key=lambda resolution: aris[resolution]))
        scores["clisi"] = score_clisi(embedding, labels, neighbors=near)
        scores["graph_connectivity"] = score_graph_connectivity(embedding, labels, neighbors=near.indices)
    if batches is not None:
        scores["kbet"] = score_kbet(embedding, batches, neighbors=near.indices)
        scores["ebm"] = score_ebm(embedding, batches, neighbors=near.indices)
        scores["ilisi"] = score_ilisi(embedding, batches, neighbors=near)
    if labels is not None and batches is not None:
        scores["batch_asw"] = score_batch_asw(embedding, labels, batches)
    return scores
