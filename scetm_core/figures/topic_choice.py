"""Which topics are worth showing? Those that cells use, and those that differ between groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.figures._result import topic_values
from scetm_core.figures.differential import MIN_DIFFERENCE_CONDITIONS, MIN_DIFFERENCE_TYPES, SIGNIFICANCE

if TYPE_CHECKING:
    import anndata as ad

IDLE_CELLS = 2
"""A topic that no more cells give over an even share (1 / n_topics) is idle, as in `judgement`."""


def topics_with_cells(result: ad.AnnData) -> list[int]:
    """Numbers of the topics that more than `IDLE_CELLS` cells use; all if that is true of none."""
    theta = topic_values(result, keys.THETA)
    if theta.empty:
        return list(range(theta.shape[1]))
    users = (theta.to_numpy() > 1 / theta.shape[1]).sum(axis=0)
    in_use = np.flatnonzero(users > IDLE_CELLS)
    return [int(topic) for topic in (in_use if len(in_use) else range(len(users)))]


def differential_topics(table: pd.DataFrame) -> tuple[list[int], float]:
    """The topics that are higher in one group of cells than in the others.

    Parameters
    ----------
    table
        From the permutation test: ``topic``, ``mean_difference``, ``q_bonferroni`` (a row a topic and group).

    Returns
    -------
    Their numbers, and the mean difference they exceed: 2 as for the paper's cell types, or, where no topic does, 0.2
    as for its conditions. The corrected p-value is below the paper's level.
    """
    significant = table[table["q_bonferroni"] < SIGNIFICANCE]
    for difference in (MIN_DIFFERENCE_TYPES, MIN_DIFFERENCE_CONDITIONS):
        names = significant.loc[significant["mean_difference"] > difference, "topic"].unique()
        numbers = sorted(number for name in names if (number := keys.topic_number(str(name))) is not None)
        if numbers:
            return numbers, difference
    return [], MIN_DIFFERENCE_CONDITIONS
