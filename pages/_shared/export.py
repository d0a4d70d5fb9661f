"""How does a figure leave the app? As PNG and SVG, drawn by the browser, and as the CSV table behind it.

Pictures are made in the browser (assets/export.js): what is zoomed, hidden or chosen on screen is what is saved,
points become real vectors, and colours are those for paper whatever the colour scheme.
"""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import ALL, Input, clientside_callback, dcc
from dash.development.base_component import Component


def image_button(graph: str, image_format: str) -> dict[str, str]:
    """Id of the menu item that saves a picture."""
    return {"type": "export-image", "graph": graph, "format": image_format}


def csv_button(graph: str) -> dict[str, str]:
    """Id of the menu item that saves the table; its page answers the click into `csv_download`."""
    return {"type": "export-csv", "graph": graph}


def csv_download(graph: str) -> dict[str, str]:
    """Id of the download that takes the table."""
    return {"type": "export-csv-download", "graph": graph}


def export_menu(graph: str, *, table: bool = True) -> Component:
    """The Export menu of a graph."""
    items = [
        dmc.MenuItem("SVG (vector)", id=image_button(graph, "svg")),
        dmc.MenuItem("PNG (300 dpi)", id=image_button(graph, "png")),
    ]
    if table:
        items.append(dmc.MenuItem("Table (CSV)", id=csv_button(graph)))
    return dmc.Menu(
        [
            dmc.MenuTarget(dmc.Button("Export", variant="subtle", color="gray", size="compact-sm")),
            dmc.MenuDropdown([*items, dcc.Download(id=csv_download(graph))] if table else items),
        ],
        position="bottom-end",
        shadow="md",
        keepMounted=True,
    )


clientside_callback(
    "function () { return window.scetm.saveImage(); }",
    Input({"type": "export-image", "graph": ALL, "format": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
