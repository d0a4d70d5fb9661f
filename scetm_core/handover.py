"""How does a worker of the cluster take a job, carry it out, and what becomes of one whose worker was lost?

A worker takes the next job of the queue (`waiting`), runs it in a process of its own, and notes its end. Every worker
looks after the jobs of all others: one whose machine is gone goes back into the queue, some times. None is begun while
somebody holds its lock, whatever became of their heartbeat. Nothing here knows how workers hear of work (`cluster`).
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
import time
from collections.abc import Iterable

from scetm_core import jobs, keys, liveness
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder, Status
from scetm_core.runs import Run
from scetm_core.supervisor import End, report_end, run_to_end
from scetm_core.waiting import CLUSTER, HERE, Entry, Queue

MAX_ATTEMPTS = 3
"""Workers that may be lost with a job before it is given up: it may be what kills them."""

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)
"""Ends that say nothing against the job: somebody, or the machine going down, ended its process."""

log = logging.getLogger("scetm")


def claim(queue: Queue, lanes: Iterable[str]) -> Entry | None:
    """Take the next job that a worker of these lanes may take; None if none waits.

    Raises
    ------
    RunError
        If the queue cannot be written.
    """
    with queue.alone():
        for entry in queue.in_order(CLUSTER, working=queue.working(), lanes=lanes):
            job = _job_of(queue, entry)
            status = _status_of(job)
            if status is None or status.state != "queued":  # deleted, damaged, or started otherwise
                queue.leave(entry)
            elif job.cancel_requested:
                queue.leave(entry)
                jobs.mark_cancelled(job)
            elif not jobs.is_held(job):  # otherwise its old worker lives, or its machine's lock does: it waits
                begun = dataclasses.replace(entry, attempt=entry.attempt + 1)
                queue.begin(begun)
                again = f", attempt {begun.attempt} of {MAX_ATTEMPTS}" if begun.attempt > 1 else ""
                message = f"Starting on {socket.gethostname()}{again}."
                job.write_status(dataclasses.replace(status, **liveness.identity(), message=message))  # type: ignore[arg-type]
                return begun
    return None


def carry_out(queue: Queue, entry: Entry) -> bool:
    """Run a job that was claimed to its end, in a process of its own, and note the end.

    Returns
    -------
    Whether it waits again, because its process was ended from outside.

    Raises
    ------
    RunError
        If the queue or the job's folder cannot be written.
    """
    job = _job_of(queue, entry)
    with job.log_path.open("ab") as output:
        end, _ = run_to_end(_command_of(job), output=output)
    return _note_end(queue, entry, end)


def look_after(queue: Queue) -> list[Entry]:
    """Put jobs whose worker was lost back into the queue; answers which.

    Raises
    ------
    RunError
        If the queue cannot be written.
    """
    suspects = [entry for entry in queue.working() if not _is_at_work(queue, entry)]
    if not suspects:
        return []
    with queue.alone():  # what looked odd may have been about to begin or to end
        still = {entry.path: entry for entry in queue.working()}
        return [still[entry.path] for entry in suspects if entry.path in still and _put_right(queue, still[entry.path])]


def waiting_lanes(queue: Queue, lanes: Iterable[str]) -> list[str]:
    """Those of some lanes for which a job waits."""
    wanted = {lane for entry in queue.waiting(CLUSTER) for lane in entry.lanes}
    return [lane for lane in lanes if lane in wanted]


def _job_of(queue: Queue, entry: Entry) -> JobFolder:
    job = JobFolder(queue.job_path(entry))
    job.noun = "task" if (job.path / keys.REQUEST_FILE).is_file() else "run"
    return job


def _status_of(job: JobFolder) -> Status | None:
    try:
        return job.status()
    except RunError as error:
        log.warning("%s", error)
        return None


def _command_of(job: JobFolder) -> list[str]:
    if job.noun == "task":
        return jobs.command(job, "scetm_core.answers")
    n_processes = Run(job.path).config.train.n_processes
    return jobs.command(job, "scetm_core.worker", "--slots", "0", n_processes=n_processes)  # its turn has come already


def _is_at_work(queue: Queue, entry: Entry) -> bool:
    status = _status_of(_job_of(queue, entry))
    return status is not None and status.state not in FINISHED and liveness.is_alive(status)


def _put_right(queue: Queue, entry: Entry) -> bool:
    """Note the end of a job that has ended; whether it waits again, because its worker was lost."""
    job = _job_of(queue, entry)
    status = _status_of(job)
    if status is None or status.state in FINISHED:
        queue.leave(entry)
        return False
    if liveness.is_alive(status):
        return False
    if entry.engine == HERE:  # begun before there was a broker: it shows as lost, and is resumed by hand
        queue.leave(entry)
        return False
    return _put_back(queue, entry, job, status)


def _put_back(queue: Queue, entry: Entry, job: JobFolder, status: Status) -> bool:
    """Let a job whose worker was lost wait for another one; False if it is given up or was to stop anyway."""
    where = f" on {status.host}" if status.host else ""
    when = f" at step {status.step:,}" if status.step else ""
    if entry.attempt >= MAX_ATTEMPTS and not job.cancel_requested:
        message = (
            f"The worker{where} was lost{when}, after {entry.attempt - 1} others; this may be what ends them. Look at "
            "the log, and at the memory of those machines; then start it again: it goes on from its last checkpoint."
        )
        job.write_status(dataclasses.replace(status, state="failed", message=message, finished_at=time.time()))
        queue.leave(entry)
        return False
    message = f"The worker{where} was lost{when}; waiting for another, attempt {entry.attempt + 1} of {MAX_ATTEMPTS}."
    return _let_wait(queue, entry, job, message=message)


def _let_wait(queue: Queue, entry: Entry, job: JobFolder, *, message: str) -> bool:
    """Let a job wait again, and say why; False if it was to stop anyway."""
    if job.cancel_requested:
        queue.leave(entry)
        jobs.mark_cancelled(job)
        return False
    waits = {"state": "queued", "stage": "waiting", "message": message, "pid": None, "pid_key": "", "eta_seconds": None}
    job.write_status(dataclasses.replace(job.status(), **waits))  # type: ignore[arg-type]
    queue.enter(entry)
    log.warning("%s %s: %s", job.noun, job.id, message)
    return True


def _note_end(queue: Queue, entry: Entry, end: End) -> bool:
    """Take a job out of the queue, or let it wait again; whether it does."""
    job = _job_of(queue, entry)
    with queue.alone():
        current = next((e for e in queue.working() if e.path == entry.path), None)
        if current != entry:  # another worker has it: this one was taken for lost
            return False
        status = _status_of(job)
        if status is not None and status.state not in FINISHED:
            if end.code in FROM_OUTSIDE and not end.oom_killed:
                return _put_back(queue, entry, job, status)
            if end.code == jobs.HELD or jobs.is_held(job):  # this attempt was none
                entry = dataclasses.replace(entry, attempt=entry.attempt - 1)
                return _let_wait(queue, entry, job, message="Another process has it still; waiting until it is gone.")
            report_end(job, end, pid=status.pid or 0, queued_at=status.queued_at)
        queue.leave(entry)
    return False
