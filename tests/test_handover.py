"""Are jobs of the cluster taken once, carried on when a worker is lost, and given up when that goes on and on?"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from scetm_core import broker, handover, jobs, liveness
from scetm_core.errors import RunError
from scetm_core.jobfolder import Status
from scetm_core.reporter import Reporter
from scetm_core.runs import Run
from scetm_core.supervisor import End
from scetm_core.waiting import ANY, CPU, GPU, LANES, TASKS, Queue

MakeRun = Callable[..., Run]


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A broker that only writes down which lanes were told."""
    monkeypatch.setenv(broker.VARIABLE, "redis://nowhere.invalid:1/0")
    lanes: list[list[str]] = []

    def announce(told: Any) -> bool:
        lanes.append(list(told))
        return True

    monkeypatch.setattr(broker, "announce", announce)
    return lanes


@pytest.fixture
def queue(home: Path) -> Queue:
    return Queue(home)


def handed_over(make_run: MakeRun, run_id: str, **changes: Any) -> Run:
    run = make_run(run_id, **changes)
    jobs.start(run)
    return run


def lose(run: Run, **changes: Any) -> None:
    """Let the worker that has a run be one that died."""
    gone = {"pid": psutil.Process().pid, "pid_started": 1.0, "pid_key": "", "state": "running"}
    run.write_status(dataclasses.replace(run.status(), **{**gone, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "lanes"), [("auto", [GPU, CPU]), ("cuda", [GPU]), ("cpu", [CPU])])
def test_a_started_run_waits_for_the_workers_that_can_train_it(
    make_run: MakeRun, announced: list[list[str]], device: str, lanes: list[str]
) -> None:
    run = handed_over(make_run, "a", device=device)
    assert announced == [lanes]
    assert jobs.state(run) == "queued"
    assert jobs.lane_of(run) == {"auto": ANY, "cuda": GPU, "cpu": CPU}[device]
    run.write_status(dataclasses.replace(run.status(), queued_at=1.0))
    assert jobs.state(run) == "queued", "however long it takes"
    with pytest.raises(RunError, match="a is already queued"):
        jobs.start(run)


def test_places_in_the_queue_are_told(make_run: MakeRun, announced: list[list[str]]) -> None:
    runs = [handed_over(make_run, name) for name in "abc"]
    assert [jobs.place_in_queue(run) for run in runs] == [1, 2, 3]
    assert jobs.place_in_queue(make_run("other")) is None


def test_without_its_broker_a_run_waits_and_says_so(
    make_run: MakeRun, announced: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "announce", lambda _: False)
    run = handed_over(make_run, "a")
    assert run.status().message == jobs.UNREACHABLE
    assert jobs.state(run) == "queued"


def test_a_job_is_claimed_once(make_run: MakeRun, announced: list[list[str]], queue: Queue) -> None:
    run = handed_over(make_run, "a")
    entry = handover.claim(queue, LANES)
    assert entry is not None
    assert (entry.path, entry.attempt) == ("runs/a", 1)
    assert handover.claim(queue, LANES) is None
    assert run.status().message.startswith("Starting on ")
    assert jobs.state(run) == "queued"
    assert handover.look_after(queue) == [], "its worker lives"


@pytest.mark.parametrize("why", ["cancelled", "deleted", "damaged", "done"])
def test_what_will_never_go_is_passed_over(
    make_run: MakeRun, announced: list[list[str]], queue: Queue, why: str
) -> None:
    run, other = handed_over(make_run, "a"), handed_over(make_run, "b")
    if why == "cancelled":
        run.request_cancel()
    elif why == "deleted":
        run.delete()
    elif why == "damaged":
        (run.path / "status.json").write_text("{")
    else:
        run.write_status(Status(state="done"))
    entry = handover.claim(queue, LANES)
    assert entry is not None
    assert entry.path == f"runs/{other.id}"
    assert queue.waiting("cluster") == []
    if why == "cancelled":
        assert run.status().state == "cancelled"


def test_cancelling_a_run_that_waits_takes_it_out_at_once(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    run = handed_over(make_run, "a")
    jobs.cancel(run)
    assert run.status().state == "cancelled"
    assert queue.waiting("cluster") == []


def test_a_run_whose_worker_is_lost_waits_again_and_is_given_up_in_the_end(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    run = handed_over(make_run, "a")
    queued_at = run.status().queued_at
    for attempt in (1, 2, 3):
        entry = handover.claim(queue, LANES)
        assert entry is not None
        assert entry.attempt == attempt
        lose(run, step=1200)
        assert jobs.state(run) == "queued", "another takes over"
        put_back = handover.look_after(queue)
        assert [e.path for e in put_back] == (["runs/a"] if attempt < 3 else [])
        status = run.status()
        if attempt < 3:
            assert f"was lost at step 1,200; waiting for another, attempt {attempt + 1} of 3" in status.message
            assert (status.state, status.pid, status.step, status.queued_at) == ("queued", None, 1200, queued_at)
    assert status.state == "failed"
    assert "was lost at step 1,200, after 2 others" in status.message
    assert "goes on from its last checkpoint" in status.message
    assert jobs.can_resume(run)
    assert queue.working() == queue.waiting("cluster") == []


def test_a_worker_elsewhere_is_lost_when_its_heart_stands_still_by_our_clock(
    make_run: MakeRun, announced: list[list[str]], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = handed_over(make_run, "a")
    handover.claim(queue, LANES)
    lose(run, host="gpu2")
    now = [500.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(liveness, "_seen", {})
    for _ in range(int(liveness.STALE_SECONDS // 10)):
        assert handover.look_after(queue) == []
        now[0] += 10
    assert [e.path for e in handover.look_after(queue)] == ["runs/a"]
    assert run.status().message.startswith("The worker on gpu2 was lost; waiting for another")


def test_a_worker_whose_clock_is_hours_wrong_keeps_its_job(
    make_run: MakeRun, announced: list[list[str]], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = handed_over(make_run, "a")
    handover.claim(queue, LANES)
    lose(run, host="gpu2")
    monkeypatch.setattr(liveness, "_seen", {})
    heartbeat, now = run.status().heartbeat, liveness.time.time()
    monkeypatch.setattr(liveness.time, "time", lambda: now + 3 * liveness.WORLDS_APART)
    assert run.status().heartbeat == heartbeat
    assert handover.look_after(queue) == []
    assert run.status().pid is not None


def test_a_job_whose_lock_is_held_is_not_begun_until_it_is_free(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    run, other = handed_over(make_run, "a"), handed_over(make_run, "b")
    with jobs.hold(run):  # by a worker that was taken for dead
        entry = handover.claim(queue, LANES)
        assert entry is not None
        assert entry.path == f"runs/{other.id}"
        assert handover.claim(queue, LANES) is None
        assert handover.waiting_lanes(queue, LANES) == [CPU], "it is announced again"
    entry = handover.claim(queue, LANES)
    assert entry is not None
    assert entry.path == "runs/a"


@pytest.mark.parametrize("how", ["by its worker", "under torchrun"])
def test_a_job_that_another_still_works_on_waits_and_loses_no_attempt(
    make_run: MakeRun, announced: list[list[str]], queue: Queue, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run = handed_over(make_run, "a")
    entry = handover.claim(queue, LANES)
    assert entry is not None
    end = End(code=jobs.HELD if how == "by its worker" else 1, peak_bytes=1, oom_killed=False)
    monkeypatch.setattr(handover, "run_to_end", lambda command, output: (end, 1))
    with jobs.hold(run) if how == "under torchrun" else contextlib.nullcontext():
        assert handover.carry_out(queue, entry), "its lanes are told"
    assert jobs.state(run) == "queued"
    assert "Another process has it still" in run.status().message
    again = handover.claim(queue, LANES)
    assert again is not None
    assert again.attempt == 1


def test_what_was_at_work_before_there_was_a_broker_does_not_count_for_ever(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    dead, done, lives = (make_run(name) for name in ("dead", "done", "lives"))
    for run in (dead, done, lives):
        queue.begin(queue.entry_of(run.path))
    lose(dead, host=socket.gethostname())
    done.write_status(Status(state="done"))
    lives.write_status(Status(**{"state": "running", **liveness.identity()}))  # type: ignore[arg-type]
    assert handover.look_after(queue) == []
    assert [entry.path for entry in queue.working()] == ["runs/lives"]
    assert jobs.state(dead) == "lost", "it is not resumed unasked"


def test_what_ended_is_taken_out_even_if_its_worker_could_not(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    run = handed_over(make_run, "a")
    handover.claim(queue, LANES)
    run.write_status(dataclasses.replace(run.status(), state="done"))
    assert handover.look_after(queue) == []
    assert queue.working() == []


def test_cancelling_a_run_whose_worker_is_lost_does_not_let_it_wait_again(
    make_run: MakeRun, announced: list[list[str]], queue: Queue
) -> None:
    run = handed_over(make_run, "a")
    handover.claim(queue, LANES)
    run.request_cancel()
    lose(run)
    assert handover.look_after(queue) == []
    assert run.status().state == "cancelled"
    assert queue.waiting("cluster") == queue.working() == []


@pytest.mark.parametrize(
    ("code", "oom_killed", "state", "words"),
    [
        pytest.param(-signal.SIGKILL, False, "queued", "waiting for another, attempt 2 of 3", id="killed"),
        pytest.param(-signal.SIGTERM, False, "queued", "waiting for another, attempt 2 of 3", id="told to end"),
        pytest.param(-signal.SIGKILL, True, "failed", "want of memory", id="no memory"),
        pytest.param(-signal.SIGSEGV, False, "failed", "crashed (SIGSEGV)", id="crashed"),
        pytest.param(1, False, "failed", "exit status 1", id="could not begin"),
    ],
)
def test_only_an_end_from_outside_is_tried_again(
    make_run: MakeRun, announced: list[list[str]], queue: Queue, monkeypatch: pytest.MonkeyPatch,
    *, code: int, oom_killed: bool, state: str, words: str,
) -> None:  # fmt: skip
    run = handed_over(make_run, "a")
    entry = handover.claim(queue, LANES)
    assert entry is not None
    end = End(code=code, peak_bytes=1, oom_killed=oom_killed)
    monkeypatch.setattr(handover, "run_to_end", lambda command, output: (end, 1))
    assert handover.carry_out(queue, entry) == (state == "queued")
    assert run.status().state == state
    assert words in run.status().message
    assert queue.working() == []


@pytest.mark.parametrize(
    "who",
    [
        pytest.param({"host": "gpu2", "pid": 1}, id="another host"),
        pytest.param({"pid_key": "another-boot.1/1"}, id="same name and number"),
    ],
)
def test_a_worker_that_was_taken_for_lost_writes_no_more(make_run: MakeRun, who: dict[str, Any]) -> None:
    run = make_run()
    with Reporter(run) as report:
        report.update(state="running", step=3)
        other = dataclasses.replace(run.status(), step=7, **who)

        def work() -> None:
            run.write_status(other)
            report.update(step=4)

        assert report.finish(work, cancelled="Cancelled.") == "failed"
    status = run.status()
    assert (status.host, status.pid_key, status.step, status.state) == (other.host, other.pid_key, 7, "running")


def test_a_task_is_handed_over_as_well(make_run: MakeRun, announced: list[list[str]], queue: Queue) -> None:
    from scetm_core.requests import MapRequest
    from scetm_core.tasks import ask

    run = make_run()
    run.result_path.touch()
    task = ask(run, "genes", MapRequest(points="genes"))
    assert announced == [[TASKS]]
    assert jobs.state(task) == "queued"
    assert handover.claim(queue, [GPU, CPU]) is None, "it is no training"
    entry = handover.claim(queue, [TASKS])
    assert entry is not None
    assert entry.path == "runs/tiny/tasks/map-genes"
    assert ask(run, "genes", MapRequest(points="genes")).id == task.id
    assert announced == [[TASKS]], "it is not asked twice"


def test_without_a_broker_no_celery_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    monkeypatch.delenv(broker.VARIABLE, raising=False)
    code = "import sys, app; print({'celery', 'kombu', 'redis'} & set(sys.modules) or 'none')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(jobs.__file__).parent.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "none"
