"""Which gene sets does each topic follow? Preranked GSEA: all topics at a glance, and one set in one topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import dash
import dash_mantine_components as dmc
import numpy as np
import pandas as pd
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._enrichment import parts
from pages._shared import gene_sets, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import link_button, page
from pages._shared.requests import read_request
from pages._shared.tables import offer_table
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.enrichment import SEPARATOR, rank_order, running_sum
from scetm_core.errors import DataError
from scetm_core.figures import (
    gene_weights,
    manhattan_frame,
    pathway_name,
    plot_manhattan,
    plot_running_sum,
    running_sum_frame,
)
from scetm_core.requests import EnrichmentRequest

dash.register_page(
    __name__, path="/enrichment", name="Enrichment", title="Enrichment · scETM Studio", order=70, group="Explain"
)


def layout(
    run: str | None = None, topic: str | None = None, sets: str | None = None, set: str | None = None, **_: str
) -> Component:
    """The page, with one topic and one gene set in focus."""
    question = "Which gene sets does each topic follow?"
    opened = open_result("Enrichment", question, run)
    if not isinstance(opened, Opened):
        return opened
    offered = gene_sets.sources(opened.run)
    source = sets if sets in {entry.name for entry in offered} else gene_sets.BUILT_IN
    asked = opened.topic_in(topic)
    focus = opened.strongest_topic() if asked is None else asked
    return page(
        "Enrichment",
        question,
        opened.store,
        dcc.Store(id=parts.SET, data=set),
        parts.controls(opened, offered, source, focus),
        task_view(parts.TASK),
        html.Div(id=parts.SAID, role="status"),
        html.Div(parts.before(), id=parts.BEFORE, style={"display": "none"}),
        html.Div(parts.after(), id=parts.AFTER, style={"display": "none"}),
    )


follow_task(parts.TASK, parts.KIND, (parts.SOURCE, "value"))
offer_table(parts.TASK, parts.KIND, (parts.SOURCE, "value"))


@callback(
    Output(parts.SOURCE, "data"),
    Output(parts.SOURCE, "value"),
    Input(gene_sets.ADDED, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def choose_added(name: str | None, run_id: str) -> tuple[Any, Any]:
    """Offer the gene sets that were added, and choose them."""
    if not name:
        return no_update, no_update
    return gene_sets.options(gene_sets.sources(studio.open_run(run_id))), name


@callback(
    Output(tick_of(parts.TASK), "disabled", allow_duplicate=True),
    Output({"type": "request", "task": parts.TASK, "name": dash.ALL}, "error"),
    Input(parts.TEST, "n_clicks"),
    State(parts.SOURCE, "value"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "id"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def start_test(
    n_clicks: int | None, name: str, fields: list[Any], values: list[Any], run_id: str
) -> tuple[Any, list[Any]]:
    """Ask for the tests of some gene sets; what is wrong with a field is said beside it."""
    if not n_clicks:
        return no_update, [no_update] * len(fields)
    run = studio.open_run(run_id)
    request, errors = read_request(EnrichmentRequest, fields, values, given={"gene_sets": str(path_of(run_id, name))})
    if request is not None:
        tasks.ask(run, name, request)
    return (no_update if request is None else False), errors


def path_of(run_id: str, name: str) -> Path:
    """The file of some gene sets: of those that can be chosen, or that a table was made from.

    Raises
    ------
    DataError
        If there is none any more.
    """
    source = gene_sets.find_source(name, studio.open_run(run_id))
    if source is not None and source.path is not None:
        return source.path
    table = studio.load_table(run_id, parts.KIND, name)
    path = Path(table.attrs["request"]["gene_sets"]) if table is not None else None
    if path is None or not path.is_file():
        raise DataError(f"The file of the gene sets {name!r} is not there any more. Add it again.")
    return path


@callback(
    Output(parts.BEFORE, "style"),
    Output(parts.AFTER, "style"),
    Output(parts.SAID, "children"),
    Output(parts.TEST, "children"),
    Input(stamp_of(parts.TASK), "data"),
    State(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def show_or_hide(stamp: str | None, name: str, run_id: str) -> tuple[Any, Any, Any, str]:
    """What was matched and tested, in words, above the figures; before the first test, what it would do."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None:
        return {}, {"display": "none"}, None, "Test"
    request, sure = table.attrs["request"], table[(table["q_value"] < 0.01) & is_finding(table)]
    draws = f"{request['n_permutations']:,} draws"
    if request["refine_to"] > request["n_permutations"]:
        draws += f", up to {request['refine_to']:,} where that was too coarse"
    tested = (
        f"{len(table):,} tests of {table['topic'].nunique():,} topics, {draws}, {table.attrs['seconds']:.1f} s: "
        f"{len(sure):,} sets with q below 0.01, in {sure['topic'].nunique():,} topics."
    )
    origin = made_elsewhere(request["gene_sets"], gene_sets.find_source(name, studio.open_run(run_id)))
    said = dmc.Text(" ".join([*table.attrs["sentences"], tested, origin]), size="sm", c="dimmed", className="numbers")
    return {"display": "none"}, {}, said, "Test again"


