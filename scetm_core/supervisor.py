"""How did a worker end that could not say so itself? Waits for it, and writes into its folder what the system tells.

Started as ``python -m scetm_core.supervisor FOLDER COMMAND...`` by `jobs.spawn`. A worker is nobody's child but
this small process's, so its exit status is seen by somebody, and want of memory is told from a signal of somebody
else's. If the supervisor is killed as well, or the computer is switched off, the job shows as lost, as before.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

import filelock

from scetm_core import keys, processes
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED, JobFolder

SAMPLE_SECONDS = 5.0  # between two looks at how often the system has killed for want of memory
ROOM = 1 << 20  # bytes; with less free, a worker could not even write why it ended

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")

ADVICE = "Use fewer genes, a smaller minibatch or fewer topics, or close other programs"
CRASHES = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")

log = logging.getLogger("scetm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """How a process ended: its exit status or signal, and whether memory was exhausted then."""

    code: int  # exit status; minus the signal's number, if one ended it
    peak_bytes: int
    oom_killed: bool


def supervise(job: JobFolder, command: list[str]) -> End:
    """Run a worker to its end; if that leaves the status of its job unfinished, write there how it ended."""
    queued_at = job.status().queued_at  # says so if the folder is gone already
    end, pid = run_to_end(command)
    try:
        if processes.is_launcher(command):  # the worker was its child
            pid = job.status().pid or pid
        report_end(job, end, pid=pid, queued_at=queued_at)
    except RunError as error:
        if job.path.is_dir():
            log.error("%s", error)  # it will show as lost
    return end


def run_to_end(command: list[str], *, output: BinaryIO | None = None) -> tuple[End, int]:
    """Run a worker to its end; how it ended, and its number.

    Parameters
    ----------
    output
        Where it writes to, in a session of its own; otherwise where this process does.
    """
    watch = _MemoryWatch()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=Path(__file__).parent.parent,
        start_new_session=output is not None,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # reaped here: wait4 alone tells the peak of a killed one
    unit = 1 if sys.platform == "darwin" else 1024
    end = End(code=process.returncode, peak_bytes=usage.ru_maxrss * unit, oom_killed=watch.has_killed())
    return end, process.pid


def report_end(job: JobFolder, end: End, *, pid: int, queued_at: float) -> None:
    """Write how a worker ended, unless it has said so itself, or another one is at work or was started since.

    Raises
    ------
    RunError
        If the status can be neither read nor written, e.g. because the folder was deleted.
    """
    job.status()  # before the lock, which would be a new file
    try:
        with filelock.FileLock(job.lock_path, blocking=False):
            status = job.status()
            never_began = status.pid is None and status.queued_at == queued_at
            if status.state in FINISHED or not (never_began or status.pid == pid):
                return
            message = in_words(end, job)
            log.error("%s", message)
            ended = {"state": "failed", "message": message, "eta_seconds": None, "finished_at": time.time()}
            job.write_status(dataclasses.replace(status, **ended))  # type: ignore[arg-type]
    except filelock.Timeout:
        log.warning("Another process works on %s %s.", job.noun, job.id)
    except OSError as error:
        raise RunError(f"Cannot write how {job.noun} {job.id} ended: {error.strerror or error}.") from error


def in_words(end: End, job: JobFolder) -> str:
    """What a page says of the end of a worker, and the way on."""
    is_run = (job.path / keys.CONFIG_FILE).is_file()
    way_on = "resume; it goes on from the last checkpoint." if is_run else "start it again; nothing else is lost."
    if end.oom_killed and end.code == -signal.SIGKILL:
        used = f"it used {end.peak_bytes / 1e9:.1f} of {memory_limit() / 1e9:.1f} GB"
        return f"The worker was stopped by the system for want of memory ({used}). {ADVICE}; then {way_on}"
    if end.code >= 0:
        if shutil.disk_usage(job.path).free < ROOM:
            return f"The disk is full: the worker could not even write that. Free some space, then {way_on}"
        return (
            f"The worker ended before it could say why (exit status {end.code}). The log has the details; if they do "
            f"not help, {way_on}"
        )
    name = _signal_name(-end.code)
    if name in CRASHES:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        hint = "" if limit == resource.RLIM_INFINITY else f" Memory is limited to {limit / 1e9:.1f} GB here. {ADVICE}."
        return f"The worker crashed ({name}).{hint} Look at the log, then {way_on}"
    by_whom = "somebody, or the system, ended its process" if name == "SIGKILL" else "its process was told to end"
    return f"The worker was killed (signal {-end.code}, {name}): {by_whom}. To go on, {way_on}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals only the first and the last have names
        return f"signal {number}"


def memory_limit() -> int:
    """Bytes that a process may have here: what the machine has, or the control group allows."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _memory_groups():
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in re.findall(r"^\d+$", _text(folder / name), re.MULTILINE)]
    return min(limits)


def oom_kills() -> tuple[int, ...]:
    """How often the kernel has killed for want of memory: in the control groups of this process, and at all."""
    texts = [_text(folder / name) for folder in _memory_groups() for name in ("memory.events", "memory.oom_control")]
    return tuple(
        int(number)
        for text in [*texts, _text(PROC / "vmstat")]
        for number in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE)
    )


def _memory_groups() -> list[Path]:
    """Folders of the control group of this process, of both versions; the groups' roots, as a container sees them."""
    folders = []
    for line in _text(PROC / "self" / "cgroup").splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            folders += [root / inside.strip("/"), *([root] if inside != "/" else [])]
    return folders


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # no Linux, the other version of control groups, or none
        return ""


class _MemoryWatch:
    """Tells whether the kernel has killed for want of memory lately: in the last two samples, not hours ago."""

    def __init__(self) -> None:
        self._samples = deque([oom_kills()], maxlen=2)
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)
            self._samples.append(oom_kills())

    def has_killed(self) -> bool:
        return oom_kills() != self._samples[0]


def main(arguments: list[str] | None = None) -> int:
    """Entry of the supervising process; its exit status is the worker's."""
    folder, *command = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    try:
        end = supervise(JobFolder(folder), command)
    except RunError as error:
        log.error("%s", error)
        return 1
    return end.code if end.code >= 0 else 128 - end.code


if __name__ == "__main__":
    sys.exit(main())
