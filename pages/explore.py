"""What is in these cells? Cells, genes and topics side by side: what is chosen in one view, all of them follow."""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update, set_props
from dash.development.base_component import Component

from pages._embedding.frames import map_csv, map_frame, wanted_from
from pages._embedding.highlights import GENES as GENE_POINTS
from pages._explore import choosing, details, topic
from pages._explore.ids import CHANGED, COLOR, EXPECTED, GENES, GROUPBY, JOINT, LABELS, SIZE, TOPIC, UMAP
from pages._shared import cell_maps, colors, ids, selecting, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import figure_card, legend_id, page
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.figures import plot_joint_map
from scetm_core.requests import MapRequest

dash.register_page(__name__, path="/explore", name="Explore", title="Explore · scETM Studio", order=35, group="Explore")

QUESTION = "What is in these cells? Choose a topic, a gene or some cells: every view follows."
N_LEADERS = 12
TASK, POINTS, STARTED = "explore", "explore-points", "explore-started"
HOW_MAP = (
    "Each point is a cell. Change Move to Lasso or Box to select some; the panel below tells what sets them apart. "
    "The wheel zooms, a double click goes back. Beyond 50,000 cells the map is a picture in which every cell counts: "
    "a pixel has the mean colour of its cells, and is denser the more they are; zoom in far enough for single points."
)
HOW_JOINT = (
    "Grey points are genes, diamonds topics. Rings: the leading genes of the topic in focus. Click a topic to put it "
    "in focus, a gene to colour the cells by it."
)


def layout(
    run: str | None = None, color: str | None = None, topic: str | None = None, groupby: str | None = None,
    zoom: str | None = None, **_: str,
) -> Component:  # fmt: skip
    """The page; the address says all that is chosen on it."""
    opened = open_result("Explore", QUESTION, run)
    if not isinstance(opened, Opened):
        return opened
    asked = opened.topic_in(topic)
    focus = opened.strongest_topic() if asked is None else asked
    grouping = opened.default_grouping(groupby)
    chosen = color or (keys.topic_name(focus) if asked is not None else grouping)
    return page(
        "Explore",
        QUESTION,
        opened.store,
        *cell_maps.map_stores(UMAP, zoom=zoom),
        _controls(opened, grouping),
        cell_maps.surface(opened.run.id, _panels(opened, chosen, focus, grouping), "explore"),
    )


def _controls(opened: Opened, groupby: str) -> Component:
    return dmc.Group(
        [
            *cell_maps.tools(),
            dmc.Select(
                id=GROUPBY, data=opened.grouping_columns(), value=groupby, searchable=True, allowDeselect=False, w=150,
                size="xs", leftSection=dmc.Text("by", size="xs", c="dimmed"), **{"aria-label": "Group cells by"},
            ),
            cell_maps.size_slider(SIZE, opened.result.n_obs),
            dmc.Switch(id=LABELS, label="Names", checked=True, size="sm"),
            dmc.Text(cell_maps.how_many(opened.result.n_obs), size="sm", c="dimmed", className="numbers"),
        ],
        gap="md",
    )  # fmt: skip


def _panels(opened: Opened, color: str, focus: int, groupby: str) -> list[Component]:
    offered = colors.choices(opened.result, chosen=color, names=opened.names)
    cells = figure_card(
        UMAP, title=colors.color_select(COLOR, label="Colour by", data=offered, value=color), how_to_read=HOW_MAP,
        height=470, is_map=True, has_legend=True,
    )  # fmt: skip
    joint = html.Div(
        [
            dcc.Store(id=POINTS, data=GENE_POINTS),
            dcc.Store(id=STARTED),
            task_view(TASK),
            figure_card(JOINT, title="Genes and topics", how_to_read=HOW_JOINT, height=470, is_map=True),
        ]
    )
    return [
        html.Div(
            [
                _panel("Cells", cell_maps.framed(UMAP, cells), "explore-cells"),
                _panel("Genes and topics", joint, "explore-map"),
                _panel(
                    "Selection",
                    html.Div([choosing.panel(opened, groupby), details.panel(opened, groupby)]),
                    "explore-selection",
                ),
            ],
            className="explore explore-left",
        ),
        _panel("Topic", topic_card(opened, focus), "explore-topic-panel"),
    ]


def topic_card(opened: Opened, focus: int) -> Component:
    """The panel of the topic in focus."""
    return html.Div([topic.chooser(opened, focus), *topic.panel()], className="explore-stack")


def _panel(title: str, content: Component, name: str) -> Component:
    """A part of the page that folds away; natively, so by keyboard too."""
    return html.Details([html.Summary(title), content], open=True, className=f"explore-panel {name}")


