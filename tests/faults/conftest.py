"""Disks that fill up or cannot be written to, runs without scores, and a studio to look at them with."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core import jobs, keys

MakeDisk = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread_per_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs this small gain nothing from two, and lose much where other processes are at work."""
    monkeypatch.setattr(jobs, "threads_per_run", lambda n_slots: 1)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mount a disk of some megabytes in memory; skips where that is not permitted."""
    mounted: list[Path] = []

    def make(megabytes: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here ({error})")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def set_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)


@pytest.fixture(name="set_read_only")
def set_read_only_fixture() -> Callable[[Path], None]:
    return set_read_only


class Ballast:
    """Takes all room that is left on a disk, until it is thrown off."""

    def __init__(self, disk: Path) -> None:
        self.file = disk / "ballast"

    def load(self) -> None:
        with self.file.open("wb", buffering=0) as stream:
            for size in (1 << 16, 1):
                with contextlib.suppress(OSError):  # of a full disk
                    while True:
                        stream.write(b"x" * size)
        assert shutil.disk_usage(self.file.parent).free == 0

    def throw_off(self) -> None:
        self.file.unlink()


@pytest.fixture
def make_ballast() -> Callable[[Path], Ballast]:
    return Ballast


@pytest.fixture
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end with the result, without neighbours and scores: those have tests of their own."""
    from scetm_core import analysis

    def write(run, report, result, *, seconds):  # type: ignore[no-untyped-def]
        report.stage("evaluating", "Scoring the result.")
        run.write_result(result)

    monkeypatch.setattr(analysis, "embed_and_score", write)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Studio]:
    """Have the pages show a home."""

    def show(home: Path) -> Studio:
        made = Studio(home=home)
        monkeypatch.setattr(studio, "_current", None)  # what other tests have shown comes back afterwards
        monkeypatch.setenv(keys.HOME_VARIABLE, str(home))
        studio.configure(made)
        return made

    return show
