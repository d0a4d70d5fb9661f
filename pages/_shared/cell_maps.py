"""How is a map of cells shown, selected on and zoomed into? The same on every page that has one.

assets/maps.js watches the graphs: a lasso or box becomes a step for `selecting.ASK`; of a map that is drawn as a
picture, the part in view and the hidden groups go into the stores of `map_stores`, and the server draws it anew.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, State, clientside_callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, selecting, studio
from pages._shared.legend import legend_of
from scetm_core.dressing import dressing_stamp
from scetm_core.figures import default_point_size, plot_umap

TOOL, HOW = "map-tool", "map-how"
DRAG = {"pan": "pan", "lasso": "drawclosedpath", "box": "drawrect"}
"""What dragging does on the map, by the value of `TOOL`; shapes are drawn instead of points being searched."""


def window_id(graph: str) -> str:
    """Store of the part of a map that is in view: [left, right, bottom, top], or None."""
    return f"{graph}-window"


def hidden_id(graph: str) -> str:
    """Store of the names of hidden groups."""
    return f"{graph}-hidden"


def map_stores(graph: str, *, zoom: str | None = None) -> list[Component]:
    """The stores that belong to a map; `zoom` is the part in view as an address says it."""
    return [dcc.Store(id=window_id(graph), data=window_from(zoom)), dcc.Store(id=hidden_id(graph))]


def window_from(text: str | None) -> list[float] | None:
    """``"-3,4,0,7"`` as left, right, bottom, top; None if it is not that."""
    try:
        left, right, bottom, top = (float(part) for part in (text or "").split(","))
    except ValueError:
        return None
    finite = all(abs(end) < 1e9 for end in (left, right, bottom, top))
    return [left, right, bottom, top] if finite and left < right and bottom < top else None


def tools() -> list[Component]:
    """What dragging on a map does, and what a new lasso does to the selection."""
    tool = [{"value": "pan", "label": "Move"}, {"value": "lasso", "label": "Lasso"}, {"value": "box", "label": "Box"}]
    how = [
        {"value": "new", "label": "New"}, {"value": "add", "label": "Add"},
        {"value": "subtract", "label": "Subtract"}, {"value": "intersect", "label": "Within"},
    ]  # fmt: skip
    return [
        dmc.SegmentedControl(id=TOOL, data=tool, value="pan", size="xs", **{"aria-label": "Dragging on the map"}),
        dmc.Tooltip(
            dmc.SegmentedControl(id=HOW, data=how, value="new", size="xs", **{"aria-label": "What is drawn next"}),
            label="What the next lasso, box or choice does to the selection. While drawing: Shift adds, Alt subtracts.",
            multiline=True, w=260,
        ),
    ]  # fmt: skip


def framed(graph: str, card: Component) -> Component:
    """The card of a map that is drawn by `draw_map`; its part in view is kept in the address."""
    attributes: dict[str, Any] = {"data-map": graph, "data-zoom-in-url": "yes"}
    return html.Div(card, **attributes)


def surface(run_id: str, content: Any, class_name: str = "two-columns") -> Component:
    """The place of maps on which cells of a run can be selected."""
    attributes: dict[str, Any] = {"data-map-run": run_id}
    return html.Div(content, className=class_name, **attributes)


def size_slider(component_id: str, n_cells: int) -> Component:
    """Point size."""
    return dmc.Group(
        [
            dmc.Text("Point size", size="sm"),
            dmc.Slider(
                id=component_id, min=1, max=12, step=0.5, value=round(2 * default_point_size(n_cells)) / 2, w=120,
                size="sm", label=None, thumbLabel="Point size",
            ),
        ],
        gap="xs",
    )  # fmt: skip


def draw_map(
    run_id: str, color: str, size: float | None, labels: bool, *, graph: str, selection: str = "",
    window: list[float] | None = None, hidden: list[str] | None = None, tool: str | None = None,
) -> tuple[go.Figure, Component | None]:  # fmt: skip
    """A map of the cells of a run, and the legend below it."""
    run = studio.open_run(run_id)
    what = (color, size, labels, graph, selection, tuple(window or ()), tuple(hidden or ()), tool or "pan")
    return _drawn(run_id, (studio.result_stamp(run), dressing_stamp(run), *run.topic_names().items()), *what)


@studio.remembered(maxsize=32)
def _drawn(
    run_id: str, _stamps: object, color: str, size: float | None, labels: bool, graph: str, selection: str,
    window: tuple[float, ...], hidden: tuple[str, ...], tool: str,
) -> tuple[go.Figure, Component | None]:  # fmt: skip
    """As `draw_map`, drawn once for all who look at the same. Shared: never change it."""
    left, right, bottom, top = window or (0.0, 0.0, 0.0, 0.0)
    figure = plot_umap(
        colors.colored_frame(run_id, color),
        point_size=size,
        labels=labels,
        selected=selecting.mask_of(run_id, selection),
        window=(left, right, bottom, top) if window else None,
        hidden=hidden,
    )
    redraw = {"run": run_id, "color": color, "size": size, "selection": selection, "hidden": list(hidden)}
    figure.update_layout(dragmode=DRAG.get(tool, "pan"), meta={**(figure.layout.meta or {}), "redraw": redraw})
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


def how_many(n_cells: int) -> str:
    """What is shown of the cells, in words."""
    return f"{n_cells:,} cells, all of them shown"


def follow_tool(*graphs: str) -> None:
    """Register what the choice of a tool does on some graphs at once, without drawing them anew."""
    names = ", ".join(f"'{graph}'" for graph in graphs)
    clientside_callback(f"function (tool) {{ window.scetm.dragOn([{names}], tool); }}", Input(TOOL, "value"))


def map_inputs(graph: str) -> list[Any]:
    """Selection, window and hidden groups of a map, and the tool: the last four arguments of its callback."""
    return [
        Input(selecting.STORE, "data"), Input(window_id(graph), "data"), Input(hidden_id(graph), "data"),
        State(TOOL, "value"),
    ]  # fmt: skip
