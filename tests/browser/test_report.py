"""Does a reader get the report, the zip and the result by clicks, and does the report load nothing from elsewhere?"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.pages.by_hand import DONE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect


@pytest.mark.slow
def test_the_report_opens_in_a_tab_and_asks_for_nothing_more(page: playwright.Page) -> None:
    page.goto(f"/report?run={DONE}")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Read the report").click()
    report = opened.value
    complaints: list[str] = []  # and what was asked for
    report.on("console", lambda said: complaints.append(said.text))
    report.on("request", lambda request: complaints.append(request.url))
    expect(report.get_by_role("heading", name="by hand")).to_be_visible()
    expect(report.locator("figure svg").first).to_be_visible()
    assert report.evaluate("document.documentElement.scrollWidth <= innerWidth")
    report.get_by_role("link", name="Methods").click()
    own = report.url.partition("#")[0]  # the tab looks again by itself until the report is there
    assert [said for said in complaints if not said.startswith("data:") and said != own] == []
    report.set_viewport_size({"width": 390, "height": 844})
    assert report.evaluate("document.documentElement.scrollWidth <= innerWidth")
    report.close()


@pytest.mark.slow
def test_everything_is_packed_by_a_click_and_survives_a_reload(page: playwright.Page, tmp_path: Path) -> None:
    page.goto(f"/report?run={DONE}")
    page.get_by_role("button", name="Everything (zip)").click()
    expect(page.locator("#report-everything-ready").get_by_role("link")).to_be_visible(timeout=90_000)
    page.reload()
    link = page.locator("#report-everything-ready").get_by_role("link")
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == f"{DONE}-everything.zip"
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert f"{DONE}/report.html" in archive.namelist()
