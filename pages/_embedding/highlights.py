"""Which points of the map are highlighted? A gene set, leading genes of a topic, what was typed, what was clicked."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pages._shared import studio
from pages._shared.gene_sets import MARKERS, tested_sets
from scetm_core import keys
from scetm_core.enrichment import SEPARATOR
from scetm_core.errors import DataError, ScetmError
from scetm_core.figures import Highlight, gene_weights, pathway_name, pathway_weights
from scetm_core.gene_names import match_names, symbols_of
from scetm_core.genesets import match_gene_sets
from scetm_core.markers import load_markers
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

GENES, SETS = "genes", "sets"
"""What the points of a map are, which is also the name of its table."""

SET_COLOR, EDGE_COLOR, LEADER_COLOR = "#E69F00", "#D55E00", "#0c8599"
TYPED_COLOR, CLICKED_COLOR = "#9C36B5", "#E64980"
N_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be highlighted, as the page's fields say it."""

    points: str = GENES
    topic: int = 0
    n_leaders: int = 20
    source: str | None = None
    gene_set: str | None = None
    typed: str = ""
    clicked: str | None = None


def names_of_points(result: ad.AnnData, points: str) -> list[str]:
    """All there could be on a map."""
    return list(result.var_names) if points == GENES else list(pathway_weights(result).index)


def labels_of(result: ad.AnnData, points: str) -> dict[str, str]:
    """What points are called in a figure, where that is not their name: symbols of ids, readable names of sets."""
    if points == SETS:
        return {name: pathway_name(name) for name in pathway_weights(result).index}
    symbols = symbols_of(result.var) or []
    return {gene: symbol for gene, symbol in zip(result.var_names, symbols, strict=False) if symbol}


def leaders_of(result: ad.AnnData, points: str, topic: int, n_leaders: int) -> list[str]:
    """The genes with the largest beta, or the sets with the largest alpha, in a topic, the first one first."""
    weights: pd.DataFrame = gene_weights(result) if points == GENES else pathway_weights(result)
    name = keys.topic_name(topic)
    return list(weights[name].nlargest(max(n_leaders, 0)).index) if name in weights else []


def sources_of(run: Run, result: ad.AnnData) -> dict[str, str]:
    """Where gene sets can be taken from, and what that is called: enrichment tables, then the markers."""
    tables = run.tables(keys.ENRICHMENT_FOLDER)
    found = {name: name for name, path in tables.items() if path.with_suffix(".gmt").is_file()}
    if _markers_of(run, result):
        found.setdefault(MARKERS, MARKERS)
    return found


