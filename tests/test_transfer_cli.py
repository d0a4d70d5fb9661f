"""Does the `transfer` command do what it says, with the exit statuses and the one line of error it promises?"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from scetm_core.__main__ import TRANSFER_TRAINING, build_parser, main
from scetm_core.config import DataConfig, run_config_from_flat
from scetm_core.runs import Run
from scetm_core.settings import settings_of
from scetm_core.transfer_settings import TransferConfig
from scetm_core.worker import run_analysis
from tests.terminal import assert_one_line_of_error

SMALL = {
    "n_topics": 4, "n_emb": 8, "n_hidden": 16, "max_steps": 20, "minibatch_size": 64, "evaluate_every": 10,
    "umap": False, "device": "cpu", "batch_key": "batch", "label_key": "cell_type",
}  # fmt: skip


def write_only(run: Run, report: object, result: ad.AnnData, *, seconds: float, place: object = None) -> None:
    run.write_result(result)


@pytest.fixture(autouse=True)
def _light_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs on one thread, that end with the result; and the handler of Ctrl-C is put back."""
    monkeypatch.setattr("scetm_core.jobs.threads_per_run", lambda _: 1)
    for module in ("transfer_analysis", "analysis"):  # the first imports from the second
        monkeypatch.setattr(f"scetm_core.{module}.embed_and_score", write_only)
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def source(runs_folder: Path, planted_file: Path) -> Run:
    run = Run.create(
        runs_folder / "source", run_config_from_flat({"name": "source", "path": str(planted_file), **SMALL})
    )
    assert run_analysis(run) == "done", run.status().message
    return run


