"""Does the topics page show what is chosen, name topics everywhere, and give its numbers as CSV?"""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import Dash, Patch, no_update
from dash.development.base_component import Component

from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.runs import Run

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
MakeRun = Callable[..., Run]

DONE = "done-run"
N_CELLS, N_TOPICS = 60, 6
GRAPHS = ("gene-topic-heatmap", "topic-means-heatmap", "cell-topic-heatmap")
PANCREAS = ("INS", "IAPP", "MAFA", "NKX6-1", "PDX1", "GCG", "IRX2", "LOXL4", "ARX", "TTR")


@pytest.fixture
def topics(page_module: PageModule) -> ModuleType:
    return page_module("topics")


@pytest.fixture
def part(topics: ModuleType, page_module: PageModule) -> Callable[[str], ModuleType]:
    """A part of the page by its name."""
    return lambda name: page_module(f"_topics.{name}")


@pytest.fixture
def result(app: Dash, shown_studio: Studio) -> ad.AnnData:
    return Run(shown_studio.runs_folder / DONE).load_result()


@pytest.fixture
def own_run(make_shown_run: MakeRun, result: ad.AnnData) -> Run:
    """A finished run of the test's own, which may be changed."""
    run = make_shown_run()
    run.write_result(result)
    return run


@pytest.fixture
def pancreas_run(make_shown_run: MakeRun, result: ad.AnnData) -> Run:
    """Topic 0 is led by markers of beta cells, topic 1 by those of alpha cells; 990 genes more."""
    rng = np.random.default_rng(0)
    genes = [*PANCREAS, *(f"XYZ{number}" for number in range(990))]
    beta = rng.normal(scale=0.1, size=(len(genes), N_TOPICS)).astype(np.float32)
    beta[:5, 0], beta[5:10, 1] = 5, 5
    named = ad.AnnData(obs=result.obs, var=pd.DataFrame(index=genes), obsm=dict(result.obsm), uns=dict(result.uns))
    named.varm[keys.BETA] = beta
    run = make_shown_run("pancreas")
    run.write_result(named)
    return run


@pytest.fixture
def callback_of(app: Dash) -> Callable[[str], Callable[..., Any]]:
    """The plain function behind an output; a graph's first is the one that draws."""
    return lambda output: app.callback_map[output]["callback"].__wrapped__


def heatmap_in(figure: Any) -> Any:
    """The trace with topics along x."""
    return next(trace for trace in figure.data if trace.type == "heatmap" and np.asarray(trace.x)[0].isdecimal())


def differential(run: Run, topics: dict[str, float], *, name: str = "cell_type") -> None:
    """Leave a table in which these topics differ by so much."""
    path = run.table_path(keys.DIFFERENTIAL_FOLDER, name)
    path.parent.mkdir(exist_ok=True)
    rows = {"topic": list(topics), "label": "a", "mean_difference": list(topics.values()), "q_bonferroni": 1e-3}
    pd.DataFrame(rows).to_parquet(path)


# ---- the topic in focus -------------------------------------------------------------------------------------------


def test_a_topic_begins_with_the_strongest_and_groups_are_the_labels(
    topics: ModuleType, result: ad.AnnData, find: Callable[..., Any]
) -> None:
    page = topics.layout(run=DONE)
    assert find(page, "topics-topic").value == str(int(result.obsm[keys.THETA].mean(axis=0).argmax()))
    assert find(page, "topics-groupby").value == "cell_type"
    assert find(page, "topics-bars").value == ["cell_type", "batch"]
    assert find(topics.layout(run=DONE, topic="2", groupby="batch"), "topics-topic").value == "2"


@pytest.mark.parametrize("topic", ["999", "abc", "-1", "²", "1.5", ""])
def test_a_topic_that_does_not_exist_falls_back_to_the_strongest(
    topic: str, topics: ModuleType, result: ad.AnnData, find: Callable[..., Any]
) -> None:
    strongest = str(result.obsm[keys.THETA].mean(axis=0).argmax())
    assert find(topics.layout(run=DONE, topic=topic), "topics-topic").value == strongest