def gene_sets_of(run: Run, result: ad.AnnData, source: str | None) -> dict[str, list[str]]:
    """The gene sets of a source, in the names of the result; none of a source that is not there.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    table = run.tables(keys.ENRICHMENT_FOLDER).get(source or "")
    if table is not None and table.with_suffix(".gmt").is_file():
        return tested_sets(run, table.stem)
    return _markers_of(run, result) if source == MARKERS else {}


def _markers_of(run: Run, result: ad.AnnData) -> dict[str, list[str]]:
    """Cell type -> its markers among the genes; empty if the genes have other names."""
    symbols = symbols_of(result.var)
    return _matched_markers(tuple(result.var_names), None if symbols is None else tuple(symbols))


@functools.lru_cache(maxsize=4)
def _matched_markers(genes: tuple[str, ...], symbols: tuple[str, ...] | None) -> dict[str, list[str]]:
    try:
        return match_gene_sets(load_markers(), genes, min_size=1, symbols=symbols).gene_sets
    except DataError:
        return {}


def find_typed(result: ad.AnnData, points: str, text: str) -> tuple[list[str], list[str]]:
    """The points that a typed or pasted list means, and the entries that mean none.

    Genes are separated by commas, semicolons, spaces or lines, and found ignoring letter case, by symbol as well;
    words in the names of gene sets are separated by commas, semicolons or lines.
    """
    if points == SETS:
        words = [word.strip() for word in re.split(r"[,;\n]+", text) if word.strip()]
        names = {name: f"{name} {pathway_name(name)}".lower() for name in pathway_weights(result).index}
        found = {word: [name for name, said in names.items() if word.lower() in said] for word in words}
        return [name for names_ in found.values() for name in names_], [word for word in words if not found[word]]
    wanted = list(dict.fromkeys(re.split(r"[\s,;]+", text.strip()))) if text.strip(" ,;\n\t") else []
    aliases = {symbol: gene for gene, symbol in reversed(labels_of(result, points).items())}
    aliases.update((gene, gene) for gene in result.var_names)
    matching = match_names([word for word in wanted if word], list(aliases))
    return list(dict.fromkeys(aliases[place] for place in matching.places.values())), matching.unmatched


def highlights_of(run: Run, wanted: Wanted) -> tuple[list[Highlight], str]:
    """The highlights, the later ones to be drawn over the earlier, and what is to be said about them.

    Raises
    ------
    ScetmError
        If the run's result, or its gene sets, cannot be read.
    """
    result = studio.load_result(run.id)
    found = _of_the_set(run, result, wanted) if wanted.points == GENES else []
    leaders = leaders_of(result, wanted.points, wanted.topic, wanted.n_leaders)
    noun = "genes" if wanted.points == GENES else "gene sets"
    found.append(
        Highlight(
            name=f"Leading {noun} of topic {wanted.topic}",
            members=leaders,
            color=LEADER_COLOR,
            symbol="circle-open",
            size=11,
        )
    )
    typed, unknown = find_typed(result, wanted.points, wanted.typed)
    found.append(Highlight(name="Searched", members=typed, color=TYPED_COLOR, size=9))
    if wanted.clicked:
        name = "Chosen" if wanted.points == SETS else wanted.clicked
        found.append(Highlight(name=name, members=[wanted.clicked], color=CLICKED_COLOR, symbol="circle-open", size=16))
    return _with_own_names(found), _said_of_search(typed, unknown, noun)


def _of_the_set(run: Run, result: ad.AnnData, wanted: Wanted) -> list[Highlight]:
    """The members of the chosen set, those of its leading edge in the topic apart."""
    members = gene_sets_of(run, result, wanted.source).get(wanted.gene_set or "", [])
    if not members:
        return []
    name, edge = pathway_name(wanted.gene_set or ""), set(_leading_edge(run, wanted)) & set(members)
    marked = [Highlight(name=name, members=members, color=SET_COLOR)]
    if edge:
        title = f"its leading edge in topic {wanted.topic}"
        marked.append(Highlight(name=title, members=edge, color=EDGE_COLOR, size=8))
    return marked


def _leading_edge(run: Run, wanted: Wanted) -> Sequence[str]:
    """Genes of the chosen set up to the extreme of its running sum in the topic; none if that was not compared."""
    if wanted.source not in run.tables(keys.ENRICHMENT_FOLDER):
        return []
    try:
        table = studio.load_table(run.id, keys.ENRICHMENT_FOLDER, wanted.source or "")
    except ScetmError:
        return []
    if table is None or "leading_edge" not in table:
        return []
    row = table[(table["topic"] == keys.topic_name(wanted.topic)) & (table["gene_set"] == wanted.gene_set)]
    return str(row["leading_edge"].iloc[0]).split(SEPARATOR) if len(row) else []


def _with_own_names(highlights: Sequence[Highlight]) -> list[Highlight]:
    """Names that are no columns of the map itself, nor each other's."""
    taken, found = {"name", "label", "kind", "x", "y"}, []
    for entry in highlights:
        name = entry.name if entry.name not in taken else f"{entry.name} (highlighted)"
        taken.add(name)
        found.append(dataclasses.replace(entry, name=name))
    return found


def _said_of_search(typed: Sequence[str], unknown: Sequence[str], noun: str) -> str:
    if not typed and not unknown:
        return ""
    said = f"{len(typed):,} {noun} found." if len(typed) != 1 else f"1 {noun[:-1]} found."
    if not unknown:
        return said
    more = f" and {len(unknown) - N_NAMED:,} more" if len(unknown) > N_NAMED else ""
    return f"{said} Not among the {noun} of this run: {', '.join(word[:40] for word in unknown[:N_NAMED])}{more}."
