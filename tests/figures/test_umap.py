"""Does the map show every cell, in the right colour, and say what it leaves out?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core import keys
from scetm_core.figures import plot_umap, umap_frame


def rows_of(figure: go.Figure) -> np.ndarray:
    return np.concatenate([trace.customdata for trace in figure.data])


@pytest.mark.parametrize("color", ["cell_type", "batch", "n_counts", "score", "treated", "patchy", "clone", "topic_3"])
def test_every_cell_is_drawn_once_at_its_place(result: ad.AnnData, color: str) -> None:
    figure = plot_umap(umap_frame(result, color=color))
    rows = rows_of(figure)
    assert sorted(rows) == list(range(120))
    drawn = np.column_stack([np.concatenate([t.x for t in figure.data]), np.concatenate([t.y for t in figure.data])])
    np.testing.assert_array_equal(drawn, result.obsm[keys.X_UMAP][rows])


@pytest.mark.parametrize(
    ("color", "kind"),
    [
        ("cell_type", "category"),
        ("treated", "category"),
        ("n_counts", "magnitude"),
        ("score", "signed"),
        ("topic_0", "magnitude"),
    ],
)
def test_the_kind_of_colour_follows_the_values(result: ad.AnnData, color: str, kind: str) -> None:
    assert umap_frame(result, color=color).attrs["kind"] == kind


def labels_on(figure: go.Figure) -> list[str]:
    """Names written on a map, without those of its axes."""
    return [note.text for note in figure.layout.annotations if not note.text.startswith("UMAP ")]


def test_categories_are_named_with_their_counts_the_largest_at_the_back(result: ad.AnnData) -> None:
    figure = plot_umap(umap_frame(result, color="cell_type"))
    assert [trace.name for trace in figure.data] == ["t0 (70)", "t1 (35)", "t2 (15)"]
    assert labels_on(figure) == ["t0", "t1", "t2"]
    assert labels_on(plot_umap(umap_frame(result, color="cell_type"), labels=False)) == []


def test_small_or_scattered_categories_are_named_in_the_legend_only(result: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    result.obsm["X_umap"][:] = rng.normal(size=(120, 2)) * 10
    result.obsm["X_umap"][:40] = rng.normal(size=(40, 2)) * 0.1
    result.obs["group"] = ["compact"] * 40 + ["scattered"] * 79 + ["single"]
    assert labels_on(plot_umap(umap_frame(result, color="group"))) == ["compact"]


def test_a_category_keeps_its_colour_whatever_its_size(result: ad.AnnData) -> None:
    whole, part = (umap_frame(cells, color="batch").attrs["colors"] for cells in (result, result[1:60]))
    assert whole == part


def test_the_users_colours_are_those_of_the_categories(result: ad.AnnData) -> None:
    result.uns["cell_type_colors"] = np.array(["#111111", "#222222", "#333333", "#444444"])
    assert umap_frame(result, color="cell_type").attrs["colors"] == {"t0": "#333333", "t1": "#222222", "t2": "#111111"}


def test_many_categories_become_the_largest_and_other_and_nothing_is_lost(result: ad.AnnData) -> None:
    frame = umap_frame(result, color="clone")
    counts = frame["color"].value_counts()
    assert len(counts) == 40
    other = counts["other (6 categories)"]
    assert counts.sum() == 120
    truth = result.obs["clone"].value_counts()
    assert other == truth.sum() - truth.nlargest(39).sum()
    assert plot_umap(frame).data[0].name == f"other (6 categories) ({other})"


def test_up_to_forty_categories_are_all_shown_in_colours_of_their_own(result: ad.AnnData) -> None:
    result.obs["clone"] = [f"clone {i % 40}" for i in range(120)]
    colors = umap_frame(result, color="clone").attrs["colors"]
    assert len(colors) == len(set(colors.values())) == 40
    assert not any(name.startswith("other") for name in colors)


def test_missing_is_drawn_at_the_back_and_listed_last(result: ad.AnnData) -> None:
    figure = plot_umap(umap_frame(result, color="patchy"))
    assert [trace.name for trace in figure.data] == ["missing (30)", "known (90)"]
    assert figure.data[0].legendrank > figure.data[1].legendrank
    assert labels_on(figure) == []  # what covers the whole map has no place on it


def test_a_category_called_missing_is_not_mixed_up_with_cells_that_have_none(result: ad.AnnData) -> None:
    result.obs["patchy"] = result.obs["patchy"].replace("known", "missing")
    counts = umap_frame(result, color="patchy")["color"].value_counts()
    assert counts.to_dict() == {"missing": 90, "missing (not given)": 30}


def test_a_topic_is_coloured_by_theta_with_the_highest_on_top(result: ad.AnnData) -> None:
    (trace,) = plot_umap(umap_frame(result, color="topic_4")).data
    np.testing.assert_array_equal(trace.marker.color, np.sort(result.obsm[keys.THETA][:, 4]))
    assert trace.marker.colorbar.title.text == "theta, topic 4"
    assert trace.marker.cmin == 0


def test_a_gene_is_matched_by_cell_name_and_unmeasured_cells_are_told_apart(result: ad.AnnData) -> None:
    values = pd.Series(np.arange(100.0), index=result.obs_names[:100]).sample(frac=1, random_state=0)
    frame = umap_frame(result, color="Ins1", values=values)
    np.testing.assert_array_equal(frame["color"][:100], np.arange(100))
    figure = plot_umap(frame)
    assert figure.data[0].name == "not measured (20)"
    assert figure.data[1].marker.colorbar.title.text == "log1p(CP10k), Ins1"


def test_signed_values_are_centred_at_zero(result: ad.AnnData) -> None:
    (trace,) = plot_umap(umap_frame(result, color="score")).data
    assert trace.marker.cmin == -trace.marker.cmax
    assert trace.marker.cmax == pytest.approx(result.obs["score"].abs().max())


def test_print_is_in_vectors_and_the_screen_in_webgl(result: ad.AnnData) -> None:
    frame = umap_frame(result, color="batch")
    assert {trace.type for trace in plot_umap(frame).data} == {"scattergl"}
    printed = plot_umap(frame, for_print=True)
    assert {trace.type for trace in printed.data} == {"scatter"}
    assert printed.layout.paper_bgcolor == "white"


def test_the_map_is_square_without_ticks_and_keeps_its_zoom(result: ad.AnnData) -> None:
    layout = plot_umap(umap_frame(result, color="batch")).layout
    assert np.ptp(layout.xaxis.range) == pytest.approx(np.ptp(layout.yaxis.range))
    assert layout.yaxis.scaleanchor == "x"
    assert layout.xaxis.showticklabels is False
    assert layout.uirevision == "umap"


def test_positions_travel_as_float32(result: ad.AnnData) -> None:
    trace = plot_umap(umap_frame(result, color="topic_0")).data[0]
    assert trace.x.dtype == trace.y.dtype == trace.marker.color.dtype == np.float32


def test_hover_shows_the_cell(result: ad.AnnData) -> None:
    trace = plot_umap(umap_frame(result, color="cell_type")).data[0]
    assert trace.text[0] == "cell 0"
    assert "t0" in trace.hovertemplate


def test_labels_that_would_collide_are_moved_apart(result: ad.AnnData) -> None:
    result.obsm[keys.X_UMAP][:] = 0
    shifts = [annotation.ay or 0 for annotation in plot_umap(umap_frame(result, color="cell_type")).layout.annotations]
    assert len(set(shifts)) == 3


def test_labels_at_the_edge_of_the_map_point_inwards(result: ad.AnnData) -> None:
    places = result.obsm[keys.X_UMAP]
    places[:] = np.random.default_rng(0).normal(scale=0.05, size=places.shape)
    types = result.obs["cell_type"].cat.rename_categories({"t0": "a long name on the left", "t1": "in the middle"})
    result.obs["cell_type"] = types.cat.rename_categories({"t2": "a long name on the right"})
    names = result.obs["cell_type"].astype(str)
    for name, x in (("left", -5), ("right", 5)):
        places[names.str.contains(name).to_numpy(), 0] += x
    notes = plot_umap(umap_frame(result, color="cell_type")).layout.annotations
    sides = {note.text: note.xanchor for note in notes if not note.text.startswith("UMAP ")}
    assert sides == {
        "a long name on the left": "left", "in the middle": "center", "a long name on the right": "right",
    }  # fmt: skip


def test_names_that_look_like_markup_are_shown_as_they_are(result: ad.AnnData) -> None:
    result.obs["odd"] = "CD8<b> & T"
    figure = plot_umap(umap_frame(result, color="odd"))
    assert figure.data[0].name == "CD8&lt;b&gt; &amp; T (120)"


@pytest.mark.parametrize("color", ["nothing", "topic_6"])
def test_an_unknown_colour_draws_itself_empty_and_says_so(result: ad.AnnData, color: str) -> None:
    frame = umap_frame(result, color=color)
    assert frame.empty
    assert f"called '{color}'" in plot_umap(frame).layout.annotations[0].text.replace("<br>", " ")


def test_without_a_umap_the_figure_says_what_to_do(result: ad.AnnData) -> None:
    del result.obsm[keys.X_UMAP]
    text = plot_umap(umap_frame(result, color="batch")).layout.annotations[0].text.replace("<br>", " ")
    assert "no UMAP" in text
    assert "Compute UMAP" in text
