"""Which genes belong together, and which of them are in the data? Gene sets of .gmt files and marker tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scetm_core.data.bounds import plain_path
from scetm_core.errors import DataError
from scetm_core.files import write_atomically
from scetm_core.gene_names import (
    ACROSS_SPECIES,
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
from scetm_core.marker_tables import read_text, rows_of_table
from scetm_core.orthologs import load_orthologs

READABLE = ".gmt, or a marker table as .csv, .tsv or .txt; also .gz"
MIN_MATCHED = 0.01  # of the names there could be; fewer, and they are of another kind

_BY_WAY = {EXACT: "by name", VERSION: "without the version", CASE: "by letter case"}


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Gene sets of a .gmt file: a line each, tab-separated name, description, genes.

    Returns
    -------
    Name -> its genes, each once, in the file's order.

    Raises
    ------
    DataError
        If it cannot be read, holds no set, or names one twice with other genes.
    """
    path = plain_path(path)
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        name = " ".join(name.split())
        genes = list(dict.fromkeys(gene.strip() for gene in rest[1:] if gene.strip()))
        if not genes or not name.strip():
            raise DataError(
                f"{path.name}, line {number}: a gene set needs a name, a description and genes, separated by tabs; "
                f"it begins with {line[:10]!r}."
            )
        if found.setdefault(name.strip(), genes) != genes:
            raise DataError(f"{path.name}, line {number}: the set {name.strip()!r} is there twice with other genes.")
    if not found:
        raise DataError(f"{path.name} holds no gene set. Pick a .gmt file with at least one line.")
    return found


