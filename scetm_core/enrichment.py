"""Which gene sets does each topic follow? Preranked gene-set enrichment (GSEA) of all topics at once.

Genes are ranked by their weight beta in a topic. The enrichment score (ES) of a set is the extreme of the running sum
P_hit - P_miss down the ranking: a gene of the set raises it by its share of the set's absolute weight, any other gene
lowers it by 1 / (number of the others). Subramanian et al. (2005), exponent 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

TAILS = ("up", "either")
MIN_EXCEEDING = 10
"""A p-value from fewer random scores than this, at least as large as the observed one, is refined if asked for."""
DRAWS_AT_ONCE = 2000
SEPARATOR = ";"
"""Between the genes of a leading edge."""


def running_sum(scores: np.ndarray, hits: np.ndarray) -> Floats:
    """P_hit - P_miss after each gene of the ranking.

    Parameters
    ----------
    scores
        (n_genes,), sorted descending.
    hits
        Positions in `scores` of the set's genes.

    Returns
    -------
    (n_genes,); the last is 0. If all hits score 0 they count alike.

    Raises
    ------
    DataError
        If there is no hit, or one lies outside the ranking or is named twice.
    """
    weights, hits = _checked(scores, hits)
    n_genes, total = len(weights), weights[hits].sum()
    steps = np.full(n_genes, -1.0 / max(n_genes - len(hits), 1))
    steps[hits] = weights[hits] / total if total > 0 else 1.0 / len(hits)
    return np.cumsum(steps)


def enrichment_score(scores: np.ndarray, hits: np.ndarray) -> float:
    """ES of one set: the value of the running sum farthest from 0, between -1 and 1.

    Above 0 the set's genes gather at the top of the ranking, below 0 at its bottom.

    Parameters
    ----------
    scores, hits
        See `running_sum`.

    Raises
    ------
    DataError
        As `running_sum`.
    """
    curve = running_sum(scores, hits)
    highest, lowest = max(float(curve.max()), 0.0), min(float(curve.min()), 0.0)
    return highest if highest >= -lowest else lowest


def _checked(scores: np.ndarray, hits: np.ndarray) -> tuple[Floats, Ints]:
    """Absolute scores, and sorted hits."""
    weights, places = np.abs(np.asarray(scores, dtype=np.float64)), np.sort(np.asarray(hits, dtype=np.int64))
    if not len(places) or places[0] < 0 or places[-1] >= len(weights):
        raise DataError(f"hits are positions from 0 to {len(weights) - 1}, at least one; got {places[:5].tolist()}.")
    if (np.diff(places) == 0).any():
        raise DataError("A position stands in hits twice. Name each gene of a set once.")
    return weights, places


def prerank(
    beta: pd.DataFrame,
    gene_sets: Mapping[str, Sequence[str]],
    *,
    n_permutations: int = 1000,
    min_size: int = 5,
    max_size: int = 500,
    seed: int = 0,
    refine_to: int = 0,
    tail: str = "up",
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Test every gene set against every topic.

    Parameters
    ----------
    beta
        (n_genes, n_topics), genes by name, each once.
    gene_sets
        Name -> genes; genes that beta lacks are passed over (see `genesets.match_gene_sets`).
    n_permutations
        Random sets drawn for each topic and set size.
    min_size, max_size
        Sets with fewer or more genes in beta are left out.
    seed
        Same seed, same table.
    refine_to
        Where fewer than 10 random scores reached the observed one, draw anew, ten times as many, up to this number.
        The p-value of the last draw counts, which is still valid. 0: never.
    tail
        "up": p is the share of random scores at least as high, as in the paper, so that sets at the bottom of a topic
        have p near 1. "either": among the random scores of the same sign, the share at least as far from 0, as
        GSEA does.
    on_progress
        Called with the share of the work done; what it raises ends the work.

    Returns
    -------
    A row a topic and set, the smallest p first in each topic: `topic`, `gene_set`, `size` (genes in beta), `es`,
    `nes` (ES over the mean of random scores of its sign), `p_value` = (N' + 1) / (N + 1), `q_value`
    (Benjamini-Hochberg over the whole table), `leading_edge` (genes up to the extreme, the outermost first, joined
    by ";"), `n_permutations` (N).

    Raises
    ------
    DataError
        If beta is not finite, names a gene twice, or no set is left.
    ConfigError
        If a setting is out of range.
    """
    if n_permutations < 1 or tail not in TAILS:
        raise ConfigError(f"n_permutations is at least 1 and tail one of {TAILS}; got {n_permutations} and {tail!r}.")
    ranking = _rank(beta)
    sets = _index_sets(gene_sets, list(beta.index), min_size=min_size, max_size=max_size)
    tests = _Tests.of(ranking, sets)
    tests.draw(n_permutations, refine_to=refine_to, tail=tail, seed=seed, on_progress=on_progress)
    return _table(ranking, sets, tests, tail=tail)