def test_the_topic_in_focus_shows_its_genes_and_cells_and_leads_on(
    part: Callable[[str], ModuleType], result: ad.AnnData
) -> None:
    focus = part("focus")
    leader = str(result.var_names[result.varm[keys.BETA][:, 2].argmax()])
    assert focus.draw_top_genes("2", 1, DONE).data[1].customdata[0][0] == leader
    assert sum(len(trace.x) for trace in focus.draw_map("2", {}, DONE).data) == N_CELLS
    genes, cells, links = focus.tell_topic("2", {"topic_2": "beta cells"}, DONE)
    assert (genes, cells) == ("Top genes of topic 2 · beta cells", "Cells of topic 2 · beta cells")
    assert [link.href for link in links] == [
        f"/{page}?run={DONE}&topic=2" for page in ("cells", "enrichment", "embedding")
    ]


def test_a_run_without_umap_says_how_to_get_one(
    part: Callable[[str], ModuleType], make_shown_run: MakeRun, result: ad.AnnData, words_of_figure: Words
) -> None:
    run, bare = make_shown_run(), result.copy()
    del bare.obsm[keys.X_UMAP]
    run.write_result(bare)
    assert "Compute UMAP" in words_of_figure(part("focus").draw_map("0", {}, run.id))


def test_known_markers_are_bold_among_the_top_genes(part: Callable[[str], ModuleType], pancreas_run: Run) -> None:
    figure = part("focus").draw_top_genes("0", 1, pancreas_run.id)
    assert sum("<b>" in tick for tick in figure.layout.yaxis.ticktext) == 5
    assert "Beta cell" in figure.data[1].customdata[0][0]


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_click_on_a_column_looks_at_its_topic(graph: str, topics: ModuleType, triggered: Trigger) -> None:
    clicks = [{"points": [{"x": "4", "y": "g"}]} if name == graph else {"points": [{"x": "1"}]} for name in GRAPHS]
    with triggered(f"{graph}.clickData"):
        assert topics.focus_clicked_topic(*clicks, None) == "4"


@pytest.mark.parametrize("click", [None, {"points": [{"x": "cell_type"}]}, {"points": [{"x": 1.5}]}])
def test_a_click_beside_the_columns_changes_nothing(click: Any, topics: ModuleType, triggered: Trigger) -> None:
    with triggered("cell-topic-heatmap.clickData"):
        assert topics.focus_clicked_topic(None, None, click, None) is no_update


@pytest.mark.parametrize(("column", "value", "expected"), [("topic", 3, "3"), ("name", "x", no_update)])
def test_a_click_on_a_number_in_the_table_looks_at_its_topic(
    column: str, value: Any, expected: Any, topics: ModuleType, triggered: Trigger
) -> None:
    with triggered("topics-names-table.cellClicked"):
        assert topics.focus_clicked_topic(None, None, None, {"colId": column, "value": value}) == expected


def test_diversity_and_coherence_are_said_with_what_they_mean(
    topics: ModuleType, own_run: Run, words_in: Words, components_in: Callable[[Any], list[Component]]
) -> None:
    assert "Diversity" not in words_in(topics.layout(run=own_run.id))
    own_run.write_evaluation({"topic_diversity": 0.7848, "topic_coherence": 0.28})
    page = topics.layout(run=own_run.id)
    assert all(words in words_in(page) for words in ("Diversity", ".78", "Coherence", ".28"))
    tips = [getattr(node, "data-tip") for node in components_in(page) if hasattr(node, "data-tip")]
    assert all("Higher is better" in tip for tip in tips)


# ---- which topics are shown -----------------------------------------------------------------------------------------


def test_all_topics_in_use_are_shown_unless_some_are_chosen(
    part: Callable[[str], ModuleType], result: ad.AnnData
) -> None:
    genes, cells = part("gene_heatmap"), part("cell_heatmaps")
    assert set(cells.mean_frame(DONE, "cell_type", None).columns) == {f"topic_{topic}" for topic in range(N_TOPICS)}
    for frame in (
        cells.mean_frame(DONE, "cell_type", [4, 1]),
        genes.gene_frame(DONE, "leading", 2, "none", [], [4, 1]),
        cells.cell_frame(DONE, ["batch"], 1500, [4, 1]),
    ):
        assert set(frame.columns) == {"topic_1", "topic_4"}


