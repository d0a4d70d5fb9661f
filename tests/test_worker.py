"""Does a run end in a true status, whatever happens on the way?"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import jobs, keys, reporter, worker
from scetm_core.errors import DataError, RunError
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]


def disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end with the result, without neighbours and scores: those have tests of their own."""
    from scetm_core import analysis

    monkeypatch.setattr(analysis, "embed_and_score", lambda run, report, result, seconds: run.write_result(result))


def test_a_worker_of_a_run_that_another_has_says_so_by_its_exit_status(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "set_up_process", lambda job: None)
    run = make_run()
    with jobs.hold(run):
        assert worker.main([str(run.path)]) == jobs.HELD


@pytest.mark.parametrize("world", [1, 2])
def test_processes_that_hang_in_each_other_are_ended_some_time_after_a_cancel(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None], world: int
) -> None:
    ended: list[tuple[int, str]] = []
    monkeypatch.setattr(reporter, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(reporter, "HEED_SECONDS", 0.05)
    monkeypatch.setattr(reporter.processes, "world", lambda: world)
    run = make_run()
    monkeypatch.setattr(reporter.os, "_exit", lambda code: ended.append((code, run.status().state)))
    with reporter.Reporter(run) as report:
        report.update(state="running")
        time.sleep(0.2)
        assert ended == [], "nobody wanted it to stop"
        run.request_cancel()
        if world > 1:
            wait_until(lambda: ended)
        time.sleep(0.2)
    assert ended[:1] == ([(1, "cancelled")] if world > 1 else []), "torchrun ends the others"


@pytest.mark.slow
def test_a_whole_run_leaves_every_file_it_promises(make_run: MakeRun) -> None:
    run, seen = make_run(), []
    assert run_analysis(run, on_change=seen.append) == "done"
    assert [status.state for status in seen][:1] == ["queued"]
    stages = list(dict.fromkeys(status.stage for status in seen if status.state == "running"))
    assert stages[-4:] == ["training", "inferring", "embedding", "evaluating"]
    status = run.status()
    assert (status.state, status.step, status.max_steps, status.device) == ("done", 30, 30, "cpu")
    assert status.started_at is not None
    assert status.finished_at is not None
    files = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    assert files == {
        "config.json", "vocab.json", "status.json", "metrics.csv", "checkpoint", "model.safetensors", "result.h5ad",
        "evaluation.json", "checksums.json",
    }  # fmt: skip
    result, genes, batches = run.load_result(), run.vocab()["genes"], run.vocab()["batches"]
    assert list(result.var_names) == genes
    assert batches == ["b0", "b1"]
    assert result.obsm["delta"].shape == (240, 4)
    assert "leiden" in result.obs
    assert "X_umap" not in result.obsm
    scores = run.evaluation()
    assert 0 <= scores["best_ari"] <= 1
    assert 0 <= scores["kbet"] <= 1
    assert scores["test_nll"] == pytest.approx(run.metrics()["test_nll"].dropna().iloc[-1])
    assert run.metrics()["step"].tolist() == [5, 10, 15, 20, 25, 30]
    for column in ("batch", "cell_type", "leiden"):
        assert len(result.uns[f"{column}_colors"]) == len(result.obs[column].cat.categories)


@pytest.mark.parametrize("n_groups", [3, 8, 20, 60])
def test_the_result_holds_the_colours_that_the_app_shows(n_groups: int) -> None:
    from scetm_core.analysis import color_groups
    from scetm_core.figures import category_colors, umap_frame

    groups = pd.Categorical([f"group {number % n_groups}" for number in range(240)])
    result = ad.AnnData(obs=pd.DataFrame({"batch": groups}, index=[f"c{number}" for number in range(240)]))
    result.obsm["X_umap"] = np.zeros((240, 2), dtype=np.float32)
    color_groups(result, ["batch", None, "no such column"])
    stored = dict(zip(groups.categories, result.uns["batch_colors"], strict=True))
    assert stored == category_colors(list(groups.categories))
    shown = umap_frame(result, color="batch").attrs["colors"]
    assert {name: color for name, color in shown.items() if name in stored}.items() <= stored.items()
    assert list(result.uns) == ["batch_colors"]


def test_colours_of_the_input_stay() -> None:
    from scetm_core.analysis import color_groups

    obs = pd.DataFrame({"batch": pd.Categorical(["a", "b"])}, index=["c0", "c1"])
    result = ad.AnnData(obs=obs, uns={"batch_colors": ["#123456", "#654321"]})
    color_groups(result, ["batch"])
    assert list(result.uns["batch_colors"]) == ["#123456", "#654321"]


@pytest.mark.slow
def test_without_labels_and_batches_there_are_scores_of_neither(make_run: MakeRun) -> None:
    run = make_run(batch_key=None, label_key=None, test_fraction=0)
    assert run_analysis(run) == "done", run.status().message
    scores = run.evaluation()
    assert {scores[name] for name in ("ari", "nmi", "asw", "kbet", "ebm", "test_nll")} == {None}
    assert run.vocab()["batches"] == ["all"]


@pytest.mark.usefixtures("unscored")
def test_the_text_of_a_data_error_is_what_the_status_says(make_run: MakeRun) -> None:
    run = make_run(batch_key="plate")
    assert run_analysis(run) == "failed"
    status = run.status()
    assert status.state == "failed"
    assert "plate" in status.message
    assert "batch" in status.message, "it names the columns there are"
    assert "Unexpected" not in status.message
    assert status.finished_at is not None
    assert not run.has_result
    assert jobs.can_resume(run)


def test_an_input_deleted_since_is_said_so(make_run: MakeRun, tmp_path: Path, planted_file: Path) -> None:
    copy = tmp_path / "copy.h5ad"
    copy.write_bytes(planted_file.read_bytes())
    run = make_run(path=str(copy))
    copy.unlink()
    assert run_analysis(run) == "failed"
    assert str(copy) in run.status().message
    assert "Unexpected" not in run.status().message


@pytest.mark.usefixtures("unscored")
def test_a_cancelled_run_keeps_its_checkpoint_and_resumes_to_the_same_end(make_run: MakeRun) -> None:
    run, undisturbed = make_run("stopped"), make_run("undisturbed")

    def stop_at_ten(status: Status) -> None:
        if status.step == 10:
            run.request_cancel()

    assert run_analysis(run, on_change=stop_at_ten) == "cancelled"
    assert "Resume" in run.status().message
    assert not run.has_result
    assert len(list(run.checkpoint_path.iterdir())) == 1
    run.clear_cancel()
    assert run_analysis(run) == run_analysis(undisturbed) == "done"
    compared = ["step", "nll", "kl", "test_nll", "grad_norm"]
    assert run.metrics()[compared].equals(undisturbed.metrics()[compared])
    assert (run.load_result().obsm["delta"] == undisturbed.load_result().obsm["delta"]).all()


def test_cancelled_before_it_began_it_does_nothing(make_run: MakeRun) -> None:
    run = make_run()
    run.request_cancel()
    assert run_analysis(run, n_slots=1) == "cancelled"
    assert not run.checkpoint_path.exists()
    assert run.status().state == "cancelled"


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("who", ["the system", "safetensors"])
def test_a_disk_full_at_a_checkpoint_fails_in_words_and_keeps_the_last_one(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    from safetensors import SafetensorError

    from scetm_core.model import storage

    run, n_saved, save_file = make_run(), [], storage.save_file

    def fill_up(tensors: Any, path: Path, **options: Any) -> None:
        n_saved.append(path)
        if len(n_saved) == 1:
            save_file(tensors, path, **options)
        elif who == "the system":
            disk_full()
        else:  # its words on a full disk, safetensors 0.7
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "save_file", fill_up)
        assert run_analysis(run) == "failed"
    assert "disk is full" in run.status().message
    assert [path.name for path in run.checkpoint_path.iterdir()] == ["step-00000010.safetensors"]
    assert run_analysis(run) == "done"
    assert run.metrics()["step"].tolist() == [5, 10, 15, 20, 25, 30]


@pytest.mark.usefixtures("unscored")
def test_a_disk_full_at_the_curve_fails_in_words(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setattr(Run, "append_metrics", disk_full)
    assert run_analysis(run) == "failed"
    assert "disk is full" in run.status().message


@pytest.mark.usefixtures("unscored")
def test_a_result_that_cannot_be_written_leaves_no_half_of_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def half_a_file(self: ad.AnnData, path: Path) -> None:
        Path(path).write_bytes(b"half")
        disk_full()

    with monkeypatch.context() as patched:
        patched.setattr(ad.AnnData, "write_h5ad", half_a_file)
        assert run_analysis(run) == "failed"
    assert "result" in run.status().message
    assert "space" in run.status().message
    assert not run.has_result
    assert not [path for path in run.path.iterdir() if "draft" in path.name]
    assert run.model_path.is_file()
    assert run_analysis(run) == "done"
    assert run.has_result


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(DataError("Counts are negative. Pick another layer."), "Counts are negative. Pick", id="ours"),
        pytest.param(MemoryError(), "not enough memory. Use fewer genes", id="memory"),
        pytest.param(RuntimeError("CUDA out of memory. Tried"), "not enough memory", id="GPU memory"),
        pytest.param(ZeroDivisionError("oh"), "Unexpected ZeroDivisionError: oh. The log has", id="defect"),
    ],
)
def test_whatever_goes_wrong_is_told_in_words(
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    words: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    run = make_run()
    monkeypatch.setattr("scetm_core.analysis.load_dataset", fail)
    with caplog.at_level(logging.INFO, logger="scetm"):
        assert run_analysis(run) == "failed"
    assert words in run.status().message
    assert type(error).__name__ in caplog.text, "the log has the traceback"


def test_a_device_that_is_not_there_fails_in_words(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = make_run(device="cuda")
    assert run_analysis(run) == "failed"
    assert "'cuda' is not available here; found: " in run.status().message


@pytest.mark.usefixtures("unscored")
def test_a_status_that_cannot_be_written_for_a_while_does_not_kill_the_heartbeat(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    from scetm_core import jobfolder, reporter

    run, failures, original = make_run(), [], jobfolder.new_status
    monkeypatch.setattr(reporter, "HEARTBEAT_SECONDS", 0.01)

    def fail_for_a_while(folder: Path, status: Status) -> None:
        if len(failures) < 3:
            failures.append(status)
            disk_full()
        original(folder, status)

    with reporter.Reporter(run) as report:
        monkeypatch.setattr(jobfolder, "new_status", fail_for_a_while)
        wait_until(lambda: len(failures) == 3)
        before = run.status().heartbeat
        wait_until(lambda: run.status().heartbeat > before)
        report.update(message="Still here.")
    assert run.status().message == "Still here."


@pytest.mark.usefixtures("unscored")
def test_a_run_whose_worker_is_at_it_is_not_worked_on_twice(make_run: MakeRun) -> None:
    run, second = make_run(), []

    def try_again(status: Status) -> None:
        if status.step == 10 and not second:
            second.append(None)
            with pytest.raises(RunError, match="already"):
                run_analysis(Run(run.path))

    assert run_analysis(run, on_change=try_again) == "done"
    assert second
    assert run.metrics()["step"].tolist() == [5, 10, 15, 20, 25, 30]


@pytest.mark.usefixtures("unscored")
def test_genes_that_changed_since_the_run_began_are_refused(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, planted: ad.AnnData
) -> None:
    run = make_run()
    monkeypatch.setattr("scetm_core.analysis.load_dataset", lambda _: planted)
    run.write_vocab({"genes": [*planted.var_names[::-1]], "batches": ["b0", "b1"]})
    assert run_analysis(run) == "failed"
    assert "genes" in run.status().message
    assert run.vocab()["genes"] == [*planted.var_names[::-1]], "the contract for loading never changes"
    assert not (run.path / keys.RESULT_FILE).exists()
