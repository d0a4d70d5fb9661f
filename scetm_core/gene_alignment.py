"""Which gene of a new data set is which gene of a trained model? Matched by name, species by species, with a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.errors import TransferError
from scetm_core.gene_names import (
    ACROSS_SPECIES,
    ALIAS,
    CASE,
    EXACT,
    ORTHOLOG,
    VERSION,
    WAYS,
    Matching,
    Species,
    kind_of_names,
    match_names,
    species_of,
)
from scetm_core.orthologs import load_orthologs, read_pairs

AUTO, NONE = "auto", "none"
PACKAGED = ("human2mouse", "mouse2human")
SUM, DROP = "sum", "drop"
SEVERAL = " + "  # between names of several genes that stand for one

LITTLE = 0.5  # share of counts, or of the genes the encoder looks at, below which a transfer is warned of
LOUD = 0.01  # share of the counts from which an unused gene is worth a thought
N_NAMED = 20  # missing and unused genes that a report names
MIN_MATCHED = 0.01  # of the model's genes; fewer, and the names are of another kind

_BY_WAY = {
    ALIAS: "by your table of aliases",
    EXACT: "by name",
    VERSION: "without the version of an Ensembl id",
    CASE: "ignoring letter case",
    ORTHOLOG: "as orthologs",
}


@dataclass(frozen=True, kw_only=True)
class GeneReport:
    """How the genes of a target fit those of a model.

    Attributes
    ----------
    n_model, n_target, n_matched
        Genes of the model, of the target, and of the model that the target has.
    how
        Way, one of `gene_names.WAYS` -> genes of the model found so.
    n_summed, n_dropped
        Genes of the model that are sums of several of the target's, or that were left out for that.
    species
        Of the model's names and the target's, as they are written.
    n_seen, n_seen_matched
        Genes that the encoder looks at, and those of them that the target has.
    covered
        Share of the target's counts in genes that the model knows, 0 to 1; None if it was not measured.
    covered_cells
        Cells it was measured in; None for all.
    missing, unused
        Genes of the model that the target lacks, those first that the encoder looks at; and genes of the target that
        the model does not know, those first that have most counts, if these were looked at.
    unused_shares
        Share of the target's counts in the first of `unused`; empty if it was not measured.
    notes
        Further sentences.
    """

    n_model: int
    n_target: int
    n_matched: int
    how: dict[str, int]
    n_summed: int
    n_dropped: int
    species: tuple[Species, Species]
    n_seen: int
    n_seen_matched: int
    missing: list[str]
    unused: list[str]
    covered: float | None = None
    covered_cells: int | None = None
    unused_shares: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What makes the result doubtful: less than half covered."""
        found = []
        if self.covered is not None and self.covered < LITTLE:
            found.append(
                f"Only {self.covered:.0%} of the target's counts are in genes that the model knows. Topics of these "
                "cells rest on little: look at the genes that are not used."
            )
        if self.n_seen_matched < LITTLE * self.n_seen:
            found.append(
                f"Only {self.n_seen_matched:,} of the {self.n_seen:,} genes that place a cell are in the target. The "
                "others count as 0, which moves every cell: train the source on the genes that both have."
            )
        return found

    def sentences(self) -> list[str]:
        """The report in words, without its warnings."""
        ways = ", ".join(f"{n:,} {_BY_WAY[way]}" for way, n in sorted(self.how.items(), key=lambda item: -item[1]))
        said = [f"{self.n_matched:,} of the model's {self.n_model:,} genes are in the target: {ways}."]
        n_missing = self.n_model - self.n_matched
        if n_missing:
            said.append(f"{n_missing:,} genes are missing in the target and count as 0, e.g. {_some(self.missing)}.")
        said.append(f"The encoder looks at {self.n_seen:,} genes; the target has {self.n_seen_matched:,} of them.")
        if self.unused:
            said.append(f"{len(self.unused):,} genes of the target are not used{self._loudest()}.")
        if self.covered is not None:
            where = "" if self.covered_cells is None else f" (in {self.covered_cells:,} cells)"
            said.append(f"{self.covered:.1%} of the target's counts are in genes that the model knows{where}.")
        if self.n_summed:
            said.append(f"{self.n_summed:,} genes of the model are each the sum of several genes of the target.")
        if self.n_dropped:
            said.append(f"{self.n_dropped:,} genes of the model that several of the target's stand for were left out.")
        return [*said, *self.notes]

    def _loudest(self) -> str:
        """The unused genes that have most counts, with what can be done if they have many."""
        if not self.unused_shares:
            return f", e.g. {_some(self.unused)}"
        named = ", ".join(f"{gene} ({share:.1%})" for gene, share in zip(self.unused, self.unused_shares, strict=False))
        advice = ". A table of aliases can name genes of the model for them" if self.unused_shares[0] > LOUD else ""
        return f"; most counts are in {named}{advice}"

    def to_dict(self) -> dict[str, Any]:
        """Numbers and sentences, as JSON; of the missing and unused genes the first ones."""
        numbers = (
            "n_model", "n_target", "n_matched", "how", "n_summed", "n_dropped", "n_seen", "n_seen_matched", "covered",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in numbers},
            "n_unused": len(self.unused),
            "missing": self.missing[:N_NAMED],
            "unused": self.unused[:N_NAMED],
            "sentences": self.sentences(),
            "warnings": self.warnings,
        }


