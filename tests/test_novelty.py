"""Are cells like the source's flagged as rarely as stated, and strange ones found?"""

from __future__ import annotations

from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scetm_core.build import build_model
from scetm_core.config import run_config_from_flat
from scetm_core.data.simulate import simulate
from scetm_core.model import ScETM
from scetm_core.model.cells import Cells, prepare_cells
from scetm_core.model.target import fit_intercepts, model_for_target
from scetm_core.novelty import (
    NOVEL,
    NOVELTY,
    P_EXPRESSION,
    P_NLL,
    RATE_OF_NLL,
    NoveltyTest,
    View,
    _p_value,
    genes_compared,
    judge_novelty,
    view,
)
from scetm_core.train import fit

N_TRAINED, N_HELD_OUT = 500, 300
EVERY = np.ones(120, dtype=bool)


class World(NamedTuple):
    """Cells drawn from the model, exchangeable; the first ones were trained on, the next held out."""

    data: ad.AnnData
    model: ScETM
    target: ad.AnnData


@pytest.fixture(scope="module")
def world() -> World:
    data = simulate(n_cells=1100, n_genes=120, n_topics=4, n_batches=1, n_emb=8, median_counts=1500, seed=2)
    config = run_config_from_flat(
        {"path": "none", "n_topics": 4, "n_emb": 16, "n_hidden": 32, "max_steps": 200, "minibatch_size": 128,
         "batch_key": "batch", "device": "cpu", "learning_rate": 0.02, "test_fraction": 0, "start": "data",
         "encoder_input": "hvg", "n_variable_genes": 80}
    )  # fmt: skip
    trained = data[:N_TRAINED].copy()
    model = build_model(trained, config, device=torch.device("cpu"))
    list(fit(model, trained, config.train, batch_key="batch"))
    return World(data, model, data[N_TRAINED + N_HELD_OUT :].copy())


def fitted_to(world: World, data: ad.AnnData) -> tuple[ScETM, Cells]:
    model = model_for_target(world.model, batches=["batch_0"])
    cells = prepare_cells(data, model, batch_key="batch")
    fit_intercepts(model, cells)
    return model, cells


def judged(
    world: World, target: ad.AnnData, *, rate: float = 0.05, n_held_out: int = N_HELD_OUT
) -> tuple[pd.DataFrame, list[str]]:
    model, reference = fitted_to(world, world.data[:N_TRAINED].copy())
    genes = genes_compared(model, EVERY, reference)
    held_out = prepare_cells(world.data[N_TRAINED : N_TRAINED + n_held_out].copy(), model, batch_key="batch")
    test = NoveltyTest(
        view(model, reference, genes),
        view(model, held_out, genes) if n_held_out else None,
        false_positive_rate=rate,
    )
    return judge_novelty(test, *fitted_to(world, target), genes)


def scrambled(data: ad.AnnData, rows: np.ndarray) -> ad.AnnData:
    """Some cells with their counts dealt out to genes anew, each cell in a way of its own."""
    rng = np.random.default_rng(0)
    counts = data.X.toarray()
    for row in rows:
        counts[row] = rng.permutation(counts[row])
    changed = data.copy()
    changed.X = sp.csr_matrix(counts)
    return changed


# ---- how many are flagged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
def test_of_cells_like_the_sources_at_most_the_stated_share_is_flagged(world: World, rate: float) -> None:
    table, said = judged(world, world.target, rate=rate)
    share, n_cells = table[NOVEL].mean(), len(table)
    chance = np.sqrt(rate * (1 - rate) * (1 / n_cells + 1 / N_HELD_OUT))  # of the target and of the cells held out
    assert share <= rate + 3 * chance
    assert said[0] == (
        f"{share:.1%} of the cells are flagged as unlike the source, at a rate of {rate:.1%} among cells like its "
        "300 held-out cells."
    )


def test_flagged_cells_are_those_whose_p_value_is_at_most_the_rate(world: World) -> None:
    table, _ = judged(world, scrambled(world.target, np.arange(30)))
    assert (table[NOVEL] == (table[NOVELTY] <= 0.05)).all()
    parts = table[P_NLL] / RATE_OF_NLL, table[P_EXPRESSION] / (1 - RATE_OF_NLL)
    np.testing.assert_allclose(table[NOVELTY], np.minimum(1, np.minimum(*parts)))
    assert table[[NOVELTY, P_NLL, P_EXPRESSION]].gt(0).all(axis=None)
    assert table[[NOVELTY, P_NLL, P_EXPRESSION]].le(1).all(axis=None)


def test_cells_with_scrambled_genes_are_nearly_all_flagged_and_the_others_are_not(world: World) -> None:
    rows = np.arange(40)
    table, said = judged(world, scrambled(world.target, rows))
    assert table[NOVEL][rows].mean() > 0.95
    assert table[NOVEL][40:].mean() < 0.11
    assert said[0].startswith(f"{table[NOVEL].mean():.1%} of the cells are flagged")


