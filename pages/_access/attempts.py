"""How often may somebody try a password? So many times a minute, by address and by name, counted for all processes.

What is left to an attacker: 15 guesses a minute at one name, however many addresses they have. With three addresses
they can keep that name's owner out, but not from an address where the owner has signed in before; there, only somebody
behind the same address can.
"""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path

import diskcache

SECONDS = 60
PER_PAIR, PER_NAME, PER_ADDRESS = 5, 15, 30
"""Tries a minute: of one address at one name, of everybody at one name, of one address at all names."""
KNOWN_SECONDS = 30 * 86_400
"""How long an address is known from which somebody has signed in."""


class Attempts:
    """Counts tries, in a folder that all processes of a server share."""

    def __init__(self, folder: Path) -> None:
        self._counts = diskcache.Cache(str(folder), size_limit=1 << 24)

    def may_try(self, address: str, name: str) -> bool:
        """Count one more try; whether it is still within what is allowed.

        What one limit refuses does not count for the next: an address that is refused takes no tries from others.
        """
        address = _place(address)
        limits = {f"address {address}": PER_ADDRESS, f"pair {address} {name}": PER_PAIR, f"name {name}": PER_NAME}
        if f"known {address} {name}" in self._counts:
            del limits[f"name {name}"]
        return all(self._count(key) <= limit for key, limit in limits.items())

    def succeeded(self, address: str, name: str) -> None:
        """Start anew after the right password, and know the address from now on."""
        address = _place(address)
        self._counts.delete(_in_this_minute(f"pair {address} {name}"))
        self._counts.set(f"known {address} {name}", True, expire=KNOWN_SECONDS)

    def may_show_token(self, address: str) -> bool:
        """Whether a token that comes with a request is looked at; not after too many wrong ones from there."""
        return int(self._counts.get(_in_this_minute(f"token {_place(address)}"), 0)) < PER_ADDRESS

    def showed_wrong_token(self, address: str) -> None:
        """Count a wrong token that came with a request."""
        self._count(f"token {_place(address)}")

    def _count(self, key: str) -> int:
        """One more in this minute. Each minute has keys of its own: a count that never expires holds up nobody."""
        key = _in_this_minute(key)
        self._counts.add(key, 0, expire=2 * SECONDS)
        return int(self._counts.incr(key))


def _minute() -> int:
    return int(time.time() // SECONDS)


def _in_this_minute(key: str) -> str:
    return f"{_minute()} {key}"


def _place(address: str) -> str:
    """The address; of IPv6 the network, in which one machine has as many addresses as it likes."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address) or known.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False))
