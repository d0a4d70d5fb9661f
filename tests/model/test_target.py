"""Does a model for a target keep all that the source knew, borrow no intercept, and learn what was asked for only?"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scetm_core.build import build_model
from scetm_core.config import RunConfig, TrainConfig
from scetm_core.data.simulate import TRUE_BETA, TRUE_LAMBDA, TRUE_THETA, simulate
from scetm_core.errors import TransferError
from scetm_core.model import ScETM
from scetm_core.model.cells import Minibatch, cells_to_embed, prepare_cells
from scetm_core.model.passes import mean_delta
from scetm_core.model.storage import read_tensors
from scetm_core.model.target import fit_intercepts, fix, model_for_target
from scetm_core.train import fit
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES

ModelFor = Callable[..., ScETM]
ConfigFor = Callable[..., RunConfig]

N_NEW = 7
VARIANTS: dict[str, dict[str, Any]] = {
    "scETM": {},
    "variable genes": {"encoder_input": "hvg", "n_variable_genes": 30},
    "raw counts as encoder input": {"encoder_input": "counts"},
    "counts by depth": {"likelihood": "counts"},
    "factorised batches": {"n_batch_factors": 1},
    "batch as encoder input": {"encode_batch": True},
    "normalised topics": {"normalise_beta": True},
    "no lambda": {"batch_intercept": False},
    "no batch norm": {"batch_norm": False},
    "gene sets, partly learnt": {"rho_gmt": "sets.gmt", "n_free_emb": 3},
    "frozen embeddings": {"rho_file": "rho.csv"},
    "embeddings as a start": {"rho_file": "rho.csv", "train_rho": True, "n_free_emb": 2},
}


@pytest.fixture
def source_of(tiny_config: ConfigFor, planted: ad.AnnData, tmp_path: Path) -> Callable[..., ScETM]:
    """A source of some settings, as far from its start as a few steps take it."""
    sets = [[f"gene{gene}" for gene in range(first, first + 8)] for first in range(0, 52, 4)]
    lines = [f"SET_{place}\tof tests\t" + "\t".join(members) for place, members in enumerate(sets)]
    (tmp_path / "sets.gmt").write_text("\n".join(lines) + "\n")
    table = np.random.default_rng(1).normal(size=(planted.n_vars - 5, 6))
    pd.DataFrame(table, index=planted.var_names[:-5]).to_csv(tmp_path / "rho.csv")

    def build(data: ad.AnnData | None = None, **settings: Any) -> ScETM:
        data = planted if data is None else data
        named = {name: str(tmp_path / settings[name]) for name in ("rho_gmt", "rho_file") if settings.get(name)}
        config = tiny_config(**{"max_steps": 5, **settings, **named})
        model = build_model(data, config, device=torch.device("cpu"))
        list(fit(model, data, config.train, batch_key="batch"))
        return model

    return build


def all_of(data: ad.AnnData, model: ScETM, *, batch_key: str | None = "batch") -> Minibatch:
    cells = prepare_cells(data, model, batch_key=batch_key)
    return cells.load(np.arange(len(cells))).to(model.device)


def delta_of(model: ScETM, data: ad.AnnData) -> np.ndarray:
    return mean_delta(model, cells_to_embed(data, model))


def state_of(model: ScETM) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: ScETM, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def widened(data: ad.AnnData, *, n_new: int = N_NEW) -> ad.AnnData:
    """The same cells with counts of further genes, each of which half of the types have."""
    rng = np.random.default_rng(5)
    is_high = data.obs["cell_type"].cat.codes.to_numpy()[:, None] % 2 == np.arange(n_new) % 2
    extra = rng.poisson(np.where(is_high, 20, 1)).astype(np.float32)
    return ad.AnnData(
        X=sp.csr_matrix(sp.hstack([data.X, sp.csr_matrix(extra)])),
        obs=data.obs,
        var=pd.DataFrame(index=[*data.var_names, *(f"new{number}" for number in range(n_new))]),
    )


def new_names(n_new: int = N_NEW) -> list[str]:
    return [f"new{number}" for number in range(n_new)]


# ---- what a target's model is made of ---------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_targets_model_places_cells_and_mixes_topics_as_the_source_does(
    planted: ad.AnnData, source_of: Callable[..., ScETM], variant: str
) -> None:
    source = source_of(**VARIANTS[variant])
    before = state_of(source)
    model = model_for_target(source, batches=["x", "y", "z"])
    np.testing.assert_allclose(delta_of(model, planted), delta_of(source, planted), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.beta, source.beta, rtol=0, atol=0)
    torch.testing.assert_close(model.alpha, source.alpha, rtol=0, atol=0)
    assert not changed(source, before)
    assert (model.batches, model.genes) == (["x", "y", "z"], source.genes)
    assert not model.training


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_new_genes_move_no_cell_and_leave_the_known_ones_as_they_are(
    planted: ad.AnnData, source_of: Callable[..., ScETM], variant: str
) -> None:
    source = source_of(**VARIANTS[variant])
    model = model_for_target(source, batches=["x"], new_genes=new_names())
    assert model.genes == [*planted.var_names, *new_names()]
    assert model.n_known_genes == planted.n_vars
    torch.testing.assert_close(model.beta[:, : planted.n_vars], source.beta)
    np.testing.assert_allclose(delta_of(model, widened(planted)), delta_of(source, planted), atol=1e-5)


def test_new_genes_begin_without_a_part_in_any_topic(source_of: Callable[..., ScETM]) -> None:
    model = model_for_target(source_of(), batches=["x"], new_genes=new_names())
    assert model.beta[:, -N_NEW:].abs().max() < 0.05 * model.beta[:, :-N_NEW].abs().max()


def test_a_model_with_new_genes_survives_saving(
    planted: ad.AnnData, source_of: Callable[..., ScETM], tmp_path: Path
) -> None:
    model = model_for_target(source_of(), batches=["x"], new_genes=new_names())
    model.save(tmp_path / "model.safetensors")
    back = ScETM.load(tmp_path / "model.safetensors")
    assert (back.n_known_genes, back.genes) == (planted.n_vars, model.genes)
    np.testing.assert_array_equal(delta_of(back, widened(planted)), delta_of(model, widened(planted)))


def test_a_model_written_before_there_were_new_genes_loads(
    planted: ad.AnnData, source_of: Callable[..., ScETM], tmp_path: Path
) -> None:
    source = source_of()
    source.save(tmp_path / "model.safetensors")
    _, header = read_tensors(tmp_path / "model.safetensors", device="cpu")
    assert "n_known_genes" not in json.loads(header["names"]), "as in files of earlier versions"
    back = ScETM.load(tmp_path / "model.safetensors")
    assert back.n_known_genes == planted.n_vars
    np.testing.assert_array_equal(delta_of(back, planted), delta_of(source, planted))


def test_gene_sets_as_rho_take_no_new_genes(source_of: Callable[..., ScETM]) -> None:
    source = source_of(rho_gmt="sets.gmt")
    assert model_for_target(source, batches=["x"]).genes == source.genes
    with pytest.raises(TransferError, match="fixed to gene sets, so those of new genes cannot be learnt"):
        model_for_target(source, batches=["x"], new_genes=["new0"])


def test_further_columns_and_numbers_of_the_source_are_not_asked_of_the_target(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    planted.obs["donor"] = pd.Categorical(np.array(["d0", "d1", "d2"])[np.arange(planted.n_obs) % 3])
    planted.obs["score"] = np.arange(planted.n_obs, dtype=float)
    source = source_of(planted, extra_batch_keys=("donor",), numeric_keys=("score",))
    assert source.factors
    assert source.numbers
    model = model_for_target(source, batches=["b0", "b1"])
    assert (model.factors, model.numbers) == ({}, {})
    del planted.obs["donor"], planted.obs["score"]
    np.testing.assert_array_equal(delta_of(model, planted), delta_of(source, planted))
    assert torch.isfinite(model.nll_per_cell(all_of(planted, model))).all()


# ---- unknown batches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_batch_factors", [0, 1])
def test_a_batch_of_the_same_name_gets_the_mean_of_all_intercepts_not_its_namesakes(
    source_of: Callable[..., ScETM], n_batch_factors: int
) -> None:
    source = source_of(n_batch_factors=n_batch_factors)
    model = model_for_target(source, batches=["b0", "new"])
    assert source.lambda_ is not None
    assert model.lambda_ is not None
    mean = source.lambda_.mean(dim=0)
    torch.testing.assert_close(model.lambda_, torch.stack([mean, mean]))
    assert not torch.allclose(model.lambda_[0], source.lambda_[0], atol=1e-3)
    assert model.config.n_batch_factors == 0, "new batches are few: each has intercepts of its own"


def test_intercepts_of_the_source_that_keep_their_mean_change_nothing(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    source = source_of(encode_batch=True)
    other = copy.deepcopy(source)
    with torch.no_grad():
        move = torch.randn(planted.n_vars, generator=torch.Generator().manual_seed(0))
        rows = other.intercepts.batch
        assert rows is not None
        rows[0] += move
        rows[1] -= move
    models = [model_for_target(model, batches=["b0", "b1"]) for model in (source, other)]
    for model in models:
        fit_intercepts(model, prepare_cells(planted, model, batch_key="batch"))
    np.testing.assert_array_equal(delta_of(models[0], planted), delta_of(models[1], planted))
    torch.testing.assert_close(models[0].lambda_, models[1].lambda_, atol=1e-4, rtol=1e-4)


def test_what_the_encoder_is_told_of_new_batches_is_the_mean_of_those_it_knows(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    source = source_of(encode_batch=True)
    assert source.batch_input is not None
    assert not torch.equal(source.batch_input[0], source.batch_input[1])
    model = model_for_target(source, batches=["b0", "b1", "c"])
    assert model.batch_input is not None
    for row in model.batch_input:
        torch.testing.assert_close(row, source.batch_input.mean(dim=0))
    as_known = source.encode(all_of(planted, source))[0].detach().numpy()
    as_new = model.encode(all_of(planted, model))[0].detach().numpy()
    np.testing.assert_allclose(as_new, delta_of(source, planted), atol=1e-5)
    assert np.abs(as_new - as_known).max() > 1e-3


# ---- expected reads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["scETM", "factorised batches", "normalised topics", "no lambda"])
def test_expected_fractions_are_those_that_the_reconstruction_is_judged_by(
    planted: ad.AnnData, source_of: Callable[..., ScETM], variant: str
) -> None:
    model = source_of(**VARIANTS[variant])
    minibatch = all_of(planted, model)
    expected = model.expected_fractions(minibatch)
    assert expected.shape == (planted.n_obs, planted.n_vars)
    torch.testing.assert_close(expected.sum(dim=1), torch.ones(planted.n_obs))
    nll = -(minibatch.cells.matrix.to_dense() * expected.log()).sum(dim=1)
    torch.testing.assert_close(nll, model.nll_per_cell(minibatch), rtol=1e-4, atol=1e-5)


# ---- fitting intercepts -----------------------------------------------------------------------------------------

SHIFTED = slice(0, 20)
FACTOR = 3.0


@pytest.fixture(scope="module")
def world() -> tuple[ad.AnnData, ScETM]:
    """Cells drawn from the model, and a model that was trained on them."""
    from scetm_core.config import run_config_from_flat

    data = simulate(n_cells=600, n_genes=100, n_topics=4, n_batches=1, n_emb=8, seed=1)
    config = run_config_from_flat(
        {"path": "none", "n_topics": 4, "n_emb": 16, "n_hidden": 32, "max_steps": 300, "minibatch_size": 128,
         "batch_key": "batch", "device": "cpu", "learning_rate": 0.02, "start": "data"}
    )  # fmt: skip
    model = build_model(data, config, device=torch.device("cpu"))
    list(fit(model, data, config.train, batch_key="batch"))
    return data, model


def drawn(data: ad.AnnData, *, factors: np.ndarray, own_gene: int | None = None, seed: int = 3) -> ad.AnnData:
    """New cells of the same topics, each gene's level times a factor; of a third of them one gene is far up."""
    rng = np.random.default_rng(seed)
    logits = data.obsm[TRUE_THETA] @ data.varm[TRUE_BETA].T + data.uns[TRUE_LAMBDA][0] + np.log(factors)
    if own_gene is not None:
        logits[: len(logits) // 3, own_gene] += np.log(30)
    rates = np.exp(logits)
    rates /= rates.sum(axis=1, keepdims=True)
    counts = np.stack([rng.multinomial(3000, rate) for rate in rates]).astype(np.float32)
    obs = pd.DataFrame({"batch": pd.Categorical(["batch_0"] * len(counts))}, index=data.obs_names)
    return ad.AnnData(X=sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=data.var_names))