@dataclass(frozen=True, kw_only=True)
class GeneAlignment:
    """Which genes of a target make up each gene of a model.

    Attributes
    ----------
    membership
        (n_target, n_model) 0/1: counts of the target times this are counts of the model's genes.
    table
        One row per gene of the model, in its order and named by it: `target_gene` (joined by " + " if several, "" if
        missing), `way`.
    report
        What was found, without the share of counts.
    """

    membership: sp.csr_matrix
    table: pd.DataFrame
    report: GeneReport

    @property
    def matched(self) -> np.ndarray:
        """Mask (n_model,) of the genes that the target has."""
        return np.asarray(self.table[keys.TARGET_GENE].to_numpy() != "")

    @property
    def used(self) -> np.ndarray:
        """Mask (n_target,) of the genes that go into the model."""
        return np.diff(self.membership.indptr) > 0


def align_genes(
    target: Sequence[str],
    model: Sequence[str],
    *,
    target_symbols: Sequence[str] | None = None,
    model_symbols: Sequence[str] | None = None,
    seen: np.ndarray | None = None,
    orthologs: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    several: str = SUM,
    notes: Sequence[str] = (),
) -> GeneAlignment:
    """Find the genes of a model in a target, by name.

    A gene is looked for as it is written, without the version of an Ensembl id, and ignoring letter case; across
    species through orthologs first. Where several genes of the target lead to one of the model, those found in the
    best way count.

    Parameters
    ----------
    target, model
        Names of the genes, each unique.
    target_symbols, model_symbols
        Symbols of these genes where they are named by ids, "" where there is none. Whichever of names and symbols fit
        best are matched.
    seen
        (n_model,) mask of the genes that the encoder looks at; None for all.
    orthologs
        Names of the target -> names of the model's species; None within a species.
    aliases
        Names of the target -> names of the model, given by the user; tried before all else.
    several
        What to do with a gene of the model that several of the target's lead to equally well: `SUM` their counts, or
        `DROP` it, so that it counts as missing.
    notes
        Sentences to go into the report.

    Raises
    ------
    TransferError
        If hardly any gene is found, or `several` is neither.
    """
    if several not in (SUM, DROP):
        raise TransferError(f"Genes that several of the target's lead to can be {SUM!r} or {DROP!r}, not {several!r}.")
    ways = WAYS if orthologs is None else ACROSS_SPECIES
    found = [
        _matched(target_names, model_names, orthologs=orthologs, aliases=aliases, ways=ways)
        for target_names in _namings(target, target_symbols)
        for model_names in _namings(model, model_symbols)
    ]
    places, by_way = max(found, key=lambda candidate: len(set(candidate[0].values())))
    if len(places) < max(1, MIN_MATCHED * len(model)):
        raise TransferError(_no_match(target, model, across=orthologs is not None))
    sources, n_several = _best(places, by_way, ways=ways, several=several)
    rows = [row for found_rows in sources.values() for row in found_rows]
    columns = [column for column, found_rows in sources.items() for _ in found_rows]
    values = np.ones(len(rows), dtype=np.float32)
    membership = sp.csr_matrix((values, (rows, columns)), shape=(len(target), len(model)))
    table = pd.DataFrame({keys.TARGET_GENE: "", keys.WAY: ""}, index=pd.Index(list(model), dtype=object), dtype=object)
    matched, found_by = list(sources), [by_way[found_rows[0]] for found_rows in sources.values()]
    table.iloc[matched, 0] = [SEVERAL.join(target[row] for row in found_rows) for found_rows in sources.values()]
    table.iloc[matched, 1] = found_by
    is_missing, is_unused = np.ones(len(model), dtype=bool), np.ones(len(target), dtype=bool)
    is_missing[matched], is_unused[rows] = False, False
    looked_at = np.ones(len(model), dtype=bool) if seen is None else seen
    missing = np.flatnonzero(is_missing)
    missing = missing[np.argsort(~looked_at[missing], kind="stable")]
    counted = Counter(found_by)
    report = GeneReport(
        n_model=len(model),
        n_target=len(target),
        n_matched=len(matched),
        how={way: counted[way] for way in ways if counted[way]},
        n_summed=n_several if several == SUM else 0,
        n_dropped=n_several if several == DROP else 0,
        species=(species_of(model_symbols or model), species_of(target_symbols or target)),
        n_seen=int(looked_at.sum()),
        n_seen_matched=int((looked_at & ~is_missing).sum()),
        missing=[str(model[place]) for place in missing.tolist()],
        unused=[str(target[row]) for row in np.flatnonzero(is_unused).tolist()],
        notes=tuple(notes),
    )
    return GeneAlignment(membership=membership, table=table, report=report)


