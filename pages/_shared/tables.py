"""How does a table worked out of a run look, and leave the app? Whole, as CSV or as the parquet file it is."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Input, Output, State, callback, ctx, dcc, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio

FORMATS = {"csv": "CSV", "parquet": "Parquet"}


def grid(grid_id: str, columns: list[dict[str, Any]], *, row_id: str, rows: int, selectable: bool) -> Component:
    """A table in the house look, page by page; empty until a callback fills it.

    Parameters
    ----------
    row_id
        JavaScript that names a row: ``"params.data.id"``.
    rows
        On a page.
    selectable
        Whether a click chooses a row (`selectedRows`).
    """
    options: dict[str, Any] = {
        "pagination": True, "paginationPageSize": rows, "paginationPageSizeSelector": False, "domLayout": "autoHeight",
        "tooltipShowDelay": 300,
    }  # fmt: skip
    if selectable:
        options["rowSelection"] = {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True}
    return dag.AgGrid(
        id=grid_id,
        columnDefs=columns,
        rowData=[],
        getRowId=row_id,
        columnSize=None,
        dashGridOptions=options,
        defaultColDef={"sortable": True, "resizable": True},
        className="table",
        style={"height": None},
    )


def _button(prefix: str, file_format: str) -> str:
    return f"{prefix}-download-{file_format}"


def _download(prefix: str) -> str:
    return f"{prefix}-download"


def table_downloads(prefix: str) -> list[Component]:
    """Buttons that save the whole table of a page, for the head of its card."""
    buttons = [
        dmc.Button(label, id=_button(prefix, name), variant="subtle", color="gray", size="compact-sm")
        for name, label in FORMATS.items()
    ]
    return [*buttons, dcc.Download(id=_download(prefix))]


def offer_table(prefix: str, kind: str, name: tuple[str, str]) -> None:
    """Register the callback behind `table_downloads`.

    Parameters
    ----------
    kind
        Of the request that made the table.
    name
        Component and property that hold the table's name.
    """

    @callback(
        Output(_download(prefix), "data"),
        *(Input(_button(prefix, file_format), "n_clicks") for file_format in FORMATS),
        State(*name),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )
    def send_table(*arguments: Any) -> Any:
        *clicks, name, run_id = arguments
        table = studio.load_table(run_id, kind, name) if any(clicks) and name else None
        if table is None:
            return no_update
        stem = f"{run_id}-{kind}-{name}"
        if ctx.triggered_id == _button(prefix, "parquet"):
            return dcc.send_file(studio.open_run(run_id).table_path(kind, name), filename=f"{stem}.parquet")
        return dcc.send_data_frame(table.to_csv, f"{stem}.csv", index=False)
