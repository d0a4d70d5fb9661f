"""What is in a file of gene embeddings? Rows of numbers by gene name, from .csv, .npz or .h5ad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.data.bounds import open_text, plain_path, read_npz, refuse_what_does_not_fit
from scetm_core.data.formats import open_store, readable
from scetm_core.data.stored import AnnDataStore
from scetm_core.errors import DataError

READABLE = ".csv or .tsv (genes in the first column), .npz (arrays 'genes' and 'rho'), .h5ad (varm)"
GENES, RHO = "genes", "rho"


def read_gene_embedding(path: Path) -> pd.DataFrame:
    """Gene embeddings of a file, (genes, dimensions).

    Of an .h5ad the slot ``rho`` of varm is taken, or the only one there is.

    Raises
    ------
    DataError
        If it cannot be read or holds no such table of numbers.
    """
    path = plain_path(path)
    if not path.is_file():
        raise DataError(f"There is no file at {path}. Check the path of the gene embeddings.")
    with readable(path):
        if path.name.lower().endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
            with open_text(path) as stream:
                separator = "\t" if ".tsv" in path.name.lower() else ","
                # pandas' own parser of numbers crashes on some exponents
                found = pd.read_csv(stream, index_col=0, sep=separator, float_precision="round_trip")
        elif path.suffix.lower() == ".npz":
            found = _of_npz(path)
        elif path.suffix.lower() == ".h5ad":
            found = _of_h5ad(path)
        else:
            raise DataError(f"{path.name} has an ending that cannot be read. Readable: {READABLE}.")
        bad = [str(name) for name, kind in found.dtypes.items() if kind.kind not in "fiu"]
        if bad or found.empty:
            raise DataError(f"the gene embeddings must be a table of numbers; not numbers: {bad[:5] or 'it is empty'}.")
    found.index = found.index.astype(str)
    return found.astype(np.float32)


def _of_npz(path: Path) -> pd.DataFrame:
    arrays = read_npz(path)
    if not {GENES, RHO} <= set(arrays):
        raise DataError(f"it needs the arrays {GENES!r} and {RHO!r}; found: {list(arrays)[:20]}.")
    return _table(arrays[GENES].astype(str), arrays[RHO])


def _of_h5ad(path: Path) -> pd.DataFrame:
    from anndata.io import read_elem

    with open_store(path) as root:
        store = AnnDataStore(root)
        slots = list(root["varm"]) if "varm" in root else []
        if keys.RHO not in slots and len(slots) != 1:
            raise DataError(f"varm needs a slot {keys.RHO!r} with the gene embeddings; found: {slots}.")
        refuse_what_does_not_fit(root["varm"], "varm")
        values = read_elem(root["varm"][keys.RHO if keys.RHO in slots else slots[0]])
        return _table(store.var("X").index, values)


def _table(genes: Any, values: Any) -> pd.DataFrame:
    numbers = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    if numbers.ndim != 2 or len(numbers) != len(genes):
        raise DataError(f"it holds {len(genes)} genes, but embeddings of shape {numbers.shape}. One row a gene.")
    return pd.DataFrame(numbers, index=pd.Index(genes), columns=[f"dimension_{i}" for i in range(numbers.shape[1])])
