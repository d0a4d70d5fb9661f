"""How is the state of the server shown? As numbers with a bar, and as small tables."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

import dash_mantine_components as dmc
import psutil
from dash import html
from dash.development.base_component import Component

from pages._server.sizes import OTHERS, Sizes
from pages._server.under_way import Seen, heartbeats_of, in_turn, open_seen, runs_of, states_of
from pages._server.watch import Watch
from pages._shared.parts import age, duration, size_in_words, state_badge
from pages._shared.studio import Studio
from scetm_core import __version__, jobs, keys
from scetm_core.accounts import Accounts
from scetm_core.errors import AccessError, RunError
from scetm_core.files import library_versions
from scetm_core.runs import Run

CANCEL = "server-cancel"
SHOWN_ERRORS, SHOWN_RUNS = 8, 6
BUSY, FULL = 0.8, 0.93
"""Shares from which on a bar warns."""
APP_LIBRARIES = ("dash", "dash-mantine-components", "plotly", "waitress", "gunicorn")
FOLDER_WORDS = {
    keys.RUNS_FOLDER: "Runs",
    keys.UPLOADS_FOLDER: "Uploads",
    keys.DEMO_FOLDER: "Demo data",
    keys.GENE_SETS_FOLDER: "Gene sets",
    keys.NAMES_FOLDER: "Gene names",
    keys.CACHE_FOLDER: "Caches",
    keys.LOGS_FOLDER: "Logs",
    OTHERS: "Other",
}
Row = Sequence[Component | str]


def table(head: Sequence[str], rows: Iterable[Row], *, name: str, empty: str, numbers: Sequence[int] = ()) -> Component:
    """A small table that scrolls sideways where it has to.

    Parameters
    ----------
    name
        What assistive technology calls it.
    empty
        What stands there without any row.
    numbers
        Places of the columns with numbers, which stand at the right.
    """
    made = list(rows)
    if not made:
        return dmc.Text(empty, size="sm", c="dimmed")
    looks = ["number" if place in numbers else "" for place in range(len(head))]
    titles = [html.Th(text, scope="col", className=look) for text, look in zip(head, looks, strict=True)]
    lines = [html.Tr([html.Td(cell, className=look) for cell, look in zip(row, looks, strict=True)]) for row in made]
    named: dict[str, Any] = {"aria-label": name}
    return html.Div(
        html.Table([html.Thead(html.Tr(titles)), html.Tbody(lines)], className="plain-table server-table"),
        className="scrolls-sideways",
        tabIndex=0,
        role="region",
        **named,
    )


# ---- numbers ------------------------------------------------------------------------------------------------------


def facts(server: Studio, watch: Watch, seen: Sequence[Seen], sizes: Sizes | None) -> Component:
    """The numbers at the top."""
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(server.home)
    busy, states = _load.share(), states_of(runs_of(seen))
    count, p95 = os.cpu_count() or 1, watch.p95()
    home = f", home {size_in_words(sizes.total)}" if sizes is not None else ""
    at_work = f"{states['running']} of {server.n_slots}"
    return html.Div(
        [
            _fact(
                "Memory in use",
                size_in_words(memory.total - memory.available),
                f"of {size_in_words(memory.total)}",
                share=1 - memory.available / memory.total,
            ),
            _fact(
                "Disk free",
                size_in_words(disk.free),
                f"of {size_in_words(disk.total)}{home}",
                share=1 - disk.free / disk.total,
            ),
            _fact(
                "Processors busy",
                f"{busy:.0%}",
                f"{count} processor{'s' if count > 1 else ''}, load {psutil.getloadavg()[0]:.1f}",
                share=busy,
            ),
            _fact("Runs at work", at_work, f"{states['queued']} waiting", share=states["running"] / server.n_slots),
            _fact("Callbacks answer within", milliseconds(p95), "95 of 100, last 15 min"),
            _fact("Up for", uptime(time.time() - watch.started), f"version {__version__}"),
        ],
        className="server-facts",
    )


def _fact(label: str, value: str, more: str, *, share: float | None = None) -> Component:
    """One number; with the share of what there is as a bar."""
    color = "teal" if share is None or share < BUSY else "orange" if share < FULL else "red"
    bar = (
        dmc.ProgressRoot(
            dmc.ProgressSection(
                value=min(100, round(100 * share)),
                color="teal" if label == "Runs at work" else color,
                **{"aria-label": label},
            ),
            size=4,
        )
        if share is not None
        else None
    )
    return html.Div(
        [
            dmc.Text(label, size="xs", c="dimmed"),
            dmc.Text(value, className="score"),
            html.Div(bar, className="server-bar"),
            dmc.Text(more, size="xs", c="dimmed"),
        ]
    )


class _Load:
    """How busy the processors have been since one last asked, whichever thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before, self._share = self._now(), 0.0

    @staticmethod
    def _now() -> tuple[float, float]:
        """Seconds of all processors since the machine started, and those of them without work."""
        times = psutil.cpu_times()
        return sum(times[:8]), times.idle + getattr(times, "iowait", 0.0)  # a guest's time is within the user's

    def share(self) -> float:
        """0 to 1; as before if one asks again at once."""
        with self._lock:
            now = self._now()
            passed, idle = now[0] - self._before[0], now[1] - self._before[1]
            if passed > 1:
                self._before, self._share = now, min(1.0, max(0.0, 1 - idle / passed))
            return self._share


