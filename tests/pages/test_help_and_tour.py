"""Do help, keys and tour speak of what there is?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dash
import pytest
from dash import Dash

from pages._shared import help as helping
from pages._shared import tour
from pages._shared.studio import Studio

ASSETS = Path(__file__).parents[2] / "assets"
PageModule = Callable[[str], Any]


def test_the_help_lists_the_keys_that_the_browser_listens_to() -> None:
    script = (ASSETS / "keys.js").read_text(encoding="utf-8")
    acts = re.search(r"const ACTS = \{(.*?)\n  \};", script, re.DOTALL)
    assert acts is not None
    listened = {quoted or plain for quoted, plain in re.findall(r'^    (?:"(.)"|(\w)): ', acts[1], re.MULTILINE)}
    assert listened == {key for key, _ in helping.KEYS} - {"Esc"}


def test_every_topic_choice_of_a_page_can_be_stepped_through(
    app: Dash, page_module: PageModule, components_in: Callable[..., Any]
) -> None:
    script = (ASSETS / "keys.js").read_text(encoding="utf-8")
    listed = json.loads(re.search(r"const TOPIC_SELECTS = (\[.*?\]);", script)[1])  # type: ignore[index]
    for name in ("topics", "embedding", "enrichment"):
        labelled = [
            node.id
            for node in components_in(page_module(name).layout(run="done-run"))
            if getattr(node, "label", None) == "Topic" and getattr(node, "id", None)
        ]
        assert labelled
        assert set(labelled) <= set(listed)


def test_the_tour_is_short_and_its_pages_exist(app: Dash) -> None:
    paths = {entry["path"] for entry in dash.page_registry.values()}
    assert 6 <= len(tour.STEPS) <= 9
    assert {step.page for step in tour.STEPS} <= paths | {"/explore"}
    for step in tour.STEPS:
        assert len(step.text) < 240
        assert "!" not in step.title + step.text


def test_the_steps_reach_the_browser_whole() -> None:
    steps = json.loads(getattr(tour.tour(), "data-steps"))
    assert [step["title"] for step in steps] == [step.title for step in tour.STEPS]
    assert set(steps[0]) == {"page", "selector", "title", "text", "needs_run"}


@pytest.mark.parametrize(("is_empty", "is_offered"), [(True, True), (False, False)])
def test_the_tour_is_offered_at_home_while_there_is_no_run(
    is_empty: bool, is_offered: bool, page_module: PageModule, components_in: Callable[..., Any],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if is_empty:
        request.getfixturevalue("own_studio")
    shown = [getattr(node, "id", None) for node in components_in(page_module("home").layout())]
    assert (tour.OFFER in shown) is is_offered


def test_help_opens_on_a_click_and_not_by_itself(own_studio: Studio) -> None:
    assert helping.open_help(1) is True
    assert helping.open_help(None) is False
