"""Does the live view tell the truth of a run's folder, in every state it can be in?"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
import pytest
from dash import dcc, no_update
from dash.development.base_component import Component

from pages._shared.studio import Studio
from scetm_core import jobs, liveness
from scetm_core.errors import AccessError, RunError
from scetm_core.jobfolder import Status
from scetm_core.runs import Run

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
Parts = Callable[[Any], list[Component]]
MakeRun = Callable[..., Run]


def alive(**changes: Any) -> Status:
    now = time.time()
    return Status(**{"state": "running", "queued_at": now, "started_at": now, **liveness.identity(), **changes})  # type: ignore[arg-type]


STATUSES: dict[str, Callable[[], Status]] = {
    "new": lambda: Status(queued_at=time.time(), max_steps=100),
    "queued": lambda: alive(state="queued", max_steps=100),
    "running": lambda: alive(step=40, max_steps=100, eta_seconds=130, message="Training on 60 cells and 30 genes."),
    "done": lambda: Status(state="done", step=100, max_steps=100, started_at=1000.0, finished_at=1130.0),
    "failed": lambda: Status(state="failed", step=12, max_steps=100, message="The loss is not finite. Lower the rate."),
    "cancelled": lambda: Status(state="cancelled", step=40, max_steps=100, message="Cancelled."),
    "lost": lambda: alive(step=40, max_steps=100, pid_started=1.0, pid_key=""),
}
WORDS = {
    "new": ["queued", "Waiting for its turn"],
    "queued": ["queued", "Waiting for its turn"],
    "running": ["running", "Training on 60 cells", "step 40 of 100", "about 2 min 10 s left"],
    "done": ["done", "Done", "step 100 of 100", "took 2 min 10 s", "Look at the cells", "Look at the topics"],
    "failed": ["failed", "The loss is not finite. Lower the rate.", "step 12 of 100"],
    "cancelled": ["cancelled", "Cancelled", "step 40 of 100"],
    "lost": ["lost", "process", "Resume"],
}
BUTTONS = {
    "new": {"Cancel"},
    "queued": {"Cancel"},
    "running": {"Cancel"},
    "done": set(),
    "failed": {"Resume"},
    "cancelled": {"Resume"},
    "lost": {"Resume"},
}


@pytest.fixture
def live(page_module: PageModule) -> ModuleType:
    page_module("train")
    from pages._train import live

    return live


def shown_buttons(page: Any, components_in: Parts) -> set[str]:
    buttons = [n for n in components_in(page) if isinstance(n, dmc.Button) and n.children in ("Cancel", "Resume")]
    assert len(buttons) == 2
    return {node.children for node in buttons if node.style != {"display": "none"}}


@pytest.mark.parametrize("state", list(STATUSES))
def test_every_state_has_its_words_and_buttons(
    state: str, make_shown_run: MakeRun, page_module: PageModule, words_in: Words, components_in: Parts
) -> None:
    run = make_shown_run(status=STATUSES[state]())
    if state == "done":
        run.result_path.touch()
    page = page_module("train").layout(run=run.id)
    text = words_in(page)
    assert all(words in text for words in [*WORDS[state], "my cells", "planted.h5ad", "50 topics"])
    assert shown_buttons(page, components_in) == BUTTONS[state]


@pytest.mark.parametrize("state", list(STATUSES))
def test_what_follows_says_the_same_as_the_first_view(
    state: str, make_shown_run: MakeRun, live: ModuleType, words_in: Words
) -> None:
    run = make_shown_run(status=STATUSES[state]())
    if state == "done":
        run.result_path.touch()
    started = run.id if state == "new" else None
    view, figure, _, cancel, resume, seen, ticks = live.follow_run(None, 1, run.id, -1, started)
    assert all(words in words_in(view) for words in WORDS[state])
    shown = {name for name, style in (("Cancel", cancel), ("Resume", resume)) if style != {"display": "none"}}
    assert shown == BUTTONS[state]
    assert seen == 0
    assert "not reported yet" in figure.layout.annotations[0].text
    assert ticks == (0 if state in ("done", "failed", "cancelled") else -1)  # the clock of what has ended stands still


def test_a_finished_run_whose_result_is_gone_can_work_it_out_anew(
    make_shown_run: MakeRun, page_module: PageModule, words_in: Words, components_in: Parts
) -> None:
    page = page_module("train").layout(run=make_shown_run(status=STATUSES["done"]()).id)
    assert "result of this run is gone" in words_in(page)
    assert shown_buttons(page, components_in) == {"Resume"}


def test_a_run_asked_to_stop_says_so_and_cannot_be_asked_twice(
    make_shown_run: MakeRun, page_module: PageModule, words_in: Words, components_in: Parts
) -> None:
    run = make_shown_run(status=STATUSES["running"]())
    run.request_cancel()
    page = page_module("train").layout(run=run.id)
    assert "Stopping after this step" in words_in(page)
    assert shown_buttons(page, components_in) == set()


def test_scores_of_a_finished_run_are_explained(page_module: PageModule, words_in: Words, components_in: Parts) -> None:
    page = page_module("train").layout(run="done-run")
    assert all(words in words_in(page) for words in ("ARI", ".94", "kBET", ".50", "Held-out NLL", "8.123"))
    tips = [getattr(node, "data-tip") for node in components_in(page) if hasattr(node, "data-tip")]
    assert len(tips) == 5
    assert all("is better" in tip or "is perfect" in tip for tip in tips)


def test_only_a_new_run_is_started_by_the_page_that_opens(
    make_shown_run: MakeRun, live: ModuleType, find: Callable[..., Any]
) -> None:
    assert find(live.layout(make_shown_run("new")), "train-start").data == "new"
    for state in ("queued", "running", "cancelled", "failed", "lost"):
        run = make_shown_run(state, status=STATUSES[state]())
        assert find(live.layout(run), "train-start").data is None


def test_the_curve_is_drawn_anew_only_when_it_has_grown(live: ModuleType, app: Any) -> None:
    _, figure, _, _, _, seen, _ = live.follow_run(None, 1, "done-run", -1, None)
    assert seen == 3
    assert list(figure.data[0].y) == pytest.approx([7.9, 7.8, 7.7])
    assert live.follow_run(None, 2, "done-run", seen, None)[1] is no_update


def test_a_run_deleted_under_the_open_page_is_told_and_the_clock_stops(
    make_shown_run: MakeRun, live: ModuleType, words_in: Words
) -> None:
    run = make_shown_run(status=STATUSES["running"]())
    shutil.rmtree(run.path)
    view, figure, log, cancel, resume, _, ticks = live.follow_run(None, 5, run.id, 0, None)
    assert "There is no run called 'a-run'. It may have been deleted." in words_in(view)
    assert (figure, log, ticks) == (no_update, no_update, 0)
    assert cancel == resume == {"display": "none"}


def test_a_run_with_a_damaged_status_is_told(
    make_shown_run: MakeRun, live: ModuleType, page_module: PageModule, words_in: Words
) -> None:
    run = make_shown_run()
    (run.path / "status.json").write_text("{")
    assert "status.json of run a-run cannot be read" in words_in(page_module("train").layout(run=run.id))
    assert "cannot be read" in words_in(live.follow_run(None, 1, run.id, 0, None)[0])


def test_the_log_is_shown(make_shown_run: MakeRun, live: ModuleType, find: Callable[..., Any]) -> None:
    run = make_shown_run()
    run.log_path.write_text("Loading PyTorch.\n")
    assert find(live.layout(run), "train-log").children == "Loading PyTorch."


# ---- Cancel, Resume, start ----------------------------------------------------------------------------------------


def test_cancel_leaves_the_marker_and_hides_its_button(make_shown_run: MakeRun, live: ModuleType) -> None:
    run = make_shown_run(status=STATUSES["running"]())
    assert live.cancel_run(None, run.id) == {"display": "none"}
    assert not run.cancel_requested
    assert live.cancel_run(1, run.id) == {"display": "none"}
    assert run.cancel_requested
    assert jobs.state(run) == "running"


def test_cancel_of_a_run_whose_process_is_gone_marks_it(make_shown_run: MakeRun, live: ModuleType) -> None:
    run = make_shown_run(status=STATUSES["lost"]())
    live.cancel_run(1, run.id)
    assert run.status().state == "cancelled"


@pytest.mark.parametrize("callback", ["cancel_run", "resume_run"])
def test_buttons_of_a_deleted_run_say_that_it_is_gone(
    callback: str, own_studio: Studio, live: ModuleType, triggered: Trigger
) -> None:
    with triggered("train-resume.n_clicks"):
        if callback == "cancel_run":
            with pytest.raises(RunError, match="gone-run"):
                live.cancel_run(1, "gone-run")
        else:
            assert live.resume_run(1, "gone-run")[0] == "gone-run#1"  # the start refuses it


def test_resume_hands_the_run_over_and_starts_the_clock(live: ModuleType, triggered: Trigger) -> None:
    with triggered("train-resume.n_clicks"):
        assert live.resume_run(2, "a-run") == ("a-run#2", {"display": "none"}, -1)
        assert live.resume_run(None, "a-run") == (no_update, no_update, no_update)
    with triggered("other.n_clicks"):
        assert live.resume_run(2, "a-run") == (no_update, no_update, no_update)


class Worker:
    """Stands in for `jobs.start`: the run is under way, and done after some looks at it."""

    def __init__(self, looks: int = 2) -> None:
        self.started: list[str] = []
        self.looks = looks

    def start(self, run: Run, *, n_slots: int) -> None:
        self.started.append(run.id)
        run.write_status(alive(step=1, max_steps=100))

    def wait(self, _: float) -> None:
        self.looks -= 1
        if self.looks <= 0:
            for path in self.folder.iterdir():
                if (path / "status.json").exists():
                    Run(path).write_status(Status(state="done"))

    folder: Any = None


@pytest.fixture
def worker(live: ModuleType, own_studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    worker.folder = own_studio.runs_folder
    monkeypatch.setattr(live.jobs, "start", worker.start)
    monkeypatch.setattr(live.time, "sleep", worker.wait)
    return worker


@pytest.mark.parametrize(("state", "request_"), [("new", "a-run"), ("cancelled", "a-run#1"), ("lost", "a-run#2")])
def test_starting_starts_the_worker_once_and_relays_its_heartbeat(
    state: str, request_: str, worker: Worker, live: ModuleType, make_shown_run: MakeRun
) -> None:
    make_shown_run(status=STATUSES[state]())
    beats: list[Any] = []
    relayed = live.start_run(request_)
    assert worker.started == ["a-run"]
    assert relayed.partition("#")[2] == request_.partition("#")[2]  # another click is another relay
    end = live.relay(beats.append, relayed)
    assert len(beats) == 2
    assert all(beat > 0 for (beat,) in beats)
    assert end >= beats[-1][0]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_under_way_is_followed_and_not_started_again(
    state: str, worker: Worker, live: ModuleType, make_shown_run: MakeRun
) -> None:
    make_shown_run(status=STATUSES[state]())
    live.relay(lambda _: None, live.start_run("a-run"))
    assert worker.started == []


def test_a_run_is_relayed_only_to_who_was_given_it(live: ModuleType, make_shown_run: MakeRun) -> None:
    make_shown_run(status=STATUSES["running"]())
    for forged in ("a-run", "a-run#1", "WyJib2IiLCAiYS1ydW4iXQ.AAAA"):
        with pytest.raises(AccessError, match="was not given out by this server"):
            live.relay(lambda _: None, forged)


def test_a_page_that_only_looks_starts_nothing(worker: Worker, live: ModuleType) -> None:
    assert live.start_run(None) is no_update
    assert live.relay(lambda _: None, None) is no_update
    assert worker.started == []


def test_the_curve_comes_as_csv_with_the_numbers_on_screen(live: ModuleType, app: Any, shown_studio: Studio) -> None:
    assert live.download_curve(None, "done-run") is no_update
    sent = live.download_curve(1, "done-run")
    assert sent["filename"] == "done-run-training.csv"
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(sent["content"])), Run(shown_studio.runs_folder / "done-run").metrics()
    )


def test_the_clock_ticks_once_a_second(live: ModuleType, make_shown_run: MakeRun, components_in: Parts) -> None:
    (clock,) = [n for n in components_in(live.layout(make_shown_run())) if isinstance(n, dcc.Interval)]
    assert clock.interval == 1000
