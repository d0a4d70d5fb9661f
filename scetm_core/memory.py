"""How much memory has this process held at most?"""

from __future__ import annotations

import sys
from pathlib import Path


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
