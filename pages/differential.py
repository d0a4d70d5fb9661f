"""Which topics are higher in one cell type or condition than in all others? Permutation tests, seen from four sides."""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._differential import parts
from pages._shared import colors, ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.opened import Opened, open_result
from pages._shared.parts import link_button, page
from pages._shared.requests import read_request
from pages._shared.tables import offer_table
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.differential import cluster_order
from scetm_core.figures import (
    differential_frame,
    mark_differential,
    plot_differential_heatmap,
    plot_topic_distribution,
    plot_umap,
    plot_volcano,
    topic_distribution_frame,
)
from scetm_core.figures.differential import SIGNIFICANCE
from scetm_core.files import table_name
from scetm_core.requests import DifferentialRequest

dash.register_page(
    __name__, path="/differential", name="Differential", title="Differential topics · scETM Studio", order=80,
    group="Explain",
)  # fmt: skip

NOTHING = pd.DataFrame()


def layout(
    run: str | None = None, topic: str | None = None, label: str | None = None, groupby: str | None = None, **_: str
) -> Component:
    """The page, with one topic and label in focus."""
    question = "Which topics are higher in one group of cells than in the others?"
    opened = open_result("Differential", question, run)
    if not isinstance(opened, Opened):
        return opened
    chosen = opened.default_grouping(groupby)
    asked = opened.topic_in(topic)
    focus = {"topic": None if asked is None else str(asked), "label": label}
    return page(
        "Differential",
        question,
        opened.store,
        dcc.Store(id=parts.FOCUS, data=focus),
        dcc.Store(id=parts.TABLE_NAME, data=table_name(chosen)),
        parts.controls(opened, chosen),
        task_view(parts.TASK),
        html.Div(id=parts.SAID, role="status"),
        html.Div(parts.before(), id=parts.BEFORE, style={"display": "none"}),
        html.Div(parts.after(opened, chosen), id=parts.AFTER, style={"display": "none"}),
    )


follow_task(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))
offer_table(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))


@callback(Output(parts.TABLE_NAME, "data"), Output(parts.DIFFERENCE, "value"), Input(parts.GROUPBY, "value"),
          State(ids.ACTIVE_RUN, "data"), prevent_initial_call=True)  # fmt: skip
def choose_grouping(groupby: str, run_id: str) -> tuple[str, float]:
    """Look at the tests of another grouping, with the paper's threshold for its kind."""
    return table_name(groupby), parts.least_difference(studio.open_run(run_id), groupby)


