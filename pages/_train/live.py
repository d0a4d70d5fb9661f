"""Is the run learning? Its state, progress, curves, scores and log, drawn from its folder.

The folder is the truth: a reloaded page, a second tab and a restarted server all show the same, by looking at it once
a second. In the tab that started the run a background callback relays its heartbeat beside; it is forked from a
threaded server, which may lock it up, so the page gets along without it.
"""

from __future__ import annotations

import time
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.parts import (
    STATE_WORDS,
    card,
    duration,
    figure_card,
    link_button,
    notice,
    score_card,
    score_in_words,
    state_badge,
)
from pages._shared.passes import pass_for, run_with
from pages._shared.waiting_words import host_words, queue_words
from pages._train.findings import findings_view
from scetm_core import jobs
from scetm_core.errors import RunError
from scetm_core.figures.training import plot_training, training_frame
from scetm_core.jobfolder import FINISHED, Status
from scetm_core.runs import Run, open_run

CURVE = "training-curve"
START = "train-start"  # the run to start, by whoever has just made or resumed it
RELAYED = "train-relayed"  # pass to the run whose heartbeat a background callback passes on
PULSE = "train-pulse"  # changes whenever the background callback has news
ENDED = "train-ended"  # nothing may listen to it: what listens to a running callback's output waits for its end
TICK = "train-tick"
SEEN = "train-seen"  # rows of the curve on screen
SUMMARY = "train-summary"
LOG = "train-log"
CANCEL = "train-cancel"
RESUME = "train-resume"

POLL_SECONDS = 0.5
RELAY_SECONDS = 900.0
"""A run's heartbeat is relayed for so long, then the page looks by itself: relays of long runs would hold up others."""

SCORES = (
    ("best_ari", "ARI", "Agreement of clusters with the labels, best over the paper's resolutions. 1 is perfect."),
    ("best_nmi", "NMI", "Information that clusters and labels share, best over the resolutions. 1 is perfect."),
    ("kbet", "kBET", "Share of cells whose neighbourhood mixes the batches as the whole does. Higher is better."),
    ("asw", "ASW", "How well cells of one label keep together, -1 to 1. Higher is better."),
    ("topic_diversity", "Diversity", "Share of different genes among the topics' leading ones. Higher is better."),
    ("topic_coherence", "Coherence", "Whether leading genes of a topic meet in cells (NPMI). Higher is better."),
)


def layout(run: Run) -> Component:
    """The live view."""
    return html.Div(
        [
            dcc.Store(id=ids.ACTIVE_RUN, data=run.id),
            dcc.Store(id=START, data=run.id if _is_new(run) else None),
            dcc.Store(id=RELAYED),
            dcc.Store(id=PULSE),
            dcc.Store(id=ENDED),
            dcc.Store(id=SEEN, data=-1),
            dcc.Interval(id=TICK, interval=1000),
            dmc.Stack(
                [
                    html.Div(summary(run), id=SUMMARY),
                    figure_card(
                        CURVE,
                        title="Training curve",
                        how_to_read="NLL: how badly the model predicts a read of a cell, in nats; the held-out line is "
                        "measured on cells it never trains on. Both should fall and level out. If the held-out line "
                        "rises again, fewer steps would do. KL: how much the topic mixtures say, in nats per cell.",
                        height=560,
                    ),
                    card(html.Pre(run.log_tail(), id=LOG, className="log", tabIndex=0), title="Log"),
                ],
                gap="md",
            ),
        ]
    )


def buttons(run: Run) -> list[Component]:
    """Cancel and Resume, whichever applies."""
    return [
        dmc.Button("Cancel", id=CANCEL, variant="default", style=_shown(_can_cancel(run))),
        dmc.Button("Resume", id=RESUME, style=_shown(not _is_new(run) and jobs.can_resume(run))),
    ]


def _is_new(run: Run) -> bool:
    """Whether nobody has started the run yet."""
    status = run.status()
    return status.state == "queued" and not jobs.was_started(run) and not jobs.is_in_cluster(run)


def _shown(is_shown: bool) -> dict[str, str]:
    return {} if is_shown else {"display": "none"}


def _can_cancel(run: Run) -> bool:
    return jobs.state(run) in ("queued", "running") and not run.cancel_requested


def summary(run: Run) -> Component:
    """Name, state, progress, time left; scores once it is done, the reason if it failed."""
    config, status, state = run.config, run.status(), jobs.state(run)
    details = (
        f"{config.data.path.rsplit('/', 1)[-1]} · {config.model.n_topics} topics · {config.train.max_steps:,} steps of "
        f"{config.train.minibatch_size:,} cells · seed {config.train.seed}"
    )
    head = dmc.Group(
        [
            dmc.Title(config.name, order=2, className="card-title"),
            state_badge(state),
            dmc.Text(details, size="sm", c="dimmed"),
        ]
    )
    bar = dmc.Progress(
        value=100 if state == "done" else round(100 * status.progress, 1),
        color="teal" if state == "done" else "blue",
        animated=state == "running",
        striped=state == "running",
        **{"aria-label": "Training progress"},
    )
    return card(head, dmc.Stack([bar, _words(run, status, state)], gap=6, mt="sm"), _outcome(run, status, state))


def _words(run: Run, status: Status, state: str) -> Component:
    """One line on where the run stands."""
    steps = f"step {status.step:,} of {status.max_steps:,}" if status.step else ""
    if state == "running" and run.cancel_requested:
        parts = ["Stopping after this step", steps]
    elif state == "running":
        left = f"about {duration(status.eta_seconds)} left" if status.eta_seconds else ""
        parts = [status.message.rstrip("."), steps, left, host_words(status)]
    elif state == "done":
        took = (status.finished_at or 0) - (status.started_at or 0)
        parts = ["Done", steps, f"took {duration(took)}" if took >= 0 else ""]  # the clock may have been set back
    elif state == "queued":
        parts = [*queue_words(run), steps]
    else:
        parts = [STATE_WORDS[state], steps]
    return html.Div(" · ".join(part for part in parts if part), role="status", className="status-line")


