"""Does the page of differential topics start tests, show them, and follow clicks?"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import no_update

from pages._shared import studio
from pages._shared.requests import read_request
from pages._shared.task_view import progress_of
from scetm_core import jobs, keys, tasks
from scetm_core.answers import answer
from scetm_core.errors import ConfigError
from scetm_core.requests import DifferentialRequest, EnrichmentRequest
from tests.pages.by_hand import DONE, N_TOPICS

KIND = keys.DIFFERENTIAL_FOLDER
THRESHOLDS = (0.5, 0.0, "q_bonferroni")
Trigger = Callable[..., Any]


@pytest.fixture
def differential(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("differential")


@pytest.fixture
def stamp(app: Any) -> str:
    """Of the tests of cell types, which are there."""
    run = studio.open_run(DONE)
    if not studio.table_stamp(run, KIND, "cell_type"):
        answer(run, "cell_type", DifferentialRequest(n_permutations=500), on_progress=lambda share, message: None)
    return studio.table_stamp(run, KIND, "cell_type")


def test_the_page_begins_with_the_labels_and_the_papers_threshold(differential: ModuleType, find: Any) -> None:
    page = differential.layout(run=DONE)
    assert find(page, "differential-groupby").value == "cell_type"
    assert find(page, "differential-table-name").data == "cell_type"
    assert find(page, "differential-min-difference").value == 2.0
    other = differential.layout(run=DONE, groupby="batch", topic="3", label="b0")
    assert find(other, "differential-min-difference").value == 0.2
    assert find(other, "differential-focus").data == {"topic": "3", "label": "b0"}


def test_another_grouping_brings_its_own_tests_and_threshold(differential: ModuleType, app: Any) -> None:
    assert differential.choose_grouping("batch", DONE) == ("batch", 0.2)
    assert differential.choose_grouping("leiden", DONE) == ("leiden", 2.0)


def test_before_the_first_test_the_page_says_what_it_would_do(
    differential: ModuleType, app: Any, words_in: Any
) -> None:
    before, after, said, button = differential.show_or_hide("", "batch", DONE)
    assert (before, after, said, button) == ({}, {"display": "none"}, None, "Test")
    assert differential.draw_tests("", {}, *THRESHOLDS, False, "batch", DONE) == (no_update, no_update)
    assert "Not tested yet" in words_in(differential.layout(run=DONE))


def test_after_a_test_what_was_compared_is_said(differential: ModuleType, stamp: str, words_in: Any) -> None:
    before, after, said, button = differential.show_or_hide(stamp, "cell_type", DONE)
    assert (before, after, button) == ({"display": "none"}, {}, "Test again")
    assert "60 cells of" in words_in(said)
    assert "500 random permutations" in words_in(said)


def test_heatmap_volcano_and_table_show_the_same_tests(differential: ModuleType, stamp: str) -> None:
    table = studio.load_table(DONE, KIND, "cell_type")
    heatmap, volcano = differential.draw_tests(stamp, {}, *THRESHOLDS, False, "cell_type", DONE)
    rows = differential.fill_table(*THRESHOLDS, stamp, "cell_type", DONE)
    assert np.asarray(heatmap.data[0].z).shape == (len(table) // N_TOPICS, N_TOPICS)
    assert sum(len(trace.x) for trace in volcano.data if trace.name) == len(rows) == len(table)
    differences = [row["mean_difference"] for row in rows]
    np.testing.assert_allclose(sorted(differences), sorted(table["mean_difference"]))
    marked = [row["mark"] == "yes" for row in rows]
    assert sum(marked) == (table["q_bonferroni"] < 0.5).sum() > 0
    assert marked == sorted(marked, reverse=True)
    assert len({row["id"] for row in rows}) == len(rows)


def test_what_is_in_focus_is_what_was_asked_for_or_the_largest_difference(differential: ModuleType, stamp: str) -> None:
    marked = differential.marked_table(DONE, "cell_type", *THRESHOLDS)
    label = marked["label"].iloc[-1]
    assert differential.focus_of(marked, {"topic": "2", "label": label}) == (label, "topic_2")
    of_label = marked[marked["label"] == label].set_index("topic")["mean_difference"]
    assert differential.focus_of(marked, {"topic": None, "label": label}) == (label, of_label.idxmax())
    of_topic = marked[marked["topic"] == "topic_1"].set_index("label")["mean_difference"]
    assert differential.focus_of(marked, {"topic": "1", "label": "no such"}) == (of_topic.idxmax(), "topic_1")
    assert differential.focus_of(pd.DataFrame(), {}) is None


def test_the_focus_is_drawn_and_linked(
    differential: ModuleType, stamp: str, words_in: Any, components_in: Callable[..., Any]
) -> None:
    label = studio.load_table(DONE, KIND, "cell_type")["label"].iloc[0]
    violins, cells, links = differential.draw_focus(
        stamp, {"topic": "2", "label": label}, "cell_type", "cell_type", DONE
    )
    assert violins.data[0].name.startswith(label)
    assert cells.layout.meta["n_cells"] == 60
    assert f"{label}, topic 2: difference" in words_in(links)
    hrefs = [node.href for node in components_in(links) if hasattr(node, "href")]
    assert f"/cells?run={DONE}&topic=2" in hrefs


def test_a_click_anywhere_brings_its_test_into_focus(differential: ModuleType, stamp: str, triggered: Trigger) -> None:
    table = studio.load_table(DONE, KIND, "cell_type")
    order = differential.order_of(table)[0]
    with triggered("differential-heatmap.clickData"):
        clicked = {"points": [{"x": "4", "y": 1}]}
        assert differential.focus_clicked(clicked, None, None, "cell_type", DONE) == {"label": order[1], "topic": "4"}
    with triggered("differential-volcano.clickData"):
        clicked = {"points": [{"customdata": 3}]}
        row = table.iloc[3]
        expected = {"label": row["label"], "topic": row["topic"].removeprefix("topic_")}
        assert differential.focus_clicked(None, clicked, None, "cell_type", DONE) == expected
    with triggered("differential-table.selectedRows"):
        rows = [{"label": "x", "topic": "topic_5"}]
        assert differential.focus_clicked(None, None, rows, "cell_type", DONE) == {"label": "x", "topic": "5"}
        assert differential.focus_clicked(None, None, [], "cell_type", DONE) is no_update


def test_all_tests_come_as_csv(differential: ModuleType, stamp: str) -> None:
    assert differential.download_tests(None, DONE, "cell_type") is no_update
    sent = differential.download_tests(1, DONE, "cell_type")
    table = pd.read_csv(io.StringIO(sent["content"]))
    expected = studio.load_table(DONE, KIND, "cell_type")
    np.testing.assert_allclose(table["p_value"], expected["p_value"])
    assert list(table.columns) == list(expected.columns)


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_the_whole_table_can_be_had(file_format: str, stamp: str, app: Any, triggered: Trigger) -> None:
    send = app.callback_map["differential-download.data"]["callback"].__wrapped__
    with triggered(f"differential-download-{file_format}.n_clicks"):
        assert send(None, None, "cell_type", DONE) is no_update
        assert send(1, None, "no such table", DONE) is no_update
        sent = send(1, 1, "cell_type", DONE)
    assert sent["filename"] == f"{DONE}-differential-cell_type.{file_format}"
    content = base64.b64decode(sent["content"]) if sent["base64"] else sent["content"].encode()
    read = pd.read_parquet if file_format == "parquet" else pd.read_csv
    expected = studio.load_table(DONE, KIND, "cell_type")
    np.testing.assert_allclose(read(io.BytesIO(content))["p_value"], expected["p_value"])


FIELDS = [{"name": "unit"}, {"name": "n_permutations"}, {"name": "seed"}]
SWITCHES = [{"name": "two_sided"}]


def test_the_button_asks_for_what_the_fields_say(
    differential: ModuleType, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "ask", lambda run, name, request: asked.append((run.id, name, request)))
    out = differential.start_test(1, "batch", FIELDS, ["cell", 500, 7], SWITCHES, [True], DONE)
    request = DifferentialRequest(groupby="batch", n_permutations=500, two_sided=True, seed=7)
    assert asked == [(DONE, "batch", request)]
    assert out == (False, [None, None, None])


def test_a_wrong_field_is_told_beside_it_and_nothing_starts(
    differential: ModuleType, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ask", lambda *_: pytest.fail("started"))
    tick, errors = differential.start_test(1, "batch", FIELDS, ["cell", 5, ""], SWITCHES, [False], DONE)
    assert tick is no_update
    assert errors == [None, None, "Seed is empty. Fill it in."]
    _, errors = differential.start_test(1, "batch", FIELDS, ["cell", 5, 0], SWITCHES, [False], DONE)
    assert "at least 100" in str(errors[1])


def test_a_wrong_setting_without_a_field_is_raised() -> None:
    with pytest.raises(ConfigError, match="Swap them"):
        read_request(EnrichmentRequest, [{"name": "seed"}], [0], given={"min_size": 9, "max_size": 3})


# ---- progress -----------------------------------------------------------------------------------------------------


def test_progress_is_drawn_from_the_tasks_folder(
    make_shown_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words_in: Any
) -> None:
    assert progress_of(None) == (None, False)
    run = make_shown_run()
    run.result_path.touch()
    monkeypatch.setattr(jobs, "spawn", lambda *_: None)
    task = tasks.ask(run, "batch", DifferentialRequest(groupby="batch"))
    view, is_at_work = progress_of(task)
    assert is_at_work
    assert "Starting" in words_in(view)
    jobs.cancel(task)
    assert "Stopping" in words_in(progress_of(task)[0])


@pytest.mark.parametrize(("state", "words"), [("failed", "no column 'x'"), ("done", ""), ("cancelled", "")])
def test_a_finished_task_says_only_what_went_wrong(
    state: str, words: str, make_shown_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words_in: Any
) -> None:
    import dataclasses

    run = make_shown_run()
    run.result_path.touch()
    monkeypatch.setattr(jobs, "spawn", lambda *_: None)
    task = tasks.ask(run, "batch", DifferentialRequest(groupby="batch"))
    task.write_status(dataclasses.replace(task.status(), state=state, message=words))
    view, is_at_work = progress_of(task)
    assert not is_at_work
    assert words in words_in(view)
    assert (view is None) == (state != "failed")
