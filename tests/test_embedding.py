"""Are neighbours, clusters and layout those of the established tools, steady by seed, and safe for few cells?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.embedding import (
    FIXED_RESOLUTION,
    RESOLUTIONS,
    as_categories,
    embed,
    leiden_clusters,
    neighbor_graph,
    umap_layout,
)
from scetm_core.errors import DataError
from scetm_core.metrics import find_neighbors, nearest_neighbors, score_ari


def blobs(n_cells: int = 300, *, seed: int = 0) -> tuple[ad.AnnData, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, n_cells, p=[0.4, 0.3, 0.2, 0.1])
    delta = (10 * np.eye(4, 8)[truth] + rng.normal(size=(n_cells, 8))).astype(np.float32)
    names = [f"cell {i}" for i in range(n_cells)]
    return ad.AnnData(obs=pd.DataFrame(index=names), obsm={keys.DELTA: delta}), truth


def test_planted_groups_are_found_and_laid_out_apart() -> None:
    result, truth = blobs()
    clusters = embed(result)
    assert tuple(clusters) == RESOLUTIONS
    assert score_ari(truth, clusters[FIXED_RESOLUTION]) == pytest.approx(1)
    assert list(result.obs[keys.LEIDEN].cat.categories) == ["0", "1", "2", "3"]
    assert (result.obs[keys.LEIDEN].cat.codes == clusters[FIXED_RESOLUTION]).all()
    umap = result.obsm[keys.X_UMAP]
    assert umap.shape == (300, 2)
    assert umap.dtype == np.float32
    assert (truth[nearest_neighbors(umap, 10)] == truth[:, None]).mean() > 0.99


def test_clusters_are_numbered_by_falling_size() -> None:
    result, _ = blobs()
    clusters = embed(result, umap=False)
    assert keys.X_UMAP not in result.obsm
    for found in clusters.values():
        assert (np.diff(np.bincount(found)) <= 0).all()


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = blobs()[0], blobs()[0]
    clusters, again = embed(first, seed=3), embed(second, seed=3)
    assert all((clusters[resolution] == again[resolution]).all() for resolution in RESOLUTIONS)
    np.testing.assert_array_equal(first.obsm[keys.X_UMAP], second.obsm[keys.X_UMAP])


def test_pythons_own_random_numbers_are_not_reseeded() -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    embed(blobs(50)[0], umap=False)
    assert random.random() == expected


def test_the_graph_equals_that_of_umap_learn() -> None:
    from umap.umap_ import fuzzy_simplicial_set

    points = blobs()[0].obsm[keys.DELTA]
    points[5:9] = points[4]  # several cells at one place
    neighbors = find_neighbors(points, 15)
    reference, _, _ = fuzzy_simplicial_set(
        points,
        15,
        np.random.RandomState(0),
        "euclidean",
        knn_indices=neighbors.indices,
        knn_dists=neighbors.distances,
    )
    graph = neighbor_graph(neighbors)
    np.testing.assert_allclose(graph.toarray(), reference.toarray(), atol=2e-5)
    assert abs(graph - graph.T).max() == 0


def test_higher_resolutions_give_more_clusters() -> None:
    points = np.random.default_rng(0).normal(size=(300, 2))
    found = leiden_clusters(neighbor_graph(find_neighbors(points, 15)), resolutions=(0.01, 1.0))
    assert found[0.01].max() < found[1.0].max()


@pytest.mark.parametrize("n_cells", [1, 2, 3, 4, 10])
def test_fewer_cells_than_neighbours_do_no_harm(n_cells: int) -> None:
    result, _ = blobs(n_cells)
    embed(result)
    assert result.obsm[keys.X_UMAP].shape == (n_cells, 2)
    assert np.isfinite(result.obsm[keys.X_UMAP]).all()
    assert result.obs[keys.LEIDEN].notna().all()


def test_equal_cells_and_a_single_dimension_do_no_harm() -> None:
    points = np.ones((30, 1), dtype=np.float32)
    graph = neighbor_graph(find_neighbors(points, 15))
    assert np.isfinite(graph.data).all()
    assert np.isfinite(umap_layout(points, graph)).all()


def test_a_missing_slot_is_named() -> None:
    with pytest.raises(DataError, match=r"obsm has no 'X_pca'; found: \['delta'\]"):
        embed(blobs(20)[0], use_rep="X_pca")


def test_cluster_names_sort_as_numbers() -> None:
    assert list(as_categories(np.arange(12)).categories[-3:]) == ["9", "10", "11"]
