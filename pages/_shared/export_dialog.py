"""What shall a figure look like on paper, and which numbers does it show? Two dialogs, once for all graphs.

Export shows the file that will be saved while it is being set up; Table shows the numbers of what is on screen.
"""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, clientside_callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import figure_store, ids, studio
from pages._shared.errors import inform
from pages._shared.print_form import follow_fields, preview, print_fields, query_store
from scetm_core import board

TASK = "export"
DIALOG, TABLE_DIALOG = "export-dialog", "export-table-dialog"
FIGURE = "export-figure"  # Store: id, graph, run and `has_table` of the figure that was sent
FORMAT, FORM = "export-format", "export-form"
DOWNLOAD, ADD = "export-download", "export-add"
TABLE, TABLE_FIGURE = "export-table", "export-table-figure"
TABLE_WORDS, TABLE_CSV = "export-table-words", "export-table-csv"
N_ROWS = 1000
FORMATS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "html": "Interactive", "csv": "Table"}


def dialogs() -> list[Component]:
    """Both dialogs and their stores, for the shell."""
    return [dcc.Store(id=FIGURE), dcc.Store(id=TABLE_FIGURE), _export_dialog(), _table_dialog()]


def _export_dialog() -> Component:
    formats = dmc.SegmentedControl(
        id=FORMAT,
        data=[{"value": value, "label": label} for value, label in FORMATS.items()],
        value="svg",
        size="sm",
        fullWidth=True,
        persistence=True,
        persistence_type="local",
        **{"aria-label": "Format"},
    )
    buttons = dmc.Group(
        [
            dmc.Button("Download", id=DOWNLOAD),
            dmc.Button("Add to figure", id=ADD, variant="light", color="gray"),
        ],
        gap="xs",
        className="export-buttons",
    )
    note = html.Div(id="export-note", className="export-note")
    side = html.Div([formats, print_fields(TASK, with_title=True), note, buttons], id=FORM, className="export-form")
    return dmc.Modal(
        html.Div([preview(TASK, alt="The figure as it will be saved"), side], className="export-grid"),
        id=DIALOG,
        title="Export figure",
        size="min(1080px, 100%)",
        closeButtonProps={"aria-label": "Close"},
        centered=True,
        lockScroll=False,
        className="export-dialog",
    )


def _table_dialog() -> Component:
    grid = dag.AgGrid(
        id=TABLE,
        columnDefs=[],
        rowData=[],
        columnSize=None,
        defaultColDef={"sortable": True, "resizable": True, "minWidth": 100, "flex": 1},
        dashGridOptions={"ensureDomOrder": True, "tooltipShowDelay": 300},
        className="table",
        style={"height": "min(520px, 60vh)"},
    )
    head = dmc.Group(
        [
            html.Div(id=TABLE_WORDS, className="table-words numbers", role="status"),
            dmc.Button("CSV", id=TABLE_CSV, variant="light", color="gray", size="compact-sm"),
        ],
        justify="space-between",
    )
    return dmc.Modal(
        [head, grid],
        id=TABLE_DIALOG,
        title="The numbers of this figure",
        size="min(960px, 100%)",
        closeButtonProps={"aria-label": "Close"},
        lockScroll=False,
    )


follow_fields(TASK, opened=(DIALOG, "opened"))

for _kind in ("export-open", "export-table-open"):
    clientside_callback(
        f"function (_, run) {{ return window.scetmExport.open('{_kind}', run); }}",
        Input({"type": _kind, "graph": ALL}, "n_clicks"),
        State(ids.RUN_PICKER, "value"),
        prevent_initial_call=True,
    )

clientside_callback(
    "function (query, figure, format) { return window.scetmExport.previewFigure(query, figure, format); }",
    Output(FORM, "className"),
    Input(query_store(TASK), "data"),
    Input(FIGURE, "data"),
    Input(FORMAT, "value"),
    prevent_initial_call=True,
)
clientside_callback(
    "function (n, figure, query, format) { if (n) window.scetmExport.download(figure, query, format); }",
    Input(DOWNLOAD, "n_clicks"),
    State(FIGURE, "data"),
    State(query_store(TASK), "data"),
    State(FORMAT, "value"),
    prevent_initial_call=True,
)
clientside_callback(
    "function (n, figure) { if (n) window.scetmExport.download(figure, '', 'csv'); }",
    Input(TABLE_CSV, "n_clicks"),
    State(TABLE_FIGURE, "data"),
    prevent_initial_call=True,
)


@callback(
    Output(TABLE, "columnDefs"),
    Output(TABLE, "rowData"),
    Output(TABLE_WORDS, "children"),
    Input(TABLE_FIGURE, "data"),
    prevent_initial_call=True,
)
def show_table(figure: dict[str, Any] | None) -> Any:
    """The first rows of the figure's numbers."""
    if not figure or not figure.get("id"):
        return [], [], "Reading the figure"
    table = figure_store.numbers_of(figure_store.figure_of(figure["id"]))
    shown = table.head(N_ROWS)
    columns = [
        {"field": str(place), "headerName": str(name), "headerTooltip": str(name)}
        | ({"type": "rightAligned"} if table.dtypes.iloc[place].kind in "fiu" else {})
        for place, name in enumerate(table.columns)
    ]
    rows = [
        {str(place): _shown(value) for place, value in enumerate(row)}
        for row in shown.itertuples(index=False, name=None)
    ]
    words = f"{len(shown):,} of {len(table):,} rows shown" if len(table) else "This figure shows no numbers."
    return columns, rows, words


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if value == value and abs(value) != float("inf") else None
    return value if isinstance(value, (str, int)) or value is None else str(value)


@callback(
    Output(ADD, "n_clicks"),
    Input(ADD, "n_clicks"),
    State(FIGURE, "data"),
    State(f"{TASK}-print-title", "value"),
    prevent_initial_call=True,
)
def add_to_board(n_clicks: int | None, figure: dict[str, Any] | None, title: str | None) -> Any:
    """Put the figure of the dialog on the board of its run."""
    if not n_clicks or not figure or not figure.get("id"):
        return no_update
    run = studio.find_run(figure.get("run"))
    if run is None:
        inform("There is no run yet whose board it could go on. Train one first.")
        return no_update
    text = figure_store.text_of(figure["id"])
    added = board.add_panel(run.path, figure["id"], text, graph=str(figure.get("graph")), title=(title or "").strip())
    inform(f"It is panel {chr(96 + len(added.panels))} on the Figures page.", title="Added to figure")
    return no_update
