"""Is a second modality found wherever it lies, and matched with the cells by name?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.io import write_elem

from scetm_core import keys
from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.data.describe import describe_dataset
from scetm_core.errors import DataError
from tests.data.conftest import write_h5ad, write_zarr

PROTEINS = ["CD3", "CD4", "CD8"]


@pytest.fixture
def counted(plant: Callable[..., ad.AnnData]) -> ad.AnnData:
    data = plant(n_cells=40, n_genes=12)
    del data.uns["messages"]
    return data


def proteins(n_cells: int = 40) -> np.ndarray:
    return np.random.default_rng(0).poisson(4.0, size=(n_cells, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("convert", "names"),
    [
        pytest.param(lambda p, index: pd.DataFrame(p, index=index, columns=PROTEINS), PROTEINS, id="table"),
        pytest.param(lambda p, index: p, ["protein_0", "protein_1", "protein_2"], id="array"),
        pytest.param(lambda p, index: sp.csr_matrix(p), ["protein_0", "protein_1", "protein_2"], id="sparse"),
    ],
)
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_a_slot_of_obsm_is_read(
    counted: ad.AnnData, tmp_path: Path, convert: Callable[..., object], names: list[str], ending: str
) -> None:
    counted.obsm["protein"] = convert(proteins(), counted.obs_names)
    path = write_h5ad(counted, tmp_path) if ending == "h5ad" else write_zarr(counted, tmp_path, version=3)
    assert "protein" in describe_dataset(path).modalities
    data = load_dataset(DataConfig(path=str(path), modality="protein"))
    np.testing.assert_array_equal(data.obsm[keys.MODALITY].toarray(), proteins())
    assert list(data.uns[keys.MODALITY]) == names


def test_empty_cells_leave_the_modality_too(counted: ad.AnnData, tmp_path: Path) -> None:
    counts = counted.X.toarray()
    counts[5] = 0
    counted.X = sp.csr_matrix(counts)
    counted.obsm["protein"] = proteins()
    counted.write_h5ad(tmp_path / "cells.h5ad")
    data = load_dataset(DataConfig(path=str(tmp_path / "cells.h5ad"), modality="protein"))
    np.testing.assert_array_equal(data.obsm[keys.MODALITY].toarray(), np.delete(proteins(), 5, axis=0))


def test_a_modality_of_a_mudata_file_is_matched_by_cell_name(counted: ad.AnnData, tmp_path: Path) -> None:
    other = ad.AnnData(X=proteins(), obs=pd.DataFrame(index=counted.obs_names), var=pd.DataFrame(index=PROTEINS))
    other = other[::-1][3:].copy()  # another order, and three cells fewer
    path = tmp_path / "cells.h5mu"
    shared = pd.DataFrame({"site": ["s"] * counted.n_obs}, index=counted.obs_names)
    with h5py.File(path, "w") as file:
        write_elem(file, "mod/prot", other)
        write_elem(file, "mod/rna", counted)
        write_elem(file, "obs", shared)
        write_elem(file, "var", pd.DataFrame(index=[*counted.var_names, *PROTEINS]))
    assert describe_dataset(path).modalities[0] == "prot"
    data = load_dataset(DataConfig(path=str(path), batch_key="batch", modality="prot"))
    assert list(data.var_names) == list(counted.var_names)
    assert set(data.obs["site"]) == {"s"}
    expected = proteins()
    expected[-3:] = 0
    np.testing.assert_array_equal(data.obsm[keys.MODALITY].toarray(), expected)
    assert any("3 cells have no counts in 'prot'" in message for message in data.uns["messages"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(np.full((40, 3), 0.5, dtype=np.float32), r"'protein' holds non-integer values", id="fractions"),
        pytest.param(np.full((40, 3), -1.0, dtype=np.float32), r"'protein' holds negative values", id="negative"),
        pytest.param(np.zeros((40, 3), dtype=np.float32), r"'protein' holds no counts at all", id="zeros"),
    ],
)
def test_what_is_no_counts_is_refused(counted: ad.AnnData, tmp_path: Path, values: np.ndarray, words: str) -> None:
    counted.obsm["protein"] = values
    counted.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(DataError, match=words):
        load_dataset(DataConfig(path=str(tmp_path / "cells.h5ad"), modality="protein"))


def test_a_modality_that_is_not_there_is_told_with_those_that_are(counted: ad.AnnData, tmp_path: Path) -> None:
    counted.obsm["protein"] = proteins()
    counted.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(DataError, match=r"no second modality 'adt'.*found: \[.*'protein'"):
        load_dataset(DataConfig(path=str(tmp_path / "cells.h5ad"), modality="adt"))


def test_a_text_file_cannot_hold_a_modality(counted: ad.AnnData, tmp_path: Path) -> None:
    counted.to_df().astype(int).to_csv(tmp_path / "cells.csv")
    with pytest.raises(DataError, match=r"cells\.csv cannot hold a second modality.*obsm"):
        load_dataset(DataConfig(path=str(tmp_path / "cells.csv"), modality="protein"))


def test_a_modality_that_is_a_link_to_another_file_is_refused(counted: ad.AnnData, tmp_path: Path) -> None:
    write_h5ad(counted, tmp_path)
    path = tmp_path / "linked.h5mu"
    with h5py.File(path, "w") as file:
        write_elem(file, "mod/rna", counted)
        file["mod/prot"] = h5py.ExternalLink(str(next(tmp_path.glob("*.h5ad"))), "/")
    with pytest.raises(DataError, match="is a link or is stored outside the file"):
        load_dataset(DataConfig(path=str(path), modality="prot"))


def test_a_covariate_may_be_missing_where_a_cell_is_empty_and_nowhere_else(counted: ad.AnnData, tmp_path: Path) -> None:
    counts = counted.X.toarray()
    counts[5] = 0
    counted.X = sp.csr_matrix(counts)
    counted.obs["mito"] = np.linspace(0, 1, 40)
    counted.obs.loc[counted.obs_names[5], "mito"] = np.nan
    path = write_h5ad(counted, tmp_path)
    data = load_dataset(DataConfig(path=str(path), numeric_keys=("mito",)))
    np.testing.assert_allclose(data.obs["mito"], np.delete(np.linspace(0, 1, 40), 5))
    counted.obs.loc[counted.obs_names[7], "mito"] = np.nan
    path = write_h5ad(counted, tmp_path)
    with pytest.raises(DataError, match=r"'mito' is no finite number for 1 cell"):
        load_dataset(DataConfig(path=str(path), numeric_keys=("mito",)))


def test_covariates_of_a_text_table_are_columns_not_genes(counted: ad.AnnData, tmp_path: Path) -> None:
    table = counted.to_df().astype(int)
    table["donor"], table["mito"] = ["d0", "d1"] * 20, np.linspace(0, 1, 40)
    table["batch"] = counted.obs["batch"].astype(str)
    table.to_csv(tmp_path / "cells.csv")
    settings = {"batch_key": "batch", "extra_batch_keys": ("donor",), "numeric_keys": ("mito",)}
    data = load_dataset(DataConfig(path=str(tmp_path / "cells.csv"), **settings))
    assert list(data.var_names) == list(counted.var_names)
    assert list(data.obs["donor"].cat.categories) == ["d0", "d1"]
    assert data.obs["mito"].iloc[-1] == 1
