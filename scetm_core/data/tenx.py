"""What is in the output of 10x Genomics' Cell Ranger? Reads .h5 (versions 2 and 3) and .mtx folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core.data.bounds import open_bytes, open_text, refuse_what_does_not_fit
from scetm_core.data.matrix import StoredMatrix
from scetm_core.data.mtx import MtxFile
from scetm_core.errors import DataError

if TYPE_CHECKING:
    from scetm_core.data.matrix import Csr

GENE_EXPRESSION = "Gene Expression"


class TenxTable:
    """Counts of a 10x output, in memory: `counts` (n_cells, n_genes), `obs`, `var`, `messages`."""

    def __init__(self, counts: Csr, barcodes: list[str], var: pd.DataFrame) -> None:
        self.messages: list[str] = []
        if "feature_types" in var and (var["feature_types"] != GENE_EXPRESSION).any():
            kept = (var["feature_types"] == GENE_EXPRESSION).to_numpy()
            others = sorted(set(var.loc[~kept, "feature_types"].astype(str)))
            self.messages.append(f"{(~kept).sum():,} features of other types ({', '.join(others)}) were left out.")
            counts, var = counts[:, kept], var[kept]
        if "genome" in var and len(set(var["genome"])) > 1:
            found = ", ".join(sorted(set(var["genome"].astype(str))))
            self.messages.append(f"The genes come from several genomes ({found}); all are kept.")
        self.counts, self.var, self.obs = counts, var, _cell_table(barcodes)

    def matrix(self) -> StoredMatrix:
        """The counts as the other readers give them."""
        return StoredMatrix.from_csr(self.counts)


def is_tenx_h5(root: Any) -> bool:
    """Whether an open HDF5 file is a 10x output of either version."""
    return bool(_genomes(root))


def _genomes(root: Any) -> list[str]:
    return [name for name in root if hasattr(root[name], "keys") and {"data", "barcodes", "shape"} <= set(root[name])]


def read_tenx_h5(root: Any) -> TenxTable:
    """Read an open 10x .h5: group ``matrix`` (version 3), or one group per genome (version 2).

    Genes are called by their symbols; ids, types and genomes are columns of `var`.
    """
    for name in _genomes(root):
        refuse_what_does_not_fit(root[name], f"The table {name!r}")
    if "matrix" in _genomes(root):
        group = root["matrix"]
        features = group["features"]
        columns = {"gene_ids": "id", "feature_types": "feature_type", "genome": "genome"}
        var = pd.DataFrame(
            {column: _texts(features[name]) for column, name in columns.items() if name in features},
            index=_texts(features["name"]),
        )
        return TenxTable(_h5_counts(group), _texts(group["barcodes"]), var)
    return _join_genomes(root, _genomes(root))


def _join_genomes(root: Any, genomes: list[str]) -> TenxTable:
    """One table of all genomes; a cell that a genome does not list has no counts there."""
    barcodes = list(dict.fromkeys(barcode for genome in genomes for barcode in _texts(root[genome]["barcodes"])))
    position = {barcode: row for row, barcode in enumerate(barcodes)}
    counts, tables = [], []
    for genome in genomes:
        group = root[genome]
        block = _h5_counts(group).tocoo()
        rows = np.array([position[barcode] for barcode in _texts(group["barcodes"])], dtype=np.int64)[block.row]
        counts.append(sp.csr_matrix((block.data, (rows, block.col)), shape=(len(barcodes), block.shape[1])))
        ids, names = _texts(group["genes"]), _texts(group["gene_names"])
        tables.append(pd.DataFrame({"gene_ids": ids, "genome": genome}, index=names))
    return TenxTable(sp.csr_matrix(sp.hstack(counts, format="csr")), barcodes, pd.concat(tables))


def _h5_counts(group: Any) -> Csr:
    n_genes, n_cells = (int(n) for n in group["shape"][:])
    stored = StoredMatrix(
        layout="csr",  # stored by cell: what 10x calls CSC of (genes, cells)
        shape=(n_cells, n_genes),
        data=group["data"],
        indices=group["indices"],
        indptr=np.asarray(group["indptr"][:]),
    )
    values, genes = [np.zeros(0, dtype=stored.data.dtype)], [np.zeros(0, dtype=np.int64)]
    for block in stored.blocks():
        values.append(block.values)
        genes.append(block.genes)
    return sp.csr_matrix((np.concatenate(values), np.concatenate(genes), stored.indptr), shape=stored.shape)


def _texts(dataset: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in dataset[:]]


def matrix_file(folder: Path) -> Path | None:
    """The ``matrix.mtx`` or ``matrix.mtx.gz`` of a folder (a prefix is allowed), if there is exactly one."""
    found = [path for ending in ("", ".gz") for path in sorted(folder.glob(f"*matrix.mtx{ending}")) if path.is_file()]
    return found[0] if len(found) == 1 else None


def read_tenx_mtx(folder: Path) -> TenxTable:
    """Read a folder of ``matrix.mtx``, ``features.tsv`` (or ``genes.tsv``) and ``barcodes.tsv``, each also as .gz.

    Raises
    ------
    DataError
        If one of them is missing, or their sizes differ.
    """
    file = matrix_file(folder)
    if file is None:
        raise DataError(f"{folder} holds no matrix.mtx (or several). Keep one 10x output per folder.")
    prefix = file.name[: file.name.index("matrix.mtx")]
    features = _read_tsv(folder, prefix, ("features.tsv", "genes.tsv"))
    barcodes = [row[0] for row in _read_tsv(folder, prefix, ("barcodes.tsv",))]
    with open_bytes(file) as stream:
        matrix = MtxFile(file, stream)
        n_genes, n_cells = matrix.shape
        if (n_cells, n_genes) != (len(barcodes), len(features)):
            raise DataError(
                f"{file.name} has {n_genes:,} genes and {n_cells:,} cells, but the tables beside it list "
                f"{len(features):,} and {len(barcodes):,}. Take all three files from the same output."
            )
        counts = matrix.read()
    var = pd.DataFrame({"gene_ids": [row[0] for row in features]}, index=[(row + row[:1])[1] for row in features])
    if features and all(len(row) > 2 for row in features):
        var["feature_types"] = [row[2] for row in features]
    return TenxTable(counts, barcodes, var)


def _read_tsv(folder: Path, prefix: str, names: tuple[str, ...]) -> list[list[str]]:
    for name in names:
        for file in (folder / f"{prefix}{name}", folder / f"{prefix}{name}.gz"):
            if file.is_file():
                with open_text(file) as stream:
                    lines = (line.rstrip("\r\n") for line in stream)
                    return [line.split("\t") for line in lines if line]
    raise DataError(f"{folder} holds no {prefix}{names[0]}. Keep matrix, features and barcodes in one folder.")


def _cell_table(barcodes: list[str]) -> pd.DataFrame:
    """Cells by barcode; where their suffixes differ (several samples aggregated), these become ``gem_group``."""
    obs = pd.DataFrame(index=pd.Index(barcodes, dtype=object))
    groups = [barcode.rpartition("-")[2] for barcode in barcodes]
    if len(set(groups)) > 1 and all(group.isdigit() for group in groups):
        obs["gem_group"] = pd.Categorical(groups)
    return obs
