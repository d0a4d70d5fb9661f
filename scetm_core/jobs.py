"""How does a run stand, and how is its worker started or stopped? Knows `Run`, not models.

The worker is a process of its own session, so it outlives the server, the tab and the terminal that started it. A
small process beside it sees how it ends (`supervisor`).
Waiting for a free slot is the worker's own business (`take_turn`): the queue needs no scheduler and survives
everything the folders survive. Where a broker is set (`broker`), a job is handed to a worker on another machine instead
(`handover`); its folder is the truth all the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from scetm_core import broker, liveness, processes
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder
from scetm_core.runs import Run
from scetm_core.waiting import ANY, CLUSTER, CPU, GPU, HERE, TASKS, Entry, Queue, queue_of

HELD = 75
"""Exit status of a worker that did nothing, because another one has the job."""
THREADS_VARIABLE = "SCETM_THREADS"
UNREACHABLE = "The broker could not be reached. This waits, and begins once it can be."

_GO_BETWEEN = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"


class Held(RunError):
    """Another process works on the job."""


def state(run: JobFolder) -> str:
    """State of a run, or a task, as a page shows it: that of its status, or ``"lost"`` if its worker died unsaid."""
    for _ in range(2):  # between the first two looks a worker may write how it ended, and be gone
        status = run.status()
        if status.state in FINISHED or liveness.looks_alive(status):
            return status.state
    return "queued" if is_in_cluster(run) else "lost"


def is_in_cluster(run: JobFolder) -> bool:
    """Whether a run, or a task, is the cluster's: it waits for a worker, or another takes over from a lost one."""
    queue = queue_of(run.path)
    return queue.is_waiting(run.path) or queue.is_working(run.path)


def was_started(run: JobFolder) -> bool:
    """Whether a worker has been asked for since a job was queued, though it may not have said anything yet."""
    status, entry = run.status(), queue_of(run.path).find(run.path)
    return status.pid is not None or (entry is not None and entry.queued_at == status.queued_at)


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
    queue = queue_of(run.path)
    with queue.alone():  # two may ask at once
        status = run.status()
        if status.state == "done" and run.has_result:
            raise RunError(f"Run {run.id} is done; there is nothing to resume.")
        if status.state not in FINISHED:
            if is_in_cluster(run) or (liveness.looks_alive(status) and was_started(run)):
                raise RunError(f"Run {run.id} is already {status.state}.")
            with hold(run):  # it may only look lost
                pass
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
        queue.enter(_entry(queue, run, engine=CLUSTER if broker.address() else HERE, lane=lane_of(run)))
    spawn(
        run,
        "scetm_core.worker",
        "--slots",
        str(n_slots),
        lane=lane_of(run),
        n_processes=run.config.train.n_processes,
    )


def lane_of(run: Run) -> str:
    """Which workers of the cluster may train a run: those with a GPU if it asks for one, any if it leaves that open."""
    return {"auto": ANY, "cuda": GPU}.get(run.config.train.device, CPU)


