"""Which topics are higher in one group of cells than in all others? Permutation tests of every topic and label.

For topic k and label j the difference of mean delta_k inside and outside j is compared with that of random groups of
the same size. Cells of one donor are not independent of each other; with donors as units, whole donors are permuted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core.differential_units import Cells, Compared, compare, group_means, group_sums
from scetm_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

SIGNIFICANCE = 0.01
_ORDERS_AT_ONCE = 2048
_BITS = float(2**31 - 1)


def permutation_test(
    delta: pd.DataFrame,
    labels: pd.Series,
    *,
    n_permutations: int = 100_000,
    unit: pd.Series | None = None,
    two_sided: bool = False,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Test every topic for every label.

    Parameters
    ----------
    delta
        (n_cells, n_topics), or any numbers per cell.
    labels
        Label of each cell, by cell name; cells without one are left out.
    n_permutations
        Random groups a label is compared with. Where there are no more different ones than that, all of them are
        looked at and the p-value is exact.
    unit
        None: cells are permuted. Else the donor of each cell, by cell name. If all cells of a donor have one label
        (a condition), means of donors are compared and donors permuted. If labels stand within donors (cell types),
        each donor gives the difference between its own cells inside and outside the label, and the signs of these
        differences are permuted.
    two_sided
        False: is the topic higher inside? True: is it different? Twice the smaller of both tails.
    seed
        Same seed, same table.
    on_progress
        Called with the share of the work done; what it raises ends the work.

    Returns
    -------
    A row a label and topic: `topic`, `label`, `mean_difference` (inside - outside, of units),
    `p_value` = (N' + 1) / (N + 1) with N' the random differences at least as large (exact: their share among all,
    the observed one included), `q_bonferroni` and `q_bh` (over the whole table), `n_cells` (inside), `n_units`
    (inside), `effect_size` (Cohen's d of cells: their mean difference over the pooled standard deviation),
    `mean_inside`, `mean_outside` (of cells), `n_permutations` (N), `is_exact`. `attrs["sentences"]` says in words
    what was compared, and where p-values cannot become small.

    Raises
    ------
    DataError
        If values are not finite, cells are named twice, there are not two labels, or more than 500.
    ConfigError
        If `n_permutations` is below 1.
    """
    if n_permutations < 1:
        raise ConfigError(f"n_permutations is at least 1; got {n_permutations}.")
    cells = Cells.align(delta, labels, unit)
    compared = compare(cells)
    p_values = _Tests(compared, n_permutations=n_permutations, two_sided=two_sided, seed=seed).run(on_progress)
    return _table(cells, compared, p_values, two_sided=two_sided)


@dataclass(kw_only=True)
class _PValues:
    """(n_labels, n_topics) p-values, and per label how they came about."""

    values: Floats
    n_permutations: Ints
    is_exact: np.ndarray


