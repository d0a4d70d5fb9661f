"""Can everybody use every page? axe-core finds nothing serious, with results and without, in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.requests import DifferentialRequest, EnrichmentRequest, EvaluationRequest
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
expect = playwright.expect

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SETS = ["ONE", "TWO", "THREE", "FOUR"]
FULL = "full-run"
PAGES = {
    "home": ("/", ".ag-row"),
    "data": ("/data?file=lab/planted.h5ad", "#genes-histogram .main-svg"),
    "form": ("/train?file=lab/planted.h5ad", "text=Training takes about"),
    "live": (f"/train?run={FULL}", "#training-curve .trace"),
    "cells": (f"/cells?run={FULL}", "#cells-umap-beside-legend .legend-item"),
    "explore": (f"/explore?run={FULL}", "#explore-umap-legend .legend-item"),
    "topics": (f"/topics?run={FULL}", "#cell-topic-heatmap .hm"),
    "embedding": (f"/embedding?run={FULL}", "#joint-umap-legend .legend-item"),
    "enrichment": (f"/enrichment?run={FULL}&sets=mine", "#enrichment-table .ag-row"),
    "differential": (f"/differential?run={FULL}&groupby=cell_type", "#differential-heatmap .hm"),
    "pathways": (f"/pathways?run={FULL}", "#pathway-topic-heatmap .hm"),
    "evaluate": (f"/evaluate?run={FULL}", "#evaluate-agreement .trace"),
    "transfer": (f"/transfer?run={FULL}", "#main .card"),
    "compare": (f"/compare?run={FULL}", "#compare-table .ag-row"),
    "figures": (f"/figures?run={FULL}", "text=No panel yet"),
    "report": (f"/report?run={FULL}", "text=Methods, ready for a paper"),
    "server": ("/server", "#server-workers tbody tr"),
}
WITHOUT_RUN = {
    "home": "/", "data": "/data", "form": "/train", "cells": "/cells", "evaluate": "/evaluate",
    "transfer": "/transfer", "compare": "/compare", "server": "/server",
}  # fmt: skip


@pytest.fixture(scope="module")
def full_run(home: Path) -> Iterator[str]:
    """A run with all tables that pages show."""
    from scetm_core.answers import answer

    data = planted_data()
    values = {"name": "full", "path": str(home.parent / "lab" / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS}
    run = Run.create(home / keys.RUNS_FOLDER / FULL, run_config_from_flat(values))
    result = result_of(data, run.config)
    result.uns[keys.ALPHA] = 2 * np.eye(N_TOPICS, len(SETS), dtype=np.float32)
    result.uns[keys.UNS][keys.UNS_RHO_NAMES] = np.array(SETS)
    finish(run, result)
    leading = np.argsort(-data.varm["true_beta"], axis=0)[:8].T
    file = home.parent / "mine.gmt"
    file.write_text(
        "".join(f"{name}\t\t" + "\t".join(data.var_names[leading[i]]) + "\n" for i, name in enumerate(SETS))
    )
    for name, request in (
        ("mine", EnrichmentRequest(gene_sets=str(file), n_permutations=100)),
        ("cell_type", DifferentialRequest(groupby="cell_type", n_permutations=200)),
        ("delta, cell_type, batch", EvaluationRequest(label_key="cell_type", batch_key="batch", n_repeats=2)),
    ):
        answer(run, name, request, on_progress=lambda share, message: None)
    yield run.id
    shutil.rmtree(run.path)


@pytest.fixture(scope="module")
def axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def findings(page: playwright.Page, axe: str) -> list[str]:
    """What axe calls serious or critical on a page, in words."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations)")
    return [
        f"{finding['id']}: {node['html'][:160]}"
        for finding in found
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]


def in_every_look(page: playwright.Page, axe: str) -> dict[str, list[str]]:
    """Findings in light and wide, and in dark and narrow: colours do not depend on the width."""
    found = {}
    for scheme, look, size in (("light", "wide", WIDE), ("dark", "narrow", NARROW)):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(f"html[data-mantine-color-scheme={scheme}]")).to_have_count(1)
        page.set_viewport_size(size)
        page.evaluate("new Promise(resolve => setTimeout(resolve, 350))")  # colours have finished changing
        found[f"{scheme}, {look}"] = findings(page, axe)
    return {look: words for look, words in found.items() if words}


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_with_results_has_no_serious_finding_and_fits_a_phone(
    name: str, page: playwright.Page, full_run: str, axe: str
) -> None:
    address, sign_of_life = PAGES[name]
    page.goto(address)
    expect(page.locator(sign_of_life).first).to_be_visible()
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("main").count() == 1
    assert in_every_look(page, axe) == {}
    assert page.viewport_size == NARROW
    page.wait_for_function("() => document.documentElement.scrollWidth <= 390")


@pytest.mark.parametrize("name", list(WITHOUT_RUN))
def test_a_page_without_any_run_has_no_serious_finding(
    name: str, page: playwright.Page, empty_server: str, axe: str
) -> None:
    page.goto(empty_server + WITHOUT_RUN[name])
    expect(page.locator("#main .card").first).to_be_visible()
    assert in_every_look(page, axe) == {}


def test_dialogs_and_what_unfolds_have_no_serious_finding(page: playwright.Page, full_run: str, axe: str) -> None:
    page.goto(f"/cells?run={FULL}")
    expect(page.locator("#cells-umap-beside-legend .legend-item").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    assert in_every_look(page, axe) == {}
    page.set_viewport_size(WIDE)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#cells-umap-beside-legend").get_by_role("button", name="Colours").click()
    expect(page.get_by_role("dialog", name="Colours of cell_type")).to_be_visible()
    assert in_every_look(page, axe) == {}
    page.set_viewport_size(WIDE)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("e")
    expect(page.get_by_role("option").first).to_be_visible()
    assert findings(page, axe) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("button", name="Take the tour").click()
    expect(page.get_by_role("dialog", name="Bring counts")).to_be_visible()
    assert in_every_look(page, axe) == {}


@pytest.mark.parametrize("name", ["cells", "topics", "differential", "enrichment", "live"])
def test_every_figure_has_a_name_and_says_what_it_shows(name: str, page: playwright.Page, full_run: str) -> None:
    address, sign_of_life = PAGES[name]
    page.goto(address)
    expect(page.locator(sign_of_life).first).to_be_visible()
    figures = page.get_by_role("figure")
    assert figures.count() == page.locator(".dash-graph").count() > 0
    names = page.evaluate(
        "[...document.querySelectorAll('[role=figure]')].map(figure => figure.ariaLabel"
        " ?? document.getElementById(figure.getAttribute('aria-labelledby')).textContent)"
    )
    assert all(names)
    assert len(set(names)) == len(names)
    described = page.evaluate(
        "[...document.querySelectorAll('[role=figure]')].map(figure =>"
        " document.getElementById(figure.getAttribute('aria-describedby'))?.textContent ?? '')"
    )
    assert all(len(words) > 20 for words in described)