def fitted(source: ScETM, data: ad.AnnData, **options: Any) -> np.ndarray:
    model = model_for_target(source, batches=["batch_0"])
    fit_intercepts(model, prepare_cells(data, model, batch_key="batch"), **options)
    assert model.lambda_ is not None
    return model.lambda_[0].detach().numpy().copy()


@pytest.mark.parametrize("own_gene", [None, 60], ids=["groups alike", "a group with a gene of its own"])
def test_a_genes_intercept_moves_by_the_log_of_its_factor(
    world: tuple[ad.AnnData, ScETM], own_gene: int | None
) -> None:
    data, source = world
    factors = np.ones(data.n_vars)
    factors[SHIFTED] = FACTOR
    plain = fitted(source, drawn(data, factors=np.ones(data.n_vars)))
    moved = fitted(source, drawn(data, factors=factors, own_gene=own_gene, seed=4)) - plain
    is_shifted = np.zeros(data.n_vars, dtype=bool)
    is_shifted[SHIFTED] = True
    others = np.median(moved[~is_shifted])  # logits have no level of their own
    assert np.median(moved[is_shifted]) - others == pytest.approx(np.log(FACTOR), abs=0.15)
    common = np.asarray(data.X.mean(axis=0)).ravel() > np.median(np.asarray(data.X.mean(axis=0)))
    assert np.abs(moved[is_shifted & common] - others - np.log(FACTOR)).max() < 0.6
    if own_gene is not None:
        assert abs(moved[own_gene] - others) < 0.5, "what one group has is biology, not the batch's doing"


