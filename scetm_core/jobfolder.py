"""Where does a piece of work stand? A folder with its status, log and cancel marker: a run, or a task within a run.

Files that change are replaced atomically (written beside, then renamed); `log.txt` only grows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import is_disk_full, write_atomically
from scetm_core.json_text import read_json

STATES = ("queued", "running", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")
STATUS_BYTES = 2048  # at least: room for a message in what the file occupies already


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a job stands, as its worker last wrote it (`status.json`). Times are seconds since 1970, UTC."""

    state: str = "queued"
    stage: str = "waiting"
    message: str = ""
    step: int = 0
    max_steps: int = 0
    epoch: float = 0.0
    eta_seconds: float | None = None
    device: str = ""
    pid: int | None = None
    pid_started: float | None = None
    pid_key: str = ""  # tells the process from all others; "" where the system has no such thing
    host: str = ""
    queued_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    heartbeat: float = 0.0

    @property
    def progress(self) -> float:
        """Share of training steps done, 0 to 1."""
        return min(self.step / self.max_steps, 1.0) if self.max_steps else 0.0


class JobFolder:
    """A folder in which a worker reports; what it holds besides is its subclass's business.

    Parameters
    ----------
    path
        The folder.
    """

    noun = "job"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def id(self) -> str:
        """Name of the folder, used in URLs."""
        return self.path.name

    def _file(self, name: str) -> Path:
        return self.path / name

    @property
    def status_path(self) -> Path:
        """Where the status is."""
        return self._file(keys.STATUS_FILE)

    # ---- status ------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """What the worker wrote last; whether it is still alive is `jobs.state`'s to say.

        Raises
        ------
        RunError
            If `status.json` is missing or damaged.
        """
        known = {entry.name for entry in dataclasses.fields(Status)}
        try:
            values = read_json(self._file(keys.STATUS_FILE))
            return _checked(Status(**{name: value for name, value in values.items() if name in known}))
        except (OSError, ValueError, AttributeError) as error:
            raise RunError(f"{keys.STATUS_FILE} of {self.noun} {self.id} cannot be read ({error}).") from error

    def write_status(self, status: Status) -> None:
        """Replace `status.json`.

        Raises
        ------
        RunError
            If it cannot be written (disk full, folder deleted).
        """
        assert status.state in STATES, status.state
        try:
            new_status(self.path, status)
        except OSError as error:
            reason = error.strerror or str(error)
            if not self.path.is_dir():
                reason = "its folder is gone"
            elif is_disk_full(error):
                reason = "the disk is full. Free some space, then resume"
            raise RunError(f"Cannot write the status of {self.noun} {self.id}: {reason}.") from error

    # ---- cancel marker -----------------------------------------------------------------------------------------

    def request_cancel(self) -> None:
        """Leave the marker that the worker looks at between steps."""
        self._file(keys.CANCEL_FILE).touch()

    def clear_cancel(self) -> None:
        """Take the marker away, before a resume."""
        self._file(keys.CANCEL_FILE).unlink(missing_ok=True)

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the run to stop."""
        return self._file(keys.CANCEL_FILE).exists()

    @property
    def lock_path(self) -> Path:
        """Locked by the worker as long as it lives."""
        return self._file(keys.LOCK_FILE)

    @property
    def log_path(self) -> Path:
        """Where the worker's output goes."""
        return self._file(keys.LOG_FILE)

    def log_tail(self, n_lines: int = 30) -> str:
        """Last lines of the log; empty if there is none yet."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as stream:
            stream.seek(max(0, self.log_path.stat().st_size - 200 * n_lines))
            return "\n".join(stream.read().decode("utf-8", errors="replace").splitlines()[-n_lines:])


def _checked(status: Status) -> Status:
    """The same, refused with a ValueError if something in it is not what it should be."""
    if status.state not in STATES:
        raise ValueError(f"state {str(status.state)[:40]!r} is not known; a newer version may have written it")
    for entry in dataclasses.fields(Status):
        value = getattr(status, entry.name)
        if value is None and "None" in str(entry.type):
            continue
        wanted = str if str(entry.type) == "str" else (int, float)
        fits = isinstance(value, wanted) and not isinstance(value, bool)
        if not fits or (isinstance(value, (int, float)) and not math.isfinite(value)):
            raise ValueError(f"{entry.name} is {str(value)[:40]!r}")
    return status


def new_status(folder: Path, status: Status) -> None:
    """Replace the status in a folder; its heartbeat is now.

    On a full disk it is written over the old one instead, whose space is there already: how a job ended can be told
    even then.
    """
    stamped = dataclasses.replace(status, heartbeat=time.time())
    text = json.dumps(dataclasses.asdict(stamped)).ljust(STATUS_BYTES)
    path = folder / keys.STATUS_FILE
    try:
        write_atomically(path, text)
    except OSError as error:
        content = text.encode()
        if not is_disk_full(error) or not path.is_file() or path.stat().st_size < len(content):
            raise
        with path.open("r+b", buffering=0) as stream:  # one write: a reader sees the old text or the new one
            stream.write(content.ljust(path.stat().st_size))
