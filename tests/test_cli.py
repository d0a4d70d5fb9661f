"""Does the command line do what it says, with the exit statuses and the one line of error it promises?"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core.__main__ import build_parser, main
from scetm_core.config import SECTIONS, RunConfig
from scetm_core.runs import Run
from scetm_core.settings import settings_of
from tests.terminal import assert_one_line_of_error

COMMANDS = ("demo", "simulate", "check", "train", "evaluate", "enrich", "differential")
SMALL = ["--n-topics", "4", "--n-emb", "8", "--n-hidden", "16", "--max-steps", "20", "--minibatch-size", "64",
         "--report-every", "5", "--evaluate-every", "10", "--no-umap", "--device", "cpu"]  # fmt: skip


@pytest.fixture(autouse=True)
def _keep_interrupt_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str], command: str | None) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m scetm_core")
    if command is None:
        assert all(name in out for name in COMMANDS)


def test_train_offers_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    for cls in (RunConfig, *SECTIONS.values()):
        for entry in settings_of(cls):
            flag = entry.name.replace("_", "-")
            off = "no-" if entry.type is bool and entry.default else ""
            assert entry.name == "path" or f"--{off}{flag}" in out


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no command"),
        pytest.param(["fly"], id="unknown command"),
        pytest.param(["train", "x.h5ad"], id="no --out"),
        pytest.param(["train", "x.h5ad", "--out", "o", "--speed", "3"], id="unknown option"),
        pytest.param(["train", "x.h5ad", "--out", "o", "--n-topics", "many"], id="no number"),
        pytest.param(["train", "x.h5ad", "--out", "o", "--device", "abacus"], id="no such choice"),
        pytest.param(["train", "x.h5ad", "--out", "o", "--preset", "best"], id="no such preset"),
        pytest.param(["simulate"], id="simulate without --out"),
        pytest.param(["evaluate"], id="evaluate nothing"),
    ],
)
def test_wrong_usage_ends_with_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_options_of_the_contract_are_understood() -> None:
    options = build_parser().parse_args(
        ["train", "d.h5ad", "--out", "o", "--layer", "counts", "--batch-key", "batch", "--label-key", "cell_type",
         "--n-topics", "50", "--n-emb", "400", "--minibatch-size", "100", "--max-steps", "10", "--learning-rate",
         "0.01", "--max-kl-weight", "1e-7", "--seed", "3", "--no-batch-intercept", "--test-fraction", "0.1",
         "--device", "cpu", "--resume", "--no-umap"]
    )  # fmt: skip
    assert (options.batch_intercept, options.umap, options.resume) == (False, False, True)
    assert (options.n_topics, options.max_kl_weight, options.layer) == (50, 1e-7, "counts")


@pytest.mark.parametrize("command", ["check", "train", "evaluate"])
def test_a_file_that_is_not_there_is_one_line_of_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    missing = tmp_path / "missing.h5ad"
    extra = ["--out", str(tmp_path / "run")] if command == "train" else []
    assert main([command, str(missing), *extra]) == 1
    assert_one_line_of_error(capsys, "missing.h5ad")
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_data_set_is_one_line_of_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.h5ad"
    path.write_bytes(b"this is no HDF5")
    assert main(["train", str(path), "--out", str(tmp_path / "run"), *SMALL]) == 1
    assert_one_line_of_error(capsys, "broken.h5ad")


def test_a_missing_batch_column_is_said_with_those_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted_file: Path
) -> None:
    assert main(["train", str(planted_file), "--out", str(tmp_path / "run"), "--batch-key", "plate", *SMALL]) == 1
    assert_one_line_of_error(capsys, "plate", "batch", "cell_type")


def test_a_value_out_of_range_is_one_line_of_error_and_makes_no_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted_file: Path
) -> None:
    assert main(["train", str(planted_file), "--out", str(tmp_path / "run"), "--n-topics", "1"]) == 1
    assert_one_line_of_error(capsys, "Number of topics", "at least 2")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_trained_into(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted_file: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    for resume in ([], ["--resume"]):
        assert main(["train", str(planted_file), "--out", str(tmp_path / "run"), *SMALL, *resume]) == 1
        assert_one_line_of_error(capsys, str(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("command", ["enrich", "differential"])
def test_a_folder_without_a_run_is_not_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    assert main([command, str(tmp_path)]) == 1
    assert_one_line_of_error(capsys, "No run at")


def test_a_folder_without_a_run_is_not_evaluated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["evaluate", str(tmp_path)]) == 1
    assert_one_line_of_error(capsys, "No run at")


def test_evaluate_says_which_representations_and_columns_there_are(
    capsys: pytest.CaptureFixture[str], planted_file: Path
) -> None:
    assert main(["evaluate", str(planted_file), "--use-rep", "X_pca"]) == 1
    assert_one_line_of_error(capsys, "X_pca", "true_theta")
    assert main(["evaluate", str(planted_file), "--use-rep", "true_theta", "--label-key", "type"]) == 1
    assert_one_line_of_error(capsys, "'type'", "cell_type")


def test_check_of_counts_that_are_none_ends_with_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ad.AnnData(sp.csr_matrix(rng.random((30, 20)).astype(np.float32))).write_h5ad(tmp_path / "logged.h5ad")
    assert main(["check", str(tmp_path / "logged.h5ad"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_simulate_writes_the_same_counts_for_the_same_seed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        size = ["--n-cells", "50", "--n-genes", "30", "--n-topics", "3", "--n-batches", "2"]
        assert main(["simulate", "--out", str(tmp_path / "new" / f"{name}.h5ad"), *size, "--seed", seed]) == 0
    assert "50 cells, 30 genes" in capsys.readouterr().out
    a, b, c = (ad.read_h5ad(tmp_path / "new" / f"{name}.h5ad") for name in "abc")
    assert a.shape == (50, 30)
    assert (a.X != b.X).nnz == 0
    assert (a.X != c.X).nnz > 0


@pytest.mark.slow
def test_simulate_check_train_evaluate_go_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, out = str(tmp_path / "sim.h5ad"), tmp_path / "run"
    assert main(["simulate", "--out", data, "--n-cells", "200", "--n-genes", "100", "--n-topics", "4"]) == 0
    columns = [name for name in ("batch", "cell_type") if name in ad.read_h5ad(data).obs]
    keys_of = {"batch": "--batch-key", "cell_type": "--label-key"}
    given = [text for name in columns for text in (keys_of[name], name)]
    capsys.readouterr()

    assert main(["check", data, *given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_cells"], report["n_genes"]) == (200, 100)

    assert main(["train", data, "--out", str(out), *given, *SMALL]) == 0
    trained = capsys.readouterr()
    scores = json.loads(trained.out)
    assert "Traceback" not in trained.err
    assert Run(out).status().state == "done"
    assert {"ari", "nmi", "best_ari", "best_nmi", "best_resolution", "asw", "kbet", "ebm", "test_nll"} <= set(scores)

    for target in (out, out / "result.h5ad"):
        assert main(["evaluate", str(target), *given]) == 0
        again = json.loads(capsys.readouterr().out)
        assert again["best_ari"] == pytest.approx(scores["best_ari"])
        assert again["kbet"] == pytest.approx(scores["kbet"])
    assert main(["evaluate", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["test_nll"] == pytest.approx(scores["test_nll"])

    genes = list(ad.read_h5ad(data).var_names)
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("".join(f"set {s}\t\t" + "\t".join(genes[s : s + 10]) + "\n" for s in range(0, 90, 10)))
    assert main(["enrich", str(out), "--gene-sets", str(gmt), "--n-permutations", "100"]) == 0
    assert "9 sets, 9 kept" in capsys.readouterr().out
    enriched = pd.read_parquet(out / "enrichment" / "sets.parquet")
    columns_of = {"topic", "gene_set", "size", "es", "nes", "p_value", "q_value", "leading_edge"}
    assert columns_of <= set(enriched.columns)
    assert len(enriched) == 4 * 9

    assert main(["differential", str(out), "--groupby", "batch", "--n-permutations", "200", "--two-sided"]) == 0
    assert "labels" in capsys.readouterr().out
    tested = pd.read_parquet(out / "differential" / "batch.parquet")
    columns_of = {"topic", "label", "mean_difference", "p_value", "q_bonferroni", "q_bh", "n_cells"}
    assert columns_of <= set(tested.columns)
    assert tested.attrs["request"]["two_sided"] is True

    assert main(["enrich", str(out), "--gene-sets", str(tmp_path / "none.gmt")]) == 1
    assert_one_line_of_error(capsys, "none.gmt")
    assert main(["differential", str(out), "--groupby", "plate"]) == 1
    assert_one_line_of_error(capsys, "plate", "batch")

    assert main(["train", data, "--out", str(out), *given, *SMALL]) == 1
    assert_one_line_of_error(capsys, "exists already")


@pytest.mark.slow
def test_scores_that_are_not_numbers_are_null_in_the_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted: ad.AnnData
) -> None:
    planted.obs["one"] = "same"
    del planted.uns["messages"]
    planted.write_h5ad(tmp_path / "d.h5ad")
    keys_given = ["--use-rep", "true_theta", "--label-key", "one", "--batch-key", "one"]
    assert main(["evaluate", str(tmp_path / "d.h5ad"), *keys_given]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_interrupted_training_ends_with_status_130_and_resumes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scetm_core import analysis

    monkeypatch.setattr(analysis, "embed_and_score", lambda run, report, result, seconds: run.write_result(result))
    original = Run.append_metrics

    def interrupt(run: Run, records: object) -> None:
        original(run, records)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    arguments = ["train", str(planted_file), "--out", str(tmp_path / "run"), "--batch-key", "batch", *SMALL]
    with monkeypatch.context() as patched:
        patched.setattr(Run, "append_metrics", interrupt)
        assert main(arguments) == 130
    assert capsys.readouterr().err.startswith("cancelled: ")
    assert Run(tmp_path / "run").status().state == "cancelled"
    assert Run(tmp_path / "run").status().step == 5
    assert main([*arguments, "--resume"]) == 0
    assert Run(tmp_path / "run").metrics()["step"].tolist() == [5, 10, 15, 20]


@pytest.mark.slow
def test_numbers_of_topics_and_stability_are_told_with_tables_and_a_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, planted_file: Path
) -> None:
    data, out = str(planted_file), tmp_path / "sweep"
    settings = [flag for flag in SMALL if flag != "--no-umap"]  # no sweep draws maps
    given = ["--batch-key", "batch", "--label-key", "cell_type", "--out", str(out), *settings]
    small = [*given, "--n-topics-tried", "2", "4", "--n-seeds", "2"]
    assert main(["choose-k", data, *small]) == 0
    said = capsys.readouterr().out
    assert "topics" in said
    table = pd.read_csv(out / "choose-k.csv")
    assert table["n_topics"].tolist() == [2, 4]
    trainings = pd.read_parquet(out / "trainings.parquet")
    assert len(trainings) == 4
    assert trainings.attrs["recommendation"]["n_topics"] in (2, 4)
    assert trainings.attrs["recommendation"]["reason"][0] in said

    assert main(["stability", data, *given, "--n-topics", "4", "--n-seeds", "2"]) == 0
    assert "match_mean" in capsys.readouterr().out
    assert len(pd.read_csv(out / "stability.csv", index_col=0)) <= 4

    assert main(["choose-k", data, *given, "--n-topics-tried", "one"]) == 1
    assert_one_line_of_error(capsys, "whole numbers")


def test_compare_answers_like_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["compare", str(tmp_path / "none"), "--methods", "pca"]) == 1
    assert_one_line_of_error(capsys, "No run at")
