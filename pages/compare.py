"""How does this run do beside other methods and other runs? Scores, costs, maps and topics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash
import dash_mantine_components as dmc
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._compare import parts
from pages._evaluate.cards import SCORES, number
from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import page
from pages._shared.requests import read_request
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.comparison import (
    COSTS,
    SLOT,
    UMAP_COLUMNS,
    embeddings_in_input,
    match_runs,
    settings_that_differ,
    table_name_of,
)
from scetm_core.errors import DataError, ScetmError
from scetm_core.figures import (
    empty_figure,
    plot_maps,
    plot_topic_match,
    plot_tradeoff,
    topic_match_frame,
    tradeoff_frame,
)
from scetm_core.files import table_name
from scetm_core.judging import scores_of_methods
from scetm_core.links import refuse_foreign_links
from scetm_core.peers import PEERS
from scetm_core.requests import ComparisonRequest
from scetm_core.runs import Run

dash.register_page(__name__, path="/compare", name="Compare", title="Compare · scETM Studio", order=130, group="Judge")

ALONE = (
    "Only this run so far. Choose methods and press Run methods: PCA, Harmony and Scanorama take seconds for thousands "
    "of cells, scVI minutes. Each runs in a process of its own; what is done stays with the run."
)


def layout(run: str | None = None, other: str | None = None, **_: str) -> Component:
    """The page; `other` is a run to lay topics against."""
    question = "How does this run do beside other methods and other runs?"
    opened = open_result("Compare", question, run)
    if not isinstance(opened, Opened):
        return opened
    others = other_runs(opened.run)
    same = [entry for entry in others if is_on_same_cells(opened.run, entry)]
    listed = {entry.id: {"value": entry.id, "label": studio.run_label(entry)} for entry in others}
    chosen = other if other in listed else next((entry.id for entry in same), None)
    data = opened.run.config.data
    return page(
        "Compare",
        question,
        opened.store,
        dcc.Store(id=parts.TABLE_NAME, data=keys.METHODS_TABLE),
        parts.controls(slots_of(opened.run), [listed[entry.id] for entry in same]),
        task_view(parts.TASK),
        html.Div(id=parts.SAID, role="status"),
        *parts.methods_section(opened.grouping_columns(), opened.default_grouping(data.label_key)),
        parts.topics_section(list(listed.values()), chosen),
    )


def other_runs(run: Run) -> list[Run]:
    """The other runs of this home that have a result."""
    runs, _ = studio.list_readable_runs()
    return [other for other in runs if other.id != run.id and other.has_result]


def is_on_same_cells(run: Run, other: Run) -> bool:
    """Whether both read the same counts of the same file."""
    return run.input["sha256"] == other.input["sha256"] and run.config.data.layer == other.config.data.layer


def slots_of(run: Run) -> list[tuple[str, str]]:
    """Embeddings that the input brings: name of the method, and what it is called."""
    path = Path(run.config.data.path)
    try:
        refuse_foreign_links(run.config.data.path)
        found = embeddings_in_input(path) if path.exists() else []
    except ScetmError:
        found = []  # the file is not what it was; the methods will say so when they read it
    return [(f"{SLOT}{slot}", f"{slot} (in the input)") for slot in found]


follow_task(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))


@callback(
    Output(tick_of(parts.TASK), "disabled", allow_duplicate=True),
    Output(parts.METHODS, "error"),
    Output(parts.SEEDS, "error"),
    Input(parts.START, "n_clicks"),
    State(parts.METHODS, "value"),
    State(parts.SEEDS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def start_methods(n_clicks: int | None, methods: list[str] | None, n_seeds: Any, run_id: str) -> tuple[Any, Any, Any]:
    """Run the methods chosen, one after the other."""
    if not n_clicks:
        return no_update, no_update, no_update
    if not methods:
        return no_update, "Choose a method.", None
    request, errors = read_request(ComparisonRequest, [parts.SEEDS], [n_seeds], given={"methods": list(methods)})
    if request is None:
        return no_update, None, errors[0]
    tasks.ask(studio.open_run(run_id), keys.METHODS_TABLE, request)
    return False, None, None


def scores_of(run_id: str, others: Sequence[str]) -> pd.DataFrame:
    """A row for this run, each of some others, and each method and seed: `label`, `seed`, `is_own`, scores, costs."""
    rows = []
    for place, name in enumerate([run_id, *others]):
        run = studio.open_run(name)
        label = f"{run.config.name} (this run)" if place == 0 else studio.run_label(run)
        scores = run.evaluation()
        known = {score: scores.get(score) for score in (*parts.IN_TABLE, *COSTS)}
        rows.append({"label": label, "seed": run.config.train.seed, "is_own": True, "method": "", "run": name} | known)
    methods = scores_of_methods(studio.open_run(run_id)).to_dict("records")
    frame = pd.DataFrame([*rows, *({**row, "is_own": False, "run": ""} for row in methods)])
    return frame.astype(dict.fromkeys((*parts.IN_TABLE, *COSTS), float))


def by_method(scores: pd.DataFrame) -> pd.DataFrame:
    """Medians over the seeds of each method, with the range of the best ARI in words."""
    grouped = scores.groupby("label", sort=False)
    table = grouped[[*parts.IN_TABLE, *COSTS]].median()
    low, high = grouped["best_ari"].min(), grouped["best_ari"].max()
    table["n_seeds"] = grouped.size()
    table["ari_range"] = [
        f"{number(a)} to {number(b)}" if n > 1 and pd.notna(a) else ""
        for a, b, n in zip(low, high, table["n_seeds"], strict=True)
    ]
    methods = grouped["method"].first()
    table["settings"] = [PEERS[name].settings if name in PEERS else "" for name in methods]
    return table.reset_index()


@callback(
    Output(parts.TABLE, "rowData"),
    Output(parts.SAID, "children"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.RUNS, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def fill_table(stamp: str | None, others: list[str] | None, run_id: str) -> tuple[Any, Any]:
    """All embeddings of these cells with their scores and costs."""
    table = by_method(scores_of(run_id, others or []))
    done = studio.load_table(run_id, parts.KIND, keys.METHODS_TABLE) if stamp else None
    sentences = done.attrs["sentences"] if done is not None else []
    if len(table) == 1:
        sentences = [*sentences, ALONE]
    said = [dmc.Text(sentence, size="sm", c="dimmed") for sentence in sentences]
    return table.astype(object).where(table.notna(), None).to_dict("records"), said


@callback(
    Output(parts.TRADEOFF, "figure"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.RUNS, "value"),
    Input(parts.SCORE_X, "value"),
    Input(parts.SCORE_Y, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_tradeoff(_stamp: str | None, others: list[str] | None, x: str, y: str, run_id: str) -> go.Figure:
    """Two scores of every embedding against each other."""
    frame = tradeoff_frame(scores_of(run_id, others or []), x=x, y=y)
    return plot_tradeoff(frame, x_title=SCORES[x].label, y_title=SCORES[y].label)


@callback(
    Output(parts.MAPS, "figure"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.RUNS, "value"),
    Input(parts.MAPS_COLOR, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_maps(_stamp: str | None, others: list[str] | None, color: str, run_id: str) -> Any:
    """The map of every embedding, with its scores beneath."""
    scores = scores_of(run_id, others or [])
    maps = maps_of(run_id, scores)
    table = by_method(scores).set_index("label")
    beneath = {label: f"ARI {number(table['best_ari'][label])} · kBET {number(table['kbet'][label])}" for label in maps}
    result = studio.load_result(run_id)
    colors = result.uns.get(f"{color}_colors")
    return plot_maps(maps, result.obs[color], beneath=beneath, uns_colors=None if colors is None else list(colors))


def maps_of(run_id: str, scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Positions of the cells by each embedding that has a map; of a method with several seeds, the first."""
    maps: dict[str, np.ndarray] = {}
    for label, row in scores.groupby("label", sort=False).first().iterrows():
        if row["run"]:
            obsm = studio.load_result(str(row["run"])).obsm
            found = np.asarray(obsm[keys.X_UMAP]) if keys.X_UMAP in obsm else None
        else:
            name = table_name(table_name_of(str(row["method"]), int(row["seed"])))
            table = studio.load_table(run_id, parts.KIND, name)
            found = None if table is None else table[UMAP_COLUMNS].to_numpy()
        if found is not None and len(found) == len(studio.load_result(run_id)):
            maps[str(label)] = found
    return maps


