"""May this request come in? Looked at before every route: host, origin, then who it is; strangers are shown the door.

`add_to` puts it all in front of an app: this guard, the look at messages, the sign-in pages, and the headers.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl, urlencode

import flask
from dash import Dash
from werkzeug.middleware.proxy_fix import ProxyFix

from pages._access import headers, messages, origins, sign_in
from pages._access.attempts import Attempts
from pages._access.options import AccessSettings, is_this_machine
from pages._access.sessions import EVERYBODY, Sessions, keep_sessions
from pages._shared import access, studio
from pages._shared.access import STRANGER, Visitor
from scetm_core.accounts import Accounts, signing_secret

log = logging.getLogger("scetm.access")

MAX_BODY = 16 << 20
"""Bytes that a request may have, other than an upload."""
MAX_FROM_STRANGERS = 64 << 10
"""The same of somebody who is not signed in: a name and a password are shorter."""

OPEN_TO_ALL = ("/health", sign_in.PAGE, sign_in.STYLE, "/_favicon.ico")
FOR_WATCHERS = ("/metrics",)
EXTENSION = "scetm-guard"


def add_to(app: Dash, settings: AccessSettings) -> None:
    """Let in who may come in.

    Raises
    ------
    AccessError
        If the signing secret of the home cannot be used.
    """
    server, home = app.server, studio.of_server().home
    server.secret_key = signing_secret(home)
    server.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    if settings.behind_proxy:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1, x_host=1)
    server.extensions[EXTENSION] = Guard(settings)
    keep_sessions(server, settings, lambda holder_id: guard_of(server).sessions.load(holder_id))
    server.before_request_funcs.setdefault(None, []).insert(0, lambda: guard_of(server).look_at())
    sign_in.add_routes(server, sign_in.Door(lambda: guard_of(server).sessions, lambda: guard_of(server).attempts))
    messages.add_to(app)
    headers.add_to(app)


def guard_of(server: flask.Flask) -> Guard:
    """The guard of a server."""
    guard: Guard = server.extensions[EXTENSION]
    return guard


class Guard:
    """Looks at every request of a server."""

    def __init__(self, settings: AccessSettings) -> None:
        shown = studio.of_server()
        accounts = Accounts(shown.home) if shown.has_accounts else None
        cache = shown.cache_folder
        self.sessions = Sessions(settings, accounts=accounts, ended=cache / "ended-sessions")
        self.attempts = Attempts(cache / "sign-in")
        self.must_sign_in = accounts is not None or bool(settings.token)
        self._settings, self._names = settings, origins.known_names(settings)

    def with_true_address(self, environ: dict[str, object]) -> dict[str, object]:
        """A request that has not come through `ProxyFix`, with the address that the proxy tells."""
        told = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip()
        return {**environ, "REMOTE_ADDR": told} if told and self._settings.behind_proxy else environ

    def visitor(self) -> Visitor:
        """Who sends this request."""
        request = flask.request
        has_token = self._is_token(_bearer(request))
        if not self.must_sign_in:
            return Visitor(is_in=True, is_admin=True, may_watch=self._is_from_here(request))
        if has_token:
            return Visitor(is_in=self.sessions.by_token, is_admin=self.sessions.by_token, may_watch=True)
        return self.sessions.holder() or STRANGER

    def _is_token(self, offered: str) -> bool:
        """Whether what a request brings is the token; who has brought too many others is not listened to any more."""
        address = flask.request.remote_addr or ""
        if not offered or not self._settings.token or not self.attempts.may_show_token(address):
            return False
        if self.sessions.token_is(offered):
            return True
        self.attempts.showed_wrong_token(address)
        log.warning("A wrong token from %s", address)
        return False

    def _is_from_here(self, request: flask.Request) -> bool:
        """Whether the request comes from this machine itself, not through a proxy on it."""
        relayed = self._settings.behind_proxy or any(
            name in request.headers for name in ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via")
        )
        return not relayed and is_this_machine(request.remote_addr or "")

    def look_at(self) -> flask.typing.ResponseReturnValue | None:
        """Refuse a request, or find out who sends it and let it pass."""
        request = flask.request
        if not origins.is_known_host(request.host, self._names):
            log.warning("Refused a request for the host %.100r", request.host)
            name = "the name in the address"
            return _refuse(
                f"This server does not go by {name}. Open it by its address, or start it with --allowed-host NAME.", 403
            )
        if why := origins.why_foreign(request):
            log.warning("Refused a request for %.100s from another site", request.path)
            return _refuse(why, 403)
        if (offered := request.args.get("token")) and request.method == "GET" and self.sessions.by_token:
            return self._take_token(offered)
        found = self.visitor()
        access.admit(found)
        if not found.is_in:
            request.max_content_length = MAX_FROM_STRANGERS
        if found.is_in or request.path in OPEN_TO_ALL or (found.may_watch and request.path in FOR_WATCHERS):
            return None
        is_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        if is_page and not request.path.startswith("/_dash"):
            return flask.redirect(f"{sign_in.PAGE}?{urlencode({'next': request.full_path.rstrip('?')})}", 303)
        return _refuse("Nobody is signed in. Load the page again to sign in.", 401)

    def _take_token(self, offered: str) -> flask.typing.ResponseReturnValue | None:
        """Sign in by an address that holds the token, and lead to the same address without it."""
        query = [(name, value) for name, value in parse_qsl(flask.request.query_string.decode()) if name != "token"]
        target = sign_in.safe_target(flask.request.path + (f"?{urlencode(query)}" if query else ""))
        if not self.must_sign_in:
            access.admit(EVERYBODY)
        elif self._is_token(offered):
            self.sessions.begin(None)
        else:
            return flask.redirect(f"{sign_in.PAGE}?{urlencode({'next': target})}", 303)
        return flask.redirect(target, 303)


def _bearer(request: flask.Request) -> str:
    """The token in the `Authorization` header, if there is one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _refuse(words: str, status: int) -> tuple[flask.Response, int]:
    """An answer in words, as text for people and as JSON for the app's own scripts."""
    flask.request.max_content_length = 0  # its body is nobody's business
    is_page = "text/html" in flask.request.headers.get("Accept", "")
    return (flask.Response(words, mimetype="text/plain") if is_page else flask.jsonify(error=words)), status


def is_let_in(server: flask.Flask, environ: dict[str, object]) -> bool:
    """Whether who sends a request may see the pages, from its headers alone: before a long body is taken."""
    guard = guard_of(server)
    with server.request_context(guard.with_true_address(environ)):
        return guard.visitor().is_in
