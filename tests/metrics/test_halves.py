"""Does the spread over halves of the cells give the standard error that theory gives?"""

from __future__ import annotations

import numpy as np
import pytest

from scetm_core.metrics import score_asw, score_intervals

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("max_cells", [20_000, 100, 1500])
@pytest.mark.parametrize("n_cells", [2000, 2001])
def test_the_standard_error_of_a_mean_is_that_of_theory(n_cells: int, max_cells: int) -> None:
    values = RNG.gamma(2, size=n_cells)
    found = score_intervals(lambda rows: {"mean": values[rows].mean()}, n_cells, n_repeats=2000, max_cells=max_cells)
    # 2,000 repeats know it to 1 / sqrt(4,000) = 1.6 %
    assert found.loc["mean", "se"] == pytest.approx(values.std(ddof=1) / np.sqrt(n_cells), rel=0.07)


def test_the_standard_error_is_that_of_new_cells_for_a_score_that_is_no_mean() -> None:
    labels = np.arange(300) % 2

    def points(rng: np.random.Generator) -> np.ndarray:
        return np.asarray(rng.normal(size=(300, 2)) + 2 * labels[:, None])

    anew = np.std([score_asw(points(np.random.default_rng(seed)), labels) for seed in range(60)], ddof=1)
    cells = points(np.random.default_rng(99))
    found = score_intervals(lambda rows: {"asw": score_asw(cells[rows], labels[rows])}, 300, n_repeats=60)
    assert found.loc["asw", "se"] == pytest.approx(anew, rel=0.35)


def test_it_scores_different_cells_in_order_half_of_them_and_no_more_than_allowed() -> None:
    seen: list[np.ndarray] = []

    def score(rows: np.ndarray) -> dict[str, float]:
        seen.append(rows)
        return {"n": float(len(rows))}

    assert score_intervals(score, 101, n_repeats=3).loc["n"].tolist() == [0, 3]
    score_intervals(score, 101, n_repeats=1, max_cells=7)
    assert [len(rows) for rows in seen] == [50, 50, 50, 7]
    assert all((np.diff(rows) > 0).all() for rows in seen)
    assert len({tuple(rows) for rows in seen}) == 4


def test_the_seed_decides_and_progress_is_told() -> None:
    told: list[float] = []
    values = RNG.normal(size=50)

    def spread(seed: int) -> float:
        found = score_intervals(
            lambda rows: {"mean": values[rows].mean()}, 50, n_repeats=4, seed=seed, on_progress=told.append
        )
        return float(found.loc["mean", "se"])

    assert spread(3) == spread(3) != spread(4)
    assert told == [0.25, 0.5, 0.75, 1] * 3


def test_values_that_are_missing_are_left_out_and_counted() -> None:
    answers = iter([
        {"kbet": 0.5, "asw": None, "ari": np.nan},
        {"kbet": 0.7, "asw": None, "ari": np.inf},
        {"kbet": np.nan, "asw": None, "ari": 0.2, "late": 1.0},
    ])  # fmt: skip
    found = score_intervals(lambda rows: next(answers), 10, n_repeats=3)
    assert found["n_repeats"].to_dict() == {"kbet": 2, "asw": 0, "ari": 1, "late": 1}
    assert found.loc["kbet", "se"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert found["se"].drop("kbet").isna().all()


@pytest.mark.parametrize("n_cells", [0, 1])
def test_without_two_halves_there_is_nothing_to_say(n_cells: int) -> None:
    found = score_intervals(lambda rows: {"n": 1.0}, n_cells)
    assert found.empty
    assert list(found) == ["se", "n_repeats"]
