"""Does a finished run say what is wrong with it, and keep calm where nothing is?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import dash_mantine_components as dmc
from dash.development.base_component import Component

from pages._train.findings import findings_view
from scetm_core.judgement import Finding
from scetm_core.runs import Run

Words = Callable[[Any], str]
Parts = Callable[[Any], list[Component]]

WARNING = Finding(level="warning", topic="learning rate", message="The NLL rose.", advice="Lower the rate.")
INFO = Finding(level="info", topic="dead topics", message="1 of 6 topics is idle (topic_2).")


def scores_with(*findings: Finding) -> dict[str, Any]:
    return {"ari": 0.9, "findings": [dataclasses.asdict(finding) for finding in findings]}


def alerts_in(view: Component | None, components_in: Parts) -> list[dmc.Alert]:
    return [node for node in components_in(view) if isinstance(node, dmc.Alert)]


def test_a_run_that_was_not_judged_says_nothing() -> None:
    assert findings_view({}) is None
    assert findings_view({"ari": 0.9, "findings": None}) is None


def test_without_findings_there_is_one_calm_line(words_in: Words, components_in: Parts) -> None:
    view = findings_view(scores_with())
    assert words_in(view).startswith("No warnings: ")
    assert alerts_in(view, components_in) == []


def test_a_warning_stands_out_with_its_advice(words_in: Words, components_in: Parts) -> None:
    view = findings_view(scores_with(WARNING, INFO))
    warning, info = alerts_in(view, components_in)
    assert (warning.title, warning.children, warning.color) == (
        "Learning rate",
        "The NLL rose. Lower the rate.",
        "orange",
    )
    assert (info.title, info.children, info.color) == ("Dead topics", "1 of 6 topics is idle (topic_2).", "gray")
    assert "No warnings" not in words_in(view)


def test_what_is_only_worth_knowing_is_no_warning(words_in: Words, components_in: Parts) -> None:
    view = findings_view(scores_with(INFO))
    assert "No warnings" in words_in(view)
    assert [alert.color for alert in alerts_in(view, components_in)] == ["gray"]


def test_findings_survive_the_run_folder(make_shown_run: Callable[..., Run], words_in: Words) -> None:
    run = make_shown_run()
    assert findings_view(run.evaluation()) is None
    run.write_evaluation(scores_with(WARNING))
    assert "The NLL rose. Lower the rate." in words_in(findings_view(run.evaluation()))
