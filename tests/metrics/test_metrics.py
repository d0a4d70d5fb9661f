"""Do the scores equal independent implementations, and mean what they say?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from scetm_core.errors import DataError
from scetm_core.metrics import (
    evaluate,
    find_neighbors,
    nearest_neighbors,
    score_ari,
    score_asw,
    score_asw_per_label,
    score_ebm,
    score_kbet,
    score_nmi,
)
from scetm_core.metrics._neighbors import _without_self

RNG = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"])[RNG.integers(0, 3, 300)]
CLUSTERS = np.where(RNG.random(300) < 0.7, RNG.permutation(LABELS), LABELS)
POINTS = RNG.normal(size=(300, 5)) + 1.5 * (LABELS == "a")[:, None]
BATCHES = np.array(["x", "y", "z"])[RNG.choice(3, 300, p=[0.5, 0.3, 0.2])]


def test_ari_equals_scikit_learn() -> None:
    assert score_ari(LABELS, CLUSTERS) == pytest.approx(sk.adjusted_rand_score(LABELS, CLUSTERS))


def test_ari_equals_the_pair_count_by_hand() -> None:
    # 4 cells, 6 pairs; together in both: {0, 1}; in the first also {2, 3}; in the second {0, 2}, {1, 2} too
    index, expected, maximum = 1, 2 * 3 / 6, (2 + 3) / 2
    assert score_ari([0, 0, 1, 1], [0, 0, 0, 1]) == pytest.approx((index - expected) / (maximum - expected))


def test_nmi_equals_scikit_learn_and_the_entropies_by_hand() -> None:
    table = pd.crosstab(LABELS, CLUSTERS).to_numpy() / len(LABELS)
    first, second = stats.entropy(table.sum(axis=1)), stats.entropy(table.sum(axis=0))
    mutual = first + second - stats.entropy(table.ravel())
    assert score_nmi(LABELS, CLUSTERS) == pytest.approx(mutual / ((first + second) / 2))


@pytest.mark.parametrize("score", [score_ari, score_nmi])
def test_renaming_clusters_changes_nothing_and_identity_scores_one(score: Callable[..., float]) -> None:
    assert score(LABELS, CLUSTERS) == pytest.approx(score(pd.Categorical(LABELS), pd.factorize(CLUSTERS)[0]))
    assert score(LABELS, LABELS) == pytest.approx(1)
    assert score(np.arange(40), np.arange(40)) == pytest.approx(1)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_cells_without_a_label_are_left_out(missing: float | None) -> None:
    holes = pd.Series(LABELS, dtype=object).where(np.arange(300) >= 40, missing)
    assert score_ari(holes, CLUSTERS) == pytest.approx(sk.adjusted_rand_score(LABELS[40:], CLUSTERS[40:]))
    assert score_ari(holes.astype("category"), CLUSTERS) == pytest.approx(score_ari(LABELS[40:], CLUSTERS[40:]))
    assert score_asw(POINTS, holes) == pytest.approx(sk.silhouette_score(POINTS[40:], LABELS[40:]))


def test_no_labels_at_all_give_not_a_number() -> None:
    nothing = pd.Series([None] * 300, dtype=object)
    assert np.isnan(score_ari(nothing, CLUSTERS))
    assert np.isnan(score_nmi(nothing, CLUSTERS))
    assert np.isnan(score_asw(POINTS, nothing))
    assert np.isnan(score_kbet(POINTS, nothing))


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="299 labels for 300 cells"):
        score_asw(POINTS, LABELS[1:])
    with pytest.raises(DataError, match="one label per cell"):
        score_ari(LABELS, CLUSTERS[1:])


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    broken = POINTS.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match="of 1 cells is not finite"):
        score_asw(broken, LABELS)


def test_asw_equals_scikit_learn() -> None:
    assert score_asw(POINTS, LABELS) == pytest.approx(sk.silhouette_score(POINTS, LABELS))
    widths = pd.Series(sk.silhouette_samples(POINTS, LABELS)).groupby(LABELS).mean()
    pd.testing.assert_series_equal(
        score_asw_per_label(POINTS, LABELS).sort_index(), widths.sort_index(), check_names=False
    )


def test_asw_of_one_label_is_not_a_number() -> None:
    assert np.isnan(score_asw(POINTS, np.repeat("a", 300)))


def test_asw_of_a_sample_stays_close_and_keeps_tiny_groups() -> None:
    labels = LABELS.astype(object)
    labels[:2] = "rare"
    whole, sampled = score_asw(POINTS, labels), score_asw(POINTS, labels, sample_size=200, seed=1)
    assert sampled == pytest.approx(whole, abs=0.03)
    assert sampled == score_asw(POINTS, labels, sample_size=200, seed=1)
    assert "rare" in score_asw_per_label(POINTS, labels, sample_size=20).dropna().index


def kbet_by_hand(points: np.ndarray, batches: np.ndarray, k: int) -> float:
    names, sizes = np.unique(batches, return_counts=True)
    accepted = []
    for point in points:
        near = np.argsort(np.linalg.norm(points - point, axis=1), kind="stable")[:k]
        observed = [(batches[near] == name).sum() for name in names]
        accepted.append(stats.chisquare(observed, k * sizes / sizes.sum()).pvalue >= 0.05)
    return float(np.mean(accepted))


def test_kbet_equals_a_chi_square_test_per_cell() -> None:
    assert score_kbet(POINTS, BATCHES) == pytest.approx(kbet_by_hand(POINTS, BATCHES, 15))
    assert score_kbet(POINTS, BATCHES, n_neighbors=30) == pytest.approx(kbet_by_hand(POINTS, BATCHES, 30))


def test_kbet_is_high_for_mixed_and_low_for_separate_batches() -> None:
    points, batches = RNG.normal(size=(1500, 4)), RNG.integers(0, 2, 1500)
    assert score_kbet(points, batches, n_neighbors=60) == pytest.approx(0.95, abs=0.035)
    assert score_kbet(points + 20 * batches[:, None], batches) == 0


def test_ebm_equals_the_entropy_of_each_neighbourhood() -> None:
    near = np.argsort(np.linalg.norm(POINTS[:, None] - POINTS[None], axis=2), axis=1)[:, :15]
    entropies = [stats.entropy(pd.Series(BATCHES[row]).value_counts()) for row in near]
    assert score_ebm(POINTS, BATCHES) == pytest.approx(np.mean(entropies))
    assert score_ebm(POINTS + 99 * (BATCHES == "x")[:, None], np.where(BATCHES == "x", "x", "y")) == 0


@pytest.mark.parametrize("score", [score_kbet, score_ebm])
def test_one_batch_gives_not_a_number(score: Callable[..., float]) -> None:
    assert np.isnan(score(POINTS, np.repeat("x", 300)))


@pytest.mark.parametrize("score", [score_kbet, score_ebm])
def test_neighbours_known_already_change_nothing(score: Callable[..., float]) -> None:
    assert score(POINTS, BATCHES, neighbors=nearest_neighbors(POINTS, 20)) == pytest.approx(score(POINTS, BATCHES))


def test_each_cell_is_its_own_first_neighbour_even_among_equals() -> None:
    points = np.repeat(RNG.normal(size=(10, 3)), 4, axis=0)
    indices, distances = find_neighbors(points, 6)
    assert (indices[:, 0] == np.arange(40)).all()
    assert (distances[:, :4] < 1e-6).all()
    assert all(len(set(row)) == 6 for row in indices.tolist())
    assert (np.diff(distances, axis=1) >= 0).all()


def test_few_cells_have_few_neighbours() -> None:
    assert nearest_neighbors(POINTS[:4], 15).shape == (4, 4)
    assert nearest_neighbors(POINTS[:1], 15).tolist() == [[0]]


def test_a_cell_is_taken_out_of_its_own_approximate_neighbours() -> None:
    found, distances = np.array([[0, 2, 1], [2, 1, 0], [0, 1, 3]]), np.array([[0, 1, 2], [0, 0, 1], [1, 2, 3.0]])
    others, apart = _without_self(found, distances)
    assert others.tolist() == [[2, 1], [2, 0], [0, 1]]
    assert apart.tolist() == [[1, 2], [0, 1], [1, 2]]


@pytest.mark.slow  # pynndescent compiles itself for 40 s
def test_approximate_neighbours_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = nearest_neighbors(POINTS, 15)
    monkeypatch.setattr("scetm_core.metrics._neighbors.N_CELLS_EXACT", 10)
    approximate = nearest_neighbors(POINTS, 15)
    assert (approximate[:, 0] == np.arange(300)).all()
    shared = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), approximate.tolist(), strict=True)]
    assert np.mean(shared) > 14.5
    assert (approximate == nearest_neighbors(POINTS, 15)).all()


def test_evaluate_gathers_the_scores() -> None:
    clusters = {0.1: CLUSTERS, 0.2: LABELS, 0.4: np.repeat(0, 300)}
    scores = evaluate(POINTS, clusters_by_resolution=clusters, fixed_resolution=0.1, labels=LABELS, batches=BATCHES)
    assert scores["ari"] == score_ari(LABELS, CLUSTERS)
    assert scores["nmi"] == score_nmi(LABELS, CLUSTERS)
    assert (scores["best_ari"], scores["best_nmi"], scores["best_resolution"]) == pytest.approx((1, 1, 0.2))
    assert scores["asw"] == score_asw(POINTS, LABELS)
    assert scores["kbet"] == pytest.approx(score_kbet(POINTS, BATCHES))
    assert scores["ebm"] == pytest.approx(score_ebm(POINTS, BATCHES))
    assert (scores["fixed_resolution"], scores["n_clusters"]) == (0.1, 3)


def test_evaluate_without_labels_or_batches_says_none() -> None:
    scores = evaluate(POINTS, clusters_by_resolution={0.1: CLUSTERS}, fixed_resolution=0.1)
    unknown = {"ari", "nmi", "best_ari", "best_nmi", "best_resolution", "asw", "kbet", "ebm"}
    assert {name for name, score in scores.items() if score is None} == unknown


def test_evaluate_refuses_a_resolution_that_was_not_clustered() -> None:
    with pytest.raises(DataError, match=r"fixed resolution 0\.16; found: \[0\.1\]"):
        evaluate(POINTS, clusters_by_resolution={0.1: CLUSTERS}, fixed_resolution=0.16)
