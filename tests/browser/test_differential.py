"""Can a user test topics, look at what came out, and take it along to the other pages?"""

from __future__ import annotations

import re

import pytest

from tests.pages.by_hand import DONE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.mark.slow
def test_topics_are_tested_shown_and_carried_to_the_next_page(page: playwright.Page) -> None:
    page.goto(f"/differential?run={DONE}&groupby=cell_type", wait_until="commit")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Permutations").fill("50")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("at least 100")).to_be_visible()
    page.get_by_label("Permutations").fill("500")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("button", name="Test again")).to_be_visible()
    expect(page.get_by_text("500 random permutations")).to_be_visible()

    heatmap = page.locator("#differential-heatmap .nsewdrag").first
    expect(page.locator("#differential-heatmap .heatmaplayer image")).to_have_count(1)
    size = heatmap.bounding_box()
    heatmap.click(position={"x": size["width"] / 12, "y": 8})
    page.wait_for_url(re.compile(r"[?&]topic=\d+&label=[^&]+"), wait_until="commit")
    topic = re.search(r"topic=(\d+)", page.evaluate("location.search"))[1]
    expect(page.locator("#differential-links")).to_contain_text(f"topic {topic}: difference")
    expect(page.locator("#differential-distribution .violinlayer .trace").first).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Parquet").click()
    assert download.value.suggested_filename == f"{DONE}-differential-cell_type.parquet"

    page.get_by_role("navigation").get_by_role("link", name="Topics").click()
    expect(page.locator("input#topics-topic")).to_have_value(re.compile(rf"topic {topic}\b"))
