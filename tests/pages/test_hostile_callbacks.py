"""Does every callback answer in words, whatever a browser that is not ours sends to it?

All callbacks of the app get hostile values straight at Dash's route: everywhere, and slyly, with clicks that are real.
Nothing may come of it but an answer: no 500, no traceback, no file opened outside the home and the data folders.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from dash._utils import split_callback_id
from flask.testing import FlaskClient

from pages._access.messages import KINDS, ROUTE
from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core import jobs, keys
from scetm_core.data.demo import write_demo
from scetm_core.errors import DataError
from tests.pages.by_hand import DONE

HOSTILE: dict[str, Any] = {
    "none": None,
    "number": 3,
    "huge": 10**300,
    "nan": float("nan"),
    "list": [1, [None, {"a": ["b"]}]],
    "dict": {"id": {"type": "x"}, "path": "/etc/passwd", "points": [{"customdata": [[]]}]},
    "up": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "other": "../../bob/runs/secret-run",
    "root": "lab/../../../etc/passwd",
    "long": "x" * 200_000,
    "markup": "<script>alert(1)</script>\0\n",
}
REAL = {int: 1, bool: True, str: "/cells", dict: {"points": [{"customdata": "topic_1", "x": 1}]}, list: []}
ANSWERS = {200, 204, *range(400, 500)}

opened: list[tuple[str, bool]] = []
"""What was opened while `_watching` was set: path, and whether to write."""
_watching = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append((os.fsdecode(arguments[0]), bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))))
    elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree"):
        opened.extend((os.fsdecode(path), True) for path in arguments[:2] if isinstance(path, (str, bytes, Path)))
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        opened.append((f"a process: {arguments[0]!s}", True))


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is started and nothing is fetched."""

    def no_network(*_: Any, **__: Any) -> Any:
        raise DataError("There is no network here.")

    monkeypatch.setattr(jobs, "spawn", lambda *_: None)
    monkeypatch.setattr("pages._shared.gene_sets.fetch_library", no_network)
    monkeypatch.setattr("pages._shared.gene_sets.list_libraries", no_network)


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Note what is opened."""
    global _watching
    opened.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False


@pytest.fixture(scope="module")
def attacked(shown_studio: Studio, app: Dash, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A home with a finished run that may be spoilt."""
    home = tmp_path_factory.mktemp("attacked") / "home"
    shutil.copytree(shown_studio.home, home)
    write_demo(home / keys.DEMO_FOLDER)  # put together in another folder first
    return dataclasses.replace(shown_studio, home=home)


def a_place(declared: dict[str, Any], value: Any, *, slyly: bool) -> Any:
    """An input, state or output as a page would name it; two where a pattern means many."""
    spec = json.loads(declared["id"]) if declared["id"].startswith("{") else declared["id"]
    prop = declared["property"].partition("@")[0]
    if slyly and prop in KINDS and not isinstance(value, KINDS[prop]):
        value = REAL[KINDS[prop][0]]
    if not isinstance(spec, dict):
        return {"id": spec, "property": prop, "value": value}
    text = value if isinstance(value, str) and len(value) < 1000 else "cells-umap"
    filled = {name: text if isinstance(kind, list) else kind for name, kind in spec.items()}
    entry = {"id": filled, "property": prop, "value": filled if prop == "id" and slyly else value}
    return [entry, entry] if any(kind in (["ALL"], ["ALLSMALLER"]) for kind in spec.values()) else entry


def a_message(output: str, declared: dict[str, Any], value: Any, *, slyly: bool, trigger: int = 0) -> dict[str, Any]:
    """A message to a callback with the same value everywhere; slyly, but for the run and what is clicked."""

    def filled(specs: list[dict[str, Any]]) -> list[Any]:
        run = DONE if slyly else value
        return [a_place(spec, run if spec["id"] == "active-run" else value, slyly=slyly) for spec in specs]

    outputs = [] if declared.get("no_output") else split_callback_id(output)
    inputs = filled(declared["inputs"])
    first = inputs[trigger] if inputs else {"id": "url", "property": "search"}
    first = first[0] if isinstance(first, list) else first
    name = first["id"]
    if isinstance(name, dict):
        name = json.dumps(name, sort_keys=True, separators=(",", ":"))
    return {
        "output": output,
        "outputs": [a_place(one, None, slyly=True) for one in outputs]
        if isinstance(outputs, list)
        else a_place(outputs, None, slyly=True),
        "inputs": inputs,
        "state": filled(declared["state"]),
        "changedPropIds": [f"{name}.{first['property']}"],
    }


def messages(app: Dash, value: Any, *, slyly: bool) -> Iterator[dict[str, Any]]:
    """One to each callback; slyly, one for each of its inputs as the one that changed."""
    known = {name: one for name, one in app.callback_map.items() if not one.get("background")}
    assert len(known) > 150  # they are all there
    for output, declared in known.items():
        many = slyly and not (isinstance(value, str) and len(value) > 1000)
        for trigger in range(max(1, len(declared["inputs"])) if many else 1):
            yield a_message(output, declared, value, slyly=slyly, trigger=trigger)


@pytest.fixture(scope="module")
def client(app: Dash) -> FlaskClient:
    return app.server.test_client()


def is_own(path: str, shown: Studio) -> bool:
    """In the home; or where matplotlib keeps its list of fonts."""
    return path.startswith(str(shown.home)) or "/matplotlib" in path


@pytest.mark.parametrize("slyly", [False, True], ids=["everywhere", "slyly"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_values_are_answered_in_words(
    kind: str, slyly: bool, app: Dash, client: FlaskClient, attacked: Studio
) -> None:
    studio.configure(attacked)
    for message in messages(app, HOSTILE[kind], slyly=slyly):
        with watching():
            answer = client.post(ROUTE, json=message)
        written = [path for path, is_writing in opened if is_writing and not is_own(path, attacked)]
        assert written == [], message["output"]
        assert [path for path, _ in opened if "passwd" in path or "secret-run" in path] == [], message["output"]
        text = answer.get_data(as_text=True)
        assert answer.status_code in ANSWERS, message["output"]
        assert "Traceback" not in text, message["output"]
        assert "root:x:" not in text, message["output"]
        assert answer.status_code != 200 or answer.is_json
