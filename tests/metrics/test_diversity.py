"""Is topic diversity the share of different genes among the leading ones?"""

from __future__ import annotations

import numpy as np
import pytest

from scetm_core.errors import DataError
from scetm_core.metrics import score_topic_diversity
from scetm_core.metrics.diversity import leading_genes

BETA = np.random.default_rng(0).normal(size=(200, 12))


def test_diversity_equals_a_count_by_sets() -> None:
    for n_top in (1, 10, 25):
        leading = [gene for topic in BETA.T for gene in sorted(range(200), key=lambda g: -topic[g])[:n_top]]
        assert score_topic_diversity(BETA, n_top=n_top) == pytest.approx(len(set(leading)) / len(leading))


def test_topics_without_a_common_gene_score_one_and_equal_topics_one_over_their_number() -> None:
    apart = np.kron(np.eye(4), np.ones((25, 1)))  # 25 genes of its own lead each topic
    assert score_topic_diversity(apart) == 1
    assert score_topic_diversity(np.repeat(BETA[:, :1], 4, axis=1)) == 0.25


def test_diversity_by_hand() -> None:
    beta = np.array([[9, 8, 0], [7, 0, 9], [0, 9, 8], [1, 1, 1.0]])  # leading pairs: {0, 1}, {2, 0}, {1, 2}
    assert score_topic_diversity(beta, n_top=2) == pytest.approx(3 / 6)


def test_order_of_genes_and_topics_and_the_scale_of_beta_change_nothing() -> None:
    rng = np.random.default_rng(1)
    shuffled = BETA[rng.permutation(200)][:, rng.permutation(12)] * 7 - 3
    assert score_topic_diversity(shuffled) == score_topic_diversity(BETA)


def test_leading_genes_come_by_falling_beta_and_equal_ones_in_order() -> None:
    assert leading_genes(np.array([[1.0, 0], [3, 5], [2, 5]]), 2).T.tolist() == [[1, 2], [1, 2]]


def test_what_cannot_be_scored_is_refused_with_a_reason() -> None:
    with pytest.raises(DataError, match="25 leading genes of each topic were asked for; there are 10 genes"):
        score_topic_diversity(BETA[:10])
    with pytest.raises(DataError, match=r"got the shape \(200,\)"):
        score_topic_diversity(BETA[:, 0])
    broken = BETA.copy()
    broken[3, [1, 5]] = np.nan
    with pytest.raises(DataError, match="beta of 2 topics is not finite"):
        score_topic_diversity(broken)
