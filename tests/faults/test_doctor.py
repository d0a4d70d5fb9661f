"""Does the doctor find what is wrong in a home, mend what is safe, and touch nothing else?"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from scetm_core import jobs, keys, liveness
from scetm_core.__main__ import main
from scetm_core.config import RunConfig
from scetm_core.doctor import examine
from scetm_core.errors import RunError
from scetm_core.files import draft_of
from scetm_core.findings import Finding
from scetm_core.jobfolder import Status
from scetm_core.model.storage import write_tensors
from scetm_core.requests import DifferentialRequest, request_as_json
from scetm_core.runs import Run
from tests.pages.by_hand import finish, planted_data, result_of

LOST = {"state": "running", "pid": 1, "pid_started": 1.0, "queued_at": 1.0, "host": socket.gethostname()}
LONG_AGO = time.time() - 200 * 86400


def fill(run: Run, config: RunConfig) -> Run:
    """A finished run with one of everything."""
    finish(run, result_of(planted_data(), config))
    write_tensors(run.model_path, {"w": torch.ones(50)}, metadata={"names": "{}"})
    run.checkpoint_path.mkdir()
    for step in (10, 20):
        path = run.checkpoint_path / f"step-{step:08d}.safetensors"
        write_tensors(path, {"w": torch.ones(50)}, metadata={"position": json.dumps({"step": step})})
    run.write_topic_names({"topic_0": "beta cells"})
    (run.path / keys.ENRICHMENT_FOLDER).mkdir(exist_ok=True)
    pd.DataFrame({"es": [0.5]}).to_parquet(run.table_path(keys.ENRICHMENT_FOLDER, "reactome"))
    task = run.path / keys.TASKS_FOLDER / "differential-cell_type"
    task.mkdir(parents=True)
    (task / keys.REQUEST_FILE).write_text(request_as_json(DifferentialRequest(groupby="cell_type")))
    (task / keys.STATUS_FILE).write_text(json.dumps({"state": "done"}))
    return run


@pytest.fixture
def well(home: Path, tiny_config: Callable[..., RunConfig]) -> Run:
    """The finished run of a home in which nothing is wrong."""
    for name in (keys.UPLOADS_FOLDER, keys.GENE_SETS_FOLDER, keys.CACHE_FOLDER):
        (home / name).mkdir()
    config = tiny_config(n_topics=6, n_emb=4)
    shutil.copyfile(config.data.path, home / keys.UPLOADS_FOLDER / "mine.h5ad")
    return fill(Run.create(home / keys.RUNS_FOLDER / "well", config), config)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != keys.LOCK_FILE)
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def flip(path: Path, place: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def draft_of_the_dead(path: Path) -> Path:
    """A draft as a process that is gone has left it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    draft = draft_of(path)
    return draft.with_name(draft.name.replace(f".{os.getpid()}-", f".{gone.pid}-"))


