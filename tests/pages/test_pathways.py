"""Does the page of pathways show alpha, follow clicks, and say what is missing where there are none?"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import dcc, no_update

from scetm_core import keys
from scetm_core.runs import Run
from tests.pages.by_hand import DONE, N_CELLS, N_TOPICS, planted_data, result_of

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
Find = Callable[[Any, Any], Any]

SETS = [f"REACTOME_{word}_SECRETION" for word in ("INSULIN", "GLUCAGON", "LIPASE", "MUCUS", "BILE", "HORMONE")]


@pytest.fixture
def pathways(page_module: PageModule) -> ModuleType:
    return page_module("pathways")


@pytest.fixture
def run(make_shown_run: Callable[..., Run]) -> Run:
    """A finished run with rho fixed to six gene sets; set k leads topic k."""
    run = make_shown_run(n_topics=N_TOPICS)
    result = result_of(planted_data(), run.config)
    alpha = np.random.default_rng(0).normal(scale=0.1, size=(N_TOPICS, len(SETS))).astype(np.float32)
    result.uns[keys.ALPHA] = alpha + 2 * np.eye(N_TOPICS, dtype=np.float32)
    result.uns[keys.UNS][keys.UNS_RHO_NAMES] = np.array(SETS)
    run.write_result(result)
    return run


def test_a_run_that_learnt_its_genes_is_told_what_a_pathway_model_is_and_where_to_get_one(
    pathways: ModuleType, words_in: Words, components_in: Callable[..., Any], app: Any
) -> None:
    page = pathways.layout(run=DONE, topic="3", set="x")
    text = words_in(page)
    for part in ("p-scETM", "Train a pathway-informed model", "Gene sets as rho", "Genes and topics"):
        assert part in text
    links = {node.href for node in components_in(page) if isinstance(node, dcc.Link)}
    assert links == {"/train", f"/enrichment?run={DONE}"}


def test_the_page_begins_with_topics_in_use_and_the_pathway_that_leads_the_strongest(
    pathways: ModuleType, run: Run, find: Find
) -> None:
    page, theta = pathways.layout(run=run.id), run.load_result().obsm[keys.THETA].mean(axis=0)
    focus = int(theta.argmax())
    assert find(page, "pathways-topic").value == str(focus)
    assert str(focus) in find(page, "pathways-topics").value
    assert find(page, "pathways-set").value == SETS[focus]
    assert {"value": SETS[0], "label": "Insulin secretion (Reactome)"} in find(page, "pathways-set").data


def test_the_url_chooses_topic_and_pathway(pathways: ModuleType, run: Run, find: Find) -> None:
    page = pathways.layout(run=run.id, topic="4", set=SETS[1])
    assert (find(page, "pathways-topic").value, find(page, "pathways-set").value) == ("4", SETS[1])
    assert "4" in find(page, "pathways-topics").value
    odd = pathways.layout(run=run.id, topic="99", set="<script>")
    assert find(odd, "pathways-set").value in SETS


def test_the_heatmap_shows_alpha_of_the_chosen_topics(pathways: ModuleType, run: Run) -> None:
    figure = pathways.draw_pathways(run.id, ["4", "0"], 1, "INSULIN, mucus", "4")
    (heatmap,) = figure.data
    assert list(heatmap.x) == ["4", "0"]
    alpha = run.load_result().uns[keys.ALPHA]
    np.testing.assert_allclose(heatmap.z, alpha[[4, 0]][:, [4, 0]].T)
    assert [text.startswith("<b>") for text in figure.layout.yaxis.ticktext] == [False, True]


@pytest.mark.parametrize("n_sets", [None, "", 0, 500])
def test_any_number_of_pathways_can_be_typed(n_sets: Any, pathways: ModuleType, run: Run) -> None:
    assert 1 <= len(pathways.heatmap_frame(run.id, ["0", "1"], n_sets)) <= len(SETS)


def test_no_topic_is_said(pathways: ModuleType, run: Run, words_of_figure: Words) -> None:
    assert "Pick at least one" in words_of_figure(pathways.draw_pathways(run.id, [], 5, None, "0"))


def test_a_click_on_a_cell_looks_at_its_topic_and_pathway(pathways: ModuleType, run: Run, triggered: Trigger) -> None:
    shown = (["4", "0"], 1, run.id)
    with triggered("pathway-topic-heatmap.clickData"):
        assert pathways.focus_clicked({"points": [{"x": "4", "y": 1}]}, None, *shown) == ("4", SETS[0])
        for odd in ({"points": [{"x": "3", "y": 0}]}, {"points": [{"x": "4", "y": 77}]}, None):
            assert pathways.focus_clicked(odd, None, *shown) == (no_update, no_update)
    with triggered("pathway-topics-bar.clickData"):
        bar = {"points": [{"customdata": "topic_2"}]}
        assert pathways.focus_clicked(None, bar, *shown) == ("2", no_update)


def test_a_pathway_shows_its_topics_and_a_topic_its_cells(pathways: ModuleType, run: Run) -> None:
    run.write_topic_names({"topic_1": "alpha cells"})
    bars = pathways.draw_topics(run.id, SETS[1])
    assert bars.layout.yaxis.ticktext[0] == "1 alpha cells"
    figure, link = pathways.draw_cells(run.id, "3")
    (cells,) = figure.data
    np.testing.assert_allclose(cells.marker.color, run.load_result().obsm[keys.THETA][cells.customdata, 3], rtol=1e-6)
    assert link.href == f"/cells?run={run.id}&topic=3"


def test_each_figure_leaves_as_the_table_behind_it(
    pathways: ModuleType, run: Run, csv_of: Callable[[str], Callable[..., Any]]
) -> None:
    def table(graph: str, *values: Any) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(csv_of(graph)(1, run.id, *values)["content"]), index_col=0)

    heatmap = table("pathway-topic-heatmap", ["0", "1"], 1)
    assert (list(heatmap.columns), list(heatmap.index)) == (["topic_0", "topic_1"], SETS[:2])
    assert len(table("pathway-topics-bar", SETS[0])) == N_TOPICS
    assert len(table("pathway-topic-umap", "0")) == N_CELLS
    assert csv_of("pathway-topic-heatmap")(None, run.id, ["0"], 1) is no_update
