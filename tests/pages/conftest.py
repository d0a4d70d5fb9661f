"""The app on a home with one finished run, made by hand: 60 cells, 30 genes, 6 topics. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dash import Dash, dcc
from dash._callback_context import context_value
from dash._utils import AttributeDict
from dash.development.base_component import Component

from pages._server.under_way import under_way
from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core.config import run_config_from_flat
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, DONE, N_TOPICS, finish, planted_data, result_of

PageModule = Callable[[str], ModuleType]
Trigger = Callable[..., AbstractContextManager[None]]


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
    app.server.test_client().get("/_dash-dependencies")  # the app takes up the callbacks with the first request
    return app


@pytest.fixture
def csv_of(app: Dash) -> Callable[[str], Callable[..., Any]]:
    """The plain function behind a graph's "Table (CSV)"."""
    return lambda graph: (
        app.callback_map[f'{{"graph":"{graph}","type":"export-csv-download"}}.data']["callback"].__wrapped__
    )


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
    return " ".join(str(note.text).replace("<br>", "") for note in figure.layout.annotations)


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


@pytest.fixture
def look_anew() -> Iterator[None]:
    """What was seen of other tests' runs is forgotten."""
    under_way.forget()
    yield
    under_way.forget()
