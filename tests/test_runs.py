"""Is a run folder whole at every moment, and is nothing outside it reachable?"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from scetm_core import keys, runs
from scetm_core.config import RunConfig
from scetm_core.errors import RunError
from scetm_core.files import table_name
from scetm_core.jobfolder import Status
from scetm_core.runs import Run, describe_input, list_runs, new_run_path, open_run

TinyConfig = Callable[..., RunConfig]
MakeRun = Callable[..., Run]


def disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- create -----------------------------------------------------------------------------------------------------


def test_a_new_run_is_queued_and_knows_its_settings_and_input(
    runs_folder: Path, tiny_config: TinyConfig, planted_file: Path
) -> None:
    run = Run.create(runs_folder / "first", tiny_config())
    assert run.id == "first"
    assert run.config == tiny_config()
    assert run.input == {
        "path": str(planted_file),
        "size": planted_file.stat().st_size,
        "sha256": hashlib.sha256(planted_file.read_bytes()).hexdigest(),
    }
    status = run.status()
    assert (status.state, status.step, status.max_steps, status.pid) == ("queued", 0, 30, None)
    assert json.loads((run.path / keys.CONFIG_FILE).read_text())["versions"]["numpy"] == np.__version__
    assert names_in(runs_folder) == ["first"]
    assert names_in(run.path) == ["config.json", "status.json"]


def test_an_empty_folder_may_become_a_run(runs_folder: Path, tiny_config: TinyConfig) -> None:
    (runs_folder / "empty").mkdir()
    assert Run.create(runs_folder / "empty", tiny_config()).status().state == "queued"


@pytest.mark.parametrize("kind", ["run", "folder", "file"])
def test_what_exists_already_is_left_alone(
    runs_folder: Path, make_run: MakeRun, tiny_config: TinyConfig, kind: str
) -> None:
    path = runs_folder / "taken"
    if kind == "run":
        make_run("taken")
    elif kind == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    else:
        path.write_text("years of work")
    before = names_in(path) if path.is_dir() else path.read_text()
    with pytest.raises(RunError, match="taken exists already"):
        Run.create(path, tiny_config(n_topics=9))
    assert (names_in(path) if path.is_dir() else path.read_text()) == before
    assert names_in(runs_folder) == ["taken"]


def test_a_folder_that_cannot_be_made_is_said_so(runs_folder: Path, tiny_config: TinyConfig) -> None:
    (runs_folder / "file").write_text("")
    with pytest.raises(RunError, match=r"Cannot create the run folder .*file/run: .*Check the permissions"):
        Run.create(runs_folder / "file" / "run", tiny_config())


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_no_part_of_a_run(
    runs_folder: Path, tiny_config: TinyConfig, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(runs.os, function, disk_full)
        with pytest.raises(RunError, match="No space left on device"):
            Run.create(runs_folder / "run", tiny_config())
    assert names_in(runs_folder) == []


def test_an_input_that_cannot_be_read_makes_no_run(runs_folder: Path, tiny_config: TinyConfig) -> None:
    with pytest.raises(RunError, match=r"input /nowhere\.h5ad cannot be read: No such file"):
        Run.create(runs_folder / "run", tiny_config(path="/nowhere.h5ad"))
    assert names_in(runs_folder) == []


def test_two_threads_creating_the_same_run_leave_one_whole_run(
    runs_folder: Path, tiny_config: TinyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clicks at once in one server: the second comes while the first is about to rename its draft."""
    original, errors = os.replace, []

    def create() -> None:
        try:
            Run.create(runs_folder / "run", tiny_config())
        except RunError as error:
            errors.append(error)

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "run":
            monkeypatch.setattr(runs.os, "replace", original)
            create()
        original(source, target)

    monkeypatch.setattr(runs.os, "replace", replace)
    create()
    assert len(errors) == 1
    assert Run(runs_folder / "run").config == tiny_config()
    assert names_in(runs_folder) == ["run"]


def test_a_folder_input_is_hashed_over_names_and_contents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "matrix.mtx").write_text("1 2 3")
    same = describe_input(tmp_path / "a")
    assert same["sha256"] == describe_input(tmp_path / "b")["sha256"]
    assert same["size"] == 5
    (tmp_path / "b" / "matrix.mtx").rename(tmp_path / "b" / "other.mtx")
    assert describe_input(tmp_path / "b")["sha256"] != same["sha256"]


# ---- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        ".",
        "..",
        "../runs/tiny",
        "../x",
        "a/b",
        "/etc",
        "tiny/",
        ".hidden",
        "a\\b",
        "tiny\n",
        "tiny\0",
        "x" * 121,
        "é",
    ],
)
def test_only_names_of_child_folders_open_a_run(runs_folder: Path, make_run: MakeRun, run_id: str) -> None:
    make_run("tiny")
    with pytest.raises(RunError, match="is not the name of a run"):
        open_run(runs_folder, run_id)


