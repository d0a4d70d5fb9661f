"""Does the section on the number of topics ask for the right trainings, and show what they found?"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import no_update

from pages._shared import studio
from scetm_core import keys, tasks
from scetm_core.choice import SCORES, recommend, summarise
from scetm_core.files import write_table
from scetm_core.judging import sweep_table
from scetm_core.requests import SweepRequest
from scetm_core.sweep import SweepResult
from tests.pages.by_hand import DONE


@pytest.fixture
def numbers(page_module: Callable[[str], ModuleType]) -> Any:
    return page_module("evaluate").numbers


@pytest.fixture
def swept(app: Any) -> Any:
    """A table as a sweep leaves it: 3 and 6 topics, two seeds; the run has 6."""
    rows = [
        {"n_topics": k, "seed": seed, **dict.fromkeys(SCORES, 0.5), "test_nll": nll + seed / 100, "test_gain": 1.0}
        for k, nll in ((3, 7.0), (6, 6.5))
        for seed in (0, 1)
    ]
    trainings = pd.DataFrame(rows)
    stability = {
        k: pd.DataFrame(
            {name: np.linspace(0.9, 0.3, k) for name in ("match_mean", "match_min", "best_mean", "best_min")},
            index=[keys.topic_name(topic) for topic in range(k)],
        )
        for k in (3, 6)
    }
    by_k = summarise(trainings, {3: 0.9, 6: 0.8})
    table = sweep_table(SweepResult(trainings=trainings, by_k=by_k, stability=stability, sentences=["One thing."]))
    table.attrs |= {"request": {}, "sentences": ["One thing."], "seconds": 1.0}
    run = studio.open_run(DONE)
    path = run.table_path(keys.SWEEP_FOLDER, keys.TRAININGS_TABLE)
    path.parent.mkdir(exist_ok=True)
    write_table(table, path)
    yield by_k
    path.unlink()


def test_the_trainings_asked_for_are_those_written(numbers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "ask", lambda run, name, request: asked.append((name, request)))
    assert numbers.start_sweep(1, "20, 10;10 30", 2, DONE) == (False, None, None)
    name, request = asked[0]
    assert name == keys.TRAININGS_TABLE
    assert request == SweepRequest(n_topics_tried=("20", "10", "10", "30"), n_seeds=2)
    assert request.numbers == [10, 20, 30]


@pytest.mark.parametrize(
    ("text", "seeds", "where", "words"),
    [("ten", 2, 1, "whole numbers"), ("1, 5", 2, 1, "from 2"), ("", 2, 1, "none"), ("5", "", 2, "empty"),
     ("5", 0, 2, "at least 1"), ("5", 2.5, 2, "whole number")],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(
    text: str, seeds: Any, where: int, words: str, numbers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ask", lambda *_: pytest.fail("started"))
    said = numbers.start_sweep(1, text, seeds, DONE)
    assert said[0] is no_update
    assert words in said[where]
    assert said[3 - where] is None


def test_the_recommendation_is_shown_with_its_reasons_and_the_runs_own_topics(
    swept: pd.DataFrame, numbers: Any, words_in: Any
) -> None:
    style, advice, offered, shown = numbers.show_sweep("stamp", DONE)
    expected = recommend(swept)
    words = words_in(advice)
    assert style == {}
    assert f"{expected.n_topics} topics" in words
    for sentence in [*expected.reason, *expected.caveats, "One thing."]:
        assert sentence in words
    assert offered == ["3", "6"]
    assert shown == "6"
    assert numbers.draw_curves({}, DONE).data
    figure = numbers.draw_stability("3", {}, DONE)
    assert len(figure.data[0].y) == 3


@pytest.mark.usefixtures("swept")
def test_the_stability_of_each_topic_leaves_as_csv(numbers: Any, csv_of: Callable[[str], Any]) -> None:
    sent = csv_of("choose-k-stability")(1, "6", DONE)
    table = pd.read_csv(pd.io.common.StringIO(sent["content"]), index_col="topic")
    assert table.loc["topic_0", "match_mean"] == pytest.approx(0.9)
    assert len(table) == 6


def test_before_a_sweep_its_figures_stay_away(numbers: Any) -> None:
    assert numbers.show_sweep("", DONE)[0] == {"display": "none"}
    assert numbers.draw_curves({}, DONE) is no_update
    assert numbers.draw_stability("6", {}, DONE) is no_update
