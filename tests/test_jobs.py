"""Is a worker's life and death told truly, and do runs take turns?"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scetm_core import broker, jobs, keys, liveness
from scetm_core.errors import RunError
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.waiting import CLUSTER, queue_of

MakeRun = Callable[..., Run]
WaitUntil = Callable[..., None]


@pytest.fixture
def child() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start small Python processes whose `input()` waits; they are gone after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """`jobs.start` writes down what it would start instead of starting it."""
    commands: list[list[str]] = []
    monkeypatch.setattr(jobs.subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def status_of(process: psutil.Process, **changes: Any) -> Status:
    """A status as a worker that is this process would write it."""
    who = {"pid": process.pid, "pid_started": process.create_time(), "host": str(liveness.identity()["host"])}
    return Status(**{"state": "running", "queued_at": 1.0, **who, **changes})


# ---- alive or lost ----------------------------------------------------------------------------------------------


def test_a_process_that_runs_is_alive() -> None:
    assert liveness.is_alive(Status(**{"state": "running", **liveness.identity()}))  # type: ignore[arg-type]


def test_a_process_that_ended_is_not(child: Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = child("input()")
    status = status_of(psutil.Process(process.pid))
    assert liveness.is_alive(status)
    process.kill()
    process.wait()
    assert not liveness.is_alive(status)


def test_a_dead_child_nobody_waited_for_is_not_alive(
    child: Callable[[str], subprocess.Popen[bytes]], wait_until: WaitUntil
) -> None:
    process = child("import time; time.sleep(600)")
    seen = psutil.Process(process.pid)
    status = status_of(seen)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: seen.status() == psutil.STATUS_ZOMBIE)
    os.kill(process.pid, 0)  # the system still knows it
    assert not liveness.is_alive(status)


def test_another_process_with_the_same_number_is_not_the_worker() -> None:
    me = psutil.Process()
    assert not liveness.is_alive(status_of(me, pid_started=me.create_time() - 1000))


@pytest.mark.parametrize("clock", [0.0, -900.0, 900.0], ids=["as here", "slow", "fast"])
def test_a_worker_on_another_host_is_alive_while_its_heart_beats_whatever_its_clock_says(
    monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    me, here = psutil.Process(), [1000.0]
    monkeypatch.setattr(liveness, "_seen", {})
    monkeypatch.setattr(liveness.time, "monotonic", lambda: here[0])
    status = status_of(me, host="elsewhere", heartbeat=time.time() + clock)
    assert liveness.is_alive(status)
    for _ in range(3):
        assert looked_at(status, here, seconds=liveness.STALE_SECONDS - 1)
        status = dataclasses.replace(status, heartbeat=status.heartbeat + 5)
        assert liveness.is_alive(status)
    assert looked_at(status, here, seconds=liveness.STALE_SECONDS - 1)
    assert not looked_at(status, here, seconds=2)


def looked_at(status: Status, here: list[float], *, seconds: float) -> bool:
    """Look at a worker for so long, by the clock of this process; whether it is alive at the end."""
    until = here[0] + seconds
    while here[0] < until:
        here[0] = min(here[0] + 1, until)
        alive = liveness.is_alive(status)
    return alive


def test_time_in_which_nobody_could_look_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [1000.0]
    monkeypatch.setattr(liveness, "_seen", {})
    monkeypatch.setattr(liveness.time, "monotonic", lambda: here[0])
    status = status_of(psutil.Process(), host="elsewhere", heartbeat=time.time())
    assert looked_at(status, here, seconds=60)
    here[0] += 3600  # the file server is away
    assert looked_at(status, here, seconds=30)
    assert not looked_at(status, here, seconds=liveness.STALE_SECONDS)


def test_a_worker_on_another_host_dead_for_hours_is_shown_as_lost_until_it_beats_and_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(liveness, "_seen", {})
    status = status_of(psutil.Process(), host="elsewhere", heartbeat=time.time() - 2 * liveness.WORLDS_APART)
    assert liveness.is_alive(status), "its clock may be wrong"
    assert not liveness.looks_alive(status)
    assert not liveness.looks_alive(status)
    assert liveness.looks_alive(dataclasses.replace(status, heartbeat=status.heartbeat + 5))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to know a process by its start since boot")
@pytest.mark.parametrize(
    "world",
    ["another-boot.{pids}.another", "another-boot.{pids}.", "{boot}.1.{machine}"],
    ids=["machine", "machine without an id", "container"],
)
def test_a_worker_elsewhere_that_has_the_name_of_this_host_is_known_by_its_heartbeat(
    monkeypatch: pytest.MonkeyPatch, world: str
) -> None:
    here = [1000.0]
    monkeypatch.setattr(liveness, "_seen", {})
    monkeypatch.setattr(liveness.time, "monotonic", lambda: here[0])
    boot, pids, machine = str(liveness.identity()["pid_key"]).partition("/")[0].split(".")
    key = f"{world.format(boot=boot, pids=pids, machine=machine)}/1"
    status = status_of(psutil.Process(), pid_key=key, heartbeat=time.time())
    assert looked_at(status, here, seconds=60), "no process here says anything of it"
    assert not looked_at(status, here, seconds=liveness.STALE_SECONDS)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to know a process by its start since boot")
def test_what_ran_before_this_machine_was_started_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_machine", lambda: "0123abcd")
    _, pids, _ = str(liveness.identity()["pid_key"]).partition("/")[0].split(".")
    status = status_of(psutil.Process(), pid_key=f"earlier.{pids}.0123abcd/1", heartbeat=time.time())
    assert not liveness.is_alive(status)
    assert liveness.is_alive(dataclasses.replace(status, host="another")), "a copy of this machine"


def test_a_worker_that_ends_while_one_looks_is_not_called_lost(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    said = [status_of(psutil.Process(), pid_started=1.0), Status(state="done")]
    monkeypatch.setattr(Run, "status", lambda self: said.pop(0) if len(said) > 1 else said[0])
    assert jobs.state(run) == "done"


def test_a_run_just_queued_waits_and_one_never_picked_up_is_lost(make_run: MakeRun) -> None:
    run = make_run()
    assert jobs.state(run) == "queued"
    run.write_status(Status(queued_at=1.0))
    assert jobs.state(run) == "lost"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_an_unfinished_run_without_its_worker_is_lost_and_can_resume(
    make_run: MakeRun, child: Callable[[str], subprocess.Popen[bytes]], state: str
) -> None:
    run, process = make_run(), child("input()")
    run.write_status(status_of(psutil.Process(process.pid), state=state))
    assert jobs.state(run) == state
    assert not jobs.can_resume(run)
    process.kill()
    process.wait()
    assert jobs.state(run) == "lost"
    assert jobs.can_resume(run)


@pytest.mark.parametrize(("state", "resumable"), [("done", False), ("failed", True), ("cancelled", True)])
def test_finished_runs_keep_their_state_without_a_worker(make_run: MakeRun, *, state: str, resumable: bool) -> None:
    run = make_run()
    run.write_status(Status(state=state, pid=1, queued_at=1.0))
    run.result_path.touch()
    assert jobs.state(run) == state
    assert jobs.can_resume(run) == resumable


def test_a_finished_run_whose_result_is_gone_can_be_started_again(
    make_run: MakeRun, no_worker: list[list[str]]
) -> None:
    run = make_run()
    run.write_status(Status(state="done"))
    assert jobs.can_resume(run)
    jobs.start(run)
    assert len(no_worker) == 1


# ---- start and cancel -------------------------------------------------------------------------------------------


def test_start_queues_the_run_and_clears_what_was(make_run: MakeRun, no_worker: list[list[str]]) -> None:
    run = make_run()
    run.write_status(
        Status(state="failed", message="Broken.", step=20, max_steps=30, pid=1, queued_at=1.0, finished_at=2.0)
    )
    run.request_cancel()
    jobs.start(run, n_slots=3)
    status = run.status()
    assert (status.state, status.message, status.pid, status.finished_at) == ("queued", "", None, None)
    assert status.step == 20
    assert status.queued_at > 1
    assert not run.cancel_requested
    assert len(no_worker) == 1
    assert no_worker[0][-3:] == [str(run.path), "--slots", "3"]


def test_a_done_run_is_not_started(make_run: MakeRun, no_worker: list[list[str]]) -> None:
    run = make_run()
    run.write_status(Status(state="done"))
    run.result_path.touch()
    with pytest.raises(RunError, match="tiny is done; there is nothing to resume"):
        jobs.start(run)
    assert no_worker == []
    assert run.status().state == "done"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_with_a_worker_gets_no_second_one(make_run: MakeRun, no_worker: list[list[str]], state: str) -> None:
    run = make_run()
    run.write_status(status_of(psutil.Process(), state=state))
    with pytest.raises(RunError, match=f"tiny is already {state}"):
        jobs.start(run)
    assert no_worker == []


def test_two_who_ask_at_once_start_one_worker(make_run: MakeRun, no_worker: list[list[str]]) -> None:
    run = make_run()
    assert not jobs.was_started(run)
    jobs.start(run)
    queued_at = run.status().queued_at
    with pytest.raises(RunError, match="tiny is already queued"):
        jobs.start(run)
    assert jobs.was_started(run)
    assert len(no_worker) == 1
    assert run.status().queued_at == queued_at
    run.write_status(dataclasses.replace(run.status(), queued_at=1.0))  # no worker has come for minutes
    jobs.start(run)
    assert len(no_worker) == 2


def test_a_run_whose_worker_could_not_be_started_may_be_started_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no processes left")

    monkeypatch.setattr(jobs.subprocess, "run", fail)
    run = make_run()
    for _ in range(2):
        with pytest.raises(RunError, match="no processes left"):
            jobs.start(run)


def test_a_run_that_only_looks_lost_is_not_started(make_run: MakeRun, no_worker: list[list[str]]) -> None:
    run = make_run()
    run.write_status(status_of(psutil.Process(), pid_started=1.0))
    with jobs.hold(run), pytest.raises(RunError, match="already being worked on"):
        jobs.start(run)
    assert run.status().pid is not None, "its worker would end"
    jobs.start(run)
    assert len(no_worker) == 1


def test_links_leave_server_and_worker_the_same_queue(
    make_run: MakeRun, runs_folder: Path, tmp_path: Path, no_worker: list[list[str]]
) -> None:
    make_run()
    elsewhere = tmp_path / "large disk"
    runs_folder.rename(elsewhere)
    runs_folder.symlink_to(elsewhere, target_is_directory=True)
    run = Run(runs_folder / "tiny")
    jobs.start(run)
    told = [Path(word) for word in no_worker[0] if word.endswith("/tiny")]
    assert len(told) == 2, "supervisor and worker"
    assert {queue_of(path).folder for path in told} == {queue_of(run.path).folder}


def test_cancelling_a_live_run_leaves_the_rest_to_its_worker(make_run: MakeRun) -> None:
    run = make_run()
    run.write_status(status_of(psutil.Process()))
    jobs.cancel(run)
    assert run.cancel_requested
    assert run.status().state == "running"


def test_cancelling_a_lost_run_marks_it_at_once(make_run: MakeRun) -> None:
    run = make_run()
    run.write_status(Status(state="running", pid=None, queued_at=1.0))
    jobs.cancel(run)
    assert jobs.state(run) == "cancelled"
    assert run.status().finished_at is not None


# ---- turns ------------------------------------------------------------------------------------------------------


def queued(make_run: MakeRun, run_id: str, queued_at: float, **changes: Any) -> Run:
    """A run in the queue, as `jobs.start` leaves it."""
    run = make_run(run_id)
    run.write_status(status_of(psutil.Process(), state="queued", queued_at=queued_at, **changes))
    queue = queue_of(run.path)
    queue.enter(dataclasses.replace(queue.entry_of(run.path), queued_at=queued_at))
    return run


def set_state(run: Run, state: str) -> None:
    run.write_status(dataclasses.replace(run.status(), state=state))


class Turn:
    """A run that waits for its turn in a thread, takes it, and keeps it until told."""

    def __init__(self, run: Run, *, n_slots: int = 1) -> None:
        self.run, self.n_slots = run, n_slots
        self.got: bool | None = None
        self.release = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        with jobs.take_turn(self.run, n_slots=self.n_slots) as is_our_turn:
            if is_our_turn:
                set_state(self.run, "running")
            self.got = is_our_turn
            self.release.wait(60)
        set_state(self.run, "done")

    def end(self) -> None:
        self.release.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_with_one_slot_runs_go_one_by_one_in_order_of_queueing(make_run: MakeRun, wait_until: WaitUntil) -> None:
    # names against the order, and the last to queue up is the first to look
    runs = [queued(make_run, name, 1.0 + place) for place, name in enumerate("cab")]
    turns = [Turn(run) for run in reversed(runs)][::-1]
    for place, turn in enumerate(turns):
        wait_until(lambda turn=turn: turn.got)
        assert [other.got for other in turns] == [True] * (place + 1) + [None] * (2 - place)
        turn.end()


def test_with_two_slots_two_run_and_the_third_waits(make_run: MakeRun, wait_until: WaitUntil) -> None:
    turns = [Turn(queued(make_run, name, 1.0 + place), n_slots=2) for place, name in enumerate("abc")]
    wait_until(lambda: turns[0].got and turns[1].got)
    assert turns[2].got is None
    turns[1].end()
    wait_until(lambda: turns[2].got)
    turns[0].end()
    turns[2].end()


def test_a_cancelled_run_leaves_the_queue_without_its_turn(make_run: MakeRun, wait_until: WaitUntil) -> None:
    first, second = (queued(make_run, name, place) for place, name in enumerate("ab", start=1))
    turn, waiting = Turn(first), Turn(second)
    wait_until(lambda: turn.got)
    second.request_cancel()
    wait_until(lambda: waiting.got is False)
    waiting.end()
    turn.end()


@pytest.mark.parametrize(
    "blocker",
    [
        pytest.param({"pid": None}, id="never picked up"),
        pytest.param({"pid_started": 1.0}, id="its worker died"),
        pytest.param({"state": "cancelled"}, id="cancelled"),
    ],
)
def test_a_run_that_will_never_go_does_not_hold_up_the_queue(
    make_run: MakeRun, wait_until: WaitUntil, blocker: dict[str, Any]
) -> None:
    earlier = queued(make_run, "a", 1.0)
    earlier.write_status(dataclasses.replace(earlier.status(), **blocker))
    turn = Turn(queued(make_run, "b", 2.0))
    wait_until(lambda: turn.got)
    turn.end()


@pytest.mark.parametrize("text", ["", "{"])
def test_a_damaged_run_does_not_hold_up_the_queue(make_run: MakeRun, text: str) -> None:
    (make_run("a").path / keys.STATUS_FILE).write_text(text)
    with jobs.take_turn(queued(make_run, "b", 2.0), n_slots=1) as is_our_turn:
        assert is_our_turn


def test_what_a_cluster_left_at_work_does_not_count_once_its_broker_is_gone(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(make_run, "here", 1.0)
    queue = queue_of(run.path)
    for name, status in (("dead", status_of(psutil.Process(), pid_started=1.0)), ("done", Status(state="done"))):
        left = make_run(name)
        left.write_status(status)
        queue.begin(dataclasses.replace(queue.entry_of(left.path), engine=CLUSTER))
    monkeypatch.setenv(broker.VARIABLE, "redis://nowhere.invalid:1/0")
    with jobs.take_turn(run, n_slots=1):
        assert len(queue.working()) == 3, "the cluster looks after its own"
    monkeypatch.delenv(broker.VARIABLE)
    with jobs.take_turn(run, n_slots=1):
        assert [entry.path for entry in queue.working()] == ["runs/here"]


def test_a_slot_is_free_again_after_an_error(make_run: MakeRun) -> None:
    def fail(run: Run) -> None:
        with jobs.take_turn(run, n_slots=1):
            raise ZeroDivisionError

    first, second = queued(make_run, "a", 1.0), queued(make_run, "b", 2.0)
    with pytest.raises(ZeroDivisionError):
        fail(first)
    set_state(first, "failed")
    with jobs.take_turn(second, n_slots=1) as is_our_turn:
        assert is_our_turn


def test_threads_are_shared_between_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.os, "cpu_count", lambda: 8)
    assert [jobs.threads_per_run(n_slots) for n_slots in (0, 1, 2, 3, 16)] == [8, 8, 4, 2, 1]


def test_slots_are_kept_out_of_the_list_of_runs(make_run: MakeRun, runs_folder: Path) -> None:
    from scetm_core.runs import list_runs

    with jobs.take_turn(queued(make_run, "a", 1.0), n_slots=1):
        assert [run.id for run in list_runs(runs_folder)] == ["a"]


# ---- real workers -----------------------------------------------------------------------------------------------


@pytest.fixture
def workers(make_run: MakeRun) -> Iterator[Callable[..., Run]]:
    """Make runs for real workers; whatever still works after the test is ended."""
    made: list[Run] = []

    def make(run_id: str, **changes: Any) -> Run:
        made.append(make_run(run_id, **changes))
        return made[-1]

    yield make
    for run in made:
        status = run.status()
        if status.pid is not None and liveness.is_alive(status):
            os.kill(status.pid, signal.SIGKILL)


def is_over(run: Run) -> bool:
    return jobs.state(run) not in ("queued", "running")


LONG = {"max_steps": 200, "report_every": 1, "checkpoint_every": 1, "evaluate_every": 100}


@pytest.mark.slow
def test_a_killed_worker_is_told_of_and_its_run_resumes_to_the_end(
    workers: Callable[..., Run], wait_until: WaitUntil
) -> None:
    run, states = workers("killed", **LONG), []

    def is_training() -> bool:
        states.append(jobs.state(run))
        return run.status().step >= 5

    jobs.start(run)
    wait_until(is_training)
    assert states[0] == "queued"
    assert states[-1] == "running"
    status = run.status()
    assert status.pid is not None
    assert os.getsid(status.pid) != os.getsid(0), "the worker must outlive this terminal"
    assert psutil.Process(status.pid).ppid() != os.getpid()
    os.kill(status.pid, signal.SIGKILL)
    wait_until(lambda: jobs.state(run) == "failed")
    assert "killed (signal 9, SIGKILL)" in run.status().message
    trained = run.metrics()["step"].max()
    assert trained < 200

    jobs.start(run)
    wait_until(lambda: is_over(run))
    assert jobs.state(run) == "done", run.log_tail()
    curve = run.metrics()
    assert curve["step"].tolist() == list(range(1, 201))
    assert curve["nll"].notna().all()
    assert run.status().step == 200
    assert run.load_result().n_obs == 240
    with pytest.raises(RunError, match="is done"):
        jobs.start(run)


@pytest.mark.slow
def test_cancelled_in_training_it_keeps_its_steps_and_resumes(
    workers: Callable[..., Run], wait_until: WaitUntil
) -> None:
    run = workers("cancelled", **{**LONG, "checkpoint_every": 1000})
    jobs.start(run)
    wait_until(lambda: run.status().step >= 5)
    jobs.cancel(run)
    wait_until(lambda: is_over(run))
    status = run.status()
    assert status.state == "cancelled"
    assert 5 <= status.step < 200
    assert [path.name for path in run.checkpoint_path.iterdir()] == [f"step-{status.step:08d}.safetensors"]
    assert not run.has_result

    jobs.start(run)
    wait_until(lambda: is_over(run))
    assert run.status().state == "done", run.log_tail()
    rows = (run.path / keys.METRICS_FILE).read_text().splitlines()
    assert len(rows) == 201, "no step was trained twice"


@pytest.mark.slow
def test_two_runs_with_one_slot_never_train_at_the_same_time(
    workers: Callable[..., Run], wait_until: WaitUntil
) -> None:
    first, second = workers("z-first"), workers("a-second")
    together = []

    def both_over() -> bool:
        together.append([jobs.state(first), jobs.state(second)])
        return is_over(first) and is_over(second)

    jobs.start(first)
    jobs.start(second)
    wait_until(both_over)
    assert together[-1] == ["done", "done"], first.log_tail() + second.log_tail()
    assert ["running", "running"] not in together
    assert ["running", "queued"] in together
    assert ["queued", "running"] not in together
    assert ["lost", "done"] not in together


@pytest.mark.slow
def test_two_workers_of_one_run_do_the_work_once(workers: Callable[..., Run], wait_until: WaitUntil) -> None:
    """Two clicks at once: both get past the check before either worker has said who it is."""
    run = workers("twice", max_steps=40, report_every=1)
    commands = [[sys.executable, "-m", "scetm_core.worker", str(run.path), "--slots", "2"] for _ in range(2)]
    processes = [subprocess.Popen(command, cwd=Path(jobs.__file__).parent.parent) for command in commands]
    for process in processes:
        process.wait(120)
    assert jobs.state(run) == "done"
    rows = (run.path / keys.METRICS_FILE).read_text().splitlines()
    assert [line.split(",")[0] for line in rows] == ["step", *map(str, range(1, 41))]
