"""Is the app served as it was asked for: by gunicorn as by waitress, and to nobody it should not be?"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pages._server import serving
from scetm_core import keys
from scetm_core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_variables_mean_what_the_command_line_does(tmp_path: Path) -> None:
    variables = {
        "SCETM_HOME": "/srv/scetm", "SCETM_HOST": "0.0.0.0", "SCETM_PORT": "80", "SCETM_SLOTS": "3", "SCETM_DEMO": "1",
        "SCETM_DATA_DIRS": os.pathsep.join(["/data/a", "/data/b"]), "SCETM_ALLOWED_HOSTS": "x.org, y.org",
        "SCETM_BEHIND_PROXY": "1", "SCETM_NO_AUTH": "0",
    }  # fmt: skip
    line = [
        "--home", "/srv/scetm", "--host", "0.0.0.0", "--port", "80", "--slots", "3", "--demo", "--data-dir", "/data/a",
        "--data-dir", "/data/b", "--allowed-host", "x.org", "--allowed-host", "y.org", "--behind-proxy",
    ]  # fmt: skip
    assert serving.given_by(variables) == serving.parser().parse_args(line)
    assert serving.given_by({}) == serving.parser().parse_args([])
    assert serving.address(variables) == "0.0.0.0:80"
    assert serving.address({}) == "127.0.0.1:8050"
    assert serving.address({"SCETM_HOST": "::1"}) == "[::1]:8050"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SCETM_PORT": "http"}, "invalid int value: 'http'"),
        ({"SCETM_NO_AUTH": "yes"}, "SCETM_NO_AUTH is 'yes'; it can be 1"),
    ],
)
def test_a_variable_that_says_nothing_sensible_is_refused(variables: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        serving.given_by(variables)


def test_a_token_that_nobody_would_be_told_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCETM_TOKEN", "auto")
    with pytest.raises(ConfigError, match="would tell nobody"):
        serving.given_to_gunicorn({})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([("127.0.0.1", 8050)], "127.0.0.1:8050"),
        ([("127.0.0.1", 8050), ("10.0.0.3", 80)], "10.0.0.3:80"),
        ([("::", 80, 0, 0)], ":::80"),
        (["/run/scetm.sock"], "0.0.0.0:8050"),
        (["/run/scetm.sock", ("127.0.0.1", 8050)], "0.0.0.0:8050"),
        (["/run/scetm.sock", ("10.0.0.3", 80)], "10.0.0.3:80"),
        ([], "0.0.0.0:8050"),
    ],
)
def test_who_listens_on_several_addresses_is_reached_by_the_most_open_one(names: list[object], expected: str) -> None:
    assert serving.listening(names) == expected
    given = serving.given_to_gunicorn({serving.LISTENING: expected})
    assert f"{given.host}:{given.port}" == expected


def test_where_it_listens_unknown_it_may_be_anywhere() -> None:
    assert serving.given_to_gunicorn({"SCETM_HOST": "127.0.0.1"}).host == serving.ANYWHERE


def test_the_app_does_not_trust_a_configuration_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SCETM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SCETM_HOME", str(tmp_path))
    monkeypatch.setenv("SCETM_HOST", "127.0.0.1")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "wsgi.py"))
    assert ended.value.code == 3
    assert "nobody would have to sign in" in capsys.readouterr().err


# ---- the real thing -----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "gunicorn", *options]


def environment(home: Path, **variables: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SCETM_")}
    return {**kept, "SCETM_HOME": str(home), "SCETM_PORT": str(free_port()), **variables}


@contextlib.contextmanager
def served(home: Path, output: Path, **variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Gunicorn on a home: its address, and its process."""
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    known = environment(home, **variables)
    with output.open("wb") as stream:
        process = subprocess.Popen(command(), cwd=ROOT, env=known, stdout=stream, stderr=stream)
    address = f"http://127.0.0.1:{known['SCETM_PORT']}"
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=60):
                break
            time.sleep(0.1)
        yield address, process
    finally:
        process.kill()
        process.wait()


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_gunicorn_serves_the_app_logs_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    told = {"SCETM_LOG": "json", "SCETM_HOST": "0.0.0.0", "SCETM_NO_AUTH": "1"}
    with served(tmp_path / "home", tmp_path / "out", **told) as (address, process):
        assert [status_of(f"{address}{path}") for path in ("/", "/cells", "/_dash-layout", "/metrics")] == [200] * 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert {"gunicorn.error", "scetm.request"} <= {line["logger"] for line in lines}
    assert not [line for line in lines if line["level"] in ("WARNING", "ERROR", "CRITICAL")]
    (file,) = (tmp_path / "home" / keys.LOGS_FOLDER).glob("server*.jsonl")
    paths = [json.loads(line).get("path") for line in file.read_text().splitlines()]
    assert [path for path in paths if path] == ["/", "/cells", "/_dash-layout"]


@pytest.mark.slow
def test_gunicorn_does_not_let_in_strangers_unasked(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    known = environment(tmp_path / "home", SCETM_HOST="127.0.0.1")
    done = subprocess.run(
        command("--bind", "0.0.0.0:0"), cwd=ROOT, env=known, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "nobody would have to sign in" in done.stderr
    assert "SCETM_NO_AUTH=1" in done.stderr
    assert "Booting worker" not in done.stderr
