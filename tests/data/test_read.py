from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.errors import DataError

Save = Callable[[ad.AnnData], str]
Writer = Callable[[ad.AnnData, Path], Path]


def with_x(data: ad.AnnData, change: Callable[[np.ndarray], np.ndarray]) -> ad.AnnData:
    data = data.copy()
    data.X = sp.csr_matrix(change(data.X.toarray()))
    return data


def test_every_format_gives_the_same_counts(any_file: Path, small: ad.AnnData, expected: np.ndarray) -> None:
    data = load_dataset(DataConfig(path=str(any_file)))
    assert isinstance(data.X, sp.csr_matrix)
    assert data.X.dtype == np.float32
    assert data.X.has_sorted_indices
    np.testing.assert_array_equal(data.X.toarray(), expected)
    assert list(data.obs_names) == [name for name in small.obs_names if name != "cell3"]
    assert list(data.var_names) == [name for name in small.var_names if name != "G5"]
    assert "1 cell without any count left out." in data.uns["messages"]
    assert "1 gene without a count in any cell left out." in data.uns["messages"]


def test_a_loaded_data_set_can_be_written_and_read_again(any_file: Path, tmp_path: Path) -> None:
    load_dataset(DataConfig(path=str(any_file))).write_h5ad(tmp_path / "again.h5ad")
    assert load_dataset(DataConfig(path=str(tmp_path / "again.h5ad"))).n_obs == 29


@pytest.mark.parametrize("layer", ["counts", "raw", "dense"])
def test_counts_come_from_the_layer_that_is_asked_for(
    small: ad.AnnData, expected: np.ndarray, save: Save, layer: str
) -> None:
    small.raw = small.copy()
    small.layers["counts"], small.layers["dense"] = sp.csc_matrix(small.X), small.X.toarray()
    small.X = small.X.log1p()
    data = load_dataset(DataConfig(path=save(small), layer=layer))
    np.testing.assert_array_equal(data.X.toarray(), expected)


def test_raw_brings_its_own_genes(small: ad.AnnData, save: Save) -> None:
    full = small.copy()
    part = small[:, :3].copy()
    part.raw = full
    assert list(load_dataset(DataConfig(path=save(part), layer="raw")).var_names)[-1] == "G7"
    assert load_dataset(DataConfig(path=save(part))).n_vars == 3


def test_columns_become_categories_of_text_and_colours_follow(small: ad.AnnData, save: Save) -> None:
    small.obs["donor"] = np.arange(30) % 2 + 1
    small.obs["label"] = [np.nan, *(np.arange(29) % 3.0)]
    small.uns["cell_type_colors"] = ["#111111", "#222222"]
    small.uns["batch_colors"] = ["#111111", "url(evil)", "red"]
    data = load_dataset(DataConfig(path=save(small), batch_key="donor", label_key="label"))
    assert list(data.obs["donor"].cat.categories) == ["1", "2"]
    assert list(data.obs["label"].cat.categories) == ["0", "1", "2"]
    assert data.obs["label"].isna().sum() == 1
    assert list(data.obs.columns) == [*small.obs.columns]
    assert list(data.uns["cell_type_colors"]) == ["#111111", "#222222"]
    assert "batch_colors" not in data.uns


def test_a_batch_that_only_empty_cells_had_goes_with_its_colour(small: ad.AnnData, save: Save) -> None:
    small.obs["batch"] = pd.Categorical(["x" if i == 3 else "y" for i in range(30)], categories=["x", "y"])
    small.uns["batch_colors"] = ["#111111", "#222222"]
    data = load_dataset(DataConfig(path=save(small), batch_key="batch"))
    assert list(data.obs["batch"].cat.categories) == ["y"]
    assert list(data.uns["batch_colors"]) == ["#222222"]
    assert any("one value only ('y')" in message for message in data.uns["messages"])


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_repeated_names_are_made_unique_with_a_message(small: ad.AnnData, save: Save) -> None:
    small.var_names = ["A", "A", "A-1", "B", "C", "D", "E", "F"]
    small.obs_names = ["one", "one", *small.obs_names[2:]]
    data = load_dataset(DataConfig(path=save(small)))
    assert list(data.var_names) == ["A", "A-2", "A-1", "B", "C", "E", "F"]
    assert list(data.obs_names[:2]) == ["one", "one-1"]
    assert any("1 repeated gene name made unique" in message for message in data.uns["messages"])


