"""Are links that another user could have put in the way not followed, and all others still?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scetm_core import links
from scetm_core.answers import run_task
from scetm_core.errors import DataError
from scetm_core.jobfolder import Status, new_status
from scetm_core.links import refuse_foreign_links
from scetm_core.requests import EnrichmentRequest, request_as_json
from scetm_core.runs import Run
from scetm_core.tasks import Task
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]
WORDS = "which another user has made"


@pytest.fixture
def of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if whoever runs the tests were another user than the one who reads."""
    monkeypatch.setattr(links, "_trusted", lambda: {123_456_789})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shared folder with a file, a 10x folder, and links; and what is another user's beside it."""
    shared, private = tmp_path / "shared", tmp_path / "private"
    for made in (shared / "tenx", shared / "plain", private):
        made.mkdir(parents=True)
        (made / "matrix.mtx").write_text("counts")
    (shared / "file.h5ad").symlink_to(private / "matrix.mtx")
    (shared / "inside").symlink_to(private)
    (shared / "twice").symlink_to("inside/../shared/file.h5ad")
    (shared / "tenx" / "genes.tsv").symlink_to(private / "matrix.mtx")
    (shared / "loop").symlink_to("loop")
    return shared


LINKED = ["file.h5ad", "inside/matrix.mtx", "twice", "tenx", "plain/../file.h5ad"]


@pytest.mark.usefixtures("of_another")
@pytest.mark.parametrize("name", LINKED)
def test_a_link_that_another_user_has_made_is_not_followed(name: str, folder: Path) -> None:
    with pytest.raises(DataError, match=WORDS):
        refuse_foreign_links(None, str(folder / "plain"), str(folder / name))


@pytest.mark.usefixtures("of_another")
@pytest.mark.parametrize("name", ["plain", "plain/matrix.mtx", "not there", "loop", "plain/matrix.mtx/below"])
def test_without_links_nothing_is_refused(name: str, folder: Path) -> None:
    refuse_foreign_links(str(folder / name), "auto", "", None)


@pytest.mark.parametrize("name", LINKED)
def test_links_of_ones_own_are_followed(name: str, folder: Path) -> None:
    refuse_foreign_links(str(folder / name))


@pytest.mark.usefixtures("of_another")
@pytest.mark.parametrize("setting", ["path", "rho_gmt"])
def test_a_run_whose_input_was_swapped_while_it_waited_fails_in_words(
    setting: str, make_run: MakeRun, folder: Path
) -> None:
    run = make_run()
    record = json.loads((run.path / "config.json").read_text())
    section = "data" if setting == "path" else "model"
    record["config"][section][setting] = str(folder / "file.h5ad")
    (run.path / "config.json").write_text(json.dumps(record))
    assert run_analysis(run) == "failed"
    assert WORDS in run.status().message


@pytest.mark.usefixtures("of_another")
def test_a_task_whose_gene_sets_were_swapped_fails_in_words(make_run: MakeRun, folder: Path) -> None:
    path = make_run().path / "tasks" / "enrichment-x"
    path.mkdir(parents=True)
    (path / "request.json").write_text(request_as_json(EnrichmentRequest(gene_sets=str(folder / "file.h5ad"))))
    new_status(path, Status())
    task = Task(path)
    assert run_task(task) == "failed"
    assert WORDS in task.status().message