def _outcome(run: Run, status: Status, state: str) -> Component | None:
    """What came of it, and the way on."""
    if state == "failed":
        return html.Div(notice(status.message, title="Training stopped"), className="spaced")
    if state == "lost":
        message = (
            "The process that trained this run is gone (killed, or the computer was switched off). "
            "Nothing is lost up to its last checkpoint: Resume goes on from there."
        )
        return html.Div(notice(message, color="orange"), className="spaced")
    if state != "done":
        return None
    if not run.has_result:
        message = "The result of this run is gone, or was put aside as damaged. Resume works it out anew."
        return html.Div(notice(message, color="orange"), className="spaced")
    scores = run.evaluation()
    cells = [
        score_card(label, score_in_words(scores[key]), meaning)
        for key, label, meaning in SCORES
        if scores.get(key) is not None
    ]
    nll = scores.get("test_nll")
    if nll is not None:
        meaning = "How badly the model predicts reads of cells it never saw, nats per read. Lower is better."
        cells.append(score_card("Held-out NLL", f"{nll:.3f}", meaning))
    links = [
        link_button("Look at the cells", f"/cells?run={run.id}", variant="filled"),
        link_button("Look at the topics", f"/topics?run={run.id}"),
    ]
    head = dmc.Group([dmc.Group(cells, gap="xl"), dmc.Group(links)], justify="space-between", mt="md")
    found = findings_view(scores)
    return html.Div([head] if found is None else [head, found])


@callback(Output(RELAYED, "data"), Input(START, "data"), prevent_initial_call=False)
def start_run(request: str | None) -> Any:
    """Start the worker of a run that was just made or resumed, then have its heartbeat relayed."""
    if not request:
        return no_update
    run = open_run(studio.current().runs_folder, request.split("#")[0])
    if _is_new(run) or jobs.can_resume(run):
        jobs.start(run, n_slots=studio.current().n_slots)
    return f"{pass_for(run)}#{request.partition('#')[2]}"


@callback(
    Output(ENDED, "data"),
    Input(RELAYED, "data"),
    background=True,
    progress=[Output(PULSE, "data")],
    prevent_initial_call=True,
)
def relay(set_progress: Any, request: str | None) -> Any:
    """Pass on the heartbeat of a run until it ends. Runs in a process of its own, so nothing may depend on it."""
    if not request:
        return no_update
    run, until = run_with(request.partition("#")[0]), time.monotonic() + RELAY_SECONDS
    while jobs.state(run) not in (*FINISHED, "lost") and time.monotonic() < until:
        set_progress([run.status().heartbeat])
        time.sleep(POLL_SECONDS)
    return run.status().heartbeat


@callback(
    Output(SUMMARY, "children"),
    Output(CURVE, "figure"),
    Output(LOG, "children"),
    Output(CANCEL, "style"),
    Output(RESUME, "style"),
    Output(SEEN, "data"),
    Output(TICK, "max_intervals"),
    Input(PULSE, "data"),
    Input(TICK, "n_intervals"),
    State(ids.ACTIVE_RUN, "data"),
    State(SEEN, "data"),
    State(START, "data"),
)
def follow_run(
    _pulse: Any, _tick: int | None, run_id: str, seen: int, started: str | None
) -> tuple[Any, go.Figure | Any, Any, Any, Any, int, int]:
    """Draw the run from its folder; the curve only when it has grown."""
    try:
        run = open_run(studio.current().runs_folder, run_id)
        state = jobs.state(run)
        metrics = run.metrics()
        view = summary(run)
    except RunError as error:  # deleted under the open page
        return notice(str(error)), no_update, no_update, _shown(False), _shown(False), seen, 0
    figure = (
        plot_training(training_frame(metrics), max_steps=run.status().max_steps) if len(metrics) != seen else no_update
    )
    is_starting = _is_new(run) and bool(started)
    can_resume = jobs.can_resume(run) and not is_starting
    return (
        view, figure, run.log_tail(), _shown(_can_cancel(run)), _shown(can_resume), len(metrics),
        0 if state in FINISHED else -1,
    )  # fmt: skip


@callback(
    Output(CANCEL, "style", allow_duplicate=True),
    Input(CANCEL, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def cancel_run(n_clicks: int | None, run_id: str) -> dict[str, str]:
    """Ask the worker to stop."""
    if n_clicks:
        jobs.cancel(open_run(studio.current().runs_folder, run_id))
    return _shown(False)


@callback(
    Output(START, "data"),
    Output(RESUME, "style", allow_duplicate=True),
    Output(TICK, "max_intervals", allow_duplicate=True),
    Input(RESUME, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def resume_run(n_clicks: int | None, run_id: str) -> tuple[Any, Any, Any]:
    """Hand the run to the background callback; the number tells one click from the next."""
    if not n_clicks or ctx.triggered_id != RESUME:
        return no_update, no_update, no_update
    return f"{run_id}#{n_clicks}", _shown(False), -1


@callback(
    Output(csv_download(CURVE), "data"),
    Input(csv_button(CURVE), "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_curve(n_clicks: int | None, run_id: str) -> Any:
    """The training curve as CSV."""
    if not n_clicks:
        return no_update
    run = open_run(studio.current().runs_folder, run_id)
    return dcc.send_data_frame(run.metrics().to_csv, f"{run_id}-training.csv", index=False)
