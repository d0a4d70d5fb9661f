"""Does a sweep train what it says, keep what it trained, and find the planted number of topics steadiest?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import train
from scetm_core.choice import SCORES, recommend
from scetm_core.config import RunConfig
from scetm_core.errors import ConfigError, RunError, TrainingError
from scetm_core.sweep import SweepResult, sweep

MakeConfig = Callable[..., RunConfig]


def be_quiet(share: float, message: str) -> None:
    assert 0 <= share <= 1
    assert message


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Number of topics and seed of every training that begins from now on."""
    seen, original = [], train.fit

    def counted(model: Any, data: Any, config: Any, **options: Any) -> Any:
        seen.append((model.config.n_topics, config.seed))
        return original(model, data, config, **options)

    monkeypatch.setattr(train, "fit", counted)
    return seen


@pytest.fixture
def data(plant: Callable[..., ad.AnnData]) -> ad.AnnData:
    """600 cells of 4 planted topics."""
    return plant(n_cells=600, n_genes=200)


@pytest.fixture
def config(tiny_config: MakeConfig, recipe: dict[str, Any]) -> RunConfig:
    larger = {"n_emb": 16, "n_hidden": 32, "n_variable_genes": 200, "max_steps": 60, "minibatch_size": 128}
    return tiny_config(**{**recipe, **larger})


@pytest.fixture
def found(data: ad.AnnData, config: RunConfig) -> SweepResult:
    return sweep(data, config, n_topics=[8, 2, 4], seeds=[0, 1], folder=None, on_progress=be_quiet)


def test_there_is_a_row_for_every_training_and_for_every_number(found: SweepResult) -> None:
    pairs = found.trainings[["n_topics", "seed"]].to_numpy().tolist()
    assert pairs == [[2, 0], [2, 1], [4, 0], [4, 1], [8, 0], [8, 1]]
    assert found.trainings[list(SCORES)].notna().all(axis=None)
    assert found.by_k["n_topics"].tolist() == [2, 4, 8]
    assert found.by_k["n_seeds"].tolist() == [2, 2, 2]
    assert {k: len(table) for k, table in found.stability.items()} == {2: 2, 4: 4, 8: 8}
    assert found.sentences == []


def test_the_planted_number_is_steadiest_fits_best_and_is_recommended(found: SweepResult) -> None:
    table = found.by_k.set_index("n_topics")
    assert table["stability"][4] > 0.95
    assert table["stability"][8] < 0.9
    assert table["explained"][2] < 0.8
    assert table["test_nll_gap"].idxmin() == 4
    assert (found.stability[4]["match_min"] > 0.95).all()
    assert recommend(found.by_k).n_topics == 4


def test_a_row_equals_the_scores_of_that_training_worked_out_by_hand(data: ad.AnnData, config: RunConfig) -> None:
    from scetm_core.build import build_model
    from scetm_core.embedding import embed
    from scetm_core.infer import infer
    from scetm_core.metrics import score_ari, score_kbet, score_nmi, score_topic_coherence, score_topic_diversity
    from scetm_core.model.cells import prepare_cells
    from scetm_core.model.passes import nll_per_cell
    from scetm_core.model.scetm import resolve_device
    from scetm_core.trainer import split_cells

    rows = sweep(data, config, n_topics=[4], seeds=[3], folder=None, on_progress=be_quiet).trainings
    by_hand = RunConfig.from_json(config.to_json().replace('"seed": 0', '"seed": 3'))
    assert by_hand.train.seed == 3
    model = build_model(data, by_hand, device=resolve_device("cpu"))
    records = list(train.fit(model, data, by_hand.train, batch_key="batch"))
    result = infer(model, data, by_hand)
    clusters = embed(result, seed=3, umap=False)
    held_out = prepare_cells(data, model, batch_key="batch").subset(split_cells(600, 0.1, seed=3)[1])
    beta, types = result.varm["beta"], data.obs["cell_type"]
    expected = {
        "n_topics": 4,
        "seed": 3,
        "test_nll": records[-1].test_nll,
        "test_gain": nll_per_cell(model, held_out, mean_mixture=True).mean() - nll_per_cell(model, held_out).mean(),
        "ari": score_ari(types, clusters[0.16]),
        "best_ari": max(score_ari(types, each) for each in clusters.values()),
        "nmi": score_nmi(types, clusters[0.16]),
        "kbet": score_kbet(result.obsm["delta"], data.obs["batch"]),
        "topic_coherence": score_topic_coherence(beta, data.X, n_top=10),
        "topic_diversity": score_topic_diversity(beta, n_top=25),
        "n_topics_in_use": 4,
    }
    row = rows.iloc[0]
    assert row["seconds"] > 0
    assert row.drop("seconds").to_dict() == pytest.approx(expected, abs=1e-6)


def test_a_finished_sweep_is_not_trained_again(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path, fits: list[tuple[int, int]]
) -> None:
    kept = {"folder": tmp_path / "kept" / "here", "on_progress": be_quiet}
    first = sweep(planted, tiny_config(), n_topics=[2, 4], seeds=[0, 1], **kept)
    assert fits == [(2, 0), (4, 0), (2, 1), (4, 1)], "the first seed goes through all numbers first"
    again = sweep(planted, tiny_config(name="another", umap=True), n_topics=[2, 4], seeds=[0, 1], **kept)
    assert len(fits) == 4
    pd.testing.assert_frame_equal(again.trainings, first.trainings)
    pd.testing.assert_frame_equal(again.by_k, first.by_k)
    pd.testing.assert_frame_equal(again.stability[4], first.stability[4])
    more = sweep(planted, tiny_config(), n_topics=[2, 4, 3], seeds=[0, 1], **kept)
    assert fits[4:] == [(3, 0), (3, 1)]
    assert more.by_k["n_topics"].tolist() == [2, 3, 4]


