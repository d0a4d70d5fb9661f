"""How far apart do known groups of cells lie, compared with their own width? (average silhouette width)"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scetm_core.errors import DataError
from scetm_core.metrics._labels import Labels, label_codes
from scetm_core.metrics._neighbors import as_embedding

N_CELLS_KEPT = 50
"""A group gives at least this many cells (or all it has) to the sample, so that rare types are not lost."""


def score_asw(
    embedding: np.ndarray,
    labels: Labels,
    *,
    sample_size: int = 10_000,
    seed: int = 0,
    widths: np.ndarray | None = None,
) -> float:
    """Mean silhouette width of the cells, by euclidean distance.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    labels
        (n_cells,) known groups, e.g. cell types; cells without one are left out.
    sample_size
        With more cells than this, silhouettes are measured on a sample of about this size, drawn within each group
        and weighted back to the groups' true sizes (all pairs of 100,000 cells would take minutes).
    seed
        Of the sample.
    widths
        (n_cells,) from `silhouette_widths` of the same cells and labels, if already known; the sample is then theirs.

    Returns
    -------
    1 if groups are tight and far apart, 0 if they touch, below 0 if cells lie closer to another group than to their
    own. A cell alone in its group counts 0. Not-a-number with fewer than two groups, or no two cells in one group.

    Raises
    ------
    DataError
        If the number of labels, or of widths, is not that of the cells, or the embedding is not finite.

    Notes
    -----
    Rousseeuw (1987). Equal to scikit-learn's `silhouette_score` where nothing is sampled.
    """
    means = score_asw_per_label(embedding, labels, sample_size=sample_size, seed=seed, widths=widths)
    codes, _ = label_codes(labels)
    sizes = np.bincount(codes[codes >= 0], minlength=len(means))
    return float(np.average(means, weights=sizes)) if len(means) and means.notna().all() else float("nan")


def score_asw_per_label(
    embedding: np.ndarray,
    labels: Labels,
    *,
    sample_size: int = 10_000,
    seed: int = 0,
    widths: np.ndarray | None = None,
) -> pd.Series:
    """Mean silhouette width of each group; parameters, direction and errors as in `score_asw`.

    Returns
    -------
    One float per label, in order of first appearance; not-a-number where `score_asw` would be.
    """
    if widths is None:
        widths = silhouette_widths(embedding, labels, sample_size=sample_size, seed=seed)
    codes, names = label_codes(labels, n_cells=len(embedding))
    return pd.Series(_means(widths, codes, len(names)), index=names, name="asw")


def score_asw_per_label_and_batch(
    embedding: np.ndarray,
    labels: Labels,
    batches: Labels,
    *,
    sample_size: int = 10_000,
    seed: int = 0,
    widths: np.ndarray | None = None,
) -> pd.DataFrame:
    """Mean silhouette width of each group's cells in each batch: which batch blurs which group?

    Widths are those of `score_asw`, against the cells of all batches. Parameters, direction and errors as there.

    Parameters
    ----------
    embedding, labels, sample_size, seed, widths
        As in `score_asw`.
    batches
        (n_cells,); cells without one count as surroundings of others only.

    Returns
    -------
    Labels in rows and batches in columns, both in order of first appearance. Not-a-number where a batch has no cell of
    the group, or none in the sample (which is drawn within groups, not within batches), or `score_asw` would be.
    """
    if widths is None:
        widths = silhouette_widths(embedding, labels, sample_size=sample_size, seed=seed)
    codes, names = label_codes(labels, n_cells=len(embedding))
    batch_codes, batch_names = label_codes(batches, n_cells=len(embedding))
    pairs = np.where((codes >= 0) & (batch_codes >= 0), codes * len(batch_names) + batch_codes, -1)
    means = _means(widths, pairs, len(names) * len(batch_names))
    return pd.DataFrame(means.reshape(len(names), len(batch_names)), index=names, columns=batch_names)


def silhouette_widths(embedding: np.ndarray, labels: Labels, *, sample_size: int = 10_000, seed: int = 0) -> np.ndarray:
    """Silhouette width of each cell sampled: one pass for all scores of this module that take `widths`.

    With a the mean distance of a cell to the others of its group, and b that to the cells of the nearest other group,
    the width is (b - a) / max(a, b), or 0 for a cell alone in its group. Parameters and errors as in `score_asw`.

    Returns
    -------
    (n_cells,) from -1 to 1, higher is better; not-a-number for cells that have no label or are not in the sample, and
    for all of them with fewer than two groups or no two cells in one group.
    """
    points = as_embedding(embedding)
    codes, names = label_codes(labels, n_cells=len(points))
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    chosen = _sample(codes, sizes, sample_size=sample_size, seed=seed)
    widths = np.full(len(points), np.nan)
    if 2 <= len(names) < len(chosen):
        widths[chosen] = _silhouettes(points[chosen], codes[chosen])
    return widths


def score_batch_asw(
    embedding: np.ndarray, labels: Labels, batches: Labels, *, sample_size: int = 10_000, seed: int = 0
) -> float:
    """How well batches overlap within each group: 1 - |silhouette width of the batches|, averaged over the groups.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions)
    labels, batches
        (n_cells,) each; cells that miss either are left out.
    sample_size, seed
        As in `score_asw`; the sample is drawn within each batch of each group.

    Returns
    -------
    Between 0 (within each group the batches lie far apart) and 1 (they overlap wholly); higher is better mixed. Groups
    count alike; those found in one batch only, or of one cell in each of their batches, do not count. Not-a-number if
    none does.

    Raises
    ------
    DataError
        If the number of labels or batches is not that of the cells, or the embedding is not finite.

    Notes
    -----
    Luecken et al., Nature Methods 2022. Equal to `silhouette_batch` of scib-metrics where nothing is sampled. Only the
    nearest other batch is looked at: three batches of which two overlap score well (Rautenstrauch and Ohler 2025).
    """
    points = as_embedding(embedding)
    codes, _ = label_codes(labels, n_cells=len(points))
    batch_codes, _ = label_codes(batches, n_cells=len(points))
    known = (codes >= 0) & (batch_codes >= 0)
    points, codes, batch_codes = points[known], codes[known], batch_codes[known]
    pairs, _ = label_codes(codes * (batch_codes.max(initial=0) + 1) + batch_codes)
    sizes = np.bincount(pairs)
    chosen = _sample(pairs, sizes, sample_size=sample_size, seed=seed)
    stands_for = sizes / np.bincount(pairs[chosen])  # cells of a pair per cell sampled
    scores = []
    for code in np.unique(codes):
        rows = chosen[codes[chosen] == code]
        if 2 <= len(np.unique(batch_codes[rows])) < len(rows):
            overlap = 1 - np.abs(_silhouettes(points[rows], batch_codes[rows]))
            scores.append(np.average(overlap, weights=stands_for[pairs[rows]]))
    return float(np.mean(scores)) if scores else float("nan")


def _silhouettes(points: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """scikit-learn's silhouette widths, (n_points,), with distances in blocks of 64 MB instead of 1 GB."""
    from sklearn import config_context
    from sklearn.metrics import silhouette_samples

    with config_context(working_memory=64):
        return np.asarray(silhouette_samples(points, codes))


def _means(widths: np.ndarray, codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Mean over the cells of each code that have a width, (n_codes,); not-a-number where there are none."""
    if len(widths) != len(codes):
        raise DataError(f"There are silhouette widths of {len(widths):,} cells for {len(codes):,} cells.")
    measured = (codes >= 0) & np.isfinite(widths)
    n_cells = np.bincount(codes[measured], minlength=n_codes)
    totals = np.bincount(codes[measured], weights=widths[measured], minlength=n_codes)
    return np.where(n_cells > 0, totals / np.maximum(n_cells, 1), np.nan)


def _sample(codes: np.ndarray, sizes: np.ndarray, *, sample_size: int, seed: int) -> np.ndarray:
    """Row numbers of labelled cells: all of them, or each group's share of `sample_size`."""
    n_cells = int(sizes.sum())
    if n_cells <= sample_size:
        return np.flatnonzero(codes >= 0)
    rng = np.random.default_rng(seed)
    quotas = np.maximum(np.round(sizes * sample_size / n_cells).astype(int), np.minimum(sizes, N_CELLS_KEPT))
    picks = [rng.choice(np.flatnonzero(codes == code), quota, replace=False) for code, quota in enumerate(quotas)]
    return np.sort(np.concatenate(picks))
