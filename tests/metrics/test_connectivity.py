"""Does graph connectivity tell a group in one piece from one in several? (scib-metrics' answer: test_metrics.py)"""

from __future__ import annotations

import igraph
import numpy as np
import pandas as pd
import pytest

from scetm_core.errors import DataError
from scetm_core.metrics import nearest_neighbors, score_graph_connectivity, score_graph_connectivity_per_label

RNG = np.random.default_rng(0)
N = 300
LABELS = np.array(["a", "b", "c"])[RNG.choice(3, N, p=[0.6, 0.3, 0.1])]
POINTS = RNG.normal(size=(N, 5)) + 0.8 * (LABELS == "a")[:, None]


def share_by_igraph(near: np.ndarray, cells: np.ndarray) -> float:
    graph = igraph.Graph([(cell, other) for cell in range(len(near)) for other in near[cell]], directed=True)
    return max(graph.induced_subgraph(cells).connected_components(mode="strong").sizes()) / len(cells)


@pytest.mark.parametrize("n_neighbors", [4, 15])
def test_connectivity_equals_igraph(n_neighbors: int) -> None:
    near = nearest_neighbors(POINTS, n_neighbors)
    shares = score_graph_connectivity_per_label(POINTS, LABELS, n_neighbors=n_neighbors)
    expected = {label: share_by_igraph(near, np.flatnonzero(np.equal(LABELS, label))) for label in "abc"}
    assert shares.to_dict() == pytest.approx(expected)
    assert list(shares.index) == list(pd.unique(LABELS))
    assert score_graph_connectivity(POINTS, LABELS, n_neighbors=n_neighbors) == pytest.approx(shares.mean())


def test_connectivity_by_hand() -> None:
    # links: 0 <-> 1, 2 -> 1, and between two labels 3 <-> 4; 2 is nobody's neighbour and stands alone
    near = np.array([[0, 1], [1, 0], [2, 1], [3, 4], [4, 3]])
    shares = score_graph_connectivity_per_label(np.zeros((5, 1)), list("aaabc"), neighbors=near)
    assert shares.to_dict() == pytest.approx({"a": 2 / 3, "b": 1, "c": 1})


def test_a_group_in_two_islands_scores_the_share_of_the_larger_one() -> None:
    points = np.concatenate([RNG.normal(size=(90, 3)), RNG.normal(size=(30, 3)) + 50])
    assert score_graph_connectivity(points, np.repeat("a", 120), n_neighbors=30) == pytest.approx(0.75)


def test_order_of_cells_and_neighbours_known_already_change_nothing() -> None:
    order, expected = RNG.permutation(N), score_graph_connectivity(POINTS, LABELS)
    assert score_graph_connectivity(POINTS[order], LABELS[order]) == pytest.approx(expected)
    assert score_graph_connectivity(POINTS, LABELS, neighbors=nearest_neighbors(POINTS, 90)) == expected


def test_cells_without_a_label_are_left_out() -> None:
    holes = pd.Series(LABELS, dtype=object).where(np.arange(N) >= 40, None)
    assert score_graph_connectivity(POINTS, holes) == pytest.approx(score_graph_connectivity(POINTS[40:], LABELS[40:]))
    near = nearest_neighbors(POINTS, 15)
    shares = score_graph_connectivity_per_label(POINTS, holes, neighbors=near)
    known = [share_by_igraph(near, np.flatnonzero(holes == label)) for label in shares.index]
    assert shares.tolist() == pytest.approx(known)
    assert np.isnan(score_graph_connectivity(POINTS, np.repeat(None, N)))


def test_one_cell_is_one_piece() -> None:
    assert score_graph_connectivity(POINTS[:1], ["a"]) == 1
    assert score_graph_connectivity_per_label(POINTS, ["rare", *LABELS[1:]])["rare"] == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="299 labels for 300 cells"):
        score_graph_connectivity(POINTS, LABELS[1:])
    with pytest.raises(DataError, match="neighbours of 299 cells for 300 cells"):
        score_graph_connectivity(POINTS, LABELS, neighbors=nearest_neighbors(POINTS[1:], 15))