def test_topics_that_no_cell_uses_are_left_out_and_that_is_said(
    part: Callable[[str], ModuleType], make_shown_run: MakeRun, result: ad.AnnData
) -> None:
    run, idle = make_shown_run(), result.copy()
    idle.obsm[keys.THETA] = result.obsm[keys.THETA] * (np.arange(N_TOPICS) != 2)
    run.write_result(idle)
    frame = part("gene_heatmap").gene_frame(run.id, "leading", 2, "none", [], None)
    assert "topic_2" not in frame.columns
    assert "5 of 6 topics" in part("gene_heatmap").plot(frame, topic_names={}, selected_topic=0).layout.title.text


def test_the_switch_for_differential_topics_needs_a_test_and_leads_to_it(
    part: Callable[[str], ModuleType], own_run: Run, words_in: Words, components_in: Callable[..., list[Component]]
) -> None:
    disabled, checked, about = part("choice").offer_differential("cell_type", True, own_run.id)
    assert (disabled, checked) == (True, False)
    links = [node.href for node in components_in(about) if hasattr(node, "href")]
    assert links == [f"/differential?run={own_run.id}&groupby=cell_type"]
    differential(own_run, {"topic_4": 2.5, "topic_0": 3, "topic_1": 0.5})
    disabled, checked, about = part("choice").offer_differential("cell_type", True, own_run.id)
    assert (disabled, checked) == (False, True)
    assert "2 topics" in words_in(about)


def test_only_differential_topics_are_shown_where_that_is_asked_for(
    part: Callable[[str], ModuleType], own_run: Run
) -> None:
    choose = part("choice").choose_topics
    differential(own_run, {"topic_4": 2.5, "topic_0": 3, "topic_1": 0.5})
    assert choose([], True, "cell_type", None, own_run.id) == [0, 4]
    assert choose(["1", "4"], True, "cell_type", None, own_run.id) == [4]
    assert choose(["4", "1"], False, "cell_type", None, own_run.id) == [1, 4]
    assert choose([], False, "cell_type", [0, 4], own_run.id) is None
    assert choose([], True, "batch", None, own_run.id) is no_update  # never tested, so nothing changes


def test_no_topic_that_differs_is_said_in_every_heatmap(part: Callable[[str], ModuleType]) -> None:
    genes, cells = part("gene_heatmap"), part("cell_heatmaps")
    for frame in (
        cells.mean_frame(DONE, "cell_type", []),
        genes.gene_frame(DONE, "leading", 2, "none", [], []),
        cells.cell_frame(DONE, [], 1500, []),
    ):
        assert "differs between the groups" in frame.attrs["reason"]


def test_a_damaged_table_is_said_and_the_page_still_shows(topics: ModuleType, own_run: Run, words_in: Words) -> None:
    path = own_run.table_path(keys.DIFFERENTIAL_FOLDER, "cell_type")
    path.parent.mkdir()
    path.write_text("no parquet")
    assert "cannot be read" in words_in(topics.layout(run=own_run.id))


# ---- heatmaps -------------------------------------------------------------------------------------------------------


def test_rows_of_the_means_sum_to_one(part: Callable[[str], ModuleType]) -> None:
    frame = part("cell_heatmaps").mean_frame(DONE, "cell_type", None)
    np.testing.assert_allclose(frame.sum(axis=1), 1, rtol=1e-5)


def test_genes_are_relative_to_the_largest_of_their_topic(
    part: Callable[[str], ModuleType], result: ad.AnnData
) -> None:
    frame = part("gene_heatmap").gene_frame(DONE, "leading", 2, "none", [], None)
    assert float(np.abs(frame.to_numpy()).max()) <= 1
    assert str(result.var_names[result.varm[keys.BETA][:, 0].argmax()]) in frame.index


@pytest.mark.parametrize("n_genes", [None, 0, "", "3.", 10_000])
def test_an_odd_number_of_genes_still_draws(n_genes: Any, part: Callable[[str], ModuleType]) -> None:
    assert len(part("gene_heatmap").gene_frame(DONE, "leading", n_genes, "none", [], None))


