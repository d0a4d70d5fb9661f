"""Does every page work as a page: by mouse and keyboard, in light and dark, wide and narrow?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from tests.browser.actions import QUICK_STEPS, exported
from tests.pages.by_hand import DONE, N_CELLS, N_TOPICS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

PAGES = {
    "home": ("/", ".ag-row"),
    "data": ("/data?file=lab/planted.h5ad", "#genes-histogram .main-svg"),
    "form": ("/train?file=lab/planted.h5ad", "text=Training takes about"),
    "live": (f"/train?run={DONE}", "#training-curve .trace"),
    "cells": (f"/cells?run={DONE}", "#cells-umap-beside-legend"),
    "topics": (f"/topics?run={DONE}", "#cell-topic-heatmap .hm"),
    "enrichment": (f"/enrichment?run={DONE}", "text=Not tested yet"),
    "differential": (f"/differential?run={DONE}&groupby=leiden", "text=Not tested yet"),
    "pathways": (f"/pathways?run={DONE}", "#main a[href^='/train']"),
    "evaluate": (f"/evaluate?run={DONE}", "#evaluate-cards .card"),
    "compare": (f"/compare?run={DONE}", "#compare-table .ag-row"),
}


def open_page(page: playwright.Page, name: str) -> None:
    address, sign_of_life = PAGES[name]
    page.goto(address)
    expect(page.locator(sign_of_life).first).to_be_visible()


def test_on_a_phone_the_navigation_folds_away_and_comes_back(page: playwright.Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, "home")
    topics = page.get_by_role("link", name="Topics")
    expect(topics).not_to_be_in_viewport()
    page.get_by_role("button", name="Show the navigation").click()
    expect(topics).to_be_in_viewport()
    topics.click()
    expect(page.get_by_role("heading", name="Topics", exact=True)).to_be_visible()
    expect(topics).not_to_be_in_viewport()


def test_tab_reaches_the_skip_link_and_then_the_navigation(page: playwright.Page) -> None:
    open_page(page, "home")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the page")).to_be_in_viewport()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel || ''").strip()
        )
    assert [words for words in reached if words in ("Home", "Data", "Train", "Cells", "Topics")] == [
        "Home", "Data", "Train", "Cells", "Topics",
    ]  # fmt: skip
    page.get_by_role("link", name="Data", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Data", exact=True)).to_be_visible()


def test_the_skip_link_leads_past_the_navigation(page: playwright.Page) -> None:
    open_page(page, "home")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")


def test_dark_mode_turns_everything_dark_and_lasts(fresh_context: playwright.BrowserContext) -> None:
    page = fresh_context.new_page()
    open_page(page, "home")
    page.get_by_role("button", name="Switch between light and dark").click()
    scheme = page.locator("html[data-mantine-color-scheme=dark]")
    expect(scheme).to_have_count(1)
    for name, part in (("home", "body"), ("home", ".card"), ("home", ".ag-root-wrapper"), ("home", ".ag-header")):
        open_page(page, name)
        expect(scheme).to_have_count(1)
        assert brightness(page, part) < 80, f"{part} of {name} stays light"


def brightness(page: playwright.Page, part: str) -> float:
    """Of the background that shows behind a part of the page, 0 to 255."""
    return page.evaluate(
        """part => {
            for (let node = document.querySelector(part); node; node = node.parentElement) {
                const canvas = document.createElement("canvas").getContext("2d");
                canvas.fillStyle = getComputedStyle(node).backgroundColor;
                canvas.fillRect(0, 0, 1, 1);
                const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
                if (alpha > 0) return (red + green + blue) / 3;
            }
            return 255;
        }""",
        part,
    )


def click_another_topic(page: playwright.Page, graph: str, topic: str) -> str:
    """Click a column of a heatmap that is not `topic`'s; answers whose it is."""
    columns = page.evaluate(
        """id => document.querySelector(`#${id} .js-plotly-plot`).data.filter(trace => trace.type === "heatmap")
            .map(trace => Array.from(trace.x, String)).find(x => x.every(name => /^[0-9]+$/.test(name)))""",
        graph,
    )
    index = next(index for index, name in enumerate(columns) if name != topic)
    panels = page.locator(f"#{graph} .nsewdrag").all()
    widths = [panel.bounding_box()["width"] for panel in panels]  # groups of cells stand in narrow panels beside
    widest = widths.index(max(widths))
    panels[widest].click(position={"x": widths[widest] * (index + 0.5) / len(columns), "y": 12})
    return columns[index]


def test_a_click_on_a_column_looks_at_its_topic_and_the_url_carries_it(page: playwright.Page) -> None:
    open_page(page, "topics")
    choice = page.locator("input#topics-topic")
    topic = choice.input_value().split()[-1]
    for graph in ("topic-means-heatmap", "gene-topic-heatmap", "cell-topic-heatmap"):
        topic = click_another_topic(page, graph, topic)
        expect(choice).to_have_value(f"topic {topic}")
        page.wait_for_url(re.compile(rf"[?&]topic={topic}(&|$)"), wait_until="commit")
        expect(page.locator("#top-genes-bar")).to_contain_text(f"p(gene | topic {topic})")
    page.get_by_role("link", name="Cells coloured by it").click()
    expect(page.locator("#cells-umap")).to_contain_text(f"theta, topic {topic}")


