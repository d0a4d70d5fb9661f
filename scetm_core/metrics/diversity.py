"""Do the topics differ, or do the same genes lead several of them? (topic diversity)"""

from __future__ import annotations

import numpy as np

from scetm_core.errors import DataError


def score_topic_diversity(beta: np.ndarray, *, n_top: int = 25) -> float:
    """Share of different genes among the leading genes of all topics.

    Parameters
    ----------
    beta
        (n_genes, n_topics); larger means that the gene is more typical of the topic.
    n_top
        Leading genes looked at per topic.

    Returns
    -------
    1 if no gene leads two topics, 1 / n_topics if all topics have the same leading genes; higher is more diverse. With
    fewer than n_top x n_topics genes some must lead twice.

    Raises
    ------
    DataError
        If beta is not a table of finite numbers, or has fewer than `n_top` genes.

    Notes
    -----
    Dieng, Ruiz and Blei (2020), "Topic modeling in embedding spaces", who look at 25 words of a topic.
    """
    leading = leading_genes(beta, n_top)
    return len(np.unique(leading)) / leading.size


def leading_genes(beta: np.ndarray, n_top: int) -> np.ndarray:
    """Row numbers of the genes of largest beta in each topic, (n_top, n_topics), the leading one first.

    Of genes with the same beta the first comes first.

    Raises
    ------
    DataError
        If beta is not a table of finite numbers, or has fewer than `n_top` genes.
    """
    beta = np.asarray(beta)
    if beta.ndim != 2 or 0 in beta.shape:
        raise DataError(f"beta has one row per gene and one column per topic; got the shape {beta.shape}.")
    if not np.isfinite(beta).all():
        n_bad = int((~np.isfinite(beta)).any(axis=0).sum())
        raise DataError(f"beta of {n_bad:,} topics is not finite (NaN or infinity): their training has failed.")
    if not 1 <= n_top <= len(beta):
        raise DataError(f"The {n_top:,} leading genes of each topic were asked for; there are {len(beta):,} genes.")
    return np.argsort(-beta, axis=0, kind="stable")[:n_top]
