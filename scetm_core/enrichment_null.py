"""How large are enrichment scores of random sets? Compiled loops behind `enrichment`; importing this loads numba.

A set whose genes are shuffled is a uniform draw of as many positions in the ranking. So one null serves every set of
a size in a topic, and the same draws serve every topic. A score needs the positions of its hits only: between two
hits the running sum falls evenly, so its extremes lie just before and just after hits.
"""

from __future__ import annotations

import numba
import numpy as np

_BLOCK = 250  # draws scored in one ranking before the next is taken up: its weights stay in the cache
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@numba.njit(inline="always")
def next_random(state: np.uint64) -> tuple[np.uint64, float]:
    """The next state of a stream, and a number uniform on [0, 1) with 53 bits.

    SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function; each stream starts from a state of its own.
    """
    state = np.uint64(state + _STEP)
    mixed = state
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    mixed = mixed ^ (mixed >> np.uint64(31))
    return state, float(mixed >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(parallel=True, cache=True)
def draw_sets(n_genes: int, size: int, states: np.ndarray) -> np.ndarray:
    """Uniform draws of `size` of `n_genes` positions without replacement, each sorted.

    Parameters
    ----------
    states
        (n_draws,) uint64: where each draw's stream starts.

    Returns
    -------
    (n_draws, size) int32
    """
    n_draws = states.shape[0]
    drawn = np.empty((n_draws, size), dtype=np.int32)
    n_marked = min(size, n_genes - size)  # a large set is drawn by what it leaves out
    n_words = (n_genes + 7) // 8
    for draw in numba.prange(n_draws):
        marked = np.zeros(8 * n_words, dtype=np.uint8)
        state, count = states[draw], 0
        while count < n_marked:
            state, uniform = next_random(state)
            place = int(uniform * n_genes)
            if not marked[place]:
                marked[place] = 1
                count += 1
        if n_marked < size:
            marked[:n_genes] = 1 - marked[:n_genes]
        words, filled = marked.view(np.uint64), 0
        for word in range(n_words):
            if words[word]:
                for place in range(8 * word, 8 * word + 8):
                    if marked[place]:
                        drawn[draw, filled] = place
                        filled += 1
    return drawn


@numba.njit
def _steps(weights: np.ndarray, hits: np.ndarray) -> tuple[float, float, float]:
    """By how much a gene outside lowers the running sum; scale and offset of the weight by which a hit raises it."""
    size, n_genes = hits.shape[0], weights.shape[0]
    total = 0.0
    for hit in hits:
        total += weights[hit]
    fall = 1.0 / (n_genes - size) if n_genes > size else 0.0
    if total > 0:
        return fall, 1.0 / total, 0.0
    return fall, 0.0, 1.0 / size


@numba.njit
def score_of(weights: np.ndarray, hits: np.ndarray) -> float:
    """Enrichment score of sorted positions, as `score_hits`; without a branch, for the many random sets."""
    fall, scale, even = _steps(weights, hits)
    highest, lowest, risen = 0.0, 0.0, 0.0
    for j in range(hits.shape[0]):
        fallen = (hits[j] - j) * fall
        lowest = min(lowest, risen - fallen)
        risen += weights[hits[j]] * scale + even
        highest = max(highest, risen - fallen)
    return min(highest, 1.0) if highest >= -lowest else max(lowest, -1.0)


@numba.njit
def score_hits(weights: np.ndarray, hits: np.ndarray) -> tuple[float, int]:
    """Enrichment score of sorted positions, and which of them (0 the first) stands at the extreme.

    Parameters
    ----------
    weights
        (n_genes,) float64: absolute scores in the order of the ranking.
    hits
        (size,) positions in the ranking, ascending, at least one.

    Returns
    -------
    score, extreme
        Above 0 the score is reached at that hit, below 0 just before it.
    """
    fall, scale, even = _steps(weights, hits)
    highest, lowest, risen = 0.0, 0.0, 0.0
    at_highest, at_lowest = 0, 0
    for j in range(hits.shape[0]):
        fallen = (hits[j] - j) * fall
        if risen - fallen < lowest:
            lowest, at_lowest = risen - fallen, j
        risen += weights[hits[j]] * scale + even
        if risen - fallen > highest:
            highest, at_highest = risen - fallen, j
    if highest >= -lowest:
        return min(highest, 1.0), at_highest
    return max(lowest, -1.0), at_lowest


@numba.njit(parallel=True, cache=True)
def score_draws(weights: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Scores of the same draws in several rankings, (n_rankings, n_draws).

    Parameters
    ----------
    weights
        (n_rankings, n_genes) float64
    drawn
        (n_draws, size), from `draw_sets`.
    """
    n_rankings, n_draws = weights.shape[0], drawn.shape[0]
    scores = np.empty((n_rankings, n_draws))
    n_blocks = (n_draws + _BLOCK - 1) // _BLOCK
    for job in numba.prange(n_rankings * n_blocks):
        ranking, block = job // n_blocks, job % n_blocks
        for draw in range(block * _BLOCK, min((block + 1) * _BLOCK, n_draws)):
            scores[ranking, draw] = score_of(weights[ranking], drawn[draw])
    return scores


@numba.njit(parallel=True, cache=True)
def score_sets(
    weights: np.ndarray, ranks: np.ndarray, starts: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of given sets in several rankings.

    Parameters
    ----------
    weights, ranks
        (n_rankings, n_genes): absolute scores in the order of the ranking; place of each gene in it.
    starts, members
        Genes of set s: ``members[starts[s]:starts[s + 1]]``.

    Returns
    -------
    scores, extremes
        Both (n_rankings, n_sets), see `score_hits`.
    """
    n_rankings, n_sets = weights.shape[0], starts.shape[0] - 1
    scores, extremes = np.empty((n_rankings, n_sets)), np.empty((n_rankings, n_sets), dtype=np.int32)
    for ranking in numba.prange(n_rankings):
        for s in range(n_sets):
            hits = np.sort(ranks[ranking][members[starts[s] : starts[s + 1]]])
            scores[ranking, s], extremes[ranking, s] = score_hits(weights[ranking], hits)
    return scores, extremes
