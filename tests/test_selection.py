"""Do rules select the cells they name, step by step, and is anything else refused?"""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Outline

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.selection import (
    Among,
    Between,
    Box,
    Lasso,
    Named,
    Rule,
    Step,
    in_words,
    selected_cells,
    selection_id,
    step_from,
    steps_from_json,
    steps_to_json,
    unknown_names,
    with_step,
)

N = 2_000


@pytest.fixture(scope="module")
def result() -> ad.AnnData:
    rng = np.random.default_rng(0)
    types = pd.Categorical.from_codes(rng.integers(-1, 3, N), ["alpha", "beta", "delta"])
    obs = pd.DataFrame({"cell_type": types, "depth": rng.normal(size=N)}, index=[f"c{i}" for i in range(N)])
    obs.loc["c7", "depth"] = np.nan
    return ad.AnnData(obs=obs, obsm={keys.X_UMAP: rng.normal(size=(N, 2)).astype(np.float32)})


def select(result: ad.AnnData, *steps: Step | Rule) -> np.ndarray:
    taken = tuple(step if isinstance(step, Step) else Step(how="new", rule=step) for step in steps)
    return selected_cells(taken, result, numbers=lambda what: result.obs[what].to_numpy())


def star(n_corners: int) -> tuple[tuple[float, float], ...]:
    """An outline that goes in and out and crosses itself."""
    angles = np.linspace(0, 4 * np.pi, n_corners, endpoint=False)
    radius = 0.6 + 0.9 * np.abs(np.sin(3.3 * angles))
    return tuple(zip((radius * np.cos(angles)).tolist(), (radius * np.sin(angles)).tolist(), strict=True))


def crossings(point: np.ndarray, corners: tuple[tuple[float, float], ...]) -> int:
    """By hand: how often a ray to the right crosses the outline."""
    x, y = map(float, point)
    count = 0
    for (x1, y1), (x2, y2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y1 <= y < y2) or (y2 <= y < y1):
            count += x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return count


@pytest.mark.parametrize("n_corners", [3, 11, 400])
def test_a_lasso_selects_by_the_even_odd_rule(result: ad.AnnData, n_corners: int) -> None:
    places = result.obsm[keys.X_UMAP]
    found = select(result, Lasso(corners=star(n_corners)))
    expected = [crossings(place, star(n_corners)) % 2 == 1 for place in places]
    assert found.tolist() == expected
    assert 0 < found.sum() < N


def test_a_convex_lasso_equals_matplotlib(result: ad.AnnData) -> None:
    corners = ((-1.0, -0.5), (0.3, -1.1), (1.2, 0.4), (0.1, 1.3))
    expected = Outline(corners).contains_points(result.obsm[keys.X_UMAP])
    assert np.array_equal(select(result, Lasso(corners=corners)), expected)


def test_a_box_holds_its_edges(result: ad.AnnData) -> None:
    x, y = result.obsm[keys.X_UMAP][5].astype(float)
    assert select(result, Box(left=x, right=x, bottom=y, top=y)).nonzero()[0].tolist() == [5]


def test_categories_numbers_and_names(result: ad.AnnData) -> None:
    types, depth = result.obs["cell_type"], result.obs["depth"]
    among = select(result, Among(column="cell_type", values=("beta", "delta")))
    assert np.array_equal(among, types.isin(["beta", "delta"]))
    between = select(result, Between(what="depth", low=0.0, high=1.0))
    assert np.array_equal(between, ((depth >= 0) & (depth <= 1)).to_numpy())
    assert not select(result, Between(what="depth", low=-99.0))[7], "a cell without a number is in no range"
    assert select(result, Named(cells=("c3", "nobody", "c9"))).nonzero()[0].tolist() == [3, 9]
    assert unknown_names(Named(cells=("c3", "nobody")), result) == ["nobody"]


def test_steps_work_as_sets_do(result: ad.AnnData) -> None:
    beta, deep = Among(column="cell_type", values=("beta",)), Between(what="depth", low=0.0)
    a, b = select(result, beta), select(result, deep)
    assert np.array_equal(select(result, beta, Step(how="add", rule=deep)), a | b)
    assert np.array_equal(select(result, beta, Step(how="subtract", rule=deep)), a & ~b)
    assert np.array_equal(select(result, beta, Step(how="intersect", rule=deep)), a & b)
    assert np.array_equal(select(result, beta, Step(how="invert")), ~a)
    assert np.array_equal(select(result, beta, deep), b)
    assert not select(result).any()


