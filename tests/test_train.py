"""Does training learn, repeat itself, resume, and stop when it must?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import linear_sum_assignment

from scetm_core import trainer
from scetm_core.checkpoints import checkpoint_files
from scetm_core.config import DataConfig, TrainConfig
from scetm_core.data import load_dataset
from scetm_core.errors import DataError, RunError, TrainingError
from scetm_core.infer import infer
from scetm_core.model import ScETM
from scetm_core.model.cells import Minibatch, normalise, prepare_cells
from scetm_core.model.loader import minibatch_rows
from scetm_core.model.passes import mean_delta
from scetm_core.settings import settings_of
from scetm_core.train import fit
from scetm_core.trainer import Record, split_cells

COMPARED = ("step", "epoch", "nll", "kl", "kl_weight", "test_nll", "learning_rate", "grad_norm")
ModelFor = Callable[..., ScETM]
RHO = "gene_embedding.parts.0.weight"  # among the parameters


@pytest.fixture
def train_config(tiny_config: Callable[..., Any]) -> Callable[..., TrainConfig]:
    return lambda **changes: tiny_config(**changes).train


def values(records: list[Record]) -> np.ndarray:
    """What must repeat exactly: everything but the pace."""
    return np.array([[getattr(record, name) for name in COMPARED] for record in records])


def curve(model: ScETM, data: ad.AnnData, config: TrainConfig, **options: Any) -> list[Record]:
    return list(fit(model, data, config, batch_key="batch", **options))


def same_weights(one: ScETM, other: ScETM) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


# ---- does it learn? ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lambda_init", ["data", "normal"])
@pytest.mark.parametrize("by_recipe", [True, False], ids=["recipe", "published"])
def test_planted_topics_are_recovered(
    planted: ad.AnnData, model_for: ModelFor, tiny_config: Callable[..., Any], recipe: dict[str, Any],
    lambda_init: str, *, by_recipe: bool,
) -> None:  # fmt: skip
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    settings = {**(recipe if by_recipe else {}), "n_emb": 16, "lambda_init": lambda_init}
    config = tiny_config(max_steps=300, learning_rate=0.02, evaluate_every=50, **settings)
    model = model_for(planted, **settings)
    records = curve(model, planted, config.train)
    measured = [record.test_nll for record in records if not math.isnan(record.test_nll)]
    progress = 0.03 if by_recipe else 0.3  # a good start leaves less to learn
    assert measured[-1] < records[0].nll - progress
    assert records[-1].nll < records[0].nll - progress

    result = infer(model, planted, config)
    found = KMeans(4, n_init=5, random_state=0).fit_predict(result.obsm["delta"])
    assert adjusted_rand_score(planted.obs["cell_type"], found) > 0.9

    correlation = np.corrcoef(planted.obsm["true_theta"].T, result.obsm["theta"].T)[:4, 4:]
    assert correlation[linear_sum_assignment(-correlation)].min() > 0.7


def test_held_out_nll_is_measured_at_its_interval_and_at_the_end(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    config = train_config(max_steps=26, report_every=5, evaluate_every=10)
    records = curve(model_for(planted), planted, config)
    assert [record.step for record in records] == [5, 10, 15, 20, 25, 26]
    assert [record.step for record in records if not math.isnan(record.test_nll)] == [10, 20, 26]


def test_without_held_out_cells_nothing_is_measured(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    records = curve(model_for(planted), planted, train_config(test_fraction=0))
    assert all(math.isnan(record.test_nll) for record in records)


def test_training_ends_in_evaluation_mode_even_when_stopped(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    model = model_for(planted)
    records = fit(model, planted, train_config(), batch_key="batch")
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert not model.training


# ---- does it repeat itself? -------------------------------------------------------------------------------------


def test_same_seed_same_curve_another_seed_another(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    first, same, other = (curve(model_for(planted), planted, train_config(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(values(first), values(same))
    assert (values(first)[:, 2] != values(other)[:, 2]).all()


def test_global_random_state_is_neither_used_nor_touched(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    torch.manual_seed(1)
    first = curve(model_for(planted), planted, train_config())
    torch.manual_seed(2)
    before = torch.get_rng_state()
    np.testing.assert_array_equal(values(first), values(curve(model_for(planted), planted, train_config())))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def stopped_at(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], tmp_path: Path
) -> Callable[[int], Path]:
    """A folder of checkpoints of a training that was stopped after some records."""

    def stop(n_records: int) -> Path:
        records = fit(model_for(planted), planted, train_config(), batch_key="batch", checkpoints=tmp_path / "c")
        for _ in range(n_records):
            next(records)
        records.close()  # type: ignore[attr-defined]
        return tmp_path / "c"

    return stop


@pytest.mark.parametrize("n_records", [1, 3, 4], ids=lambda n: f"stopped after {n} of 6 records")
def test_a_resumed_training_equals_an_undisturbed_one(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    stopped_at: Callable[[int], Path],
    n_records: int,
) -> None:
    undisturbed = model_for(planted)
    expected = curve(undisturbed, planted, train_config())
    resumed = model_for(planted, seed=99)  # its own start must not matter
    rest = curve(resumed, planted, train_config(), checkpoints=stopped_at(n_records), resume=True)
    assert rest[0].step == 5 * (n_records + 1)
    np.testing.assert_array_equal(values(rest), values(expected)[n_records:])
    assert same_weights(resumed, undisturbed)
    assert rest[-1].seconds > rest[0].seconds > 0


def test_early_stop_counts_on_over_a_resume(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(trainer, "nll_per_cell", lambda *_: np.array([2.0]))
    config = train_config(max_steps=1000, report_every=5, evaluate_every=5, early_stop=True, patience=4)
    records = fit(model_for(planted), planted, config, batch_key="batch", checkpoints=tmp_path)
    assert [next(records).step for _ in range(3)] == [5, 10, 15]  # one best, two without progress
    records.close()  # type: ignore[attr-defined]
    rest = curve(model_for(planted), planted, config, checkpoints=tmp_path, resume=True)
    assert [record.step for record in rest] == [20, 25]


def test_a_finished_training_resumes_to_its_end_without_a_step(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    first, again = model_for(planted), model_for(planted, seed=9)
    curve(first, planted, train_config(), checkpoints=tmp_path)
    assert curve(again, planted, train_config(), checkpoints=tmp_path, resume=True) == []
    assert same_weights(first, again)


def test_without_resume_old_checkpoints_are_not_looked_at(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    stopped_at: Callable[[int], Path],
) -> None:
    records = curve(model_for(planted), planted, train_config(), checkpoints=stopped_at(3))
    assert [record.step for record in records] == [5, 10, 15, 20, 25, 30]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    stopped_at: Callable[[int], Path],
) -> None:
    folder = stopped_at(4)
    newest, before = checkpoint_files(folder)
    newest.write_bytes(newest.read_bytes()[:-50])
    assert before.name == "step-00000010.safetensors"
    rest = curve(model_for(planted, seed=9), planted, train_config(), checkpoints=folder, resume=True)
    np.testing.assert_array_equal(values(rest), values(curve(model_for(planted), planted, train_config()))[2:])


def test_when_no_checkpoint_can_be_read_it_says_so_instead_of_starting_anew(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    stopped_at: Callable[[int], Path],
) -> None:
    folder = stopped_at(4)
    for path in checkpoint_files(folder):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"No checkpoint in .* can be read .*step-00000020.*delete them"):
        curve(model_for(planted), planted, train_config(), checkpoints=folder, resume=True)


def test_a_checkpoint_of_other_genes_is_refused(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    stopped_at: Callable[[int], Path],
) -> None:
    other = planted[:, ::-1].copy()
    with pytest.raises(RunError, match="genes"):
        curve(model_for(other), other, train_config(), checkpoints=stopped_at(4), resume=True)


def test_the_newest_two_checkpoints_are_kept_and_no_draft(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    curve(model_for(planted), planted, train_config(), checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000020.safetensors",
        "step-00000030.safetensors",
    ]


# ---- does each step do what the method says? --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_cells", "size"), [(10, 3), (240, 64), (64, 64), (7, 100), (3, 2), (5, 4)], ids=lambda number: str(number)
)
def test_one_epoch_visits_each_cell_once_in_minibatches_of_like_size(n_cells: int, size: int) -> None:
    n_steps = math.ceil(n_cells / size)
    for epoch in range(3):
        parts = [minibatch_rows(n_cells, size, epoch * n_steps + step, seed=0) for step in range(n_steps)]
        assert sorted(np.concatenate(parts)) == list(range(n_cells))
        lengths = [len(part) for part in parts]
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1


def test_the_order_of_cells_changes_from_epoch_to_epoch_and_seed_to_seed() -> None:
    first, second = minibatch_rows(50, 25, 0, seed=0), minibatch_rows(50, 25, 2, seed=0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, minibatch_rows(50, 25, 0, seed=1))
    assert np.array_equal(first, minibatch_rows(50, 25, 0, seed=0))


@pytest.mark.parametrize("n_cells", [8, 9, 10, 11])
def test_the_smallest_minibatch_a_setting_allows_can_be_trained_on(
    plant: Callable[..., ad.AnnData], model_for: ModelFor, train_config: Callable[..., TrainConfig], n_cells: int
) -> None:
    smallest = next(entry.setting.ge for entry in settings_of(TrainConfig) if entry.name == "minibatch_size")
    config, data = train_config(minibatch_size=int(smallest), max_steps=6, test_fraction=0), plant(n_cells=n_cells)
    assert curve(model_for(data), data, config)[-1].step == 6


def test_kl_weight_and_learning_rate_follow_their_formulas(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    config = train_config(
        max_steps=9, report_every=1, kl_warmup=1 / 3, max_kl_weight=0.3, learning_rate=0.01, learning_rate_decay=0.1
    )
    records = curve(model_for(planted), planted, config)
    assert [record.kl_weight for record in records] == pytest.approx([0, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    assert records[0].learning_rate == pytest.approx(0.01)
    assert records[1].learning_rate == pytest.approx(0.00904837418)
    assert records[8].learning_rate == pytest.approx(0.00449328964)


def test_without_warm_up_the_kl_weight_is_full_from_the_start(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    config = train_config(max_steps=2, report_every=1, kl_warmup=0, max_kl_weight=0.5)
    assert [record.kl_weight for record in curve(model_for(planted), planted, config)] == [0.5, 0.5]


def test_the_scheduled_rates_are_the_ones_used(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    """Adam's first step moves every weight by the learning rate, whatever the gradient; a rate of e^-50 by nothing."""
    model = model_for(planted, lambda_init="normal")
    before = model.alpha.detach().clone()
    records = fit(
        model,
        planted,
        train_config(max_steps=2, report_every=1, learning_rate=0.01, learning_rate_decay=1.0),
        batch_key="batch",
    )
    next(records)
    first = model.alpha.detach().clone()
    assert (first - before).abs().max().item() == pytest.approx(0.01, rel=1e-2)
    next(records)
    assert 0 < (model.alpha.detach() - first).abs().max().item() <= 0.01 * math.exp(-1) * 1.01


