"""How are the accounts of a server kept from the command line? ``account add | list | ...``."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from scetm_core import keys
from scetm_core.accounts import Accounts, new_password
from scetm_core.errors import AccessError


def add_commands(commands: Any) -> None:
    """Offer `account` on a command line."""
    account = commands.add_parser("account", help="who may sign in to the app: add, list, password, remove")
    what = account.add_subparsers(dest="what", required=True, metavar="WHAT")
    add = what.add_parser("add", help="make an account; the first one is an admin")
    add.add_argument("--admin", action="store_true", help="may see the server page")
    add.set_defaults(run=run_add)
    password = what.add_parser("password", help="give an account another password; its sessions end")
    password.set_defaults(run=run_password)
    for command in (add, password):
        command.add_argument("name", metavar="NAME", help="small letters, digits, dots and dashes")
        command.add_argument("--generate", action="store_true", help="make up a password and print it")
    remove = what.add_parser("remove", help="take an account away; its runs stay on the disk")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=run_remove)
    priority = what.add_parser("priority", help="let the jobs of an account go before those of others, or after")
    priority.add_argument("name", metavar="NAME")
    priority.add_argument("priority", type=int, metavar="N", help="higher goes first; 0 for all at first")
    priority.set_defaults(run=run_priority)
    listing = what.add_parser("list", help="the accounts there are")
    listing.set_defaults(run=run_list)
    for command in (add, password, remove, priority, listing):
        command.add_argument(
            "--home",
            type=Path,
            default=keys.default_home(),
            help="home of the server (default: SCETM_HOME, or ~/.scetm)",
        )


def _home(options: argparse.Namespace) -> Path:
    return Path(options.home).expanduser().resolve()


def _asked_password(options: argparse.Namespace) -> str:
    """A password made up and printed, typed twice on a terminal, or the first line of what is piped in.

    Raises
    ------
    AccessError
        If the two differ, or nothing is piped in.
    """
    if options.generate:
        made = new_password()
        print(f"password of {options.name}: {made}")
        return made
    if sys.stdin.isatty():
        typed = getpass.getpass("Password: ")
        if typed != getpass.getpass("Again: "):
            raise AccessError("The two passwords differ. Nothing was changed.")
        return typed
    piped = sys.stdin.readline().rstrip("\r\n")
    if not piped:
        raise AccessError("There is no password on the standard input. Pipe one in, or use --generate.")
    return piped


def run_add(options: argparse.Namespace) -> int:
    """Make an account."""
    accounts = Accounts(_home(options))
    accounts.refuse_taken(options.name)
    is_first = not accounts.exist
    account = accounts.add(options.name, _asked_password(options), is_admin=options.admin)
    print(f"{account.name} may sign in{', and is an admin' if account.is_admin else ''}.")
    if is_first:
        print("From the next start of the server on, everybody has to sign in.")
    return 0


def run_password(options: argparse.Namespace) -> int:
    """Give an account another password."""
    accounts = Accounts(_home(options))
    if options.name not in accounts.all():
        raise AccessError(f"There is no account called {options.name[:80]!r}. `account list` shows those there are.")
    accounts.change_password(options.name, _asked_password(options))
    print(f"The password of {options.name} is another now; whoever was signed in has to sign in anew.")
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Take an account away."""
    home = _home(options)
    Accounts(home).remove(options.name)
    print(f"{options.name} may not sign in any more. What it made is in {home / keys.USERS_FOLDER / options.name}.")
    return 0


def run_priority(options: argparse.Namespace) -> int:
    """Let the jobs of an account go before those of others, or after them."""
    Accounts(_home(options)).set_priority(options.name, options.priority)
    print(f"The jobs of {options.name} have priority {options.priority} from now on.")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print the accounts, one a line."""
    home = _home(options)
    known = Accounts(home).all()
    for account in known.values():
        n_runs = len(list((home / keys.USERS_FOLDER / account.name / keys.RUNS_FOLDER).glob(f"*/{keys.CONFIG_FILE}")))
        print(f"{account.name}\t{'admin' if account.is_admin else 'user'}\t{n_runs} runs")
    if not known:
        print(f"There are no accounts in {home}.", file=sys.stderr)
    return 0
