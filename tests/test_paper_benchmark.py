"""Do the paper's experiments prepare the data as they say, and report a method that fails or is too slow?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from benchmarks import _paper_scalability, _report, paper
from benchmarks._paper_methods import FAILED, NO_LAMBDA, all_methods, chosen_methods
from benchmarks._paper_overcorrection import fate_of_type, in_one_batch_only
from benchmarks._paper_robustness import SCORES, STANDARD, VALUES, ranges
from benchmarks._paper_scalability import OutOfTimeError, some_cells, stopper
from benchmarks.compare import SCORES as COMPARED
from scetm_core.config import run_config_from_flat
from scetm_core.errors import DataError
from scetm_core.settings import settings_of

COLUMNS = {"batch_key": "batch", "label_key": "cell_type"}


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_report, "RESULTS", tmp_path)
    return tmp_path


# ---- overcorrection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, "b0"], ids=["the one with most", "one named"])
def test_a_type_is_left_in_one_batch_and_all_else_stays(planted: ad.AnnData, batch: str | None) -> None:
    before = pd.crosstab(planted.obs["cell_type"], planted.obs["batch"])
    data, kept = in_one_batch_only(planted, "type 1", **COLUMNS, batch=batch)
    after = pd.crosstab(data.obs["cell_type"], data.obs["batch"])
    assert kept == (batch or before.loc["type 1"].idxmax())
    expected = before.copy()
    expected.loc["type 1", expected.columns != kept] = 0
    pd.testing.assert_frame_equal(after, expected)
    np.testing.assert_array_equal(data.X.toarray(), planted[data.obs_names].X.toarray())


def test_a_type_or_batch_that_is_not_there_is_refused(planted: ad.AnnData) -> None:
    with pytest.raises(DataError, match=r"No cell is of type 'beta'; found: \['type 0'"):
        in_one_batch_only(planted, "beta", **COLUMNS)
    with pytest.raises(DataError, match=r"Batch 'b9' has no cell of type 'type 0'; found: \['b0', 'b1'\]"):
        in_one_batch_only(planted, "type 0", **COLUMNS, batch="b9")


def test_the_fate_of_a_type_is_how_together_and_how_alone_it_is() -> None:
    labels = pd.Series(["a", "a", "a", "a", "b", "b", None], dtype="category")
    assert fate_of_type(labels, np.array([0, 0, 0, 1, 0, 1, 0]), "a") == (0.75, 0.6)
    assert fate_of_type(labels, np.array([2, 2, 2, 2, 0, 0, 1]), "a") == (1.0, 1.0)


# ---- tables and ablation ----------------------------------------------------------------------------------------


def made_up_scores(data: Any, method: str, *, seed: int, options: Any, settings: Any = None) -> dict[str, float]:
    if settings and settings.get("encoder_input") == "counts":
        raise DataError("It did not converge.")
    return dict.fromkeys(COMPARED, float(seed)) | {"kbet": 0.5}


def test_tables_are_methods_by_data_sets(planted_file: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "score_method", made_up_scores)
    paper.main(["tables", "--data", str(planted_file), "--seeds", "3", "--methods", "scetm", "paper_adv", "pca"])
    table = pd.read_csv(results / "paper-table1.csv")
    assert list(table.columns) == ["method", "planted"]
    assert list(table["method"]) == ["scETM Standard", "scETM + adv", "PCA"]
    assert (table["planted"] == 1).all(), "the median over the seeds 0, 1, 2"
    assert (pd.read_csv(results / "paper-table2.csv")["planted"] == 0.5).all()
    assert (results / "paper-table1.png").is_file()


def test_the_papers_numbers_stand_beside_ours() -> None:
    medians = pd.DataFrame(
        [
            ("mouse_pancreas", "scETM Standard", 0.95),
            ("mouse_pancreas", "scETM", 0.91),
            ("cells", "scETM", np.nan),
        ],
        columns=["data", "method", "best_ari"],
    )
    wide = paper.wide_table(medians, "best_ari")
    assert list(wide.columns) == ["method", "mouse_pancreas", "mouse_pancreas, paper", "cells"]
    np.testing.assert_equal(wide.iloc[1].tolist(), ["scETM", 0.91, 0.946, np.nan])
    assert np.isnan(wide["mouse_pancreas, paper"][0]), "Standard is not in the paper"


def test_a_method_that_fails_is_said_and_does_not_stop_the_others(
    planted_file: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "score_method", made_up_scores)
    paper.main(["ablation", "--data", str(planted_file), "--seeds", "1"])
    table = pd.read_csv(results / "paper-ablation.csv").set_index("method")
    assert len(table) == 2 * len(paper.WITHOUT)
    assert list(table.index[table["best_ari"].isna()]) == [
        "published, raw counts as input", "Standard, raw counts as input",
    ]  # fmt: skip
    every = pd.read_csv(results / "paper-ablation-all.csv")
    assert set(every[FAILED].dropna()) == {"It did not converge."}


def test_variants_are_settings_of_scetm() -> None:
    options = paper.parsed(["tables", "--paper-steps", "7", "--steps", "9"])
    for name, method in all_methods(options).items():
        if method.settings is not None:
            config = run_config_from_flat(method.settings)
            assert config.train.max_steps == (7 if name.startswith("paper") else 9)
            assert (config.train.adversary_weight > 0) == name.endswith("adv")
            assert config.model.batch_intercept != (NO_LAMBDA.items() <= method.settings.items())
    options.methods = ["scetm", "no such method"]
    with pytest.raises(SystemExit, match=r"Unknown or not installed: \['no such method'\]"):
        chosen_methods(options, [])


# ---- robustness -------------------------------------------------------------------------------------------------


def test_robustness_varies_settings_that_exist_within_their_range() -> None:
    names = {entry.name for entry in settings_of(type(run_config_from_flat({}).model))}
    names |= {entry.name for entry in settings_of(type(run_config_from_flat({}).train))}
    for name, values in VALUES.items():
        assert name in names
        for value in values:
            run_config_from_flat({name: value})


def test_the_range_of_a_setting_includes_standards_own_value() -> None:
    medians = pd.DataFrame({"data": "cells", "setting": [STANDARD, "n_emb", "n_emb"], **dict.fromkeys(SCORES, 0.5)})
    medians["best_ari"] = [0.9, 0.7, 0.8]
    row = ranges(medians).iloc[0]
    assert (row["setting"], row["best_ari"], row["best_ari spread"]) == ("n_emb", "0.700 to 0.900", 0.2)


# ---- scalability ------------------------------------------------------------------------------------------------


def test_cells_are_drawn_from_the_data_or_made_up_where_there_are_too_few(planted_file: Path) -> None:
    options = paper.parsed(["scalability", "--data", str(planted_file)])
    some, source = some_cells(100, options)
    assert (some.shape, source) == ((100, 60), "planted")
    assert some.obs_names.is_unique
    made_up, source = some_cells(300, options)
    assert (made_up.shape, source) == ((300, 3000), "simulated")
    assert made_up.obs["batch"].nunique() == 5


def test_a_method_past_its_limit_is_ended() -> None:
    now = [0.0]
    look = stopper(2, clock=lambda: now[0])
    now[0] = 119
    look(0.5)
    now[0] = 121
    with pytest.raises(OutOfTimeError, match="Not done after 2 minutes"):
        look(0.5)


def test_a_method_past_its_limit_is_not_run_on_more_cells(
    planted_file: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(data: Any, method: Any, *, limit: float, **_: Any) -> dict[str, float]:
        if method.label == "PCA" and data.n_obs >= 100:
            raise OutOfTimeError(f"Not done after {limit:g} minutes.")
        return {"seconds": float(data.n_obs), "peak_memory_mb": 1.0, "best_ari": 0.0}

    monkeypatch.setattr(_paper_scalability, "_scores", scores)
    paper.main(
        ["scalability", "--data", str(planted_file), "--seeds", "2", "--methods", "scetm", "pca", "--limit", "1",
         "--cells", "200", "50", "100"]
    )  # fmt: skip
    table = pd.read_csv(results / "paper-scalability.csv").set_index(["method", "cells"])["seconds"]
    assert table["scETM Standard"].to_dict() == {50: 50.0, 100: 100.0, 200: 200.0}
    np.testing.assert_equal(table["PCA"].to_dict(), {50: 50.0, 100: np.nan})
    assert "PCA is not run on 200 cells" in capsys.readouterr().out
    assert (results / "paper-figure3.png").is_file()
