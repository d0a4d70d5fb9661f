"""Does one selection hold for the whole app, step by step, and back, with nothing but rules from the browser?"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import Dash, no_update

from pages._shared import cell_maps, selecting, studio
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.errors import DataError, RunError, ScetmError
from scetm_core.runs import Run
from scetm_core.user_columns import new_column, write_column

Trigger = Callable[..., Any]
DONE, N_CELLS = "done-run", 60


@pytest.fixture
def run(make_shown_run: Callable[..., Run], app: Dash, shown_studio: Studio) -> Run:
    """A finished run of the test's own."""
    made = make_shown_run()
    made.write_result(Run(shown_studio.runs_folder / DONE).load_result())
    return made


@pytest.fixture
def result(run: Run) -> ad.AnnData:
    return run.load_result()


def step(run: Run, store: Any, how: str, rule: dict[str, Any] | None = None) -> dict[str, Any]:
    ask = {"run": run.id, "how": how, **({"rule": rule} if rule else {})}
    return selecting.take_step(store, ask)[0]


def cells_of(run: Run, store: dict[str, Any]) -> np.ndarray | None:
    return selecting.mask_of(run.id, selecting.current(store, run.id))


def beta(result: ad.AnnData) -> dict[str, Any]:
    return {"kind": "among", "column": "cell_type", "values": [str(result.obs["cell_type"].cat.categories[0])]}


def test_steps_make_a_selection_and_only_its_short_name_is_in_the_store(run: Run, result: ad.AnnData) -> None:
    store = step(run, None, "new", beta(result))
    store = step(run, store, "intersect", {"kind": "between", "what": "topic_2", "low": 0.1})
    theta, types = result.obsm[keys.THETA][:, 2], result.obs["cell_type"]
    expected = (types == types.cat.categories[0]).to_numpy() & (theta >= 0.1)
    assert np.array_equal(cells_of(run, store), expected)
    assert set(store) == {"run", "history", "at"}
    assert all(len(name) in (0, 12) for name in store["history"])


def test_undo_redo_invert_and_clear(run: Run, result: ad.AnnData, triggered: Trigger) -> None:
    store = step(run, step(run, None, "new", beta(result)), "add", {"kind": "named", "cells": list(result.obs_names)})
    assert cells_of(run, store).all()

    def press(button: str, store: dict[str, Any]) -> dict[str, Any]:
        with triggered(f"{button}.n_clicks"):
            return selecting.change_whole(1, 1, 1, 1, store)

    before = press(selecting.UNDO, store)
    assert 0 < cells_of(run, before).sum() < N_CELLS
    assert cells_of(run, press(selecting.REDO, before)).all()
    assert not cells_of(run, press(selecting.INVERT, store)).any()
    cleared = press(selecting.CLEAR, store)
    assert cells_of(run, cleared) is None
    assert cells_of(run, press(selecting.UNDO, cleared)).all(), "a cleared selection comes back"
    for _ in range(9):
        before = press(selecting.UNDO, before)
    assert before["at"] == 0


def test_a_new_step_after_an_undo_forgets_what_was_undone(run: Run, result: ad.AnnData) -> None:
    store = step(run, step(run, None, "new", beta(result)), "invert")
    store = step(run, {**store, "at": 1}, "add", {"kind": "named", "cells": ["nobody"]})
    assert store["at"] == len(store["history"]) - 1 == 2


def test_a_selection_of_another_run_is_none_here(run: Run, result: ad.AnnData) -> None:
    store = step(run, None, "new", beta(result))
    assert selecting.current(store, "another-run") == ""
    assert selecting.current(None, run.id) == ""


def test_genes_and_numeric_columns_can_bound_a_selection(run: Run, result: ad.AnnData) -> None:
    depth = result.obs[keys.N_COUNTS].to_numpy()
    store = step(run, None, "new", {"kind": "between", "what": keys.N_COUNTS, "high": float(np.median(depth))})
    assert cells_of(run, store).sum() == N_CELLS / 2
    gene = str(result.var_names[3])
    store = step(run, None, "new", {"kind": "between", "what": gene, "low": 1e-9})
    assert np.array_equal(cells_of(run, store), selecting.colors.numbers_of(run.id, gene) > 0)


def test_pasted_names_that_are_of_no_cell_are_said(run: Run, result: ad.AnnData) -> None:
    rule = {"kind": "named", "cells": [result.obs_names[4], "nobody", "no one"]}
    store, said = selecting.take_step(None, {"run": run.id, "how": "new", "rule": rule})
    assert cells_of(run, store).nonzero()[0].tolist() == [4]
    assert "2 names are of no cell: nobody, no one" in said