def test_a_transfer_ends_with_status_0_and_prints_scores_and_the_gene_report(
    source: Run, planted: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del planted.uns["messages"]
    planted[:, 6:].write_h5ad(tmp_path / "target.h5ad")
    out = source.path.parent / "target"
    options = ["--out", str(out), "--batch-key", "batch", "--label-key", "cell_type", "--device", "cpu", "--no-umap"]
    assert main(["transfer", str(source.path), str(tmp_path / "target.h5ad"), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    genes = printed["genes"]
    assert (genes["n_model"], genes["n_matched"], genes["covered"]) == (60, 54, 1)
    assert genes["missing"] == [f"gene{number}" for number in range(6)]
    assert printed["n_genes_matched"] == 54
    assert 0 <= printed["label_accuracy"] <= 1
    assert any("Nothing was learnt" in text for text in printed["sentences"])
    run = Run(out)
    assert run.config.transfer == TransferConfig(source_run="source"), "beside the source it is known by its name"
    assert (run.config.umap, run.config.data.batch_key) == (False, "batch")
    assert run.load_result().n_obs == 240


def test_a_source_elsewhere_is_known_by_its_path(
    source: Run, planted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "elsewhere" / "target"
    assert main(["transfer", str(source.path), str(planted_file), "--out", str(out), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert Run(out).source.path == source.path
    np.testing.assert_allclose(
        Run(out).load_result().obsm["delta"], source.load_result().obsm["delta"], rtol=0, atol=1e-6
    )


def test_what_is_learnt_and_how_long_can_be_said(
    source: Run, planted_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = source.path.parent / "tuned"
    options = ["--fine-tune", "encoder", "--max-steps", "3", "--seed", "5", "--device", "cpu", "--several", "drop"]
    assert main(["transfer", str(source.path), str(planted_file), "--out", str(out), *options]) == 0
    capsys.readouterr()
    config = Run(out).config
    assert config.transfer == TransferConfig(source_run="source", fine_tune="encoder", several="drop")
    assert (config.train.max_steps, config.train.seed, config.train.learning_rate) == (3, 5, 1e-3)
    assert Run(out).metrics()["step"].iloc[-1] == 3


def test_every_setting_of_a_transfer_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["transfer", "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    offered = [entry.name for cls in (DataConfig, TransferConfig) for entry in settings_of(cls)]
    for name in {*offered, *TRANSFER_TRAINING} - {"path", "source_run"}:
        assert f"--{name.replace('_', '-')}" in shown
    assert "--source-run" not in shown
    assert "RUN_DIR TARGET" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["transfer"], id="nothing"),
        pytest.param(["transfer", "run", "--out", "o"], id="no target"),
        pytest.param(["transfer", "run", "data.h5ad"], id="no --out"),
        pytest.param(["transfer", "run", "data.h5ad", "--out", "o", "--fine-tune", "all"], id="no such choice"),
        pytest.param(["transfer", "run", "data.h5ad", "--out", "o", "--n-topics", "4"], id="shape of the model"),
    ],
)
def test_wrong_usage_ends_with_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--orthologs", "--aliases"])
def test_a_table_that_is_not_there_is_one_line_of_error(
    source: Run, planted_file: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    out = source.path.parent / "target"
    capsys.readouterr()
    assert main(["transfer", str(source.path), str(planted_file), "--out", str(out), option, "nonsense.csv"]) == 1
    assert_one_line_of_error(capsys, "There is no file at", "nonsense.csv")


def test_a_table_that_is_none_is_one_line_of_error(
    source: Run, planted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nonsense.csv").write_text("a,b,c\n1,2,3\n")
    out, table = source.path.parent / "target", str(tmp_path / "nonsense.csv")
    capsys.readouterr()
    assert main(["transfer", str(source.path), str(planted_file), "--out", str(out), "--orthologs", table]) == 1
    assert_one_line_of_error(capsys, "nonsense.csv does not say which columns hold the genes")


def test_a_run_or_a_target_that_is_not_there_is_one_line_of_error(
    source: Run, planted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "target"
    capsys.readouterr()
    assert main(["transfer", str(tmp_path / "none"), str(planted_file), "--out", str(out)]) == 1
    assert_one_line_of_error(capsys, "No run at")
    assert main(["transfer", str(source.path), str(tmp_path / "none.h5ad"), "--out", str(out)]) == 1
    assert_one_line_of_error(capsys, "none.h5ad")
    assert not out.exists()


def test_a_source_of_another_format_is_one_line_of_error(
    source: Run, planted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = shutil.copytree(source.path, tmp_path / "old")
    record = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**record, "format": 99}))
    capsys.readouterr()
    assert main(["transfer", str(old), str(planted_file), "--out", str(tmp_path / "target")]) == 1
    assert_one_line_of_error(capsys, "it has format 99", "Update scETM Studio to open it")


def test_an_unfinished_source_is_one_line_of_error(
    runs_folder: Path, planted_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.create(runs_folder / "unfinished", run_config_from_flat({"path": str(planted_file), **SMALL}))
    assert main(["transfer", str(run.path), str(planted_file), "--out", str(runs_folder / "target")]) == 1
    assert_one_line_of_error(capsys, "Run unfinished has no trained model yet.")


def test_a_folder_that_is_taken_is_one_line_of_error(
    source: Run, planted_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["transfer", str(source.path), str(planted_file), "--out", str(source.path)]) == 1
    assert_one_line_of_error(capsys, "exists already")


def test_an_interrupted_transfer_resumes_with_the_same_settings_and_no_others(
    source: Run, planted_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, out = Run.append_metrics, source.path.parent / "stopped"
    arguments = ["transfer", str(source.path), str(planted_file), "--out", str(out), "--fine-tune", "encoder"]
    arguments += ["--max-steps", "20", "--device", "cpu", "--no-umap"]

    def interrupt(run: Run, records: object) -> None:
        original(run, records)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "append_metrics", interrupt)
        assert main(arguments) == 130
    assert Run(out).status().state == "cancelled"
    capsys.readouterr()
    assert main([*arguments, "--resume", "--seed", "5"]) == 1
    assert_one_line_of_error(capsys, "has other settings")
    assert main([*arguments, "--resume"]) == 0
    assert Run(out).metrics()["step"].tolist() == [10, 20]
