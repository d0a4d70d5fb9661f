"""How does somebody sign in, and out, and change a password? Three plain pages without a script."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import flask

from pages._access.attempts import Attempts
from pages._access.sessions import Sessions, form_token, has_form_token
from pages._shared import access, studio
from scetm_core.accounts import MIN_PASSWORD, Accounts
from scetm_core.errors import AccessError

log = logging.getLogger("scetm.access")

PAGE, STYLE, SIGN_OUT, PASSWORD = "/sign-in", "/sign-in/style.css", "/sign-out", "/account"
WRONG = "That name and that password do not belong together. Try again."
WRONG_TOKEN = "That is not the token. It is printed where the server was started."
TOO_OFTEN = "Too many tries. Wait a minute, then try again."
STALE = "This form was open for too long. Fill it in once more."
MAX_NAME = 100
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Of these pages: they have no script."""

DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · scETM Studio</title><link rel="icon" href="/_favicon.ico"><link rel="stylesheet" href="{style}"></head>
<body><main><p class="brand">scETM <span>Studio</span></p><h1>{title}</h1>{said}
<form method="post" action="{action}">{fields}<input type="hidden" name="form" value="{form}">
<button type="submit">{button}</button></form>{foot}</main></body></html>
"""
FIELD = """<label for="{name}">{label}</label>
<input id="{name}" name="{name}" type="{type}" autocomplete="{known_as}" required maxlength="1000" {more}>"""


def add_routes(server: flask.Flask, door: Door) -> None:
    """Serve the sign-in page, signing out, and with accounts the page that changes the password."""
    style = (Path(__file__).parent / "style.css").read_bytes()
    server.add_url_rule(PAGE, "sign_in", door.sign_in, methods=["GET", "POST"])
    server.add_url_rule(SIGN_OUT, "sign_out", door.sign_out, methods=["GET", "POST"])
    server.add_url_rule(PASSWORD, "account", door.change_password, methods=["GET", "POST"])
    server.add_url_rule(
        STYLE,
        "sign_in_style",
        lambda: flask.Response(style, mimetype="text/css", headers={"Cache-Control": "max-age=3600"}),
    )


def safe_target(path: str | None) -> str:
    """Where to go after signing in: a place of this app, never another site."""
    try:
        parts = urlsplit(path or "/")
    except ValueError:
        return "/"
    is_own = not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//")
    if not path or not is_own or "\\" in path or not path.isprintable() or parts.path in (PAGE, SIGN_OUT):
        return "/"
    return path


def _page(title: str, *, action: str, fields: str, button: str, said: str = "", foot: str = "") -> flask.Response:
    shown = f'<p class="said" role="alert">{html.escape(said)}</p>' if said else ""
    text = DOCUMENT.format(
        title=title, style=STYLE, said=shown, action=html.escape(action), fields=fields, form=form_token(),
        button=button, foot=foot,
    )  # fmt: skip
    return flask.Response(text, mimetype="text/html", headers={"Content-Security-Policy": POLICY})


def _field(name: str, label: str, known_as: str, *, kind: str = "password", more: str = "") -> str:
    return FIELD.format(name=name, label=label, type=kind, known_as=known_as, more=more)


class Door:
    """The pages, with what they need."""

    def __init__(self, sessions: Callable[[], Sessions], attempts: Callable[[], Attempts]) -> None:
        self._get_sessions, self._get_attempts = sessions, attempts

    @property
    def _sessions(self) -> Sessions:
        return self._get_sessions()

    @property
    def _attempts(self) -> Attempts:
        return self._get_attempts()

    def sign_in(self) -> flask.typing.ResponseReturnValue:
        """The form, and what it sends."""
        target = safe_target(flask.request.args.get("next"))
        if flask.request.method == "GET":
            if access.visitor().is_in:
                return flask.redirect(target, 303)
            return self._form(target)
        name = (
            "" if self._sessions.by_token else " ".join(flask.request.form.get("name", "").lower().split())[:MAX_NAME]
        )
        secret, address = flask.request.form.get("password", ""), flask.request.remote_addr or ""
        if not has_form_token():
            return self._form(target, said=STALE, name=name), 400
        if not self._attempts.may_try(address, name):
            log.warning("Too many tries to sign in as %r from %s", name, address)
            return self._form(target, said=TOO_OFTEN, name=name), 429
        if self._sessions.by_token:
            if not self._sessions.token_is(secret):
                log.warning("A wrong token from %s", address)
                return self._form(target, said=WRONG_TOKEN), 401
            account = None
        else:
            account = Accounts(studio.of_server().home).check(name, secret)
            if account is None:
                log.warning("A wrong password for %r from %s", name, address)
                return self._form(target, said=WRONG, name=name), 401
        self._attempts.succeeded(address, name)
        self._sessions.begin(account)
        log.info("%s signed in from %s", name or "Somebody with the token", address)
        return flask.redirect(target, 303)

    def _form(self, target: str, *, said: str = "", name: str = "") -> flask.Response:
        """The sign-in page."""
        action = f"{PAGE}?{urlencode({'next': target})}"
        if self._sessions.by_token:
            fields = _field("password", "Token", "current-password", more="autofocus")
            foot = '<p class="foot">The token is printed where the server was started.</p>'
            return _page("Sign in", action=action, fields=fields, button="Sign in", said=said, foot=foot)
        typed = f'value="{html.escape(name)}" autocapitalize="none" spellcheck="false"'
        fields = _field("name", "Name", "username", kind="text", more=typed + ("" if name else " autofocus"))
        fields += _field("password", "Password", "current-password", more="autofocus" if name else "")
        foot = '<p class="foot">Forgotten? Whoever looks after this server can give you another password.</p>'
        return _page("Sign in", action=action, fields=fields, button="Sign in", said=said, foot=foot)

    def sign_out(self) -> flask.typing.ResponseReturnValue:
        """End the session; somebody who comes by address is asked first."""
        if flask.request.method == "POST" and has_form_token():
            self._sessions.end()
            return flask.redirect(PAGE, 303)
        foot = '<p class="foot"><a href="/">Stay</a></p>'
        return _page("Sign out?", action=SIGN_OUT, fields="", button="Sign out", foot=foot)

    def change_password(self) -> flask.typing.ResponseReturnValue:
        """Another password for the account that is signed in; its other sessions end."""
        name = access.current_user()
        if name is None:
            return "There are no accounts on this server.", 404
        if flask.request.method == "GET":
            return self._password_form()
        sent, address = flask.request.form, flask.request.remote_addr or ""
        if not has_form_token():
            return self._password_form(STALE), 400
        if not self._attempts.may_try(address, name):
            return self._password_form(TOO_OFTEN), 429
        accounts = Accounts(studio.of_server().home)
        if accounts.check(name, sent.get("password", "")) is None:
            return self._password_form("That is not the password you have now."), 401
        if sent.get("new", "") != sent.get("again", ""):
            return self._password_form("The new password was typed in two ways."), 400
        try:
            accounts.change_password(name, sent.get("new", ""))
        except AccessError as error:
            return self._password_form(str(error)), 400
        self._sessions.begin(accounts.find(name))
        return flask.redirect("/", 303)

    def _password_form(self, said: str = "") -> flask.Response:
        fields = _field("password", "Password now", "current-password", more="autofocus")
        length = f'minlength="{MIN_PASSWORD}"'
        fields += _field("new", f"New password, {MIN_PASSWORD} characters or more", "new-password", more=length)
        fields += _field("again", "New password again", "new-password", more=length)
        foot = (
            '<p class="foot">Wherever else you are signed in, you will have to sign in anew. <a href="/">Back</a></p>'
        )
        return _page("Change password", action=PASSWORD, fields=fields, button="Change", said=said, foot=foot)
