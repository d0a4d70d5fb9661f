"""The app on a home with one finished run, made by hand: 60 cells, 30 genes, 6 topics. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pytest
from dash import Dash, dcc
from dash._callback_context import context_value
from dash._utils import AttributeDict
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.data.simulate import simulate
from scetm_core.runs import Run, Status

N_CELLS, N_GENES, N_TOPICS = 60, 30, 6
DONE = "done-run"
FILE = "lab/planted.h5ad"
COLUMNS = {"batch_key": "batch", "label_key": "cell_type"}

PageModule = Callable[[str], ModuleType]
Trigger = Callable[..., AbstractContextManager[None]]


def planted_data() -> ad.AnnData:
    return simulate(n_cells=N_CELLS, n_genes=N_GENES, n_topics=N_TOPICS, n_emb=4, median_counts=400)


def result_of(data: ad.AnnData, config: RunConfig, *, umap: bool = True) -> ad.AnnData:
    """A result as the worker writes it, with the planted truth for what the model learnt."""
    rng = np.random.default_rng(0)
    delta = np.asarray(data.obsm["true_delta"], dtype=np.float32)
    result = ad.AnnData(obs=data.obs.copy(), var=data.var[[]].copy())
    result.obs[keys.N_COUNTS] = np.asarray(data.X.sum(axis=1), dtype=np.float64).ravel()
    result.obs[keys.LEIDEN] = result.obs["cell_type"].cat.codes.astype(str).astype("category")
    result.obsm[keys.DELTA] = result.obsm[keys.X_SCETM] = delta
    result.obsm[keys.THETA] = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    if umap:
        result.obsm[keys.X_UMAP] = rng.normal(size=(N_CELLS, 2)).astype(np.float32)
    result.varm[keys.BETA] = np.asarray(data.varm["true_beta"], dtype=np.float32)
    result.varm[keys.RHO] = rng.normal(size=(N_GENES, 4)).astype(np.float32)
    result.uns[keys.ALPHA] = rng.normal(size=(N_TOPICS, 4)).astype(np.float32)
    result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), keys.UNS_BATCHES: np.array(["b0", "b1"])}
    return result


def finish(run: Run, result: ad.AnnData) -> None:
    """Leave a run as its worker does at the end."""
    run.append_metrics(
        {"step": step, "epoch": step / 2, "nll": 8 - step / 100, "kl": 5.0, "kl_weight": 1e-7, "test_nll": 8.1,
         "learning_rate": 0.005, "grad_norm": 1.0, "cells_per_second": 900.0, "seconds": step / 9}
        for step in (10, 20, 30)
    )  # fmt: skip
    run.write_result(result)
    run.write_evaluation({"best_ari": 0.944, "best_nmi": 0.9, "kbet": 0.5, "asw": 0.4, "test_nll": 8.123})
    now = time.time()
    run.write_status(
        Status(state="done", stage="done", message="Done.", step=30, max_steps=30, pid=1, host="elsewhere",
               queued_at=now - 140, started_at=now - 130, finished_at=now)
    )  # fmt: skip


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `--data-dir` names: good counts, log-normalised ones, and a text file that claims to be .h5ad."""
    folder = tmp_path_factory.mktemp("served") / "lab"
    folder.mkdir()
    data = planted_data()
    data.write_h5ad(folder / "planted.h5ad")
    logged = data.copy()
    logged.X = data.X.log1p()
    logged.write_h5ad(folder / "logged.h5ad")
    (folder / "text.h5ad").write_text("gene,count\nIns1,3\n")
    return folder


