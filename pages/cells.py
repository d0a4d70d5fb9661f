"""Where does each cell sit? Two linked maps of the same cells, each coloured by a column, a topic or a gene."""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.legend import legend_of
from pages._shared.opened import Opened, open_result
from pages._shared.parts import figure_card, legend_id, page
from scetm_core import keys
from scetm_core.figures import default_point_size, plot_umap

dash.register_page(__name__, path="/cells", name="Cells", title="Cells · scETM Studio", order=40, group="Explore")

UMAP = "cells-umap"
UMAP_BESIDE = "cells-umap-beside"
COLOR = "cells-color"
COLOR_BESIDE = "cells-color-beside"
SIZE = "cells-point-size"
LABELS = "cells-labels"

MAPS = ((UMAP, COLOR), (UMAP_BESIDE, COLOR_BESIDE))
HOW_TO_READ = (
    "Each point is a cell; cells with similar topics lie close together. Distances between far-apart groups mean "
    "little. In a good integration, batches mix and cell types keep apart. Groups under 1 % of the "
    "cells, or scattered over the map, are named in the legend only. Click a name in the legend to hide it, "
    "double-click to see it alone; the wheel zooms both maps, a double click on a map goes back."
)


def layout(
    run: str | None = None, color: str | None = None, beside: str | None = None, topic: str | None = None, **_: str
) -> Component:
    """The page; `topic=7` is short for `color=topic_7`."""
    question = "Where does each cell sit in topic space?"
    opened = open_result("Cells", question, run)
    if not isinstance(opened, Opened):
        return opened
    result, names = opened.result, opened.names
    first, second = colors.default_colors(result, opened.run.id)
    asked = opened.topic_in(topic)
    if asked is not None:
        color = color or keys.topic_name(asked)
    chosen = {COLOR: color or first, COLOR_BESIDE: beside or second}
    offered = {name: colors.choices(result, chosen=value, names=names) for name, value in chosen.items()}
    selects = {
        COLOR: colors.color_select(COLOR, label="Colour by", data=offered[COLOR], value=chosen[COLOR]),
        COLOR_BESIDE: colors.color_select(
            COLOR_BESIDE, label="Beside it, colour by", data=offered[COLOR_BESIDE], value=chosen[COLOR_BESIDE]
        ),
    }
    return page(
        "Cells",
        question,
        opened.store,
        _controls(result.n_obs),
        html.Div(
            [
                figure_card(
                    graph,
                    title=selects[select],
                    name=f"Map of the cells, {side}",
                    how_to_read=HOW_TO_READ,
                    height=560,
                    is_map=True,
                    has_legend=True,
                )
                for (graph, select), side in zip(MAPS, ("left", "right"), strict=True)
            ],
            className="two-columns",
        ),
    )


def _controls(n_cells: int) -> Component:
    return dmc.Group(
        [
            dmc.Text(f"{n_cells:,} cells, all of them shown", size="sm", c="dimmed", className="numbers"),
            dmc.Group(
                [
                    dmc.Text("Point size", size="sm"),
                    dmc.Slider(
                        id=SIZE,
                        min=1,
                        max=12,
                        step=0.5,
                        value=round(2 * default_point_size(n_cells)) / 2,
                        w=140,
                        size="sm",
                        label=None,
                        thumbLabel="Point size",
                    ),
                ],
                gap="xs",
            ),
            dmc.Switch(id=LABELS, label="Names on the map", checked=True, size="sm"),
        ],
        gap="xl",
    )


def draw_map(run_id: str, color: str, size: float | None, labels: bool) -> go.Figure:
    """One map of the cells."""
    frame = colors.colored_frame(run_id, color)
    return plot_umap(frame, point_size=size, labels=labels)


def draw_map_and_legend(
    run_id: str, color: str, size: float | None, labels: bool, graph: str
) -> tuple[go.Figure, Component | None]:
    """One map of the cells, and the legend below it."""
    figure = draw_map(run_id, color, size, labels)
    return figure, legend_of(figure, graph, column=colors.category_column(run_id, color))


def offer_colors(typed: str | None, chosen: str | None, run_id: str) -> Any:
    """Offer the genes that match what is being typed."""
    names = studio.open_run(run_id).topic_names()
    if not typed or typed == colors.label_of(chosen or "", names):
        return no_update
    return colors.choices(studio.load_result(run_id), typed=typed, chosen=chosen, names=names)


def download_cells(n_clicks: int | None, run_id: str, color: str) -> Any:
    """The cells on the map as CSV: name, position, value."""
    if not n_clicks:
        return no_update
    return dcc.send_data_frame(colors.map_table(run_id, color).to_csv, f"{run_id}-cells-{color}.csv")


for _graph, _select in MAPS:
    callback(
        Output(_graph, "figure"),
        Output(legend_id(_graph), "children"),
        Input(ids.ACTIVE_RUN, "data"),
        Input(_select, "value"),
        Input(SIZE, "value"),
        Input(LABELS, "checked"),
        State(_graph, "id"),
    )(draw_map_and_legend)
    callback(
        Output(_select, "data"),
        Input(_select, "searchValue"),
        State(_select, "value"),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )(offer_colors)
    callback(
        Output(csv_download(_graph), "data"),
        Input(csv_button(_graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        State(_select, "value"),
        prevent_initial_call=True,
    )(download_cells)

for _from, _to in ((UMAP, UMAP_BESIDE), (UMAP_BESIDE, UMAP)):
    clientside_callback(
        f"function (moved) {{ window.scetm.followZoom(moved, '{_to}'); }}",
        Input(_from, "relayoutData"),
        prevent_initial_call=True,
    )

clientside_callback(
    "function (color, beside, run) { window.scetm.keepInUrl({run: run, color: color, beside: beside}, ['topic']); }",
    Input(COLOR, "value"),
    Input(COLOR_BESIDE, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
