"""Which genes make up each topic, and which cells use it?"""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
from dash import Input, Output, State, callback, clientside_callback, ctx, no_update
from dash.development.base_component import Component

from pages._shared import ids
from pages._shared.opened import Opened, open_result
from pages._shared.parts import page, score_card, score_in_words
from pages._topics import cell_heatmaps, choice, focus, gene_heatmap, naming
from pages._topics.ids import CELLS, GENES, GROUPBY, MEANS, TOPIC

dash.register_page(__name__, path="/topics", name="Topics", title="Topics · scETM Studio", order=50, group="Explore")

QUESTION = "Which genes make up each topic, and which cells use it?"
SCORES = (
    ("topic_diversity", "Diversity", "Share of different genes among the topics' leading ones. 1: no gene leads two "
     "topics. Higher is better."),
    ("topic_coherence", "Coherence", "Whether the leading genes of a topic meet in the same cells (NPMI, -1 to 1; 0 is "
     "chance), mean over topics. Higher is better."),
)  # fmt: skip


def layout(run: str | None = None, topic: str | None = None, groupby: str | None = None, **_: str) -> Component:
    """The page, with one topic in focus."""
    opened = open_result("Topics", QUESTION, run)
    if not isinstance(opened, Opened):
        return opened
    grouping, asked = opened.default_grouping(groupby), opened.topic_in(topic)
    in_focus = opened.strongest_topic() if asked is None else asked
    return page(
        "Topics",
        QUESTION,
        opened.store,
        _controls(opened, grouping, in_focus),
        focus.cards(in_focus, opened.names),
        cell_heatmaps.means_card(),
        gene_heatmap.genes_card(),
        cell_heatmaps.cells_card(opened, grouping),
        naming.names_card(),
        actions=_scores(opened),
    )


def _scores(opened: Opened) -> list[Component]:
    """Diversity and coherence of the topics, where they were worked out."""
    scores = opened.run.evaluation()
    cards = [
        score_card(label, score_in_words(scores[key]), meaning)
        for key, label, meaning in SCORES
        if scores.get(key) is not None
    ]
    return [dmc.Group(cards, gap="xl", className="tips-left")] if cards else []


def _controls(opened: Opened, groupby: str, topic: int) -> Component:
    first = [
        dmc.Select(
            id=TOPIC,
            label="Topic",
            data=opened.topic_options(),
            value=str(topic),
            searchable=True,
            allowDeselect=False,
            w=220,
        ),
        *naming.controls(opened, topic),
        dmc.Group(focus.ways_on(opened.run.id, topic), id=focus.LINKS, gap="xs"),
    ]
    second = [
        dmc.Select(
            id=GROUPBY,
            label="Group cells by",
            data=opened.grouping_columns(),
            value=groupby,
            searchable=True,
            allowDeselect=False,
            w=220,
        ),
        *choice.controls(opened, groupby),
    ]
    return dmc.Stack([dmc.Group(first, align="flex-end"), dmc.Group(second, align="flex-end")], gap="sm")


@callback(
    Output(TOPIC, "value"),
    Input(GENES, "clickData"),
    Input(MEANS, "clickData"),
    Input(CELLS, "clickData"),
    Input(naming.TABLE, "cellClicked"),
    prevent_initial_call=True,
)
def focus_clicked_topic(*clicks: dict[str, Any] | None) -> Any:
    """Look at the topic whose column was clicked in a heatmap, or whose number in the table."""
    clicked = dict(zip((GENES, MEANS, CELLS, naming.TABLE), clicks, strict=True)).get(ctx.triggered_id)
    if not clicked:
        return no_update
    if ctx.triggered_id == naming.TABLE:
        return str(clicked["value"]) if clicked["colId"] == "topic" else no_update
    column = str(clicked["points"][0]["x"])
    return column if column.isdecimal() else no_update


clientside_callback(
    "function (topic, groupby, run) { window.scetm.keepInUrl({run: run, topic: topic, groupby: groupby}, []); }",
    Input(TOPIC, "value"),
    Input(GROUPBY, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
