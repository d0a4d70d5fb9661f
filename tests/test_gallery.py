"""Does a run show every figure that its files allow, each with the table behind it, and say which it cannot?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import table_name
from scetm_core.gallery import Shown, figures_of, write_figure_table
from scetm_core.runs import Run
from tests.published import HOSTILE, hand_made_run, write_map


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = hand_made_run(tmp_path_factory.mktemp("gallery"))
    made.write_topic_names({"topic_0": HOSTILE})
    write_map(made)
    return made


@pytest.fixture(scope="module")
def shown(run: Run) -> dict[str, Shown]:
    return {entry.name: entry for entry in figures_of(run)}


def test_all_that_is_there_is_shown(shown: dict[str, Shown]) -> None:
    expected = {
        "training", "umap-batch", "umap-cell_type", "umap-leiden", "topics-by-cell_type", "genes-by-topic",
        "cells-by-topic", "joint-map-genes", "gene-sets-sets-manhattan", "differential-cell_type-heatmap",
        "differential-cell_type-volcano", "clusters-by-cell_type",
    }  # fmt: skip
    assert expected <= set(shown)
    assert any(name.startswith("umap-topic-") for name in shown)
    assert any(name.endswith("-genes") and name.startswith("topic-") for name in shown)


def test_every_figure_draws_something_and_has_words_and_numbers(shown: dict[str, Shown]) -> None:
    for entry in shown.values():
        assert entry.figure.data, entry.name
        assert entry.title
        assert entry.caption.endswith(".")
        assert len(entry.table) > 0
        assert entry.table.columns.is_unique


def test_the_table_holds_what_is_drawn(run: Run, shown: dict[str, Shown]) -> None:
    result = run.load_result()
    table = shown["umap-cell_type"].table
    np.testing.assert_allclose(table[["umap_1", "umap_2"]], result.obsm[keys.X_UMAP])
    assert list(table["cell"]) == list(result.obs_names)
    assert list(table["cell_type"].astype(str)) == list(result.obs["cell_type"].astype(str))
    means = shown["topics-by-cell_type"].table.set_index("cell_type")
    of_first = result.obs["cell_type"] == means.index[0]
    topic = means.columns[0]
    theta = np.asarray(result.obsm[keys.THETA])[of_first.to_numpy(), int(topic.removeprefix("topic_"))]
    assert means.iloc[0, 0] == pytest.approx(theta.mean(), abs=1e-5)


def test_all_tests_stand_behind_the_heatmap_of_differential_topics(shown: dict[str, Shown]) -> None:
    table = shown["differential-cell_type-heatmap"].table
    assert {"topic", "label", "mean_difference", "q", "differential"} <= set(table.columns)


def test_names_are_stems_of_files_and_no_two_are_alike(shown: dict[str, Shown]) -> None:
    assert all(name == table_name(name) and "/" not in name and " " not in name for name in shown)
    assert len({name.lower() for name in shown}) == len(shown)


def test_a_table_is_written_beside_and_read_back(shown: dict[str, Shown], tmp_path: Path) -> None:
    entry = shown["genes-by-topic"]
    path = write_figure_table(entry, tmp_path)
    assert path.name == "genes-by-topic.csv"
    read = pd.read_csv(path)
    assert list(read.columns) == list(entry.table.columns)
    assert list(read["gene"]) == list(entry.table["gene"])


def test_what_cannot_be_shown_is_said_with_its_reason(tmp_path: Path) -> None:
    bare = hand_made_run(tmp_path, tables=False, umap=False)
    left_out: list[str] = []
    names = [entry.name for entry in figures_of(bare, left_out=left_out)]
    assert not any(name.startswith("umap-") for name in names)
    said = " ".join(left_out)
    assert "Cells by batch: This run has no UMAP" in said
    assert "Gene sets: no gene sets were compared" in said
    assert "Differential topics: no grouping was tested yet" in said
    assert "Map of genes and topics: it was not worked out yet" in said


def test_a_map_older_than_the_result_is_not_shown(tmp_path: Path) -> None:
    import os

    made = hand_made_run(tmp_path, tables=False)
    write_map(made)
    os.utime(made.table_path(keys.MAP_FOLDER, "genes"), (1, 1))
    left_out: list[str] = []
    assert not any(entry.name.startswith("joint-map") for entry in figures_of(made, left_out=left_out))
    assert any("older than the result" in sentence for sentence in left_out)


def test_sets_gone_from_beside_their_table_are_said(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path)
    made.table_path(keys.ENRICHMENT_FOLDER, "sets").with_suffix(".gmt").unlink()
    left_out: list[str] = []
    list(figures_of(made, left_out=left_out))
    assert any("the sets beside the table sets are gone" in sentence for sentence in left_out)


def test_figures_come_one_by_one_with_the_share_done(run: Run) -> None:
    shares: list[float] = []
    figures = figures_of(run, on_progress=lambda share, words: shares.append(share))
    next(figures)
    assert len(shares) == 1  # the others are not drawn yet
    list(figures)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_progress_raises_ends_it(run: Run) -> None:
    def stop(share: float, words: str) -> None:
        if share > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(figures_of(run, on_progress=stop))


def test_a_run_without_a_result_is_refused(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    made.result_path.unlink()
    with pytest.raises(RunError, match="has no result yet"):
        next(figures_of(made))
