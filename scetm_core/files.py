"""How are files written so that nobody ever reads half of one, and how are inputs told apart?"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

LIBRARIES = ("torch", "numpy", "scipy", "anndata", "scanpy", "umap-learn")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota left, file over the limit of its size
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_DRAFT = re.compile(r"\..+\.(\d+)-([0-9a-f]{8})-[0-9a-f]{12}\.draft(\.[\w.]+)?")
_LONGEST_WRITE = 86_400.0  # seconds without a change, after which a draft of another machine counts as given up


def write_atomically(path: Path, text: str) -> None:
    """Write beside, flush to the disk, rename: readers see the old text or the new one, never half of it."""
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write to, which takes its place at the end; after an error `path` is as it was.

    What was written counts once it is on the disk: file and folder are flushed, so that a power cut leaves the old
    file or the new one.
    """
    draft = draft_of(path)
    try:
        yield draft
        flush(draft)
        os.replace(draft, path)
        flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def draft_of(path: Path, *, ending: str = "") -> Path:
    """An unused name beside `path`, which says whose draft it is."""
    return path.with_name(f".{path.name[:50]}.{os.getpid()}-{_host()}-{uuid.uuid4().hex[:12]}.draft{ending}")


def _host() -> str:
    """Eight letters for this machine, or container: several may share a folder, and number their processes alike."""
    known = [socket.gethostname()]  # which another may have as well
    with contextlib.suppress(OSError):  # no Linux, or no such file
        known.append(str(os.stat("/proc/self/ns/pid").st_ino))
        known.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip())
    return hashlib.sha256("/".join(known).encode()).hexdigest()[:8]


def is_left_over(path: Path) -> bool:
    """Whether a file is the draft of a process that is gone: its writer was killed while at it.

    Processes of other machines cannot be looked at: theirs count as given up after a day without a change.
    """
    named = _DRAFT.fullmatch(path.name)
    if named is None:
        return False
    if named[2] != _host():
        with contextlib.suppress(FileNotFoundError):  # renamed just now
            return time.time() - path.stat().st_mtime > _LONGEST_WRITE
        return False
    try:
        os.kill(int(named[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # somebody else's process
        return False
    return int(named[1]) == 0


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete what killed writers have left in a folder; never what somebody is writing now."""
    gone = [path for path in folder.glob(".*.draft*") if is_left_over(path)]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def flush(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks cannot do that for folders
            raise
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
        reason = "the disk is full. Free some space, then try again" if is_disk_full(error) else error.strerror or error
        raise RunError(f"Cannot write {path.parent.name}/{path.name}: {reason}.") from error


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
    text = str(error)
    return error.errno in FULL or any(os.strerror(number) in text for number in FULL)


def system_error_in_words(error: OSError) -> str | None:
    """What a page says of a disk that does not take or give a file, and what to do; None for other errors."""
    where = f" ({error.filename})" if error.filename else ""
    if is_disk_full(error):
        return f"The disk is full{where}. Free some space, then try again; what was there before is kept."
    if error.errno in READ_ONLY:
        return (
            f"Nothing can be written here{where}: {error.strerror}. Looking works, keeping does not. Ask for the right "
            "to write there, or start the app with another folder (--home)."
        )
    if isinstance(error, FileNotFoundError):
        return f"A file or folder is gone{where}; it may have been deleted meanwhile. Reload the page."
    return None


def table_name(text: str) -> str:
    """A text as the name of a table: itself, if a file can be called so; else altered, with a mark of its own.

    Different texts have different names, so that no table is taken for another's.
    """
    plain = re.sub(r"[^A-Za-z0-9 ._()+=@,-]", "_", text).strip(" .")
    if plain == text and 0 < len(text) <= 120:
        return text
    mark = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{plain[:100].strip(' .') or '_'}-{mark}"
