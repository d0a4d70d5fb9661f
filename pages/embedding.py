"""Which genes lie near which topics? One map of both, and the neighbourhood of one topic."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import dash
import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, no_update, set_props
from dash.development.base_component import Component

from pages._embedding import parts
from pages._embedding.frames import (
    N_LEADERS,
    map_csv,
    map_frame,
    offer_points,
    rows_of,
    space_of,
    wanted_from,
    zoom_csv,
)
from pages._embedding.highlights import GENES, SETS, gene_sets_of, labels_of, leaders_of, names_of_points, sources_of
from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.legend import legend_of
from pages._shared.opened import Opened, open_result
from pages._shared.parts import legend_id, link_button, page
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import jobs, keys, tasks
from scetm_core.figures import neighborhood, pathway_name, pathway_weights, plot_joint_map, plot_neighborhood
from scetm_core.joint_map import left_out_sentences, nearest_points, topics_near
from scetm_core.requests import MapRequest
from scetm_core.runs import Run

dash.register_page(
    __name__, path="/embedding", name="Embedding", title="Embedding · scETM Studio", order=60, group="Explore"
)

N_NEAREST = 50


def layout(
    run: str | None = None,
    topic: str | None = None,
    sets: str | None = None,
    gene: str | None = None,
    points: str | None = None,
    **more: str,
) -> Component:
    """The page; `set` is the gene set to highlight, or the chosen one where gene sets are the points."""
    question = "Which genes lie near which topics?"
    opened = open_result("Embedding", question, run)
    if not isinstance(opened, Opened):
        return opened
    result, asked = opened.result, opened.topic_in(topic)
    focus = opened.strongest_topic() if asked is None else asked
    has_sets = not pathway_weights(result).empty
    shown = SETS if has_sets and points == SETS else GENES
    sources = sources_of(opened.run, result)
    source = sets if sets in sources else next(iter(sources), None)
    offered = _set_options(opened.run, source)
    wanted = more.get("set") if shown == SETS else gene
    chosen = wanted if wanted in names_of_points(result, shown) else None
    return page(
        "Embedding",
        question,
        opened.store,
        parts.controls(opened.topic_options(), topic=focus, points=shown, has_sets=has_sets, n_leaders=N_LEADERS),
        task_view(parts.TASK),
        parts.offer(),
        _columns(
            [
                parts.map_card(
                    sources,
                    source=source,
                    sets=offered,
                    gene_set=_value_in(offered, more.get("set")),
                    points=shown,
                    run_id=opened.run.id,
                ),
                parts.near_point_card(shown, offer_points("", chosen, shown, opened.run.id), chosen),
            ],
            [parts.zoom_card(), parts.near_topic_card()],
        ),
    )


def _columns(left: list[Component], right: list[Component]) -> Component:
    """The map and what belongs to it, wide; what explains it, narrow; below each other on a phone."""
    wide, narrow = {"base": 12, "md": 7}, {"base": 12, "md": 5}
    return dmc.Grid(
        [dmc.GridCol(dmc.Stack(left, gap="md"), span=wide), dmc.GridCol(dmc.Stack(right, gap="md"), span=narrow)],
        gutter="md",
    )


def _set_options(run: Run, source: str | None) -> list[dict[str, str]]:
    """Choices of a gene set, by the names one reads."""
    names = gene_sets_of(run, studio.load_result(run.id), source)
    return sorted(({"value": name, "label": pathway_name(name)} for name in names), key=lambda option: option["label"])


def _value_in(options: list[dict[str, str]], wanted: str | None) -> str | None:
    return wanted if wanted in {option["value"] for option in options} else None


follow_task(parts.TASK, parts.KIND, (parts.POINTS, "value"))


# ---- working out the map ------------------------------------------------------------------------------------------


@callback(
    Output(parts.OFFER, "style"),
    Input(tick_of(parts.TASK), "disabled"),
    Input(parts.POINTS, "value"),
    Input(parts.START, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
)
def start_or_offer(is_idle: bool, points: str, n_clicks: int | None, run_id: str) -> dict[str, str]:
    """Ask for a map that is not there; one that failed or was cancelled is offered, not asked for again."""
    run = studio.open_run(run_id)
    task = tasks.find_task(run, parts.KIND, points)
    is_lost = task is not None and jobs.state(task) == "lost"  # and looked at all the same
    if not (is_idle or is_lost) or _is_fresh(run, points):
        return parts.HIDDEN
    if _gave_up(run, task) and ctx.triggered_id != parts.START:
        return {}
    tasks.ask(run, points, MapRequest(points=points))  # one that is at work already goes on
    set_props(tick_of(parts.TASK), {"disabled": False})
    return parts.HIDDEN


def _is_fresh(run: Run, points: str) -> bool:
    """Whether there is a map of the result as it is now."""
    path = run.table_path(parts.KIND, points)
    return path.is_file() and path.stat().st_mtime >= run.result_path.stat().st_mtime


def _gave_up(run: Run, task: tasks.Task | None) -> bool:
    """Whether a map of the result as it is now was begun and not finished."""
    if task is None or jobs.state(task) not in ("failed", "cancelled", "lost"):
        return False
    status = task.status()
    return (status.finished_at or status.queued_at) >= run.result_path.stat().st_mtime


# ---- the map and its highlights -----------------------------------------------------------------------------------


FIELDS = (
    (parts.POINTS, "value"),
    (parts.TOPIC, "value"),
    (parts.N_LEADERS, "value"),
    (parts.SOURCE, "value"),
    (parts.SET, "value"),
    (parts.TYPED, "value"),
    (parts.POINT, "value"),
)
"""What decides what is highlighted, in the order of `wanted_from`."""


@callback(
    Output(parts.UMAP, "figure"),
    Output(legend_id(parts.UMAP), "children"),
    Output(parts.ZOOM, "figure"),
    Output(parts.FOUND, "children"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.NAMES, "checked"),
    Input(parts.ZOOMED, "checked"),
    State(ids.ACTIVE_RUN, "data"),
    *(Input(*field) for field in FIELDS),
)
def draw_map(
    _stamp: str | None, names: bool, zoomed: bool, run_id: str, *fields: Any
) -> tuple[go.Figure, Component | None, go.Figure, str]:
    """Draw the map, its legend, and the neighbourhood of the topic in focus."""
    wanted = wanted_from(*fields)
    frame, said = map_frame(run_id, wanted)
    given = studio.open_run(run_id).topic_names()
    leaders = leaders_of(studio.load_result(run_id), wanted.points, wanted.topic, wanted.n_leaders)
    window = neighborhood(frame, wanted.topic, leaders=leaders)
    figure = plot_joint_map(
        frame, topic=wanted.topic, topic_names=given, names=names, window=window if zoomed else None
    )
    nearby = plot_neighborhood(frame, window, topic=wanted.topic, topic_names=given, leaders=leaders)
    missing = " ".join(left_out_sentences(space_of(run_id, wanted.points))) if not frame.empty else ""
    return figure, legend_of(figure, parts.UMAP), nearby, f"{said} {missing}".strip()


@callback(Output(parts.ZOOM_BOX, "style"), Input(parts.ZOOMED, "checked"))
def show_zoom(zoomed: bool) -> dict[str, str]:
    """Show or hide the neighbourhood."""
    return {} if zoomed else parts.HIDDEN


# ---- choosing -----------------------------------------------------------------------------------------------------


@callback(
    Output(parts.TOPIC, "value"),
    Output(parts.POINT, "value"),
    Output(parts.POINT, "data"),
    Input(parts.UMAP, "clickData"),
    Input(parts.ZOOM, "clickData"),
    Input(parts.NEAR_TOPIC, "cellClicked"),
    Input(parts.NEAR_POINT, "cellClicked"),
    State(parts.POINTS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def choose_clicked(*given: Any) -> tuple[Any, Any, Any]:
    """Look at the topic, or choose the gene, that was clicked on a map or in a table."""
    *clicks, points, run_id = given
    sources = (parts.UMAP, parts.ZOOM, parts.NEAR_TOPIC, parts.NEAR_POINT)
    clicked = dict(zip(sources, clicks, strict=True)).get(ctx.triggered_id)
    name = _name_of_click(clicked, run_id, points) if clicked else None
    if name is None:
        return no_update, no_update, no_update
    is_topic = name in space_of(run_id, points).topics and ctx.triggered_id != parts.NEAR_TOPIC
    if is_topic:
        return name.removeprefix(keys.topic_name(0)[:-1]), no_update, no_update
    return no_update, name, offer_points("", name, points, run_id)


def _name_of_click(clicked: dict[str, Any], run_id: str, points: str) -> str | None:
    """Name of a point of the map, or of a row of a table."""
    if "rowId" in clicked:
        return str(clicked["rowId"])
    table, row = studio.load_table(run_id, parts.KIND, points), clicked["points"][0].get("customdata")
    if table is None or not isinstance(row, int) or not 0 <= row < len(table):
        return None
    return str(table["name"].iloc[row])


@callback(
    Output(parts.POINT, "data", allow_duplicate=True),
    Input(parts.POINT, "searchValue"),
    State(parts.POINT, "value"),
    State(parts.POINTS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def offer_typed_points(typed: str | None, chosen: str | None, points: str, run_id: str) -> Any:
    """Offer the genes that match what is being typed."""
    return offer_points(typed, chosen, points, run_id) if typed and points == GENES and typed != chosen else no_update


@callback(
    Output(parts.POINT, "value", allow_duplicate=True),
    Output(parts.POINT, "data", allow_duplicate=True),
    Output(parts.POINT, "label"),
    Output(parts.N_LEADERS, "label"),
    Output(parts.SET_BOX, "style"),
    Output(parts.TYPED, "value"),
    Output(parts.TYPED, "placeholder"),
    Input(parts.POINTS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def switch_points(points: str, run_id: str) -> tuple[Any, ...]:
    """Begin anew with gene sets for points, or with genes."""
    is_genes = points == GENES
    return (
        None,
        offer_points("", None, points, run_id),
        parts.label_of_point(points),
        parts.label_of_leaders(points),
        {} if is_genes else parts.HIDDEN,
        "",
        parts.search_hint(points),
    )


@callback(
    Output(parts.SET, "data"),
    Output(parts.SET, "value"),
    Input(parts.SOURCE, "value"),
    State(parts.SET, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def offer_sets(source: str | None, chosen: str | None, run_id: str) -> tuple[list[dict[str, str]], str | None]:
    """Offer the gene sets of another source."""
    options = _set_options(studio.open_run(run_id), source)
    return options, _value_in(options, chosen)


# ---- nearest in the space itself ----------------------------------------------------------------------------------


@callback(
    Output(parts.NEAR_TOPIC, "rowData"),
    Output(parts.NEAR_TOPIC_TITLE, "children"),
    Input(parts.TOPIC, "value"),
    Input(parts.POINTS, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def list_points(topic: str, points: str, run_id: str) -> tuple[list[dict[str, Any]], str]:
    """The genes, or gene sets, that point where the topic in focus does."""
    found = nearest_points(space_of(run_id, points), int(topic), N_NEAREST)
    labels = labels_of(studio.load_result(run_id), points)
    shown = studio.topic_label(int(topic), studio.open_run(run_id).topic_names())
    return rows_of(found, labels), f"Nearest {'genes' if points == GENES else 'gene sets'} of {shown}"


@callback(
    Output(parts.NEAR_POINT, "rowData"),
    Output(parts.POINT_TITLE, "children"),
    Output(parts.POINT_LINK, "children"),
    Input(parts.POINT, "value"),
    State(parts.POINTS, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def list_topics(point: str | None, points: str, run_id: str) -> tuple[list[dict[str, Any]], str, Component | None]:
    """The topics that point where the chosen gene, or gene set, does."""
    result = studio.load_result(run_id)
    if not point or point not in names_of_points(result, points):
        return [], f"Nearest topics of a {parts.label_of_point(points).lower()}", None
    found = topics_near(space_of(run_id, points), point, N_NEAREST)
    given = studio.open_run(run_id).topic_names()
    labels = {name: studio.topic_label(number, given) for number, name in enumerate(_all_topics(result))}
    shown = labels_of(result, points).get(point, point)
    return rows_of(found, labels), f"Nearest topics of {shown}", _link_of(point, shown, points, run_id)


def _all_topics(result: Any) -> list[str]:
    return [keys.topic_name(topic) for topic in range(result.obsm[keys.DELTA].shape[1])]


def _link_of(point: str, shown: str, points: str, run_id: str) -> Component:
    """To the cells that express a gene, or the topics that weigh a set."""
    if points == GENES:
        query = urlencode({"run": run_id, "color": point})
        return link_button(f"Cells coloured by {shown}", f"/cells?{query}", size="compact-sm")
    return link_button("Topics that use it", f"/pathways?{urlencode({'run': run_id, 'set': point})}", size="compact-sm")


# ---- address and tables -------------------------------------------------------------------------------------------

clientside_callback(
    """function (points, topic, source, set, point, run) {
        const ofSets = points === "sets";
        window.scetm.keepInUrl({
            run: run, topic: topic, points: ofSets ? points : null, sets: ofSets || !set ? null : source,
            set: ofSets ? point : set, gene: ofSets ? null : point,
        }, []);
    }""",
    Input(parts.POINTS, "value"),
    Input(parts.TOPIC, "value"),
    Input(parts.SOURCE, "value"),
    Input(parts.SET, "value"),
    Input(parts.POINT, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


def _offer_csv(graph: str, make_frame: Any) -> None:
    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        *(State(*field) for field in FIELDS),
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, run_id: str, *fields: Any) -> Any:
        if not n_clicks:
            return no_update
        return dcc.send_data_frame(make_frame(run_id, *fields).to_csv, f"{run_id}-{graph}.csv")


_offer_csv(parts.UMAP, map_csv)
_offer_csv(parts.ZOOM, zoom_csv)