@pytest.mark.parametrize("least", [None, "", 0, 1e9])
def test_an_odd_limit_still_shows_cells(least: Any, part: Callable[[str], ModuleType]) -> None:
    assert part("cell_heatmaps").cell_frame(DONE, ["cell_type"], least, None).shape == (N_CELLS, N_TOPICS)


def test_markers_can_be_the_rows_by_cell_type(part: Callable[[str], ModuleType], pancreas_run: Run) -> None:
    genes = part("gene_heatmap")
    frame = genes.gene_frame(pancreas_run.id, "known", 3, "all", [], None)
    assert list(dict.fromkeys(frame.index.get_level_values("cell_type"))) == ["Beta cell", "Alpha cell"]  # that lead
    chosen = genes.gene_frame(pancreas_run.id, "known", 3, "pancreas", ["Alpha cell"], None)
    assert set(chosen.index.get_level_values("gene")) < set(PANCREAS[5:])
    assert "No markers are chosen" in genes.gene_frame(pancreas_run.id, "known", 3, "none", [], None).attrs["reason"]


def test_markers_among_the_leading_genes_are_bold_by_the_types_chosen(
    part: Callable[[str], ModuleType], pancreas_run: Run
) -> None:
    genes = part("gene_heatmap")

    def bold(tissue: str, types: list[str]) -> set[str]:
        frame = genes.gene_frame(pancreas_run.id, "leading", 5, tissue, types, None)
        figure = genes.plot(frame, topic_names={}, selected_topic=0)
        return {gene for gene, tick in zip(frame.index, figure.layout.yaxis.ticktext, strict=True) if "<b>" in tick}

    assert bold("all", []) == set(PANCREAS)
    assert bold("pancreas", ["Alpha cell"]) == set(PANCREAS[5:])
    assert bold("none", []) == set()


def test_cell_types_on_offer_are_those_of_the_tissue_with_markers_in_the_data(
    part: Callable[[str], ModuleType], pancreas_run: Run
) -> None:
    types, value, words = part("gene_heatmap").offer_types("pancreas", pancreas_run.id)
    assert {"Alpha cell", "Beta cell"} <= set(types)
    assert (value, words) == ([], None)
    assert part("gene_heatmap").offer_types("heart", pancreas_run.id)[0] == []


def test_ids_that_no_marker_matches_are_said_in_words_everywhere(
    part: Callable[[str], ModuleType], make_shown_run: MakeRun, result: ad.AnnData, words_in: Words
) -> None:
    run, ensembl = make_shown_run(), result.copy()
    ensembl.var_names = [f"ENSMUSG{number:011}" for number in range(result.n_vars)]
    run.write_result(ensembl)
    genes, naming = part("gene_heatmap"), part("naming")
    types, _, words = genes.offer_types("all", run.id)
    assert types == []
    assert "Hardly any gene" in words_in(words)
    assert "Hardly any gene" in genes.gene_frame(run.id, "known", 3, "all", [], None).attrs["reason"]
    assert len(genes.gene_frame(run.id, "leading", 3, "all", [], None))
    rows, words = naming.fill_table("names", {}, run.id)
    assert {row["suggestion"] for row in rows} == {""}
    assert "There are no suggestions" in words_in(words)
    assert naming.show_suggestion("0", {}, 1, run.id) == ("no name yet", {"display": "none"})


def test_another_grouping_takes_the_place_of_the_first_bar(part: Callable[[str], ModuleType]) -> None:
    group = part("cell_heatmaps").group_cells
    assert group("leiden", ["cell_type", "batch"]) == ["leiden", "batch"]
    assert group("batch", ["cell_type", "batch", "leiden"]) == ["batch", "leiden"]
    assert group("batch", []) == ["batch"]
    assert group("batch", ["batch", "leiden"]) is no_update


