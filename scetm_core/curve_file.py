"""How does a training curve get to the disk and back, line by line, whenever the writer is killed? As `metrics.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core.bounded import read_up_to
from scetm_core.number_text import to_float

if TYPE_CHECKING:
    import pandas as pd

_MAX_COLUMNS = 1000
_MAX_BYTES = 1_000_000_000


def append_rows(path: Path, records: Iterable[Mapping[str, float]]) -> None:
    """Append rows, the header first when the file is new."""
    rows = list(records)
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    with path.open("a+b") as stream:
        size = stream.tell()
        stream.seek(max(0, size - 4096))
        tail = stream.read()
        size -= len(tail) - (tail.rfind(b"\n") + 1)
        stream.truncate(size)  # a line cut short by a kill would spoil the next one
        if size == 0:
            writer.writeheader()
        writer.writerows(rows)
        stream.write(text.getvalue().encode())
        stream.flush()
        os.fsync(stream.fileno())  # a checkpoint that follows must not outlive it


def read_rows(path: Path) -> pd.DataFrame:
    """One row per report, numbers only; empty before the first.

    Steps trained again after a resume count once, as they were trained last. A last line cut short by a kill is left
    out, and so are rows without a step.

    Raises
    ------
    OSError, ValueError, KeyError, OverflowError
        If it is no such table.
    """
    import pandas as pd

    nothing = pd.DataFrame({"step": pd.Series(dtype=int)})
    if not path.exists():
        return nothing
    with path.open("rb") as stream:
        text = read_up_to(stream, _MAX_BYTES).decode("utf-8")
    header, *lines = [line.split(",") for line in text[: text.rfind("\n") + 1].splitlines() if line] or [[]]
    if not header:
        return nothing
    if len(header) > _MAX_COLUMNS:
        raise ValueError("it has too many columns")
    # not read by pandas, whose parser crashes on some quotes without an end and on some exponents
    whole = [line for line in lines if len(line) == len(header)]
    numbers = [[to_float(text) for text in line] for line in whole]
    rows = pd.DataFrame(numbers, columns=pd.Index(header, dtype=object), dtype=float).dropna(subset="step")
    if (rows["step"] % 1 == 0).all():
        rows = rows.astype({"step": "int64"})
    curve: pd.DataFrame = rows.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)
    return curve


def is_cut_short(path: Path) -> bool:
    """Whether the last line lacks its end: its writer was killed; the next report takes it away."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) != b"\n"
