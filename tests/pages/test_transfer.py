"""Does the page of a transfer ask for what it needs, and show source and target truly?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import no_update
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core import jobs, keys, liveness
from scetm_core.config import DataConfig, RunConfig, TransferConfig, run_config_from_flat
from scetm_core.data.simulate import simulate
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, DONE, N_CELLS, N_TOPICS, finish, planted_data, result_of

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
SOURCE, TRANSFER = "source-run", "transfer-run"


@pytest.fixture
def page(page_module: PageModule) -> ModuleType:
    return page_module("transfer")


@pytest.fixture
def source(own_studio: Studio, data_dir: Path) -> Run:
    """A finished run in the test's own home."""
    config = run_config_from_flat({"name": "mouse", "path": str(data_dir / "planted.h5ad"), **COLUMNS, "n_topics": 6})
    run = Run.create(own_studio.runs_folder / SOURCE, config)
    finish(run, result_of(planted_data(), config))
    return run


def transferred(config: RunConfig) -> ad.AnnData:
    """A result as a transfer leaves it: 40 other cells, a quarter of them flagged."""
    data = simulate(n_cells=40, n_genes=30, n_topics=N_TOPICS, n_emb=4, median_counts=400, seed=3)
    data.obs_names = [f"new {number}" for number in range(40)]
    result = ad.AnnData(obs=data.obs.copy(), var=data.var[[]].copy())
    delta = np.asarray(data.obsm["true_delta"], dtype=np.float32)
    result.obsm[keys.DELTA] = result.obsm[keys.X_SCETM] = delta
    result.obsm[keys.THETA] = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    result.obsm[keys.X_UMAP] = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    result.varm[keys.BETA] = np.asarray(data.varm["true_beta"], dtype=np.float32)
    names = planted_data().obs["cell_type"].cat.categories
    result.obs[keys.TRANSFERRED_LABEL] = pd.Categorical.from_codes(np.arange(40) % 3, categories=names)
    result.obs[keys.TRANSFER_CONFIDENCE] = np.linspace(0.2, 1, 40).astype(np.float32)
    result.obs[keys.UNLIKE_SOURCE] = np.arange(40) % 4 == 0
    result.obs[keys.LEIDEN] = pd.Categorical(np.repeat(["0", "1"], 20))
    result.var[keys.TARGET_GENE], result.var[keys.WAY] = list(result.var_names), "exact"
    result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), keys.UNS_BATCHES: np.array(["b0", "b1"])}
    return result


@pytest.fixture
def transfer(own_studio: Studio, source: Run, data_dir: Path) -> Run:
    """A finished transfer of that run."""
    config = dataclasses.replace(
        source.config,
        name="mouse on others",
        data=DataConfig(path=str(data_dir / "planted.h5ad"), **COLUMNS),
        transfer=TransferConfig(source_run=SOURCE),
    )
    run = Run.create(own_studio.runs_folder / TRANSFER, config)
    finish(run, transferred(config))
    run.write_evaluation({"best_ari": 0.9, "kbet": 0.5, "label_accuracy": 0.75, "share_unlike_source": 0.25})
    genes = {"sentences": ["29 of the model's 30 genes are in the target."], "warnings": ["Only 40% is covered."]}
    run.write_transfer({"genes": genes, "sentences": ["Nothing was learnt from the target."]})
    return run


def test_a_trained_run_is_asked_where_to_apply_it(page: ModuleType, words_in: Words) -> None:
    text = words_in(page.layout(run=DONE))
    for words in ("Cells to apply it to", "Learn from the target", "Orthologs", "Transfer", "Do the genes fit?"):
        assert words in text


def test_a_run_without_a_model_is_refused_in_words_before_anything_is_made(page: ModuleType, words_in: Words) -> None:
    from pages._transfer import form

    said, is_disabled, _ = form.show_report("lab/planted.h5ad", ["x"], [form.field_id("name")], DONE)
    assert is_disabled
    assert "has no trained model yet" in words_in(said)


def test_the_form_says_what_is_wrong_beside_the_field(page: ModuleType, source: Run, words_in: Words) -> None:
    from pages._transfer import form

    fields = [form.field_id("false_positive_rate"), form.field_id("name")]
    said, is_disabled, errors = form.show_report("lab/planted.h5ad", [0.9, "x"], fields, SOURCE)
    assert is_disabled
    assert "must be at least 0.001, at most 0.5" in errors[0]
    assert errors[1] is None
    assert errors[0] in words_in(said)


