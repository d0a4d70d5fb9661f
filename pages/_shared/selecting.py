"""Which cells are selected, in the whole app? One store with short names of rules, and the bar that says it.

A page asks for a step by putting ``{"run", "how", "rule"}`` into the store `ASK` (see `scetm_core.selection`); the
browser never holds cells. `STORE` has ``{"run", "history": [short names, "" for none], "at": place in it}``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
from dash import Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import colors, ids, studio
from pages._shared.errors import inform
from scetm_core.runs import Run
from scetm_core.selection import Named, Steps, in_words, selected_cells, step_from, unknown_names, with_step
from scetm_core.selection_store import read_selection, write_selection
from scetm_core.user_columns import columns_stamp

STORE, ASK = "selection", "selection-ask"
BAR, WORDS, OPEN, IDS = "selection-bar", "selection-words", "selection-open", "selection-ids"
UNDO, REDO, INVERT, CLEAR, CSV = (
    "selection-undo", "selection-redo", "selection-invert", "selection-clear", "selection-csv",
)  # fmt: skip
MAX_HISTORY = 100

Mask = npt.NDArray[np.bool_]


# ---- what is selected ---------------------------------------------------------------------------------------------


def current(store: dict[str, Any] | None, run_id: str | None) -> str:
    """Short name of the selection in a run; "" for none."""
    if not isinstance(store, dict) or not run_id or store.get("run") != run_id:
        return ""
    history, at = store.get("history") or [""], int(store.get("at") or 0)
    return str(history[min(max(at, 0), len(history) - 1)] or "")


def mask_of(run_id: str, name: str) -> Mask | None:
    """The cells of a selection, (n_cells,); None for no selection.

    Raises
    ------
    ScetmError
        If there is no such selection, or its rule cannot be followed.
    """
    if not name:
        return None
    run = studio.open_run(run_id)
    return _mask(run.path, studio.result_stamp(run), columns_stamp(run), name)


@functools.lru_cache(maxsize=16)
def _mask(path: Path, stamp: int, columns: object, name: str) -> Mask:
    run = Run(path)
    return selected_cells(
        read_selection(run, name), studio.load_result(run.id), numbers=lambda what: colors.numbers_of(run.id, what)
    )


def steps_of(run_id: str, name: str) -> Steps:
    """The steps of a selection; none of "no selection"."""
    return read_selection(studio.open_run(run_id), name) if name else ()


def words_of(run_id: str, name: str) -> str:
    """``"212 of 1,886 cells: lasso, without cell_type beta"``."""
    mask, run = mask_of(run_id, name), studio.open_run(run_id)
    if mask is None:
        return "No cell is selected."
    return f"{mask.sum():,} of {len(mask):,} cells: {in_words(steps_of(run_id, name), run.topic_names())}"


def selected_table(run_id: str, name: str) -> str:
    """The names of the selected cells as CSV text, the rule in its first line."""
    mask, result = mask_of(run_id, name), studio.load_result(run_id)
    cells = result.obs_names[mask] if mask is not None else result.obs_names[:0]
    return f"# run {run_id}, {words_of(run_id, name)}\ncell\n" + "".join(f"{_quoted(cell)}\n" for cell in cells)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\n') else text


# ---- changing it --------------------------------------------------------------------------------------------------


def moved_on(store: dict[str, Any] | None, run_id: str, name: str) -> dict[str, Any]:
    """The store after a change; what was undone is forgotten."""
    same = store is not None and store.get("run") == run_id
    history = [*store["history"][: store["at"] + 1]] if same and store else [""]
    history = [*history, name][-MAX_HISTORY:]
    return {"run": run_id, "history": history, "at": len(history) - 1}


def take_step(store: dict[str, Any] | None, ask: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The store after a step that was asked for, and what is to be said of it.

    Raises
    ------
    ScetmError
        If the step cannot be taken.
    """
    run_id = str(ask.get("run"))
    run, step = studio.open_run(run_id), step_from({key: ask[key] for key in ("how", "rule") if ask.get(key)})
    before = current(store, run_id)
    if step.how != "new" and step.how != "invert" and not before:
        step = step_from({"how": "new", "rule": ask["rule"]}) if step.how == "add" else step
    name = write_selection(run, with_step(steps_of(run_id, before), step))
    mask = mask_of(run_id, name)
    said = ""
    if isinstance(step.rule, Named):
        unknown = unknown_names(step.rule, studio.load_result(run_id))
        said = f"{len(unknown):,} names are of no cell: {', '.join(unknown[:5])}." if unknown else ""
    elif mask is not None and not mask.any():
        said = "No cell is left in the selection."
    return moved_on(store, run_id, name), said


