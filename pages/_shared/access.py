"""Who is asking, and may they? What the guard (pages/_access) has found out about the request, for pages and routes.

`current_user` names the account, `is_admin` whether it looks after the server, `may_watch` whether the request may
read the server's numbers (`/metrics`). Work outside a request says for whom it is done with `acting_for`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import flask


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who sends a request."""

    name: str | None = None
    """The account; None on a server without accounts, and of strangers."""
    is_in: bool = False
    """May see the pages: signed in, or nobody has to."""
    is_admin: bool = False
    """May see the server page: an admin's account; without accounts, everybody who is in."""
    may_watch: bool = False
    """May read the server's numbers: an admin, a request with the token, or one from this machine where nobody
    has to sign in."""


STRANGER = Visitor()
_acting: ContextVar[Visitor | None] = ContextVar("scetm_acting", default=None)


def visitor() -> Visitor:
    """Who is asking: of the request, or as `acting_for` says; otherwise a stranger, who may nothing."""
    acting = _acting.get()
    if acting is not None:
        return acting
    return flask.g.get("visitor", STRANGER) if flask.has_request_context() else STRANGER


def current_user() -> str | None:
    """Name of the account that is asking; None on a server without accounts, and if nobody is signed in."""
    return visitor().name


def is_in() -> bool:
    """Whether who is asking may see the pages: signed in, or nobody has to."""
    return visitor().is_in


def is_admin() -> bool:
    """Whether who is asking looks after this server; without accounts, everybody who may see the pages does."""
    return visitor().is_admin


def may_watch() -> bool:
    """Whether the request may read numbers about the server: an admin, the token, or this machine itself."""
    return visitor().may_watch


def admit(found: Visitor) -> None:
    """Say who sends the request; the guard does."""
    flask.g.visitor = found


@contextlib.contextmanager
def acting_for(name: str | None) -> Iterator[None]:
    """Do what follows for an account, outside a request: in a background callback, a thread, a test."""
    token = _acting.set(Visitor(name=name, is_in=True))
    try:
        yield
    finally:
        _acting.reset(token)
