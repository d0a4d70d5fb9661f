"""What is each topic made of? Its genes, the cell types that use it, and where its cells are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dash
import dash_mantine_components as dmc
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import figure_card, link_button, page
from scetm_core import keys
from scetm_core.figures import (
    cell_topic_frame,
    gene_topic_frame,
    plot_cell_topic_heatmap,
    plot_gene_topic_heatmap,
    plot_top_genes,
    plot_topic_heatmap,
    plot_umap,
    top_genes_frame,
    topic_mean_frame,
)

if TYPE_CHECKING:
    pass

dash.register_page(__name__, path="/topics", name="Topics", title="Topics · scETM Studio", order=50, group="Explore")

GENES = "gene-topic-heatmap"
MEANS = "topic-means-heatmap"
CELLS = "cell-topic-heatmap"
TOP_GENES = "top-genes-bar"
TOPIC_MAP = "topic-umap"
TOPIC = "topics-topic"
GROUPBY = "topics-groupby"
N_GENES = "topics-n-genes"
CELLS_LINK = "topics-cells-link"

N_TOP_GENES = 20
N_CELLS = 3000

HOW_GENES = (
    "A row is a gene, a column a topic. Red: the topic makes the gene more likely, blue: less likely; values are "
    "divided by the largest of their topic. Click a column to look at its topic."
)
HOW_MEANS = (
    "How much of a group's reads each topic explains, on average (theta; a row sums to 1). A topic bright in one row "
    "only belongs to that group; one bright everywhere is common to all. Click a column to look at its topic."
)
HOW_TOP = "The genes with the largest beta in the topic: those it makes most likely, before batch effects."
HOW_MAP = "Each cell coloured by theta: the share of its reads that the topic explains, 0 to 1."
HOW_CELLS = (
    "A row is a cell, a column a topic, the colour delta: the topic's strength before the softmax. The bars at the "
    "left give each cell's groups; cells of one group stand together."
)


def layout(run: str | None = None, topic: str | None = None, groupby: str | None = None, **_: str) -> Component:
    """The page, with one topic in focus."""
    question = "Which genes make up each topic, and which cells use it?"
    opened = open_result("Topics", question, run)
    if not isinstance(opened, Opened):
        return opened
    chosen = opened.default_grouping(groupby)
    asked = opened.topic_in(topic)
    focus = opened.strongest_topic() if asked is None else asked
    return page(
        "Topics",
        question,
        opened.store,
        _controls(opened, chosen, focus),
        html.Div(
            [
                figure_card(TOP_GENES, title="Top genes of the topic", how_to_read=HOW_TOP, height=440),
                figure_card(TOPIC_MAP, title="Cells of the topic", how_to_read=HOW_MAP, height=440, is_map=True),
            ],
            className="two-columns",
        ),
        figure_card(MEANS, title="Topics by group of cells", how_to_read=HOW_MEANS, height=None),
        figure_card(
            GENES,
            title="Topics by gene",
            how_to_read=HOW_GENES,
            controls=[_n_genes_control()],
            height=None,
            scrolls=True,
        ),
        figure_card(CELLS, title="Topics by cell", how_to_read=HOW_CELLS, height=None),
    )


def _controls(opened: Opened, chosen: str, focus: int) -> Component:
    return dmc.Group(
        [
            dmc.Select(
                id=TOPIC,
                label="Topic",
                data=opened.topic_options(),
                value=str(focus),
                searchable=True,
                allowDeselect=False,
                w=140,
            ),
            dmc.Select(
                id=GROUPBY,
                label="Group cells by",
                data=opened.grouping_columns(),
                value=chosen,
                searchable=True,
                allowDeselect=False,
                w=220,
            ),
            html.Div(id=CELLS_LINK),
        ],
        align="flex-end",
    )


def _n_genes_control() -> Component:
    return dmc.NumberInput(
        id=N_GENES, label="Genes per topic", value=3, min=1, max=50, allowDecimal=False, w=140, debounce=300
    )


def names_of(run_id: str) -> dict[str, str]:
    """Names given to topics."""
    return studio.open_run(run_id).topic_names()


def mean_frame(run_id: str, groupby: str) -> pd.DataFrame:
    """Groups x topics."""
    return topic_mean_frame(studio.load_result(run_id), groupby=groupby)


def gene_frame(run_id: str, n_genes: int) -> pd.DataFrame:
    """Genes x topics."""
    return gene_topic_frame(studio.load_result(run_id), n_genes=n_genes or 1)


def cell_frame(run_id: str, groupby: str) -> pd.DataFrame:
    """Cells x topics, with the chosen grouping and the batch beside."""
    batch = studio.find_run(run_id).config.data.batch_key  # type: ignore[union-attr]
    annotations = [groupby, *([batch] if batch and batch != groupby else [])]
    return cell_topic_frame(studio.load_result(run_id), n_cells=N_CELLS, annotations=annotations)


@callback(Output(MEANS, "figure"), Input(ids.ACTIVE_RUN, "data"), Input(GROUPBY, "value"))
def draw_means(run_id: str, groupby: str) -> go.Figure:
    """Draw groups x topics."""
    return plot_topic_heatmap(mean_frame(run_id, groupby), topic_names=names_of(run_id))


@callback(Output(GENES, "figure"), Input(ids.ACTIVE_RUN, "data"), Input(N_GENES, "value"), Input(TOPIC, "value"))
def draw_genes(run_id: str, n_genes: int | None, topic: str) -> go.Figure:
    """Draw genes x topics with the chosen topic framed."""
    return plot_gene_topic_heatmap(gene_frame(run_id, n_genes or 1), selected_topic=int(topic))


@callback(Output(CELLS, "figure"), Input(ids.ACTIVE_RUN, "data"), Input(GROUPBY, "value"))
def draw_cells(run_id: str, groupby: str) -> go.Figure:
    """Draw cells x topics."""
    return plot_cell_topic_heatmap(cell_frame(run_id, groupby), topic_names=names_of(run_id))


@callback(
    Output(TOP_GENES, "figure"),
    Output(TOPIC_MAP, "figure"),
    Output(CELLS_LINK, "children"),
    Input(ids.ACTIVE_RUN, "data"),
    Input(TOPIC, "value"),
)
def draw_topic(run_id: str, topic: str) -> tuple[go.Figure, go.Figure, Component]:
    """Draw the topic in focus: its genes, and its cells."""
    genes = plot_top_genes(top_genes_frame(studio.load_result(run_id), int(topic), n_genes=N_TOP_GENES))
    cells = plot_umap(colors.colored_frame(run_id, keys.topic_name(int(topic))))
    link = link_button(f"Show topic {topic} on the cells page", f"/cells?run={run_id}&topic={topic}")
    return genes, cells, link


@callback(
    Output(TOPIC, "value"),
    Input(GENES, "clickData"),
    Input(MEANS, "clickData"),
    Input(CELLS, "clickData"),
    prevent_initial_call=True,
)
def focus_clicked_topic(*clicks: dict[str, Any] | None) -> Any:
    """Look at the topic whose column was clicked."""
    clicked = dict(zip((GENES, MEANS, CELLS), clicks, strict=True)).get(ctx.triggered_id)
    if not clicked or not str(clicked["points"][0]["x"]).isdecimal():
        return no_update
    return str(clicked["points"][0]["x"])


clientside_callback(
    "function (topic, groupby, run) { window.scetm.keepInUrl({run: run, topic: topic, groupby: groupby}, []); }",
    Input(TOPIC, "value"),
    Input(GROUPBY, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


def top_genes_table(run_id: str, topic: str) -> pd.DataFrame:
    """All genes by their beta in a topic."""
    result = studio.load_result(run_id)
    return top_genes_frame(result, int(topic), n_genes=result.n_vars).set_index("rank")


def topic_map_table(run_id: str, topic: str) -> pd.DataFrame:
    """Cells with their place on the map and theta of a topic."""
    return colors.map_table(run_id, keys.topic_name(int(topic)))


def _offer_csv(graph: str, extra: str, make_frame: Any) -> None:
    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        State(extra, "value"),
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, run_id: str, value: Any) -> Any:
        if not n_clicks:
            return no_update
        return dcc.send_data_frame(make_frame(run_id, value).to_csv, f"{run_id}-{graph}.csv")


_offer_csv(MEANS, GROUPBY, mean_frame)
_offer_csv(GENES, N_GENES, gene_frame)
_offer_csv(CELLS, GROUPBY, cell_frame)
_offer_csv(TOP_GENES, TOPIC, top_genes_table)
_offer_csv(TOPIC_MAP, TOPIC, topic_map_table)