@callback(Output(STORE, "data"), Input(ASK, "data"), State(STORE, "data"), prevent_initial_call=True)
def answer_ask(ask: dict[str, Any] | None, store: dict[str, Any] | None) -> Any:
    """Take the step that a page asks for."""
    if not isinstance(ask, dict):
        return no_update
    changed, said = take_step(store, ask)
    if said:
        inform(said)
    return changed


@callback(
    Output(STORE, "data", allow_duplicate=True),
    Input(UNDO, "n_clicks"),
    Input(REDO, "n_clicks"),
    Input(INVERT, "n_clicks"),
    Input(CLEAR, "n_clicks"),
    State(STORE, "data"),
    prevent_initial_call=True,
)
def change_whole(
    undo: int | None, redo: int | None, invert: int | None, clear: int | None, store: dict[str, Any] | None
) -> Any:
    """Undo, redo, invert, clear."""
    if not store or not any((undo, redo, invert, clear)):
        return no_update
    if ctx.triggered_id in (UNDO, REDO):
        at = store["at"] + (-1 if ctx.triggered_id == UNDO else 1)
        return {**store, "at": min(max(at, 0), len(store["history"]) - 1)}
    if ctx.triggered_id == CLEAR:
        return moved_on(store, store["run"], "")
    return take_step(store, {"run": store["run"], "how": "invert"})[0]


@callback(
    Output(STORE, "data", allow_duplicate=True),
    Input(ids.URL, "search"),
    State(ids.URL, "pathname"),
    State(STORE, "data"),
    prevent_initial_call="initial_duplicate",
)
def follow_address(search: str | None, pathname: str | None, store: dict[str, Any] | None) -> Any:
    """Take up the selection that an address names; on Explore, an address without one means none."""
    query = parse_qs((search or "").lstrip("?"))
    run_id, name = (next(iter(query.get(key, [])), "") for key in ("run", "selection"))
    is_asked = bool(name) or pathname == "/explore"
    if not run_id or not is_asked or current(store, run_id) == name:
        return no_update
    mask_of(run_id, name)  # says what is wrong with it
    return moved_on(store, run_id, name)


# ---- the bar ------------------------------------------------------------------------------------------------------


def selection_bar() -> Component:
    """The line beneath the header that says what is selected, on every page; hidden while nothing is."""
    buttons = [
        _button("Undo", UNDO), _button("Redo", REDO), _button("Invert", INVERT), _button("Clear", CLEAR),
        _button("Cell names (CSV)", CSV),
    ]  # fmt: skip
    return html.Div(
        [
            dcc.Store(id=STORE),
            dcc.Store(id=ASK),
            dcc.Download(id=IDS),
            html.Span(id=WORDS, className="selection-words numbers", role="status"),
            html.Span(
                [*buttons, dcc.Link("Look at it", id=OPEN, href="/explore", className="selection-link")],
                className="selection-buttons",
            ),
        ],
        id=BAR,
        className="selection-bar",
        hidden=True,
    )


def _button(label: str, component_id: str) -> Component:
    return dmc.Button(label, id=component_id, variant="subtle", size="compact-xs")


@callback(
    Output(BAR, "hidden"),
    Output(WORDS, "children"),
    Output(UNDO, "disabled"),
    Output(REDO, "disabled"),
    Output(OPEN, "href"),
    Input(STORE, "data"),
    prevent_initial_call=True,
)
def describe(store: dict[str, Any] | None) -> tuple[bool, str, bool, bool, str]:
    """Say what is selected, and which way one can go from here."""
    if not store:
        return True, "", True, True, "/explore"
    name, at, last = current(store, store["run"]), store["at"], len(store["history"]) - 1
    query = urlencode({"run": store["run"], **({"selection": name} if name else {})})
    words = words_of(store["run"], name) if name else "No cell is selected."
    return last == 0, words, at <= 0, at >= last, f"/explore?{query}"


@callback(Output(IDS, "data"), Input(CSV, "n_clicks"), State(STORE, "data"), prevent_initial_call=True)
def download_names(n_clicks: int | None, store: dict[str, Any] | None) -> Any:
    """The names of the selected cells, and the rule that chose them."""
    name = current(store, store["run"]) if store else ""
    if not n_clicks or not store or not name:
        return no_update
    return {"content": selected_table(store["run"], name), "filename": f"{store['run']}-selection-{name}.csv"}


clientside_callback(
    """function (store) {
        const name = store ? store.history[store.at] : "";
        const url = new URL(window.location.href);
        if (store && (url.searchParams.get("run") || store.run) === store.run)
            window.scetm.rememberInUrl(name ? {run: store.run, selection: name} : {selection: ""}, []);
    }""",
    Input(STORE, "data"),
    prevent_initial_call=True,
)
