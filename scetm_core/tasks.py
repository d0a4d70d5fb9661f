"""What is being worked out of a finished run, and how far is it? A task is a folder within its run's.

``tasks/enrichment-reactome/`` holds the request, the status and the log; the table it makes lies in
``enrichment/reactome.parquet``. Knows runs and requests, not how they are answered (`answers`).
"""

from __future__ import annotations

import time
from pathlib import Path

from scetm_core import jobs, keys
from scetm_core.errors import ConfigError, RunError
from scetm_core.files import table_name, write_atomically
from scetm_core.jobfolder import FINISHED, JobFolder, Status, new_status
from scetm_core.requests import Request, kind_of, request_as_json, request_from_json
from scetm_core.runs import Run


class Task(JobFolder):
    """One question to a run, asked in a process of its own.

    Parameters
    ----------
    path
        The task's folder.

    Raises
    ------
    RunError
        If there is no task at `path`.
    """

    noun = "task"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if not self._file(keys.REQUEST_FILE).is_file():
            raise RunError(f"No task at {self.path}: it holds no {keys.REQUEST_FILE}.")

    @property
    def run(self) -> Run:
        """The run that is asked."""
        return Run(self.path.parent.parent)

    @property
    def name(self) -> str:
        """Name of the table it makes."""
        return self.id.partition("-")[2]

    @property
    def request(self) -> Request:
        """What is asked.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        try:
            return request_from_json(self._file(keys.REQUEST_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise RunError(f"{keys.REQUEST_FILE} of task {self.id} cannot be used: {error}") from error

    @property
    def table_path(self) -> Path:
        """Where its table goes."""
        return self.run.table_path(kind_of(self.request), self.name)


def find_task(run: Run, kind: str, name: str) -> Task | None:
    """The task that makes a table, if it was ever asked for here."""
    path = _path(run, kind, name)
    return Task(path) if (path / keys.REQUEST_FILE).is_file() else None


def ask(run: Run, name: str, request: Request) -> Task:
    """Start working out a table of a run; one that is at work with the same question goes on.

    Parameters
    ----------
    name
        Of the table, see `runs.table_name`.

    Raises
    ------
    RunError
        If the run has no result, the table is being worked out with other settings, or the task cannot be started.
    """
    if not run.has_result:
        raise RunError(f"Run {run.id} has no result yet. Wait until it is done, or resume it.")
    known = find_task(run, kind_of(request), name)
    if known is not None and jobs.state(known) not in (*FINISHED, "lost"):
        if known.request != request:
            raise RunError(f"{name} is being worked out with other settings. Wait until that is done, or cancel it.")
        return known
    path = _path(run, kind_of(request), name)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / keys.REQUEST_FILE, request_as_json(request))
        new_status(path, Status(queued_at=time.time(), message="Starting."))
        task = Task(path)
        task.clear_cancel()
        task.log_path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"The task {path.name} cannot be written: {error.strerror or error}.") from error
    jobs.spawn(task, "scetm_core.answers")
    return task


def _path(run: Run, kind: str, name: str) -> Path:
    if name != table_name(name):
        raise RunError(f"{name[:80]!r} cannot name a table of run {run.id}.")
    return run.path / keys.TASKS_FOLDER / f"{kind}-{name}"
