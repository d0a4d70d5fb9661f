"""What stands on the page of genes and topics: ids, controls, cards, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from pages._embedding.highlights import GENES, SETS
from pages._shared.parts import card, explanation, figure_card, link_button
from scetm_core import keys

TASK = "embedding"
KIND = keys.MAP_FOLDER

UMAP = "joint-umap"
ZOOM = "joint-umap-zoom"
POINTS = "embedding-points"
TOPIC = "embedding-topic"
N_LEADERS = "embedding-n-genes"
NAMES = "embedding-names"
ZOOMED = "embedding-zoomed"
ZOOM_BOX = "embedding-zoom-box"
SOURCE = "embedding-sets"
SET = "embedding-set"
SET_BOX = "embedding-set-box"
TYPED = "embedding-search"
FOUND = "embedding-found"
POINT = "embedding-point"
POINT_LINK = "embedding-point-link"
POINT_TITLE = "embedding-point-title"
NEAR_TOPIC = "embedding-near-topic"
NEAR_TOPIC_TITLE = "embedding-near-topic-title"
NEAR_POINT = "embedding-near-point"
OFFER = "embedding-offer"
START = "embedding-start"

HIDDEN = {"display": "none"}

HOW_MAP = (
    "Genes and topics share one space: a grey point is a gene, a diamond a topic. A gene lies near the topics that "
    "make it more likely, measured by the cosine; distances between far-apart groups mean little. Rings are the "
    "topic's leading genes, by beta; those that lead several topics may lie away from each. Click a topic to look at "
    "it, a gene to see its topics; the wheel zooms, a double click goes back."
)
HOW_ZOOM = (
    "The part of the map in the frame: the topic in focus with what lies around it. Leading genes are named first, "
    "then other highlighted ones, then as many as find room."
)
HOW_NEAREST = (
    "Cosine in the space itself, where nothing had to be flattened: 1 is the same direction, 0 nothing in common. It "
    "may differ from what lies near on the map."
)


def label_of_point(points: str) -> str:
    """What one point of a map is."""
    return "Gene" if points == GENES else "Gene set"


def label_of_leaders(points: str) -> str:
    """What the first points of a topic are called."""
    return "Leading genes" if points == GENES else "Leading sets"


def search_hint(points: str) -> str:
    """What can be typed to find points."""
    return "INS, GCG, …" if points == GENES else "insulin, secretion"


def controls(
    topics: Sequence[Mapping[str, str]], *, topic: int, points: str, has_sets: bool, n_leaders: int
) -> Component:
    """The slim row above the map."""
    choice = dmc.SegmentedControl(
        id=POINTS,
        data=[{"value": GENES, "label": "Genes"}, {"value": SETS, "label": "Gene sets"}],
        value=points,
        style={} if has_sets else HIDDEN,
        **{"aria-label": "Points of the map"},
    )
    return dmc.Group(
        [
            choice,
            dmc.Select(
                id=TOPIC, label="Topic", data=list(topics), value=str(topic), searchable=True, allowDeselect=False,
                w=200,
            ),
            dmc.NumberInput(
                id=N_LEADERS, label=label_of_leaders(points), value=n_leaders, min=0, max=500, allowDecimal=False,
                w=130, debounce=300,
            ),
            dmc.Switch(id=NAMES, label="Names of topics", checked=True, size="sm", pb=8),
            dmc.Switch(id=ZOOMED, label="Zoom on the topic", checked=True, size="sm", pb=8),
        ],
        align="flex-end",
        gap="md",
    )  # fmt: skip


def map_card(
    sources: Mapping[str, str],
    *,
    source: str | None,
    sets: Sequence[Mapping[str, str]],
    gene_set: str | None,
    points: str,
    run_id: str,
) -> Component:
    """The map, with what is highlighted chosen above it."""
    if sources:
        chosen: list[Component] = [
            dmc.Select(
                id=SOURCE,
                label="Gene sets from",
                data=[{"value": name, "label": label} for name, label in sources.items()],
                value=source,
                allowDeselect=False,
                w=190,
            ),
            dmc.Select(
                id=SET, label="Highlight a set", data=list(sets), value=gene_set, searchable=True, clearable=True,
                limit=200, placeholder="none", nothingFoundMessage="No set of that name", w=220,
            ),
        ]  # fmt: skip
    else:
        chosen = [
            dmc.Select(id=SOURCE, data=[], value=None, style=HIDDEN, **{"aria-label": "Gene sets from"}),
            dmc.Select(id=SET, data=[], value=None, style=HIDDEN, **{"aria-label": "Highlight a set"}),
            link_button("Compare with gene sets to highlight one", f"/enrichment?run={run_id}", size="compact-sm"),
        ]
    typed = dmc.Textarea(
        id=TYPED, label="Find", placeholder=search_hint(points), autosize=True, minRows=1, maxRows=4,
        debounce=400, w=200,
    )  # fmt: skip
    return figure_card(
        UMAP,
        title="Map",
        how_to_read=HOW_MAP,
        controls=[
            html.Div(dmc.Group(chosen, gap="sm", align="flex-end"), id=SET_BOX, style=_shown(points == GENES)),
            typed,
            dmc.Text(
                id=FOUND,
                size="sm",
                c="dimmed",
                className="numbers",
                style={"flexBasis": "100%"},
                **{"aria-live": "polite"},
            ),
        ],
        height=620,
        is_map=True,
        has_legend=True,
    )


def zoom_card() -> Component:
    """The neighbourhood of the topic."""
    return html.Div(
        figure_card(ZOOM, title="Around the topic", how_to_read=HOW_ZOOM, height=430, is_map=True), id=ZOOM_BOX
    )


def _shown(wanted: bool) -> dict[str, str]:
    return {} if wanted else HIDDEN


def near_topic_card() -> Component:
    """What points where the topic does."""
    return card(
        _table(NEAR_TOPIC, "name"),
        title=dmc.Title(id=NEAR_TOPIC_TITLE, order=2, className="card-title"),
        actions=[explanation(HOW_NEAREST)],
    )


def near_point_card(points: str, data: Sequence[Any], value: str | None) -> Component:
    """The topics that point where a gene, or gene set, does."""
    return card(
        dmc.Group(
            [
                dmc.Select(
                    id=POINT,
                    label=label_of_point(points),
                    data=list(data),
                    value=value,
                    searchable=True,
                    clearable=True,
                    limit=200,
                    placeholder="click the map, or type",
                    nothingFoundMessage="Nothing of that name",
                    w=260,
                ),
                html.Div(id=POINT_LINK),
            ],
            align="flex-end",
        ),
        _table(NEAR_POINT, "topic"),
        title=dmc.Title("Nearest topics", order=2, className="card-title", id=POINT_TITLE),
        actions=[explanation(HOW_NEAREST)],
    )


def _table(component_id: str, what: str) -> Component:
    return dag.AgGrid(
        id=component_id,
        columnDefs=[
            {"field": "label", "headerName": "Topic" if what == "topic" else "Name", "flex": 1, "minWidth": 140},
            {
                "field": "cosine",
                "headerName": "Cosine",
                "width": 110,
                "type": "numericColumn",
                "valueFormatter": {"function": "d3.format('.2f')(params.value)"},
            },
        ],
        rowData=[],
        getRowId="params.data.name",
        columnSize=None,
        dashGridOptions={
            "suppressCellFocus": False,
            "localeText": {"noRowsToShow": "None chosen" if what == "topic" else "No direction in the space"},
        },
        defaultColDef={"sortable": True, "resizable": True},
        className="table",
        style={"height": 250},
    )


def offer() -> Component:
    """What stands there when a map was begun and not finished."""
    return dmc.Group(
        [
            dmc.Text("The map has not been worked out.", size="sm"),
            dmc.Button("Work out the map", id=START, size="compact-sm"),
        ],
        id=OFFER,
        style=HIDDEN,
    )