def made_elsewhere(tested: str, source: gene_sets.Source | None) -> str:
    """A sentence if the tests are of another file than the one that is chosen."""
    path = Path(tested)
    if source is None or source.path is None or source.path.resolve() == path.resolve():
        return ""
    if source.name in (gene_sets.BUILT_IN, gene_sets.MARKERS) and source.path.name == path.name:
        return ""  # built in as well, where the run was made
    return f"These tests are of {tested}, not of the file chosen now. Press Test again to test that one."


def is_finding(table: pd.DataFrame) -> pd.Series:
    """Whether a small p would say something: sets below 0 do not lead a topic, unless both ends were tested."""
    return (table["es"] > 0) | (table.attrs["request"]["tail"] == "either")


def focus_of(table: pd.DataFrame, topic: str, gene_set: str | None) -> pd.Series | None:
    """The test to look at: of the set asked for in that topic, else the topic's best."""
    rows = table[table["topic"] == keys.topic_name(int(topic))]
    if rows.empty:
        return None
    asked = rows[rows["gene_set"] == gene_set]
    return asked.iloc[0] if len(asked) else rows.iloc[0]


SHOWN = (Input(stamp_of(parts.TASK), "data"), Input(parts.TOPIC, "value"), Input(parts.SET, "data"))


@callback(
    Output(parts.MANHATTAN, "figure"),
    *SHOWN,
    State(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_manhattan(stamp: str | None, topic: str, gene_set: str | None, name: str, run_id: str) -> Any:
    """Draw all topics and sets."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None or (row := focus_of(table, topic, gene_set)) is None:
        return no_update
    frame, names = _manhattan_frame(run_id, name, stamp or ""), studio.open_run(run_id).topic_names()
    return plot_manhattan(frame, topic=row["topic"], gene_set=row["gene_set"], topic_names=names)


@studio.remembered(maxsize=4)
def _manhattan_frame(run_id: str, name: str, stamp: str) -> pd.DataFrame:
    table = studio.load_table(run_id, parts.KIND, name)
    assert table is not None
    return manhattan_frame(table, only_up=table.attrs["request"]["tail"] == "up")


@callback(
    Output(parts.RUNNING_SUM, "figure"),
    Output(parts.VERDICT, "children"),
    Output(parts.EDGE, "rowData"),
    *SHOWN,
    State(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_focus(stamp: str | None, topic: str, gene_set: str | None, name: str, run_id: str) -> tuple[Any, Any, Any]:
    """Draw the running sum of one set in one topic; list its leading edge."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None or (row := focus_of(table, topic, gene_set)) is None:
        return no_update, no_update, no_update
    beta = ranked(run_id, topic)
    hits = hits_of(run_id, name, row["gene_set"], beta)
    genes = beta.index.to_numpy(dtype=object)
    frame = running_sum_frame(running_sum(beta.to_numpy(), hits), hits, beta.to_numpy(), genes)
    names = studio.open_run(run_id).topic_names()
    title = (pathway_name(row["gene_set"]), f"in {studio.topic_label(int(topic), names)}")
    peak, is_up = frame.attrs["peak"], frame.attrs["es"] >= 0
    ranks = hits[hits < peak] if is_up else hits[hits >= peak][::-1]
    rows = [
        {"gene": genes[rank], "rank": int(rank) + 1, "beta": float(beta.iloc[rank]),
         "href": f"/cells?run={run_id}&color={quote(genes[rank])}"}
        for rank in ranks
    ]  # fmt: skip
    return plot_running_sum(frame, title=title), verdict(row, run_id, name, topic, n_leading=len(rows)), rows


def verdict(row: pd.Series, run_id: str, name: str, topic: str, *, n_leading: int) -> Component:
    """The numbers of a test in words, and the ways on."""
    nes = "not defined" if pd.isna(row["nes"]) else f"{row['nes']:.2f}"
    said = (
        f"ES {row['es']:.2f}, NES {nes}, p = {row['p_value']:.2g} of {row['n_permutations']:,} draws, "
        f"q = {row['q_value']:.2g}. {n_leading:,} of {row['size']:,} genes are the leading edge."
    )
    where = f"run={run_id}&topic={topic}&set={quote(row['gene_set'])}&sets={quote(name)}"
    links = [
        link_button(text, f"/{path}?{where}", size="compact-sm")
        for text, path in (("On the joint map", "embedding"), ("Genes of the topic", "topics"), ("Cells", "cells"))
    ]
    return dmc.Stack([dmc.Text(said, size="sm", className="numbers"), dmc.Group(links, gap="xs")], gap="xs")


def ranked(run_id: str, topic: str) -> pd.Series:
    """Weights of a topic's genes, the largest first, in the order in which they were tested."""
    beta = gene_weights(studio.load_result(run_id))[keys.topic_name(int(topic))]
    return beta.astype(np.float64).iloc[rank_order(beta.to_numpy(dtype=np.float64), beta.index)]


def hits_of(run_id: str, name: str, gene_set: str, beta: pd.Series) -> np.ndarray:
    """Places of a set's genes in a ranking from `ranked`.

    Raises
    ------
    DataError
        If the matched sets beside the table are gone.
    """
    members = gene_sets.tested_sets(studio.open_run(run_id), name)[gene_set]
    return np.sort(beta.index.get_indexer(pd.Index(members)))


@callback(
    Output(parts.TABLE, "rowData"),
    Output(parts.CUT, "children"),
    *SHOWN,
    Input(parts.VIEW, "value"),
    Input(parts.SEARCH, "value"),
    State(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def fill_table(
    stamp: str | None, topic: str, gene_set: str | None, view: str, search: str | None, name: str, run_id: str
) -> tuple[Any, Any]:
    """The tests asked for, the best first."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None or (row := focus_of(table, topic, gene_set)) is None:
        return no_update, no_update
    if list(ctx.triggered_prop_ids.values()) == [parts.SET] and view != "set":
        return no_update, no_update  # the rows are the same, whichever of them is chosen
    chosen = table
    if view != "all":
        chosen = (
            table[table["topic"] == row["topic"]] if view == "topic" else table[table["gene_set"] == row["gene_set"]]
        )
    if words := (search or "").strip():
        plain = chosen["gene_set"].str.replace("_", " ").str.lower()
        chosen = chosen[plain.str.contains(words.replace("_", " ").lower(), regex=False)]
    order = np.lexsort((-chosen["nes"].abs(), chosen["q_value"], ~is_finding(table).loc[chosen.index]))
    shown = chosen.iloc[order[: parts.N_ROWS]]
    cut = f"the best {len(shown):,} of {len(chosen):,} tests" if len(shown) < len(chosen) else f"{len(chosen):,} tests"
    return rows_of(shown, studio.open_run(run_id).topic_names()), cut


def rows_of(tests: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    """Tests as rows of the table."""
    numbers = tests["topic"].str.removeprefix("topic_").astype(int)
    labels = {number: studio.topic_label(number, names) for number in numbers.unique()}
    rows = tests[["topic", "gene_set", "size", "nes", "p_value", "q_value"]].assign(
        id=tests["topic"] + "|" + tests["gene_set"],
        topic_label=numbers.map(labels),
        set_label=tests["gene_set"].map(pathway_name),
        leading=tests["leading_edge"].str.split(SEPARATOR).str[:6].str.join(", "),
    )
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


@callback(
    Output(parts.TOPIC, "value"),
    Output(parts.SET, "data"),
    Input(parts.MANHATTAN, "clickData"),
    Input(parts.TABLE, "selectedRows"),
    State(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def focus_clicked(click: dict[str, Any] | None, rows: list[dict[str, Any]] | None, name: str, run_id: str) -> Any:
    """Look at the test that was clicked."""
    if ctx.triggered_id == parts.TABLE:
        chosen: Any = rows[0] if rows else None
    else:
        table = studio.load_table(run_id, parts.KIND, name)
        place = click["points"][0].get("customdata") if click else None
        chosen = None if table is None or place is None else table.iloc[int(place)]
    if chosen is None:
        return no_update, no_update
    return str(chosen["topic"]).removeprefix("topic_"), str(chosen["gene_set"])


clientside_callback(
    "function (topic, set, sets, run) { window.scetm.keepInUrl({run: run, topic: topic, set: set, sets: sets}, []); }",
    Input(parts.TOPIC, "value"),
    Input(parts.SET, "data"),
    Input(parts.SOURCE, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


@callback(
    Output(csv_download(parts.RUNNING_SUM), "data"),
    Input(csv_button(parts.RUNNING_SUM), "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    State(parts.SOURCE, "value"),
    State(parts.TOPIC, "value"),
    State(parts.SET, "data"),
    prevent_initial_call=True,
)
def download_curve(n_clicks: int | None, run_id: str, name: str, topic: str, gene_set: str | None) -> Any:
    """The running sum on screen as CSV, gene by gene."""
    table = studio.load_table(run_id, parts.KIND, name) if n_clicks else None
    if table is None or (row := focus_of(table, topic, gene_set)) is None:
        return no_update
    beta = ranked(run_id, topic)
    hits = hits_of(run_id, name, row["gene_set"], beta)
    curve = pd.DataFrame(
        {"gene": beta.index, "beta": beta.to_numpy(), "running_sum": running_sum(beta.to_numpy(), hits)}
    )
    curve["in_set"] = np.isin(np.arange(len(curve)), hits)
    curve.index = pd.RangeIndex(1, len(curve) + 1, name="rank")
    return dcc.send_data_frame(curve.to_csv, f"{run_id}-topic-{topic}-{row['gene_set']}.csv")