def test_nothing_can_be_started_before_the_columns_are_offered(page: ModuleType, source: Run) -> None:
    from pages._transfer import form

    assert form.show_report("lab/planted.h5ad", ["auto"], [form.field_id("orthologs")], SOURCE)[:2] == (no_update, True)


def test_the_form_becomes_a_transfer_of_this_run(page: ModuleType, source: Run, own_studio: Studio) -> None:
    from pages._transfer import form

    (own_studio.names_folder / "mine.csv").write_text("source,target\nA,B\n")
    typed = {
        "name": "mine", "batch_key": "batch", "layer": "X", "fine_tune": "encoder", "max_steps": 50.0,
        "orthologs": "gene-names/mine.csv", "learning_rate": 0.002,
    }  # fmt: skip
    config = form.read_form(source, "lab/planted.h5ad", typed)
    assert config.transfer == TransferConfig(
        source_run=SOURCE, fine_tune="encoder", orthologs=str(own_studio.names_folder / "mine.csv")
    )
    assert (config.data.batch_key, config.data.label_key, config.data.layer) == ("batch", None, None)
    assert (config.train.max_steps, config.train.learning_rate, config.train.mmd_weight) == (50, 0.002, 0)
    assert config.model == source.config.model


def test_a_click_makes_the_run_and_starts_it(
    page: ModuleType, source: Run, own_studio: Studio, monkeypatch: pytest.MonkeyPatch, triggered: Callable[..., Any]
) -> None:
    from pages._transfer import form

    started: list[str] = []
    monkeypatch.setattr(jobs, "start", lambda run, n_slots: started.append(run.id))
    fields, values = [form.field_id("name"), form.field_id("orthologs")], ["on others", "none"]
    with triggered(f"{form.SUBMIT}.n_clicks"):
        assert form.create_transfer(None, "lab/planted.h5ad", values, fields, SOURCE) is no_update
        href = form.create_transfer(1, "lab/planted.h5ad", values, fields, SOURCE)
    assert href == f"/transfer?run={started[0]}"
    run = studio.open_run(started[0])
    assert run.source.id == SOURCE
    assert run.status().max_steps == 0  # nothing is trained


def test_the_other_species_suggests_itself_for_the_demo_data(page: ModuleType, source: Run) -> None:
    from pages._transfer import form

    refs = ["demo/human_pancreas.h5ad", "demo/mouse_pancreas.h5ad", "lab/planted.h5ad"]
    assert form.suggested(source, refs) == "demo/human_pancreas.h5ad"
    assert form.suggested(source, ["lab/planted.h5ad"]) == "lab/planted.h5ad"


def test_an_uploaded_table_is_offered(page: ModuleType, source: Run, own_studio: Studio) -> None:
    from pages._transfer import form

    (own_studio.names_folder / "mine.csv").write_text("a,b\nA,B\n")
    orthologs, aliases, is_open = form.offer_table("gene-names/mine.csv")
    assert aliases == ["gene-names/mine.csv"]
    assert orthologs[-1] == "gene-names/mine.csv"
    assert is_open is False
    assert [file.name for file in own_studio.data_files() if file.name == "mine.csv"] == []  # it is no data set


def test_the_result_shows_scores_genes_and_what_was_done(page: ModuleType, transfer: Run, words_in: Words) -> None:
    text = words_in(page.layout(run=TRANSFER))
    for words in (
        ".90",
        "75%",
        "25%",
        "Nothing was learnt",
        "29 of the model's 30 genes",
        "Only 40% is covered",
        "mouse",
    ):
        assert words in text


def test_every_graph_of_the_result_can_be_exported_and_no_id_is_used_twice(
    page: ModuleType, transfer: Run, components_in: Callable[[Any], list[Component]], graphs_in: Callable[..., Any]
) -> None:
    shown = page.layout(run=TRANSFER)
    ids = [node.id for node in components_in(shown) if getattr(node, "id", None)]
    assert len({str(entry) for entry in ids}) == len(ids)
    graphs = [graph.id for graph in graphs_in(shown)]
    assert "transfer-umap" in graphs
    for graph in graphs:
        assert {"type": "export-open", "graph": graph} in ids


