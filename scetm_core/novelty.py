"""Which cells are unlike anything that a model was trained on? Judged against cells that its training never saw.

The encoder places any cell somewhere among the cells it knows, however strange; so a cell is compared with the source's
cells it was placed beside, in two ways:

- **Reconstruction.** Its NLL less the mean NLL of these neighbours. Intercepts are fitted to its batch beforehand.
- **Expression.** 1 - Pearson correlation of its log expression with its neighbours' mean, over the genes the encoder
  looks at, less what is expected at its depth and around these neighbours. What most groups of the target differ by
  from their neighbours, gene by gene, is the data set's doing and taken off beforehand.

The same is worked out for the source's held-out cells, over the genes that the target has. The share of these that
score as high is the p-value. Both are put together by a weighted Bonferroni rule, four fifths of the stated rate for
expression, which tells more, and one fifth for reconstruction: of cells like the source's at most that rate is flagged.
Of another technology or species more will be: compare its groups of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from scetm_core import keys
from scetm_core.metrics import find_neighbors, nearest_in
from scetm_core.model import ScETM
from scetm_core.model.cells import Cells, row_chunks
from scetm_core.model.gene_sums import COUNTS_PER_CELL, GeneSums
from scetm_core.model.harmonise import find_centroids, squared_distances
from scetm_core.model.target import MIN_GROUP, N_GROUPS

N_NEIGHBORS = 15
MAX_REFERENCE = 20_000  # training cells of the source that are compared with
MAX_HELD_OUT = 5_000
N_SHIFT = 20_000  # cells of the target that its common differences are taken from
N_GENES = 3000  # most variable ones, where the encoder looks at all
MIN_COMPARED = 10  # genes; over fewer a correlation says nothing
CHUNK = 1024  # cells by looked-at genes in memory at once
RATE_OF_NLL = 0.2  # share of the false-positive rate that is left to reconstruction
SPREAD_FLOOR = 0.3  # of the spread of all reference cells, added to that of a cell's neighbours

NOVELTY, P_NLL, P_EXPRESSION = keys.NOVELTY_P, keys.NOVELTY_P_NLL, keys.NOVELTY_P_EXPRESSION
NOVEL = keys.UNLIKE_SOURCE


@dataclass(frozen=True, kw_only=True)
class View:
    """Some cells as a model sees them.

    Attributes
    ----------
    delta
        (n_cells, n_topics)
    nll
        (n_cells,), nats per read.
    logged
        (n_cells, n_genes) CSR, log1p(10,000 x share) of the genes that are compared.
    depth
        (n_cells,), log10 of the total counts.
    """

    delta: np.ndarray
    nll: np.ndarray
    logged: sp.csr_matrix
    depth: np.ndarray

    def take(self, rows: np.ndarray) -> View:
        """Some of these cells."""
        return View(delta=self.delta[rows], nll=self.nll[rows], logged=self.logged[rows], depth=self.depth[rows])


@torch.no_grad()
def view(model: ScETM, cells: Cells, genes: np.ndarray) -> View:
    """Cells as the model sees them, all in memory.

    Parameters
    ----------
    genes
        Columns of the counts that are compared.
    """
    parts = list(_views(model, cells, genes))
    return View(
        delta=np.concatenate([part.delta for part in parts]),
        nll=np.concatenate([part.nll for part in parts]),
        logged=sp.csr_matrix(sp.vstack([part.logged for part in parts], format="csr")),
        depth=np.concatenate([part.depth for part in parts]),
    )


def _views(model: ScETM, cells: Cells, genes: np.ndarray) -> Iterator[View]:
    model.eval()
    for loaded in cells.chunks():
        minibatch = loaded.to(model.device)
        logged = loaded.fractions[:, genes]
        logged.data = np.log1p(COUNTS_PER_CELL * logged.data)
        yield View(
            delta=model.encode(minibatch)[0].detach().cpu().numpy(),
            nll=model.nll_per_cell(minibatch).cpu().numpy(),
            logged=logged,
            depth=np.log10(loaded.totals),
        )


def genes_compared(model: ScETM, matched: np.ndarray, reference: Cells) -> np.ndarray:
    """Columns of the genes whose expression is compared: those the encoder looks at and the target has.

    Where the encoder looks at all, the 3,000 that vary most in some cells of the source.
    """
    if model.variable_genes is not None:
        looked_at = model.variable_genes.genes.cpu().numpy()
        return np.asarray(looked_at[matched[looked_at]])
    some = reference.subset(np.linspace(0, len(reference) - 1, min(len(reference), 2000)).astype(np.int64))
    variance = np.where(matched, GeneSums.of(some, len(model.batches)).log_variance, -1.0)
    return np.sort(np.argsort(-variance, kind="stable")[: min(N_GENES, int(matched.sum()))])


class NoveltyTest:
    """What is usual in a source, learnt from its training cells, with the scores of its held-out cells.

    Parameters
    ----------
    reference
        Training cells of the source, at least a few dozen; the neighbours of others are looked for among them.
    held_out
        Cells that training did not see. None, or too few for the rate: the reference stands in, each cell left out in
        turn, and more of the target will be flagged than stated.
    false_positive_rate
        Share of cells like the source's that may be flagged.
    """

    def __init__(self, reference: View, held_out: View | None, *, false_positive_rate: float) -> None:
        self.reference, self.rate = reference, false_positive_rate
        near = find_neighbors(reference.delta, N_NEIGHBORS + 1).indices[:, 1:]
        raw = self._distance(reference.logged, near, shift=np.zeros(1))
        self.depths = float(reference.depth.min()), float(reference.depth.max())
        self.by_depth = np.linalg.lstsq(self._terms(reference.depth), raw, rcond=None)[0]
        self.residual = raw - self._terms(reference.depth) @ self.by_depth  # (n_reference,)
        enough = 1 / ((1 - RATE_OF_NLL) * false_positive_rate)  # fewer could flag no cell by its expression
        self.has_held_out = held_out is not None and len(held_out.nll) >= enough
        if held_out is None or not self.has_held_out:
            self.usual = self._scores(reference, near, raw)
        else:
            self.usual = self.scores(held_out, shift=np.zeros(1))

    def scores(self, cells: View, *, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Excess NLL and excess distance of some cells, (n_cells,) each; higher is stranger.

        Parameters
        ----------
        shift
            (n_genes,) from `common_shift`, taken off the cells' log expression.
        """
        near = nearest_in(self.reference.delta, cells.delta, N_NEIGHBORS).indices
        return self._scores(cells, near, self._distance(cells.logged, near, shift=shift))

    def _scores(self, cells: View, near: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        around = self.residual[near]  # (n_cells, k)
        residual = raw - self._terms(cells.depth) @ self.by_depth
        width = around.std(axis=1) + SPREAD_FLOOR * self.residual.std()
        excess = (residual - around.mean(axis=1)) / np.maximum(width, 1e-9)
        return cells.nll - self.reference.nll[near].mean(axis=1), excess

    def common_shift(self, cells: View) -> np.ndarray:
        """(n_genes,) by which log expression differs from that of the neighbours in most groups of cells: the median.

        Parameters
        ----------
        cells
            Of the target, or a sample of them.
        """
        near = nearest_in(self.reference.delta, cells.delta, N_NEIGHBORS).indices
        n_groups = max(1, min(N_GROUPS, len(cells.nll) // MIN_GROUP))
        centroids = find_centroids(cells.delta, n_groups, rng=np.random.default_rng(0))
        group = squared_distances(np.asarray(cells.delta, np.float32), centroids).argmin(axis=1)
        shifts = []
        for number in range(n_groups):
            rows = np.flatnonzero(group == number)
            if len(rows) >= MIN_GROUP or n_groups == 1:
                expected = self._averaging(near[rows]) @ self.reference.logged
                shifts.append(np.asarray(cells.logged[rows].mean(axis=0) - expected.mean(axis=0)).ravel())
        return np.median(shifts, axis=0) if shifts else np.zeros(1)

    def p_values(self, cells: View, *, shift: np.ndarray) -> pd.DataFrame:
        """p-values of some cells, and whether they are flagged: `novelty_p` and its parts, `unlike_source`."""
        parts = [
            _p_value(usual, found) for usual, found in zip(self.usual, self.scores(cells, shift=shift), strict=True)
        ]
        both = np.minimum(1.0, np.minimum(parts[0] / RATE_OF_NLL, parts[1] / (1 - RATE_OF_NLL)))
        return pd.DataFrame({NOVELTY: both, P_NLL: parts[0], P_EXPRESSION: parts[1], NOVEL: both <= self.rate})

    def _averaging(self, near: np.ndarray) -> sp.csr_matrix:
        """(n_cells, n_reference) that takes the mean over each cell's neighbours."""
        n_cells, k = near.shape
        starts = np.arange(0, n_cells * k + 1, k)
        weights = np.full(n_cells * k, 1 / k, dtype=np.float32)
        return sp.csr_matrix((weights, near.ravel(), starts), (n_cells, len(self.reference.nll)))

    def _distance(self, logged: sp.csr_matrix, near: np.ndarray, *, shift: np.ndarray) -> np.ndarray:
        """(n_cells,) 1 - correlation of log expression with the neighbours' mean, 0 to 2."""
        found = np.empty(len(near))
        for rows in row_chunks(len(near), CHUNK):
            own = logged[rows].toarray() - shift
            expected = (self._averaging(near[rows]) @ self.reference.logged).toarray()
            own -= own.mean(axis=1, keepdims=True)
            expected -= expected.mean(axis=1, keepdims=True)
            norms = np.sqrt((own**2).sum(axis=1) * (expected**2).sum(axis=1))
            found[rows] = 1 - (own * expected).sum(axis=1) / np.maximum(norms, 1e-12)
        return found

    def _terms(self, depth: np.ndarray) -> np.ndarray:
        """(n_cells, 3), what the expected distance is made of: 1, depth (within the reference's range), its square."""
        inside = np.clip(depth, *self.depths)
        return np.column_stack([np.ones(len(depth)), inside, inside**2])


def _p_value(usual: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(1 + number of usual scores at least as high) / (1 + number of usual scores)."""
    higher = len(usual) - np.searchsorted(np.sort(usual), found, side="left")
    return np.asarray((1 + higher) / (1 + len(usual)))


def judge_novelty(test: NoveltyTest, model: ScETM, cells: Cells, genes: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """p-values of all cells of a target, some in memory at a time, and what is to be said of them.

    Parameters
    ----------
    model
        With intercepts fitted to the target.
    cells
        Of the target.
    genes
        Columns that are compared, those of the test's reference.
    """
    places = np.unique(np.linspace(0, len(cells) - 1, min(len(cells), N_SHIFT)).astype(np.int64))
    shift = test.common_shift(view(model, cells.subset(places), genes))
    table = pd.concat([test.p_values(part, shift=shift) for part in _views(model, cells, genes)], ignore_index=True)
    share, held_out = float(table[NOVEL].mean()), len(test.usual[0])
    said = [
        f"{share:.1%} of the cells are flagged as unlike the source, at a rate of {test.rate:.1%} among cells like its "
        f"{held_out:,} {'held-out' if test.has_held_out else 'training'} cells."
    ]
    if not test.has_held_out:
        said.append(
            "The source kept too few cells out of its training to judge by, so its training cells stand in: somewhat "
            "more cells are flagged than the rate says."
        )
    if share > 3 * test.rate:
        said.append(
            "Far more than that: the data sets differ as a whole, or many cells are of new kinds. Compare groups of "
            "cells rather than single ones."
        )
    return table, said
