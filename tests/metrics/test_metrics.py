"""Do the scores equal independent implementations, and mean what they say?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from scetm_core.errors import DataError
from scetm_core.metrics import (
    Neighbors,
    evaluate,
    find_neighbors,
    nearest_neighbors,
    score_ari,
    score_asw,
    score_asw_per_label,
    score_asw_per_label_and_batch,
    score_batch_asw,
    score_clisi,
    score_ebm,
    score_graph_connectivity,
    score_ilisi,
    score_kbet,
    score_nmi,
    silhouette_widths,
)
from scetm_core.metrics._neighbors import _without_self

RNG = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"])[RNG.integers(0, 3, 300)]
CLUSTERS = np.where(RNG.random(300) < 0.7, RNG.permutation(LABELS), LABELS)
POINTS = RNG.normal(size=(300, 5)) + 1.5 * (LABELS == "a")[:, None]
BATCHES = np.array(["x", "y", "z"])[RNG.choice(3, 300, p=[0.5, 0.3, 0.2])]

SCIB = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import scib_metrics as scib
from scib_metrics.nearest_neighbors import NeighborsResults

cells = np.load(sys.argv[1])
points, labels, batches = cells["points"], cells["labels"], cells["batches"]
near = NeighborsResults(indices=cells["indices"], distances=cells["distances"])
scores = {
    "ilisi": scib.ilisi_knn(near, batches),
    "clisi": scib.clisi_knn(near, labels),
    "ilisi of 50": scib.ilisi_knn(near.subset_neighbors(50), batches),
    "graph_connectivity": scib.graph_connectivity(near.subset_neighbors(15), labels),
    "asw": scib.silhouette_label(points, labels, rescale=False),
    "batch_asw": scib.silhouette_batch(points, labels, batches),
    "kbet": scib.kbet(near.subset_neighbors(15), batches)[0],
    "kbet of 40": scib.kbet(near.subset_neighbors(40), batches)[0],
}
print(json.dumps({name: float(score) for name, score in scores.items()}))
"""
"""Scores of scib-metrics. In a process of its own: jax warns at each later fork of a process that it has been in."""


@pytest.fixture(scope="module")
def like_real() -> dict[str, np.ndarray]:
    """An embedding of six clusters of 3 to 40 %, three unequal batches that shift it, one type in one batch only."""
    rng = np.random.default_rng(7)
    types, batches = rng.choice(6, 600, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03]), rng.choice(3, 600, p=[0.6, 0.3, 0.1])
    batches[types == 3] = 0
    centres, shifts = 1.5 * rng.normal(size=(6, 10)), 0.4 * rng.normal(size=(3, 10))
    points = centres[types] + shifts[batches] + rng.normal(size=(600, 10))
    indices, distances = find_neighbors(points, 90)
    names = {"labels": np.array(list("rstuvw"))[types], "batches": np.array(["x", "y", "z"])[batches]}
    return {"points": points, "indices": indices, "distances": distances, **names}


