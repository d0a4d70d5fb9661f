"""Does the model do what docs/method.md says of it?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from scetm_core.config import ModelConfig
from scetm_core.errors import ConfigError, RunError
from scetm_core.model import Elbo, ScETM, resolve_device
from scetm_core.model.cells import Cells, Minibatch, prepare_cells
from scetm_core.model.gene_sums import GeneSums
from scetm_core.model.scetm import LOG_SIGMA_RANGE

ModelFor = Callable[..., ScETM]
RHO, LAMBDA = "gene_embedding.parts.0.weight", "intercepts.batch"  # among the weights


def cells_of(data: ad.AnnData, model: ScETM) -> Minibatch:
    cells = prepared(data, model)
    return cells.load(np.arange(len(cells))).to(model.device)


def prepared(data: ad.AnnData, model: ScETM) -> Cells:
    return prepare_cells(data, model, batch_key="batch" if len(model.batches) > 1 else None)


def sums_of(data: ad.AnnData, model: ScETM) -> GeneSums:
    return GeneSums.of(prepared(data, model), len(model.batches))


@torch.no_grad()
def delta_of(model: ScETM, cells: Minibatch) -> Tensor:
    return model.eval().encode(cells)[0]


def elbo_of(model: ScETM, cells: Minibatch, *, kl_weight: float = 0.1, seed: int = 0) -> Elbo:
    return model.elbo(cells, kl_weight=kl_weight, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dropout", [0.0, 0.1], ids=lambda rate: f"dropout {rate}")
@pytest.mark.parametrize("lambda_init", ["data", "normal"])
@pytest.mark.parametrize("encoder_input", ["hvg", "fraction"])
@pytest.mark.parametrize("batch_intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("batch_key", ["batch", None], ids=["two batches", "one batch"])
def test_every_parameter_gets_a_gradient(
    planted: ad.AnnData,
    model_for: ModelFor,
    *,
    batch_key: str | None,
    batch_intercept: bool,
    encoder_input: str,
    lambda_init: str,
    dropout: float,
) -> None:
    model = model_for(
        planted, batch_key=batch_key, batch_intercept=batch_intercept, lambda_init=lambda_init, dropout=dropout,
        encoder_input=encoder_input, n_variable_genes=40,
    )  # fmt: skip
    sums = sums_of(planted, model)
    if model.variable_genes is not None:
        model.variable_genes.choose(sums)
    if lambda_init == "data":
        model.intercepts.start_from(sums.mean)
    elbo_of(model.train(), cells_of(planted, model)).loss.backward()
    assert (model.lambda_ is not None) == batch_intercept
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_loss_is_reconstruction_plus_weighted_kl(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted).eval()
    elbo = elbo_of(model, cells_of(planted, model), kl_weight=0.25)
    torch.testing.assert_close(elbo.loss, elbo.nll + 0.25 * elbo.kl)


def test_kl_equals_that_of_torch_distributions(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted).eval()
    cells = cells_of(planted, model)
    mu, log_sigma = model.encode(cells)
    expected = kl_divergence(Normal(mu, log_sigma.exp()), Normal(0.0, 1.0)).sum(dim=1).mean()
    torch.testing.assert_close(elbo_of(model, cells).kl, expected)


@pytest.mark.parametrize("batch_intercept", [True, False], ids=["intercept", "no intercept"])
def test_reconstruction_is_that_of_the_generative_model(
    planted: ad.AnnData, model_for: ModelFor, *, batch_intercept: bool
) -> None:
    model = model_for(planted, batch_intercept=batch_intercept).eval()
    cells = cells_of(planted, model)
    mu, log_sigma = model.encode(cells)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(5))
    theta = (mu + log_sigma.exp() * noise).softmax(dim=1)
    logits = theta @ model.alpha @ model.rho.T
    if model.lambda_ is not None:
        logits = logits + model.lambda_[cells.batch]
    y = cells.cells.matrix.to_dense()
    expected = -(y * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(elbo_of(model, cells, seed=5).nll, expected)


def test_held_out_nll_of_a_cell_is_at_the_mean_of_delta(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted).eval()
    cells = cells_of(planted, model)
    logits = delta_of(model, cells).softmax(dim=1) @ model.beta + model.lambda_[cells.batch]  # type: ignore[index]
    expected = -(cells.cells.matrix.to_dense() * logits.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(model.nll_per_cell(cells), expected.detach())


def test_theta_rows_sum_to_one(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted)
    theta = delta_of(model, cells_of(planted, model)).softmax(dim=1)
    torch.testing.assert_close(theta.sum(dim=1), torch.ones(planted.n_obs))
    assert (theta >= 0).all()


def test_log_sigma_stays_in_its_range_whatever_the_weights(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted)
    with torch.no_grad():
        model.head_weight.mul_(1e6)
    _, log_sigma = model.encode(cells_of(planted, model))
    assert log_sigma.min() == LOG_SIGMA_RANGE[0] == -10
    assert log_sigma.max() == LOG_SIGMA_RANGE[1] == 10


def test_dropout_acts_in_training_only(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted, dropout=0.5)
    cells = cells_of(planted, model)

    def mu(seed: int) -> Tensor:
        return model.encode(cells, generator=torch.Generator().manual_seed(seed))[0].detach()

    model.train()
    assert not torch.equal(mu(0), mu(1))
    torch.testing.assert_close(mu(0), mu(0))
    model.eval()
    assert torch.equal(mu(0), mu(1))


def test_without_dropout_training_mode_has_no_randomness(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted, dropout=0.0).train()
    cells = cells_of(planted, model)
    assert torch.equal(
        model.encode(cells, generator=torch.Generator().manual_seed(0))[0],
        model.encode(cells, generator=torch.Generator().manual_seed(1))[0],
    )


def test_same_seed_same_start_and_another_seed_another(planted: ad.AnnData, model_for: ModelFor) -> None:
    first, same, other = (model_for(planted, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["alpha"], other["alpha"])
    assert not torch.equal(first["input_weight"], other["input_weight"])


def test_permuting_genes_in_data_and_weights_changes_nothing(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted).eval()
    order = np.random.default_rng(0).permutation(planted.n_vars)
    shuffled = planted[:, order].copy()
    twin = model_for(shuffled)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["input_weight"], state[RHO] = state["input_weight"][order], state[RHO][order]
    state[LAMBDA] = state[LAMBDA][:, order]
    twin.load_state_dict(state)
    cells, shuffled_cells = cells_of(planted, model), cells_of(shuffled, twin.eval())
    torch.testing.assert_close(delta_of(twin, shuffled_cells), delta_of(model, cells), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(elbo_of(twin, shuffled_cells).nll, elbo_of(model, cells).nll)


def test_permuting_genes_changes_nothing_when_some_are_chosen(planted: ad.AnnData, model_for: ModelFor) -> None:
    settings = {"encoder_input": "hvg", "n_variable_genes": 40}
    model = model_for(planted, **settings).eval()
    model.variable_genes.choose(sums_of(planted, model))
    order = np.random.default_rng(0).permutation(planted.n_vars)
    shuffled = planted[:, order].copy()
    twin = model_for(shuffled, **settings).eval()
    twin.variable_genes.choose(sums_of(shuffled, twin))
    chosen, again = (set(np.array(m.genes)[m.variable_genes.genes]) for m in (model, twin))
    assert chosen == again
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["variable_genes.genes"] = torch.from_numpy(np.argsort(order))[state["variable_genes.genes"]]
    state[RHO], state[LAMBDA] = state[RHO][order], state[LAMBDA][:, order]
    twin.load_state_dict(state)
    cells, shuffled_cells = cells_of(planted, model), cells_of(shuffled, twin)
    torch.testing.assert_close(delta_of(twin, shuffled_cells), delta_of(model, cells), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(elbo_of(twin, shuffled_cells).nll, elbo_of(model, cells).nll)


def test_permuting_cells_permutes_delta(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted)
    order = np.random.default_rng(0).permutation(planted.n_obs)
    delta = delta_of(model, cells_of(planted, model))
    torch.testing.assert_close(delta_of(model, cells_of(planted[order].copy(), model)), delta[order])


def test_depth_of_a_cell_does_not_move_it(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted)
    deeper = planted.copy()
    deeper.X = deeper.X * 8
    torch.testing.assert_close(delta_of(model, cells_of(deeper, model)), delta_of(model, cells_of(planted, model)))


@pytest.mark.parametrize("batch_intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("encoder_input", ["hvg", "fraction"])
def test_a_saved_model_gives_identical_delta(
    planted: ad.AnnData, model_for: ModelFor, tmp_path: Path, *, encoder_input: str, batch_intercept: bool
) -> None:
    model = model_for(planted, batch_intercept=batch_intercept, encoder_input=encoder_input, n_variable_genes=40)
    if model.variable_genes is not None:
        model.variable_genes.choose(sums_of(planted, model))
    cells = cells_of(planted, model)
    elbo_of(model.train(), cells)  # moves the running mean of the batch norm
    model.save(tmp_path / "model.safetensors")
    loaded = ScETM.load(tmp_path / "model.safetensors")
    assert not loaded.training
    assert torch.equal(delta_of(loaded, cells), delta_of(model, cells))
    assert torch.equal(loaded.nll_per_cell(cells), model.nll_per_cell(cells))
    assert (loaded.genes, loaded.batches, loaded.config) == (model.genes, model.batches, model.config)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_names_of_any_script_survive_saving(tmp_path: Path) -> None:
    genes, batches = ["naïve", "遺伝子", 'quote"d'], ["b 1", "ß"]
    model = ScETM(ModelConfig(n_topics=2, n_emb=2, n_hidden=3), genes=genes, batches=batches)
    model.save(tmp_path / "model.safetensors")
    loaded = ScETM.load(tmp_path / "model.safetensors")
    assert (loaded.genes, loaded.batches) == (genes, batches)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-100]), id="cut short"),
        pytest.param(lambda path: path.write_bytes(b"no model at all"), id="garbage"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
    ],
)
def test_a_damaged_model_file_is_refused(
    planted: ad.AnnData, model_for: ModelFor, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = tmp_path / "model.safetensors"
    model_for(planted).save(path)
    damage(path)
    with pytest.raises(RunError, match=r"model\.safetensors cannot be loaded"):
        ScETM.load(path)


def test_weights_of_another_shape_than_the_settings_are_refused(tmp_path: Path) -> None:
    from scetm_core.model.storage import write_tensors

    model = ScETM(ModelConfig(n_topics=2, n_emb=2, n_hidden=3), genes=["a", "b"])
    other = ScETM(ModelConfig(n_topics=3, n_emb=2, n_hidden=3), genes=["a", "b"])
    write_tensors(tmp_path / "m.safetensors", model.state_dict(), metadata=other.description())
    with pytest.raises(RunError, match="cannot be loaded"):
        ScETM.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"{name}.*not available.*cpu") as caught:
        resolve_device(name)
    assert caught.value.field == "device"


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
