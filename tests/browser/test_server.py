"""Does the Server page follow what goes on, without taking the focus away, and does its Cancel reach the run?"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.fixture
def working_run(home: Path) -> Iterator[Run]:
    """A run whose worker lives, and does nothing."""
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    values = {"name": "at work", "path": str(home.parent / "lab" / "planted.h5ad"), **COLUMNS, "max_steps": 100}
    run = Run.create(home / keys.RUNS_FOLDER / "at-work", run_config_from_flat(values))
    known = {"pid": worker.pid, "pid_started": psutil.Process(worker.pid).create_time(), "host": socket.gethostname()}
    run.write_status(Status(state="running", step=20, max_steps=100, queued_at=time.time(), **known))
    yield run
    shutil.rmtree(run.path)
    worker.kill()
    worker.wait()


def test_the_queue_is_followed_and_a_run_cancelled_from_the_keyboard(page: playwright.Page, working_run: Run) -> None:
    page.goto("/server")
    row = page.get_by_role("region", name="Queue").get_by_role("row", name="at work")
    expect(row).to_contain_text("20%")
    button = row.get_by_role("button", name="Cancel at work")
    button.focus()
    working_run.write_status(dataclasses.replace(working_run.status(), step=60))
    expect(row).to_contain_text("60%")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Cancel at work")).to_have_text("Stopping")
    assert working_run.cancel_requested
