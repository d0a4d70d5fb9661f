"""Does the home page tell how every run stands?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dash import no_update

from pages._shared.studio import Studio
from scetm_core import liveness
from scetm_core.jobfolder import Status
from scetm_core.runs import Run

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]


def alive(**changes: Any) -> Status:
    return Status(**{"state": "running", "queued_at": time.time(), **liveness.identity(), **changes})  # type: ignore[arg-type]


def test_a_finished_run_shows_state_scores_time_and_age(
    page_module: PageModule, shown_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(shown_studio.runs_folder / "done-run")
    monkeypatch.setattr(time, "time", lambda: run.created_at + 30)
    row = page_module("home").run_row(run)
    assert (row["name"], row["state"], row["ari"], row["kbet"]) == ("mouse", "done", ".94", ".50")
    assert (row["took"], row["age"], row["data"]) == ("2 min 10 s", "just now", "planted.h5ad")
    assert row["href"] == "/cells?run=done-run"


def test_a_run_under_way_shows_its_progress_and_leads_to_its_training(
    page_module: PageModule, make_shown_run: Callable[..., Run]
) -> None:
    run = make_shown_run(status=alive(step=42, max_steps=100, started_at=time.time() - 5))
    row = page_module("home").run_row(run)
    assert row["state"] == "running, 42%"
    assert row["href"] == "/train?run=a-run"
    assert row["ari"] == "–"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_ended_early_says_so(
    state: str, page_module: PageModule, make_shown_run: Callable[..., Run]
) -> None:
    assert page_module("home").run_row(make_shown_run(status=Status(state=state)))["state"] == state


def test_a_run_whose_process_is_gone_is_lost(page_module: PageModule, make_shown_run: Callable[..., Run]) -> None:
    run = make_shown_run(status=alive(pid_started=1.0, pid_key="", started_at=time.time() - 5))
    row = page_module("home").run_row(run)
    assert row["state"] == "lost"
    assert row["took"] == ""


def test_the_newest_run_stands_first(
    page_module: PageModule, make_shown_run: Callable[..., Run], find: Callable[..., Any]
) -> None:
    for run_id in ("first", "second"):
        make_shown_run(run_id)
    rows = find(page_module("home").layout(), "home-runs").rowData
    assert [row["id"] for row in rows] == ["second", "first"]


@pytest.mark.parametrize(("state", "stands_still"), [("running", False), ("done", True)])
def test_the_page_looks_again_only_while_something_runs(
    state: str,
    stands_still: bool,
    page_module: PageModule,
    make_shown_run: Callable[..., Run],
    find: Callable[..., Any],
) -> None:
    make_shown_run(status=alive(state=state))
    home = page_module("home")
    assert find(home.layout(), "home-refresh").disabled is stands_still
    rows, disabled = home.refresh_runs(1)
    assert len(rows) == 1
    assert disabled is stands_still
    assert home.refresh_runs(None) == (no_update, no_update)


def test_a_first_visit_is_told_where_to_start(page_module: PageModule, own_studio: Studio, words_in: Words) -> None:
    text = words_in(page_module("home").layout())
    for words in ("Start here", "Use demo data", "Choose my data", "1,886 cells"):
        assert words in text
    assert "Runs" not in text


def test_later_visits_may_continue(page_module: PageModule, words_in: Words) -> None:
    text = words_in(page_module("home").layout())
    for words in ("Continue", "Runs", "New run"):
        assert words in text


def test_a_damaged_run_does_not_hide_the_others(
    page_module: PageModule, make_shown_run: Callable[..., Run], find: Callable[..., Any]
) -> None:
    make_shown_run("whole")
    (make_shown_run("no-status").path / "status.json").write_text("{")
    (make_shown_run("no-config").path / "config.json").write_text("{")
    rows = find(page_module("home").layout(), "home-runs").rowData
    assert "whole" in [row["id"] for row in rows]


def test_demo_data_are_written_and_lead_to_the_form(
    page_module: PageModule, own_studio: Studio, triggered: Trigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = page_module("home")
    written: list[Path] = []
    monkeypatch.setattr(home, "write_demo", written.append)
    with triggered("home-demo.n_clicks"):
        assert home.use_demo_data(1) == "/train?file=demo/mouse_pancreas.h5ad"
        assert home.use_demo_data(None) is no_update
    assert written == [own_studio.demo_folder]