_load = _Load()


def milliseconds(seconds: float | None) -> str:
    """A short time: ``"42 ms"``, ``"1.3 s"``."""
    if seconds is None:
        return "–"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def uptime(seconds: float) -> str:
    """How long, roughly: it does not change from second to second."""
    if seconds < 60:
        return "< 1 min"
    days, minutes = int(seconds // 86_400), int(seconds % 86_400 // 60)
    if days:
        return f"{days} d {minutes // 60} h"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


# ---- runs ---------------------------------------------------------------------------------------------------------


def queue_table(server: Studio, seen: Sequence[Seen]) -> Component:
    """Who works and who waits, in this order."""
    works = [one for one in seen if one.state == "running"]
    works.sort(key=lambda one: one.status.started_at or one.status.queued_at)
    waits = in_turn(server, seen)
    head = ["Run", "What", "State", "How far", "Since", "Where", ""]
    rows = [_job_row(server, one, place) for one, place in [*((o, 0) for o in works), *_numbered(waits)]]
    if server.has_accounts:
        head.insert(0, "Whose")
        rows = [[one.user or "–", *row] for one, row in zip([*works, *waits], rows, strict=True)]
    return table(head, rows, name="Queue", empty="Nothing is being worked on, and nobody waits.")


def _numbered(waits: Iterable[Seen]) -> list[tuple[Seen, int]]:
    return [(one, place) for place, one in enumerate(waits, start=1)]


def _job_row(server: Studio, one: Seen, place: int) -> list[Component | str]:
    name, is_stopping = one.run_id, False
    try:
        job = open_seen(server, one.user, one.run_id, one.task)
        name, is_stopping = _name_of(server, one), job.cancel_requested
    except (RunError, AccessError):  # deleted a moment ago, or damaged: its folder's name will do
        pass
    status = one.status
    far = f"number {place} in line" if place and not one.task else f"{status.progress:.0%}" if status.max_steps else ""
    if status.eta_seconds is not None:
        far += f", {duration(status.eta_seconds)} left"
    since = time.time() - ((status.started_at if one.state == "running" else None) or status.queued_at)
    cancel = dmc.Button(
        "Stopping" if is_stopping else "Cancel",
        id={"type": CANCEL, "user": one.user, "run": one.run_id, "task": one.task},
        size="compact-xs",
        variant="subtle",
        color="gray",
        disabled=is_stopping,
        **{"aria-label": f"Cancel {name}{f', {one.task}' if one.task else ''}"},
    )
    what = one.task.partition("-")[0].replace("_", " ").capitalize() if one.task else "Training"
    return [name, what, state_badge(one.state), far, uptime(since), status.host or "–", cancel]


def _name_of(server: Studio, one: Seen) -> str:
    run = open_seen(server, one.user, one.run_id, "")
    return run.config.name if isinstance(run, Run) else one.run_id


def cancel_seen(server: Studio, user: str, run_id: str, task: str) -> None:
    """Ask a run or a task to stop, of whoever it is.

    Raises
    ------
    RunError
        If there is none of that name.
    """
    jobs.cancel(open_seen(server, user, run_id, task))


def workers_table(seen: Sequence[Seen]) -> Component:
    """Hosts whose workers were heard of in the last week."""
    rows = [
        [host, str(count) if count else "none", age(time.time() - at)]
        for host, (at, count) in heartbeats_of(seen).items()
    ]
    return table(["Host", "Under way", "Last heartbeat"], rows, name="Workers", empty="No worker was heard of yet.")


# ---- this process -------------------------------------------------------------------------------------------------


def pace_table(watch: Watch) -> Component:
    """How long callbacks took, page by page."""
    rows = [
        [
            pace.page.capitalize(),
            f"{pace.count:,}",
            milliseconds(pace.p50),
            milliseconds(pace.p95),
            f"{pace.slowest}, {milliseconds(pace.longest)}",
        ]
        for pace in watch.paces()
    ]
    head = ["Page", "Callbacks", "Median", "95 of 100", "Slowest"]
    return table(head, rows, name="Callbacks", empty="No callback in the last 15 minutes.", numbers=(1, 2, 3))


def error_table(server: Studio, watch: Watch) -> Component:
    """The last errors in the log."""
    shown = list(watch.failures)[:SHOWN_ERRORS]
    rows: list[list[Component | str]] = [
        [_clock(one.at), html.Code(one.mark) if one.mark else "–", one.where, one.kind or "–"] for one in shown
    ]
    head = ["When", "Mark", "Where", "Kind"]
    if server.has_accounts:
        head.append("Whose")
        rows = [[*row, one.user or "–"] for row, one in zip(rows, shown, strict=True)]
    return table(head, rows, name="Errors", empty="None since the start of this process.")


def _clock(at: float) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(at))


