"""A redis-server and Celery workers for the tests, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds; ends a hanging test, measures nothing


class Redis:
    """A broker on a free port of this machine, which can be stopped and started again; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        executable = shutil.which("redis-server")
        assert executable is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([executable, *options], cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not answer"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Worker:
    """A Celery worker, as it is started on another machine, in a session of its own."""

    def __init__(self, folder: Path, *, app: str, queues: str, environment: dict[str, str]) -> None:
        self.log_path = folder / f"{app}-{queues}-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queues, "--concurrency", "1"]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--loglevel", "warning", "--without-mingle", "--without-gossip", "--without-heartbeat"],
                cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def all_processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            me = psutil.Process(self.process.pid)
            return [me, *me.children(recursive=True)]
        return []

    def kill(self) -> None:
        """As when the machine is switched off: the worker and all that it has started, at once."""
        for process in self.all_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    redis = Redis(folder)
    redis.start()
    try:
        yield redis
    finally:
        redis.stop()
