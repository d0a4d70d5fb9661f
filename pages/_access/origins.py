"""Is the request meant for this server, and does it come from its own pages? Hosts and origins, before all else.

A page of another site can make a browser send requests here, with its cookies; and its name can be pointed at this
machine once it is open (DNS rebinding), so that the browser takes this server for a part of that site. The `Host`
header says which name the browser believes in, `Sec-Fetch-Site`, `Origin` and `Referer` whose page it was.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import flask

from pages._access.options import AccessSettings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def known_names(settings: AccessSettings) -> frozenset[str]:
    """Names that the server answers to, besides plain addresses."""
    return frozenset(
        name.lower().rstrip(".") for name in ("localhost", socket.gethostname(), settings.host, *settings.allowed_hosts)
    )


def is_known_host(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header names this server: by an address, which nobody can rebind, or by a name of its own."""
    if not host or "@" in host or "/" in host:
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not close
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rstrip(".") in names
    return True


def why_foreign(request: flask.Request) -> str:
    """In words, why a request is refused that another site's page has sent; empty if none has.

    Links from elsewhere may lead here; they must not bring anything about, and nothing may be embedded there.
    """
    site, mode = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Sec-Fetch-Mode", "")
    if request.method in SAFE_METHODS:
        frames = request.headers.get("Sec-Fetch-Dest", "") in ("object", "embed", "iframe", "frame")
        if site in ("", "same-origin", "none") or (mode == "navigate" and not frames):
            return ""
        return "What this server holds is for its own pages only."
    refusal = "This was sent by a page of another site, so nothing was done. Do it on a page of this app."
    if site not in ("", "same-origin", "none"):
        return refusal
    for header in ("Origin", "Referer"):
        said = request.headers.get(header)
        if said is not None:
            return "" if _place(said) == request.host.lower() else refusal
    return ""  # no browser: those that can hold a cookie send one of the three


def may_start_work(request: flask.Request) -> bool:
    """Whether a GET may start something: sent by a page of this server, or typed, as far as a browser can be believed.

    Over plain http browsers tell less: there, only what names a page of this server as its origin counts.
    """
    if site := request.headers.get("Sec-Fetch-Site"):
        return site in ("same-origin", "none")
    return _place(request.headers.get("Origin") or request.headers.get("Referer") or "") == request.host.lower()


def _place(address: str) -> str:
    """Host and port of an address; empty if it has none."""
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""
