"""How long until something is on screen? Import of the app, and the first drawing of each page with the demo data.

Needs Chromium. A page counts as drawn when its figures hold data and the network is quiet.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._chromium import find_chromium
from benchmarks._report import report
from benchmarks._serve import ROOT, served
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

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

    started = time.perf_counter()
    with served(home) as address, sync_playwright() as playwright:
        rows: list[dict[str, object]] = [{"what": "server answers", "seconds": round(time.perf_counter() - started, 2)}]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        for path in PAGES:
            times = [_first_drawing(browser, address + path) for _ in range(3)]
            rows.append({"what": path, "seconds": round(float(np.median(times)), 2)})
        browser.close()
    return rows


def _first_drawing(browser: object, url: str) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})  # type: ignore[attr-defined]
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_function(DRAWN)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


if __name__ == "__main__":
    main()
