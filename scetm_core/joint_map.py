"""Which genes lie near which topics? Genes and topics share one space; its directions are compared by cosine.

Rows of rho (genes) and alpha (topics) differ in length, and a gene's length says how variable it is rather than with
whom it goes. So every row is scaled to length 1, where the euclidean distance orders as the cosine does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.figures import pathway_weights

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.metrics import Neighbors

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""

GENE, SET, TOPIC = "gene", "set", "topic"
MIN_DIST = 0.3


@dataclass(frozen=True, kw_only=True)
class Space:
    """Genes (or gene sets) and topics as directions in one space.

    Attributes
    ----------
    kind
        Of the points: "gene" or "set".
    names
        Of the points that have a direction.
    points
        (n_points, n_dimensions), rows of length 1.
    topics
        Topics that have a direction: "topic_7".
    topic_points
        (n_topics, n_dimensions), rows of length 1.
    points_left_out, topics_left_out
        Those without a direction: their rows are zero.
    """

    kind: str
    names: list[str]
    points: np.ndarray
    topics: list[str]
    topic_points: np.ndarray
    points_left_out: list[str]
    topics_left_out: list[str]


def gene_space(result: ad.AnnData) -> Space:
    """Genes as rows of rho, topics as rows of alpha.

    Raises
    ------
    DataError
        If the result lacks one of them, they do not belong together, or a value is not finite.
    """
    if keys.RHO not in result.varm or keys.ALPHA not in result.uns:
        raise DataError("This result holds no embedding of its genes (rho) and topics (alpha). Train a model first.")
    return _space(GENE, list(result.var_names), np.asarray(result.varm[keys.RHO]), np.asarray(result.uns[keys.ALPHA]))


def set_space(result: ad.AnnData) -> Space:
    """Gene sets as their weights over topics, topics as axes of that space; both centred over topics.

    A set lies near the topics that weigh it more than the other topics do.

    Raises
    ------
    DataError
        If rho was not fixed to gene sets, or a weight is not finite.
    """
    weights = pathway_weights(result)
    if weights.empty:
        raise DataError(str(weights.attrs["reason"]))
    values = weights.to_numpy(dtype=np.float64)
    values = values - values.mean(axis=1, keepdims=True)  # (n_sets, n_topics)
    n_topics = values.shape[1]
    return _space(SET, list(weights.index), values, np.eye(n_topics) - 1 / n_topics)


def _space(kind: str, names: Sequence[str], points: np.ndarray, topic_points: np.ndarray) -> Space:
    topics = [keys.topic_name(topic) for topic in range(len(topic_points))]
    if points.ndim != 2 or points.shape[1:] != topic_points.shape[1:]:
        raise DataError(
            f"rho has the shape {points.shape}, alpha {topic_points.shape}: they must have the same dimensions. "
            "Train the model again."
        )
    unit_points, is_point = _to_unit_length(points, names, kind=kind)
    unit_topics, is_topic = _to_unit_length(topic_points, topics, kind=TOPIC)
    if not is_point.any() or not is_topic.any():
        raise DataError(f"All {kind}s or all topics have an embedding of zeros, so that nothing lies near anything.")
    return Space(
        kind=kind,
        names=_those(names, is_point),
        points=unit_points[is_point],
        topics=_those(topics, is_topic),
        topic_points=unit_topics[is_topic],
        points_left_out=_those(names, ~is_point),
        topics_left_out=_those(topics, ~is_topic),
    )


def _those(names: Sequence[str], wanted: np.ndarray) -> list[str]:
    return [name for name, there in zip(names, wanted, strict=True) if there]


def _to_unit_length(rows: np.ndarray, names: Sequence[str], *, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows scaled to length 1, and which of them have a length at all."""
    rows = rows.astype(np.float64)
    if bad := _those(names, ~np.isfinite(rows).all(axis=1)):
        raise DataError(
            f"The embedding of {len(bad):,} {kind}{'s' if len(bad) > 1 else ''} is not finite (NaN or infinity): "
            f"{', '.join(bad[:5])}. Train the model again, with a smaller learning rate."
        )
    lengths = np.linalg.norm(rows, axis=1)
    there: np.ndarray = lengths > 1e-12 * max(float(lengths.max(initial=0)), 1e-300)
    return rows / np.where(there, lengths, 1.0)[:, None], there


# ---- nearest, in the space itself ---------------------------------------------------------------------------------


def nearest_genes(result: ad.AnnData, topic: int, n: int) -> pd.DataFrame:
    """The genes that point most nearly where a topic does.

    Returns
    -------
    `name`, `cosine` (1: the same direction), the nearest first; empty for a topic without a direction.

    Raises
    ------
    DataError
        If there is no such topic, or see `gene_space`.
    """
    return nearest_points(gene_space(result), topic, n)


def nearest_topics(result: ad.AnnData, gene: str, n: int) -> pd.DataFrame:
    """The topics that point most nearly where a gene does.

    Returns
    -------
    `name` ("topic_7"), `cosine`, the nearest first; empty for a gene without a direction.

    Raises
    ------
    DataError
        If there is no such gene, or see `gene_space`.
    """
    return topics_near(gene_space(result), gene, n)