def test_a_cancelled_sweep_keeps_what_is_finished_and_goes_on_there(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path, fits: list[tuple[int, int]]
) -> None:
    class Stopped(Exception):
        pass

    shares = []

    def stop_in_the_third(share: float, message: str) -> None:
        shares.append(share)
        if message.startswith("8 topics, seed 0 (training 3 of 6)") and share > 2.5 / 6:
            raise Stopped

    numbers = {"n_topics": [2, 4, 8], "seeds": [0, 1], "folder": tmp_path}
    with pytest.raises(Stopped):
        sweep(planted, tiny_config(), **numbers, on_progress=stop_in_the_third)
    assert len(fits) == 3
    assert len(set(shares)) > 12, "every report of a training is told"
    assert shares == sorted(shares)
    assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.npz"))) == 2
    sweep(planted, tiny_config(), **numbers, on_progress=be_quiet)
    assert fits[3:] == [(8, 0), (2, 1), (4, 1), (8, 1)]
    assert not [path for path in tmp_path.iterdir() if "draft" in path.name]


def test_other_settings_and_other_cells_are_not_mixed_up(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path, fits: list[tuple[int, int]], plant: Any
) -> None:
    changed = planted.copy()
    changed.X[0, 0] += 1
    relabelled = planted.copy()
    relabelled.obs["cell_type"] = relabelled.obs["cell_type"].to_numpy()[::-1]
    for number, (cells, config) in enumerate(
        [
            (planted, tiny_config()),
            (planted, tiny_config(learning_rate=0.01)),
            (planted, tiny_config(label_key=None)),
            (changed, tiny_config()),
            (relabelled, tiny_config()),
            (plant(seed=1), tiny_config()),
        ]
    ):
        sweep(cells, config, n_topics=[2], seeds=[0], folder=tmp_path, on_progress=be_quiet)
        assert len(fits) == number + 1
    sweep(planted, tiny_config(path="elsewhere"), n_topics=[2], seeds=[0], folder=tmp_path, on_progress=be_quiet)
    assert len(fits) == 6, "the file may have moved"


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_damaged_training_is_trained_again(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path, fits: list[tuple[int, int]], suffix: str
) -> None:
    numbers = {"n_topics": [2], "seeds": [0], "folder": tmp_path, "on_progress": be_quiet}
    first = sweep(planted, tiny_config(), **numbers)
    (path,) = tmp_path.glob(f"*.{suffix}")
    path.write_bytes(path.read_bytes()[:40])
    again = sweep(planted, tiny_config(), **numbers)
    assert len(fits) == 2
    same = list({*SCORES} - {"seconds"})
    pd.testing.assert_frame_equal(again.trainings[same], first.trainings[same])


def test_without_labels_and_batches_there_are_scores_of_neither(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    config = tiny_config(label_key=None, batch_key=None)
    row = sweep(planted, config, n_topics=[2], seeds=[0], folder=tmp_path, on_progress=be_quiet).trainings.iloc[0]
    assert row[row.isna()].index.tolist() == ["ari", "best_ari", "nmi", "kbet"]
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["ari"] is None


def test_one_seed_says_nothing_of_stability(planted: ad.AnnData, tiny_config: MakeConfig) -> None:
    found = sweep(planted, tiny_config(), n_topics=[2, 4], seeds=[0, 0], folder=None, on_progress=be_quiet)
    assert found.trainings["seed"].tolist() == [0, 0]
    assert found.by_k["stability"].isna().all()
    assert found.by_k["test_nll_gap_se"].isna().all()


def test_without_held_out_cells_some_are_held_out_and_that_is_said(
    planted: ad.AnnData, tiny_config: MakeConfig
) -> None:
    config = tiny_config(test_fraction=0)
    found = sweep(planted, config, n_topics=[2], seeds=[0], folder=None, on_progress=be_quiet)
    assert found.trainings["test_nll"].notna().all()
    assert "hold out no cells; 10% of them were held out here" in found.sentences[0]


def test_a_training_that_fails_is_left_out_and_named(
    planted: ad.AnnData, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = train.fit

    def fail_once(model: Any, data: Any, config: Any, **options: Any) -> Any:
        if (model.config.n_topics, config.seed) == (4, 1):
            raise TrainingError("The loss is not finite.")
        return original(model, data, config, **options)

    monkeypatch.setattr(train, "fit", fail_once)
    found = sweep(planted, tiny_config(), n_topics=[2, 4], seeds=[0, 1], folder=tmp_path, on_progress=be_quiet)
    assert found.by_k["n_seeds"].tolist() == [2, 1]
    assert found.trainings.iloc[3].drop(["n_topics", "seed"]).isna().all()
    assert found.sentences == ["4 topics, seed 1 (training 4 of 4) failed and is left out: The loss is not finite."]
    assert np.isnan(found.by_k["stability"][1])
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_what_cannot_be_swept_is_refused_with_a_reason(
    planted: ad.AnnData, tiny_config: MakeConfig, tmp_path: Path
) -> None:
    common = {"folder": None, "on_progress": be_quiet}
    with pytest.raises(ConfigError, match="No number of topics"):
        sweep(planted, tiny_config(), n_topics=[], seeds=[0], **common)
    with pytest.raises(ConfigError, match="No seed"):
        sweep(planted, tiny_config(), n_topics=[2], seeds=[], **common)
    with pytest.raises(ConfigError, match=r"n_topics\) must be at least 2"):
        sweep(planted, tiny_config(), n_topics=[1], seeds=[0], **common)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be kept in .*file: File exists"):
        sweep(planted, tiny_config(), n_topics=[2], seeds=[0], folder=tmp_path / "file", on_progress=be_quiet)
