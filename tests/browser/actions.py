"""What do several browser tests do on a page, and expect of it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from scetm_core.presets import PRESETS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

QUICK_STEPS = f"{PRESETS['quick'].values['max_steps']:,}"


FORMATS = {"SVG": "svg", "PDF": "pdf", "PNG": "png", "Interactive": "html", "Table": "csv"}


def open_export(page: playwright.Page, graph: str) -> playwright.Locator:
    """The export dialog of a graph, once its picture is drawn."""
    page.wait_for_function(f"() => document.querySelector('#{graph} .js-plotly-plot')?.data?.length > 0")
    card = page.locator(".card", has=page.locator(f"#{graph}"))
    card.get_by_role("button", name="Export").click()
    page.wait_for_function(
        "() => document.querySelector('.preview-box:not(.is-waiting) #export-preview')?.naturalWidth > 0"
    )
    return page.get_by_role("dialog", name="Export figure")


def exported(page: playwright.Page, graph: str, file_format: str) -> Path:
    """The file that the export dialog of a graph saves: "SVG", "PDF", "PNG", "Interactive" or "Table"."""
    dialog = open_export(page, graph)
    dialog.get_by_role("radiogroup", name="Format").get_by_text(file_format, exact=True).click()
    page.locator(f".export-form.is-{FORMATS[file_format]}").wait_for()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    return download.value.path()
