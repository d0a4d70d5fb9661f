"""How far apart do known groups of cells lie, compared with their own width? (average silhouette width)"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import as_embedding

N_CELLS_KEPT = 50
"""A group gives at least this many cells (or all it has) to the sample, so that rare types are not lost."""


def score_asw(embedding: np.ndarray, labels: Labels, *, sample_size: int = 10_000, seed: int = 0) -> float:
    """Mean silhouette width of the cells, by euclidean distance.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    labels
        (n_cells,) known groups, e.g. cell types; cells without one are left out.
    sample_size
        With more cells than this, silhouettes are measured on a sample of about this size, drawn within each group
        and weighted back to the groups' true sizes (all pairs of 100,000 cells would take hours).
    seed
        Of the sample.

    Returns
    -------
    1 if groups are tight and far apart, 0 if they touch, below 0 if cells lie closer to another group than to their
    own. A cell alone in its group counts 0. Not-a-number with fewer than two groups, or no two cells in one group.

    Raises
    ------
    DataError
        If the number of labels is not that of the cells, or the embedding is not finite.

    Notes
    -----
    Rousseeuw (1987). Equal to scikit-learn's `silhouette_score` where nothing is sampled.
    """
    widths, sizes = _widths_per_label(embedding, labels, sample_size=sample_size, seed=seed)
    return float(np.average(widths, weights=sizes)) if len(widths) and widths.notna().all() else float("nan")


def score_asw_per_label(
    embedding: np.ndarray, labels: Labels, *, sample_size: int = 10_000, seed: int = 0
) -> pd.Series:
    """Mean silhouette width of each group; parameters, direction and errors as in `score_asw`.

    Returns
    -------
    One float per label, in order of first appearance; not-a-number where `score_asw` would be.
    """
    return _widths_per_label(embedding, labels, sample_size=sample_size, seed=seed)[0]


def _widths_per_label(
    embedding: np.ndarray, labels: Labels, *, sample_size: int, seed: int
) -> tuple[pd.Series, np.ndarray]:
    """Mean width of each group, and how many cells each has in all."""
    from sklearn.metrics import silhouette_samples

    points = as_embedding(embedding)
    codes, names = label_codes(labels, n_cells=len(points))
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    chosen = _sample(codes, sizes, sample_size=sample_size, seed=seed)
    if len(names) < 2 or len(names) >= len(chosen):
        return pd.Series(np.nan, index=names, name="asw"), sizes
    widths = silhouette_samples(points[chosen], codes[chosen])
    means = np.bincount(codes[chosen], weights=widths) / np.bincount(codes[chosen])
    return pd.Series(means, index=names, name="asw"), sizes


def _sample(codes: np.ndarray, sizes: np.ndarray, *, sample_size: int, seed: int) -> np.ndarray:
    """Row numbers of labelled cells: all of them, or each group's share of `sample_size`."""
    n_cells = int(sizes.sum())
    if n_cells <= sample_size:
        return np.flatnonzero(codes >= 0)
    rng = np.random.default_rng(seed)
    quotas = np.maximum(np.round(sizes * sample_size / n_cells).astype(int), np.minimum(sizes, N_CELLS_KEPT))
    picks = [rng.choice(np.flatnonzero(codes == code), quota, replace=False) for code, quota in enumerate(quotas)]
    return np.sort(np.concatenate(picks))
