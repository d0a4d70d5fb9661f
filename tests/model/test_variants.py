"""Does every variant of the model train, keep to its meaning, and survive saving, resuming and another data set?"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scetm_core import keys
from scetm_core.build import build_model
from scetm_core.config import RunConfig
from scetm_core.errors import ConfigError, DataError
from scetm_core.infer import infer
from scetm_core.model import ScETM
from scetm_core.model.adversary import Adversary
from scetm_core.model.cells import prepare_cells
from scetm_core.model.rho import rho_of_gene_sets, rho_of_table
from scetm_core.model.start import start_model
from scetm_core.train import fit

CPU = torch.device("cpu")
CPU_AND_CUDA = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
]

VARIANTS: dict[str, dict[str, Any]] = {
    "scETM": {},
    "no lambda": {"batch_intercept": False},
    "adversary": {"adversary_weight": 0.5, "adversary_updates": 3},
    "gene sets": {"rho_gmt": "sets.gmt"},
    "gene sets, partly learnt": {"rho_gmt": "sets.gmt", "n_free_emb": 3},
    "frozen embeddings": {"rho_file": "rho.csv"},
    "embeddings as a start": {"rho_file": "rho.csv", "train_rho": True, "n_free_emb": 2},
    "two batch columns": {"extra_batch_keys": ("donor",)},
    "numeric covariate": {"numeric_keys": ("score",)},
    "all covariates": {"extra_batch_keys": ("donor",), "numeric_keys": ("score",), "n_batch_factors": 1},
    "factorised batches": {"n_batch_factors": 2},
    "batch as encoder input": {"encode_batch": True},
    "no batch norm": {"batch_norm": False},
    "raw counts as encoder input": {"encoder_input": "counts"},
    "raw counts, no batch norm": {"encoder_input": "counts", "batch_norm": False},
    "counts by depth": {"likelihood": "counts"},
    "normalised topics": {"normalise_beta": True},
    "normalised topics without lambda": {"normalise_beta": True, "batch_intercept": False},
    "second modality": {"modality": "protein"},
    "second modality, covariates": {"modality": "protein", "extra_batch_keys": ("donor",), "normalise_beta": True},
}  # fmt: skip
STARTS = {"published": {"start": "normal"}, "recipe": {"start": "data", "encoder_input": "hvg"}}


@pytest.fixture
def rich(plant: Callable[..., ad.AnnData]) -> ad.AnnData:
    """Planted cells with a second batch column, a number and twelve proteins, of which each topic has three."""
    data = plant()
    rng = np.random.default_rng(3)
    data.obs["donor"] = pd.Categorical(rng.choice(["d0", "d1", "d2"], data.n_obs))
    data.obs["score"] = rng.normal(5, 2, data.n_obs)
    levels = data.obsm["true_theta"] @ np.kron(np.eye(4), np.full((1, 3), 30.0)) + 1
    data.obsm[keys.MODALITY] = sp.csr_matrix(rng.poisson(levels).astype(np.float32))
    data.uns[keys.MODALITY] = [f"protein_{place}" for place in range(12)]
    return data


@pytest.fixture
def config_for(tiny_config: Callable[..., RunConfig], rich: ad.AnnData, tmp_path: Path) -> Callable[..., RunConfig]:
    """A config with the files it names in place: twelve gene sets, embeddings for all genes but the last five."""
    sets = [[f"gene{gene}" for gene in range(first, first + 8)] for first in range(0, 52, 4)]
    lines = [f"SET_{place}\tof tests\t" + "\t".join(members) for place, members in enumerate(sets)]
    (tmp_path / "sets.gmt").write_text("\n".join([*lines, "SMALL\tof tests\tgene1\tgene2"]) + "\n")
    table = np.random.default_rng(1).normal(size=(rich.n_vars - 5, 6))
    pd.DataFrame(table, index=rich.var_names[:-5]).to_csv(tmp_path / "rho.csv")

    def build(**settings: Any) -> RunConfig:
        named = {name: str(tmp_path / settings[name]) for name in ("rho_gmt", "rho_file") if settings.get(name)}
        return tiny_config(**{"batch_key": "batch", **settings, **named})

    return build


def trained(data: ad.AnnData, config: RunConfig, **options: Any) -> tuple[ScETM, list[Any]]:
    model = build_model(data, config, device=CPU)
    return model, list(fit(model, data, config.train, batch_key=config.data.batch_key, **options))


def minibatch_of(data: ad.AnnData, model: ScETM, config: RunConfig) -> Any:
    cells = prepare_cells(data, model, batch_key=config.data.batch_key)
    return cells.load(np.arange(len(cells))).to(model.device)


def permuted(data: ad.AnnData, seed: int = 0) -> ad.AnnData:
    return data[np.random.default_rng(seed).permutation(data.n_obs)].copy()


@pytest.mark.parametrize("device", CPU_AND_CUDA)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient_in_every_variant(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str, start: str, device: str
) -> None:
    config = config_for(**STARTS[start] | VARIANTS[variant])
    model = build_model(rich, config, device=torch.device(device)).train()
    minibatch = minibatch_of(rich, model, config)
    elbo = model.elbo(minibatch, kl_weight=0.1, generator=torch.Generator(device=device).manual_seed(0))
    elbo.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns(rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str, start: str) -> None:
    config = config_for(**STARTS[start] | VARIANTS[variant], max_steps=60, lambda_init="normal", learning_rate=0.02)
    _, records = trained(rich, config)
    assert all(math.isfinite(record.nll) for record in records)
    has_good_start = start == "recipe" and not config.model.batch_intercept  # lambda has nothing to learn there
    assert records[-1].test_nll < records[0].nll - (0.01 if has_good_start else 0.2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_the_same_after_saving_and_loading(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str, tmp_path: Path
) -> None:
    config = config_for(**VARIANTS[variant])
    model, _ = trained(rich, config)
    model.save(tmp_path / "model.safetensors")
    for name in ("sets.gmt", "rho.csv"):  # the model holds all it needs
        (tmp_path / name).unlink()
    loaded = ScETM.load(tmp_path / "model.safetensors")
    assert loaded.names() == model.names()
    torch.testing.assert_close(loaded.beta, model.beta, rtol=0, atol=0)
    one, other = infer(model, rich, config), infer(loaded, rich, config)
    np.testing.assert_array_equal(one.obsm[keys.DELTA], other.obsm[keys.DELTA])
    minibatch = minibatch_of(rich, loaded, config)
    torch.testing.assert_close(loaded.nll_per_cell(minibatch), model.eval().nll_per_cell(minibatch), rtol=0, atol=0)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_resumes_exactly(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str, start: str, tmp_path: Path
) -> None:
    config = config_for(
        **STARTS[start] | VARIANTS[variant], max_steps=12, report_every=4, evaluate_every=4, anchor_weight=0.5,
        mmd_weight=0.5,
    )  # fmt: skip
    model, records = trained(rich, config)
    halves = build_model(rich, config, device=CPU)
    first = fit(halves, rich, config.train, batch_key="batch", checkpoints=tmp_path / "checkpoint")
    next(first)
    first.close()
    resumed, rest = trained(rich, config, checkpoints=tmp_path / "checkpoint", resume=True)
    assert [record.step for record in rest] == [8, 12]
    for record, expected in zip(rest, records[1:], strict=True):
        for field in ("nll", "kl", "test_nll", "grad_norm", "stability", "learning_rate"):
            np.testing.assert_equal(getattr(record, field), getattr(expected, field), err_msg=field)
    for name, value in model.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cell_is_embedded_alike_whatever_the_order_and_company(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str
) -> None:
    """What transfer stands on: the encoder needs neither the other cells nor, unless told so, the batch."""
    config = config_for(**VARIANTS[variant])
    model, _ = trained(rich, config)
    whole, other = infer(model, rich, config), permuted(rich)[:50].copy()
    alone = infer(model, other, config)
    expected = pd.DataFrame(whole.obsm[keys.DELTA], index=whole.obs_names).loc[alone.obs_names]
    np.testing.assert_allclose(alone.obsm[keys.DELTA], expected, rtol=1e-4, atol=1e-5)
    del other.obs["batch"], other.obs["donor"], other.obs["score"]
    foreign = infer(model, other, config)
    assert np.isfinite(foreign.obsm[keys.DELTA]).all()
    if variant != "batch as encoder input":
        np.testing.assert_allclose(foreign.obsm[keys.DELTA], alone.obsm[keys.DELTA], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_results_hold_what_the_variant_learnt(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], variant: str, tmp_path: Path
) -> None:
    config = config_for(**VARIANTS[variant])
    model, _ = trained(rich, config)
    infer(model, rich, config).write_h5ad(tmp_path / "result.h5ad")
    result = ad.read_h5ad(tmp_path / "result.h5ad")
    np.testing.assert_allclose(result.varm[keys.RHO] @ result.uns[keys.ALPHA].T, result.varm[keys.BETA], atol=1e-4)
    assert (keys.UNS_LAMBDA in result.uns[keys.UNS]) == config.model.batch_intercept
    if config.data.modality:
        shape = result.uns[keys.UNS][keys.UNS_FEATURE_BETA].shape
        assert shape == (len(result.uns[keys.UNS][keys.UNS_FEATURES]), config.model.n_topics)
    if config.data.extra_batch_keys:
        assert list(result.uns[keys.UNS][keys.UNS_COVARIATES])[:3] == ["donor=d0", "donor=d1", "donor=d2"]


# ---- gene sets and given embeddings -----------------------------------------------------------------------------


def test_rho_of_gene_sets_is_membership_standardised_gene_by_gene(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    from sklearn.preprocessing import StandardScaler

    model = build_model(rich, config_for(rho_gmt="sets.gmt"), device=CPU)
    membership = np.zeros((13, rich.n_vars))
    for place, first in enumerate(range(0, 52, 4)):
        membership[place, first : first + 8] = 1
    expected = StandardScaler().fit_transform(membership).T  # genes in no set stay 0
    np.testing.assert_allclose(model.rho.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(model.beta, model.alpha @ model.rho.T, rtol=1e-4, atol=1e-4)
    assert model.rho_names == [f"SET_{place}" for place in range(13)], "the set of two genes is dropped"


def test_a_topic_takes_up_the_gene_set_its_cells_express(
    plant: Callable[..., ad.AnnData], config_for: Callable[..., RunConfig]
) -> None:
    """Planted truth: cells of type k express the genes of set k; alpha must say so."""
    rng = np.random.default_rng(0)
    types = np.repeat(np.arange(4), 60)
    levels = np.ones((240, 60))
    for kind in range(4):
        levels[types == kind, 16 * kind // 1 % 48 : 16 * kind % 48 + 8] *= 12
    data = plant()
    data.X = sp.csr_matrix(rng.poisson(levels * 5).astype(np.float32))
    config = config_for(rho_gmt="sets.gmt", max_steps=200, learning_rate=0.02, start="data", encoder_input="hvg")
    model, _ = trained(data, config)
    result = infer(model, data, config)
    for kind in range(3):
        topic = int(result.obsm[keys.THETA][types == kind].mean(axis=0).argmax())
        leading = int(result.uns[keys.ALPHA][topic].argmax())
        assert result.uns[keys.UNS][keys.UNS_RHO_NAMES][leading] == f"SET_{16 * kind % 48 // 4}"


def test_given_embeddings_stay_and_missing_genes_are_learnt(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], tmp_path: Path
) -> None:
    frozen = config_for(rho_file="rho.csv")
    before = build_model(rich, frozen, device=CPU).rho.detach().clone()
    after, _ = trained(rich, frozen)
    torch.testing.assert_close(after.rho[:-5], before[:-5], rtol=0, atol=0)
    assert (after.rho[-5:] != before[-5:]).any(dim=1).all()
    given = pd.read_csv(tmp_path / "rho.csv", index_col=0)
    np.testing.assert_allclose(before[:-5].numpy(), given / given.to_numpy().std(axis=0), rtol=1e-4)
    started, _ = trained(rich, config_for(rho_file="rho.csv", train_rho=True))
    assert (started.rho[:-5] != before[:-5]).any(dim=1).all()


def test_given_embeddings_go_by_gene_name(rich: ad.AnnData) -> None:
    table = pd.DataFrame(np.arange(12.0).reshape(6, 2), index=[f"gene{gene}" for gene in (5, 4, 3, 2, 1, 0)])
    forwards = rho_of_table(table, list(rich.var_names))
    backwards = rho_of_table(table[::-1], list(rich.var_names))
    np.testing.assert_array_equal(forwards.table, backwards.table)
    assert "6 of 60 genes have a given embedding; the 54 others are learnt." in forwards.messages


def test_gene_sets_match_whatever_the_letter_case_if_need_be(rich: ad.AnnData) -> None:
    sets = {"A": [f"GENE{gene}" for gene in range(6)], "B": [f"gene{gene}" for gene in range(10, 16)]}
    found = rho_of_gene_sets(sets, list(rich.var_names))
    assert found.names == ["A", "B"]
    assert found.membership is not None
    assert found.membership[:6, 0].sum() == 6


def test_gene_sets_of_another_kind_of_names_are_refused(rich: ad.AnnData) -> None:
    with pytest.raises(DataError, match=r"Only 0 of the data's 60 genes are in a gene set .*'ENSG1'"):
        rho_of_gene_sets({"A": [f"ENSG{gene}" for gene in range(1, 20)]}, list(rich.var_names))
    table = pd.DataFrame(np.ones((3, 2)), index=["x", "y", "z"])
    with pytest.raises(DataError, match=r"Only 0 of the data's 60 genes have an embedding .*\['x', 'y', 'z'\]"):
        rho_of_table(table, list(rich.var_names))


def test_two_sources_of_rho_are_refused(config_for: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        config_for(rho_gmt="sets.gmt", rho_file="rho.csv")


# ---- covariates -------------------------------------------------------------------------------------------------


def test_covariates_enter_the_logits_as_a_plain_design_matrix(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    config = config_for(extra_batch_keys=("donor",), numeric_keys=("score",))
    model = build_model(rich, config, device=CPU).eval()
    assert model.intercepts.extra is not None
    with torch.no_grad():
        model.intercepts.extra.normal_(generator=torch.Generator().manual_seed(1))
    minibatch = minibatch_of(rich, model, config)
    theta = model.encode(minibatch)[0].softmax(dim=1)
    score = rich.obs["score"].to_numpy()
    design = np.column_stack(
        [pd.get_dummies(rich.obs["batch"]), pd.get_dummies(rich.obs["donor"]), (score - score.mean()) / score.std()]
    ).astype(np.float32)
    assert model.lambda_ is not None
    rows = torch.cat([model.lambda_, model.intercepts.extra])
    logits = theta @ model.beta + torch.from_numpy(design) @ rows
    expected = -(minibatch.cells.matrix.to_dense() * logits.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(model.nll_per_cell(minibatch), expected.detach(), rtol=1e-4, atol=1e-4)


def test_a_planted_slope_is_found_and_kept_out_of_the_topics(
    plant: Callable[..., ad.AnnData], config_for: Callable[..., RunConfig]
) -> None:
    data, rng = plant(), np.random.default_rng(0)
    score = rng.normal(size=data.n_obs)
    slope = np.zeros(data.n_vars)
    slope[10:20] = 0.6
    data.X = sp.csr_matrix(rng.poisson(data.X.toarray() * np.exp(np.outer(score, slope))).astype(np.float32) + 1)
    data.obs["score"] = score
    model, _ = trained(data, config_for(numeric_keys=("score",), max_steps=300, learning_rate=0.02))
    assert model.intercepts.extra is not None
    found = model.intercepts.extra.detach().numpy()[0]
    assert found[10:20].min() - np.delete(found, range(10, 20)).max() > 0.1


def test_factorised_batches_start_at_the_batches_means(rich: ad.AnnData, config_for: Callable[..., RunConfig]) -> None:
    """Two batches differ along one direction, so one factor holds them exactly."""
    means = np.stack([np.full(60, 1 / 60), np.linspace(1, 3, 60) / 120])
    model = build_model(rich, config_for(n_batch_factors=1), device=CPU)
    model.intercepts.start_from(means)
    assert model.lambda_ is not None
    np.testing.assert_allclose(model.lambda_.detach().numpy(), np.log(means + 1e-6), atol=1e-4)


def test_a_batch_in_two_columns_is_refused(config_for: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match=r"name \['batch'\] twice"):
        config_for(extra_batch_keys=("batch",))


# ---- likelihoods ------------------------------------------------------------------------------------------------


def test_counts_weigh_cells_by_depth(rich: ad.AnnData, config_for: Callable[..., RunConfig]) -> None:
    config = config_for(likelihood="counts")
    model = build_model(rich, config, device=CPU).eval()
    minibatch = minibatch_of(rich, model, config)
    elbo = model.elbo(minibatch, kl_weight=0.0, generator=torch.Generator().manual_seed(2))
    logits = elbo.delta.softmax(dim=1) @ model.beta + model.lambda_[minibatch.batch]  # type: ignore[index]
    counts = torch.from_numpy(rich.X.toarray())
    expected = -(counts * logits.log_softmax(dim=1)).sum() / counts.sum()
    torch.testing.assert_close(elbo.loss, expected)


@pytest.mark.parametrize("batch_intercept", [True, False], ids=["intercept", "no intercept"])
def test_normalised_topics_are_mixed_as_distributions(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], *, batch_intercept: bool
) -> None:
    config = config_for(normalise_beta=True, batch_intercept=batch_intercept)
    model = build_model(rich, config, device=CPU).eval()
    minibatch = minibatch_of(rich, model, config)
    elbo = model.elbo(minibatch, kl_weight=0.0, generator=torch.Generator().manual_seed(2))
    mixed = elbo.delta.softmax(dim=1) @ model.beta.softmax(dim=1)
    if model.lambda_ is not None:
        mixed = mixed * model.lambda_[minibatch.batch].exp()
    share = mixed / mixed.sum(dim=1, keepdim=True)
    expected = -(minibatch.cells.matrix.to_dense() * share.log()).sum(dim=1).mean()
    torch.testing.assert_close(elbo.nll, expected, rtol=1e-4, atol=1e-4)
    parameters = [model.alpha, *model.gene_embedding.parameters()]
    ours = torch.autograd.grad(elbo.nll, parameters, retain_graph=True)
    for one, other in zip(ours, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


# ---- the published encoder without its parts --------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [True, False], ids=["batch norm", "no batch norm"])
@pytest.mark.parametrize("encoder_input", ["fraction", "counts"])
def test_the_encoder_is_the_plain_network_of_its_settings(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], encoder_input: str, *, batch_norm: bool
) -> None:
    """By hand, from dense numbers; that is also what sparse counts must agree with."""
    config = config_for(encoder_input=encoder_input, batch_norm=batch_norm)
    model, _ = trained(rich, config)
    model.eval()
    counts = torch.from_numpy(rich.X.toarray())
    seen = counts if encoder_input == "counts" else counts / counts.sum(dim=1, keepdim=True)
    hidden = (seen @ model.input_weight + model.input_bias).relu()
    if batch_norm:
        assert isinstance(model.norm, torch.nn.BatchNorm1d)
        assert model.norm.running_mean is not None
        assert model.norm.running_var is not None
        scale = model.norm.weight / (model.norm.running_var + model.norm.eps).sqrt()
        hidden = (hidden - model.norm.running_mean) * scale + model.norm.bias
    expected = (hidden @ model.head_weight + model.head_bias)[:, : config.model.n_topics]
    found = torch.from_numpy(infer(model, rich, config).obsm[keys.DELTA])
    torch.testing.assert_close(found, expected.detach(), rtol=1e-3, atol=1e-4)


def test_depth_moves_a_cell_only_where_the_encoder_sees_raw_counts(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    deeper = rich.copy()
    deeper.X = deeper.X * 8
    for encoder_input, is_moved in (("fraction", False), ("counts", True)):
        config = config_for(encoder_input=encoder_input)
        model, _ = trained(rich, config)
        one, other = (infer(model, data, config).obsm[keys.DELTA] for data in (rich, deeper))
        assert np.allclose(one, other, rtol=1e-4, atol=1e-4) != is_moved


@pytest.mark.parametrize("encoder_input", ["hvg", "fraction", "counts"])
def test_the_start_is_the_same_with_and_without_batch_norm(
    rich: ad.AnnData, config_for: Callable[..., RunConfig], encoder_input: str
) -> None:
    """Before the first step the heads do what the norm did."""
    deltas, topics = [], []
    for batch_norm in (True, False):
        config = config_for(start="data", encoder_input=encoder_input, batch_norm=batch_norm)
        model = build_model(rich, config, device=CPU)
        cells = prepare_cells(rich, model, batch_key="batch")
        reference = start_model(model, cells, needs_reference=True, seed=0)
        assert reference is not None
        deltas.append(model.eval().encode(minibatch_of(rich, model, config))[0].detach())
        topics.append(reference.delta.argmax(dim=1))
    torch.testing.assert_close(*deltas, rtol=1e-3, atol=1e-3)
    assert (deltas[0].argmax(dim=1) == topics[0]).float().mean() > 0.8


def test_a_config_from_before_these_settings_is_the_published_encoder() -> None:
    config = RunConfig.from_dict({"model": {"encoder_input": "hvg"}})
    assert config.model.batch_norm
    with pytest.raises(ConfigError, match=r"Encoder input \(encoder_input\)"):
        RunConfig.from_dict({"model": {"encoder_input": "raw"}})


# ---- adversary, second modality ---------------------------------------------------------------------------------


def test_the_model_learns_to_fool_a_discriminator_that_tells_the_batch(
    plant: Callable[..., ad.AnnData], config_for: Callable[..., RunConfig]
) -> None:
    """Without intercepts a strong batch effect shows in delta: the discriminator finds it, the encoder hides it."""
    data = plant(n_cells=400)
    counts = data.X.toarray()
    counts[np.ix_((data.obs["batch"] == "b1").to_numpy(), range(20))] *= 6
    data.X = sp.csr_matrix(counts)
    config = config_for(batch_intercept=False, max_steps=100, learning_rate=0.01)
    model, _ = trained(data, config)
    minibatch = minibatch_of(data, model, config)
    adversary = Adversary(4, 2, seed=0, device=CPU)
    generator = torch.Generator().manual_seed(0)

    def found() -> float:
        with torch.no_grad():
            return float(adversary.log_likelihood(model.eval().encode(minibatch)[0], minibatch.batch))

    untrained = found()
    elbo = model.elbo(minibatch, kl_weight=0.0, generator=generator)
    adversary.learn(elbo.mu, elbo.sigma, minibatch.batch, n_updates=300, generator=generator)
    learnt = found()
    assert learnt > untrained + 0.1
    kept = {name: value.clone() for name, value in adversary.discriminator.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(30):
        elbo = model.train().elbo(minibatch, kl_weight=0.0, generator=generator)
        optimizer.zero_grad()
        (elbo.loss + adversary.log_likelihood(elbo.delta, minibatch.batch)).backward()
        optimizer.step()
    assert found() < learnt - 0.1
    assert all(torch.equal(value, kept[name]) for name, value in adversary.discriminator.state_dict().items())


def test_an_adversary_leaves_the_types_apart(
    plant: Callable[..., ad.AnnData], config_for: Callable[..., RunConfig]
) -> None:
    from sklearn.linear_model import LogisticRegression

    data = plant(n_cells=400)
    model, _ = trained(data, config_for(adversary_weight=1.0, max_steps=300, learning_rate=0.01, minibatch_size=200))
    delta = infer(model, data, config_for()).obsm[keys.DELTA]
    assert (
        LogisticRegression(max_iter=3000).fit(delta, data.obs["cell_type"]).score(delta, data.obs["cell_type"]) > 0.95
    )


def test_topics_describe_the_second_modality(rich: ad.AnnData, config_for: Callable[..., RunConfig]) -> None:
    """Planted truth: proteins 3k to 3k + 2 mark the cells of topic k."""
    config = config_for(modality="protein", max_steps=200, learning_rate=0.02, **STARTS["recipe"])
    model, _ = trained(rich, config)
    result = infer(model, rich, config)
    beta = result.uns[keys.UNS][keys.UNS_FEATURE_BETA]
    for kind in range(4):
        is_kind = (rich.obs["cell_type"] == f"type {kind}").to_numpy()
        topic = int(result.obsm[keys.THETA][is_kind].mean(axis=0).argmax())
        assert set(np.argsort(beta[:, topic])[-3:]) == {3 * kind, 3 * kind + 1, 3 * kind + 2}


def test_cells_without_the_second_modality_are_embedded_from_genes(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    config = config_for(modality="protein", max_steps=100, learning_rate=0.02, **STARTS["recipe"])
    model, _ = trained(rich, config)
    both = infer(model, rich, config).obsm[keys.THETA].argmax(axis=1)
    del rich.obsm[keys.MODALITY]
    genes_alone = infer(model, rich, config).obsm[keys.THETA].argmax(axis=1)
    assert (both == genes_alone).mean() > 0.9


def test_without_lambda_the_start_holds_the_genes_levels(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    """Planted cells: the NLL before the first step is near that of a model whose lambda holds them."""

    def at_start(**settings: Any) -> float:
        config = config_for(**settings, **STARTS["recipe"])
        model = build_model(rich, config, device=CPU)
        start_model(model, prepare_cells(rich, model, batch_key="batch"), needs_reference=True, seed=0)
        return float(model.eval().nll_per_cell(minibatch_of(rich, model, config)).mean())

    assert at_start(batch_intercept=False) == pytest.approx(at_start(), abs=0.1)


def test_a_cell_without_the_second_modality_is_encoded_as_if_there_were_none(
    rich: ad.AnnData, config_for: Callable[..., RunConfig]
) -> None:
    config = config_for(modality="protein")
    model, _ = trained(rich, config)
    counts = rich.obsm[keys.MODALITY].toarray()
    counts[3] = 0
    rich.obsm[keys.MODALITY] = sp.csr_matrix(counts)
    some = infer(model, rich, config).obsm[keys.DELTA][3]
    del rich.obsm[keys.MODALITY]
    np.testing.assert_allclose(infer(model, rich, config).obsm[keys.DELTA][3], some, rtol=1e-5)


def test_counts_report_the_nll_of_a_read(rich: ad.AnnData, config_for: Callable[..., RunConfig]) -> None:
    config = config_for(likelihood="counts")
    model = build_model(rich, config, device=CPU).eval()
    cells = prepare_cells(rich, model, batch_key="batch")
    deep = np.argsort(cells.totals)[-50:]
    elbo = model.elbo(cells.load(deep).to(CPU), kl_weight=0.0, generator=torch.Generator().manual_seed(2))
    logits = elbo.delta.softmax(dim=1) @ model.beta + model.lambda_[torch.from_numpy(cells.codes[deep])]  # type: ignore[index]
    counts = torch.from_numpy(rich.X[deep].toarray())
    torch.testing.assert_close(elbo.nll, -(counts * logits.log_softmax(dim=1)).sum() / counts.sum())


def test_settings_that_would_do_nothing_are_refused(config_for: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match=r"train_rho\) needs"):
        config_for(train_rho=True)
    with pytest.raises(ConfigError, match=r"n_free_emb\) stand beside"):
        config_for(n_free_emb=3)
    with pytest.raises(ConfigError, match=r"need a first one"):
        config_for(batch_key=None, extra_batch_keys=("donor",))
