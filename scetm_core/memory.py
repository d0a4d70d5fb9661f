"""How much memory has this process held at most, and how is it kept from holding more than it needs?"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

M_ARENA_MAX = -8  # of glibc's malloc.h


def peak_memory_mb() -> float | None:
    """Peak of the resident memory of this process, in MB; None where the system does not tell (Windows).

    On Linux from the process's own status: the figure of `getrusage` there begins with what the parent held when it
    started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, else kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def keep_heap_compact() -> None:
    """Let all threads of this process share two heaps, where the C library is glibc; elsewhere nothing happens.

    By default each thread may open its own, and what one has freed no other can use: a server with 16 threads held
    600 MB where 360 were enough.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)
