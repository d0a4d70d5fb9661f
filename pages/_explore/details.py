"""What sets the selected cells apart? Composition, topics, expected genes, against the rest or cells kept before."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._explore.ids import (
    AGAINST,
    CHANGED,
    COMPOSITION,
    COMPOSITION_BESIDE,
    EXPECTED,
    PROFILE,
    SAID,
    TOPIC,
)
from pages._shared import ids, selecting, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened
from pages._shared.parts import card, explanation, figure_card
from pages._shared.tables import grid
from scetm_core.figures import (
    composition_frame,
    expected_genes_frame,
    group_colors,
    plot_composition,
    plot_profile,
    profile_frame,
)
from scetm_core.user_columns import read_columns

Mask = npt.NDArray[np.bool_]
REST = "the rest"
BETWEEN = "\x1f"  # column and label of cells kept before; no name holds it
BY, BY_BESIDE = "explore-by", "explore-by-beside"
N_GENES = 200

HOW_COMPOSITION = (
    "Bars: share of the selected cells in each group, with their number. The grey tick: the group's share among the "
    "cells compared with. A bar beyond its tick: more of them than elsewhere."
)
HOW_PROFILE = (
    "Mean theta of the selected cells less that of the others, for the topics that differ most. Red: used more. Click "
    "a bar to put its topic in focus. Test compares all topics by permutation."
)
HOW_EXPECTED = (
    "p(gene) as the model expects it in the selected cells and in the others, per 10,000 counts: mean theta times "
    "p(gene | topic), free of batch effects. Genes that tell most come first. Click a gene to colour the cells by it."
)
COLUMNS = [
    {"field": "gene", "headerName": "Gene", "flex": 1, "minWidth": 80},
    {"field": "inside", "headerName": "Selected", "width": 95, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.3~g')(params.value)"}},
    {"field": "outside", "headerName": "Others", "width": 85, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.3~g')(params.value)"}},
    {"field": "log2_ratio", "headerName": "log2", "width": 75, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('+.2f')(params.value)"}},
]  # fmt: skip


def panel(opened: Opened, groupby: str) -> Component:
    """What the panel of the selection holds."""
    groups = opened.grouping_columns()
    batch = opened.run.config.data.batch_key
    beside = batch if batch in groups else next((name for name in groups if name != groupby), groupby)
    charts = [
        figure_card(
            COMPOSITION, title=_by(BY, groups, groupby), how_to_read=HOW_COMPOSITION, height=None, scrolls=True
        ),
        figure_card(
            COMPOSITION_BESIDE, title=_by(BY_BESIDE, groups, beside), how_to_read=HOW_COMPOSITION, height=None,
            scrolls=True,
        ),
        figure_card(PROFILE, title="Topics", how_to_read=HOW_PROFILE, height=None, scrolls=True),
        card(
            grid(EXPECTED, COLUMNS, row_id="params.data.gene", rows=8, selectable=True),
            title="Expected genes",
            actions=[explanation(HOW_EXPECTED)],
        ),
    ]  # fmt: skip
    return html.Div(
        [html.Div(id=SAID, className="explore-said", role="status"), html.Div(charts, className="explore-details")]
    )


def _by(component_id: str, groups: list[str], value: str) -> Component:
    return dmc.Select(
        id=component_id, data=groups, value=value, searchable=True, allowDeselect=False, size="xs", w=150,
        **{"aria-label": "Composition by"},
    )  # fmt: skip


def against_options(run_id: str) -> list[dict[str, str]]:
    """With what a selection can be compared: the rest, or cells kept before."""
    kept = [
        f"{name}{BETWEEN}{label}"
        for name, column in read_columns(studio.open_run(run_id)).items()
        for label in column.labels
        if label != column.rest
    ]
    return [{"value": value, "label": against_in_words(value)} for value in (REST, *kept)]


def against_in_words(against: str | None) -> str:
    """``"state: early"``, or "the rest"."""
    return (against or REST).replace(BETWEEN, ": ")


def sides(run_id: str, selection: str, against: str | None) -> tuple[Mask, Mask]:
    """The selected cells, and those that they are compared with; nobody is on both sides."""
    result = studio.load_result(run_id)
    inside = selecting.mask_of(run_id, selection)
    if inside is None:
        return np.zeros(result.n_obs, dtype=bool), np.ones(result.n_obs, dtype=bool)
    column, _, label = (against or "").partition(BETWEEN)
    if column not in result.obs:
        return inside, ~inside
    return inside, (result.obs[column].astype("category") == label).to_numpy() & ~inside


def _composition(run_id: str, by: str, selection: str, against: str | None) -> pd.DataFrame:
    result = studio.load_result(run_id)
    inside, outside = sides(run_id, selection, against)
    if not selection:  # nothing selected: all cells, beside nothing
        inside, outside = outside, inside
    return composition_frame(result.obs[by], inside, outside, group_colors(result, by))


_STATE = (Input(selecting.STORE, "data"), Input(AGAINST, "value"), Input(ids.ACTIVE_RUN, "data"))


@callback(Output(COMPOSITION, "figure"), Input(BY, "value"), *_STATE)
def draw_composition(by: str, store: dict[str, Any] | None, against: str | None, run_id: str) -> go.Figure:
    """Draw what the selected cells are made of."""
    return plot_composition(_composition(run_id, by, selecting.current(store, run_id), against))


@callback(Output(COMPOSITION_BESIDE, "figure"), Input(BY_BESIDE, "value"), *_STATE)
def draw_composition_beside(by: str, store: dict[str, Any] | None, against: str | None, run_id: str) -> go.Figure:
    """Draw it by another column."""
    return draw_composition(by, store, against, run_id)


@callback(Output(PROFILE, "figure"), Input(TOPIC, "value"), *_STATE)
def draw_profile(topic: str, store: dict[str, Any] | None, against: str | None, run_id: str) -> go.Figure:
    """Draw which topics they use more and less."""
    names = studio.open_run(run_id).topic_names()
    return plot_profile(_profile(run_id, store, against), topic=int(topic), names=names)


def _profile(run_id: str, store: dict[str, Any] | None, against: str | None) -> pd.DataFrame:
    inside, outside = sides(run_id, selecting.current(store, run_id), against)
    return profile_frame(studio.load_result(run_id), inside, outside)


@callback(Output(EXPECTED, "rowData"), *_STATE)
def list_genes(store: dict[str, Any] | None, against: str | None, run_id: str) -> list[Any]:
    """List the genes expected to be stronger in them."""
    inside, outside = sides(run_id, selecting.current(store, run_id), against)
    frame = expected_genes_frame(studio.load_result(run_id), inside, outside)
    return [] if frame.empty else frame.head(N_GENES).round(5).to_dict("records")


@callback(Output(SAID, "children"), *_STATE)
def say(store: dict[str, Any] | None, against: str | None, run_id: str) -> str:
    """Say who is compared with whom."""
    name = selecting.current(store, run_id)
    if not name:
        return (
            "Draw a lasso on the map, or choose by a column, a topic or a gene: what sets these cells apart shows here."
        )
    _, outside = sides(run_id, name, against)
    return f"{selecting.words_of(run_id, name)}. Compared with {outside.sum():,} cells: {against_in_words(against)}."


@callback(
    Output(AGAINST, "data"),
    Output(AGAINST, "value"),
    Input(CHANGED, "data"),
    State(AGAINST, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def offer_against(_changed: Any, chosen: str, run_id: str) -> tuple[list[dict[str, str]], str]:
    """Offer the cells kept so far."""
    options = against_options(run_id)
    return options, chosen if chosen in {option["value"] for option in options} else REST


@callback(Output(TOPIC, "value", allow_duplicate=True), Input(PROFILE, "clickData"), prevent_initial_call=True)
def focus_clicked(clicked: dict[str, Any] | None) -> Any:
    """Put the topic of a clicked bar in focus."""
    return str(int(clicked["points"][0]["customdata"][0])) if clicked else no_update


def download(n_clicks: int | None, by: str, store: dict[str, Any] | None, against: str | None, run_id: str) -> Any:
    """The table behind a chart as CSV."""
    graph = ctx.triggered_id["graph"]
    table = (
        _profile(run_id, store, against).set_index("topic")
        if graph == PROFILE
        else _composition(run_id, by, selecting.current(store, run_id), against)
        .set_index("group")
        .drop(columns="color")
    )
    return dcc.send_data_frame(table.to_csv, f"{run_id}-{graph.removeprefix('explore-')}.csv")


for _graph, _select in ((COMPOSITION, BY), (COMPOSITION_BESIDE, BY_BESIDE), (PROFILE, BY)):
    callback(
        Output(csv_download(_graph), "data"),
        Input(csv_button(_graph), "n_clicks"),
        State(_select, "value"),
        State(selecting.STORE, "data"),
        State(AGAINST, "value"),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )(download)
