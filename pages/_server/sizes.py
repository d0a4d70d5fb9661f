"""How much disk do the folders of a home take, and whose are they? Measured aside, at most once a minute."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from scetm_core import keys

SECONDS = 60.0
PATIENCE = 0.3  # seconds that a page waits for the first measurement
OTHERS = "other"
FOLDERS = (
    keys.RUNS_FOLDER, keys.UPLOADS_FOLDER, keys.DEMO_FOLDER, keys.GENE_SETS_FOLDER, keys.NAMES_FOLDER,
    keys.CACHE_FOLDER, keys.LOGS_FOLDER,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of a home and its parts."""

    by_folder: dict[str, int]
    """Of everybody's runs, uploads and so on."""
    by_user: dict[str, int]
    """Of the home of each account; of the server's own home under ""."""
    by_run: dict[tuple[str, str], int]
    """By account ("" without) and run."""
    n_uploads: int

    @property
    def total(self) -> int:
        """Bytes of all."""
        return sum(self.by_folder.values())


def measure(home: Path) -> Sizes:
    """Walk through a home. What vanishes meanwhile is left out; links are not followed."""
    by_folder, by_user, by_run = dict.fromkeys((*FOLDERS, OTHERS), 0), {"": 0}, {}
    n_uploads = 0
    homes = {"": home, **{path.name: path for path in _entries(home / keys.USERS_FOLDER) if path.is_dir()}}
    for user, root in homes.items():
        by_user[user] = 0
        for path in _entries(root):
            if path == home / keys.USERS_FOLDER:
                continue
            size, name = size_of(path), path.name if path.name in FOLDERS else OTHERS
            by_folder[name] += size
            by_user[user] += size
            if name == keys.UPLOADS_FOLDER:
                n_uploads += sum(not entry.name.startswith(".") for entry in _entries(path))
            elif name == keys.RUNS_FOLDER:
                by_run.update({(user, run.name): size_of(run) for run in _entries(path) if run.is_dir()})
    return Sizes(by_folder=by_folder, by_user=by_user, by_run=by_run, n_uploads=n_uploads)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # not there, or no longer
        return []


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        total, folders = 0, [os.fspath(path)]
    except OSError:
        return 0
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # deleted meanwhile
            continue
    return total


class Measured:
    """The sizes of a home, as they were last measured."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._home, self._at, self._last = Path(), 0.0, None  # type: tuple[Path, float, Sizes | None]
        self._work: threading.Thread | None = None

    def of(self, home: Path, *, patience: float = 0.0) -> Sizes | None:
        """The last measurement; None if there is none yet. An old one is renewed aside."""
        with self._lock:
            if home != self._home:
                self._home, self._at, self._last = home, 0.0, None
            is_idle = self._work is None or not self._work.is_alive()
            if is_idle and time.monotonic() - self._at > SECONDS:
                self._work = threading.Thread(target=self._measure, args=(home,), daemon=True, name="sizes")
                self._work.start()
            work = self._work
        if self._last is None and work is not None:
            work.join(patience)
        return self._last

    def _measure(self, home: Path) -> None:
        found = measure(home)
        with self._lock:
            if home == self._home:
                self._at, self._last = time.monotonic(), found


measured = Measured()