def test_a_run_without_labels_and_with_one_batch_shows_its_clusters(
    topics: ModuleType,
    part: Callable[[str], ModuleType],
    make_shown_run: MakeRun,
    result: ad.AnnData,
    find: Callable[..., Any],
) -> None:
    run, bare = make_shown_run(batch_key=None, label_key=None), result.copy()
    bare.obs = bare.obs[[keys.LEIDEN, keys.N_COUNTS]]
    run.write_result(bare)
    page = topics.layout(run=run.id)
    assert find(page, "topics-groupby").value == keys.LEIDEN
    assert find(page, "topics-bars").value == [keys.LEIDEN]
    assert len(part("cell_heatmaps").cell_frame(run.id, [keys.LEIDEN], 1500, None)) == N_CELLS


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_new_name_or_focus_sends_the_layout_of_a_heatmap_only(
    graph: str, app: Dash, callback_of: Callable[[str], Callable[..., Any]], topics: ModuleType
) -> None:
    choices = {
        "gene-topic-heatmap": ("leading", 2, "none", [], None),
        "topic-means-heatmap": ("cell_type", None),
        "cell-topic-heatmap": (["cell_type"], 1500, None),
    }[graph]
    drawn = callback_of(f"{graph}.figure")(DONE, {}, "2", *choices)
    assert np.asarray(heatmap_in(drawn).z).shape[1] == N_TOPICS
    again = next(name for name in app.callback_map if name.startswith(f"{graph}.figure@"))
    change = callback_of(again)(DONE, {"topic_2": "beta cells"}, "3", *choices)
    assert isinstance(change, Patch)
    (operation,) = change.to_plotly_json()["operations"]
    layout = operation["params"]["value"]
    assert operation["location"] == ["layout"]
    assert "2 beta cells" in layout["xaxis"]["ticktext"]
    assert layout["shapes"][0]["x0"] == list(heatmap_in(drawn).x).index("3") - 0.5


@pytest.mark.parametrize(
    ("graph", "choices", "module", "frame"),
    [
        ("topic-means-heatmap", ("cell_type", None), "cell_heatmaps", "mean_frame"),
        ("gene-topic-heatmap", ("leading", 2, "none", [], None), "gene_heatmap", "gene_frame"),
        ("cell-topic-heatmap", (["batch"], 1500, None), "cell_heatmaps", "cell_frame"),
    ],
)
def test_a_heatmap_comes_as_csv_with_its_numbers(
    graph: str, choices: tuple[Any, ...], module: str, frame: str, part: Callable[[str], ModuleType],
    csv_of: Callable[..., Any],
) -> None:  # fmt: skip
    assert csv_of(graph)(None, DONE, *choices) is no_update
    sent = csv_of(graph)(1, DONE, *choices)
    assert sent["filename"] == f"{DONE}-{graph}.csv"
    numbers = getattr(part(module), frame)(DONE, *choices)
    table = pd.read_csv(io.StringIO(sent["content"]))
    names = [keys.topic_name(topic) for topic in range(N_TOPICS)]
    np.testing.assert_allclose(table[names], numbers[names], rtol=1e-5)
    assert list(table.iloc[:, 0].astype(str)) == [str(name) for name in numbers.index.get_level_values(0)]


def test_all_genes_of_a_topic_come_as_csv_in_the_order_shown(result: ad.AnnData, csv_of: Callable[..., Any]) -> None:
    table = pd.read_csv(io.StringIO(csv_of("top-genes-bar")(1, "2", 0.3, DONE)["content"]))
    assert len(table) == result.n_vars
    assert table["relevance"].is_monotonic_decreasing
    cells = pd.read_csv(io.StringIO(csv_of("topic-umap")(1, "2", DONE)["content"]))
    np.testing.assert_allclose(cells["topic_2"], result.obsm[keys.THETA][:, 2], rtol=1e-5)


# ---- names ----------------------------------------------------------------------------------------------------------


def test_a_name_is_kept_with_the_run_and_an_empty_one_takes_it_away(
    part: Callable[[str], ModuleType], own_run: Run
) -> None:
    save = part("naming").save_name
    names = save("  beta   cells ", "2", {}, own_run.id)
    assert names == own_run.topic_names() == {"topic_2": "beta cells"}
    assert save("beta cells", "2", names, own_run.id) is no_update
    assert save(None, "2", names, own_run.id) == own_run.topic_names() == {}


def test_a_name_leaves_those_that_somebody_else_gave_meanwhile(part: Callable[[str], ModuleType], own_run: Run) -> None:
    own_run.write_topic_names({"topic_0": "given elsewhere"})
    assert part("naming").save_name("mine", "2", {}, own_run.id) == {"topic_0": "given elsewhere", "topic_2": "mine"}