def process_table(watch: Watch) -> Component:
    """What this process holds."""
    process = psutil.Process()
    with process.oneshot():
        files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        rows = [
            ["Number", str(process.pid)],
            ["Since", _clock(watch.started)],
            ["Memory", size_in_words(process.memory_info().rss)],
            ["Threads", str(threading.active_count())],
            ["Open files", str(files)],
        ]
    return table(["What", "Now"], rows, name="This process", empty="", numbers=(1,))


def version_list() -> Component:
    """Versions, as many beside each other as there is room for."""
    return html.Dl(
        [html.Div([html.Dt(name), html.Dd(version)]) for name, version in versions().items()],
        className="server-versions",
    )


@functools.cache
def versions() -> dict[str, str]:
    """Of the app, Python and the libraries."""
    found = {"scETM Studio": __version__, "Python": platform.python_version()}
    for name in APP_LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, **library_versions()}


# ---- disk ---------------------------------------------------------------------------------------------------------

MEASURING = "Being measured; it shows up here in a moment."


def disk_table(sizes: Sizes | None) -> Component:
    """What takes the disk."""
    if sizes is None:
        return dmc.Text(MEASURING, size="sm", c="dimmed")
    rows = [
        [FOLDER_WORDS[name], size_in_words(size)]
        for name, size in sorted(sizes.by_folder.items(), key=lambda entry: -entry[1])
        if size
    ]
    return table(["Folder", "Size"], rows, name="Disk by folder", empty="Nothing yet.", numbers=(1,))


def largest_runs(server: Studio, sizes: Sizes | None) -> Component:
    """The runs that take most."""
    if sizes is None:
        return dmc.Text(MEASURING, size="sm", c="dimmed")
    largest = sorted(sizes.by_run.items(), key=lambda entry: -entry[1])[:SHOWN_RUNS]
    head = ["Run", "Size"]
    rows: list[list[Component | str]] = [[run, size_in_words(size)] for (_, run), size in largest]
    if server.has_accounts:
        head.insert(0, "Whose")
        rows = [[user or "–", *row] for ((user, _), _), row in zip(largest, rows, strict=True)]
    return table(head, rows, name="Largest runs", empty="No run yet.", numbers=(len(head) - 1,))


def account_table(server: Studio, seen: Sequence[Seen], sizes: Sizes | None) -> Component:
    """Who has an account, and what it takes; also what accounts that were removed have left."""
    accounts = Accounts(server.home).all()
    left = sorted({*(sizes.by_user if sizes is not None else {}), *(one.user for one in seen)} - {*accounts, ""})
    rows = []
    for name in [*sorted(accounts), *left]:
        own = [one for one in runs_of(seen) if one.user == name]
        kind = "removed" if name in left else "admin" if accounts[name].is_admin else "user"
        size = size_in_words(sizes.by_user.get(name, 0)) if sizes is not None else "–"
        rows.append([name, kind, str(len(own)), str(sum(one.is_under_way for one in own)), size])
    head = ["Name", "Kind", "Runs", "Under way", "Disk"]
    return table(head, rows, name="Accounts", empty="No account yet.", numbers=(2, 3, 4))