@pytest.fixture(scope="session")
def shown_studio(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Studio:
    return Studio(home=tmp_path_factory.mktemp("app") / "home", data_dirs=(data_dir,), upload_limit=2_000_000)


@pytest.fixture(scope="session")
def app(shown_studio: Studio, data_dir: Path) -> Dash:
    """The whole app; its home holds the finished run `DONE`."""
    from app import create_app

    app = create_app(shown_studio)
    flat = {"name": "mouse", "path": str(data_dir / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    config = run_config_from_flat(flat)
    finish(Run.create(shown_studio.runs_folder / DONE, config), result_of(planted_data(), config))
    return app


@pytest.fixture(autouse=True)
def _show_the_home(app: Dash, shown_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with the shared home, whichever one another test has configured."""
    monkeypatch.setattr(studio, "_current", shown_studio)


@pytest.fixture
def own_studio(tmp_path: Path, data_dir: Path, shown_studio: Studio) -> Studio:
    """An empty home of the test's own, with the same data folder."""
    own = dataclasses.replace(shown_studio, home=tmp_path / "own-home")
    studio.configure(own)
    return own


@pytest.fixture
def page_module(app: Dash) -> PageModule:
    """A page's module by its name. It can only be imported once there is an app for it to register with."""
    return lambda name: importlib.import_module(f"pages.{name}")


@pytest.fixture
def make_shown_run(own_studio: Studio, data_dir: Path) -> Callable[..., Run]:
    """A run in the test's own home, with the status given."""

    def make(run_id: str = "a-run", status: Status | None = None, **changes: Any) -> Run:
        values = {"name": "my cells", "path": str(data_dir / "planted.h5ad"), **COLUMNS, "max_steps": 100, **changes}
        run = Run.create(own_studio.runs_folder / run_id, run_config_from_flat(values))
        if status is not None:
            run.write_status(status)
        return run

    return make


@pytest.fixture
def triggered() -> Trigger:
    """`with triggered("train-submit.n_clicks"):` is a callback's context; what it sets aside is in `updated_props`."""

    @contextmanager
    def trigger(prop_id: str, **component_id: str) -> Iterator[Any]:
        name = (
            f"{json.dumps(component_id, sort_keys=True, separators=(',', ':'))}.{prop_id}" if component_id else prop_id
        )
        context = AttributeDict(triggered_inputs=[{"prop_id": name, "value": 1}], updated_props={})
        token = context_value.set(context)
        try:
            yield context
        finally:
            context_value.reset(token)

    return trigger


def components_in(root: Any) -> list[Component]:
    """A component and all below it."""
    roots = root if isinstance(root, (list, tuple)) else [root]
    found = [node for node in roots if isinstance(node, Component)]
    return [*found, *(child for node in found for child in node._traverse() if isinstance(child, Component))]


def find(root: Any, component_id: Any) -> Component:
    """The component with an id."""
    return next(node for node in components_in(root) if getattr(node, "id", None) == component_id)


def graphs_in(root: Any) -> list[dcc.Graph]:
    return [node for node in components_in(root) if isinstance(node, dcc.Graph)]


def words_in(root: Any) -> str:
    """All that can be read in a component: texts, labels, titles, notes of alerts."""
    if root is None or isinstance(root, bool):
        return ""
    if isinstance(root, (str, int, float)):
        return str(root)
    if isinstance(root, (list, tuple)):
        return " ".join(filter(None, map(words_in, root)))
    if not isinstance(root, Component):
        return ""
    shown = [getattr(root, name, None) for name in ("title", "label", "description", "children")]
    return " ".join(filter(None, map(words_in, shown)))


def words_of_figure(figure: Any) -> str:
    """The notes written into a figure."""
    return " ".join(str(note.text) for note in figure.layout.annotations)


@pytest.fixture(name="words_in")
def words_in_fixture() -> Callable[[Any], str]:
    return words_in


@pytest.fixture(name="words_of_figure")
def words_of_figure_fixture() -> Callable[[Any], str]:
    return words_of_figure


@pytest.fixture(name="find")
def find_fixture() -> Callable[[Any, Any], Component]:
    return find


@pytest.fixture(name="components_in")
def components_in_fixture() -> Callable[[Any], list[Component]]:
    return components_in


@pytest.fixture(name="graphs_in")
def graphs_in_fixture() -> Callable[[Any], list[dcc.Graph]]:
    return graphs_in