@pytest.fixture(scope="module")
def scib(like_real: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    path: Path = tmp_path_factory.mktemp("scib") / "cells.npz"
    np.savez(path, **like_real)
    done = subprocess.run([sys.executable, "-c", SCIB, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@pytest.mark.slow  # jax compiles for some seconds
def test_scores_equal_scib_metrics(like_real: dict[str, np.ndarray], scib: dict[str, float]) -> None:
    points, labels, batches, indices, distances = (
        like_real[name] for name in ("points", "labels", "batches", "indices", "distances")
    )
    near = Neighbors(indices, distances)
    assert score_ilisi(points, batches, neighbors=near) == pytest.approx(scib["ilisi"], abs=2e-5)
    assert score_clisi(points, labels, neighbors=near) == pytest.approx(scib["clisi"], abs=2e-5)
    fewer = Neighbors(indices[:, :50], distances[:, :50])
    assert score_ilisi(points, batches, neighbors=fewer) == pytest.approx(scib["ilisi of 50"], abs=2e-5)
    assert score_graph_connectivity(points, labels, neighbors=indices) == pytest.approx(scib["graph_connectivity"])
    assert score_asw(points, labels) == pytest.approx(scib["asw"], abs=1e-5)
    assert score_batch_asw(points, labels, batches) == pytest.approx(scib["batch_asw"], abs=1e-5)
    assert score_kbet(points, batches, neighbors=indices) == pytest.approx(scib["kbet"])
    assert score_kbet(points, batches, n_neighbors=40, neighbors=indices) == pytest.approx(scib["kbet of 40"])
    assert all(0.02 < score < 0.9999 for score in scib.values())  # none of them is equal for want of trying


@pytest.mark.slow
def test_evaluate_gives_what_scib_metrics_gives(like_real: dict[str, np.ndarray], scib: dict[str, float]) -> None:
    points, labels = like_real["points"], like_real["labels"]
    scores = evaluate(
        points, clusters_by_resolution={1: labels}, fixed_resolution=1, labels=labels, batches=like_real["batches"]
    )
    shared = ("ilisi", "clisi", "graph_connectivity", "asw", "batch_asw", "kbet")
    assert [scores[name] for name in shared] == pytest.approx([scib[name] for name in shared], abs=2e-5)


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


def test_one_pass_serves_every_mean_of_silhouettes() -> None:
    widths = silhouette_widths(POINTS, LABELS, sample_size=120, seed=2)
    assert np.isfinite(widths).sum() == pytest.approx(150, abs=2)  # 50 of each label at least
    options = {"sample_size": 120, "seed": 2}
    assert score_asw(POINTS, LABELS, widths=widths) == score_asw(POINTS, LABELS, **options)
    pd.testing.assert_series_equal(
        score_asw_per_label(POINTS, LABELS, widths=widths), score_asw_per_label(POINTS, LABELS, **options)
    )
    pd.testing.assert_frame_equal(
        score_asw_per_label_and_batch(POINTS, LABELS, BATCHES, widths=widths),
        score_asw_per_label_and_batch(POINTS, LABELS, BATCHES, **options),
    )
    with pytest.raises(DataError, match="widths of 299 cells for 300 cells"):
        score_asw(POINTS, LABELS, widths=widths[1:])


def test_asw_per_label_and_batch_is_the_mean_over_the_cells_of_both() -> None:
    batches = pd.Series(np.where(LABELS == "b", "x", BATCHES), dtype=object)
    batches[:30] = None  # these count as surroundings only
    table = score_asw_per_label_and_batch(POINTS, LABELS, batches)
    cells = pd.DataFrame({"label": LABELS, "batch": batches, "width": sk.silhouette_samples(POINTS, LABELS)})
    expected = cells.pivot_table(index="label", columns="batch", values="width", aggfunc="mean")
    pd.testing.assert_frame_equal(table.loc[[*"abc"], [*"xyz"]], expected, check_names=False)
    assert table.loc["b", ["y", "z"]].isna().all()
    assert score_asw_per_label_and_batch(POINTS, np.repeat("a", 300), batches).isna().all(axis=None)


def batch_asw_by_hand(points: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> float:
    means = []
    for label in np.unique(labels):
        own = labels == label
        if 2 <= len(np.unique(batches[own])) < own.sum():
            means.append(np.mean(1 - np.abs(sk.silhouette_samples(points[own], batches[own]))))
    return float(np.mean(means))


def test_batch_asw_equals_scikit_learn_within_each_label() -> None:
    batches = np.where(LABELS == "b", "x", BATCHES)  # so that b does not count
    assert score_batch_asw(POINTS, LABELS, batches) == pytest.approx(batch_asw_by_hand(POINTS, LABELS, batches))
    holes = pd.Series(LABELS, dtype=object).where(np.arange(300) >= 40, None)
    expected = batch_asw_by_hand(POINTS[40:], LABELS[40:], batches[40:])
    assert score_batch_asw(POINTS, holes, batches) == pytest.approx(expected)


def test_batch_asw_is_high_for_mixed_and_low_for_separate_batches() -> None:
    points, codes = np.random.default_rng(1).normal(size=(600, 4)), np.arange(600)
    assert score_batch_asw(points, codes % 3, codes // 3 % 2) > 0.97
    assert score_batch_asw(points + 90 * (codes // 3 % 2)[:, None], codes % 3, codes // 3 % 2) < 0.05


def test_batch_asw_of_a_sample_stays_close() -> None:
    points, labels, batches = np.tile(POINTS, (4, 1)), np.tile(LABELS, 4), np.tile(BATCHES, 4)
    points = points + np.random.default_rng(1).normal(size=points.shape)
    points[batches == "z"] += 2
    whole, sampled = (score_batch_asw(points, labels, batches, sample_size=size, seed=3) for size in (10_000, 600))
    assert sampled == pytest.approx(whole, abs=0.03)
    assert sampled == score_batch_asw(points, labels, batches, sample_size=600, seed=3) != whole


def test_batch_asw_of_one_batch_or_lone_cells_is_not_a_number() -> None:
    assert np.isnan(score_batch_asw(POINTS, LABELS, np.repeat("x", 300)))
    assert np.isnan(score_batch_asw(POINTS, np.arange(300), BATCHES))
    assert np.isnan(score_batch_asw(POINTS, np.repeat(None, 300), BATCHES))


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
    assert scores["ilisi"] == score_ilisi(POINTS, BATCHES)
    assert scores["clisi"] == score_clisi(POINTS, LABELS)
    assert scores["graph_connectivity"] == pytest.approx(score_graph_connectivity(POINTS, LABELS))
    assert scores["batch_asw"] == score_batch_asw(POINTS, LABELS, BATCHES)
    assert (scores["fixed_resolution"], scores["n_clusters"]) == (0.1, 3)


def test_evaluate_without_labels_or_batches_says_none() -> None:
    scores = evaluate(POINTS, clusters_by_resolution={0.1: CLUSTERS}, fixed_resolution=0.1)
    of_labels = {"ari", "nmi", "best_ari", "best_nmi", "best_resolution", "asw", "clisi", "graph_connectivity"}
    of_batches = {"kbet", "ebm", "ilisi"}
    assert {name for name, score in scores.items() if score is None} == of_labels | of_batches | {"batch_asw"}
    scores = evaluate(POINTS, clusters_by_resolution={0.1: CLUSTERS}, fixed_resolution=0.1, batches=BATCHES)
    assert {name for name, score in scores.items() if score is None} == of_labels | {"batch_asw"}


def test_evaluate_with_neighbours_known_already_changes_nothing() -> None:
    options = {"clusters_by_resolution": {1: CLUSTERS}, "fixed_resolution": 1, "labels": LABELS, "batches": BATCHES}
    assert evaluate(POINTS, **options, neighbors=find_neighbors(POINTS, 90)) == evaluate(POINTS, **options)


def test_the_order_of_cells_changes_no_score() -> None:
    order = np.random.default_rng(1).permutation(300)
    one, other = (
        evaluate(
            POINTS[rows],
            clusters_by_resolution={0.1: CLUSTERS[rows]},
            fixed_resolution=0.1,
            labels=LABELS[rows],
            batches=BATCHES[rows],
        )
        for rows in (np.arange(300), order)
    )
    assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "batches", "undefined"),
    [
        pytest.param(["rare", *LABELS[1:]], ["lone", *BATCHES[1:]], set(), id="groups of one cell"),
        pytest.param([None] * 300, BATCHES, {"ari", "nmi", "asw", "clisi", "graph_connectivity"}, id="no label"),
        pytest.param(LABELS, [None] * 300, {"kbet", "ebm", "ilisi", "batch_asw"}, id="no batch"),
        pytest.param(LABELS, ["x"] * 300, {"kbet", "ebm", "ilisi", "batch_asw"}, id="one batch"),
        pytest.param([None, *LABELS[1:]], [*BATCHES[1:], np.nan], set(), id="some missing"),
        pytest.param(["a"] * 300, BATCHES, {"asw", "clisi"}, id="one label"),
    ],
)
def test_evaluate_copes_with_what_data_hold(labels: list[object], batches: list[object], undefined: set[str]) -> None:
    scores = evaluate(POINTS, clusters_by_resolution={1: CLUSTERS}, fixed_resolution=1, labels=labels, batches=batches)
    wanted = {"ari", "nmi", "asw", "clisi", "graph_connectivity", "kbet", "ebm", "ilisi", "batch_asw"}
    if "graph_connectivity" in undefined:
        undefined = undefined | {"batch_asw"}
    assert {name for name in wanted if np.isnan(scores[name])} == undefined


@pytest.mark.parametrize("n_cells", [1, 2, 3, 10])
def test_evaluate_copes_with_few_cells(n_cells: int) -> None:
    scores = evaluate(
        POINTS[:n_cells],
        clusters_by_resolution={1: np.zeros(n_cells)},
        fixed_resolution=1,
        labels=np.arange(n_cells) % 2,
        batches=np.arange(n_cells) // 2,
    )
    assert None not in scores.values()
    assert np.isnan(scores["ilisi"]) == (n_cells < 6)


def test_evaluate_refuses_a_resolution_that_was_not_clustered() -> None:
    with pytest.raises(DataError, match=r"fixed resolution 0\.16; found: \[0\.1\]"):
        evaluate(POINTS, clusters_by_resolution={0.1: CLUSTERS}, fixed_resolution=0.16)
