"""What is known that helps to name topics? Markers, the names that they suggest, and the gene sets that topics follow.

Built-in markers are matched to the genes of a run, and suggestions worked out, once per version of its result.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pages._shared import studio
from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.figures import gene_weights
from scetm_core.gene_names import symbols_of
from scetm_core.genesets import match_gene_sets
from scetm_core.markers import load_markers, marker_table, suggest_topic_names
from scetm_core.runs import Run

SIGNIFICANCE = 0.05
"""Largest q-value of a suggestion, and of a gene set that is shown beside it."""


@dataclass(frozen=True, kw_only=True)
class KnownMarkers:
    """Cell type -> its markers among the genes of a run; where there is none, why."""

    gene_sets: dict[str, list[str]] = field(default_factory=dict)
    reason: str = ""

    def of_tissues(self, tissues: Sequence[str] | None) -> dict[str, list[str]]:
        """Those of the cell types that tissues have; None for all."""
        wanted = load_markers(tissues)
        return {cell_type: genes for cell_type, genes in self.gene_sets.items() if cell_type in wanted}


def tissues() -> list[str]:
    """Tissues with built-in markers."""
    return list(dict.fromkeys(marker_table()["tissue"]))


def known_markers(run_id: str) -> KnownMarkers:
    """Built-in markers matched to the genes of a run. Shared between calls: never change it."""
    return _match(*_version_of(run_id))


def suggestions(run_id: str) -> pd.DataFrame:
    """Cell type, p- and q-value and marker genes by topic, as `suggest_topic_names` gives them.

    The cell type is "" where nothing is significant; all are, where no marker is among the run's genes.
    """
    return _suggest(*_version_of(run_id))


def suggested_name(run_id: str, topic: int) -> str:
    """The name that known markers suggest for a topic, or ""."""
    return str(suggestions(run_id).loc[keys.topic_name(topic), "cell_type"])


def best_gene_sets(run_id: str) -> dict[str, str]:
    """Topic -> the gene set it follows best in any enrichment table of the run, if significant: ``"NAME (q .003)"``."""
    run = studio.open_run(run_id)
    tables = [studio.load_table(run_id, keys.ENRICHMENT_FOLDER, name) for name in run.tables(keys.ENRICHMENT_FOLDER)]
    found = [table[["topic", "gene_set", "nes", "q_value"]] for table in tables if table is not None and len(table)]
    if not found:
        return {}
    table = pd.concat(found, ignore_index=True)
    table = table[(table["q_value"] < SIGNIFICANCE) & (table["nes"] > 0)]
    best = table.sort_values(["q_value", "nes"], ascending=[True, False]).drop_duplicates("topic")
    sets = zip(best["topic"], best["gene_set"], best["q_value"], strict=True)
    return {str(topic): f"{gene_set} (q {q_in_words(q)})" for topic, gene_set, q in sets}


def q_in_words(q: float) -> str:
    """A q-value to two digits: ``".012"``, ``"4e-15"``."""
    return f"{q:.0e}" if q < 0.001 else f"{q:.2g}".replace("0.", ".", 1)


def _version_of(run_id: str) -> tuple[Path, int]:
    """Folder and version of the result of a run."""
    run = studio.open_run(run_id)
    return run.path, run.result_path.stat().st_mtime_ns


@functools.lru_cache(maxsize=8)
def _match(path: Path, stamp: int) -> KnownMarkers:
    result = studio.load_result(Run(path).id)
    try:
        matched = match_gene_sets(load_markers(), list(result.var_names), symbols=symbols_of(result.var))
    except DataError as error:
        return KnownMarkers(reason=str(error))
    return KnownMarkers(gene_sets=matched.gene_sets)


@functools.lru_cache(maxsize=8)
def _suggest(path: Path, stamp: int) -> pd.DataFrame:
    beta, markers = gene_weights(studio.load_result(Run(path).id)), _match(path, stamp).gene_sets
    if markers:
        return suggest_topic_names(beta, markers, significance=SIGNIFICANCE)
    nothing = {"cell_type": "", "p_value": 1.0, "q_value": 1.0, "genes": [list[str]() for _ in beta.columns]}
    return pd.DataFrame(nothing, index=beta.columns)