def test_log_normalised_values_are_refused_and_a_layer_is_named(small: ad.AnnData, save: Save) -> None:
    small.layers["counts"] = small.X.copy()
    small.layers["scaled"] = -small.X
    small.X = small.X.multiply(1.37).tocsr()
    with pytest.raises(
        DataError, match=r"X holds non-integer values \(e\.g\. \d.*raw counts\. Pick a layer .*found: \['counts'\]"
    ):
        load_dataset(DataConfig(path=save(small)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1.0, "negative values"), (np.nan, "missing or infinite"), (np.inf, "missing or infinite"), (0.5, "non-integer")],
)
@pytest.mark.parametrize("layout", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_values_that_are_no_counts_are_refused(
    small: ad.AnnData, save: Save, value: float, text: str, layout: Callable[[np.ndarray], object]
) -> None:
    counts = small.X.toarray()
    counts[17, 4] = value
    small.X = layout(counts)
    with pytest.raises(DataError, match=rf"X holds {text}.*No other layer"):
        load_dataset(DataConfig(path=save(small)))


@pytest.mark.parametrize(
    ("cells", "genes", "text"), [(0, 8, "has 0 cells"), (30, 0, "has 0 genes"), (1, 8, "at least 2 cells")]
)
def test_too_small_a_table_is_refused(small: ad.AnnData, save: Save, cells: int, genes: int, text: str) -> None:
    with pytest.raises(DataError, match=text):
        load_dataset(DataConfig(path=save(small[:cells, :genes].copy())))


def test_nothing_but_zeros_is_refused(small: ad.AnnData, save: Save) -> None:
    with pytest.raises(DataError, match="holds no counts at all: every value is 0"):
        load_dataset(DataConfig(path=save(with_x(small, np.zeros_like))))


def test_a_missing_column_is_told_with_close_matches_first(small: ad.AnnData, save: Save) -> None:
    small.obs["aaa"] = "x"
    with pytest.raises(DataError, match=r"no column 'Batch' to use as the batch column.*found: \['batch', 'cell_type'"):
        load_dataset(DataConfig(path=save(small), batch_key="Batch"))
    with pytest.raises(DataError, match=r"label column.*found: \['cell_type', 'batch'"):
        load_dataset(DataConfig(path=save(small), label_key="celltype"))


def test_batches_with_missing_values_are_refused_with_their_number(small: ad.AnnData, save: Save) -> None:
    small.obs.loc[small.obs_names[10:14], "batch"] = None
    with pytest.raises(DataError, match=r"'batch' has no value for 4 cells of 29.*Fill the gaps"):
        load_dataset(DataConfig(path=save(small), batch_key="batch"))


def test_a_batch_column_that_names_cells_is_refused(save: Save) -> None:
    counts = sp.csr_matrix(np.ones((12_000, 2), dtype=np.float32))
    obs = pd.DataFrame({"id": np.arange(12_000) % 5000}, index=[str(i) for i in range(12_000)])
    data = ad.AnnData(counts, obs=obs)
    with pytest.raises(DataError, match=r"'id' has 5,000 values for 12,000 cells.*at most 1,000"):
        load_dataset(DataConfig(path=save(data), batch_key="id"))
    with pytest.raises(DataError, match="'id' has 600 values for 600 cells"):
        load_dataset(DataConfig(path=save(data[:600].copy()), batch_key="id"))


def test_a_missing_layer_is_told_with_those_there_are(small: ad.AnnData, save: Save) -> None:
    small.raw = small.copy()
    small.layers["counts"] = small.X.copy()
    with pytest.raises(DataError, match=r"no layer 'count'.*found: \['X', 'counts', 'raw'\]"):
        load_dataset(DataConfig(path=save(small), layer="count"))
    small.X = None
    with pytest.raises(DataError, match=r"There is no X.*found: \['counts', 'raw'\]"):
        load_dataset(DataConfig(path=save(small)))


def test_a_text_file_named_h5ad_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.h5ad").write_text("cell,gene\n")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        load_dataset(DataConfig(path=str(tmp_path / "fake.h5ad")))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["h5ad csr", "h5ad csc", "h5ad dense", "10x v2", "10x v3", "txt.gz of R"])
def test_a_file_cut_short_is_refused(
    small: ad.AnnData, tmp_path: Path, writers: dict[str, Writer], kind: str, share: float
) -> None:
    path = writers[kind](small, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="cut short"):
        load_dataset(DataConfig(path=str(path)))


@pytest.mark.parametrize("kind", ["zarr v2", "zarr v3", "10x mtx", "10x mtx.gz"])
def test_a_folder_with_a_file_cut_short_is_refused(
    small: ad.AnnData, tmp_path: Path, writers: dict[str, Writer], kind: str
) -> None:
    folder = writers[kind](small, tmp_path)
    largest = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-20])
    with pytest.raises(DataError, match="cut short"):
        load_dataset(DataConfig(path=str(folder)))


