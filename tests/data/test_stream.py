"""Do counts on disk read like counts in memory, a piece at a time, and never silently wrong?"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse as sp

from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.data.matrix import StoredMatrix, ignore_values
from scetm_core.data.stream import BLOCK_VALUES, StoredCounts, StoredDataset, look_through, stays_on_disk
from scetm_core.errors import DataError

Save = Callable[[ad.AnnData], str]
Writer = Callable[[ad.AnnData, Path], Path]

ROWS = [
    pytest.param(np.arange(29), id="all"),
    pytest.param(np.arange(4, 11), id="neighbours"),
    pytest.param(np.array([20, 3, 11, 28, 0]), id="shuffled"),
    pytest.param(np.array([5, 5, 2]), id="one twice"),
    pytest.param(np.array([], dtype=np.int64), id="none"),
]


def on_disk(path: str | Path, **settings: str) -> StoredDataset:
    data = load_dataset(DataConfig(path=str(path), memory="on disk", **settings))
    assert isinstance(data, StoredDataset)
    return data


def odd_file(small: ad.AnnData, path: Path) -> Path:
    """`small` as others may write it: zeros stored, one value in two parts, genes in descending order."""
    counts = sp.csr_matrix(small.X)
    rows = [(counts.indices[a:b][::-1], counts.data[a:b][::-1]) for a, b in itertools.pairwise(counts.indptr)]
    rows[3] = (np.array([5, 2]), np.array([0.0, 0.0]))  # the empty cell and the empty gene
    genes, values = rows[7]
    rows[7] = (np.append(genes, genes[0]), np.append(values, 2.0))
    parts = (
        np.concatenate([values for _, values in rows]),
        np.concatenate([genes for genes, _ in rows]),
        np.concatenate([[0], np.cumsum([len(values) for _, values in rows])]),
    )
    small.write_h5ad(path / "odd.h5ad")
    with h5py.File(path / "odd.h5ad", "r+") as root:
        for name, part in zip(("data", "indices", "indptr"), parts, strict=True):
            del root["X"][name]
            root["X"][name] = part
    return path / "odd.h5ad"


# ---- the same as in memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kind", ["h5ad csr", "h5ad dense", "zarr v2", "zarr v3"])
def test_rows_are_those_of_the_loaded_data_set(
    small: ad.AnnData, writers: dict[str, Writer], tmp_path: Path, kind: str, rows: np.ndarray
) -> None:
    path = writers[kind](small, tmp_path)
    data, expected = on_disk(path), load_dataset(DataConfig(path=str(path), memory="in memory"))
    found = data.X[rows]
    assert found.dtype == np.float32
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), expected.X[rows].toarray())
    np.testing.assert_array_equal(data.X.totals, total(expected.X))


def total(counts: sp.csr_matrix) -> np.ndarray:
    return np.asarray(counts.sum(axis=1)).ravel()


@pytest.mark.parametrize("rows", ROWS)
def test_untidy_counts_come_out_tidy(small: ad.AnnData, tmp_path: Path, rows: np.ndarray) -> None:
    path = odd_file(small, tmp_path)
    data, expected = on_disk(path), load_dataset(DataConfig(path=str(path)))
    found = data.X[rows]
    assert found.has_canonical_format
    assert (found.data > 0).all()
    np.testing.assert_array_equal(found.toarray(), expected.X[rows].toarray())
    assert data.shape == expected.shape == (29, 7)


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_tables_names_and_messages_are_those_of_the_loaded_data_set(small: ad.AnnData, save: Save) -> None:
    small.uns["cell_type_colors"] = ["#111111", "#222222"]
    small.var_names = ["A", "A", *small.var_names[2:]]
    settings = {"path": save(small), "batch_key": "batch", "label_key": "cell_type"}
    data, expected = on_disk(**settings), load_dataset(DataConfig(**settings))
    pd.testing.assert_frame_equal(data.obs, expected.obs)
    pd.testing.assert_frame_equal(data.var, expected.var, check_column_type=False)
    assert list(data.obs_names) == list(expected.obs_names)
    assert list(data.var_names) == list(expected.var_names)
    assert (data.n_obs, data.n_vars) == expected.shape == data.X.shape
    assert list(data.uns["cell_type_colors"]) == list(expected.uns["cell_type_colors"])
    assert data.uns["messages"][:-1] == expected.uns["messages"]
    assert "stay on disk" in data.uns["messages"][-1]


@pytest.mark.parametrize("layer", ["counts", "raw"])
def test_counts_come_from_the_layer_that_is_asked_for(
    small: ad.AnnData, expected: np.ndarray, save: Save, layer: str
) -> None:
    small.raw = small.copy()
    small.layers["counts"] = small.X.copy()
    small.X = small.X.log1p()
    np.testing.assert_array_equal(on_disk(save(small), layer=layer).X[np.arange(29)].toarray(), expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1.0, "negative values"), (np.nan, "missing or infinite"), (np.inf, "missing or infinite"), (0.5, "non-integer")],
)
@pytest.mark.parametrize("layout", [sp.csr_matrix, np.asarray])
def test_values_that_are_no_counts_are_refused_as_in_memory(
    small: ad.AnnData, save: Save, value: float, text: str, layout: Callable[[np.ndarray], object]
) -> None:
    small.layers["counts"] = small.X.copy()
    counts = small.X.toarray()
    counts[17, 4] = value
    small.X = layout(counts)
    with pytest.raises(DataError, match=rf"X holds {text}.*Pick a layer .*found: \['counts'\]") as told:
        on_disk(path := save(small))
    with pytest.raises(DataError) as told_in_memory:
        load_dataset(DataConfig(path=path))
    assert str(told.value) == str(told_in_memory.value)


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "text"), [(0, 8, "0 cells"), (30, 0, "0 genes"), (30, 8, "no counts at all")]
)
def test_nothing_is_refused(save: Save, n_cells: int, n_genes: int, text: str) -> None:
    with pytest.raises(DataError, match=text):
        on_disk(save(ad.AnnData(sp.csr_matrix((n_cells, n_genes), dtype=np.float32))))


# ---- in memory or on disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["h5ad csc", "csv", "10x v3", "10x mtx"])
def test_what_cannot_be_read_by_cell_is_refused_on_disk_and_read_otherwise(
    small: ad.AnnData, writers: dict[str, Writer], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = writers[kind](small, tmp_path)
    with pytest.raises(DataError, match=r"cell by cell.*Save them as \.h5ad with X in CSR"):
        on_disk(path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
    assert isinstance(load_dataset(DataConfig(path=str(path))), ad.AnnData)


@pytest.mark.parametrize("kind", ["h5ad csr", "h5ad dense", "zarr v3"])
def test_auto_keeps_counts_on_disk_where_they_would_take_half_of_the_free_memory(
    small: ad.AnnData, writers: dict[str, Writer], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(path=str(writers[kind](small, tmp_path)))
    needed = 3 * 8 * small.X.nnz
    for available, kept in ((2 * needed - 1, StoredDataset), (2 * needed, ad.AnnData)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))  # noqa: B023
        assert isinstance(load_dataset(config), kept)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
    assert isinstance(load_dataset(DataConfig(path=config.path, memory="in memory")), ad.AnnData)


# ---- little at a time -------------------------------------------------------------------------------------------


class Recorded:
    """An array that keeps a note of how much of it was read at once."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype, self.shape, self.read = array, array.dtype, array.shape, list[int]()

    def __getitem__(self, key: slice) -> np.ndarray:
        found = self.array[key]
        self.read.append(found.size)
        return found


