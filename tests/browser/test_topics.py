"""Do names of topics, and the choice of topics and rows, show on the topics page at once?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scetm_core import keys
from scetm_core.runs import Run
from tests.pages.by_hand import DONE, N_TOPICS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

HEATMAPS = ("topic-means-heatmap", "gene-topic-heatmap", "cell-topic-heatmap")


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    """The finished run, whose topics have no names before and after."""
    run = Run(home / keys.RUNS_FOLDER / DONE)
    yield run
    run.write_topic_names({})


def open_topics(page: playwright.Page) -> None:
    page.goto(f"/topics?run={DONE}&topic=2")
    for graph in HEATMAPS:
        expect(page.locator(f"#{graph} .hm").first).to_be_visible()


def test_a_name_shows_everywhere_at_once_and_is_kept(page: playwright.Page, run: Run) -> None:
    open_topics(page)
    name = page.get_by_label("Name", exact=True)
    name.fill("beta cells")
    name.press("Enter")
    expect(page.locator("input#topics-topic")).to_have_value("topic 2 · beta cells")
    expect(page.get_by_role("heading", name="Top genes of topic 2 · beta cells")).to_be_visible()
    for graph in HEATMAPS:
        expect(page.locator(f"#{graph}")).to_contain_text("2 beta cells")
    assert run.topic_names() == {"topic_2": "beta cells"}
    page.reload()
    expect(name).to_have_value("beta cells")


def test_names_are_edited_in_the_table_and_cleared_after_a_question(page: playwright.Page, run: Run) -> None:
    open_topics(page)
    page.get_by_role("button", name="Names of topics").click()
    cell = page.locator("#topics-names-table .ag-row[row-id=topic_4] [col-id=name]")
    cell.click()
    page.keyboard.type("alpha cells")
    page.keyboard.press("Enter")
    expect(page.locator("#gene-topic-heatmap")).to_contain_text("4 alpha cells")
    page.locator("#topics-names-table .ag-row[row-id=topic_4] [col-id=topic]").click()
    expect(page.locator("input#topics-topic")).to_have_value("topic 4 · alpha cells")
    page.wait_for_url(re.compile("topic=4"), wait_until="commit")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all names").click()
    expect(page.locator("input#topics-topic")).to_have_value("topic 4")
    expect(page.locator("#gene-topic-heatmap")).not_to_contain_text("4 alpha cells")
    assert run.topic_names() == {}


def test_topics_can_be_chosen_for_all_heatmaps(page: playwright.Page) -> None:
    open_topics(page)
    page.locator("#topics-picked").click()
    for topic in ("topic 1", "topic 3"):
        page.get_by_role("option", name=topic, exact=True).click()
    for graph in HEATMAPS[:2]:
        expect(page.locator(f"#{graph}")).to_contain_text(f"2 of {N_TOPICS} topics")
    expect(page.locator("#cell-topic-heatmap")).to_contain_text(f"2 of {N_TOPICS} topics")


def test_the_slider_of_relevance_works_by_keyboard(page: playwright.Page) -> None:
    open_topics(page)
    genes = page.locator("#top-genes-bar .ytick text")
    before = genes.all_text_contents()
    page.get_by_role("slider", name="Lambda of the relevance").press("Home")
    page.wait_for_function(
        """before => JSON.stringify([...document.querySelectorAll("#top-genes-bar .ytick text")]
            .map(tick => tick.textContent)) !== JSON.stringify(before)""",
        arg=before,
    )
