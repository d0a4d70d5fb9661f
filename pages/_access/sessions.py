"""Who is signed in, and for how long? A signed cookie that names the account, ends by itself, and can be ended.

It holds the account's name and stamp, which changes with the password; when it began; and a number of its own, by
which signing out ends it for good, whoever has copied it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import diskcache
import flask
import flask_login
from flask.sessions import SecureCookieSessionInterface

from pages._access.options import AccessSettings
from pages._shared.access import Visitor
from scetm_core.accounts import Account, Accounts

IDLE = dt.timedelta(hours=12)
LONGEST = dt.timedelta(days=7)
REFRESH_SECONDS = 300.0
EVERYBODY = Visitor(is_in=True, is_admin=True)
"""Where nobody has to sign in, and who has the token."""


class _SafeSessions(SecureCookieSessionInterface):
    """The cookie goes over https only, once it was set over https."""

    def get_cookie_secure(self, app: flask.Flask) -> bool:
        return flask.request.is_secure


class _Holder(flask_login.UserMixin):  # type: ignore[misc]
    """What Flask-Login keeps: an id, and who that is."""

    def __init__(self, holder_id: str, found: Visitor) -> None:
        self.id, self.visitor = holder_id, found


class Sessions:
    """Signs in and out, and tells who is signed in.

    Parameters
    ----------
    settings
        The token, where that lets in.
    accounts
        Those who may sign in; None where there are no accounts.
    ended
        Folder that remembers which sessions were ended.
    """

    def __init__(self, settings: AccessSettings, *, accounts: Accounts | None, ended: Path) -> None:
        self._accounts, self._token = accounts, settings.token
        self._ended = diskcache.Cache(str(ended), size_limit=1 << 26)

    @property
    def by_token(self) -> bool:
        """Whether the token lets in, rather than accounts."""
        return self._accounts is None

    def token_is(self, text: str) -> bool:
        """Whether a text is the token; takes the same time whatever it is."""
        return bool(self._token) and hmac.compare_digest(text.encode(), self._token.encode())

    def load(self, holder_id: str) -> _Holder | None:
        """Who an id stands for now; None if the account or the token is another by now."""
        kind, _, rest = holder_id.partition("/")
        if self._accounts is None:
            is_same = kind == "token" and bool(self._token) and hmac.compare_digest(rest, self._token_mark())
            return _Holder(holder_id, EVERYBODY) if is_same else None
        name, _, stamp = rest.partition("/")
        account = self._accounts.find(name) if kind == "account" else None
        if account is None or not hmac.compare_digest(stamp.encode(), account.stamp.encode()):
            return None
        found = Visitor(name=account.name, is_in=True, is_admin=account.is_admin, may_watch=account.is_admin)
        return _Holder(holder_id, found)

    def _token_mark(self) -> str:
        return hashlib.sha256(self._token.encode()).hexdigest()

    def begin(self, account: Account | None) -> None:
        """Sign the browser in: as an account, or as somebody who has the token."""
        holder = self.load(f"account/{account.name}/{account.stamp}" if account else f"token/{self._token_mark()}")
        assert holder is not None
        flask.session.clear()
        now = time.time()
        flask.session.update(since=now, seen=now, number=secrets.token_urlsafe(12))
        flask.session.permanent = True
        flask_login.login_user(holder)

    def end(self) -> None:
        """Sign the browser out; a copy of its cookie is worth nothing any more."""
        if number := flask.session.get("number"):
            self._ended.set(number, True, expire=LONGEST.total_seconds())
        flask_login.logout_user()
        flask.session.clear()

    def holder(self) -> Visitor | None:
        """Who is signed in by the cookie of this request."""
        kept = flask.session
        if "_user_id" not in kept:
            return None
        now, since = time.time(), float(kept.get("since", 0))
        if now - since > LONGEST.total_seconds() or kept.get("number", "") in self._ended:
            kept.clear()
            return None
        user = flask_login.current_user._get_current_object()
        if not isinstance(user, _Holder):
            return None
        if now - float(kept.get("seen", 0)) > REFRESH_SECONDS:
            kept["seen"] = now
        return user.visitor


def keep_sessions(server: flask.Flask, settings: AccessSettings, load: Callable[[str], object]) -> None:
    """Let a server keep sessions in cookies; `load` tells who an id stands for."""
    server.session_interface = _SafeSessions()
    server.config.update(
        SESSION_COOKIE_NAME=f"scetm_session_{settings.port}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",  # links from a mail lead to the page, and nothing can be done from elsewhere
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=IDLE,
    )
    manager = flask_login.LoginManager(server)
    manager.session_protection = None  # addresses change under a laptop
    manager.user_loader(load)


def form_token() -> str:
    """A secret of this session that its own forms send along, so that no other site can fill them in."""
    if "form" not in flask.session:
        flask.session["form"] = secrets.token_urlsafe(24)
        flask.session.permanent = True
    return str(flask.session["form"])


def has_form_token() -> bool:
    """Whether the form of this request came from this session."""
    sent, kept = flask.request.form.get("form", ""), str(flask.session.get("form", ""))
    return bool(kept) and hmac.compare_digest(sent.encode(), kept.encode())
