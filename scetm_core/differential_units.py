"""What do permutations of labels compare: cells, donors, or differences within donors?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MAX_LABELS = 500


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells that have a label (and a donor), in the order of delta."""

    values: Floats  # (n_cells, n_topics)
    topics: list[str]
    codes: Ints  # (n_cells,), label of each cell
    names: list[str]  # of the labels
    donors: Ints | None  # (n_cells,)
    n_donors: int
    n_left_out: int

    @classmethod
    def align(cls, delta: pd.DataFrame, labels: pd.Series, unit: pd.Series | None) -> Cells:
        """Cells with their labels and donors, matched by name.

        Raises
        ------
        DataError
            See `differential.permutation_test`.
        """
        for what, index in (("delta", delta.index), ("labels", labels.index)):
            if not index.is_unique:
                raise DataError(f"{what} names cells twice, e.g. {index[index.duplicated()][0]!r}. Name each once.")
        values = delta.to_numpy(dtype=np.float64)
        if not values.size or not np.isfinite(values).all():
            raise DataError("delta holds no values, or some that are not finite: the training has failed.")
        marks = _as_categories(labels.reindex(delta.index))
        there = marks.cat.codes.to_numpy() >= 0
        donors = None if unit is None else _as_categories(unit.reindex(delta.index))
        if donors is not None:
            there &= donors.cat.codes.to_numpy() >= 0
        marks = marks[there].cat.remove_unused_categories()
        names = [str(name) for name in marks.cat.categories]
        if not 2 <= len(names) <= MAX_LABELS:
            raise DataError(
                f"{labels.name or 'The labels'!s} has {len(names):,} labels among {int(there.sum()):,} cells; the test "
                f"compares 2 to {MAX_LABELS} of them with each other. Pick another column."
            )
        numbers = None
        if donors is not None:
            donors = donors[there].cat.remove_unused_categories()
            numbers = donors.cat.codes.to_numpy().astype(np.int64)
        return cls(
            values=values[there], topics=[str(name) for name in delta.columns], names=names, donors=numbers,
            codes=marks.cat.codes.to_numpy().astype(np.int64), n_left_out=int((~there).sum()),
            n_donors=0 if donors is None else len(donors.cat.categories),
        )  # fmt: skip


def _as_categories(values: pd.Series) -> pd.Series:
    return values if isinstance(values.dtype, pd.CategoricalDtype) else values.astype("category")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What is permuted: labels of units, or signs of differences within donors.

    Attributes
    ----------
    values
        Labels: (n_units, n_topics), a row a cell or donor. Signs: (n_labels, n_donors, n_topics), differences; a
        donor that lacks the label, or has nothing else, is NaN.
    codes
        Label of each unit; None where signs are permuted.
    """

    values: Floats
    codes: Ints | None
    n_labels: int
    sentences: list[str]

    @property
    def n_units(self) -> Ints:
        """Units inside each label; donors with both sides, where signs are permuted."""
        if self.codes is not None:
            return np.bincount(self.codes, minlength=self.n_labels)
        return np.asarray(np.isfinite(self.values[:, :, 0]).sum(axis=1))

    def n_different(self, label: int) -> int:
        """How many different groups, or signs, there are."""
        n = int(self.n_units[label])
        return _count_groups(len(self.values), n) if self.codes is not None else 2**n

    def mean_difference(self) -> Floats:
        """(n_labels, n_topics); NaN where there is nothing to compare."""
        if self.codes is None:
            n = self.n_units[:, None]
            return np.where(n > 0, np.nansum(self.values, axis=1) / np.maximum(n, 1), np.nan)
        inside, outside = group_means(self.values, self.codes, self.n_labels)
        return inside - outside


def _count_groups(n_units: int, size: int) -> int:
    """Groups of a size; where there are more than 2^60, that, as counting them exactly takes seconds."""
    logarithm = math.lgamma(n_units + 1) - math.lgamma(size + 1) - math.lgamma(n_units - size + 1)
    return math.comb(n_units, size) if logarithm < 40 else 2**60


def group_means(values: Floats, codes: Ints, n_labels: int) -> tuple[Floats, Floats]:
    """Mean inside and outside each label, both (n_labels, n_topics)."""
    sums, sizes = group_sums(values, codes, n_labels), np.bincount(codes, minlength=n_labels)[:, None]
    return sums / sizes, (values.sum(axis=0) - sums) / np.maximum(len(values) - sizes, 1)


def group_sums(values: np.ndarray, codes: Ints, n_groups: int) -> np.ndarray:
    """(n_groups, n_topics) sums over the rows of each group."""
    from scipy import sparse

    ones = np.ones(len(codes), dtype=values.dtype)
    members = sparse.csr_matrix((ones, (codes, np.arange(len(codes)))), shape=(n_groups, len(codes)))
    return np.asarray(members @ values)


def compare(cells: Cells) -> Compared:
    """What to permute: cells; donors, if each has one label; else differences within donors."""
    n_labels, n_cells = len(cells.names), len(cells.values)
    lacking = "one" if cells.donors is None else "a label or a donor"
    left_out = f"; {cells.n_left_out:,} without {lacking} are left out" if cells.n_left_out else ""
    if cells.donors is None:
        said = [f"{n_cells:,} cells of {n_labels} labels{left_out}. Labels are permuted over cells."]
        return Compared(values=cells.values, codes=cells.codes, n_labels=n_labels, sentences=said)
    pairs = np.unique(np.column_stack([cells.donors, cells.codes]), axis=0)
    what = f"{n_cells:,} cells of {cells.n_donors} donors and {n_labels} labels{left_out}."
    if len(pairs) == cells.n_donors:
        means = group_sums(cells.values, cells.donors, cells.n_donors) / np.bincount(cells.donors)[:, None]
        said = [f"{what} Each donor has one label; means of donors are compared, and labels permuted over donors."]
        return Compared(values=means, codes=pairs[:, 1], n_labels=n_labels, sentences=said)
    n_mixed = int((np.bincount(pairs[:, 0]) > 1).sum())
    said = [
        f"{what} {n_mixed} of {cells.n_donors} donors have cells of several labels; the difference is taken within "
        "each such donor, and the signs of these differences are permuted."
    ]
    if n_mixed < cells.n_donors:
        said.append("The other donors say nothing then. If the labels are a condition, give each donor one label.")
    return Compared(values=_within_donors(cells), codes=None, n_labels=n_labels, sentences=said)


def _within_donors(cells: Cells) -> Floats:
    """(n_labels, n_donors, n_topics) difference of means inside and outside a label among a donor's cells."""
    assert cells.donors is not None
    shape = (len(cells.names), cells.n_donors, cells.values.shape[1])
    places = cells.codes * cells.n_donors + cells.donors
    sums = group_sums(cells.values, places, shape[0] * shape[1]).reshape(shape)
    sizes = np.bincount(places, minlength=shape[0] * shape[1]).reshape(*shape[:2], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference: Floats = sums / sizes - (sums.sum(axis=0) - sums) / (sizes.sum(axis=0) - sizes)
    return difference
