"""How good is an embedding of these cells, and how sure is that? Neighbours once, then clusters, scores and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scetm_core.embedding import FIXED_RESOLUTION, leiden_clusters, nearest, neighbor_graph
from scetm_core.metrics import (
    N_NEIGHBORS_LISI,
    Neighbors,
    evaluate,
    find_neighbors,
    score_ari,
    score_asw_per_label,
    score_asw_per_label_and_batch,
    score_graph_connectivity_per_label,
    score_intervals,
    score_nmi,
    silhouette_widths,
)

SCORES_WITH_ERROR = (
    "ari", "nmi", "best_ari", "best_nmi", "asw", "clisi", "graph_connectivity", "kbet", "ebm", "ilisi", "batch_asw",
)  # fmt: skip
COLUMNS = ("score", "label", "batch", "value", "se", "n_cells")


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Scores of an embedding (see `metrics.evaluate`), with the neighbours and clusters they come from.

    `neighbors` are `N_NEIGHBORS_LISI` (or fewer cells, if there are no more), `clusters` Leiden's by resolution.
    """

    scores: dict[str, float | None]
    neighbors: Neighbors
    clusters: Mapping[float, np.ndarray]


def evaluate_embedding(
    embedding: np.ndarray, *, labels: pd.Series | None = None, batches: pd.Series | None = None, seed: int = 0
) -> Evaluated:
    """All scores of an embedding (n_cells, n_dimensions).

    Parameters
    ----------
    labels, batches
        (n_cells,) known cell types and batches, where there are any; missing ones are left out.
    seed
        Of the clusters.

    Raises
    ------
    DataError
        If the embedding is not finite, or lengths differ.
    """
    neighbors = find_neighbors(embedding, N_NEIGHBORS_LISI, seed=seed)
    clusters = leiden_clusters(neighbor_graph(nearest(neighbors)), seed=seed)
    scores = evaluate(
        embedding,
        clusters_by_resolution=clusters,
        fixed_resolution=FIXED_RESOLUTION,
        labels=labels,
        batches=batches,
        neighbors=neighbors,
    )
    return Evaluated(scores=scores, neighbors=neighbors, clusters=clusters)


def evaluation_table(
    embedding: np.ndarray,
    evaluated: Evaluated,
    *,
    labels: pd.Series | None = None,
    batches: pd.Series | None = None,
    n_repeats: int = 20,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Scores of all cells with their standard errors, and those of each label, and each label in each batch.

    Parameters
    ----------
    evaluated
        From `evaluate_embedding` of the same cells.
    n_repeats
        Halves of the cells that standard errors come from, see `metrics.score_intervals`; each is clustered anew.
    on_progress
        Told the share done.

    Returns
    -------
    Columns `score`, `label`, `batch` ("" for all), `value`, `se` (not-a-number where there is none), `n_cells`. Scores
    beside those of `metrics.evaluate`: `asw` of each label, and of each label in each batch; `graph_connectivity` of
    each label; "ari at resolution" and "nmi at resolution", with the resolution in `label`.
    """
    labels = None if labels is None else _texts(labels)
    batches = None if batches is None else _texts(batches)

    def score(rows: np.ndarray) -> Mapping[str, float | None]:
        part = evaluate_embedding(
            embedding[rows],
            labels=None if labels is None else labels.iloc[rows],
            batches=None if batches is None else batches.iloc[rows],
            seed=seed,
        )
        return {name: part.scores[name] for name in SCORES_WITH_ERROR}

    errors = score_intervals(score, len(embedding), n_repeats=n_repeats, seed=seed, on_progress=on_progress)
    overall = [
        (name, "", "", value, errors["se"].get(name, np.nan), len(embedding))
        for name, value in evaluated.scores.items()
        if value is not None
    ]
    rows = [
        *overall,
        *_by_resolution(evaluated, labels),
        *_by_label(embedding, evaluated, labels, batches, seed=seed),
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _by_resolution(evaluated: Evaluated, labels: pd.Series | None) -> list[tuple[str, str, str, float, float, int]]:
    if labels is None:
        return []
    return [
        (f"{name} at resolution", f"{resolution:g}", "", score(labels, clusters), np.nan, len(labels))
        for resolution, clusters in evaluated.clusters.items()
        for name, score in (("ari", score_ari), ("nmi", score_nmi))
    ]


def recluster(indices: np.ndarray, distances: np.ndarray, *, resolution: float, seed: int = 0) -> np.ndarray:
    """Leiden clusters at one more resolution, (n_cells,) numbers, 0 the largest.

    Parameters
    ----------
    indices, distances
        (n_cells, k), the nearest cells of each cell as in `metrics.Neighbors`.
    """
    graph = neighbor_graph(Neighbors(indices, distances))
    return leiden_clusters(graph, resolutions=(resolution,), seed=seed)[resolution]


def agreement(labels: pd.Series, clusters: np.ndarray) -> tuple[float, float]:
    """ARI and NMI of clusters against labels; cells without a label are left out."""
    return score_ari(labels, clusters), score_nmi(labels, clusters)


def _by_label(
    embedding: np.ndarray, evaluated: Evaluated, labels: pd.Series | None, batches: pd.Series | None, *, seed: int
) -> list[tuple[str, str, str, float, float, int]]:
    if labels is None:
        return []
    widths, sizes = silhouette_widths(embedding, labels, seed=seed), dict(labels.value_counts())
    connected = score_graph_connectivity_per_label(embedding, labels, neighbors=evaluated.neighbors.indices)
    rows = [
        (name, str(label), "", float(value), np.nan, int(sizes[label]))
        for name, series in (
            ("asw", score_asw_per_label(embedding, labels, widths=widths)),
            ("graph_connectivity", connected),
        )
        for label, value in series.items()
    ]
    if batches is not None:
        table = score_asw_per_label_and_batch(embedding, labels, batches, widths=widths)
        counts = pd.crosstab(labels, batches).reindex(index=table.index, columns=table.columns).to_numpy()
        rows += [
            ("asw", str(label), str(batch), float(value), np.nan, int(count))
            for label, values, row in zip(table.index, table.to_numpy(), counts, strict=True)
            for batch, value, count in zip(table.columns, values, row, strict=True)
            if count > 0
        ]
    return rows


def _texts(values: pd.Series) -> pd.Series:
    """Names as text; missing ones stay missing."""
    return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")
