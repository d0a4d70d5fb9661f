"""Do composition, topic profile and expected genes of some cells say what is true of them?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.figures import (
    composition_frame,
    expected_genes_frame,
    plot_composition,
    plot_profile,
    profile_frame,
)

TYPES = pd.Series(pd.Categorical(["a", "a", "b", "b", "b", None], categories=["a", "b", "never"]), name="type")


def mask(*numbers: int, n: int = 6) -> np.ndarray:
    found = np.zeros(n, dtype=bool)
    found[list(numbers)] = True
    return found


@pytest.fixture
def result() -> ad.AnnData:
    rng = np.random.default_rng(0)
    theta = rng.dirichlet(np.ones(4), size=30).astype(np.float32)
    theta[:10] = [0.7, 0.1, 0.1, 0.1]
    beta = np.zeros((12, 4), dtype=np.float32)
    beta[3, 0] = 4  # gene 3 makes up topic 0
    return ad.AnnData(
        obs=pd.DataFrame(index=[f"c{i}" for i in range(30)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(12)]),
        obsm={keys.THETA: theta},
        varm={keys.BETA: beta},
    )


def test_shares_are_of_the_cells_inside_and_outside() -> None:
    frame = composition_frame(TYPES, mask(0, 2, 3, 5), ~mask(0, 2, 3, 5), {"a": "#111111"}).set_index("group")
    assert frame["n_cells"].to_dict() == {"b": 2, "a": 1, "missing": 1}
    assert frame.loc["b", ["share", "share_outside", "of_group"]].tolist() == pytest.approx([0.5, 0.5, 2 / 3])
    assert frame["share"].sum() == pytest.approx(1)
    assert frame.loc["a", "color"] == "#111111"
    assert "never" not in frame.index


def test_composition_is_drawn_in_order_and_what_is_left_out_is_said() -> None:
    many = pd.Series(pd.Categorical([f"t{i % 20}" for i in range(400)]), name="type")
    frame = composition_frame(many, np.ones(400, dtype=bool), np.zeros(400, dtype=bool))
    figure = plot_composition(frame)
    assert len(figure.data[0].x) == 12
    assert "8 smaller not drawn" in figure.layout.xaxis.title.text


def test_without_a_selection_it_says_so() -> None:
    frame = composition_frame(TYPES, mask(), ~mask())
    assert frame.attrs["reason"] == "No cell is selected."
    assert "No cell is selected" in plot_composition(frame).layout.annotations[0].text


def test_profiles_are_differences_of_means(result: ad.AnnData) -> None:
    inside = mask(*range(10), n=30)
    frame = profile_frame(result, inside, ~inside)
    theta = result.obsm[keys.THETA].astype(float)
    expected = theta[:10].mean(axis=0) - theta[10:].mean(axis=0)
    numbers = [int(name.removeprefix("topic_")) for name in frame["topic"]]
    assert frame["topic"].iloc[0] == "topic_0"
    assert frame["difference"].to_numpy() == pytest.approx(expected[numbers], abs=1e-6)
    assert np.all(np.diff(frame["difference"].abs()) <= 0)


def test_few_and_many_selected_cells_give_the_same_means(result: ad.AnnData) -> None:
    few = mask(1, 2, n=30)
    a = profile_frame(result, few, ~few).set_index("topic").sort_index()
    b = profile_frame(result, ~few, few).set_index("topic").sort_index()
    assert a["inside"].to_numpy() == pytest.approx(b["outside"].to_numpy(), abs=1e-6)


def test_expected_genes_follow_from_theta_and_beta(result: ad.AnnData) -> None:
    inside = mask(*range(10), n=30)
    frame = expected_genes_frame(result, inside, ~inside).set_index("gene")
    beta = result.varm[keys.BETA].astype(float)
    p = np.exp(beta) / np.exp(beta).sum(axis=0)
    here, there = (1e4 * p @ result.obsm[keys.THETA][side].astype(float).mean(axis=0) for side in (inside, ~inside))
    assert frame.index[0] == "g3"
    assert frame.loc["g3", ["inside", "outside"]].tolist() == pytest.approx([here[3], there[3]], rel=1e-5)
    assert frame.loc["g3", "log2_ratio"] == pytest.approx(np.log2(here[3] / there[3]), rel=1e-4)
    assert frame["inside"].sum() == pytest.approx(1e4)


def test_profiles_need_both_sides(result: ad.AnnData) -> None:
    everyone = np.ones(30, dtype=bool)
    for frame in (profile_frame(result, everyone, ~everyone), expected_genes_frame(result, ~everyone, everyone)):
        assert frame.empty
        assert "Select some cells" in frame.attrs["reason"]


def test_the_topic_in_focus_is_outlined_and_topics_have_their_names(result: ad.AnnData) -> None:
    inside = mask(*range(10), n=30)
    figure = plot_profile(profile_frame(result, inside, ~inside), topic=0, names={"topic_0": "beta <cells>"})
    bar = figure.data[0]
    focused = [row for row, width in enumerate(bar.marker.line.width) if width]
    assert [bar.customdata[row][0] for row in focused] == [0]
    assert "topic 0 beta &lt;cells&gt;" in figure.layout.yaxis.ticktext
