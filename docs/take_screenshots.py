"""Which pictures does the documentation show? Trains on the demo data and photographs the app: ``make screenshots``.

Topics of the mouse pancreas, a pathway-informed model of the human one, and the mouse's model on human cells.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks._chromium import find_chromium
from benchmarks._serve import ROOT, served
from pages._shared.tour import STEPS
from scetm_core import keys
from scetm_core.answers import answer
from scetm_core.config import DataConfig, run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.peers import PEERS
from scetm_core.presets import PRESETS
from scetm_core.requests import (
    ComparisonRequest,
    DifferentialRequest,
    EnrichmentRequest,
    EvaluationRequest,
    MapRequest,
)
from scetm_core.runs import Run
from scetm_core.selection import Among, Step
from scetm_core.selection_store import write_selection
from scetm_core.transfer import transfer_config
from scetm_core.transfer_settings import TransferConfig
from scetm_core.worker import run_analysis

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PICTURES = {
    "cells": "/cells?run=demo",
    "explore": "/explore?run=demo",
    "topics": "/topics?run=demo",
    "train": "/train?run=demo",
    "embedding": "/embedding?run=demo",
    "enrichment": "/enrichment?run=demo&sets=Reactome",
    "differential": "/differential?run=demo",
    "pathways": "/pathways?run=pathways",
    "transfer": "/transfer?run=transfer",
    "evaluate": "/evaluate?run=demo",
    "compare": "/compare?run=demo",
    "server": "/server",
}
TOUR_PICTURES = ("Bring counts", "Explore", "Take figures along")
IMAGES = ROOT / "docs" / "images"
QUICK_METHODS = ("pca", "harmony", "scanorama")


def main() -> None:
    """Write docs/images."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files = write_demo(home / "demo")
        gene_sets = str(files["reactome.gmt"])
        mouse = train(home, "demo", {"name": "Mouse pancreas", "path": str(files["mouse_pancreas.h5ad"])})
        methods = tuple(name for name in QUICK_METHODS if not PEERS[name].missing)
        human = {"name": "Human pancreas, pathways", "path": str(files["human_pancreas.h5ad"])}
        train(home, "pathways", {**human, "rho_gmt": gene_sets})
        for name, request in (
            ("Reactome", EnrichmentRequest(gene_sets=gene_sets, refine_to=100_000)),
            ("cell_type", DifferentialRequest(groupby="cell_type")),
            ("genes", MapRequest(points="genes")),
            ("delta, cell_type, batch", EvaluationRequest(label_key="cell_type", batch_key="batch")),
            (keys.METHODS_TABLE, ComparisonRequest(methods=methods)),
        ):
            answer(mouse, name, request, on_progress=lambda share, message: None)
        transfer(home, mouse, files["human_pancreas.h5ad"])
        chosen = (Step(how="new", rule=Among(column="cell_type", values=("delta",))),)
        with served(home) as address:
            photograph(address, selection=write_selection(mouse, chosen))


def train(home: Path, run_id: str, settings: dict[str, str]) -> Run:
    """A finished run in a home."""
    columns = {"batch_key": "batch", "label_key": "cell_type"}
    config = run_config_from_flat({**PRESETS["standard"].values, **settings, **columns})
    run = Run.create(home / "runs" / run_id, config)
    assert run_analysis(run) == "done"
    return run


def transfer(home: Path, source: Run, target: Path) -> None:
    """The source's model on other cells, its encoder adapted to them."""
    config = transfer_config(
        source,
        data=DataConfig(path=str(target), batch_key="batch", label_key="cell_type"),
        transfer=TransferConfig(source_run=source.id, fine_tune="encoder"),
        name="Mouse model on human pancreas",
    )
    assert run_analysis(Run.create(home / "runs" / "transfer", config)) == "done"


def photograph(base: str, *, selection: str) -> None:
    """Take each picture once the page is quiet; on Explore some cells are selected."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        for name, path in PICTURES.items():
            page.goto(base + path + (f"&selection={selection}" if name == "explore" else ""), wait_until="networkidle")
            page.wait_for_timeout(2500)
            page.screenshot(path=IMAGES / f"{name}.png")
        photograph_export(page, f"{base}/cells?run=demo&color=cell_type")
        photograph_tour(page, f"{base}/?run=demo")
        browser.close()


def photograph_export(page: Page, address: str) -> None:
    """The export dialog with its preview."""
    page.goto(address, wait_until="networkidle")
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Export", exact=True).first.click()
    page.wait_for_timeout(4000)
    page.screenshot(path=IMAGES / "export.png")
    page.keyboard.press("Escape")


def photograph_tour(page: Page, address: str) -> None:
    """Take the tour, with a picture of each step of `TOUR_PICTURES`."""
    page.goto(address, wait_until="networkidle")
    page.get_by_role("button", name="Help").click()
    page.get_by_role("button", name="Take the tour").click()
    for _ in STEPS:  # a step whose page is missing is passed over
        page.locator(".tour.has-light").wait_for()
        title = page.locator("#tour-title").inner_text()
        if title in TOUR_PICTURES:
            page.wait_for_timeout(2500)
            page.screenshot(path=IMAGES / f"tour-{TOUR_PICTURES.index(title) + 1}.png")
        if title == TOUR_PICTURES[-1]:
            break
        page.keyboard.press("ArrowRight")
        page.wait_for_function("title => document.querySelector('#tour-title').innerText !== title", arg=title)
    page.keyboard.press("Escape")


if __name__ == "__main__":
    main()