def write_gmt(gene_sets: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write gene sets as a .gmt, beside and renamed; sets without genes are left out, as `read_gmt` refuses them."""
    lines = ["\t".join([" ".join(name.split()), "", *genes]) for name, genes in gene_sets.items() if genes]
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def read_gene_sets(path: Path, *, species: Species | None = None) -> dict[str, list[str]]:
    """Gene sets of a .gmt file or a table of markers (PanglaoDB, CellMarker, or two columns: cell type, gene).

    Parameters
    ----------
    species
        Of a table with a column of species, take the rows of this one only. None: all rows; where each is of one
        species, a set for each species, ``"B cell (human)"``.

    Returns
    -------
    Name -> its genes, each once, in the file's order. Tables: all rows of a cell type together, whatever the tissue.

    Raises
    ------
    DataError
        If it cannot be read, is no such table, or holds no set.
    """
    path = plain_path(path)
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending == ".gmt":
        return read_gmt(path)
    if ending not in {".csv", ".tsv", ".txt"}:
        raise DataError(f"{path.name} has an ending that cannot be read as gene sets. Readable: {READABLE}.")
    found: dict[str, dict[str, None]] = {}
    for name, genes in rows_of_table(path, species):
        found.setdefault(name, {}).update(dict.fromkeys(genes))
    found = {name: genes for name, genes in found.items() if genes}
    if not found:
        raise DataError(f"{path.name} holds no cell type with genes{f' of {species}' if species else ''}.")
    return {name: list(genes) for name, genes in found.items()}


@dataclass(frozen=True, kw_only=True)
class GeneSetReport:
    """How well gene sets fit the data.

    Attributes
    ----------
    n_sets, n_kept, n_too_small, n_too_large
        Sets, and what became of them by the number of their genes in the data.
    min_size, max_size
        The limits of that number.
    n_genes_in_sets, n_genes_matched
        Different names in the sets, and those found in the data.
    n_genes_covered, n_genes
        Genes of the data in a kept set, and all.
    how
        Names found by way: see `scetm_core.gene_names.WAYS`.
    species_of_sets, species_of_genes
        As far as the names tell.
    unmatched
        The first ten names that are not in the data.
    notes
        Sentences about what could not be done.
    """

    n_sets: int
    n_kept: int
    n_too_small: int
    n_too_large: int
    min_size: int
    max_size: int | None
    n_genes_in_sets: int
    n_genes_matched: int
    n_genes_covered: int
    n_genes: int
    how: dict[str, int]
    species_of_sets: Species
    species_of_genes: Species
    unmatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """The same in plain words, for a page or a log."""
        limits = f"at least {self.min_size:,}" if self.max_size is None else f"{self.min_size:,} to {self.max_size:,}"
        dropped = [f"{n:,} too {size}" for n, size in ((self.n_too_small, "small"), (self.n_too_large, "large")) if n]
        of_sets = [f"{self.n_sets:,} sets, {self.n_kept:,} kept ({limits} matched genes)", *dropped]
        said = [f"{', '.join(of_sets)}.", self.matched_sentence()]
        said.append(f"The kept sets cover {self.n_genes_covered:,} of the data's {self.n_genes:,} genes.")
        if self.unmatched:
            more = self.n_genes_in_sets - self.n_genes_matched - len(self.unmatched)
            said.append(f"Not found: {', '.join(self.unmatched)}{f' and {more:,} more' if more else ''}.")
        return [*said, *self.notes]

    def matched_sentence(self) -> str:
        """How many genes of the sets are in the data, and in which ways they were found."""
        ways = {**_BY_WAY, ORTHOLOG: f"through {self.species_of_sets}-{self.species_of_genes} orthologs"}
        if "unknown" in (self.species_of_sets, self.species_of_genes):
            ways[ORTHOLOG] = "through orthologs"
        how = ", ".join(f"{n:,} {ways[way]}" for way, n in sorted(self.how.items(), key=lambda item: -item[1]))
        return f"{self.n_genes_matched:,} of {self.n_genes_in_sets:,} genes in the sets are in the data: {how}."


@dataclass(frozen=True, kw_only=True)
class MatchedSets:
    """Gene sets in the names of the data, and a report of how they fit."""

    gene_sets: dict[str, list[str]]
    report: GeneSetReport


def match_gene_sets(
    gene_sets: Mapping[str, Sequence[str]],
    genes: Sequence[str],
    *,
    min_size: int = 1,
    max_size: int | None = None,
    symbols: Sequence[str] | None = None,
    orthologs: Mapping[str, str] | None = None,
) -> MatchedSets:
    """Gene sets translated into the names of the data; those too small or too large by then are left out.

    Names are matched as they are, without Ensembl versions, and ignoring letter case. Where the sets are clearly of
    the other species, human or mouse, one-to-one orthologs come first.

    Parameters
    ----------
    genes
        Names in the data, unique.
    min_size, max_size
        Limits of the number of genes of a set that are in the data.
    symbols
        Of each of `genes`, where those are ids: sets may use either.
    orthologs
        From the sets' names to the data's; used if given. None: the packaged table, if the species differ.

    Raises
    ------
    DataError
        If hardly any name of the sets is in the data.
    """
    aliases = {symbol: gene for gene, symbol in reversed(list(zip(genes, symbols or genes, strict=True))) if symbol}
    aliases.update((gene, gene) for gene in genes)
    wanted = list(dict.fromkeys(gene for members in gene_sets.values() for gene in members))
    species = species_of(wanted), species_of(symbols or genes)
    orthologs, notes = _orthologs_between(species, orthologs)
    matching = match_names(
        wanted, list(aliases), orthologs=orthologs, ways=WAYS if orthologs is None else ACROSS_SPECIES
    )
    if len(matching.places) < max(MIN_MATCHED * min(len(wanted), len(genes)), 1):
        raise DataError(_no_match(wanted, genes, symbols))
    names = {name: aliases[place] for name, place in matching.places.items()}
    translated = {
        name: list(dict.fromkeys(names[gene] for gene in members if gene in names))
        for name, members in gene_sets.items()
    }
    return _kept(translated, matching, n_genes=len(genes), limits=(min_size, max_size), species=species, notes=notes)


def _kept(
    translated: dict[str, list[str]],
    matching: Matching,
    *,
    n_genes: int,
    limits: tuple[int, int | None],
    species: tuple[Species, Species],
    notes: list[str],
) -> MatchedSets:
    min_size, max_size = limits
    n_small = sum(len(members) < min_size for members in translated.values())
    n_large = 0 if max_size is None else sum(len(members) > max_size for members in translated.values())
    kept = {
        name: members
        for name, members in translated.items()
        if min_size <= len(members) and (max_size is None or len(members) <= max_size)
    }
    report = GeneSetReport(
        n_sets=len(translated),
        n_kept=len(kept),
        n_too_small=n_small,
        n_too_large=n_large,
        min_size=min_size,
        max_size=max_size,
        n_genes_in_sets=len(matching.places) + len(matching.unmatched),
        n_genes_matched=len(matching.places),
        n_genes_covered=len({gene for members in kept.values() for gene in members}),
        n_genes=n_genes,
        how=matching.how,
        species_of_sets=species[0],
        species_of_genes=species[1],
        unmatched=matching.unmatched[:10],
        notes=notes,
    )
    return MatchedSets(gene_sets=kept, report=report)


def _orthologs_between(
    species: tuple[Species, Species], given: Mapping[str, str] | None
) -> tuple[Mapping[str, str] | None, list[str]]:
    """Pairs to use, and sentences about those that cannot be had."""
    of_sets, of_genes = species
    if given is not None or "unknown" in species or of_sets == of_genes:
        return given, []
    try:
        return load_orthologs(of_sets, of_genes), []
    except DataError as error:
        return None, [f"The sets name {of_sets} genes, the data {of_genes} genes, matched by letter case only. {error}"]


def _no_match(wanted: Sequence[str], genes: Sequence[str], symbols: Sequence[str] | None) -> str:
    """Why hardly any name fits, and what to do."""
    kinds = kind_of_names(wanted), kind_of_names(genes)
    if kinds == ("symbols", "ensembl") and symbols is None:
        advice = "The data need a column of symbols in var, e.g. 'gene_symbols'; or take sets with Ensembl ids."
    elif kinds == ("ensembl", "symbols"):
        advice = "The data name genes by symbol: take sets with symbols."
    elif kinds == ("ensembl", "ensembl") and symbols is None:
        advice = "Ids of two species cannot be paired: take sets of the data's species."
    else:
        advice = "Take gene sets with the same kind of gene names, of human or mouse."
    shown = list(symbols or genes)[:3]
    return f"Hardly any gene of the sets is in the data (sets: {list(wanted)[:3]}, data: {shown}). {advice}"
