"""How far is a transfer? State, progress, and what to do if it stopped; drawn from the run's folder."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import card, duration, notice, state_badge
from pages._shared.waiting_words import queue_words
from scetm_core import jobs
from scetm_core.errors import RunError
from scetm_core.runs import Run

VIEW = "transfer-progress"
TICK = "transfer-tick"
CANCEL = "transfer-cancel"
RESUME = "transfer-resume"
LOST = "The process that worked on this is gone (killed, or the computer was switched off). Resume starts it again."


def layout(run: Run) -> Component:
    """The view of a transfer that is not done."""
    return html.Div(
        [
            dcc.Store(id=ids.ACTIVE_RUN, data=run.id),
            dcc.Interval(id=TICK, interval=700),
            html.Div(view(run), id=VIEW),
        ]
    )


def buttons(run: Run) -> list[Component]:
    """Cancel and Resume, whichever applies."""
    state = jobs.state(run)
    return [
        dmc.Button("Cancel", id=CANCEL, variant="default", style=_shown(state in ("queued", "running"))),
        dmc.Button("Resume", id=RESUME, style=_shown(jobs.can_resume(run))),
    ]


def _shown(is_shown: bool) -> dict[str, str]:
    return {} if is_shown else {"display": "none"}


def view(run: Run) -> Component:
    """Name, state, what is being done; the reason if it stopped."""
    status, state = run.status(), jobs.state(run)
    head = dmc.Group([dmc.Title(run.config.name, order=2, className="card-title"), state_badge(state)])
    if state == "failed":
        return card(head, html.Div(notice(status.message, title="The transfer stopped"), className="spaced"))
    if state == "lost":
        return card(head, html.Div(notice(LOST, color="orange"), className="spaced"))
    left = f"about {duration(status.eta_seconds)} left" if status.eta_seconds else ""
    steps = f"step {status.step:,} of {status.max_steps:,}" if status.step else ""
    is_stopping = run.cancel_requested and state == "running"
    words = ["Stopping"] if is_stopping else queue_words(run) if state == "queued" else [status.message.rstrip(".")]
    line = " · ".join(part for part in (*words, steps, left) if part)
    is_moving = state in ("queued", "running")
    bar = dmc.Progress(
        value=round(100 * status.progress, 1) if status.step else 100, animated=is_moving, striped=is_moving,
        color="blue", **{"aria-label": "Progress"},
    )  # fmt: skip
    return card(head, dmc.Stack([bar, html.Div(line, role="status", className="status-line")], gap=6, mt="sm"))


@callback(
    Output(VIEW, "children"),
    Output(CANCEL, "style"),
    Output(RESUME, "style"),
    Output(TICK, "disabled"),
    Output(ids.URL, "href", allow_duplicate=True),
    Input(TICK, "n_intervals"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def follow_transfer(_tick: int | None, run_id: str) -> tuple[Any, Any, Any, bool, Any]:
    """Draw the transfer from its folder; open its result once it is done."""
    try:
        run = studio.open_run(run_id)
        state = jobs.state(run)
    except RunError as error:  # deleted under the open page
        return notice(str(error)), _shown(False), _shown(False), True, no_update
    if state == "done":
        return (
            no_update,
            _shown(False),
            _shown(False),
            True,
            f"/transfer?run={run_id}&done=1",
        )  # another URL: drawn anew
    is_moving = state in ("queued", "running")
    is_over = not is_moving and state != "lost"  # what looks lost may only have been cut off for a while
    return view(run), _shown(is_moving), _shown(jobs.can_resume(run)), is_over, no_update


@callback(
    Output(TICK, "disabled", allow_duplicate=True),
    Input(CANCEL, "n_clicks"),
    Input(RESUME, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def cancel_or_resume(n_cancelled: int | None, n_resumed: int | None, run_id: str) -> bool | Any:
    """Ask the worker to stop, or start it again."""
    run = studio.open_run(run_id)
    if ctx.triggered_id == CANCEL and n_cancelled:
        jobs.cancel(run)
    elif ctx.triggered_id == RESUME and n_resumed:
        jobs.start(run, n_slots=studio.current().n_slots)
    else:
        return no_update
    return False
