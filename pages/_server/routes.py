"""What does the server tell those who watch over it? `/health` that it answers, `/metrics` its numbers for Prometheus.

The numbers are of the process that answers; the app is served by one (see gunicorn.conf.py). Runs, queue and disk are
looked up when they are asked for, and are the same whichever process is asked.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import flask
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pages._server.sizes import measured
from pages._server.under_way import heartbeats_of, longest_wait, queue_of, runs_of, states_of, under_way
from pages._server.watch import watch
from pages._shared import access, studio
from scetm_core import __version__


def add_to(server: flask.Flask) -> None:
    """Serve both; who may read them, the guard knows."""
    server.add_url_rule("/health", view_func=health)
    server.add_url_rule("/metrics", view_func=metrics)


def health() -> dict[str, Any]:
    """That the server answers; to admins and from this machine also how it stands. Nothing here takes long.

    The queue is as it was when somebody last looked, some seconds ago; null if nobody has.
    """
    if not (access.is_admin() or access.may_watch()):
        return {"status": "ok"}
    shown = studio.of_server()
    seen = under_way.glance(shown)
    states = states_of(runs_of(seen)) if seen is not None else None
    return {
        "status": "ok",
        "version": __version__,
        "home_writable": os.access(shown.home, os.W_OK),
        "free_disk_bytes": shutil.disk_usage(shown.home).free,
        "queue": states and {"running": states["running"], "waiting": states["queued"], "slots": shown.n_slots},
        "uptime_seconds": round(time.time() - watch.started),
    }


def metrics() -> flask.Response:
    """The numbers, in Prometheus' text format."""
    return flask.Response(generate_latest(watch.registry), content_type=CONTENT_TYPE_LATEST)


class HomeNumbers(Collector):
    """What is looked up when it is asked for."""

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it looks nothing up: there is no home yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Runs, queue, workers, disk."""
        shown = studio.of_server()
        seen = under_way.look(shown)
        runs = runs_of(seen)
        queue = queue_of(runs)
        yield _by("scetm_runs", "Runs by state.", "state", states_of(runs))
        yield _by("scetm_tasks", "Tasks (tests, maps, files) by state.", "state", states_of(o for o in seen if o.task))
        yield _one("scetm_queue_length", "Runs that wait for their turn.", len(queue))
        yield _one("scetm_queue_oldest_seconds", "Time that the oldest of them has waited.", longest_wait(queue))
        ages = {host: time.time() - at for host, (at, count) in heartbeats_of(seen).items() if count}
        yield _by("scetm_worker_heartbeat_age_seconds", "Since a host's workers were last heard of.", "host", ages)
        disk = shutil.disk_usage(shown.home)
        yield _one("scetm_disk_free_bytes", "Free on the disk of the home.", disk.free)
        yield _one("scetm_disk_total_bytes", "Size of the disk of the home.", disk.total)
        yield _one("scetm_home_writable", "Whether the home can be written to.", os.access(shown.home, os.W_OK))
        if (sizes := measured.of(shown.home)) is not None:
            yield _by("scetm_home_bytes", "Disk that folders of the home take.", "folder", sizes.by_folder)
            yield _one("scetm_uploads", "Uploaded files there are.", sizes.n_uploads)
        yield _by("scetm_info", "Version of the app.", "version", {__version__: 1})


def _one(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _by(name: str, words: str, label: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


watch.registry.register(HomeNumbers())
