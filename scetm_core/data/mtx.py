"""What is in a .mtx (Matrix Market)? The counts of a 10x folder, read in pieces.

Read here and not by `scipy.io.mmread`, which crashes the process on some damaged files.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from scetm_core.data.bounds import most_bytes
from scetm_core.errors import DataError

if TYPE_CHECKING:
    from scetm_core.data.matrix import Csr

_AT_ONCE = 1 << 24  # bytes parsed at once
_LEAST_BYTES = 2  # of a value, with the end of its line
_KINDS = ("integer", "real", "pattern", "unsigned-integer", "double")


class MtxFile:
    """An open .mtx, its head read.

    Attributes
    ----------
    shape
        (n_genes, n_cells), as the file counts.

    Raises
    ------
    DataError
        If it is no such matrix, or claims more values than a file of its size can hold.
    """

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self._name, self._stream = file.name, stream
        kind = stream.readline().decode("latin-1").lower().split()
        line = stream.readline()
        while line and (line.startswith(b"%") or not line.strip()):
            line = stream.readline()
        sizes = line.split()
        if kind[:2] != ["%%matrixmarket", "matrix"] or len(kind) != 5 or not all(text.isdigit() for text in sizes):
            raise DataError(f"{file.name} does not begin as a .mtx does. Take it from the output of Cell Ranger again.")
        self._is_dense, self._is_pattern = kind[2] == "array", kind[3] == "pattern"
        fits = kind[3] in _KINDS and kind[4] == "general" and len(sizes) == (2 if self._is_dense else 3)
        if not fits or kind[2] not in ("array", "coordinate"):
            raise DataError(
                f"{file.name} is a matrix '{' '.join(kind[2:])[:60]}'; counts are 'coordinate integer general'."
            )
        numbers = [int(text[:20]) for text in sizes]
        self.shape, self._n_values = (numbers[0], numbers[1]), math.prod(numbers) if self._is_dense else numbers[2]
        if self._n_values * _LEAST_BYTES > most_bytes(file.stat().st_size):
            raise DataError(f"{file.name} claims {self._n_values:,} values, more than a file of its size holds.")

    def read(self) -> Csr:
        """All counts, (n_cells, n_genes).

        Raises
        ------
        DataError
            If something else than numbers comes, more or fewer than the head says, or a position lies outside.
        """
        width = 1 if self._is_dense else 2 if self._is_pattern else 3
        genes, cells, values, n_read = [], [], [], 0
        for entries in self._pieces(width):
            if self._is_dense:
                places = n_read + np.arange(len(entries), dtype=np.int64)
                gene, cell, value = places % max(self.shape[0], 1), places // max(self.shape[0], 1), entries[:, 0]
            else:
                gene, cell = self._positions(entries[:, 0], 0), self._positions(entries[:, 1], 1)
                value = np.ones(len(entries)) if self._is_pattern else entries[:, 2]
            n_read += len(entries)
            genes.append(gene)
            cells.append(cell)
            values.append(value)
        if n_read != self._n_values:
            raise DataError(
                f"{self._name} is cut short: {n_read:,} values, its head says {self._n_values:,}. Copy it again."
            )
        nothing = np.zeros(0, dtype=np.int64)
        parts: Any = (
            np.concatenate([nothing.astype(np.float64), *values]),
            (np.concatenate([nothing, *cells]), np.concatenate([nothing, *genes])),
        )
        return sp.csr_matrix(parts, shape=self.shape[::-1])

    def _pieces(self, width: int) -> Any:
        """Entries (n, width), some at a time."""
        n_left = self._n_values
        while content := self._stream.read(_AT_ONCE):
            content += self._stream.readline()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # numpy only warns of what is no number
                try:
                    numbers = np.fromstring(content, dtype=np.float64, sep=" ") if content.strip() else np.zeros(0)
                except (DeprecationWarning, ValueError) as error:
                    raise DataError(f"{self._name} holds something else than numbers. Copy it again.") from error
            n_left -= len(numbers) // width
            if len(numbers) % width or n_left < 0:
                raise DataError(
                    f"{self._name} is cut short or too long: its head says {self._n_values:,} values. Copy it again."
                )
            yield numbers.reshape(-1, width)

    def _positions(self, numbers: np.ndarray, axis: int) -> np.ndarray:
        """Positions from 0, of those the file counts from 1."""
        if not ((numbers >= 1) & (numbers <= self.shape[axis]) & (numbers == np.floor(numbers))).all():
            raise DataError(f"{self._name} points outside its table. Copy it again.")
        kind = np.int32 if self.shape[axis] < 2**31 else np.int64
        positions: np.ndarray = (numbers - 1).astype(kind)
        return positions