@dataclass
class _Tests:
    """Counts, for each label, the random differences that reach the observed one."""

    compared: Compared
    n_permutations: int = field(kw_only=True)
    two_sided: bool = field(kw_only=True)
    seed: int = field(kw_only=True)

    def run(self, on_progress: Callable[[float], None] | None) -> _PValues:
        """All labels; each exact where there are few enough different groups."""
        compared = self.compared
        n_labels, n_topics = compared.n_labels, compared.values.shape[-1]
        found = _PValues(
            values=np.full((n_labels, n_topics), np.nan),
            n_permutations=np.full(n_labels, self.n_permutations),
            is_exact=np.array([compared.n_different(label) <= self.n_permutations for label in range(n_labels)]),
        )
        found.n_permutations[found.is_exact] = [compared.n_different(int(j)) for j in np.flatnonzero(found.is_exact)]
        if compared.codes is None:
            for label in range(n_labels):
                if compared.n_units[label]:
                    found.values[label] = self._flip_signs(label, exact=bool(found.is_exact[label]))
                if on_progress:
                    on_progress((label + 1) / n_labels)
            return found
        whole = _Whole.of(compared.values)
        for exact in np.flatnonzero(found.is_exact):
            found.values[exact] = self._try_all_groups(whole, int(exact))
        drawn = np.flatnonzero(~found.is_exact)
        if len(drawn):
            found.values[drawn] = self._draw_groups(whole, drawn, on_progress)
        return found

    def _p(self, n_high: np.ndarray, n_low: np.ndarray, n_drawn: int, *, exact: bool) -> Floats:
        spare = 0 if exact else 1  # all there are hold the observed one; random ones do not
        upper, lower = (n_high + spare) / (n_drawn + spare), (n_low + spare) / (n_drawn + spare)
        return np.minimum(2 * np.minimum(upper, lower), 1.0) if self.two_sided else upper

    def _try_all_groups(self, whole: _Whole, label: int) -> Floats:
        assert self.compared.codes is not None
        inside = np.flatnonzero(self.compared.codes == label)
        observed = whole.values[inside].sum(axis=0)
        n_high, n_low, count = np.zeros_like(observed), np.zeros_like(observed), 0
        groups = itertools.combinations(range(len(whole.values)), len(inside))
        while chunk := list(itertools.islice(groups, 4096)):
            sums = whole.values[np.array(chunk)].sum(axis=1)
            n_high += (sums >= observed - whole.slack).sum(axis=0)
            n_low += (sums <= observed + whole.slack).sum(axis=0)
            count += len(chunk)
        return self._p(n_high, n_low, count, exact=True)

    def _flip_signs(self, label: int, *, exact: bool) -> Floats:
        differences = self.compared.values[label]
        whole = _Whole.of(differences[np.isfinite(differences[:, 0])], centred=False)
        n, observed = len(whole.values), whole.values.sum(axis=0).astype(np.float64)
        n_high, n_low, count = np.zeros(len(observed)), np.zeros(len(observed)), 0
        rng = np.random.default_rng([self.seed, label])
        n_signs = 2**n if exact else self.n_permutations
        for first in range(0, n_signs, 4096):
            numbers = np.arange(first, min(first + 4096, n_signs))
            bits = numbers[:, None] >> np.arange(n) & 1 if exact else rng.integers(0, 2, size=(len(numbers), n))
            sums = (1.0 - 2.0 * bits) @ whole.values.astype(np.float64)  # whole numbers: exact
            n_high += (sums >= observed - whole.slack).sum(axis=0)
            n_low += (sums <= observed + whole.slack).sum(axis=0)
            count += len(numbers)
        return self._p(n_high, n_low, count, exact=exact)

    def _draw_groups(self, whole: _Whole, drawn: Ints, on_progress: Callable[[float], None] | None) -> Floats:
        """P-values of some labels from random groups."""
        from scetm_core.differential_null import count_reaching

        assert self.compared.codes is not None
        n_units = len(whole.values)
        observed = group_sums(whole.values, self.compared.codes, self.compared.n_labels)[drawn]
        sizes = self.compared.n_units[drawn]
        is_major = 2 * sizes > n_units  # a large group is drawn by what it leaves out
        observed[is_major] = whole.values.sum(axis=0) - observed[is_major]
        order = np.argsort(np.where(is_major, n_units - sizes, sizes), kind="stable")
        bounds = {"high": (observed - whole.slack)[order], "low": (observed + whole.slack)[order]}
        shorter = np.where(is_major, n_units - sizes, sizes)[order]
        values = np.ascontiguousarray(whole.values, dtype=np.int32)
        states = np.random.SeedSequence(self.seed).generate_state(self.n_permutations, np.uint64)
        n_high, n_low = np.zeros(observed.shape, np.int64), np.zeros(observed.shape, np.int64)
        for first in range(0, self.n_permutations, _ORDERS_AT_ONCE):
            own = states[first : first + _ORDERS_AT_ONCE]
            high, low = count_reaching(values, shorter, bounds["high"], bounds["low"], own)
            n_high[order] += high
            n_low[order] += low
            if on_progress:
                on_progress((first + len(own)) / self.n_permutations)
        n_high[is_major], n_low[is_major] = n_low[is_major], n_high[is_major]
        return self._p(n_high, n_low, self.n_permutations, exact=False)


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """Values as whole numbers, centred topic by topic, so fine that rounding does not matter and sums fit 32 bits.

    A sum of n values drawn without replacement from a range R leaves +-10 R sqrt(n) with a chance below exp(-200)
    (Hoeffding 1963), so the scale is chosen for that. Sums of rounded values may miss by `slack`; counting all within
    it as reached keeps the p-values valid.
    """

    values: Ints  # (n_units, n_topics)
    slack: int

    @classmethod
    def of(cls, values: Floats, *, centred: bool = True) -> _Whole:
        is_constant = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(axis=0)
        shifted = values - np.where(is_constant, values[:1], values.mean(axis=0)) if centred else values
        shifted = np.where(is_constant, 0.0, shifted) if centred else shifted  # what rounding left is no difference
        span = np.maximum(np.ptp(shifted, axis=0), np.abs(shifted).max(axis=0))
        bound = min(10 * math.sqrt(len(values)), len(values)) * np.where(span > 0, span, 1.0)
        whole = np.rint(shifted * (0.99 * _BITS / bound)).astype(np.int64)
        return cls(values=whole, slack=math.ceil(2 * math.sqrt(len(values))))