def nearest_points(space: Space, topic: int, n: int) -> pd.DataFrame:
    """As `nearest_genes`, of any space."""
    name = keys.topic_name(topic)
    if name not in space.topics:
        return _none_unless_left_out(space, name)
    return _ranked(space.names, space.points @ space.topic_points[space.topics.index(name)], n)


def topics_near(space: Space, point: str, n: int) -> pd.DataFrame:
    """As `nearest_topics`, of any space."""
    if point not in space.names:
        return _none_unless_left_out(space, point)
    return _ranked(space.topics, space.topic_points @ space.points[space.names.index(point)], n)


def _none_unless_left_out(space: Space, name: str) -> pd.DataFrame:
    if name in space.points_left_out or name in space.topics_left_out:
        return _ranked([], np.zeros(0), 0)
    raise DataError(f"There is no {name[:80]!r} among the {space.kind}s and topics of this result. Check its name.")


def _ranked(names: Sequence[str], cosines: np.ndarray, n: int) -> pd.DataFrame:
    order = np.argsort(-cosines, kind="stable")[: max(n, 0)]
    found = np.clip(cosines[order], -1.0, 1.0).astype(np.float32)
    return pd.DataFrame({"name": np.array(names, dtype=object)[order], "cosine": found})


# ---- the map ------------------------------------------------------------------------------------------------------


def map_genes_and_topics(result: ad.AnnData, *, seed: int, on_progress: Progress) -> pd.DataFrame:
    """Lay genes and topics out together, so that those of one direction lie close (the paper's Figure 5c).

    Parameters
    ----------
    result
        With varm["rho"] and uns["alpha"].
    seed
        Same seed, same map.
    on_progress
        Called between the stages; what it raises ends the work.

    Returns
    -------
    `name`, `kind` ("gene" or "topic"), `x`, `y` (float32); genes first, in the order of the result. Genes and topics
    without a direction (rows of zeros) have no place and are left out; `attrs["sentences"]` says how many.

    Raises
    ------
    DataError
        See `gene_space`.
    """
    return _lay_out(gene_space(result), seed=seed, on_progress=on_progress)


def map_sets_and_topics(result: ad.AnnData, *, seed: int, on_progress: Progress) -> pd.DataFrame:
    """Lay gene sets and topics out together, so that a set lies near the topics that weigh it most.

    As `map_genes_and_topics`, of kind "set" and "topic", for a result whose rho was fixed to gene sets.

    Raises
    ------
    DataError
        See `set_space`.
    """
    return _lay_out(set_space(result), seed=seed, on_progress=on_progress)


def _lay_out(space: Space, *, seed: int, on_progress: Progress) -> pd.DataFrame:
    on_progress(0.05, "Looking for neighbours.")
    from scetm_core.embedding import N_NEIGHBORS, neighbor_graph, umap_layout

    together = np.concatenate([space.points, space.topic_points]).astype(np.float32)  # (n_points + n_topics, n_emb)
    neighbors = _neighbors(space, together, n_neighbors=N_NEIGHBORS, seed=seed)
    on_progress(0.25, "Weighing their links.")
    graph = neighbor_graph(neighbors)
    on_progress(0.35, "Laying out the map.")
    xy = umap_layout(together, graph, min_dist=MIN_DIST, seed=seed)
    on_progress(0.99, "Writing the map.")
    table = pd.DataFrame(
        {
            "name": [*space.names, *space.topics],
            "kind": [space.kind] * len(space.names) + [TOPIC] * len(space.topics),
            "x": xy[:, 0],
            "y": xy[:, 1],
        }
    )
    table.attrs["sentences"] = left_out_sentences(space)
    return table


def _neighbors(space: Space, together: np.ndarray, *, n_neighbors: int, seed: int) -> Neighbors:
    """Of a point the nearest points, of a topic the nearest points too: it is placed by its genes alone.

    Topics are often more like each other than like any gene, and would make a heap of their own.
    """
    from scetm_core.metrics import Neighbors, find_neighbors

    n_points = len(space.points)
    if n_points < n_neighbors:
        return find_neighbors(together, n_neighbors, seed=seed)
    indices, distances = find_neighbors(together[:n_points], n_neighbors, seed=seed)
    cosines = together[n_points:] @ together[:n_points].T  # (n_topics, n_points)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : n_neighbors - 1]
    apart = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(cosines, nearest, axis=1), 0))  # of rows of length 1
    themselves = np.arange(n_points, len(together))[:, None]
    return Neighbors(
        np.concatenate([indices, np.concatenate([themselves, nearest], axis=1)]),
        np.concatenate([distances, np.concatenate([np.zeros_like(apart[:, :1]), apart], axis=1)]),
    )


def left_out_sentences(space: Space) -> list[str]:
    """What is to be known of a map: what has no place on it."""
    n_points, topics = len(space.points_left_out), ", ".join(space.topics_left_out)
    points = f"{n_points:,} {space.kind}{'s have' if n_points > 1 else ' has'}"
    return [
        f"{what} an embedding of zeros, and so no place on the map."
        for what, there in ((points, n_points), (f"{topics}:", topics))
        if there
    ]
