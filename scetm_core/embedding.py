"""Which cells are alike, which clusters do they form, and how do they lie in two dimensions?

Heavy libraries are imported by the functions that need them. scanpy would do the same steps, but its neighbour
graph compiles umap-learn's functions anew in each process (4 s here); the few lines below need no compiler, so that
clusters of 2,000 cells take a second, and only the layout itself is left to umap-learn.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.metrics._neighbors import Neighbors, as_embedding, find_neighbors, nearest_in

if TYPE_CHECKING:
    import anndata as ad
    from scipy import sparse

RESOLUTIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Leiden resolutions the paper looks at; higher gives more clusters."""
FIXED_RESOLUTION = 0.16
"""The resolution settled beforehand, without a look at any labels, for the clusters and scores we report."""
N_NEIGHBORS = 15
MAX_PLACED_BY = 100_000  # cells of a map among which the nearest of new ones are looked for


def embed(
    result: ad.AnnData,
    *,
    use_rep: str = keys.DELTA,
    neighbors: Neighbors | None = None,
    seed: int = 0,
    umap: bool = True,
) -> dict[float, np.ndarray]:
    """Cluster the cells of a result and lay them out; fills obs["leiden"] and, with `umap`, obsm["X_umap"].

    Parameters
    ----------
    result
        Changed in place.
    use_rep
        Slot of obsm to start from: delta, not theta.
    neighbors
        From `metrics.find_neighbors`, if already known; the first `N_NEIGHBORS` of each cell are used.
    seed
        Same seed, same clusters and layout.
    umap
        Whether to lay out (about 4 s for 2,000 cells, most of it the same for 200).

    Returns
    -------
    Resolution -> (n_cells,) cluster numbers, 0 the largest. obs["leiden"] holds those at `FIXED_RESOLUTION`.

    Raises
    ------
    DataError
        If there is no such slot, or its values are not finite.
    """
    if use_rep not in result.obsm:
        raise DataError(f"obsm has no {use_rep!r}; found: {sorted(result.obsm)}.")
    points = as_embedding(result.obsm[use_rep])
    found = find_neighbors(points, N_NEIGHBORS, seed=seed) if neighbors is None else neighbors
    graph = neighbor_graph(nearest(found))
    clusters = leiden_clusters(graph, seed=seed)
    result.obs[keys.LEIDEN] = as_categories(clusters[FIXED_RESOLUTION])
    if umap:
        result.obsm[keys.X_UMAP] = umap_layout(points, graph, seed=seed)
    return clusters


def nearest(neighbors: Neighbors) -> Neighbors:
    """The first `N_NEIGHBORS` of each cell: those that clusters, maps and most scores look at."""
    return Neighbors(neighbors.indices[:, :N_NEIGHBORS], neighbors.distances[:, :N_NEIGHBORS])


def neighbor_graph(neighbors: Neighbors) -> sparse.csr_matrix:
    """Weigh the links between neighbouring cells as UMAP does.

    Each cell's links fall off as exp(-(d - d_nearest) / width), the width chosen so that they sum to log2(k); a link
    seen from both ends counts a + b - ab.

    Parameters
    ----------
    neighbors
        From `metrics.find_neighbors`, the cell itself first.

    Returns
    -------
    (n_cells, n_cells) symmetric, weights in (0, 1], empty diagonal.

    Notes
    -----
    McInnes, Healy, Melville (2018), section 3.1; equal to umap-learn's `fuzzy_simplicial_set` with default settings.
    """
    from scipy import sparse

    n_cells, k = neighbors.indices.shape
    excess, nearest = neighbors.distances[:, 1:].astype(np.float64), np.zeros((n_cells, 1))
    if k > 1:
        positive = np.where(excess > 0, excess, np.inf).min(axis=1, keepdims=True)
        nearest = np.where(np.isfinite(positive), positive, 0.0)
    excess = np.maximum(excess - nearest, 0.0)  # (n_cells, k - 1)
    width = _widths(excess, target=np.log2(max(k, 2)))
    mean = neighbors.distances.mean(axis=1, keepdims=True)
    width = np.maximum(width, 1e-3 * np.where(nearest > 0, mean, neighbors.distances.mean()))
    weights = np.exp(-np.divide(excess, width, out=np.zeros_like(excess), where=width > 0))
    rows = np.repeat(np.arange(n_cells), k - 1)
    directed = sparse.csr_matrix((weights.ravel(), (rows, neighbors.indices[:, 1:].ravel())), shape=(n_cells, n_cells))
    back = directed.T.tocsr()
    graph = (directed + back - directed.multiply(back)).tocsr().astype(np.float32)
    graph.eliminate_zeros()
    return graph


def _widths(excess: np.ndarray, *, target: float) -> np.ndarray:
    """(n_cells, 1) widths at which a cell's link weights sum to `target`, by bisection."""
    low, high = np.zeros((len(excess), 1)), np.full((len(excess), 1), np.inf)
    width = np.ones((len(excess), 1))
    for _ in range(64):
        total = np.exp(-excess / width).sum(axis=1, keepdims=True)
        high, low = np.where(total > target, width, high), np.where(total > target, low, width)
        width = np.where(np.isinf(high), 2 * width, (low + high) / 2)
    return width


