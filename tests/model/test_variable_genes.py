"""Are the variable genes scanpy's, and does the encoder see them standardised?"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scetm_core.model.cells import Cells, normalise
from scetm_core.model.variable_genes import VariableGenes, most_variable


def made_up_cells(*, n_batches: int, n_cells: int = 120, n_genes: int = 400, seed: int = 0) -> Cells:
    """Overdispersed counts; some genes are silent in one batch, one everywhere."""
    rng = np.random.default_rng(seed)
    batch = np.arange(n_cells) % n_batches
    rate = rng.gamma(0.5, 2, size=n_genes) * rng.gamma(1.5, 1, size=(n_cells, n_genes)) ** rng.uniform(0, 2, n_genes)
    counts = rng.poisson(rate)
    counts[batch == 0, :20] = 0
    counts[:, 7] = 0
    counts[:, -1] += 1
    return Cells(fractions=normalise(ad.AnnData(X=sp.csr_matrix(counts.astype(np.float32)))), batch=batch)


def scanpys_genes(cells: Cells, n_top: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy = pytest.importorskip("scanpy", reason="only here to compare with")
        obs = pd.DataFrame(
            {"batch": pd.Categorical(cells.batch.astype(str))}, index=[str(i) for i in range(len(cells))]
        )
        data = ad.AnnData(X=sp.csr_matrix(cells.fractions.astype(np.float64) * 1e4), obs=obs)
        scanpy.pp.log1p(data)
        scanpy.pp.highly_variable_genes(data, n_top_genes=n_top, flavor="seurat", batch_key="batch")
    return np.flatnonzero(data.var["highly_variable"])


@pytest.mark.parametrize("n_batches", [1, 2, 3])
@pytest.mark.parametrize("n_top", [25, 150])
def test_variable_genes_equal_scanpys(n_batches: int, n_top: int) -> None:
    cells = made_up_cells(n_batches=n_batches)
    found = most_variable(cells.fractions, cells.batch, n_top=n_top)
    np.testing.assert_array_equal(found, scanpys_genes(cells, n_top))


def test_all_genes_are_kept_where_there_are_no_more() -> None:
    cells = made_up_cells(n_batches=2)
    np.testing.assert_array_equal(most_variable(cells.fractions, cells.batch, n_top=400), np.arange(400))
    assert len(VariableGenes(400, 3000).genes) == 400


@pytest.mark.parametrize("batch", [np.arange(5), np.array([0, 0, 0, 0, 1])], ids=["each its own", "one alone"])
def test_batches_of_one_cell_do_no_harm(batch: np.ndarray) -> None:
    cells = made_up_cells(n_batches=1, n_cells=5)
    found = most_variable(cells.fractions, batch, n_top=30)
    assert len(np.unique(found)) == 30


def test_the_encoder_sees_clipped_standardised_log_expression() -> None:
    cells = made_up_cells(n_batches=2)
    genes = VariableGenes(400, 50)
    genes.choose(cells)
    logged = np.log1p(1e4 * cells.fractions.toarray().astype(np.float64))[:, genes.genes.numpy()]
    expected = np.clip((logged - logged.mean(axis=0)) / (logged.std(axis=0) + 0.01), -10, 10)
    seen = genes(cells.to(torch.device("cpu"))[0])
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_a_cell_is_seen_alike_alone_and_among_others() -> None:
    cells = made_up_cells(n_batches=2)
    genes = VariableGenes(400, 50)
    genes.choose(cells)
    see: Callable[[Cells], torch.Tensor] = lambda some: genes(some.to(torch.device("cpu"))[0])  # noqa: E731
    torch.testing.assert_close(see(cells.take(np.array([3]))), see(cells)[3:4])
