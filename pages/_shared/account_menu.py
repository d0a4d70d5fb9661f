"""Who am I here, and how do I leave? A menu in the header, on servers where everybody signs in."""

from __future__ import annotations

import dash_mantine_components as dmc
import flask
from dash import dcc, html
from dash.development.base_component import Component

from pages._access.sessions import form_token
from pages._access.sign_in import PASSWORD, SIGN_OUT
from pages._shared import access


def account_menu() -> list[Component]:
    """The menu; nothing where nobody had to sign in."""
    if not flask.has_request_context() or "_user_id" not in flask.session:
        return []
    name = access.current_user()
    initial = html.Span((name or "•")[0].upper(), className="account-initial")
    button = dmc.ActionIcon(
        initial, variant="light", size="lg", radius="xl", **{"aria-label": f"Account {name}" if name else "Session"}
    )
    known = (
        "Signed in with the token" if name is None else f"Signed in as {name}{', admin' if access.is_admin() else ''}"
    )
    leave = html.Form(
        [
            html.Button("Sign out", type="submit", className="account-link account-leave"),
            dcc.Input(name="form", value=form_token(), type="hidden"),
        ],
        action=SIGN_OUT,
        method="post",
    )
    items: list[Component] = [dmc.MenuLabel(known)]
    if name is not None:
        items.append(html.A("Change password", href=PASSWORD, className="account-link"))
    return [dmc.Menu([dmc.MenuTarget(button), dmc.MenuDropdown([*items, leave])], position="bottom-end", width=220)]
