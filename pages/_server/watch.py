"""How long does this process take to answer, and what goes wrong? Every request is timed, counted and logged.

What is kept is of this process and of the time since it started: counters for `/metrics`, the last minutes of
callbacks and the last errors for the Server page.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import flask
from dash import Dash
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from pages._access.messages import ROUTE as CALLBACKS
from pages._server.logs import REQUESTS
from pages._shared import access, ids
from scetm_core.runs import RUN_ID

log = logging.getLogger(REQUESTS)

SECONDS_SHOWN = 900.0
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
EVERYWHERE = "every page"  # what is said of callbacks of the shell
_UNSEEN = ("/health", "/metrics")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A callback that was answered."""

    at: float
    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error in the log."""

    at: float
    mark: str
    """What a user was told it is found by; "" if nobody was."""
    where: str
    """The callback or the path; else the logger."""
    kind: str
    """Of the error; "" if it was only said."""
    user: str


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long the callbacks of one page took."""

    page: str
    count: int
    p50: float
    p95: float
    slowest: str
    """The callback that took longest."""
    longest: float


class Watch:
    """What one process has seen."""

    def __init__(self) -> None:
        self.started = time.time()
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "scetm_requests", "Requests answered, by route and status.", ("route", "status"), registry=self.registry
        )
        self.in_progress = Gauge("scetm_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.callbacks = Histogram(
            "scetm_callback_seconds",
            "Time from a callback's message to its answer.",
            ("callback",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "scetm_errors", "Errors in the server's log, by where they come from.", ("logger",), registry=self.registry
        )
        ProcessCollector(registry=self.registry)  # memory, open files, processor time: on Linux
        self.answered: deque[Answered] = deque(maxlen=20_000)
        self.failures: deque[Failure] = deque(maxlen=50)

    def answer(self, name: str, seconds: float) -> None:
        """Take down a callback that was answered."""
        self.callbacks.labels(name).observe(seconds)
        self.answered.append(Answered(at=time.time(), name=name, seconds=seconds))

    def fail(self, record: logging.LogRecord) -> None:
        """Take down an error in the log."""
        top = record.name.partition(".")[0]
        self.errors.labels(top if top in ("scetm", "waitress", "gunicorn") else "other").inc()
        about = flask.g.get("about", {}) if flask.has_request_context() else {}
        path = flask.request.path[:100] if flask.has_request_context() else record.name
        error = record.exc_info[1] if record.exc_info else None
        self.failures.appendleft(
            Failure(
                at=record.created,
                mark=str(record.__dict__.get("mark", "")),
                where=about.get("callback", path),
                kind=type(error).__name__ if error is not None else "",
                user=access.current_user() or "",
            )
        )

    def paces(self, *, now: float | None = None) -> list[Pace]:
        """The callbacks of the last minutes page by page, the slowest page first."""
        since = (time.time() if now is None else now) - SECONDS_SHOWN
        of_page = defaultdict(list)
        for one in list(self.answered):
            if one.at >= since:
                of_page[page_of(one.name)].append(one)
        return sorted((_pace(page, found) for page, found in of_page.items()), key=lambda pace: -pace.p95)

    def p95(self) -> float | None:
        """Of all callbacks of the last minutes; None if there was none."""
        since = time.time() - SECONDS_SHOWN
        seconds = sorted(one.seconds for one in list(self.answered) if one.at >= since)
        return quantile(seconds, 0.95) if seconds else None


def _pace(page: str, found: list[Answered]) -> Pace:
    seconds, longest = sorted(one.seconds for one in found), max(found, key=lambda one: one.seconds)
    return Pace(
        page=page,
        count=len(found),
        p50=quantile(seconds, 0.5),
        p95=quantile(seconds, 0.95),
        slowest=longest.name.rpartition(".")[2],
        longest=longest.seconds,
    )


def quantile(ordered: list[float], share: float) -> float:
    """The smallest of some values, in order, that at least a share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def page_of(callback: str) -> str:
    """The page that a callback belongs to: of "topics.draw" and "_topics.naming.rename" it is "topics"."""
    first = callback.partition(".")[0].lstrip("_")
    return EVERYWHERE if first in ("shared", "access", "dash", "unknown") else first


class _Failures(logging.Handler):
    """Takes down errors as they are logged."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.ERROR)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.fail(record)


disable_created_metrics()  # when each counter began is nobody's question
watch = Watch()
"""Of this process."""
logging.getLogger().addHandler(_Failures(watch))


def add_to(app: Dash) -> None:
    """Time, count and log the requests of an app; after the guard has been added."""

    def begin() -> None:
        flask.g.began = time.perf_counter()
        watch.in_progress.inc()

    def look() -> None:
        flask.g.about = _about(app)

    def note(answer: flask.Response) -> flask.Response:
        _note(answer.status_code)
        return answer

    def end(_: BaseException | None) -> None:
        if flask.g.pop("began", None) is not None:
            watch.in_progress.dec()

    app.server.before_request_funcs.setdefault(None, []).insert(0, begin)
    app.server.before_request(look)
    app.server.after_request(note)
    app.server.teardown_request(end)


def _about(app: Dash) -> dict[str, Any]:
    """Which callback a request that was let in calls, and which run it is about."""
    request = flask.request
    body = request.get_json(silent=True) if request.path == CALLBACKS and request.method == "POST" else None
    if not isinstance(body, dict):
        return _with_run({}, request.args.get("run"))
    return _with_run({"callback": _name_of(app, body.get("output"))}, _run_in([body.get("inputs"), body.get("state")]))


def _with_run(about: dict[str, Any], run: object) -> dict[str, Any]:
    return {**about, "run": run} if isinstance(run, str) and RUN_ID.fullmatch(run) else about


def _run_in(values: Iterable[Any]) -> object:
    """What a message says of the run a page looks at."""
    for value in values:
        if isinstance(value, dict) and value.get("id") == ids.ACTIVE_RUN:
            return value.get("value")
        if isinstance(value, list) and (found := _run_in(value)) is not None:
            return found
    return None


def _name_of(app: Dash, output: object) -> str:
    """Short name of a callback: "topics.draw". There are as many as the code has, whatever is asked for."""
    function = app.callback_map.get(str(output), {}).get("callback")
    if function is None:
        return "unknown"
    return f"{function.__module__.removeprefix('pages.')}.{function.__name__}"


def _note(status: int) -> None:
    """Count and log a request that is answered."""
    request, about = flask.request, flask.g.get("about", {})
    seconds = time.perf_counter() - flask.g.get("began", time.perf_counter())
    route = request.url_rule.rule if request.url_rule is not None else "none"
    watch.requests.labels(route, status).inc()
    if "callback" in about:
        watch.answer(about["callback"], seconds)
    is_dull = request.path in _UNSEEN or request.path.startswith(("/assets/", "/_dash-component-suites/", "/_favicon"))
    level = logging.WARNING if status >= 500 else logging.DEBUG if is_dull and status < 400 else logging.INFO
    extra = {"method": request.method, "status": status, "ms": round(1000 * seconds, 1)}
    log.log(level, "Answered a request", extra=extra)
