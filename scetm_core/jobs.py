"""Is a run's worker alive, and how is it started or stopped? Knows `Run`, not models.

The worker is a process of its own session, so it outlives the server, the tab and the terminal that started it.
Waiting for a free slot is the worker's own business (`take_turn`): the queue needs no scheduler and survives
everything the folders survive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil

from scetm_core import keys, processes
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder, Status
from scetm_core.runs import Run, list_runs

STALE_SECONDS = 120.0
"""A heartbeat older than this, from another host whose processes cannot be seen, counts as lost."""

_GO_BETWEEN = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
_START_SECONDS = 30.0  # a queued run may take this long to be picked up before it counts as lost


def identity() -> dict[str, object]:
    """Who this process is, for `status.json`: a process number alone may be given to another process later."""
    process = psutil.Process()
    return {"pid": process.pid, "pid_started": process.create_time(), "host": socket.gethostname()}


def is_alive(status: Status) -> bool:
    """Whether the worker that wrote `status` still runs. A dead child nobody waited for counts as dead."""
    if status.pid is None:
        return time.time() - status.queued_at < _START_SECONDS
    if status.host != socket.gethostname():
        return time.time() - status.heartbeat < STALE_SECONDS
    try:
        process = psutil.Process(status.pid)
        is_same = abs(process.create_time() - (status.pid_started or 0.0)) < 1.0
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def state(run: JobFolder) -> str:
    """State of a run, or a task, as a page shows it: that of its status, or ``"lost"`` if its worker died unsaid."""
    status = run.status()
    return status.state if status.state in FINISHED or is_alive(status) else "lost"


def can_resume(run: Run) -> bool:
    """Whether the run stopped before its end and can go on from its last checkpoint, or from the start."""
    return state(run) in ("cancelled", "failed", "lost")


def start(run: Run, *, n_slots: int = 1) -> None:
    """Start, or resume, the worker of a run; it queues up if all slots are taken.

    Raises
    ------
    RunError
        If the run is done, or a worker is at it already.
    """
    status = run.status()
    if status.state == "done":
        raise RunError(f"Run {run.id} is done; there is nothing to resume.")
    if status.state not in FINISHED and status.pid is not None and is_alive(status):
        raise RunError(f"Run {run.id} is already {status.state}.")
    run.clear_cancel()
    run.write_status(
        dataclasses.replace(
            status,
            state="queued",
            stage="waiting",
            message="",
            pid=None,
            queued_at=time.time(),
            finished_at=None,
            eta_seconds=None,
        )
    )
    spawn(run, "scetm_core.worker", "--slots", str(n_slots), n_processes=run.config.train.n_processes)


def spawn(job: JobFolder, module: str, *options: str, n_processes: int = 1) -> None:
    """Run ``python -m MODULE FOLDER OPTIONS`` as a process of its own session, which outlives this one.

    Parameters
    ----------
    n_processes
        That do the work together, under torchrun.

    Raises
    ------
    RunError
        If it cannot be started.
    """
    worker = processes.command(module, str(job.path.resolve()), *options, n_processes=n_processes)
    with job.log_path.open("ab") as log:
        # The go-between ends at once, so that the worker is nobody's child: a background callback that is
        # stopped kills its children, and a server that ends leaves none behind unreaped.
        try:
            subprocess.run(
                [sys.executable, "-c", _GO_BETWEEN, *worker],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parent.parent,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise RunError(f"The worker of {job.noun} {job.id} could not be started: {error}.") from error


def cancel(run: JobFolder) -> None:
    """Ask the worker to stop at the next step; a job whose worker is gone is marked at once."""
    run.request_cancel()
    if state(run) == "lost":
        run.write_status(
            dataclasses.replace(run.status(), state="cancelled", message="Cancelled.", finished_at=time.time())
        )


@contextlib.contextmanager
def hold(run: JobFolder) -> Iterator[None]:
    """Be the only process that works on a run, or a task.

    Raises
    ------
    RunError
        If another one does.
    """
    lock = filelock.FileLock(run.lock_path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"{run.noun.capitalize()} {run.id} is already being worked on by another process.") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def take_turn(run: Run, *, n_slots: int) -> Iterator[bool]:
    """Wait until a slot is free and no run queued earlier waits for it; yields False if cancelled meanwhile.

    A slot is a file lock beside the runs, so the system frees it when a worker dies in whatever way.
    """
    folder = run.path.parent / f".{keys.SLOTS_FOLDER}"
    folder.mkdir(exist_ok=True)
    locks = [filelock.FileLock(folder / f"{slot}.lock", blocking=False) for slot in range(n_slots)]
    while not run.cancel_requested:
        if _is_first_in_queue(run):
            for lock in locks:
                with contextlib.suppress(filelock.Timeout), lock:
                    yield True
                    return
        time.sleep(0.3)
    yield False


def _is_first_in_queue(run: Run) -> bool:
    mine = (run.status().queued_at, run.id)
    for other in list_runs(run.path.parent):
        try:
            status = other.status()
        except RunError:
            continue  # damaged, or deleted meanwhile: not waiting for a turn
        if other.id != run.id and status.state == "queued" and is_alive(status) and (status.queued_at, other.id) < mine:
            return False
    return True


def threads_per_run(n_slots: int) -> int:
    """Processor threads a worker may use when `n_slots` train side by side, each maybe in several processes."""
    return max(1, (os.cpu_count() or 1) // (n_slots * processes.local_world()))