@pytest.mark.parametrize(
    ("name", "graphs"),
    [
        ("cells", ["cells-umap", "cells-umap-beside"]),
        ("topics", ["topic-umap", "gene-topic-heatmap", "topic-means-heatmap", "top-genes-bar"]),
        ("data", ["counts-histogram"]),
        ("live", ["training-curve"]),
    ],
)
def test_graphs_leave_as_svg_with_vector_points(name: str, graphs: list[str], page: playwright.Page) -> None:
    open_page(page, name)
    for graph in graphs:
        picture = ET.parse(exported(page, graph, "SVG")).getroot()
        assert picture.tag.endswith("svg")
        assert picture.findall(".//{*}text")
        if "umap" in graph:
            assert len(picture.findall(".//{*}use")) + len(picture.findall(".//{*}path")) >= N_CELLS


def test_a_graph_leaves_as_png_at_600_dpi(page: playwright.Page) -> None:
    open_page(page, "topics")
    page.evaluate("localStorage.clear()")  # the dialog remembers the width that was last asked for
    open_page(page, "topics")
    head = exported(page, "topic-umap", "PNG").read_bytes()[:24]
    assert head[1:4] == b"PNG"
    assert int.from_bytes(head[16:20], "big") == pytest.approx(85 / 25.4 * 600, rel=0.01)


def test_a_graph_leaves_as_a_table(page: playwright.Page) -> None:
    open_page(page, "topics")
    table = pd.read_csv(exported(page, "topic-means-heatmap", "Table"), index_col=0)
    assert set(table.columns) == {f"topic_{topic}" for topic in range(N_TOPICS)}
    assert table.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)


def test_a_category_can_be_hidden_and_seen_alone(page: playwright.Page) -> None:
    open_page(page, "cells")
    traces = "document.querySelector('#cells-umap-beside .js-plotly-plot')?.data"
    shown = f"{traces}?.filter(trace => ![false, 'legendonly'].includes(trace.visible)).length"
    page.wait_for_function(f"() => {shown} === {N_TOPICS}")
    first = page.locator("#cells-umap-beside-legend").get_by_role("button").first
    first.click()
    page.wait_for_function(f"() => {shown} === {N_TOPICS - 1}")
    expect(first).to_have_attribute("aria-pressed", "false")
    first.press("Enter")  # by keyboard as well
    page.wait_for_function(f"() => {shown} === {N_TOPICS}")
    first.dblclick()
    page.wait_for_function(f"() => {shown} === 1")


def test_a_file_that_is_no_data_set_is_told_in_words(page: playwright.Page, complaints: list[str]) -> None:
    open_page(page, "data")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Upload a file")).click()
    chooser.value.set_files({"name": "fake.h5ad", "mimeType": "text/plain", "buffer": b"gene,count\nIns1,3\n"})
    expect(page.locator(".upload-words")).to_contain_text("is not an HDF5 file")
    assert all("400" in complaint for complaint in complaints)  # the answer that is meant
    complaints.clear()


def test_a_good_file_is_uploaded_and_its_report_opens(page: playwright.Page, home: Path) -> None:
    open_page(page, "data")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("Upload a file")).click()
    content = (home.parent / "lab" / "planted.h5ad").read_bytes()
    chooser.value.set_files({"name": "mine.h5ad", "mimeType": "application/octet-stream", "buffer": content})
    page.wait_for_url(re.compile(r"file=uploads/mine\.h5ad"), wait_until="commit")
    expect(page.get_by_role("heading", name="mine.h5ad")).to_be_visible()
    expect(page.get_by_text("Ready to train.")).to_be_visible()


def test_a_wrong_setting_is_told_at_its_field_and_training_waits(page: playwright.Page) -> None:
    open_page(page, "form")
    expect(page.get_by_label("Training steps")).to_have_value(QUICK_STEPS)
    page.get_by_label("Number of topics").fill("1")
    expect(page.get_by_text("must be at least 2, at most 2000, got 1").first).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    page.get_by_label("Number of topics").fill("10")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()


def test_a_preset_fills_the_form(page: playwright.Page) -> None:
    open_page(page, "form")
    expect(page.get_by_label("Training steps")).to_have_value(QUICK_STEPS)
    page.get_by_text("Paper", exact=True).click()
    expect(page.get_by_label("Training steps")).to_have_value("6,000")
    expect(page.get_by_label("Minibatch size")).to_have_value("2,000")


def test_the_run_picker_keeps_the_run_it_names(page: playwright.Page) -> None:
    open_page(page, "home")
    page.locator("#run-picker").click()
    page.get_by_role("option", name=re.compile("by hand")).click()
    expect(page.locator("#run-picker")).to_have_value(re.compile("by hand"), timeout=10_000)


def test_an_unknown_run_is_said_in_words(page: playwright.Page) -> None:
    for address in ("/cells?run=no-such-run", "/topics?run=../../etc", "/train?run=%00"):
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text(re.compile("There is no run called|is not the name of a run"))
        assert page.get_by_role("alert").count() == 1  # said once, not twice, to those who listen


def test_an_unknown_address_is_said_in_words(page: playwright.Page) -> None:
    page.goto("/no-such-page")
    expect(page.locator("#main")).to_contain_text(re.compile("no page|not found", re.IGNORECASE))
    expect(page.get_by_role("link", name="Home")).to_be_visible()
