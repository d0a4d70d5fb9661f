"""What does the training curve on disk say? `metrics.csv` of a run, which may end in half a line, or be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core.number_text import to_float

if TYPE_CHECKING:
    import pandas as pd

_MAX_COLUMNS = 1000
_MAX_BYTES = 1_000_000_000


def read_metrics(path: Path) -> pd.DataFrame:
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
        text = stream.read(_MAX_BYTES).decode("utf-8")
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
