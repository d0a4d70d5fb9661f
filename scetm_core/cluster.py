"""How does a machine work for a studio that runs on another one? As a Celery worker that shares its home.

Started as ``celery -A scetm_core.cluster worker -Q gpu,cpu`` with `SCETM_BROKER_URL` and `SCETM_HOME` set. Without -Q
it takes whatever waits; `--concurrency` says how many jobs it carries out beside each other, by default one. A
warm shutdown (SIGTERM) ends it after the jobs it has.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import kombu
from celery import bootsteps

from scetm_core import broker, handover, jobs, keys
from scetm_core.errors import ConfigError, ScetmError
from scetm_core.waiting import LANES, Queue

WATCH_SECONDS = 2.0
"""Between two looks at the jobs of all workers."""

log = logging.getLogger("scetm")

app = broker.celery_app()
app.conf.update(
    task_queues=[kombu.Queue(lane) for lane in LANES],  # type: ignore[attr-defined, no-untyped-call]
    worker_concurrency=1,
    worker_max_tasks_per_child=1,  # what watches a job ends with it
)


def home() -> Path:
    """The home that this worker shares with the app.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    folder = keys.default_home()
    if not folder.is_dir():
        raise ConfigError(f"SCETM_HOME is {folder}, which is not there. Is the shared disk mounted?")
    return folder


@app.task(name=broker.WORK, acks_late=True, reject_on_worker_lost=True, ignore_result=True)  # type: ignore[untyped-decorator]
def work() -> None:
    """Carry out the next job that this worker may take, if one waits."""
    try:
        queue = Queue(home())
        entry = handover.claim(queue, list(app.amqp.queues.consume_from))
        if entry is None:
            return
        log.warning("Taken: %s", entry.path)
        if handover.carry_out(queue, entry):
            broker.announce(entry.lanes)
        log.warning("Ended: %s", entry.path)
    except ScetmError as error:  # the disk is full or away: the job shows as lost, and is taken up again
        log.error("%s", error)


class LookAfter(bootsteps.StartStopStep):  # type: ignore[misc]
    """Looks after the jobs of lost workers, and for work that no message has told of; in the worker's own process."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        home()  # says so at once if it is not there
        n_threads = max(1, (os.cpu_count() or 1) // (worker.concurrency or 1))
        os.environ.setdefault(jobs.THREADS_VARIABLE, str(n_threads))
        self._timer: Any = None

    def start(self, worker: Any) -> None:
        """Look every few seconds from now on."""
        self._timer = worker.timer.call_repeatedly(WATCH_SECONDS, look)

    def stop(self, worker: Any) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()


def look() -> None:
    """Put jobs of lost workers back into the queue; see that there is a message where something waits."""
    try:
        queue = Queue(home())
        handover.look_after(queue)
        for lane in handover.waiting_lanes(queue, app.amqp.queues.consume_from):
            if broker.n_messages(lane) == 0:
                broker.announce([lane])
    except (ScetmError, OSError) as error:  # a network disk that is away comes back
        log.warning("Cannot look after the queue: %s", error)


app.steps["worker"].add(LookAfter)
