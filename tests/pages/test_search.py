"""Does the search of the header find what is called so, quickly, and lead to the page that shows it?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import Dash

from pages._shared import search, studio
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.runs import Run

DONE = "done-run"


@pytest.fixture
def run(app: Dash, shown_studio: Studio) -> Run:
    return Run(shown_studio.runs_folder / DONE)


def found(run: Run, typed: str) -> dict[str, list[dict[str, str]]]:
    return {group["name"]: group["items"] for group in search.find(run, typed)}


def target(item: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Page and query that a result leads to."""
    parts = urlsplit(item["href"])
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_a_topic_is_found_by_its_number_and_by_its_name(make_shown_run: Callable[..., Run], run: Run) -> None:
    named = make_shown_run()
    named.write_result(run.load_result())
    for typed in ("3", "topic 3", "Topic_3"):
        assert target(found(named, typed)["Topics"][0]) == ("/topics", {"run": named.id, "topic": "3"})
    named.write_topic_names({"topic_4": "Beta cells"})
    (item,) = found(named, "beta c")["Topics"]
    assert item["label"] == "topic 4 · Beta cells"
    assert target(item) == ("/topics", {"run": named.id, "topic": "4"})


def test_a_gene_leads_to_the_cells_that_express_it_whatever_its_letter_case(run: Run) -> None:
    gene = str(studio.result_of(run).var_names[7])
    first = found(run, gene.upper())["Genes"][0]
    assert target(first) == ("/cells", {"run": DONE, "color": gene})


def test_columns_and_cell_types_are_found(run: Run) -> None:
    columns = [item["label"] for item in found(run, "cell")["Columns"]]
    assert columns[0] == "cell_type"
    label = str(studio.result_of(run).obs["cell_type"].cat.categories[2])
    hits = [item for item in found(run, label)["Cell types and groups"] if item["hint"] == "cell_type"]
    assert target(hits[0]) == ("/differential", {"run": DONE, "groupby": "cell_type", "label": label})


def test_a_gene_set_leads_to_the_topic_that_follows_it_best(make_shown_run: Callable[..., Run], run: Run) -> None:
    own = make_shown_run()
    own.write_result(run.load_result())
    path = own.table_path(keys.ENRICHMENT_FOLDER, "mine")
    path.parent.mkdir()
    tests = {"topic": ["topic_0", "topic_5", "topic_2"], "gene_set": ["INSULIN_SECRETION", "INSULIN_SECRETION", "X"]}
    pd.DataFrame({**tests, "q_value": [0.5, 0.001, 0.2]}).to_parquet(path)
    (item,) = found(own, "insulin sec")["Gene sets"]
    assert target(item) == (
        "/enrichment", {"run": own.id, "sets": "mine", "set": "INSULIN_SECRETION", "topic": "5"},
    )  # fmt: skip


def test_names_with_odd_letters_survive_the_way_into_the_address(make_shown_run: Callable[..., Run], run: Run) -> None:
    result = run.load_result()
    result.obs["cell_type"] = pd.Categorical(["CD8+ & <T>/naïve"] * result.n_obs)
    own = make_shown_run()
    own.write_result(result)
    hits = [item for item in found(own, "cd8+ & <")["Cell types and groups"] if item["hint"] == "cell_type"]
    assert target(hits[0])[1]["label"] == "CD8+ & <T>/naïve"


@pytest.mark.parametrize("typed", ["", "   ", "___", "no such thing at all"])
def test_nothing_is_found_by_nothing(typed: str, run: Run) -> None:
    assert search.find(run, typed) == []


def test_among_very_many_genes_at_most_thirty_results_come_and_soon(
    make_shown_run: Callable[..., Run], run: Run
) -> None:
    small = run.load_result()
    n_genes = 20_000
    result = ad.AnnData(
        obs=small.obs, var=pd.DataFrame(index=[f"Gene{i}" for i in range(n_genes)]), obsm=dict(small.obsm)
    )
    result.varm[keys.BETA] = np.zeros((n_genes, small.obsm[keys.DELTA].shape[1]), dtype=np.float32)
    own = make_shown_run()
    own.write_result(result)
    search.find(own, "warm")
    start = time.perf_counter()
    for typed in ("e", "gene", "gene1", "gene19", "19999"):
        assert sum(len(items) for items in found(own, typed).values()) <= 30
    assert (time.perf_counter() - start) / 5 < 2  # takes hundredths of a second; ends what has grown out of hand
    assert [item["label"] for item in found(own, "gene19999")["Genes"]] == ["Gene19999"]


@pytest.fixture
def ask(app: Dash) -> Callable[..., Any]:
    return lambda **query: app.server.test_client().get("/search", query_string=query)


def test_the_browser_is_answered_for_the_run_it_names_or_the_newest(ask: Callable[..., Any], run: Run) -> None:
    assert ask(text="topic 3", run=DONE).json == ask(text="topic 3").json
    answer = ask(text="topic 3").json
    assert answer["note"] == ""
    assert answer["groups"][0]["name"] == "Topics"


@pytest.mark.parametrize("run_id", ["../../etc", "no-such-run", "\0", "x" * 5000])
def test_an_unknown_run_is_said_in_words(run_id: str, ask: Callable[..., Any]) -> None:
    answer = ask(text="a", run=run_id)
    assert answer.status_code == 200
    assert answer.json["groups"] == []
    assert "There is no run called" in answer.json["note"] or "is not the name of a run" in answer.json["note"]


def test_what_is_not_found_is_said_without_repeating_all_of_it(ask: Callable[..., Any]) -> None:
    note = ask(text="nothing is called so " + "x" * 5000).json["note"]
    assert note.startswith("Nothing in this run is called like")
    assert len(note) < 200


def test_without_a_result_the_way_to_one_is_said(own_studio: Studio, ask: Callable[..., Any]) -> None:
    assert "Train a model first" in ask(text="a").json["note"]
