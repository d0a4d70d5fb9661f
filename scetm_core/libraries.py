"""Which libraries of gene sets are there by name? Lists and fetches them where there is a network, when asked to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from scetm_core.errors import DataError
from scetm_core.files import write_atomically

ORGANISMS = ("Human", "Mouse", "Fish", "Fly", "Worm", "Yeast")
LIST_SECONDS = 8.0  # until a list that does not come is given up
FETCH_SECONDS = 120.0

_UPLOAD = "Use a file of gene sets instead: a .gmt, or a marker table."
T = TypeVar("T")


def list_libraries(organism: str = "Human") -> list[str]:
    """Names of the gene-set libraries for an organism, one of `ORGANISMS`, sorted.

    Raises
    ------
    DataError
        If no network is reached within eight seconds, gseapy is not installed, or the organism is unknown.
    """
    _check_organism(organism)
    parser = _gseapy_parser()
    return sorted(_within(LIST_SECONDS, lambda: parser.get_library_name(organism=organism)))


def fetch_library(name: str, folder: Path, *, organism: str = "Human") -> Path:
    """A gene-set library as a .gmt in a folder; one that is there is not fetched again.

    Raises
    ------
    DataError
        As `list_libraries`; also if there is no library of that name or the folder cannot be written.
    """
    _check_organism(organism)
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise DataError(f"{name!r} is no name of a gene-set library. Pick one of the list.")
    path = Path(folder) / f"{name}.{organism.lower()}.gmt"
    if path.is_file():
        return path
    if name not in (names := list_libraries(organism)):
        near = [other for other in names if other.lower()[:4] == name.lower()[:4]][:5] or names[:5]
        raise DataError(f"There is no gene-set library {name!r} for {organism}. Near it: {near}.")
    parser = _gseapy_parser()
    found = _within(FETCH_SECONDS, lambda: parser.download_library(name, organism=organism))
    lines = [
        "\t".join([" ".join(title.split()), name, *(" ".join(gene.split()) for gene in genes)])
        for title, genes in found.items()
        if title.strip() and genes
    ]
    if not lines:
        raise DataError(f"The gene-set library {name!r} came without any set. {_UPLOAD}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise DataError(
            f"Cannot write the gene sets to {path}: {error.strerror or error}. "
            "Check the permissions and the free space there."
        ) from error
    return path


def _check_organism(organism: str) -> None:
    if organism not in ORGANISMS:
        raise DataError(f"There are no gene-set libraries for {organism!r}. Pick one of: {list(ORGANISMS)}.")


def _gseapy_parser() -> Any:
    try:
        from gseapy import parser
    except ImportError as error:
        raise DataError(
            f"Fetching gene-set libraries needs the package gseapy. Install it: pip install gseapy. {_UPLOAD}"
        ) from error
    return parser


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer of `ask`, which may try again and again on its own: it is left behind after some seconds."""
    answers: list[T] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # whatever it is, it is told by the thread that waits
            failures.append(error)

    thread = threading.Thread(target=work, name="gene-set libraries", daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    if not failures or isinstance(failures[0], (OSError, EOFError)):
        cause = f"no answer within {seconds:g} s" if not failures else type(failures[0]).__name__
        raise DataError(
            f"The gene-set libraries were not reached: no network, or their server is down ({cause}). {_UPLOAD}"
        ) from (failures[0] if failures else None)
    raise DataError(f"The gene-set libraries gave no usable answer ({failures[0]}). {_UPLOAD}") from failures[0]
