"""Is a column of the cell table fit to be the batch or the label, and what are its values?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scetm_core.data.names import closest_first, count
from scetm_core.errors import DataError
from scetm_core.number_text import to_float

MAX_BATCHES = 1000
"""More values than this in a batch column are refused: each batch costs one intercept per gene."""

BATCH_NAMES = ("batch", "donor", "sample", "tech", "library", "dataset", "experiment", "study", "patient", "gem_group")
LABEL_NAMES = ("cell_type", "celltype", "cell_ontology_class", "cell_type1", "label", "annotation", "cluster")


def find_column(obs: pd.DataFrame, name: str, *, what: str) -> pd.Series[Any]:
    """One column of the cell table; `what` is ``"batch"`` or ``"label"``.

    Raises
    ------
    DataError
        If there is none of that name (or two), with the columns there are, close matches first.
    """
    if name not in obs.columns:
        found = closest_first(name, [str(column) for column in obs.columns])
        raise DataError(
            f"obs has no column {name!r} to use as the {what} column. Pick one that exists; found: {found}."
        )
    column = obs[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(
            f"obs has several columns called {name!r}. Rename them so that the {what} column is one of them."
        )
    return column


def as_categories(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as categories of str without unused ones; missing values stay missing.

    Whole numbers lose their ``.0`` (pandas adds it where some values are missing). The order of existing categories
    is kept, other values are sorted.
    """
    known = isinstance(column.dtype, pd.CategoricalDtype)
    values: pd.Series[Any] = (column if known else column.astype("category")).cat.remove_unused_categories()
    texts = [_as_text(value) for value in values.cat.categories]
    codes = {text: position for position, text in enumerate(dict.fromkeys(texts))}
    to_code = [codes[text] for text in texts]
    merged = pd.Categorical.from_codes(
        [to_code[code] if code >= 0 else -1 for code in values.cat.codes],
        categories=pd.Index(list(codes), dtype=object),
    )
    return pd.Series(merged, index=column.index, name=column.name)


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column as float64, for a numeric covariate.

    Raises
    ------
    DataError
        If a value is missing, infinite or no number.
    """
    values = np.array([to_float(value) for value in column.astype(object)], dtype=np.float64)
    numbers = pd.Series(values, index=column.index, name=column.name)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise DataError(
            f"Numeric covariate {str(column.name)!r} is no finite number for {count(int(bad.sum()), 'cell')} "
            f"(e.g. {column[bad].iloc[0]!r}). Fill the gaps, or give it as a batch column if it names categories."
        )
    return numbers


def _as_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def batch_problem(batches: pd.Series[Any], name: str) -> tuple[str, str]:
    """Why categories cannot serve as batches, and what to do; two empty strings if they can."""
    n_cells, n_missing, n_batches = len(batches), int(batches.isna().sum()), len(batches.cat.categories)
    if n_missing:
        return (
            f"Batch column {name!r} has no value for {count(n_missing, 'cell')} of {n_cells:,}",
            "Fill the gaps, leave those cells out, or choose another batch column.",
        )
    if n_batches > MAX_BATCHES or (n_batches > n_cells / 2 and n_batches > 2):
        return (
            f"Batch column {name!r} has {n_batches:,} values for {n_cells:,} cells; it seems to name cells",
            f"Choose a column that tells experiments or donors apart (at most {MAX_BATCHES:,} values).",
        )
    return "", ""


def one_batch_message(batches: pd.Series[Any], name: str) -> str:
    """Sentence about a batch column with a single value, or an empty string."""
    found = list(batches.cat.categories)
    if len(found) != 1:
        return ""
    return f"Batch column {name!r} has one value only ({found[0]!r}), so there is no batch effect to take out."


def sizes(values: pd.Series[Any]) -> dict[str, int]:
    """Cells per category, the largest first; missing values are left out."""
    return {str(name): int(n) for name, n in values.value_counts().items() if n}


def suggest(obs: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns whose name suggests a meaning, best first, among those with 2 to 1,000 values."""
    ranked = []
    for column in obs.columns:
        text = str(column).lower().replace(" ", "_").replace(".", "_")
        ranks = [position for position, name in enumerate(names) if name in text]
        if ranks and 2 <= obs[column].nunique() <= min(MAX_BATCHES, max(2, len(obs) // 2)):
            ranked.append((ranks[0], text not in names, str(column)))
    return [column for _, _, column in sorted(ranked)]
