"""Who carries out the background callbacks? Processes of this machine, or Celery where a broker is set.

Nothing depends on them: pages look at the folders by themselves. So a broker that is away costs a line in the log, and
no page an error.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import diskcache
import multiprocess
from dash import CeleryManager, DiskcacheManager
from dash.background_callback.managers import BaseBackgroundCallbackManager

from scetm_core import broker

T = TypeVar("T")
SECRET = ("cookies", "headers")
"""What of a request is not sent to the broker: whoever reads its messages could sign in with them."""
NOWHERE = "none"  # the job of a callback that could not be sent

log = logging.getLogger("scetm.app")


def manager(cache: Path) -> BaseBackgroundCallbackManager:
    """The manager of background callbacks of an app that keeps its caches in a folder.

    Raises
    ------
    ConfigError
        If a broker is set and Celery is not installed.
    """
    if broker.address():
        return PatientCeleryManager(broker.celery_app())
    return OwnProcessesManager(diskcache.Cache(str(cache / "callbacks")))


class OwnProcessesManager(DiskcacheManager):
    """As Dash's, but it ends processes of this server only.

    What a browser holds of a callback is the signed number of its process, good for as long as the signature is: by
    then the system may have given the number to another process, of a run or of anybody.
    """

    def terminate_job(self, job: str | int | None) -> None:
        """Stop a callback, if its process is one that this server has started for one and not seen end."""
        for child in multiprocess.active_children():
            if str(child.pid) == str(job):
                child.kill()
                child.join(1)


def _or(instead: Any) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Answer something else while the broker cannot be reached."""

    def decorate(method: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(method)
        def patient(*args: Any, **kwargs: Any) -> T:
            from kombu.exceptions import OperationalError
            from redis.exceptions import RedisError

            try:
                return method(*args, **kwargs)
            except (OperationalError, RedisError, OSError) as error:
                log.warning("The broker cannot be reached: %s", error)
                return instead

        return patient

    return decorate


class PatientCeleryManager(CeleryManager):
    """As Dash's, but no callback fails because the broker is away, and no message holds what signs somebody in."""

    @_or(NOWHERE)
    def call_job_fn(self, key: str, job_fn: Any, args: Any, context: Any) -> Any:
        """Send a callback to the workers."""
        kept = {name: value for name, value in context.items() if name not in SECRET}
        return super().call_job_fn(key, job_fn, args, kept)

    @_or(False)
    def job_running(self, job: str) -> bool:
        """Whether a callback has still to answer."""
        return job != NOWHERE and bool(super().job_running(job))

    @_or(None)
    def terminate_job(self, job: str) -> None:
        """Stop a callback."""
        if job != NOWHERE:
            super().terminate_job(job)

    @_or(None)
    def get_progress(self, key: str) -> Any:
        """What a callback has reported since it was last asked."""
        return super().get_progress(key)

    @_or(BaseBackgroundCallbackManager.UNDEFINED)
    def get_result(self, key: str, job: str) -> Any:
        """What a callback has answered."""
        return super().get_result(key, job)

    @_or({})
    def get_updated_props(self, key: str) -> Any:
        """What a callback has set beside its outputs."""
        return super().get_updated_props(key)