def test_a_run_is_opened_by_its_name(runs_folder: Path, make_run: MakeRun) -> None:
    make_run("tiny")
    assert open_run(runs_folder, "tiny").path == runs_folder / "tiny"
    with pytest.raises(RunError, match=r"no run called 'other'.*may have been deleted"):
        open_run(runs_folder, "other")
    with pytest.raises(RunError, match=r"No run at .*other: it holds no config\.json"):
        Run(runs_folder / "other")


def test_new_paths_are_unused_and_openable(runs_folder: Path, make_run: MakeRun) -> None:
    for name in ("Mouse pancreas, 50 topics!", "遺伝子", "../../etc", "x" * 200):
        paths = []
        for _ in range(3):
            paths.append(new_run_path(runs_folder, name))
            run = make_run(paths[-1].name)
            assert open_run(runs_folder, run.id).path.parent == runs_folder
        assert len(set(paths)) == 3
    assert new_run_path(runs_folder, "Mouse pancreas, 50 topics!").name.startswith("mouse-pancreas-50-topics-")


# ---- list -------------------------------------------------------------------------------------------------------


def set_created_at(run: Run, seconds: float) -> None:
    file = run.path / keys.CONFIG_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "created_at": seconds}))


def test_runs_are_listed_newest_first(runs_folder: Path, make_run: MakeRun) -> None:
    for name, seconds in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        set_created_at(make_run(name), seconds)
    assert [run.id for run in list_runs(runs_folder)] == ["a", "b", "c"]
    assert list_runs(runs_folder / "nowhere") == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99}', '{"format": 1, "created_at": "x"}']
)
def test_foreign_and_damaged_folders_are_passed_over(runs_folder: Path, make_run: MakeRun, text: str) -> None:
    make_run("good")
    (runs_folder / "foreign").mkdir()
    (runs_folder / "foreign" / keys.CONFIG_FILE).write_text(text)
    (runs_folder / "no-run").mkdir()
    (runs_folder / ".draft").mkdir()
    (runs_folder / ".draft" / keys.CONFIG_FILE).write_text((runs_folder / "good" / keys.CONFIG_FILE).read_text())
    (runs_folder / "file.txt").write_text("")
    assert [run.id for run in list_runs(runs_folder)] == ["good"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"format": 99}, r"format 99, .* reads formats up to 1\. Update", id="another format"),
        pytest.param(
            {"config": {"speed": 3}}, r"cannot be used: RunConfig does not know \['speed'\]", id="unknown key"
        ),
        pytest.param({"config": []}, "must be a JSON object", id="no settings"),
    ],
)
def test_a_config_that_cannot_be_used_says_why(make_run: MakeRun, change: dict[str, Any], words: str) -> None:
    run = make_run()
    file = run.path / keys.CONFIG_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(RunError, match=words):
        _ = run.config


# ---- status -----------------------------------------------------------------------------------------------------


def test_status_comes_back_as_written_with_a_fresh_heartbeat(make_run: MakeRun) -> None:
    run = make_run()
    status = Status(state="running", stage="training", message="é", step=3, max_steps=12, eta_seconds=1.5, pid=7)
    run.write_status(status)
    back = run.status()
    assert back.heartbeat > 0
    assert dataclasses.replace(back, heartbeat=0.0) == status
    assert back.progress == 0.25


def test_progress_is_a_share_also_before_and_after_the_end() -> None:
    assert Status().progress == 0
    assert Status(step=12, max_steps=10).progress == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"state": "ru'])
def test_a_damaged_status_is_said_so(make_run: MakeRun, text: str) -> None:
    run = make_run()
    (run.path / keys.STATUS_FILE).write_text(text)
    with pytest.raises(RunError, match=r"status\.json of run tiny cannot be read"):
        run.status()


