"""Does the result hold what docs promise, by name, and is it independent of how it was worked out?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scetm_core.config import RunConfig
from scetm_core.errors import DataError
from scetm_core.infer import infer, softmax
from scetm_core.model import ScETM

ModelFor = Callable[..., ScETM]


@pytest.fixture
def model(planted: ad.AnnData, model_for: ModelFor) -> ScETM:
    return model_for(planted)


def test_the_result_has_the_promised_slots_shapes_and_names(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    config = tiny_config()
    result = infer(model, planted, config)
    assert result.X is None
    assert list(result.obs_names) == list(planted.obs_names)
    assert list(result.var_names) == list(planted.var_names)
    assert {name: result.obsm[name].shape for name in ("delta", "theta", "X_scetm")} == dict.fromkeys(
        ("delta", "theta", "X_scetm"), (240, 4)
    )
    assert result.varm["rho"].shape == (60, 8)
    assert result.varm["beta"].shape == (60, 4)
    assert result.uns["alpha"].shape == (4, 8)
    assert RunConfig.from_json(result.uns["scetm"]["config"]) == config
    assert list(result.uns["scetm"]["batches"]) == ["b0", "b1"]
    assert result.uns["scetm"]["lambda"].shape == (2, 60)
    assert list(result.obs["cell_type"]) == list(planted.obs["cell_type"])
    np.testing.assert_allclose(result.obs["scetm_n_counts"], planted.X.toarray().sum(axis=1))


def test_theta_is_the_softmax_of_delta(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    result = infer(model, planted, tiny_config())
    expected = torch.from_numpy(result.obsm["delta"]).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(result.obsm["theta"], expected, atol=1e-6)
    np.testing.assert_allclose(result.obsm["theta"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(result.obsm["X_scetm"], result.obsm["delta"])


def test_beta_is_alpha_times_rho(planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]) -> None:
    result = infer(model, planted, tiny_config())
    np.testing.assert_allclose(
        result.varm["beta"], (result.uns["alpha"] @ result.varm["rho"].T).T, rtol=1e-4, atol=1e-5
    )


def test_softmax_of_huge_values_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]], dtype=np.float32)), [[0.5, 0.5, 0]])


def test_chunk_size_changes_nothing(planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]) -> None:
    whole = infer(model, planted, tiny_config())
    for size in (1, 7, 240):
        parts = infer(model, planted, tiny_config(), chunk_size=size)
        np.testing.assert_allclose(parts.obsm["delta"], whole.obsm["delta"], rtol=1e-4, atol=1e-5)


def test_sparse_and_dense_counts_agree(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    sparse = infer(model, planted, tiny_config())
    for convert in (sp.csr_matrix.toarray, sp.csc_matrix, sp.csr_array):
        other = planted.copy()
        other.X = convert(planted.X)
        result = infer(model, other, tiny_config())
        np.testing.assert_array_equal(result.obsm["delta"], sparse.obsm["delta"])
        np.testing.assert_array_equal(result.obs["scetm_n_counts"], sparse.obs["scetm_n_counts"])


def test_a_cell_is_embedded_alike_alone_and_in_company(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    model.train()  # infer must see to the mode itself
    alone = infer(model, planted[5:6].copy(), tiny_config())
    together = infer(model, planted, tiny_config())
    np.testing.assert_allclose(alone.obsm["delta"][0], together.obsm["delta"][5], rtol=1e-4, atol=1e-5)


def test_the_result_reads_back_from_disk(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    planted.uns["cell_type_colors"] = np.array(["#111111", "#222222", "#333333", "#444444"])
    result = infer(model, planted, tiny_config())
    result.write_h5ad(tmp_path / "result.h5ad")
    back = ad.read_h5ad(tmp_path / "result.h5ad")
    for name in ("delta", "theta", "X_scetm"):
        np.testing.assert_array_equal(back.obsm[name], result.obsm[name])
    np.testing.assert_array_equal(back.varm["beta"], result.varm["beta"])
    np.testing.assert_array_equal(back.uns["scetm"]["lambda"], result.uns["scetm"]["lambda"])
    assert list(back.uns["scetm"]["batches"]) == ["b0", "b1"]
    assert list(back.uns["cell_type_colors"]) == ["#111111", "#222222", "#333333", "#444444"]
    assert RunConfig.from_json(str(back.uns["scetm"]["config"])) == tiny_config()
    assert list(back.obs["cell_type"]) == list(planted.obs["cell_type"])


def test_without_batch_intercept_there_is_no_lambda(
    planted: ad.AnnData, model_for: ModelFor, tiny_config: Callable[..., RunConfig]
) -> None:
    result = infer(model_for(planted, batch_intercept=False), planted, tiny_config(batch_intercept=False))
    assert "lambda" not in result.uns["scetm"]
    assert result.varm["beta"].shape == (60, 4)


def test_a_result_does_not_change_when_the_model_does(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    result = infer(model, planted, tiny_config())
    kept = {name: np.array(result.varm[name]) for name in ("rho", "beta")}
    alpha, intercepts = np.array(result.uns["alpha"]), np.array(result.uns["scetm"]["lambda"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(result.varm["rho"], kept["rho"])
    np.testing.assert_array_equal(result.varm["beta"], kept["beta"])
    np.testing.assert_array_equal(result.uns["alpha"], alpha)
    np.testing.assert_array_equal(result.uns["scetm"]["lambda"], intercepts)


def test_data_are_left_as_they_were(planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]) -> None:
    before = planted.copy()
    infer(model, planted, tiny_config())
    assert (planted.X != before.X).nnz == 0
    assert list(planted.obs) == list(before.obs)
    assert list(planted.obsm) == list(before.obsm)


def test_genes_in_another_order_are_refused(
    planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]
) -> None:
    with pytest.raises(DataError, match="differ from the model's 60 in name or order"):
        infer(model, planted[:, ::-1].copy(), tiny_config())


def test_empty_cells_are_refused(planted: ad.AnnData, model: ScETM, tiny_config: Callable[..., RunConfig]) -> None:
    counts = planted.X.toarray()
    counts[0] = 0
    planted.X = sp.csr_matrix(counts)
    with pytest.raises(DataError, match="1 cells have no counts"):
        infer(model, planted, tiny_config())
