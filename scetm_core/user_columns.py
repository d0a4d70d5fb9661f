"""What has the user said of the cells? Columns of labels given to selected cells, with their history.

They lie in the run's folder, one JSON file a column, and join `obs` when a result is read; the input and `result.h5ad`
stay as they are. A selection kept under a name is such a column too: those cells, and the rest.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from scetm_core import keys
from scetm_core.errors import DataError, RunError
from scetm_core.files import table_name, write_atomically
from scetm_core.json_text import read_json
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

MAX_NAME = 60
MAX_CELLS = 1 << 28
REST = "rest"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Some cells were given a label ("" takes it away): which cells, by what rule in words, and when."""

    label: str
    cells: str  # base64 of the zlib-packed bits, one a cell
    n_cells: int  # that were selected
    words: str
    time: float  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class UserColumn:
    """A column made by the user: its edits in order; those beyond `n_done` are undone and can be done again.

    `rest` is the label of cells that were given none; None leaves them without.
    """

    name: str
    n_obs: int
    rest: str | None = None
    edits: tuple[Edit, ...] = ()
    n_done: int = 0

    def with_edit(self, cells: Mask, label: str, *, words: str) -> UserColumn:
        """One edit more; what was undone is forgotten."""
        edit = Edit(
            label=clean_name(label) if label.strip() else "",
            cells=_packed(cells),
            n_cells=int(cells.sum()),
            words=words,
            time=time.time(),
        )
        edits = (*self.edits[: self.n_done], edit)
        return dataclasses.replace(self, edits=edits, n_done=len(edits))

    def moved(self, by: int) -> UserColumn:
        """The last edit undone (-1) or done again (+1), as far as there is one."""
        return dataclasses.replace(self, n_done=min(max(self.n_done + by, 0), len(self.edits)))

    @property
    def labels(self) -> list[str]:
        """The labels in the order in which they were first given."""
        given = [edit.label for edit in self.edits[: self.n_done] if edit.label]
        return list(dict.fromkeys([*given, *([self.rest] if self.rest else [])]))

    def values(self) -> pd.Categorical:
        """The label of each cell, later edits over earlier ones."""
        labels = self.labels
        codes = np.full(self.n_obs, labels.index(self.rest) if self.rest else -1, dtype=np.int32)
        for edit in self.edits[: self.n_done]:
            codes[_unpacked(edit.cells, self.n_obs)] = labels.index(edit.label) if edit.label else -1
        return pd.Categorical.from_codes(codes, categories=pd.Index(labels, dtype=object))


def clean_name(text: str) -> str:
    """A name or label as it is kept.

    Raises
    ------
    DataError
        If nothing is left of it, or it is too long.
    """
    name = " ".join(text.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise DataError(f"A name has 1 to {MAX_NAME} letters. Got {len(name)}: {name[:MAX_NAME]!r}.")
    return name


def _packed(cells: Mask) -> str:
    return base64.b64encode(zlib.compress(np.packbits(cells).tobytes(), 6)).decode()


def _unpacked(text: str, n_obs: int) -> Mask:
    bits = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), (n_obs + 7) // 8 + 1)
    if len(bits) != (n_obs + 7) // 8:
        raise ValueError(f"the cells of an edit are not {n_obs:,}")
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=n_obs).astype(bool)


# ---- in the run's folder ------------------------------------------------------------------------------------------


def read_columns(run: Run) -> dict[str, UserColumn]:
    """The user's columns of a run, by name.

    Raises
    ------
    RunError
        If a file is damaged.
    """
    found = {}
    for path in sorted((run.path / keys.COLUMNS_FOLDER).glob("*.json")):
        try:
            column = _column_from(read_json(path))
        except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
            raise RunError(f"{keys.COLUMNS_FOLDER}/{path.name} of run {run.id} cannot be read ({error}).") from error
        found[column.name] = column
    return found


def _column_from(record: Mapping[str, Any]) -> UserColumn:
    """A column as it was saved; says now what is damaged, without making the labels of cells that may not be there."""
    edits = tuple(Edit(**edit) for edit in record["edits"])
    column = UserColumn(**{**record, "edits": edits})
    texts = [column.name, "" if column.rest is None else column.rest, *(edit.label for edit in edits)]
    texts += [edit.words for edit in edits]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name or label is no text")
    numbers = [column.n_obs, column.n_done, *(edit.n_cells for edit in edits)]
    if not all(isinstance(number, int) and 0 <= number <= MAX_CELLS for number in numbers):
        raise ValueError(f"its numbers must be whole, from 0 to {MAX_CELLS:,}")
    if not all(isinstance(edit.time, (int, float)) and math.isfinite(edit.time) for edit in edits):
        raise ValueError("the time of an edit is no number")
    for edit in edits:
        _unpacked(edit.cells, column.n_obs)
    return column


def write_column(run: Run, column: UserColumn) -> None:
    """Save a column, at once and whole.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    path = run.path / keys.COLUMNS_FOLDER / f"{table_name(column.name)}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(dataclasses.asdict(column), indent=1, ensure_ascii=False))
    except OSError as error:
        raise RunError(f"Cannot save the column {column.name!r}: {error.strerror or error}.") from error


def delete_column(run: Run, name: str) -> None:
    """Remove a column of the user's, with its history; nothing happens if there is none."""
    (run.path / keys.COLUMNS_FOLDER / f"{table_name(name)}.json").unlink(missing_ok=True)


def columns_stamp(run: Run) -> tuple[tuple[str, int], ...]:
    """Changes when a column of the user's does."""
    files = (run.path / keys.COLUMNS_FOLDER).glob("*.json")
    return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in files))


def new_column(name: str, result: ad.AnnData, *, rest: str | None = None) -> UserColumn:
    """An empty column.

    Raises
    ------
    DataError
        If the result has a column of that name already, or the name cannot be used.
    """
    name = clean_name(name)
    if name in result.obs or name in result.var_names or keys.topic_number(name) is not None:
        raise DataError(f"{name!r} is taken by a column, a gene or a topic. Choose another name.")
    return UserColumn(name=name, n_obs=result.n_obs, rest=rest)


def column_values(run: Run, result: ad.AnnData) -> dict[str, pd.Categorical]:
    """The user's columns for the cells of a result, to join its obs.

    Raises
    ------
    RunError
        If a file is damaged, or made for other cells.
    """
    found = {}
    for name, column in read_columns(run).items():
        if column.n_obs != result.n_obs:
            raise RunError(
                f"The column {name!r} was made for {column.n_obs:,} cells, the result has {result.n_obs:,}. "
                f"Remove it from {keys.COLUMNS_FOLDER} in the run's folder."
            )
        if column.labels:
            found[name] = column.values()
    return found


def with_user_columns(run: Run, result: ad.AnnData) -> ad.AnnData:
    """A result whose obs has the user's columns as well; arrays are shared, `result` stays as it is."""
    import anndata as ad

    columns = column_values(run, result)
    if not columns:
        return result
    return ad.AnnData(
        obs=result.obs.assign(**columns), var=result.var, obsm=dict(result.obsm), varm=dict(result.varm),
        uns=dict(result.uns),
    )  # fmt: skip
