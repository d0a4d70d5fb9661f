"""Do transferred labels equal those of the established classifiers, and are they scored as by hand?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from scetm_core import label_transfer
from scetm_core.errors import TransferError
from scetm_core.label_transfer import CENTROID, CONFIDENCE, LABEL, same_label, score_transfer, transfer_labels

KINDS = np.array(["alpha", "beta", "delta", "gamma"])


def overlapping(n_cells: int, *, seed: int) -> tuple[np.ndarray, pd.Series]:
    """Points of four kinds that overlap, so that votes are divided."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, n_cells, p=[0.4, 0.3, 0.2, 0.1])
    points = 1.5 * np.eye(4, 5)[codes] + rng.normal(size=(n_cells, 5))
    return points, pd.Series(pd.Categorical(KINDS[codes]), name="cell_type")


@pytest.mark.parametrize("n_neighbors", [1, 15])
def test_votes_equal_those_of_scikit_learn(n_neighbors: int) -> None:
    (points, labels), (target, _) = overlapping(400, seed=0), overlapping(150, seed=1)
    table, said = transfer_labels(points, labels, target, n_neighbors=n_neighbors)
    expected = KNeighborsClassifier(n_neighbors, weights="uniform").fit(points, labels.astype(str))
    shares = expected.predict_proba(target)
    np.testing.assert_allclose(table[CONFIDENCE], shares.max(axis=1), rtol=1e-6)
    is_clear = (shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert is_clear.mean() > 0.8
    assert (table[LABEL].astype(str).to_numpy() == expected.predict(target))[is_clear].all()
    assert list(table[LABEL].cat.categories) == list(KINDS)
    assert said == []


def test_of_equal_votes_the_label_of_the_nearest_cell_is_given() -> None:
    points = np.array([[0.0], [1.0], [2.0], [3.0]])
    labels = pd.Series(["b", "a", "a", "b"])
    table, _ = transfer_labels(points, labels, np.array([[-1.0], [1.4]]), n_neighbors=4)
    assert table[LABEL].tolist() == ["b", "a"]
    assert table[CONFIDENCE].tolist() == [0.5, 0.5]


def test_the_nearest_mean_is_that_of_scikit_learn() -> None:
    (points, labels), (target, _) = overlapping(400, seed=2), overlapping(150, seed=3)
    table, _ = transfer_labels(points, labels, target)
    expected = NearestCentroid().fit(points, labels.astype(str)).predict(target)
    assert (table[CENTROID].astype(str).to_numpy() == expected).all()


def test_cells_without_a_label_have_no_vote() -> None:
    (points, labels), (target, _) = overlapping(300, seed=4), overlapping(100, seed=5)
    is_known = np.random.default_rng(6).random(300) < 0.6
    table, said = transfer_labels(points, labels.where(is_known), target)
    alone, _ = transfer_labels(points[is_known], labels[is_known], target)
    pd.testing.assert_frame_equal(table, alone)
    assert said == [f"{(~is_known).sum()} cells of the source without cell_type have no vote."]


def test_a_label_that_no_cell_bears_is_no_category() -> None:
    (points, labels), (target, _) = overlapping(100, seed=7), overlapping(20, seed=8)
    labels = labels.cat.add_categories(["unheard of"])
    table, _ = transfer_labels(points, labels, target)
    assert list(table[LABEL].cat.categories) == list(table[CENTROID].cat.categories) == list(KINDS)


def test_fewer_labelled_cells_than_votes_share_the_votes() -> None:
    points, target = np.array([[0.0], [1.0], [5.0]]), np.array([[0.2]])
    table, _ = transfer_labels(points, pd.Series(["a", "a", "b"]), target, n_neighbors=15)
    assert table[LABEL].tolist() == ["a"]
    assert table[CONFIDENCE].tolist() == pytest.approx([2 / 3])


def test_a_source_without_labels_is_refused() -> None:
    with pytest.raises(TransferError, match=r"has a label in 'kind'\. Choose another column"):
        transfer_labels(np.zeros((3, 2)), pd.Series([None, None, None], name="kind", dtype=object), np.zeros((1, 2)))


def test_of_a_large_source_a_sample_votes_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_transfer, "MAX_REFERENCE", 100)
    (points, labels), (target, _) = overlapping(400, seed=9), overlapping(50, seed=10)
    table, said = transfer_labels(points, labels, target, seed=1)
    again, _ = transfer_labels(points, labels, target, seed=1)
    pd.testing.assert_frame_equal(table, again)
    assert said == ["100 of the source's 400 labelled cells vote, drawn at random."]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("Beta cell", "beta-cell", True),
        ("T_reg ", "t reg", True),
        ("alpha", "ALPHA", True),
        ("CD4", "CD8", False),
        ("T cell", "Tcell", False),
        (3, "3", True),
    ],
)
def test_labels_are_the_same_whatever_the_case_and_the_hyphens(one: object, other: object, is_same: bool) -> None:
    assert (same_label(one) == same_label(other)) == is_same


def test_scores_are_those_by_hand() -> None:
    known = pd.Series(["Beta", "Beta", "Beta", "alpha-cell", "unheard of", None])
    given = pd.Series(pd.Categorical(["beta", "beta", "alpha cell", "alpha cell", "beta", "beta"]))
    assert score_transfer(known, given) == {
        "label_accuracy": 3 / 4,
        "label_balanced_accuracy": pytest.approx((2 / 3 + 1) / 2),
        "n_judged": 4,
        "n_unknown": 1,
    }


def test_where_there_is_nothing_to_judge_there_is_no_score() -> None:
    given = pd.Series(pd.Categorical(["a", "a"]))
    assert score_transfer(pd.Series(["x", None]), given) == {
        "label_accuracy": None,
        "label_balanced_accuracy": None,
        "n_judged": 0,
        "n_unknown": 1,
    }
