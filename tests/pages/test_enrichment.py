"""Does the enrichment page start tests and show them? Are gene sets chosen, and added, in one place?"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import Dash, no_update

from pages._shared import gene_sets, studio
from scetm_core import keys, tasks
from scetm_core.answers import answer
from scetm_core.enrichment import enrichment_score
from scetm_core.errors import DataError
from scetm_core.requests import EnrichmentRequest
from scetm_core.runs import Run
from tests.pages.by_hand import DONE, N_TOPICS

KIND = keys.ENRICHMENT_FOLDER
NAME = "planted"
Trigger = Callable[..., Any]


@pytest.fixture
def enrichment(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("enrichment")


@pytest.fixture
def stamp(app: Dash, tmp_path: Path) -> str:
    """Of a table of four planted sets."""
    run = studio.open_run(DONE)
    if not studio.table_stamp(run, KIND, NAME):
        genes = list(studio.load_result(DONE).var_names)
        gmt = tmp_path / "planted.gmt"
        gmt.write_text("".join(f"SET_{s}\t\t" + "\t".join(genes[s : s + 8]) + "\n" for s in range(0, 22, 6)))
        request = EnrichmentRequest(gene_sets=str(gmt), n_permutations=200)
        answer(run, NAME, request, on_progress=lambda share, message: None)
    return studio.table_stamp(run, KIND, NAME)


def test_the_page_begins_with_the_built_in_sets_and_the_strongest_topic(
    enrichment: ModuleType, stamp: str, find: Any
) -> None:
    page = enrichment.layout(run=DONE)
    assert find(page, "enrichment-source").value == "Reactome"
    offered = {option["value"] for option in find(page, "enrichment-source").data}
    assert {"Reactome", "Cell type markers", NAME} <= offered
    asked = enrichment.layout(run=DONE, topic="2", sets=NAME, set="SET_6")
    assert find(asked, "enrichment-source").value == NAME
    assert find(asked, "enrichment-topic").value == "2"
    assert find(asked, "enrichment-set").data == "SET_6"


def test_what_was_matched_and_tested_is_said(enrichment: ModuleType, stamp: str, words_in: Any) -> None:
    before, after, said, button = enrichment.show_or_hide(stamp, NAME, DONE)
    assert (before, after, button) == ({"display": "none"}, {}, "Test again")
    assert "4 sets, 4 kept" in words_in(said)
    assert f"{4 * N_TOPICS} tests of {N_TOPICS} topics, 200 draws" in words_in(said)
    assert enrichment.show_or_hide("", "Reactome", DONE) == ({}, {"display": "none"}, None, "Test")


def test_manhattan_and_table_show_the_tests(enrichment: ModuleType, stamp: str, triggered: Trigger) -> None:
    assert enrichment.draw_manhattan("", "0", None, NAME, DONE) is no_update
    assert enrichment.draw_manhattan(stamp, "0", None, NAME, DONE).data
    table = studio.load_table(DONE, KIND, NAME)
    with triggered("enrichment-view.value"):
        for view, expected in (("topic", 4), ("set", N_TOPICS), ("all", 4 * N_TOPICS)):
            rows, cut = enrichment.fill_table(stamp, "1", "SET_6", view, "", NAME, DONE)
            assert len(rows) == expected
            assert cut == f"{expected} tests"
        assert {row["topic"] for row in enrichment.fill_table(stamp, "1", None, "topic", "", NAME, DONE)[0]} == {
            "topic_1"
        }
        rows, _ = enrichment.fill_table(stamp, "1", None, "all", "set 12", NAME, DONE)
    assert {row["gene_set"] for row in rows} == {"SET_12"}
    by_id = table.set_index(table["topic"] + "|" + table["gene_set"])
    np.testing.assert_allclose([row["nes"] for row in rows], by_id.loc[[row["id"] for row in rows], "nes"])


def test_choosing_a_row_does_not_fill_the_table_anew(enrichment: ModuleType, stamp: str, triggered: Trigger) -> None:
    with triggered("enrichment-set.data"):
        assert enrichment.fill_table(stamp, "1", "SET_6", "topic", "", NAME, DONE) == (no_update, no_update)
        assert enrichment.fill_table(stamp, "1", "SET_6", "set", "", NAME, DONE)[0]


def test_the_running_sum_is_that_of_the_test(
    enrichment: ModuleType, stamp: str, words_in: Any, components_in: Callable[..., Any]
) -> None:
    table = studio.load_table(DONE, KIND, NAME)
    row = table[(table["topic"] == "topic_1") & (table["gene_set"] == "SET_6")].iloc[0]
    figure, verdict, edge = enrichment.draw_focus(stamp, "1", "SET_6", NAME, DONE)
    sums = np.asarray(figure.data[0].y)
    assert sums[np.abs(sums).argmax()] == pytest.approx(row["es"])
    assert [entry["gene"] for entry in edge] == row["leading_edge"].split(";")
    beta = enrichment.ranked(DONE, "1")
    assert [entry["rank"] for entry in edge] == [beta.index.get_loc(entry["gene"]) + 1 for entry in edge]
    hits = enrichment.hits_of(DONE, NAME, "SET_6", beta)
    assert enrichment_score(beta.to_numpy(), hits) == pytest.approx(row["es"])
    assert f"q = {row['q_value']:.2g}" in words_in(verdict)
    hrefs = [node.href for node in components_in(verdict) if hasattr(node, "href")]
    assert f"/embedding?run={DONE}&topic=1&set=SET_6&sets={NAME}" in hrefs


def test_without_a_set_the_best_of_the_topic_is_shown(enrichment: ModuleType, stamp: str) -> None:
    table = studio.load_table(DONE, KIND, NAME)
    for gene_set in (None, "no such set"):
        row = enrichment.focus_of(table, "3", gene_set)
        assert row["p_value"] == table[table["topic"] == "topic_3"]["p_value"].min()
    assert enrichment.focus_of(table, "99", None) is None


def test_a_click_looks_at_its_test(enrichment: ModuleType, stamp: str, triggered: Trigger) -> None:
    table = studio.load_table(DONE, KIND, NAME)
    with triggered("gsea-manhattan.clickData"):
        topic, gene_set = enrichment.focus_clicked({"points": [{"customdata": 5}]}, None, NAME, DONE)
        assert (f"topic_{topic}", gene_set) == (table["topic"].iloc[5], table["gene_set"].iloc[5])
        assert enrichment.focus_clicked({"points": [{"x": 1}]}, None, NAME, DONE) == (no_update, no_update)
    with triggered("enrichment-table.selectedRows"):
        rows = [{"topic": "topic_4", "gene_set": "SET_0"}]
        assert enrichment.focus_clicked(None, rows, NAME, DONE) == ("4", "SET_0")


def test_the_running_sum_comes_as_csv_gene_by_gene(enrichment: ModuleType, stamp: str) -> None:
    sent = enrichment.download_curve(1, DONE, NAME, "1", "SET_6")
    curve = pd.read_csv(io.StringIO(sent["content"]))
    assert len(curve) == studio.load_result(DONE).n_vars
    assert curve["in_set"].sum() == 8
    assert curve["running_sum"].iloc[-1] == pytest.approx(0, abs=1e-9)


FIELDS = [{"name": "n_permutations"}, {"name": "refine_to"}, {"name": "min_size"}]


def test_the_button_asks_for_the_chosen_sets(
    enrichment: ModuleType, app: Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "ask", lambda run, name, request: asked.append((run.id, name, request)))
    tick, errors = enrichment.start_test(1, "Reactome", FIELDS, [500, 10_000, 5], DONE)
    assert tick is False
    assert errors == [None, None, None]
    ((run_id, name, request),) = asked
    assert (run_id, name, request.n_permutations, request.refine_to) == (DONE, "Reactome", 500, 10_000)
    assert Path(request.gene_sets).is_file()
    tick, errors = enrichment.start_test(1, "Reactome", FIELDS, [1, 0, 5], DONE)
    assert tick is no_update
    assert "at least 10" in errors[0]
    assert len(asked) == 1


def test_sets_whose_file_is_gone_are_said(enrichment: ModuleType, app: Dash) -> None:
    with pytest.raises(DataError, match="not there any more"):
        enrichment.path_of(DONE, "never there")


# ---- gene sets ----------------------------------------------------------------------------------------------------


def test_files_of_the_apps_folders_can_be_chosen_and_data_tables_cannot(
    own_studio: studio.Studio, make_shown_run: Callable[..., Run]
) -> None:
    folder = own_studio.gene_sets_folder
    (folder / "mine.gmt").write_text("A\t\tG1\tG2\n")
    (folder / "markers.tsv").write_text("cell type\tgene\nbeta\tINS\n")
    (own_studio.uploads_folder / "counts.csv").write_text("cell,g1\nc,1\n")
    (own_studio.uploads_folder / "other.gmt").write_text("B\t\tG1\tG2\n")
    found = {source.name: source for source in gene_sets.sources(make_shown_run())}
    assert set(found) == {"Reactome", "Cell type markers", "mine", "markers", "other"}
    assert found["mine"].label == "mine.gmt"
    assert "markers.tsv" not in {file.name for file in own_studio.data_files()}
    assert "counts.csv" in {file.name for file in own_studio.data_files()}


def test_files_of_one_name_are_told_apart(own_studio: studio.Studio) -> None:
    folder = own_studio.gene_sets_folder
    (folder / "reactome.gmt").write_text("MINE\t\tG1\tG2\n")  # called as the built-in sets are, but for a capital
    (folder / "panel.csv").write_text("cell type,gene\nbeta,INS\n")
    (folder / "panel.tsv").write_text("cell type\tgene\nalpha\tGCG\n")
    found = {source.label: source for source in gene_sets.sources()}
    names = [source.name.lower() for source in found.values()]
    assert len(set(names)) == len(names) == 5
    assert found["Reactome (built in, human)"].name == "Reactome"
    for file in ("reactome.gmt", "panel.csv", "panel.tsv"):
        assert found[file].path == folder / file
        assert gene_sets.find_source(found[file].name) == found[file]


def test_what_is_uploaded_is_what_is_chosen(app: Dash, own_studio: studio.Studio, triggered: Trigger) -> None:
    assert post(app, "Reactome.gmt", b"MINE\t\tG1\tG2\n").status_code == 200
    with triggered("uploaded-gene-sets.data"):
        name, _ = gene_sets.take_upload("gene-sets/Reactome.gmt")
    chosen = gene_sets.find_source(name)
    assert chosen is not None
    assert chosen.path == own_studio.gene_sets_folder / "Reactome.gmt"


def test_tests_of_another_file_are_not_passed_off_as_those_of_the_chosen_one(
    enrichment: ModuleType, own_studio: studio.Studio, tmp_path: Path
) -> None:
    (own_studio.gene_sets_folder / "mine.gmt").write_text("A\t\tG1\tG2\n")
    mine, built_in = gene_sets.find_source("mine"), gene_sets.find_source("Reactome")
    assert "not of the file chosen now" in enrichment.made_elsewhere(str(tmp_path / "mine.gmt"), mine)
    assert enrichment.made_elsewhere(str(mine.path), mine) == ""
    assert enrichment.made_elsewhere(f"/another/machine/{built_in.path.name}", built_in) == ""
    assert "not of the file" in enrichment.made_elsewhere("/elsewhere/own.gmt", built_in)


def test_gene_sets_among_the_data_are_kept_and_said(app: Dash, own_studio: studio.Studio) -> None:
    answer_ = post(app, "mine.gmt", b"A\t\tG1\tG2\n", kind="")
    assert answer_.status_code == 200
    assert "ref" not in answer_.json  # the data page has no report on them
    assert "mine.gmt holds gene sets" in answer_.json["note"]
    assert [path.name for path in own_studio.gene_sets_folder.iterdir()] == ["mine.gmt"]
    assert post(app, "bad.gmt", b"no tabs here", kind="").status_code == 400


def post(app: Dash, name: str, content: bytes, kind: str = "gene-sets") -> Any:
    return app.server.test_client().post(f"/upload?name={name}&kind={kind}", data=content)


def test_gene_sets_and_marker_tables_can_be_uploaded(app: Dash, own_studio: studio.Studio, triggered: Trigger) -> None:
    answer_ = post(app, "mine.gmt", b"A\t\tG1\tG2\n")
    assert (answer_.status_code, answer_.json) == (200, {"ref": "gene-sets/mine.gmt"})
    assert (own_studio.gene_sets_folder / "mine.gmt").read_bytes() == b"A\t\tG1\tG2\n"
    assert post(app, "panel.csv", b"cell type,gene\nbeta,INS\nbeta,IAPP\n").status_code == 200
    with triggered("uploaded-gene-sets.data") as context:
        assert gene_sets.take_upload("gene-sets/panel.csv") == ("panel", False)
    assert "panel.csv: 1 gene sets" in str(context.updated_props)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.h5ad", b"data", "ending that cannot be read"),
        ("x.gmt", b"no tabs here", "x.gmt"),
        ("x.csv", b"a,b,c\n1,2,3\n", "x.csv"),
        ("../x.gmt", b"A\t\tG1\n", "cannot be a file name"),
        ("x.gmt", b"", "empty"),
    ],
)
def test_what_are_no_gene_sets_is_refused_in_words(
    name: str, content: bytes, words: str, app: Dash, own_studio: studio.Studio
) -> None:
    answer_ = post(app, name, content)
    assert answer_.status_code == 400
    assert words in answer_.json["error"]
    assert ".draft" not in answer_.json["error"]
    assert list(own_studio.gene_sets_folder.iterdir()) == []


def test_a_library_is_fetched_only_on_a_click_and_offline_is_said(
    app: Dash, own_studio: studio.Studio, monkeypatch: pytest.MonkeyPatch, words_in: Any
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise DataError("The gene-set libraries were not reached.")

    monkeypatch.setattr(gene_sets, "list_libraries", unreachable)
    monkeypatch.setattr(gene_sets, "fetch_library", unreachable)
    assert gene_sets.show_libraries(None, "Human") == (no_update, no_update)
    assert gene_sets.fetch(None, "GO", "Human")[0] is no_update
    assert "not reached" in words_in(gene_sets.show_libraries(1, "Human")[1])
    assert "not reached" in words_in(gene_sets.fetch(1, "GO", "Human")[2])
    assert "pick one" in words_in(gene_sets.fetch(1, None, "Human")[2])
    fetched = own_studio.gene_sets_folder / "GO_2023.human.gmt"
    fetched.write_text("A\t\tG1\tG2\n")
    monkeypatch.setattr(gene_sets, "fetch_library", lambda name, folder, organism: fetched)
    assert gene_sets.fetch(1, "GO_2023", "Human") == ("GO_2023.human", False, None)


def test_what_was_added_is_offered_and_chosen(enrichment: ModuleType, app: Dash) -> None:
    options, chosen = enrichment.choose_added("Cell type markers", DONE)
    assert chosen == "Cell type markers"
    assert chosen in {option["value"] for option in options}
    assert enrichment.choose_added(None, DONE) == (no_update, no_update)
