"""How is the app served? By waitress on a laptop (`app.py`), by gunicorn on a server (`wsgi.py`).

The command line of the one and the ``SCETM_...`` variables of the other mean the same, and who may come in is settled
by the same rules (`pages/_access/options.py`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import multiprocess

from pages._access import options
from pages._access.options import AccessSettings
from pages._shared import studio
from scetm_core import keys
from scetm_core.errors import ConfigError, ScetmError

PORT = 8050
LISTENING = "SCETM_LISTENING"
"""Where gunicorn listens, as its configuration tells the process that serves: "HOST:PORT"."""
ANYWHERE = "0.0.0.0"
HINT = "Under gunicorn an option is a variable: SCETM_TOKEN=..., SCETM_NO_AUTH=1 (see docs/operations.md)."
VARIABLES = {  # variable -> option, and what parts several values of it; None for one that is on or off
    keys.HOME_VARIABLE: ("--home", ""),
    "SCETM_HOST": ("--host", ""),
    "SCETM_PORT": ("--port", ""),
    "SCETM_DATA_DIRS": ("--data-dir", os.pathsep),
    "SCETM_SLOTS": ("--slots", ""),
    "SCETM_DEMO": ("--demo", None),
    "SCETM_ALLOWED_HOSTS": ("--allowed-host", ","),
    "SCETM_BEHIND_PROXY": ("--behind-proxy", None),
    "SCETM_NO_AUTH": ("--no-auth", None),
}
"""``SCETM_TOKEN`` and ``SCETM_LOG`` besides, which app.py reads as well."""


def parser() -> argparse.ArgumentParser:
    """The command line of the server."""
    made = argparse.ArgumentParser(prog="app.py", description="Serve scETM Studio.")
    made.add_argument("file", nargs="?", type=Path, help="a data set to start with")
    made.add_argument("--port", type=int, default=PORT)
    made.add_argument("--home", type=Path, default=keys.default_home())
    made.add_argument("--data-dir", type=Path, action="append", default=[], help="folder the file browser may show")
    made.add_argument("--demo", action="store_true", help="write the demo data at the start")
    made.add_argument("--slots", type=int, default=1, help="runs that may train beside each other (default: 1)")
    options.add_arguments(made)
    return made


def settle(given: argparse.Namespace) -> tuple[studio.Studio, AccessSettings]:
    """What the server works on, and who may come in.

    Raises
    ------
    ScetmError
        If a folder does not exist, or strangers could come in without anybody having said so.
    """
    folders = [*given.data_dir, *([given.file.parent] if given.file else [])]
    for path in [*folders, *([given.file] if given.file else [])]:
        if not path.exists():
            raise ScetmError(f"{path} does not exist.")
    settings = studio.Studio(
        home=given.home.expanduser().resolve(),
        data_dirs=tuple(folder.resolve() for folder in folders),
        n_slots=given.slots,
    )
    return settings, options.settle(given, home=settings.home, data_dirs=settings.data_dirs)


def end_relays() -> None:
    """At the exit: runs go on by themselves; what only relays them must not hold it up."""
    for relay in multiprocess.active_children():
        relay.kill()


# ---- gunicorn -----------------------------------------------------------------------------------------------------


def given_by(variables: Mapping[str, str]) -> argparse.Namespace:
    """The command line that the environment stands for.

    Raises
    ------
    ConfigError
        If a variable has a value that its option does not take.
    """
    arguments = []
    for name, (option, between) in VARIABLES.items():
        text = variables.get(name, "").strip()
        if between is None:
            if text not in ("", "0", "1"):
                raise ConfigError(f"{name} is {text[:40]!r}; it can be 1 (yes) or 0 (no).")
            arguments += [option] if text == "1" else []
        else:
            values = text.split(between) if between else [text]
            arguments += [f"{option}={value.strip()}" for value in values if value.strip()]
    made = parser()
    made.exit_on_error = False
    try:
        return made.parse_args(arguments)
    except argparse.ArgumentError as error:
        raise ConfigError(f"A SCETM_... variable is wrong: {error}") from error


def given_to_gunicorn(variables: Mapping[str, str]) -> argparse.Namespace:
    """As `given_by`, with the address that gunicorn listens on; from anywhere, where that is not known.

    Raises
    ------
    ConfigError
        If a variable has a value that cannot be used.
    """
    given = given_by(variables)
    if given.token == "auto":
        raise ConfigError(f"{options.TOKEN_VARIABLE}=auto would tell nobody the token. Choose one and set it.")
    host, _, port = variables.get(LISTENING, "").rpartition(":")
    given.host = host or ANYWHERE
    given.port = int(port) if port.isdecimal() else given.port
    return given


def address(variables: Mapping[str, str]) -> str:
    """Where gunicorn shall listen: ``SCETM_HOST:SCETM_PORT``, by default 127.0.0.1:8050."""
    host = variables.get("SCETM_HOST", "").strip() or "127.0.0.1"
    return f"[{host}]:{_port(variables)}" if ":" in host else f"{host}:{_port(variables)}"


def _port(variables: Mapping[str, str]) -> str:
    return variables.get("SCETM_PORT", "").strip() or str(PORT)


def on_starting(arbiter: Any) -> None:
    """Say what becomes of a server of several processes."""
    if arbiter.cfg.workers > 1:
        arbiter.log.warning(
            "%d processes serve the app: /metrics and the Server page tell of one of them each, caches are kept by "
            "each, and two tabs that change the same figure or names at once may undo each other.",
            arbiter.cfg.workers,
        )


def when_ready(arbiter: Any) -> None:
    """Gunicorn listens: pass on where, or end it if strangers could come in without anybody having said so."""
    os.environ[LISTENING] = listening([listener.sock.getsockname() for listener in arbiter.LISTENERS])
    try:
        settle(given_to_gunicorn(os.environ))
    except ScetmError as error:
        print(f"error: {error} {HINT}", file=sys.stderr, flush=True)
        arbiter.halt(exit_status=1)


def listening(names: Sequence[object]) -> str:
    """Which of the addresses that somebody listens on most people can reach: "HOST:PORT"."""
    on_network = [name for name in names if isinstance(name, tuple)]
    others = [name for name in on_network if not options.is_this_machine(name[0])]
    if not others and len(on_network) < len(names):
        return f"{ANYWHERE}:{PORT}"  # a socket file is for a proxy, which others reach
    host, port = [*others, *on_network, (ANYWHERE, PORT)][0][:2]
    return f"{host}:{port}"