def test_both_maps_have_the_same_frame_and_colours(page: ModuleType, transfer: Run) -> None:
    left, right, *_, box = page.draw_maps(page.BY_LABEL, "source", True, "", TRANSFER)
    assert left.layout.xaxis.range == right.layout.xaxis.range
    colors = [
        {trace.name.rpartition(" (")[0]: trace.marker.color for trace in side.data if trace.name}
        for side in (left, right)
    ]
    shared = set(colors[0]) & set(colors[1])
    assert shared
    assert all(colors[0][name] == colors[1][name] for name in shared)
    assert [len(side.data[0].x) for side in (left, right)] == [40, N_CELLS]  # in grey: the cells of the other side
    assert box == {"display": "none"}


@pytest.mark.parametrize(
    "color", ["known labels", "batches", "transfer_confidence", "unlike_source", "topic_2", "leiden"]
)
def test_any_colour_shows_all_cells_of_both(page: ModuleType, transfer: Run, color: str) -> None:
    left, right, *_ = page.draw_maps(color, "source", False, "", TRANSFER)
    assert sum(len(trace.x) for trace in left.data[1:]) == N_CELLS
    assert sum(len(trace.x) for trace in right.data[1:]) == 40


def test_the_joint_map_is_asked_for_where_there_is_none(
    page: ModuleType, transfer: Run, words_of_figure: Words
) -> None:
    left, *_, box = page.draw_maps(page.BY_LABEL, "joint", True, "", TRANSFER)
    assert "There is no joint map yet" in words_of_figure(left)
    assert box == {}


def test_the_joint_map_has_the_places_of_its_table(page: ModuleType, transfer: Run) -> None:
    places = np.random.default_rng(5).normal(size=(N_CELLS + 40, 2)).astype(np.float32)
    table = pd.DataFrame({"x": places[:, 0], "y": places[:, 1]})
    path = transfer.table_path(keys.TRANSFER_FOLDER, keys.JOINT_MAP_TABLE)
    path.parent.mkdir(exist_ok=True)
    table.to_parquet(path)
    left, right, *_ = page.draw_maps("leiden", "joint", False, "joint_map:1", TRANSFER)
    shown = np.concatenate([trace.x for trace in left.data[1:]])
    assert sorted(shown) == pytest.approx(sorted(places[:N_CELLS, 0]))
    shown = np.concatenate([trace.x for trace in right.data[1:]])
    assert sorted(shown) == pytest.approx(sorted(places[N_CELLS:, 0]))


def test_flags_are_counted_by_group(page: ModuleType, transfer: Run) -> None:
    figure = page.draw_flagged("leiden", TRANSFER)
    assert list(figure.data[0].x) == [0.25, 0.25]
    assert figure.layout.shapes[0].x0 == 0.05  # the stated rate


def test_topics_are_compared_over_all_cells_or_within_a_label(
    page: ModuleType, transfer: Run, csv_of: Callable[[str], Callable[..., Any]]
) -> None:
    whole = page._topic_use(TRANSFER, "all cells").set_index("topic")
    own, other = studio.load_result(SOURCE).obsm[keys.THETA], studio.load_result(TRANSFER).obsm[keys.THETA]
    assert whole.loc["topic_1", "source"] == pytest.approx(own[:, 1].mean(), rel=1e-5)
    assert whole.loc["topic_1", "target"] == pytest.approx(other[:, 1].mean(), rel=1e-5)
    label = str(studio.load_result(TRANSFER).obs[keys.TRANSFERRED_LABEL].cat.categories[0])
    within = page._topic_use(TRANSFER, label).set_index("topic")
    of_label = (studio.load_result(SOURCE).obs["cell_type"] == label).to_numpy()
    assert within.loc["topic_1", "source"] == pytest.approx(own[of_label, 1].mean(), rel=1e-5)
    assert csv_of("transfer-topic-use")(None, TRANSFER, label) is no_update
    assert csv_of("transfer-umap")(1, TRANSFER)["filename"] == "transfer-run-transfer-umap.csv"


