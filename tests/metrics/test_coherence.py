"""Does topic coherence equal NPMI worked out by hand, and does it tell good topics from chance?"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp

from scetm_core.data.simulate import TRUE_BETA, simulate
from scetm_core.errors import DataError
from scetm_core.metrics import score_topic_coherence

RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.4, size=(300, 40)).astype(np.float32) * RNG.integers(0, 2, size=(300, 1))
COUNTS = sp.csr_matrix(DENSE)
BETA = RNG.normal(size=(40, 5))


def by_pairs(beta: np.ndarray, counts: np.ndarray, n_top: int) -> float:
    """One pair after the other, from the definition."""
    topics = []
    for topic in beta.T:
        scores = []
        for i, j in itertools.combinations(np.argsort(-topic)[:n_top], 2):
            has_i, has_j = counts[:, i] > 0, counts[:, j] > 0
            p_i, p_j, p_ij = np.mean(has_i), np.mean(has_j), np.mean(has_i & has_j)
            if p_ij == 0:
                scores.append(-1.0)
            elif p_ij == 1:
                scores.append(0.0)
            else:
                scores.append(math.log(p_ij / (p_i * p_j)) / -math.log(p_ij))
        topics.append(np.mean(scores))
    return float(np.mean(topics))


def test_coherence_by_hand() -> None:
    # genes a, b, c in 4 cells: a in 1 2, b in 1 2, c in 3; one topic led by a, b, c
    counts = sp.csr_matrix(np.array([[1, 2, 0], [3, 1, 0], [0, 0, 5], [0, 0, 0]]))
    beta = np.array([[3.0], [2.0], [1.0]])
    assert score_topic_coherence(beta, counts, n_top=2) == pytest.approx(math.log(0.5 / 0.25) / -math.log(0.5))  # = 1
    assert score_topic_coherence(beta, counts, n_top=3) == pytest.approx((1 - 1 - 1) / 3)  # c never with a or b
    # a in 1 2, b in 1 3: together in 1 of 4 cells, as chance has it
    counts = sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    assert score_topic_coherence(beta, counts, n_top=2) == pytest.approx(0)


@pytest.mark.parametrize("n_top", [2, 5, 10])
def test_coherence_equals_a_dense_loop_over_pairs(n_top: int) -> None:
    expected = by_pairs(BETA, DENSE, n_top)
    assert score_topic_coherence(BETA, COUNTS, n_top=n_top) == pytest.approx(expected, abs=1e-9)
    assert score_topic_coherence(BETA, COUNTS.tocsc(), n_top=n_top) == pytest.approx(expected, abs=1e-9)
    assert score_topic_coherence(BETA, COUNTS * 0.01, n_top=n_top) == pytest.approx(expected, abs=1e-9)


def test_genes_that_are_everywhere_or_nowhere_have_a_score() -> None:
    dense = DENSE.copy()
    dense[:, :3] = 1  # in every cell
    dense[:, 3:6] = 0  # in none
    beta = BETA.copy()
    beta[:6, 0] = 10 - np.arange(6)
    score = score_topic_coherence(beta, sp.csr_matrix(dense), n_top=8)
    assert score == pytest.approx(by_pairs(beta, dense, 8), abs=1e-9)
    assert score_topic_coherence(beta[:, :1], sp.csr_matrix(dense), n_top=3) == 0
    assert score_topic_coherence(beta[:, :1], sp.csr_matrix(dense), n_top=6) == pytest.approx(-12 / 15)


def test_pieces_of_cells_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_topic_coherence(BETA, COUNTS)
    monkeypatch.setattr("scetm_core.metrics.coherence.N_CELLS_AT_ONCE", 7)
    assert score_topic_coherence(BETA, COUNTS) == pytest.approx(whole, abs=1e-12)


def test_true_topics_are_more_coherent_than_shuffled_ones() -> None:
    data = simulate(n_cells=600, n_genes=300, n_topics=4, median_counts=300, seed=1)
    true = score_topic_coherence(data.varm[TRUE_BETA], data.X)
    chance = score_topic_coherence(np.random.default_rng(0).permutation(data.varm[TRUE_BETA]), data.X)
    assert true > chance + 0.1


class OnDisk:
    """Counts that give out rows only, and note how many were asked for."""

    def __init__(self, counts: sp.csr_matrix) -> None:
        self.counts, self.shape, self.asked = counts, counts.shape, []

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        self.asked.extend(rows.tolist())
        return self.counts[rows]


def test_a_sample_of_cells_is_seeded_read_in_order_and_close_to_all() -> None:
    data = simulate(n_cells=3000, n_genes=60, n_topics=3, median_counts=60, seed=2)
    beta, stored = data.varm[TRUE_BETA], OnDisk(data.X)
    sampled = score_topic_coherence(beta, stored, max_cells=1000, seed=5)
    assert len(set(stored.asked)) == 1000
    assert stored.asked == sorted(stored.asked)
    assert sampled == score_topic_coherence(beta, data.X, max_cells=1000, seed=5)
    assert sampled != score_topic_coherence(beta, data.X, max_cells=1000, seed=6)
    assert sampled == pytest.approx(score_topic_coherence(beta, data.X), abs=0.05)


def test_without_pairs_or_cells_there_is_no_score() -> None:
    assert math.isnan(score_topic_coherence(BETA, COUNTS, n_top=1))
    assert math.isnan(score_topic_coherence(BETA, COUNTS[:0]))


def test_genes_that_do_not_match_are_refused() -> None:
    with pytest.raises(DataError, match="beta has 40 genes, the counts have 39"):
        score_topic_coherence(BETA, COUNTS[:, 1:])
    with pytest.raises(DataError, match="10 leading genes of each topic were asked for; there are 5 genes"):
        score_topic_coherence(BETA[:5], COUNTS[:, :5])
