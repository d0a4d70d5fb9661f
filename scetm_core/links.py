"""Whose links does a path lead through? The app and its workers read, as one user, what many people put into folders.

A file is looked at when it is chosen and opened later, by a worker maybe days later. Meanwhile somebody who can write
to a shared folder could put a link in its place, to what another user has uploaded. So before files of a run are
opened, links count only if they were made by those who may read everything anyway: root, and the user who reads.
Colleagues' links within a data folder are followed when a file is chosen (`data.catalog`), and those that somebody
types when a command begins: what they lead to then is kept, and needs no link any more.

This refuses a link that is there when it is looked at. Who swaps a file in the very moment between the look and the
opening gets through; hard links are the system's to refuse (`fs.protected_hardlinks`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from scetm_core.errors import DataError, RunError
from scetm_core.runs import Run


def refuse_foreign_links_of(run: Run, *others: str) -> None:
    """Look at all files that a run reads, in a transfer at those of its source too, and at some others.

    Raises
    ------
    DataError
        As `refuse_foreign_links`.
    RunError
        If the settings of the run cannot be read.
    """
    config = run.config
    refuse_foreign_links(config.data.path, config.model.rho_gmt, config.model.rho_file, *others)
    if config.transfer is not None:
        refuse_foreign_links(config.transfer.orthologs, config.transfer.aliases)
        with contextlib.suppress(RunError):  # the source is gone: who needs it says so
            refuse_foreign_links_of(run.source)


def refuse_foreign_links(*paths: str | None) -> None:
    """Look at the way to some files; of a folder, at what is in it too.

    Raises
    ------
    DataError
        If it leads through a link of somebody else than root and the user who reads.
    """
    for path in filter(None, paths):
        for link in _links_on(Path(path).expanduser()):
            if link.lstat().st_uid not in _trusted():
                raise DataError(
                    f"{path} leads through the link {link}, which another user has made, so it is not followed. "
                    "Put the file itself there."
                )


def _trusted() -> set[int]:
    return {0, os.geteuid()} if hasattr(os, "geteuid") else {0}


def _links_on(path: Path) -> Iterator[Path]:
    """The links that opening a path follows, in their order; none if it cannot be opened."""
    try:
        inside = list(path.iterdir()) if path.resolve(strict=True).is_dir() else []
    except (OSError, RuntimeError):  # nothing there, or a loop of links: who opens it says so
        return
    yield from _links_to(path)
    for child in inside:
        if child.is_symlink():
            yield from _links_to(child)


def _links_to(path: Path) -> Iterator[Path]:
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            yield part
            yield from _links_to(part.parent / os.readlink(part))
