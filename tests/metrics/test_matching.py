"""Are topics paired as the best pairing of all, and is what comes back told from what does not?"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from scetm_core.errors import DataError
from scetm_core.metrics.matching import match_topics, score_stability, topic_stability


def named(values: np.ndarray) -> pd.DataFrame:
    n_genes, n_topics = values.shape
    columns = [f"topic_{k}" for k in range(n_topics)]
    return pd.DataFrame(values, index=[f"gene{g}" for g in range(n_genes)], columns=columns)


def draw(n_topics: int = 6, *, n_genes: int = 400, seed: int = 0) -> pd.DataFrame:
    return named(np.random.default_rng(seed).normal(size=(n_genes, n_topics)))


def permuted(beta: pd.DataFrame, order: list[int]) -> pd.DataFrame:
    """Topic k of the answer is topic `order[k]` of `beta`."""
    return named(beta.to_numpy()[:, order])


def test_permuted_topics_are_matched_back_exactly() -> None:
    beta, order = draw(), [3, 0, 5, 1, 4, 2]
    matching = match_topics(beta, permuted(beta, order))
    assert dict(zip(matching.pairs["second"], matching.pairs["first"], strict=True)) == {
        f"topic_{k}": f"topic_{source}" for k, source in enumerate(order)
    }
    np.testing.assert_allclose(matching.pairs["similarity"], 1)
    assert (matching.unmatched_first, matching.unmatched_second, matching.n_genes) == ([], [], 400)


def test_cosines_equal_a_calculation_by_hand() -> None:
    first = named(np.array([[1.0, -1], [0, 0], [-1, 1]]))  # centred already
    second = named(np.array([[0.0, 0], [1, -1], [-1, 1]]))
    similarity = match_topics(first, second).similarity
    np.testing.assert_allclose(similarity.to_numpy(), [[0.5, -0.5], [-0.5, 0.5]])
    assert similarity.index.tolist() == similarity.columns.tolist() == ["topic_0", "topic_1"]


@pytest.mark.parametrize("seed", range(5))
def test_the_pairing_equals_the_best_of_all_permutations(seed: int) -> None:
    mixed = draw(4, n_genes=30, seed=seed) + 0.8 * draw(4, n_genes=30, seed=seed + 100).to_numpy()
    matching = match_topics(draw(4, n_genes=30, seed=seed + 100), mixed)
    values = matching.similarity.to_numpy()
    best = max(itertools.permutations(range(4)), key=lambda order: sum(values[k, order[k]] for k in range(4)))
    assert {(f"topic_{k}", f"topic_{other}") for k, other in enumerate(best)} == set(
        zip(matching.pairs["first"], matching.pairs["second"], strict=True)
    )
    assert matching.pairs["similarity"].is_monotonic_decreasing


def test_each_topic_has_one_partner_even_where_two_want_the_same() -> None:
    beta = draw(4)
    twins = beta.assign(topic_1=beta["topic_0"] + 0.1 * draw(1, seed=9)["topic_0"])
    matching = match_topics(twins, beta)
    assert sorted(matching.pairs["second"]) == [f"topic_{k}" for k in range(4)]
    assert matching.similarity["topic_0"].nlargest(2).index.tolist() == ["topic_0", "topic_1"]


def test_planted_overlap_is_found_and_the_rest_is_not() -> None:
    first, second = draw(6, n_genes=2000), draw(6, n_genes=2000, seed=1)
    second["topic_5"], second["topic_0"] = first["topic_1"], first["topic_4"]
    pairs = match_topics(first, second).pairs
    top = pairs.iloc[:2]
    assert set(zip(top["first"], top["second"], strict=True)) == {("topic_1", "topic_5"), ("topic_4", "topic_0")}
    assert (top["similarity"] > 0.7).all()
    assert (pairs["similarity"].iloc[2:] < 0.35).all()


def test_the_order_of_genes_is_irrelevant_and_only_shared_ones_count() -> None:
    first, second = draw(), draw(seed=1) + draw().to_numpy()
    shuffled = second.sample(frac=1, random_state=0)
    expected = match_topics(first, second).similarity
    pd.testing.assert_frame_equal(match_topics(first, shuffled).similarity, expected)
    more = pd.concat([shuffled, pd.DataFrame(1e3, index=["elsewhere"], columns=second.columns)])
    assert match_topics(first, more).n_genes == 400
    pd.testing.assert_frame_equal(match_topics(first, more).similarity, expected)


def test_constant_shifts_of_genes_and_topics_and_the_scale_change_nothing() -> None:
    rng = np.random.default_rng(2)
    first, second = draw(), draw(seed=1)
    shifted = 3 * second + rng.normal(scale=9, size=(400, 1)) + rng.normal(scale=9, size=6)
    np.testing.assert_allclose(
        match_topics(first, shifted).similarity, match_topics(first, second).similarity, atol=1e-9
    )


def test_with_other_numbers_of_topics_some_are_left_over() -> None:
    beta = draw(6)
    matching = match_topics(beta, beta[["topic_4", "topic_1", "topic_2", "topic_0"]])
    assert (matching.pairs["first"] == matching.pairs["second"]).all()
    assert matching.unmatched_first == ["topic_3", "topic_5"]
    assert matching.unmatched_second == []
    assert match_topics(beta[["topic_0", "topic_1"]], beta).unmatched_second == [f"topic_{k}" for k in (2, 3, 4, 5)]


def test_unrelated_topics_score_about_zero_and_the_same_ones_score_one() -> None:
    unrelated = [draw(10, n_genes=5000, seed=seed) for seed in range(3)]
    assert abs(score_stability(unrelated)) < 0.05
    again = [unrelated[0], permuted(unrelated[0], list(range(9, -1, -1))), unrelated[0] + 5]
    assert score_stability(again) == pytest.approx(1)
    assert np.isnan(score_stability(unrelated[:1]))


def test_the_score_is_the_mean_over_all_pairs_of_trainings() -> None:
    betas = [draw(5, seed=seed) + 2 * draw(5, seed=9).to_numpy() for seed in range(3)]
    by_hand = [
        match_topics(betas[i], betas[j]).pairs["similarity"].mean() for i, j in itertools.combinations(range(3), 2)
    ]
    assert score_stability(betas) == pytest.approx(np.mean(by_hand))


def test_a_topic_that_comes_back_is_told_from_one_that_does_not() -> None:
    reference = draw(4, n_genes=3000)
    others = []
    for seed in (1, 2):
        other = permuted(reference, [2, 3, 1, 0])  # so its topic_1 is the reference's topic_3
        others.append(other.assign(topic_1=draw(1, n_genes=3000, seed=seed)["topic_0"]))
    table = topic_stability([reference, *others])
    assert table.index.tolist() == ["topic_0", "topic_1", "topic_2", "topic_3"]
    assert (table.loc[["topic_0", "topic_1", "topic_2"], "match_min"] > 0.85).all()
    assert table.loc["topic_3", "match_mean"] < 0.5
    found = [match_topics(reference, other) for other in others]
    own = [matching.pairs.set_index("first")["similarity"]["topic_3"] for matching in found]
    assert table.loc["topic_3", "match_mean"] == pytest.approx(np.mean(own))
    assert table.loc["topic_3", "match_min"] == pytest.approx(min(own))
    best = [matching.similarity.loc["topic_3"].max() for matching in found]
    assert table.loc["topic_3", "best_min"] == pytest.approx(min(best))
    assert (table["best_mean"] >= table["match_mean"] - 1e-12).all()


def test_a_topic_without_a_partner_counts_nothing_but_has_a_best_counterpart() -> None:
    reference = draw(4, n_genes=3000)
    reference["topic_3"] = reference["topic_2"] + 0.01 * reference["topic_3"]
    table = topic_stability([reference, reference[["topic_0", "topic_1", "topic_2"]]])
    left_over = table.loc[["topic_2", "topic_3"]]
    assert (left_over["match_mean"] == 0).sum() == 1
    assert (left_over["best_mean"] > 0.5).all()


def test_one_training_says_nothing_of_stability() -> None:
    table = topic_stability([draw(3)])
    assert len(table) == 3
    assert table.isna().all(axis=None)


def test_idle_topics_are_left_out() -> None:
    beta, noise = draw(5, n_genes=3000), draw(5, n_genes=3000, seed=7)
    first = beta.assign(topic_4=noise["topic_0"])
    second = permuted(beta, [4, 3, 2, 1, 0]).assign(topic_0=noise["topic_1"])
    masks = [np.array([True, True, True, True, False]), np.array([False, True, True, True, True])]
    assert score_stability([first, second]) < 0.9
    assert score_stability([first, second], in_use=masks) == pytest.approx(1)
    table = topic_stability([first, second], in_use=masks)
    assert table.index.tolist() == ["topic_0", "topic_1", "topic_2", "topic_3"]
    np.testing.assert_allclose(table, 1)


@pytest.mark.parametrize("n_used", [0, 1])
def test_trainings_that_collapsed_share_nothing(n_used: int) -> None:
    masks = [np.arange(5) < n_used, np.arange(5) < 5]
    assert score_stability([draw(5), draw(5)], in_use=masks) == 0
    assert (topic_stability([draw(5), draw(5)], in_use=masks[::-1])["match_mean"] == 0).all()


def test_what_cannot_be_compared_is_refused_with_a_reason() -> None:
    first = draw(3)
    with pytest.raises(DataError, match=r"shared by name: 0 \(of 400 and 400\)"):
        match_topics(first, first.set_axis([f"ENSG{g}" for g in range(400)]))
    with pytest.raises(DataError, match="shared by name: 2 "):
        match_topics(first, first.iloc[:2])
    with pytest.raises(DataError, match=r"listed twice: \['gene0'\]"):
        match_topics(first, pd.concat([first, first.iloc[:1]]))
    with pytest.raises(DataError, match="beta of 1 topics is not finite"):
        match_topics(first, first.assign(topic_1=np.nan))
    with pytest.raises(DataError, match=r"have \[3, 3\] topics; there are masks for \[3\]"):
        score_stability([first, first], in_use=[np.ones(3, dtype=bool)])
    with pytest.raises(DataError, match="no training"):
        topic_stability([])