def leiden_clusters(
    graph: sparse.csr_matrix, *, resolutions: Sequence[float] = RESOLUTIONS, seed: int = 0
) -> dict[float, np.ndarray]:
    """Leiden clusters of the neighbour graph at each resolution.

    Returns
    -------
    Resolution -> (n_cells,) cluster numbers, 0 the largest.

    Notes
    -----
    Traag, Waltman, van Eck (2019); igraph's version, two iterations on modularity, as scanpy's `flavor="igraph"`.
    """
    import igraph
    from scipy import sparse

    links = sparse.triu(graph, k=1).tocoo()
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack([links.row, links.col]))
    found = {}
    for resolution in resolutions:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            partition = network.community_leiden(
                objective_function="modularity", weights=links.data.astype(float), resolution=resolution, n_iterations=2
            )
        finally:
            igraph.set_random_number_generator(random)  # igraph's own default
        found[resolution] = _largest_first(np.asarray(partition.membership))
    return found


def _largest_first(clusters: np.ndarray) -> np.ndarray:
    """Clusters numbered anew by falling size; ties keep their order."""
    order = np.argsort(-np.bincount(clusters), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbers: np.ndarray = rank[clusters]
    return numbers


def as_categories(clusters: np.ndarray) -> pd.Categorical[str]:
    """Cluster numbers as the strings "0", "1", ... in that order."""
    names = pd.Index([str(number) for number in range(int(clusters.max(initial=-1)) + 1)], dtype=object)
    return pd.Categorical.from_codes(clusters.astype(np.int64), categories=names)


def umap_layout(
    embedding: np.ndarray, graph: sparse.csr_matrix, *, min_dist: float = 0.3, spread: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Lay cells out in two dimensions so that linked cells lie close.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions); its first two principal components are the start.
    graph
        From `neighbor_graph`.
    min_dist, spread
        How tightly points pack, and the scale of the whole (the paper's values).
    seed
        Same seed, same layout.

    Returns
    -------
    (n_cells, 2) float32. Distances between far clusters mean little.
    """
    points = as_embedding(embedding)
    if len(points) < 4:  # nothing to lay out: side by side
        return np.column_stack([np.arange(len(points)), np.zeros(len(points))]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        from umap.umap_ import find_ab_params, simplicial_set_embedding
    a, b = find_ab_params(spread, min_dist)
    layout, _ = simplicial_set_embedding(
        points.astype(np.float32),
        graph.tocoo(),
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=500 if len(points) <= 10_000 else 200,
        init=_start(points, seed=seed),
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,  # several threads would make it differ from run to run
    )
    return np.asarray(layout, dtype=np.float32)


def place_in_layout(
    reference: np.ndarray,
    layout: np.ndarray,
    points: np.ndarray,
    *,
    min_dist: float = 0.3,
    spread: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Give new cells a place on a map that is there already, which stays as it is.

    Parameters
    ----------
    reference
        (n_reference, n_dimensions), the cells of the map; of more than 100,000, a sample is looked at.
    layout
        (n_reference, 2), their places.
    points
        (n_cells, n_dimensions), the new cells, in the same dimensions.
    min_dist, spread
        Those of the map.
    seed
        Same seed, same places.

    Returns
    -------
    (n_cells, 2) float32.

    Notes
    -----
    As umap-learn's `transform`: each cell begins at the weighted mean of its 15 nearest reference cells, and is moved
    while these hold still. That function would compile its own search of neighbours for half a minute first.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        from umap.layouts import optimize_layout_euclidean
        from umap.umap_ import find_ab_params, make_epochs_per_sample
    known, new = as_embedding(reference), as_embedding(points)
    places = np.ascontiguousarray(layout, dtype=np.float32)
    rng = np.random.RandomState(seed)
    if len(known) > MAX_PLACED_BY:
        rows = np.sort(rng.choice(len(known), MAX_PLACED_BY, replace=False))
        known, places = known[rows], places[rows]
    near = nearest_in(known, new, N_NEIGHBORS)
    k = near.indices.shape[1]
    distances = near.distances.astype(np.float64)
    width = np.maximum(_widths(distances, target=np.log2(max(k, 2))), 1e-3 * distances.mean())
    weights = np.exp(-np.divide(distances, width, out=np.zeros_like(distances), where=width > 0))  # (n_cells, k)
    shares = weights / weights.sum(axis=1, keepdims=True)
    start = np.einsum("ck,ckd->cd", shares, places[near.indices]).astype(np.float32)
    n_epochs = 100 if len(new) <= 10_000 else 30
    kept = weights.ravel() >= weights.max() / n_epochs
    a, b = find_ab_params(spread, min_dist)
    moved = optimize_layout_euclidean(
        start,
        places.copy(),
        np.repeat(np.arange(len(new)), k)[kept],
        near.indices.ravel()[kept],
        n_epochs,
        len(places),
        make_epochs_per_sample(weights.ravel()[kept], n_epochs),
        a,
        b,
        rng.randint(-(2**31) + 1, 2**31 - 1, 3).astype(np.int64),
        gamma=1.0,
        initial_alpha=0.25,
        negative_sample_rate=5,
        parallel=False,
        move_other=False,
    )
    return np.asarray(moved, dtype=np.float32)


def _start(points: np.ndarray, *, seed: int) -> np.ndarray:
    """(n_cells, 2) first principal components within +-10, with a little noise so that equal cells can part."""
    centred = points - points.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, np.argsort(values)[::-1][:2]]
    axes = axes * np.sign(
        axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    )  # the sign is not given by the data
    start = np.zeros((len(points), 2))
    start[:, : axes.shape[1]] = centred @ axes
    start *= 10 / max(float(np.abs(start).max()), 1e-12)
    return (start + np.random.default_rng(seed).normal(scale=1e-3, size=start.shape)).astype(np.float32)
