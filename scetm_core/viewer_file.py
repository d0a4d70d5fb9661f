"""How does a result open in scanpy and cellxgene with all they list? One .h5ad: topics as columns, colours, expression.

The expression goes from file to file in blocks of cells, so that it is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.data.expression import TARGET_SUM
from scetm_core.data.formats import open_input
from scetm_core.data.matrix import StoredMatrix, ignore_values, tidy
from scetm_core.data.names import unique_names
from scetm_core.dressing import GIVEN_COLORS, dressed
from scetm_core.errors import DataError, RunError, ScetmError
from scetm_core.figures import column_colors, topic_values
from scetm_core.files import is_disk_full, replacing
from scetm_core.gene_alignment import SEVERAL
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.data.matrix import Csr

BLOCK_CELLS = 4096
WHAT_X_IS = "X holds log1p of counts per 10,000 for the genes of the model."
TOPIC_NAMES, EXPRESSION = "topic_names", "X"  # in uns["scetm"]

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""


def write_viewer_file(run: Run, path: Path, *, on_progress: Progress | None = None) -> list[str]:
    """Write the result of a run for other viewers.

    obs has a column for each topic (`topic_0`, theta of the cell), `uns["<column>_colors"]` holds the app's colours for
    every column of categories, X holds log1p of counts per 10,000 where the input can still be read, and
    `uns["scetm"]["topic_names"]` the names given to topics. A column of the input that is called like a topic gives
    way.

    Returns
    -------
    Sentences about what is in X, and what had to give way.

    Raises
    ------
    RunError
        If there is no result, or the file cannot be written; an earlier one stays.
    """
    tell = on_progress or (lambda share, words: None)
    tell(0.0, "Reading the result.")
    result = dressed(run, run.load_result())
    result.uns.pop(GIVEN_COLORS, None)
    said = _dress(result, run.topic_names())
    result.uns[keys.UNS] = {**result.uns.get(keys.UNS, {}), TOPIC_NAMES: run.topic_names()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            result.write_h5ad(draft)
            about = _write_expression(run, result, draft, lambda share: tell(0.1 + 0.9 * share, "Writing expression."))
    except OSError as error:
        reason = "the disk is full. Free some space" if is_disk_full(error) else str(error)
        raise RunError(f"Cannot write {path.name}: {reason}.") from error
    return [*said, about]


def _dress(result: ad.AnnData, names: dict[str, str]) -> list[str]:
    """Give a result its topics as columns and its colours, in place; sentences about columns that gave way."""
    theta = topic_values(result, keys.THETA).astype(np.float32)
    taken = [str(column) for column in theta.columns if column in result.obs]
    renamed = {column: f"{column} (input)" for column in taken}
    obs = pd.concat([result.obs.rename(columns=renamed), theta], axis=1)
    for old, new in renamed.items():
        if f"{old}_colors" in result.uns:
            result.uns[f"{new}_colors"] = result.uns.pop(f"{old}_colors")
    result.obs = obs
    if keys.X_UMAP in result.obsm:
        result.obsm[keys.X_UMAP] = np.asarray(result.obsm[keys.X_UMAP], dtype=np.float32)
    for column, values in obs.items():
        if not isinstance(values.dtype, pd.CategoricalDtype) and values.dtype.kind == "O":
            result.obs[column] = values.astype("category")
    add_colors(result, [str(column) for column in obs if isinstance(result.obs[column].dtype, pd.CategoricalDtype)])
    return [f"The input's column {old!r} is called {new!r}." for old, new in renamed.items()]


def add_colors(result: ad.AnnData, columns: list[str]) -> None:
    """Put the colours in which the app shows some columns into `uns`, where other tools look for them."""
    for column in columns:
        result.uns[f"{column}_colors"] = column_colors(result, column)


# ---- expression ---------------------------------------------------------------------------------------------------


def _write_expression(run: Run, result: ad.AnnData, draft: Path, tell: Callable[[float], None]) -> str:
    """Add X to a file; empty, with the reason as the answer, if the input cannot be read as it was."""
    import h5py

    try:
        with open_input(run.config.data) as source, h5py.File(draft, "r+") as file:
            rows, pick = _places(result, source.obs.index, source.var.index)
            blocks = _blocks(source.matrix, rows, pick, result.obs[keys.N_COUNTS].to_numpy())
            _write_csr(file, blocks, shape=result.shape, tell=tell)
            about = WHAT_X_IS
    except ScetmError as error:
        about = f"X is empty: {error}"
        with h5py.File(draft, "r+") as file:
            _write_csr(file, iter([sp.csr_matrix(result.shape, dtype=np.float32)]), shape=result.shape, tell=tell)
    with h5py.File(draft, "r+") as file:
        from anndata.io import write_elem

        write_elem(file[f"uns/{keys.UNS}"], EXPRESSION, about)
    return about


def _places(result: ad.AnnData, cells: pd.Index, genes: pd.Index) -> tuple[np.ndarray, Csr]:
    """Rows of the input that are the result's cells; 0/1 matrix (n_input_genes, n_genes), which genes make which."""
    rows = pd.Index(unique_names(cells)[0]).get_indexer(result.obs_names)
    if (rows < 0).any() or (np.diff(rows) <= 0).any():
        raise DataError("the input holds other cells than the run was made from.")
    known = pd.Index(unique_names(genes)[0])
    if keys.TARGET_GENE in result.var:
        made_of = [name.split(SEVERAL) if name else [] for name in result.var[keys.TARGET_GENE].astype(str)]
    else:
        made_of = [[str(name)] for name in result.var_names]
    columns = np.repeat(np.arange(len(made_of)), [len(names) for names in made_of])
    places = known.get_indexer(pd.Index([name for names in made_of for name in names], dtype=object))
    if (places < 0).any():
        raise DataError("the input lacks genes that the run was made from.")
    ones: Any = (np.ones(len(places), dtype=np.float32), (places, columns))
    return rows, sp.csr_matrix(ones, shape=(len(known), len(made_of)))


