"""Does the log say who asked for what, in lines that programs can read, and nothing of what was in it?"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dash import Dash

from pages._server import logs
from pages._shared import access, studio
from pages._shared.access import Visitor
from scetm_core import keys
from tests.pages.by_hand import DONE

SECRET = "a-token-nobody-may-see"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("scetm")
    before, level = list(root.handlers), own.level
    yield
    for handler in [one for one in root.handlers if one not in before]:
        root.removeHandler(handler)
        handler.close()
    own.setLevel(level)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def written(home: Path) -> list[dict[str, Any]]:
    (file,) = (home / keys.LOGS_FOLDER).glob("server*.jsonl")
    return lines_of(file.read_text(encoding="utf-8"))


def test_a_request_is_a_line_of_json_without_its_query(
    app: Dash, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(tmp_path, kind="json")
    app.server.test_client().get(f"/cells?run={DONE}&color=Ins1&x={SECRET}", headers={"Authorization": "Bearer y-y-y"})
    text = capsys.readouterr().err
    (line,) = [line for line in lines_of(text) if line["logger"] == logs.REQUESTS]
    when = dt.datetime.fromisoformat(line.pop("time"))
    assert when.utcoffset() == dt.timedelta(0)
    assert abs((dt.datetime.now(dt.UTC) - when).total_seconds()) < 600
    assert line.pop("ms") >= 0
    assert line == {
        "level": "INFO", "logger": "scetm.request", "message": "Answered a request", "run": DONE, "method": "GET",
        "path": "/cells", "status": 200,
    }  # fmt: skip
    assert text.splitlines()[-1:] == [json.dumps(one, ensure_ascii=False) for one in written(tmp_path)[-1:]]
    for quoted in ("Ins1", SECRET, "y-y-y"):
        assert quoted not in text


def test_a_callback_goes_by_its_short_name_and_what_it_was_sent_is_not_written(
    app: Dash, tmp_path: Path, own_studio: studio.Studio
) -> None:
    logs.set_up(tmp_path, kind="")
    outputs = app.callback_map
    name = next(
        key for key, entry in outputs.items() if "callback" in entry and entry["callback"].__name__ == "cancel_run"
    )
    sent = {
        "output": name,
        "outputs": {"id": "train-cancel", "property": "style"},
        "inputs": [{"id": "train-cancel", "property": "n_clicks", "value": None}],
        "changedPropIds": ["train-cancel.n_clicks"],
        "state": [{"id": "active-run", "property": "data", "value": DONE}],
    }  # fmt: skip
    assert app.server.test_client().post("/_dash-update-component", json=sent).status_code == 200
    line = written(tmp_path)[-1]
    assert (line["callback"], line["run"], line["status"]) == ("_train.live.cancel_run", DONE, 200)


@pytest.mark.parametrize("run", ["../../etc", "x" * 500, {"a": 1}, None, "a\nb"])
def test_what_can_be_no_run_is_not_written(app: Dash, tmp_path: Path, run: Any) -> None:
    logs.set_up(tmp_path, kind="")
    app.server.test_client().get("/search", query_string={"run": run, "q": "Ins1"})
    assert "run" not in written(tmp_path)[-1]


def test_lines_within_a_request_say_whose_it_is(app: Dash, tmp_path: Path) -> None:
    logs.set_up(tmp_path, kind="")
    with app.server.test_request_context("/train?file=x"):
        access.admit(Visitor(name="ada", is_in=True))
        logging.getLogger("scetm.app").info("Something happened")
    line = written(tmp_path)[-1]
    assert (line["user"], line["path"], line["message"]) == ("ada", "/train", "Something happened")


def test_an_error_is_written_with_its_code_and_not_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(tmp_path, kind="")
    try:
        try:
            {}["GeneOfInterest"]
        except KeyError as error:
            raise ValueError("cannot use GeneOfInterest") from error
    except ValueError as error:
        logging.getLogger("scetm.app").error(
            "A callback failed [%s]", "abc123", exc_info=error, extra={"mark": "abc123"}
        )
    line = written(tmp_path)[-1]
    assert (line["level"], line["mark"], line["error"]) == ("ERROR", "abc123", "ValueError")
    assert line["trace"].index("KeyError") < line["trace"].index("ValueError")
    assert "test_logs.py" in line["trace"]
    words = capsys.readouterr().err
    assert "Error: A callback failed [abc123]" in words
    assert words.count("Traceback (most recent call last):") == 2
    assert "cannot use" not in words.replace('"cannot use GeneOfInterest"', "")  # the line of code itself


def test_a_terminal_has_words_and_stays_quiet_while_all_is_well(
    app: Dash, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(tmp_path, kind="")
    app.server.test_client().get("/cells")
    logging.getLogger("scetm.access").info("ada signed in")
    logging.getLogger("scetm.access").warning("Refused %s", "x\ny\x1b[2J")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("  ada signed in")
    assert second.endswith(r"  Warning: Refused x\ny\x1b[2J")
    assert [line["path"] for line in written(tmp_path) if line["logger"] == logs.REQUESTS] == ["/cells"]


@pytest.mark.parametrize("address", ["/assets/style.css", "/health", "/metrics"])
def test_dull_requests_are_not_written(app: Dash, tmp_path: Path, address: str) -> None:
    logs.set_up(tmp_path, kind="")
    with app.server.test_client().get(address) as answer:
        assert answer.status_code == 200
    assert written(tmp_path) == []


def test_files_are_set_aside_when_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    logs.set_up(tmp_path, kind="")
    for number in range(200):
        logging.getLogger("scetm.app").info("line %s", number)
    files = sorted((tmp_path / keys.LOGS_FOLDER).glob("server.jsonl*"))
    assert len(files) == 1 + logs.KEPT
    assert all(file.stat().st_size <= 2000 for file in files)
    assert json.loads(files[0].read_text().splitlines()[-1])["message"] == "line 199"
    assert (tmp_path / keys.LOGS_FOLDER).stat().st_mode & 0o077 == 0


def test_two_processes_write_two_files(tmp_path: Path) -> None:
    import filelock

    folder = tmp_path / keys.LOGS_FOLDER
    folder.mkdir()
    with filelock.FileLock(folder / ".server.jsonl.lock", is_singleton=False):
        logs.set_up(tmp_path, kind="")
        logging.getLogger("scetm.app").info("hello")
    assert [path.name for path in folder.glob("server*.jsonl")] == ["server-2.jsonl"]


def test_a_full_disk_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(tmp_path, kind="")
    (file,) = [one for one in logging.getLogger().handlers if isinstance(one, logs.LogFile)]

    def no_room(_: logging.LogRecord) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "shouldRollover", no_room)
    for _ in range(3):
        logging.getLogger("scetm.app").info("hello")
    said = capsys.readouterr().err
    assert said.count("cannot be written: [Errno 28] No space left on device") == 1
    assert said.count("hello") == 3
