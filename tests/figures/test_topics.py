"""Do the topic figures show the right genes, groups and cells?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.figures import (
    cell_topic_frame,
    differential_topics,
    gene_topic_frame,
    marker_topic_frame,
    plot_cell_topic_heatmap,
    plot_gene_topic_heatmap,
    plot_topic_heatmap,
    topic_mean_frame,
    topics_with_cells,
    types_marked,
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
    figure = plot_gene_topic_heatmap(frame, highlight={"Gene5": "Beta cell"}, selected_topic=2)
    bold = [text for text in figure.layout.yaxis.ticktext if "<b>" in text]
    assert len(bold) == 1
    assert "Gene5" in bold[0]
    assert {row[0] for row in figure.data[0].text if "marker" in row[0]} == {"Gene5, marker of Beta cell,"}
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 2.5)
    assert not plot_gene_topic_heatmap(frame, selected_topic=77).layout.shapes


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


def test_cells_are_grouped_by_the_first_annotation(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, annotations=["cell_type", "batch"])
    types = frame.index.get_level_values("cell_type")
    assert list(dict.fromkeys(types)) == ["t2", "t1", "t0"]
    assert (types[1:] != types[:-1]).sum() == 2


def test_similar_cells_of_a_group_stand_together(result: ad.AnnData) -> None:
    hidden = np.random.default_rng(1).permutation(70) % 4  # four kinds within type t0
    result.obsm[keys.DELTA][np.arange(70), hidden] += 9
    frame = cell_topic_frame(result, annotations=["cell_type"], min_mean=0)
    cells = result.obs_names.get_indexer(frame.xs("t0", level="cell_type").index)
    kinds = hidden[cells]
    assert (kinds[1:] != kinds[:-1]).sum() == 3


def test_without_annotations_cells_are_grouped_by_their_strongest_topic(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, min_mean=0)
    strongest = frame.to_numpy().argmax(axis=1)
    assert (strongest[1:] != strongest[:-1]).sum() == len(set(strongest)) - 1


def test_equal_cells_are_no_trouble(result: ad.AnnData) -> None:
    result.obsm[keys.DELTA][:] = 1
    assert len(cell_topic_frame(result, annotations=["batch"])) == 120


def test_topics_of_the_cells_can_be_chosen_whatever_their_strength(result: ad.AnnData) -> None:
    result.obsm[keys.DELTA][:, 3] = 0.01
    assert set(cell_topic_frame(result, topics=[3, 0]).columns) == {"topic_0", "topic_3"}
    assert "at least one" in cell_topic_frame(result, topics=[]).attrs["reason"]


def test_weak_topics_are_left_out_and_that_is_said(result: ad.AnnData) -> None:
    result.obsm[keys.DELTA][:, 3] = 0.01
    frame = cell_topic_frame(result)
    assert "topic_3" not in frame.columns
    assert plot_cell_topic_heatmap(frame).layout.title.text == "delta (all 120 cells, 5 of 6 topics)"


def test_side_bars_show_each_annotation_with_missing_in_grey(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, annotations=["patchy", "unknown column"])
    figure = plot_cell_topic_heatmap(frame)
    bar = figure.data[1]
    assert [row[0] for row in bar.text] == ["known", "missing"]
    assert list(bar.y) == [-0.5, 89.5, 119.5]  # edges of the two blocks
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


def test_a_side_bar_has_a_row_for_each_run_of_equal_cells(result: ad.AnnData) -> None:
    frame = cell_topic_frame(result, annotations=["cell_type", "batch"])
    bar = plot_cell_topic_heatmap(frame).data[-3]
    marks = np.repeat([row[0] for row in bar.text], np.diff(bar.y).astype(int))
    assert bar.name == "batch"
    assert list(marks) == list(frame.index.get_level_values("batch"))


def test_names_of_cells_are_not_sent(result: ad.AnnData) -> None:
    assert "cell 7" not in plot_cell_topic_heatmap(cell_topic_frame(result, annotations=["batch"])).to_json()


def test_a_legend_of_many_names_is_cut_and_says_so(result: ad.AnnData) -> None:
    names = [trace.name for trace in plot_cell_topic_heatmap(cell_topic_frame(result, annotations=["clone"])).data[2:]]
    assert len(names) == 25
    assert names[-1] == "and 21 more"


MARKERS = {"Beta cell": ["Gene6", "Gene5", "no such gene"], "Alpha cell": ["Gene0", "Gene5"], "Nowhere": ["absent"]}


def test_markers_stand_by_cell_type_with_their_share_of_the_largest(result: ad.AnnData) -> None:
    frame = marker_topic_frame(result, MARKERS, topics=[0, 1])
    rows = [("Alpha cell", "Gene0"), ("Alpha cell", "Gene5"), ("Beta cell", "Gene5"), ("Beta cell", "Gene6")]
    assert list(frame.index) == rows  # types by the topic they weigh most in, genes by weight
    beta = pd.DataFrame(result.varm[keys.BETA][:, :2], index=result.var_names)
    np.testing.assert_allclose(frame, (beta / beta.abs().max()).loc[[gene for _, gene in rows]])


def test_only_the_strongest_markers_of_a_type_are_shown(result: ad.AnnData) -> None:
    frame = marker_topic_frame(result, MARKERS, n_genes=1, topics=[1, 2])
    assert list(frame.index) == [("Beta cell", "Gene5"), ("Alpha cell", "Gene5")]


def test_markers_that_are_no_genes_of_the_model_are_said(result: ad.AnnData) -> None:
    reason = marker_topic_frame(result, {"Nowhere": ["absent"]}).attrs["reason"]
    assert "None of these markers" in reason


def test_each_cell_type_has_a_heading_and_a_colour_and_headings_are_no_values(result: ad.AnnData) -> None:
    frame = marker_topic_frame(result, MARKERS)
    figure = plot_gene_topic_heatmap(frame)
    ticks = figure.layout.yaxis.ticktext
    assert [tick.split(" <span")[0] for tick in ticks] == [
        "<b>Alpha cell</b>", "Gene0", "Gene5", "<b>Beta cell</b>", "Gene5", "Gene6",
    ]  # fmt: skip
    assert all(frame.attrs["colors"]["Beta cell"] in tick for tick in ticks[3:])
    assert np.isnan(figure.data[0].z[[0, 3]]).all()
    np.testing.assert_allclose(figure.data[0].z[[1, 2, 4, 5]], frame, rtol=1e-6)


def test_a_gene_tells_all_types_it_marks() -> None:
    many = {f"type {number}": ["A"] for number in range(5)}
    assert types_marked({"x": ["A", "B"], "y": ["B"]}) == {"A": "x", "B": "x, y"}
    assert types_marked(many) == {"A": "type 0, type 1, type 2 and 2 more"}


def test_every_heatmap_of_topics_shows_their_names_and_the_one_in_focus(result: ad.AnnData) -> None:
    figures = (
        plot_gene_topic_heatmap(gene_topic_frame(result), topic_names={"topic_1": "a <b>"}, selected_topic=1),
        plot_topic_heatmap(
            topic_mean_frame(result, groupby="batch"), topic_names={"topic_1": "a <b>"}, selected_topic=1
        ),
        plot_cell_topic_heatmap(cell_topic_frame(result), topic_names={"topic_1": "a <b>"}, selected_topic=1),
    )
    for figure in figures:
        assert "1 a &lt;b&gt;" in figure.layout.xaxis.ticktext
        place = list(figure.data[0].x).index("1")
        assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (place - 0.5, place + 0.5)


def test_a_choice_of_topics_is_said_in_the_title(result: ad.AnnData) -> None:
    assert "(2 of 6 topics)" in plot_gene_topic_heatmap(gene_topic_frame(result, topics=[4, 1])).layout.title.text
    means = topic_mean_frame(result, groupby="batch", topics=[4, 1])
    assert plot_topic_heatmap(means).layout.title.text == "mean theta (2 of 6 topics)"
    assert "at least one" in topic_mean_frame(result, groupby="batch", topics=[]).attrs["reason"]


def test_idle_topics_are_those_that_no_more_than_two_cells_use(result: ad.AnnData) -> None:
    theta = np.full((120, 6), 0.1)
    theta[:, 0], theta[:2, 3], theta[:3, 4] = 0.5, 0.2, 0.2
    result.obsm[keys.THETA] = theta
    assert topics_with_cells(result) == [0, 4]
    result.obsm[keys.THETA] = np.full((120, 6), 1 / 6)
    assert topics_with_cells(result) == list(range(6))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([2.5, 0.5, 3.0], ([7], 2.0)), ([1.5, 0.5, 3.0], ([2, 7], 0.2)), ([0.1, -3.0, 3.0], ([], 0.2))],
)
def test_differential_topics_are_significant_and_differ_enough(
    differences: list[float], expected: tuple[list[int], float]
) -> None:
    table = pd.DataFrame(
        {
            "topic": ["topic_7", "topic_2", "topic_4"],
            "label": ["a", "b", "a"],
            "mean_difference": differences,
            "q_bonferroni": [0.009, 0.0, 0.02],
        }
    )
    assert differential_topics(table) == expected
