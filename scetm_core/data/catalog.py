"""Which files may the app show? Named root folders, and nothing outside them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scetm_core.data.formats import HDF5_ENDINGS, TABLE_ENDINGS
from scetm_core.data.tenx import matrix_file
from scetm_core.errors import DataError

MAX_DEPTH = 3
MAX_FILES = 2000
_MAX_ENTRIES = 50_000  # folder entries looked at per root
DATA_ENDINGS = (*HDF5_ENDINGS, *TABLE_ENDINGS)
GENE_SET_ENDINGS = (".gmt",)
MARKER_ENDINGS = (".tsv", ".csv", ".txt")  # tables of markers
NAMES_ENDINGS = (".tsv", ".csv", ".txt")  # tables of orthologs and aliases
EMBEDDING_ENDINGS = (".csv", ".tsv", ".npz", ".h5ad")
ALL_ENDINGS = (*DATA_ENDINGS, *GENE_SET_ENDINGS, *MARKER_ENDINGS, *EMBEDDING_ENDINGS)
UPLOAD_ENDINGS = (*DATA_ENDINGS, *GENE_SET_ENDINGS, ".npz")
_UPLOAD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+=@,-]{0,199}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\..*)?", re.IGNORECASE)  # Windows writes these to devices


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """One input that can be chosen.

    Attributes
    ----------
    ref
        ``"root/relative/path"``: what a URL or a form holds instead of a path of the machine.
    size
        Bytes; of a folder, of its files.
    modified
        Seconds since 1970.
    """

    ref: str
    name: str
    root: str
    size: int
    modified: float


class Catalog:
    """The inputs under some named folders.

    Parameters
    ----------
    roots
        Name -> folder, e.g. ``{"demo": home / "demo"}``. A folder that does not exist (yet) shows no files.

    Raises
    ------
    DataError
        If a name is empty or holds a slash.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        for name in roots:
            if not name or "/" in name or "\\" in name or name.startswith("."):
                raise DataError(f"{name!r} cannot name a data folder. Use letters and digits.")
        self.roots = {name: Path(folder).expanduser().resolve() for name, folder in roots.items()}

    def files(self, endings: tuple[str, ...] = DATA_ENDINGS) -> list[DatasetFile]:
        """All readable inputs, root by root, by name; at most `MAX_FILES`, `MAX_DEPTH` folders deep.

        A .zarr and a 10x folder are one entry. Hidden files, links that leave the root, and names that cannot be
        shown (control characters, bytes that are no text) are passed over.

        Parameters
        ----------
        endings
            Of the files; folders are listed with data sets only.
        """
        found: list[DatasetFile] = []
        for root, folder in self.roots.items():
            budget = [_MAX_ENTRIES]
            for path in _inputs(folder, folder, MAX_DEPTH, budget, endings):
                if len(found) >= MAX_FILES:
                    return found
                try:
                    size, modified = _size_and_time(path)
                except OSError:
                    continue  # gone meanwhile, or not ours to read
                relative = path.relative_to(folder).as_posix()
                found.append(
                    DatasetFile(ref=f"{root}/{relative}", name=path.name, root=root, size=size, modified=modified)
                )
        return found

    def resolve(self, ref: str) -> Path:
        """The path behind a `ref`, with links followed: what was looked at is what will be read (`links`).

        A link whose ending tells more than that of its target, as data managers make them, stays.

        Raises
        ------
        DataError
            If it leads outside its root (``..``, an absolute path, a link), names no root, or nothing is there.
        """
        if not isinstance(ref, str):
            raise DataError(f"{str(ref)[:80]!r} does not name a file. Pick one from the list.")
        root, _, relative = ref.partition("/")
        parts = relative.split("/")
        if root not in self.roots:
            raise DataError(f"There is no data folder called {root[:80]!r}; known: {list(self.roots)}.")
        if "\0" in ref or "\\" in ref or any(part.startswith(".") or not part for part in parts):
            raise DataError(f"{ref[:200]!r} leads outside the data folder. Pick a file from the list.")
        folder = self.roots[root]
        path = folder.joinpath(*parts)
        try:
            target, there = path.resolve(), path.exists()
            inside = target.is_relative_to(folder)
            inside = inside and (not path.is_dir() or all(_is_inside(child, folder) for child in path.iterdir()))
        except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, no text
            raise DataError(
                f"{ref[:200]!r} cannot be looked up: {getattr(error, 'strerror', None) or error}."
            ) from error
        if not inside:
            raise DataError(f"{ref[:200]!r} leads outside the data folder. Pick a file from the list.")
        if not there:
            raise DataError(f"There is no file {ref[:200]!r}. It may have been moved or deleted.")
        return target if _ending_of(target) == _ending_of(path) else path


def safe_upload_name(name: str, endings: tuple[str, ...] = UPLOAD_ENDINGS) -> str:
    """The name, if an uploaded file may be stored under it.

    Parameters
    ----------
    endings
        Those allowed.

    Raises
    ------
    DataError
        If it is more than a plain file name, or its ending is not one that can be read.
    """
    if not _UPLOAD_NAME.fullmatch(name) or ".." in name or _RESERVED.fullmatch(name):
        raise DataError(f"{name[:200]!r} cannot be a file name here. Use letters, digits, spaces, dots and dashes.")
    if not name.lower().endswith(endings):
        raise DataError(f"{name[:200]!r} has an ending that cannot be read. Allowed: {', '.join(endings)}.")
    return name


def _ending_of(path: Path) -> str:
    """By which a file is known; empty for folders, which are known by what is in them."""
    name = path.name.lower()
    return max((ending for ending in ALL_ENDINGS if name.endswith(ending)), key=len, default="")


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _can_be_shown(name: str) -> bool:
    """Whether a file's name is text without control characters; bytes that are none are halves of letters here."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def _is_linked_well(path: Path, root: Path) -> bool:
    try:
        return _is_inside(path, root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _inputs(folder: Path, root: Path, depth: int, budget: list[int], endings: tuple[str, ...]) -> Iterator[Path]:
    """Readable inputs under a folder, in the order of their names."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # shown as empty: the folder of uploads is made with the first upload
    for name in names:
        budget[0] -= 1
        path = folder / name
        if budget[0] < 0 or name.startswith(".") or not _can_be_shown(name) or not _is_linked_well(path, root):
            continue
        if path.is_dir():
            if name.lower().endswith(".zarr") or matrix_file(path):
                if endings == DATA_ENDINGS:
                    yield path
            elif depth > 1 and not path.is_symlink():
                yield from _inputs(path, root, depth - 1, budget, endings)
        elif path.is_file() and name.lower().endswith(endings):
            yield path


def _size_and_time(path: Path) -> tuple[int, float]:
    about = path.stat()
    if not path.is_dir():
        return about.st_size, about.st_mtime
    sizes = [entry.stat().st_size for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink()]
    return sum(sizes), about.st_mtime
