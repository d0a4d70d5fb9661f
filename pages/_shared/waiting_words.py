"""What is said of a job that waits? Why, for whom, and how many go before it."""

from __future__ import annotations

import socket

from pages._shared.parts import STATE_WORDS
from scetm_core import jobs, liveness
from scetm_core.jobfolder import JobFolder, Status


def queue_words(job: JobFolder) -> list[str]:
    """Why a job waits, and its place: ``["The worker on gpu2 was lost at step 1,200; ...", "3rd in the queue"]``."""
    status, place = job.status(), jobs.place_in_queue(job)
    if place is None and status.host and not liveness.looks_alive(status):
        return [f"The worker on {status.host} was lost; another one takes over"]
    return [status.message.rstrip(".") or STATE_WORDS["queued"], place_words(place)]


def place_words(place: int | None) -> str:
    """A place in the queue as one says it: "next in the queue", "3rd in the queue"."""
    if place is None:
        return ""
    if place == 1:
        return "next in the queue"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending} in the queue"


def host_words(status: Status) -> str:
    """Where a job is worked on, if that is another machine."""
    return f"on {status.host}" if status.host and status.host != socket.gethostname() else ""