def _table(cells: Cells, compared: Compared, p_values: _PValues, *, two_sided: bool) -> pd.DataFrame:
    from scipy.stats import false_discovery_control

    n_labels, n_topics = p_values.values.shape
    inside, outside = group_means(cells.values, cells.codes, n_labels)
    columns = {
        "mean_difference": compared.mean_difference(),
        "p_value": p_values.values,
        "effect_size": _cohens_d(cells, inside, outside),
        "mean_inside": inside,
        "mean_outside": outside,
    }
    rows = {
        "n_cells": np.bincount(cells.codes, minlength=n_labels),
        "n_units": compared.n_units,
        "n_permutations": p_values.n_permutations,
        "is_exact": p_values.is_exact,
    }
    table = pd.DataFrame(
        {
            "topic": np.tile(np.array(cells.topics, dtype=object), n_labels),
            "label": np.repeat(np.array(cells.names, dtype=object), n_topics),
            **{name: values.ravel() for name, values in columns.items()},
            **{name: np.repeat(values, n_topics) for name, values in rows.items()},
        }
    )
    untested = sorted(set(table["label"][table["p_value"].isna()]))
    table = table[table["p_value"].notna()].reset_index(drop=True)
    if table.empty:
        raise DataError("No donor has cells both inside and outside a label; nothing can be compared. Permute cells.")
    table.insert(4, "q_bonferroni", np.minimum(table["p_value"] * len(table), 1.0))
    table.insert(5, "q_bh", false_discovery_control(table["p_value"]))
    table.attrs["sentences"] = [*compared.sentences, *_limits(table, untested, two_sided=two_sided)]
    return table


def _cohens_d(cells: Cells, inside: Floats, outside: Floats) -> Floats:
    """Mean difference over the pooled standard deviation of cells; 0 where a topic is constant."""
    centre = cells.values.mean(axis=0)
    n_cells, sizes = len(cells.values), np.bincount(cells.codes, minlength=len(inside))[:, None]
    squares = np.square(cells.values - centre).sum(axis=0)
    spent = sizes * np.square(inside - centre) + (n_cells - sizes) * np.square(outside - centre)
    pooled = np.sqrt(np.maximum(squares - spent, 0) / max(n_cells - 2, 1))
    effect: Floats = np.divide(inside - outside, pooled, out=np.zeros_like(inside), where=pooled > 1e-12)
    return effect


def _limits(table: pd.DataFrame, untested: list[str], *, two_sided: bool) -> list[str]:
    """What keeps p-values from becoming small, in words."""
    found = []
    if untested:
        found.append(f"Not tested, as no donor has cells on both sides: {', '.join(untested)}.")
    groups = table.groupby("label", sort=False)[["n_permutations", "is_exact"]].first()
    few = groups[groups["is_exact"]]
    if len(few):
        counts = sorted(set(few["n_permutations"]))
        span = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        found.append(f"All {span} different permutations were looked at for {len(few)} of {len(groups)} labels.")
    floors = len(table) * (1 + two_sided) / (groups["n_permutations"] + ~groups["is_exact"])  # of q
    coarse = groups[floors > SIGNIFICANCE]
    if len(coarse):
        smallest = float(floors[coarse.index].min())
        found.append(
            f"Too few for a Bonferroni q below {SIGNIFICANCE:g} in {len(coarse)} labels: with {len(table):,} tests it "
            f"cannot fall below {min(smallest, 1):.2g} there. Take more units or permutations, or fewer labels."
        )
    return found


def cluster_order(values: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Order of rows and columns in which similar ones stand side by side.

    Returns
    -------
    Names of rows and of columns, each in the order of the leaves of an average-linkage tree (euclidean distance),
    turned so that neighbours are as alike as they can be (Bar-Joseph, Gifford, Jaakkola 2001).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist

    def leaves(matrix: np.ndarray) -> list[int]:
        if len(matrix) < 3:
            return list(range(len(matrix)))
        return [int(leaf) for leaf in leaves_list(linkage(pdist(matrix), method="average", optimal_ordering=True))]

    matrix = values.to_numpy(dtype=np.float64)
    rows, columns = leaves(matrix), leaves(matrix.T)
    return [str(values.index[row]) for row in rows], [str(values.columns[column]) for column in columns]
