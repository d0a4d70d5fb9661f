"""What belongs to one run, and where is it? One run = one folder; the only module that knows the paths in it.

Files that change are replaced atomically (written beside, then renamed); `metrics.csv` and `log.txt` only grow.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import os
import re
import shutil
import time
import typing
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core import keys
from scetm_core.config import FORMAT_VERSION, RunConfig
from scetm_core.errors import ConfigError, RunError
from scetm_core.files import describe_input, is_disk_full, library_versions, scores_as_json, write_atomically

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

STATES = ("queued", "running", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands, as its worker last wrote it (`status.json`). Times are seconds since 1970, UTC."""

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
    host: str = ""
    queued_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    heartbeat: float = 0.0

    @property
    def progress(self) -> float:
        """Share of training steps done, 0 to 1."""
        return min(self.step / self.max_steps, 1.0) if self.max_steps else 0.0


class Run:
    """One run folder.

    Parameters
    ----------
    path
        The folder; it must hold a `config.json`.

    Raises
    ------
    RunError
        If there is no run at `path`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self._file(keys.CONFIG_FILE).is_file():
            raise RunError(f"No run at {self.path}: it holds no {keys.CONFIG_FILE}.")

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: RunConfig) -> Run:
        """Make a new run folder at `path` with its `config.json` and a queued status.

        The folder appears whole or not at all. The input's size and hash are recorded with the library versions.

        Raises
        ------
        RunError
            If `path` exists already or cannot be written.
        """
        path = Path(path)
        record = {
            "format": FORMAT_VERSION,
            "config": config.to_dict(),
            "input": describe_input(Path(config.data.path)),
            "versions": library_versions(),
            "created_at": time.time(),
        }
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunError(f"{path} exists already. Choose another name, or resume the run in it.")
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.mkdir()
            write_atomically(draft / keys.CONFIG_FILE, json.dumps(record, indent=2))
            _write_status(draft, Status(queued_at=time.time(), max_steps=config.train.max_steps))
            os.replace(draft, path)
        except OSError as error:
            raise RunError(
                f"Cannot create the run folder {path}: {error.strerror or error}. "
                "Check the permissions and the free space there, or choose another folder."
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(path)

    @property
    def id(self) -> str:
        """Name of the folder, used in URLs."""
        return self.path.name

    def _file(self, name: str) -> Path:
        return self.path / name

    def _record(self) -> dict[str, Any]:
        try:
            record = json.loads(self._file(keys.CONFIG_FILE).read_text(encoding="utf-8"))
            if record["format"] != FORMAT_VERSION:
                raise RunError(
                    f"Run {self.id} has format {record['format']}, this version reads format {FORMAT_VERSION}. "
                    "Open it with the version that wrote it."
                )
            record["created_at"] = float(record["created_at"])
            return typing.cast("dict[str, Any]", record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{keys.CONFIG_FILE} of run {self.id} cannot be read ({error}).") from error

    @property
    def config(self) -> RunConfig:
        """The settings the run was made with; they never change.

        Raises
        ------
        RunError
            If `config.json` is damaged or of another format.
        """
        try:
            return RunConfig.from_dict(self._record()["config"])
        except ConfigError as error:
            raise RunError(f"{keys.CONFIG_FILE} of run {self.id} cannot be used: {error}") from error

    @property
    def input(self) -> dict[str, Any]:
        """Path, size in bytes and SHA-256 of the input when the run was made."""
        return dict(self._record()["input"])

    @property
    def created_at(self) -> float:
        """Seconds since 1970."""
        return typing.cast("float", self._record()["created_at"])

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
            values = json.loads(self._file(keys.STATUS_FILE).read_text(encoding="utf-8"))
            return Status(**{name: value for name, value in values.items() if name in known})
        except (OSError, ValueError, AttributeError) as error:
            raise RunError(f"{keys.STATUS_FILE} of run {self.id} cannot be read ({error}).") from error

    def write_status(self, status: Status) -> None:
        """Replace `status.json`.

        Raises
        ------
        RunError
            If it cannot be written (disk full, folder deleted).
        """
        assert status.state in STATES, status.state
        try:
            _write_status(self.path, status)
        except OSError as error:
            raise RunError(f"Cannot write the status of run {self.id}: {error.strerror or error}.") from error

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

    # ---- curves and log ----------------------------------------------------------------------------------------

    def append_metrics(self, records: Iterable[Mapping[str, float]]) -> None:
        """Append rows to `metrics.csv`, the header first when the file is new."""
        rows = list(records)
        if not rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        with self._file(keys.METRICS_FILE).open("a+b") as stream:
            size = stream.tell()
            stream.seek(max(0, size - 4096))
            tail = stream.read()
            size -= len(tail) - (tail.rfind(b"\n") + 1)
            stream.truncate(size)  # a line cut short by a kill would spoil the next one
            if size == 0:
                writer.writeheader()
            writer.writerows(rows)
            stream.write(text.getvalue().encode())

    def metrics(self) -> pd.DataFrame:
        """The training curve, one row per report; empty before the first.

        Steps trained again after a resume count once, as they were trained last. A last line cut short by a kill
        is left out.
        """
        import pandas as pd

        file = self._file(keys.METRICS_FILE)
        if not file.exists():
            return pd.DataFrame({"step": pd.Series(dtype=int)})
        text = file.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        if not complete:
            return pd.DataFrame({"step": pd.Series(dtype=int)})
        rows = pd.read_csv(io.StringIO(complete), on_bad_lines="skip")
        return rows.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)

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

    # ---- vocabulary, model, result -----------------------------------------------------------------------------

    def write_vocab(self, names: Mapping[str, Any]) -> None:
        """Record genes in column order, batches in row order of lambda, and so on: the contract for loading."""
        write_atomically(self._file(keys.VOCAB_FILE), json.dumps(names))

    @property
    def has_vocab(self) -> bool:
        """Whether the names are recorded, i.e. training has begun."""
        return self._file(keys.VOCAB_FILE).is_file()

    def vocab(self) -> dict[str, Any]:
        """Names as `write_vocab` recorded them: ``genes``, ``batches`` and more.

        Raises
        ------
        RunError
            If there are none yet, or they are damaged.
        """
        try:
            record = dict(json.loads(self._file(keys.VOCAB_FILE).read_text(encoding="utf-8")))
            return {**record, "genes": list(record["genes"]), "batches": list(record["batches"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{keys.VOCAB_FILE} of run {self.id} cannot be read ({error}).") from error

    @property
    def checkpoint_path(self) -> Path:
        """Folder of weights and optimiser state."""
        return self._file(keys.CHECKPOINT_FOLDER)

    @property
    def model_path(self) -> Path:
        """Weights of the trained model."""
        return self._file(keys.MODEL_FILE)

    @property
    def result_path(self) -> Path:
        """The result AnnData."""
        return self._file(keys.RESULT_FILE)

    @property
    def has_result(self) -> bool:
        """Whether there is something to look at."""
        return self.result_path.is_file()

    def write_result(self, result: ad.AnnData) -> None:
        """Write `result.h5ad` beside, then rename.

        Raises
        ------
        RunError
            If it cannot be written; an earlier result stays.
        """
        draft = self.result_path.with_suffix(".draft")
        try:
            result.write_h5ad(draft)
            os.replace(draft, self.result_path)
        except OSError as error:
            reason = "the disk is full. Free some space, then resume" if is_disk_full(error) else str(error)
            raise RunError(f"Cannot write the result of run {self.id}: {reason}.") from error
        finally:
            draft.unlink(missing_ok=True)

    def load_result(self) -> ad.AnnData:
        """Read `result.h5ad`.

        Raises
        ------
        RunError
            If there is none yet, or it is damaged.
        """
        import anndata as ad

        if not self.has_result:
            raise RunError(f"Run {self.id} has no result yet. Wait until it is done, or resume it.")
        try:
            return ad.read_h5ad(self.result_path)
        except Exception as error:  # anndata and h5py raise many kinds for a damaged file
            raise RunError(f"{keys.RESULT_FILE} of run {self.id} cannot be read ({error}).") from error

    def write_evaluation(self, scores: Mapping[str, Any]) -> None:
        """Replace `evaluation.json`; not-a-number becomes null."""
        write_atomically(self._file(keys.EVALUATION_FILE), scores_as_json(scores))

    def evaluation(self) -> dict[str, Any]:
        """The scores of the run; empty before they were worked out.

        Raises
        ------
        RunError
            If `evaluation.json` is damaged.
        """
        file = self._file(keys.EVALUATION_FILE)
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
        except (OSError, ValueError) as error:
            raise RunError(f"{keys.EVALUATION_FILE} of run {self.id} cannot be read ({error}).") from error

    def delete(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path)


def open_run(runs_folder: Path, run_id: str) -> Run:
    """The run called `run_id`, which is only ever the name of a direct child folder.

    Raises
    ------
    RunError
        If the name is not allowed or there is no such run.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise RunError(f"{run_id[:80]!r} is not the name of a run.")
    if not (runs_folder / run_id / keys.CONFIG_FILE).is_file():
        raise RunError(f"There is no run called {run_id!r}. It may have been deleted.")
    return Run(runs_folder / run_id)


def list_runs(runs_folder: Path) -> list[Run]:
    """All runs in a folder, the newest first; folders that hold none, or a damaged one, are passed over."""
    found = []
    for path in runs_folder.glob(f"*/{keys.CONFIG_FILE}"):
        try:
            if _RUN_ID.fullmatch(path.parent.name):
                found.append((Run(path.parent).created_at, path.parent.name, Run(path.parent)))
        except RunError:
            continue  # shown by nobody: `open_run` tells what is wrong with it
    return [run for _, _, run in sorted(found, key=lambda entry: entry[:2], reverse=True)]


def new_run_path(runs_folder: Path, name: str) -> Path:
    """An unused folder for a run called `name`: the name in plain letters and the time."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "run"
    stem = f"{slug}-{dt.datetime.now():%Y%m%d-%H%M%S}"
    path, count = runs_folder / stem, 1
    while path.exists():
        count += 1
        path = runs_folder / f"{stem}-{count}"
    return path


def _write_status(folder: Path, status: Status) -> None:
    stamped = dataclasses.replace(status, heartbeat=time.time())
    write_atomically(folder / keys.STATUS_FILE, json.dumps(dataclasses.asdict(stamped)))
