"""Is a run's worker alive, and how is it started or stopped? Knows `Run`, not models.

The worker is a process of its own session, so it outlives the server, the tab and the terminal that started it. A
small process beside it sees how it ends (`supervisor`).
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

from scetm_core import keys
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
    return {
        "pid": process.pid,
        "pid_started": process.create_time(),
        "pid_key": _process_key(process.pid),
        "host": socket.gethostname(),
    }


def _process_key(pid: int) -> str:
    """What tells a process from all others whatever the clock says: the boot and its start since then; Linux only."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system, or no such process
        return ""
    return f"{boot}/{stat.rpartition(')')[2].split()[19]}"  # 22nd field, and the name, the 2nd, may hold anything


def is_alive(status: Status) -> bool:
    """Whether the worker that wrote `status` still runs. A dead child nobody waited for counts as dead.

    Setting the clock changes nothing for a worker of this host; a time far ahead counts like one long ago.
    """
    if status.pid is None:
        return abs(time.time() - status.queued_at) < _START_SECONDS
    if status.host != socket.gethostname():
        return abs(time.time() - status.heartbeat) < STALE_SECONDS
    try:
        process = psutil.Process(status.pid)
        if status.pid_key:
            is_same = status.pid_key == _process_key(status.pid)
        else:  # no Linux, or written by an earlier version
            is_same = abs(process.create_time() - (status.pid_started or 0.0)) < 1.0
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def state(run: JobFolder) -> str:
    """State of a run, or a task, as a page shows it: that of its status, or ``"lost"`` if its worker died unsaid."""
    status = run.status()
    return status.state if status.state in FINISHED or is_alive(status) else "lost"


def can_resume(run: Run) -> bool:
    """Whether the run stopped before its end, or its result is gone: it can go on from its last checkpoint or anew."""
    now = state(run)
    return now in ("cancelled", "failed", "lost") or (now == "done" and not run.has_result)


def start(run: Run, *, n_slots: int = 1) -> None:
    """Start, or resume, the worker of a run; it queues up if all slots are taken.

    Raises
    ------
    RunError
        If the run is done and has its result, or a worker is at it already.
    """
    status = run.status()
    if status.state == "done" and run.has_result:
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
            pid_key="",
            queued_at=time.time(),
            finished_at=None,
            eta_seconds=None,
        )
    )
    spawn(run, "scetm_core.worker", "--slots", str(n_slots))


def spawn(job: JobFolder, module: str, *options: str) -> None:
    """Run ``python -m MODULE FOLDER OPTIONS`` as a process of its own session, which outlives this one.

    Raises
    ------
    RunError
        If it cannot be started.
    """
    worker = [sys.executable, "-m", "scetm_core.supervisor", module, str(job.path.resolve()), *options]
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
    """Processor threads a worker may use when `n_slots` train side by side."""
    return max(1, (os.cpu_count() or 1) // n_slots)
