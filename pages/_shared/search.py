"""What in a run is called like what somebody types? Topics, cell types, columns, genes and gene sets, and their pages.

The field stands in the header; assets/search.js asks `/search` and shows what it answers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
import flask
from dash import html
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.opened import is_grouping
from scetm_core import keys
from scetm_core.data.expression import search_genes
from scetm_core.errors import ScetmError
from scetm_core.figures import pathway_name
from scetm_core.runs import Run
from scetm_core.user_columns import columns_stamp

FIELD = "header-search"
RESULTS = "header-search-results"
ROUTE = "/search"
MAX_TYPED = 100

LIMITS = {"Topics": 6, "Cell types and groups": 6, "Columns": 5, "Genes": 8, "Gene sets": 5}
"""Results of each kind at most: 30 together."""

Result = dict[str, str]


def search_box() -> Component:
    """The field in the header; on a phone it is an icon until it is opened."""
    field = dmc.TextInput(
        id=FIELD,
        placeholder="Search this run",
        leftSection=html.Span(className="glyph glyph-search"),
        rightSection=dmc.Kbd("/", size="xs", visibleFrom="sm"),
        size="sm",
        attributes={"input": {"autoComplete": "off", "spellCheck": "false", "type": "search"}},
        **{"aria-label": "Search topics, genes, columns, gene sets and cell types"},
    )
    named: dict[str, Any] = {"aria-label": "Found"}
    results = html.Div(id=RESULTS, className="search-results", role="listbox", **named)
    said = html.Div(className="search-said visually-hidden", role="status")
    unfold = dmc.ActionIcon(
        html.Span(className="glyph glyph-search"),
        className="search-unfold",
        variant="subtle",
        color="gray",
        size="lg",
        **{"aria-label": "Search"},
    )
    return html.Div(
        [unfold, html.Div([field, results, said], className="search-field")], className="search", role="search"
    )


def add_route(server: flask.Flask) -> None:
    """Let the browser ask what is called like some text."""
    server.add_url_rule(ROUTE, view_func=_answer)


def _answer() -> Any:
    typed, run_id = flask.request.args.get("text", ""), flask.request.args.get("run")
    try:
        run = studio.find_run(run_id)
        if run is None or not run.has_result:
            return {"groups": [], "note": "There is no result to search yet. Train a model first."}
        groups = find(run, typed)
    except ScetmError as error:
        return {"groups": [], "note": str(error)}
    note = "" if groups or not typed.strip() else f"Nothing in this run is called like “{typed.strip()[:MAX_TYPED]}”."
    return {"groups": groups, "note": note}


def find(run: Run, typed: str) -> list[dict[str, Any]]:
    """What is called like some text, by kind: ``[{"name": "Genes", "items": [{"label", "hint", "href"}]}]``.

    Letter case is ignored, and a gene set's underscores are blanks. What begins with the text comes first.

    Raises
    ------
    RunError
        If the result cannot be read.
    """
    wanted = " ".join(typed.lower().replace("_", " ").split())[:MAX_TYPED]
    if not wanted:
        return []
    found = {
        "Topics": _topics(run, wanted),
        "Cell types and groups": _labels(run, wanted),
        "Columns": _columns(run, wanted),
        "Genes": _genes(run, typed.strip()[:MAX_TYPED]),
        "Gene sets": _sets(run, wanted),
    }
    groups = [{"name": name, "items": items[: LIMITS[name]]} for name, items in found.items()]
    return [group for group in groups if group["items"]]


def _item(run: Run, label: str, path: str, query: Mapping[str, str], *, hint: str = "") -> Result:
    return {"label": label, "hint": hint, "href": f"/{path}?{urlencode({'run': run.id, **query})}"}


def _matching(names: Iterable[str], wanted: str) -> list[str]:
    """Names that hold the text, those first that begin with it."""
    held = [(name, text) for name in names if wanted in (text := name.lower().replace("_", " "))]
    return [name for name, text in sorted(held, key=lambda entry: (not entry[1].startswith(wanted), len(entry[1])))]


def _topics(run: Run, wanted: str) -> list[Result]:
    given = run.topic_names()
    n_topics = studio.result_of(run).obsm[keys.DELTA].shape[1]
    numbers: Mapping[str, int] = {studio.topic_label(topic, given): topic for topic in range(n_topics)}
    number = wanted.removeprefix("topic").strip()
    exact = [label for label, topic in numbers.items() if number == str(topic)]
    others = [label for label in _matching(numbers, wanted) if label not in exact]
    return [_item(run, label, "topics", {"topic": str(numbers[label])}) for label in [*exact, *others]]


def _labels(run: Run, wanted: str) -> list[Result]:
    found = []
    for column, names in _groups(run.path, _stamp(run)).items():
        for name in _matching(names, wanted):
            found.append(_item(run, name, "differential", {"groupby": column, "label": name}, hint=column))
    return sorted(found, key=lambda item: not item["label"].lower().startswith(wanted))


def _columns(run: Run, wanted: str) -> list[Result]:
    return [
        _item(run, name, "cells", {"color": name})
        for name in _matching(map(str, studio.result_of(run).obs.columns), wanted)
    ]


def _genes(run: Run, typed: str) -> list[Result]:
    genes = search_genes(_genes_of(run.path, _stamp(run)), typed, limit=LIMITS["Genes"])
    return [_item(run, gene, "cells", {"color": gene}) for gene in genes]


def _sets(run: Run, wanted: str) -> list[Result]:
    found: list[Result] = []
    for table in run.tables(keys.ENRICHMENT_FOLDER):
        best = _best_topics(run.id, table, studio.table_stamp(run, keys.ENRICHMENT_FOLDER, table))
        labels = {pathway_name(name): name for name in best}
        for label in _matching(labels, wanted):
            name = labels[label]
            found.append(_item(run, label, "enrichment", {"sets": table, "set": name, "topic": best[name]}, hint=table))
    return found


@studio.remembered(maxsize=8)
def _best_topics(run_id: str, table: str, stamp: str) -> dict[str, str]:
    """Gene set -> the topic that follows it best, its number as text."""
    tests = studio.load_table(run_id, keys.ENRICHMENT_FOLDER, table)
    if tests is None or tests.empty:
        return {}
    best = tests.sort_values("q_value", kind="stable").drop_duplicates("gene_set")
    topics = best["topic"].str.removeprefix(keys.topic_name(0)[:-1])
    return dict(zip(best["gene_set"].astype(str), topics.astype(str), strict=True))


def _stamp(run: Run) -> object:
    """Changes when the result does, or a column of the user's."""
    return studio.result_stamp(run), columns_stamp(run)


@functools.lru_cache(maxsize=4)
def _genes_of(path: Path, stamp: object) -> tuple[str, ...]:
    return tuple(map(str, studio.result_of(Run(path)).var_names))


@functools.lru_cache(maxsize=4)
def _groups(path: Path, stamp: object) -> dict[str, list[str]]:
    """Column -> its groups, of the columns that group cells."""
    obs = studio.result_of(Run(path)).obs
    grouping = {str(name): values for name, values in obs.items() if is_grouping(values)}
    return {name: sorted(map(str, values.dropna().unique())) for name, values in grouping.items()}