def _blocks(matrix: StoredMatrix, rows: np.ndarray, pick: Csr, n_counts: np.ndarray) -> Iterator[Csr]:
    """Log-normalised expression of the cells, block by block, after a look whether the counts are what they were."""
    if matrix.layout == "csc":
        matrix = StoredMatrix.from_csr(matrix.to_csr(ignore_values))  # its cells lie scattered over the file
    for start in range(0, len(rows), BLOCK_CELLS):
        counts = tidy(matrix.read_rows(rows[start : start + BLOCK_CELLS]))
        totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        found: Csr = sp.csr_matrix(counts @ pick)
        known = np.asarray(found.sum(axis=1, dtype=np.float64)).ravel()
        if not np.allclose(known, n_counts[start : start + BLOCK_CELLS], rtol=1e-4):
            raise DataError("the input holds other counts than the run was made from.")
        found.sort_indices()
        found.data = np.log1p(found.data * np.repeat(TARGET_SUM / totals, np.diff(found.indptr))).astype(np.float32)
        yield found


def _write_csr(file: Any, blocks: Iterator[Csr], *, shape: tuple[int, int], tell: Callable[[float], None]) -> None:
    """Write blocks of rows as one CSR matrix, as anndata stores it."""
    if "X" in file:
        del file["X"]
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array(shape)})
    stored: Any = {"maxshape": (None,), "chunks": (1 << 16,), "compression": "gzip", "compression_opts": 1}
    data = group.create_dataset("data", shape=(0,), dtype=np.float32, **stored)
    indices = group.create_dataset("indices", shape=(0,), dtype=np.int32, **stored)
    ends = [np.zeros(1, dtype=np.int64)]
    n_rows = 0
    for block in blocks:
        low = len(data)
        for target, values in ((data, block.data), (indices, block.indices)):
            target.resize((low + block.nnz,))
            target[low:] = values
        ends.append(low + block.indptr[1:].astype(np.int64))
        n_rows += block.shape[0]
        tell(n_rows / shape[0])
    group.create_dataset("indptr", data=np.concatenate(ends))
