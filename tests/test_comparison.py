"""Do other methods run in processes of their own, are they scored as we are, and are runs compared right?"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import psutil
import pytest

from scetm_core import comparison, peers
from scetm_core.comparison import (
    Embedded,
    counts_for_peers,
    embedding_in_input,
    embeddings_in_input,
    match_runs,
    run_peer,
    scored_table,
    settings_that_differ,
)
from scetm_core.data import load_dataset
from scetm_core.errors import DataError
from scetm_core.memory import peak_memory_mb
from scetm_core.metrics import evaluate, find_neighbors
from scetm_core.peers import BATCH, PEERS

TINY = {
    "n_topics": 4, "n_emb": 8, "n_hidden": 16, "max_steps": 20, "minibatch_size": 64, "device": "cpu",
    "report_every": 5, "test_fraction": 0.1,
}  # fmt: skip


def ignore(share: float) -> None:
    """Nobody watches."""


@pytest.fixture
def counts_file(plant: Callable[..., ad.AnnData], tmp_path: Path) -> Path:
    path = tmp_path / "counts.h5ad"
    counts_for_peers(plant(), batch_key="batch").write_h5ad(path)
    return path


def test_a_method_is_given_counts_genes_and_batches_and_nothing_else(plant: Callable[..., ad.AnnData]) -> None:
    data = plant()
    given = counts_for_peers(data, batch_key="batch")
    assert list(given.obs) == [BATCH]
    assert (given.obs[BATCH].astype(str).to_numpy() == data.obs["batch"].astype(str).to_numpy()).all()
    assert (given.X != data.X).nnz == 0
    assert not given.obsm
    assert not given.uns
    assert BATCH not in counts_for_peers(data, batch_key=None).obs


def test_counts_on_disk_and_cells_without_a_batch_are_refused_in_words(
    plant: Callable[..., ad.AnnData], tiny_config: Callable[..., Any]
) -> None:
    stored = load_dataset(tiny_config(memory="on disk").data)
    with pytest.raises(DataError, match="stay on disk"):
        counts_for_peers(stored, batch_key="batch")
    data = plant()
    data.obs["batch"] = data.obs["batch"].where(np.arange(data.n_obs) > 3)
    with pytest.raises(DataError, match="the batch of every cell"):
        counts_for_peers(data, batch_key="batch")


@pytest.mark.slow
def test_pca_in_its_own_process_equals_a_plain_singular_value_decomposition(counts_file: Path) -> None:
    shares: list[float] = []
    found = run_peer("pca", counts_file, seed=0, on_progress=shares.append)
    counts = ad.read_h5ad(counts_file).X.toarray().astype(np.float64)  # 60 genes: all of them are taken
    logged = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    scaled = np.clip((logged - logged.mean(axis=0)) / logged.std(axis=0, ddof=1), -10, 10)
    left, values, _ = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.embedding[:, :5]), np.abs(left * values)[:, :5], rtol=1e-2, atol=1e-2)
    assert 0 < found.seconds < 300
    assert 50 < found.peak_memory_mb < 24_000
    assert shares


def test_peak_memory_is_that_of_the_process_itself_whatever_its_parent_held() -> None:
    held = np.ones(100_000_000 // 8)  # 100 MB in this process
    here = peak_memory_mb()
    assert here is not None
    assert here > held.nbytes / 1e6
    command = "from scetm_core.memory import peak_memory_mb; print(peak_memory_mb())"
    there = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert 1 < float(there.stdout) < 80


@pytest.mark.slow
def test_scetm_runs_with_other_settings_and_tells_how_far_it_is(counts_file: Path) -> None:
    shares: list[float] = []
    first = run_peer("scetm", counts_file, seed=1, on_progress=shares.append, settings=TINY)
    assert first.embedding.shape == (240, 4)
    assert max(shares) <= 1
    second = run_peer("scetm", counts_file, seed=1, on_progress=ignore, settings=TINY)
    np.testing.assert_allclose(first.embedding, second.embedding, rtol=1e-4, atol=1e-5)


def test_a_method_whose_package_is_missing_says_how_to_install_it(
    counts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(PEERS["harmony"], packages=("no_such_package",))
    monkeypatch.setitem(comparison.PEERS, "harmony", absent)
    assert absent.missing == ["no_such_package"]
    with pytest.raises(DataError, match=r"Harmony needs no_such_package.*requirements-compare\.txt"):
        run_peer("harmony", counts_file, seed=0, on_progress=ignore)


def test_a_method_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"PCA failed after .*nothing\.h5ad"):
        run_peer("pca", tmp_path / "nothing.h5ad", seed=0, on_progress=ignore)


def test_a_cancelled_method_leaves_no_process_behind(counts_file: Path) -> None:
    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_peer("scetm", counts_file, seed=0, on_progress=cancel)
    assert not [
        child for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "scetm_core.peers" in " ".join(child.cmdline())
    ]  # fmt: skip


def test_every_method_says_its_settings_and_its_source() -> None:
    for name, peer in PEERS.items():
        assert peer.name == name
        assert peer.settings
        assert peer.source
    assert peers.SCETM in PEERS


def test_an_embedding_is_scored_as_a_run_is(plant: Callable[..., ad.AnnData]) -> None:
    data = plant()
    points = np.asarray(data.obsm["true_theta"], dtype=np.float32)
    table = scored_table(
        Embedded(embedding=points, seconds=2.5, peak_memory_mb=100.0), data.obs_names, labels=data.obs["cell_type"],
        batches=data.obs["batch"], seed=0, umap=False,
    )  # fmt: skip
    scores = table.attrs["scores"]
    assert scores["seconds"] == 2.5
    assert list(table.index) == list(data.obs_names)
    np.testing.assert_array_equal(table.to_numpy(), points)
    expected = evaluate(
        points, clusters_by_resolution={0.16: data.obs["cell_type"]}, fixed_resolution=0.16,
        labels=data.obs["cell_type"], batches=data.obs["batch"], neighbors=find_neighbors(points, 90),
    )  # fmt: skip
    for name in ("asw", "kbet", "ilisi", "clisi", "graph_connectivity", "batch_asw"):
        assert scores[name] == pytest.approx(expected[name])


def test_costs_that_are_not_known_are_none(plant: Callable[..., ad.AnnData]) -> None:
    data = plant(n_batches=1)
    table = scored_table(
        Embedded(embedding=data.obsm["true_theta"].astype(np.float32)), data.obs_names, labels=None,
        batches=data.obs["batch"], seed=0, umap=False,
    )  # fmt: skip
    assert table.attrs["scores"]["seconds"] is None
    assert table.attrs["scores"]["kbet"] is None  # one batch: not-a-number
    assert table.attrs["scores"]["ari"] is None


def test_an_embedding_of_the_input_is_found_and_brought_into_the_order_of_the_cells(
    plant: Callable[..., ad.AnnData], tmp_path: Path
) -> None:
    data = plant()
    del data.uns["messages"]
    data.obsm["X_other"] = np.arange(2 * data.n_obs, dtype=np.float32).reshape(-1, 2)
    data.obsm["one"] = np.ones((data.n_obs, 1))
    path = tmp_path / "with.h5ad"
    data.write_h5ad(path)
    assert embeddings_in_input(path) == ["X_other", "true_theta"]
    assert embeddings_in_input(tmp_path / "counts.csv") == []
    cells = data.obs_names[[5, 3, 8]]
    np.testing.assert_array_equal(embedding_in_input(path, "X_other", cells), data.obsm["X_other"][[5, 3, 8]])
    with pytest.raises(DataError, match=r"no embedding 'X_none'.*X_other"):
        embedding_in_input(path, "X_none", cells)
    with pytest.raises(DataError, match="lacks 1 of the run's cells"):
        embedding_in_input(path, "X_other", pd.Index(["cell1", "nobody"]))


def test_topics_of_two_results_are_matched_by_gene_name(plant: Callable[..., ad.AnnData]) -> None:
    data = plant(n_topics=5)
    first = ad.AnnData(var=data.var, varm={"beta": data.varm["true_beta"]})
    second = ad.AnnData(var=data.var.iloc[::-1], varm={"beta": data.varm["true_beta"][::-1][:, [3, 1, 4, 0, 2]]})
    pairs = match_runs(first, second).pairs.set_index("first")["second"]
    assert pairs.to_dict() == {"topic_3": "topic_0", "topic_1": "topic_1", "topic_4": "topic_2", "topic_0": "topic_3",
                               "topic_2": "topic_4"}  # fmt: skip


def test_settings_that_differ_are_named_as_the_form_names_them(tiny_config: Callable[..., Any]) -> None:
    table = settings_that_differ(tiny_config(), tiny_config(n_topics=7, seed=3, name="other"))
    assert table.to_numpy().tolist() == [["Number of topics", "4", "7"], ["Seed", "0", "3"]]
    assert settings_that_differ(tiny_config(), tiny_config()).empty
