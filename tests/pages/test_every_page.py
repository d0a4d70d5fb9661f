"""Does every page say something sensible, whatever stands in its URL?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import dash
import pytest
from dash import Dash, dcc
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.parts import age, duration, score_in_words, size_in_words
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from tests.pages.by_hand import N_TOPICS, finish, planted_data, result_of

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]

PAGES = sorted(path.stem for path in Path("pages").glob("*.py") if not path.stem.startswith("_"))
RUN_PAGES = ("train", "cells", "topics", "embedding", "pathways")  # those whose `run` is looked up
DONE = "done-run"
HOSTILE_RUNS = ("../../etc", "..", "/etc/passwd", "no-such-run", "a\0b", "<script>alert(1)</script>", "x" * 5000)
HOSTILE_FILES = (
    "../../etc/passwd", "lab/../../etc/passwd", "lab/planted.h5ad/..", "nowhere/x.h5ad", "/", "lab/" + "x" * 5000,
    "lab/a\0b",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_every_page_registers_itself_with_name_path_title_and_group(name: str, app: Dash) -> None:
    entry = dash.page_registry[f"pages.{name}"]
    assert entry["path"] == ("/" if name == "home" else f"/{name}")
    assert entry["name"]
    assert entry["title"].endswith("scETM Studio")
    assert entry["group"] in ("Prepare", "Explore", "Explain", "Judge")


@pytest.mark.parametrize("name", PAGES)
def test_without_any_run_or_data_a_page_shows_what_it_is_for_and_no_error(
    name: str, own_studio: Studio, page_module: PageModule, words_in: Words
) -> None:
    studio.configure(dataclasses.replace(own_studio, data_dirs=()))
    text = words_in(page_module(name).layout())
    assert "?" in text  # its question
    assert "cannot" not in text


@pytest.mark.parametrize("name", ["cells", "topics", "embedding", "pathways"])
def test_a_result_page_without_a_run_says_what_is_missing_and_leads_there(
    name: str, own_studio: Studio, page_module: PageModule, words_in: Words, components_in: Callable[..., Any]
) -> None:
    shown = page_module(name).layout()
    assert "No result to show yet" in words_in(shown)
    assert any(isinstance(node, dcc.Link) and node.href == "/train" for node in components_in(shown))


@pytest.mark.parametrize("name", ["cells", "topics", "embedding", "pathways"])
def test_a_run_without_a_result_is_told_apart_from_one_with(
    name: str, make_shown_run: Callable[..., Run], page_module: PageModule, words_in: Words
) -> None:
    run = make_shown_run(status=Status(state="failed", message="no"))
    assert "No result to show yet" in words_in(page_module(name).layout(run=run.id))


@pytest.mark.parametrize("name", PAGES)
def test_with_a_finished_run_a_page_renders(name: str, page_module: PageModule, words_in: Words) -> None:
    text = words_in(page_module(name).layout(run=DONE))
    assert "There is no run" not in text
    assert "No result" not in text


def without(slot: str, *names: str) -> Callable[[ad.AnnData], None]:
    def take(result: ad.AnnData) -> None:
        for name in names:
            getattr(result, slot).pop(name, None)

    return take


OLDER = {
    "settings and batches": without("uns", keys.UNS),
    "batches": lambda result: result.uns[keys.UNS].pop(keys.UNS_BATCHES),
    "alpha": without("uns", keys.ALPHA),
    "counts of cells": lambda result: result.obs.drop(columns=keys.N_COUNTS, inplace=True),
    "map and second name of delta": without("obsm", keys.X_UMAP, keys.X_SCETM),
    "rho": without("varm", keys.RHO),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("lacking", OLDER)
def test_the_result_of_an_earlier_version_opens_or_says_what_to_do(
    name: str, lacking: str, make_shown_run: Callable[..., Run], page_module: PageModule, words_in: Words
) -> None:
    run = make_shown_run(n_topics=N_TOPICS)
    result = result_of(planted_data(), run.config)
    OLDER[lacking](result)
    finish(run, result)
    text = words_in(page_module(name).layout(run=run.id))
    assert "?" in text
    assert "There is no run" not in text


@pytest.mark.parametrize("run", HOSTILE_RUNS)
@pytest.mark.parametrize("name", RUN_PAGES)
def test_an_unknown_run_is_said_in_words(name: str, run: str, page_module: PageModule, words_in: Words) -> None:
    text = words_in(page_module(name).layout(run=run))
    assert "There is no run called" in text or "is not the name of a run" in text
    assert len(text) < 1000


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "query",
    [
        {"topic": "999"},
        {"topic": "abc"},
        {"topic": "-1"},
        {"topic": "²"},
        {"topic": "9" * 5000},
        {"color": "<script>alert(1)</script>"},
        {"beside": "no such column"},
        {"groupby": "no such column"},
        {"color": ""},
        {"sets": "../../etc/passwd", "set": "no such set"},
        {"gene": "<script>alert(1)</script>"},
        {"points": "sets", "set": "no such set"},
        {"label": "no such label"},
        {"unheard": "of"},
    ],
    ids=lambda query: str(query)[:30],
)
def test_odd_values_in_the_url_do_not_break_a_page(
    name: str, query: dict[str, str], page_module: PageModule, words_in: Words
) -> None:
    assert "?" in words_in(page_module(name).layout(run=DONE, **query))


@pytest.mark.parametrize("file", HOSTILE_FILES)
def test_a_file_outside_the_data_folders_is_refused_in_words(
    file: str, page_module: PageModule, words_in: Words
) -> None:
    page_module("data").layout(file=file)
    text = words_in(page_module("data").show_report(file))
    assert any(
        reason in text
        for reason in ("leads outside the data folder", "no data folder called", "There is no file", "looked up")
    )
    assert "root:" not in text
    assert "There is no data set" in words_in(page_module("train").layout(file=file))


@pytest.mark.parametrize("name", PAGES)
def test_no_graph_offers_to_send_itself_to_a_cloud(
    name: str, page_module: PageModule, graphs_in: Callable[[Any], list[dcc.Graph]]
) -> None:
    module = page_module(name)
    graphs = graphs_in(module.layout(run=DONE))
    if name == "data":
        graphs += graphs_in(module.show_report("lab/planted.h5ad"))
    assert all(graph.config["showSendToCloud"] is False and not graph.config["displaylogo"] for graph in graphs)
    assert graphs or name in (
        "home",
        "pathways",
        "transfer",
        "report",
        "figures",
        "server",
    )  # no pathways there, no transfer


@pytest.mark.parametrize("name", PAGES)
def test_every_graph_can_be_exported_and_shown_as_a_table(
    name: str, page_module: PageModule, graphs_in: Callable[..., Any], components_in: Callable[..., list[Component]]
) -> None:
    module = page_module(name)
    shown = [module.layout(run=DONE), module.show_report("lab/planted.h5ad") if name == "data" else None]
    ids = [getattr(node, "id", None) for node in components_in(shown)]
    for graph in graphs_in(shown):
        assert {"type": "export-open", "graph": graph.id} in ids
        assert {"type": "export-table-open", "graph": graph.id} in ids


@pytest.mark.parametrize("name", PAGES)
def test_every_table_that_is_offered_can_be_had(
    name: str, page_module: PageModule, components_in: Callable[..., list[Component]], csv_of: Callable[..., Any]
) -> None:
    module = page_module(name)
    shown = [module.layout(run=DONE), module.show_report("lab/planted.h5ad") if name == "data" else None]
    ids = [node.id for node in components_in(shown) if isinstance(getattr(node, "id", None), dict)]
    for graph in [entry["graph"] for entry in ids if entry["type"] == "export-csv"]:
        assert callable(csv_of(graph))
        assert {"type": "export-csv-download", "graph": graph} in ids


@pytest.mark.parametrize("name", PAGES)
def test_no_two_components_of_a_page_share_an_id(
    name: str, page_module: PageModule, components_in: Callable[..., list[Component]]
) -> None:
    ids = [str(node.id) for node in components_in(page_module(name).layout(run=DONE)) if getattr(node, "id", None)]
    assert len(ids) == len(set(ids))


# ---- words for numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, ""), (0.4, "0 s"), (59.4, "59 s"), (130, "2 min 10 s"), (3725, "1 h 2 min")]
)
def test_time_spans_are_said_as_one_says_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "just now"), (59, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (90_000, "1 day ago")],
)
def test_ages_are_rough(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(0, "0 B"), (999, "999 B"), (5_249_000, "5.2 MB"), (2.5e12, "2500.0 GB")]
)
def test_sizes_have_units(n_bytes: float, words: str) -> None:
    assert size_in_words(n_bytes) == words


@pytest.mark.parametrize(
    ("score", "words"), [(None, "–"), (0.944, ".94"), (1.0, "1.00"), (0.0, ".00"), (-0.05, "-.05")]
)
def test_scores_are_printed_as_papers_do(score: float | None, words: str) -> None:
    assert score_in_words(score) == words
