"""Who works, and who waits? The runs of everybody on this server, and what is being worked out of them."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pages._shared.studio import Studio
from scetm_core import jobs, keys
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder, Status
from scetm_core.runs import Run, open_run
from scetm_core.tasks import Task
from scetm_core.waiting import CLUSTER, HERE, Queue

STATES = ("queued", "running", "done", "failed", "cancelled", "lost")
SECONDS = 2.0
PATIENCE = 0.01  # seconds that a glance waits for a first look
SEEN_SECONDS = 7 * 86_400.0
"""A host whose workers were last heard of longer ago is no longer listed."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run, or a task of one."""

    folder: str
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
        self._known: dict[str, tuple[int, Seen]] = {}
        self._last: tuple[float, Path | None, list[Seen]] = (0.0, None, [])
        self._work: threading.Thread | None = None

    def look(self, server: Studio) -> list[Seen]:
        """All runs and tasks, as they were some seconds ago at most."""
        with self._lock:
            if not self._is_fresh(server):
                known, self._known = self._known, {}
                seen = [self._see(place, known) for place in _places(server)]
                self._last = (time.monotonic(), server.home, [one for one in seen if one is not None])
            return list(self._last[2])

    def glance(self, server: Studio) -> list[Seen] | None:
        """As they were when somebody last looked, at once; None if nobody has. Aside they are looked at anew."""
        if not self._is_fresh(server) and (self._work is None or not self._work.is_alive()):
            self._work = threading.Thread(target=self.look, args=(server,), daemon=True, name="under way")
            self._work.start()
            self._work.join(PATIENCE)
        _, home, seen = self._last
        return list(seen) if home == server.home else None

    def forget(self) -> None:
        """Look anew the next time: something was changed."""
        with self._lock:
            self._last = (0.0, None, [])

    def _is_fresh(self, server: Studio) -> bool:
        at, home, _ = self._last
        return home == server.home and time.monotonic() - at < SECONDS

    def _see(self, place: tuple[str, str, str, str], known: dict[str, tuple[int, Seen]]) -> Seen | None:
        """What a status file tells; None if there is none, or it is damaged."""
        folder, user, run_id, task = place
        try:
            stamp = os.stat(f"{folder}/{keys.STATUS_FILE}").st_mtime_ns
            earlier = known.get(folder)
            if earlier is not None and earlier[0] == stamp and earlier[1].state in FINISHED:
                seen = earlier[1]
            else:
                job = JobFolder(folder)
                seen = Seen(
                    folder=folder, user=user, run_id=run_id, task=task, state=jobs.state(job), status=job.status()
                )
        except (OSError, RunError):
            return None
        self._known[folder] = (stamp, seen)
        return seen


def _places(server: Studio) -> Iterator[tuple[str, str, str, str]]:
    """Folders that may hold a status: path, account, run, task."""
    for runs in server.all_runs_folders():
        user = "" if runs == server.runs_folder else runs.parent.name
        for run_id in _names(str(runs)):
            yield f"{runs}/{run_id}", user, run_id, ""
            tasks = f"{runs}/{run_id}/{keys.TASKS_FOLDER}"
            yield from ((f"{tasks}/{task}", user, run_id, task) for task in _names(tasks))


def _names(folder: str) -> list[str]:
    try:
        return [name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:  # not there
        return []


under_way = UnderWay()


def runs_of(seen: Iterable[Seen]) -> list[Seen]:
    """The runs among them, without their tasks."""
    return [one for one in seen if not one.task]


def states_of(runs: Iterable[Seen]) -> dict[str, int]:
    """How many are in each state."""
    counts = Counter(one.state for one in runs)
    return {state: counts[state] for state in STATES}


def queue_of(runs: Iterable[Seen]) -> list[Seen]:
    """Those that wait, as they came."""
    return sorted((one for one in runs if one.state == "queued"), key=lambda one: one.status.queued_at)


def in_turn(server: Studio, seen: Iterable[Seen]) -> list[Seen]:
    """Those that wait, the next one first, as the queue has them; behind them what waits without being in it."""
    queue = Queue(server.home)
    working = queue.working()
    entries = [entry for engine in (HERE, CLUSTER) for entry in queue.in_order(engine, working=working)]
    turns = {str(queue.job_path(entry)): turn for turn, entry in enumerate(entries)}
    return sorted(queue_of(seen), key=lambda one: turns.get(one.folder, len(turns)))


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
    if task not in _names(str(run.path / keys.TASKS_FOLDER)):
        raise RunError(f"There is no task called {task[:80]!r} of run {run_id}.")
    return Task(run.path / keys.TASKS_FOLDER / task)
