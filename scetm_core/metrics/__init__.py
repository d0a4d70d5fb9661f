"""How good is an embedding of cells? One score a file: arrays in, floats out; for every score, higher is better.

Importing this module is cheap: scikit-learn and scipy are loaded by the functions that need them.
"""

from scetm_core.metrics._neighbors import Neighbors, find_neighbors, nearest_neighbors
from scetm_core.metrics.ari import score_ari
from scetm_core.metrics.asw import score_asw, score_asw_per_label
from scetm_core.metrics.ebm import score_ebm
from scetm_core.metrics.evaluate import evaluate
from scetm_core.metrics.kbet import score_kbet
from scetm_core.metrics.nmi import score_nmi

__all__ = [
    "Neighbors",
    "evaluate",
    "find_neighbors",
    "nearest_neighbors",
    "score_ari",
    "score_asw",
    "score_asw_per_label",
    "score_ebm",
    "score_kbet",
    "score_nmi",
]
