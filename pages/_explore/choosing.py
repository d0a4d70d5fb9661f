"""How are cells chosen without drawing, and what is done with them? Kept, labelled, tested."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._explore.details import REST, against_in_words, against_options, sides
from pages._explore.ids import AGAINST, CHANGED
from pages._shared import cell_maps, colors, ids, selecting, studio
from pages._shared.errors import inform
from pages._shared.opened import Opened
from scetm_core.errors import DataError
from scetm_core.runs import Run
from scetm_core.user_columns import UserColumn, delete_column, new_column, read_columns, write_column

COLUMN, VALUES, PICK_VALUES = "explore-column", "explore-values", "explore-pick-values"
WHAT, LOW, HIGH, PICK_RANGE = "explore-what", "explore-low", "explore-high", "explore-pick-range"
NAMES, PICK_NAMES = "explore-names", "explore-pick-names"
KEEP_NAME, KEEP = "explore-keep-name", "explore-keep"
LABEL_COLUMN, LABEL, GIVE = "explore-label-column", "explore-label", "explore-give"
UNDO_LABEL, REDO_LABEL, REMOVE = "explore-undo-label", "explore-redo-label", "explore-remove-column"
HISTORY, TEST, GO = "explore-history", "explore-test", "explore-go"


def panel(opened: Opened, column: str) -> Component:
    """The forms."""
    tabs = {"Choose": _choose(opened, column), "Keep and label": _keep(opened), "Compare": _compare(opened)}
    return dmc.Tabs(
        [
            dmc.TabsList([dmc.TabsTab(name, value=name) for name in tabs]),
            *(dmc.TabsPanel(content, value=name, pt="sm") for name, content in tabs.items()),
            dcc.Store(id=CHANGED),
            dcc.Location(id=GO, refresh="callback-nav"),
        ],
        value="Choose",
        keepMounted=True,
    )


def _choose(opened: Opened, column: str) -> Component:
    groups = opened.grouping_columns()
    by_column = [
        dmc.Select(id=COLUMN, label="Column", data=groups, value=column, searchable=True, allowDeselect=False, w=170),
        dmc.MultiSelect(
            id=VALUES, label="Categories", data=values_of(opened.run.id, column), searchable=True, clearable=True,
            w={"base": "100%", "sm": 260}, placeholder="one or more",
        ),
        dmc.Button("Select these", id=PICK_VALUES, variant="light"),
    ]  # fmt: skip
    by_number = [
        colors.color_select(
            WHAT, label="Topic, gene or number", data=colors.choices(opened.result, names=opened.names),
            value=f"topic_{opened.strongest_topic()}",
        ),
        dmc.NumberInput(id=LOW, label="At least", w=110, placeholder="no limit", step=0.05),
        dmc.NumberInput(id=HIGH, label="At most", w=110, placeholder="no limit", step=0.05),
        dmc.Button("Select the range", id=PICK_RANGE, variant="light"),
    ]  # fmt: skip
    by_name = [
        dmc.Textarea(
            id=NAMES, label="Names of cells", placeholder="pasted, one a line or with commas between", autosize=True,
            minRows=1, maxRows=5, w={"base": "100%", "sm": 320},
        ),
        dmc.Button("Select the named", id=PICK_NAMES, variant="light"),
    ]  # fmt: skip
    return html.Div([_row(by_column), _row(by_number), _row(by_name)], className="explore-forms")


def _keep(opened: Opened) -> Component:
    own = list(read_columns(opened.run))
    keep = [
        dmc.TextInput(id=KEEP_NAME, label="Keep the selection as", placeholder="a name", w=200),
        dmc.Button("Keep", id=KEEP, variant="light"),
    ]
    label = [
        dmc.Autocomplete(id=LABEL_COLUMN, label="Column", data=own, value="annotation", w=180),
        dmc.TextInput(id=LABEL, label="Label", placeholder="empty takes labels away", w=200),
        dmc.Button("Label the selected cells", id=GIVE, variant="light"),
        dmc.Button("Undo label", id=UNDO_LABEL, variant="subtle", size="compact-sm"),
        dmc.Button("Redo label", id=REDO_LABEL, variant="subtle", size="compact-sm"),
        dmc.Button("Remove the column", id=REMOVE, variant="subtle", color="red", size="compact-sm"),
    ]
    hint = dmc.Text(
        "Labels join the columns of the cells on every page, and leave with the run's exports. The input file is never "
        "changed.",
        size="xs", c="dimmed",
    )  # fmt: skip
    return html.Div([_row(keep), _row(label), html.Div(id=HISTORY), hint], className="explore-forms")


def _compare(opened: Opened) -> Component:
    fields = [
        dmc.Select(
            id=AGAINST, label="Compare the selection with", data=against_options(opened.run.id), value=REST,
            allowDeselect=False, searchable=True, w=260,
        ),
        dmc.Button("Test all topics", id=TEST, variant="light"),
    ]  # fmt: skip
    hint = dmc.Text(
        "The charts below follow at once. Test keeps both sides as a column and opens Differential on it.", size="xs",
        c="dimmed",
    )  # fmt: skip
    return html.Div([_row(fields), hint], className="explore-forms")


def _row(fields: list[Component]) -> Component:
    return dmc.Group(fields, align="flex-end", gap="sm")


# ---- choosing -----------------------------------------------------------------------------------------------------


def values_of(run_id: str, column: str) -> list[str]:
    """The categories of a column."""
    return [str(name) for name in studio.load_result(run_id).obs[column].astype("category").cat.categories]


@callback(
    Output(VALUES, "data"), Output(VALUES, "value"), Input(COLUMN, "value"), State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)  # fmt: skip
def offer_values(column: str, run_id: str) -> tuple[list[str], list[str]]:
    """Offer the categories of the chosen column."""
    return values_of(run_id, column), []


@callback(
    Output(WHAT, "data"), Input(WHAT, "searchValue"), State(WHAT, "value"), State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)  # fmt: skip
def offer_numbers(typed: str | None, chosen: str | None, run_id: str) -> Any:
    """Offer the genes that match what is typed."""
    names = studio.open_run(run_id).topic_names()
    if not typed or typed == colors.label_of(chosen or "", names):
        return no_update
    return colors.choices(studio.load_result(run_id), typed=typed, chosen=chosen, names=names)


@callback(
    Output(selecting.ASK, "data"),
    Input(PICK_VALUES, "n_clicks"),
    Input(PICK_RANGE, "n_clicks"),
    Input(PICK_NAMES, "n_clicks"),
    State(COLUMN, "value"),
    State(VALUES, "value"),
    State(WHAT, "value"),
    State(LOW, "value"),
    State(HIGH, "value"),
    State(NAMES, "value"),
    State(cell_maps.HOW, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def choose(
    by_values: int | None, by_range: int | None, by_names: int | None, column: str, values: list[str] | None, what: str,
    low: float | str | None, high: float | str | None, names: str | None, how: str, run_id: str,
) -> Any:  # fmt: skip
    """Ask for the cells that a form describes."""
    clicks = sum(n or 0 for n in (by_values, by_range, by_names))
    if not clicks:
        return no_update
    rule: dict[str, Any]
    if ctx.triggered_id == PICK_VALUES:
        if not values:
            raise DataError("No category was chosen. Pick one or more.")
        rule = {"kind": "among", "column": column, "values": values}
    elif ctx.triggered_id == PICK_RANGE:
        ends = {name: float(end) for name, end in (("low", low), ("high", high)) if end not in (None, "")}
        if not ends:
            raise DataError("Both limits are empty. Fill in one of them.")
        rule = {"kind": "between", "what": what, **ends}
    else:
        found = [name for name in re.split(r"[\s,;]+", names or "") if name]
        if not found:
            raise DataError("No name was given. Paste some, one a line.")
        rule = {"kind": "named", "cells": found}
    return {"run": run_id, "how": how, "rule": rule, "at": clicks}


# ---- keeping and labelling ----------------------------------------------------------------------------------------


def _selected(run_id: str, store: dict[str, Any] | None) -> tuple[str, Run]:
    name = selecting.current(store, run_id)
    if not name:
        raise DataError("No cell is selected. Draw a lasso on the map, or choose some.")
    return name, studio.open_run(run_id)


def keep(run_id: str, selection: str, name: str) -> UserColumn:
    """Keep a selection as a column of those cells and the rest."""
    mask = selecting.mask_of(run_id, selection)
    assert mask is not None
    run, result = studio.open_run(run_id), studio.load_result(run_id)
    column = new_column(name, result, rest="rest").with_edit(mask, name, words=selecting.words_of(run_id, selection))
    write_column(run, column)
    return column


@callback(
    Output(CHANGED, "data"),
    Output(KEEP_NAME, "value"),
    Input(KEEP, "n_clicks"),
    State(KEEP_NAME, "value"),
    State(selecting.STORE, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def keep_selection(n_clicks: int | None, name: str | None, store: dict[str, Any] | None, run_id: str) -> Any:
    """Keep the selection under a name."""
    selection, _ = _selected(run_id, store)
    column = keep(run_id, selection, name or "")
    inform(f"Kept as the column {column.name!r}.")
    return f"keep {n_clicks}", ""


@callback(
    Output(CHANGED, "data", allow_duplicate=True),
    Output(LABEL, "value"),
    Input(GIVE, "n_clicks"),
    State(LABEL_COLUMN, "value"),
    State(LABEL, "value"),
    State(selecting.STORE, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def give_label(
    n_clicks: int | None, name: str | None, label: str | None, store: dict[str, Any] | None, run_id: str
) -> Any:
    """Give the selected cells a label; saved at once."""
    selection, run = _selected(run_id, store)
    mask = selecting.mask_of(run_id, selection)
    assert mask is not None
    column = read_columns(run).get(name or "") or new_column(name or "", studio.load_result(run_id))
    write_column(run, column.with_edit(mask, label or "", words=selecting.words_of(run_id, selection)))
    return f"label {n_clicks}", ""


@callback(
    Output(CHANGED, "data", allow_duplicate=True),
    Input(UNDO_LABEL, "n_clicks"),
    Input(REDO_LABEL, "n_clicks"),
    Input(REMOVE, "n_clicks"),
    State(LABEL_COLUMN, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def change_column(undo: int | None, redo: int | None, remove: int | None, name: str | None, run_id: str) -> Any:
    """Undo or redo the last label of the column, or remove it."""
    run = studio.open_run(run_id)
    column = read_columns(run).get(name or "")
    if column is None:
        raise DataError(f"There is no column {name!r} of yours. Pick one.")
    if ctx.triggered_id == REMOVE:
        delete_column(run, column.name)
        inform(f"The column {column.name!r} was removed.")
    else:
        write_column(run, column.moved(-1 if ctx.triggered_id == UNDO_LABEL else 1))
    return f"change {undo} {redo} {remove}"


@callback(
    Output(HISTORY, "children"),
    Output(LABEL_COLUMN, "data"),
    Input(LABEL_COLUMN, "value"),
    Input(CHANGED, "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def show_history(name: str | None, _changed: Any, run_id: str) -> tuple[Component | None, list[str]]:
    """What was done to the column, the last first."""
    columns = read_columns(studio.open_run(run_id))
    column = columns.get(name or "")
    if column is None:
        return None, list(columns)
    lines = [
        html.Li(
            f"{edit.label or 'label taken away'}: {edit.words}", className="" if place < column.n_done else "undone"
        )
        for place, edit in reversed(list(enumerate(column.edits)))
    ]
    return html.Ul(lines, className="plain-list history"), list(columns)


@callback(
    Output(COLUMN, "data"),
    Input(CHANGED, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def offer_columns(_changed: Any, run_id: str) -> list[str]:
    """Offer new columns to choose by."""
    result = studio.load_result(run_id)
    return Opened(run=studio.open_run(run_id), result=result, names={}).grouping_columns()


# ---- testing ------------------------------------------------------------------------------------------------------


@callback(
    Output(GO, "href"),
    Input(TEST, "n_clicks"),
    State(AGAINST, "value"),
    State(selecting.STORE, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def test_topics(n_clicks: int | None, against: str | None, store: dict[str, Any] | None, run_id: str) -> Any:
    """Keep both sides as a column, and go to the test."""
    if not n_clicks:
        return no_update
    selection, run = _selected(run_id, store)
    inside, outside = sides(run_id, selection, against)
    if not inside.any() or not outside.any():
        raise DataError("A test needs cells on both sides. Select some, not all.")
    taken, number = studio.load_result(run_id).obs.columns, 1
    while (name := f"selection {number}") in taken:
        number += 1
    column = new_column(name, studio.load_result(run_id))
    column = column.with_edit(
        outside,
        "others" if against in (None, REST) else against_in_words(against)[:60],
        words=against_in_words(against),
    )
    column = column.with_edit(inside, name, words=selecting.words_of(run_id, selection))
    write_column(run, column)
    return f"/differential?{urlencode({'run': run_id, 'groupby': name})}"
