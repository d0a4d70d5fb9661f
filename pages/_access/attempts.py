"""How often may somebody try a password? So many times a minute, by address and by name, counted for all processes."""

from __future__ import annotations

from pathlib import Path

import diskcache

SECONDS = 60
PER_PAIR, PER_NAME, PER_ADDRESS = 5, 15, 30
"""Tries a minute: of one address at one name, of everybody at one name, of one address at all names."""


class Attempts:
    """Counts tries, in a folder that all processes of a server share."""

    def __init__(self, folder: Path) -> None:
        self._counts = diskcache.Cache(str(folder), size_limit=1 << 24)

    def may_try(self, address: str, name: str) -> bool:
        """Count one more try; whether it is still within what is allowed."""
        limits = {f"pair {address} {name}": PER_PAIR, f"name {name}": PER_NAME, f"address {address}": PER_ADDRESS}
        within = True
        for key, limit in limits.items():
            self._counts.add(key, 0, expire=SECONDS)
            within = self._counts.incr(key) <= limit and within
        return within

    def forget(self, address: str, name: str) -> None:
        """Start anew after the right password."""
        self._counts.delete(f"pair {address} {name}")
