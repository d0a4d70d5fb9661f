"""What is each topic called? A name for the topic in focus, and the table of all names with what speaks for them.

The store `NAMES` holds the names as the run has them; whatever changes a name writes the run first, then the store,
and all that shows names listens to the store.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.opened import Opened
from pages._shared.parts import card
from pages._topics.choice import PICKED
from pages._topics.ids import NAMES, TOPIC
from pages._topics.known import SIGNIFICANCE, best_gene_sets, known_markers, q_in_words, suggested_name, suggestions
from scetm_core import keys
from scetm_core.runs import MAX_TOPIC_NAME

NAME = "topics-name"
USE_SUGGESTION = "topics-use-suggestion"
AFTERWARDS = "topics-afterwards"  # suggestions wait until the page has drawn its figures
FOLD = "topics-names-fold"
TABLE = "topics-names-table"
ABOUT_TABLE = "topics-names-about"
USE_ALL = "topics-use-all-suggestions"
CLEAR = "topics-clear-names"
CONFIRM_CLEAR = "topics-confirm-clear"

OPEN = "names"
ABOUT = (
    "Suggestions come from known markers of cell types: the type with most markers among the 100 leading genes of the "
    "topic, where chance would hardly put them there (hypergeometric test; q below .05 over all topics and types). "
    "A topic may well be no cell type; its gene sets then tell more. Click a name to change it."
)
COLUMNS = [
    {"field": "topic", "headerName": "Topic", "width": 105, "type": "numericColumn", "sort": "asc",
     "headerTooltip": "Click a number to look at the topic"},
    {"field": "name", "headerName": "Name", "editable": True, "singleClickEdit": True, "flex": 2, "minWidth": 160,
     "cellEditorParams": {"maxLength": MAX_TOPIC_NAME}, "cellClass": "topics-name-cell",
     "headerTooltip": f"Yours, at most {MAX_TOPIC_NAME} characters; saved as you leave the cell"},
    {"field": "suggestion", "headerName": "Suggestion", "flex": 2, "minWidth": 150},
    {"field": "markers", "headerName": "Markers behind it", "flex": 2, "minWidth": 160, "tooltipField": "markers"},
    {"field": "q", "headerName": "q", "width": 85, "type": "numericColumn",
     "headerTooltip": "Benjamini-Hochberg over all topics and cell types"},
    {"field": "gene_set", "headerName": "Best gene set", "flex": 2, "minWidth": 160, "tooltipField": "gene_set",
     "headerTooltip": "Of the tables of the Enrichment page, where there are some; q below .05"},
    {"field": "share", "headerName": "Share of reads", "width": 135, "type": "numericColumn",
     "valueFormatter": {"function": "d3.format('.1%')(params.value)"}, "headerTooltip": "Mean theta over the cells"},
]  # fmt: skip

_lock = threading.Lock()


def controls(opened: Opened, topic: int) -> list[Component]:
    """The name of the topic in focus, and the button that takes the suggestion."""
    return [
        dcc.Store(id=NAMES, data=opened.names),
        dcc.Interval(id=AFTERWARDS, interval=1200, max_intervals=1),
        dmc.TextInput(
            id=NAME,
            label="Name",
            value=opened.names.get(keys.topic_name(topic), ""),
            placeholder="no name yet",
            debounce=True,
            attributes={"input": {"maxLength": MAX_TOPIC_NAME}},
            w=200,
        ),
        dmc.Button("Use suggestion", id=USE_SUGGESTION, variant="default", style={"display": "none"}),
    ]


def names_card() -> Component:
    """The table of all names, folded."""
    buttons = dmc.Group(
        [
            dmc.Button("Use all suggestions", id=USE_ALL, variant="light", size="compact-sm"),
            dmc.Button("Clear all names", id=CLEAR, variant="default", size="compact-sm"),
            dcc.ConfirmDialog(id=CONFIRM_CLEAR, message="Clear the names of all topics of this run?"),
        ]
    )
    table = dag.AgGrid(
        id=TABLE,
        columnDefs=COLUMNS,
        rowData=[],
        getRowId="params.data.id",
        columnSize=None,
        dashGridOptions={"tooltipShowDelay": 300, "stopEditingWhenCellsLoseFocus": True},
        defaultColDef={"sortable": True, "resizable": True},
        className="table",
        style={"height": 420},
    )
    panel = [dmc.Text(ABOUT, size="sm", c="dimmed", mb="sm"), html.Div(id=ABOUT_TABLE), buttons, table]
    fold = dmc.Accordion(
        dmc.AccordionItem(
            [dmc.AccordionControl(dmc.Title("Names of topics", order=2, className="card-title")),
             dmc.AccordionPanel(panel)],
            value=OPEN,
        ),
        id=FOLD,
        value=None,
        variant="default",
    )  # fmt: skip
    return card(fold)


def rename(run_id: str, changes: Mapping[str, str]) -> dict[str, str]:
    """Give topics names ("" takes one away); all names as the run has them by then."""
    with _lock:
        run = studio.open_run(run_id)
        run.write_topic_names({**run.topic_names(), **changes})
        return run.topic_names()


def table_rows(run_id: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row a topic: its name, and what speaks for which."""
    result, table, sets = studio.load_result(run_id), suggestions(run_id), best_gene_sets(run_id)
    shares = result.obsm[keys.THETA].mean(axis=0)
    columns = zip(table.index, table["cell_type"], table["q_value"], table["genes"], shares, strict=True)
    return [
        {
            "id": name,
            "topic": topic,
            "name": names.get(name, ""),
            "suggestion": cell_type,
            "markers": ", ".join(genes),
            "q": q_in_words(q) if cell_type else "",
            "gene_set": sets.get(name, ""),
            "share": float(share),
        }
        for topic, (name, cell_type, q, genes, share) in enumerate(columns)
    ]


