"""Which cells carry which label? Labels of any kind as whole numbers, the missing ones told apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from scetm_core.errors import DataError

Labels = npt.ArrayLike | pd.Series | pd.Categorical
"""One label per cell: strings, numbers or a pandas categorical; None and NaN count as missing."""


def label_codes(labels: Labels, *, n_cells: int | None = None) -> tuple[np.ndarray, pd.Index]:
    """Number the labels from 0 in order of appearance.

    Parameters
    ----------
    labels
        (n_cells,)
    n_cells
        How many labels there have to be; not looked at if None.

    Returns
    -------
    codes, names
        (n_cells,) integers, -1 where the label is missing; and the label that each code stands for.

    Raises
    ------
    DataError
        If the number of labels is not `n_cells`.
    """
    values = labels if isinstance(labels, (pd.Series, pd.Categorical)) else pd.Series(np.asarray(labels), copy=False)
    if n_cells is not None and len(values) != n_cells:
        raise DataError(f"There are {len(values):,} labels for {n_cells:,} cells; give exactly one label per cell.")
    codes, names = pd.factorize(values)
    return np.asarray(codes, dtype=np.int64), pd.Index(names)


def shared_codes(labels: Labels, clusters: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Codes of two labellings of the same cells, over the cells that both of them label.

    Raises
    ------
    DataError
        If they do not label the same number of cells.
    """
    first, _ = label_codes(labels)
    second, _ = label_codes(clusters, n_cells=len(first))
    known = (first >= 0) & (second >= 0)
    return first[known], second[known]
