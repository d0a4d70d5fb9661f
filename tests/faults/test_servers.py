"""Do runs outlive their servers, do two servers share a home, and does a new one show what is true?"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scetm_core import jobs
from scetm_core.errors import RunError
from scetm_core.runs import Run
from tests.faults.servers import Server

MakeRun = Callable[..., Run]
LONG = {"max_steps": 1_000_000, "report_every": 5, "checkpoint_every": 10, "evaluate_every": 1_000_000}


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[[], Server]]:
    started: list[Server] = []

    def start() -> Server:
        started.append(Server(home))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def long_run(make_run: MakeRun) -> Iterator[Callable[[str], Run]]:
    """Runs that never end by themselves, but do after the test."""
    made: list[Run] = []

    def make(name: str) -> Run:
        made.append(make_run(name, **LONG))
        return made[-1]

    yield make
    for run in made:
        for process in workers_of(run):
            process.kill()


def workers_of(run: Run) -> list[psutil.Process]:
    """Workers and supervisors of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(run.path.resolve()) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile
    return found


def start(server: Server, run: Run, click: str = "") -> dict[str, Any]:
    return server.call("train-relayed.data", {"train-start.data": f"{run.id}{click}"}, trigger="train-start.data")


def look(server: Server, run: Run) -> tuple[str, bool]:
    """What the page says of a run, and whether it offers Resume."""
    answer = server.call(
        "train-summary.children",
        {"active-run.data": run.id, "train-seen.data": -1, "train-tick.n_intervals": 1},
        trigger="train-tick.n_intervals",
    )["response"]
    return json.dumps(answer["train-summary"]), answer["train-resume"]["style"] == {}


@pytest.mark.slow
def test_runs_outlive_two_servers_and_the_next_one_takes_them_up(
    serve: Callable[[], Server], long_run: Callable[[str], Run], wait_until: Callable[..., None]
) -> None:
    run, second = long_run("first"), long_run("second")
    servers = [serve(), serve()]
    assert all("scETM Studio is at" in server.wait() for server in servers)

    # two servers, one home: both are asked to start the same run at once, which trains once
    clicks = [threading.Thread(target=start, args=[server, run]) for server in servers]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    wait_until(lambda: run.status().step >= 10)
    wait_until(lambda: len(workers_of(run)) == 2)  # one worker, and its supervisor
    assert jobs.state(run) == "running"
    start(servers[1], second)
    wait_until(lambda: second.status().pid is not None)
    assert jobs.state(second) == "queued", "there is one slot, whichever server was asked"

    # both servers are killed: the run goes on, and a new server shows it
    for server in servers:
        server.kill()
    step = run.status().step
    wait_until(lambda: run.status().step > step)
    server = serve()
    assert "scETM Studio is at" in server.wait()
    said, offers_resume = look(server, run)
    assert "Training on 240 cells" in said
    assert not offers_resume
    assert "Waiting for its turn" in second.status().message

    # worker and supervisor are killed as well, as by a power cut: lost, and resumed where it was
    worker = psutil.Process(run.status().pid or 0)
    supervisor = worker.parent()
    assert supervisor is not None
    supervisor.kill()
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: jobs.state(run) == "lost")
    step = int(run.metrics()["step"].max())
    said, offers_resume = look(server, run)
    assert "Nothing is lost up to its last checkpoint: Resume goes on from there" in said
    assert offers_resume
    wait_until(lambda: jobs.state(second) == "running")  # the slot of the dead is free
    server.call("train-cancel.style", {"train-cancel.n_clicks": 1, "active-run.data": "second"},
                trigger="train-cancel.n_clicks")  # fmt: skip
    wait_until(lambda: jobs.state(second) == "cancelled")
    start(server, run, "#1")
    wait_until(lambda: run.status().step > step)
    curve = run.metrics()
    assert curve["step"].tolist() == list(range(5, int(curve["step"].max()) + 1, 5)), "no step is missing"
    with pytest.raises(RunError, match="already running"):
        jobs.start(run)