@pytest.fixture
def recorded() -> StoredMatrix:
    """20,000 cells x 500 genes at 7 %; no `np.ndarray`, as if on disk."""
    rng = np.random.default_rng(0)
    counts = sp.random(20_000, 500, density=0.07, format="csr", dtype=np.float32, random_state=rng)
    counts.data = np.ceil(5 * counts.data)
    whole = StoredMatrix.from_csr(counts)
    return StoredMatrix(
        layout="csr", shape=whole.shape, data=Recorded(whole.data), indices=Recorded(whole.indices), indptr=whole.indptr
    )


def test_a_look_through_holds_little(recorded: StoredMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scetm_core.data.stream.MAX_BLOCK", 20_000)
    seen = look_through(recorded, ignore_values)
    assert max(recorded.data.read) <= 10_000
    assert sum(recorded.data.read) == sum(recorded.indices.read) == recorded.n_stored
    counts = sp.csr_matrix((recorded.data.array, recorded.indices.array, recorded.indptr), recorded.shape)
    np.testing.assert_array_equal(seen.totals, total(counts))
    assert seen.n_nonzero == counts.nnz
    assert seen.is_tidy
    assert seen.genes.all()


def test_neighbours_are_read_in_one_go_and_distant_cells_one_by_one(
    recorded: StoredMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scetm_core.data.matrix.MAX_GAP", 200)  # values: five to six cells
    rows = np.array([100, 101, 103, 5000, 9000, 9001])
    found = recorded.read_rows(rows)
    assert len(recorded.data.read) == 3
    counts = sp.csr_matrix((recorded.data.array, recorded.indices.array, recorded.indptr), recorded.shape)
    assert abs(found - counts[rows]).nnz == 0
    monkeypatch.setattr("scetm_core.data.matrix.MAX_BLOCK", 1000)
    recorded.data.read.clear()
    assert abs(recorded.read_rows(np.arange(4000)) - counts[:4000]).nnz == 0
    assert max(recorded.data.read) <= 1000


def test_a_block_holds_about_as_many_values_whatever_the_cells(small: ad.AnnData, save: Save) -> None:
    assert on_disk(save(small)).X.block_size == 1024  # small cells, but not more of them than this
    wide = ad.AnnData(sp.csr_matrix(np.ones((10, 25_000), dtype=np.float32)))
    assert on_disk(save(wide)).X.block_size == BLOCK_VALUES // 25_000


# ---- threads, and files that do not stay -------------------------------------------------------------------------


def test_threads_read_beside_each_other(small: ad.AnnData, expected: np.ndarray, save: Save) -> None:
    counts = on_disk(save(small)).X
    start = threading.Barrier(4)

    def read(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        start.wait()
        rows = [rng.permutation(29)[:7] for _ in range(25)]
        return all(np.array_equal(counts[some].toarray(), expected[some]) for some in rows)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))


def test_the_file_is_let_go_and_opened_anew(small: ad.AnnData, expected: np.ndarray, save: Save) -> None:
    path = save(small)
    counts = on_disk(path).X
    for _ in range(2):
        np.testing.assert_array_equal(counts[np.array([4])].toarray(), expected[[4]])
        counts.close()
        counts.close()
        with h5py.File(path, "r+"):  # nobody else holds it
            pass
        os.utime(path, ns=(0, stamp_of(counts)))


def stamp_of(counts: StoredCounts) -> int:
    return counts._stamp[2]


def test_a_file_that_has_gone_or_changed_is_told(small: ad.AnnData, save: Save) -> None:
    path = Path(save(small))
    counts = on_disk(path).X
    counts[np.arange(3)]
    kept = path.with_name("kept.h5ad")
    path.rename(kept)
    with pytest.raises(DataError, match=r"data\.h5ad is gone"):
        counts[np.arange(3)]
    shutil.copy(kept, path)
    with pytest.raises(DataError, match=r"data\.h5ad has changed since"):
        counts[np.arange(3)]


def test_values_that_changed_behind_an_equal_stamp_are_told(small: ad.AnnData, save: Save) -> None:
    path = save(small)
    counts = on_disk(path).X
    with h5py.File(path, "r+") as root:
        root["X"]["data"][5] += 1
    os.utime(path, ns=(0, stamp_of(counts)))
    with pytest.raises(DataError, match="has changed since"):
        counts[np.arange(29)]


def test_a_matrix_in_memory_never_stays_on_disk(small: ad.AnnData) -> None:
    assert not stays_on_disk(StoredMatrix.from_csr(small.X), "auto")
