"""Does setting the clock back, or forward, leave states, turns and times sane?"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from scetm_core import jobs, liveness
from scetm_core.jobfolder import Status
from scetm_core.runs import Run

MakeRun = Callable[..., Run]
HOUR = 3600.0


def alive(**changes: Any) -> Status:
    return Status(**{"state": "running", "queued_at": time.time(), **liveness.identity(), **changes})  # type: ignore[arg-type]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of this process by some seconds: what it reads, and what psutil derives a process's start from."""
    now, started = time.time, psutil.Process.create_time

    def by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: started(self) + seconds)

    return by


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to know a process by its start since boot")
@pytest.mark.parametrize("seconds", [-HOUR, HOUR, -2.0])
def test_a_worker_stays_alive_when_the_clock_is_set(set_clock: Callable[[float], None], seconds: float) -> None:
    status = alive()
    set_clock(seconds)
    assert liveness.is_alive(status)


def test_another_process_with_its_number_is_still_told_apart() -> None:
    same_boot = str(liveness.identity()["pid_key"]).rpartition("/")[0]
    assert not liveness.is_alive(alive(pid_key=f"{same_boot}/1" if same_boot else "", pid_started=1.0))
    assert not liveness.is_alive(alive(pid_key="", pid_started=time.time() + HOUR))


def test_the_status_of_an_earlier_version_is_told_by_its_time_of_start() -> None:
    assert liveness.is_alive(alive(pid_key=""))


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_a_run_queued_in_the_future_is_no_run_that_waits_forever(make_run: MakeRun, seconds: float) -> None:
    run = make_run()
    run.write_status(Status(queued_at=time.time() + seconds))
    assert jobs.state(run) == "lost"
    assert jobs.can_resume(run)


@pytest.mark.parametrize("seconds", [-2 * HOUR, 2 * HOUR])
def test_a_heartbeat_elsewhere_hours_from_now_is_shown_as_none(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(liveness, "_seen", {})
    assert not liveness.looks_alive(alive(host="elsewhere", heartbeat=time.time() + seconds))
    assert liveness.looks_alive(alive(host="elsewhere too", heartbeat=time.time()))


def test_runs_queued_before_and_after_the_clock_was_set_back_all_get_their_turn(make_run: MakeRun) -> None:
    ahead, behind = make_run("ahead"), make_run("behind")
    ahead.write_status(alive(state="queued", queued_at=time.time() + HOUR))
    behind.write_status(alive(state="queued", queued_at=time.time()))
    for run in (behind, ahead):
        with jobs.take_turn(run, n_slots=1) as is_our_turn:
            assert is_our_turn
        run.write_status(dataclasses.replace(run.status(), state="done"))


def test_pages_show_no_negative_times(make_run: MakeRun) -> None:
    from pages._shared.parts import age, duration
    from pages._train import live
    from tests.pages.conftest import words_in

    assert duration(-HOUR) == "0 s"
    assert age(-HOUR) == "just now"
    run = make_run()
    run.result_path.touch()
    run.write_status(
        Status(state="done", step=30, max_steps=30, started_at=time.time() + HOUR, finished_at=time.time())
    )
    said = words_in(live.summary(run))
    assert "Done" in said
    assert "took" not in said
    assert "-" not in said


def test_the_time_left_does_not_follow_the_clock(set_clock: Callable[[float], None]) -> None:
    from scetm_core.analysis import _Eta
    from tests.faults.records import record_at

    eta = _Eta(100)
    assert eta.after(record_at(10)) is None
    set_clock(-HOUR)
    left = eta.after(record_at(20))
    assert left is not None
    assert 0 <= left < 60