def spawn(job: JobFolder, module: str, *options: str, lane: str = TASKS, n_processes: int = 1) -> None:
    """Run ``python -m MODULE FOLDER OPTIONS`` as a process of its own session, which outlives this one.

    Where a broker is set, a worker of the cluster does, on whatever machine (`handover`).

    Parameters
    ----------
    lane
        Which workers of the cluster may take it.
    n_processes
        That do the work together, under torchrun.

    Raises
    ------
    RunError
        If it cannot be started.
    """
    if broker.address():
        _hand_over(job, lane)
        return
    worker = command(job, module, *options, n_processes=n_processes)
    supervised = [sys.executable, "-m", "scetm_core.supervisor", str(job.path.absolute()), *worker]
    with job.log_path.open("ab") as log:
        # The go-between ends at once, so that the worker is nobody's child: a background callback that is
        # stopped kills its children, and a server that ends leaves none behind unreaped.
        try:
            subprocess.run(
                [sys.executable, "-c", _GO_BETWEEN, *supervised],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parent.parent,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            queue_of(job.path).leave(queue_of(job.path).entry_of(job.path))  # so that it may be tried again at once
            raise RunError(f"The worker of {job.noun} {job.id} could not be started: {error}.") from error


def command(job: JobFolder, module: str, *options: str, n_processes: int = 1) -> list[str]:
    """The command line of a worker: of this machine, or of another one whose interpreter may lie elsewhere.

    Links in the path stay as they are: by the path a worker finds its queue.
    """
    return processes.command(module, str(job.path.absolute()), *options, n_processes=n_processes)


def _hand_over(job: JobFolder, lane: str) -> None:
    """Put a job into the queue of the cluster, and tell its workers.

    Raises
    ------
    RunError
        If the queue cannot be written.
    """
    queue = queue_of(job.path)
    with queue.alone():
        entry = _entry(queue, job, engine=CLUSTER, lane=lane)
        if not was_started(job):  # a run is in the queue already, or even at work
            queue.enter(entry)
    if not broker.announce(entry.lanes):
        with queue.alone():
            if queue.is_waiting(job.path):
                job.write_status(dataclasses.replace(job.status(), message=UNREACHABLE))


def _entry(queue: Queue, job: JobFolder, *, engine: str, lane: str = ANY) -> Entry:
    return dataclasses.replace(queue.entry_of(job.path), engine=engine, lane=lane, queued_at=job.status().queued_at)


def cancel(run: JobFolder) -> None:
    """Ask the worker to stop at the next step; a job that has none, or whose worker is gone, is marked at once."""
    run.request_cancel()
    queue = queue_of(run.path)
    if _has_no_worker(run):
        with queue.alone():
            if _has_no_worker(run):
                queue.leave(queue.entry_of(run.path))
                mark_cancelled(run)


def _has_no_worker(run: JobFolder) -> bool:
    status = run.status()
    return status.state not in FINISHED and (
        queue_of(run.path).is_waiting(run.path) or not liveness.looks_alive(status)
    )


def mark_cancelled(run: JobFolder) -> None:
    """Say in the folder of a job that it was cancelled, where no worker can."""
    run.write_status(
        dataclasses.replace(run.status(), state="cancelled", message="Cancelled.", finished_at=time.time())
    )


@contextlib.contextmanager
def hold(run: JobFolder) -> Iterator[None]:
    """Be the only process that works on a run, or a task.

    Raises
    ------
    Held
        If another one does.
    """
    lock = filelock.FileLock(run.lock_path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Held(f"{run.noun.capitalize()} {run.id} is already being worked on by another process.") from None
    try:
        yield
    finally:
        lock.release()


def is_held(job: JobFolder) -> bool:
    """Whether a process works on a job, maybe one that was taken for lost."""
    try:
        with hold(job):
            return False
    except Held:
        return True
    except OSError:  # a worker will say what is wrong
        return False


@contextlib.contextmanager
def take_turn(run: Run, *, n_slots: int) -> Iterator[bool]:
    """Wait until a slot is free and this run is the next in the queue; yields False if cancelled meanwhile.

    A slot is a file lock in the queue, so the system frees it when a worker dies in whatever way.
    """
    queue = queue_of(run.path)
    mine, locks = _entry(queue, run, engine=HERE), queue.slot_locks(n_slots)
    try:
        while not run.cancel_requested:
            if _is_next(queue, mine):
                for lock in locks:
                    with contextlib.suppress(filelock.Timeout), lock:
                        queue.begin(mine)
                        yield True
                        return
            time.sleep(0.3)
        yield False
    finally:
        queue.leave(mine)


def _is_next(queue: Queue, mine: Entry) -> bool:
    """Whether nobody who still waits comes before; the dead are taken out of the queue on the way."""
    is_cluster_there = broker.address() != ""  # it looks after its own
    working = [
        entry
        for entry in queue.working()
        if (entry.engine == CLUSTER and is_cluster_there) or _is_there(queue, entry, "running")
    ]
    for entry in queue.in_order(HERE, working=working):
        if entry.path == mine.path:
            return True
        if _is_there(queue, entry, "queued"):
            return False
    queue.enter(mine)  # it is not there yet, or was taken for dead
    return False


def _is_there(queue: Queue, entry: Entry, expected: str) -> bool:
    """Whether the worker of a job in the queue lives; otherwise the job leaves it."""
    try:
        status = JobFolder(queue.job_path(entry)).status()
        if status.state == expected and liveness.is_alive(status):
            return True
        is_changing = status.state not in FINISHED and liveness.is_alive(status)  # its turn has come this moment
    except RunError:
        is_changing = False  # damaged, or deleted meanwhile: not waiting for a turn
    if not is_changing:
        queue.leave(entry)
    return is_changing


def place_in_queue(run: JobFolder) -> int | None:
    """1 for the next of those that wait for the same workers, 2 for the one after; None for one that does not wait."""
    queue = queue_of(run.path)
    mine = next(
        (e for e in queue.waiting(CLUSTER) + queue.waiting(HERE) if e.path == queue.entry_of(run.path).path), None
    )
    if mine is None:
        return None
    before = queue.in_order(mine.engine, working=queue.working(), lanes=mine.lanes)
    return next((place for place, entry in enumerate(before, start=1) if entry.path == mine.path), None)


def threads_per_run(n_slots: int) -> int:
    """Processor threads a worker may use when `n_slots` train side by side, each maybe in several processes.

    Without slots (0) it trains alone. A worker of the cluster is told them.
    """
    given = int(os.environ.get(THREADS_VARIABLE, "0"))
    return given or max(1, (os.cpu_count() or 1) // (max(1, n_slots) * processes.local_world()))
