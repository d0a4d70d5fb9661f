"""Which gene of one species is which of another? Pairs of human and mouse, or of the user's own table."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import pandas as pd

from scetm_core.bounded import read_up_to
from scetm_core.data.bounds import in_words, open_text, plain_path
from scetm_core.data.demo import package_file
from scetm_core.errors import DataError
from scetm_core.gene_names import species_of

PACKAGED = ("human", "mouse")
_ARCHIVE, _MEMBER = "sample_data.zip", "gene_matches_1v1_human2mouse.csv"
_SPECIES_WORDS = {
    "human": re.compile(r"human|hsapiens|sapiens|hgnc|\bhs\b", re.IGNORECASE),
    "mouse": re.compile(r"mouse|mmusculus|musculus|mgi|\bmm\b", re.IGNORECASE),
}
_HEADER_WORDS = re.compile(r"gene|symbol|name|species|ortholog|source|target|model|alias|from|^to$", re.IGNORECASE)
MAX_BYTES = 200_000_000
MAX_COLUMNS = 200
_BRING_YOUR_OWN = "Or give a table of your own (.csv or .tsv): two columns, a pair of genes each row."


def load_orthologs(
    source: str, target: str, path: Path | str | None = None, *, many_to_one: bool = False
) -> dict[str, str]:
    """Pairs of genes, from names of one species to those of the other.

    Parameters
    ----------
    source, target
        ``"human"`` and ``"mouse"``, either way round; with a table of one's own any two words.
    path
        A .csv or .tsv with two columns, in the order `source`, `target`, unless their names or the genes in them say
        which is which (``human_gene,mouse_gene``). None for the table that comes with the demo data, 16,597 pairs.
    many_to_one
        Keep genes of `source` that share a partner, e.g. mouse Ins1 and Ins2 with human INS; only in a table of one's
        own, as the packaged one has no such pairs.

    Returns
    -------
    Gene of `source` -> gene of `target`. Genes of `source` with more than one partner are left out, and without
    `many_to_one` those of `target` as well.

    Raises
    ------
    DataError
        If the table is not there, cannot be read or holds no pair.
    """
    if path is not None:
        file = plain_path(path)
        return dict(_of_file(file, _stamp(file), (source, target), many_to_one))
    if {source, target} != set(PACKAGED):
        raise DataError(
            f"There is no table of orthologs from {source} to {target}, only human and mouse. {_BRING_YOUR_OWN}"
        )
    return dict(_packaged(source))


@lru_cache(maxsize=2)
def _packaged(source: str) -> dict[str, str]:
    try:
        archive = package_file("came", _ARCHIVE)
    except DataError as error:
        raise DataError(
            f"The table of human and mouse orthologs comes with the demo data. {error} {_BRING_YOUR_OWN}"
        ) from error
    try:
        with zipfile.ZipFile(archive) as unpacked, unpacked.open(_MEMBER) as stream:
            table = pd.read_csv(stream, usecols=[0, 1], dtype=str, keep_default_na=False)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DataError(
            f"The table of orthologs in {archive} cannot be read ({error}). Install that package again."
        ) from error
    human, mouse = table.columns
    return _unambiguous(table, *((human, mouse) if source == "human" else (mouse, human)))


@lru_cache(maxsize=8)
def _of_file(path: Path, stamp: int, species: tuple[str, str], many_to_one: bool) -> dict[str, str]:
    """Pairs of a user's table; `stamp` makes a file that changed a new one."""
    table = _read_table(path, stamp, what="orthologs")
    header = [str(name) for name in table.iloc[0]]
    named = [_column_of(header, wanted) for wanted in species]
    if None not in named and named[0] != named[1]:
        columns = [int(place) for place in named if place is not None]
        table = table[1:]
    elif len(header) == 2:
        table = table[1:] if all(_HEADER_WORDS.search(name) for name in header) else table
        columns = _in_order_of_species(table, species)
    else:
        raise DataError(
            f"{path.name} does not say which columns hold the genes of {species[0]} and {species[1]}; found: {header}. "
            f"Name them so, or keep two columns: {species[0]}, {species[1]}."
        )
    if not (pairs := _unambiguous(table, *columns, many_to_one=many_to_one)):
        raise DataError(f"{path.name} holds no pair of genes that is clear. {_BRING_YOUR_OWN}")
    return pairs


