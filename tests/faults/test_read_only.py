"""Can a home on a read-only disk be looked at, and is everything that would write refused in words?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import flask
import numpy as np
import pytest

from pages._shared import errors, studio, uploads
from pages._shared.studio import Studio
from scetm_core import board, jobs, keys, own_colors, selection_store, tasks, user_columns
from scetm_core.config import RunConfig
from scetm_core.data.demo import write_demo
from scetm_core.errors import ScetmError
from scetm_core.jobfolder import Status
from scetm_core.requests import DifferentialRequest
from scetm_core.runs import Run
from tests.faults.servers import Server

MakeDisk = Callable[..., Path]


@pytest.fixture
def read_only(
    make_disk: MakeDisk, set_read_only: Callable[[Path], None], tiny_config: Callable[..., RunConfig]
) -> Path:
    """A home with a stopped run that has a result, on a disk that is then remounted read-only."""
    disk = make_disk(8)
    Studio(home=disk).make_folders()
    run = Run.create(disk / keys.RUNS_FOLDER / "tiny", tiny_config())
    run.write_status(Status(state="failed", message="Stopped."))
    run.write_result(ad.AnnData(obsm={"delta": np.ones((50, 2), dtype=np.float32)}))
    set_read_only(disk)
    return disk


def write_column(run: Run) -> None:
    user_columns.write_column(run, user_columns.new_column("mine", run.load_result()))


WRITERS: dict[str, Callable[[Run], object]] = {
    "start": lambda run: jobs.start(run),
    "cancel": lambda run: jobs.cancel(run),
    "create": lambda run: Run.create(run.path.with_name("new"), run.config),
    "delete": lambda run: run.delete(),
    "topic names": lambda run: run.write_topic_names({"topic_0": "beta"}),
    "evaluation": lambda run: run.write_evaluation({"ari": 1.0}),
    "colours": lambda run: own_colors.write_own_colors(run.path, "batch", {"b0": "#000000"}),
    "board": lambda run: board.write_board(run.path, board.read_board(run.path)),
    "labels": write_column,
    "selection": lambda run: selection_store.write_selection(run, ()),
    "task": lambda run: tasks.ask(run, "batch", DifferentialRequest(groupby="batch")),
    "demo data": lambda run: write_demo(run.path.parents[1] / keys.DEMO_FOLDER),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_would_write_is_refused_in_words(name: str, read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(errors, "set_props", lambda _, props: shown.extend(props["sendNotifications"]))
    with pytest.raises((ScetmError, OSError)) as caught:
        WRITERS[name](Run(read_only / keys.RUNS_FOLDER / "tiny"))
    errors.show_error(caught.value)  # type: ignore[arg-type]
    assert shown[0]["title"] == "That did not work", "no defect, no traceback"
    assert "Read-only file system" in shown[0]["message"] or "read-only" in shown[0]["message"]


def test_uploads_are_refused_in_words(
    read_only: Path, show: Callable[[Path], Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SPARE", 0)
    home = show(read_only)
    assert not home.is_writable
    server = flask.Flask("uploads")
    uploads.add_route(server)
    refused = server.test_client().post("/upload?name=mine.h5ad", data=b"some bytes")
    assert refused.status_code == 507
    assert "Nothing can be written here" in refused.json["error"]
    assert "--home" in refused.json["error"]


def test_runs_and_figures_can_be_looked_at(read_only: Path, show: Callable[[Path], Studio]) -> None:
    from pages._shared import figure_store

    home = show(read_only)
    assert [run.id for run in studio.list_readable_runs()[0]] == ["tiny"]
    assert studio.load_result("tiny").n_obs == 50
    assert home.cache_folder.is_dir()
    assert home.home not in home.cache_folder.parents
    figure_id = figure_store.keep(b'{"data": [], "layout": {}}')
    assert figure_store.figure_of(figure_id) == {"data": [], "layout": {}}


@pytest.mark.slow
def test_a_server_on_a_read_only_home_says_so_on_its_pages(
    make_disk: MakeDisk, read_only: Path, set_read_only: Callable[[Path], None]
) -> None:
    empty = make_disk(1)
    set_read_only(empty)
    server, refused = Server(read_only), Server(empty / "home")
    try:
        assert "scETM Studio is at" in server.wait()
        layout = server.get("/_dash-layout")
        assert "For looking only" in layout
        assert "nothing can be trained, named, uploaded or kept" in layout
        line, rest = refused.wait(), refused.wait()
        assert refused.process.wait(60) == 1
        assert line.startswith("error: Cannot create ")
        assert "Read-only file system. Choose another folder with --home." in line
        assert rest == "", "one line, no traceback"
    finally:
        server.kill()
        refused.kill()
