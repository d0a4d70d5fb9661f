"""Which topic of one training is which of another, and do topics come back when trained again? (topic stability)"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scetm_core.errors import DataError

FEWEST_GENES = 3
"""Shared genes needed to compare topics: over two centred genes every cosine is 1 or -1."""
NEGLIGIBLE = 1e-6
"""A topic whose centred beta is shorter than this share of the longest has no direction: alike to none (0)."""

STABILITY_COLUMNS = ("match_mean", "match_min", "best_mean", "best_min")


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Topics of two trainings, paired one to one.

    `similarity` is (n_first_topics, n_second_topics) cosines, named; `pairs` has the columns first, second and
    similarity, the most alike first; `unmatched_first` and `unmatched_second` are the topics left over where the
    numbers differ; `n_genes` tells over how many shared genes topics were compared.
    """

    similarity: pd.DataFrame
    pairs: pd.DataFrame
    unmatched_first: list[str]
    unmatched_second: list[str]
    n_genes: int


def match_topics(first: pd.DataFrame, second: pd.DataFrame) -> Matching:
    """Pair the topics of two trainings one to one, so that the sum of their similarities is largest.

    The similarity of two topics is the cosine of their beta over the genes that both trainings know. What softmax does
    not see is taken out before, in each training by itself: the mean of each gene over topics (an intercept would say
    the same) and the mean of each topic over genes. It is 1 for topics that raise and lower the same genes, about 0
    for unrelated ones, below 0 for opposed ones.

    Parameters
    ----------
    first, second
        beta as genes x topics, named; unnormalised. The order of genes does not matter. A training of one topic has
        nothing that the topic differs from: its similarity to any is 0.

    Raises
    ------
    DataError
        If a gene is listed twice, a value is not finite, or fewer than `FEWEST_GENES` genes are shared.

    Notes
    -----
    Kuhn (1955), as in scipy. Matching topics of repeated trainings: Greene, O'Callaghan and Cunningham (2014), "How
    many topics? Stability analysis for topic models".
    """
    from scipy.optimize import linear_sum_assignment

    genes = _shared_genes(first, second)
    cosines = _directions(first, genes).T @ _directions(second, genes)  # (n_first_topics, n_second_topics)
    cosines = np.clip(cosines, -1.0, 1.0)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    found = cosines[rows, columns]
    order = np.argsort(-found, kind="stable")
    pairs = pd.DataFrame(
        {
            "first": first.columns[rows[order]].astype(object),
            "second": second.columns[columns[order]].astype(object),
            "similarity": found[order],
        }
    )
    return Matching(
        similarity=pd.DataFrame(cosines, index=first.columns, columns=second.columns),
        pairs=pairs,
        unmatched_first=[str(name) for name in np.delete(np.asarray(first.columns), rows)],
        unmatched_second=[str(name) for name in np.delete(np.asarray(second.columns), columns)],
        n_genes=len(genes),
    )