callback(
    Output(UMAP, "figure"),
    Output(legend_id(UMAP), "children"),
    Input(COLOR, "value"),
    Input(SIZE, "value"),
    Input(LABELS, "checked"),
    Input(CHANGED, "data"),
    *cell_maps.map_inputs(UMAP),
    Input(ids.ACTIVE_RUN, "data"),
)(
    lambda color, size, labels, _changed, store, window, hidden, tool, run_id: cell_maps.draw_map(
        run_id, color, size, labels, graph=UMAP, selection=selecting.current(store, run_id), window=window,
        hidden=hidden, tool=tool,
    )
)  # fmt: skip
cell_maps.follow_tool(UMAP)

callback(
    Output(COLOR, "data"), Input(COLOR, "searchValue"), State(COLOR, "value"), State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)(cell_maps.offer_colors)  # fmt: skip
callback(
    Output(csv_download(UMAP), "data"), Input(csv_button(UMAP), "n_clicks"), State(ids.ACTIVE_RUN, "data"),
    State(COLOR, "value"), prevent_initial_call=True,
)(cell_maps.download_cells)  # fmt: skip


follow_task(TASK, keys.MAP_FOLDER, (POINTS, "data"))


@callback(Output(STARTED, "data"), Input(ids.ACTIVE_RUN, "data"))
def start_joint_map(run_id: str) -> Any:
    """Ask for the joint map if it is not there; one that failed or was cancelled is not asked for again."""
    run = studio.open_run(run_id)
    if run.table_path(keys.MAP_FOLDER, GENE_POINTS).is_file() or tasks.find_task(run, keys.MAP_FOLDER, GENE_POINTS):
        return no_update
    tasks.ask(run, GENE_POINTS, MapRequest())
    set_props(tick_of(TASK), {"disabled": False})
    return run_id


@callback(Output(JOINT, "figure"), Input(TOPIC, "value"), Input(stamp_of(TASK), "data"), State(ids.ACTIVE_RUN, "data"))
def draw_joint_map(topic: str, _stamp: str | None, run_id: str) -> go.Figure:
    """Draw genes and topics, the topic in focus marked."""
    frame, _ = map_frame(run_id, wanted_from(GENE_POINTS, topic, N_LEADERS, None, None, "", None))
    if frame.empty:
        frame.attrs["reason"] = "The joint map is worked out once, in some seconds. If it does not come, see Embedding."
    figure = plot_joint_map(frame, topic=int(topic), topic_names=studio.open_run(run_id).topic_names())
    figure.update_layout(showlegend=False)
    return figure


@callback(
    Output(csv_download(JOINT), "data"), Input(csv_button(JOINT), "n_clicks"), State(TOPIC, "value"),
    State(ids.ACTIVE_RUN, "data"), prevent_initial_call=True,
)  # fmt: skip
def download_joint_map(n_clicks: int | None, topic: str, run_id: str) -> Any:
    """The joint map as CSV."""
    table = map_csv(run_id, GENE_POINTS, topic, N_LEADERS, None, None, "", None)
    return dcc.send_data_frame(table.to_csv, f"{run_id}-joint-map.csv")


@callback(
    Output(TOPIC, "value", allow_duplicate=True),
    Output(COLOR, "value", allow_duplicate=True),
    Input(JOINT, "clickData"),
    Input(GENES, "clickData"),
    Input(EXPECTED, "selectedRows"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def follow_click(
    joint: dict[str, Any] | None, genes: dict[str, Any] | None, rows: list[dict[str, Any]] | None, run_id: str
) -> tuple[Any, Any]:
    """Put a clicked topic in focus; colour the cells by a clicked gene."""
    if ctx.triggered_id == EXPECTED:
        return no_update, rows[0]["gene"] if rows else no_update
    clicked = joint if ctx.triggered_id == JOINT else genes
    if not clicked:
        return no_update, no_update
    name = str(clicked["points"][0].get("customdata"))
    if (number := keys.topic_number(name)) is not None:
        return str(number), no_update
    return no_update, name if name in studio.load_result(run_id).var_names else no_update


@callback(Output(COLOR, "value"), Input(TOPIC, "value"), prevent_initial_call=True)
def color_by_topic(topic: str) -> str:
    """Let the map follow the topic in focus."""
    return keys.topic_name(int(topic))


@callback(Output(COLOR, "value", allow_duplicate=True), Input(GROUPBY, "value"), prevent_initial_call=True)
def color_by_group(groupby: str) -> str:
    """Let the map follow the grouping."""
    return groupby


clientside_callback(
    """function (color, topic, groupby, run) {
        window.scetm.rememberInUrl({run: run, color: color, topic: topic, groupby: groupby}, []);
    }""",
    Input(COLOR, "value"),
    Input(TOPIC, "value"),
    Input(GROUPBY, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
