"""How does a worker tell where it stands? It writes the status of its folder, and looks for the cancel marker."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Self

from scetm_core import liveness, processes
from scetm_core.errors import RunError, ScetmError
from scetm_core.files import is_disk_full
from scetm_core.jobfolder import JobFolder, Status

HEARTBEAT_SECONDS = 5.0
HEED_SECONDS = 600.0
"""Processes that train together may hang in each other. So long after a cancel that none has heeded they are ended."""
OUT_OF_MEMORY = ("not enough memory", "out of memory", "allocate memory")  # of torch, CUDA and the system

log = logging.getLogger("scetm")


class Cancelled(Exception):
    """Somebody asked for a stop; what is done so far is kept."""


class Superseded(Exception):
    """Another worker has the job: this one was taken for lost, e.g. because its machine was cut off for a while."""


class Reporter:
    """Writes the status of a job, and keeps its heartbeat going during long stages."""

    def __init__(self, job: JobFolder, on_change: Callable[[Status], None] | None = None) -> None:
        self.job, self.on_change = job, on_change
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._status = dataclasses.replace(job.status(), **liveness.identity())  # type: ignore[arg-type]
        self._beat = threading.Thread(target=self._keep_beating, daemon=True)
        self._is_ours = False  # until the first status is written

    def __enter__(self) -> Self:
        self.update(state="queued", message="Waiting for its turn.")
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._beat.join()

    def update(self, **changes: object) -> None:
        """Change some fields of the status and write it."""
        with self._lock:
            self._check_that_it_is_ours()
            self._status = dataclasses.replace(self._status, **changes)  # type: ignore[arg-type]
            self.job.write_status(self._status)
            self._is_ours = True
        if self.on_change:
            self.on_change(self._status)

    def _check_that_it_is_ours(self) -> None:
        """Two workers of one job would spoil its files, and what was deleted is not to come back.

        Raises
        ------
        Superseded
            If another worker has the job.
        RunError
            If it was deleted.
        """
        if not self._is_ours:
            return
        if not self.job.status_path.exists():  # maybe nothing but what this worker wrote since is left
            raise RunError(f"The folder of {self.job.noun} {self.job.id} is gone, or was emptied.")
        try:
            status = self.job.status()
        except RunError:  # damaged: the next one is whole
            return
        mine = self._status
        if (status.host, status.pid, status.pid_key) != (mine.host, mine.pid, mine.pid_key):
            raise Superseded

    def stage(self, name: str, message: str) -> None:
        """Enter the next stage, unless somebody asked for a stop."""
        if self.job.cancel_requested:
            raise Cancelled
        log.info(message)
        self.update(stage=name, message=message, eta_seconds=None)

    def finish(self, work: Callable[[], None], *, cancelled: str) -> str:
        """Do the work, and report how it ended.

        Parameters
        ----------
        cancelled
            What is said if somebody stopped it.

        Returns
        -------
        The final state: ``"done"``, ``"failed"`` or ``"cancelled"``; the status says why.
        """
        try:
            work()
            state, message = "done", "Done."
        except (Cancelled, KeyboardInterrupt):
            log.info("Cancelled.")
            state, message = "cancelled", cancelled
        except Superseded:
            log.error("This worker was taken for lost, and another one has the %s now; this one ends.", self.job.noun)
            return "failed"
        except Exception as error:
            log.error("%s", traceback.format_exc())
            state, message = "failed", in_words(error)
        if not self.job.path.is_dir():  # deleted meanwhile; nothing may come back of it
            log.error("The folder of %s %s is gone.", self.job.noun, self.job.id)
            return state if state == "done" else "failed"
        stage = {"stage": "done"} if state == "done" else {}
        try:
            self.update(state=state, message=message, **stage, eta_seconds=None, finished_at=time.time())
        except RunError as error:  # the disk is still full, or the folder gone: the job will show as lost
            log.error("%s", error)
        return state

    def _keep_beating(self) -> None:
        cancelled_at = None
        while not self._stop.wait(HEARTBEAT_SECONDS):
            if processes.world() > 1 and self.job.cancel_requested:
                cancelled_at = cancelled_at or time.monotonic()
                if time.monotonic() - cancelled_at > HEED_SECONDS:
                    self._end_unheeded()
            try:
                with self._lock:
                    self._check_that_it_is_ours()
                    self.job.write_status(self._status)
            except Superseded:
                return  # the work is told at its next report
            except RunError as error:  # a full disk may have room again by the next beat
                log.warning("%s", error)

    def _end_unheeded(self) -> None:
        """End this process, on which torchrun ends the others; the first one cannot, for it waits for them."""
        message = "Cancelled. Its processes hung, and were ended. Resume continues from the last checkpoint."
        log.error("%s", message)
        ended = {"state": "cancelled", "message": message, "eta_seconds": None, "finished_at": time.time()}
        with self._lock, contextlib.suppress(RunError):  # without its status it shows how it ended
            self.job.write_status(dataclasses.replace(self._status, **ended))  # type: ignore[arg-type]
        os._exit(1)


def set_up_process(job: JobFolder) -> None:
    """Log to the standard output, which goes into the job's folder, and leave the processor to the server first."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    if processes.world() == 1:  # torchrun tells the others so when one of them has died
        signal.signal(signal.SIGTERM, lambda *_: job.request_cancel())  # a shutdown: stop at the next step, and keep it
    if hasattr(os, "nice"):
        os.nice(5)  # the server answers first


def in_words(error: Exception) -> str:
    """What a page says of an error: ours speak for themselves, others are named."""
    if isinstance(error, ScetmError):
        return str(error)
    if isinstance(error, OSError) and is_disk_full(error):
        return "The disk is full. Free some space, then resume; the last checkpoint is kept."
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return "There was not enough memory. Use fewer genes, a smaller minibatch, or fewer topics."
    return f"Unexpected {type(error).__name__}: {error}. The log has the details; please report it."