def _column_of(header: list[str], species: str) -> int | None:
    """The first column whose name speaks of a species; one that speaks of genes or symbols before others."""
    words = _SPECIES_WORDS.get(species, re.compile(re.escape(species), re.IGNORECASE))
    places = [place for place, name in enumerate(header) if words.search(name)]
    places.sort(key=lambda place: not re.search("symbol|gene.?name|gene$", header[place], re.IGNORECASE))
    return places[0] if places else None


def _in_order_of_species(table: pd.DataFrame, species: tuple[str, str]) -> list[int]:
    written = tuple(species_of(table[place]) for place in (0, 1))
    return [1, 0] if written == species[::-1] else [0, 1]


def _unambiguous(table: pd.DataFrame, source: object, target: object, *, many_to_one: bool = False) -> dict[str, str]:
    """Pairs of two columns whose genes have one partner; with `many_to_one`, those of `target` may have several."""
    pairs = table[[source, target]].apply(lambda column: column.str.strip()).drop_duplicates()
    pairs = pairs[(pairs[source] != "") & (pairs[target] != "")]
    clear = ~pairs[source].duplicated(keep=False)
    if not many_to_one:
        clear &= ~pairs[target].duplicated(keep=False)
    return dict(zip(pairs.loc[clear, source], pairs.loc[clear, target], strict=True))


def read_pairs(path: Path) -> dict[str, str]:
    """Pairs of names from a .csv or .tsv with two columns: name -> name, a first row that names the columns left out.

    Raises
    ------
    DataError
        If the table is not there, cannot be read, or gives one name two partners.
    """
    path = plain_path(path)
    table = _read_table(path, _stamp(path), what="names")
    if table.shape[1] != 2:
        raise DataError(f"{path.name} has {table.shape[1]} columns. Keep two: name in the target, name in the model.")
    if all(_HEADER_WORDS.search(name) for name in table.iloc[0]):
        table = table[1:]
    pairs = _unambiguous(table, 0, 1, many_to_one=True)
    named = table[0].str.strip()
    if lost := sorted(set(named[named != ""]) - set(pairs)):
        raise DataError(f"{path.name} leaves open what {lost[:5]} are called: give each name one partner.")
    return pairs


def check_table(path: Path) -> None:
    """Refuse what cannot be a table of orthologs or aliases.

    Raises
    ------
    DataError
        If it cannot be read, or has one column only.
    """
    if (table := _read_table(path, _stamp(path), what="names")).shape[1] < 2:
        raise DataError(f"{path.name} has {table.shape[1]} column. {_BRING_YOUR_OWN}")


def _stamp(file: Path) -> int:
    """When a file was written; 0 if there is none."""
    return file.stat().st_mtime_ns if file.is_file() else 0


def _read_table(path: Path, stamp: int, *, what: str) -> pd.DataFrame:
    """A text table as it is, the first row included; columns are numbered."""
    if not stamp:
        raise DataError(f"There is no file at {path}. Check the path of the table of {what}.")
    try:
        with open_text(path) as stream:
            text = read_up_to(stream, MAX_BYTES + 1)
        first = text.partition("\n")[0]
        separator = max("\t,;", key=first.count)
        if len(text) > MAX_BYTES or first.count(separator) >= MAX_COLUMNS:
            raise DataError(
                f"{path.name} has more than {in_words(MAX_BYTES)} or {MAX_COLUMNS} columns, too much for a table of "
                f"{what}. {_BRING_YOUR_OWN}"
            )
        table = pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)
        return table.fillna("")  # rows that end early
    except (OSError, EOFError, zlib.error, ValueError) as error:  # text that is none, pandas' errors: ValueErrors
        raise DataError(f"{path.name} cannot be read as a table of {what} ({error}). {_BRING_YOUR_OWN}") from error
