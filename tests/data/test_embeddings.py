"""Are gene embeddings read from every kind of file, and nothing else taken for one?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core.data.embeddings import read_gene_embedding
from scetm_core.errors import DataError

TABLE = pd.DataFrame(
    np.arange(6, dtype=np.float32).reshape(3, 2), index=["INS", "GCG", "SST"], columns=["dimension_0", "dimension_1"]
)


def write_csv(path: Path) -> None:
    TABLE.to_csv(path)


def write_tsv(path: Path) -> None:
    TABLE.to_csv(path, sep="\t")


def write_npz(path: Path) -> None:
    np.savez(path, genes=TABLE.index.to_numpy(dtype=str), rho=TABLE.to_numpy())


def write_h5ad(path: Path) -> None:
    others = {"PCs": np.zeros((3, 1)), "rho": TABLE.to_numpy()}
    ad.AnnData(X=np.zeros((1, 3), dtype=np.float32), var=pd.DataFrame(index=TABLE.index), varm=others).write_h5ad(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("rho.csv", write_csv), ("rho.tsv", write_tsv), ("rho.npz", write_npz), ("rho.h5ad", write_h5ad)],
)
def test_every_kind_of_file_gives_the_same_table(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    found = read_gene_embedding(tmp_path / name)
    pd.testing.assert_frame_equal(found, TABLE, check_names=False)


def test_files_that_hold_no_embedding_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_text("gene,a\nINS,high\n")
    with pytest.raises(DataError, match=r"text\.csv.*must be a table of numbers; not numbers: \['a'\]"):
        read_gene_embedding(tmp_path / "text.csv")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(DataError, match=r"needs the arrays 'genes' and 'rho'; found: \['weights'\]"):
        read_gene_embedding(tmp_path / "other.npz")
    np.savez(tmp_path / "short.npz", genes=np.array(["INS"]), rho=np.ones((3, 2)))
    with pytest.raises(DataError, match=r"1 genes, but embeddings of shape \(3, 2\)"):
        read_gene_embedding(tmp_path / "short.npz")
    with pytest.raises(DataError, match="There is no file at"):
        read_gene_embedding(tmp_path / "none.csv")
    (tmp_path / "rho.txt").write_text("INS 1\n")
    with pytest.raises(DataError, match="ending that cannot be read"):
        read_gene_embedding(tmp_path / "rho.txt")


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", genes=np.array(["INS"], dtype=object), rho=np.ones((1, 2)))
    with pytest.raises(DataError, match="is stored with pickle"):
        read_gene_embedding(tmp_path / "evil.npz")
