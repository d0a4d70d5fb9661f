"""Is work handed to other machines, and how are they told? Through Celery, where `SCETM_BROKER_URL` names a broker.

A message says only that there is work: what, and in which order, is in the queue of the home (`waiting`). So a message
that is lost, doubled or late does no harm. Celery is imported only where a broker is set.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scetm_core.errors import ConfigError

VARIABLE = "SCETM_BROKER_URL"
FILE_VARIABLE = "SCETM_BROKER_URL_FILE"
"""A file that holds the address, for one with a password in it."""

WORK = "scetm.work"
"""Name of the message."""
CALLBACKS = "pages"
"""Queue of Dash's background callbacks, which need the app and little else."""

EXPIRES = 3600
"""Seconds after which a message counts no more; workers look for themselves what waits."""
VISIBILITY = 24 * 3600
"""Seconds after which the broker gives a message to another worker, because the first has not said it is through.
A training may take longer: then the other finds nothing that waits, and that is all."""

log = logging.getLogger("scetm")


def address() -> str:
    """Where the broker is, e.g. ``redis://queue:6379/0``; "" if everything is done on this machine.

    Raises
    ------
    ConfigError
        If the file that is to hold it cannot be read.
    """
    if file := os.environ.get(FILE_VARIABLE):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{FILE_VARIABLE} names {file}, which cannot be read: {error.strerror}.") from error
    return os.environ.get(VARIABLE, "").strip()


def celery_app() -> Any:
    """The Celery application: the same for the app, which sends, and for workers.

    Raises
    ------
    ConfigError
        If no broker is set, or Celery is not installed.
    """
    if not address():
        raise ConfigError(f"No broker is set. Say where it is: {VARIABLE}=redis://HOST:6379/0")
    return _celery_app(address())


@functools.lru_cache(maxsize=4)
def _celery_app(where: str) -> Any:
    try:
        from celery import Celery
    except ImportError as error:
        raise ConfigError(
            f"{VARIABLE} is set, but Celery is not installed: pip install -r requirements-cluster.txt"
        ) from error
    app = Celery("scetm", broker=where, backend=where, set_as_current=False)
    patience = {"socket_connect_timeout": 3, "socket_timeout": 15}
    app.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,  # a worker waits for its broker as long as it takes
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=3,
        broker_transport_options={"visibility_timeout": VISIBILITY, **patience},
        redis_socket_connect_timeout=3,
        redis_socket_timeout=15,
        result_expires=3600,
        task_default_queue=CALLBACKS,
        task_publish_retry=False,  # who clicks is told at once
        task_routes={"background_callback_*": {"queue": CALLBACKS}},
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,  # none is kept back by a worker that is busy
        worker_send_task_events=False,
    )
    return app


def announce(lanes: Iterable[str]) -> bool:
    """Tell the workers of some lanes that there is work; False if the broker cannot be reached."""
    from kombu.exceptions import OperationalError

    app = celery_app()
    try:
        for lane in lanes:
            app.send_task(WORK, queue=lane, expires=EXPIRES, ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("The broker cannot be reached (%s); what waits is begun when it is back.", error)
        return False
    return True


def n_messages(lane: str) -> int | None:
    """How many messages wait in a lane; None if the broker cannot be reached."""
    from kombu.exceptions import OperationalError

    app = celery_app()
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
            return int(connection.default_channel.queue_declare(lane, passive=True).message_count)
    except (OperationalError, OSError):
        return None
    except connection.channel_errors:  # the queue was never used
        return 0
