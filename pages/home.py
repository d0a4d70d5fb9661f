"""Where do I stand, and where do I go on? The runs of this home, and the way in."""

from __future__ import annotations

import time
from typing import Any

import dash
import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Input, Output, callback, ctx, dcc, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import age, card, duration, link_button, notice, page, score_in_words
from pages._shared.tour import tour_offer
from scetm_core import jobs
from scetm_core.data.demo import write_demo
from scetm_core.runs import Run

dash.register_page(__name__, path="/", name="Home", title="scETM Studio", order=0, group="Prepare")

RUNS = "home-runs"
DEMO = "home-demo"
REFRESH = "home-refresh"
DEMO_DATA = "demo/mouse_pancreas.h5ad"

COLUMNS = [
    {"field": "name", "headerName": "Run", "cellRenderer": "RunLink", "flex": 2, "minWidth": 150},
    {"field": "state", "headerName": "State", "cellRenderer": "RunState", "width": 150},
    {"field": "data", "headerName": "Data", "flex": 1, "minWidth": 190},
    {"field": "topics", "headerName": "Topics", "width": 100, "type": "numericColumn"},
    {"field": "steps", "headerName": "Steps", "width": 95, "type": "numericColumn"},
    {"field": "ari", "headerName": "ARI", "width": 90, "type": "numericColumn",
     "headerTooltip": "Agreement of clusters with the labels, best over the paper's resolutions; 1 is perfect"},
    {"field": "kbet", "headerName": "kBET", "width": 90, "type": "numericColumn",
     "headerTooltip": "Share of cells whose neighbourhood mixes the batches well; higher is better"},
    {"field": "took", "headerName": "Took", "width": 120},
    {"field": "age", "headerName": "Made", "width": 155},
]  # fmt: skip


def layout(**_: str) -> Component:
    """The page."""
    runs, problems = studio.list_readable_runs()
    return page(
        "Home",
        "What did I train, and what comes next?",
        _welcome(runs[0] if runs else None),
        notice(" ".join(problems), title="Some runs cannot be read", color="yellow") if problems else None,
        card(
            dag.AgGrid(
                id=RUNS,
                columnDefs=COLUMNS,
                rowData=[run_row(run) for run in runs],
                getRowId="params.data.id",
                columnSize=None,
                dashGridOptions={"domLayout": "autoHeight", "suppressCellFocus": False, "tooltipShowDelay": 300},
                defaultColDef={"sortable": True, "resizable": True},
                className="table",
                style={"height": None},
            ),
            title="Runs",
            actions=[link_button("New run", "/train", size="compact-sm")],
        )
        if runs
        else None,
        dcc.Interval(id=REFRESH, interval=2000, disabled=not _any_under_way(runs)) if runs else None,
    )


def _any_under_way(runs: list[Run]) -> bool:
    return any(jobs.state(run) in ("queued", "running") for run in runs)


def _welcome(latest: Run | None) -> Component:
    """What the app is, and the way in or on."""
    about = dmc.Text(
        "scETM finds topics in single-cell RNA-seq counts: programs of genes that are used together. "
        "Batch effects are kept out of the topics, so cells of one kind meet across experiments. "
        "Train a model here, on this computer, then look at its cells, genes and topics.",
        maw=720,
    )
    demo = dmc.Button("Use demo data", id=DEMO, variant="filled" if latest is None else "default")
    ways: list[Component] = [demo, link_button("Choose my data", "/data", variant="default")]
    if latest is None:
        note = "Mouse pancreas: 1,886 cells, 13 cell types, 2 donors."
        ways.append(dmc.Text(note, size="sm", c="dimmed"))
    else:
        what = "Look at" if latest.has_result else "Go on with"
        ways.insert(0, link_button(f"{what} {latest.config.name}", _way_to(latest), variant="filled"))
    offer = tour_offer() if latest is None else None
    return card(about, dmc.Group(ways, mt="md"), offer, title="Start here" if latest is None else "Continue")


def _way_to(run: Run) -> str:
    """The page where one goes on with a run."""
    if run.config.transfer is not None:
        return f"/transfer?run={run.id}"
    return f"/cells?run={run.id}" if run.has_result else f"/train?run={run.id}"


def run_row(run: Run) -> dict[str, Any]:
    """One row of the table of runs."""
    config, status, scores = run.config, run.status(), run.evaluation()
    state = jobs.state(run)
    took = (status.finished_at or time.time()) - status.started_at if status.started_at else None
    return {
        "id": run.id,
        "name": config.name,
        "href": _way_to(run),
        "state": f"{state}, {status.progress:.0%}" if state == "running" else state,
        "data": config.data.path.rsplit("/", 1)[-1],
        "topics": config.model.n_topics,
        "steps": f"{config.train.max_steps:,}" if config.is_trained else "zero-shot",
        "ari": score_in_words(scores.get("best_ari")),
        "kbet": score_in_words(scores.get("kbet")),
        "took": duration(took) if state not in ("queued", "lost") else "",
        "age": age(time.time() - run.created_at),
    }


@callback(Output(RUNS, "rowData"), Output(REFRESH, "disabled"), Input(REFRESH, "n_intervals"))
def refresh_runs(n_intervals: int | None) -> tuple[Any, Any]:
    """Follow runs that are under way."""
    if not n_intervals:
        return no_update, no_update
    runs, _ = studio.list_readable_runs()
    return [run_row(run) for run in runs], not _any_under_way(runs)


@callback(
    Output(ids.URL, "href", allow_duplicate=True),
    Input(DEMO, "n_clicks"),
    prevent_initial_call=True,
    running=[(Output(DEMO, "loading"), True, False)],
)
def use_demo_data(n_clicks: int | None) -> Any:
    """Write the demo data where they are not yet, and go to train on them."""
    if not n_clicks or ctx.triggered_id != DEMO:
        return no_update
    write_demo(studio.current().demo_folder)
    return f"/train?file={DEMO_DATA}"
