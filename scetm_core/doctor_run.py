"""What is wrong with one run, its files and its tasks? A part of `doctor`, which see."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from scetm_core import jobs, keys
from scetm_core.curve_file import is_cut_short, read_rows
from scetm_core.errors import RunError, ScetmError
from scetm_core.files import is_left_over
from scetm_core.findings import NOTE, Findings
from scetm_core.jobfolder import FINISHED, JobFolder, Status, new_status
from scetm_core.json_text import read_json
from scetm_core.runs import Run
from scetm_core.tasks import Task

TABLES = (
    keys.ENRICHMENT_FOLDER, keys.DIFFERENTIAL_FOLDER, keys.MAP_FOLDER, keys.EVALUATION_FOLDER, keys.COMPARISON_FOLDER,
    keys.SWEEP_FOLDER, keys.TRANSFER_FOLDER, keys.PUBLISHED_FOLDER,
)  # fmt: skip
TEXTS = (
    keys.VOCAB_FILE, keys.EVALUATION_FILE, keys.CHECKSUMS_FILE, keys.TRANSFER_FILE, keys.TOPIC_NAMES_FILE,
    keys.COLORS_FILE, keys.BOARD_FILE,
)  # fmt: skip
OLD_SECONDS = 90 * 86400.0  # of a selection that nothing in the run mentions

LOST = "Its worker is gone. Nothing is lost up to the last checkpoint: resume goes on from there."
RESUME = "Resume the run."


def examine_run(path: Path, found: Findings) -> None:
    """Look at all that lies in a run's folder. One that somebody works on is left alone."""
    try:
        run = Run(path)
        run.config  # noqa: B018  says what is wrong with it
    except RunError as error:
        found.add(path / keys.CONFIG_FILE, str(error).rstrip("."), advice="Put a copy back; all else is left as it is.")
        return
    if _is_at_work(run):
        found.add(path, "it is being worked on, so it was left alone", level=NOTE)
        return
    with contextlib.ExitStack() as stack:
        if found.mend:
            try:
                stack.enter_context(jobs.hold(run))
            except RunError:
                found.add(path, "another process holds its lock, so it was left alone", level=NOTE)
                return
            except OSError as error:
                found.add(
                    path, f"it cannot be written to ({error.strerror or error})", advice="Check the rights there."
                )
                return
        _examine_held(run, found)


def examine_drafts(folder: Path, found: Findings) -> None:
    """What killed writers have left half-written in a folder."""
    for path in sorted(folder.glob(".*.draft*")):
        if is_left_over(path):
            with found.mending(path, "a process that is gone left it half-written", how="Removed.") as mend:
                if mend:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_at_work(job: JobFolder) -> bool:
    try:
        return jobs.state(job) not in (*FINISHED, "lost")
    except RunError:
        return False  # a damaged status is nobody's: a live worker writes it anew every few seconds


def _examine_held(run: Run, found: Findings) -> None:
    examine_drafts(run.path, found)
    _examine_status(run, found, unread=lambda: _status_from_files(run))
    _examine_curve(run, found)
    _examine_weights(run, found)
    _examine_result(run, found)
    for name in TEXTS:
        _examine_text(run.path / name, run.path, found)
    for folder in (keys.COLUMNS_FOLDER, keys.SELECTIONS_FOLDER, keys.BOARD_FOLDER):
        for path in sorted((run.path / folder).glob("*.json")):
            _examine_text(path, run.path, found)
    _examine_tables(run, found)
    _examine_tasks(run, found)
    _examine_selections(run, found)
    if run.config.transfer is not None:
        try:
            run.source  # noqa: B018  says if it is gone
        except RunError as error:
            found.add(run.path, str(error).rstrip("."))
    for name in (keys.CHECKPOINT_FOLDER, *TABLES, keys.COLUMNS_FOLDER, keys.SELECTIONS_FOLDER, keys.BOARD_FOLDER):
        examine_drafts(run.path / name, found)


def _status_from_files(run: Run) -> Status:
    """What the other files of a run say about its state."""
    max_steps = run.config.train.max_steps if run.config.is_trained else 0
    if run.has_result and run.model_path.is_file():
        now = run.result_path.stat().st_mtime
        return Status(state="done", stage="done", message="Done.", step=max_steps, max_steps=max_steps, finished_at=now)
    return Status(state="failed", message=LOST, max_steps=max_steps, finished_at=time.time())


