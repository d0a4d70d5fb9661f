"""Where does each cell sit? Two linked maps of the same cells, each coloured by a column, a topic or a gene."""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback
from dash.development.base_component import Component

from pages._shared import cell_maps, colors, ids, selecting
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import figure_card, legend_id, page
from scetm_core import keys

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
    "double-click to see it alone; the wheel zooms both maps, a double click on a map goes back. Change Move to Lasso "
    "or Box to select cells; all pages then tell of them."
)


def layout(
    run: str | None = None, color: str | None = None, beside: str | None = None, topic: str | None = None,
    zoom: str | None = None, **_: str,
) -> Component:  # fmt: skip
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
        *(store for graph, _ in MAPS for store in cell_maps.map_stores(graph, zoom=zoom)),
        cell_maps.surface(
            opened.run.id,
            [
                cell_maps.framed(
                    graph,
                    figure_card(
                        graph,
                        title=selects[select],
                        name=f"Map of the cells, {side}",
                        how_to_read=HOW_TO_READ,
                        height=560,
                        is_map=True,
                        has_legend=True,
                    ),
                )
                for (graph, select), side in zip(MAPS, ("left", "right"), strict=True)
            ],
        ),
    )


def _controls(n_cells: int) -> Component:
    return dmc.Group(
        [
            *cell_maps.tools(),
            cell_maps.size_slider(SIZE, n_cells),
            dmc.Switch(id=LABELS, label="Names on the map", checked=True, size="sm"),
            dmc.Text(cell_maps.how_many(n_cells), size="sm", c="dimmed", className="numbers"),
        ],
        gap="lg",
    )


def draw(
    run_id: str, color: str, size: float | None, labels: bool, graph: str, store: dict[str, Any] | None,
    window: list[float] | None, hidden: list[str] | None, tool: str | None,
) -> tuple[go.Figure, Component | None]:  # fmt: skip
    """One map of the cells, and the legend below it."""
    return cell_maps.draw_map(
        run_id, color, size, labels, graph=graph, selection=selecting.current(store, run_id), window=window,
        hidden=hidden, tool=tool,
    )  # fmt: skip


for _graph, _select in MAPS:
    callback(
        Output(_graph, "figure"),
        Output(legend_id(_graph), "children"),
        Input(ids.ACTIVE_RUN, "data"),
        Input(_select, "value"),
        Input(SIZE, "value"),
        Input(LABELS, "checked"),
        State(_graph, "id"),
        *cell_maps.map_inputs(_graph),
    )(draw)
    callback(
        Output(_select, "data"),
        Input(_select, "searchValue"),
        State(_select, "value"),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )(cell_maps.offer_colors)
    callback(
        Output(csv_download(_graph), "data"),
        Input(csv_button(_graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        State(_select, "value"),
        prevent_initial_call=True,
    )(cell_maps.download_cells)

cell_maps.follow_tool(UMAP, UMAP_BESIDE)

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