def rank_order(values: np.ndarray, genes: Iterable[str]) -> Ints:
    """Genes by falling weight; ties in an order that follows from their names alone, as if drawn at random.

    In the order of a file, families of genes would stand together and pass for enriched wherever weights are equal.

    Parameters
    ----------
    values
        (..., n_genes)

    Returns
    -------
    Positions of genes, of the shape of `values`.
    """
    marks = [hashlib.blake2b(str(gene).encode(), digest_size=8).digest() for gene in genes]
    shuffled = np.array(sorted(range(len(marks)), key=marks.__getitem__), dtype=np.int64)
    order: Ints = shuffled[np.argsort(-np.asarray(values)[..., shuffled], axis=-1, kind="stable")]
    return order


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Genes of each topic in falling order of beta; every array (n_topics, n_genes)."""

    genes: np.ndarray  # (n_genes,) names
    topics: list[str]
    order: Ints  # gene at each place
    ranks: Ints  # place of each gene
    weights: Floats  # |beta| at each place


def _rank(beta: pd.DataFrame) -> _Ranking:
    values = beta.to_numpy(dtype=np.float64).T
    if not values.size or not np.isfinite(values).all():
        raise DataError("beta holds no values, or some that are not finite: the training of these topics has failed.")
    if not beta.index.is_unique:
        raise DataError(f"beta names genes twice, e.g. {beta.index[beta.index.duplicated()][0]!r}. Name each once.")
    order = rank_order(values, beta.index)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None, :], axis=1)
    weights = np.abs(np.take_along_axis(values, order, axis=1))
    topics = [str(name) for name in beta.columns]
    return _Ranking(genes=beta.index.to_numpy(dtype=object), topics=topics, order=order, ranks=ranks, weights=weights)


@dataclass(frozen=True, kw_only=True)
class _Sets:
    """Members of set s: ``members[starts[s]:starts[s + 1]]``, positions of genes in beta."""

    names: list[str]
    starts: Ints
    members: Ints

    @property
    def sizes(self) -> Ints:
        return np.diff(self.starts)


def _index_sets(gene_sets: Mapping[str, Sequence[str]], genes: list[str], *, min_size: int, max_size: int) -> _Sets:
    places = {gene: place for place, gene in enumerate(genes)}
    found = {name: sorted({places[gene] for gene in members if gene in places}) for name, members in gene_sets.items()}
    kept = {name: members for name, members in found.items() if max(min_size, 1) <= len(members) <= max_size}
    if not kept:
        largest = max((len(members) for members in found.values()), default=0)
        raise DataError(
            f"None of {len(found):,} gene sets has {min_size} to {max_size} genes in the data (largest: {largest}). "
            "Are they named alike (symbols, species)? Or change the limits of size."
        )
    starts = np.concatenate([[0], np.cumsum([len(members) for members in kept.values()])]).astype(np.int64)
    return _Sets(names=list(kept), starts=starts, members=np.concatenate(list(kept.values())).astype(np.int64))


@dataclass(kw_only=True)
class _Tests:
    """Every set in every topic; arrays (n_topics, n_sets)."""

    ranking: _Ranking
    sets: _Sets
    es: Floats
    extremes: Ints  # see `enrichment_null.score_hits`
    means: Floats  # of random scores of the sign of ES
    n_reached: Ints  # random scores at least as extreme
    n_drawn: Ints  # random scores compared with: all, or those of the same sign
    n_permutations: Ints

    @classmethod
    def of(cls, ranking: _Ranking, sets: _Sets) -> _Tests:
        from scetm_core.enrichment_null import score_sets

        es, extremes = score_sets(ranking.weights, ranking.ranks, sets.starts, sets.members)
        counts = [np.zeros(es.shape, dtype=np.int64) for _ in range(3)]
        return cls(
            ranking=ranking, sets=sets, es=es, extremes=extremes, means=np.full(es.shape, np.nan),
            n_reached=counts[0], n_drawn=counts[1], n_permutations=counts[2],
        )  # fmt: skip

    def draw(
        self, n_draws: int, *, refine_to: int, tail: str, seed: int, on_progress: Callable[[float], None] | None
    ) -> None:
        """Draw random sets of each size, then more where too few reached the observed score."""
        rounds = [n_draws]
        while rounds[-1] < refine_to:
            rounds.append(min(10 * rounds[-1], refine_to))
        wanted, done = np.ones(self.es.shape, dtype=bool), 0.0
        for number, n_draws in enumerate(rounds):
            share = (1.0 - done) / (len(rounds) - number)  # of the progress; later rounds look at fewer tests
            sizes = np.unique(self.sets.sizes[wanted.any(axis=0)])
            total = float(sizes.sum())
            for size in sizes:
                self._draw_size(int(size), n_draws, wanted=wanted, tail=tail, seed=(seed, number, int(size)))
                done += share * float(size) / total
                if on_progress:
                    on_progress(min(done, 1.0))
            wanted &= self.n_reached < MIN_EXCEEDING
            if not wanted.any():
                return

    def _draw_size(self, size: int, n_draws: int, *, wanted: np.ndarray, tail: str, seed: tuple[int, ...]) -> None:
        """Compare the sets of one size with random ones, in the topics where some test is wanted."""
        from scetm_core.enrichment_null import draw_sets, score_draws

        columns = np.flatnonzero((self.sets.sizes == size) & wanted.any(axis=0))
        topics = np.flatnonzero(wanted[:, columns].any(axis=1))
        cells = np.ix_(topics, columns)
        es, weights = self.es[cells], self.ranking.weights[topics]
        up = es >= 0
        reached, same_sign, total = np.zeros(es.shape, np.int64), np.zeros(es.shape, np.int64), np.zeros(es.shape)
        states = np.random.SeedSequence(seed).generate_state(n_draws, np.uint64)
        for first in range(0, n_draws, DRAWS_AT_ONCE):
            drawn = draw_sets(weights.shape[1], size, states[first : first + DRAWS_AT_ONCE])
            null = score_draws(weights, drawn)  # (n_topics, n_draws)
            sides = {True: np.maximum(null, 0), False: np.minimum(null, 0)}
            counts = {True: (null >= 0).sum(axis=1), False: (null < 0).sum(axis=1)}
            same_sign += np.where(up, counts[True][:, None], counts[False][:, None])
            total += np.where(up, sides[True].sum(axis=1)[:, None], sides[False].sum(axis=1)[:, None])
            for j in range(es.shape[1]):
                above = (null >= es[:, j, None]).sum(axis=1)
                below = (null <= es[:, j, None]).sum(axis=1)
                reached[:, j] += above if tail == "up" else np.where(up[:, j], above, below)
        chosen = wanted[cells]
        where = tuple(index[chosen] for index in np.broadcast_arrays(*cells))
        self.n_reached[where] = reached[chosen]
        self.n_drawn[where] = n_draws if tail == "up" else same_sign[chosen]
        self.n_permutations[where] = n_draws
        with np.errstate(invalid="ignore", divide="ignore"):
            self.means[where] = np.abs(total / same_sign)[chosen]


def _table(ranking: _Ranking, sets: _Sets, tests: _Tests, *, tail: str) -> pd.DataFrame:
    from scipy.stats import false_discovery_control

    p_values = (tests.n_reached + 1) / (tests.n_drawn + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        nes = np.where(tests.means > 0, tests.es / tests.means, np.nan)
    n_topics, n_sets = tests.es.shape
    table = pd.DataFrame(
        {
            "topic": np.repeat(np.array(ranking.topics, dtype=object), n_sets),
            "gene_set": np.tile(np.array(sets.names, dtype=object), n_topics),
            "size": np.tile(sets.sizes, n_topics),
            "es": tests.es.ravel(),
            "nes": nes.ravel(),
            "p_value": p_values.ravel(),
            "q_value": false_discovery_control(p_values.ravel()),
            "leading_edge": _leading_edges(ranking, sets, tests),
            "n_permutations": tests.n_permutations.ravel(),
        }
    )
    order = np.lexsort((-tests.es.ravel(), table["p_value"], np.repeat(np.arange(n_topics), n_sets)))
    return table.iloc[order].reset_index(drop=True)


def _leading_edges(ranking: _Ranking, sets: _Sets, tests: _Tests) -> list[str]:
    """Genes of each set from the outer end of the ranking to the extreme, topic by topic."""
    found = []
    members = np.split(sets.members, sets.starts[1:-1])
    for topic in range(len(ranking.topics)):
        names, ranks = ranking.genes[ranking.order[topic]], ranking.ranks[topic]
        for s, genes in enumerate(members):
            hits, extreme = np.sort(ranks[genes]), tests.extremes[topic, s]
            edge = hits[: extreme + 1] if tests.es[topic, s] >= 0 else hits[extreme:][::-1]
            found.append(SEPARATOR.join(map(str, names[edge])))
    return found
