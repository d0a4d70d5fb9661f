"""Do the topic figures show the right genes, groups and cells?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.figures import (
    cell_topic_frame,
    gene_topic_frame,
    plot_cell_topic_heatmap,
    plot_gene_topic_heatmap,
    plot_top_genes,
    plot_topic_heatmap,
    top_genes_frame,
    topic_mean_frame,
)


def test_leading_genes_follow_the_topics_they_lead(result: ad.AnnData) -> None:
    frame = gene_topic_frame(result, n_genes=2)
    assert list(frame.index) == [f"Gene{5 * topic + rank}" for topic in range(6) for rank in (0, 1)]
    assert list(frame.columns) == [f"topic_{topic}" for topic in range(6)]


def test_each_topic_is_divided_by_its_largest_absolute_value(result: ad.AnnData) -> None:
    frame = gene_topic_frame(result, n_genes=3)
    beta = pd.DataFrame(result.varm[keys.BETA], index=result.var_names, columns=frame.columns)
    expected = (beta / beta.abs().max()).loc[frame.index]
    pd.testing.assert_frame_equal(frame, expected, check_names=False)
    assert frame.abs().max().tolist() == pytest.approx([1] * 6)


def test_a_gene_that_leads_two_topics_is_listed_once(result: ad.AnnData) -> None:
    result.varm[keys.BETA][0] = 9
    frame = gene_topic_frame(result, n_genes=1)
    assert list(frame.index) == ["Gene0"]


def test_topics_can_be_chosen_and_unknown_ones_are_named(result: ad.AnnData) -> None:
    assert list(gene_topic_frame(result, topics=[4, 1]).columns) == ["topic_4", "topic_1"]
    assert "no topic_6: topics run from 0 to 5" in gene_topic_frame(result, topics=[6]).attrs["reason"]
    assert "at least one" in gene_topic_frame(result, topics=[]).attrs["reason"]


def test_the_heatmap_names_every_gene_and_grows_with_them(result: ad.AnnData) -> None:
    small, large = gene_topic_frame(result, n_genes=2), gene_topic_frame(result, n_genes=6)
    figure = plot_gene_topic_heatmap(large)
    assert list(figure.layout.yaxis.ticktext) == list(large.index)
    assert figure.layout.height > plot_gene_topic_heatmap(small).layout.height
    assert figure.data[0].zmin == -figure.data[0].zmax


def test_highlighted_genes_and_the_selected_topic_stand_out(result: ad.AnnData) -> None:
    frame = gene_topic_frame(result, n_genes=1)
    figure = plot_gene_topic_heatmap(frame, highlight={"Gene5"}, selected_topic=2)
    bold = [text for text in figure.layout.yaxis.ticktext if "<b>" in text]
    assert len(bold) == 1
    assert "Gene5" in bold[0]
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 2.5)
    assert not plot_gene_topic_heatmap(frame, selected_topic=77).layout.shapes


def test_top_genes_are_ranked_by_beta(result: ad.AnnData) -> None:
    frame = top_genes_frame(result, 3, n_genes=10)
    expected = pd.Series(result.varm[keys.BETA][:, 3], index=result.var_names).nlargest(10)
    assert frame["gene"].tolist() == expected.index.tolist()
    assert frame["beta"].tolist() == expected.tolist()
    assert frame["rank"].tolist() == list(range(1, 11))
    figure = plot_top_genes(frame)
    assert list(figure.layout.yaxis.ticktext) == expected.index.tolist()
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first on top


@pytest.mark.parametrize("topic", [-1, 6])
def test_top_genes_of_an_unknown_topic_say_so(result: ad.AnnData, topic: int) -> None:
    assert f"no topic_{topic}" in plot_top_genes(top_genes_frame(result, topic)).layout.annotations[0].text


def test_mean_theta_of_each_group_sums_to_one_and_equals_the_mean(result: ad.AnnData) -> None:
    frame = topic_mean_frame(result, groupby="cell_type")
    assert list(frame.index) == ["t2", "t1", "t0"]
    np.testing.assert_allclose(frame.sum(axis=1), 1, rtol=1e-5)
    cells = (result.obs["cell_type"] == "t1").to_numpy()
    np.testing.assert_allclose(
        frame.loc["t1", ["topic_0", "topic_4"]], result.obsm[keys.THETA][cells][:, [0, 4]].mean(axis=0), rtol=1e-5
    )


def test_topics_are_ordered_along_the_groups(result: ad.AnnData) -> None:
    frame = topic_mean_frame(result, groupby="cell_type")
    assert list(frame.columns) == [f"topic_{topic}" for topic in (2, 5, 1, 4, 0, 3)]


def test_groups_carry_their_sizes_and_cells_without_one_are_said(result: ad.AnnData) -> None:
    frame = topic_mean_frame(result, groupby="patchy", use_rep=keys.DELTA)
    assert frame.attrs["sizes"] == {"known": 90}
    figure = plot_topic_heatmap(frame)
    assert list(figure.layout.yaxis.ticktext) == ["known (90)"]
    assert figure.layout.title.text == "mean delta (30 cells without patchy left out)"
    assert figure.data[0].zmin == -figure.data[0].zmax


@pytest.mark.parametrize(("groupby", "reason"), [("nothing", "no column 'nothing'"), ("name", "is no grouping")])
def test_what_is_no_grouping_is_refused_in_words(result: ad.AnnData, groupby: str, reason: str) -> None:
    many = ad.concat([result] * 5, index_unique="-")
    many.obs["name"] = many.obs_names
    assert reason in topic_mean_frame(many, groupby=groupby).attrs["reason"]


def test_sampled_cells_keep_their_delta_and_the_sample_is_said(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, n_cells=50, annotations=["cell_type", "batch"], min_mean=0)
    assert frame.shape == (50, 6)
    assert frame.index.names == ["cell", "cell_type", "batch"]
    delta = pd.DataFrame(result.obsm[keys.DELTA], index=result.obs_names, columns=[f"topic_{k}" for k in range(6)])
    cells = frame.index.get_level_values("cell")
    np.testing.assert_array_equal(frame, delta.loc[cells, frame.columns])
    assert list(frame.index.get_level_values("cell_type")) == list(result.obs.loc[cells, "cell_type"])
    assert "50 cells sampled of 120" in plot_cell_topic_heatmap(frame).layout.title.text


def test_the_sample_is_steady_by_seed(result: ad.AnnData) -> None:
    first, again, other = (cell_topic_frame(result, n_cells=30, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert set(first.index) != set(other.index)


def test_cells_are_sorted_by_their_annotations(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, annotations=["cell_type", "batch"])
    types = list(dict.fromkeys(zip(*(frame.index.get_level_values(i) for i in (1, 2)), strict=True)))
    assert types == [(t, b) for t in ("t2", "t1", "t0") for b in ("b0", "b1")]


def test_weak_topics_are_left_out_and_that_is_said(result: ad.AnnData) -> None:
    result.obsm[keys.DELTA][:, 3] = 0.01
    frame = cell_topic_frame(result)
    assert "topic_3" not in frame.columns
    assert plot_cell_topic_heatmap(frame).layout.title.text == "delta (all 120 cells, 5 of 6 topics)"


def test_side_bars_show_each_annotation_with_missing_in_grey(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, annotations=["patchy", "unknown column"])
    figure = plot_cell_topic_heatmap(frame)
    bar = figure.data[1]
    assert [row[0] for row in bar.text] == ["known"] * 90 + ["missing"] * 30
    assert [trace.name for trace in figure.data[2:]] == ["known", "missing"]


@pytest.mark.parametrize("missing", [keys.DELTA, keys.THETA, keys.BETA])
def test_what_is_not_there_is_said(result: ad.AnnData, missing: str) -> None:
    bare = ad.AnnData(obs=result.obs, var=result.var)
    frames = {
        keys.DELTA: cell_topic_frame(bare),
        keys.THETA: topic_mean_frame(bare, groupby="batch"),
        keys.BETA: gene_topic_frame(bare),
    }
    assert frames[missing].empty
    assert missing in frames[missing].attrs["reason"]
