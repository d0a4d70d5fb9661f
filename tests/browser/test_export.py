"""Does a figure leave the app as it is previewed, and can figures be read as tables and composed?"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.browser.actions import open_export
from tests.pages.by_hand import DONE, N_CELLS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

DRAWN = "() => document.querySelector('.preview-box:not(.is-waiting) img')?.naturalWidth > 0"
UMAP = "cells-umap-beside"


def open_cells(page: playwright.Page) -> None:
    page.goto(f"/cells?run={DONE}")
    expect(page.locator(f"#{UMAP}-legend button").first).to_be_visible()


def download(page: playwright.Page, file_format: str) -> Path:
    dialog = page.get_by_role("dialog", name="Export figure")
    dialog.get_by_role("radiogroup", name="Format").get_by_text(file_format, exact=True).click()
    page.wait_for_selector(f".export-form.is-{file_format.lower()}")
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename == f"{DONE}-{UMAP}.{file_format.lower()}"
    return saved.value.path()


def test_what_is_set_in_the_dialog_is_seen_and_saved(page: playwright.Page) -> None:
    open_cells(page)
    group = page.locator(f"#{UMAP}-legend button").first
    name = group.inner_text().strip()
    dialog = open_export(page, UMAP)
    words = dialog.locator(".preview-words")
    expect(words).to_contain_text("85 ×")
    picture = dialog.get_by_role("img", name="The figure as it will be saved")
    assert picture.bounding_box()["height"] > 100
    svg = download(page, "SVG").read_text()
    assert name in svg
    assert download(page, "PDF").read_bytes().startswith(b"%PDF")
    before = picture.get_attribute("src")
    dialog.get_by_label("Width").fill("114")
    expect(words).to_contain_text("114 ×")
    expect(dialog.get_by_label("Journal").first).to_have_value(re.compile("One and a half"))
    assert picture.get_attribute("src") != before
    dialog.get_by_label("Legend").first.click()
    page.get_by_role("option", name="None", exact=True).click()
    page.wait_for_function(f"() => document.querySelector('#export-preview').src !== {before!r}")
    page.wait_for_timeout(600)
    page.wait_for_function(DRAWN)
    assert name not in download(page, "SVG").read_text()


def test_a_width_out_of_range_is_told_at_its_field(page: playwright.Page) -> None:
    open_cells(page)
    dialog = open_export(page, UMAP)
    dialog.get_by_label("Width").fill("5")
    expect(dialog.get_by_text("at least 20").first).to_be_visible()
    dialog.get_by_label("Width").fill("90")
    expect(dialog.locator(".preview-words")).to_contain_text("90 ×")


def test_hidden_groups_stay_hidden_on_paper(page: playwright.Page) -> None:
    open_cells(page)
    group = page.locator(f"#{UMAP}-legend button").first
    name = group.inner_text().strip()
    group.click()
    expect(group).to_have_attribute("aria-pressed", "false")
    open_export(page, UMAP)
    assert name not in download(page, "SVG").read_text()


def test_a_figure_is_read_as_a_table(page: playwright.Page) -> None:
    open_cells(page)
    card = page.locator(".card", has=page.locator(f"#{UMAP}"))
    card.get_by_role("button", name="Show as table").click()
    dialog = page.get_by_role("dialog", name="The numbers of this figure")
    expect(dialog.get_by_text(f"{N_CELLS} of {N_CELLS} rows shown")).to_be_visible()
    expect(dialog.get_by_role("columnheader", name="text")).to_be_visible()  # each cell by its name, as said on hover
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="CSV").click()
    assert len(pd.read_csv(saved.value.path())) == N_CELLS


def test_a_click_before_the_figure_is_drawn_is_not_lost(page: playwright.Page) -> None:
    open_cells(page)
    plot = page.locator(f"#{UMAP} .js-plotly-plot").element_handle()
    page.wait_for_function("plot => plot.data", arg=plot)
    plot.evaluate("plot => plot.classList.remove('js-plotly-plot')")  # as before plotly has come
    card = page.locator(".card", has=page.locator(f"#{UMAP}"))
    card.get_by_role("button", name="Show as table").click()
    dialog = page.get_by_role("dialog", name="The numbers of this figure")
    expect(dialog.get_by_text("Reading the figure")).to_be_visible()
    plot.evaluate("plot => plot.classList.add('js-plotly-plot')")
    expect(dialog.get_by_text(f"{N_CELLS} of {N_CELLS} rows shown")).to_be_visible()


def test_panels_make_a_figure(page: playwright.Page) -> None:
    page.goto(f"/figures?run={DONE}")
    expect(page.get_by_role("heading", name="No panel yet")).to_be_visible()
    page.get_by_role("link", name="Go to Cells").click()
    expect(page.locator(f"#{UMAP}-legend button").first).to_be_visible()
    for place, graph in enumerate(("cells-umap", UMAP)):
        dialog = open_export(page, graph)
        dialog.get_by_role("button", name="Add to figure").click()
        expect(page.get_by_text(f"It is panel {'ab'[place]} on the Figures page.")).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Figures").click()
    page.wait_for_function(DRAWN)
    expect(page.locator(".preview-words")).to_contain_text("174 ×")
    rows = page.locator(".panel-row")
    expect(rows).to_have_count(2)
    page.get_by_role("textbox", name="Title of panel a").fill("All cells")
    page.get_by_role("button", name="Move down panel a").press("Enter")
    expect(page.get_by_role("textbox", name="Title of panel b")).to_have_value("All cells")
    page.get_by_role("button", name="Remove panel a").press("Enter")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(rows).to_have_count(2)
    page.wait_for_function(DRAWN)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as SVG").click()
    assert "All cells" in saved.value.path().read_text()
    for _ in range(2):
        page.get_by_role("button", name="Remove panel a").click()
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        page.wait_for_timeout(300)
    expect(page.get_by_role("heading", name="No panel yet")).to_be_visible()
