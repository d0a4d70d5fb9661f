"""How does a file become raw counts ready for the model?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core.config import DataConfig
from scetm_core.data import columns
from scetm_core.data.formats import OpenInput, open_input
from scetm_core.data.matrix import Array, ValueTally
from scetm_core.data.names import count, renamed_message, unique_names
from scetm_core.errors import DataError

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.data.matrix import Csr

MESSAGES = "messages"  # uns: list of sentences about what was left out or renamed


def load_dataset(config: DataConfig) -> ad.AnnData:
    """Read raw counts, ready for the model.

    Parameters
    ----------
    config
        Which file, which of its layers, which columns are batch and label.

    Returns
    -------
    AnnData
        `X`: counts (n_cells, n_genes) as float32 CSR with sorted indices; empty cells and genes are left out.
        `obs`: all columns, cells in the input's order; batch and label as categories of str (a label may be missing).
        `var`: gene names unique. `uns["messages"]`: sentences about what was left out or renamed;
        `uns["<column>_colors"]`: colours of categories where the input has valid ones.

    Raises
    ------
    DataError
        If the file cannot be read, or its counts or columns cannot be used; the text says what to do.
    """
    import anndata as ad

    with open_input(config) as source:
        obs, messages = source.obs.copy(), list(source.messages)
        for key, what in ((config.batch_key, "batch"), (config.label_key, "label")):
            if key:
                obs[key] = columns.as_categories(columns.find_column(obs, key, what=what))
        counts = read_counts(source)
    cell_names, renamed_cells = unique_names(source.obs.index)
    gene_names, renamed_genes = unique_names(source.var.index)
    messages += [renamed_message("cell", renamed_cells)] if renamed_cells else []
    messages += [renamed_message("gene", renamed_genes)] if renamed_genes else []
    cells, genes = np.diff(counts.indptr) > 0, np.bincount(counts.indices, minlength=counts.shape[1]) > 0
    messages += left_out_messages(cells, genes)
    obs.index, var = pd.Index(cell_names, dtype=object), source.var.set_axis(pd.Index(gene_names, dtype=object))
    obs, var, counts = obs[cells], var[genes], _subset(counts, cells, genes)
    if counts.shape[0] < 2:
        raise DataError(
            f"{source.path.name} has one cell with counts; scETM needs at least 2 cells, better some hundreds."
        )
    messages += _check_batches(obs, config)
    data = ad.AnnData(X=counts, obs=obs.copy(), var=var.copy())
    data.uns.update(_colors_of(source, obs))
    data.uns[MESSAGES] = messages
    return data


def read_counts(source: OpenInput) -> Csr:
    """All counts of an open input as float32 CSR, refused at the first piece that holds something else.

    Raises
    ------
    DataError
        On fractions, negative or missing values, no cells, no genes, or nothing but zeros.
    """
    if size := size_problem(*source.matrix.shape):
        raise DataError(f"{source.path.name} {size}")
    tally = ValueTally()

    def check(values: Array) -> None:
        tally.add(values)
        if problem := tally.problem():
            raise DataError(f"{source.place} {problem}; {counts_advice(source)}")

    counts = source.matrix.to_csr(check)
    if not counts.nnz:
        raise DataError(f"{source.place} holds no counts at all: every value is 0. {_pick(source)}")
    return counts


def size_problem(n_cells: int, n_genes: int) -> str:
    """What is wrong with an empty table (to follow the file's name), or an empty string."""
    if not n_cells:
        return "has 0 cells. Pick a file with at least 2 cells."
    return "" if n_genes else "has 0 genes. Pick a file with genes, or another layer."


def counts_advice(source: OpenInput) -> str:
    """What to do about values that are no counts, naming a place in the same file that holds some."""
    return f"scETM needs raw counts. {_pick(source)}"


def _pick(source: OpenInput) -> str:
    if found := source.sources_with_counts():
        return f"Pick a layer with counts; found: {found}."
    return "No other layer of the file holds counts: save it with the counts as they were before any normalisation."


def left_out_messages(cells: Array, genes: Array) -> list[str]:
    """Sentences about empty cells and genes, from masks of those that hold counts."""
    n_cells, n_genes = int((~cells).sum()), int((~genes).sum())
    messages = [f"{count(n_cells, 'cell')} without any count left out."] if n_cells else []
    return messages + ([f"{count(n_genes, 'gene')} without a count in any cell left out."] if n_genes else [])


def _subset(counts: Csr, cells: Array, genes: Array) -> Csr:
    """Kept cells and genes; no copy where all are kept."""
    counts = counts if cells.all() else counts[cells]
    return counts if genes.all() else counts[:, np.flatnonzero(genes)]


def _check_batches(obs: pd.DataFrame, config: DataConfig) -> list[str]:
    """Messages about the batch and label columns after empty cells are gone; drops values nobody has any more."""
    for key in {config.batch_key, config.label_key} - {None}:
        obs[key] = obs[key].cat.remove_unused_categories()
    if not config.batch_key:
        return []
    batches = obs[config.batch_key]
    problem, advice = columns.batch_problem(batches, config.batch_key)
    if problem:
        raise DataError(f"{problem}. {advice}")
    message = columns.one_batch_message(batches, config.batch_key)
    return [message] if message else []


def _colors_of(source: OpenInput, obs: pd.DataFrame) -> dict[str, Any]:
    """`<column>_colors` in the order of the categories that are left."""
    return {
        f"{column}_colors": [colors[str(category)] for category in obs[column].cat.categories]
        for column, colors in source.colors.items()
        if all(str(category) in colors for category in obs[column].cat.categories)
    }