@callback(
    Output(tick_of(parts.TASK), "disabled", allow_duplicate=True),
    Output({"type": "request", "task": parts.TASK, "name": dash.ALL}, "error"),
    Input(parts.TEST, "n_clicks"),
    State(parts.GROUPBY, "value"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "id"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "value"),
    State({"type": "request-switch", "task": parts.TASK, "name": dash.ALL}, "id"),
    State({"type": "request-switch", "task": parts.TASK, "name": dash.ALL}, "checked"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def start_test(
    n_clicks: int | None,
    groupby: str,
    ids_: list[Any],
    values: list[Any],
    switches: list[Any],
    checked: list[Any],
    run_id: str,
) -> tuple[Any, list[Any]]:
    """Ask for the tests of a grouping; what is wrong with a field is said beside it."""
    if not n_clicks:
        return no_update, [no_update] * len(ids_)
    request, errors = read_request(
        DifferentialRequest, [*ids_, *switches], [*values, *checked], given={"groupby": groupby}
    )
    if request is not None:
        tasks.ask(studio.open_run(run_id), table_name(groupby), request)
    return (no_update if request is None else False), errors[: len(ids_)]


@callback(
    Output(parts.BEFORE, "style"),
    Output(parts.AFTER, "style"),
    Output(parts.SAID, "children"),
    Output(parts.TEST, "children"),
    Input(stamp_of(parts.TASK), "data"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def show_or_hide(stamp: str, name: str, run_id: str) -> tuple[dict[str, str], dict[str, str], Any, str]:
    """What was compared, in words, above the figures; before the first test, what it would do."""
    hidden: dict[str, str] = {"display": "none"}
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None:
        return {}, hidden, None, "Test"
    request = table.attrs["request"]
    side = "higher or lower" if request["two_sided"] else "higher"
    draws = "" if table["is_exact"].all() else f" {request['n_permutations']:,} random permutations,"
    draws = f"Tested for {side},{draws} {table.attrs['seconds']:.1f} s."
    said = dmc.Text(" ".join([*table.attrs["sentences"], draws]), size="sm", c="dimmed", className="numbers")
    return hidden, {}, said, "Test again"


def marked_table(
    run_id: str, name: str, significance: float | None, least: float | None, correction: str
) -> pd.DataFrame:
    """The tests of a grouping with those marked that pass the thresholds; empty before the first test."""
    table = studio.load_table(run_id, parts.KIND, name)
    if table is None:
        return NOTHING
    level = SIGNIFICANCE if not significance else float(significance)
    return mark_differential(table, significance=level, min_difference=float(least or 0), correction=correction)


def focus_of(marked: pd.DataFrame, focus: dict[str, Any]) -> tuple[str, str] | None:
    """Label and topic to look at: those asked for, else the largest difference, with either or with most cells."""
    if marked.empty:
        return None
    rows = marked
    if focus.get("label") in set(rows["label"]):
        rows = rows[rows["label"] == focus["label"]]
    if focus.get("topic") is not None and (topic := keys.topic_name(focus["topic"])) in set(rows["topic"]):
        rows = rows[rows["topic"] == topic]
    if rows is marked:
        rows = rows[rows["n_cells"] == rows["n_cells"].max()]
    best = rows.iloc[int(rows["mean_difference"].to_numpy().argmax())]
    return str(best["label"]), str(best["topic"])


def order_of(tests: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Labels and topics in the order of the heatmap, whatever the thresholds."""
    wide = tests.pivot_table(index="label", columns="topic", values="mean_difference", sort=False, observed=True)
    return cluster_order(wide)


THRESHOLDS = (Input(parts.SIGNIFICANT, "value"), Input(parts.DIFFERENCE, "value"), Input(parts.CORRECTION, "value"))
SHOWN = (Input(stamp_of(parts.TASK), "data"), Input(parts.FOCUS, "data"))


@callback(
    Output(parts.HEATMAP, "figure"), Output(parts.VOLCANO, "figure"), *SHOWN, *THRESHOLDS, Input(parts.ONLY, "checked"),
    State(parts.TABLE_NAME, "data"), State(ids.ACTIVE_RUN, "data"),
)  # fmt: skip
def draw_tests(
    stamp: str | None,
    focus: dict[str, Any],
    significance: float,
    least: float,
    correction: str,
    only: bool,
    name: str,
    run_id: str,
) -> tuple[go.Figure, go.Figure]:
    """Draw all tests, as a heatmap and as a volcano."""
    if not stamp:
        return no_update, no_update
    marked = marked_table(run_id, name, significance, least, correction)
    names, selected = studio.open_run(run_id).topic_names(), focus_of(marked, focus)
    frame = differential_frame(marked, only_differential=only, order=order_of(marked))
    volcano = plot_volcano(
        marked, significance=float(significance or SIGNIFICANCE), min_difference=float(least or 0), topic_names=names,
        selected=selected,
    )  # fmt: skip
    return plot_differential_heatmap(frame, topic_names=names, selected=selected), volcano


@callback(
    Output(parts.DISTRIBUTION, "figure"), Output(parts.TOPIC_MAP, "figure"), Output(parts.LINKS, "children"), *SHOWN,
    State(parts.TABLE_NAME, "data"), State(parts.GROUPBY, "value"), State(ids.ACTIVE_RUN, "data"),
)  # fmt: skip
def draw_focus(stamp: str | None, focus: dict[str, Any], name: str, groupby: str, run_id: str) -> tuple[Any, Any, Any]:
    """Draw the topic in focus: inside and outside the label, and over the cells."""
    marked = marked_table(run_id, name, None, None, "q_bonferroni") if stamp else NOTHING
    if (selected := focus_of(marked, focus)) is None:
        return no_update, no_update, no_update
    label, topic = selected
    number, names = int(topic.removeprefix("topic_")), studio.open_run(run_id).topic_names()
    frame = topic_distribution_frame(studio.load_result(run_id), topic=number, groupby=groupby, label=label)
    row = marked[(marked["label"] == label) & (marked["topic"] == topic)].iloc[0]
    said = dmc.Text(
        f"{label}, {studio.topic_label(number, names)}: difference {row['mean_difference']:.2f}, effect size "
        f"{row['effect_size']:.2f}, p = {row['p_value']:.2g}, q = {row['q_bonferroni']:.2g}",
        size="sm", className="numbers",
    )  # fmt: skip
    links = [
        link_button(text, f"/{path}?run={run_id}&topic={number}", size="compact-sm")
        for text, path in (("Cells coloured by it", "cells"), ("Its genes", "topics"), ("Its gene sets", "enrichment"))
    ]
    cells = plot_umap(colors.colored_frame(run_id, topic))
    return plot_topic_distribution(frame, topic_names=names), cells, dmc.Group([said, *links], gap="sm")


@callback(
    Output(parts.TABLE, "rowData"), *THRESHOLDS, Input(stamp_of(parts.TASK), "data"), State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
)  # fmt: skip
def fill_table(significance: float, least: float, correction: str, stamp: str | None, name: str, run_id: str) -> Any:
    """All tests as rows, the differential ones first."""
    if not stamp:
        return no_update
    marked = marked_table(run_id, name, significance, least, correction)
    names = studio.open_run(run_id).topic_names()
    shown = marked.sort_values(["differential", "mean_difference"], ascending=False)
    labels = [studio.topic_label(int(topic.removeprefix("topic_")), names) for topic in shown["topic"]]
    rows = shown.assign(
        id=[f"{label}|{topic}" for label, topic in zip(shown["label"], shown["topic"], strict=True)],
        topic_label=labels,
        mark=["yes" if mark else "" for mark in shown["differential"]],
    )
    return rows[["id", "topic", *(str(column["field"]) for column in parts.COLUMNS)]].to_dict("records")


@callback(
    Output(parts.FOCUS, "data"),
    Input(parts.HEATMAP, "clickData"),
    Input(parts.VOLCANO, "clickData"),
    Input(parts.TABLE, "selectedRows"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def focus_clicked(heatmap: Any, volcano: Any, rows: list[dict[str, Any]] | None, name: str, run_id: str) -> Any:
    """Look at the test that was clicked, wherever."""
    if ctx.triggered_id == parts.TABLE:
        chosen = (rows[0]["label"], rows[0]["topic"]) if rows else None
    elif ctx.triggered_id == parts.HEATMAP and heatmap:
        point, tests = heatmap["points"][0], marked_table(run_id, name, None, None, "q_bonferroni")
        chosen = (order_of(tests)[0][int(point["y"])], keys.topic_name(point["x"]))
    elif ctx.triggered_id == parts.VOLCANO and volcano:
        row = marked_table(run_id, name, None, None, "q_bonferroni").iloc[int(volcano["points"][0]["customdata"])]
        chosen = (row["label"], row["topic"])
    else:
        chosen = None
    if chosen is None:
        return no_update
    return {"label": str(chosen[0]), "topic": str(chosen[1]).removeprefix("topic_")}


clientside_callback(
    "function (focus, groupby, run) {"
    " window.scetm.keepInUrl({run: run, topic: focus.topic, label: focus.label, groupby: groupby}, []); }",
    Input(parts.FOCUS, "data"),
    Input(parts.GROUPBY, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


@callback(
    Output(csv_download(parts.HEATMAP), "data"),
    Input(csv_button(parts.HEATMAP), "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    State(parts.TABLE_NAME, "data"),
    prevent_initial_call=True,
)
def download_tests(n_clicks: int | None, run_id: str, name: str) -> Any:
    """All tests as CSV."""
    table = studio.load_table(run_id, parts.KIND, name) if n_clicks else None
    if table is None:
        return no_update
    return dcc.send_data_frame(table.to_csv, f"{run_id}-differential-{name}.csv", index=False)
