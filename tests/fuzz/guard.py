"""Did reading one input do anything but read it? Time, memory, files, foreign code and other folders are watched."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from scetm_core.data.lzf import unpacked_length
from scetm_core.errors import ScetmError

SECONDS = 20
MEMORY = 1_500_000_000
"""Bytes of address space that reading one input may take on top of what the process has."""

_FORBIDDEN = (
    "pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree",
)  # fmt: skip
_KNOWN = tuple(
    os.path.realpath(path)
    for path in (
        sys.prefix,
        sys.base_prefix,
        "/usr",
        "/proc",
        "/sys",
        "/dev",
        "/etc/mime.types",
        "/etc/machine-id",
        Path.cwd(),
    )
)


class Escaped(BaseException):
    """Something came out, or happened, that must not."""


class _Watch:
    """What Python does between `start` and `stop`, by its audit events; hooks cannot be taken away again."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self.note)

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event in _FORBIDDEN:
            if not (event.startswith("os.") and args and not _is_outside(args[0], self.allowed)):
                self.seen.append(f"{event} {str(args)[:200]}")
        elif event == "open" and isinstance(args[0], (str, bytes)) and _is_outside(args[0], (*self.allowed, *_KNOWN)):
            self.seen.append(f"open {args[0]!r}")


def _is_outside(path: Any, allowed: tuple[str, ...]) -> bool:
    try:
        real = os.path.realpath(os.fsdecode(path))
    except (TypeError, ValueError):
        return False
    return not any(real == root or real.startswith(f"{root}/") for root in allowed)


_watch: list[_Watch] = []


@contextlib.contextmanager
def watched(box: Path, *, also: tuple[Path, ...] = (), memory: int = MEMORY) -> Iterator[None]:
    """Run the body, which reads something in `box`; raises `Escaped` if anything else happens there."""
    if not _watch:
        unpacked_length(np.frombuffer(b"0", dtype=np.uint8), 1)  # numba reads and writes its own cache
        _watch.append(_Watch())
    watch = _watch[0]
    before = _files_in(box)
    watch.allowed, watch.seen = (os.path.realpath(box), *(os.path.realpath(path) for path in also)), []
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, _late)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory, old_limit[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    watch.is_on = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        watch.is_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old_handler)
        resource.setrlimit(resource.RLIMIT_AS, old_limit)
    if watch.seen:
        raise Escaped("; ".join(dict.fromkeys(watch.seen)))
    if left := _files_in(box) ^ before:
        raise Escaped(f"files changed: {sorted(left)[:5]}")


def judge(read: Callable[[Path], object], path: Path, box: Path, *, also: tuple[Path, ...] = ()) -> str:
    """``"accepted"``, or ``"refused"`` where an error of ours came out.

    Raises
    ------
    Escaped
        If anything else did.
    """
    with watched(box, also=also):
        try:
            read(path)
        except ScetmError as error:
            if has_taken_memory(error):
                raise Escaped(f"memory: {error}") from error
            if not 20 <= len(str(error)) <= 4000:
                raise Escaped(f"a message of {len(str(error))} letters: {str(error)[:300]}") from error
            return "refused"
        except Exception as error:
            raise Escaped(f"{type(error).__name__}: {str(error)[:300]}") from error
    return "accepted"


def has_taken_memory(error: ScetmError) -> bool:
    """Whether it was memory that was wanting, and not only asked for.

    numcodecs wants places for as many texts as a chunk claims, and fills none without looking at what there is.
    """
    if not isinstance(error.__cause__, MemoryError):
        return False
    return not traceback.extract_tb(error.__cause__.__traceback__)[-1].filename.endswith("numcodecs/vlen.pyx")


def _late(number: int, frame: FrameType | None) -> None:
    raise Escaped(f"no answer within {SECONDS} s")


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _files_in(folder: Path) -> set[tuple[str, int]]:
    found = set()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            about = os.lstat(path)
            found.add((path, about.st_mtime_ns if name in files else 0))
    return found
