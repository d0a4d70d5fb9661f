"""Are the variable genes scanpy's, and does the encoder see them standardised?"""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scetm_core.model.cells import Cells
from scetm_core.model.gene_sums import GeneSums
from scetm_core.model.variable_genes import VariableGenes, most_variable


def made_up_cells(
    *, n_batches: int, n_cells: int = 120, n_genes: int = 400, batch: np.ndarray | None = None, seed: int = 0
) -> Cells:
    """Overdispersed counts; some genes are silent in one batch, one everywhere."""
    rng = np.random.default_rng(seed)
    batch = np.arange(n_cells) % n_batches if batch is None else batch
    rate = rng.gamma(0.5, 2, size=n_genes) * rng.gamma(1.5, 1, size=(n_cells, n_genes)) ** rng.uniform(0, 2, n_genes)
    counts = rng.poisson(rate)
    counts[batch == 0, :20] = 0
    counts[:, 7] = 0
    counts[:, -1] += 1
    return Cells(
        counts=sp.csr_matrix(counts.astype(np.float32)),
        rows=np.arange(n_cells),
        batch=batch,
        factors=np.zeros((n_cells, 0), dtype=np.int64),
        numbers=np.zeros((n_cells, 0), dtype=np.float32),
        totals=counts.sum(axis=1).astype(np.float64),
        features=None,
    )


def fractions_of(cells: Cells) -> np.ndarray:
    counts = cells.counts.toarray().astype(np.float64)
    return counts / counts.sum(axis=1, keepdims=True)


def sums_of(cells: Cells) -> GeneSums:
    return GeneSums.of(cells, int(cells.batch.max()) + 1)


def seen_by(genes: VariableGenes, cells: Cells, places: np.ndarray) -> torch.Tensor:
    return genes(cells.load(places).to(torch.device("cpu")).cells)


def scanpys_genes(cells: Cells, n_top: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy = pytest.importorskip("scanpy", reason="only here to compare with")
        obs = pd.DataFrame(
            {"batch": pd.Categorical(cells.batch.astype(str))}, index=[str(i) for i in range(len(cells))]
        )
        data = ad.AnnData(X=sp.csr_matrix(fractions_of(cells) * 1e4), obs=obs)
        scanpy.pp.log1p(data)
        scanpy.pp.highly_variable_genes(data, n_top_genes=n_top, flavor="seurat", batch_key="batch")
    return np.flatnonzero(data.var["highly_variable"])


@pytest.mark.parametrize("n_batches", [1, 2, 3])
@pytest.mark.parametrize("n_top", [25, 150])
def test_variable_genes_equal_scanpys(n_batches: int, n_top: int) -> None:
    cells = made_up_cells(n_batches=n_batches)
    found = most_variable(sums_of(cells), n_top=n_top)
    np.testing.assert_array_equal(found, scanpys_genes(cells, n_top))


def test_all_genes_are_kept_where_there_are_no_more() -> None:
    cells = made_up_cells(n_batches=2)
    np.testing.assert_array_equal(most_variable(sums_of(cells), n_top=400), np.arange(400))
    assert len(VariableGenes(400, 3000).genes) == 400


@pytest.mark.parametrize("batch", [np.arange(5), np.array([0, 0, 0, 0, 1])], ids=["each its own", "one alone"])
def test_batches_of_one_cell_do_no_harm(batch: np.ndarray) -> None:
    cells = made_up_cells(n_batches=1, n_cells=5, batch=batch)
    found = most_variable(sums_of(cells), n_top=30)
    assert len(np.unique(found)) == 30


@pytest.mark.parametrize("chunk_size", [7, 50, 4096])
def test_sums_gathered_in_chunks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, chunk_size: int) -> None:
    cells = made_up_cells(n_batches=3)
    chunks = cells.chunks
    monkeypatch.setattr(Cells, "chunks", lambda self: chunks(chunk_size))
    sums, fractions = sums_of(cells), fractions_of(cells)
    for code in range(3):
        inside = fractions[cells.batch == code]
        np.testing.assert_allclose(sums.mean[code], inside.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(sums.variance[code], inside.var(axis=0, ddof=1), rtol=1e-5, atol=1e-12)
    logged = np.log1p(1e4 * fractions)
    np.testing.assert_allclose(sums.log_mean, logged.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(sums.log_variance, logged.var(axis=0), rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(sums.n_in_batch, [40, 40, 40])


def test_a_batch_without_cells_has_means_of_zero() -> None:
    cells = made_up_cells(n_batches=2)
    sums = GeneSums.of(cells.subset(np.flatnonzero(cells.batch == 0)), 3)
    np.testing.assert_array_equal(sums.n_in_batch, [60, 0, 0])
    assert not sums.mean[1:].any()
    np.testing.assert_array_equal(
        most_variable(sums, n_top=30), most_variable(sums_of(cells.subset(np.flatnonzero(cells.batch == 0))), n_top=30)
    )


@pytest.mark.parametrize("floor", [0.01, 1.0])
def test_the_encoder_sees_clipped_standardised_log_expression(floor: float) -> None:
    cells = made_up_cells(n_batches=2)
    genes = VariableGenes(400, 50, floor)
    genes.choose(sums_of(cells))
    logged = np.log1p(1e4 * fractions_of(cells))[:, genes.genes.numpy()]
    expected = np.clip((logged - logged.mean(axis=0)) / (logged.std(axis=0) + floor), -10, 10)
    np.testing.assert_allclose(seen_by(genes, cells, np.arange(120)), expected, atol=1e-3)


def test_a_cell_is_seen_alike_alone_and_among_others() -> None:
    cells = made_up_cells(n_batches=2)
    genes = VariableGenes(400, 50)
    genes.choose(sums_of(cells))
    alone, among = seen_by(genes, cells, np.array([3])), seen_by(genes, cells, np.arange(120))[3:4]
    torch.testing.assert_close(alone, among)
