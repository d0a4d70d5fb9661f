"""How long does a user of Explore wait, and how much memory does that take? From 100,000 to 1,000,000 simulated cells.

Needs Chromium. Each time is from the click until the last figure that follows is on screen; medians of several clicks,
each on something not shown before. Memory is the server's own at its highest, mapped files not counted twice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._atlas import make_atlas
from benchmarks._chromium import find_chromium
from benchmarks._report import report
from benchmarks._serve import served, server_of

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TARGETS = {
    100_000: {"usable": 1.5, "by topic": 0.4, "by category": 0.4, "by gene": 0.8, "lasso to panels": 0.8},
    1_000_000: {"usable": 3.0, "by topic": 1.0, "by category": 1.0, "by gene": 2.0, "lasso to panels": 2.0},
}
QUIET = """() => new Promise((done) => {
    const graph = () => document.querySelector('#explore-umap .js-plotly-plot');
    const busy = () => document.querySelector('[data-dash-is-loading=true]') || window.requestsAtWork > 0;
    const look = () => (graph()?.layout?.images?.length && graph().querySelector('image') && !busy()
        ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))) : setTimeout(look, 10));
    look();
})"""
COUNT_REQUESTS = """
    window.requestsAtWork = 0;
    const fetch_ = window.fetch;
    window.fetch = (...all) => {
        window.requestsAtWork += 1;
        return fetch_(...all).finally(() => setTimeout(() => { window.requestsAtWork -= 1; }, 0));
    };
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="keep the simulated data here (1.4 GB)")
    parser.add_argument("--n-cells", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        rows = [row for n_cells in options.n_cells for row in _measure(home, n_cells, repeats=options.repeats)]
    report("ui", pd.DataFrame(rows), label="what", value="seconds")


def _measure(home: Path, n_cells: int, *, repeats: int) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    run_id, targets = make_atlas(home, n_cells=n_cells), TARGETS.get(n_cells, {})
    with served(home) as address, sync_playwright() as driver:
        server = server_of(address)
        browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_init_script(COUNT_REQUESTS)
        page = context.new_page()
        page.goto(f"{address}/data")  # scripts are in the browser's cache
        page.wait_for_load_state("networkidle")
        url = f"{address}/explore?run={run_id}"
        times = {"first ever": [_seconds(page, lambda: page.goto(url))]}
        times["usable"] = [_seconds(page, lambda: page.goto(url)) for _ in range(repeats)]
        for what, choices in (
            ("by topic", [f"topic_{i}" for i in range(3, 3 + repeats)]),
            ("by category", ["batch", "leiden"] * repeats),
            ("first gene", ["Gene3"]),
            ("by gene", [f"Gene{i}" for i in range(11, 11 + repeats)]),
        ):
            times[what] = [_seconds(page, lambda c=choice: _color(page, c)) for choice in choices[:repeats]]
        _color(page, "cell_type")
        page.evaluate(QUIET)
        page.get_by_text("Lasso", exact=True).click()
        times["lasso to panels"] = [_seconds(page, lambda i=i: _lasso(page, i)) for i in range(repeats)]
        memory = server.memory_info()
        browser.close()
    shown = f"{n_cells:,} cells"
    rows = [
        {"what": f"{shown}: {what}", "seconds": round(float(np.median(found)), 2), "target": targets.get(what),
         "slowest": round(max(found), 2)}
        for what, found in times.items()
    ]  # fmt: skip
    own = (memory.rss - getattr(memory, "shared", 0)) / 1e9
    return [
        *rows,
        {"what": f"{shown}: server, GB (with mapped files {memory.rss / 1e9:.2f})", "seconds": round(own, 2)},
    ]


def _seconds(page: Any, act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    page.evaluate(QUIET)
    return time.perf_counter() - started


def _color(page: Any, color: str) -> None:
    page.evaluate("(value) => window.dash_clientside.set_props('explore-color', {value})", color)
    page.wait_for_function("() => window.requestsAtWork > 0")


def _lasso(page: Any, i: int) -> None:
    """Draw one around another part of the map; the time of drawing is part of what is measured, some 0.05 s."""
    box = page.locator("#explore-umap .nsewdrag").first.bounding_box()
    x, y = box["x"] + box["width"] * (0.25 + 0.05 * i), box["y"] + box["height"] * 0.3
    corners = [(0, 0), (120, 10), (140, 130), (30, 150), (0, 0)]
    page.mouse.move(x, y)
    page.mouse.down()
    for right, down in corners:
        page.mouse.move(x + right, y + down)
    page.mouse.up()
    page.wait_for_function("() => window.requestsAtWork > 0")


if __name__ == "__main__":
    main()