def test_gradients_are_scaled_down_to_the_allowed_norm_and_reported_before(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    model = model_for(planted)
    config = train_config(max_steps=2, report_every=1, max_grad_norm=1e-3)
    for record in fit(model, planted, config, batch_key="batch"):
        norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
        assert norm.item() == pytest.approx(1e-3, rel=1e-3)
        assert record.grad_norm > 1e-2


def test_intercepts_start_at_the_log_of_the_batch_means(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    model = model_for(planted)
    config = train_config(max_steps=1, learning_rate=1e-12)
    curve(model, planted, config)
    rows, _ = split_cells(planted.n_obs, config.test_fraction, seed=config.seed)
    kept = planted[rows]
    fractions = kept.X.toarray() / kept.X.toarray().sum(axis=1, keepdims=True)
    for name, row in zip(model.batches, model.lambda_.detach().numpy(), strict=True):
        mean = fractions[(kept.obs["batch"] == name).to_numpy()].mean(axis=0)
        np.testing.assert_allclose(row, np.log(mean + 1e-6), rtol=1e-4)


def test_the_published_start_of_the_intercepts_is_left_alone(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    model = model_for(planted, lambda_init="normal")
    before = model.lambda_.detach().clone()
    curve(model, planted, train_config(max_steps=1, learning_rate=1e-12))
    torch.testing.assert_close(model.lambda_.detach(), before)


def test_a_gene_absent_from_a_batch_starts_finite(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    counts = planted.X.toarray()
    counts[(planted.obs["batch"] == "b1").to_numpy(), 5] = 0
    planted.X = sp.csr_matrix(counts)
    model = model_for(planted)
    curve(model, planted, train_config(max_steps=5))
    assert torch.isfinite(model.lambda_).all()


@pytest.mark.parametrize(("n_cells", "fraction", "n_test"), [(240, 0.1, 24), (7, 0.5, 4), (10, 0.0, 0), (3, 0.1, 0)])
def test_training_and_held_out_cells_are_disjoint_and_complete(n_cells: int, fraction: float, n_test: int) -> None:
    rows, held_out = split_cells(n_cells, fraction, seed=0)
    assert len(held_out) == n_test
    assert sorted([*rows, *held_out]) == list(range(n_cells))
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(split_cells(n_cells, fraction, seed=0)[1], held_out)


def test_held_out_cells_are_never_trained_on(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    config = train_config()
    _, held_out = split_cells(planted.n_obs, config.test_fraction, seed=config.seed)
    changed = planted.copy()
    counts = changed.X.toarray()
    counts[held_out] = counts[held_out][:, ::-1] + 1
    changed.X = sp.csr_matrix(counts)
    one, other = model_for(planted), model_for(planted)
    curve(one, planted, config)
    curve(other, changed, config)
    assert same_weights(one, other)


# ---- the recipe -------------------------------------------------------------------------------------------------


def test_the_recipe_resumes_exactly(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], recipe: dict[str, Any],
    tmp_path: Path,
) -> None:  # fmt: skip
    config, undisturbed = train_config(**recipe), model_for(planted, **recipe)
    expected = curve(undisturbed, planted, config)
    records = fit(model_for(planted, **recipe), planted, config, batch_key="batch", checkpoints=tmp_path)
    for _ in range(3):
        next(records)
    records.close()
    resumed = model_for(planted, seed=99, **recipe)
    rest = curve(resumed, planted, config, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(values(rest), values(expected)[3:])
    assert same_weights(resumed, undisturbed)


def test_the_recipe_neither_uses_nor_touches_global_random_state(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], recipe: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = curve(model_for(planted, **recipe), planted, train_config(**recipe))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = curve(model_for(planted, **recipe), planted, train_config(**recipe))
    np.testing.assert_array_equal(values(first), values(again))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


def test_the_recipe_never_looks_at_held_out_cells(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], recipe: dict[str, Any]
) -> None:
    config, changed = train_config(**recipe), planted.copy()
    _, held_out = split_cells(planted.n_obs, config.test_fraction, seed=config.seed)
    counts = changed.X.toarray()
    counts[held_out] = counts[held_out][:, ::-1] + 1
    changed.X = sp.csr_matrix(counts)
    one, other = model_for(planted, **recipe), model_for(planted, **recipe)
    curve(one, planted, config)
    curve(other, changed, config)
    assert same_weights(one, other)


@pytest.mark.parametrize("batch_key", ["batch", None], ids=["batches", "no batch column"])
@pytest.mark.parametrize(
    ("n_cells", "n_genes", "n_batches", "n_topics"),
    [(240, 60, 1, 4), (20, 30, 2, 4), (12, 30, 3, 20), (9, 5, 2, 2)],
    ids=["one batch", "a tiny set", "fewer cells than topics", "hardly anything"],
)
def test_the_recipe_copes_with_little(
    plant: Callable[..., ad.AnnData], model_for: ModelFor, train_config: Callable[..., TrainConfig],
    recipe: dict[str, Any], batch_key: str | None, n_cells: int, n_genes: int, n_batches: int, n_topics: int,
) -> None:  # fmt: skip
    data = plant(n_cells=n_cells, n_genes=n_genes, n_batches=n_batches)
    model = model_for(data, batch_key=batch_key, **{**recipe, "n_topics": n_topics})
    config = train_config(**{**recipe, "max_steps": 6, "minibatch_size": 8})
    assert list(fit(model, data, config, batch_key=batch_key))[-1].step == 6
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize("switched_on", ["anchor_weight", "mmd_weight"])
def test_anchor_and_mixing_work_from_any_start(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], switched_on: str
) -> None:
    plain, pulled = model_for(planted), model_for(planted)
    curve(plain, planted, train_config())
    curve(pulled, planted, train_config(**{switched_on: 1.0}))
    assert not same_weights(plain, pulled)


def test_the_anchor_holds_cells_near_their_reference(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], recipe: dict[str, Any]
) -> None:
    from scetm_core.model.start import survey

    gaps = []
    for weight in (0.0, 100.0):
        model, config = (
            model_for(planted, **recipe),
            train_config(**{**recipe, "anchor_weight": weight, "mmd_weight": 0.0, "min_depth": 1.0}),
        )
        rows, _ = split_cells(planted.n_obs, config.test_fraction, seed=config.seed)
        cells = prepare_cells(planted, model, batch_key="batch").subset(rows)
        reference = survey(model, cells, seed=config.seed).reference.delta
        curve(model, planted, config)
        with torch.no_grad():
            gaps.append((torch.from_numpy(mean_delta(model, cells)) - reference).square().mean().item())
    assert gaps[1] < gaps[0] / 2


def test_the_cosine_schedule_ends_at_zero(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    config = train_config(max_steps=4, report_every=1, learning_rate=0.01, learning_rate_schedule="cosine")
    model = model_for(planted)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    records = fit(model, planted, config, batch_key="batch")
    rates = [next(records).learning_rate]
    moved = {name: (value.detach() - before[name]).abs().max().item() for name, value in model.named_parameters()}
    assert moved["input_weight"] == pytest.approx(0.01, rel=1e-2)  # Adam's first step is the rate
    assert moved[RHO] == pytest.approx(0.01, rel=1e-2)
    rates += [record.learning_rate for record in records]
    assert rates == pytest.approx([0.01, 0.00853553, 0.005, 0.00146447], rel=1e-5)


def test_weight_decay_shrinks_the_embeddings_and_nothing_else(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    plain, decayed = model_for(planted), model_for(planted)
    before = plain.rho.detach().clone()
    one_step = {"max_steps": 1, "learning_rate": 0.01}
    curve(plain, planted, train_config(**one_step))
    curve(decayed, planted, train_config(**one_step, weight_decay=5.0))
    torch.testing.assert_close(plain.rho - decayed.rho, 0.05 * before, atol=1e-6, rtol=1e-4)
    for name, value in plain.named_parameters():
        assert torch.equal(value, decayed.state_dict()[name]) == (name not in ("alpha", RHO))


def test_published_settings_are_adam_on_the_published_loss(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    """Three steps written out: softmax likelihood, KL, Adam's moments, exponential decay."""
    model, twin = (model_for(planted, lambda_init="normal", dropout=0.0, seed=1) for _ in range(2))
    config = train_config(max_steps=3)
    curve(model, planted, config)

    rows, _ = split_cells(planted.n_obs, config.test_fraction, seed=config.seed)
    cells = prepare_cells(planted, twin, batch_key="batch")
    counts = planted.X.toarray().astype(np.float64)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    batch = torch.from_numpy((planted.obs["batch"] == "b1").to_numpy().astype(int))
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in twin.named_parameters()}
    twin.train()
    for step in range(3):
        chosen = rows[minibatch_rows(len(rows), config.minibatch_size, step, seed=config.seed)]
        y = torch.from_numpy(fractions[chosen]).float()
        noise = torch.empty(len(chosen), 4).normal_(
            generator=torch.Generator().manual_seed(trainer._mix(config.seed, step))
        )
        mu, log_sigma = twin.encode(cells.load(chosen).to(twin.device))
        logits = (mu + log_sigma.exp() * noise).softmax(dim=1) @ twin.alpha @ twin.rho.T + twin.lambda_[batch[chosen]]
        kl = 0.5 * (mu**2 + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(dim=1).mean()
        loss = -(y * logits.log_softmax(dim=1)).sum(dim=1).mean() + 1e-7 * min(1, step) * kl
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        shrink = min(1.0, 50 / torch.stack([g.norm() for g in gradients]).norm().item())
        with torch.no_grad():
            for (name, value), gradient in zip(twin.named_parameters(), gradients, strict=True):
                first, second = moments[name]
                first.mul_(0.9).add_(0.1 * shrink * gradient)
                second.mul_(0.999).add_(0.001 * (shrink * gradient) ** 2)
                rate = 0.005 * math.exp(-6e-5 * step)
                unbiased = (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                value -= rate * first / (1 - 0.9 ** (step + 1)) / unbiased
    for name, value in model.named_parameters():
        if name == "input_bias":  # the batch norm takes it back: its gradient is rounding, and Adam's steps its sign
            continue
        close = torch.isclose(value, twin.state_dict()[name], atol=1e-4, rtol=1e-3)
        assert close.float().mean() > 0.99, name


def test_a_run_begun_on_disk_goes_on_exactly_in_memory(
    planted_file: Path, model_for: ModelFor, train_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """How much memory is free decides where counts are kept; it must not decide which cells a step sees."""
    on_disk, in_memory = (
        load_dataset(DataConfig(path=str(planted_file), batch_key="batch", memory=memory))
        for memory in ("on disk", "in memory")
    )
    config = train_config(max_steps=15, min_depth=0.5)
    expected = curve(model_for(in_memory), on_disk, config)
    first = fit(model_for(in_memory), on_disk, config, batch_key="batch", checkpoints=tmp_path)
    next(first)
    first.close()
    rest = curve(model_for(in_memory), in_memory, config, checkpoints=tmp_path, resume=True)
    np.testing.assert_array_equal(values(rest), values(expected)[1:])


# ---- when does it stop? -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("early_stop", "last_step"), [pytest.param(True, 25, id="asked for"), pytest.param(False, 50, id="not asked for")]
)
def test_a_plateau_of_the_held_out_nll_ends_training(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    *,
    early_stop: bool,
    last_step: int,
) -> None:
    scripted: Iterator[float] = itertools.chain([3.0, 2.0], itertools.repeat(2.0))
    monkeypatch.setattr(trainer, "nll_per_cell", lambda *_: np.array([next(scripted)]))
    config = train_config(max_steps=50, report_every=5, evaluate_every=5, early_stop=early_stop, patience=3)
    assert curve(model_for(planted), planted, config)[-1].step == last_step


def test_a_late_improvement_starts_the_patience_anew(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted = itertools.chain([3.0, 4.0, 2.0, 2.5], itertools.repeat(9.0))
    monkeypatch.setattr(trainer, "nll_per_cell", lambda *_: np.array([next(scripted)]))
    config = train_config(max_steps=50, report_every=5, evaluate_every=5, early_stop=True, patience=2)
    assert curve(model_for(planted), planted, config)[-1].step == 25


@pytest.mark.parametrize("weight", ["alpha", "rho", "lambda_", "head_bias"])
def test_a_loss_that_is_not_finite_ends_training_in_words(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig], tmp_path: Path, weight: str
) -> None:
    model = model_for(planted, lambda_init="normal")
    config = train_config()
    with torch.no_grad():
        getattr(model, weight).view(-1)[0] = math.nan
    with pytest.raises(TrainingError, match=r"no longer finite \(after step 0.*a tenth.*Lower the learning rate"):
        curve(model, planted, config, checkpoints=tmp_path)
    assert checkpoint_files(tmp_path) == []


# ---- do data and model fit? -------------------------------------------------------------------------------------


def test_an_unknown_batch_is_refused_by_name(planted: ad.AnnData, model_for: ModelFor) -> None:
    model = model_for(planted)
    planted.obs["batch"] = planted.obs["batch"].cat.rename_categories({"b1": "new"})
    with pytest.raises(DataError, match=r"'batch' holds batches the model does not know: \['new'\]; known: \['b0'"):
        prepare_cells(planted, model, batch_key="batch")


def test_batches_are_found_by_name_whatever_the_order_of_cells_and_categories(
    planted: ad.AnnData, model_for: ModelFor
) -> None:
    model = model_for(planted)
    assert model.batches == ["b0", "b1"]
    planted.obs["batch"] = planted.obs["batch"].cat.reorder_categories(["b1", "b0"])
    codes = prepare_cells(planted, model, batch_key="batch").batch
    assert [model.batches[code] for code in codes] == list(planted.obs["batch"])
    one = planted[planted.obs["batch"] == "b1"].copy()
    assert set(prepare_cells(one, model, batch_key="batch").batch) == {1}


def test_a_model_of_several_batches_needs_the_batch_column(planted: ad.AnnData, model_for: ModelFor) -> None:
    with pytest.raises(DataError, match="batch"):
        prepare_cells(planted, model_for(planted), batch_key=None)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:, ::-1].copy(), id="another order"),
        pytest.param(lambda data: data[:, :-1].copy(), id="one missing"),
    ],
)
def test_genes_that_differ_in_name_or_order_are_refused(
    planted: ad.AnnData, model_for: ModelFor, change: Callable[[ad.AnnData], ad.AnnData]
) -> None:
    with pytest.raises(DataError, match="differ from the model's 60 in name or order"):
        prepare_cells(change(planted), model_for(planted), batch_key="batch")


def test_normalised_rows_sum_to_one_and_counts_stay_as_they_were(planted: ad.AnnData) -> None:
    before = planted.X.copy()
    fractions = normalise(planted.X)
    np.testing.assert_allclose(fractions.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        fractions.toarray(), before.toarray() / before.toarray().sum(axis=1, keepdims=True), rtol=1e-5
    )
    assert (before != planted.X).nnz == 0


def test_sparse_and_dense_counts_train_alike(
    planted: ad.AnnData, model_for: ModelFor, train_config: Callable[..., TrainConfig]
) -> None:
    dense = planted.copy()
    dense.X = planted.X.toarray()
    records = [curve(model_for(planted), data, train_config()) for data in (planted, dense)]
    np.testing.assert_array_equal(values(records[0]), values(records[1]))


def test_empty_cells_are_refused_with_their_number(planted: ad.AnnData, model_for: ModelFor) -> None:
    counts = planted.X.toarray()
    counts[[3, 8]] = 0
    planted.X = sp.csr_matrix(counts)
    with pytest.raises(DataError, match="2 cells have no counts"):
        prepare_cells(planted, model_for(planted), batch_key="batch")


@pytest.mark.parametrize("times", [1, 2], ids=["once", "again at the lower rate"])
def test_after_a_loss_that_is_not_finite_training_goes_back_and_on_at_a_lower_rate(
    planted: ad.AnnData,
    model_for: ModelFor,
    train_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """The gradient of step 7 is made not-a-number; the steps from 5 on are repeated from the state they began with."""
    whole = trainer.Trainer._update
    left = [times]

    def poisoned(self: trainer.Trainer, places: np.ndarray, minibatch: Minibatch) -> torch.Tensor:
        if self.step == 7 and left[0]:
            left[0] -= 1
            with torch.no_grad():
                self.model.alpha.fill_(math.nan)
        return whole(self, places, minibatch)

    monkeypatch.setattr(trainer.Trainer, "_update", poisoned)
    config = train_config(max_steps=15, report_every=5)
    model = model_for(planted)
    if times == 2:
        with pytest.raises(TrainingError, match=r"no longer finite \(after step 5: NLL nan"):
            curve(model, planted, config)
        return
    records = curve(model, planted, config)
    assert [record.step for record in records] == [5, 10, 15]
    assert [record.rollbacks for record in records] == [0, 1, 1]
    assert records[1].learning_rate == pytest.approx(0.1 * config.learning_rate, rel=1e-2)
    assert all(math.isfinite(record.nll) for record in records)
    assert torch.isfinite(model.alpha).all()


def test_too_few_cells_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 cells would be left for training; at least 2"):
        split_cells(2, 0.5, seed=0)
