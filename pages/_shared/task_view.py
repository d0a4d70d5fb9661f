"""How far is what a page has asked of its run? A line with progress and Cancel, drawn from the task's folder.

A page that shows a table worked out of a result puts `task_view` where the progress is to stand, calls `follow_task`
once at import, and lets its figures listen to `stamp_of(prefix)`, which changes when the table does.
"""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import duration, notice
from pages._shared.waiting_words import queue_words
from scetm_core import jobs
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED
from scetm_core.tasks import Task, find_task

INTERVAL = 800
"""Milliseconds between two looks. A look that takes longer than that is dropped by Dash for the next one."""

LOST = "The process that worked this out is gone. Start it again; nothing else is lost."


def tick_of(prefix: str) -> str:
    """Id of the interval that looks at the task; a page that has started one sets `disabled` to False."""
    return f"{prefix}-task-tick"


def stamp_of(prefix: str) -> str:
    """Id of the store that changes with the table: ``"NAME:version"``, or "" while there is none."""
    return f"{prefix}-task-stamp"


def _view_of(prefix: str) -> str:
    return f"{prefix}-task-view"


def _cancel_of(prefix: str) -> str:
    return f"{prefix}-task-cancel"


def task_view(prefix: str) -> Component:
    """The place for the progress of a page's task."""
    return html.Div(
        [
            dcc.Interval(id=tick_of(prefix), interval=INTERVAL, disabled=False),
            dcc.Store(id=stamp_of(prefix)),
            html.Div(id=_view_of(prefix)),
            dmc.Button(
                "Cancel", id=_cancel_of(prefix), variant="default", size="compact-sm", style={"display": "none"}
            ),
        ],
        className="task",
    )


def follow_task(prefix: str, kind: str, name: tuple[str, str]) -> None:
    """Register the callbacks that show, and cancel, the task which makes a table of a run, whoever started it.

    Parameters
    ----------
    prefix
        Of the page's ids.
    kind
        Of the request, a key of `requests.KINDS`.
    name
        Component and property that hold the table's name.
    """

    @callback(
        Output(_view_of(prefix), "children"),
        Output(_cancel_of(prefix), "style"),
        Output(tick_of(prefix), "disabled"),
        Output(stamp_of(prefix), "data"),
        Input(tick_of(prefix), "n_intervals"),
        Input(*name),
        State(ids.ACTIVE_RUN, "data"),
        State(stamp_of(prefix), "data"),
    )
    def show_task(_tick: int | None, name: str | None, run_id: str, seen: str | None) -> tuple[Any, Any, bool, Any]:
        if not name:
            return None, {"display": "none"}, True, "" if seen != "" else no_update
        try:
            run = studio.open_run(run_id)
        except RunError as error:  # deleted under the open page
            return notice(str(error)), {"display": "none"}, True, no_update
        task = find_task(run, kind, name)
        is_over = task is None or task.status().state in FINISHED  # what looks lost may come back, so it is looked at
        view, is_at_work = progress_of(task)
        stamp = studio.table_stamp(run, kind, name)  # after the state: what is done has its table
        return view, {} if is_at_work else {"display": "none"}, is_over, stamp if stamp != seen else no_update

    @callback(
        Output(tick_of(prefix), "disabled", allow_duplicate=True),
        Input(_cancel_of(prefix), "n_clicks"),
        State(*name),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )
    def cancel_task(n_clicks: int | None, name: str, run_id: str) -> bool:
        task = find_task(studio.open_run(run_id), kind, name)
        if n_clicks and task is not None:
            jobs.cancel(task)
        return False


def progress_of(task: Task | None) -> tuple[Component | None, bool]:
    """What is said of a task, and whether it is at work."""
    if task is None:
        return None, False
    status, state = task.status(), jobs.state(task)
    if state in FINISHED:
        return (notice(status.message, title="That did not work") if state == "failed" else None), False
    if state == "lost":
        return notice(LOST, color="orange"), False
    words = queue_words(task) if jobs.is_in_cluster(task) and state == "queued" else [status.message.rstrip(".")]
    if task.cancel_requested:
        words = ["Stopping"]
    left = f"about {duration(status.eta_seconds)} left" if status.eta_seconds else ""
    line = " · ".join(part for part in (*words, left) if part)
    bar = dmc.Progress(
        value=round(100 * status.progress, 1), animated=True, striped=True, color="blue",
        **{"aria-label": "Progress"},
    )  # fmt: skip
    return dmc.Stack([bar, html.Div(line, role="status", className="status-line")], gap=6), True
