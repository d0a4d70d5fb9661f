"""Which pictures does the documentation show? Trains on the demo data and photographs the app: ``make screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks._serve import ROOT, served
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.presets import PRESETS
from scetm_core.runs import Run
from scetm_core.worker import run_analysis
from tests.browser.find_chromium import find_chromium

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PICTURES = {"cells": "/cells?run=demo", "topics": "/topics?run=demo", "train": "/train?run=demo"}


def main() -> None:
    """Write docs/images."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data = write_demo(home / "demo")["mouse_pancreas.h5ad"]
        settings = {"name": "Mouse pancreas", "path": str(data), "batch_key": "batch", "label_key": "cell_type"}
        config = run_config_from_flat({**settings, **PRESETS["standard"].values})
        assert run_analysis(Run.create(home / "runs" / "demo", config)) == "done"
        with served(home) as address:
            photograph(address)


def photograph(base: str) -> None:
    """Take each picture once the page is quiet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        for name, path in PICTURES.items():
            page.goto(base + path, wait_until="networkidle")
            page.wait_for_timeout(2500)
            page.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
