"""Whose long request is taken at all? The server reads a whole body before the app sees it; so it is asked first.

Without this a stranger could fill the disk with bodies that are thrown away afterwards: waitress keeps them in
temporary files until they are whole.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flask
import waitress
import waitress.channel
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from pages._access.guard import MAX_BODY, MAX_FROM_STRANGERS, is_let_in
from pages._access.options import AccessSettings

HEADER_SECONDS = 30.0
"""A request's headers have to be there by then."""
SLOWEST, PATIENCE = 1024.0, 60.0
"""Bytes a second that a body has to come with, on average after so many seconds."""
SPARE = 200 << 20
"""Bytes that stay free on the disk of temporary files."""


class LengthRequired(Error):  # type: ignore[misc]
    """A body whose length is not told."""

    code, reason = 411, "Length Required"


class NoRoom(Error):  # type: ignore[misc]
    """A body there is no place for."""

    code, reason = 507, "Insufficient Storage"


class TooSlow(Error):  # type: ignore[misc]
    """A request that drips."""

    code, reason = 408, "Request Timeout"


class CarefulParser(HTTPRequestParser):  # type: ignore[misc]
    """Reads a request; gives up as soon as its headers, or its pace, tell that it will not be answered."""

    completed: bool
    error: Error | None

    def __init__(
        self, adj: Any, *, is_let_in: Callable[[dict[str, object]], bool], limits: Mapping[str, int], address: str = ""
    ) -> None:
        super().__init__(adj)
        self._is_let_in, self._limits, self._address = is_let_in, limits, address
        self._began, self._is_checked = time.monotonic(), False

    def received(self, data: bytes) -> int:
        """Take more of a request."""
        consumed = int(super().received(data))
        if self.completed and self.error is not None:
            return consumed
        problem = self._pace()
        if problem is None and self.headers_finished and not self._is_checked and not self.empty:
            self._is_checked = True
            problem = self._size()
        if problem is not None:
            self.error, self.completed, self.connection_close = problem, True, True
        return consumed

    def _size(self) -> Error | None:
        """What is wrong with the length of the body, as the headers tell it."""
        if self.chunked:
            return LengthRequired("Send the length of what you send (Content-Length).")
        if self.content_length <= MAX_FROM_STRANGERS:
            return None
        limit = self._limits.get(self.path, MAX_BODY)
        if self.content_length > limit:
            return RequestEntityTooLarge(f"This is longer than the {limit >> 20:,} MB that are taken here.")
        environ: dict[str, object] = {
            "REQUEST_METHOD": self.command,
            "PATH_INFO": self.path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "0",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "REMOTE_ADDR": self._address,
            **{f"HTTP_{name}": text for name, text in self.headers.items()},
        }
        if not self._is_let_in(environ):
            return BadRequest("Sign in before you upload anything or send as much.")
        if (
            self.content_length > MAX_BODY
            and self.content_length + SPARE > shutil.disk_usage(tempfile.gettempdir()).free
        ):
            return NoRoom("There is not enough free disk space for this upload.")
        return None

    def _pace(self) -> Error | None:
        """What is wrong with the pace of the request."""
        seconds = time.monotonic() - self._began
        if self.completed:
            return None
        if not self.headers_finished:
            return TooSlow("The request came too slowly.") if seconds > HEADER_SECONDS else None
        expected = SLOWEST * (seconds - PATIENCE)
        return TooSlow("The upload came too slowly.") if self.body_bytes_received < expected else None


THREADS = 16
CONNECTIONS = 1000
"""A browser keeps six open: with waitress's 100, the 17th person waits until somebody's are closed."""


def create_server(server: flask.Flask, who: AccessSettings, *, limits: Mapping[str, int]) -> Any:
    """Waitress on an address, which reads requests carefully.

    Parameters
    ----------
    limits
        Routes that take longer bodies than others, from who is signed in: path -> bytes.

    Raises
    ------
    OSError
        If the address cannot be had.
    """
    waitress.channel.HTTPChannel.parser_class = property(  # of a channel, as only that knows the address
        lambda channel: partial(
            CarefulParser, is_let_in=partial(is_let_in, server), limits=limits, address=str(channel.addr[0])
        )
    )
    return waitress.create_server(
        server,
        host=who.host,
        port=who.port,
        threads=THREADS,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,
        max_request_body_size=max(limits.values()) + 1,
        clear_untrusted_proxy_headers=not who.behind_proxy,
        ident="",
    )
