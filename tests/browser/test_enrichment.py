"""Can a user bring gene sets, test them, and follow a dot to its running sum and on to the joint map?"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from scetm_core import keys
from tests.pages.by_hand import DONE, planted_data

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.mark.slow
def test_own_sets_are_tested_and_a_dot_leads_to_its_running_sum_and_the_map(
    page: playwright.Page, tmp_path: Path, home: Path
) -> None:
    data = planted_data()
    leading = np.argsort(-data.varm["true_beta"], axis=0)[:8].T[:5]  # genes of the first topics
    file = tmp_path / "my sets.gmt"
    file.write_text("".join(f"SET_{s}\t\t" + "\t".join(data.var_names[leading[s]]) + "\n" for s in range(5)))
    page.goto(f"/enrichment?run={DONE}")
    page.get_by_role("button", name="Add gene sets").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Upload a file")).click()
    chooser.value.set_files(file)
    expect(page.locator("input#enrichment-source")).to_have_value("my sets.gmt")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Refine to").fill("0")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("5 sets, 5 kept")).to_be_visible()
    expect(page.locator("#enrichment-table .ag-row")).to_have_count(5)

    expect(page.locator("#gsea-manhattan .main-svg").first).to_be_visible()
    page.locator("#gsea-manhattan").scroll_into_view_if_needed()
    dot = page.evaluate(
        """() => {
            const graph = document.querySelector("#gsea-manhattan .js-plotly-plot");
            const box = graph.getBoundingClientRect();
            const { xaxis, yaxis } = graph._fullLayout;
            const trace = graph._fullData.find(trace => trace.customdata);
            return {x: box.x + xaxis._offset + xaxis.d2p(trace.x[0]), y: box.y + yaxis._offset + yaxis.d2p(trace.y[0]),
                    topic: Math.round(trace.x[0])};
        }"""
    )
    page.mouse.move(dot["x"] - 3, dot["y"])
    page.mouse.move(dot["x"], dot["y"])
    expect(page.locator("#gsea-manhattan .hoverlayer text").first).to_be_visible()
    page.mouse.click(dot["x"], dot["y"])
    page.wait_for_function(f"() => /topic={dot['topic']}&.*set=SET_/.test(location.search)")
    gene_set = re.search(r"[?&]set=(SET_\d+)", page.evaluate("location.search"))[1]
    expect(page.locator("#gsea-running-sum")).to_contain_text(gene_set.replace("SET_", "Set "))
    expect(page.locator("#enrichment-leading-edge .ag-row").first).to_be_visible()

    page.get_by_role("link", name="On the joint map").click()
    page.wait_for_function(f"() => location.pathname === '/embedding' && /set={gene_set}/.test(location.search)")
    expect(page.locator("#joint-umap-legend")).to_contain_text("its leading edge")
    assert (home / keys.RUNS_FOLDER / DONE / keys.ENRICHMENT_FOLDER / "my sets.parquet").is_file()