def test_names_show_where_topics_are_chosen(part: Callable[[str], ModuleType]) -> None:
    naming = part("naming")
    options = [{"value": "0", "label": "topic 0"}, {"value": "2", "label": "topic 2 · old"}]
    named, picked = naming.label_topics({"topic_0": "new"}, options)
    assert [option["label"] for option in named] == ["topic 0 · new", "topic 2"]
    assert picked == named
    assert naming.show_name("0", {"topic_0": "new"}) == "new"
    assert naming.show_name("2", {"topic_0": "new"}) == ""


def test_markers_suggest_names_and_the_button_goes_once_it_is_taken(
    part: Callable[[str], ModuleType], pancreas_run: Run
) -> None:
    naming = part("naming")
    assert naming.show_suggestion("0", {}, 1, pancreas_run.id) == ("Beta cell", {})
    assert naming.use_suggestion(None, "0", pancreas_run.id) is no_update
    names = naming.use_suggestion(1, "0", pancreas_run.id)
    assert names == {"topic_0": "Beta cell"}
    assert naming.show_suggestion("0", names, 1, pancreas_run.id)[1] == {"display": "none"}
    assert naming.use_suggestion(1, "5", pancreas_run.id) is no_update  # nothing is suggested for it


def test_the_table_tells_what_speaks_for_each_name(part: Callable[[str], ModuleType], pancreas_run: Run) -> None:
    path = pancreas_run.table_path(keys.ENRICHMENT_FOLDER, "reactome")
    path.parent.mkdir()
    rows = {
        "topic": ["topic_1", "topic_1", "topic_2", "topic_3"],
        "gene_set": ["weaker", "BEST", "INSIGNIFICANT", "DEPLETED"],
        "nes": [1.2, 2.0, 2.0, -2.0],
        "q_value": [0.01, 0.01, 0.2, 0.01],
    }
    pd.DataFrame(rows).to_parquet(path)
    naming = part("naming")
    assert naming.fill_table(None, {}, pancreas_run.id) == (no_update, no_update)  # folded: nothing is worked out
    rows, words = naming.fill_table("names", {"topic_0": "mine"}, pancreas_run.id)
    assert words is None
    assert [row["name"] for row in rows] == ["mine"] + [""] * 5
    assert [row["suggestion"] for row in rows[:3]] == ["Beta cell", "Alpha cell", ""]
    assert set(rows[0]["markers"].split(", ")) == set(PANCREAS[:5])
    assert [row["gene_set"] for row in rows[:4]] == ["", "BEST (q .01)", "", ""]
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_names_typed_into_the_table_are_kept(part: Callable[[str], ModuleType], own_run: Run) -> None:
    naming = part("naming")
    cells = [{"rowId": "topic_3", "colId": "name", "value": "x" * 60}, {"rowId": "topic_1", "colId": "q", "value": "0"}]
    assert naming.save_cells(cells, own_run.id) == {"topic_3": "x" * 40}
    assert naming.save_cells([], own_run.id) is no_update


def test_all_suggestions_fill_empty_names_only_and_can_be_cleared(
    part: Callable[[str], ModuleType], pancreas_run: Run
) -> None:
    naming = part("naming")
    pancreas_run.write_topic_names({"topic_0": "mine"})
    assert naming.use_all_suggestions(None, pancreas_run.id) is no_update
    assert naming.use_all_suggestions(1, pancreas_run.id) == {"topic_0": "mine", "topic_1": "Alpha cell"}
    assert naming.ask_before_clearing(1)
    assert naming.clear_names(None, pancreas_run.id) is no_update
    assert naming.clear_names(1, pancreas_run.id) == pancreas_run.topic_names() == {}


@pytest.mark.parametrize(("q", "words"), [(0.012, ".012"), (0.0499, ".05"), (4.1e-15, "4e-15"), (0.0, "0e+00")])
def test_q_values_are_said_in_two_digits(q: float, words: str, part: Callable[[str], ModuleType]) -> None:
    assert part("known").q_in_words(q) == words
