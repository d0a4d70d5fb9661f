"""Do the cells of a known group hang together, or do they fall apart into islands? (graph connectivity)"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import nearest_neighbors


def score_graph_connectivity(
    embedding: np.ndarray, labels: Labels, *, n_neighbors: int = 15, neighbors: np.ndarray | None = None
) -> float:
    """Mean, over the labels, of the share of a label's cells that lie in its largest connected part.

    Parts are looked for in the graph of nearest neighbours, of which only the links within a label are kept. They are
    strongly connected: from each cell to each other one there is a way along links from a cell to one of its nearest.
    A cell that is nobody's neighbour is therefore a part of its own.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    labels
        (n_cells,) known groups, e.g. cell types; cells without one are left out.
    n_neighbors
        Cells per neighbourhood, the cell itself included.
    neighbors
        (n_cells, k) from `nearest_neighbors`, if already known; the first `n_neighbors` columns are used. If not,
        neighbours are looked for among the cells that have a label.

    Returns
    -------
    Between about 0 (a label's cells lie alone) and 1 (each label is one part); higher is better. Each label counts
    alike. Not-a-number without labels.

    Raises
    ------
    DataError
        If the number of labels, or of rows in `neighbors`, is not that of the cells, or the embedding is not finite.

    Notes
    -----
    Luecken et al., Nature Methods 2022. Equal to `graph_connectivity` of scib-metrics on the same neighbours, which
    takes the graph as directed; the older scib first makes it symmetric, and so comes out higher.
    """
    shares = score_graph_connectivity_per_label(embedding, labels, n_neighbors=n_neighbors, neighbors=neighbors)
    return float(shares.mean()) if len(shares) else float("nan")


def score_graph_connectivity_per_label(
    embedding: np.ndarray, labels: Labels, *, n_neighbors: int = 15, neighbors: np.ndarray | None = None
) -> pd.Series:
    """Share of each label's cells in its largest part; parameters, direction and errors: `score_graph_connectivity`.

    Returns
    -------
    One float per label, in order of first appearance; a label of one cell has 1.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    codes, names = label_codes(labels, n_cells=len(embedding))
    known = codes >= 0
    if neighbors is None:
        neighbors, codes = nearest_neighbors(np.asarray(embedding)[known], n_neighbors), codes[known]
    elif len(neighbors) != len(embedding):
        raise DataError(f"There are neighbours of {len(neighbors):,} cells for {len(embedding):,} cells.")
    near = neighbors[:, :n_neighbors]
    within = (codes[near] == codes[:, None]) & (codes[:, None] >= 0)
    links = (np.nonzero(within)[0], near[within])
    graph = coo_array((np.ones(len(links[0])), links), shape=(len(codes), len(codes)))
    _, parts = connected_components(graph.tocsr(), directed=True, connection="strong")
    # a part lies within one label, so the size of a cell's part tells of its label alone
    largest = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(largest, codes[codes >= 0], np.bincount(parts)[parts[codes >= 0]])
    return pd.Series(largest / np.bincount(codes[codes >= 0]), index=names, name="graph_connectivity", dtype=float)
