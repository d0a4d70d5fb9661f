"""Is a run folder that is deleted under a worker, or an open page, really gone, and is that told in words?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pages._shared import studio
from scetm_core import jobs, liveness
from scetm_core.errors import RunError
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]


def delete_when(run: Run, holds: Callable[[Status], bool]) -> Callable[[Status], None]:
    def delete(status: Status) -> None:
        if holds(status):
            shutil.rmtree(run.path, ignore_errors=True)

    return delete


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(
    "holds",
    [
        pytest.param(lambda status: status.stage == "loading", id="loading"),
        pytest.param(lambda status: status.step == 10, id="training"),
        pytest.param(lambda status: status.stage == "evaluating", id="result"),
    ],
)
def test_a_worker_ends_and_does_not_bring_the_folder_back(
    make_run: MakeRun, runs_folder: Path, caplog: pytest.LogCaptureFixture, holds: Callable[[Status], bool]
) -> None:
    run = make_run()
    assert run_analysis(run, on_change=delete_when(run, holds)) == "failed"
    assert "The folder of run tiny is gone." in caplog.text
    assert list(runs_folder.iterdir()) == []


def test_a_worker_that_waits_for_its_turn_ends_too(make_run: MakeRun, runs_folder: Path) -> None:
    other, run = make_run("other"), make_run()
    with jobs.take_turn(other, n_slots=1):
        ended = run_analysis(run, n_slots=1, on_change=delete_when(run, lambda status: status.state == "queued"))
    assert ended == "failed"
    assert not run.path.exists()


@pytest.mark.slow
def test_a_real_worker_and_its_supervisor_end(make_run: MakeRun, wait_until: Callable[..., None]) -> None:
    run = make_run(max_steps=100_000, report_every=1, checkpoint_every=1)
    jobs.start(run)
    wait_until(lambda: run.status().step >= 3)
    worker = psutil.Process(run.status().pid or 0)
    supervisor = worker.parent()
    assert supervisor is not None
    assert "scetm_core.supervisor" in supervisor.cmdline()
    while run.path.exists():  # again, if something was written between two of its steps
        shutil.rmtree(run.path, ignore_errors=True)
    wait_until(lambda: not worker.is_running() and not supervisor.is_running())
    assert not run.path.exists()


def test_pages_that_look_at_it_say_so_and_stop_looking(
    make_run: MakeRun, home: Path, show: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._train import live
    from pages._transfer import progress
    from tests.pages.conftest import words_in

    show(home)
    run = make_run()
    run.write_status(Status(state="running", step=5, max_steps=30, **liveness.identity()))  # type: ignore[arg-type]
    view, *_, more = live.follow_run(None, 1, run.id, -1, None)
    assert "running" in words_in(view)
    assert more == -1
    run.delete()
    view, *_, more = live.follow_run(None, 2, run.id, -1, None)
    assert "There is no run called 'tiny'. It may have been deleted." in words_in(view)
    assert more == 0, "it looks no more"
    view, *_, is_off, _ = progress.follow_transfer(1, run.id)
    assert "It may have been deleted" in words_in(view)
    assert is_off
    for ask in (studio.load_result, studio.find_run, lambda name: live.cancel_run(1, name)):
        with pytest.raises(RunError, match="It may have been deleted"):
            ask(run.id)


def test_a_task_that_a_page_follows_is_told_to_be_gone(
    make_run: MakeRun, home: Path, show: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._shared import task_view
    from tests.pages.conftest import words_in

    registered: dict[str, Callable[..., Any]] = {}

    def keep(*_: Any, **__: Any) -> Callable[..., Any]:
        return lambda function: registered.setdefault(function.__name__, function)

    monkeypatch.setattr(task_view, "callback", keep)
    task_view.follow_task("faults", "enrichment", ("faults-name", "value"))
    show(home)
    run = make_run()
    run.delete()
    view, _, is_off, _ = registered["show_task"](1, "reactome", run.id, None)
    assert "It may have been deleted" in words_in(view)
    assert is_off


def test_a_page_with_a_result_goes_on_showing_what_it_has_read(
    make_run: MakeRun, home: Path, show: Callable[[Path], Any]
) -> None:
    import anndata as ad
    import numpy as np

    show(home)
    run = make_run()
    run.write_result(ad.AnnData(obsm={"delta": np.ones((50, 2), dtype=np.float32)}))
    shown = studio.load_result(run.id)
    run.delete()
    assert (shown.obsm["delta"] == 1).all(), "mapped from a file that has no name any more"
    with pytest.raises(RunError, match="It may have been deleted"):
        studio.load_result(run.id)


def test_a_file_deleted_between_two_looks_is_no_defect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pages._shared import errors

    shown: list[Any] = []
    monkeypatch.setattr(errors, "set_props", lambda _, props: shown.extend(props["sendNotifications"]))
    errors.show_error(FileNotFoundError(2, "No such file", str(tmp_path / "gone")))
    assert shown[0]["title"] == "That did not work"
    assert "it may have been deleted meanwhile. Reload the page" in shown[0]["message"]
