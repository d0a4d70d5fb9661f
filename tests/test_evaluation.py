"""Do scores of an embedding come from the same neighbours, and tables of scores say what they are about?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from scetm_core.embedding import FIXED_RESOLUTION, RESOLUTIONS
from scetm_core.evaluation import agreement, evaluate_embedding, evaluation_table, recluster
from scetm_core.metrics import N_NEIGHBORS_LISI, find_neighbors, score_graph_connectivity, score_ilisi, score_kbet

RNG = np.random.default_rng(0)
N_CELLS = 240
KINDS = np.arange(N_CELLS) % 4
LABELS = pd.Series(pd.Categorical([f"type {kind}" for kind in KINDS]), name="cell_type")
BATCHES = pd.Series(pd.Categorical([f"b{code}" for code in RNG.integers(2, size=N_CELLS)]), name="batch")
POINTS = (RNG.normal(size=(N_CELLS, 6)) + 6 * np.eye(6)[KINDS]).astype(np.float32)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    found = evaluate_embedding(POINTS, labels=LABELS, batches=BATCHES)
    return evaluation_table(POINTS, found, labels=LABELS, batches=BATCHES, n_repeats=4)


def value_of(table: pd.DataFrame, score: str, label: str = "", batch: str = "") -> float:
    rows = table[(table["score"] == score) & (table["label"] == label) & (table["batch"] == batch)]
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


def test_planted_kinds_are_found_and_scored_from_one_search_for_neighbours() -> None:
    found = evaluate_embedding(POINTS, labels=LABELS, batches=BATCHES)
    assert found.neighbors.indices.shape == (N_CELLS, N_NEIGHBORS_LISI)
    assert found.scores["ari"] == pytest.approx(1)
    assert found.scores["n_clusters"] == 4
    assert tuple(found.clusters) == RESOLUTIONS
    near = find_neighbors(POINTS, N_NEIGHBORS_LISI)
    assert found.scores["kbet"] == pytest.approx(score_kbet(POINTS, BATCHES))
    assert found.scores["ilisi"] == pytest.approx(score_ilisi(POINTS, BATCHES, neighbors=near))
    assert found.scores["graph_connectivity"] == pytest.approx(score_graph_connectivity(POINTS, LABELS))


def test_a_table_has_every_score_once_with_its_error_and_the_parts_it_is_made_of(table: pd.DataFrame) -> None:
    overall = table[table["label"] == ""].set_index("score")
    assert overall.index.is_unique
    assert {"ari", "best_ari", "kbet", "ilisi", "clisi", "asw", "batch_asw", "graph_connectivity"} <= set(overall.index)
    errors = overall["se"].drop(["best_resolution", "fixed_resolution", "n_clusters"])
    assert (errors >= 0).all()
    assert overall.loc[["best_resolution", "n_clusters"], "se"].isna().all()
    widths = silhouette_samples(POINTS, KINDS)
    chosen = (KINDS == 1) & (BATCHES == "b0").to_numpy()
    assert value_of(table, "asw", "type 1") == pytest.approx(widths[KINDS == 1].mean(), abs=1e-5)
    assert value_of(table, "asw", "type 1", "b0") == pytest.approx(widths[chosen].mean(), abs=1e-5)
    sizes = table[(table["score"] == "asw") & (table["batch"] != "")]["n_cells"]
    assert sizes.sum() == N_CELLS
    assert value_of(table, "ari at resolution", f"{FIXED_RESOLUTION:g}") == value_of(table, "ari")


def test_without_labels_or_batches_their_scores_are_left_out() -> None:
    found = evaluate_embedding(POINTS, batches=BATCHES)
    rows = evaluation_table(POINTS, found, batches=BATCHES, n_repeats=2)
    assert "kbet" in set(rows["score"])
    assert not {"ari", "asw", "clisi", "batch_asw", "ari at resolution"} & set(rows["score"])
    assert (rows["label"] == "").all()


def test_cells_without_a_label_are_left_out_and_types_of_one_batch_have_no_row_for_the_other() -> None:
    labels = LABELS.astype(object)
    labels[(KINDS == 3) & (BATCHES == "b0")] = None
    rows = evaluation_table(
        POINTS, evaluate_embedding(POINTS, labels=labels, batches=BATCHES), labels=labels, batches=BATCHES, n_repeats=2
    )
    of_three = rows[(rows["score"] == "asw") & (rows["label"] == "type 3")]
    assert set(of_three["batch"]) == {"", "b1"}


def test_clusters_at_another_resolution_are_those_of_leiden_on_the_same_graph() -> None:
    found = evaluate_embedding(POINTS, labels=LABELS)
    near = find_neighbors(POINTS, 15)
    again = recluster(near.indices.astype(np.int32), near.distances, resolution=FIXED_RESOLUTION)
    assert (again == found.clusters[FIXED_RESOLUTION]).all()
    ari, _ = agreement(LABELS, again)
    assert ari == pytest.approx(adjusted_rand_score(KINDS, again))


def test_the_share_done_rises_to_the_end() -> None:
    seen: list[float] = []
    found = evaluate_embedding(POINTS, labels=LABELS)
    evaluation_table(POINTS, found, labels=LABELS, n_repeats=3, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
