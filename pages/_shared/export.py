"""How does a figure leave the app? Two buttons at each graph: Export opens a dialog, Table shows its numbers.

The dialogs are in `export_dialog`, once for all graphs; what the browser shows is sent by assets/export.js.
"""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component


def export_button(graph: str) -> dict[str, str]:
    """Id of the button that opens the export dialog for a graph."""
    return {"type": "export-open", "graph": graph}


def table_button(graph: str) -> dict[str, str]:
    """Id of the button that shows the numbers of a graph."""
    return {"type": "export-table-open", "graph": graph}


def csv_button(graph: str) -> dict[str, str]:
    """Id of the unseen button that stands for "CSV" in the dialogs; its page answers the click into `csv_download`."""
    return {"type": "export-csv", "graph": graph}


def csv_download(graph: str) -> dict[str, str]:
    """Id of the download that takes the table."""
    return {"type": "export-csv-download", "graph": graph}


def export_menu(graph: str, *, table: bool = True) -> Component:
    """The buttons of a graph.

    Parameters
    ----------
    table
        Whether the page has a table of its own for the graph (`csv_button`); else the figure's numbers are saved.
    """
    look = {"variant": "subtle", "color": "gray", "size": "compact-sm"}
    buttons = [
        dmc.Button("Table", id=table_button(graph), **look, **{"aria-label": "Show as table"}),
        dmc.Button("Export", id=export_button(graph), **look, **{"aria-haspopup": "dialog"}),
    ]
    if table:
        unseen = html.Button("CSV", id=csv_button(graph), type="button")
        buttons.append(html.Div([unseen, dcc.Download(id=csv_download(graph))], hidden=True))
    return dmc.Group(buttons, gap=0, wrap="nowrap")
