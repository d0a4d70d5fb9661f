"""Do people come in by their password, find only what is theirs, and leave?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from scetm_core import keys
from scetm_core.accounts import Accounts
from scetm_core.config import run_config_from_flat
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, DONE, N_TOPICS, finish, planted_data, result_of

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

Serving = Callable[[Path], AbstractContextManager[str]]
PASSWORDS = {"alice": "correct horse alice", "bob": "correct horse bob"}


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory, serving: Serving) -> Iterator[str]:
    """Address of an app with two accounts; alice has a finished run."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    (folder / "lab").mkdir()
    data = planted_data()
    data.write_h5ad(folder / "lab" / "planted.h5ad")
    for name, password in PASSWORDS.items():
        Accounts(folder / "home").add(name, password)
    flat = {"path": str(folder / "lab" / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    config = run_config_from_flat({"name": "secret of alice", **flat})
    runs = folder / "home" / keys.USERS_FOLDER / "alice" / keys.RUNS_FOLDER
    runs.mkdir(parents=True)
    finish(Run.create(runs / DONE, config), result_of(data, config))
    with serving(folder / "home") as address:
        yield address


@pytest.fixture
def visitor(
    guarded_server: str, browser: playwright.Browser, visiting: Callable[..., Any], complaints: Any
) -> Iterator[playwright.Page]:
    with visiting(browser, guarded_server) as context:
        page = context.new_page()
        complaints.watch(page)
        yield page


def sign_in(page: playwright.Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Sign in").click()


def test_two_people_each_find_their_own_runs(visitor: playwright.Page) -> None:
    page = visitor
    page.goto(f"/cells?run={DONE}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "alice")
    expect(page.locator("#cells-umap .main-svg").first).to_be_visible()
    assert page.url.endswith(f"/cells?run={DONE}")
    page.get_by_role("button", name="Account alice").click()
    expect(page.get_by_text("Signed in as alice, admin")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "bob")
    page.goto(f"/cells?run={DONE}")
    expect(page.get_by_text(f"There is no run called '{DONE}'")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("button", name="Account bob")).to_be_visible()
    assert "secret of alice" not in page.content()


def test_a_session_that_has_ended_leads_back_to_the_door(visitor: playwright.Page, complaints: list[str]) -> None:
    page = visitor
    page.goto("/sign-in?next=/data")
    sign_in(page, "bob")
    expect(page.get_by_role("heading", name="Data", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.context.clear_cookies()
    page.evaluate("() => { fetch('/_dash-layout'); }")  # as any click would
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert all("401" in complaint for complaint in complaints)  # the answer that is meant
    complaints.clear()
