"""Which genes tell cells apart, and how do they enter the encoder? Highly variable ones, each on a like scale.

The published encoder sees each gene's share of the cell's counts, so that a handful of abundant genes drown all
others. Here it sees log1p(10,000 x share) of the most variable genes, minus the gene's mean, over its spread. List,
means and spreads are buffers: they are saved with the model, and a new cell needs neither its batch nor other cells.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from scetm_core.model.gene_sums import COUNTS_PER_CELL, GeneSums
from scetm_core.model.sparse import SparseRows

MAX_DEVIATION = 10.0  # in standard deviations; beyond, values are cut
N_MEAN_BINS = 20  # genes are compared with others of like mean


class VariableGenes(nn.Module):
    """From sparse cells by all genes to dense, standardised cells by variable genes; nothing here is learnt.

    Parameters
    ----------
    n_genes
        Genes of the data.
    n_variable
        Genes to keep, at most `n_genes`. Until `choose` is called these are the first ones, unscaled.
    spread_floor
        Added to a gene's standard deviation before the division by it, see `ModelConfig.spread_floor`.
    """

    genes: Tensor  # (n_variable,), columns of the data
    mean: Tensor  # (n_variable,)
    spread: Tensor  # (n_variable,), standard deviation

    def __init__(self, n_genes: int, n_variable: int, spread_floor: float = 0.01) -> None:
        super().__init__()
        self.spread_floor = spread_floor
        n_variable = min(n_variable, n_genes)
        self.register_buffer("genes", torch.arange(n_variable))
        self.register_buffer("mean", torch.zeros(n_variable))
        self.register_buffer("spread", torch.ones(n_variable))

    def choose(self, sums: GeneSums) -> None:
        """Pick the most variable genes of some cells, and take their means and spreads over all these cells."""
        genes = most_variable(sums, n_top=len(self.genes))
        self.genes.copy_(torch.from_numpy(genes))
        self.mean.copy_(torch.from_numpy(sums.log_mean[genes].astype(np.float32)))
        self.spread.copy_(torch.from_numpy(np.sqrt(sums.log_variance[genes]).astype(np.float32)))

    def forward(self, cells: SparseRows) -> Tensor:
        """What the encoder sees of each cell: (n_cells, n_variable)."""
        rows, n_variable = cells.matrix, len(self.genes)
        n_cells, n_genes = rows.shape
        place = torch.full((n_genes,), n_variable, device=rows.device)  # genes left out share a spare column
        place[self.genes] = torch.arange(n_variable, device=rows.device)
        column, values, starts = place[rows.col_indices()], rows.values(), rows.crow_indices()
        stored = torch.arange(len(column), device=rows.device, dtype=starts.dtype)
        if rows.device.type == "cpu":  # on a GPU the host would have to wait for their number
            stored = (column < n_variable).nonzero().squeeze(1).to(starts.dtype)
            column, values = column[stored], values[stored]
        row = torch.searchsorted(starts, stored, right=True) - 1
        mean, scale = (
            nn.functional.pad(part, (0, 1), value=1.0) for part in (self.mean, self.spread + self.spread_floor)
        )
        dense = (-mean / scale).repeat(n_cells, 1)  # (n_cells, n_variable + 1), as if no gene had a count
        seen = ((COUNTS_PER_CELL * values).log1p() - mean[column]) / scale[column]
        dense.view(-1)[row * (n_variable + 1) + column] = seen
        return dense[:, :-1].clamp_(-MAX_DEVIATION, MAX_DEVIATION)


def most_variable(sums: GeneSums, *, n_top: int) -> np.ndarray:
    """Columns of the `n_top` genes that vary most within the batches, in ascending order.

    In each batch the dispersion (log of variance over mean) is compared with that of genes of like mean. Genes are
    ranked by the number of batches in which they are among the `n_top`, then by their mean standing.

    Notes
    -----
    Satija et al. (2015); the same genes as scanpy's `highly_variable_genes(flavor="seurat", batch_key=...)`.
    """
    n_genes = sums.mean.shape[1]
    if n_top >= n_genes:
        return np.arange(n_genes)
    votes, standing, n_measured = np.zeros(n_genes), np.zeros(n_genes), np.zeros(n_genes)
    sizes = sums.n_in_batch
    for code in np.flatnonzero(sizes >= min(2, sizes.max())):
        standings = _standings(sums.mean[code] * COUNTS_PER_CELL, sums.variance[code] * COUNTS_PER_CELL**2)
        known = np.sort(standings[~np.isnan(standings) & (standings != -np.inf)])
        measured = ~np.isnan(standings)
        if len(known):
            votes += measured & (standings >= known[-min(n_top, len(known))])
        standing += np.where(measured & np.isfinite(standings), standings, 0.0)
        n_measured += measured
    order = np.lexsort([-standing / np.maximum(n_measured, 1), -votes])
    return np.sort(order[:n_top])


def _standings(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(n_genes,) dispersion in standard deviations of genes with like mean; -inf if silent, NaN if constant."""
    there = mean > 0
    standings = np.full(len(mean), -np.inf)
    with np.errstate(divide="ignore"):
        dispersion = np.log(variance[there] / mean[there])
    genes = pd.DataFrame({"dispersion": np.where(np.isfinite(dispersion), dispersion, np.nan)})
    by_mean = genes.groupby(pd.cut(np.log1p(mean[there]), N_MEAN_BINS, labels=False))["dispersion"]
    centre, scale = by_mean.transform("mean"), by_mean.transform("std")
    alone = scale.isna()  # the only gene of its bin stands at 1
    scale, centre = scale.where(~alone, centre), centre.where(~alone, 0.0)
    standings[there] = (genes["dispersion"] - centre) / scale
    return standings
