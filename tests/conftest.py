"""Shared fixtures: planted data, small configs, a home in `tmp_path`. None of them imports torch by itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.presets import RECIPE
from scetm_core.runs import Run

if TYPE_CHECKING:
    from scetm_core.model import ScETM

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other on a busy machine cost minutes

TINY = {
    "n_topics": 4, "n_emb": 8, "n_hidden": 16, "max_steps": 30, "minibatch_size": 64, "report_every": 5,
    "evaluate_every": 10, "checkpoint_every": 10, "umap": False, "device": "cpu",
}  # fmt: skip


def plant(*, n_cells: int = 240, n_genes: int = 60, n_topics: int = 4, n_batches: int = 2, seed: int = 0) -> ad.AnnData:
    """Counts of cells that each live mostly in one topic; the batches scale genes. Truth in obs, obsm and varm."""
    rng = np.random.default_rng(seed)
    types, batches = np.arange(n_cells) % n_topics, rng.integers(n_batches, size=n_cells)
    batches[:n_batches] = np.arange(n_batches)  # none is empty
    delta = rng.normal(scale=0.5, size=(n_cells, n_topics))
    delta[np.arange(n_cells), types] += 5
    theta = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    beta = rng.normal(scale=1.5, size=(n_topics, n_genes))
    logits = theta @ beta + rng.normal(scale=0.5, size=(n_batches, n_genes))[batches]
    rates = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    counts = rng.poisson(rates * rng.integers(200, 600, size=(n_cells, 1))).astype(np.float32)
    counts[:, 0] += 1  # no cell is empty
    return ad.AnnData(
        X=sp.csr_matrix(counts),
        obs=pd.DataFrame(
            {
                "batch": pd.Categorical([f"b{code}" for code in batches]),
                "cell_type": pd.Categorical([f"type {code}" for code in types]),
            },
            index=[f"cell{number}" for number in range(n_cells)],
        ),
        var=pd.DataFrame(index=[f"gene{number}" for number in range(n_genes)]),
        obsm={"true_theta": theta},
        varm={"true_beta": beta.T},
        uns={"messages": []},
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A run in this process takes all processors; the next test starts with one again."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(name="plant")
def plant_fixture() -> Callable[..., ad.AnnData]:
    return plant


@pytest.fixture
def planted() -> ad.AnnData:
    return plant()


@pytest.fixture(scope="session")
def planted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 planted cells on disk."""
    path = tmp_path_factory.mktemp("data") / "planted.h5ad"
    data = plant()
    del data.uns["messages"]
    data.write_h5ad(path)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the app."""
    folder = tmp_path / "home"
    (folder / keys.RUNS_FOLDER).mkdir(parents=True)
    monkeypatch.setenv("SCETM_HOME", str(folder))
    return folder


@pytest.fixture
def runs_folder(home: Path) -> Path:
    return home / keys.RUNS_FOLDER


@pytest.fixture
def tiny_config(planted_file: Path) -> Callable[..., RunConfig]:
    """Settings for a run of a second; any of them can be given by its flat name."""

    def build(**changes: Any) -> RunConfig:
        columns = {"batch_key": "batch", "label_key": "cell_type"}
        return run_config_from_flat({"name": "tiny", "path": str(planted_file), **columns, **TINY, **changes})

    return build


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The settings of our presets, for planted data: flat names and values."""
    return {**RECIPE, "n_emb": 8, "n_variable_genes": 40}


@pytest.fixture
def make_run(runs_folder: Path, tiny_config: Callable[..., RunConfig]) -> Callable[..., Run]:
    def make(run_id: str = "tiny", **changes: Any) -> Run:
        return Run.create(runs_folder / run_id, tiny_config(**changes))

    return make


@pytest.fixture
def model_for(tiny_config: Callable[..., RunConfig]) -> Callable[..., ScETM]:
    """A new model that fits some data."""
    from scetm_core.model import ScETM
    from scetm_core.model.cells import batch_names

    def build(data: ad.AnnData, *, seed: int = 0, batch_key: str | None = "batch", **changes: Any) -> ScETM:
        batches = batch_names(data, batch_key)
        return ScETM(tiny_config(**changes).model, genes=list(data.var_names), batches=batches, seed=seed)

    return build


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Poll until something holds. The deadline is there to end a hanging test, not to measure."""

    def wait(holds: Callable[[], object], *, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "gave up waiting"
            time.sleep(0.01)

    return wait
