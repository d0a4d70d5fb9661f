"""Can a model be applied to other cells by pointing and clicking, and do both sides show up?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.data.simulate import simulate
from scetm_core.runs import Run
from tests.browser.actions import exported
from tests.pages.by_hand import COLUMNS, N_TOPICS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

SOURCE = "source-run"


@pytest.fixture(scope="module")
def source(home: Path) -> Run:
    """A run with a model, trained for a moment."""
    from scetm_core.worker import run_analysis

    values = {"name": "source", "path": str(home.parent / "lab" / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS}
    config = run_config_from_flat({**values, "max_steps": 20, "n_emb": 8, "start": "data"})
    run = Run.create(home / keys.RUNS_FOLDER / SOURCE, config)
    assert run_analysis(run) == "done"
    others = simulate(n_cells=80, n_genes=30, n_topics=N_TOPICS, n_emb=4, median_counts=400, seed=7)
    others[:, ::-1].copy().write_h5ad(home.parent / "lab" / "others.h5ad")
    return run


@pytest.mark.slow
def test_a_model_is_applied_by_a_click_and_both_sides_are_shown(page: playwright.Page, source: Run) -> None:
    page.goto(f"/transfer?run={SOURCE}&file=lab/others.h5ad")
    expect(page.get_by_text("100% of the target's counts are covered")).to_be_visible()
    page.get_by_role("button", name="Transfer", exact=True).click()
    expect(page.get_by_text("What came of it")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("by the model of source")).to_be_visible()
    for graph in ("transfer-umap", "transfer-umap-source"):
        page.wait_for_function(f"() => document.querySelector('#{graph} .js-plotly-plot')?.data?.length > 1")
    page.get_by_role("textbox", name="Colour by").click()
    page.get_by_role("option", name="Confidence of the label").click()
    expect(page).to_have_url(re.compile(r"\?run=[^&]*&color=transfer_confidence$"))
    assert exported(page, "transfer-umap", "Table").read_text().count("\n") == 81
    page.locator("label", has_text="Joint map").click()
    page.get_by_role("button", name="Lay out both together").click()
    page.wait_for_function(
        "() => document.querySelector('#transfer-umap .js-plotly-plot')?.data?.length > 1", timeout=90_000
    )
    page.goto("/")
    expect(page.get_by_text("zero-shot")).to_be_visible()