def test_a_target_of_scrambled_cells_alone_is_said_to_differ_as_a_whole(world: World) -> None:
    table, said = judged(world, scrambled(world.target, np.arange(world.target.n_obs)))
    assert table[NOVEL].mean() > 0.9
    assert "Compare groups of cells rather than single ones." in said[-1]


def test_what_all_cells_of_a_target_have_in_common_is_no_novelty(world: World) -> None:
    rng = np.random.default_rng(1)
    kept = rng.uniform(0.3, 1.0, size=world.target.n_vars)  # each gene is caught less well
    thinned = world.target.copy()
    thinned.X = sp.csr_matrix(rng.binomial(world.target.X.toarray().astype(int), kept).astype(np.float32))
    table, _ = judged(world, thinned)
    assert table[NOVEL].mean() < 0.15


# ---- p-values ---------------------------------------------------------------------------------------------------


def test_p_values_are_those_by_hand() -> None:
    usual = np.array([3.0, 1.0, 4.0, 2.0])
    found = _p_value(usual, np.array([0.0, 2.5, 4.0, 5.0]))
    assert found.tolist() == pytest.approx([5 / 5, 3 / 5, 2 / 5, 1 / 5])


def test_p_values_of_cells_like_the_usual_ones_are_uniform() -> None:
    rng = np.random.default_rng(0)
    found = _p_value(rng.normal(size=2000), rng.normal(size=2000))
    for share in (0.05, 0.2, 0.5, 0.8):
        assert (found <= share).mean() == pytest.approx(share, abs=0.04)


# ---- what is compared with --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_held_out", [0, 20])
def test_with_too_few_held_out_cells_training_cells_stand_in_and_it_is_said(world: World, n_held_out: int) -> None:
    table, said = judged(world, world.target, n_held_out=n_held_out)
    assert "its 500 training cells" in said[0]
    assert said[1].startswith("The source kept too few cells out of its training to judge by, so its training cells")
    assert table[NOVEL].mean() < 0.2


def test_enough_held_out_cells_are_as_many_as_can_flag_one_by_its_expression() -> None:
    rng = np.random.default_rng(0)

    def some(n_cells: int) -> View:
        return View(
            delta=rng.normal(size=(n_cells, 3)),
            nll=rng.normal(size=n_cells),
            logged=sp.csr_matrix(rng.exponential(size=(n_cells, 10)).astype(np.float32)),
            depth=rng.normal(3, 0.2, size=n_cells),
        )

    reference = some(60)
    assert not NoveltyTest(reference, some(24), false_positive_rate=0.05).has_held_out
    assert NoveltyTest(reference, some(25), false_positive_rate=0.05).has_held_out
    assert not NoveltyTest(reference, some(25), false_positive_rate=0.04).has_held_out


def test_genes_that_the_encoder_looks_at_and_the_target_has_are_compared(world: World) -> None:
    assert world.model.variable_genes is not None
    looked_at = world.model.variable_genes.genes.numpy()
    cells = prepare_cells(world.target, world.model, batch_key="batch")
    matched = EVERY.copy()
    matched[looked_at[:10]] = False
    assert set(genes_compared(world.model, matched, cells)) == set(looked_at[10:])


def test_where_the_encoder_looks_at_all_genes_those_that_vary_most_are_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scetm_core import novelty

    monkeypatch.setattr(novelty, "N_GENES", 15)
    model = ScETM(
        run_config_from_flat({"path": "none", "n_topics": 4, "n_emb": 4}).model,
        genes=list(world.target.var_names),
        batches=["batch_0"],
    )
    assert model.variable_genes is None
    counts = world.target.X.toarray()
    logged = np.log1p(10_000 * counts / counts.sum(axis=1, keepdims=True))
    best = np.argsort(-logged.var(axis=0))
    matched = EVERY.copy()
    matched[best[:3]] = False
    found = genes_compared(model, matched, prepare_cells(world.target, model, batch_key="batch"))
    assert found.tolist() == sorted(best[3:18])


def test_a_view_is_the_same_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from scetm_core.model import cells as module

    model, cells = fitted_to(world, world.target)
    genes = genes_compared(model, EVERY, cells)
    whole = view(model, cells, genes)
    monkeypatch.setattr(module.Cells.chunks, "__defaults__", (64,))
    parts = view(model, cells, genes)
    np.testing.assert_allclose(parts.delta, whole.delta, atol=1e-5)
    np.testing.assert_allclose(parts.nll, whole.nll, rtol=1e-5)
    assert abs(parts.logged - whole.logged).max() < 1e-6
    np.testing.assert_array_equal(parts.take(np.array([5, 2])).depth, whole.depth[[5, 2]])