def test_in_a_good_home_nothing_is_wrong_and_nothing_is_written(
    home: Path, well: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(home)
    assert main(["doctor", str(home)]) == 0
    assert capsys.readouterr().out == "Nothing is wrong.\n"
    assert main(["doctor", str(home), "--mend"]) == 0
    assert main(["doctor", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2]) == []
    assert snapshot(home) == before


def damage_status(run: Run) -> Path:
    (run.path / keys.STATUS_FILE).write_text('{"state": "do')
    return run.path / keys.STATUS_FILE


def delete_status(run: Run) -> Path:
    (run.path / keys.STATUS_FILE).unlink()
    return run.path / keys.STATUS_FILE


def lose_worker(run: Run) -> Path:
    run.write_status(Status(**{**LOST, "step": 20, "max_steps": 30}))  # type: ignore[arg-type]
    return run.path


def cut_curve(run: Run) -> Path:
    with (run.path / keys.METRICS_FILE).open("a") as stream:
        stream.write("31,0.")
    return run.path / keys.METRICS_FILE


def damage_curve(run: Run) -> Path:
    (run.path / keys.METRICS_FILE).write_bytes(b"\xff\xfe\x00\n")
    return run.path / keys.METRICS_FILE


def damage_checkpoint(run: Run) -> Path:
    flip(run.checkpoint_path / "step-00000020.safetensors")
    return run.checkpoint_path / "step-00000020.safetensors"


def damage_model(run: Run) -> Path:
    flip(run.model_path)
    return run.model_path


def damage_result(run: Run) -> Path:
    flip(run.result_path, run.result_path.stat().st_size // 2)
    return run.result_path


def damage_names(run: Run) -> Path:
    (run.path / keys.TOPIC_NAMES_FILE).write_text('{"topic_0": "beta')
    return run.path / keys.TOPIC_NAMES_FILE


def damage_table(run: Run) -> Path:
    path = run.table_path(keys.ENRICHMENT_FOLDER, "reactome")
    path.write_bytes(path.read_bytes()[:-9])
    return path


def orphan_task(run: Run) -> Path:
    path = run.path / keys.TASKS_FOLDER / "differential-cell_type"
    (path / keys.REQUEST_FILE).unlink()
    return path


def lose_task(run: Run) -> Path:
    path = run.path / keys.TASKS_FOLDER / "differential-cell_type"
    (path / keys.STATUS_FILE).write_text(json.dumps(LOST))
    return path


def leave_draft(run: Run) -> Path:
    path = draft_of_the_dead(run.result_path)
    path.write_bytes(b"half")
    return path


def leave_run_draft(run: Run) -> Path:
    path = draft_of_the_dead(run.path.with_name("another"))
    path.mkdir()
    (path / keys.CONFIG_FILE).write_text("{")
    return path


def leave_upload(run: Run) -> Path:
    path = draft_of_the_dead(run.path.parents[1] / keys.UPLOADS_FOLDER / "big.h5ad")
    path = path.with_name(f"{path.name}.h5ad")
    path.write_bytes(b"half")
    return path


DAMAGES = {
    damage_status: ("cannot be read", "Written anew from the other files"),
    delete_status: ("cannot be read", "Written anew from the other files"),
    lose_worker: ("gone without a word", "Marked as stopped"),
    cut_curve: ("last line is cut short", "taken away"),
    damage_curve: ("cannot be read", "Moved to damaged/"),
    damage_checkpoint: ("does not fit its checksum", "Moved to damaged/"),
    damage_model: ("does not fit its checksum", "Moved to damaged/"),
    damage_result: ("is not what was written", "Moved to damaged/"),
    damage_names: ("no JSON", "Moved to damaged/"),
    damage_table: ("cannot be read", "Moved to damaged/"),
    orphan_task: ("no question can be read in it", "Moved to damaged/"),
    lose_task: ("gone without a word", "Marked as stopped"),
    leave_draft: ("left it half-written", "Removed"),
    leave_run_draft: ("left it half-written", "Removed"),
    leave_upload: ("left it half-written", "Removed"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_is_found_then_mended_once_and_nothing_is_deleted(
    damage: Callable[[Run], Path], home: Path, well: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    path, (problem, mended) = damage(well), DAMAGES[damage]
    place, before = path.relative_to(home).as_posix(), snapshot(home)

    assert main(["doctor", str(home)]) == 1
    line, end = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{place}: ")
    assert problem in line
    assert end == "1 found. Nothing was changed; --mend mends what can be mended safely."
    assert snapshot(home) == before, "without --mend it only looks"

    assert main(["doctor", str(home), "--mend"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{place}: " in lines[0]
    assert mended in lines[0]
    assert lines[-1] == f"{len(lines) - 1} found, {len(lines) - 1} mended."
    after = {content for content, _ in snapshot(home).values()}
    kept = {name: content for name, (content, _) in before.items() if name.startswith(place) and "draft" not in name}
    if mended == "Moved to damaged/":
        assert set(kept.values()) <= after, "put aside as it was"
    untouched = {name: found for name, found in before.items() if not name.startswith((place, "runs/well/status"))}
    assert untouched.items() <= snapshot(home).items()

    remaining = [finding for finding in examine(home) if finding.is_open]
    expected = ["it is done, but holds no result.h5ad"] if damage is damage_result else []
    assert [finding.problem for finding in remaining] == expected
    assert jobs.state(well) in ("done", "failed")
    if damage in (damage_model, damage_result, lose_worker):
        assert jobs.can_resume(well)


@pytest.mark.parametrize("damage", [damage_checkpoint, damage_names, damage_result, cut_curve, leave_draft])
def test_a_run_that_is_being_worked_on_is_left_alone(damage: Callable[[Run], Path], home: Path, well: Run) -> None:
    damage(well)
    well.write_status(Status(state="running", **liveness.identity()))  # type: ignore[arg-type]
    before = snapshot(home)
    found = examine(home, mend=True)
    assert [(finding.place, finding.level) for finding in found] == [("runs/well", "note")]
    assert "being worked on" in found[0].problem
    assert snapshot(home) == before


def test_a_run_whose_lock_is_held_is_left_alone(home: Path, well: Run) -> None:
    damage_names(well)
    before = snapshot(home)
    with jobs.hold(well):
        found = examine(home, mend=True)
    assert "another process holds its lock" in found[0].problem
    assert snapshot(home) == before


def test_a_task_that_is_at_work_and_a_draft_being_written_are_left_alone(home: Path, well: Run) -> None:
    task = well.path / keys.TASKS_FOLDER / "differential-cell_type"
    (task / keys.STATUS_FILE).write_text(json.dumps({"state": "running", **liveness.identity()}))
    (task / keys.REQUEST_FILE).unlink()
    draft_of(well.path / keys.TOPIC_NAMES_FILE).write_text("{")
    before = snapshot(home)
    assert examine(home, mend=True) == []
    assert snapshot(home) == before


def test_a_damaged_config_is_told_and_all_else_left(home: Path, well: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (well.path / keys.CONFIG_FILE).write_text("{")
    before = snapshot(home)
    assert main(["doctor", str(home), "--mend"]) == 1
    said = capsys.readouterr().out
    assert "runs/well/config.json: " in said
    assert "Put a copy back" in said
    assert snapshot(home) == before


def test_old_selections_that_nothing_mentions_are_put_aside_others_stay(home: Path, well: Run) -> None:
    names = ["0" * 12, "1" * 12, "2" * 12]
    (well.path / keys.SELECTIONS_FOLDER).mkdir()
    files = [well.path / keys.SELECTIONS_FOLDER / f"{name}.json" for name in names]
    for path in files:
        path.write_text("[]")
    for path in files[:2]:
        os.utime(path, (LONG_AGO, LONG_AGO))
    (well.path / keys.COLUMNS_FOLDER).mkdir()
    (well.path / keys.COLUMNS_FOLDER / "x.json").write_text(json.dumps({"words": names[1]}))
    assert [finding.level for finding in examine(home)] == ["note"]
    assert main(["doctor", str(home)]) == 0, "worth a note, not wrong"
    examine(home, mend=True)
    assert [path.is_file() for path in files] == [False, True, True]
    assert len(list((well.path / keys.DAMAGED_FOLDER).iterdir())) == 1


def test_homes_of_users_are_looked_at_too(home: Path, tiny_config: Callable[..., RunConfig]) -> None:
    theirs = home / "users" / "ada" / keys.RUNS_FOLDER
    theirs.mkdir(parents=True)
    run = Run.create(theirs / "hers", tiny_config())
    run.write_status(Status(state="done"))
    (home / keys.RUNS_FOLDER / "foreign").mkdir()
    found = {finding.place: finding for finding in examine(home)}
    assert set(found) == {"users/ada/runs/hers", "runs/foreign"}
    assert "holds no result.h5ad" in found["users/ada/runs/hers"].problem
    assert "no run" in found["runs/foreign"].problem


def test_a_full_disk_and_broken_uploads_are_told(
    home: Path, well: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / keys.UPLOADS_FOLDER / "empty.h5ad").touch()
    (home / keys.UPLOADS_FOLDER / "text.h5ad").write_text("gene,count")
    (home / keys.CACHE_FOLDER / "callbacks").mkdir()
    (home / keys.CACHE_FOLDER / "callbacks" / "cache.db").write_bytes(b"no database" * 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    assert main(["doctor", str(home), "--json"]) == 1
    found = {entry["place"]: Finding(**entry) for entry in json.loads(capsys.readouterr().out)}
    assert "0 MB are free" in found[str(home)].problem
    assert "empty" in found["uploads/empty.h5ad"].problem
    assert "cannot be read" in found["uploads/text.h5ad"].problem
    assert "only a cache" in found["cache/callbacks/cache.db"].advice
    assert "uploads/mine.h5ad" not in found


def test_a_home_that_cannot_be_written_to_is_told_and_nothing_is_mended(
    make_disk: Callable[..., Path], set_read_only: Callable[[Path], None], tiny_config: Callable[..., RunConfig]
) -> None:
    disk = make_disk(4)
    run = Run.create(disk / keys.RUNS_FOLDER / "tiny", tiny_config())
    run.write_status(Status(**LOST))  # type: ignore[arg-type]
    set_read_only(disk)
    found = examine(disk, mend=True)
    assert any("nothing can be written here" in finding.problem for finding in found)
    assert all(not finding.mended for finding in found)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_home_is_refused_in_words(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError):
        examine(tmp_path / name)
    assert main(["doctor", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