@callback(
    Output(parts.MATCH, "figure"),
    Output(parts.PAIRS, "rowData"),
    Output(parts.MATCH_SAID, "children"),
    Output(parts.SETTINGS, "children"),
    Input(parts.OTHER, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def compare_topics(other_id: str | None, run_id: str) -> tuple[Any, Any, Any, Any]:
    """Which topic of this run is which of the other, and what was set differently."""
    if not other_id:
        return empty_figure("Choose another run to lay topics against; if there is none, train one."), [], None, None
    run, other = studio.open_run(run_id), studio.open_run(other_id)
    try:
        matching = match_runs(studio.load_result(run_id), studio.load_result(other_id))
    except DataError as error:  # other genes, say
        return empty_figure(str(error)), [], None, _settings_table(settings_that_differ(run.config, other.config))
    frame = topic_match_frame(matching)
    figure = plot_topic_match(frame, first_name=run.config.name, second_name=other.config.name)
    names = (run.topic_names(), other.topic_names())
    rows = [
        {
            "first": studio.topic_label(int(first.removeprefix("topic_")), names[0]),
            "second": studio.topic_label(int(second.removeprefix("topic_")), names[1]),
            "similarity": float(similarity),
        }
        for first, second, similarity in matching.pairs[["first", "second", "similarity"]].itertuples(index=False)
    ]
    n_alike = int((matching.pairs["similarity"] > 0.5).sum())
    said = dmc.Text(
        f"{n_alike} of {len(rows)} pairs have a similarity above .5, over {matching.n_genes:,} shared genes.",
        size="sm",
        c="dimmed",
    )
    return figure, rows, said, _settings_table(settings_that_differ(run.config, other.config))


def _settings_table(table: pd.DataFrame) -> Component:
    if table.empty:
        return dmc.Text("None: both runs have the same settings.", size="sm", c="dimmed")
    head = html.Thead(html.Tr([html.Th(text) for text in ("Setting", "This run", "Other run")]))
    body = html.Tbody([html.Tr([html.Td(value) for value in row]) for row in table.itertuples(index=False)])
    return html.Table([head, body], className="plain-table numbers")


clientside_callback(
    "function (other, run) { window.scetm.keepInUrl({run: run, other: other}, []); }",
    Input(parts.OTHER, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


@callback(
    Output(csv_download(parts.TRADEOFF), "data"),
    Input(csv_button(parts.TRADEOFF), "n_clicks"),
    State(parts.RUNS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_scores(n_clicks: int | None, others: list[str] | None, run_id: str) -> Any:
    """All scores of every method and seed as CSV."""
    if not n_clicks:
        return no_update
    scores = scores_of(run_id, others or []).drop(columns="is_own")
    return dcc.send_data_frame(scores.to_csv, f"{run_id}-comparison.csv", index=False)


@callback(
    Output(csv_download(parts.MATCH), "data"),
    Input(csv_button(parts.MATCH), "n_clicks"),
    State(parts.OTHER, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_match(n_clicks: int | None, other_id: str | None, run_id: str) -> Any:
    """Similarity of all topics of both runs as CSV."""
    if not n_clicks or not other_id:
        return no_update
    matching = match_runs(studio.load_result(run_id), studio.load_result(other_id))
    return dcc.send_data_frame(matching.similarity.to_csv, f"{run_id}-topics-of-{other_id}.csv")
