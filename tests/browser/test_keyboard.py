"""Can the app be driven from the keyboard: search, topics, export, help, the link to a view, legends, colours?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scetm_core import keys
from tests.pages.by_hand import DONE, N_TOPICS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

GENE = "gene_7"


def open_cells(page: playwright.Page, query: str = "") -> None:
    page.goto(f"/cells?run={DONE}{query}")
    expect(page.locator("#cells-umap-beside-legend .legend-item").first).to_be_visible()


def focused(page: playwright.Page) -> str:
    return page.evaluate("document.activeElement.id")


def test_the_search_works_by_keyboard_alone_and_keeps_the_run(page: playwright.Page) -> None:
    open_cells(page)
    page.keyboard.press("/")
    assert focused(page) == "header-search"
    page.keyboard.type("topic 2")
    first = page.get_by_role("option", name="topic 2")
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/topics\?run={DONE}&topic=2"), wait_until="commit")
    expect(page.locator("input#topics-topic")).to_have_value("topic 2")
    expect(page.locator("#header-search")).to_have_value("")


def test_arrows_choose_and_escape_leaves_everything_as_it_was(page: playwright.Page) -> None:
    open_cells(page)
    page.keyboard.press("/")
    page.keyboard.type("topic")
    options = page.get_by_role("option")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert page.locator("#header-search").get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    assert page.url.endswith(f"/cells?run={DONE}")


def test_the_same_view_can_be_asked_for_again_after_the_page_has_moved_on(page: playwright.Page) -> None:
    page.goto(f"/topics?run={DONE}&topic=2")
    expect(page.locator("input#topics-topic")).to_have_value("topic 2")
    page.keyboard.press("]")
    expect(page.locator("input#topics-topic")).to_have_value("topic 3")
    page.keyboard.press("/")
    page.keyboard.type("topic 2")
    expect(page.get_by_role("option", name="topic 2")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator("input#topics-topic")).to_have_value("topic 2")


def test_what_is_not_there_is_said(page: playwright.Page) -> None:
    open_cells(page)
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    expect(page.locator(".search-note")).to_contain_text("Nothing in this run is called like")


def test_on_a_phone_the_search_unfolds_from_an_icon(page: playwright.Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_cells(page)
    field = page.locator("#header-search")
    expect(field).to_be_hidden()
    page.get_by_role("button", name="Search", exact=True).click()
    expect(field).to_be_focused()
    page.keyboard.type("topic 1")
    page.get_by_role("option", name="topic 1").first.click()
    page.wait_for_url(re.compile("/topics"), wait_until="commit")
    expect(field).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("address", "select"),
    [
        (f"/topics?run={DONE}&topic=0", "topics-topic"),
        (f"/enrichment?run={DONE}&topic=0", "enrichment-topic"),
        (f"/cells?run={DONE}&color=topic_0", "cells-color"),
    ],
)
def test_brackets_step_through_the_topics_round_and_round(address: str, select: str, page: playwright.Page) -> None:
    page.goto(address)
    field = page.locator(f"input#{select}")
    expect(field).to_have_value("topic 0")
    for key, topic in (("]", 1), ("]", 2), ("[", 1), ("[", 0), ("[", N_TOPICS - 1), ("]", 0)):
        page.keyboard.press(key)
        expect(field).to_have_value(f"topic {topic}")
    page.wait_for_url(re.compile(r"topic(_|=)0(&|$)"), wait_until="commit")


def test_keys_rest_while_one_types_and_with_modifiers(page: playwright.Page) -> None:
    page.goto(f"/topics?run={DONE}&topic=0")
    expect(page.locator("input#topics-topic")).to_have_value("topic 0")
    name = page.get_by_label("Name", exact=True)
    name.click()
    page.keyboard.type("e?]/[")
    expect(name).to_have_value("e?]/[")
    name.fill("")
    page.get_by_role("heading", name="Topics", exact=True).click()
    page.keyboard.press("Control+]")
    page.keyboard.press("Alt+]")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("input#topics-topic")).to_have_value("topic 0")


@pytest.mark.parametrize(("pointer", "expected"), [(None, 0), ("#cells-umap", 0), ("#cells-umap-beside", 1)])
def test_e_opens_the_export_of_the_figure_under_the_pointer_else_of_the_first(
    pointer: str | None, expected: int, page: playwright.Page
) -> None:
    open_cells(page)
    page.evaluate(
        """() => document.addEventListener("click", event => {
            const all = [...document.querySelectorAll("#main button")];
            const buttons = all.filter(button => button.innerText === "Export");
            window.exported = buttons.indexOf(event.target.closest("button"));
        }, true)"""
    )
    if pointer is None:
        page.mouse.move(5, 5)
    else:
        page.locator(pointer).hover()
    page.keyboard.press("e")
    page.wait_for_function("() => window.exported !== undefined")
    assert page.evaluate("window.exported") == expected


def test_help_lists_the_keys_and_gives_the_focus_back(page: playwright.Page) -> None:
    open_cells(page)
    button = page.get_by_role("button", name="Help")
    button.click()
    dialog = page.get_by_role("dialog", name="Help")
    for words in ("Search this run", "Previous topic", "Export the figure"):
        expect(dialog).to_contain_text(words)
    page.keyboard.press("]")  # rests while a dialog is open
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()


def test_the_link_to_the_view_is_copied_and_leads_there(fresh_context: playwright.BrowserContext) -> None:
    fresh_context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = fresh_context.new_page()
    page.goto("/topics")
    field = page.locator("input#topics-topic")
    expect(field).to_have_value(re.compile("topic"))
    before = field.input_value()
    page.keyboard.press("]")
    expect(field).not_to_have_value(before)
    topic = field.input_value()
    page.wait_for_url(re.compile(rf"topic={topic.split()[1]}\b"), wait_until="commit")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("alert")).to_contain_text("The link to this view is copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "run=" in link
    again = fresh_context.new_page()
    again.goto(link)
    expect(again.locator("input#topics-topic")).to_have_value(topic)


def test_where_the_clipboard_is_refused_the_link_can_be_selected(page: playwright.Page) -> None:
    page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('refused'))")
    open_cells(page)
    page.get_by_role("button", name="Copy link").click()
    field = page.get_by_label("Link to this view")
    expect(field).to_have_value(page.url)
    page.wait_for_function(
        "() => document.activeElement.id === 'copy-link-field' && document.activeElement.selectionEnd > 10"
    )


def test_chosen_colours_show_at_once_and_last(page: playwright.Page, home: Path) -> None:
    open_cells(page)
    page.locator("#cells-umap-beside-legend").get_by_role("button", name="Colours").click()
    dialog = page.get_by_role("dialog", name="Colours of cell_type")
    field = dialog.get_by_role("textbox").first
    field.fill("#ff00aa")
    field.press("Tab")
    other = dialog.get_by_role("textbox").nth(1)
    other.fill("#ff00ab")
    other.press("Tab")
    expect(dialog.get_by_role("status")).to_contain_text("Hard to tell apart")
    dialog.get_by_role("button", name="Save colours").click()
    expect(dialog).to_be_hidden()
    shown = "document.querySelector('#cells-umap-beside .js-plotly-plot').data.some(t => t.marker.color === '#ff00aa')"
    page.wait_for_function(f"() => {shown}")
    page.reload()
    page.wait_for_function(
        f"() => document.querySelector('#cells-umap-beside .js-plotly-plot')?.data?.length && {shown}"
    )
    (home / keys.RUNS_FOLDER / DONE / keys.COLORS_FILE).unlink()


def test_long_legends_are_filtered_and_hidden_as_a_whole(page: playwright.Page) -> None:
    open_cells(page)
    expect(page.locator("#cells-umap .js-plotly-plot")).to_be_visible()
    page.evaluate(
        """() => {  // a long legend, as the page would draw it
            const graph = document.querySelector("#cells-umap .js-plotly-plot");
            const traces = Array.from({length: 14}, (_, i) => ({x: [i], y: [i], name: `group ${i}`, mode: "markers"}));
            const box = document.getElementById("cells-umap-legend");
            box.innerHTML = `<div class="legend-box"><div class="legend-tools"><div class="legend-search"><input></div>
                <button data-legend-all="true">Show all</button><button data-legend-all="false">Show none</button>
                <span role="status"></span></div><div class="legend" data-graph="cells-umap">` +
                traces.map((t, i) => `<button class="legend-item" data-trace="${i}" aria-pressed="true">`
                    + `${t.name}</button>`)
                .join("") + "</div></div>";
            return Plotly.react(graph, traces, {});
        }"""
    )
    legend = page.locator("#cells-umap-legend")
    shown = "document.querySelector('#cells-umap .js-plotly-plot').data.filter(trace => trace.visible !== false).length"
    legend.locator("input").fill("group 1")
    expect(legend.locator(".legend-item:visible")).to_have_count(5)  # 1, and 10 to 13
    expect(legend.get_by_role("status")).to_have_text("5 of 14")
    legend.get_by_role("button", name="Show none").click()
    page.wait_for_function(f"() => {shown} === 9")
    legend.locator("input").fill("")
    legend.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"() => {shown} === 14")
