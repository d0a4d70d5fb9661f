"""Are the leading genes of a topic found in the same cells? (topic coherence)"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from scetm_core.errors import DataError
from scetm_core.metrics.diversity import leading_genes

N_CELLS_AT_ONCE = 2048
"""Cells unpacked at once: 1,000 leading genes of them take 8 MB."""


class CountsByRow(Protocol):
    """Counts (n_cells, n_genes) that give out rows as CSR, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_cells, n_genes)."""

    def __getitem__(self, rows: np.ndarray) -> Any:
        """Some rows, in the order asked for, as a scipy sparse matrix."""


def score_topic_coherence(
    beta: np.ndarray, counts: CountsByRow, *, n_top: int = 10, max_cells: int = 20_000, seed: int = 0
) -> float:
    """Mean normalised pointwise mutual information (NPMI) of the leading genes of a topic, over all topics.

    With p_i the share of cells in which gene i is detected (count above 0) and p_ij that in which i and j both are::

        NPMI_ij = log(p_ij / (p_i p_j)) / -log(p_ij)

    A pair that is never detected together has NPMI -1, its limit. A pair detected together in every cell has 0: genes
    that are everywhere tell nothing about each other. Each topic counts alike, and each of its n_top (n_top - 1) / 2
    pairs.

    Parameters
    ----------
    beta
        (n_genes, n_topics)
    counts
        (n_cells, n_genes): a scipy sparse matrix, or something on disk that gives out rows like one. Genes in beta's
        order; raw or normalised.
    n_top
        Leading genes looked at per topic.
    max_cells
        With more cells than this, detection is looked at in a random sample of this many.
    seed
        Of the sample.

    Returns
    -------
    From -1 (the genes of a topic exclude each other) over 0 (they are independent) to 1 (always together); higher is
    better. Not-a-number if `n_top` is 1 or there are no cells: there is no pair to look at.

    Raises
    ------
    DataError
        If beta is not a table of finite numbers, has fewer than `n_top` genes, or another number than the counts.

    Notes
    -----
    Bouma (2009); used for topics by Lau, Newman and Baldwin (2014) and Dieng, Ruiz and Blei (2020).
    """
    leading = leading_genes(beta, n_top)  # (n_top, n_topics)
    n_cells, n_genes = counts.shape
    if n_genes != len(beta):
        raise DataError(f"beta has {len(beta):,} genes, the counts have {n_genes:,}. Select the model's genes first.")
    if n_cells == 0 or n_top < 2:
        return float("nan")
    rows = np.arange(n_cells)
    if n_cells > max_cells:
        rows = np.sort(np.random.default_rng(seed).choice(n_cells, max_cells, replace=False))
    shares = _detected_together(counts, rows, leading) / len(rows)
    pairs = np.triu_indices(n_top, k=1)
    alone = np.diagonal(shares, axis1=1, axis2=2)  # (n_topics, n_top)
    return float(npmi(shares[:, *pairs], alone[:, pairs[0]] * alone[:, pairs[1]]).mean())


def npmi(together: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """NPMI of pairs from the share of cells with both, and that expected of independent genes; any shape."""
    scores = np.where(together > 0, 0.0, -1.0)
    usual = (together > 0) & (together < 1)
    scores[usual] = np.log(together[usual] / expected[usual]) / -np.log(together[usual])
    return scores


def _detected_together(counts: CountsByRow, rows: np.ndarray, leading: np.ndarray) -> np.ndarray:
    """In how many of the cells two leading genes of a topic are both detected, (n_topics, n_top, n_top)."""
    import scipy.sparse as sp

    n_top, n_topics = leading.shape
    genes, places = np.unique(leading.T, return_inverse=True)
    places = places.reshape(n_topics, n_top)
    source: Any = counts.tocsr() if hasattr(counts, "tocsr") else counts
    together = np.zeros((n_topics, n_top, n_top))
    for start in range(0, len(rows), N_CELLS_AT_ONCE):
        piece = sp.csr_matrix(source[rows[start : start + N_CELLS_AT_ONCE]])[:, genes].toarray()
        found = (piece > 0).astype(np.float32).T[places]  # (n_topics, n_top, cells of the piece)
        together += found @ found.transpose(0, 2, 1)
    return together
