"""What is there to know of the topic in focus? Its genes, its cells by group, its gene sets, where it differs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, dcc, html
from dash.development.base_component import Component

from pages._explore.ids import FOLLOWS, GENES, GROUPBY, GROUPS, TOPIC
from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened
from pages._shared.parts import figure_card, link_button
from pages._topics.known import known_markers, q_in_words
from scetm_core import keys
from scetm_core.figures import pathway_name, plot_top_genes, top_genes_frame, types_marked
from scetm_core.figures.topic_groups import plot_topic_by_group, topic_by_group_frame
from scetm_core.files import table_name

N_GENES = 12
N_SETS = 5
SIGNIFICANCE = 0.05

HOW_GENES = (
    "Grey: p(gene) over all topics. Colour: p(gene | topic). Known markers are bold. Topics has the whole list; click "
    "a gene to colour the cells by it."
)
HOW_GROUPS = "Mean theta of the topic in the cells of each group: the share of their reads that it explains."


def chooser(opened: Opened, topic: int) -> Component:
    """The choice of the topic, with the ways to the next and the last one."""
    return dmc.Group(
        [
            dmc.ActionIcon("‹", id="explore-previous", variant="default", size=36, **{"aria-label": "Previous topic"}),
            dmc.Select(
                id=TOPIC, data=opened.topic_options(), value=str(topic), searchable=True, allowDeselect=False, w=210,
                **{"aria-label": "Topic"},
            ),
            dmc.ActionIcon("›", id="explore-next", variant="default", size=36, **{"aria-label": "Next topic"}),
        ],
        gap=4,
        wrap="nowrap",
    )  # fmt: skip


def panel() -> list[Component]:
    """What the panel of the topic holds."""
    return [
        html.Div(id=FOLLOWS, className="explore-follows"),
        figure_card(GENES, title="Top genes", how_to_read=HOW_GENES, height=270),
        figure_card(GROUPS, title="Cells by group", how_to_read=HOW_GROUPS, height=250),
    ]


@callback(Output(GENES, "figure"), Input(TOPIC, "value"), State(ids.ACTIVE_RUN, "data"))
def draw_genes(topic: str, run_id: str) -> go.Figure:
    """Draw its leading genes."""
    frame = top_genes_frame(studio.load_result(run_id), int(topic), n_genes=N_GENES)
    return plot_top_genes(frame, highlight=types_marked(known_markers(run_id).gene_sets))


@callback(Output(GROUPS, "figure"), Input(TOPIC, "value"), Input(GROUPBY, "value"), Input(ids.ACTIVE_RUN, "data"))
def draw_groups(topic: str, groupby: str, run_id: str) -> go.Figure:
    """Draw which cells use it."""
    return plot_topic_by_group(_groups(topic, groupby, run_id))


def _groups(topic: str, groupby: str, run_id: str) -> pd.DataFrame:
    return topic_by_group_frame(studio.load_result(run_id), int(topic), groupby=groupby)


@callback(Output(FOLLOWS, "children"), Input(TOPIC, "value"), Input(GROUPBY, "value"), State(ids.ACTIVE_RUN, "data"))
def tell_what_follows(topic: str, groupby: str, run_id: str) -> list[Component]:
    """How much of the data it explains; its gene sets; the groups it differs in."""
    theta = np.asarray(studio.load_result(run_id).obsm[keys.THETA][:, int(topic)])
    strong = int(np.count_nonzero(theta > 0.1))
    first = f"Explains {theta.mean():.1%} of the reads; more than a tenth in {strong:,} of {len(theta):,} cells."
    query = urlencode({"run": run_id, "topic": topic})
    links = dmc.Group(
        [
            link_button(label, f"/{page}?{query}", size="compact-xs")
            for label, page in (("Topics", "topics"), ("Enrichment", "enrichment"), ("Joint map", "embedding"))
        ],
        gap=4,
    )
    return [
        dmc.Text(first, size="sm"),
        *_sets(topic, run_id),
        *_differences(topic, groupby, run_id),
        links,
    ]


def _sets(topic: str, run_id: str) -> list[Component]:
    """The gene sets that it follows, in all tables of the run."""
    run, found = studio.open_run(run_id), []
    for name in run.tables(keys.ENRICHMENT_FOLDER):
        table = studio.load_table(run_id, keys.ENRICHMENT_FOLDER, name)
        if table is not None:
            rows = table[(table["topic"] == keys.topic_name(int(topic))) & (table["q_value"] < SIGNIFICANCE)]
            found.append(rows[rows["nes"] > 0].assign(source=name))
    if not found:
        link = dcc.Link("Compare with gene sets", href=f"/enrichment?{urlencode({'run': run_id, 'topic': topic})}")
        return [_heading("Gene sets"), dmc.Text(link, size="sm")]
    best = pd.concat(found).sort_values(["q_value", "nes"], ascending=[True, False]).head(N_SETS)
    if best.empty:
        return [_heading("Gene sets"), dmc.Text("None with q below .05.", size="sm", c="dimmed")]
    lines = [
        html.Li(
            [
                dcc.Link(
                    pathway_name(row["gene_set"]),
                    href="/enrichment?"
                    + urlencode({"run": run_id, "topic": topic, "sets": row["source"], "set": row["gene_set"]}),
                ),
                html.Span(f" q {q_in_words(row['q_value'])}", className="soft numbers"),
            ]
        )
        for row in best.to_dict("records")
    ]
    return [_heading("Gene sets"), html.Ul(lines, className="plain-list")]


def _differences(topic: str, groupby: str, run_id: str) -> list[Component]:
    """The groups in which it is higher, where that was tested."""
    table = studio.load_table(run_id, keys.DIFFERENTIAL_FOLDER, table_name(groupby))
    heading = _heading(f"Higher in {groupby}")
    if table is None:
        href = f"/differential?{urlencode({'run': run_id, 'groupby': groupby, 'topic': topic})}"
        return [heading, dmc.Text(dcc.Link("Test it", href=href), size="sm")]
    rows = table[(table["topic"] == keys.topic_name(int(topic))) & (table["q_bh"] < SIGNIFICANCE)]
    rows = rows[rows["mean_difference"] > 0].sort_values("mean_difference", ascending=False).head(4)
    if rows.empty:
        return [heading, dmc.Text("In no group with q below .05.", size="sm", c="dimmed")]
    lines = [
        html.Li(
            [
                dcc.Link(
                    str(row["label"]),
                    href="/differential?"
                    + urlencode({"run": run_id, "groupby": groupby, "topic": topic, "label": row["label"]}),
                ),
                html.Span(f" +{row['mean_difference']:.2f}, q {q_in_words(row['q_bh'])}", className="soft numbers"),
            ]
        )
        for row in rows.to_dict("records")
    ]
    return [heading, html.Ul(lines, className="plain-list")]


def _heading(text: str) -> Component:
    return html.H3(text, className="small-heading")


@callback(
    Output(csv_download(GENES), "data"),
    Input(csv_button(GENES), "n_clicks"),
    State(TOPIC, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_genes(n_clicks: int | None, topic: str, run_id: str) -> Any:
    """All its genes as CSV."""
    result = studio.load_result(run_id)
    table = top_genes_frame(result, int(topic), n_genes=result.n_vars).set_index("rank")
    return dcc.send_data_frame(table.to_csv, f"{run_id}-topic_{topic}-genes.csv")


@callback(
    Output(csv_download(GROUPS), "data"),
    Input(csv_button(GROUPS), "n_clicks"),
    State(TOPIC, "value"),
    State(GROUPBY, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_groups(n_clicks: int | None, topic: str, groupby: str, run_id: str) -> Any:
    """Its mean in each group as CSV."""
    table = _groups(topic, groupby, run_id).set_index("group")
    return dcc.send_data_frame(table.to_csv, f"{run_id}-topic_{topic}-by-{groupby}.csv")


for _button, _by in (("explore-previous", -1), ("explore-next", 1)):
    clientside_callback(
        f"""function (n, topic, options) {{
            const places = options.map((option) => option.value);
            const place = (places.indexOf(topic) + {_by} + places.length) % places.length;
            return n ? places[place] : window.dash_clientside.no_update;
        }}""",
        Output(TOPIC, "value", allow_duplicate=True),
        Input(_button, "n_clicks"),
        State(TOPIC, "value"),
        State(TOPIC, "data"),
        prevent_initial_call=True,
    )
