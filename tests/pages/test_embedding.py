"""Does the page of genes and topics make its map, show it, and follow what is chosen on it?"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import no_update

from pages._shared import studio
from scetm_core import jobs, keys, liveness, tasks
from scetm_core.errors import ScetmError
from scetm_core.genesets import write_gmt
from scetm_core.jobfolder import Status
from scetm_core.joint_map import nearest_genes, nearest_topics
from scetm_core.runs import Run
from tests.pages.by_hand import N_GENES, N_TOPICS, planted_data, result_of

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
Find = Callable[[Any, Any], Any]

SETS = [f"REACTOME_SET_{number}" for number in range(4)]


@pytest.fixture
def embedding(page_module: PageModule) -> ModuleType:
    return page_module("embedding")


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[tasks.Task]:
    """Tasks that would have been given a process."""
    found: list[tasks.Task] = []
    monkeypatch.setattr(jobs, "spawn", lambda task, module: found.append(task))
    return found


@pytest.fixture
def run(make_shown_run: Callable[..., Run]) -> Run:
    """A finished run without a map."""
    run = make_shown_run(n_topics=N_TOPICS)
    run.write_result(result_of(planted_data(), run.config))
    return run


@pytest.fixture
def pathway_run(run: Run) -> Run:
    """The same with rho fixed to four gene sets."""
    result = run.load_result()
    result.uns[keys.UNS][keys.UNS_RHO_NAMES] = np.array(SETS)
    run.write_result(result)
    return run


def write_map(run: Run, points: str = "genes") -> pd.DataFrame:
    """A map as the worker writes it."""
    result, rng = run.load_result(), np.random.default_rng(0)
    names = list(result.var_names) if points == "genes" else SETS
    topics = [f"topic_{topic}" for topic in range(N_TOPICS)]
    xy = rng.normal(size=(len(names) + N_TOPICS, 2)).astype(np.float32)
    kinds = [points[:-1]] * len(names) + ["topic"] * N_TOPICS
    table = pd.DataFrame({"name": [*names, *topics], "kind": kinds, "x": xy[:, 0], "y": xy[:, 1]})
    path = run.table_path(keys.MAP_FOLDER, points)
    path.parent.mkdir(exist_ok=True)
    table.to_parquet(path)
    return table


def write_enrichment(run: Run, genes: list[str]) -> None:
    """One set of six genes, of which two lead topic 1."""
    table = pd.DataFrame(
        {"topic": ["topic_0", "topic_1"], "gene_set": "Insulin", "leading_edge": ["", f"{genes[0]};{genes[3]}"]}
    )
    path = run.table_path(keys.ENRICHMENT_FOLDER, "mine")
    path.parent.mkdir(exist_ok=True)
    table.to_parquet(path)
    write_gmt({"Insulin": genes}, path.with_suffix(".gmt"))


def draw(embedding: ModuleType, run: Run, **changes: Any) -> tuple[Any, ...]:
    """Figure, legend, neighbourhood and sentence."""
    fields = {"points": "genes", "topic": "1", "n": 5, "source": None, "set": None, "typed": "", "point": None}
    return embedding.draw_map("stamp", True, True, run.id, *{**fields, **changes}.values())


def members(figure: Any, beginning: str, names: Any) -> set[str]:
    """Names of the points of a trace."""
    (trace,) = [trace for trace in figure.data if trace.name.startswith(beginning)]
    return {names[row] for row in trace.customdata}


# ---- working out the map ------------------------------------------------------------------------------------------


def test_the_first_visit_asks_for_the_map(
    embedding: ModuleType, run: Run, spawned: list[tasks.Task], triggered: Trigger
) -> None:
    with triggered("embedding-task-tick.disabled") as context:
        assert embedding.start_or_offer(True, "genes", None, run.id) == {"display": "none"}
    (task,) = spawned
    assert (task.name, task.request.points) == ("genes", "genes")
    assert context.updated_props == {"embedding-task-tick": {"disabled": False}}
    with triggered("embedding-task-tick.disabled"):
        embedding.start_or_offer(True, "genes", None, run.id)
        embedding.start_or_offer(False, "genes", None, run.id)
    assert len(spawned) == 1  # it is at work


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_map_that_was_begun_and_not_finished_is_offered(
    state: str, embedding: ModuleType, run: Run, spawned: list[tasks.Task], triggered: Trigger
) -> None:
    tasks.ask(run, "genes", embedding.MapRequest(points="genes")).write_status(Status(state=state, finished_at=2e9))
    with triggered("embedding-task-tick.disabled"):
        assert embedding.start_or_offer(True, "genes", None, run.id) == {}
    assert len(spawned) == 1
    with triggered("embedding-start.n_clicks"):
        assert embedding.start_or_offer(True, "genes", 1, run.id) == {"display": "none"}
    assert len(spawned) == 2


def test_a_map_whose_worker_is_lost_is_offered_though_it_is_looked_at(
    embedding: ModuleType, run: Run, spawned: list[tasks.Task], triggered: Trigger
) -> None:
    task = tasks.ask(run, "genes", embedding.MapRequest(points="genes"))
    gone = {**liveness.identity(), "pid_started": 1.0, "pid_key": ""}
    task.write_status(Status(**{"state": "running", "queued_at": 2e9, **gone}))
    with triggered("embedding-task-tick.disabled"):
        assert embedding.start_or_offer(False, "genes", None, run.id) == {}
    assert len(spawned) == 1


def test_a_map_is_worked_out_anew_once_the_result_has_changed(
    embedding: ModuleType, run: Run, spawned: list[tasks.Task], triggered: Trigger
) -> None:
    write_map(run)
    with triggered("embedding-task-tick.disabled"):
        embedding.start_or_offer(True, "genes", None, run.id)
        assert spawned == []
        later = run.table_path(keys.MAP_FOLDER, "genes").stat().st_mtime + 10
        os.utime(run.result_path, (later, later))
        embedding.start_or_offer(True, "genes", None, run.id)
    assert len(spawned) == 1


def test_until_there_is_a_map_the_figures_say_so_and_the_tables_stand(
    embedding: ModuleType, run: Run, words_of_figure: Words
) -> None:
    figure, legend, zoom, _ = draw(embedding, run)
    assert "no map yet" in words_of_figure(figure)
    assert "no map yet" in words_of_figure(zoom)
    assert legend is None
    assert embedding.list_points("1", "genes", run.id)[0]
    with pytest.raises(ScetmError, match="no map yet"):
        embedding.map_csv(run.id, "genes", "1", 5, None, None, "", None)


# ---- the map ------------------------------------------------------------------------------------------------------


def test_genes_topics_and_leading_genes_are_on_the_map(embedding: ModuleType, run: Run, words_in: Words) -> None:
    table, result = write_map(run), run.load_result()
    figure, legend, zoom, said = draw(embedding, run)
    assert members(figure, "Genes (30)", table["name"]) == set(result.var_names)
    assert members(figure, "Topics (5)", table["name"]) | members(figure, "Topic 1", table["name"]) == {
        f"topic_{topic}" for topic in range(N_TOPICS)
    }
    leading = result.var_names[np.argsort(-result.varm[keys.BETA][:, 1])[:5]]
    assert members(figure, "Leading genes of topic 1 (5)", table["name"]) == set(leading)
    assert "Leading genes of topic 1 (5)" in words_in(legend)
    assert "<b>topic 1</b>" in [note.text for note in zoom.layout.annotations]
    assert len(figure.layout.shapes) == 1
    assert said == ""


def test_a_gene_set_is_coloured_and_its_leading_edge_apart(embedding: ModuleType, run: Run) -> None:
    table, genes = write_map(run), list(run.load_result().var_names[:6])
    write_enrichment(run, genes)
    figure, *_ = draw(embedding, run, source="mine", set="Insulin")
    assert members(figure, "Insulin (6)", table["name"]) == set(genes)
    assert members(figure, "its leading edge in topic 1 (2)", table["name"]) == {genes[0], genes[3]}
    elsewhere, *_ = draw(embedding, run, topic="0", source="mine", set="Insulin")
    assert not [trace for trace in elsewhere.data if "leading edge" in trace.name]


def test_the_markers_of_cell_types_can_be_highlighted(
    embedding: ModuleType, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._embedding import highlights

    table, genes = write_map(run), list(run.load_result().var_names)
    assert highlights.sources_of(run, run.load_result()) == {}  # genes of other names
    monkeypatch.setattr(highlights, "load_markers", lambda: {"Beta cell": [gene.upper() for gene in genes[:3]]})
    highlights._matched_markers.cache_clear()
    assert highlights.sources_of(run, run.load_result()) == {"Cell type markers": "Cell type markers"}
    figure, *_ = draw(embedding, run, source="Cell type markers", set="Beta cell")
    assert members(figure, "Beta cell (3)", table["name"]) == set(genes[:3])
    highlights._matched_markers.cache_clear()


def test_pasted_genes_are_found_in_any_letter_case_and_the_others_named(embedding: ModuleType, run: Run) -> None:
    table, genes = write_map(run), list(run.load_result().var_names)
    typed = f"{genes[4].upper()}, {genes[7]};\n nobody {genes[9].lower()}\tno<one>,,"
    figure, _, _, said = draw(embedding, run, typed=typed)
    assert members(figure, "Searched (3)", table["name"]) == {genes[4], genes[7], genes[9]}
    assert said == "3 genes found. Not among the genes of this run: nobody, no<one>."
    assert draw(embedding, run, typed=" ,\n")[3] == ""
    many = " ".join(f"x{number}" for number in range(30))
    assert draw(embedding, run, typed=many)[3].endswith("and 22 more.")


def test_genes_without_a_place_are_counted(embedding: ModuleType, run: Run) -> None:
    result = run.load_result()
    result.varm[keys.RHO][:7] = 0
    run.write_result(result)
    write_map(run)
    assert "7 genes have an embedding of zeros" in draw(embedding, run)[3]
    rows, title, link = embedding.list_topics(str(result.var_names[0]), "genes", run.id)
    assert rows == []
    assert str(result.var_names[0]) in title
    assert link is not None


@pytest.mark.parametrize("n", [None, "", 0, 10_000])
def test_any_number_of_leading_genes_can_be_typed(n: Any, embedding: ModuleType, run: Run) -> None:
    write_map(run)
    figure, *_ = draw(embedding, run, n=n)
    assert len(figure.data[0].x) == N_GENES


def test_genes_named_by_ids_are_found_and_shown_by_symbol(embedding: ModuleType, run: Run) -> None:
    result = run.load_result()
    result.var["symbol"] = ["Ins1", *([""] * (N_GENES - 1))]
    run.write_result(result)
    table, gene = write_map(run), str(result.var_names[0])
    figure, _, _, said = draw(embedding, run, typed="INS1")
    assert members(figure, "Searched (1)", table["name"]) == {gene}
    assert "Ins1" in figure.data[0].text
    assert said == "1 gene found."
    assert embedding.offer_points("", gene, "genes", run.id)[0] == {"value": gene, "label": f"Ins1 · {gene}"}


# ---- choosing -----------------------------------------------------------------------------------------------------


def click(embedding: ModuleType, triggered: Trigger, run: Run, where: str, what: Any, points: str = "genes") -> Any:
    """What a click makes of topic, point and the choices of a point."""
    sources = ["joint-umap", "joint-umap-zoom", "embedding-near-topic", "embedding-near-point"]
    given = [what if source == where else None for source in sources]
    with triggered(f"{where}.{'clickData' if where.startswith('joint') else 'cellClicked'}"):
        return embedding.choose_clicked(*given, points, run.id)


def point(row: int) -> dict[str, Any]:
    return {"points": [{"customdata": row}]}


@pytest.mark.parametrize("graph", ["joint-umap", "joint-umap-zoom"])
def test_a_click_on_a_topic_focuses_it_and_one_on_a_gene_chooses_it(
    graph: str, embedding: ModuleType, run: Run, triggered: Trigger
) -> None:
    table = write_map(run)
    assert click(embedding, triggered, run, graph, point(N_GENES + 4)) == ("4", no_update, no_update)
    topic, gene, choices = click(embedding, triggered, run, graph, point(7))
    assert (topic, gene) == (no_update, table["name"][7])
    assert choices[0]["value"] == gene
    for odd in ({"points": [{}]}, point(9999), point(-1)):
        assert click(embedding, triggered, run, graph, odd) == (no_update, no_update, no_update)


def test_a_click_on_a_row_of_a_table_does_the_same(embedding: ModuleType, run: Run, triggered: Trigger) -> None:
    gene = str(run.load_result().var_names[3])
    assert click(embedding, triggered, run, "embedding-near-topic", {"rowId": gene})[1] == gene
    assert click(embedding, triggered, run, "embedding-near-point", {"rowId": "topic_2"})[0] == "2"


def test_the_tables_list_the_nearest_by_cosine(
    embedding: ModuleType, run: Run, components_in: Callable[..., Any]
) -> None:
    result = run.load_result()
    run.write_topic_names({"topic_2": "beta cells"})
    rows, title = embedding.list_points("2", "genes", run.id)
    expected = nearest_genes(result, 2, 50)
    assert [row["name"] for row in rows] == list(expected["name"])
    assert [row["cosine"] for row in rows] == pytest.approx(list(expected["cosine"]), abs=1e-4)
    assert title == "Nearest genes of topic 2 · beta cells"
    gene = str(result.var_names[5])
    rows, title, link = embedding.list_topics(gene, "genes", run.id)
    assert [row["name"] for row in rows] == list(nearest_topics(result, gene, 50)["name"])
    assert {row["label"] for row in rows} >= {"topic 2 · beta cells", "topic 0"}
    assert title == f"Nearest topics of {gene}"
    assert link.href == f"/cells?run={run.id}&color={gene}"
    for odd in (None, "nobody"):
        assert embedding.list_topics(odd, "genes", run.id) == ([], "Nearest topics of a gene", None)


def test_the_url_chooses_topic_set_and_gene(embedding: ModuleType, run: Run, find: Find) -> None:
    genes = list(run.load_result().var_names[:6])
    write_enrichment(run, genes)
    page = embedding.layout(run=run.id, topic="3", sets="mine", set="Insulin", gene=genes[2])
    chosen = {name: find(page, f"embedding-{name}").value for name in ("topic", "sets", "set", "point")}
    assert chosen == {"topic": "3", "sets": "mine", "set": "Insulin", "point": genes[2]}
    odd = embedding.layout(run=run.id, topic="99", sets="../x", set="nobody", gene="nobody")
    assert (find(odd, "embedding-set").value, find(odd, "embedding-point").value) == (None, None)


def test_where_there_are_no_gene_sets_the_page_leads_to_them(embedding: ModuleType, run: Run, words_in: Words) -> None:
    assert "Compare with gene sets" in words_in(embedding.layout(run=run.id))


def test_another_source_offers_its_sets(embedding: ModuleType, run: Run) -> None:
    write_enrichment(run, list(run.load_result().var_names[:6]))
    assert embedding.offer_sets("mine", "Insulin", run.id) == ([{"value": "Insulin", "label": "Insulin"}], "Insulin")
    assert embedding.offer_sets(None, "Insulin", run.id) == ([], None)


# ---- gene sets as points ------------------------------------------------------------------------------------------


def test_only_a_pathway_model_offers_gene_sets_as_points(
    embedding: ModuleType, run: Run, find: Find, pathway_run: Run
) -> None:
    assert find(embedding.layout(run=pathway_run.id), "embedding-points").style == {}
    result = run.load_result()
    del result.uns[keys.UNS][keys.UNS_RHO_NAMES]
    run.write_result(result)
    page = embedding.layout(run=run.id, points="sets")
    assert find(page, "embedding-points").style == {"display": "none"}
    assert find(page, "embedding-points").value == "genes"


def test_gene_sets_are_points_of_their_own_map(
    embedding: ModuleType, pathway_run: Run, find: Find, triggered: Trigger
) -> None:
    run, table = pathway_run, write_map(pathway_run, "sets")
    figure, _, _, said = draw(embedding, run, points="sets", n=2, typed="set 3, nothing like it", point=SETS[0])
    assert members(figure, "Gene sets (4)", table["name"]) == set(SETS)
    leading = np.argsort(-run.load_result().uns[keys.ALPHA][1])[:2]
    assert members(figure, "Leading gene sets of topic 1 (2)", table["name"]) == {SETS[place] for place in leading}
    assert members(figure, "Searched (1)", table["name"]) == {SETS[3]}
    assert members(figure, "Chosen (1)", table["name"]) == {SETS[0]}
    assert said == "1 gene set found. Not among the gene sets of this run: nothing like it."
    assert click(embedding, triggered, run, "joint-umap", point(2), "sets")[1] == SETS[2]
    assert {row["name"] for row in embedding.list_points("0", "sets", run.id)[0]} == set(SETS)
    assert embedding.list_topics(SETS[1], "sets", run.id)[2].href == f"/pathways?run={run.id}&set={SETS[1]}"
    page = embedding.layout(run=run.id, points="sets", set=SETS[2])
    assert find(page, "embedding-point").value == SETS[2]
    switched = embedding.switch_points("sets", run.id)
    assert switched[0] is None
    assert [choice["value"] for choice in switched[1]] == SETS


# ---- tables as files ----------------------------------------------------------------------------------------------


def test_the_map_and_its_part_leave_as_tables(
    embedding: ModuleType, run: Run, csv_of: Callable[[str], Callable[..., Any]]
) -> None:
    table = write_map(run)
    fields = ("genes", "1", 5, None, None, str(run.load_result().var_names[2]), None)
    sent = csv_of("joint-umap")(1, run.id, *fields)
    whole = pd.read_csv(io.StringIO(sent["content"]), index_col="name")
    assert list(whole.index) == list(table["name"])
    np.testing.assert_allclose(whole["x"], table["x"], rtol=1e-5)
    assert whole["Leading genes of topic 1"].sum() == 5
    assert whole["Searched"].sum() == 1
    part = pd.read_csv(io.StringIO(csv_of("joint-umap-zoom")(1, run.id, *fields)["content"]), index_col="name")
    assert "topic_1" in part.index
    assert set(part.index) <= set(whole.index)
    assert csv_of("joint-umap")(None, run.id, *fields) is no_update


def test_the_result_is_shared_and_never_changed(embedding: ModuleType, run: Run) -> None:
    write_map(run)
    before: ad.AnnData = studio.load_result(run.id).copy()
    draw(embedding, run, typed="x", point=str(before.var_names[0]))
    after = studio.load_result(run.id)
    np.testing.assert_array_equal(after.varm[keys.RHO], before.varm[keys.RHO])
    assert studio.load_table(run.id, keys.MAP_FOLDER, "genes").columns.tolist() == ["name", "kind", "x", "y"]  # type: ignore[union-attr]
