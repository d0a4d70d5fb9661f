"""How is the app served to a script? As a process on a free port, until the script is done with it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def served(home: Path, *, patience: float = 60) -> Iterator[str]:
    """Address of the app on a home, once it answers.

    Raises
    ------
    TimeoutError
        If it does not answer within `patience` seconds.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "app.py", "--home", str(home), "--port", str(port)], cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health", seconds=patience)
        yield address
    finally:
        server.terminate()


def _wait_for(url: str, *, seconds: float) -> None:
    for _ in range(int(seconds * 10)):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def server_of(address: str) -> psutil.Process:
    """The process that answers at an address."""
    port = int(address.rpartition(":")[2])
    return next(
        psutil.Process(found.pid)
        for found in psutil.net_connections("tcp")
        if found.laddr and found.laddr.port == port and found.status == psutil.CONN_LISTEN and found.pid
    )
