"""What stands on the page of gene-set enrichment? Its controls, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from pages._shared import gene_sets
from pages._shared.opened import Opened
from pages._shared.parts import card, empty_state, figure_card
from pages._shared.requests import folded_fields
from pages._shared.tables import grid, table_downloads
from scetm_core import keys
from scetm_core.requests import EnrichmentRequest

MANHATTAN = "gsea-manhattan"
RUNNING_SUM = "gsea-running-sum"
SOURCE = "enrichment-source"
TOPIC = "enrichment-topic"
SET = "enrichment-set"  # name of the set in focus
TEST = "enrichment-test"
SAID = "enrichment-said"
BEFORE = "enrichment-before"
AFTER = "enrichment-after"
VERDICT = "enrichment-verdict"
EDGE = "enrichment-leading-edge"
VIEW = "enrichment-view"
TABLE = "enrichment-table"
CUT = "enrichment-cut"
SEARCH = "enrichment-search"
TASK = "enrichment"

KIND = keys.ENRICHMENT_FOLDER
REFINE_TO = 10_000
"""The app's default: 1,000 draws alone leave no q-value below 0.01 where thousands of sets are tested."""
N_ROWS = 2000
VIEWS = (("topic", "Of this topic"), ("set", "Of this set"), ("all", "All"))

HOW_MANHATTAN = (
    "A dot is a gene set in a topic; the higher, the less likely it is that genes of the set lead the topic by chance. "
    "The dotted line is q = 0.01. A set stands at the same place within each topic. Triangles lie above the cap. Click "
    "a dot for its running sum; its set gets a ring in all topics."
)
HOW_RUNNING_SUM = (
    "All genes are ranked by their weight in the topic. Going down the ranking, the curve rises at each gene of the "
    "set and falls at all others; the highest point is the enrichment score. Ticks are the set's genes, the grey area "
    "the weights. The shaded genes, up to the extreme, are the leading edge."
)
_NUMBER = {"type": "numericColumn"}
COLUMNS = [
    {"field": "set_label", "headerName": "Gene set", "flex": 3, "minWidth": 220, "tooltipField": "gene_set"},
    {"field": "topic_label", "headerName": "Topic", "flex": 1, "minWidth": 110},
    {"field": "nes", "headerName": "NES", "width": 90, **_NUMBER, "headerTooltip": "Score over that of random sets",
     "valueFormatter": {"function": "params.value == null ? '–' : d3.format('.2f')(params.value)"}},
    {"field": "p_value", "headerName": "p", "width": 105, **_NUMBER,
     "valueFormatter": {"function": "d3.format('.2~g')(params.value)"}},
    {"field": "q_value", "headerName": "q", "width": 105, **_NUMBER, "headerTooltip": "Benjamini-Hochberg, all tests",
     "valueFormatter": {"function": "d3.format('.2~g')(params.value)"}},
    {"field": "size", "headerName": "Genes", "width": 90, **_NUMBER, "headerTooltip": "Genes of the set in the data"},
    {"field": "leading", "headerName": "Leading genes", "flex": 2, "minWidth": 160},
]  # fmt: skip
EDGE_COLUMNS = [
    {"field": "gene", "headerName": "Gene", "cellRenderer": "RunLink", "flex": 1, "minWidth": 110},
    {"field": "rank", "headerName": "Rank in topic", "width": 130, **_NUMBER,
     "valueFormatter": {"function": "d3.format(',')(params.value)"}},
    {"field": "beta", "headerName": "beta", "width": 100, **_NUMBER,
     "valueFormatter": {"function": "d3.format('.2f')(params.value)"}},
]  # fmt: skip


def controls(opened: Opened, offered: Sequence[gene_sets.Source], source: str, topic: int) -> Component:
    """What is tested and looked at: one row, and more settings folded away."""
    row = dmc.Group(
        [
            dmc.Select(id=SOURCE, label="Gene sets", data=gene_sets.options(offered), value=source, searchable=True,
                       allowDeselect=False, w=280),
            dmc.Select(id=TOPIC, label="Topic", data=opened.topic_options(), value=str(topic), searchable=True,
                       allowDeselect=False, w=220),
            dmc.Button("Test", id=TEST),
            gene_sets.adding(),
        ],
        align="flex-end",
    )  # fmt: skip
    fields = ("n_permutations", "refine_to", "tail", "min_size", "max_size", "seed")
    return html.Div([row, folded_fields(TASK, EnrichmentRequest, fields, values={"refine_to": REFINE_TO})])


def before() -> Component:
    """What stands there before the first test."""
    return empty_state(
        "Not tested yet",
        "Test asks of every topic and every gene set whether the set's genes lead the topic more than random genes "
        "would. It takes some seconds. Human sets fit mouse data and back; what could be matched is said.",
    )


def after() -> Component:
    """The figures and the tables."""
    edge = dmc.Stack(
        [html.Div(id=VERDICT), grid(EDGE, EDGE_COLUMNS, row_id="params.data.gene", rows=10, selectable=False)],
        gap="xs",
    )
    view = dmc.Group(
        [
            dmc.SegmentedControl(
                id=VIEW, value="topic", data=[{"value": value, "label": label} for value, label in VIEWS], size="sm",
                **{"aria-label": "Which tests"},
            ),
            dmc.TextInput(id=SEARCH, placeholder="text in the set's name", w=220, debounce=300,
                          **{"aria-label": "Text in the set's name"}),
            dmc.Text(id=CUT, size="sm", c="dimmed", className="numbers", **{"aria-live": "polite"}),
        ]
    )  # fmt: skip
    return dmc.Stack(
        [
            figure_card(
                MANHATTAN, title="Gene sets by topic", how_to_read=HOW_MANHATTAN, height=420, table=False
            ),
            html.Div(
                [
                    figure_card(RUNNING_SUM, title="Running sum", how_to_read=HOW_RUNNING_SUM, height=560),
                    card(edge, title="Leading edge"),
                ],
                className="two-columns",
            ),
            card(
                view,
                grid(TABLE, COLUMNS, row_id="params.data.id", rows=15, selectable=True),
                title="Tests",
                actions=table_downloads(TASK),
            ),
        ],
        gap="md",
    )  # fmt: skip
