"""Which genes make up the topic in focus, and which cells use it? Its leading genes, its map, and the ways on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.parts import figure_card, link_button
from pages._topics.ids import NAMES, TOP_GENES, TOPIC, TOPIC_MAP
from pages._topics.known import known_markers
from scetm_core import keys
from scetm_core.figures import plot_top_genes, plot_umap, top_genes_frame, types_marked

WEIGHT = "topics-lambda"
GENES_TITLE = "topics-genes-title"
MAP_TITLE = "topics-map-title"
LINKS = "topics-links"

N_TOP_GENES = 20

HOW_TOP = (
    "The wide grey bar is p(gene): the share of all reads that the topics together give to the gene, each weighted by "
    "its mean theta. The narrow bar is p(gene | topic): softmax of the topic's beta, so without batch effects. Genes "
    "are ranked by relevance (Sievert and Shirley, 2014): lambda x log p(gene | topic) + (1 - lambda) x log of "
    "p(gene | topic) / p(gene). Lambda 1: the most likely genes, in the order of beta. Lambda 0: genes that are the "
    "topic's own, however rare. Bold: known markers of a cell type; hover to see of which."
)
HOW_MAP = "Each cell coloured by theta: the share of its reads that the topic explains, 0 to 1."


def cards(topic: int, names: Mapping[str, str]) -> Component:
    """Leading genes and map, side by side."""
    genes, cells = titles(topic, names)
    weight = dmc.Group(
        [
            dmc.Text("Rank by: its own", size="sm"),
            dmc.Slider(
                id=WEIGHT,
                min=0,
                max=1,
                step=0.05,
                value=1,
                w=140,
                size="sm",
                thumbLabel="Lambda of the relevance",
            ),
            dmc.Text("most likely", size="sm"),
        ],
        gap="sm",
    )
    return html.Div(
        [
            figure_card(
                TOP_GENES, title=_title(GENES_TITLE, genes), how_to_read=HOW_TOP, controls=[weight], height=440
            ),
            figure_card(TOPIC_MAP, title=_title(MAP_TITLE, cells), how_to_read=HOW_MAP, height=440, is_map=True),
        ],
        className="two-columns",
    )


def _title(component_id: str, text: str) -> Component:
    return dmc.Title(text, id=component_id, order=2, className="card-title")


def titles(topic: int, names: Mapping[str, str]) -> tuple[str, str]:
    """Of the two cards."""
    label = studio.topic_label(topic, names)
    return f"Top genes of {label}", f"Cells of {label}"


def ways_on(run_id: str, topic: int) -> list[Component]:
    """Links to the pages that tell more of the topic."""
    query = f"?run={run_id}&topic={topic}"
    return [
        link_button("Cells coloured by it", f"/cells{query}"),
        link_button("Its gene sets", f"/enrichment{query}"),
        link_button("On the joint map", f"/embedding{query}"),
    ]


@callback(
    Output(GENES_TITLE, "children"),
    Output(MAP_TITLE, "children"),
    Output(LINKS, "children"),
    Input(TOPIC, "value"),
    Input(NAMES, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def tell_topic(topic: str, names: dict[str, str], run_id: str) -> tuple[str, str, list[Component]]:
    """Titles and links of the topic in focus."""
    return (*titles(int(topic), names), ways_on(run_id, int(topic)))


@callback(Output(TOP_GENES, "figure"), Input(TOPIC, "value"), Input(WEIGHT, "value"), State(ids.ACTIVE_RUN, "data"))
def draw_top_genes(topic: str, weight: float | None, run_id: str) -> go.Figure:
    """Draw its genes, known markers in bold."""
    frame = top_genes_frame(studio.load_result(run_id), int(topic), n_genes=N_TOP_GENES, weight=_weight(weight))
    return plot_top_genes(frame, highlight=types_marked(known_markers(run_id).gene_sets))


def _weight(weight: float | None) -> float:
    return 1.0 if weight is None else float(weight)


@callback(Output(TOPIC_MAP, "figure"), Input(TOPIC, "value"), Input(NAMES, "data"), State(ids.ACTIVE_RUN, "data"))
def draw_map(topic: str, _names: Any, run_id: str) -> go.Figure:
    """Draw its cells; the colour bar tells its name."""
    return plot_umap(colors.colored_frame(run_id, keys.topic_name(int(topic))))


@callback(
    Output(csv_download(TOP_GENES), "data"),
    Input(csv_button(TOP_GENES), "n_clicks"),
    State(TOPIC, "value"),
    State(WEIGHT, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_genes(n_clicks: int | None, topic: str, weight: float | None, run_id: str) -> Any:
    """All genes by their relevance, as CSV."""
    if not n_clicks:
        return no_update
    result = studio.load_result(run_id)
    table = top_genes_frame(result, int(topic), n_genes=result.n_vars, weight=_weight(weight)).set_index("rank")
    return dcc.send_data_frame(table.to_csv, f"{run_id}-topic_{topic}-genes.csv")


@callback(
    Output(csv_download(TOPIC_MAP), "data"),
    Input(csv_button(TOPIC_MAP), "n_clicks"),
    State(TOPIC, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_map(n_clicks: int | None, topic: str, run_id: str) -> Any:
    """Cells with their place on the map and theta of the topic, as CSV."""
    if not n_clicks:
        return no_update
    table = colors.map_table(run_id, keys.topic_name(int(topic)))
    return dcc.send_data_frame(table.to_csv, f"{run_id}-topic_{topic}-cells.csv")
