"""How is the app driven from the keyboard, and how is a view passed on? The help dialog, and the link to this view."""

from __future__ import annotations

from typing import Any, cast

import dash_mantine_components as dmc
from dash import Input, Output, callback, html
from dash.development.base_component import Component

HELP = "help"
HELP_BUTTON = "help-button"
TAKE_TOUR = "help-take-tour"
COPY_LINK = "copy-link"
LINK_DIALOG = "copy-link-dialog"
LINK_FIELD = "copy-link-field"

KEYS = (
    ("/", "Search this run: topics, genes, columns, gene sets, cell types"),
    ("[", "Previous topic, on every page that has a topic in focus"),
    ("]", "Next topic"),
    ("e", "Export the figure under the pointer or in focus, else the first one of the page"),
    ("?", "This help"),
    ("Esc", "Close a dialog, the search or the tour"),
)
"""What assets/keys.js listens to, and what it does. Keys rest while one types into a field."""


def help_button() -> Component:
    """Opens the help."""
    return dmc.ActionIcon(
        "?", id=HELP_BUTTON, variant="subtle", color="gray", size="lg", className="help-button",
        **{"aria-label": "Help"},
    )  # fmt: skip


def copy_link_button() -> Component:
    """Copies the address of the view on screen; assets/keys.js does it."""
    return dmc.ActionIcon(
        html.Span(className="glyph glyph-link"),
        id=COPY_LINK,
        variant="subtle",
        color="gray",
        size="lg",
        **{"aria-label": "Copy link"},
    )


def help_dialogs() -> list[Component]:
    """The help, and the field with the link for browsers that keep their clipboard to themselves."""
    rows = [html.Tr([html.Th(dmc.Kbd(key), scope="row"), html.Td(what)]) for key, what in KEYS]
    close, named = {"aria-label": "Close"}, {"aria-label": "Keys"}
    keys_table = html.Table(html.Tbody(rows), className="plain-table keys-table", **cast("dict[str, Any]", named))
    return [
        dmc.Modal(
            dmc.Stack(
                [
                    keys_table,
                    dmc.Text(
                        "Maps: the wheel zooms, dragging moves, a double click goes back. Legends: a click hides a "
                        "group, a double click or Shift and click shows it alone. Every figure says how to read it "
                        "behind its (i).",
                        size="sm",
                    ),
                    dmc.Group([dmc.Button("Take the tour", id=TAKE_TOUR)], justify="flex-end"),
                ],
                gap="md",
            ),
            id=HELP,
            title="Help",
            opened=False,
            size="lg",
            closeButtonProps=close,
        ),
        dmc.Modal(
            dmc.TextInput(
                id=LINK_FIELD,
                label="Link to this view",
                description="The browser did not let the app copy it. It is selected: press Ctrl+C or ⌘C.",
                attributes={"input": {"readOnly": True, "data-autofocus": True}},
            ),
            id=LINK_DIALOG,
            title="Copy link",
            opened=False,
            closeButtonProps=close,
        ),
    ]


@callback(Output(HELP, "opened"), Input(HELP_BUTTON, "n_clicks"), prevent_initial_call=True)
def open_help(n_clicks: int | None) -> bool:
    """Open the help."""
    return bool(n_clicks)