def _namings(names: Sequence[str], symbols: Sequence[str] | None) -> list[list[str]]:
    """The ways in which genes are called: names, and symbols where there are any."""
    return [list(names)] if symbols is None else [list(names), list(symbols)]


def _matched(
    target: list[str],
    model: list[str],
    *,
    orthologs: Mapping[str, str] | None,
    aliases: Mapping[str, str] | None,
    ways: Sequence[str],
) -> tuple[dict[int, int], dict[int, str]]:
    """Position in the target -> position in the model, and the way it was found.

    A name by which two genes of the model go leads to neither.
    """
    columns = {name: places[0] for name, places in _places_of(model).items() if len(places) == 1}
    rows = _places_of(target)
    matching: Matching = match_names(list(rows), list(columns), orthologs=orthologs, aliases=aliases, ways=ways)
    places = {row: columns[place] for name, place in matching.places.items() for row in rows[name]}
    return places, {row: way for name, way in matching.ways.items() for row in rows[name]}


def _places_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Positions of each name; symbols may be used twice, or be empty."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            places.setdefault(name, []).append(place)
    return places


def _best(
    places: Mapping[int, int], by_way: Mapping[int, str], *, ways: Sequence[str], several: str
) -> tuple[dict[int, list[int]], int]:
    """Column -> the rows that make it up, columns ascending; and the number of columns with several equally good."""
    rank = {way: place for place, way in enumerate(ways)}
    candidates: dict[int, list[int]] = {}
    for row, column in sorted(places.items()):
        candidates.setdefault(column, []).append(row)
    found: dict[int, list[int]] = {}
    for column, rows in sorted(candidates.items()):
        best = min(rank[by_way[row]] for row in rows)
        found[column] = [row for row in rows if rank[by_way[row]] == best]
    n_several = sum(len(rows) > 1 for rows in found.values())
    if several == DROP:
        found = {column: rows for column, rows in found.items() if len(rows) == 1}
    return found, n_several


def orthologs_for(
    choice: str, *, target: Sequence[str], model: Sequence[str], several: str = SUM
) -> tuple[dict[str, str] | None, list[str]]:
    """Names of the target's species -> names of the model's, as a setting asks for them.

    Parameters
    ----------
    choice
        `AUTO`: the packaged table if one side is written as human genes and the other as mouse genes. `NONE`. One of
        `PACKAGED`, from the source's species to the target's: the same table either way round. Or the path of a table.
    target, model
        Gene names, symbols where there are some.
    several
        As in `align_genes`. With `SUM`, genes of the target that share a partner in a table of one's own are kept.

    Returns
    -------
    The pairs, None within a species; and sentences about them.

    Raises
    ------
    DataError
        If the table is not there or cannot be used.
    """
    species = species_of(target), species_of(model)
    if choice == NONE:
        return None, []
    if choice == AUTO:
        if "unknown" in species or species[0] == species[1]:
            return None, []
        return load_orthologs(*species), [f"Genes of {species[0]} were paired with those of {species[1]} (one to one)."]
    if choice in PACKAGED:
        of_model, of_target = choice.split("2")
        if species[0] == of_model or species[1] == of_target:  # the names say it is the other way round
            of_model, of_target = of_target, of_model
        return load_orthologs(of_target, of_model), []
    named = [word if word != "unknown" else other for word, other in zip(species, ("target", "source"), strict=True)]
    if named[0] == named[1]:
        named = ["target", "source"]
    pairs = load_orthologs(named[0], named[1], Path(choice), many_to_one=several == SUM)
    return pairs, [f"{len(pairs):,} pairs of genes from {Path(choice).name}."]


def read_aliases(path: str | None) -> dict[str, str] | None:
    """Names of the target -> names of the model, from a table of two columns in that order; None if there is none.

    Raises
    ------
    DataError
        If it cannot be read, or gives a gene two names.
    """
    return None if not path else read_pairs(Path(path))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5])


def _no_match(target: Sequence[str], model: Sequence[str], *, across: bool) -> str:
    """Why hardly any name fits, and what to do."""
    kinds = kind_of_names(target), kind_of_names(model)
    if sorted(kinds) == ["ensembl", "symbols"]:
        which = "target" if kinds[0] == "ensembl" else "source"
        advice = f"The {which} names its genes by Ensembl id: give it a column of symbols in var, e.g. 'gene_symbols'."
    elif across:
        advice = "The table of orthologs does not lead from the target's genes to the model's: look at its columns."
    else:
        advice = "If they are of two species, give a table of orthologs; if they go by other names, one of aliases."
    shown = f"model: {list(model)[:3]}, target: {list(target)[:3]}"
    return f"Hardly any gene of the model is in the target ({shown}). {advice}"
