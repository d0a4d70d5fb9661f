"""A real server on a home: started, asked as a browser asks it, and killed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Server:
    """``python app.py --home HOME`` on a port of its own."""

    def __init__(self, home: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--home", str(home), "--port", str(self.port), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> str:
        """Its first line: where it is, or why it is not."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def kill(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def call(self, output: str, values: Mapping[str, Any], *, trigger: str) -> dict[str, Any]:
        """Have a callback called, as the page does: the one that sets `output`; the rest of its inputs are null."""
        found = next(
            entry
            for entry in json.loads(self.get("/_dash-dependencies"))
            if output in [name.partition("@")[0] for name in entry["output"].strip(".").split("...")]
            and any(f"{given['id']}.{given['property']}" == trigger for given in entry["inputs"])
        )

        def filled(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{**entry, "value": values.get(f"{entry['id']}.{entry['property']}")} for entry in entries]

        names = [name.rpartition(".") for name in found["output"].strip(".").split("...")]
        outputs = [{"id": name, "property": prop.partition("@")[0]} for name, _, prop in names]
        body = {
            "output": found["output"],
            "outputs": outputs if found["output"].startswith("..") else outputs[0],
            "inputs": filled(found["inputs"]),
            "state": filled(found["state"]),
            "changedPropIds": [trigger],
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_dash-update-component",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return dict(json.loads(text)) if text else {}
