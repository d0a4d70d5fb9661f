"""What surrounds every page? Header, navigation from the page registry, run picker, light and dark."""

from __future__ import annotations

from typing import Any

import dash
import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import access, ids, studio
from pages._shared.account_menu import account_menu
from pages._shared.export_dialog import dialogs
from pages._shared.help import copy_link_button, help_button, help_dialogs
from pages._shared.palette import palette_dialog
from pages._shared.parts import notice
from pages._shared.search import search_box
from pages._shared.selecting import selection_bar
from pages._shared.tour import tour

GROUPS = ("Prepare", "Explore", "Explain", "Judge")  # in the order of the work

CARRIED = ("run", "topic", "set", "sets", "label", "groupby", "selection")
"""Names in a query that mean the same on every page; assets/studio.js keeps the links up to date as they change."""

WITHOUT_RUN = ("/", "/data", "/train", "/server")
"""Pages that are about no run."""

BURGER = "nav-burger"
GO = "shell-go"
SHELL = "shell"

TEAL = (
    "#e6f7f1", "#c8eee1", "#99e3cb", "#66d6b1", "#3fcb9b", "#21bd8a", "#12a97a", "#0a8c66", "#077555", "#06634a",
)  # fmt: skip
"""The accent. Its eighth shade is dark enough to be read on white, and to carry white text, in both colour schemes."""

DARK = (
    "#d5d9de", "#bcc2ca", "#98a1ab", "#707a85", "#434a53", "#3a4048", "#2b3037", "#22252a", "#1e2126", "#15171b",
)  # fmt: skip
"""The greys of the dark scheme, with the slight blue of the style sheet's."""

THEME = {
    "primaryColor": "teal",
    "primaryShade": {"light": 8, "dark": 8},
    "colors": {"teal": TEAL, "dark": DARK},
    "defaultRadius": "sm",
    "fontFamily": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif",
    "headings": {"fontWeight": "600"},
    "respectReducedMotion": True,
}


def shell() -> Component:
    """The whole document around the page container."""
    return dmc.MantineProvider(
        [
            dcc.Location(id=ids.URL, refresh="callback-nav"),
            dcc.Location(id=GO, refresh="callback-nav"),
            html.A("Skip to the page", href="#main", className="skip-link"),
            dmc.NotificationContainer(id="notifications", position="bottom-right"),
            *dialogs(),
            *help_dialogs(),
            palette_dialog(),
            tour(),
            dmc.AppShell(
                [
                    dmc.AppShellHeader(_header()),
                    dmc.AppShellNavbar(_navigation(), id=ids.NAV, **{"aria-label": "Pages"}),
                    dmc.AppShellMain(
                        [_read_only_notice(), selection_bar(), html.Div(dash.page_container, id="main", tabIndex=-1)]
                    ),
                ],
                id=SHELL,
                header={"height": 56},
                navbar={"width": 200, "breakpoint": "sm", "collapsed": {"mobile": True}},
                padding="lg",
            ),
        ],
        theme=THEME,
        defaultColorScheme="auto",
    )


def _read_only_notice() -> Component | None:
    """Said on every page of a home in which nothing can be kept.

    Dash looks at the whole shell at the very first request, before anybody has signed in: so it asks about the server.
    """
    if studio.of_server().is_writable:
        return None
    words = (
        f"{studio.of_server().home} cannot be written to: runs can be looked at, but nothing can be trained, named, "
        "uploaded or kept. Ask for the right to write there, or start the app with another folder (--home)."
    )
    return html.Div(notice(words, title="For looking only", color="yellow"), className="spaced")


