"""What do several browser tests do on a page, and expect of it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from scetm_core.presets import PRESETS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

QUICK_STEPS = f"{PRESETS['quick'].values['max_steps']:,}"


def exported(page: playwright.Page, graph: str, item: str) -> Path:
    """The file that an entry of a graph's Export menu saves."""
    card = page.locator(".card", has=page.locator(f"#{graph}"))
    card.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.locator(f'[role=menuitem][id*=\'"graph":"{graph}"\']', has_text=item).click()
    return download.value.path()
