"""Does LISI count the groups around a cell, as its definition says? (scib-metrics' answer: test_metrics.py)"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from scetm_core.errors import DataError
from scetm_core.metrics import N_NEIGHBORS_LISI, Neighbors, find_neighbors, inverse_simpson, score_clisi, score_ilisi

RNG = np.random.default_rng(0)
N = 400
TYPES = RNG.choice(4, N, p=[0.5, 0.3, 0.15, 0.05])
BATCHES = RNG.choice(3, N, p=[0.6, 0.3, 0.1])
POINTS = RNG.normal(size=(N, 6)) + 2 * RNG.normal(size=(4, 6))[TYPES] + 0.7 * RNG.normal(size=(3, 6))[BATCHES]
NEAR = find_neighbors(POINTS, N_NEIGHBORS_LISI)


def lisi_by_root_finding(indices: np.ndarray, distances: np.ndarray, codes: np.ndarray, perplexity: float) -> float:
    """LISI of one cell from its neighbours but itself, beta found by another method."""

    def weights(log_beta: float) -> np.ndarray:
        raw = np.exp(-np.exp(log_beta) * distances)
        return raw / raw.sum()

    def excess(log_beta: float) -> float:
        share = weights(log_beta)
        return float(-(share * np.log(share)).sum() - np.log(perplexity))

    share = weights(optimize.brentq(excess, -8, 4))
    return float(1 / sum(share[codes[indices] == code].sum() ** 2 for code in np.unique(codes)))


@pytest.mark.parametrize("perplexity", [10, 30])
def test_lisi_equals_the_definition_cell_by_cell(perplexity: int) -> None:
    lisi = inverse_simpson(NEAR, BATCHES, 3, perplexity=perplexity)
    for cell in range(0, N, 10):
        expected = lisi_by_root_finding(NEAR.indices[cell, 1:], NEAR.distances[cell, 1:], BATCHES, perplexity)
        assert lisi[cell] == pytest.approx(expected, rel=1e-4)


def test_lisi_by_hand_where_all_neighbours_are_equally_far() -> None:
    indices = np.array([[cell, *(other for other in range(7) if other != cell)] for cell in range(7)])
    distances = np.where(indices == np.arange(7)[:, None], 0, 2.0)
    lisi = inverse_simpson(Neighbors(indices, distances), np.array([0, 0, 0, 1, 1, 2, 2]), 3)
    assert lisi[0] == pytest.approx(1 / (3 * (2 / 6) ** 2))  # it meets two of each
    assert lisi[3] == pytest.approx(1 / ((3 / 6) ** 2 + (1 / 6) ** 2 + (2 / 6) ** 2))


def test_the_scores_are_scaled_medians() -> None:
    lisi = inverse_simpson(NEAR, BATCHES, 3)
    assert score_ilisi(POINTS, BATCHES, neighbors=NEAR) == pytest.approx((np.median(lisi) - 1) / 2)
    assert score_clisi(POINTS, BATCHES, neighbors=NEAR) == pytest.approx((3 - np.median(lisi)) / 2)


def test_ilisi_is_high_for_mixed_and_zero_for_separate_batches_and_clisi_the_other_way_round() -> None:
    points, codes = RNG.normal(size=(2000, 4)), np.arange(2000) % 2
    assert score_ilisi(points, codes) > 0.9
    assert score_clisi(points, codes) < 0.1
    apart = points + 50 * codes[:, None]
    assert score_ilisi(apart, codes) == 0
    assert score_clisi(apart, codes) == 1


@pytest.mark.parametrize("score", [score_ilisi, score_clisi])
def test_order_of_cells_names_and_scale_change_nothing(score: Callable[..., float]) -> None:
    order = RNG.permutation(N)
    names = np.array(["z", "x", "y"])[BATCHES]
    expected = score(POINTS, BATCHES)
    assert score(POINTS[order], names[order]) == pytest.approx(expected, rel=1e-3)
    assert score(POINTS * 1e5, BATCHES) == pytest.approx(expected, rel=1e-3)


def test_distances_large_against_their_differences_do_not_make_the_weights_vanish() -> None:
    far = Neighbors(NEAR.indices, NEAR.distances + 1e4 * (NEAR.distances > 0))
    expected = inverse_simpson(Neighbors(NEAR.indices, NEAR.distances.astype(np.float64)), BATCHES, 3)
    np.testing.assert_allclose(inverse_simpson(far, BATCHES, 3), expected, rtol=0.01)


@pytest.mark.parametrize("score", [score_ilisi, score_clisi])
def test_cells_without_a_group_are_left_out(score: Callable[..., float]) -> None:
    holes = pd.Series(BATCHES, dtype=object).where(np.arange(N) >= 60, None)
    assert score(POINTS, holes) == pytest.approx(score(POINTS[60:], BATCHES[60:]))
    assert score(POINTS, holes, neighbors=NEAR) == pytest.approx(score(POINTS, holes), abs=0.05)


def test_neighbours_without_a_group_are_as_if_they_were_not_in_the_list() -> None:
    codes = np.where(np.arange(N) < 60, -1, BATCHES)
    lisi = inverse_simpson(NEAR, codes, 3, perplexity=20)
    assert np.isnan(lisi[:60]).all()
    for cell in range(60, N, 20):
        known = codes[NEAR.indices[cell]] >= 0
        indices, distances = NEAR.indices[cell, known][1:], NEAR.distances[cell, known][1:]
        perplexity = min(20, known.sum() // 3)
        assert lisi[cell] == pytest.approx(lisi_by_root_finding(indices, distances, codes, perplexity), rel=1e-4)


@pytest.mark.parametrize("score", [score_ilisi, score_clisi])
def test_one_group_or_none_gives_not_a_number(score: Callable[..., float]) -> None:
    assert np.isnan(score(POINTS, np.repeat("x", N)))
    assert np.isnan(score(POINTS, np.repeat(None, N)))


@pytest.mark.parametrize("score", [score_ilisi, score_clisi])
def test_few_cells_lower_the_perplexity_and_too_few_give_not_a_number(score: Callable[..., float]) -> None:
    for n_cells in (6, 20, 89):
        assert 0 <= score(POINTS[:n_cells], np.arange(n_cells) % 2) <= 1
    for n_cells in (1, 2, 5):
        assert np.isnan(score(POINTS[:n_cells], np.arange(n_cells) % 2))
    narrow = Neighbors(NEAR.indices[:, :30], NEAR.distances[:, :30])
    assert score(POINTS, BATCHES, neighbors=narrow) == score(POINTS, BATCHES, neighbors=narrow, perplexity=10)


def test_more_neighbours_than_are_used_and_smaller_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = score_ilisi(POINTS, BATCHES, neighbors=NEAR)
    assert score_ilisi(POINTS, BATCHES, neighbors=find_neighbors(POINTS, 120)) == expected
    monkeypatch.setattr("scetm_core.metrics.lisi.N_VALUES_AT_ONCE", 700)
    assert score_ilisi(POINTS, BATCHES, neighbors=NEAR) == pytest.approx(expected)


def test_cells_at_the_same_place_count_alike() -> None:
    lisi = inverse_simpson(find_neighbors(np.zeros((40, 3)), 40), np.arange(40) % 2, 2)
    np.testing.assert_allclose(lisi, 1 / ((20 / 39) ** 2 + (19 / 39) ** 2))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="399 labels for 400 cells"):
        score_ilisi(POINTS, BATCHES[1:])
    with pytest.raises(DataError, match="neighbours of 400 cells for 399 cells"):
        score_clisi(POINTS[1:], BATCHES[1:], neighbors=NEAR)
    with pytest.raises(DataError, match=r"above 1; got 0\.5"):
        score_ilisi(POINTS, BATCHES, perplexity=0.5)
