"""Does the Server page show how the server does, and to nobody who should not see it?"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from dash import Dash, no_update
from dash.development.base_component import Component

from pages._server import tables, under_way
from pages._server.sizes import Sizes
from pages._server.watch import Answered, Watch
from pages._shared import access, studio
from pages._shared.access import Visitor
from pages._shared.studio import Studio
from scetm_core import jobs, keys
from scetm_core.accounts import Accounts
from scetm_core.errors import AccessError, RunError
from scetm_core.files import write_atomically
from scetm_core.jobfolder import Status, new_status
from scetm_core.liveness import identity
from scetm_core.requests import EnrichmentRequest, request_as_json
from scetm_core.runs import Run
from scetm_core.waiting import Queue

pytestmark = pytest.mark.usefixtures("look_anew")
MakeRun = Callable[..., Run]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
ADMIN = Visitor(name="ada", is_in=True, is_admin=True)
NO_ADMIN = Visitor(name="bo", is_in=True)


@pytest.fixture
def server(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("server")


@pytest.fixture
def as_visitor(app: Dash) -> Iterator[Callable[[Visitor], None]]:
    with app.server.test_request_context("/server"):
        yield access.admit


@pytest.fixture
def by_admin(as_visitor: Callable[[Visitor], None]) -> None:
    as_visitor(ADMIN)


@pytest.fixture
def with_accounts(own_studio: Studio) -> Studio:
    for name in ("ada", "bo"):
        Accounts(own_studio.home).add(name, "a long password")
    shown = dataclasses.replace(own_studio, has_accounts=True)
    studio.configure(shown)
    return shown


def alive(**changes: Any) -> Status:
    known = {"state": "running", "step": 42, "max_steps": 100, "queued_at": time.time() - 130, **identity()}
    return Status(**{**known, **changes})


def a_task(run: Run, status: Status) -> None:
    path = run.path / keys.TASKS_FOLDER / "enrichment-mine"
    path.mkdir(parents=True)
    write_atomically(path / keys.REQUEST_FILE, request_as_json(EnrichmentRequest(gene_sets="mine.gmt")))
    new_status(path, status)


def rows_of(table: Any, components_in: Callable[[Any], list[Component]], words_in: Words) -> list[list[str]]:
    """The words of a table, row by row, without its head."""
    rows = [node for node in components_in(table) if type(node).__name__ == "Tr"][1:]
    return [[words_in(cell.children) for cell in row.children] for row in rows]


@pytest.mark.usefixtures("by_admin")
def test_the_page_shows_queue_disk_workers_and_versions(
    server: ModuleType, make_shown_run: MakeRun, words_in: Words
) -> None:
    make_shown_run("works", alive(started_at=time.time() - 130, eta_seconds=70.0))
    text = words_in(server.layout())
    for words in (
        "How does this server do?", "Memory in use", "Disk free", "1 of 1", "my cells", "Training",
        "42%, 1 min 10 s left", "2 min", str(identity()["host"]), "Cancel", "Runs", "Versions", "torch", "This process",
    ):  # fmt: skip
        assert words in text
    assert "Whose" not in text


@pytest.mark.parametrize("visitor", [NO_ADMIN, access.STRANGER])
def test_others_than_admins_are_refused_in_words(
    visitor: Visitor, as_visitor: Callable[[Visitor], None], server: ModuleType, words_in: Words, triggered: Trigger
) -> None:
    as_visitor(visitor)
    text = words_in(server.layout())
    assert "those who look after the server" in text
    assert "Memory" not in text
    with pytest.raises(AccessError, match="look after the server"):
        server.refresh(1, None, {})
    with (
        triggered("n_clicks", type=tables.CANCEL, user="", run="a-run", task=""),
        pytest.raises(AccessError, match="look after the server"),
    ):
        server.cancel([1])


@pytest.mark.usefixtures("by_admin")
def test_only_what_has_changed_is_sent_again(server: ModuleType, make_shown_run: MakeRun, words_in: Words) -> None:
    make_shown_run("one", Status(state="done"))
    *first, stamps = server.refresh(1, None, None)
    assert all(content is not no_update for content in first)
    make_shown_run("two", alive())
    under_way.under_way.forget()
    *second, later = server.refresh(2, None, stamps)
    of = dict(zip(server.SECTIONS, second, strict=True))
    assert "my cells" in words_in(of["queue"])
    assert of["errors"] is no_update
    assert of["largest"] is no_update
    assert later["queue"] != stamps["queue"]
    assert later["errors"] == stamps["errors"]


@pytest.mark.usefixtures("by_admin")
def test_an_admin_cancels_whoever_runs(
    server: ModuleType, with_accounts: Studio, make_shown_run: MakeRun, triggered: Trigger, words_in: Words
) -> None:
    run = make_shown_run("theirs", alive())
    home = with_accounts.of_user("bo")
    home.make_folders()
    path = run.path.rename(home.runs_folder / "theirs")
    assert "bo" in words_in(server.sections()["queue"])
    with triggered("n_clicks", type=tables.CANCEL, user="bo", run="theirs", task=""):
        assert server.cancel([1])["run"] == "theirs"
    assert Run(path).cancel_requested
    assert "Stopping" in words_in(server.sections()["queue"])


@pytest.mark.usefixtures("by_admin")
def test_a_task_can_be_cancelled_too(
    server: ModuleType, own_studio: Studio, make_shown_run: MakeRun, triggered: Trigger, words_in: Words
) -> None:
    run = make_shown_run("one", Status(state="done"))
    a_task(run, alive())
    assert "Enrichment" in words_in(server.sections()["queue"])
    with triggered("n_clicks", type=tables.CANCEL, user="", run="one", task="enrichment-mine"):
        server.cancel([1])
    assert under_way.open_seen(own_studio, "", "one", "enrichment-mine").cancel_requested
    assert not run.cancel_requested


@pytest.mark.usefixtures("by_admin")
def test_buttons_that_come_onto_the_page_cancel_nothing(
    server: ModuleType, make_shown_run: MakeRun, triggered: Trigger
) -> None:
    run = make_shown_run("one", alive())
    with triggered("n_clicks", type=tables.CANCEL, user="", run="one", task="") as context:
        context.triggered_inputs[0]["value"] = None
        assert server.cancel([None]) is no_update
    assert not run.cancel_requested


@pytest.mark.parametrize(
    ("user", "run", "task", "words"),
    [
        ("..", "one", "", "cannot be the name of an account"),
        ("bo", "one", "", "There is no run called"),
        ("", "../x", "", "is not the name of a run"),
        ("", "one", "../../two", "There is no task called"),
        ("", "one", "a\0b", "There is no task called"),
        ("", "one", "x" * 5000, "There is no task called"),
    ],
)
def test_only_what_there_is_can_be_cancelled(
    user: str, run: str, task: str, words: str, own_studio: Studio, make_shown_run: MakeRun
) -> None:
    make_shown_run("one", alive())
    with pytest.raises((RunError, AccessError), match=words):
        tables.cancel_seen(own_studio, user, run, task)


def test_the_queue_tells_the_order_of_turns(
    own_studio: Studio, make_shown_run: MakeRun, components_in: Callable[[Any], list[Component]], words_in: Words
) -> None:
    make_shown_run("second", alive(state="queued", queued_at=20.0), name="second")
    make_shown_run("first", alive(state="queued", queued_at=10.0), name="first")
    make_shown_run("works", alive(), name="works")
    seen = under_way.under_way.look(own_studio)
    rows = rows_of(tables.queue_table(own_studio, seen), components_in, words_in)
    assert [(row[0], row[3]) for row in rows] == [
        ("works", "42%"), ("first", "number 1 in line"), ("second", "number 2 in line"),
    ]  # fmt: skip
    assert "nobody waits" in words_in(tables.queue_table(own_studio, []))


def test_the_queue_on_the_page_is_that_by_which_turns_are_taken(own_studio: Studio, make_shown_run: MakeRun) -> None:
    came = {"first": 10.0, "second": 20.0, "third": 30.0}
    runs = {name: make_shown_run(name, alive(state="queued", queued_at=at)) for name, at in came.items()}
    queue = Queue(own_studio.home)
    for name, turn in (("second", 1.0), ("third", 2.0)):  # "first" waits without being in the queue
        queue.enter(dataclasses.replace(queue.entry_of(runs[name].path), queued_at=turn))
    shown = under_way.in_turn(own_studio, under_way.under_way.look(own_studio))
    assert [one.run_id for one in shown] == ["second", "third", "first"]
    assert [jobs.place_in_queue(runs[one.run_id]) for one in shown] == [1, 2, None]


def test_accounts_are_listed_with_what_they_take_also_those_that_were_removed(
    with_accounts: Studio, components_in: Callable[[Any], list[Component]], words_in: Words
) -> None:
    sizes = Sizes(by_folder={"runs": 3000}, by_user={"": 10, "bo": 2000, "gone": 1000}, by_run={}, n_uploads=0)
    rows = rows_of(tables.account_table(with_accounts, [], sizes), components_in, words_in)
    assert rows == [
        ["ada", "admin", "0", "0", "0 B"], ["bo", "user", "0", "0", "2 kB"], ["gone", "removed", "0", "0", "1 kB"],
    ]  # fmt: skip


def test_errors_and_pace_are_shown_as_tables(
    own_studio: Studio, components_in: Callable[[Any], list[Component]], words_in: Words
) -> None:
    kept = Watch()
    assert "None since the start" in words_in(tables.error_table(own_studio, kept))
    assert "No callback" in words_in(tables.pace_table(kept))
    record = logging.LogRecord("scetm.app", logging.ERROR, "", 0, "A callback failed", None, None)
    record.mark = "abc123"
    kept.fail(record)
    kept.answered.append(Answered(at=time.time(), name="topics.draw", seconds=1.26))
    (row,) = rows_of(tables.error_table(own_studio, kept), components_in, words_in)
    assert row[1:] == ["abc123", "scetm.app", "–"]
    shared = dataclasses.replace(own_studio, has_accounts=True)
    (row,) = rows_of(tables.error_table(shared, kept), components_in, words_in)
    assert row[1:] == ["abc123", "scetm.app", "–", "–"]
    (row,) = rows_of(tables.pace_table(kept), components_in, words_in)
    assert row == ["Topics", "1", "1.3 s", "1.3 s", "draw, 1.3 s"]


def test_sizes_that_are_not_known_yet_are_announced(own_studio: Studio, words_in: Words) -> None:
    assert words_in(tables.disk_table(None)) == tables.MEASURING
    assert words_in(tables.largest_runs(own_studio, None)) == tables.MEASURING


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "< 1 min"), (125, "2 min"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
)
def test_how_long_it_is_up_is_said_roughly(seconds: float, words: str) -> None:
    assert tables.uptime(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(None, "–"), (0.0421, "42 ms"), (1.26, "1.3 s")])
def test_short_times_are_said_in_milliseconds(seconds: float | None, words: str) -> None:
    assert tables.milliseconds(seconds) == words