def _examine_status(job: JobFolder, found: Findings, *, unread: Callable[[], Status]) -> None:
    path = job.path / keys.STATUS_FILE
    try:
        status = job.status()
    except RunError as error:
        with found.mending(path, str(error).rstrip("."), how="Written anew from the other files.") as mend:
            if mend:
                fresh = unread()
                if path.exists():
                    aside = job.path / keys.DAMAGED_FOLDER
                    aside.mkdir(exist_ok=True)
                    path.rename(aside / f"{int(time.time())}-{path.name}")
                new_status(job.path, fresh)
        return
    if jobs.state(job) == "lost":
        message = LOST if job.noun == "run" else "Its worker is gone. Start it again; nothing else is lost."
        with found.mending(job.path, "its worker is gone without a word", how="Marked as stopped.") as mend:
            if mend:
                ended = {"state": "failed", "message": message, "eta_seconds": None, "finished_at": time.time()}
                new_status(job.path, dataclasses.replace(status, **ended))  # type: ignore[arg-type]


def _examine_curve(run: Run, found: Findings) -> None:
    path = run.path / keys.METRICS_FILE
    if is_cut_short(path):
        with found.mending(path, "its last line is cut short", how="The rest of the line was taken away.") as mend:
            if mend:
                content = path.read_bytes()
                with path.open("r+b") as stream:
                    stream.truncate(content.rfind(b"\n") + 1)
    try:
        rows = read_rows(path)
        problem = "" if rows.empty or rows["step"].dtype.kind in "iu" else "its steps are no numbers"
    except (OSError, ValueError, KeyError) as error:  # pandas' errors are ValueErrors
        problem = f"it cannot be read ({error})"
    if problem:
        found.put_aside(path, problem, folder=run.path, advice="The curve begins anew with the next report.")


def _examine_weights(run: Run, found: Findings) -> None:
    """Checkpoints and model, read whole and compared with their checksums."""
    checkpoints = sorted(run.checkpoint_path.glob("step-*.safetensors"))
    if not checkpoints and not run.model_path.is_file():
        return
    from scetm_core.model.storage import read_tensors  # takes seconds to import

    for path in [*checkpoints, *([run.model_path] if run.model_path.is_file() else [])]:
        try:
            read_tensors(path, device="cpu")
        except (OSError, ValueError) as error:
            is_model = path == run.model_path
            advice = "Resume writes it anew from the last checkpoint." if is_model else "The one before it is used."
            found.put_aside(path, f"it cannot be used ({error})", folder=run.path, advice=advice)
            if is_model and found.mend and run.status().state == "done":
                stopped = {"state": "failed", "message": f"The model was damaged and is put aside. {RESUME}"}
                run.write_status(dataclasses.replace(run.status(), **stopped))  # type: ignore[arg-type]


def _examine_result(run: Run, found: Findings) -> None:
    if not run.has_result:
        if run.status().state == "done":
            found.add(
                run.path, f"it is done, but holds no {keys.RESULT_FILE}", advice=f"{RESUME} It is worked out anew."
            )
        return
    try:
        run.check_result()
        run.load_result()
    except RunError as error:
        advice = f"{RESUME} It is worked out anew."
        found.put_aside(run.result_path, str(error).partition(": ")[0].rstrip("."), folder=run.path, advice=advice)


def _examine_text(path: Path, folder: Path, found: Findings) -> None:
    try:
        is_good = not path.exists() or isinstance(read_json(path), (dict, list))
    except (OSError, ValueError):
        is_good = False
    if not is_good:
        found.put_aside(path, "it is no JSON", folder=folder, advice="Put a copy back, or make it anew.")


def _examine_tables(run: Run, found: Findings) -> None:
    import pyarrow.parquet

    for name in TABLES:
        for path in sorted((run.path / name).glob("*.parquet")):
            try:
                pyarrow.parquet.read_table(path)
            except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
                problem = f"it cannot be read ({str(error).partition('.')[0]})"
                found.put_aside(path, problem, folder=run.path, advice="Start it again on its page.")


def _examine_tasks(run: Run, found: Findings) -> None:
    for path in sorted((run.path / keys.TASKS_FOLDER).glob("*/")):
        try:
            task = Task(path)
            task.request  # noqa: B018  says if it cannot be read
        except ScetmError as error:
            if not _is_at_work(JobFolder(path)):
                found.put_aside(path, f"no question can be read in it ({error})", folder=run.path)
            continue
        if not _is_at_work(task):
            stopped = Status(state="failed", message="Its status was damaged. Start it again.", finished_at=time.time())
            _examine_status(task, found, unread=lambda stopped=stopped: stopped)  # type: ignore[misc]


def _examine_selections(run: Run, found: Findings) -> None:
    """Rules that nothing in the run mentions, and that are old; an address kept elsewhere may still name them."""
    folder = run.path / keys.SELECTIONS_FOLDER
    old = [path for path in sorted(folder.glob("*.json")) if time.time() - path.stat().st_mtime > OLD_SECONDS]
    if not old:
        return
    others = [path for path in run.path.rglob("*.json") if path.parent != folder]
    mentioned = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in others)
    for path in old:
        if path.stem not in mentioned:
            advice = "Addresses that name it need it back." if found.mend else ""
            found.put_aside(path, "nothing mentions this old selection", folder=run.path, advice=advice, level=NOTE)
