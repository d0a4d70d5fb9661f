"""Do labels and colours of the user reach all that reads a result, and leave the result itself alone?"""

from __future__ import annotations

import zipfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.archive import write_archive
from scetm_core.config import run_config_from_flat
from scetm_core.dressing import dressed, dressing_stamp
from scetm_core.own_colors import write_own_colors
from scetm_core.runs import Run
from scetm_core.user_columns import new_column, write_column
from scetm_core.viewer_file import write_viewer_file
from tests.pages.by_hand import COLUMNS, N_CELLS, N_TOPICS, finish, planted_data, result_of


@pytest.fixture
def run(tmp_path: Path) -> Run:
    data = planted_data()
    data.write_h5ad(tmp_path / "planted.h5ad")
    flat = {"path": str(tmp_path / "planted.h5ad"), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    config = run_config_from_flat(flat)
    run = Run.create(tmp_path / "run", config)
    finish(run, result_of(data, config))
    mask = np.arange(N_CELLS) < 11
    write_column(run, new_column("state", run.load_result()).with_edit(mask, "early", words="lasso"))
    write_own_colors(run.path, "state", {"early": "#123456"})
    return run


def test_columns_and_colours_join_in_memory_only(run: Run) -> None:
    before, result = run.result_path.read_bytes(), run.load_result()
    shown = dressed(run, result)
    assert (shown.obs["state"] == "early").sum() == 11
    assert list(shown.uns["state_colors"]) == ["#123456"]
    assert "state" not in result.obs
    assert "state_colors" not in result.uns
    assert shown.obsm[keys.THETA] is result.obsm[keys.THETA]
    assert run.result_path.read_bytes() == before


def test_its_stamp_changes_with_either(run: Run) -> None:
    first = dressing_stamp(run)
    write_own_colors(run.path, "state", {"early": "#654321"})
    second = dressing_stamp(run)
    write_column(run, new_column("more", run.load_result()).with_edit(np.ones(N_CELLS, dtype=bool), "x", words=""))
    assert len({first, second, dressing_stamp(run)}) == 3


def test_labels_leave_with_the_result_for_viewers(run: Run, tmp_path: Path) -> None:
    write_viewer_file(run, tmp_path / "out.h5ad")
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert (out.obs["state"] == "early").sum() == 11
    assert list(out.uns["state_colors"]) == ["#123456"]


@pytest.mark.slow
def test_labels_leave_with_everything(run: Run, tmp_path: Path) -> None:
    write_archive(run, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        with archive.open("run/labels.csv") as stream:
            labels = pd.read_csv(stream)
        names = archive.namelist()
    assert list(labels.columns) == ["cell", "state"]
    assert (labels["state"] == "early").sum() == 11
    assert "run/run/columns/state.json" in names
    assert "run/run/colors.json" in names