def test_what_is_not_there_or_not_readable_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file at .*none.h5ad"):
        load_dataset(DataConfig(path=str(tmp_path / "none.h5ad")))
    (tmp_path / "data.loom").touch()
    with pytest.raises(DataError, match=r"ending that cannot be read.*Readable: \.h5ad"):
        load_dataset(DataConfig(path=str(tmp_path / "data.loom")))
    with pytest.raises(DataError, match=r"neither a .zarr nor a 10x output"):
        load_dataset(DataConfig(path=str(tmp_path)))
    with h5py.File(tmp_path / "other.h5", "w") as root:
        root["something"] = 1
    with pytest.raises(DataError, match=r"other.h5: It holds no AnnData.*\['something'\]"):
        load_dataset(DataConfig(path=str(tmp_path / "other.h5")))


def test_positions_outside_the_table_are_refused(small: ad.AnnData, save: Save) -> None:
    path = save(small)
    with h5py.File(path, "r+") as root:
        root["X/indices"][2] = 99
    with pytest.raises(DataError, match="damaged: they point outside"):
        load_dataset(DataConfig(path=path))


def test_data_outside_the_file_are_refused(small: ad.AnnData, save: Save, tmp_path: Path) -> None:
    path = save(small)
    with h5py.File(path, "r+") as root:
        del root["X/data"]
        root["X/data"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "data")
    with pytest.raises(DataError, match="'data' is a link or is stored outside"):
        load_dataset(DataConfig(path=path))


def test_pickled_zarr_data_are_refused(small: ad.AnnData, tmp_path: Path) -> None:
    folder = tmp_path / "evil.zarr"
    (folder / "X").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    described = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "filters": [{"id": "pickle"}]}
    (folder / "X" / ".zarray").write_text(json.dumps(described))
    with pytest.raises(DataError, match="'X' is stored with pickle"):
        load_dataset(DataConfig(path=str(folder)))


def test_stored_duplicates_are_added_and_stored_zeros_dropped(tmp_path: Path, small: ad.AnnData) -> None:
    counts = sp.csr_matrix(
        (np.array([1, 2, 0, 5], dtype=np.float32), np.array([1, 1, 0, 0]), np.array([0, 3, 4])), shape=(2, 2)
    )
    data = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    data.write_h5ad(tmp_path / "odd.h5ad")
    with h5py.File(tmp_path / "odd.h5ad", "r+") as root:
        del root["X"]
        group = root.create_group("X")
        group["data"], group["indices"], group["indptr"] = counts.data, counts.indices, counts.indptr
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [2, 2]})
    loaded = load_dataset(DataConfig(path=str(tmp_path / "odd.h5ad")))
    np.testing.assert_array_equal(loaded.X.toarray(), [[0, 3], [5, 0]])
    assert loaded.X.nnz == 2


def test_reading_in_small_pieces_changes_nothing(
    any_file: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scetm_core.data.matrix.MAX_BLOCK", 5)
    np.testing.assert_array_equal(load_dataset(DataConfig(path=str(any_file))).X.toarray(), expected)


def test_files_of_anndata_before_0_7_are_read(tmp_path: Path) -> None:
    obs = np.array([(b"c1", 1), (b"c2", 0)], dtype=[("index", "S2"), ("batch", "i1")])
    with h5py.File(tmp_path / "old.h5ad", "w") as root:
        root["X"] = np.array([[1.0, 2.0], [0.0, 3.0]], dtype=np.float32)
        root["obs"], root["var"] = obs, np.array([(b"A",), (b"B",)], dtype=[("index", "S1")])
        root["uns/batch_categories"] = np.array([b"x", b"y"])
        root["raw.X"] = np.array([[4, 0], [0, 5]])
        root["raw.var"] = np.array([(b"C",), (b"D",)], dtype=[("index", "S1")])
    data = load_dataset(DataConfig(path=str(tmp_path / "old.h5ad"), batch_key="batch"))
    assert list(data.obs_names) == ["c1", "c2"]
    assert list(data.obs["batch"]) == ["y", "x"]
    np.testing.assert_array_equal(data.X.toarray(), [[1, 2], [0, 3]])
    raw = load_dataset(DataConfig(path=str(tmp_path / "old.h5ad"), layer="raw"))
    assert list(raw.var_names) == ["C", "D"]
    np.testing.assert_array_equal(raw.X.toarray(), [[4, 0], [0, 5]])
