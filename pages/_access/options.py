"""Who shall come in, as the command line says? From this machine all; from elsewhere nobody, until it is said who.

Behind a proxy everything comes from elsewhere, whatever the address that the server listens on.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from scetm_core import keys
from scetm_core.accounts import Accounts
from scetm_core.errors import AccessError

TOKEN_VARIABLE = "SCETM_TOKEN"
MIN_TOKEN = 16
REFUSED = """{host} can be reached from other computers{how}, and nobody would have to sign in. Choose one of three: \
accounts (python -m scetm_core account add NAME --home {home}), one token for all (--token auto, or {variable}), \
or --no-auth where something else keeps strangers out."""
NO_ACCOUNTS = """{home} has folders of users, but {file} is gone, and nobody would have to sign in. Put it back from a \
backup, or make the accounts anew (python -m scetm_core account add NAME --home {home}; the first one is an admin), or \
move the folder {users} away."""


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """How a server tells who may come in."""

    host: str = "127.0.0.1"
    """Address it listens on."""
    port: int = 8050
    """Its port: two servers on one machine keep their sessions apart by it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names it may be called by, besides its address and those of this machine."""
    token: str = ""
    """What lets in whoever knows it; with accounts, only to the numbers under /metrics. None if empty."""
    behind_proxy: bool = False
    """A proxy stands before it, whose X-Forwarded-... headers are true."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer all that is about access."""
    group = parser.add_argument_group("who may come in")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    group.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE, ""),
        help=f"let in whoever knows it; auto: make one up and print it. {TOKEN_VARIABLE} keeps it out of `ps`",
    )
    group.add_argument("--no-auth", action="store_true", help="let anybody in who reaches the address")
    group.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that browsers may call this server by; may be given several times",
    )
    group.add_argument(
        "--behind-proxy", action="store_true", help="believe the X-Forwarded-For, -Proto and -Host of one proxy"
    )


def is_this_machine(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def settle(options: argparse.Namespace, *, home: Path, data_dirs: tuple[Path, ...]) -> AccessSettings:
    """The settings that the command line asks for.

    Raises
    ------
    AccessError
        If strangers could come in without anybody having said so, the accounts of a home are gone, or two options
        contradict each other.
    """
    has_accounts, token = Accounts(home).exist, str(options.token)
    if options.no_auth and (has_accounts or token):
        raise AccessError(
            f"There {f'are accounts in {home}' if has_accounts else 'is a token'}, so everybody signs in. "
            "Leave out --no-auth" + (", or choose another --home." if has_accounts else ", or the token.")
        )
    if token == "auto":
        token = secrets.token_urlsafe(24)
    elif token and (len(token) < MIN_TOKEN or not token.isascii()):
        raise AccessError(f"A token needs {MIN_TOKEN} plain characters or more; `--token auto` makes one up.")
    users = home / keys.USERS_FOLDER
    if not has_accounts and users.is_dir() and any(users.iterdir()):
        raise AccessError(NO_ACCOUNTS.format(home=home, file=keys.ACCOUNTS_FILE, users=users))
    is_within_reach = options.behind_proxy or not is_this_machine(options.host)
    if is_within_reach and not (has_accounts or token or options.no_auth):
        how = " through the proxy" if options.behind_proxy else ""
        raise AccessError(REFUSED.format(host=options.host, how=how, home=home, variable=TOKEN_VARIABLE))
    for folder in data_dirs:
        if has_accounts and (home.is_relative_to(folder) or folder.is_relative_to(home)):
            raise AccessError(
                f"--data-dir {folder} and the home {home} lie in each other, so that everybody would see everybody's "
                "files. Choose a folder beside the home."
            )
    return AccessSettings(
        host=options.host,
        port=options.port,
        allowed_hosts=tuple(options.allowed_host),
        token=token,
        behind_proxy=options.behind_proxy,
    )


def address_to_open(settings: AccessSettings, *, path: str = "", with_token: bool) -> str:
    """What to open in a browser; with the token, where that lets in."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    token = ("&" if "?" in path else "?") + f"token={settings.token}" if with_token and settings.token else ""
    return f"http://{host}:{settings.port}/{path}{token}"
