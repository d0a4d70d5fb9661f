from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

Writer = Callable[[ad.AnnData, Path], Path]


@pytest.fixture
def small() -> ad.AnnData:
    """30 cells x 8 genes of counts; cell 3 and gene 5 are empty."""
    counts = np.random.default_rng(0).poisson(1.0, size=(30, 8)).astype(np.float32)
    counts[:, 0] += 1
    counts[3], counts[:, 5] = 0, 0
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["a", "b", "c"] * 10),
            "cell_type": pd.Categorical(["beta"] * 15 + ["alpha"] * 15, categories=["beta", "alpha"]),
            "age": np.arange(30),
        },
        index=[f"cell{i}" for i in range(30)],
    )
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(8)]))


@pytest.fixture
def expected(small: ad.AnnData) -> np.ndarray:
    """The counts of `small` without the empty cell and gene."""
    return np.delete(np.delete(small.X.toarray(), 3, axis=0), 5, axis=1)


def write_h5ad(data: ad.AnnData, path: Path) -> Path:
    data.write_h5ad(path / "data.h5ad")
    return path / "data.h5ad"


def write_csc(data: ad.AnnData, path: Path) -> Path:
    data = data.copy()
    data.X = sp.csc_matrix(data.X)
    return write_h5ad(data, path)


def write_dense(data: ad.AnnData, path: Path) -> Path:
    data = data.copy()
    data.X = data.X.toarray().astype(np.int64)
    return write_h5ad(data, path)


def write_zarr(data: ad.AnnData, path: Path, *, version: int) -> Path:
    with warnings.catch_warnings(), ad.settings.override(zarr_write_format=version):
        warnings.simplefilter("ignore")  # anndata announces its next default
        data.write_zarr(path / "data.zarr")
    return path / "data.zarr"


def write_csv(data: ad.AnnData, path: Path) -> Path:
    data.to_df().astype(int).to_csv(path / "data.csv")
    return path / "data.csv"


def write_r_table(data: ad.AnnData, path: Path) -> Path:
    """As R's write.table: the header lacks a name for the cell names."""
    lines = data.to_df().astype(int).to_csv(sep="\t").splitlines()
    with gzip.open(path / "data.txt.gz", "wt") as stream:
        stream.write("\n".join([lines[0].lstrip("\t"), *lines[1:]]))
    return path / "data.txt.gz"


def _write_10x_group(group: h5py.Group, counts: sp.csr_matrix, barcodes: list[str]) -> None:
    group["data"], group["indices"], group["indptr"] = counts.data.astype(np.int32), counts.indices, counts.indptr
    group["shape"], group["barcodes"] = counts.shape[::-1], np.array(barcodes, dtype="S")


def write_10x_v3(data: ad.AnnData, path: Path) -> Path:
    """With two antibodies beside the genes."""
    antibodies = sp.csr_matrix(np.full((data.n_obs, 2), 7, dtype=np.float32))
    with h5py.File(path / "data.h5", "w") as root:
        group = root.create_group("matrix")
        _write_10x_group(group, sp.csr_matrix(sp.hstack([antibodies, data.X])), list(data.obs_names))
        names, n = ["CD3", "CD4", *data.var_names], data.n_vars
        features = group.create_group("features")
        features["name"] = np.array(names, dtype="S")
        features["id"] = np.array([f"id_{name}" for name in names], dtype="S")
        features["feature_type"] = np.array(["Antibody Capture"] * 2 + ["Gene Expression"] * n, dtype="S")
        features["genome"] = np.array([""] * 2 + ["mm10"] * n, dtype="S")
    return path / "data.h5"


def write_10x_v2(data: ad.AnnData, path: Path) -> Path:
    """Two genomes: the genes are divided between them, and each lists its cells in another order."""
    with h5py.File(path / "data.h5", "w") as root:
        for genome, genes, order in (("hg19", slice(0, 4), slice(None)), ("mm10", slice(4, 8), slice(None, None, -1))):
            part, group = data[order, genes], root.create_group(genome)
            _write_10x_group(group, sp.csr_matrix(part.X), list(part.obs_names))
            group["gene_names"] = np.array(list(part.var_names), dtype="S")
            group["genes"] = np.array([f"id_{name}" for name in part.var_names], dtype="S")
    return path / "data.h5"


def write_10x_mtx(data: ad.AnnData, path: Path, *, zipped: bool) -> Path:
    folder = path / "tenx"
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(data.X.T.astype(np.int32)))
    (folder / "barcodes.tsv").write_text("\n".join(data.obs_names) + "\n")
    kind = "\tGene Expression" if zipped else ""
    genes = "".join(f"id_{name}\t{name}{kind}\n" for name in data.var_names)
    (folder / ("features.tsv" if zipped else "genes.tsv")).write_text(genes)
    for file in list(folder.iterdir()) if zipped else []:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return folder


WRITERS: dict[str, Writer] = {
    "h5ad csr": write_h5ad,
    "h5ad csc": write_csc,
    "h5ad dense": write_dense,
    "zarr v2": lambda data, path: write_zarr(data, path, version=2),
    "zarr v3": lambda data, path: write_zarr(data, path, version=3),
    "csv": write_csv,
    "txt.gz of R": write_r_table,
    "10x v2": write_10x_v2,
    "10x v3": write_10x_v3,
    "10x mtx": lambda data, path: write_10x_mtx(data, path, zipped=False),
    "10x mtx.gz": lambda data, path: write_10x_mtx(data, path, zipped=True),
}


@pytest.fixture(params=list(WRITERS))
def any_file(request: pytest.FixtureRequest, small: ad.AnnData, tmp_path: Path) -> Path:
    """`small` in each format in turn."""
    return WRITERS[request.param](small, tmp_path)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[ad.AnnData], str]:
    """Write as .h5ad and give the path as text."""
    return lambda data: str(write_h5ad(data, tmp_path))


@pytest.fixture
def writers() -> dict[str, Writer]:
    """A function per format that writes a data set into a folder and gives its path."""
    return WRITERS
