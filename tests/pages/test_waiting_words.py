"""Do pages tell of a job that waits for a worker: why, its place, and where it is worked on?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from pages._shared.studio import Studio
from scetm_core import broker, handover, jobs, liveness
from scetm_core.jobfolder import Status
from scetm_core.requests import MapRequest
from scetm_core.runs import Run
from scetm_core.tasks import ask
from scetm_core.waiting import LANES, Queue

MakeRun = Callable[..., Run]
Words = Callable[[Any], str]


@pytest.fixture
def cluster(app: Any, own_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """The queue of a cluster that has no worker."""
    monkeypatch.setenv(broker.VARIABLE, "redis://nowhere.invalid:1/0")
    monkeypatch.setattr(broker, "announce", lambda lanes: True)
    monkeypatch.setattr(liveness, "_seen", {})
    return Queue(own_studio.home)


def lose(run: Run, host: str) -> None:
    """Let a worker take the run and die."""
    gone = dataclasses.replace(run.status(), state="running", step=1200, host=host, pid=1, heartbeat=1.0, pid_key="")
    (run.path / "status.json").write_text(json.dumps(dataclasses.asdict(gone)))


def test_the_place_in_the_queue_is_told(cluster: Queue, make_shown_run: MakeRun, words_in: Words) -> None:
    from pages._train import live

    runs = [make_shown_run(name) for name in ("a", "b", "c")]
    for run in runs:
        jobs.start(run)
    said = [words_in(live.summary(run)) for run in runs]
    assert [place in text for place, text in zip(("next in", "2nd in", "3rd in"), said, strict=True)] == [True] * 3
    assert all("Waiting for its turn" in text for text in said)


def test_a_page_does_not_start_a_run_that_waits_for_a_worker_again(
    cluster: Queue, make_shown_run: MakeRun, find: Callable[..., Any]
) -> None:
    from pages._train import live

    run = make_shown_run()
    jobs.start(run)
    queued_at = run.status().queued_at
    assert find(live.layout(run), "train-start").data is None
    live.start_run(run.id)
    assert run.status().queued_at == queued_at


def test_a_page_does_not_start_a_run_anew_that_another_tab_has_just_started(
    app: Any, make_shown_run: MakeRun, find: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._train import live

    run = make_shown_run()
    assert find(live.layout(run), "train-start").data == run.id
    monkeypatch.setattr(jobs, "spawn", lambda *_, **__: None)  # no worker has said anything yet
    jobs.start(run)
    assert find(live.layout(run), "train-start").data is None


def test_a_lost_worker_is_told_of_and_who_takes_over(
    cluster: Queue, make_shown_run: MakeRun, words_in: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._train import live
    from pages._transfer import progress

    run = make_shown_run()
    jobs.start(run)
    handover.claim(cluster, LANES)
    lose(run, "gpu2")
    assert "The worker on gpu2 was lost; another one takes over" in words_in(live.summary(run))
    assert handover.look_after(cluster) == [], "its clock may be wrong"
    monkeypatch.setattr(liveness, "STALE_SECONDS", 0.0)
    handover.look_after(cluster)
    expected = "The worker on gpu2 was lost at step 1,200; waiting for another, attempt 2 of 3"
    for page in (live.summary(run), progress.view(run)):
        assert expected in words_in(page)
        assert "next in the queue" in words_in(page)


def test_a_run_at_work_elsewhere_says_where(app: Any, make_shown_run: MakeRun, words_in: Words) -> None:
    from pages._train import live

    here = {"state": "running", "step": 3, "max_steps": 9, **liveness.identity()}
    run = make_shown_run(status=Status(**here))
    assert "on gpu2" not in words_in(live.summary(run))
    run.write_status(Status(**{**here, "host": "gpu2"}))
    assert "on gpu2" in words_in(live.summary(run))


def test_a_task_that_waits_says_so_and_keeps_being_looked_at(
    cluster: Queue, make_shown_run: MakeRun, words_in: Words
) -> None:
    from pages._shared.task_view import progress_of

    run = make_shown_run(status=Status(state="done"))
    run.result_path.touch()
    task = ask(run, "genes", MapRequest(points="genes"))
    view, is_at_work = progress_of(task)
    assert is_at_work
    assert "next in the queue" in words_in(view)
    jobs.cancel(task)
    assert progress_of(task) == (None, False)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (None, ""), (1, "next in the queue"), (2, "2nd in the queue"), (3, "3rd in the queue"), (4, "4th in the queue"),
        (11, "11th in the queue"), (12, "12th in the queue"), (21, "21st in the queue"), (113, "113th in the queue"),
    ],
)  # fmt: skip
def test_places_are_said_as_one_says_them(app: Any, place: int | None, words: str) -> None:
    from pages._shared.waiting_words import place_words

    assert place_words(place) == words