# ---- the topic in focus ------------------------------------------------------------------------------------------


@callback(Output(NAME, "value"), Input(TOPIC, "value"), Input(NAMES, "data"), prevent_initial_call=True)
def show_name(topic: str, names: dict[str, str]) -> str:
    """The name of the topic in focus."""
    return names.get(keys.topic_name(int(topic)), "")


@callback(
    Output(NAME, "placeholder"),
    Output(USE_SUGGESTION, "style"),
    Input(TOPIC, "value"),
    Input(NAMES, "data"),
    Input(AFTERWARDS, "n_intervals"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def show_suggestion(topic: str, names: dict[str, str], _drawn: int | None, run_id: str) -> tuple[str, dict[str, str]]:
    """What markers suggest, and the button where that is not its name yet."""
    suggestion = suggested_name(run_id, int(topic))
    is_news = suggestion and suggestion != names.get(keys.topic_name(int(topic)))
    return suggestion or "no name yet", {} if is_news else {"display": "none"}


@callback(
    Output(NAMES, "data", allow_duplicate=True),
    Input(NAME, "value"),
    State(TOPIC, "value"),
    State(NAMES, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def save_name(typed: str | None, topic: str, names: dict[str, str], run_id: str) -> Any:
    """Keep what was typed (Enter, or leaving the field)."""
    name = keys.topic_name(int(topic))
    return rename(run_id, {name: typed or ""}) if (typed or "").strip() != names.get(name, "") else no_update


@callback(
    Output(NAMES, "data", allow_duplicate=True),
    Input(USE_SUGGESTION, "n_clicks"),
    State(TOPIC, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def use_suggestion(n_clicks: int | None, topic: str, run_id: str) -> Any:
    """Take the suggestion as the name."""
    suggestion = suggested_name(run_id, int(topic)) if n_clicks else ""
    return rename(run_id, {keys.topic_name(int(topic)): suggestion}) if suggestion else no_update


@callback(
    Output(TOPIC, "data"),
    Output(PICKED, "data"),
    Input(NAMES, "data"),
    State(TOPIC, "data"),
    prevent_initial_call=True,
)
def label_topics(names: dict[str, str], options: Sequence[Mapping[str, str]]) -> tuple[Any, Any]:
    """Name the topics where they are chosen."""
    named = [{**option, "label": studio.topic_label(int(option["value"]), names)} for option in options]
    return named, named


# ---- the table of all --------------------------------------------------------------------------------------------


@callback(
    Output(TABLE, "rowData"),
    Output(ABOUT_TABLE, "children"),
    Input(FOLD, "value"),
    Input(NAMES, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def fill_table(opened: str | None, names: dict[str, str], run_id: str) -> tuple[Any, Any]:
    """Fill the table once it is unfolded, and follow the names."""
    if opened != OPEN:
        return no_update, no_update
    reason = known_markers(run_id).reason
    words = dmc.Text(f"There are no suggestions. {reason}", size="sm", mb="sm") if reason else None
    return table_rows(run_id, names), words


@callback(
    Output(NAMES, "data", allow_duplicate=True),
    Input(TABLE, "cellValueChanged"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def save_cells(changed: Sequence[Mapping[str, Any]] | None, run_id: str) -> Any:
    """Keep what was typed into the table."""
    changes = {str(cell["rowId"]): str(cell["value"] or "") for cell in changed or [] if cell["colId"] == "name"}
    return rename(run_id, changes) if changes else no_update


@callback(
    Output(NAMES, "data", allow_duplicate=True),
    Input(USE_ALL, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def use_all_suggestions(n_clicks: int | None, run_id: str) -> Any:
    """Name all topics that have no name and a significant suggestion."""
    if not n_clicks:
        return no_update
    table, names = suggestions(run_id), studio.open_run(run_id).topic_names()
    significant = table.loc[(table["cell_type"] != "") & (table["q_value"] < SIGNIFICANCE), "cell_type"]
    found = zip(significant.index, significant, strict=True)
    return rename(run_id, {str(topic): str(name) for topic, name in found if topic not in names})


@callback(Output(CONFIRM_CLEAR, "displayed"), Input(CLEAR, "n_clicks"), prevent_initial_call=True)
def ask_before_clearing(n_clicks: int | None) -> bool:
    """Names are work: ask first."""
    return bool(n_clicks)


@callback(
    Output(NAMES, "data", allow_duplicate=True),
    Input(CONFIRM_CLEAR, "submit_n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def clear_names(n_submitted: int | None, run_id: str) -> Any:
    """Take all names away."""
    return rename(run_id, dict.fromkeys(studio.open_run(run_id).topic_names(), "")) if n_submitted else no_update
