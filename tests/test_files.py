"""Are drafts told from what is left over of them, on this machine and on others that share the folder?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scetm_core import files
from scetm_core.files import draft_of, is_left_over, remove_leftovers

DAY = 86_400


def of_another_process(path: Path) -> Path:
    """A draft as it was left by a process of this machine that has ended."""
    code = f"from pathlib import Path; from scetm_core.files import draft_of; print(draft_of(Path({str(path)!r})))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Path(printed.stdout.strip())


def test_a_draft_is_left_over_once_its_process_is_gone(tmp_path: Path) -> None:
    mine, theirs = draft_of(tmp_path / "a.json"), of_another_process(tmp_path / "a.json")
    for draft in (mine, theirs):
        draft.write_text("{")
    assert remove_leftovers(tmp_path) == [theirs]
    assert mine.exists()
    assert not theirs.exists()


def test_a_draft_of_another_machine_is_left_over_after_a_day_without_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files.socket, "gethostname", lambda: "gpu-box")
        elsewhere.setattr(files.os, "getpid", lambda: 2**22 + 1)  # no process here can have that number
        draft = draft_of(tmp_path / "a.json")
    draft.write_text("{")
    assert not is_left_over(draft)
    about = draft.stat()
    os.utime(draft, (about.st_atime, about.st_mtime - DAY - 60))
    assert is_left_over(draft)
    draft.unlink()
    assert not is_left_over(draft), "renamed meanwhile"


@pytest.mark.parametrize("other", ["machine-id", "ns/pid"])
def test_a_draft_of_another_machine_or_container_of_the_same_name_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    if not Path("/proc/self/ns/pid").exists() or not Path("/etc/machine-id").exists():
        pytest.skip("this system does not say what machine it is")
    read, stat = Path.read_text, os.stat
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files.os, "getpid", lambda: 2**22 + 1)  # no process here can have that number
        if other == "machine-id":
            elsewhere.setattr(
                Path, "read_text", lambda self, **how: "another" if self.name == other else read(self, **how)
            )
        else:
            another = os.stat("/etc/machine-id")  # its number stands for that of another container
            elsewhere.setattr(
                files.os, "stat", lambda path, **how: another if str(path).endswith(other) else stat(path, **how)
            )
        draft = draft_of(tmp_path / "a.json")
    draft.write_text("{")
    assert not is_left_over(draft)


def test_only_drafts_are_left_over(tmp_path: Path) -> None:
    name = of_another_process(tmp_path / "a.json").name
    assert is_left_over(tmp_path / name)
    for other in (name[1:], re.sub(r"draft$", "csv", name), ".a.json.draft", ".a.json.1-x.draft"):
        assert not is_left_over(tmp_path / other)
