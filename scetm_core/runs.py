"""What belongs to one run, and where is it? One run = one folder; the only module that knows the paths in it.

Files that change are replaced atomically (written beside, then renamed); `metrics.csv` and `log.txt` only grow.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import time
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core import __version__, keys
from scetm_core.checksums import check_checksum, note_checksum
from scetm_core.config import FORMAT_VERSION, RunConfig
from scetm_core.curve_file import append_rows, read_rows
from scetm_core.errors import ConfigError, RunError
from scetm_core.files import (
    checked_scores,
    describe_input,
    draft_of,
    is_disk_full,
    library_versions,
    remove_leftovers,
    replacing,
    scores_as_json,
    table_name,
    write_atomically,
)
from scetm_core.jobfolder import JobFolder, Status, new_status
from scetm_core.json_text import read_json
from scetm_core.older import migrated

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

MAX_TOPIC_NAME = 40
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
"""What a run, and so its folder, can be called."""


class Run(JobFolder):
    """One run folder: see `JobFolder` for its status, log and cancel marker.

    Parameters
    ----------
    path
        The folder; it must hold a `config.json`.

    Raises
    ------
    RunError
        If there is no run at `path`.
    """

    noun = "run"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
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
            "written_by": __version__,
            "created_at": time.time(),
        }
        n_steps = config.train.max_steps if config.is_trained else 0
        draft = draft_of(path)
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunError(f"{path} exists already. Choose another name, or resume the run in it.")
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.mkdir()
            write_atomically(draft / keys.CONFIG_FILE, json.dumps(record, indent=2))
            new_status(draft, Status(queued_at=time.time(), max_steps=n_steps))
            os.replace(draft, path)
        except OSError as error:
            raise RunError(
                f"Cannot create the run folder {path}: {error.strerror or error}. "
                "Check the permissions and the free space there, or choose another folder."
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(path)

    def _record(self) -> dict[str, Any]:
        try:
            file = self._file(keys.CONFIG_FILE)
            record = migrated(read_json(file), written_at=file.stat().st_mtime)
            record["created_at"], record["config"] = float(record["created_at"]), record["config"]
            if not 0 <= record["created_at"] < 4e9:
                raise ValueError("its date is none")
            record |= {part: dict(record.get(part, {})) for part in ("input", "versions")}
            return record
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
            writer = self._record().get("written_by", "")
            hint = f" It was written by scETM Studio {writer}, this is {__version__}." if writer != __version__ else ""
            raise RunError(f"{keys.CONFIG_FILE} of run {self.id} cannot be used: {error}{hint}") from error

    @property
    def input(self) -> dict[str, Any]:
        """Path, size in bytes and SHA-256 of the input when the run was made."""
        return typing.cast("dict[str, Any]", self._record()["input"])

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries when the run was made."""
        return {str(name): str(version) for name, version in self._record()["versions"].items()}

    @property
    def created_at(self) -> float:
        """Seconds since 1970."""
        return typing.cast("float", self._record()["created_at"])

    @property
    def source(self) -> Run:
        """The run whose model a transfer applies.

        Raises
        ------
        RunError
            If this is no transfer, or that run is gone.
        """
        transfer = self.config.transfer
        if transfer is None:
            raise RunError(f"Run {self.id} is no transfer: it was trained on its own data.")
        path = self.path.parent / transfer.source_run  # a path stays one
        if not (path / keys.CONFIG_FILE).is_file():
            raise RunError(f"The source run {transfer.source_run} is gone. Put its folder back, or transfer anew.")
        return Run(path)

    # ---- curves and log ----------------------------------------------------------------------------------------

    def append_metrics(self, records: Iterable[Mapping[str, float]]) -> None:
        """Append rows to `metrics.csv`, the header first when the file is new."""
        append_rows(self._file(keys.METRICS_FILE), records)

    def metrics(self) -> pd.DataFrame:
        """The training curve, one row per report, see `curve_file.read_rows`.

        Raises
        ------
        RunError
            If it is no such table.
        """
        try:
            return read_rows(self._file(keys.METRICS_FILE))
        except (OSError, ValueError, KeyError, OverflowError) as error:
            raise RunError(f"{keys.METRICS_FILE} of run {self.id} cannot be read ({error}).") from error

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
            record = dict(read_json(self._file(keys.VOCAB_FILE)))
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
        """Write `result.h5ad` beside, note its checksum, then rename.

        Raises
        ------
        RunError
            If it cannot be written; an earlier result stays.
        """
        try:
            with replacing(self.result_path) as draft:
                result.write_h5ad(draft)
                note_checksum(self.path, keys.RESULT_FILE, draft)
        except OSError as error:
            reason = "the disk is full. Free some space, then resume" if is_disk_full(error) else str(error)
            raise RunError(f"Cannot write the result of run {self.id}: {reason}.") from error

    def load_result(self) -> ad.AnnData:
        """Read `result.h5ad`.

        Raises
        ------
        RunError
            If there is none yet, or it is damaged.
        """
        from scetm_core.result_file import load_result

        self._require_result()
        return load_result(self.result_path)

    def check_result(self) -> None:
        """Read the whole of `result.h5ad` to see that it is what was written; not for every look at a page.

        Raises
        ------
        RunError
            If there is none yet, or it is not.
        """
        self._require_result()
        if not check_checksum(self.path, keys.RESULT_FILE):
            raise RunError(
                f"{keys.RESULT_FILE} of run {self.id} is not what was written: it was changed, or the disk is failing. "
                "Put a good copy back, or move the file away and resume the run, which works it out anew."
            )

    def open_result(self) -> ad.AnnData:
        """As `load_result`, with obsm mapped from the file instead of read: for looking at, never to be changed.

        Raises
        ------
        RunError
            If there is none yet, or it is damaged.
        """
        from scetm_core.result_file import open_result

        self._require_result()
        return open_result(self.result_path)

    def _require_result(self) -> None:
        if not self.has_result:
            raise RunError(f"Run {self.id} has no result yet. Wait until it is done, or resume it.")

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
        return self._json(keys.EVALUATION_FILE, check=checked_scores)

    def _json(self, name: str, *, check: Callable[[Any], dict[str, Any]] = dict) -> dict[str, Any]:
        """A JSON object in a file of the run; empty if there is no such file."""
        file = self._file(name)
        try:
            return check(dict(read_json(file))) if file.exists() else {}
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{name} of run {self.id} cannot be read ({error}).") from error

    @property
    def source_delta_path(self) -> Path:
        """Delta of the source's cells by the model of a transfer, where that is not the source's own."""
        return self._file(keys.SOURCE_DELTA_FILE)

    def write_transfer(self, report: Mapping[str, Any]) -> None:
        """Record how a transfer went: `genes`, the gene report, and `sentences` about what was done."""
        self._file(keys.TRANSFER_FOLDER).mkdir(exist_ok=True)
        write_atomically(self._file(keys.TRANSFER_FILE), json.dumps(report, indent=2))

    def transfer_report(self) -> dict[str, Any]:
        """What `write_transfer` recorded; empty before that.

        Raises
        ------
        RunError
            If it is damaged.
        """
        return self._json(keys.TRANSFER_FILE)

    # ---- what was worked out afterwards: safe to delete, but for the names ------------------------------------

    def topic_names(self) -> dict[str, str]:
        """Names that the user has given to topics, e.g. ``{"topic_7": "beta cells"}``.

        Raises
        ------
        RunError
            If `topic_names.json` is damaged.
        """
        return {str(topic): str(name) for topic, name in self._json(keys.TOPIC_NAMES_FILE).items()}

    def write_topic_names(self, names: Mapping[str, str]) -> None:
        """Replace the names of topics; empty ones are left out."""
        kept = {topic: " ".join(name.split())[:MAX_TOPIC_NAME] for topic, name in names.items() if name.strip()}
        write_atomically(self._file(keys.TOPIC_NAMES_FILE), json.dumps(kept, indent=2, ensure_ascii=False))

    def table_path(self, folder: str, name: str) -> Path:
        """Where a table worked out from the result lies: ``enrichment/reactome.parquet``.

        Raises
        ------
        RunError
            If the name cannot be that of a file.
        """
        if name != table_name(name):
            raise RunError(f"{name[:80]!r} cannot name a table of run {self.id}.")
        return self.path / folder / f"{name}.parquet"

    def tables(self, folder: str) -> dict[str, Path]:
        """The tables there are in a folder, by name."""
        return {path.stem: path for path in sorted((self.path / folder).glob("*.parquet"))}

    def remove_leftovers(self) -> None:
        """Delete what a killed worker has left half-written."""
        for folder in (self.path, self.checkpoint_path):
            remove_leftovers(folder)

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
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise RunError(f"{str(run_id)[:80]!r} is not the name of a run.")
    if not (runs_folder / run_id / keys.CONFIG_FILE).is_file() or (runs_folder / run_id).is_symlink():
        raise RunError(f"There is no run called {run_id!r}. It may have been deleted. Links are not followed.")
    return Run(runs_folder / run_id)


def list_runs(runs_folder: Path) -> list[Run]:
    """All runs in a folder, the newest first; folders that hold none, or a damaged one, are passed over."""
    found = []
    for path in runs_folder.glob(f"*/{keys.CONFIG_FILE}"):
        try:
            if RUN_ID.fullmatch(path.parent.name) and not path.parent.is_symlink():
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