@pytest.mark.parametrize(
    "ask",
    [
        {"run": "../../etc", "how": "new", "rule": {"kind": "named", "cells": []}},
        {"run": None, "how": "new", "rule": {"kind": "named", "cells": []}},
        {"how": "invert"},
    ],
)
def test_a_step_in_no_run_is_refused(run: Run, ask: dict[str, Any]) -> None:
    with pytest.raises(RunError):
        selecting.take_step(None, ask)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "among", "column": "no such", "values": ["x"]}, "no column"),
        ({"kind": "between", "what": "topic_99", "low": 0}, "no column, topic or gene"),
        ({"kind": "between", "what": "cell_type", "low": 0}, "no number"),
    ],
)
def test_a_rule_about_nothing_is_refused_in_words(run: Run, rule: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        selecting.take_step(None, {"run": run.id, "how": "new", "rule": rule})


def test_an_address_brings_its_selection_along(run: Run, result: ad.AnnData) -> None:
    name = selecting.current(step(run, None, "new", beta(result)), run.id)
    query = f"?run={run.id}&selection={name}"
    taken = selecting.follow_address(query, "/cells", None)
    assert selecting.current(taken, run.id) == name
    assert selecting.follow_address(query, "/cells", taken) is no_update
    assert selecting.follow_address(f"?run={run.id}", "/cells", taken) is no_update
    left = selecting.follow_address(f"?run={run.id}", "/explore", taken)
    assert selecting.current(left, run.id) == ""
    with pytest.raises(ScetmError, match="has no selection"):
        selecting.follow_address(f"?run={run.id}&selection=../../x", "/cells", None)


def test_the_bar_says_what_is_selected_and_which_ways_are_open(run: Run, result: ad.AnnData) -> None:
    assert selecting.describe(None)[0] is True
    store = step(run, None, "new", beta(result))
    hidden, words, no_undo, no_redo, href = selecting.describe(store)
    n_cells = int(cells_of(run, store).sum())
    assert (hidden, no_undo, no_redo) == (False, False, True)
    assert words.startswith(f"{n_cells} of 60 cells: cell_type ")
    assert f"selection={store['history'][1]}" in href


def test_names_of_selected_cells_leave_with_their_rule(run: Run, result: ad.AnnData) -> None:
    store = step(run, None, "new", beta(result))
    sent = selecting.download_names(1, store)
    first, _, rest = sent["content"].partition("\n")
    assert first.startswith("#")
    assert "cell_type" in first
    table = pd.read_csv(io.StringIO(rest))
    assert list(table["cell"]) == list(result.obs_names[cells_of(run, store)])
    assert selecting.download_names(1, {**store, "at": 0}) is no_update


def test_labels_can_be_selected_by_and_change_what_is_selected(run: Run, result: ad.AnnData) -> None:
    column = new_column("state", result).with_edit(np.arange(N_CELLS) < 7, "early", words="")
    write_column(run, column)
    store = step(run, None, "new", {"kind": "among", "column": "state", "values": ["early"]})
    assert cells_of(run, store).sum() == 7
    write_column(run, column.with_edit(np.arange(N_CELLS) < 9, "early", words=""))
    assert cells_of(run, store).sum() == 9


def test_the_map_fades_what_is_not_selected(run: Run, result: ad.AnnData) -> None:
    store = step(run, None, "new", beta(result))
    name = selecting.current(store, run.id)
    figure, _ = cell_maps.draw_map(run.id, "cell_type", None, True, graph="g", selection=name)
    found = np.concatenate([trace.customdata[np.asarray(trace.selectedpoints, dtype=int)] for trace in figure.data])
    assert sorted(found) == cells_of(run, store).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("-1,2,0,3.5", [-1.0, 2.0, 0.0, 3.5]), (None, None), ("", None), ("1,2,3", None), ("2,1,0,1", None),
        ("a,b,c,d", None), ("nan,1,0,1", None), ("-inf,inf,0,1", None), ("1" * 5000, None),
    ],
)  # fmt: skip
def test_the_part_in_view_is_read_from_an_address(text: str | None, window: list[float] | None) -> None:
    assert cell_maps.window_from(text) == window


def test_every_page_has_the_bar(app: Dash, components_in: Callable[..., Any]) -> None:
    ids = [getattr(node, "id", None) for node in components_in(app.layout())]
    assert selecting.BAR in ids
    assert selecting.STORE in ids


def test_results_are_mapped_and_shared(run: Run) -> None:
    first = studio.load_result(run.id)
    assert studio.load_result(run.id) is first
    assert isinstance(first.obsm[keys.THETA].base, np.memmap)
