"""Which pathways does each topic use? Read from alpha, where rho was fixed to gene sets (p-scETM)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import dash
import dash_mantine_components as dmc
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import empty_state, figure_card, link_button, page
from scetm_core import keys
from scetm_core.figures import (
    pathway_name,
    pathway_topic_frame,
    pathway_weights,
    plot_pathway_topic_heatmap,
    plot_topics_of_pathway,
    plot_umap,
    topics_in_use,
    topics_of_pathway_frame,
)

dash.register_page(
    __name__, path="/pathways", name="Pathways", title="Pathways · scETM Studio", order=90, group="Explain"
)

HEATMAP = "pathway-topic-heatmap"
BARS = "pathway-topics-bar"
CELLS = "pathway-topic-umap"
TOPICS = "pathways-topics"
N_SETS = "pathways-n-sets"
KEYWORDS = "pathways-keywords"
TOPIC = "pathways-topic"
SET = "pathways-set"
LINK = "pathways-cells-link"

N_BARS = 15

HOW_HEATMAP = (
    "A row is a pathway, a column a topic, the colour alpha: red where the topic makes the pathway's genes more "
    "likely, blue where less. Each topic brings its leading pathways. Click a cell to look at its topic and pathway."
)
HOW_BARS = "The topics that weigh this pathway most, by alpha. A topic below 0 makes its genes less likely."
HOW_CELLS = "Each cell coloured by theta: the share of its reads that the topic explains, 0 to 1."
WHAT_IT_IS = (
    "In a pathway-informed model (p-scETM) the gene embedding rho is not learnt but given: which gene is in which "
    "pathway. Only alpha is learnt, so that each topic says directly which pathways it uses. This run has learnt its "
    "gene embedding. Train one with pathways: on the Train page, under 'Genes and topics', choose a file for 'Gene "
    "sets as rho'. To relate the topics of this run with gene sets, compare them on the Enrichment page."
)


def layout(run: str | None = None, topic: str | None = None, **more: str) -> Component:
    """The page, with one topic and one pathway (`set`) in focus."""
    question = "Which pathways does each topic use?"
    opened = open_result("Pathways", question, run)
    if not isinstance(opened, Opened):
        return opened
    weights = pathway_weights(opened.result)
    if weights.empty:
        return page("Pathways", question, opened.store, _what_it_is(opened.run.id))
    asked = opened.topic_in(topic)
    focus = opened.strongest_topic() if asked is None else asked
    used = topics_in_use(opened.result)
    shown = used if focus in used else [*used, focus]
    gene_set = more.get("set") if more.get("set") in weights.index else weights[keys.topic_name(focus)].idxmax()
    return page(
        "Pathways",
        question,
        opened.store,
        _controls(opened, shown, focus),
        figure_card(HEATMAP, title="Leading pathways by topic", how_to_read=HOW_HEATMAP, height=None, scrolls=True),
        html.Div(
            [
                figure_card(
                    BARS,
                    title=_set_select(list(weights.index), str(gene_set)),
                    how_to_read=HOW_BARS,
                    height=None,
                ),
                figure_card(
                    CELLS,
                    title="Cells of the topic",
                    how_to_read=HOW_CELLS,
                    height=420,
                    is_map=True,
                    controls=[html.Div(id=LINK)],
                ),
            ],
            className="two-columns",
        ),
    )


def _what_it_is(run_id: str) -> Component:
    """For runs whose rho was learnt."""
    return empty_state(
        "This run knows no pathways",
        WHAT_IT_IS,
        link_button("Train a pathway-informed model", "/train", variant="filled"),
        link_button("Compare topics with gene sets", f"/enrichment?run={run_id}"),
    )


def _controls(opened: Opened, shown: Sequence[int], focus: int) -> Component:
    topics = opened.topic_options()
    return dmc.Group(
        [
            dmc.Select(
                id=TOPIC, label="Topic", data=topics, value=str(focus), searchable=True, allowDeselect=False, w=200
            ),
            dmc.MultiSelect(
                id=TOPICS,
                label="Topics shown",
                data=topics,
                value=[str(number) for number in shown],
                searchable=True,
                clearable=True,
                placeholder="add a topic",
                maw=500,
                miw=240,
                style={"flex": 1},
            ),
            dmc.NumberInput(
                id=N_SETS, label="Pathways per topic", value=5, min=1, max=50, allowDecimal=False, w=150, debounce=300
            ),
            dmc.TextInput(id=KEYWORDS, label="Highlight words", placeholder="insulin, secretion", debounce=300, w=220),
        ],
        align="flex-end",
    )


def _set_select(names: Sequence[str], chosen: str) -> Component:
    """The choice of a pathway, in the place of a title."""
    return dmc.Select(
        id=SET,
        label="Topics that use",
        data=[{"value": name, "label": pathway_name(name)} for name in names],
        value=chosen,
        searchable=True,
        allowDeselect=False,
        limit=200,
        nothingFoundMessage="No pathway of that name",
        style={"flex": 1},
        maw=420,
        miw=200,
    )


def names_of(run_id: str) -> dict[str, str]:
    """Names given to topics."""
    return studio.open_run(run_id).topic_names()


def heatmap_frame(run_id: str, topics: Sequence[str] | None, n_sets: object) -> pd.DataFrame:
    """Pathways x topics."""
    numbers = [int(topic) for topic in topics or [] if str(topic).isdecimal()]
    n_chosen = n_sets if isinstance(n_sets, int) else 5
    return pathway_topic_frame(studio.load_result(run_id), n_sets=n_chosen, topics=numbers)


def bars_frame(run_id: str, gene_set: str) -> pd.DataFrame:
    """The topics of a pathway by alpha."""
    return topics_of_pathway_frame(studio.load_result(run_id), gene_set, n_topics=N_BARS)


@callback(
    Output(HEATMAP, "figure"),
    Input(ids.ACTIVE_RUN, "data"),
    Input(TOPICS, "value"),
    Input(N_SETS, "value"),
    Input(KEYWORDS, "value"),
    Input(TOPIC, "value"),
)
def draw_pathways(run_id: str, topics: list[str] | None, n_sets: object, keywords: str | None, topic: str) -> go.Figure:
    """Draw pathways x topics, the topic in focus framed, pathways with the words in bold."""
    return plot_pathway_topic_heatmap(
        heatmap_frame(run_id, topics, n_sets),
        keywords=re.split(r"[,;]", keywords or ""),
        topic_names=names_of(run_id),
        selected_topic=int(topic),
    )


@callback(Output(BARS, "figure"), Input(ids.ACTIVE_RUN, "data"), Input(SET, "value"))
def draw_topics(run_id: str, gene_set: str) -> go.Figure:
    """Draw the topics that use a pathway."""
    return plot_topics_of_pathway(bars_frame(run_id, gene_set), topic_names=names_of(run_id))


@callback(
    Output(CELLS, "figure"),
    Output(LINK, "children"),
    Input(ids.ACTIVE_RUN, "data"),
    Input(TOPIC, "value"),
)
def draw_cells(run_id: str, topic: str) -> tuple[go.Figure, Component]:
    """Draw the cells of the topic in focus."""
    figure = plot_umap(colors.colored_frame(run_id, keys.topic_name(int(topic))))
    link = f"/cells?run={run_id}&topic={topic}"
    return figure, link_button(f"Show topic {topic} on the cells page", link, size="compact-sm")


@callback(
    Output(TOPIC, "value"),
    Output(SET, "value"),
    Input(HEATMAP, "clickData"),
    Input(BARS, "clickData"),
    State(TOPICS, "value"),
    State(N_SETS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def focus_clicked(
    cell: dict[str, Any] | None, bar: dict[str, Any] | None, topics: list[str], n_sets: object, run_id: str
) -> tuple[Any, Any]:
    """Look at the topic and the pathway of the cell, or the topic of the bar, that was clicked."""
    if ctx.triggered_id == BARS and bar:
        return str(bar["points"][0]["customdata"]).removeprefix(keys.topic_name(0)[:-1]), no_update
    if ctx.triggered_id != HEATMAP or not cell:
        return no_update, no_update
    point, frame = cell["points"][0], heatmap_frame(run_id, topics, n_sets)
    topic, row = str(point["x"]), int(point["y"])
    if keys.topic_name(int(topic)) not in frame or not 0 <= row < len(frame):
        return no_update, no_update
    return topic, str(frame.index[row])


clientside_callback(
    "function (topic, set, run) { window.scetm.keepInUrl({run: run, topic: topic, set: set}, []); }",
    Input(TOPIC, "value"),
    Input(SET, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


def cells_table(run_id: str, topic: str) -> pd.DataFrame:
    """Cells with their place on the map and theta of a topic."""
    return colors.map_table(run_id, keys.topic_name(int(topic)))


def all_topics_of(run_id: str, gene_set: str) -> pd.DataFrame:
    """All topics by their alpha for a pathway."""
    result = studio.load_result(run_id)
    n_topics = result.obsm[keys.DELTA].shape[1]
    return topics_of_pathway_frame(result, gene_set, n_topics=n_topics).set_index("topic")


def _offer_csv(graph: str, fields: Sequence[str], make_frame: Any) -> None:
    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        *(State(field, "value") for field in fields),
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, run_id: str, *values: Any) -> Any:
        if not n_clicks:
            return no_update
        return dcc.send_data_frame(make_frame(run_id, *values).to_csv, f"{run_id}-{graph}.csv")


_offer_csv(HEATMAP, (TOPICS, N_SETS), heatmap_frame)
_offer_csv(BARS, (SET,), all_topics_of)
_offer_csv(CELLS, (TOPIC,), cells_table)
