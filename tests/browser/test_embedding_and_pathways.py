"""Do clicks on the map of genes and topics, and on the pathways, do what they should in a browser?"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.runs import Run
from tests.browser.actions import exported
from tests.pages.by_hand import COLUMNS, DONE, N_GENES, N_TOPICS, finish, planted_data, result_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

SETS = [f"REACTOME_{word}_SECRETION" for word in ("INSULIN", "GLUCAGON", "LIPASE", "MUCUS", "BILE", "HORMONE")]


@pytest.fixture(scope="module")
def pathway_run(home: Path) -> Iterator[str]:
    """A run with rho fixed to six gene sets, older than the one that other tests find first."""
    values = {"name": "pathways", "path": str(home.parent / "lab" / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS}
    run = Run.create(home / keys.RUNS_FOLDER / "pathway-run", run_config_from_flat(values))
    result = result_of(planted_data(), run.config)
    result.uns[keys.ALPHA] = 2 * np.eye(N_TOPICS, len(SETS), dtype=np.float32)
    result.uns[keys.UNS][keys.UNS_RHO_NAMES] = np.array(SETS)
    finish(run, result)
    yield run.id
    shutil.rmtree(run.path)


def place_of(page: playwright.Page, graph: str, text: str) -> tuple[float, float]:
    """Where a point of a graph is on the screen."""
    x, y = page.evaluate(
        """([id, text]) => {
            const graph = document.querySelector(`#${id} .js-plotly-plot`), box = graph.getBoundingClientRect();
            const { xaxis, yaxis } = graph._fullLayout;
            for (const trace of graph._fullData.toReversed()) {
                const i = Array.from(trace.text || []).indexOf(text);
                if (i >= 0) return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                                    box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
            }
        }""",
        [graph, text],
    )
    return x, y


def click_point(page: playwright.Page, graph: str, text: str) -> None:
    """Click a point, once the graph has seen the mouse over it; a figure may still be moving."""
    page.locator(f"#{graph}").scroll_into_view_if_needed()
    hovered = page.locator(f"#{graph} .hoverlayer").get_by_text(text, exact=True)
    for _ in range(60):
        x, y = place_of(page, graph, text)
        page.mouse.move(x - 2, y)
        page.mouse.move(x, y)
        page.wait_for_timeout(300)
        if hovered.count():
            break
    hovered.wait_for()
    page.mouse.click(x, y)


def test_the_map_comes_by_itself_and_follows_clicks(page: playwright.Page) -> None:
    page.goto(f"/embedding?run={DONE}&topic=1")
    shown = "document.querySelector('#joint-umap .js-plotly-plot')?.data"
    page.wait_for_function(f"() => {shown}?.some(trace => trace.name === 'Topic 1')")
    expect(page.locator("#joint-umap-legend")).to_contain_text(f"Genes ({N_GENES})")
    click_point(page, "joint-umap", "topic 4")
    expect(page.locator("input#embedding-topic")).to_have_value("topic 4")
    expect(page.get_by_role("heading", name="Nearest genes of topic 4")).to_be_visible()
    gene = page.evaluate("document.querySelector('#joint-umap-zoom .js-plotly-plot').data[0].text[0]")
    click_point(page, "joint-umap-zoom", gene)
    expect(page.get_by_role("link", name=f"Cells coloured by {gene}")).to_be_visible()
    page.wait_for_url(re.compile(rf"topic=4.*gene={gene}"), wait_until="commit")
    page.locator("#embedding-near-point .ag-cell").get_by_text("topic 2", exact=True).click()
    expect(page.locator("input#embedding-topic")).to_have_value("topic 2")
    page.get_by_label("Zoom on the topic").uncheck(force=True)
    expect(page.locator("#joint-umap-zoom")).to_be_hidden()
    page.get_by_label("Find").fill("no-such-gene")
    expect(page.locator("#embedding-found")).to_contain_text("Not among the genes of this run: no-such-gene.")
    assert exported(page, "joint-umap", "Table").read_text().startswith("name,label,kind,x,y")


def test_a_cell_of_the_pathways_leads_to_its_topic_and_its_place_on_the_map(
    page: playwright.Page, pathway_run: str
) -> None:
    page.goto(f"/pathways?run={pathway_run}&topic=1")
    panel = page.locator("#pathway-topic-heatmap .nsewdrag").first
    expect(page.locator("#pathway-topic-heatmap .hm")).to_be_visible()
    columns = page.evaluate("Array.from(document.querySelector('#pathway-topic-heatmap .js-plotly-plot').data[0].x)")
    width = panel.bounding_box()["width"]
    panel.click(position={"x": width * 0.5 / len(columns), "y": 5})
    expect(page.locator("input#pathways-topic")).to_have_value(f"topic {columns[0]}")
    expect(page.get_by_role("link", name=f"Show topic {columns[0]} on the cells page")).to_be_visible()
    page.wait_for_url(re.compile(rf"topic={columns[0]}(&|$)"), wait_until="commit")
    page.get_by_role("link", name="Embedding", exact=True).click()
    page.get_by_text("Gene sets", exact=True).click()
    shown = "document.querySelector('#joint-umap .js-plotly-plot')?.data"
    page.wait_for_function(f"() => {shown}?.some(trace => trace.name === 'Gene sets ({len(SETS)})')")
