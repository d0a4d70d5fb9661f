"""Do new cells find their place on a map that is there already, which stays as it is?"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from scetm_core import embedding
from scetm_core.embedding import neighbor_graph, place_in_layout, umap_layout
from scetm_core.errors import DataError
from scetm_core.metrics import find_neighbors, nearest_in

slow = pytest.mark.slow  # umap-learn compiles for seconds


def blobs(n_cells: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(n_cells) % 4
    return (6 * np.eye(4, 6)[truth] + rng.normal(size=(n_cells, 6))).astype(np.float32), truth


@pytest.fixture(scope="module")
def map_of_cells() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, their places, and the group of each."""
    points, truth = blobs(200, seed=0)
    return points, umap_layout(points, neighbor_graph(find_neighbors(points, 15))), truth


@slow
def test_new_cells_land_in_their_group_and_the_map_stays_as_it_is(
    map_of_cells: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points, layout, truth = map_of_cells
    before = points.copy(), layout.copy()
    new, groups = blobs(80, seed=1)
    places = place_in_layout(points, layout, new)
    assert places.shape == (80, 2)
    assert places.dtype == np.float32
    assert (truth[nearest_in(layout, places, 1).indices[:, 0]] == groups).mean() > 0.97
    np.testing.assert_array_equal(points, before[0])
    np.testing.assert_array_equal(layout, before[1])


@slow
def test_a_cell_of_the_map_given_as_a_new_one_lands_near_its_own_place(
    map_of_cells: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points, layout, truth = map_of_cells
    places = place_in_layout(points, layout, points)
    off = np.linalg.norm(places - layout, axis=1)
    spread = np.median([np.linalg.norm(layout[truth == group] - layout[truth == group].mean(0), axis=1).mean()
                        for group in range(4)])  # fmt: skip
    assert np.median(off) < spread, "nearer than cells of the group are to its middle"
    assert (truth[nearest_in(layout, places, 1).indices[:, 0]] == truth).mean() > 0.97


@slow
def test_the_same_seed_gives_the_same_places(map_of_cells: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    points, layout, _ = map_of_cells
    new, _ = blobs(40, seed=2)
    first = place_in_layout(points, layout, new, seed=3)
    np.testing.assert_array_equal(place_in_layout(points, layout, new, seed=3), first)
    assert (place_in_layout(points, layout, new, seed=4) != first).any()


@slow
@pytest.mark.parametrize("n_reference", [1, 3, 14])
def test_a_map_of_fewer_cells_than_neighbours_does_no_harm(n_reference: int) -> None:
    points, _ = blobs(n_reference, seed=0)
    layout = np.arange(2 * n_reference, dtype=np.float32).reshape(n_reference, 2)
    places = place_in_layout(points, layout, blobs(5, seed=1)[0])
    assert places.shape == (5, 2)
    assert np.isfinite(places).all()


@slow
def test_new_cells_that_all_lie_on_cells_of_the_map_do_no_harm() -> None:
    points = np.ones((20, 3), dtype=np.float32)
    places = place_in_layout(points, np.zeros((20, 2), dtype=np.float32), points[:4])
    assert np.isfinite(places).all()


@slow
def test_of_a_large_map_a_sample_is_looked_at(
    map_of_cells: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    points, layout, truth = map_of_cells
    monkeypatch.setattr(embedding, "MAX_PLACED_BY", 100)
    new, groups = blobs(40, seed=5)
    places = place_in_layout(points, layout, new)
    assert (truth[nearest_in(layout, places, 1).indices[:, 0]] == groups).mean() > 0.97


@slow
def test_places_agree_with_those_of_umap_learn() -> None:
    from umap import UMAP

    points, truth = blobs(120, seed=6)
    new, groups = blobs(40, seed=7)
    mapper = UMAP(n_neighbors=15, min_dist=0.3, random_state=0, n_jobs=1, force_approximation_algorithm=False)
    layout = np.asarray(mapper.fit_transform(points))
    theirs, ours = np.asarray(mapper.transform(new)), place_in_layout(points, layout, new)
    group_of = [truth[nearest_in(layout, places, 1).indices[:, 0]] for places in (theirs, ours)]
    assert (group_of[1] == groups).mean() > 0.97
    assert (group_of[0] == group_of[1]).mean() > 0.97


def test_the_nearest_cells_of_a_reference_are_those_of_scikit_learn() -> None:
    (points, _), (new, _) = blobs(60, seed=8), blobs(20, seed=9)
    found = nearest_in(points, new, 7)
    distances, indices = NearestNeighbors(n_neighbors=7, algorithm="kd_tree").fit(points).kneighbors(new)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-4)
    assert (nearest_in(points, points, 1).indices[:, 0] == np.arange(60)).all(), "a cell finds itself"
    assert nearest_in(points[:3], new, 7).indices.shape == (20, 3)


def test_values_that_are_no_numbers_are_refused() -> None:
    points, _ = blobs(20, seed=0)
    broken = points.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        nearest_in(points, broken, 3)
    with pytest.raises(DataError, match="finite"):
        place_in_layout(broken, np.zeros((20, 2), dtype=np.float32), points)
