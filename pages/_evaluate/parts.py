"""What stands on the page of scores? Its controls and figures."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from pages._shared.opened import Opened
from pages._shared.parts import card, empty_state, explanation, figure_card
from pages._shared.requests import folded_fields
from pages._shared.tables import table_downloads
from scetm_core import keys
from scetm_core.files import table_name
from scetm_core.requests import EvaluationRequest

TASK = "evaluate"
KIND = keys.EVALUATION_FOLDER
USE_REP = "evaluate-use-rep"
LABEL = "evaluate-label"
BATCH = "evaluate-batch"
START = "evaluate-start"
TABLE_NAME = "evaluate-table-name"
SAID = "evaluate-said"
CARDS = "evaluate-cards"
BEFORE = "evaluate-before"
AFTER = "evaluate-after"
RESOLUTION = "evaluate-resolution"
CLUSTERS_SAID = "evaluate-clusters-said"
CONFUSION = "evaluate-confusion"
CLUSTER_MAP = "evaluate-cluster-umap"
AGREEMENT = "evaluate-agreement"
SILHOUETTES = "evaluate-silhouettes"
MIX_MAP = "evaluate-mix-umap"

RESOLUTIONS = tuple(round(0.01 * 2 ** (step / 2), 4) for step in range(17))
"""What the slider offers: 0.01 to 2.56; every second one is among the paper's."""
NONE = "none"
"""Stands for no column, in the fields and in the URL."""

HOW_CARDS = (
    "± is twice the standard error, from random halves of the cells that were scored anew: about a 95 % interval for "
    "other cells of the same kind. It does not cover another training (see the seeds under 'Number of topics'), nor "
    "other donors. No score alone decides: an embedding that mixes everything has the best kBET, one that mixes "
    "nothing may have a fine ARI."
)
HOW_CONFUSION = (
    "A row is a label, a column a cluster; bright: a large share of the label's cells is in that cluster. One bright "
    "field in each row and column is a perfect match. A row spread over several columns: the label was split; a column "
    "with several bright fields: labels were merged. The slider clusters the cells anew."
)
HOW_CLUSTER_MAP = "Each cell coloured by its cluster at the resolution of the slider."
HOW_AGREEMENT = (
    "ARI and NMI of the clusters at each resolution. The one fixed beforehand is an honest score; the best one was "
    "picked by looking at the labels. A flat curve says that the choice hardly matters."
)
HOW_SILHOUETTES = (
    "Mean silhouette width of the cells of a label, over all batches and in each: red, they lie closest to their own "
    "kind; blue, closer to another. A label that is red in one batch and blue in another was not integrated. Empty: "
    "that batch has no such cells."
)
HOW_MIX_MAP = (
    "The effective number of batches among the 90 nearest cells of each cell (inverse Simpson index, near ones count "
    "more): 1 where a neighbourhood comes from one batch. Dark islands are cells that only one batch has, or that were "
    "not integrated."
)


def name_of(use_rep: str, label_key: str | None, batch_key: str | None) -> str:
    """Name of the table of scores for a choice of columns."""
    columns = [column_in(label_key) or "no labels", column_in(batch_key) or "no batches"]
    return table_name(", ".join([use_rep, *columns]))


def column_in(value: str | None) -> str | None:
    """The column a field holds; None where it holds none."""
    return value if value not in (None, "", NONE) else None


def controls(opened: Opened, *, label_key: str, batch_key: str) -> Component:
    """What is scored, and against what."""
    groups = [name for name in opened.grouping_columns() if name != keys.LEIDEN]
    slots = [name for name in (keys.DELTA, keys.THETA) if name in opened.result.obsm]
    columns = [{"value": NONE, "label": "none"}, *({"value": name, "label": name} for name in groups)]
    row = dmc.Group(
        [
            dmc.Select(id=USE_REP, label="Representation", data=slots, value=keys.DELTA, allowDeselect=False, w=150),
            dmc.Select(id=LABEL, label="Label column", data=columns, value=label_key, allowDeselect=False, w=200),
            dmc.Select(id=BATCH, label="Batch column", data=columns, value=batch_key, allowDeselect=False, w=200),
            dmc.Button("Evaluate", id=START),
        ],
        align="flex-end",
    )
    return html.Div([row, folded_fields(TASK, EvaluationRequest, ("n_repeats", "seed"))])


def before() -> Component:
    """What stands there before this choice was evaluated."""
    return empty_state(
        "Not evaluated yet with these columns",
        "Evaluate adds intervals from random halves of the cells, all scores for the chosen columns, clusters against "
        "labels, silhouettes by type and batch, and how well batches mix around each cell. It takes some ten seconds "
        "for thousands of cells, two minutes for 100,000.",
    )


def after() -> Component:
    """The figures."""
    slider = dmc.Group(
        [
            dmc.Text("Resolution", size="sm"),
            dmc.Slider(
                id=RESOLUTION, min=0, max=len(RESOLUTIONS) - 1, step=1, value=RESOLUTIONS.index(0.16), w=260,
                label=None, size="sm", thumbLabel="Leiden resolution", updatemode="mouseup",
            ),
            dmc.Text(id=CLUSTERS_SAID, size="sm", className="numbers", **{"aria-live": "polite"}),
        ],
        gap="md",
    )  # fmt: skip
    return dmc.Stack(
        [
            html.Div(
                [
                    figure_card(
                        CONFUSION,
                        title="Clusters against labels",
                        how_to_read=HOW_CONFUSION,
                        controls=[slider],
                        height=None,
                        scrolls=True,
                        table=True,
                    ),
                    figure_card(
                        CLUSTER_MAP, title="The clusters", how_to_read=HOW_CLUSTER_MAP, height=440, is_map=True,
                        has_legend=True, table=False,
                    ),
                ],
                className="two-columns",
            ),
            figure_card(
                AGREEMENT, title="Agreement at each resolution", how_to_read=HOW_AGREEMENT, height=300, table=False
            ),
            html.Div(
                [
                    figure_card(
                        SILHOUETTES, title="Silhouette by label and batch", how_to_read=HOW_SILHOUETTES, height=None,
                        scrolls=True, table=False,
                    ),
                    figure_card(
                        MIX_MAP, title="Batches around each cell", how_to_read=HOW_MIX_MAP, height=440, is_map=True,
                        table=False,
                    ),
                ],
                className="two-columns",
            ),
        ],
        gap="md",
    )  # fmt: skip


def scores_card() -> Component:
    """The place for the cards, with the downloads of their table."""
    return card(html.Div(id=CARDS), title="Scores", actions=[explanation(HOW_CARDS), *table_downloads(TASK)])
