"""Does the result open in scanpy and cellxgene, with topics, expression and the app's colours?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.figures import umap_frame
from scetm_core.runs import Run
from scetm_core.viewer_file import BLOCK_CELLS, WHAT_X_IS, write_viewer_file
from tests.pages.by_hand import N_TOPICS
from tests.published import hand_made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = hand_made_run(tmp_path_factory.mktemp("viewers"), tables=False)
    made.write_topic_names({"topic_3": "beta cells"})
    return made


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> ad.AnnData:
    path = tmp_path_factory.mktemp("written") / "result.h5ad"
    assert write_viewer_file(run, path) == [WHAT_X_IS]
    return ad.read_h5ad(path)


def test_topics_are_columns_of_the_cells(run: Run, written: ad.AnnData) -> None:
    theta = np.asarray(run.load_result().obsm[keys.THETA])
    for topic in range(N_TOPICS):
        column = written.obs[keys.topic_name(topic)]
        assert column.dtype == np.float32
        np.testing.assert_allclose(column, theta[:, topic], rtol=1e-6)
    assert dict(written.uns[keys.UNS]["topic_names"]) == {"topic_3": "beta cells"}


def test_x_is_the_log_of_counts_per_ten_thousand(run: Run, written: ad.AnnData) -> None:
    counts = ad.read_h5ad(run.config.data.path)[written.obs_names, written.var_names].X.toarray()
    expected = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    assert sp.issparse(written.X)
    assert written.X.format == "csr"
    assert written.X.dtype == np.float32
    np.testing.assert_allclose(written.X.toarray(), expected, rtol=1e-5)


def test_the_rest_of_the_result_is_kept(run: Run, written: ad.AnnData) -> None:
    result = run.load_result()
    assert set(result.obs) <= set(written.obs)
    assert set(result.obsm) <= set(written.obsm)
    np.testing.assert_array_equal(written.varm[keys.BETA], result.varm[keys.BETA])
    np.testing.assert_array_equal(written.uns[keys.ALPHA], result.uns[keys.ALPHA])
    assert written.uns[keys.UNS][keys.UNS_CONFIG] == result.uns[keys.UNS][keys.UNS_CONFIG]


@pytest.mark.parametrize("column", ["batch", "cell_type", keys.LEIDEN])
def test_colours_are_those_that_the_app_shows(column: str, run: Run, written: ad.AnnData) -> None:
    shown = umap_frame(run.load_result(), color=column).attrs["colors"]
    stored = dict(zip(written.obs[column].cat.categories, written.uns[f"{column}_colors"], strict=True))
    assert stored == shown
    assert umap_frame(written, color=column).attrs["colors"] == shown  # and read back, the app shows the same


def test_what_cellxgene_asks_of_a_file(written: ad.AnnData) -> None:
    assert written.obs_names.is_unique
    assert written.var_names.is_unique
    assert written.X is not None
    assert written.X.shape == written.shape
    assert np.isfinite(written.X.data).all()
    layout = written.obsm[keys.X_UMAP]
    assert isinstance(layout, np.ndarray)
    assert layout.dtype.kind == "f"
    assert layout.ndim == 2
    assert layout.shape[0] == written.n_obs
    assert layout.shape[1] >= 2
    assert np.isfinite(layout).all()
    for column, values in written.obs.items():
        assert isinstance(values.dtype, pd.CategoricalDtype) or values.dtype.kind in "fiub", column
        if isinstance(values.dtype, pd.CategoricalDtype):
            colors = written.uns[f"{column}_colors"]
            assert len(colors) == len(values.cat.categories)
            assert all(re.fullmatch(r"#[0-9a-fA-F]{6}", color) for color in colors)


def test_blocks_of_cells_join_without_a_seam(
    run: Run, written: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written.n_obs < BLOCK_CELLS
    monkeypatch.setattr("scetm_core.viewer_file.BLOCK_CELLS", 7)
    write_viewer_file(run, tmp_path / "blocks.h5ad")
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "blocks.h5ad").X.toarray(), written.X.toarray())


@pytest.mark.parametrize("store", ["csc", "dense"])
def test_however_the_counts_are_stored_x_is_the_same(store: str, run: Run, written: ad.AnnData, tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    data = ad.read_h5ad(made.config.data.path)
    data.X = data.X.tocsc() if store == "csc" else data.X.toarray()
    data.write_h5ad(made.config.data.path)
    assert write_viewer_file(made, tmp_path / "out.h5ad") == [WHAT_X_IS]
    np.testing.assert_allclose(ad.read_h5ad(tmp_path / "out.h5ad").X.toarray(), written.X.toarray(), rtol=1e-6)


# ---- without the input --------------------------------------------------------------------------------------------


def assert_empty(path: Path, run: Run, said: list[str], *words: str) -> None:
    written = ad.read_h5ad(path)
    assert written.shape == run.load_result().shape
    assert sp.issparse(written.X)
    assert written.X.nnz == 0
    assert said[-1].startswith("X is empty: ")
    assert written.uns[keys.UNS]["X"] == said[-1]
    assert all(word in said[-1] for word in words)


def test_where_the_input_is_gone_x_is_empty_and_it_is_said(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    Path(made.config.data.path).unlink()
    assert_empty(tmp_path / "out.h5ad", made, write_viewer_file(made, tmp_path / "out.h5ad"), "planted.h5ad")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda data: data[1:].copy(), "other cells", id="a cell less"),
        pytest.param(lambda data: data[::-1].copy(), "other cells", id="another order"),
        pytest.param(lambda data: data[:, 1:].copy(), "lacks genes", id="a gene less"),
        pytest.param(
            lambda data: ad.AnnData(data.X * 2, obs=data.obs, var=data.var), "other counts", id="other counts"
        ),
    ],
)
def test_where_the_input_has_changed_x_is_empty_and_it_is_said(
    change: Callable[[ad.AnnData], ad.AnnData], words: str, tmp_path: Path
) -> None:
    made = hand_made_run(tmp_path, tables=False)
    change(ad.read_h5ad(made.config.data.path)).write_h5ad(made.config.data.path)
    assert_empty(tmp_path / "out.h5ad", made, write_viewer_file(made, tmp_path / "out.h5ad"), words)


# ---- names that collide, genes of a transfer ----------------------------------------------------------------------


def test_a_column_called_like_a_topic_gives_way(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    result = made.load_result()
    result.obs["topic_0"] = pd.Categorical(["theirs"] * result.n_obs)
    made.write_result(result)
    said = write_viewer_file(made, tmp_path / "out.h5ad")
    written = ad.read_h5ad(tmp_path / "out.h5ad")
    assert "The input's column 'topic_0' is called 'topic_0 (input)'." in said
    assert set(written.obs["topic_0 (input)"]) == {"theirs"}
    assert written.obs["topic_0"].dtype == np.float32


def test_of_a_transfer_the_target_s_genes_stand_for_the_model_s(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    data, result = ad.read_h5ad(made.config.data.path), made.load_result()
    genes = list(data.var_names)
    wanted = [f"{genes[1]} + {genes[2]}", "", *genes[3:]]
    result = result[:, : len(wanted)].copy()
    result.var[keys.TARGET_GENE] = wanted
    counts = data.X.toarray()
    sums = np.column_stack([counts[:, 1] + counts[:, 2], np.zeros(len(counts)), counts[:, 3:]])
    result.obs[keys.N_COUNTS] = sums.sum(axis=1)
    made.write_result(result)
    assert write_viewer_file(made, tmp_path / "out.h5ad") == [WHAT_X_IS]
    expected = np.log1p(1e4 * sums / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ad.read_h5ad(tmp_path / "out.h5ad").X.toarray(), expected, rtol=1e-5)


# ---- scanpy itself ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scanpy_draws_it_in_our_colours(run: Run, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    scanpy = pytest.importorskip("scanpy")
    write_viewer_file(run, tmp_path / "out.h5ad")
    adata = scanpy.read_h5ad(tmp_path / "out.h5ad")
    before = list(adata.uns["cell_type_colors"])
    axes = scanpy.pl.umap(adata, color=["cell_type", "topic_3", adata.var_names[0]], show=False)
    assert len(axes) == 3
    assert list(adata.uns["cell_type_colors"]) == before
    drawn = {matplotlib.colors.to_hex(color) for color in axes[0].collections[0].get_facecolors()}
    shown = {before[code].lower() for code in set(adata.obs["cell_type"].cat.codes)}
    assert drawn == shown
