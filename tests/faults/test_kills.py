"""Is nothing lost when a worker is killed, at whatever moment? After a resume a run is what it would have been."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scetm_core import jobs
from scetm_core.checkpoints import checkpoint_files
from scetm_core.runs import Run

MakeRun = Callable[..., Run]

ROOT = Path(__file__).parents[2]
N_KILLS = 50
STEPS = {"max_steps": 40, "checkpoint_every": 8, "report_every": 4, "evaluate_every": 8}
CURVE = ["step", "nll", "kl", "test_nll", "grad_norm", "learning_rate", "rollbacks"]
MEASURED = ("seconds", "peak_memory_mb")  # of this computer, not of the run


class Forker:
    """Starts workers in milliseconds, see `forker.py`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def work(self, run: Run, *, die_at: int = 0, watch: Callable[[int], None] | None = None) -> int:
        """Exit status of a worker of the run, minus the signal's number if it was killed."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{run.path} {die_at}\n")
        self.process.stdin.flush()
        pid = self._answer()
        watcher = threading.Thread(target=watch, args=[pid]) if watch else None
        if watcher:
            watcher.start()
        code = self._answer()
        if watcher:
            watcher.join()
        return code


@pytest.fixture
def forker() -> Iterator[Forker]:
    made = Forker()
    with made.process:  # closes its input, on which it ends
        yield made
    assert made.process.returncode == 0


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.kill(pid, signal.SIGKILL)


def kill_on_sight(run: Run, pattern: str) -> Callable[[int], None]:
    """Kill a worker in the middle of writing a file: as soon as its draft is there."""

    def watch(pid: int) -> None:
        before = set(run.path.glob(pattern))
        while os.path.exists(f"/proc/{pid}") and set(run.path.glob(pattern)) <= before:
            time.sleep(0.0005)
        kill(pid)

    return watch


def kill_after(seconds: float) -> Callable[[int], None]:
    def watch(pid: int) -> None:
        time.sleep(seconds)
        kill(pid)

    return watch


def same_end(run: Run, undisturbed: Run) -> None:
    assert run.metrics()[CURVE].equals(undisturbed.metrics()[CURVE])
    for slot in ("delta", "X_scetm"):
        assert (run.load_result().obsm[slot] == undisturbed.load_result().obsm[slot]).all()
    assert (run.load_result().obs == undisturbed.load_result().obs).all(axis=None)
    scores, expected = run.evaluation(), undisturbed.evaluation()
    assert {k: v for k, v in scores.items() if k not in MEASURED} == {
        k: v for k, v in expected.items() if k not in MEASURED
    }


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="watches processes in /proc")
def test_killed_fifty_times_runs_end_as_undisturbed_ones(make_run: MakeRun, forker: Forker) -> None:
    rng = random.Random(20261126)
    undisturbed = make_run("undisturbed", **STEPS)
    assert forker.work(undisturbed) == 0
    kills, n_runs, moments, run = 0, 0, set(), None
    while kills < N_KILLS or run is not None:
        if run is None:
            n_runs += 1
            run = make_run(f"killed-{n_runs}", **STEPS)
        way = rng.choice(["file", "file", "delay", "checkpoint", "result"]) if kills < N_KILLS else "none"
        pattern = {"checkpoint": "checkpoint/.step-*.draft", "result": ".result.h5ad.*.draft"}.get(way)
        watch = (
            kill_on_sight(run, pattern) if pattern else kill_after(rng.uniform(0.0, 0.5)) if way == "delay" else None
        )
        code = forker.work(run, die_at=rng.randrange(1, 90) if way == "file" else 0, watch=watch)
        if code == -signal.SIGKILL:
            kills += 1
            status = run.status()  # readable whatever happened
            moments.add((way, status.stage))
            said_nothing = status.pid is None  # killed before its first word: still queued
            assert jobs.state(run) == ("queued" if said_nothing else "lost") or status.state == "done", status
            files = [int(path.stem.removeprefix("step-")) for path in checkpoint_files(run.path / "checkpoint")]
            curve = run.metrics()["step"]
            assert curve.max() - max(files, default=0) <= STEPS["checkpoint_every"] if len(curve) else not files[1:]
        else:
            assert code == 0, run.status().message
        if run.status().state == "done":
            same_end(run, undisturbed)
            if code == 0:
                assert not list(run.path.rglob("*.draft")), "nothing half-written is left"
            assert len(checkpoint_files(run.checkpoint_path)) in (2, 3), "3 if killed before the oldest was deleted"
            run = None
    assert kills == N_KILLS
    assert n_runs >= 3
    assert {way for way, _ in moments} == {"file", "delay", "checkpoint", "result"}
    assert {"training", "evaluating"} <= {stage for _, stage in moments}


@pytest.mark.slow
def test_a_real_worker_killed_and_then_told_to_end_ends_as_an_undisturbed_one(
    make_run: MakeRun, wait_until: Callable[..., None]
) -> None:
    long = {"max_steps": 120, "checkpoint_every": 10, "report_every": 2, "evaluate_every": 40}
    run, undisturbed = make_run("killed", **long), make_run("undisturbed", **long)
    jobs.start(undisturbed, n_slots=2)
    jobs.start(run, n_slots=2)
    wait_until(lambda: run.status().step >= 20)
    kill(run.status().pid or 0)
    wait_until(lambda: jobs.state(run) == "failed")
    assert "was killed (signal 9, SIGKILL)" in run.status().message
    assert "resume" in run.status().message
    jobs.start(run, n_slots=2)
    wait_until(lambda: run.status().step >= 60)
    os.kill(run.status().pid or 0, signal.SIGTERM)  # as a computer that is shut down does
    wait_until(lambda: jobs.state(run) not in ("queued", "running", "lost"))
    status = run.status()
    assert status.state == "cancelled", status.message
    newest = checkpoint_files(run.checkpoint_path)[0]
    assert newest.name == f"step-{status.step:08d}.safetensors", "not a step is lost"
    jobs.start(run, n_slots=2)
    wait_until(lambda: jobs.state(run) in ("done", "failed") and jobs.state(undisturbed) in ("done", "failed"))
    same_end(run, undisturbed)
