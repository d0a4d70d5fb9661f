"""Does the queue hand out jobs in the order that was promised, whoever's they are and whatever lies in its folder?"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from scetm_core import broker, keys
from scetm_core.__main__ import main
from scetm_core.accounts import Accounts
from scetm_core.errors import AccessError, ConfigError
from scetm_core.waiting import CLUSTER, CPU, GPU, HERE, TASKS, Entry, Queue, home_of, priorities, queue_of


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def entry(name: str, user: str = "", queued_at: float = 1.0, **others: Any) -> Entry:
    path = f"users/{user}/runs/{name}" if user else f"runs/{name}"
    return Entry(**{"path": path, "user": user, "engine": CLUSTER, "queued_at": queued_at, **others})


def order(queue: Queue, *, lanes: tuple[str, ...] = (GPU, CPU)) -> list[str]:
    return [e.path.rpartition("/")[2] for e in queue.in_order(CLUSTER, working=queue.working(), lanes=lanes)]


def fill(queue: Queue, *entries: Entry) -> None:
    for one in entries:
        queue.enter(one)


def test_who_has_waited_longest_is_next(queue: Queue) -> None:
    fill(queue, entry("c", queued_at=3.0), entry("a", queued_at=2.0), entry("b", queued_at=1.0))
    assert order(queue) == ["b", "a", "c"]


def test_users_take_turns_however_many_jobs_one_of_them_has(queue: Queue) -> None:
    fill(queue, *(entry(f"anna-{n}", "anna", n) for n in range(3)), entry("bert-0", "bert", 50.0))
    assert order(queue) == ["anna-0", "bert-0", "anna-1", "anna-2"]


def test_users_take_turns_also_where_one_job_ends_before_the_next_begins(queue: Queue) -> None:
    fill(queue, *(entry(f"anna-{n}", "anna", n) for n in range(3)), *(entry(f"bert-{n}", "bert", 50) for n in range(2)))
    promised, happened = order(queue), []
    while left := list(queue.in_order(CLUSTER, working=queue.working())):
        happened.append(left[0].path.rpartition("/")[2])
        queue.begin(left[0])
        queue.leave(left[0])
    assert happened == promised == ["anna-0", "bert-0", "anna-1", "bert-1", "anna-2"]


def test_who_has_less_at_work_goes_first(queue: Queue) -> None:
    fill(queue, entry("anna-0", "anna", 1.0), entry("bert-0", "bert", 2.0))
    queue.begin(entry("anna-at-work", "anna"))
    assert order(queue) == ["bert-0", "anna-0"]


def test_who_trains_on_a_gpu_does_not_starve_where_other_workers_are_asked(queue: Queue) -> None:
    queue.begin(entry("anna-trains", "anna", lane=GPU))
    for lane in (CPU, TASKS):
        fill(queue, *(entry(f"bert-{lane}-{n}", "bert", n, lane=lane) for n in range(1, 4)))
        fill(queue, entry(f"anna-{lane}", "anna", 9.0, lane=lane))
        happened = []
        for _ in range(2):  # each ends before the next begins
            first = next(queue.in_order(CLUSTER, working=queue.working(), lanes=[lane]))
            queue.begin(first)
            queue.leave(first)
            happened.append(first.user)
        assert happened == ["bert", "anna"]


def test_a_turn_in_training_is_none_in_what_pages_ask_for(queue: Queue) -> None:
    for user in ("bert", "anna"):
        queue.begin(entry("before", user, lane=TASKS))
        queue.leave(entry("before", user, lane=TASKS))
    queue.begin(entry("trained", "bert"))
    queue.leave(entry("trained", "bert"))
    fill(queue, entry("anna-asks", "anna", 1.0, lane=TASKS), entry("bert-asks", "bert", 2.0, lane=TASKS))
    assert order(queue, lanes=(TASKS,)) == ["bert-asks", "anna-asks"]


def test_turns_do_not_follow_the_clocks_of_machines(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(queue, *(entry(f"{user}-{n}", user, n) for user in ("anna", "bert") for n in range(1, 4)))
    happened = []
    for ahead in (10**18, 0, 0, 0, 0, 0):  # the first is handed out by a machine thirty years ahead
        first = next(queue.in_order(CLUSTER, working=[]))
        with monkeypatch.context() as clock:
            clock.setattr(time, "time_ns", lambda ahead=ahead: 10**18 + ahead)
            clock.setattr(time, "time", lambda ahead=ahead: (10**18 + ahead) / 1e9)
            queue.begin(first)
        queue.leave(first)
        happened.append(first.user)
    assert happened == ["anna", "bert"] * 3


@pytest.mark.parametrize("text", ["", "x", "\xff", "9" * 5000])
def test_a_damaged_turn_counts_as_none(queue: Queue, text: str) -> None:
    fill(queue, entry("anna-0", "anna", 1.0), entry("bert-0", "bert", 2.0))
    queue.begin(entry("anna-before", "anna"))
    queue.leave(entry("anna-before", "anna"))
    assert order(queue) == ["bert-0", "anna-0"]
    (turn,) = (queue.folder / keys.TURNS_FOLDER).iterdir()
    turn.write_text(text, encoding="latin-1")
    assert order(queue) == ["anna-0", "bert-0"]


def test_what_lost_its_worker_goes_before_what_is_new_but_not_before_a_higher_priority(queue: Queue) -> None:
    (queue.home / keys.ACCOUNTS_FILE).write_text(json.dumps({"accounts": {"carl": {"priority": 1}}}))
    queue.begin(entry("anna-at-work", "anna"))
    fill(queue, entry("new", "bert", 1.0), entry("lost", "anna", 9.0, attempt=1), entry("urgent", "carl", 10.0))
    assert order(queue) == ["urgent", "lost", "new"]


def test_a_higher_priority_goes_before_all_that(queue: Queue) -> None:
    accounts = {"bert": {"priority": 5, "password": "x"}, "anna": {}, "carl": {"priority": "high"}}
    (queue.home / keys.ACCOUNTS_FILE).write_text(json.dumps({"accounts": accounts}))
    fill(queue, entry("a", "anna", 1.0), entry("c", "carl", 2.0), entry("b1", "bert", 3.0), entry("b2", "bert", 4.0))
    assert order(queue) == ["b1", "b2", "a", "c"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"accounts": 3}', '{"accounts": {"anna": null}}'])
def test_accounts_that_cannot_be_read_do_not_stop_the_queue(queue: Queue, text: str) -> None:
    (queue.home / keys.ACCOUNTS_FILE).write_text(text)
    fill(queue, entry("a", "anna"))
    assert order(queue) == ["a"]


def test_a_worker_is_given_what_its_lanes_may_take(queue: Queue) -> None:
    fill(
        queue, entry("gpu", queued_at=1.0, lane=GPU), entry("any", queued_at=2.0), entry("cpu", queued_at=3.0, lane=CPU)
    )
    assert order(queue, lanes=(CPU,)) == ["any", "cpu"]
    assert order(queue, lanes=(GPU,)) == ["gpu", "any"]
    assert order(queue) == ["gpu", "any", "cpu"]


def test_what_waits_for_a_process_of_this_machine_is_not_handed_to_the_cluster(queue: Queue) -> None:
    fill(queue, entry("here", engine=HERE))
    assert order(queue) == []


def test_a_job_waits_or_works_or_is_forgotten(queue: Queue) -> None:
    job, one = queue.home / "runs" / "a", entry("a")
    assert not queue.is_waiting(job)
    queue.enter(one)
    assert (queue.is_waiting(job), queue.is_working(job)) == (True, False)
    queue.begin(one)
    assert (queue.is_waiting(job), queue.is_working(job)) == (False, True)
    queue.enter(one)
    assert (queue.is_waiting(job), queue.is_working(job)) == (True, False)
    queue.leave(one)
    assert (queue.is_waiting(job), queue.is_working(job)) == (False, False)


@pytest.mark.parametrize("text", ["", "{", "3", '{"path": "runs/x"', "[1]"])
def test_a_damaged_entry_holds_nobody_up(queue: Queue, text: str) -> None:
    fill(queue, entry("a"))
    (queue.folder / keys.WAITING_FOLDER / "damaged.json").write_text(text)
    assert order(queue) == ["a"]


def test_runs_and_tasks_of_all_users_share_the_queue_of_the_server(tmp_path: Path) -> None:
    (tmp_path / keys.ACCOUNTS_FILE).touch()
    run = tmp_path / "users" / "anna" / "runs" / "first"
    for job in (run, run / keys.TASKS_FOLDER / "map-genes"):
        assert home_of(job) == (tmp_path, "anna")
        assert queue_of(job).entry_of(job) == Entry(path=job.relative_to(tmp_path).as_posix(), user="anna")
    assert home_of(tmp_path / "runs" / "first") == (tmp_path, "")


def test_a_home_that_happens_to_lie_in_a_folder_called_users_is_a_server_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "users" / "anna"
    assert home_of(home / "runs" / "first") == (home, "")


def test_a_priority_given_to_an_account_counts_in_the_queue_and_outlives_another_password(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    for name in ("anna", "bert"):
        accounts.add(name, "long enough for all")
    accounts.set_priority("bert", 7)
    accounts.change_password("bert", "long enough for bert")
    assert priorities(tmp_path) == {"anna": 0, "bert": 7}
    with pytest.raises(AccessError, match="no account called 'carl'"):
        accounts.set_priority("carl", 1)


def test_the_command_line_gives_priorities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Accounts(tmp_path).add("anna", "long enough for all")
    assert main(["account", "priority", "anna", "-3", "--home", str(tmp_path)]) == 0
    assert priorities(tmp_path) == {"anna": -3}
    assert "priority -3" in capsys.readouterr().out


def test_the_address_of_the_broker_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(broker.VARIABLE, raising=False)
    assert broker.address() == ""
    with pytest.raises(ConfigError, match="No broker is set"):
        broker.celery_app()
    monkeypatch.setenv(broker.FILE_VARIABLE, str(tmp_path / "broker"))
    with pytest.raises(ConfigError, match="cannot be read"):
        broker.address()
    (tmp_path / "broker").write_text("redis://:secret@queue:6379/0\n")
    assert broker.address() == "redis://:secret@queue:6379/0"
