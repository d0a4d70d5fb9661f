"""Is a result evaluated by a click, and do clusters follow the slider?"""

from __future__ import annotations

import pytest

from tests.pages.by_hand import DONE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.mark.slow
def test_evaluating_gives_intervals_and_the_slider_clusters_anew(page: playwright.Page) -> None:
    page.goto(f"/evaluate?run={DONE}")
    expect(page.get_by_text("Not evaluated yet with these columns")).to_be_visible()
    page.get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_role("button", name="Evaluate again")).to_be_visible(timeout=90_000)
    expect(page.locator("#evaluate-cards").get_by_text("±").first).to_be_visible()
    expect(page.locator("#evaluate-confusion .hm")).to_be_visible()
    said = page.locator("#evaluate-clusters-said")
    expect(said).to_contain_text("0.16: ")
    slider = page.get_by_role("slider", name="Leiden resolution")
    slider.focus()
    slider.press("End")
    expect(said).to_contain_text("2.56: ")
    page.reload()
    expect(page.get_by_role("button", name="Evaluate again")).to_be_visible()
    heights = "[...document.querySelectorAll('#evaluate-silhouettes')].map(g => g.clientHeight)"
    page.wait_for_function(f"() => {heights}[0] > 200")
