"""What stands on the page of differential topics? Its controls, figures and table."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from pages._shared.opened import Opened
from pages._shared.parts import card, empty_state, figure_card
from pages._shared.requests import folded_fields, request_field
from pages._shared.tables import grid, table_downloads
from scetm_core import keys
from scetm_core.figures.differential import (
    CORRECTIONS,
    MIN_DIFFERENCE_CONDITIONS,
    MIN_DIFFERENCE_TYPES,
    SIGNIFICANCE,
)
from scetm_core.requests import DifferentialRequest
from scetm_core.runs import Run

HEATMAP = "differential-heatmap"
DISTRIBUTION = "differential-distribution"
TOPIC_MAP = "differential-umap"
VOLCANO = "differential-volcano"
TABLE = "differential-table"
GROUPBY = "differential-groupby"
TABLE_NAME = "differential-table-name"
TEST = "differential-test"
FOCUS = "differential-focus"  # {"topic": "7", "label": "beta"}
SIGNIFICANT = "differential-significance"
DIFFERENCE = "differential-min-difference"
CORRECTION = "differential-correction"
ONLY = "differential-only"
SAID = "differential-said"
BEFORE = "differential-before"
AFTER = "differential-after"
LINKS = "differential-links"
TASK = "differential"

KIND = keys.DIFFERENTIAL_FOLDER
COLUMNS = [
    {"field": "topic_label", "headerName": "Topic", "flex": 1, "minWidth": 140, "filter": True},
    {"field": "label", "headerName": "Label", "flex": 1, "minWidth": 140, "filter": True},
    {"field": "mean_difference", "headerName": "Difference", "width": 120, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.2f')(params.value)"}, "headerTooltip": "Mean delta inside - outside"},
    {"field": "effect_size", "headerName": "Effect size", "width": 120, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.2f')(params.value)"},
     "headerTooltip": "Cohen's d: the difference of cells over their pooled standard deviation"},
    {"field": "p_value", "headerName": "p", "width": 110, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.2~g')(params.value)"}},
    {"field": "q_bonferroni", "headerName": "q Bonferroni", "width": 130, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.2~g')(params.value)"}},
    {"field": "q_bh", "headerName": "q BH", "width": 110, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.2~g')(params.value)"}, "headerTooltip": "Benjamini-Hochberg"},
    {"field": "n_cells", "headerName": "Cells", "width": 95, "type": "numericColumn"},
    {"field": "mark", "headerName": "Differential", "width": 120, "sort": "desc"},
]  # fmt: skip

HOW_HEATMAP = (
    "A row is a group of cells, a column a topic. Red: the topic is stronger inside the group than in all other cells "
    "(mean delta), blue: weaker. An asterisk: q is below the level and the difference above the least one asked for. "
    "Rows and columns are ordered so that similar ones stand together. Click a cell to look at it below."
)
HOW_DISTRIBUTION = (
    "The topic's delta in the cells of the group, and in all others: the width shows how many cells have a value, the "
    "box the middle half of them, the dashed line the mean."
)
HOW_MAP = "Each cell coloured by theta: the share of its reads that the topic explains, 0 to 1."
HOW_VOLCANO = (
    "A point is a topic in a group. Right: stronger inside. Up: less likely by chance. The dotted lines are the "
    "thresholds; a p-value can be no smaller than 1 over the number of permutations, which makes the points line up "
    "at the top. Click a point to look at it."
)


def controls(opened: Opened, groupby: str) -> Component:
    """What is tested: one row, and more settings folded away."""
    groups = opened.grouping_columns()
    units = [{"value": "cell", "label": "cells"}, *({"value": name, "label": f"donors: {name}"} for name in groups)]
    row = dmc.Group(
        [
            dmc.Select(
                id=GROUPBY,
                label="Group cells by",
                data=groups,
                value=groupby,
                searchable=True,
                allowDeselect=False,
                w=220,
            ),
            request_field(TASK, DifferentialRequest, "unit", data=units, width=200),
            request_field(TASK, DifferentialRequest, "two_sided"),
            dmc.Button("Test", id=TEST),
        ],
        align="flex-end",
    )  # fmt: skip
    return html.Div([row, folded_fields(TASK, DifferentialRequest, ("n_permutations", "seed"))])


def before() -> Component:
    """What stands there before the first test."""
    return empty_state(
        "Not tested yet",
        "Test compares the mean of every topic inside each group with that of random groups of the same size: which "
        "topics set a cell type or a condition apart? It takes seconds for thousands of cells, a minute for 100,000.",
    )


def after(opened: Opened, groupby: str) -> Component:
    """The figures and the table."""
    thresholds = [
        dmc.Select(
            id=CORRECTION, label="Correction", value="q_bonferroni", allowDeselect=False, w=190,
            data=[{"value": value, "label": label} for value, label in CORRECTIONS.items()],
        ),
        dmc.NumberInput(
            id=SIGNIFICANT, label="q below", value=SIGNIFICANCE, min=0, max=1, step=0.01, w=110, debounce=300
        ),
        dmc.NumberInput(
            id=DIFFERENCE, label="Difference above", value=least_difference(opened.run, groupby), min=0, step=0.1,
            w=140,
            debounce=300,
        ),
        dmc.Switch(id=ONLY, label="Differential topics only", checked=False, size="sm", pb=8),
    ]  # fmt: skip
    tests = grid(TABLE, COLUMNS, row_id="params.data.id", rows=20, selectable=True)
    two = [
        figure_card(
            DISTRIBUTION, title="Inside and outside the group", how_to_read=HOW_DISTRIBUTION, height=440, table=False
        ),
        figure_card(TOPIC_MAP, title="Cells of the topic", how_to_read=HOW_MAP, height=440, is_map=True, table=False),
    ]
    return dmc.Stack(
        [
            figure_card(
                HEATMAP,
                title="Topics by group",
                how_to_read=HOW_HEATMAP,
                controls=thresholds,
                height=None,
                scrolls=True,
            ),
            html.Div(id=LINKS),
            html.Div(two, className="two-columns"),
            figure_card(VOLCANO, title="All tests", how_to_read=HOW_VOLCANO, height=420, table=False),
            card(tests, title="Tests", actions=table_downloads(TASK)),
        ],
        gap="md",
    )  # fmt: skip


def least_difference(run: Run, groupby: str) -> float:
    """The paper's least mean difference: one for cell types (and clusters), one for conditions."""
    types = (run.config.data.label_key, keys.LEIDEN)
    return MIN_DIFFERENCE_TYPES if groupby in types else MIN_DIFFERENCE_CONDITIONS