def test_fields_of_a_later_version_are_passed_over(make_run: MakeRun) -> None:
    run = make_run()
    (run.path / keys.STATUS_FILE).write_text('{"state": "done", "mood": "good"}')
    assert run.status().state == "done"


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_status_that_cannot_be_written_leaves_the_last_one_and_no_draft(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    run = make_run()
    before = run.status()
    with monkeypatch.context() as patched:
        patched.setattr(runs.os, function, fail)
        with pytest.raises(RunError, match="Cannot write the status of run tiny: Input/output error"):
            run.write_status(Status(state="running"))
    assert run.status() == before
    assert names_in(run.path) == ["config.json", "status.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_on_a_full_disk_a_status_takes_the_room_of_the_last_one(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    run = make_run()
    with monkeypatch.context() as patched:
        patched.setattr(runs.os, function, disk_full)
        run.write_status(Status(state="failed", message="The disk is full."))
        with pytest.raises(RunError, match=r"the disk is full\. Free some space"):
            run.write_status(Status(state="failed", message="x" * 5000))
    assert run.status().message == "The disk is full."
    assert names_in(run.path) == ["config.json", "status.json"]


def test_readers_never_see_half_a_status(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the new text is being written, the old one is what there is to read."""
    run, seen = make_run(), []
    original = os.fsync

    def look(descriptor: int) -> None:
        seen.append(run.status().state)
        original(descriptor)

    monkeypatch.setattr(runs.os, "fsync", look)
    run.write_status(Status(state="running"))
    assert seen[0] == "queued"
    assert run.status().state == "running"


# ---- cancel marker, curve, log ----------------------------------------------------------------------------------


def test_the_cancel_marker_comes_and_goes(make_run: MakeRun) -> None:
    run = make_run()
    run.clear_cancel()
    assert not run.cancel_requested
    run.request_cancel()
    run.request_cancel()
    assert run.cancel_requested
    run.clear_cancel()
    assert not run.cancel_requested


def row(step: int, nll: float) -> dict[str, float]:
    return {"step": step, "nll": nll, "test_nll": math.nan}


def test_metrics_come_back_as_appended(make_run: MakeRun) -> None:
    run = make_run()
    assert len(run.metrics()) == 0
    run.append_metrics([])
    assert not (run.path / keys.METRICS_FILE).exists()
    run.append_metrics([row(10, 7.123456789012345), row(20, 6.5)])
    run.append_metrics([row(30, 6.25)])
    curve = run.metrics()
    assert list(curve.columns) == ["step", "nll", "test_nll"]
    assert curve["step"].tolist() == [10, 20, 30]
    assert curve["nll"].tolist() == [7.123456789012345, 6.5, 6.25]
    assert curve["test_nll"].isna().all()


def test_steps_trained_again_after_a_resume_count_once_as_trained_last(make_run: MakeRun) -> None:
    run = make_run()
    run.append_metrics([row(10, 7), row(20, 6), row(30, 5)])
    run.append_metrics([row(20, 6.5), row(30, 5.5), row(40, 5)])
    curve = run.metrics()
    assert curve["step"].tolist() == [10, 20, 30, 40]
    assert curve["nll"].tolist() == [7, 6.5, 5.5, 5]


@pytest.mark.parametrize("half", ["3", "30,5.1", "30,5.125,"])
def test_a_half_written_last_line_is_left_out(make_run: MakeRun, half: str) -> None:
    run = make_run()
    run.append_metrics([row(10, 7), row(20, 6)])
    with (run.path / keys.METRICS_FILE).open("a") as stream:
        stream.write(half)
    assert run.metrics()["step"].tolist() == [10, 20]


@pytest.mark.parametrize("half", ["3", "30,5.1", "30,5.125,"])
def test_what_follows_a_half_written_line_is_not_spoilt_by_it(make_run: MakeRun, half: str) -> None:
    run = make_run()
    run.append_metrics([row(10, 7), row(20, 6)])
    with (run.path / keys.METRICS_FILE).open("a") as stream:
        stream.write(half)
    run.append_metrics([row(25, 5.5)])
    curve = run.metrics()
    assert curve["step"].tolist() == [10, 20, 25]
    assert curve["nll"].tolist() == [7, 6, 5.5]


@pytest.mark.parametrize("half", ["st", "step,nll,te"])
def test_a_half_written_header_is_written_again(make_run: MakeRun, half: str) -> None:
    run = make_run()
    (run.path / keys.METRICS_FILE).write_text(half)
    assert len(run.metrics()) == 0
    run.append_metrics([row(10, 7)])
    assert run.metrics()["step"].tolist() == [10]


def test_the_log_shows_its_last_lines(make_run: MakeRun) -> None:
    run = make_run()
    assert run.log_tail() == ""
    run.log_path.write_bytes(b"\xff broken\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    assert run.log_tail(2) == "line 998\nline 999"
    assert len(run.log_tail(30).splitlines()) == 30


# ---- vocabulary, result, scores ---------------------------------------------------------------------------------


def test_vocabulary_comes_back_in_order(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(RunError, match=r"vocab\.json of run tiny cannot be read"):
        run.vocab()
    run.write_vocab({"genes": ["B", "a", "é"], "batches": ["2", "1"], "factors": {}})
    assert run.vocab() == {"genes": ["B", "a", "é"], "batches": ["2", "1"], "factors": {}}
    (run.path / keys.VOCAB_FILE).write_text("[]")
    with pytest.raises(RunError, match=r"vocab\.json of run tiny cannot be read"):
        run.vocab()


def small_result(value: float = 1.0) -> ad.AnnData:
    return ad.AnnData(obsm={"delta": np.full((3, 2), value)})


def test_a_result_comes_back_as_written(make_run: MakeRun) -> None:
    run = make_run()
    assert not run.has_result
    with pytest.raises(RunError, match="tiny has no result yet"):
        run.load_result()
    run.write_result(small_result(1))
    run.write_result(small_result(2))
    assert (run.load_result().obsm["delta"] == 2).all()


def half_a_file(self: ad.AnnData, path: Path) -> None:
    Path(path).write_bytes(b"half")
    disk_full()


@pytest.mark.parametrize(
    "patched", [(ad.AnnData, "write_h5ad", half_a_file), (os, "replace", disk_full)], ids=lambda p: p[1]
)
def test_a_result_that_cannot_be_written_leaves_the_earlier_one_and_no_draft(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, patched: tuple[object, str, object]
) -> None:
    run = make_run()
    run.write_result(small_result(1))
    before = names_in(run.path)
    with monkeypatch.context() as context:
        context.setattr(*patched)
        with pytest.raises(RunError, match=r"Cannot write the result of run tiny: the disk is full\. Free some space"):
            run.write_result(small_result(2))
    assert (run.load_result().obsm["delta"] == 1).all()
    assert names_in(run.path) == before


def test_a_damaged_result_is_said_so(make_run: MakeRun) -> None:
    run = make_run()
    run.result_path.write_bytes(b"no HDF5")
    with pytest.raises(RunError, match=r"result\.h5ad of run tiny cannot be read"):
        run.load_result()


def test_scores_come_back_with_unknown_ones_as_null(make_run: MakeRun) -> None:
    run = make_run()
    assert run.evaluation() == {}
    run.write_evaluation({"ari": 0.5, "kbet": math.nan, "asw": None, "n_clusters": 3})
    assert run.evaluation() == {"ari": 0.5, "kbet": None, "asw": None, "n_clusters": 3}
    (run.path / keys.EVALUATION_FILE).write_text("{")
    with pytest.raises(RunError, match=r"evaluation\.json of run tiny cannot be read"):
        run.evaluation()


def test_a_deleted_run_is_gone_with_all_its_files(make_run: MakeRun, runs_folder: Path) -> None:
    run = make_run()
    run.checkpoint_path.mkdir()
    (run.checkpoint_path / "step-00000001.safetensors").write_bytes(b"x")
    run.delete()
    assert names_in(runs_folder) == []
    with pytest.raises(RunError, match="cannot be read"):
        run.status()


# ---- names of topics, and tables ----------------------------------------------------------------------------------


def test_names_of_topics_are_kept_and_tidied(make_run: MakeRun) -> None:
    run = make_run()
    assert run.topic_names() == {}
    run.write_topic_names(
        {"topic_1": "  beta \n cells ", "topic_2": " ", "topic_3": "x" * 500, "topic_4": "Zelle α<b>"}
    )
    assert run.topic_names() == {"topic_1": "beta cells", "topic_3": "x" * 40, "topic_4": "Zelle α<b>"}
    run.write_topic_names({})
    assert run.topic_names() == {}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_damaged_names_of_topics_are_said(make_run: MakeRun, text: str) -> None:
    run = make_run()
    (run.path / keys.TOPIC_NAMES_FILE).write_text(text)
    with pytest.raises(RunError, match=r"topic_names\.json"):
        run.topic_names()


def test_tables_are_found_by_name(make_run: MakeRun) -> None:
    run = make_run()
    path = run.table_path("enrichment", "GO (2021)")
    path.parent.mkdir()
    path.touch()
    path.with_suffix(".gmt").touch()
    assert run.tables("enrichment") == {"GO (2021)": path}
    assert run.tables("differential") == {}


@pytest.mark.parametrize(
    ("text", "start"),
    [("cell_type", "cell_type"), ("a/b\\c", "a_b_c-"), ("..", "_-"), ("", "_-"), ("é" * 300, "_" * 100 + "-")],
)
def test_any_column_has_the_name_of_a_table(text: str, start: str) -> None:
    assert table_name(text).startswith(start)
    assert table_name(table_name(text)) == table_name(text)


def test_no_two_columns_share_the_name_of_a_table() -> None:
    texts = ["a/b", "a?b", "a_b", "细胞类型", "细胞亚型", "____", "", "_", ".", "x" * 150, "x" * 151, "a.", "a"]
    assert len({table_name(text) for text in texts}) == len(texts)