def test_a_source_that_is_gone_is_said_and_the_target_stays(
    page: ModuleType, transfer: Run, source: Run, words_in: Words, words_of_figure: Words
) -> None:
    source.delete()
    assert "a run that is gone" in words_in(page.layout(run=TRANSFER))
    left, *_ = page.draw_maps(page.BY_LABEL, "source", True, "", TRANSFER)
    assert "The source run is gone" in words_of_figure(left)
    assert "is gone" in words_of_figure(page.draw_topic_use("all cells", TRANSFER))
    assert words_of_figure(page.draw_flagged("leiden", TRANSFER))


def test_a_source_that_lies_outside_the_home_is_shown_as_well(
    page: ModuleType, source: Run, own_studio: Studio, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    source.path.rename(elsewhere)
    config = dataclasses.replace(Run(elsewhere).config, transfer=TransferConfig(source_run=str(elsewhere)))
    run = Run.create(own_studio.runs_folder / "of-another", config)
    finish(run, transferred(config))
    left, *_ = page.draw_maps(page.BY_LABEL, "source", True, "", run.id)
    assert sum(len(trace.x) for trace in left.data[1:]) == N_CELLS
    assert not page._topic_use(run.id, "all cells").empty


def test_a_transfer_under_way_shows_its_progress_and_then_its_result(
    page: ModuleType, source: Run, own_studio: Studio, words_in: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages._transfer import progress

    config = dataclasses.replace(source.config, name="going", transfer=TransferConfig(source_run=SOURCE))
    run = Run.create(own_studio.runs_folder / "going", config)
    run.write_status(Status(state="running", stage="inferring", message="Embedding the cells.", pid=1))
    monkeypatch.setattr(liveness, "is_alive", lambda status: True)
    assert "Embedding the cells" in words_in(page.layout(run="going"))
    view, cancel, resume, is_still, href = progress.follow_transfer(1, "going")
    assert "Embedding the cells" in words_in(view)
    assert (cancel, is_still, href) == ({}, False, no_update)
    monkeypatch.setattr(liveness, "is_alive", lambda status: False)
    _, cancel, resume, is_still, _ = progress.follow_transfer(1, "going")
    assert (cancel, resume, is_still) == ({"display": "none"}, {}, False), "it may come back"
    run.write_status(Status(state="failed", message="Hardly any gene of the model is in the target."))
    view, cancel, resume, is_still, _ = progress.follow_transfer(2, "going")
    assert "Hardly any gene" in words_in(view)
    assert (resume, is_still) == ({}, True)
    run.write_status(Status(state="done", message="Done."))
    assert progress.follow_transfer(3, "going")[-1] == "/transfer?run=going&done=1"


def test_lists_of_runs_tell_transfers_apart(page: ModuleType, transfer: Run, page_module: PageModule) -> None:
    home = page_module("home")
    row = home.run_row(transfer)
    assert (row["steps"], row["href"]) == ("zero-shot", f"/transfer?run={TRANSFER}")


def test_the_training_page_of_a_zero_shot_transfer_leads_to_it(
    transfer: Run, page_module: PageModule, words_in: Words
) -> None:
    assert "This run is a transfer" in words_in(page_module("train").layout(run=TRANSFER))


def test_the_genes_of_the_target_colour_the_cells(page: ModuleType, transfer: Run) -> None:
    from pages._shared import colors

    result = studio.load_result(TRANSFER)
    gene = str(result.var_names[0])
    frame = colors.colored_frame(TRANSFER, gene)
    assert frame.attrs["unit"] == "log1p(CP10k)"
    changed = result.copy()
    changed.var.loc[gene, keys.TARGET_GENE] = ""
    transfer.write_result(changed)
    assert "was not measured" in colors.colored_frame(TRANSFER, gene).attrs["reason"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        pytest.param(b"human,mouse\nINS,Ins1\n", 200, "gene-names/pairs.csv", id="a table"),
        pytest.param(b"INS\nGCG\n", 400, "has 1 column", id="one column"),
        pytest.param(b"\xff\xfe\x00", 400, "cannot be read", id="no text"),
    ],
)
def test_tables_of_gene_names_are_taken_and_others_refused(
    page: ModuleType, app: Any, own_studio: Studio, content: bytes, status: int, words: str
) -> None:
    client = app.server.test_client()
    answer = client.post("/upload", query_string={"name": "pairs.csv", "kind": "names"}, data=content)
    assert answer.status_code == status
    assert words in str(answer.json)
    assert (own_studio.names_folder / "pairs.csv").exists() == (status == 200)
