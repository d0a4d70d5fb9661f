"""Can this result be trusted, and what looks wrong? Findings in words, from the topics and the training curve.

No label is looked at. Each threshold stands below with its reason; "seen" tells of trainings on mouse pancreas (50
topics) and on simulated cells, healthy ones and ones spoilt on purpose. NLL in nats per read throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from scetm_core import keys
from scetm_core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Finding", "judge"]

IDLE_CELLS = 2
"""A topic that no more cells give over an even share (1 / n_topics) is idle: what two cells share is no programme."""
MANY_IDLE = 0.25
"""Share of idle topics that is worth a warning. Seen: 1 in 20 in healthy trainings, 8 in 20 at 20 times their rate."""
SAME_BETA = 0.95
"""Cosine of centred beta from which two topics name the same genes. Seen: at most .22 in healthy trainings that
began from noise."""
SAME_DELTA = 0.98
"""Correlation of centred delta from which two topics go together: each has less than 4 % of its variance to itself."""
FEW_DISTINCT = 0.5
"""Share of distinct topics below which there are far too many for these cells. Seen: .7 to .8 with 50 topics for 13
cell types; .35 and less with 20 or 50 topics for 6 planted ones."""
N_CELLS_COMPARED = 20_000
"""Cells, spread evenly, over which deltas are correlated: the error of a correlation of .98 is then below .001."""
TAKES_ALL = 0.95
"""Share of cells led by one topic from which it takes them all."""
MOST_OF_A_CELL = 0.5
"""Mean share from which leading means something: in a flat mixture one topic can lead all cells by a hair (seen: it led
.97 of the cells with a mean share of .08)."""
LEAST_GAIN = 0.02
"""By which the cells' own mixtures must beat the mean one. Seen: up to .014 in cells that do not differ (noise learnt
by heart), .35 to 1.3 in cells that do."""
CHANGE = 0.01
"""Of the NLL from one quarter of training to the next. Held out, seen: at most .004 in healthy trainings."""
OVERFIT = 0.02
"""Of the held-out NLL above its lowest value. Seen: at most .003 in healthy trainings, .13 in one that overfitted."""
SWING = 0.05
"""Of the NLL from one report to the next. Seen: at most .012 in healthy trainings."""
NLL_OF_CELLS = 1.1
"""Standard deviation of the NLL between cells (1.08 in mouse pancreas): reports over few cells differ by chance."""
MANY_CLIPPED = 0.5
"""Share of late reports with a clipped gradient. Seen: none in healthy trainings, all where training diverged."""
FEWEST_REPORTS = 6
"""Late reports needed to speak of swings or clipping."""
NAMED = 5
"""Topics, or groups of them, named in one message."""

PREVIOUS_QUARTER, LAST_QUARTER, LAST_HALF = (0.5, 0.75), (0.75, 1.0), (0.5, 1.0)  # of the steps done
_SLOWER = "Lower Learning rate (learning_rate) to a third, and train again."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know of a result: how grave, about what, what was found, what to do."""

    level: Literal["warning", "info"]
    topic: str
    message: str
    advice: str = ""


