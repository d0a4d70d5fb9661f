"""A server in a process of its own, Chromium, and pages whose complaints fail the test that opened them."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks._chromium import find_chromium
from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.runs import Run, list_runs
from tests import processes
from tests.pages.by_hand import COLUMNS, DONE, N_TOPICS, finish, planted_data, result_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
NOISE = re.compile(r"GPU stall due to ReadPixels|Automatic fallback to software WebGL")
TELL_VIOLATIONS = """document.addEventListener('securitypolicyviolation', (event) => console.error(
    'Content-Security-Policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile));"""
"""Some are caught by the scripts that commit them, and nothing is said but that WebGL is not supported."""
PATIENCE = 120_000  # milliseconds; ends a hanging test, measures nothing
WIDE = {"width": 1440, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium was found; on Debian: apt-get install chromium, or set SCETM_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the server, with the run `DONE` made by hand."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "lab").mkdir()
    data = planted_data()
    data.write_h5ad(folder / "lab" / "planted.h5ad")
    values = {"name": "by hand", "path": str(folder / "lab" / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS}
    config = run_config_from_flat({**values, "max_steps": 30})
    finish(Run.create(folder / "home" / keys.RUNS_FOLDER / DONE, config), result_of(data, config))
    return folder / "home"


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    """Address of ``python app.py`` with the demo data one click away."""
    with _serving(home) as address:
        yield address


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app in which nothing was done yet."""
    folder = tmp_path_factory.mktemp("nothing")
    (folder / "lab").mkdir()
    with _serving(folder / "home") as address:
        yield address


@pytest.fixture(scope="session")
def serving() -> Callable[[Path], contextlib.AbstractContextManager[str]]:
    """`with serving(home) as address:` an app on a home of the test's own."""
    return _serving


@contextlib.contextmanager
def _serving(home: Path) -> Iterator[str]:
    """The app on a home, with the folder "lab" beside it for data; its log must stay clean."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--home", str(home), "--data-dir", str(home.parent / "lab")]
    with (home.parent / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(address, process)
        yield address
    finally:
        processes.end(process, patience=20)
        _end_workers(home)
    assert "Traceback" not in (home.parent / "server.log").read_text()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        assert process.poll() is None, "the server ended at once"
        assert time.monotonic() < deadline, "the server did not answer"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            assert answer.status == 200
            return
        time.sleep(0.1)


def _end_workers(home: Path) -> None:
    """Workers outlive the server; after a failed test none shall outlive the tests."""
    for run in list_runs(home / keys.RUNS_FOLDER):
        status = run.status()
        with contextlib.suppress(psutil.NoSuchProcess):
            if status.state in ("queued", "running") and status.pid and status.pid_started:
                worker = psutil.Process(status.pid)
                if abs(worker.create_time() - status.pid_started) < 1:
                    worker.kill()


class Complaints(list[str]):
    """What the browser complained about: errors in the console, errors of pages, failed requests."""

    def watch(self, page: playwright.Page) -> None:
        page.on("console", lambda said: said.type == "error" and not NOISE.search(said.text) and self.append(said.text))
        page.on("pageerror", lambda error: self.append(f"page error: {error}"))
        page.on("response", lambda answer: answer.status >= 400 and self.append(f"{answer.status}: {answer.url}"))
        page.on("requestfailed", self._failed)

    def _failed(self, request: playwright.Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what was on its way when a page was left
            self.append(f"failed: {request.url} {request.failure}")


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    found = Complaints()
    yield found
    assert list(found) == []


@pytest.fixture
def fresh_context(
    browser: playwright.Browser, server: str, complaints: Complaints
) -> Iterator[playwright.BrowserContext]:
    """A visitor who was never here; the tabs opened in it share their settings."""
    with _visitor(browser, server) as context:
        context.on("page", complaints.watch)
        yield context


@pytest.fixture(scope="session")
def known_context(browser: playwright.Browser, server: str) -> Iterator[playwright.BrowserContext]:
    """A visitor who has all scripts already, which saves a test two seconds."""
    with _visitor(browser, server) as context:
        yield context


@pytest.fixture(scope="session")
def visiting() -> Callable[..., contextlib.AbstractContextManager[playwright.BrowserContext]]:
    """`with visiting(browser, address) as context:` somebody who was never here."""
    return _visitor


@contextlib.contextmanager
def _visitor(browser: playwright.Browser, server: str) -> Iterator[playwright.BrowserContext]:
    context = browser.new_context(viewport=WIDE, color_scheme="light", accept_downloads=True, base_url=server)
    context.add_init_script(TELL_VIOLATIONS)
    context.set_default_timeout(PATIENCE)
    playwright.expect.set_options(timeout=PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(known_context: playwright.BrowserContext, complaints: Complaints) -> Iterator[playwright.Page]:
    page = known_context.new_page()
    complaints.watch(page)
    yield page
    page.close()
