"""How far would a score move with other cells of the same kind? (standard errors from halves of the cells)"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd


def score_intervals(
    score: Callable[[np.ndarray], Mapping[str, float | None]],
    n_cells: int,
    *,
    n_repeats: int = 20,
    max_cells: int = 20_000,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Standard error of scores, from their spread over random halves of the cells.

    Each repeat draws m cells of n without replacement: half of them, or `max_cells` if that is fewer. The standard
    error is the standard deviation over the repeats x sqrt(m / (n - m)): with halves that factor is 1, and with fewer
    cells it takes the spread of m cells down to what n cells would have.

    Parameters
    ----------
    score
        Given the row numbers of some cells, rising, answers name -> value of the scores of these cells alone
        (neighbours, for instance, are to be looked for among them). None and values that are not finite are left out.
    n_cells
        Number of cells there are.
    n_repeats
        Halves drawn. With 20 of them a standard error is itself known to about a sixth.
    max_cells
        More cells than this are never drawn at once.
    seed
        Of the draws; the same seed draws the same cells, so that two embeddings can be scored on the same halves.
    on_progress
        Told the share done after each repeat.

    Returns
    -------
    One row per score, in order of first appearance: `se` in units of the score, not-a-number with fewer than two
    values; `n_repeats` values it rests on. No row at all with fewer than two cells. A score of all cells +- 2 `se` is
    an interval of about 95 %, where the score is not close to a bound.

    Raises
    ------
    Exception
        Whatever `score` raises.

    Notes
    -----
    The delete-d jackknife, Shao and Wu, Annals of Statistics 1989, over random subsets. It assumes cells drawn
    independently of each other, and a score that settles as one over the root of the number of cells. What it does
    not cover: another training run of the model (train with other seeds), other donors or batches (cells of one donor
    resemble each other, so that the truth varies more), and that scores of neighbourhoods may sit elsewhere with half
    as many cells: only their spread is used here, never their mean.
    """
    n_drawn = min(n_cells // 2, max_cells)
    if n_drawn < 1:
        return pd.DataFrame({"se": np.empty(0), "n_repeats": np.empty(0, dtype=np.int64)})
    rng, found = np.random.default_rng(seed), []
    for repeat in range(n_repeats):
        rows = np.sort(rng.choice(n_cells, n_drawn, replace=False))
        found.append(dict(score(rows)))
        if on_progress:
            on_progress((repeat + 1) / n_repeats)
    values = pd.DataFrame(found).astype(float)
    values = values.where(np.isfinite(values))
    shrink = np.sqrt(n_drawn / (n_cells - n_drawn))
    return pd.DataFrame({"se": values.std(ddof=1) * shrink, "n_repeats": values.count()})
