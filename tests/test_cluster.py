"""Do runs go on when machines and the broker do not? With a real redis-server and real Celery workers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scetm_core import broker, jobs, keys, liveness
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.requests import MapRequest
from scetm_core.runs import Run
from scetm_core.tasks import ask
from scetm_core.waiting import Queue
from tests.cluster_parts import PATIENCE, ROOT, Redis, Worker, redis_server
from tests.conftest import TINY

WaitUntil = Callable[..., None]
LONG = {"max_steps": 200, "report_every": 1, "checkpoint_every": 20, "evaluate_every": 100}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="no redis-server was found; on Debian: apt-get install redis-server",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "home" / keys.RUNS_FOLDER).mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[Redis]:
    with redis_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def workers(folder: Path, redis: Redis) -> Iterator[Callable[..., Worker]]:
    """Start workers, for trainings if nothing is said; those of the tests before are there as well."""
    environment = {broker.VARIABLE: redis.url, "SCETM_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    started: list[Worker] = []

    def start(queues: str = "gpu,cpu") -> Worker:
        started.append(Worker(folder, app="scetm_core.cluster", queues=queues, environment=environment))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        text = worker.log_path.read_text()
        assert "Traceback" not in text, text


@pytest.fixture(autouse=True)
def _broker_is_set(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(broker.VARIABLE, redis.url)


@pytest.fixture
def make(folder: Path, planted_file: Path) -> Callable[..., Run]:
    def config(**changes: Any) -> RunConfig:
        columns = {"batch_key": "batch", "label_key": "cell_type"}
        return run_config_from_flat({"name": "tiny", "path": str(planted_file), **columns, **TINY, **changes})

    def build(run_id: str, **changes: Any) -> Run:
        return Run.create(folder / "home" / keys.RUNS_FOLDER / run_id, config(**changes))

    return build


def is_over(run: Run) -> bool:
    return jobs.state(run) not in ("queued", "running")


def has(worker: Worker, run: Run) -> bool:
    """Whether a worker carries out a run."""
    return run.status().pid in [process.pid for process in worker.all_processes()]


@pytest.fixture(scope="module")
def survivors() -> list[Worker]:
    """The worker that is left by the test before."""
    return []


def test_a_run_whose_machine_dies_is_resumed_by_another_and_learns_the_same(
    make: Callable[..., Run],
    workers: Callable[..., Worker],
    wait_until: WaitUntil,
    survivors: list[Worker],
    folder: Path,
) -> None:
    killed, undisturbed = make("killed", **LONG), make("undisturbed", **LONG)
    both = [workers(), workers()]
    jobs.start(killed)
    wait_until(lambda: killed.status().step >= 30)
    (first,) = [worker for worker in both if has(worker, killed)]
    (other,) = [worker for worker in both if worker is not first]
    first.kill()
    trained = killed.status().step
    assert trained < LONG["max_steps"]
    words = []

    def is_taken_over() -> bool:
        words.append((jobs.state(killed), killed.status().message))
        return has(other, killed) and killed.status().step > trained

    wait_until(is_taken_over)
    assert {state for state, _ in words} <= {"queued", "running"}, "it is never shown as lost"
    assert any("attempt 2 of 3" in message for _, message in words)
    jobs.start(undisturbed)  # waits for the one worker that is left
    wait_until(lambda: is_over(killed) and is_over(undisturbed))
    assert [jobs.state(run) for run in (killed, undisturbed)] == ["done", "done"], killed.log_tail()
    curves = [
        run.metrics().drop(columns=["seconds", "cells_per_second"], errors="ignore") for run in (killed, undisturbed)
    ]
    assert curves[0]["step"].tolist() == list(range(1, 201))
    assert curves[0]["nll"].tolist() == curves[1]["nll"].tolist()
    wait_until(lambda: Queue(folder / "home").working() == [])
    survivors.append(other)


def test_cancelled_while_it_waits_and_while_it_trains(
    make: Callable[..., Run], wait_until: WaitUntil, survivors: list[Worker]
) -> None:
    at_work, waits = make("at-work", **{**LONG, "max_steps": 100_000}), make("waits", **LONG)
    jobs.start(at_work)
    wait_until(lambda: at_work.status().step >= 3)
    jobs.start(waits)
    assert jobs.place_in_queue(waits) == 1
    jobs.cancel(waits)
    assert jobs.state(waits) == "cancelled"
    jobs.cancel(at_work)
    wait_until(lambda: is_over(at_work))
    assert jobs.state(at_work) == "cancelled"
    assert at_work.status().step >= 3
    assert waits.status().step == 0


def test_what_a_page_asks_for_does_not_wait_for_a_training(
    make: Callable[..., Run], workers: Callable[..., Worker], wait_until: WaitUntil, survivors: list[Worker]
) -> None:
    asked, at_work = make("asked", max_steps=20), make("at-work-meanwhile", **{**LONG, "max_steps": 100_000})
    jobs.start(asked)
    wait_until(lambda: is_over(asked))
    jobs.start(at_work)
    wait_until(lambda: at_work.status().step >= 3)
    workers("tasks")
    task = ask(asked, "genes", MapRequest(points="genes"))
    wait_until(lambda: jobs.state(task) not in ("queued", "running"))
    assert jobs.state(task) == "done", task.log_tail()
    assert jobs.state(at_work) == "running"
    jobs.cancel(at_work)
    wait_until(lambda: is_over(at_work))


def test_without_its_broker_all_waits_and_goes_on_when_it_is_back(
    make: Callable[..., Run], redis: Redis, wait_until: WaitUntil, survivors: list[Worker]
) -> None:
    trained, waited = make("trained-meanwhile", **LONG), make("waited", max_steps=20)
    jobs.start(trained)
    wait_until(lambda: trained.status().step >= 3)
    redis.stop()
    jobs.start(waited)
    assert (jobs.state(waited), waited.status().message) == ("queued", jobs.UNREACHABLE)
    wait_until(lambda: is_over(trained))
    assert jobs.state(trained) == "done", "what is at work does not need the broker"
    assert jobs.state(waited) == "queued"
    redis.start()  # it has forgotten every message
    wait_until(lambda: is_over(waited))
    assert jobs.state(waited) == "done", waited.log_tail()
    assert waited.status().message == "Done."


def test_background_callbacks_of_the_app_are_carried_out_by_celery(
    folder: Path, redis: Redis, make: Callable[..., Run]
) -> None:
    """Posts the relay of a run as a browser does, to an app whose callbacks another process carries out."""
    run = make("relayed")
    run.write_status(dataclasses.replace(run.status(), state="running", **liveness.identity()))
    environment = {
        **os.environ,
        broker.VARIABLE: redis.url,
        "SCETM_HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
    }
    worker = Worker(folder, app="pages._server.callbacks", queues=broker.CALLBACKS, environment=environment)
    try:
        done = subprocess.run(
            [sys.executable, "tests/cluster_relay.py", run.id],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + worker.log_path.read_text()
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["manager"] == "PatientCeleryManager"
        assert said["progress"] > 0, "a heartbeat was relayed while the run went on"
        assert said["answer"] >= said["progress"], "and the last one at its end"
        assert said["away"] == "no update", "without the broker no callback fails"
    finally:
        worker.kill()
    assert "Traceback" not in worker.log_path.read_text()
