"""Are requests to a run answered by the right table, in this process and in one of its own?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import psutil
import pytest

from scetm_core import jobs, keys, tasks
from scetm_core.answers import answer, run_task
from scetm_core.differential import permutation_test
from scetm_core.enrichment import prerank
from scetm_core.errors import ConfigError, DataError, RunError
from scetm_core.figures import gene_weights, topic_values
from scetm_core.genesets import read_gmt
from scetm_core.jobfolder import FINISHED
from scetm_core.requests import (
    ComparisonRequest,
    DifferentialRequest,
    EnrichmentRequest,
    EvaluationRequest,
    MapRequest,
    Request,
    SweepRequest,
    request_as_json,
    request_from_json,
)
from scetm_core.runs import Run
from tests.pages.by_hand import N_TOPICS, planted_data, result_of

MakeRun = Callable[..., Run]


def ignore(share: float, message: str) -> None:
    """Nobody watches."""


@pytest.fixture
def finished(make_run: MakeRun) -> Run:
    """A run with a result made by hand, whose cells come from five donors."""
    run, data = make_run(), planted_data()
    data.obs["donor"] = pd.Categorical([f"d{i % 5}" for i in range(data.n_obs)])
    run.write_result(result_of(data, run.config, umap=False))
    return run


@pytest.fixture
def gmt(tmp_path: Path, finished: Run) -> Path:
    genes = list(finished.load_result().var_names)
    lines = [f"set {s}\tplanted\t" + "\t".join(genes[s : s + 12]) for s in range(0, 17, 4)]
    path = tmp_path / "planted sets.gmt"
    path.write_text("\n".join([*lines, "unknown\t\tX1\tX2"]))
    return path


def test_enrichment_is_that_of_the_matched_sets_and_keeps_them(finished: Run, gmt: Path) -> None:
    request = EnrichmentRequest(gene_sets=str(gmt), n_permutations=100, seed=3)
    path = answer(finished, "planted sets", request, on_progress=ignore)
    assert path == finished.path / "enrichment" / "planted sets.parquet"
    table = pd.read_parquet(path)
    expected = prerank(gene_weights(finished.load_result()), read_gmt(gmt), n_permutations=100, seed=3)
    pd.testing.assert_frame_equal(table, expected, check_column_type=False)
    assert table.attrs["request"]["gene_sets"] == str(gmt)
    assert any("6 sets, 5 kept" in sentence for sentence in table.attrs["sentences"])
    kept = read_gmt(path.with_suffix(".gmt"))
    assert set(kept) == set(table["gene_set"])
    assert {len(genes) for genes in kept.values()} == {12}


def test_differential_topics_are_those_of_delta(finished: Run) -> None:
    request = DifferentialRequest(groupby="cell_type", n_permutations=200, two_sided=True)
    table = pd.read_parquet(answer(finished, "cell_type", request, on_progress=ignore))
    result = finished.load_result()
    expected = permutation_test(
        topic_values(result, keys.DELTA), result.obs["cell_type"], n_permutations=200, two_sided=True
    )
    pd.testing.assert_frame_equal(table, expected, check_column_type=False)
    assert table.attrs["sentences"] == expected.attrs["sentences"]


def test_donors_are_taken_from_their_column(finished: Run) -> None:
    request = DifferentialRequest(groupby="cell_type", n_permutations=200, unit="donor")
    table = pd.read_parquet(answer(finished, "cell_type", request, on_progress=ignore))
    assert "5 donors" in table.attrs["sentences"][0]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (EnrichmentRequest(), "No gene sets were named"),
        (EnrichmentRequest(gene_sets="/nowhere/x.gmt"), "no file at"),
        (DifferentialRequest(groupby="nonsense"), "no column 'nonsense'; found:"),
        (DifferentialRequest(unit="nobody"), "no column 'nobody'"),
    ],
)
def test_what_cannot_be_answered_is_said_and_leaves_no_table(finished: Run, request_: Request, words: str) -> None:
    with pytest.raises(DataError, match=words):
        answer(finished, "x", request_, on_progress=ignore)
    assert not list(finished.path.glob("*/x.*"))


def test_an_answer_that_is_stopped_leaves_the_earlier_one(finished: Run) -> None:
    path = answer(finished, "cell_type", DifferentialRequest(n_permutations=200), on_progress=ignore)
    before = path.read_bytes()

    def stop(share: float, message: str) -> None:
        if share > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(finished, "cell_type", DifferentialRequest(n_permutations=5000, seed=1), on_progress=stop)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cell_type.parquet"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x\0", ".hidden"])
def test_a_table_name_is_the_name_of_a_file(finished: Run, name: str) -> None:
    with pytest.raises(RunError, match="cannot name a table"):
        finished.table_path("enrichment", name)
    with pytest.raises(RunError, match="cannot name a table"):
        tasks.ask(finished, name, DifferentialRequest())


# ---- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [EnrichmentRequest(gene_sets="a.gmt"), DifferentialRequest(), MapRequest()])
def test_requests_survive_json(request_: Request) -> None:
    assert request_from_json(request_as_json(request_)) == request_


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"kind": "rm"}', '{"kind": "map", "settings": {"points": "all"}}', '{"kind": "map", "settings": 3}'],
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        request_from_json(text)


def test_limits_of_size_must_not_cross() -> None:
    with pytest.raises(ConfigError, match="Swap them"):
        EnrichmentRequest(min_size=50, max_size=10)


# ---- tasks --------------------------------------------------------------------------------------------------------


def test_a_task_answers_in_a_process_of_its_own(finished: Run, wait_until: Callable[..., None]) -> None:
    task = tasks.ask(finished, "cell_type", DifferentialRequest(n_permutations=200))
    wait_until(lambda: jobs.state(task) in FINISHED)
    assert task.status().message == "Done."
    assert task.status().pid != os.getpid()
    assert len(pd.read_parquet(task.table_path)) == N_TOPICS * finished.load_result().obs["cell_type"].nunique()
    assert tasks.find_task(finished, "differential", "cell_type") is not None
    assert tasks.find_task(finished, "differential", "batch") is None


def test_a_failed_task_says_why(finished: Run) -> None:
    task = make_task(finished, "x", DifferentialRequest(groupby="nonsense"))
    assert run_task(task) == "failed"
    assert "no column 'nonsense'" in task.status().message


def test_a_task_can_be_cancelled_and_asked_for_again(finished: Run) -> None:
    task = make_task(finished, "cell_type", DifferentialRequest(n_permutations=200))
    task.request_cancel()
    assert run_task(task) == "cancelled"
    assert not task.table_path.exists()
    again = make_task(finished, "cell_type", DifferentialRequest(n_permutations=200))
    assert run_task(again) == "done"
    assert again.table_path.exists()


@pytest.mark.slow
def test_a_killed_task_says_so_and_can_be_asked_for_again(finished: Run, wait_until: Callable[..., None]) -> None:
    task = tasks.ask(finished, "cell_type", DifferentialRequest(n_permutations=10_000_000))
    wait_until(lambda: jobs.state(task) == "running")
    assert tasks.ask(finished, "cell_type", task.request).status().pid == task.status().pid
    with pytest.raises(RunError, match="with other settings"):
        tasks.ask(finished, "cell_type", DifferentialRequest(n_permutations=100))
    psutil.Process(task.status().pid).send_signal(signal.SIGKILL)
    wait_until(lambda: jobs.state(task) == "failed")
    assert "was killed (signal 9" in task.status().message
    assert "start it again" in task.status().message
    again = tasks.ask(finished, "cell_type", DifferentialRequest(n_permutations=200))
    wait_until(lambda: jobs.state(again) in FINISHED)
    assert jobs.state(again) == "done"


def test_only_a_run_with_a_result_can_be_asked(make_run: MakeRun) -> None:
    with pytest.raises(RunError, match="no result yet"):
        tasks.ask(make_run(), "x", DifferentialRequest())


def make_task(run: Run, name: str, request: Request, **_: Any) -> tasks.Task:
    """A task that is asked for but not started."""
    spawned: list[str] = []
    original = jobs.spawn
    jobs.spawn = lambda job, module, *options: spawned.append(module)
    try:
        task = tasks.ask(run, name, request)
    finally:
        jobs.spawn = original
    assert spawned == ["scetm_core.answers"]
    return task


# ---- quality ------------------------------------------------------------------------------------------------------


def test_an_evaluation_keeps_the_neighbours_that_its_clusters_come_from(finished: Run) -> None:
    from scetm_core.evaluation import evaluate_embedding, recluster

    request = EvaluationRequest(label_key="cell_type", batch_key="batch", n_repeats=2)
    path = answer(finished, "some name", request, on_progress=ignore)
    table, result = pd.read_parquet(path), finished.load_result()
    found = evaluate_embedding(result.obsm["delta"], labels=result.obs["cell_type"], batches=result.obs["batch"])
    overall = table[table["label"] == ""].set_index("score")["value"]
    for name in ("best_ari", "kbet", "asw", "clisi"):
        assert overall[name] == pytest.approx(found.scores[name])
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        again = recluster(arrays["indices"], arrays["distances"], resolution=0.16)
        n_batches = result.obs["batch"].nunique()
        assert ((arrays["n_batches_near"] >= 1 - 1e-6) & (arrays["n_batches_near"] <= n_batches + 1e-6)).all()
    assert (again == found.clusters[0.16]).all()


def test_cells_without_a_label_are_said_and_a_wrong_column_or_slot_is_refused(finished: Run) -> None:
    result = finished.load_result()
    result.obs["cell_type"] = result.obs["cell_type"].where(np.arange(result.n_obs) > 6)
    finished.write_result(result)
    path = answer(finished, "x", EvaluationRequest(label_key="cell_type", n_repeats=2), on_progress=ignore)
    assert pd.read_parquet(path).attrs["sentences"] == [
        "7 cells without cell_type are left out of the scores of labels."
    ]
    with pytest.raises(DataError, match=r"no column 'kind'; found: .*donor"):
        answer(finished, "x", EvaluationRequest(label_key="kind"), on_progress=ignore)
    with pytest.raises(DataError, match=r"no 'X_pca'; found: .*delta"):
        answer(finished, "x", EvaluationRequest(use_rep="X_pca"), on_progress=ignore)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Methods that give the planted kinds away, without a process; harmony fails."""
    from scetm_core import comparison

    asked: list[tuple[str, int]] = []

    def run_peer(method: str, counts: Path, *, seed: int, on_progress: Callable[[float], None]) -> Any:
        asked.append((method, seed))
        if method == "harmony":
            raise DataError("Harmony failed after 1 s: no.")
        data = ad.read_h5ad(counts)
        assert list(data.obs) == ["batch"]
        on_progress(0.5)
        rng = np.random.default_rng(seed)
        return comparison.Embedded(embedding=rng.normal(size=(data.n_obs, 3)), seconds=1.0, peak_memory_mb=10.0)

    monkeypatch.setattr(comparison, "run_peer", run_peer)
    monkeypatch.setattr(comparison, "umap_layout", lambda points, graph, seed: points[:, :2].astype(np.float32))
    return asked


