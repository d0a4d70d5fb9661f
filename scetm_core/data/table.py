"""What is in a text table of counts? Cells in rows, genes in columns, cell names first (.csv, .tsv, .txt, also .gz).

Columns that hold text, and those chosen as batch or label, describe the cells and become columns of obs.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core.data.bounds import open_text
from scetm_core.data.matrix import StoredMatrix
from scetm_core.data.names import BARCODE, ENSEMBL, share_matching
from scetm_core.errors import DataError

if TYPE_CHECKING:
    from scetm_core.data.matrix import Csr

_VALUES_AT_ONCE = 20_000_000  # table entries parsed at once
MAX_COLUMNS = 500_000
"""More are refused: each takes some kilobytes while it is parsed."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Counts of a text table, in memory."""

    counts: Csr
    obs: pd.DataFrame
    var: pd.DataFrame
    messages: list[str]

    def matrix(self) -> StoredMatrix:
        """The counts as the other readers give them."""
        return StoredMatrix.from_csr(self.counts)


def _header(path: Path) -> tuple[list[str], str]:
    """Column names without that of the cell names, and the separator: the most frequent sign in the first line."""
    with open_text(path) as stream:
        first = stream.readline()
        separator = max("\t,; ", key=first.count)
        if not first.strip() or separator not in first:
            raise DataError("The first line names no columns. Write one gene per column, separated by commas or tabs.")
        if (n_columns := first.count(separator)) > MAX_COLUMNS:
            raise DataError(f"It has {n_columns:,} columns; at most {MAX_COLUMNS:,} can be read. Save it as .h5ad.")
        names = next(csv.reader([first], delimiter=separator))
        second = next(csv.reader([stream.readline()], delimiter=separator), [])
    without_corner = len(second) == len(names) + 1  # as R's write.table leaves it
    return (names if without_corner else names[1:]), separator


def read_table(path: Path, *, obs_columns: Sequence[str]) -> TextTable:
    """Read a table in pieces of rows, straight into a sparse matrix.

    Parameters
    ----------
    obs_columns
        Columns that describe cells even if they hold numbers.

    Raises
    ------
    DataError
        If it holds no numbers, text among the numbers, or seems to have genes in rows.
    """
    names, separator = _header(path)
    described = {position for position, name in enumerate(names) if name in obs_columns}
    ids: list[str] = []
    counts: list[Any] = []
    tables: list[pd.DataFrame] = []
    for number, piece in enumerate(_pieces(path, names, separator)):
        if number == 0:
            described |= {i for i in range(len(names)) if not pd.api.types.is_numeric_dtype(piece[i].dtype)}
            if len(described) == len(names):
                raise DataError("The table holds no column of numbers. Cells go in rows, genes in columns.")
        genes = [i for i in range(len(names)) if i not in described]
        for i in genes:
            if not pd.api.types.is_numeric_dtype(piece[i].dtype):
                raise DataError(f"Column {names[i]!r} holds text among its numbers. Mend those entries.")
        ids += [str(name) for name in piece.index]
        counts.append(sp.csr_matrix(piece[genes].to_numpy(dtype=np.float64)))
        tables.append(piece[sorted(described)])
    gene_names = [name for position, name in enumerate(names) if position not in described]
    _refuse_transposed(ids, gene_names)
    obs = pd.concat(tables) if tables else pd.DataFrame(columns=sorted(described))
    obs.columns = pd.Index([names[i] for i in sorted(described)], dtype=object)
    obs.index = pd.Index(ids, dtype=object)
    found = [name for name in obs.columns if name not in obs_columns]
    message = f"{found} hold no numbers and were taken as descriptions of cells, not as genes."
    whole = sp.csr_matrix(sp.vstack(counts, format="csr")) if counts else sp.csr_matrix((0, len(gene_names)))
    var = pd.DataFrame(index=pd.Index(gene_names, dtype=object))
    return TextTable(counts=whole, obs=obs, var=var, messages=[f"Columns {message}"] if found else [])


def _pieces(path: Path, names: list[str], separator: str) -> Iterator[pd.DataFrame]:
    """The rows below the header, some at a time; columns are numbered, the index holds the cells' names."""
    with open_text(path) as stream:
        stream.readline()
        try:
            reader = pd.read_csv(
                stream,
                sep=separator,
                header=None,
                names=range(-1, len(names)),
                index_col=0,
                chunksize=max(1, _VALUES_AT_ONCE // max(len(names), 1)),
                dtype={-1: str},
                float_precision="round_trip",  # pandas' own parser crashes on some exponents
                low_memory=False,
            )
        except pd.errors.EmptyDataError:
            return  # no rows: told as 0 cells
        yield from (piece for piece in reader if len(piece))


def _refuse_transposed(ids: list[str], genes: list[str]) -> None:
    """Genes in rows are told by Ensembl ids there, or by barcodes of cells in the header."""
    if share_matching(ids, ENSEMBL) > 0.5 or share_matching(genes, BARCODE) > 0.5:
        raise DataError("The table seems to hold genes in rows. Transpose it: cells go in rows, genes in columns.")
