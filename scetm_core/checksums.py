"""Is a file still what was written? SHA-256 of large files of a run, beside them in `checksums.json`.

A checksum is noted before the file takes its place, and the one before it is kept: whenever the writer is killed, the
file that lies there fits one of the two. Checkpoints and models carry theirs within (`model.storage`).
"""

from __future__ import annotations

import json
from pathlib import Path

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import sha256_of, write_atomically
from scetm_core.json_text import read_json


def note_checksum(folder: Path, name: str, draft: Path) -> None:
    """Remember the checksum of what is about to become the file `name` of a run's folder."""
    try:
        known = _read(folder)
    except RunError:  # damaged: written anew
        known = {}
    latest = known.get(name, [])[-1:]
    write_atomically(folder / keys.CHECKSUMS_FILE, json.dumps({**known, name: [*latest, sha256_of(draft)]}, indent=2))


def check_checksum(folder: Path, name: str) -> bool:
    """Read the whole file and compare it with what was noted; True if there is nothing to compare with.

    Raises
    ------
    RunError
        If the checksums or the file cannot be read.
    """
    noted = _read(folder).get(name)
    if not noted:  # written by an earlier version
        return True
    try:
        return sha256_of(folder / name) in noted
    except OSError as error:
        raise RunError(f"{name} of run {folder.name} cannot be read ({error.strerror or error}).") from error


def _read(folder: Path) -> dict[str, list[str]]:
    path = folder / keys.CHECKSUMS_FILE
    try:
        found = read_json(path) if path.exists() else {}
        return {str(name): [str(digest) for digest in digests] for name, digests in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunError(
            f"{keys.CHECKSUMS_FILE} of run {folder.name} cannot be read ({error}). Delete it: only checks need it."
        ) from error