def _header() -> Component:
    return dmc.Group(
        [
            dmc.Burger(id=BURGER, size="sm", hiddenFrom="sm", opened=False, **{"aria-label": "Show the navigation"}),
            dcc.Link(html.Span(["scETM", html.Span(" Studio", className="brand-rest")]), href="/", className="brand"),
            dmc.Select(
                id=ids.RUN_PICKER,
                data=[],
                placeholder="No run yet",
                searchable=True,
                allowDeselect=False,
                nothingFoundMessage="No run of that name",
                className="run-picker",
                comboboxProps={"width": 380, "position": "bottom-start"},
                **{"aria-label": "Run"},
            ),
            html.Div(className="spacer"),
            search_box(),
            copy_link_button(),
            dmc.ColorSchemeToggle(
                lightIcon=html.Span(className="glyph glyph-sun"),
                darkIcon=html.Span(className="glyph glyph-moon"),
                variant="subtle",
                color="gray",
                size="lg",
                **{"aria-label": "Switch between light and dark"},
            ),
            help_button(),
            *account_menu(),
        ],
        h="100%",
        px="md",
        gap="sm",
        wrap="nowrap",
        className="header-row",
    )


def _navigation() -> Component:
    pages = sorted(dash.page_registry.values(), key=lambda entry: entry["order"])
    groups = []
    for group in GROUPS:
        links = [
            dmc.NavLink(id=ids.nav_link(entry["path"]), label=entry["name"], href=entry["path"], active=False)
            for entry in pages
            if entry.get("group") == group and (access.is_admin() or not entry.get("for_admins"))
        ]
        if links:
            groups.append(html.Div([dmc.Text(group, className="nav-group"), *links], role="group"))
    return dmc.Stack(groups, gap="md", p="sm")


@callback(
    Output(ids.RUN_PICKER, "data"),
    Output(ids.RUN_PICKER, "value"),
    Output({"type": "nav-link", "path": ALL}, "href"),
    Output({"type": "nav-link", "path": ALL}, "active"),
    Input(ids.URL, "pathname"),
    Input(ids.URL, "search"),
    State({"type": "nav-link", "path": ALL}, "id"),
)
def follow_url(
    pathname: str, search: str | None, links: list[dict[str, str]]
) -> tuple[list[dict[str, str]], str | None, list[str], list[bool]]:
    """Show the runs there are, mark the page, and carry the run from page to page."""
    runs, _ = studio.list_readable_runs()
    options = [{"value": run.id, "label": studio.run_label(run)} for run in runs]
    asked = run_in(search)
    known = asked if asked in {run.id for run in runs} else None
    if known is None and not asked and (shown := studio.default_run(runs)) is not None:
        known = shown.id
    tail = carried(search) if known and asked else ""
    hrefs = [link["path"] + (tail if link["path"] not in WITHOUT_RUN else "") for link in links]
    return options, known, hrefs, [link["path"] == pathname for link in links]


def carried(search: str | None) -> str:
    """What of a query goes along to the next page: the run, and what is chosen in it."""
    from urllib.parse import parse_qsl, urlencode

    kept = [(name, value) for name, value in parse_qsl((search or "").lstrip("?")) if name in CARRIED]
    return f"?{urlencode(kept)}" if kept else ""


def run_in(search: str | None) -> str | None:
    """The run that a URL's query asks for."""
    from urllib.parse import parse_qs

    return next(iter(parse_qs((search or "").lstrip("?")).get("run", [])), None)


@callback(
    Output(GO, "href"),
    Input(ids.RUN_PICKER, "value"),
    State(ids.URL, "search"),
    State(ids.URL, "pathname"),
    prevent_initial_call=True,
)
def go_to_run(run_id: str | None, search: str | None, pathname: str) -> Any:
    """Look at another run on the same page; from pages about no run, go to its training.

    By a Location of its own: the picker follows the other one, and what goes round in a circle waits in Dash until no
    other callback is under way, for as long as a training is watched.
    """
    if not run_id or ctx.triggered_id != ids.RUN_PICKER or run_in(search) == run_id:
        return no_update
    shown = studio.find_run(None)
    if run_in(search) is None and shown is not None and shown.id == run_id:
        return no_update  # the picker only names what is shown already
    target = "/train" if pathname in ("/", "/data") else pathname
    return f"{target}?run={run_id}"


clientside_callback(
    "function (opened) { return {width: 200, breakpoint: 'sm', collapsed: {mobile: !opened}}; }",
    Output(SHELL, "navbar"),
    Input(BURGER, "opened"),
)
clientside_callback(
    "function (_) { return false; }", Output(BURGER, "opened"), Input(ids.URL, "pathname"), prevent_initial_call=True
)
