"""Are the genes of a topic ranked by relevance as Sievert and Shirley define it?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.figures import plot_top_genes, top_genes_frame


@pytest.fixture
def small() -> ad.AnnData:
    """Two topics that share reads 3 to 1; p(gene | topic 0) = .5, .3, .2 and p(gene | topic 1) = .8, .1, .1."""
    return ad.AnnData(
        obs=pd.DataFrame(index=["c0", "c1"]),
        var=pd.DataFrame(index=["common", "middle", "own"]),
        obsm={keys.THETA: np.array([[0.9, 0.1], [0.6, 0.4]])},
        varm={keys.BETA: np.log([[0.5, 0.8], [0.3, 0.1], [0.2, 0.1]]) + np.array([2.0, -1.0])},
    )


def test_relevance_equals_a_calculation_by_hand(small: ad.AnnData) -> None:
    frame = top_genes_frame(small, 0, weight=0.6).set_index("gene").loc[["common", "middle", "own"]]
    overall = [0.575, 0.25, 0.175]  # .75 x topic 0 + .25 x topic 1
    np.testing.assert_allclose(frame["probability"], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(frame["overall"], overall)
    by_hand = [0.6 * np.log(p) + 0.4 * np.log(p / q) for p, q in zip([0.5, 0.3, 0.2], overall, strict=True)]
    np.testing.assert_allclose(frame["relevance"], by_hand)


def test_lambda_leads_from_the_topics_own_genes_to_the_likely_ones(small: ad.AnnData) -> None:
    assert top_genes_frame(small, 0, weight=0)["gene"].tolist() == ["middle", "own", "common"]  # lift 1.2, 1.14, .87
    assert top_genes_frame(small, 0, weight=1)["gene"].tolist() == ["common", "middle", "own"]


def test_at_lambda_one_genes_are_ranked_by_beta(result: ad.AnnData) -> None:
    frame = top_genes_frame(result, 3, n_genes=10)
    expected = pd.Series(result.varm[keys.BETA][:, 3], index=result.var_names).nlargest(10)
    assert frame["gene"].tolist() == expected.index.tolist()
    assert frame["beta"].tolist() == expected.tolist()
    assert frame["rank"].tolist() == list(range(1, 11))


def test_probabilities_sum_to_one_whatever_the_size_of_beta(result: ad.AnnData) -> None:
    result.varm[keys.BETA] = result.varm[keys.BETA] * 300
    frame = top_genes_frame(result, 0, n_genes=40)
    assert frame[["probability", "overall"]].sum().tolist() == pytest.approx([1, 1])


def test_without_theta_all_topics_count_equally(small: ad.AnnData) -> None:
    del small.obsm[keys.THETA]
    overall = top_genes_frame(small, 0).set_index("gene")["overall"]
    assert overall["common"] == pytest.approx(0.65)


@pytest.mark.parametrize("topic", [-1, 6])
def test_an_unknown_topic_is_said(result: ad.AnnData, topic: int) -> None:
    assert f"no topic_{topic}" in plot_top_genes(top_genes_frame(result, topic)).layout.annotations[0].text


@pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan])
def test_a_weight_outside_its_range_is_said(result: ad.AnnData, weight: float) -> None:
    assert "between 0 and 1" in top_genes_frame(result, 0, weight=weight).attrs["reason"]


def test_the_bars_show_both_probabilities_and_markers_in_bold(result: ad.AnnData) -> None:
    frame = top_genes_frame(result, 0, n_genes=5)
    figure = plot_top_genes(frame, highlight={"Gene1": "Beta cell"})
    overall, own = figure.data
    np.testing.assert_allclose(overall.x, frame["overall"])
    np.testing.assert_allclose(own.x, frame["probability"])
    assert figure.layout.yaxis.ticktext[:2] == ("Gene0", "<b>Gene1</b>")
    assert own.customdata[1][0] == "Gene1 (marker of Beta cell)"
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first on top
