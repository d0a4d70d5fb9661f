"""Does a page look at its task for as long as that may come back, and miss no table?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pages._shared import task_view
from scetm_core import jobs, keys, liveness, tasks
from scetm_core.jobfolder import Status
from scetm_core.requests import DifferentialRequest
from scetm_core.runs import Run

MakeRun = Callable[..., Run]
Words = Callable[[Any], str]
Show = Callable[..., tuple[Any, Any, bool, Any]]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """The callback of a page that follows a task, by itself."""
    registered: dict[str, Show] = {}

    def keep(*_: Any, **__: Any) -> Callable[..., Any]:
        return lambda function: registered.setdefault(function.__name__, function)

    with monkeypatch.context() as patched:
        patched.setattr(task_view, "callback", keep)
        task_view.follow_task("test", keys.DIFFERENTIAL_FOLDER, ("test-name", "value"))
    return registered["show_task"]


@pytest.fixture
def task(app: Any, make_shown_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> tasks.Task:
    run = make_shown_run()
    run.result_path.touch()
    monkeypatch.setattr(jobs, "spawn", lambda *_: None)
    return tasks.ask(run, "batch", DifferentialRequest(groupby="batch"))


def test_a_task_that_looks_lost_is_looked_at_until_it_comes_back(task: tasks.Task, show: Show, words_in: Words) -> None:
    run_id, here = task.run.id, {"state": "running", **liveness.identity()}
    task.write_status(Status(**{**here, "pid_started": 1.0, "pid_key": ""}))
    view, cancel, is_off, _ = show(1, "batch", run_id, None)
    assert "is gone" in words_in(view)
    assert (cancel, is_off) == ({"display": "none"}, False)
    task.write_status(Status(**here, message="Permuting labels."))
    view, cancel, is_off, _ = show(2, "batch", run_id, None)
    assert "Permuting labels" in words_in(view)
    assert (cancel, is_off) == ({}, False)
    task.write_status(Status(state="done"))
    assert show(3, "batch", run_id, None)[:3] == (None, {"display": "none"}, True)


def test_a_table_that_appears_while_one_looks_is_shown(
    task: tasks.Task, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    task.write_status(Status(**{"state": "running", **liveness.identity()}))
    look = task_view.progress_of

    def ends_meanwhile(seen: tasks.Task | None) -> Any:
        task.table_path.parent.mkdir()
        task.table_path.touch()
        task.write_status(dataclasses.replace(task.status(), state="done"))
        return look(seen)

    monkeypatch.setattr(task_view, "progress_of", ends_meanwhile)
    *_, stamp = show(1, "batch", task.run.id, "")
    assert stamp.startswith("batch:")
