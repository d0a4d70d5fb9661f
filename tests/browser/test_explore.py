"""Does a lasso on Explore tell all its panels, every page and the address, and does Back lead back?"""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.pages.by_hand import DONE

MODE_IS = "([id, mode]) => document.querySelector(`#${id} .js-plotly-plot`)?.layout?.dragmode === mode"
DRAWN_LATE = """() => {
  const graph = document.querySelector("#explore-umap .js-plotly-plot");
  return window.Plotly.react(graph, graph.data, { ...graph.layout, dragmode: "pan" }).then(() => true);
}"""


def draw_lasso(page: Page, graph: str, *, around: tuple[float, float, float, float], is_box: bool = False) -> None:
    """Drag around a part of a map, given as shares of its width and height."""
    page.wait_for_function(MODE_IS, arg=[graph, "drawrect" if is_box else "drawclosedpath"])
    box = page.locator(f"#{graph} .nsewdrag").first.bounding_box()
    assert box is not None
    left, top, right, bottom = around
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    corners = corners[:3] if is_box else corners
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def open_explore(page: Page) -> None:
    page.goto(f"/explore?run={DONE}")
    expect(page.locator("#explore-umap .js-plotly-plot[data-watched]")).to_be_visible()
    expect(page.locator("#explore-said")).to_contain_text("Draw a lasso")


def test_a_lasso_reaches_every_panel_the_address_and_other_pages(page: Page) -> None:
    open_explore(page)
    page.get_by_text("Lasso", exact=True).click()
    draw_lasso(page, "explore-umap", around=(0.02, 0.02, 0.98, 0.98))
    words = page.locator("#selection-words")
    expect(words).to_have_text(re.compile(r"^\d+ of 60 cells: lasso$"))
    expect(page.locator("#explore-said")).to_contain_text("of 60 cells: lasso. Compared with")
    expect(page).to_have_url(re.compile(r"selection=[0-9a-f]{12}"))
    said = words.inner_text()
    page.get_by_role("link", name="Cells", exact=True).click()
    expect(page.locator("#cells-umap .js-plotly-plot")).to_be_visible()
    expect(words).to_have_text(said)
    page.get_by_role("button", name="Clear").click()
    expect(words).to_have_text("No cell is selected.")
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(words).to_have_text(said)


def test_a_link_brings_its_selection_to_somebody_else(page: Page) -> None:
    open_explore(page)
    page.get_by_text("Box", exact=True).click()
    draw_lasso(page, "explore-umap", around=(0.1, 0.1, 0.9, 0.6), is_box=True)
    words = page.locator("#selection-words")
    expect(words).to_have_text(re.compile(r"cells: box$"))
    expect(page).to_have_url(re.compile(r"selection=[0-9a-f]{12}"))
    said, address = words.inner_text(), page.url
    page.goto("/")
    page.goto(address)
    expect(words).to_have_text(said)


def test_a_map_that_is_drawn_late_keeps_the_tool_that_was_taken_meanwhile(page: Page) -> None:
    open_explore(page)
    page.get_by_text("Box", exact=True).click()
    page.wait_for_function(MODE_IS, arg=["explore-umap", "drawrect"])
    assert page.evaluate(DRAWN_LATE)
    page.wait_for_function(MODE_IS, arg=["explore-umap", "drawrect"])
    page.get_by_text("Move", exact=True).click()
    page.wait_for_function(MODE_IS, arg=["explore-umap", "pan"])


def test_next_topic_moves_all_panels_and_back_leads_back(page: Page) -> None:
    page.goto(f"/explore?run={DONE}&topic=2")
    topic = page.locator("#explore-topic")
    expect(topic).to_have_value("topic 2")
    page.get_by_role("button", name="Next topic").click()
    expect(topic).to_have_value("topic 3")
    expect(page.locator("#explore-color")).to_have_value("topic 3")
    expect(page).to_have_url(re.compile("topic=3"))
    page.go_back()
    expect(topic).to_have_value("topic 2")


def test_a_label_is_there_after_a_reload_and_can_be_undone(page: Page) -> None:
    open_explore(page)
    page.get_by_role("textbox", name="Categories").click()
    page.get_by_role("option").first.click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select these").click()
    expect(page.locator("#selection-words")).to_contain_text("of 60 cells")
    page.get_by_role("tab", name="Keep and label").click()
    page.get_by_label("Label", exact=True).fill("my cells")
    page.get_by_role("button", name="Label the selected cells").click()
    expect(page.locator("#explore-history")).to_contain_text("my cells")
    page.goto(f"/explore?run={DONE}&color=annotation")
    expect(page.locator("#explore-umap-legend")).to_contain_text("my cells")
    page.get_by_role("tab", name="Keep and label").click()
    page.get_by_role("button", name="Remove the column").click()
    expect(page.locator("#explore-history")).to_be_empty()


def test_names_of_selected_cells_can_be_saved(page: Page, tmp_path: Path) -> None:
    open_explore(page)
    page.get_by_label("Names of cells").fill("nobody\ncell_3")
    page.get_by_label("At least").fill("0.0001")
    page.get_by_role("button", name="Select the range").click()
    expect(page.locator("#selection-words")).to_contain_text("of 60 cells")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Cell names (CSV)").click()
    saved.value.save_as(tmp_path / "cells.csv")
    assert (tmp_path / "cells.csv").read_text().startswith("# run done-run")


def test_panels_fold_away(page: Page) -> None:
    open_explore(page)
    page.locator("summary", has_text="Topic").last.click()
    expect(page.locator("#explore-genes")).to_be_hidden()
