"""Do `/health`, `/metrics` and what the Server page counts say what there is, and only to those who may know?"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from dash import Dash
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from pages._access import guard
from pages._access.options import AccessSettings
from pages._server import sizes, under_way, watch
from pages._server.sizes import Measured, measure
from pages._server.watch import Answered, Watch
from pages._shared import studio
from pages._shared.errors import log_defect
from pages._shared.studio import Studio
from scetm_core import __version__, keys
from scetm_core.accounts import Accounts
from scetm_core.jobfolder import Status
from scetm_core.liveness import identity
from scetm_core.runs import Run

pytestmark = pytest.mark.usefixtures("look_anew")
MakeRun = Callable[..., Run]
TOKEN = "a-token-of-sixteen"


@pytest.fixture
def client(app: Dash) -> FlaskClient:
    return app.server.test_client()


@pytest.fixture
def with_accounts(own_studio: Studio, app: Dash, monkeypatch: pytest.MonkeyPatch) -> Studio:
    Accounts(own_studio.home).add("ada", "a long password")
    shown = dataclasses.replace(own_studio, has_accounts=True)
    studio.configure(shown)
    monkeypatch.setitem(app.server.extensions, guard.EXTENSION, guard.Guard(AccessSettings(token=TOKEN)))
    return shown


def alive(**changes: Any) -> Status:
    return Status(**{"state": "running", "max_steps": 100, "queued_at": time.time(), **identity(), **changes})


def samples_of(client: FlaskClient, **headers: str) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.get_data(as_text=True))
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


# ---- /health ------------------------------------------------------------------------------------------------------


def test_from_this_machine_health_says_how_the_server_stands(client: FlaskClient, make_shown_run: MakeRun) -> None:
    make_shown_run("one", alive())
    make_shown_run("two", alive(state="queued"))
    client.get("/metrics")  # somebody has looked
    told = client.get("/health").json
    assert told is not None
    assert told["version"] == __version__
    assert told["home_writable"] is True
    assert told["free_disk_bytes"] > 0
    assert told["queue"] == {"running": 1, "waiting": 1, "slots": 1}
    assert told["uptime_seconds"] >= 0


def test_strangers_learn_from_health_that_the_server_answers(client: FlaskClient, with_accounts: Studio) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok"}
    told = client.get("/health", headers={"Authorization": f"Bearer {TOKEN}"}).json
    assert told is not None
    assert "queue" in told


def test_health_does_not_wait_until_all_runs_are_looked_through(
    client: FlaskClient, own_studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(under_way, "_places", lambda _: iter([release.wait(60)][:0]))
    told = client.get("/health").json
    assert told is not None
    assert told["queue"] is None
    release.set()


# ---- /metrics -----------------------------------------------------------------------------------------------------


def test_strangers_read_no_numbers_and_who_has_the_token_does(client: FlaskClient, with_accounts: Studio) -> None:
    assert client.get("/metrics").status_code == 401
    assert ("scetm_queue_length", ()) in samples_of(client, Authorization=f"Bearer {TOKEN}")


def test_numbers_tell_of_runs_queue_workers_and_disk(client: FlaskClient, make_shown_run: MakeRun) -> None:
    make_shown_run("done", Status(state="done", host="elsewhere"))
    make_shown_run("works", alive())
    make_shown_run("waits", alive(state="queued", queued_at=time.time() - 500))
    make_shown_run("waits-less", alive(state="queued", queued_at=time.time() - 100))
    make_shown_run("lost", Status(state="running", pid=1, pid_started=5.0, host=identity()["host"]))  # type: ignore[arg-type]
    told = samples_of(client)
    assert {state: told["scetm_runs", (state,)] for state in under_way.STATES} == {
        "queued": 2, "running": 1, "done": 1, "failed": 0, "cancelled": 0, "lost": 1,
    }  # fmt: skip
    assert told["scetm_queue_length", ()] == 2
    assert 500 <= told["scetm_queue_oldest_seconds", ()] < 600
    assert 0 <= told["scetm_worker_heartbeat_age_seconds", (str(identity()["host"]),)] < 100
    assert 0 < told["scetm_disk_free_bytes", ()] < told["scetm_disk_total_bytes", ()]
    assert told["scetm_home_writable", ()] == 1
    assert told["scetm_info", (__version__,)] == 1
    if psutil.LINUX:
        assert told["process_resident_memory_bytes", ()] > 1e7
        assert told["process_open_fds", ()] > 0


def test_numbers_tell_of_everybodys_runs(client: FlaskClient, with_accounts: Studio, make_shown_run: MakeRun) -> None:
    run = make_shown_run("works", alive())
    theirs = with_accounts.of_user("ada").runs_folder
    theirs.mkdir(parents=True)
    os.rename(run.path, theirs / "works")
    assert samples_of(client, Authorization=f"Bearer {TOKEN}")["scetm_runs", ("running",)] == 1
    (seen,) = under_way.under_way.look(with_accounts)
    assert (seen.user, seen.run_id, seen.task) == ("ada", "works", "")


def test_requests_are_counted_by_route_and_callbacks_by_name(client: FlaskClient, app: Dash) -> None:
    before = samples_of(client)
    for address in ("/cells", "/cells", "/no/such/page", "/assets/none.css"):
        client.get(address)
    output = next(k for k, v in app.callback_map.items() if "callback" in v and v["callback"].__name__ == "open_help")
    sent = {
        "output": output,
        "outputs": {"id": "help", "property": "opened"},
        "inputs": [{"id": "help-button", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["help-button.n_clicks"],
        "state": [],
    }
    assert client.post("/_dash-update-component", json=sent).status_code == 200
    assert client.post("/_dash-update-component", json={**sent, "output": "no.such"}).status_code == 400
    after = samples_of(client)

    def more(name: str, *labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert more("scetm_requests_total", "/<path:path>", "200") == 3
    assert more("scetm_requests_total", "/assets/<path:filename>", "404") == 1
    assert more("scetm_requests_total", "/_dash-update-component", "200") == 1
    assert more("scetm_requests_total", "/_dash-update-component", "400") == 1
    assert more("scetm_callback_seconds_count", "_shared.help.open_help") == 1
    assert more("scetm_callback_seconds_bucket", "_shared.help.open_help", "+Inf") == 1
    assert not any("no.such" in labels for _, labels in after)
    assert after["scetm_requests_in_progress", ()] == 1  # this one


# ---- what is kept for the page ------------------------------------------------------------------------------------


def test_errors_are_kept_with_the_mark_that_the_user_was_told(app: Dash) -> None:
    with app.server.test_request_context("/cells"):
        words = log_defect(KeyError("Ins1"), "A callback")
    failure = watch.watch.failures[0]
    assert failure.mark
    assert failure.mark in words
    assert (failure.where, failure.kind) == ("/cells", "KeyError")
    assert "Ins1" not in str(failure)


def test_what_is_said_outside_a_request_is_kept_under_its_logger() -> None:
    logging.getLogger("scetm.elsewhere").error("no disk")
    assert (watch.watch.failures[0].where, watch.watch.failures[0].kind) == ("scetm.elsewhere", "")


def test_the_pace_of_a_page_is_that_of_its_last_minutes() -> None:
    kept = Watch()
    now = 10_000.0
    kept.answered.extend(Answered(at=now - 1, name="topics.draw", seconds=(i + 1) / 100) for i in range(100))
    kept.answered.append(Answered(at=now - 1, name="_topics.naming.rename", seconds=9.0))
    kept.answered.append(Answered(at=now - 1, name="_shared.shell.follow_url", seconds=0.5))
    kept.answered.append(Answered(at=now - 2 * watch.SECONDS_SHOWN, name="cells.draw", seconds=99.0))
    topics, everywhere = sorted(kept.paces(now=now), key=lambda pace: -pace.count)
    assert (topics.page, topics.count, topics.slowest, topics.longest) == ("topics", 101, "rename", 9.0)
    assert topics.p50 == pytest.approx(0.51)
    assert topics.p95 == pytest.approx(0.96)
    assert (everywhere.page, everywhere.p50) == (watch.EVERYWHERE, 0.5)
    assert [pace.p95 for pace in kept.paces(now=now)] == [topics.p95, everywhere.p95]


@pytest.mark.parametrize(("values", "share", "expected"), [([1.0], 0.95, 1.0), ([1, 2, 3, 4], 0.5, 2), ([1, 2], 0, 1)])
def test_a_quantile_is_one_of_the_values(values: list[float], share: float, expected: float) -> None:
    assert watch.quantile(values, share) == expected


# ---- disk ---------------------------------------------------------------------------------------------------------


def test_the_disk_is_told_by_folder_account_and_run(tmp_path: Path) -> None:
    def write(name: str, size: int) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)

    write("runs/a/result.h5ad", 1000)
    write("runs/a/checkpoint/model", 500)
    write("uploads/x.h5ad", 70)
    write("users/bo/runs/b/result.h5ad", 300)
    write("users/bo/uploads/y.h5ad", 20)
    write("users/bo/uploads/.draft", 5)
    write("secret.key", 3)
    (tmp_path / "runs" / "a" / "loop").symlink_to(tmp_path)
    found = measure(tmp_path)
    link = (tmp_path / "runs" / "a" / "loop").lstat().st_size
    assert found.by_folder["runs"] == 1800 + link
    assert found.by_folder["uploads"] == 95
    assert found.by_folder[sizes.OTHERS] == 3
    assert found.by_user == {"": 1573 + link, "bo": 325}
    assert found.by_run == {("", "a"): 1500 + link, ("bo", "b"): 300}
    assert found.n_uploads == 2
    assert found.total == sum(found.by_user.values())


def test_sizes_are_measured_aside_and_kept_for_a_while(tmp_path: Path) -> None:
    kept = Measured()
    first = kept.of(tmp_path, patience=60)
    assert first is not None
    assert first.total == 0
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "file").write_bytes(b"xy")
    assert kept.of(tmp_path, patience=60) is first
    other = kept.of(tmp_path / "nowhere", patience=60)
    assert other is not None
    assert other is not first


# ---- runs ---------------------------------------------------------------------------------------------------------


def test_what_is_finished_is_read_once_and_what_changes_is_seen(
    own_studio: Studio, make_shown_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = under_way.UnderWay()
    run = make_shown_run("one", alive())
    make_shown_run("two", Status(state="done"))
    task = run.path / keys.TASKS_FOLDER / "enrichment-x"
    task.mkdir(parents=True)
    (task / keys.STATUS_FILE).write_text("{broken")
    assert {(one.run_id, one.state) for one in kept.look(own_studio)} == {("one", "running"), ("two", "done")}
    run.write_status(Status(state="failed"))
    kept.forget()
    assert {(one.run_id, one.state) for one in kept.look(own_studio)} == {("one", "failed"), ("two", "done")}
    monkeypatch.setattr(under_way, "JobFolder", lambda path: pytest.fail(f"{path} was read again"))
    kept.forget()
    (task / keys.STATUS_FILE).unlink()
    assert len(kept.look(own_studio)) == 2


def test_those_that_wait_are_in_the_order_of_their_turns(own_studio: Studio, make_shown_run: MakeRun) -> None:
    for name, at in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        make_shown_run(name, alive(state="queued", queued_at=at))
    make_shown_run("d", alive())
    seen = under_way.under_way.look(own_studio)
    assert [one.run_id for one in under_way.queue_of(seen)] == ["c", "b", "a"]
    assert under_way.longest_wait([]) == 0
