"""What does a newcomer see first? A tour of two minutes over the pages; assets/tour.js walks through the steps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

STEPS_ID = "tour-steps"
OFFER = "tour-offer"
OFFER_TAKE = "tour-offer-take"
OFFER_DISMISS = "tour-offer-dismiss"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stop: where, what is pointed at, and what is said."""

    page: str
    """Path of the page."""
    selector: str
    """CSS of what is pointed at, the first of several that there is; "button=Export" for a button of that name."""
    title: str
    text: str
    """One or two plain sentences."""
    needs_run: bool = False
    """Whether there is something to see only once a model was trained."""


STEPS = (
    Step(
        page="/",
        selector="#home-demo",
        title="Bring counts",
        text="Everything begins with a table of cells and genes. The demo data are one click away; files of your own "
        "are chosen, or dropped, on the Data page, which checks them first.",
    ),
    Step(
        page="/train",
        selector="#train-submit, #main .card, #main .page-title",
        title="Train a model",
        text="The presets fit most data. You see how far it is and how long it will take, may cancel, and go on "
        "later where it stopped.",
    ),
    Step(
        page="/cells",
        selector="#cells-umap",
        title="Look at the cells",
        text="Each point is a cell. Colour the map by a column, a topic or a gene; a click in the legend hides a "
        "group, a double click shows it alone.",
        needs_run=True,
    ),
    Step(
        page="/explore",
        selector="#explore-umap",
        title="Explore",
        text="Choose a topic and everything follows: its cells, its genes, what sets it apart. Draw around cells to "
        "ask what they have in common.",
        needs_run=True,
    ),
    Step(
        page="/topics",
        selector="#topics-topic, #gene-topic-heatmap",
        title="Read the topics",
        text="A topic is a program of genes that cells use together. Click one in a heatmap to see its genes and its "
        "cells, and give it a name; the keys [ and ] step through them.",
        needs_run=True,
    ),
    Step(
        page="/topics",
        selector="button=Export",
        title="Take figures along",
        text="Every figure leaves as a vector drawing or a picture for print, with its legend, and with the table "
        "behind it.",
        needs_run=True,
    ),
    Step(
        page="/enrichment",
        selector="#enrichment-source, #main .page-title",
        title="Ask which pathways a topic follows",
        text="Choose gene sets and press Test. Each dot is then a pathway in a topic: the higher, the surer.",
        needs_run=True,
    ),
    Step(
        page="/differential",
        selector="#differential-groupby, #main .page-title",
        title="Compare groups of cells",
        text="Which topics set a cell type, or a condition, apart? Choose the column and press Test.",
        needs_run=True,
    ),
    Step(
        page="/differential",
        selector="#copy-link",
        title="Share what you see",
        text="This copies the address of the very view on screen: run, topic, colours and all. The question mark "
        "beside it lists the keys, and starts this tour again.",
    ),
)  # fmt: skip


def tour() -> Component:
    """The steps, as the browser reads them."""
    steps = json.dumps([asdict(step) for step in STEPS])
    data: dict[str, Any] = {"data-steps": steps}
    return html.Div(id=STEPS_ID, hidden=True, **data)


def tour_offer() -> Component:
    """A quiet line for those who have no run yet; once taken or waved away it does not come back."""
    return dmc.Group(
        [
            dmc.Text("New here?", size="sm"),
            dmc.Button("Take the two-minute tour", id=OFFER_TAKE, variant="subtle", size="compact-sm"),
            dmc.Button("No, thanks", id=OFFER_DISMISS, variant="subtle", color="gray", size="compact-sm"),
        ],
        id=OFFER,
        gap="xs",
        mt="md",
    )