def judge(
    *,
    theta: np.ndarray,
    delta: np.ndarray,
    beta: np.ndarray,
    lambda_: np.ndarray | None,
    curve: pd.DataFrame,
    minibatch_size: int,
    max_grad_norm: float,
    n_rollbacks: int = 0,
    nll_model: float | None = None,
    nll_intercept_only: float | None = None,
) -> list[Finding]:
    """All that looks wrong with a result, warnings first; empty if nothing does.

    Parameters
    ----------
    theta, delta
        (n_cells, n_topics)
    beta
        (n_genes, n_topics)
    lambda_
        (n_batches, n_genes), or None without batch intercepts.
    curve
        The training curve, one row per report: step, nll, kl_weight, test_nll, grad_norm. What it lacks is not judged.
    minibatch_size
        Cells per step, which tells how far reports differ by chance.
    max_grad_norm
        Where the gradient's norm was clipped.
    n_rollbacks
        How often the loss was not finite, and training went back and on at a lower rate.
    nll_model, nll_intercept_only
        NLL, in nats per read over the same cells, with each cell's own theta and with the mean theta for all.

    Raises
    ------
    DataError
        If theta, delta and beta do not have the same topics and cells.
    """
    if theta.ndim != 2 or theta.shape != delta.shape or beta.ndim != 2 or beta.shape[1] != theta.shape[1]:
        raise DataError(
            "theta and delta must be (n_cells, n_topics) and beta (n_genes, n_topics); "
            f"got {theta.shape}, {delta.shape} and {beta.shape}."
        )
    arrays = {keys.THETA: theta, keys.DELTA: delta, keys.BETA: beta, keys.UNS_LAMBDA: lambda_}
    found = find_not_finite({name: array for name, array in arrays.items() if array is not None})
    if not found and len(theta):
        idle = idle_topics(theta)
        found += find_dead_topics(idle) + find_duplicated_topics(delta, beta, idle=idle) + find_one_for_all(theta)
    found += find_idle_mixtures(nll_model, nll_intercept_only, has_intercept=lambda_ is not None)
    rate = find_high_rate(curve, minibatch_size=minibatch_size, max_grad_norm=max_grad_norm)
    found += rate + find_rollbacks(n_rollbacks) + find_overfitting(curve)
    if not rate:  # a swinging NLL may happen to fall at the end
        found += find_unfinished(curve, minibatch_size=minibatch_size)
    return sorted(found, key=lambda finding: finding.level != "warning")


# ---- topics -------------------------------------------------------------------------------------------------------


def find_not_finite(arrays: dict[str, np.ndarray]) -> list[Finding]:
    """Results that hold NaN or infinity; nothing else can be said of them then."""
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if not broken:
        return []
    message = f"{', '.join(broken)} hold values that are not finite."
    return [Finding(level="warning", topic="not finite", message=message, advice=f"Do not use this result. {_SLOWER}")]


def idle_topics(theta: np.ndarray) -> np.ndarray:
    """Which topics next to no cell uses, (n_topics,) booleans; theta is (n_cells, n_topics)."""
    n_users = (theta > 1 / theta.shape[1]).sum(axis=0)
    return np.asarray(n_users <= IDLE_CELLS)


def find_dead_topics(idle: np.ndarray) -> list[Finding]:
    """Topics that next to no cell uses, by `idle_topics`."""
    n_idle, n_topics = int(idle.sum()), len(idle)
    if not n_idle:
        return []
    named = _listed([keys.topic_name(int(k)) for k in np.flatnonzero(idle)])
    message = (
        f"{n_idle} of {n_topics} topics {'is' if n_idle == 1 else 'are'} idle: no more than {IDLE_CELLS} cells give "
        f"{'it' if n_idle == 1 else 'any of them'} over an even share ({named})."
    )
    if n_idle < MANY_IDLE * n_topics:
        return [
            Finding(level="info", topic="dead topics", message=message, advice="Leave them out when reading topics.")
        ]
    advice = "Lower Number of topics (n_topics), Learning rate (learning_rate) or KL weight (max_kl_weight)."
    return [Finding(level="warning", topic="dead topics", message=message, advice=advice)]


def find_duplicated_topics(delta: np.ndarray, beta: np.ndarray, *, idle: np.ndarray) -> list[Finding]:
    """Topics in use that name the same genes, or that rise and fall together over the cells.

    What softmax does not see is taken out first: of beta (n_genes, n_topics) the mean of each gene over topics and of
    each topic over genes, of delta (n_cells, n_topics) the mean of each cell.
    """
    names = [keys.topic_name(int(k)) for k in np.flatnonzero(~idle)]
    groups = duplicate_groups(delta[:, ~idle], beta[:, ~idle])
    n_distinct = len(names) - sum(len(group) - 1 for group in groups)
    if not groups:
        return []
    described = [f"({_listed([names[k] for k in group])})" for group in groups]
    message = (
        f"The {len(names)} topics in use come to {n_distinct} different ones. These name the same genes, or go "
        f"together over the cells: {_listed(described)}."
    )
    if n_distinct >= FEW_DISTINCT * len(names):
        advice = "Read each group as one topic."
        return [Finding(level="info", topic="duplicated topics", message=message, advice=advice)]
    advice = f"Lower Number of topics (n_topics) to about {n_distinct}, or read each group as one topic."
    return [Finding(level="warning", topic="duplicated topics", message=message, advice=advice)]


