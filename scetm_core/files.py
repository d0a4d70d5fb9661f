"""How are files written so that nobody ever reads half of one, and how are inputs told apart?"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

LIBRARIES = ("torch", "numpy", "scipy", "anndata", "scanpy", "umap-learn")


def write_atomically(path: Path, text: str) -> None:
    """Write beside, flush to the disk, rename: readers see the old text or the new one, never half of it."""
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write to, which takes its place at the end; after an error `path` is as it was."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as parquet beside, then rename; an earlier one stays until then.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    try:
        with replacing(path) as draft:
            table.to_parquet(draft)
    except OSError as error:
        raise RunError(f"Cannot write {path.parent.name}/{path.name}: {error.strerror or error}.") from error


def scores_as_json(scores: Mapping[str, Any]) -> str:
    """JSON text of scores; JSON knows no not-a-number, so it becomes null."""
    return json.dumps({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in scores.items()}, indent=2)


def checked_scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores as read, refused with a ValueError if one is no number (or null), or a finding has no message."""
    for name, score in scores.items():
        good = isinstance(score, (int, float, type(None)))
        if name == "findings":
            listed = score if isinstance(score, list) else [score]
            good = all(isinstance(found, dict) and isinstance(found.get("message"), str) for found in listed)
        if not good:
            raise ValueError(f"{name[:40]!r} is {str(score)[:40]!r}")
    return scores


def describe_input(path: Path) -> dict[str, Any]:
    """Path, size in bytes and SHA-256 of an input file; of a folder, over its files' names and contents.

    Raises
    ------
    RunError
        If the input cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
    except OSError as error:
        raise RunError(f"The input {path} cannot be read: {error.strerror or error}.") from error
    return {"path": str(path.resolve()), "size": size, "sha256": digest.hexdigest()}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of space; h5py says so in its text only."""
    return error.errno == errno.ENOSPC or "No space left" in str(error)
