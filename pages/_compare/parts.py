"""What stands on the page that compares? Its controls, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from pages._evaluate.cards import SCORES
from pages._shared.parts import card, explanation, figure_card
from pages._shared.requests import request_field
from pages._shared.tables import grid
from scetm_core import keys
from scetm_core.peers import PEERS
from scetm_core.requests import ComparisonRequest

TASK = "compare"
KIND = keys.COMPARISON_FOLDER
TABLE_NAME = "compare-table-name"
METHODS = "compare-methods"
SEEDS = {"type": "request", "task": TASK, "name": "n_seeds"}
START = "compare-start"
RUNS = "compare-runs"
SAID = "compare-said"
TABLE = "compare-table"
TRADEOFF = "compare-tradeoff"
SCORE_X = "compare-x"
SCORE_Y = "compare-y"
MAPS = "compare-maps"
MAPS_COLOR = "compare-maps-color"
OTHER = "compare-other-run"
MATCH = "compare-topic-match"
PAIRS = "compare-topic-pairs"
MATCH_SAID = "compare-match-said"
SETTINGS = "compare-settings"

IN_TABLE = (
    "best_ari", "ari", "best_nmi", "nmi", "asw", "clisi", "graph_connectivity", "kbet", "ilisi", "ebm", "batch_asw",
)  # fmt: skip

HOW_TABLE = (
    "Every row is an embedding of the same cells, scored alike: medians over seeds where there are several. Seconds "
    "and memory are those of the method's own process on this machine, without reading the file; of a run, those of "
    "training and embedding. Higher is better, but for the last two columns."
)
HOW_TRADEOFF = (
    "Right: batches mix better. Up: clusters agree better with the labels. Small dots are seeds, large ones medians; "
    "the dotted line joins the methods that no other beats in both. Near the lower right batches were mixed at the "
    "cost of cell types, near the upper left the other way round."
)
HOW_MAPS = (
    "The same cells in the same colours, laid out from each embedding. The scores beneath are those of the embedding, "
    "not of its map: distances on a map mean little."
)
HOW_MATCH = (
    "A row is a topic of this run, a column one of the other: red where the same genes lead both (cosine of centred "
    "beta, over the genes they share). Matched pairs lie on the diagonal, the most alike first. A red field off the "
    "diagonal: two topics of one run share a topic of the other."
)
N = "numericColumn"


def _number_column(name: str, header: str, meaning: str, form: str) -> dict[str, Any]:
    return {
        "field": name, "headerName": header, "width": 88, "type": N, "headerTooltip": meaning,
        "wrapHeaderText": True, "autoHeaderHeight": True,
        "valueFormatter": {"function": f"params.value == null ? '–' : d3.format('{form}')(params.value)"},
    }  # fmt: skip


SHORT = {
    "best_ari": "ARI best", "ari": "ARI fixed", "best_nmi": "NMI best", "nmi": "NMI fixed", "asw": "ASW",
    "clisi": "cLISI", "graph_connectivity": "Graph conn.", "kbet": "kBET", "ilisi": "iLISI", "ebm": "EBM",
    "batch_asw": "Batch ASW",
}  # fmt: skip
COLUMNS: list[dict[str, Any]] = [
    {"field": "label", "headerName": "Method", "minWidth": 220, "flex": 1, "pinned": "left",
     "tooltipField": "settings"},
    {"field": "n_seeds", "headerName": "Seeds", "width": 80, "type": N},
    *(_number_column(name, SHORT[name], f"{SCORES[name].label}. {SCORES[name].meaning}", ".3f") for name in IN_TABLE),
    {"field": "ari_range", "headerName": "ARI, range", "width": 120,
     "headerTooltip": "Of the best ARI over the seeds"},
    _number_column("seconds", "Seconds", "Of training and embedding", ",.1f"),
    _number_column("peak_memory_mb", "MB", "Peak memory of the process", ",.0f"),
]  # fmt: skip
PAIR_COLUMNS = [
    {"field": "first", "headerName": "This run", "flex": 1, "minWidth": 140},
    {"field": "second", "headerName": "Other run", "flex": 1, "minWidth": 140},
    {"field": "similarity", "headerName": "Similarity", "width": 120, "type": N,
     "valueFormatter": {"function": "d3.format('.3f')(params.value)"}},
]  # fmt: skip


def method_options(slots: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """What can be chosen to compare with: methods, those that lack their package greyed, and slots of the input."""
    methods = [
        {"value": name, "label": peer.label if not peer.missing else f"{peer.label} (not installed)",
         "disabled": bool(peer.missing)}
        for name, peer in PEERS.items()
    ]  # fmt: skip
    return [*methods, *({"value": value, "label": label} for value, label in slots)]


def controls(slots: Sequence[tuple[str, str]], runs: Sequence[dict[str, str]]) -> Component:
    """What this run is compared with."""
    missing = [peer.label for peer in PEERS.values() if peer.missing]
    note = (
        f"{', '.join(missing)}: make compare (or pip install -r requirements-compare.txt), then restart the app."
        if missing
        else None
    )
    row = dmc.Group(
        [
            dmc.MultiSelect(
                id=METHODS, label="Methods", data=method_options(slots), value=["pca"],
                w={"base": "100%", "sm": 420}, searchable=True,
                description=note, inputWrapperOrder=["label", "input", "description", "error"],
            ),
            request_field(TASK, ComparisonRequest, "n_seeds", width=90),
            dmc.Button("Run methods", id=START, mt=25),
            dmc.MultiSelect(
                id=RUNS, label="Runs on the same cells", data=list(runs), value=[],
                w={"base": "100%", "sm": 320}, searchable=True,
                placeholder=None if runs else "none", disabled=not runs,
            ),
        ],
        align="flex-start",
    )  # fmt: skip
    return html.Div(row)


def methods_section(groups: Sequence[str], color: str) -> list[Component]:
    """Table, trade-off and maps."""
    choices = [{"value": name, "label": SCORES[name].label} for name in IN_TABLE]
    axes = [
        dmc.Select(id=SCORE_Y, label="Up", data=choices, value="best_ari", allowDeselect=False, w=210),
        dmc.Select(id=SCORE_X, label="Right", data=choices, value="kbet", allowDeselect=False, w=210),
    ]
    return [
        card(
            grid(TABLE, COLUMNS, row_id="params.data.label", rows=25, selectable=False),
            title="Scores side by side",
            actions=[explanation(HOW_TABLE)],
        ),
        figure_card(
            TRADEOFF, title="Two scores against each other", how_to_read=HOW_TRADEOFF, controls=axes, height=420
        ),
        figure_card(
            MAPS,
            title="Maps side by side",
            how_to_read=HOW_MAPS,
            controls=[dmc.Select(id=MAPS_COLOR, label="Colour by", data=list(groups), value=color,
                                 allowDeselect=False, w=210)],
            height=None,
            table=False,
        ),
    ]  # fmt: skip


def topics_section(runs: Sequence[dict[str, str]], other: str | None) -> Component:
    """Topics of this run against those of another."""
    return html.Div(
        [
            figure_card(
                MATCH,
                title="Topics of two runs",
                how_to_read=HOW_MATCH,
                controls=[
                    dmc.Select(
                        id=OTHER, label="Other run", data=list(runs), value=other,
                w={"base": "100%", "sm": 360}, searchable=True,
                        disabled=not runs, placeholder=None if runs else "There is no other run",
                    )
                ],
                height=None,
                scrolls=True,
            ),
            html.Div(
                [
                    card(
                        html.Div(id=MATCH_SAID, role="status"),
                        grid(PAIRS, PAIR_COLUMNS, row_id="params.data.first", rows=12, selectable=False),
                        title="Which topic is which",
                    ),
                    card(html.Div(id=SETTINGS), title="Settings that differ"),
                ],
                className="two-columns spaced",
            ),
        ]
    )  # fmt: skip
