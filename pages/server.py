"""How does the server do? Memory, disk, queue, pace, errors, workers and accounts; for those who look after it."""

from __future__ import annotations

import hashlib
from typing import Any

import dash
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component
from plotly.io.json import to_json_plotly

from pages._server import tables
from pages._server.sizes import PATIENCE, measured
from pages._server.under_way import under_way
from pages._server.watch import watch
from pages._shared import access, studio
from pages._shared.parts import card, notice, page
from scetm_core.errors import AccessError

dash.register_page(
    __name__,
    path="/server",
    name="Server",
    title="Server · scETM Studio",
    order=160,
    group="Judge",
    for_admins=True,
)

TICK, STAMPS, CANCELLED = "server-tick", "server-stamps", "server-cancelled"
MILLISECONDS = 5000
QUESTION = "How does this server do?"
REFUSED = "This page is for those who look after the server. Ask somebody whose account is an admin's."
SECTIONS = ("facts", "queue", "pace", "errors", "disk", "largest", "workers", "process", "accounts")
ANY_BUTTON = {"type": tables.CANCEL, "user": ALL, "run": ALL, "task": ALL}


def layout(**_: str) -> Component:
    """The page."""
    if not access.is_admin():
        return page("Server", QUESTION, notice(REFUSED, title="Not for everybody", color="yellow"))
    shown = sections()
    places = {name: html.Div(content, id=place(name)) for name, content in shown.items()}
    return page(
        "Server",
        QUESTION,
        dcc.Interval(id=TICK, interval=MILLISECONDS),
        dcc.Store(id=STAMPS, data=stamps_of(shown)),
        dcc.Store(id=CANCELLED),
        card(places["facts"]),
        card(places["queue"], title="Queue"),
        _pair(card(places["pace"], title="Callbacks, last 15 minutes"), card(places["errors"], title="Last errors")),
        _pair(card(places["disk"], title="Disk"), card(places["largest"], title="Largest runs")),
        html.Div(card(places["accounts"], title="Accounts"), hidden=not studio.of_server().has_accounts),
        _pair(card(places["workers"], title="Workers"), card(places["process"], title="This process")),
        card(tables.version_list(), title="Versions"),
    )


def _pair(*cards: Component) -> Component:
    return html.Div(list(cards), className="two-columns")


def place(section: str) -> str:
    """Id of a section."""
    return f"server-{section}"


def sections() -> dict[str, Component | None]:
    """What stands in each section now."""
    server = studio.of_server()
    seen, sizes = under_way.look(server), measured.of(server.home, patience=PATIENCE)
    return {
        "facts": tables.facts(server, watch, seen, sizes),
        "queue": tables.queue_table(server, seen),
        "pace": tables.pace_table(watch),
        "errors": tables.error_table(server, watch),
        "disk": tables.disk_table(sizes),
        "largest": tables.largest_runs(server, sizes),
        "workers": tables.workers_table(seen),
        "process": tables.process_table(watch),
        "accounts": tables.account_table(server, seen, sizes) if server.has_accounts else None,
    }


def stamps_of(shown: dict[str, Component | None]) -> dict[str, str]:
    """Short marks of the contents, by which a section is told from what it was."""
    return {name: hashlib.sha256(to_json_plotly(content).encode()).hexdigest()[:12] for name, content in shown.items()}


def _require_admin() -> None:
    if not access.is_admin():
        raise AccessError(REFUSED)


@callback(
    *(Output(place(name), "children") for name in SECTIONS),
    Output(STAMPS, "data"),
    Input(TICK, "n_intervals"),
    Input(CANCELLED, "data"),
    State(STAMPS, "data"),
    prevent_initial_call=True,
)
def refresh(_tick: int | None, _cancelled: Any, known: dict[str, str] | None) -> tuple[Any, ...]:
    """Renew the sections that have changed."""
    _require_admin()
    shown = sections()
    stamps, earlier = stamps_of(shown), known if isinstance(known, dict) else {}
    changed = [shown[name] if earlier.get(name) != stamps[name] else no_update for name in SECTIONS]
    return *changed, stamps


@callback(Output(CANCELLED, "data"), Input(ANY_BUTTON, "n_clicks"), prevent_initial_call=True)
def cancel(_: list[int | None]) -> Any:
    """Ask a run or a task to stop."""
    _require_admin()
    button = ctx.triggered_id
    if not button or not ctx.triggered[0]["value"]:
        return no_update
    tables.cancel_seen(studio.of_server(), str(button["user"]), str(button["run"]), str(button["task"]))
    under_way.forget()
    return dict(button)