def topic_stability(betas: Sequence[pd.DataFrame], *, in_use: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """How well each topic of the first training comes back in the others.

    Parameters
    ----------
    betas
        beta of each training, genes x topics, named; the first is the reference.
    in_use
        (n_topics,) booleans for each training. Idle topics (`judgement.idle_topics`) are what chance left of them and
        come back in no training, so they are left out, as topics to find and as topics to be found. By default all.

    Returns
    -------
    One row per topic in use of the first training, in its order, indexed by name. `match_mean` and `match_min`: mean
    and smallest similarity, over the other trainings, of the topic's one-to-one match; a topic without a match, where
    another training uses fewer topics, counts 0 there. `best_mean` and `best_min`: the same of its best counterpart,
    whichever topic that also is the best of. Higher is better. A high `best` beside a low `match` means that the topic
    was merged with another. Not-a-number with one training.

    Raises
    ------
    DataError
        As `match_topics`; or if masks and betas do not fit.
    """
    reference, *others = _used(betas, in_use)
    matched, best = np.zeros((2, len(others), reference.shape[1]))
    for number, other in enumerate(others):
        matching = match_topics(reference, other)
        found = matching.pairs.set_index("first")["similarity"]
        matched[number] = found.reindex(reference.columns, fill_value=0.0)
        best[number] = matching.similarity.max(axis=1) if other.shape[1] else 0.0
    nothing = np.full(reference.shape[1], np.nan)
    values = [of(table, axis=0) if len(table) else nothing for table in (matched, best) for of in (np.mean, np.min)]
    return pd.DataFrame(dict(zip(STABILITY_COLUMNS, values, strict=True)), index=reference.columns)


def score_stability(betas: Sequence[pd.DataFrame], *, in_use: Sequence[np.ndarray] | None = None) -> float:
    """How alike the topics of repeated trainings are: the mean over all pairs of trainings.

    Parameters
    ----------
    betas, in_use
        As in `topic_stability`; idle topics are left out, which would drag the score down.

    Returns
    -------
    Of each pair the mean similarity of matched topics, where a topic in use without a match counts 0. 1 if every
    training found the same topics, about 0 if they have nothing in common; higher is better. Not-a-number with fewer
    than two trainings. Fewer topics come back more easily: compare numbers of topics by it with that in mind.

    Raises
    ------
    DataError
        As `topic_stability`.
    """
    scores = []
    for first, second in itertools.combinations(_used(betas, in_use), 2):
        n_topics = max(first.shape[1], second.shape[1], 1)
        scores.append(match_topics(first, second).pairs["similarity"].sum() / n_topics)
    return float(np.mean(scores)) if scores else float("nan")


def _used(betas: Sequence[pd.DataFrame], in_use: Sequence[np.ndarray] | None) -> list[pd.DataFrame]:
    """The betas without their idle topics."""
    if not betas:
        raise DataError("There is no training whose topics could be compared.")
    if in_use is None:
        return list(betas)
    sizes, asked = [beta.shape[1] for beta in betas], [len(mask) for mask in in_use]
    if sizes != asked:
        raise DataError(f"The trainings have {sizes} topics; there are masks for {asked}. Give one mask per training.")
    return [beta.loc[:, np.asarray(mask, dtype=bool)] for beta, mask in zip(betas, in_use, strict=True)]


def _shared_genes(first: pd.DataFrame, second: pd.DataFrame) -> pd.Index:
    """Genes of both, in the order of the first."""
    for beta in (first, second):
        if not beta.index.is_unique:
            twice = sorted({str(name) for name in beta.index[beta.index.duplicated()]})
            raise DataError(f"Names of genes must be unique; listed twice: {twice[:5]}. Rename or drop them.")
    genes = first.index[first.index.isin(second.index)]
    if len(genes) < FEWEST_GENES:
        raise DataError(
            f"Genes shared by name: {len(genes)} (of {len(first):,} and {len(second):,}); at least {FEWEST_GENES} are "
            "needed to compare topics. Check that both trainings use symbols, or both identifiers."
        )
    return genes


def _directions(beta: pd.DataFrame, genes: pd.Index) -> np.ndarray:
    """Centred beta of these genes with columns of length 1, or 0 where nothing is left; (n_genes, n_topics)."""
    values = beta.loc[genes].to_numpy(dtype=np.float64)
    if not values.size:
        return values
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).any(axis=0).sum())
        raise DataError(f"beta of {n_bad:,} topics is not finite (NaN or infinity): their training has failed.")
    size = np.abs(values).max()
    values = values - values.mean(axis=1, keepdims=True)
    values = values - values.mean(axis=0)
    norms = np.linalg.norm(values, axis=0)
    negligible = norms <= NEGLIGIBLE * max(float(norms.max()), NEGLIGIBLE * float(size))
    directions: np.ndarray = np.where(negligible, 0.0, values / np.where(negligible, 1.0, norms))
    return directions
