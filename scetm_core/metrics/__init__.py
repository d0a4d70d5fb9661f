"""How good are an embedding of cells and its topics? One score a file: arrays in, floats out; higher is better.

Importing this module is cheap: scikit-learn and scipy are loaded by the functions that need them.
"""

from scetm_core.metrics._neighbors import Neighbors, find_neighbors, nearest_in, nearest_neighbors
from scetm_core.metrics.ari import score_ari
from scetm_core.metrics.asw import (
    score_asw,
    score_asw_per_label,
    score_asw_per_label_and_batch,
    score_batch_asw,
    silhouette_widths,
)
from scetm_core.metrics.coherence import score_topic_coherence
from scetm_core.metrics.connectivity import score_graph_connectivity, score_graph_connectivity_per_label
from scetm_core.metrics.diversity import score_topic_diversity
from scetm_core.metrics.ebm import score_ebm
from scetm_core.metrics.evaluate import evaluate
from scetm_core.metrics.halves import score_intervals
from scetm_core.metrics.kbet import score_kbet
from scetm_core.metrics.lisi import N_NEIGHBORS_LISI, inverse_simpson, score_clisi, score_ilisi
from scetm_core.metrics.nmi import score_nmi
from scetm_core.metrics.stability import neighbour_stability

__all__ = [
    "N_NEIGHBORS_LISI",
    "Neighbors",
    "evaluate",
    "find_neighbors",
    "inverse_simpson",
    "nearest_in",
    "nearest_neighbors",
    "neighbour_stability",
    "score_ari",
    "score_asw",
    "score_asw_per_label",
    "score_asw_per_label_and_batch",
    "score_batch_asw",
    "score_clisi",
    "score_ebm",
    "score_graph_connectivity",
    "score_graph_connectivity_per_label",
    "score_ilisi",
    "score_intervals",
    "score_kbet",
    "score_nmi",
    "score_topic_coherence",
    "score_topic_diversity",
    "silhouette_widths",
]