def duplicate_groups(delta: np.ndarray, beta: np.ndarray) -> list[np.ndarray]:
    """Groups of two or more topics linked by `SAME_BETA` or `SAME_DELTA`, the largest first."""
    from scipy.sparse.csgraph import connected_components

    if beta.shape[1] < 2:
        return []
    spread = delta[:: max(1, -(-len(delta) // N_CELLS_COMPARED))]
    spread = spread - spread.mean(axis=1, keepdims=True)
    same = _cosines(beta - beta.mean(axis=1, keepdims=True)) > SAME_BETA
    same |= _cosines(spread) > SAME_DELTA
    n_groups, group = connected_components(same, directed=False)
    members = [np.flatnonzero(group == g) for g in range(n_groups)]
    return sorted((m for m in members if len(m) > 1), key=len, reverse=True)


def _cosines(columns: np.ndarray) -> np.ndarray:
    """Correlation of all pairs of columns; columns that hardly vary have none with any other."""
    columns = columns - columns.mean(axis=0)
    norms = np.linalg.norm(columns, axis=0)
    negligible = norms <= 1e-6 * norms.max()
    unit = np.where(negligible, 0, columns / np.where(negligible, 1, norms))
    return np.asarray(unit.T @ unit)


def find_one_for_all(theta: np.ndarray) -> list[Finding]:
    """One topic that leads nearly all cells."""
    n_topics = theta.shape[1]
    leads = np.bincount(theta.argmax(axis=1), minlength=n_topics) / len(theta)
    top = int(leads.argmax())
    share = float(theta[:, top].mean())
    if leads[top] < TAKES_ALL or share < MOST_OF_A_CELL:
        return []
    message = (
        f"{keys.topic_name(top)} leads {leads[top]:.0%} of the cells and makes up {share:.0%} of a cell on average: "
        "the topics hardly tell the cells apart."
    )
    advice = f"If the cells are of many kinds, the training failed: {_SLOWER[0].lower()}{_SLOWER[1:]}"
    return [Finding(level="warning", topic="one topic for all", message=message, advice=advice)]


def find_idle_mixtures(
    nll_model: float | None, nll_intercept_only: float | None, *, has_intercept: bool
) -> list[Finding]:
    """Mixtures that explain next to nothing: the mean one does as well."""
    if nll_model is None or nll_intercept_only is None:
        return []
    gain = nll_intercept_only - nll_model
    if not gain < LEAST_GAIN:
        return []
    instead = "the batches' intercepts explain" if has_intercept else "the mean expression explains"
    message = (
        f"The topics explain next to nothing: with the mean mixture for every cell the NLL is {nll_intercept_only:.3f} "
        f"instead of {nll_model:.3f} nats per read; {instead} the rest."
    )
    advice = (
        "Lower KL weight (max_kl_weight) or train longer; if the cells are all of one kind, there is nothing to find."
    )
    return [Finding(level="warning", topic="intercept explains all", message=message, advice=advice)]


# ---- the training curve -------------------------------------------------------------------------------------------


def find_high_rate(curve: pd.DataFrame, *, minibatch_size: int, max_grad_norm: float) -> list[Finding]:
    """A learning rate too high: late in training the NLL rises or swings, or most gradients are clipped."""
    signs = []
    settled = _settled(curve)
    before, after = _level(settled, "nll", PREVIOUS_QUARTER), _level(settled, "nll", LAST_QUARTER)
    if after - before > max(CHANGE, _chance(curve, minibatch_size)):
        signs.append(f"the NLL rose from {before:.3f} to {after:.3f} nats per read in the last quarter")
    nll = _column(settled, "nll")[_within(settled, LAST_HALF)]
    nll = nll[np.isfinite(nll)]
    if len(nll) >= FEWEST_REPORTS:
        changes = np.diff(nll)
        swing = float(np.median(np.abs(changes - changes.mean())))
        n_cells = minibatch_size * float(np.median(np.diff(_column(settled, "step"))))
        if swing > max(SWING, 3 * NLL_OF_CELLS / n_cells**0.5):
            signs.append(f"the NLL swings by about {swing:.2f} nats per read from one report to the next")
    norms = _column(curve, "grad_norm")[_within(curve, LAST_HALF)]
    clipped = float(np.mean(norms >= max_grad_norm)) if len(norms) >= FEWEST_REPORTS else 0.0
    if clipped > MANY_CLIPPED:
        signs.append(f"the gradient was clipped at {max_grad_norm:g} in {clipped:.0%} of the late reports")
    if not signs:
        return []
    message = f"The learning rate looks too high: {'; '.join(signs)}."
    return [Finding(level="warning", topic="learning rate", message=message, advice=_SLOWER)]


def find_rollbacks(n_rollbacks: int) -> list[Finding]:
    """A learning rate that was lowered because the loss was not finite."""
    if n_rollbacks < 1:
        return []
    message = "The loss was not finite once; training went back to an earlier step and on at a lower learning rate."
    return [Finding(level="info", topic="rollbacks", message=message, advice="The result can be used.")]


def find_unfinished(curve: pd.DataFrame, *, minibatch_size: int) -> list[Finding]:
    """Training that ended while the held-out NLL still fell, or the training NLL where none was held out."""
    for column, name, chance in (("test_nll", "held-out", 0.0), ("nll", "training", _chance(curve, minibatch_size))):
        before, after = _level(curve, column, PREVIOUS_QUARTER), _level(curve, column, LAST_QUARTER)
        if np.isnan(before - after):
            continue
        if before - after <= max(CHANGE, chance):
            return []
        message = (
            f"Training ended early: the {name} NLL still fell from {before:.3f} to {after:.3f} nats per read in the "
            "last quarter of the steps."
        )
        advice = "Raise Training steps (max_steps), e.g. to twice as many."
        return [Finding(level="warning", topic="not converged", message=message, advice=advice)]
    return []


def find_overfitting(curve: pd.DataFrame) -> list[Finding]:
    """A held-out NLL that rose from its lowest point on while the training NLL fell."""
    curve = _settled(curve)
    nll, test_nll = _column(curve, "nll"), _column(curve, "test_nll")
    if np.isnan(test_nll).all():
        return []
    best = int(np.nanargmin(test_nll))
    end, trained = _level(curve, "test_nll", LAST_QUARTER), _level(curve, "nll", LAST_QUARTER)
    if not (end - test_nll[best] > OVERFIT and nll[best] - trained > CHANGE):
        return []
    step = f"{_column(curve, 'step')[best]:,.0f}"
    message = (
        f"The model learns its cells by heart: the held-out NLL rose from {test_nll[best]:.3f} at step {step} to "
        f"{end:.3f} nats per read, while the training NLL fell on."
    )
    advice = (
        f"Lower Training steps (max_steps) to about {step}, turn on Stop on a plateau (early_stop), or raise KL weight "
        "(max_kl_weight)."
    )
    return [Finding(level="warning", topic="overfitting", message=message, advice=advice)]


def _column(curve: pd.DataFrame, name: str) -> np.ndarray:
    """A column of the curve, (n_reports,) floats; not-a-number throughout if it is not there."""
    return np.asarray(curve[name], dtype=np.float64) if name in curve else np.full(len(curve), np.nan)


def _settled(curve: pd.DataFrame) -> pd.DataFrame:
    """The curve from the end of the KL term's warm-up on: while its weight rises, the NLL may."""
    kl_weight = _column(curve, "kl_weight")
    return curve[~(kl_weight < kl_weight[-1:])]


def _within(curve: pd.DataFrame, window: tuple[float, float]) -> np.ndarray:
    """Which reports fall into a part of the steps, its end included; (n_reports,) booleans."""
    share = _column(curve, "step") / max(_column(curve, "step"), default=1.0)
    return np.asarray((share > window[0]) & (share <= window[1]))


def _level(curve: pd.DataFrame, name: str, window: tuple[float, float]) -> float:
    """Mean of a column there; not-a-number where nothing was measured."""
    values = _column(curve, name)[_within(curve, window)]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _chance(curve: pd.DataFrame, minibatch_size: int) -> float:
    """How far the mean NLL of two quarters of the steps may differ by the cells they happened to see."""
    n_cells = minibatch_size * max(_column(curve, "step"), default=1.0) / 4
    return float(3 * NLL_OF_CELLS * (2 / n_cells) ** 0.5)


# ---- words --------------------------------------------------------------------------------------------------------


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many are not named: ``"topic_1, topic_4 and 3 more"``."""
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
