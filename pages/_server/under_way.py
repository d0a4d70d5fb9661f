"""Who works, and who waits? The runs of everybody on this server, and what is being worked out of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pages._shared.studio import Studio
from scetm_core import jobs, keys
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder, Status
from scetm_core.runs import Run, open_run
from scetm_core.tasks import Task

STATES = ("queued", "running", "done", "failed", "cancelled", "lost")
SECONDS = 2.0
SEEN_SECONDS = 7 * 86_400.0
"""A host whose workers were last heard of longer ago is no longer listed."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run, or a task of one."""

    user: str
    """The account; "" without accounts."""
    run_id: str
    task: str
    """What is worked out; "" for the run itself."""
    state: str
    status: Status

    @property
    def is_under_way(self) -> bool:
        """Whether it works or waits."""
        return self.state in ("queued", "running")


class UnderWay:
    """Looks through the folders; what is finished is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[int, Status]] = {}
        self._last: tuple[float, Path, list[Seen]] = (0.0, Path(), [])

    def look(self, server: Studio) -> list[Seen]:
        """All runs and tasks, as they were some seconds ago at most."""
        with self._lock:
            at, home, _ = self._last
            if home != server.home or time.monotonic() - at > SECONDS:
                known, self._known = self._known, {}
                seen = [self._see(user, path, known) for user, path in _status_files(server)]
                self._last = (time.monotonic(), server.home, [one for one in seen if one is not None])
            return list(self._last[2])

    def forget(self) -> None:
        """Look anew the next time: something was changed."""
        with self._lock:
            self._last = (0.0, Path(), [])

    def _see(self, user: str, path: Path, known: dict[Path, tuple[int, Status]]) -> Seen | None:
        """What a status file tells; None if it is damaged, or gone by now."""
        job = JobFolder(path.parent)
        try:
            stamp = path.stat().st_mtime_ns
            earlier = known.get(path)
            status = earlier[1] if earlier is not None and earlier[0] == stamp else job.status()
            self._known[path] = (stamp, status)
            state = status.state if status.state in FINISHED else jobs.state(job)
        except (OSError, RunError):
            return None
        is_task = path.parent.parent.name == keys.TASKS_FOLDER
        return Seen(
            user=user,
            run_id=path.parent.parent.parent.name if is_task else job.id,
            task=job.id if is_task else "",
            state=state,
            status=status,
        )


def _status_files(server: Studio) -> Iterable[tuple[str, Path]]:
    for folder in server.all_runs_folders():
        user = "" if folder == server.runs_folder else folder.parent.name
        for pattern in (f"[!.]*/{keys.STATUS_FILE}", f"[!.]*/{keys.TASKS_FOLDER}/*/{keys.STATUS_FILE}"):
            yield from ((user, path) for path in folder.glob(pattern))


under_way = UnderWay()


def runs_of(seen: Iterable[Seen]) -> list[Seen]:
    """The runs among them, without their tasks."""
    return [one for one in seen if not one.task]


def states_of(runs: Iterable[Seen]) -> dict[str, int]:
    """How many are in each state."""
    counts = Counter(one.state for one in runs)
    return {state: counts[state] for state in STATES}


def queue_of(runs: Iterable[Seen]) -> list[Seen]:
    """Those that wait, the next one first."""
    return sorted((one for one in runs if one.state == "queued"), key=lambda one: one.status.queued_at)


def longest_wait(queue: Iterable[Seen]) -> float:
    """Seconds that the oldest has waited; 0 if none waits."""
    return max((time.time() - one.status.queued_at for one in queue), default=0.0)


def heartbeats_of(seen: Iterable[Seen]) -> dict[str, tuple[float, int]]:
    """Hosts whose workers were heard of: when last, and how many work or wait there now."""
    found: dict[str, tuple[float, int]] = {}
    for one in seen:
        host, at = one.status.host, one.status.heartbeat
        if host and time.time() - at < SEEN_SECONDS:
            latest, count = found.get(host, (0.0, 0))
            found[host] = (max(latest, at), count + one.is_under_way)
    return dict(sorted(found.items(), key=lambda entry: -entry[1][0]))


def open_seen(server: Studio, user: str, run_id: str, task: str) -> JobFolder:
    """The folder of a run or a task, of whoever it is.

    Raises
    ------
    RunError
        If there is none of that name.
    """
    home = server.of_user(user) if user else server
    run: Run = open_run(home.runs_folder, run_id)
    if not task:
        return run
    if task != Path(task).name or task.startswith("."):
        raise RunError(f"{task[:80]!r} is not the name of a task.")
    return Task(run.path / keys.TASKS_FOLDER / task)
