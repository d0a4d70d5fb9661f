"""Does the cells page show its numbers, follow a choice, and give the same numbers as CSV?"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from dash import Dash, no_update

from pages._shared import cell_maps
from pages._shared.opened import is_grouping
from pages._shared.studio import Studio
from scetm_core import keys
from scetm_core.own_colors import write_own_colors
from scetm_core.runs import Run

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]

DONE = "done-run"
N_CELLS, N_TOPICS = 60, 6


@pytest.fixture
def cells(page_module: PageModule) -> ModuleType:
    return page_module("cells")


@pytest.fixture
def result(app: Dash, shown_studio: Studio) -> ad.AnnData:
    return Run(shown_studio.runs_folder / DONE).load_result()


def drawn(run_id: str, color: str, size: float | None, labels: bool) -> Any:
    return cell_maps.draw_map(run_id, color, size, labels, graph="cells-umap")[0]


def points_of(figure: Any) -> int:
    return sum(len(trace.x) for trace in figure.data)


# ---- cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["batch", "cell_type", "leiden", "scetm_n_counts", "topic_3", "gene_5"])
def test_every_cell_is_a_point_whatever_it_is_coloured_by(color: str, cells: ModuleType, result: ad.AnnData) -> None:
    color = str(result.var_names[5]) if color == "gene_5" else color
    assert points_of(drawn(DONE, color, None, True)) == N_CELLS


def test_a_topic_colours_cells_by_its_theta(cells: ModuleType, result: ad.AnnData) -> None:
    (trace,) = drawn(DONE, "topic_3", None, True).data
    expected = result.obsm[keys.THETA][trace.customdata, 3]
    np.testing.assert_allclose(trace.marker.color, expected, rtol=1e-6)


def test_a_gene_colours_cells_by_its_normalised_counts(cells: ModuleType, result: ad.AnnData, data_dir: Path) -> None:
    gene = str(result.var_names[5])
    data = ad.read_h5ad(data_dir / "planted.h5ad")
    counts = np.asarray(data.X.todense(), dtype=float)
    expected = np.log1p(1e4 * counts[:, 5] / counts.sum(axis=1))
    (trace,) = drawn(DONE, gene, None, True).data
    np.testing.assert_allclose(trace.marker.color, expected[trace.customdata], rtol=1e-5)


def test_point_size_and_names_can_be_chosen(cells: ModuleType, app: Dash) -> None:
    large = drawn(DONE, "batch", 9, False)
    assert {trace.marker.size for trace in large.data} == {9}
    named = drawn(DONE, "cell_type", None, True)
    assert len(named.layout.annotations) >= len(large.layout.annotations)


@pytest.mark.parametrize("color", ["<script>alert(1)</script>", "topic_999", "no such gene", ""])
def test_an_unknown_colour_is_said_in_the_figure(
    color: str, cells: ModuleType, app: Dash, words_of_figure: Words
) -> None:
    figure = drawn(DONE, color, None, True)
    assert points_of(figure) == 0
    assert "Nothing here is called" in words_of_figure(figure)
    assert "<script>" not in words_of_figure(figure)


def test_a_gene_whose_input_has_gone_says_so_and_topics_still_show(
    cells: ModuleType, make_shown_run: Callable[..., Run], result: ad.AnnData, tmp_path: Path, words_of_figure: Words
) -> None:
    copy = tmp_path / "moved.h5ad"
    result.write_h5ad(copy)
    run = make_shown_run(path=str(copy))
    run.write_result(result)
    copy.unlink()
    figure = drawn(run.id, str(result.var_names[0]), None, True)
    assert points_of(figure) == 0
    assert "moved.h5ad" in words_of_figure(figure)
    assert points_of(drawn(run.id, "topic_0", None, True)) == N_CELLS


def test_a_run_without_umap_says_how_to_get_one(
    cells: ModuleType, make_shown_run: Callable[..., Run], result: ad.AnnData, words_of_figure: Words
) -> None:
    run, bare = make_shown_run(), result.copy()
    del bare.obsm[keys.X_UMAP]
    run.write_result(bare)
    assert "Compute UMAP" in words_of_figure(drawn(run.id, "batch", None, True))


def test_a_run_without_columns_for_batch_and_label_still_has_maps(
    cells: ModuleType, make_shown_run: Callable[..., Run], result: ad.AnnData, find: Callable[..., Any]
) -> None:
    run = make_shown_run(batch_key=None, label_key=None)
    bare = result.copy()
    bare.obs = bare.obs[[keys.LEIDEN, keys.N_COUNTS]]
    run.write_result(bare)
    page = cells.layout(run=run.id)
    chosen = find(page, "cells-color").value, find(page, "cells-color-beside").value
    assert chosen == ("leiden", "scetm_n_counts")


def test_batch_and_type_stand_side_by_side_at_first(cells: ModuleType, find: Callable[..., Any], app: Dash) -> None:
    page = cells.layout(run=DONE)
    assert (find(page, "cells-color").value, find(page, "cells-color-beside").value) == ("batch", "cell_type")


def test_the_url_chooses_the_colours(cells: ModuleType, find: Callable[..., Any], app: Dash) -> None:
    page = cells.layout(run=DONE, topic="3", beside="leiden")
    assert (find(page, "cells-color").value, find(page, "cells-color-beside").value) == ("topic_3", "leiden")


def test_the_number_of_cells_is_said(cells: ModuleType, words_in: Words, app: Dash) -> None:
    assert "60 cells, all of them shown" in words_in(cells.layout(run=DONE))


def offered(groups: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {group["group"]: [item["value"] for item in group["items"]] for group in groups}


def test_what_is_typed_finds_genes(cells: ModuleType, result: ad.AnnData) -> None:
    gene = str(result.var_names[7])
    found = offered(cell_maps.offer_colors(gene.upper(), "batch", DONE))
    assert found["Genes"][0] == gene
    assert set(found["Columns"]) == set(result.obs.columns)
    assert len(found["Topics"]) == N_TOPICS


def test_the_gene_that_is_shown_stays_on_offer(cells: ModuleType, result: ad.AnnData) -> None:
    gene = str(result.var_names[7])
    assert gene in offered(cell_maps.offer_colors("type", gene, DONE))["Genes"]


@pytest.mark.parametrize(
    ("typed", "chosen"), [(None, "batch"), ("", "batch"), ("batch", "batch"), ("topic 3", "topic_3")]
)
def test_the_name_of_the_choice_itself_searches_nothing(
    typed: str | None, chosen: str, cells: ModuleType, app: Dash
) -> None:
    assert cell_maps.offer_colors(typed, chosen, DONE) is no_update


@pytest.mark.parametrize("color", ["cell_type", "topic_3", "gene"])
def test_the_map_comes_as_csv_with_its_numbers(color: str, cells: ModuleType, result: ad.AnnData) -> None:
    color = str(result.var_names[5]) if color == "gene" else color
    assert cell_maps.download_cells(None, DONE, color) is no_update
    sent = cell_maps.download_cells(1, DONE, color)
    table = pd.read_csv(io.StringIO(sent["content"]))
    assert list(table.columns) == ["cell", "umap_1", "umap_2", color]
    np.testing.assert_allclose(table[["umap_1", "umap_2"]], result.obsm[keys.X_UMAP], rtol=1e-4)
    if color == "cell_type":
        assert list(table[color]) == list(result.obs["cell_type"].astype(str))
    if color == "topic_3":
        np.testing.assert_allclose(table[color], result.obsm[keys.THETA][:, 3], rtol=1e-5)


def test_a_map_of_nothing_as_csv_is_refused_in_words(
    cells: ModuleType, make_shown_run: Callable[..., Run], result: ad.AnnData
) -> None:
    from scetm_core.errors import ScetmError

    run, bare = make_shown_run(), result.copy()
    del bare.obsm[keys.X_UMAP]
    run.write_result(bare)
    with pytest.raises(ScetmError, match="UMAP"):
        cell_maps.download_cells(1, run.id, "batch")


def test_columns_of_many_values_do_not_group_cells(result: ad.AnnData) -> None:
    grouping = [name for name, values in result.obs.items() if is_grouping(values)]
    assert grouping == ["batch", "cell_type", "leiden"]
    assert is_grouping(pd.Series([f"cell {i}" for i in range(N_CELLS)]))  # few enough here
    assert not is_grouping(pd.Series([f"cell {i}" for i in range(500)]))
    assert not is_grouping(pd.Series(pd.Categorical([None] * N_CELLS)))


def test_a_map_is_drawn_once_for_all_who_look_and_anew_when_it_changes(
    cells: ModuleType, result: ad.AnnData, shown_studio: Studio
) -> None:
    run = Run(shown_studio.runs_folder / DONE)
    category = str(result.obs["batch"].astype("category").cat.categories[0])
    first = drawn(DONE, "batch", None, True)
    assert drawn(DONE, "batch", None, True) is first
    assert drawn(DONE, "batch", 3.0, True) is not first
    write_own_colors(run.path, "batch", {category: "#123456"})
    try:
        assert "#123456" in {trace.marker.color for trace in drawn(DONE, "batch", None, True).data}
    finally:
        write_own_colors(run.path, "batch", {})
    run.write_topic_names({"topic_3": "beta cells"})
    try:
        assert "beta cells" in drawn(DONE, "topic_3", None, True).data[0].name
    finally:
        run.write_topic_names({})
