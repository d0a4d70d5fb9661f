"""Is nothing lost on a full disk? What was there stays, what is half-written goes, the way on is told and works."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest

from pages._shared import uploads
from scetm_core import jobs
from scetm_core.config import RunConfig
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

ROOT = Path(__file__).parents[2]
MakeDisk = Callable[..., Path]
Configure = Callable[..., RunConfig]
MakeBallast = Callable[[Path], Any]


def drafts_in(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.draft*"))


def steps_of(run: Run) -> list[int]:
    return [int(step) for step in run.metrics()["step"]]


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(
    ("when", "changes"),
    [
        pytest.param(lambda status: status.step == 15, {}, id="at a checkpoint"),
        pytest.param(lambda status: status.stage == "evaluating", {}, id="at the result"),
        pytest.param(
            lambda status: status.step == 10,
            {"report_every": 1, "max_steps": 120, "checkpoint_every": 1000, "evaluate_every": 60},
            id="at the curve",
        ),
    ],
)
def test_a_run_on_a_full_disk_stops_in_words_and_resumes(
    make_disk: MakeDisk, tiny_config: Configure, make_ballast: MakeBallast, when: Any, changes: dict[str, Any]
) -> None:
    disk = make_disk(4)
    run, ballast = Run.create(disk / "run", tiny_config(**changes)), make_ballast(disk)

    def fill_up(status: Status) -> None:
        if when(status) and not ballast.file.exists():
            ballast.load()

    assert run_analysis(run, on_change=fill_up) == "failed"
    assert ballast.file.exists()
    status = run.status()
    assert status.state == "failed", "the state itself is told on a full disk"
    assert "disk is full" in status.message
    assert "resume" in status.message
    assert jobs.can_resume(run)
    assert drafts_in(disk) == []
    assert not run.has_result
    ballast.throw_off()
    assert run_analysis(run) == "done", run.status().message
    every, last = changes.get("report_every", 5), changes.get("max_steps", 30)
    assert steps_of(run) == list(range(every, last + 1, every))
    assert run.load_result().n_obs == 240


def test_a_checkpoint_that_finds_no_room_leaves_the_last_one(
    make_disk: MakeDisk, tiny_config: Configure, make_ballast: MakeBallast
) -> None:
    import torch

    from scetm_core.checkpoints import Checkpoint, read_checkpoint, write_checkpoint

    folder = make_disk(2) / "checkpoint"
    tensors, names = {"w": torch.arange(200_000, dtype=torch.float32)}, json.dumps({"genes": ["a"]})
    write_checkpoint(folder, Checkpoint(tensors, {"step": 1}), description={"names": names})
    make_ballast(folder.parent).load()
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(folder, Checkpoint(tensors, {"step": 2}), description={"names": names})
    assert drafts_in(folder) == []
    found = read_checkpoint(folder, names=names, device=torch.device("cpu"))
    assert found is not None
    assert found.position == {"step": 1}
    assert found.tensors["w"].equal(tensors["w"])


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(make_run: Callable[..., Run]) -> None:
    """The way without a mount: the real worker may write files of 24 kB, which a checkpoint of this run exceeds."""
    run = make_run()
    command = [sys.executable, "-m", "scetm_core.worker", str(run.path)]

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, resource.RLIM_INFINITY))

    done = subprocess.run(command, cwd=ROOT, preexec_fn=limit_files, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "disk is full" in run.status().message, done.stdout + done.stderr
    assert drafts_in(run.path) == []
    assert run_analysis(run) == "done"
    assert steps_of(run) == [5, 10, 15, 20, 25, 30]


def test_an_upload_that_fills_the_disk_is_refused_in_words_and_leaves_nothing(
    make_disk: MakeDisk,
    make_ballast: MakeBallast,
    show: Callable[[Path], Any],
    planted_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = make_disk(2)
    home = show(disk / "home")
    server = flask.Flask("uploads")
    uploads.add_route(server)
    ballast, content = make_ballast(disk), planted_file.read_bytes()

    def send() -> Any:
        return server.test_client().post(
            "/upload?name=mine.h5ad", data=content, content_type="application/octet-stream"
        )

    ballast.load()
    refused = send()
    assert refused.status_code == 400, "what cannot fit is not begun"
    assert "not enough free disk space" in refused.json["error"]

    monkeypatch.setattr(uploads, "SPARE", -(1 << 40))  # there was room when it began
    refused = send()
    assert refused.status_code == 507
    assert "disk is full" in refused.json["error"]
    assert "Free some space" in refused.json["error"]
    assert list(home.uploads_folder.iterdir()) == []
    ballast.throw_off()
    assert send().json == {"ref": "uploads/mine.h5ad"}
    assert (home.uploads_folder / "mine.h5ad").read_bytes() == content
