"""How does this run go into a paper? The report, everything as a zip, the recipe, the result for other viewers."""

from __future__ import annotations

import time
from typing import Any

import dash
import dash_mantine_components as dmc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._report import routes
from pages._shared import ids, studio
from pages._shared.opened import Opened, open_result
from pages._shared.parts import age, card, page, size_in_words
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.archive import is_current, published
from scetm_core.recipe import command_line
from scetm_core.report import methods_of
from scetm_core.requests import PublishRequest
from scetm_core.runs import Run

dash.register_page(__name__, path="/report", name="Report", title="Report · scETM Studio", order=150, group="Judge")

KIND = keys.PUBLISHED_FOLDER
METHODS = "report-methods"
ON_DEMAND = {
    "everything": (
        "Everything (zip)",
        "Every figure as SVG and PDF with the table behind it as CSV, all tables, settings, scores, topic names and "
        "log, the report, the recipe, and the result for scanpy. Made in the background; it stays with the run.",
    ),
    "viewers": (
        "Result for scanpy and cellxgene (.h5ad)",
        "The cells with their columns, topics, UMAP and the colours of this app, and the expression of the model's "
        "genes (log1p of counts per 10,000), read anew from the input.",
    ),
}
"""What is made by a task: its button, and what is in it."""
LINES = {"whiteSpace": "normal", "overflow": "visible", "height": "auto"}
WRAPS: dict[str, Any] = {"h": "auto", "mih": 36, "py": 6, "styles": {"label": LINES}}
"""A button whose words may take two lines on a phone."""


def layout(run: str | None = None, **_: str) -> Component:
    """The page."""
    question = "How does this run go into a paper?"
    opened = open_result("Report", question, run)
    if not isinstance(opened, Opened):
        return opened
    shown = opened.run
    return page(
        "Report",
        question,
        opened.store,
        html.Div([_report_card(shown), _recipe_card(shown)], className="two-columns"),
        html.Div([_on_demand_card(what) for what in ON_DEMAND], className="two-columns"),
        card(
            dmc.Text(
                "Worded from the settings and tables of this run, with every number; the citation is in the report.",
                size="sm",
                c="dimmed",
            ),
            dmc.Stack(id=METHODS, gap="xs", mt="sm", maw="78ch"),
            title="Methods, ready for a paper",
        ),
    )


def _file_link(label: str, href: str, *, new_tab: bool = False, **look: Any) -> Component:
    """A link to a file that looks like a button."""
    button = dmc.Button(label, **{"variant": "light", **look}, tabIndex=-1)
    return html.A(button, href=href, target="_blank" if new_tab else None, className="button-link")


def _words(text: str) -> Component:
    return dmc.Text(text, size="sm", c="dimmed", mb="sm", maw="70ch")


def _report_card(run: Run) -> Component:
    return card(
        _words(
            "One HTML file with data, settings, scores, figures, topics with their genes, tests, methods and recipe. "
            "It needs no network and can be printed. The first time it is drawn in the background; its tab shows how "
            "far it is."
        ),
        dmc.Group(
            [
                _file_link(
                    "Read the report",
                    routes.address(run, routes.REPORT, download=False),
                    new_tab=True,
                    variant="filled",
                ),
                _file_link("Download report (HTML)", routes.address(run, routes.REPORT)),
            ]
        ),
        title="Report",
    )


def _recipe_card(run: Run) -> Component:
    return card(
        _words(
            "All settings and steps from the input to this result, in Python, with the tests; the command line below "
            "makes the run alone."
        ),
        dmc.Group(
            [
                _file_link("Recipe as script", routes.address(run, routes.SCRIPT)),
                _file_link("Recipe as notebook", routes.address(run, routes.NOTEBOOK)),
            ]
        ),
        dmc.Box(html.Pre(command_line(run), className="log", tabIndex=0), mt="sm"),
        title="Recipe",
    )


# ---- what is made on demand ---------------------------------------------------------------------------------------


def prefix_of(what: str) -> str:
    """Of the ids of a file that is made on demand."""
    return f"report-{what}"


def _make(what: str) -> str:
    return f"{prefix_of(what)}-make"


def _name(what: str) -> str:
    return f"{prefix_of(what)}-name"


def _ready(what: str) -> str:
    return f"{prefix_of(what)}-ready"


def _on_demand_card(what: str) -> Component:
    label, words = ON_DEMAND[what]
    return card(
        _words(words),
        dcc.Store(id=_name(what), data=what),
        dmc.Button(label, id=_make(what), variant="light", **WRAPS),
        dmc.Box(task_view(prefix_of(what)), mt="sm"),
        html.Div(id=_ready(what)),
        title={"everything": "Everything", "viewers": "Result for other viewers"}[what],
    )


def start(n_clicks: int | None, what: str, run_id: str) -> Any:
    """Make the file, unless it is being made."""
    if not n_clicks:
        return no_update
    tasks.ask(studio.open_run(run_id), what, PublishRequest(what=what))
    return False


def offer(_stamp: str | None, what: str, run_id: str) -> Any:
    """The link to the file, with its size, age and what is not in it."""
    run = studio.open_run(run_id)
    path, table = published(run, what), studio.load_table(run_id, KIND, what)
    if table is None or not path.is_file():
        return None
    made, size = run.table_path(KIND, what).stat().st_mtime, path.stat().st_size
    is_old = not is_current(run, what)
    words = f"made {age(time.time() - made)}" + (", before the run's latest change: make it again" if is_old else "")
    link = _file_link(f"Download ({size_in_words(size)})", routes.address(run, routes.FILES[what]), variant="filled")
    said = [dmc.Text(sentence, size="xs", c="dimmed") for sentence in table.attrs.get("sentences", [])]
    return dmc.Stack(
        [dmc.Group([link, dmc.Text(words, size="sm", c="orange" if is_old else "dimmed")], gap="sm"), *said], gap=4
    )


for _what in ON_DEMAND:
    follow_task(prefix_of(_what), KIND, (_name(_what), "data"))
    callback(
        Output(tick_of(prefix_of(_what)), "disabled", allow_duplicate=True),
        Input(_make(_what), "n_clicks"),
        State(_name(_what), "data"),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )(start)
    callback(
        Output(_ready(_what), "children"),
        Input(stamp_of(prefix_of(_what)), "data"),
        State(_name(_what), "data"),
        State(ids.ACTIVE_RUN, "data"),
    )(offer)


@callback(Output(METHODS, "children"), Input(ids.ACTIVE_RUN, "data"))
def show_methods(run_id: str) -> list[Component]:
    """The paragraphs, to be copied."""
    paragraphs = methods_of(studio.open_run(run_id), result=studio.load_result(run_id))
    return [dmc.Text(text, size="sm") for text in paragraphs]