def test_what_a_new_step_makes_void_is_forgotten() -> None:
    beta, deep = Among(column="t", values=("beta",)), Between(what="depth", low=0.0)
    steps = with_step(with_step((), Step(how="new", rule=beta)), Step(how="add", rule=deep))
    assert len(steps) == 2
    assert with_step(steps, Step(how="new", rule=deep)) == (Step(how="new", rule=deep),)
    assert with_step(with_step(steps, Step(how="invert")), Step(how="invert")) == steps


@pytest.mark.parametrize(
    "rule",
    [
        Lasso(corners=((0.0, 0.5), (1.0, 1e-9), (2.0, 3.0))),
        Box(left=0.0, right=1.0, bottom=-1.0, top=2.0),
        Among(column="größe", values=("a", "b, c")),
        Between(what="topic_7", low=0.1, high=None),
        Named(cells=("AAAC-1",)),
    ],
)
def test_steps_come_back_from_json_and_have_one_name(rule: Rule) -> None:
    steps = (Step(how="new", rule=rule), Step(how="invert"))
    assert steps_from_json(steps_to_json(steps)) == steps
    assert selection_id(steps) == selection_id(steps_from_json(steps_to_json(steps)))
    assert selection_id(steps) != selection_id(steps[:1])


@pytest.mark.parametrize(
    "step",
    [
        {"how": "explode", "rule": {"kind": "box"}},
        {"how": "new"},
        {"how": "invert", "rule": {"kind": "named", "cells": []}},
        {"how": "new", "rule": {"kind": "lasso", "corners": [[0, 0], [1, 1]]}},
        {"how": "new", "rule": {"kind": "lasso", "corners": [[0, 0]] * 5001}},
        {"how": "new", "rule": {"kind": "lasso", "corners": [[0, 0], [1, "x"], [2, 2]]}},
        {"how": "new", "rule": {"kind": "box", "left": 0, "right": float("inf"), "bottom": 0, "top": 1}},
        {"how": "new", "rule": {"kind": "among", "column": 3, "values": []}},
        {"how": "new", "rule": {"kind": "between", "what": "x", "low": True}},
        {"how": "new", "rule": {"kind": "named", "cells": [1]}},
        {"how": "new", "rule": {"kind": "pickle"}},
        {"how": "new", "rule": {"kind": "named", "cells": [], "more": 1}},
        {"how": "new", "rule": [], "more": 1},
        "new",
        None,
        7,
    ],
    ids=str,
)
def test_anything_else_is_refused(step: object) -> None:
    with pytest.raises(DataError, match="no step of a selection"):
        step_from(step)


@pytest.mark.parametrize("text", ["", "{}", "[" * 2000, json.dumps([{"how": "invert"}] * 501)])
def test_what_is_no_list_of_steps_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        steps_from_json(text)


def test_what_the_result_does_not_have_is_said(result: ad.AnnData) -> None:
    with pytest.raises(DataError, match="no column 'tissue'"):
        select(result, Among(column="tissue", values=("x",)))
    with pytest.raises(DataError, match="cell_type has no gamma"):
        select(result, Among(column="cell_type", values=("gamma",)))
    bare = ad.AnnData(obs=result.obs)
    with pytest.raises(DataError, match="no UMAP"):
        select(bare, Box(left=0, right=1, bottom=0, top=1))


def test_a_selection_can_be_said_in_words() -> None:
    steps = (
        Step(how="new", rule=Lasso(corners=star(3))),
        Step(how="subtract", rule=Among(column="cell_type", values=("beta",))),
        Step(how="intersect", rule=Between(what="topic_7", low=0.1)),
        Step(how="invert"),
    )
    assert in_words(steps) == "lasso, without cell_type beta, within topic 7 ≥ 0.1, inverted"
    assert "insulin" in in_words(steps, {"topic_7": "insulin"})
