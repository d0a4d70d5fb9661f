"""Does a loss that is no number lead back to the last good state, once, and then to an end with a reason?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from scetm_core import jobs
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]
Poison = Callable[..., None]

pytestmark = pytest.mark.usefixtures("unscored")


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Spoil the weights at some steps of the next trainings, so many times each."""

    def spoil(*steps: int, times: int = 1) -> None:
        import torch

        from scetm_core.trainer import Trainer

        left, original = dict.fromkeys(steps, times), Trainer._update

        def update(self: Trainer, *arguments: Any) -> Any:
            found = original(self, *arguments)
            if left.get(self.step, 0) > 0:
                left[self.step] -= 1
                with torch.no_grad():
                    self.model.alpha.fill_(math.nan)
            return found

        monkeypatch.setattr(Trainer, "_update", update)

    return spoil


def stop_at(run: Run, step: int) -> Callable[[Status], None]:
    def stop(status: Status) -> None:
        if status.step == step:
            run.request_cancel()

    return stop


def test_one_bad_step_costs_a_report_and_lowers_the_rate(make_run: MakeRun, poison: Poison) -> None:
    from pages._train.findings import findings_view
    from tests.pages.conftest import words_in

    run = make_run()
    poison(12)
    assert run_analysis(run) == "done", run.status().message
    curve = run.metrics()
    assert curve["step"].tolist() == [5, 10, 15, 20, 25, 30]
    assert curve["nll"].notna().all()
    assert curve["rollbacks"].tolist() == [0, 0, 1, 1, 1, 1]
    assert (curve["learning_rate"][2:] < 0.2 * curve["learning_rate"][0]).all()
    said = words_in(findings_view(run.evaluation()))
    assert "The loss was not finite once; training went back to an earlier step" in said


def test_the_second_time_the_run_stops_with_a_reason_and_keeps_its_checkpoint(
    make_run: MakeRun, poison: Poison
) -> None:
    run = make_run()
    poison(22, times=2)
    assert run_analysis(run) == "failed"
    message = run.status().message
    assert "The loss is no longer finite (after step 20" in message
    assert "Lower the learning rate, and check that the counts are raw counts" in message
    assert jobs.can_resume(run)
    assert max(run.metrics()["step"]) == 20
    assert run.metrics()["nll"].notna().all()
    assert run_analysis(run) == "done", "what spoilt it is gone"


def test_a_bad_step_after_a_resume_is_rolled_back_too_and_is_remembered(make_run: MakeRun, poison: Poison) -> None:
    run = make_run(max_steps=40)
    assert run_analysis(run, on_change=stop_at(run, 10)) == "cancelled"
    run.clear_cancel()
    poison(12, 33)
    assert run_analysis(run, on_change=stop_at(run, 20)) == "cancelled"
    run.clear_cancel()
    assert run.metrics()["rollbacks"].tolist() == [0, 0, 1, 1]
    assert run_analysis(run) == "failed", "the second time, though in another process"
    assert "The loss is no longer finite (after step 30" in run.status().message
    assert run.metrics()["nll"].notna().all()
