"""Which genes mark which cell type in a table? Its columns tell: PanglaoDB, CellMarker, or just two columns."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from scetm_core.bounded import read_up_to
from scetm_core.data.bounds import open_bytes, plain_path
from scetm_core.errors import DataError

MAX_BYTES = 200_000_000
MAX_NAMES = 10_000_000  # ten times the largest collections there are
_FREE = 20_000_000  # bytes that a small .gz may unpack to
LAYOUTS = (
    "a .csv or .tsv with a column of cell types ('cell type', 'cell_name', 'gene set') and one of genes ('official "
    "gene symbol', 'symbol', 'genes'), as PanglaoDB and CellMarker have, or just two columns: cell type, gene"
)

# Names of columns, small letters and digits only, the most telling first: CellMarker's cellType is "Normal cell"
_SET_COLUMNS = ("cellname", "celltype", "celltypes", "geneset", "setname", "set", "pathway", "term", "cluster", "group")
_GENE_COLUMNS = (
    "officialgenesymbol",
    "genesymbol",
    "symbol",
    "genes",
    "gene",
    "markers",
    "marker",
    "genename",
    "names",
)
_SPECIES_COLUMNS = ("species", "speciestype", "organism")
_SPECIES_WORDS = {"human": {"human", "hs", "homosapiens"}, "mouse": {"mouse", "mm", "musmusculus"}}
_NOTHING = {"", "na", "nan", "none", "-"}


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The text of a file of gene sets, also gzipped; `errors` as in `bytes.decode`.

    Raises
    ------
    DataError
        If there is none, it is no text, or too large to be gene sets.
    """
    path = plain_path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path.name} is no plain file. Pick a .gmt file.")
    try:
        with open_bytes(path, free=_FREE) as stream:
            content = read_up_to(stream, MAX_BYTES + 1)
        text = content.decode("utf-8-sig", errors=errors)
    except FileNotFoundError as error:
        raise DataError(f"There is no file at {path}. Check the path of the gene sets.") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as gene sets ({error}). Pick a .gmt file.") from error
    if len(content) > MAX_BYTES or sum(map(text.count, "\t,;|\n")) > MAX_NAMES:
        raise DataError(
            f"{path.name} holds more than {MAX_BYTES / 1e6:.0f} MB or {MAX_NAMES:,} names, too much for gene sets. "
            "Pick another file, or keep only the sets you need."
        )
    if "\0" in text:
        raise DataError(f"{path.name} cannot be read as gene sets (it is no text). Pick a .gmt file.")
    return text


def rows_of_table(path: Path, species: str | None = None) -> list[tuple[str, list[str]]]:
    """Cell type and genes of each row of a table.

    Parameters
    ----------
    species
        ``"human"`` or ``"mouse"``: leave out rows that speak of others only. None: all; where each row is of one
        species, the cell type is told apart by it: ``"B cell (human)"``.

    Raises
    ------
    DataError
        If it cannot be read or its columns are not recognised.
    """
    header, rows = _split(path)
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    sets, genes, kinds = (_first_of(names, plain) for names in (_SET_COLUMNS, _GENE_COLUMNS, _SPECIES_COLUMNS))
    if len(header) == 2 and (sets is None or genes is None):
        rows = [header, *rows] if sets is genes is None else rows
        sets = 1 if genes == 0 else 0
        genes = 1 - sets
    if sets is None or genes is None:
        raise DataError(
            f"{path.name} is no table of gene sets that can be recognised; its columns: {header[:20]}. "
            f"Expected: {LAYOUTS}."
        )
    rows = [row for row in rows if len(row) > max(sets, genes) and _bare(row[sets])]
    of_row = [_species_in(row[kinds]) if kinds is not None and len(row) > kinds else set[str]() for row in rows]
    apart = species is None and len(set[str]().union(*of_row)) > 1 and all(len(found) <= 1 for found in of_row)
    return [
        (_bare(row[sets]) + (f" ({next(iter(found))})" if apart and found else ""), _genes_in(row[genes]))
        for row, found in zip(rows, of_row, strict=True)
        if species is None or not found or species in found
    ]


def _split(path: Path) -> tuple[list[str], list[list[str]]]:
    """The first row of a table and the others."""
    text = read_text(path, errors="replace")  # names of genes are plain letters whatever the rest is written in
    separator = max("\t,;", key=text.partition("\n")[0].count)
    lines = io.StringIO(text, newline="")
    try:
        if separator == "\t":  # titles of papers hold lone quotes
            reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(lines, delimiter=separator)
        rows = [row for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path.name} cannot be read as a table ({error}). Expected: {LAYOUTS}.") from error
    if not rows:
        raise DataError(f"{path.name} holds no gene set: it is empty. Expected: {LAYOUTS}.")
    return rows[0], rows[1:]


def _first_of(names: Sequence[str], header: list[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _bare(text: str) -> str:
    return text.strip(" \t\"'[]")


def _species_in(text: str) -> set[str]:
    """Species a cell of a table speaks of: ``"Mm Hs"`` of both; none if it says nothing."""
    words = {re.sub(r"[^a-z]", "", text.lower()), *text.lower().split()}
    found = {species for species, known in _SPECIES_WORDS.items() if words & known}
    return found or {_bare(text)} - {name for name in [_bare(text)] if name.lower() in _NOTHING}


def _genes_in(text: str) -> list[str]:
    """Genes of ``"CD19"`` or ``"CD19, [CD3D, CD3E], NA"``."""
    return [name for name in map(_bare, re.split(r"[,;|]", text)) if name.lower() not in _NOTHING]
