"""Which genes mark which cell type, and which type is a topic about? A table of known markers; names for topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from scetm_core.errors import DataError
from scetm_core.genesets import match_gene_sets

_TABLE = Path(__file__).with_name("markers.tsv")
_MIN_FOUND = 2  # one marker among the leading genes names no topic


def marker_table() -> pd.DataFrame:
    """Well-established markers: a row a cell type, columns ``tissue``, ``cell_type``, ``genes``, ``source``.

    ``genes`` are lists of human symbols, ``source`` the DOI of an atlas that shows them. Tissue ``"general"`` is for
    what is found in any: vessels, stroma, nerves, dividing cells.
    """
    table = _read_table()
    return table.assign(genes=table["genes"].map(list))


def load_markers(tissues: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Cell type -> its markers, human symbols; `match_gene_sets` finds them in mouse data too.

    Parameters
    ----------
    tissues
        Only those of these tissues, e.g. ``["pancreas", "general"]``. None: all. A cell type of several tissues has
        the markers of all of them.

    Raises
    ------
    DataError
        If there are no markers for a tissue.
    """
    table = _read_table()
    known = list(dict.fromkeys(table["tissue"]))
    if unknown := [tissue for tissue in tissues or [] if tissue not in known]:
        raise DataError(f"There are no markers for {unknown}. Tissues with markers: {known}.")
    found: dict[str, dict[str, None]] = {}
    for tissue, cell_type, genes in zip(table["tissue"], table["cell_type"], table["genes"], strict=True):
        if tissues is None or tissue in tissues:
            found.setdefault(cell_type, {}).update(dict.fromkeys(genes))
    return {cell_type: list(genes) for cell_type, genes in found.items()}


@lru_cache(maxsize=1)
def _read_table() -> pd.DataFrame:
    table = pd.read_csv(_TABLE, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(genes=table["genes"].str.split(","))


def suggest_topic_names(
    beta: pd.DataFrame,
    markers: Mapping[str, Sequence[str]],
    *,
    n_top: int = 100,
    significance: float = 0.01,
    symbols: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The cell type whose markers lead each topic.

    A type is judged by how many of its markers are among the topic's `n_top` leading genes: a one-sided
    hypergeometric test. The ranks of all markers (Mann-Whitney) would be the alternative; but markers vary between
    cells, so that they lie high in most topics, and a type that has nothing to do with a topic becomes significant.

    Parameters
    ----------
    beta
        (n_genes, n_topics), by gene and topic name.
    markers
        Cell type -> genes, matched to the index of `beta` by `match_gene_sets`.
    significance
        Limit of the q-value.
    symbols
        Of each gene in the index, where that holds ids.

    Returns
    -------
    A row a topic: ``cell_type`` (empty if no type has a q-value below `significance` and two markers among the leading
    genes), ``p_value`` and ``q_value`` of the best type (Benjamini-Hochberg over all topics and types), ``genes``
    (its markers among the leading ones, the highest beta first, as in the index; a list).

    Raises
    ------
    DataError
        If hardly any marker is a gene of `beta`.
    """
    from scipy.stats import false_discovery_control, hypergeom

    gene_sets = match_gene_sets(markers, [str(gene) for gene in beta.index], symbols=symbols).gene_sets
    types, genes = list(gene_sets), pd.Index([str(gene) for gene in beta.index])
    member = np.zeros((len(genes), len(types)), dtype=bool)
    for column, members in enumerate(gene_sets.values()):
        member[genes.get_indexer(pd.Index(members)), column] = True
    n_top = min(n_top, len(genes))
    leading = np.argsort(-beta.to_numpy(), axis=0, kind="stable")[:n_top]  # (n_top, n_topics)
    n_found = member[leading].sum(axis=0)  # (n_topics, n_types)
    p_values = hypergeom.sf(n_found - 1, len(genes), member.sum(axis=0), n_top)
    q_values = false_discovery_control(p_values, axis=None).reshape(p_values.shape)
    rows = []
    for topic in range(beta.shape[1]):
        best = np.lexsort((-n_found[topic], p_values[topic]))[0]
        convincing = q_values[topic, best] < significance and n_found[topic, best] >= _MIN_FOUND
        there = leading[member[leading[:, topic], best], topic] if convincing else []
        rows.append(
            (types[best] if convincing else "", p_values[topic, best], q_values[topic, best], list(genes[there]))
        )
    topics = pd.Index(beta.columns, name="topic")
    return pd.DataFrame(rows, index=topics, columns=["cell_type", "p_value", "q_value", "genes"])
