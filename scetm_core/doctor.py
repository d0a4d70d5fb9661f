"""What is wrong in a home, and what of it can be mended without losing anything?

``python -m scetm_core doctor HOME [--mend] [--json]``. Without ``--mend`` nothing is written. With it, what is broken
is put aside into a folder `damaged` beside it, never deleted; only drafts of processes that are gone are removed. Runs
and tasks that somebody is working on are left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from scetm_core import keys
from scetm_core.doctor_run import examine_drafts, examine_run
from scetm_core.errors import RunError
from scetm_core.findings import NOTE, Finding, Findings
from scetm_core.json_text import read_json

SPARE = 200 << 20  # bytes; with less free, little can be done
USERS_FOLDER = "users"
READ_AS_HDF5 = (".h5ad", ".h5", ".h5mu")
WRITTEN = (keys.RUNS_FOLDER, keys.UPLOADS_FOLDER, keys.GENE_SETS_FOLDER, keys.NAMES_FOLDER, keys.CACHE_FOLDER)


def examine(home: Path, *, mend: bool = False) -> list[Finding]:
    """Look at all that lies in a home, and in those of its users.

    Parameters
    ----------
    mend
        Mend what can be mended safely.

    Raises
    ------
    RunError
        If there is no such folder, or it is no home.
    """
    if not home.is_dir():
        raise RunError(f"There is no folder {home}.")
    if not (home / keys.RUNS_FOLDER).is_dir() and not (home / USERS_FOLDER).is_dir():
        raise RunError(f"{home} is no home of scETM Studio: it holds no folder {keys.RUNS_FOLDER}.")
    found = Findings(home, mend=mend)
    _examine_disk(home, found)
    for part in [home, *_folders_in(home / USERS_FOLDER)]:
        _examine_files(part, found)
        _examine_runs(part / keys.RUNS_FOLDER, found)
        _examine_cache(part / keys.CACHE_FOLDER, found)
    return found.listed


def _folders_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _examine_disk(home: Path, found: Findings) -> None:
    if not os.access(home, os.W_OK):
        found.add(home, "nothing can be written here", advice="Ask for the right to write, or take another --home.")
    free = shutil.disk_usage(home).free
    if free < SPARE:
        found.add(home, f"{free / 1e6:.0f} MB are free on its disk", advice="Free some space.")


def _examine_files(home: Path, found: Findings) -> None:
    """Uploads and other files of the user's own: whole, readable, without leftovers."""
    for name in WRITTEN:
        folder = home / name
        if folder.is_dir() and os.access(home, os.W_OK) and not os.access(folder, os.W_OK | os.X_OK):
            found.add(folder, "nothing can be written here", advice="Ask for the right to write there.")
    for folder in (home, *(home / name for name in (*WRITTEN, keys.DEMO_FOLDER))):
        if folder.is_dir():
            examine_drafts(folder, found)
    for path in _visible_files(home / keys.UPLOADS_FOLDER):
        if problem := _problem_of_upload(path):
            found.add(path, problem, advice="Upload it again under another name.")
    with contextlib.suppress(FileNotFoundError):
        _check_json(home / "accounts.json", found)


def _visible_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))


def _problem_of_upload(path: Path) -> str:
    if not path.stat().st_size:
        return "it is empty"
    if path.suffix in READ_AS_HDF5:
        import h5py

        try:
            h5py.File(path, "r").close()
        except OSError as error:
            return f"it cannot be read ({error})"
    return ""


def _check_json(path: Path, found: Findings) -> None:
    try:
        read_json(path)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        found.add(path, f"it cannot be read ({error})", advice="Put a copy back.")


def _examine_runs(folder: Path, found: Findings) -> None:
    for path in _folders_in(folder):
        if path.name == keys.DAMAGED_FOLDER:
            continue
        if not (path / keys.CONFIG_FILE).is_file():
            found.add(path, f"it holds no {keys.CONFIG_FILE}, so it is no run", advice="Move it away, or delete it.")
            continue
        examine_run(path, found)


def _examine_cache(folder: Path, found: Findings) -> None:
    """The store of the server's background callbacks; it holds nothing that lasts."""
    database = folder / "callbacks" / "cache.db"
    if not database.is_file():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            verdict = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        advice = "Stop the server and delete the folder: it is only a cache."
        found.add(database, f"it is damaged ({verdict})", advice=advice)


# ---- command line -------------------------------------------------------------------------------------------------


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer the command."""
    doctor = commands.add_parser("doctor", help="what is wrong in a home, and what of it can be mended?")
    doctor.add_argument("home", type=Path, metavar="HOME", help="the folder that the app is given with --home")
    doctor.add_argument("--mend", action="store_true", help="mend what can be mended without losing anything")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Print what was found, one line each; exit status 1 if something is wrong that was not mended."""
    found = examine(options.home.expanduser().resolve(), mend=options.mend)
    if options.json:
        print(json.dumps([finding.to_dict() for finding in found], indent=2))
    else:
        print("\n".join(in_lines(found)))
    return int(any(finding.is_open for finding in found))


def in_lines(found: Iterable[Finding]) -> list[str]:
    """The findings as a terminal shows them, and a sum."""
    found = list(found)
    wrong = [finding for finding in found if finding.level != NOTE]
    mended = sum(bool(finding.mended) for finding in wrong)
    if not wrong:
        end = "Nothing is wrong."
    elif mended:
        end = f"{len(wrong)} found, {mended} mended."
    else:
        end = f"{len(wrong)} found. Nothing was changed; --mend mends what can be mended safely."
    return [*(finding.in_words() for finding in found), end]
