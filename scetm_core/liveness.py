"""Does the worker of a job still live? Its process is looked up; one that cannot be seen is known by its heartbeat.

A process can be seen from its own machine, unless a container lies between. It has ended if the machine was started
anew since then.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from pathlib import Path

import psutil

from scetm_core.jobfolder import Status

START_SECONDS = 120.0
"""A queued job may take this long to be picked up before it counts as lost."""
STALE_SECONDS = 120.0
"""A worker elsewhere, whose process cannot be seen, counts as lost if its heart has not beaten for so long: by the
clock of who looks, since clocks of machines differ."""
LOOK_SECONDS = 15.0
"""What the time between two looks counts at most: who could not look, because the disk was away, saw no silence."""
WORLDS_APART = 3600.0
"""By which clocks of machines hardly differ: a heartbeat so old at the first look is shown as lost at once."""


def identity() -> dict[str, object]:
    """Who this process is, for `status.json`: a process number alone may be given to another process later."""
    process = psutil.Process()
    return {
        "pid": process.pid,
        "pid_started": process.create_time(),
        "pid_key": _process_key(process.pid),
        "host": socket.gethostname(),
    }


def _process_key(pid: int) -> str:
    """What tells a process from all others whatever the clock says: its world, its start since the boot; Linux only."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system, or no such process
        return ""
    started = stat.rpartition(")")[2].split()[19]  # 22nd field, and the name, the 2nd, may hold anything
    return f"{_world()}/{started}"


def _world() -> str:
    """Within what a process number means something, ``BOOT.CONTAINER.MACHINE``: names may be another's too."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}.{_machine()}"
    except OSError:
        return ""


def _machine() -> str:
    """What the system calls this machine, the same after a boot; empty in most containers."""
    try:
        return Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def is_alive(status: Status) -> bool:
    """Whether the worker that wrote `status` still runs. A dead child nobody waited for counts as dead.

    Setting the clock changes nothing. A worker whose process cannot be seen is watched from the first look on.
    """
    if status.pid is None:
        return abs(time.time() - status.queued_at) < START_SECONDS
    if _is_of_earlier_boot(status):
        return False
    if _is_elsewhere(status):
        return _watch(status).silence < STALE_SECONDS
    try:
        process = psutil.Process(status.pid)
        if status.pid_key:
            is_same = status.pid_key == _process_key(status.pid)
        else:  # no Linux, or written by an earlier version
            is_same = abs(process.create_time() - (status.pid_started or 0.0)) < 1.0
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def looks_alive(status: Status) -> bool:
    """What people are told: `is_alive`, but a worker elsewhere whose heartbeat is hours old is lost at the first look.

    Its clock may be wrong, so nothing may be taken from it because of this.
    """
    if not is_alive(status):
        return False
    is_old = status.pid is not None and abs(time.time() - status.heartbeat) > WORLDS_APART
    return not (is_old and _is_elsewhere(status) and not _watch(status).has_beaten)


def _is_of_earlier_boot(status: Status) -> bool:
    """Whether a worker ran on this very machine, by its name and by what the system calls it, before it was started."""
    theirs, ours = (world.split(".") for world in (status.pid_key.rpartition("/")[0], _world()))
    is_same_machine = (
        len(theirs) == len(ours) == 3 and theirs[2] == ours[2] != "" and status.host == socket.gethostname()
    )
    return is_same_machine and theirs[0] != ours[0]


def _is_elsewhere(status: Status) -> bool:
    """Whether a worker belongs to another machine, or container, also one of the same name."""
    is_of_another_world = status.pid_key != "" and status.pid_key.rpartition("/")[0] != _world()
    return is_of_another_world or status.host != socket.gethostname()


@dataclasses.dataclass
class _Watched:
    """A worker elsewhere, as it was at the last look."""

    heartbeat: float
    looked_at: float
    silence: float = 0.0
    """Seconds without a beat, as far as somebody looked."""
    has_beaten: bool = False
    """Since the first look, or the last one after a long while."""


_seen: dict[tuple[object, ...], _Watched] = {}
_looking = threading.Lock()


def _watch(status: Status) -> _Watched:
    """Look whether the heartbeat of a worker elsewhere has changed."""
    worker, now = (status.host, status.pid, status.pid_key or status.pid_started), time.monotonic()
    with _looking:
        watched = _seen.pop(worker, None) or _Watched(status.heartbeat, now)
        if watched.heartbeat != status.heartbeat:
            watched = _Watched(status.heartbeat, now, has_beaten=True)
        else:
            gap = now - watched.looked_at
            watched.has_beaten = watched.has_beaten and gap < STALE_SECONDS
            watched.silence += min(gap, LOOK_SECONDS)
            watched.looked_at = now
        _seen[worker] = watched  # the last seen last
        while len(_seen) > 1000:
            _seen.pop(next(iter(_seen)))
    return watched
