"""Does the tour lead a newcomer over the pages, by mouse and keyboard, with and without a run?"""

from __future__ import annotations

import re

import pytest

from pages._shared.tour import STEPS
from tests.pages.by_hand import DONE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

LIGHT = ".tour.has-light .tour-light"


def title(page: playwright.Page) -> str:
    return page.locator("#tour-title").inner_text()


def start(page: playwright.Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#main .page-title")).to_be_visible()
    page.get_by_role("button", name="Help").click()
    page.get_by_role("button", name="Take the tour").click()
    expect(page.locator(LIGHT)).to_be_visible()


def wait_until_lit(page: playwright.Page) -> None:
    """The light is on something, within the window, the words do not lie over small things, and it stays so."""
    page.wait_for_function(
        """() => {
            const light = document.querySelector(".tour-light").getBoundingClientRect();
            const panel = document.querySelector(".tour-panel").getBoundingClientRect();
            const inside = panel.left >= 0 && panel.right <= innerWidth
                && panel.top >= 0 && panel.bottom <= innerHeight;
            const apart = panel.top >= light.bottom || panel.bottom <= light.top || panel.left >= light.right
                || panel.right <= light.left || light.height > innerHeight / 3;
            const isLit = light.width > 10 && light.height > 10 && inside && apart;
            const place = isLit && JSON.stringify([light, panel]);
            if (place !== window.wasLit?.place) window.wasLit = { place, since: Date.now() };
            return isLit && Date.now() - window.wasLit.since > 400;
        }"""
    )


@pytest.mark.parametrize("width", [1440, 390])
def test_it_leads_over_the_pages_and_every_step_points_at_something(width: int, page: playwright.Page) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    start(page, f"/?run={DONE}")
    seen = []
    while True:
        expect(page.locator(LIGHT)).to_be_visible()
        page.wait_for_function("() => document.querySelector('.tour-panel').contains(document.activeElement)")
        wait_until_lit(page)
        seen.append(title(page))
        if page.get_by_role("button", name="Done").count():
            break
        page.keyboard.press("ArrowRight")
        page.wait_for_function("seen => document.querySelector('#tour-title').innerText !== seen", arg=seen[-1])
    there = [step.title for step in STEPS if page.locator(f"[id*='nav-link'][href^='{step.page}']").count()]
    assert seen == there
    page.get_by_role("button", name="Done").click()
    expect(page.locator(".tour")).to_have_count(0)
    assert page.evaluate("sessionStorage.getItem('scetm-tour')") is None


def test_back_and_escape_and_a_focus_that_stays(page: playwright.Page) -> None:
    start(page, f"/?run={DONE}")
    expect(page.get_by_role("button", name="Back")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    page.wait_for_url(re.compile("/train"), wait_until="commit")
    expect(page.locator(LIGHT)).to_be_visible()
    for _ in range(5):
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('.tour-panel').contains(document.activeElement)")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.querySelector('.tour-panel').contains(document.activeElement)")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile(r"/(\?.*)?$"), wait_until="commit")
    expect(page.locator("#tour-title")).to_have_text(STEPS[0].title)
    page.keyboard.press("Escape")
    expect(page.locator(".tour")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tour")).to_have_count(0)


def test_it_goes_on_after_the_page_is_loaded_anew(page: playwright.Page) -> None:
    start(page, f"/?run={DONE}")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tour-title")).to_have_text(STEPS[1].title)
    page.wait_for_url(re.compile("/train"), wait_until="commit")
    page.reload()
    expect(page.locator("#tour-title")).to_have_text(STEPS[1].title)
    expect(page.locator(LIGHT)).to_be_visible()


def test_without_a_run_it_is_offered_once_and_leads_to_the_demo_data(
    fresh_context: playwright.BrowserContext, empty_server: str
) -> None:
    page = fresh_context.new_page()
    page.goto(empty_server + "/")
    page.get_by_role("button", name="Take the two-minute tour").click()
    expect(page.locator(LIGHT)).to_be_visible()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
    expect(page.locator("#tour-text")).to_contain_text("There is no trained run yet")
    page.get_by_role("dialog").get_by_role("button", name="Use demo data").click()
    page.wait_for_url(re.compile(r"/train\?file=demo"), wait_until="commit")
    expect(page.locator(".tour")).to_have_count(0)
    page.goto(empty_server + "/")
    expect(page.get_by_role("button", name="Use demo data")).to_be_visible()
    expect(page.get_by_role("button", name="Take the two-minute tour")).to_be_hidden()


def test_who_waves_it_away_is_not_asked_again(fresh_context: playwright.BrowserContext, empty_server: str) -> None:
    page = fresh_context.new_page()
    page.goto(empty_server + "/")
    page.get_by_role("button", name="No, thanks").click()
    expect(page.get_by_role("button", name="Take the two-minute tour")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("button", name="Use demo data")).to_be_visible()
    expect(page.get_by_role("button", name="Take the two-minute tour")).to_be_hidden()
