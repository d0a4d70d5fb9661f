from __future__ import annotations

import importlib

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from scetm_core.data import simulate
from scetm_core.errors import DataError


@pytest.fixture(scope="module")
def planted() -> ad.AnnData:
    return simulate(n_cells=600, n_genes=120, n_topics=4, n_batches=3, seed=5)


def expected_fractions(data: ad.AnnData) -> np.ndarray:
    """Gene probabilities of each cell, written out from the truth."""
    batches = data.obs["batch"].cat.codes.to_numpy()
    scores = data.obsm["true_theta"] @ data.varm["true_beta"].T + data.uns["true_lambda"][batches]
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def test_shapes_and_names(planted: ad.AnnData) -> None:
    assert planted.shape == (600, 120)
    assert isinstance(planted.X, sp.csr_matrix)
    assert planted.X.has_sorted_indices
    assert planted.obsm["true_theta"].shape == planted.obsm["true_delta"].shape == (600, 4)
    assert planted.varm["true_beta"].shape == (120, 4)
    assert planted.uns["true_lambda"].shape == (3, 120)
    assert planted.obs["batch"].value_counts().to_dict() == {"batch_0": 200, "batch_1": 200, "batch_2": 200}
    assert planted.obs["cell_type"].cat.categories.tolist() == ["type_0", "type_1", "type_2", "type_3"]


def test_theta_is_the_softmax_of_delta_and_the_type_dominates(planted: ad.AnnData) -> None:
    powers = np.exp(planted.obsm["true_delta"])
    np.testing.assert_allclose(planted.obsm["true_theta"], powers / powers.sum(axis=1, keepdims=True))
    agree = planted.obsm["true_theta"].argmax(axis=1) == planted.obs["cell_type"].cat.codes
    assert agree.mean() > 0.97
    assert planted.obsm["true_theta"].max(axis=1).mean() > 0.8


def test_same_seed_same_counts_other_seed_other_counts() -> None:
    sizes = {"n_cells": 50, "n_genes": 30, "n_topics": 3, "n_batches": 2}
    first, again, other = (simulate(**sizes, seed=seed) for seed in (1, 1, 2))
    assert (first.X != again.X).nnz == 0
    assert (first.X != other.X).nnz > 0


def test_reads_fall_on_genes_as_the_model_says(planted: ad.AnnData) -> None:
    """Pearson's statistic over groups of cells and genes is about its degrees of freedom."""
    totals = planted.X.sum(axis=1).A1
    expected = expected_fractions(planted) * totals[:, None]
    variance = expected * (1 - expected_fractions(planted))
    observed = planted.X.toarray()
    z = (observed - expected).sum(axis=0) / np.sqrt(variance.sum(axis=0))  # one per gene
    assert np.abs(z).max() < 5
    assert (z**2).mean() == pytest.approx(1, abs=0.5)
    per_type = [np.flatnonzero(planted.obs["cell_type"] == name) for name in planted.obs["cell_type"].cat.categories]
    for cells in per_type:
        z = (observed - expected)[cells].sum(axis=0) / np.sqrt(variance[cells].sum(axis=0))
        assert (z**2).mean() == pytest.approx(1, abs=0.5)


def test_library_sizes_are_log_normal_around_the_median(planted: ad.AnnData) -> None:
    logs = np.log(planted.X.sum(axis=1).A1)
    assert np.median(logs) == pytest.approx(np.log(2000), abs=0.1)
    assert logs.std() == pytest.approx(0.35, rel=0.15)


def test_drawing_in_small_pieces_keeps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("scetm_core.data.simulate")  # the package offers the function under this name
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 700)
    data = simulate(n_cells=300, n_genes=40, n_topics=2, seed=0)
    totals = data.X.sum(axis=1).A1
    expected = (expected_fractions(data) * totals[:, None]).sum(axis=0)
    z = (data.X.sum(axis=0).A1 - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 5


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="n_cells must be at least 2, got 0"):
        simulate(n_cells=0)
    with pytest.raises(DataError, match=r"n_topics must be at most n_cells \(5\), got 10"):
        simulate(n_cells=5)