def test_the_mean_of_reads_is_expected_as_it_is_after_the_fit(world: tuple[ad.AnnData, ScETM]) -> None:
    data, source = world
    factors = np.exp(np.random.default_rng(0).normal(scale=0.7, size=data.n_vars))
    target = drawn(data, factors=factors)
    before = model_for_target(source, batches=["batch_0"])
    after = copy.deepcopy(before)
    fit_intercepts(after, prepare_cells(target, after, batch_key="batch"))
    nll = [model.nll_per_cell(all_of(target, model)).mean().item() for model in (before, after)]
    assert nll[1] < nll[0] - 0.05


def test_only_intercepts_are_fitted_and_each_batch_has_its_own(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    model = model_for_target(source_of(), batches=["b0", "b1"])
    before = state_of(model)
    fit_intercepts(model, prepare_cells(planted, model, batch_key="batch"))
    assert changed(model, before) == {"intercepts.batch"}
    assert model.lambda_ is not None
    assert not torch.allclose(model.lambda_[0], model.lambda_[1], atol=0.05)
    assert torch.isfinite(model.lambda_).all()


def test_each_batch_is_fitted_to_its_own_cells_alone(world: tuple[ad.AnnData, ScETM]) -> None:
    data, source = world
    factors = np.exp(np.random.default_rng(2).normal(size=data.n_vars))
    first, second = drawn(data, factors=np.ones(data.n_vars)), drawn(data, factors=factors)
    both = ad.AnnData(
        X=sp.csr_matrix(sp.vstack([first.X, second.X])),
        obs=pd.DataFrame(
            {"batch": np.repeat(["batch_0", "batch_1"], data.n_obs)}, index=[str(number) for number in range(1200)]
        ),
        var=first.var,
    )
    model = model_for_target(source, batches=["batch_0", "batch_1"])
    fit_intercepts(model, prepare_cells(both, model, batch_key="batch"))
    assert model.lambda_ is not None
    for row, alone in zip(model.lambda_.detach().numpy(), (first, second), strict=True):
        assert np.median(np.abs(row - fitted(source, alone))) < 0.05, "groups are drawn anew, all else is equal"


def test_of_absent_genes_no_read_is_expected(planted: ad.AnnData, source_of: Callable[..., ScETM]) -> None:
    model = model_for_target(source_of(), batches=["b0", "b1"])
    absent = np.zeros(planted.n_vars, dtype=bool)
    absent[[3, 30]] = True
    counts = planted.X.toarray()
    counts[:, absent] = 0
    planted.X = sp.csr_matrix(counts)
    fit_intercepts(model, prepare_cells(planted, model, batch_key="batch"), absent=absent)
    expected = model.expected_fractions(all_of(planted, model))
    assert expected[:, absent].max() < 1e-6
    assert expected[:, ~absent].max(dim=0).values.min() > 1e-6


def test_a_batch_of_few_cells_is_fitted_as_one_group(planted: ad.AnnData, source_of: Callable[..., ScETM]) -> None:
    model = model_for_target(source_of(), batches=["b0", "b1"])
    few = planted[:5].copy()
    fit_intercepts(model, prepare_cells(few, model, batch_key="batch"))
    assert model.lambda_ is not None
    assert torch.isfinite(model.lambda_).all()


def test_without_batch_intercepts_nothing_is_fitted(planted: ad.AnnData, source_of: Callable[..., ScETM]) -> None:
    model = model_for_target(source_of(batch_intercept=False), batches=["b0", "b1"])
    before = state_of(model)
    fit_intercepts(model, prepare_cells(planted, model, batch_key="batch"))
    assert not changed(model, before)


# ---- learning from the target -----------------------------------------------------------------------------------

TRAINING = TrainConfig(max_steps=8, minibatch_size=64, learning_rate=0.01, device="cpu", test_fraction=0.1)


def learnt(model: ScETM, data: ad.AnnData, what: str, *, train: TrainConfig = TRAINING) -> tuple[set[str], list[str]]:
    """Names of the weights that training changed, and those that were said to stay."""
    fit_intercepts(model, prepare_cells(data, model, batch_key="batch"))
    said, before = fix(model, what, n_new=len(model.genes) - model.n_known_genes), state_of(model)
    list(fit(model, data, train, batch_key="batch", start=False))
    return changed(model, before), said


ENCODER_WEIGHTS = {
    "input_weight", "input_bias", "head_weight", "head_bias", "norm.weight", "norm.bias", "norm.running_mean",
    "norm.running_var", "norm.num_batches_tracked",
}  # fmt: skip


def test_learning_the_encoder_changes_it_and_the_intercepts_only(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    model = model_for_target(source_of(), batches=["b0", "b1"])
    moved, said = learnt(model, planted, ENCODER)
    assert moved == {*ENCODER_WEIGHTS, "intercepts.batch"}
    assert "alpha" in said
    assert not moved & set(said)


@pytest.mark.parametrize("variant", ["scETM", "variable genes", "batch as encoder input", "counts by depth"])
def test_learning_new_genes_changes_their_embeddings_and_the_intercepts_only(
    planted: ad.AnnData, source_of: Callable[..., ScETM], variant: str
) -> None:
    source = source_of(**VARIANTS[variant])
    model, data = model_for_target(source, batches=["b0", "b1"], new_genes=new_names()), widened(planted)
    zero_shot, rho = delta_of(source, planted), model.rho.detach().clone()
    moved, said = learnt(model, data, NEW_GENES)
    [embedding] = [name for name in moved if name.startswith("gene_embedding.")]
    assert moved == {embedding, "intercepts.batch"}
    assert "alpha" in said
    assert torch.equal(model.rho[: planted.n_vars], rho[: planted.n_vars])
    assert (model.rho[planted.n_vars :] != rho[planted.n_vars :]).all()
    np.testing.assert_allclose(delta_of(model, data), zero_shot, atol=1e-4)


@pytest.mark.parametrize("variant", ["gene sets, partly learnt", "frozen embeddings", "embeddings as a start"])
def test_new_genes_are_learnt_beside_given_embeddings(
    planted: ad.AnnData, source_of: Callable[..., ScETM], variant: str
) -> None:
    model = model_for_target(source_of(**VARIANTS[variant]), batches=["b0", "b1"], new_genes=new_names())
    rho = model.rho.detach().clone()
    learnt(model, widened(planted), NEW_GENES)
    assert torch.equal(model.rho[: planted.n_vars], rho[: planted.n_vars])
    assert (model.rho[planted.n_vars :] != rho[planted.n_vars :]).any(dim=1).all()


def test_new_genes_are_given_to_the_topics_whose_cells_have_them(planted: ad.AnnData, model_for: ModelFor) -> None:
    source = model_for(planted, max_steps=300)
    long = TrainConfig(max_steps=150, minibatch_size=128, learning_rate=0.02, device="cpu")
    list(fit(source, planted, long, batch_key="batch"))
    model, data = model_for_target(source, batches=["b0", "b1"], new_genes=new_names()), widened(planted)
    learnt(model, data, NEW_GENES, train=long)
    theta = torch.from_numpy(delta_of(model, data)).softmax(dim=1)
    odd = data.obs["cell_type"].cat.codes.to_numpy() % 2 == 1
    levels = (theta @ model.beta[:, planted.n_vars :]).detach().numpy()
    for number in range(N_NEW):
        difference = levels[odd, number].mean() - levels[~odd, number].mean()
        assert difference * (1 if number % 2 else -1) > 0.3, number


def test_everything_is_trained_on_from_the_weights_as_they_are(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    model = model_for_target(source_of(), batches=["b0", "b1"])
    moved, said = learnt(model, planted, EVERYTHING)
    assert said == []
    assert moved == set(model.state_dict())


def test_training_that_does_not_start_anew_begins_with_the_weights_there_are(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    model = model_for_target(source_of(start="data"), batches=["b0", "b1"])
    before = state_of(model)
    still = TrainConfig(max_steps=1, minibatch_size=64, learning_rate=1e-9, device="cpu", test_fraction=0)
    list(fit(model, planted, still, batch_key="batch", start=False))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=1e-6)


def test_a_fixed_encoder_drops_nothing_and_leaves_its_batch_norm_alone(
    planted: ad.AnnData, source_of: Callable[..., ScETM]
) -> None:
    model = model_for_target(source_of(dropout=0.5), batches=["b0", "b1"], new_genes=new_names())
    fix(model, NEW_GENES, n_new=len(new_names()))
    minibatch = all_of(widened(planted), model)
    placed = model.encode(minibatch)[0]
    model.train()
    assert model.training
    assert not model.norm.training
    torch.testing.assert_close(model.encode(minibatch)[0], placed, rtol=0, atol=0)
