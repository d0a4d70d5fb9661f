"""Does the page of scores show what was worked out for the columns chosen, and cluster anew as the slider moves?"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from dash import no_update

from pages._evaluate.cards import GROUPS, SCORES, number, score_cards
from pages._shared import studio
from scetm_core import keys, tasks
from scetm_core.answers import answer
from scetm_core.evaluation import agreement
from scetm_core.requests import EvaluationRequest
from tests.pages.by_hand import DONE

NAME = "delta, cell_type, batch"
KEPT: dict[str, str] = {}
"""Stands for the style of the figures' place once it is shown."""


@pytest.fixture(scope="module")
def evaluated(app: Any, shown_studio: Any) -> Iterator[None]:
    """The finished run with its scores worked out."""
    run = studio.open_run_in(shown_studio.runs_folder, DONE)
    request = EvaluationRequest(label_key="cell_type", batch_key="batch", n_repeats=3)
    answer(run, NAME, request, on_progress=lambda *_: None)
    yield
    shutil.rmtree(run.path / keys.EVALUATION_FOLDER)


@pytest.fixture
def evaluate(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("evaluate")


def stamp() -> str:
    return studio.table_stamp(studio.open_run(DONE), keys.EVALUATION_FOLDER, NAME)


def test_the_page_begins_with_the_runs_own_columns(evaluate: ModuleType, find: Any) -> None:
    shown = evaluate.layout(run=DONE)
    assert find(shown, "evaluate-label").value == "cell_type"
    assert find(shown, "evaluate-batch").value == "batch"
    assert find(shown, "evaluate-table-name").data == NAME
    other = evaluate.layout(run=DONE, labels="batch", batches="<script>")
    assert find(other, "evaluate-label").value == "batch"
    assert find(other, "evaluate-batch").value == "batch"  # what is no column is passed over
    without = evaluate.layout(run=DONE, labels="none")
    assert find(without, "evaluate-label").value == "none"
    assert find(without, "evaluate-table-name").data == "delta, no labels, batch"


def test_before_an_evaluation_the_scores_of_the_run_are_shown_without_intervals(
    evaluate: ModuleType, words_in: Any
) -> None:
    cards, said, before, after, button = evaluate.show_scores("", NAME, DONE)
    assert before == {}
    assert after == {"display": "none"}
    assert button == "Evaluate"
    assert said is None
    assert "±" not in words_in(cards)
    known = studio.open_run(DONE).evaluation()
    assert SCORES["ari"].label in words_in(cards) or known.get("ari") is None
    cards, *_ = evaluate.show_scores("", evaluate.choose_columns("delta", "batch", "none"), DONE)
    assert SCORES["ari"].label not in words_in(cards)  # the run's ARI is about other labels


@pytest.mark.usefixtures("evaluated")
def test_after_it_every_score_has_a_card_with_its_interval(evaluate: ModuleType, words_in: Any) -> None:
    cards, said, before, after, button = evaluate.show_scores(stamp(), NAME, DONE)
    assert (before, after, button) == ({"display": "none"}, {}, "Evaluate again")
    words = words_in(cards)
    table = studio.load_table(DONE, keys.EVALUATION_FOLDER, NAME)
    row = table[(table["score"] == "kbet") & (table["label"] == "")].iloc[0]
    assert SCORES["kbet"].label in words
    assert number(row["value"]) in words
    assert f"± {number(2 * row['se'])}" in words
    assert "3 random halves" in words_in(said)


@pytest.mark.usefixtures("evaluated")
def test_the_slider_clusters_anew(evaluate: ModuleType) -> None:
    labels = studio.load_result(DONE).obs["cell_type"]
    seen = []
    for step in (0, 8, 16):
        confusion, cells, legend, said, curve = evaluate.draw_clusters(stamp(), KEPT, step, NAME, DONE)
        resolution = evaluate.parts.RESOLUTIONS[step]
        clusters = evaluate.clusters_at(DONE, NAME, resolution, 0)
        seen.append(clusters.max() + 1)
        assert len(confusion.data[0].x) == seen[-1]
        assert f"{seen[-1]} clusters" in said
        assert f"ARI {number(agreement(labels, clusters)[0])}" in said
        assert cells.data
        assert legend is not None
        assert resolution in {shape.x0 for shape in curve.layout.shapes}
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


@pytest.mark.usefixtures("evaluated")
def test_silhouettes_and_mixing_are_drawn_and_tables_leave_as_csv(
    evaluate: ModuleType, csv_of: Callable[[str], Any]
) -> None:
    silhouettes, cells = evaluate.draw_mixing(stamp(), KEPT, NAME, DONE)
    result = studio.load_result(DONE)
    assert len(silhouettes.data[0].y) == result.obs["cell_type"].nunique()
    assert cells.data[0].marker.color is not None
    sent = csv_of("evaluate-confusion")(1, 8, NAME, DONE)
    counts = pd.read_csv(pd.io.common.StringIO(sent["content"]), index_col=0)
    assert counts.to_numpy().sum() == result.n_obs


def test_nothing_is_drawn_before_there_is_a_table(evaluate: ModuleType) -> None:
    assert evaluate.draw_clusters("", KEPT, 8, NAME, DONE) == (no_update,) * 5
    assert evaluate.draw_mixing(None, KEPT, NAME, DONE) == (no_update, no_update)


def test_evaluate_asks_for_the_columns_chosen_and_says_what_is_wrong(
    evaluate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "ask", lambda run, name, request: asked.append((run.id, name, request)))
    fields = [{"name": "n_repeats"}, {"name": "seed"}]
    tick, errors = evaluate.start_evaluation(1, "theta", "cell_type", "none", fields, [5, 2], DONE)
    assert tick is False
    assert errors == [None, None]
    assert asked == [
        (DONE, "theta, cell_type, no batches",
         EvaluationRequest(use_rep="theta", label_key="cell_type", n_repeats=5, seed=2)),
    ]  # fmt: skip
    tick, errors = evaluate.start_evaluation(1, "delta", "cell_type", "none", fields, [1, 2], DONE)
    assert tick is no_update
    assert "at least 2" in errors[0]
    assert len(asked) == 1


def test_every_score_is_explained_once_and_numbers_are_written_as_papers_do(words_in: Any) -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(SCORES)
    assert [number(value) for value in (0.944, -0.034, 6.8, 1.0, None, float("nan"))] == [
        ".94", "-.03", "6.80", "1.00", "–", "–",
    ]  # fmt: skip
    words = words_in(score_cards({"test_nll": 6.8, "kbet": None}, {}))
    assert "lower is better" in words
    assert SCORES["kbet"].label not in words
