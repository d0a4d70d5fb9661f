"""Does a run that another version wrote open, or say in words what to do?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from scetm_core import jobs, keys
from scetm_core.errors import RunError
from scetm_core.runs import Run, list_runs
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]


def rewrite(run: Run, change: Callable[[dict[str, Any]], dict[str, Any]], *, name: str = keys.CONFIG_FILE) -> str:
    file = run.path / name
    text = json.dumps(change(json.loads(file.read_text())))
    file.write_text(text)
    return text


def few_settings(record: dict[str, Any]) -> dict[str, Any]:
    """As before most settings were there."""
    config = record["config"]
    model = {name: config["model"][name] for name in ("n_topics", "n_emb")}
    train = {name: config["train"][name] for name in ("max_steps", "minibatch_size", "device")}
    data = {name: config["data"][name] for name in ("path", "batch_key")}
    return {**record, "config": {"name": "old", "data": data, "model": model, "train": train}}


@pytest.mark.usefixtures("unscored")
def test_settings_that_were_not_there_yet_have_their_defaults_and_the_run_goes_on(make_run: MakeRun) -> None:
    run = make_run()
    rewrite(run, few_settings)
    rewrite(run, lambda status: {name: status[name] for name in ("state", "queued_at")}, name=keys.STATUS_FILE)
    assert run.config.model.n_topics == 4
    assert run.config.train.test_fraction == 0.1
    assert run.status().step == 0
    assert jobs.state(run) == "queued"
    assert run_analysis(run) == "done", run.status().message


@pytest.mark.parametrize(
    "older",
    [
        pytest.param(lambda record: {k: v for k, v in record.items() if k != "format"}, id="no format"),
        pytest.param(lambda record: {"config": record["config"]}, id="settings in config"),
        pytest.param(lambda record: record["config"], id="settings alone"),
        pytest.param(lambda record: {**record, "format": 0}, id="format 0"),
        pytest.param(
            lambda record: {k: v for k, v in record.items() if k not in ("versions", "written_by")}, id="less"
        ),
    ],
)
def test_earlier_formats_are_read_and_the_file_stays_as_it_is(
    make_run: MakeRun, runs_folder: Any, older: Callable[..., dict[str, Any]]
) -> None:
    run = make_run()
    config = run.config
    text = rewrite(run, older)
    assert run.config == config
    assert run.created_at == pytest.approx(run.created_at)
    assert isinstance(run.versions, dict)
    assert "path" in run.input
    assert [found.id for found in list_runs(runs_folder)] == ["tiny"]
    assert (run.path / keys.CONFIG_FILE).read_text() == text


@pytest.mark.parametrize(
    ("newer", "words"),
    [
        pytest.param(
            lambda record: {**record, "format": 2, "written_by": "9.9"},
            r"has format 2, written by scETM Studio 9\.9; this version reads formats up to 1\. Update scETM Studio",
            id="a later format",
        ),
        pytest.param(
            lambda record: {**record, "written_by": "9.9", "config": {**record["config"], "mood": "good"}},
            r"does not know \['mood'\].* It was written by scETM Studio 9\.9, this is ",
            id="a setting of later",
        ),
        pytest.param(lambda record: {**record, "format": "one"}, "has format one", id="no number"),
    ],
)
def test_what_a_newer_version_wrote_is_refused_in_words(
    make_run: MakeRun, newer: Callable[..., dict[str, Any]], words: str
) -> None:
    run = make_run()
    rewrite(run, newer)
    with pytest.raises(RunError, match=words):
        run.config  # noqa: B018


def test_fields_of_later_beside_the_settings_are_passed_over(make_run: MakeRun) -> None:
    run = make_run()
    rewrite(run, lambda record: {**record, "mood": "good"})
    assert run.config.model.n_topics == 4


def test_a_state_of_later_is_said_to_be_unknown(make_run: MakeRun) -> None:
    run = make_run()
    rewrite(run, lambda status: {**status, "state": "paused"}, name=keys.STATUS_FILE)
    with pytest.raises(RunError, match="state 'paused' is not known; a newer version may have written it"):
        run.status()
