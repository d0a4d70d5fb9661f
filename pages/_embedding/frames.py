"""What is behind the page of genes and topics? The map with its highlights, their space, choices and tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pages._embedding.highlights import GENES, SETS, Wanted, highlights_of, labels_of, leaders_of, names_of_points
from pages._shared import studio
from scetm_core import keys
from scetm_core.data.expression import search_genes
from scetm_core.errors import ScetmError
from scetm_core.figures import joint_map_frame, neighborhood
from scetm_core.joint_map import Space, gene_space, set_space

N_LEADERS = 20
N_OFFERED = 30


def space_of(run_id: str, points: str) -> Space:
    """Genes, or gene sets, and topics of a run in their space."""
    run = studio.open_run(run_id)
    return _space_of(run.path, run.result_path.stat().st_mtime_ns if run.has_result else 0, points)


@functools.lru_cache(maxsize=4)
def _space_of(path: Path, stamp: int, points: str) -> Space:
    result = studio.load_result(path.name)
    return gene_space(result) if points == GENES else set_space(result)


def wanted_from(
    points: str, topic: str, n: object, source: str | None, gene_set: str | None, typed: str | None, point: str | None
) -> Wanted:
    """What the fields of the page ask for, in the order of `FIELDS`."""
    return Wanted(
        points=points,
        topic=int(topic) if str(topic).isdecimal() and len(str(topic)) < 6 else 0,
        n_leaders=n if isinstance(n, int) else N_LEADERS,
        source=source,
        gene_set=gene_set,
        typed=typed or "",
        clicked=point,
    )


def map_frame(run_id: str, wanted: Wanted) -> tuple[pd.DataFrame, str]:
    """The map with its highlights, and what is to be said of them; empty while there is no map."""
    run = studio.open_run(run_id)
    table = studio.load_table(run_id, keys.MAP_FOLDER, wanted.points)
    highlights, said = highlights_of(run, wanted)
    labels = labels_of(studio.load_result(run_id), wanted.points)
    return joint_map_frame(table, highlights=highlights, labels=labels), said


def map_csv(run_id: str, *fields: Any) -> pd.DataFrame:
    """The map by name: kind, place, and a column of yes and no per highlight.

    Raises
    ------
    ScetmError
        If there is no map yet.
    """
    frame, _ = map_frame(run_id, wanted_from(*fields))
    if frame.empty:
        raise ScetmError(frame.attrs["reason"])
    return frame.set_index("name")


def zoom_csv(run_id: str, *fields: Any) -> pd.DataFrame:
    """The part of `map_csv` around the topic in focus.

    Raises
    ------
    ScetmError
        If there is no map yet, or the topic has no place on it.
    """
    frame, wanted = map_csv(run_id, *fields).reset_index(), wanted_from(*fields)
    leaders = leaders_of(studio.load_result(run_id), wanted.points, wanted.topic, wanted.n_leaders)
    window = neighborhood(frame, wanted.topic, leaders=leaders)
    if window is None:
        raise ScetmError(f"Topic {wanted.topic} has no place on the map. Choose another topic.")
    left, right, bottom, top = window
    inside = frame["x"].between(left, right) & frame["y"].between(bottom, top)
    return frame[inside].set_index("name")


def offer_points(typed: str | None, chosen: str | None, points: str, run_id: str) -> list[dict[str, str]]:
    """Choices of a point: all gene sets, or the genes that match what is typed, and the chosen one."""
    result = studio.load_result(run_id)
    labels = labels_of(result, points)
    if points == SETS:
        return [{"value": name, "label": label} for name, label in labels.items()]
    found = search_genes(names_of_points(result, points), typed or "", limit=N_OFFERED)
    found = [chosen, *(gene for gene in found if gene != chosen)] if chosen else found
    return [{"value": gene, "label": f"{labels[gene]} · {gene}" if gene in labels else gene} for gene in found]


def rows_of(found: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a table of what is nearest."""
    return [
        {"name": name, "label": labels.get(name, name), "cosine": round(float(cosine), 4)}
        for name, cosine in zip(found["name"], found["cosine"], strict=True)
    ]