def test_methods_are_compared_seed_by_seed_and_one_that_fails_is_said(
    make_run: MakeRun, stand_in: list[tuple[str, int]], plant: Callable[..., Any]
) -> None:
    run, data = make_run(), plant()
    result = ad.AnnData(obs=data.obs, var=data.var, obsm={keys.DELTA: data.obsm["true_theta"]})
    run.write_result(result[:200].copy())
    request = ComparisonRequest(methods=("pca", "harmony", "scvi"), n_seeds=2)
    table = pd.read_parquet(answer(run, keys.METHODS_TABLE, request, on_progress=ignore))
    assert stand_in == [("pca", 0), ("harmony", 0), ("harmony", 1), ("scvi", 0), ("scvi", 1)]  # PCA knows no chance
    assert sorted(zip(table["method"], table["seed"], strict=True)) == [("pca", 0), ("scvi", 0), ("scvi", 1)]
    assert table.attrs["sentences"] == ["Harmony failed after 1 s: no."] * 2
    own = pd.read_parquet(run.tables(keys.COMPARISON_FOLDER)["scvi seed 1"])
    assert list(own.index) == list(run.load_result().obs_names)
    assert own.attrs["scores"]["kbet"] == table.set_index(["method", "seed"]).loc[("scvi", 1), "kbet"]
    answer(run, keys.METHODS_TABLE, ComparisonRequest(methods=("pca",)), on_progress=ignore)
    assert len(pd.read_parquet(run.tables(keys.COMPARISON_FOLDER)[keys.METHODS_TABLE])) == 3  # earlier ones stay
    with pytest.raises(DataError, match="Harmony failed"):
        answer(run, keys.METHODS_TABLE, ComparisonRequest(methods=("harmony",)), on_progress=ignore)
    with pytest.raises(DataError, match=r"no method called 'seurat'; there are scetm, pca"):
        answer(run, keys.METHODS_TABLE, ComparisonRequest(methods=("seurat",)), on_progress=ignore)


def test_a_sweep_of_a_run_uses_its_settings_and_begins_with_its_seed(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, finished: Run
) -> None:
    from scetm_core import sweep

    asked: dict[str, Any] = {}

    def stop(data: Any, config: Any, **given: Any) -> Any:
        asked.update(given, config=config, n_cells=len(data.obs))
        raise DataError("enough")

    monkeypatch.setattr(sweep, "sweep", stop)
    request = SweepRequest(n_topics_tried=("4", "2"), n_seeds=2)
    with pytest.raises(DataError, match="enough"):
        answer(finished, keys.TRAININGS_TABLE, request, on_progress=ignore)
    assert asked["config"] == finished.config
    assert asked["n_topics"] == [2, 4]
    assert list(asked["seeds"]) == [finished.config.train.seed, finished.config.train.seed + 1]
    assert asked["folder"].is_relative_to(finished.path)


@pytest.mark.parametrize("text", ["1", "x", "2001", "-3"])
def test_a_number_of_topics_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="whole numbers from 2 to 2000"):
        SweepRequest(n_topics_tried=("10", text))
