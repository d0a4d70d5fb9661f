"""Do labels stay with the cells they were given to, can each be undone, and is nothing else touched?"""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.config import run_config_from_flat
from scetm_core.errors import DataError, RunError
from scetm_core.runs import Run
from scetm_core.selection import Among, Step
from scetm_core.selection_store import read_selection, write_selection
from scetm_core.user_columns import (
    columns_stamp,
    delete_column,
    new_column,
    read_columns,
    with_user_columns,
    write_column,
)

N = 21


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "x.h5ad").write_bytes(b"counts")
    run = Run.create(tmp_path / "run", run_config_from_flat({"path": str(tmp_path / "x.h5ad")}))
    run.write_result(result_of())
    return run


def result_of(n_cells: int = N) -> ad.AnnData:
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(["a", "b", "c"] * (n_cells // 3))}, index=[f"c{i}" for i in range(n_cells)]
    )
    return ad.AnnData(
        obs=obs, obsm={keys.THETA: np.eye(n_cells, 3, dtype=np.float32)}, uns={"cell_type_colors": ["#000000"] * 3}
    )


def cells(*numbers: int) -> np.ndarray:
    mask = np.zeros(N, dtype=bool)
    mask[list(numbers)] = True
    return mask


def test_later_labels_lie_over_earlier_ones_and_can_be_undone_and_done_again(run: Run) -> None:
    column = new_column("state", run.load_result())
    column = column.with_edit(cells(0, 1, 20), "resting", words="lasso").with_edit(cells(1, 2), "active", words="box")
    write_column(run, column)
    kept = read_columns(run)["state"]
    assert kept == column
    assert [kept.values()[i] for i in (0, 1, 2, 20)] == ["resting", "active", "active", "resting"]
    assert pd.isna(kept.values()[3])
    undone = kept.moved(-1)
    assert list(undone.values()[[0, 1]]) == ["resting", "resting"]
    assert undone.moved(-1).labels == []
    assert undone.moved(-5).moved(+9) == kept
    assert [edit.n_cells for edit in kept.edits] == [3, 2]


def test_a_new_label_after_an_undo_forgets_what_was_undone(run: Run) -> None:
    column = new_column("state", run.load_result()).with_edit(cells(0), "a", words="").moved(-1)
    column = column.with_edit(cells(5), "b", words="")
    assert column.labels == ["b"]
    assert len(column.edits) == 1


def test_an_empty_label_takes_labels_away(run: Run) -> None:
    column = (
        new_column("state", run.load_result()).with_edit(cells(0, 1), "a", words="").with_edit(cells(1), " ", words="")
    )
    assert pd.isna(column.values()[1])
    assert column.values()[0] == "a"


def test_a_kept_selection_tells_its_cells_from_the_rest(run: Run) -> None:
    column = new_column("mine", run.load_result(), rest="rest").with_edit(cells(3), "mine", words="")
    assert list(column.values()[[2, 3]]) == ["rest", "mine"]
    assert column.labels == ["mine", "rest"]


def test_columns_join_the_result_and_leave_files_and_arrays_alone(run: Run) -> None:
    before, stamp = run.result_path.read_bytes(), columns_stamp(run)
    write_column(run, new_column("state", run.load_result()).with_edit(cells(0), "a", words="lasso"))
    result = run.load_result()
    joined = with_user_columns(run, result)
    assert list(joined.obs.columns) == ["cell_type", "state"]
    assert "state" not in result.obs
    assert joined.obsm[keys.THETA] is result.obsm[keys.THETA]
    assert list(joined.uns["cell_type_colors"]) == ["#000000"] * 3
    assert run.result_path.read_bytes() == before
    assert columns_stamp(run) != stamp
    delete_column(run, "state")
    assert with_user_columns(run, result) is result


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\0b", "line\x07"])
def test_a_name_that_cannot_be_used_is_refused(run: Run, name: str) -> None:
    with pytest.raises(DataError, match="A name has 1 to 60 letters"):
        new_column(name, run.load_result())


@pytest.mark.parametrize("name", ["cell_type", "topic_7"])
def test_a_taken_name_is_refused(run: Run, name: str) -> None:
    with pytest.raises(DataError, match="is taken"):
        new_column(name, run.load_result())


@pytest.mark.parametrize("name", ["../../evil", "a/b", "größe", "..", "CON"])
def test_odd_names_stay_within_the_run(run: Run, name: str) -> None:
    write_column(run, new_column(name, run.load_result()).with_edit(cells(0), "a", words=""))
    assert list(read_columns(run)) == [name]
    assert len(list((run.path / keys.COLUMNS_FOLDER).iterdir())) == 1
    assert not list(run.path.parent.glob("evil*"))


@pytest.mark.parametrize("change", [{"edits": 3}, {"n_obs": "x"}, {"more": 1}, {"edits": [{"label": "a"}]}])
def test_a_damaged_column_is_said(run: Run, change: dict[str, object]) -> None:
    write_column(run, new_column("state", run.load_result()).with_edit(cells(0), "a", words=""))
    file = run.path / keys.COLUMNS_FOLDER / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(RunError, match=r"columns/state\.json"):
        read_columns(run)


def test_bits_that_unpack_to_too_much_or_too_little_are_refused(run: Run) -> None:
    write_column(run, new_column("state", run.load_result()).with_edit(cells(0), "a", words=""))
    file = run.path / keys.COLUMNS_FOLDER / "state.json"
    record = json.loads(file.read_text())
    record["edits"][0]["cells"] = "AAAA"
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match="cannot be read"):
        read_columns(run)


def test_labels_for_other_cells_are_not_given_to_these(run: Run) -> None:
    write_column(run, new_column("state", run.load_result()).with_edit(cells(0), "a", words=""))
    with pytest.raises(RunError, match="made for 21 cells, the result has 24"):
        with_user_columns(run, result_of(24))


# ---- rules by their short names -----------------------------------------------------------------------------------


def test_a_selection_is_found_by_its_short_name(run: Run) -> None:
    steps = (Step(how="new", rule=Among(column="cell_type", values=("a",))),)
    name = write_selection(run, steps)
    assert write_selection(run, steps) == name
    assert read_selection(run, name) == steps


@pytest.mark.parametrize("name", ["../../../etc/passwd", "abc", "0" * 12, "", "x" * 5000])
def test_an_unknown_selection_is_said(run: Run, name: str) -> None:
    with pytest.raises(RunError, match="has no selection"):
        read_selection(run, name)
