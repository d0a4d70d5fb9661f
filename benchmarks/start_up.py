"""How long until something is on screen? Import of the app, and the first drawing of each page with the demo data.

Needs Chromium. A page counts as drawn when its figures hold data and the network is quiet.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.runs import Run
from scetm_core.worker import run_analysis
from tests.browser.find_chromium import find_chromium

ROOT = Path(__file__).parent.parent
PAGES = ("/", "/data?file=demo/mouse_pancreas.h5ad", "/train?file=demo/mouse_pancreas.h5ad", "/cells", "/topics")
DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')].every(g => g.data && g.data.length > 0)
    && !document.querySelector('.mantine-Skeleton-root') && document.querySelector('.page')"""


def main() -> None:
    rows = [{"what": "import app", "seconds": _import_seconds()}]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data = write_demo(home / "demo")["mouse_pancreas.h5ad"]
        settings = {"path": str(data), "batch_key": "batch", "label_key": "cell_type", "max_steps": 20}
        assert run_analysis(Run.create(home / "runs" / "demo", run_config_from_flat(settings))) == "done"
        rows += _page_seconds(home)
    report("start_up", pd.DataFrame(rows), label="what", value="seconds")


def _import_seconds() -> float:
    code = "import time; t = time.perf_counter(); import app; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True) for _ in range(5)]
    return round(float(np.median([float(run.stdout) for run in runs])), 2)


def _page_seconds(home: Path) -> list[dict[str, object]]:
    from playwright.sync_api import sync_playwright

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    server = subprocess.Popen([sys.executable, "app.py", "--home", str(home), "--port", str(port)], cwd=ROOT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        rows: list[dict[str, object]] = [{"what": "server answers", "seconds": round(time.perf_counter() - started, 2)}]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
            for path in PAGES:
                times = [_first_drawing(browser, f"http://127.0.0.1:{port}{path}") for _ in range(3)]
                rows.append({"what": path, "seconds": round(float(np.median(times)), 2)})
            browser.close()
        return rows
    finally:
        server.terminate()


def _first_drawing(browser: object, url: str) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})  # type: ignore[attr-defined]
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_function(DRAWN)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def _wait_for(url: str, *, seconds: float = 60) -> None:
    for _ in range(int(seconds * 10)):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    main()
