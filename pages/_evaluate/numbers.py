"""How many topics do these cells need, and do the topics come back? The section of the page, and its callbacks."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.parts import card, figure_card, link_button
from pages._shared.requests import read_request, request_field
from pages._shared.tables import offer_table, table_downloads
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.figures import plot_sweep, plot_topic_stability, stability_frame, sweep_frame
from scetm_core.requests import SweepRequest
from scetm_core.runs import Run

TASK = "choose-k"
KIND = keys.SWEEP_FOLDER
NUMBERS = "choose-k-numbers"
SEEDS = {"type": "request", "task": TASK, "name": "n_seeds"}
START = "choose-k-start"
TABLE_NAME = "choose-k-table-name"
ADVICE = "choose-k-advice"
AFTER = "choose-k-after"
CURVES = "choose-k-curves"
STABILITY = "choose-k-stability"
SHOWN = "choose-k-shown"

HOW_CURVES = (
    "A dot is one training, the line runs through the medians, the dotted line marks the number recommended. Held-out "
    "NLL falls as long as further topics describe new cells better. Stability says how alike the topics of different "
    "seeds are, matched one to one. Coherence and diversity tell whether topics read well. ARI is shown where there "
    "are labels, and is not used for the recommendation."
)
HOW_STABILITY = (
    "For each topic of the first seed: the mean similarity (cosine of centred beta) of its match in the other seeds. A "
    "topic near 1 comes back whatever the seed; one below .5 may be chance. The tick is the lowest match; a ring far "
    "to the right of its bar is a topic whose best counterpart was matched to another. If the number shown is the "
    "run's own, these are the topics of this run."
)
TEXT = (
    "Trains once for each number of topics and seed, with the settings of this run, in a process of its own; finished "
    "trainings are kept, so that a stopped sweep goes on where it was. The number recommended is the smallest that "
    "describes held-out cells as well as the best one, with topics that are not clearly less stable or coherent. No "
    "label is looked at."
)


def section(run: Run) -> Component:
    """Controls, advice and figures."""
    own = run.config.model.n_topics
    numbers = sorted({10, 20, 30, 50, 80, own})
    controls = dmc.Group(
        [
            dmc.TextInput(
                id=NUMBERS, label="Numbers of topics", value=", ".join(str(number) for number in numbers), w=260
            ),
            request_field(TASK, SweepRequest, "n_seeds", width=120),
            dmc.Button("Train them all", id=START, mt=25),
        ],
        align="flex-start",
    )
    figures = dmc.Stack(
        [
            figure_card(CURVES, title="Scores by number of topics", how_to_read=HOW_CURVES, height=None, table=False),
            figure_card(
                STABILITY,
                title="Which topics come back?",
                how_to_read=HOW_STABILITY,
                controls=[dmc.Select(id=SHOWN, label="Number of topics", data=[], allowDeselect=False, w=160)],
                height=None,
                scrolls=True,
            ),
        ],
        gap="md",
        mt="md",
    )
    return html.Div(
        [
            dcc.Store(id=TABLE_NAME, data=keys.TRAININGS_TABLE),
            card(
                dmc.Text(TEXT, size="sm", c="dimmed", maw=900, mb="sm"),
                controls,
                task_view(TASK),
                html.Div(id=ADVICE),
                title="Number of topics",
                actions=table_downloads(TASK),
            ),
            html.Div(figures, id=AFTER, style={"display": "none"}),
        ]
    )


follow_task(TASK, KIND, (TABLE_NAME, "data"))
offer_table(TASK, KIND, (TABLE_NAME, "data"))


@callback(
    Output(tick_of(TASK), "disabled", allow_duplicate=True),
    Output(NUMBERS, "error"),
    Output(SEEDS, "error"),
    Input(START, "n_clicks"),
    State(NUMBERS, "value"),
    State(SEEDS, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def start_sweep(n_clicks: int | None, numbers: str | None, n_seeds: Any, run_id: str) -> tuple[Any, Any, Any]:
    """Ask for the trainings; what is wrong with a field is said beside it."""
    if not n_clicks:
        return no_update, no_update, no_update
    texts = tuple(text for text in (numbers or "").replace(";", ",").replace(",", " ").split())
    fields = [{"name": "n_topics_tried"}, SEEDS]
    request, errors = read_request(SweepRequest, fields, [texts, n_seeds], given={})
    if request is None:
        return no_update, errors[0], errors[1]
    tasks.ask(studio.open_run(run_id), keys.TRAININGS_TABLE, request)
    return False, None, None


@callback(
    Output(AFTER, "style"),
    Output(ADVICE, "children"),
    Output(SHOWN, "data"),
    Output(SHOWN, "value"),
    Input(stamp_of(TASK), "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def show_sweep(stamp: str | None, run_id: str) -> tuple[Any, Any, Any, Any]:
    """The recommendation with its reasons; the figures follow once their place is there."""
    table = studio.load_table(run_id, KIND, keys.TRAININGS_TABLE) if stamp else None
    if table is None:
        return {"display": "none"}, None, no_update, no_update
    advice = table.attrs["recommendation"]
    chosen, own = advice["n_topics"], studio.open_run(run_id).config.model.n_topics
    known = [str(k) for k in table.attrs["stability"]]
    shown = next((k for k in (str(own), str(chosen)) if k in known), known[0] if known else None)
    return {}, _advice(advice, [*table.attrs["sentences"]], run_id), known, shown


def _advice(advice: dict[str, Any], sentences: list[str], run_id: str) -> Component:
    """The number in large, why, and what to keep in mind."""
    number = advice["n_topics"]
    heading = "No number can be recommended" if number is None else f"{number} topics"
    return dmc.Stack(
        [
            dmc.Text(heading, className="score"),
            dmc.List([dmc.ListItem(sentence) for sentence in advice["reason"]], size="sm", maw=900),
            dmc.List([dmc.ListItem(sentence) for sentence in [*advice["caveats"], *sentences]], size="sm", c="dimmed",
                     maw=900)
            if advice["caveats"] or sentences
            else None,
            link_button("Train with other settings", f"/train?run={run_id}", size="compact-sm"),
        ],
        gap="xs",
        mt="md",
        className="numbers",
    )  # fmt: skip


@callback(Output(CURVES, "figure"), Input(AFTER, "style"), State(ids.ACTIVE_RUN, "data"), prevent_initial_call=True)
def draw_curves(_shown: dict[str, str], run_id: str) -> Any:
    """The scores by number of topics."""
    table = studio.load_table(run_id, KIND, keys.TRAININGS_TABLE)
    if table is None:
        return no_update
    by_k, chosen = pd.DataFrame(table.attrs["by_k"]), table.attrs["recommendation"]["n_topics"]
    return plot_sweep(sweep_frame(table), by_k=by_k, chosen=chosen, n_columns=3)


@callback(
    Output(STABILITY, "figure"),
    Input(SHOWN, "value"),
    Input(AFTER, "style"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def draw_stability(number: str | None, _shown: dict[str, str], run_id: str) -> Any:
    """How well each topic comes back with other seeds."""
    if not number or studio.load_table(run_id, KIND, keys.TRAININGS_TABLE) is None:
        return no_update
    run = studio.open_run(run_id)
    names = run.topic_names() if number == str(run.config.model.n_topics) else None
    return plot_topic_stability(stability_frame(stability_of(run_id, number)), topic_names=names)


def stability_of(run_id: str, number: str) -> pd.DataFrame:
    """The stability of each topic for a number of topics; empty if it was not tried."""
    table = studio.load_table(run_id, KIND, keys.TRAININGS_TABLE)
    records = table.attrs["stability"].get(number, []) if table is not None else []
    found = pd.DataFrame(records)
    return found.set_index("topic").astype(float) if len(found) else found


@callback(
    Output(csv_download(STABILITY), "data"),
    Input(csv_button(STABILITY), "n_clicks"),
    State(SHOWN, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_stability(n_clicks: int | None, number: str | None, run_id: str) -> Any:
    """The stability of each topic as CSV."""
    if not n_clicks or not number:
        return no_update
    return dcc.send_data_frame(stability_of(run_id, number).to_csv, f"{run_id}-stability-{number}.csv")
