"""Which panels make the figure? Figures of the pages put side by side on a grid, lettered, and saved as one file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import dash
import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.opened import Opened, open_result
from pages._shared.parts import card, empty_state, link_button, page
from pages._shared.print_form import follow_fields, preview, print_fields, query_store
from scetm_core import board

dash.register_page(__name__, path="/figures", name="Figures", title="Figures · scETM Studio", order=140, group="Judge")

TASK = "board"
STATE = "board-state"  # Store: `stamp` changes with the board, `count` is its number of panels
LIST_STATE = "board-list-state"  # Store: changes when panels come, go or move
REMOVED = "board-removed"  # Store: the board before the last removal, as JSON
LIST, CONTENT, EMPTY = "board-list", "board-content", "board-empty"
COLUMNS, LETTERS, UNDO, UNDO_WORDS = "board-columns", "board-letters", "board-undo", "board-undo-words"
FORMATS = ("svg", "pdf", "png")
MOVES = {"up": -1, "down": 1}
ANY_FIELD: Any = {"type": "board-field", "name": ALL, "panel": ALL}
_writing = threading.Lock()  # a board is read, changed and written in one go


def layout(run: str | None = None, **_: str) -> Component:
    """The page."""
    question = "Which panels make the figure?"
    opened = open_result("Figures", question, run)
    if not isinstance(opened, Opened):
        return opened
    shown = board.read_board(opened.run.path)
    return page(
        "Figures",
        question,
        opened.store,
        dcc.Store(id=STATE, data=_state(shown)),
        dcc.Store(id=LIST_STATE, data=_state(shown)),
        dcc.Store(id=REMOVED),
        html.Div(_undo(), id=UNDO_WORDS, hidden=True, role="status"),
        html.Div(_nothing_yet(opened.run.id), id=EMPTY, hidden=bool(shown.panels)),
        html.Div(_composer(shown), id=CONTENT, className="composer", hidden=not shown.panels),
    )


def _undo() -> Component:
    return dmc.Group(
        [
            dmc.Text("The panel was removed.", size="sm"),
            dmc.Button("Undo", id=UNDO, size="compact-sm", variant="light", color="gray"),
        ],
        gap="xs",
    )


def _nothing_yet(run_id: str) -> Component:
    return empty_state(
        "No panel yet",
        "Every figure of this app can be a panel. Press Export above a figure, then Add to figure; the panels gather "
        "here, to be arranged, lettered and saved as one file.",
        link_button("Go to Cells", f"/cells?run={run_id}"),
    )


def _composer(shown: board.Board) -> list[Component]:
    buttons = [
        dmc.Button(file_format.upper(), id=f"board-save-{file_format}", variant="light", size="compact-sm",
                   **{"aria-label": f"Save as {file_format.upper()}"})
        for file_format in FORMATS
    ]  # fmt: skip
    columns = dmc.NumberInput(
        id=COLUMNS, label="Columns of the grid", value=shown.columns, min=1, max=board.MAX_COLUMNS, size="sm",
        allowDecimal=False,
    )  # fmt: skip
    letters = dmc.Switch(
        id=LETTERS, label="Letters a, b, c", checked=True, size="sm", persistence=True, persistence_type="local"
    )
    wide = {"width_mm": 174.0}
    return [
        dmc.Stack(
            [
                card(preview(TASK, alt="The panels as they will be saved"), title="Preview", actions=buttons),
                card(html.Ol(id=LIST, className="panel-list"), title="Panels"),
            ],
            gap="md",
        ),
        card(
            html.Div([columns, letters, print_fields(TASK, with_title=False, values=wide)], className="print-fields"),
            title="Page",
        ),
    ]


def _state(shown: board.Board) -> dict[str, Any]:
    return {"stamp": f"{time.time():.3f}", "count": len(shown.panels)}


def panel_rows(panels: tuple[board.BoardPanel, ...]) -> list[Component]:
    """A row for each panel: letter, title, spans, and buttons to move or remove it."""
    return [_panel_row(place, panel, len(panels)) for place, panel in enumerate(panels)]


def _panel_row(place: int, panel: board.BoardPanel, count: int) -> Component:
    letter = chr(97 + place)

    def field_id(name: str) -> dict[str, str]:
        return {"type": "board-field", "name": name, "panel": panel.key}

    def button(action: str, sign: str, words: str, *, disabled: bool = False) -> Component:
        return dmc.ActionIcon(
            sign, id={"type": "board-action", "action": action, "panel": panel.key}, variant="subtle", color="gray",
            disabled=disabled, **{"aria-label": f"{words} panel {letter}"},
        )  # fmt: skip

    def span(name: str, label: str, most: int) -> Component:
        return dmc.NumberInput(
            id=field_id(name), label=label, value=getattr(panel, name), min=1, max=most, size="xs", allowDecimal=False,
            **{"aria-label": f"{label} of panel {letter}"},
        )  # fmt: skip

    return html.Li(
        [
            html.Span(letter, className="panel-letter"),
            dmc.TextInput(
                id=field_id("title"), label=f"Title ({panel.graph})", value=panel.title, placeholder="None", size="xs",
                debounce=True, inputProps={"maxLength": board.MAX_TITLE}, **{"aria-label": f"Title of panel {letter}"},
            ),
            span("column_span", "Columns", board.MAX_COLUMNS),
            span("row_span", "Rows", 4),
            dmc.Group(
                [
                    button("up", "↑", "Move up", disabled=place == 0),
                    button("down", "↓", "Move down", disabled=place == count - 1),
                    button("remove", "×", "Remove"),
                ],
                gap=2,
                wrap="nowrap",
            ),
        ],
        key=panel.key,
        className="panel-row",
    )  # fmt: skip


@callback(
    Output(LIST, "children"),
    Output(CONTENT, "hidden"),
    Output(EMPTY, "hidden"),
    Input(LIST_STATE, "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def list_panels(_: Any, run_id: str) -> tuple[list[Component], bool, bool]:
    """Show the panels there are, or how to get some."""
    panels = board.read_board(studio.open_run(run_id).path).panels
    return panel_rows(panels), not panels, bool(panels)


@callback(
    Output(STATE, "data", allow_duplicate=True),
    Output(LIST_STATE, "data"),
    Output(REMOVED, "data"),
    Output(UNDO_WORDS, "hidden"),
    Input({"type": "board-action", "action": ALL, "panel": ALL}, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    State(ANY_FIELD, "value"),
    State(ANY_FIELD, "id"),
    prevent_initial_call=True,
)
def act(_: list[int | None], run_id: str, values: Sequence[Any] = (), fields: Sequence[dict[str, str]] = ()) -> Any:
    """Move a panel, or take it off the board; what has just been typed into the fields goes along."""
    button = ctx.triggered_id
    if not button or not ctx.triggered[0]["value"]:
        return no_update, no_update, no_update, no_update
    folder = studio.open_run(run_id).path
    with _writing:
        before = board.read_board(folder)
        for field, value in zip(fields, values, strict=True):
            before = _changed(before, field, value)
        if button["action"] == "remove":
            board.write_board(folder, before)
            after = board.remove_panel(folder, button["panel"])
            return _state(after), _state(after), json.dumps(before.to_dict()), False
        after = before.move(button["panel"], by=MOVES[button["action"]])
        board.write_board(folder, after)
    return _state(after), _state(after), None, True


def _changed(shown: board.Board, field: dict[str, str], value: Any) -> board.Board:
    """The board with what a field says; one that is empty for the moment, or of a panel that is gone, says nothing."""
    is_empty = value is None or (value == "" and field["name"] != "title")
    if is_empty or all(panel.key != field["panel"] for panel in shown.panels):
        return shown
    return shown.change(field["panel"], field["name"], value)


@callback(
    Output(STATE, "data", allow_duplicate=True),
    Output(LIST_STATE, "data", allow_duplicate=True),
    Output(REMOVED, "data", allow_duplicate=True),
    Output(UNDO_WORDS, "hidden", allow_duplicate=True),
    Input(UNDO, "n_clicks"),
    State(REMOVED, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def undo(n_clicks: int | None, removed: str | None, run_id: str) -> Any:
    """Put the panel back that was removed last."""
    if not n_clicks or not removed:
        return no_update, no_update, no_update, no_update
    folder = studio.open_run(run_id).path
    with _writing:
        after = board.read_board(folder).put_back(board.Board.from_dict(json.loads(removed)))
        board.write_board(folder, after)
    return _state(after), _state(after), None, True


@callback(
    Output(STATE, "data", allow_duplicate=True),
    Input(COLUMNS, "value"),
    Input(ANY_FIELD, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def change(columns: Any, _: list[Any], run_id: str) -> Any:
    """Write a changed title, span or number of columns; a field that is empty for the moment changes nothing."""
    changed, entry = ctx.triggered_id, ctx.triggered[0]["value"]
    folder = studio.open_run(run_id).path
    with _writing:
        before = board.read_board(folder)
        if changed == COLUMNS:
            after = before.with_columns(columns) if isinstance(columns, int) else before
        else:
            after = _changed(before, changed, entry) if isinstance(changed, dict) else before
        if after == before:
            return no_update
        board.write_board(folder, after)
    return _state(after)


follow_fields(TASK, opened=(STATE, "data"))

clientside_callback(
    "function (query, state, letters, run) { window.scetmExport.previewBoard(query, state, letters, run); }",
    Input(query_store(TASK), "data"),
    Input(STATE, "data"),
    Input(LETTERS, "checked"),
    State(ids.ACTIVE_RUN, "data"),
)
for _format in FORMATS:
    clientside_callback(
        "function (n, query, state, letters, run) {"
        f" if (n) window.scetmExport.downloadBoard(query, state, letters, run, '{_format}'); }}",
        Input(f"board-save-{_format}", "n_clicks"),
        State(query_store(TASK), "data"),
        State(STATE, "data"),
        State(LETTERS, "checked"),
        State(ids.ACTIVE_RUN, "data"),
        prevent_initial_call=True,
    )
