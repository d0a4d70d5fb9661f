"""Do all views of Explore follow one choice, and do labels and tests reach the run?"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pytest
from dash import Dash, no_update

from pages._explore import choosing, details, topic
from pages._shared import selecting, studio
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.files import write_table
from scetm_core.runs import Run
from scetm_core.user_columns import read_columns

Trigger = Callable[..., Any]
DONE, N_CELLS = "done-run", 60


@pytest.fixture
def explore(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("explore")


@pytest.fixture
def run(make_shown_run: Callable[..., Run], app: Dash, shown_studio: Studio) -> Run:
    made = make_shown_run()
    made.write_result(Run(shown_studio.runs_folder / DONE).load_result())
    return made


@pytest.fixture
def result(run: Run) -> ad.AnnData:
    return run.load_result()


@pytest.fixture
def store(run: Run, result: ad.AnnData) -> dict[str, Any]:
    """The first cell type is selected."""
    rule = {"kind": "among", "column": "cell_type", "values": [str(result.obs["cell_type"].cat.categories[0])]}
    return selecting.take_step(None, {"run": run.id, "how": "new", "rule": rule})[0]


def test_the_address_chooses_everything(explore: ModuleType, run: Run, find: Callable[..., Any]) -> None:
    page = explore.layout(run=run.id, topic="3", groupby="leiden", zoom="-1,1,-1,1")
    assert find(page, "explore-topic").value == "3"
    assert find(page, "explore-color").value == "topic_3"
    assert find(page, "explore-groupby").value == "leiden"
    assert find(page, "explore-umap-window").data == [-1, 1, -1, 1]
    assert find(explore.layout(run=run.id, topic="3", color="batch"), "explore-color").value == "batch"


def test_a_topic_in_focus_colours_the_map_and_fills_its_panel(
    explore: ModuleType, run: Run, result: ad.AnnData, words_in: Callable[[Any], str]
) -> None:
    assert explore.color_by_topic("4") == "topic_4"
    figure = topic.draw_groups("4", "cell_type", run.id)
    means = {name: result.obsm[keys.THETA][(result.obs["cell_type"] == name).to_numpy(), 4].mean()
             for name in result.obs["cell_type"].cat.categories}  # fmt: skip
    drawn = dict(zip(figure.layout.yaxis.ticktext, figure.data[0].x, strict=True))
    assert drawn == pytest.approx(means, rel=1e-5)
    assert list(figure.data[0].x) == sorted(figure.data[0].x, reverse=True)
    said = words_in(topic.tell_what_follows("4", "cell_type", run.id))
    assert f"Explains {result.obsm[keys.THETA][:, 4].mean():.1%} of the reads" in said
    assert "Compare with gene sets" in said
    assert "Test it" in said


def test_gene_sets_and_differences_of_the_topic_are_listed(
    run: Run, words_in: Callable[[Any], str], result: ad.AnnData
) -> None:
    import pandas as pd

    sets = pd.DataFrame(
        {"topic": ["topic_4", "topic_4", "topic_1"], "gene_set": ["SECRETION", "WEAK", "OTHER"], "nes": [2.0, 1.1, 3.0],
         "q_value": [0.001, 0.4, 0.001]}
    )  # fmt: skip
    tests = pd.DataFrame(
        {"topic": ["topic_4", "topic_4"], "label": ["type_0", "type_1"], "mean_difference": [1.5, -2.0],
         "q_bh": [0.01, 0.01]}
    )  # fmt: skip
    for folder, name, table in (("enrichment", "mine", sets), ("differential", "cell_type", tests)):
        run.table_path(folder, name).parent.mkdir()
        write_table(table, run.table_path(folder, name))
    said = words_in(topic.tell_what_follows("4", "cell_type", run.id))
    assert "SECRETION" in said
    assert "type_0" in said
    assert not {"WEAK", "OTHER", "type_1"} & set(said.split())


def test_clicks_on_maps_and_lists_lead_on(
    explore: ModuleType, run: Run, result: ad.AnnData, triggered: Trigger
) -> None:
    def click(name: str) -> dict[str, Any]:
        return {"points": [{"customdata": name}]}

    gene = str(result.var_names[2])
    with triggered("explore-joint.clickData"):
        assert explore.follow_click(click("topic_5"), None, None, run.id) == ("5", no_update)
        assert explore.follow_click(click(gene), None, None, run.id) == (no_update, gene)
        assert explore.follow_click(click("no gene"), None, None, run.id) == (no_update, no_update)
    with triggered("explore-expected-genes.selectedRows"):
        assert explore.follow_click(None, None, [{"gene": gene}], run.id) == (no_update, gene)


def test_details_tell_of_the_selection(run: Run, result: ad.AnnData, store: dict[str, Any]) -> None:
    inside = (result.obs["cell_type"] == result.obs["cell_type"].cat.categories[0]).to_numpy()
    figure = details.draw_composition("cell_type", store, details.REST, run.id)
    assert figure.data[0].x[0] == 1.0
    profile = details.draw_profile("0", store, details.REST, run.id)
    theta = result.obsm[keys.THETA].astype(float)
    expected = theta[inside].mean(axis=0) - theta[~inside].mean(axis=0)
    drawn = {int(row[0]): value for row, value in zip(profile.data[0].customdata, profile.data[0].x, strict=True)}
    assert drawn == pytest.approx({number: expected[number] for number in drawn}, abs=1e-6)
    genes = details.list_genes(store, details.REST, run.id)
    assert len(genes) == result.n_vars
    assert genes[0]["log2_ratio"] > 0
    assert f"{inside.sum()} of 60 cells" in details.say(store, details.REST, run.id)


def test_without_a_selection_details_show_all_cells_and_what_to_do(
    run: Run, words_of_figure: Callable[..., str]
) -> None:
    figure = details.draw_composition("cell_type", None, details.REST, run.id)
    assert sum(figure.data[0].x) == pytest.approx(1)
    assert "Select some cells" in words_of_figure(details.draw_profile("0", None, details.REST, run.id))
    assert details.list_genes(None, details.REST, run.id) == []
    assert "Draw a lasso" in details.say(None, None, run.id)


def test_the_forms_ask_for_rules(run: Run, result: ad.AnnData, triggered: Trigger) -> None:
    def press(button: str, **given: Any) -> Any:
        fields = {"column": "cell_type", "values": ["a"], "what": "topic_1", "low": None, "high": None, "names": None}
        with triggered(f"{button}.n_clicks"):
            return choosing.choose(1, None, None, *{**fields, **given}.values(), "add", run.id)

    assert press(choosing.PICK_VALUES)["rule"] == {"kind": "among", "column": "cell_type", "values": ["a"]}
    assert press(choosing.PICK_RANGE, low="0.2", high="")["rule"] == {"kind": "between", "what": "topic_1", "low": 0.2}
    asked = press(choosing.PICK_NAMES, names="a-1, b-1\nc-1;d-1\t\n")
    assert asked["rule"] == {"kind": "named", "cells": ["a-1", "b-1", "c-1", "d-1"]}
    assert (asked["how"], asked["run"]) == ("add", run.id)
    for button, given, words in (
        (choosing.PICK_VALUES, {"values": []}, "No category"),
        (choosing.PICK_RANGE, {}, "Both limits are empty"),
        (choosing.PICK_NAMES, {"names": " ,\n"}, "No name"),
    ):
        with pytest.raises(DataError, match=words):
            press(button, **given)


def test_a_page_that_only_opens_asks_for_nothing(run: Run) -> None:
    assert choosing.choose(None, None, None, "cell_type", [], "topic_1", None, None, None, "new", run.id) is no_update


def test_labels_are_saved_at_once_and_join_every_page(
    run: Run, store: dict[str, Any], triggered: Trigger, words_in: Callable[[Any], str]
) -> None:
    n_cells = int(selecting.mask_of(run.id, store["history"][1]).sum())
    choosing.give_label(1, "state", "resting", store, run.id)
    obs = studio.load_result(run.id).obs
    assert (obs["state"] == "resting").sum() == n_cells
    assert "resting" in words_in(choosing.show_history("state", None, run.id)[0])
    with triggered(f"{choosing.UNDO_LABEL}.n_clicks"):
        choosing.change_column(1, None, None, "state", run.id)
    assert "state" not in studio.load_result(run.id).obs
    with triggered(f"{choosing.REDO_LABEL}.n_clicks"):
        choosing.change_column(None, 1, None, "state", run.id)
    assert "state" in studio.load_result(run.id).obs
    with triggered(f"{choosing.REMOVE}.n_clicks"):
        choosing.change_column(None, None, 1, "state", run.id)
    assert read_columns(run) == {}


def test_a_kept_selection_can_be_compared_with(run: Run, store: dict[str, Any], triggered: Trigger) -> None:
    with triggered(f"{choosing.KEEP}.n_clicks"):
        choosing.keep_selection(1, "mine", store, run.id)
    assert {"value": "mine\x1fmine", "label": "mine: mine"} in details.against_options(run.id)
    other = selecting.take_step(store, {"run": run.id, "how": "invert"})[0]
    inside, outside = details.sides(run.id, selecting.current(other, run.id), "mine\x1fmine")
    assert np.array_equal(outside, selecting.mask_of(run.id, store["history"][1]))
    assert not (inside & outside).any()


def test_a_test_keeps_both_sides_and_opens_differential(run: Run, store: dict[str, Any]) -> None:
    href = choosing.test_topics(1, details.REST, store, run.id)
    assert href == f"/differential?run={run.id}&groupby=selection+1"
    column = studio.load_result(run.id).obs["selection 1"]
    inside = selecting.mask_of(run.id, store["history"][1])
    assert np.array_equal((column == "selection 1").to_numpy(), inside)
    assert column.notna().all()
    assert choosing.test_topics(1, details.REST, store, run.id).endswith("selection+2")


@pytest.mark.parametrize("call", ["keep", "label", "test"])
def test_without_a_selection_there_is_nothing_to_keep_label_or_test(run: Run, call: str) -> None:
    calls = {
        "keep": lambda: choosing.keep_selection(1, "x", None, run.id),
        "label": lambda: choosing.give_label(1, "x", "y", None, run.id),
        "test": lambda: choosing.test_topics(1, details.REST, None, run.id),
    }
    with pytest.raises(DataError, match="No cell is selected"):
        calls[call]()
