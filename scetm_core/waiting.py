"""Who is next? The queue of a server: one small file for each job that waits or is at work, whoever's it is.

``HOME/.queue/waiting/`` and ``HOME/.queue/working/`` hold them, so that a look costs as much as there are such jobs,
not as there are runs. The higher priority of a user goes first (`accounts.json`), then what was begun and lost its
worker, then who has less at work, then who has not had a turn for longer (``HOME/.queue/turns/``), then what has waited
longer. What a job is, and whether its worker lives, is not this module's business.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import write_atomically
from scetm_core.json_text import read_json

HERE, CLUSTER = "here", "cluster"
"""What carries a job out: a process of this machine, which waits by itself, or the next worker of the cluster."""

CPU, GPU, TASKS, ANY = "cpu", "gpu", "tasks", "any"
LANES = (GPU, CPU, TASKS)
"""What workers take: trainings and transfers by device, and what pages ask for, which takes minutes at most. `ANY` is a
training for whichever worker comes first."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A job in the queue."""

    path: str
    """Its folder, from the home of the server."""
    user: str = ""
    """Whose it is; "" on a server without accounts."""
    engine: str = HERE
    lane: str = ANY
    queued_at: float = 0.0
    attempt: int = 0
    """How many workers of the cluster have begun it."""

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes whose workers may take it."""
        return (GPU, CPU) if self.lane == ANY else (self.lane,)

    @property
    def turns(self) -> tuple[str, str]:
        """Which turns it takes: those of its user, in trainings or in what pages ask for."""
        return self.user, TASKS if self.lane == TASKS else "trainings"

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"{hashlib.sha256(self.path.encode()).hexdigest()[:24]}.json"


class Queue:
    """The queue of the server whose home this is.

    Parameters
    ----------
    home
        Of the server, not of one of its users.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / keys.QUEUE_FOLDER

    # ---- what is in it -----------------------------------------------------------------------------------------

    def waiting(self, engine: str) -> list[Entry]:
        """The jobs that wait for an engine, in no order."""
        return [entry for entry in self._entries(keys.WAITING_FOLDER) if entry.engine == engine]

    def working(self) -> list[Entry]:
        """The jobs that are at work, as far as anybody has noted their end."""
        return self._entries(keys.WORKING_FOLDER)

    def is_waiting(self, job: Path) -> bool:
        """Whether a job is among those that wait for a worker of the cluster."""
        entry = self._read(self._file(keys.WAITING_FOLDER, self.entry_of(job)))
        return entry is not None and entry.engine == CLUSTER

    def is_working(self, job: Path) -> bool:
        """Whether a worker of the cluster has begun a job and nobody has noted its end."""
        entry = self._read(self._file(keys.WORKING_FOLDER, self.entry_of(job)))
        return entry is not None and entry.engine == CLUSTER

    def find(self, job: Path) -> Entry | None:
        """What is noted of a job, whatever carries it out; None if it neither waits nor is at work."""
        blank = self.entry_of(job)
        return self._read(self._file(keys.WAITING_FOLDER, blank)) or self._read(self._file(keys.WORKING_FOLDER, blank))

    def in_order(self, engine: str, *, working: Iterable[Entry], lanes: Iterable[str] = LANES) -> Iterator[Entry]:
        """The jobs that wait, the next first, as if each began in its turn.

        Parameters
        ----------
        working
            The jobs whose workers live; those that other lanes than the asked ones carry out do not count.
        lanes
            Of the worker that asks.
        """
        asked = set(lanes)
        left = [entry for entry in self.waiting(engine) if asked.intersection(entry.lanes)]
        busy = Counter(entry.user for entry in working if asked.intersection(entry.lanes))
        priority = priorities(self.home)
        turn = {turns: (0, _turn_in(self._turn_file(turns))) for turns in {entry.turns for entry in left}}

        def rank(entry: Entry) -> tuple[int, bool, int, tuple[int, int], float, str]:
            is_new, user = entry.attempt == 0, entry.user
            return -priority.get(user, 0), is_new, busy[user], turn[entry.turns], entry.queued_at, entry.path

        for place in itertools.count(1):
            if not left:
                return
            chosen = min(left, key=rank)
            yield chosen
            left.remove(chosen)
            busy[chosen.user] += 1
            turn[chosen.turns] = (place, 0)

    def entry_of(self, job: Path) -> Entry:
        """A new entry for the folder of a job."""
        _, user = home_of(job)
        return Entry(path=job.absolute().relative_to(self.home.absolute()).as_posix(), user=user)

    def job_path(self, entry: Entry) -> Path:
        """The folder of a job."""
        return self.home / entry.path

    # ---- changes -----------------------------------------------------------------------------------------------

    def enter(self, entry: Entry) -> None:
        """Let a job wait, whatever was noted of it before.

        Raises
        ------
        RunError
            If it cannot be written down.
        """
        self._write(keys.WAITING_FOLDER, entry)
        self._file(keys.WORKING_FOLDER, entry).unlink(missing_ok=True)

    def begin(self, entry: Entry) -> None:
        """Note that a job is at work.

        Raises
        ------
        RunError
            If it cannot be written down.
        """
        self._write(keys.WORKING_FOLDER, entry)
        self._file(keys.WAITING_FOLDER, entry).unlink(missing_ok=True)
        mine = self._turn_file(entry.turns)
        try:
            mine.parent.mkdir(exist_ok=True)
            latest = max((_turn_in(path) for path in mine.parent.iterdir()), default=0)
            write_atomically(mine, str(latest + 1))  # two at once may get the same number: then the older goes first
        except OSError as error:
            raise self._unwritable(error) from error

    def leave(self, entry: Entry) -> None:
        """Forget a job."""
        self._file(keys.WAITING_FOLDER, entry).unlink(missing_ok=True)
        self._file(keys.WORKING_FOLDER, entry).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that hands out jobs of the cluster, on whatever machine.

        Raises
        ------
        RunError
            If that does not come about within a minute.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / "lock", timeout=60):
                yield
        except filelock.Timeout:
            raise RunError(
                f"The queue in {self.folder} has been locked for a minute. If a machine died with it, its file system "
                "frees the lock; if not, see whether locks work there (docs/operations.md)."
            ) from None

    def slot_locks(self, n_slots: int) -> list[filelock.BaseFileLock]:
        """A lock for each job that may be at work on this machine; the system frees those of the dead."""
        folder = self.folder / keys.SLOTS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return [filelock.FileLock(folder / f"{slot}.lock", blocking=False) for slot in range(n_slots)]

    # ---- files -------------------------------------------------------------------------------------------------

    def _file(self, folder: str, entry: Entry) -> Path:
        return self.folder / folder / entry.file_name

    def _write(self, folder: str, entry: Entry) -> None:
        path = self._file(folder, entry)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(dataclasses.asdict(entry)))
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(f"The queue in {self.folder} cannot be written: {error.strerror or error}.")

    def _turn_file(self, turns: tuple[str, str]) -> Path:
        """Holds the number of the last turn; clocks, of which each machine has its own, play no part."""
        return self.folder / keys.TURNS_FOLDER / hashlib.sha256("/".join(turns).encode()).hexdigest()[:24]

    def _entries(self, folder: str) -> list[Entry]:
        try:
            found = [entry for entry in os.scandir(self.folder / folder) if not entry.name.startswith(".")]
        except FileNotFoundError:  # nothing has ever waited
            return []
        entries = (self._read(Path(entry.path)) for entry in found)
        return [entry for entry in entries if entry is not None]

    def _read(self, path: Path) -> Entry | None:
        """An entry as its file has it; None if it has begun or ended meanwhile, or is damaged: it holds nobody up."""
        known = {field.name for field in dataclasses.fields(Entry)}
        try:
            values = read_json(path)
            return Entry(**{name: value for name, value in values.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


def _turn_in(path: Path) -> int:
    """Number of the last turn; 0 if there was none yet, or its file is damaged."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def home_of(job: Path) -> tuple[Path, str]:
    """Home of the server that a job's folder lies in, and the user whose it is; "" without accounts."""
    run = job.parent.parent if job.parent.name == keys.TASKS_FOLDER else job
    runs = run.absolute().parent
    home = runs.parent if runs.name == keys.RUNS_FOLDER else runs
    server = home.parent.parent
    if home.parent.name == keys.USERS_FOLDER and (server / keys.ACCOUNTS_FILE).is_file():
        return server, home.name
    return home, ""


def queue_of(job: Path) -> Queue:
    """The queue that a job belongs to."""
    return Queue(home_of(job)[0])


def priorities(home: Path) -> dict[str, int]:
    """The priority that an administrator has given to users; 0 for all others, and where the file cannot be read."""
    path = home / keys.ACCOUNTS_FILE
    try:
        accounts = read_json(path)["accounts"]
        given = {str(name): account.get("priority", 0) for name, account in accounts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # who may sign in tells what is wrong with it; the queue goes on
    return {name: value for name, value in given.items() if isinstance(value, int)}
