"""Who may sign in, and with which password? A file in the home: ``HOME/accounts.json``, which only its owner can read.

Passwords are kept as salted scrypt hashes. The first account is an admin; more can be made so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import secrets
import threading
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from scetm_core import keys
from scetm_core.errors import AccessError
from scetm_core.files import replacing
from scetm_core.json_text import read_json

MIN_PASSWORD, MAX_PASSWORD = 10, 1000
"""Length of a password; long ones are refused because hashing them costs time."""

METHOD = "scrypt:32768:8:1"
"""How passwords are hashed: 32 MB of memory and a tenth of a second for each try."""

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Somebody who may sign in."""

    name: str
    """Also the name of the folder with the account's runs."""
    password: str
    """As a hash."""
    stamp: str
    """Changes with the password: a session holds it, and ends when it is another."""
    is_admin: bool = False
    """May see the server page."""
    priority: int = 0
    """The jobs of a higher one go first in the queue (`waiting`)."""


def checked_name(name: str) -> str:
    """The name, if an account and its folder can be called so.

    Raises
    ------
    AccessError
        If not.
    """
    if not _NAME.fullmatch(name):
        raise AccessError(
            f"{name[:80]!r} cannot be the name of an account. Use up to 32 small letters, digits, dots and dashes, "
            "a letter first."
        )
    return name


def new_password() -> str:
    """A password that nobody guesses: 96 bits in letters and digits."""
    return secrets.token_urlsafe(12)


class Accounts:
    """The accounts of a home, as its file has them now."""

    def __init__(self, home: Path) -> None:
        self._path = home / keys.ACCOUNTS_FILE
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, int], dict[str, Account]] = ((0, 0), {})

    @property
    def exist(self) -> bool:
        """Whether there is a file of accounts, so that everybody has to sign in; it may be empty."""
        return self._path.exists()

    def all(self) -> dict[str, Account]:
        """The accounts by name; read anew when the file has changed.

        Raises
        ------
        AccessError
            If the file is damaged.
        """
        try:
            about = self._path.stat()
            stamp = (about.st_mtime_ns, about.st_ino)
            with self._lock:
                if self._known[0] != stamp:
                    self._known = (stamp, self._read())
                return dict(self._known[1])
        except FileNotFoundError:
            return {}

    def _read(self) -> dict[str, Account]:
        try:
            record = read_json(self._path)
            return {name: Account(name=checked_name(name), **entry) for name, entry in record["accounts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AccessError(f"{self._path} cannot be read ({error}). Put it right, or back from a copy.") from error

    def find(self, name: str) -> Account | None:
        """The account of that name."""
        return self.all().get(name)

    def check(self, name: str, password: str) -> Account | None:
        """The account, if the password is its own. An unknown name takes as long as a wrong password."""
        from werkzeug.security import check_password_hash

        account = self.find(name)
        is_right = check_password_hash(account.password if account else _nobody(), password[:MAX_PASSWORD])
        return account if account is not None and is_right else None

    def refuse_taken(self, name: str) -> None:
        """Look whether an account can be made under a name, before a password is asked for.

        Raises
        ------
        AccessError
            If there is one of that name, or the name will not do.
        """
        _refuse_taken(name, self.all())

    def add(self, name: str, password: str, *, is_admin: bool = False) -> Account:
        """Make an account; the first one is an admin.

        Raises
        ------
        AccessError
            If there is one of that name, or the name or the password will not do.
        """
        with self._changing() as known:
            _refuse_taken(name, known)
            made = _hashed(password)
            known[name] = Account(
                name=name,
                password=made["password"],
                stamp=made["stamp"],
                is_admin=is_admin or not any(a.is_admin for a in known.values()),
            )
            return known[name]

    def change_password(self, name: str, password: str) -> None:
        """Give an account another password; its sessions end.

        Raises
        ------
        AccessError
            If there is no such account, or the password will not do.
        """
        with self._changing() as known:
            account = self._there(known, name)
            known[name] = dataclasses.replace(account, **_hashed(password))  # type: ignore[arg-type]

    def set_priority(self, name: str, priority: int) -> None:
        """Let the jobs of an account go before those of others, or after them.

        Raises
        ------
        AccessError
            If there is no such account.
        """
        with self._changing() as known:
            known[name] = dataclasses.replace(self._there(known, name), priority=priority)

    def remove(self, name: str) -> None:
        """Take an account away; its sessions end, its runs stay where they are.

        Raises
        ------
        AccessError
            If there is no such account.
        """
        with self._changing() as known:
            self._there(known, name)
            del known[name]

    def _there(self, known: dict[str, Account], name: str) -> Account:
        if name not in known:
            raise AccessError(f"There is no account called {name[:80]!r}; there are: {', '.join(known) or 'none'}.")
        return known[name]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        """The accounts, to be changed by one process at a time; what comes of them is written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._path.with_name(f".{self._path.name}.lock"), timeout=10):
            known = self.all()
            yield known
            record = {name: dataclasses.asdict(account) for name, account in known.items()}
            for entry in record.values():
                del entry["name"]
            write_private(self._path, json.dumps({"accounts": record}, indent=2))


def _refuse_taken(name: str, known: Container[str]) -> None:
    if checked_name(name) in known:
        raise AccessError(f"There is an account called {name} already. `account password {name}` changes it.")


def _hashed(password: str) -> dict[str, str]:
    """Hash and stamp of a new password.

    Raises
    ------
    AccessError
        If it is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccessError(
            f"A password needs {MIN_PASSWORD} to {MAX_PASSWORD:,} characters; this one has {len(password)}."
        )
    try:
        from werkzeug.security import generate_password_hash
    except ImportError as error:
        raise AccessError("Accounts need the app: pip install 'scetm-studio[app]'.") from error
    return {"password": generate_password_hash(password, method=METHOD), "stamp": secrets.token_urlsafe(12)}


_dummy: list[str] = []


def _nobody() -> str:
    """A hash to check against where there is no account, so that the time tells nothing."""
    if not _dummy:
        _dummy.append(_hashed(new_password())["password"])
    return _dummy[0]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    with replacing(path) as draft, open(draft, "x", encoding="utf-8", opener=_private_opener) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@functools.cache
def _secret_of_this_process() -> bytes:
    return secrets.token_bytes(32)


def signing_secret(home: Path) -> bytes:
    """The secret that signs sessions: made once, kept in the home, so that a restart signs nobody out.

    In a home that cannot be written to it lasts as long as the process.

    Raises
    ------
    AccessError
        If others can read it, or it is damaged.
    """
    path = home / keys.SECRET_FILE
    if os.access(home, os.W_OK):
        with filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=10):
            if not path.exists():
                write_private(path, secrets.token_hex(32))
    elif not path.exists():
        return _secret_of_this_process()
    if path.stat().st_mode & 0o077:
        raise AccessError(f"{path} can be read by others. Delete it (everybody signs in anew), or: chmod 600 {path}")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if len(text) < 32:
        raise AccessError(f"{path} is damaged. Delete it; everybody will have to sign in anew.")
    return text.encode()
