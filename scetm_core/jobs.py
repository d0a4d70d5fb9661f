"""Is a run's worker alive, and how is it started or stopped? Knows `Run`, not models.

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
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil

from scetm_core import broker, processes
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder, Status
from scetm_core.runs import Run
from scetm_core.waiting import ANY, CLUSTER, CPU, GPU, HERE, TASKS, Entry, Queue, queue_of

STALE_SECONDS = 120.0
"""A worker on another host, whose processes cannot be seen, counts as lost if its heart has not beaten for so long: by
the clock of who looks, since clocks of machines differ."""
WORLDS_APART = 3600.0
"""By which clocks of machines never differ: a heartbeat so old at the first look is not waited for."""
THREADS_VARIABLE = "SCETM_THREADS"
UNREACHABLE = "The broker could not be reached. This waits, and begins once it can be."

_GO_BETWEEN = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
_START_SECONDS = 120.0  # a queued run may take this long to be picked up before it counts as lost


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

    Setting the clock changes nothing for a worker of this host. One of another host is watched from the first look on.
    """
    if status.pid is None:
        return abs(time.time() - status.queued_at) < _START_SECONDS
    if status.host != socket.gethostname():
        return _beats(status)
    try:
        process = psutil.Process(status.pid)
        if status.pid_key:
            is_same = status.pid_key == _process_key(status.pid)
        else:  # no Linux, or written by an earlier version
            is_same = abs(process.create_time() - (status.pid_started or 0.0)) < 1.0
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


_seen: dict[tuple[object, ...], tuple[float, float]] = {}  # worker elsewhere -> heartbeat, when it was first seen here


def _beats(status: Status) -> bool:
    """Whether the heartbeat of a worker on another host has changed lately, as seen from here."""
    worker, now = (status.host, status.pid, status.pid_key or status.pid_started), time.monotonic()
    known = _seen.pop(worker, None)
    if known is None:
        is_hopeless = abs(time.time() - status.heartbeat) > WORLDS_APART
        known = (status.heartbeat, now - STALE_SECONDS if is_hopeless else now)
    elif known[0] != status.heartbeat:
        known = (status.heartbeat, now)
    _seen[worker] = known  # the last seen last
    while len(_seen) > 1000:
        _seen.pop(next(iter(_seen)), None)
    return now - known[1] < STALE_SECONDS


def state(run: JobFolder) -> str:
    """State of a run, or a task, as a page shows it: that of its status, or ``"lost"`` if its worker died unsaid."""
    status = run.status()
    if status.state in FINISHED or is_alive(status):
        return status.state
    return "queued" if is_in_cluster(run) else "lost"


def is_in_cluster(run: JobFolder) -> bool:
    """Whether a run, or a task, is the cluster's: it waits for a worker, or another takes over from a lost one."""
    queue = queue_of(run.path)
    return queue.is_waiting(run.path) or queue.is_working(run.path)


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
    if status.state not in FINISHED and ((status.pid is not None and is_alive(status)) or is_in_cluster(run)):
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
    if not broker.address():
        queue = queue_of(run.path)
        queue.enter(_entry_here(queue, run))
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
    supervised = [sys.executable, "-m", "scetm_core.supervisor", str(job.path.resolve()), *worker]
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
            raise RunError(f"The worker of {job.noun} {job.id} could not be started: {error}.") from error


def command(job: JobFolder, module: str, *options: str, n_processes: int = 1) -> list[str]:
    """The command line of a worker: of this machine, or of another one whose interpreter may lie elsewhere."""
    return processes.command(module, str(job.path.resolve()), *options, n_processes=n_processes)


def _hand_over(job: JobFolder, lane: str) -> None:
    """Put a job into the queue of the cluster, and tell its workers.

    Raises
    ------
    RunError
        If the queue cannot be written.
    """
    queue, status = queue_of(job.path), job.status()
    entry = dataclasses.replace(
        queue.entry_of(job.path), engine=CLUSTER, lane=lane, queued_at=status.queued_at or time.time()
    )
    with queue.alone():
        queue.enter(entry)
    if not broker.announce(entry.lanes):
        with queue.alone():
            if queue.is_waiting(job.path):
                job.write_status(dataclasses.replace(status, message=UNREACHABLE))


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
    return status.state not in FINISHED and (queue_of(run.path).is_waiting(run.path) or not is_alive(status))


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
    """Wait until a slot is free and this run is the next in the queue; yields False if cancelled meanwhile.

    A slot is a file lock in the queue, so the system frees it when a worker dies in whatever way.
    """
    queue = queue_of(run.path)
    mine, locks = _entry_here(queue, run), queue.slot_locks(n_slots)
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


def _entry_here(queue: Queue, run: Run) -> Entry:
    return dataclasses.replace(queue.entry_of(run.path), engine=HERE, queued_at=run.status().queued_at)


def _is_next(queue: Queue, mine: Entry) -> bool:
    """Whether nobody who still waits comes before; the dead are taken out of the queue on the way."""
    working = [entry for entry in queue.working() if entry.engine == CLUSTER or _is_there(queue, entry, "running")]
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
        if status.state == expected and is_alive(status):
            return True
        is_changing = status.state not in FINISHED and is_alive(status)  # its turn has come this moment
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

    A worker of the cluster is told them.
    """
    given = int(os.environ.get(THREADS_VARIABLE, "0"))
    return given or max(1, (os.cpu_count() or 1) // (n_slots * processes.local_world()))
