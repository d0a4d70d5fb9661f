"""Does the manager of background callbacks end its own processes, and no others?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import multiprocess
import pytest

from pages._shared import background
from scetm_core import broker


def test_only_processes_of_this_server_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(broker.VARIABLE, raising=False)
    manager = background.manager(tmp_path)
    own = multiprocess.Process(target=time.sleep, args=(60,))
    own.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        manager.terminate_job(str(other.pid))  # as if the number of a process that has ended were given out anew
        manager.terminate_job(None)
        assert other.poll() is None
        other.kill()
    manager.terminate_job(str(own.pid))
    own.join(20)
    assert not own.is_alive()
