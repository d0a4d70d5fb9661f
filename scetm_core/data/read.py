"""How does a file become raw counts ready for the model?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.config import DataConfig
from scetm_core.data import columns
from scetm_core.data.formats import OpenInput, open_input, readable
from scetm_core.data.matrix import Array, ValueTally
from scetm_core.data.modality import read_modality
from scetm_core.data.names import count, renamed_message, unique_names
from scetm_core.data.stream import StoredCounts, StoredDataset, look_through, stays_on_disk
from scetm_core.errors import DataError

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.data.matrix import Csr
    from scetm_core.data.stream import Seen

MESSAGES = "messages"  # uns: list of sentences about what was left out or renamed


def load_dataset(config: DataConfig) -> ad.AnnData | StoredDataset:
    """Read raw counts, ready for the model.

    Parameters
    ----------
    config
        Which file, which of its layers, which columns are batch and label, and whether the counts stay on disk.

    Returns
    -------
    AnnData, or StoredDataset where the counts stay on disk
        `X`: counts (n_cells, n_genes) as float32 CSR with sorted indices, or `StoredCounts` that gives out rows as
        such; empty cells and genes are left out.
        `obs`: all columns, cells in the input's order; batches and label as categories of str (a label may be
        missing), numeric covariates as float64.
        `var`: gene names unique. `uns["messages"]`: sentences about what was left out or renamed;
        `uns["<column>_colors"]`: colours of categories where the input has valid ones.
        `obsm["modality"]`, `uns["modality"]`: counts and names of the second modality, if one is asked for.

    Raises
    ------
    DataError
        If the file cannot be read, or its counts or columns cannot be used; the text says what to do.
    """
    with open_input(config) as source:
        obs, messages = _cell_table(source, config), list(source.messages)
        counts, cells, genes = _counts_of(source, config)
    with readable(source.path):
        return _put_together(source, config, obs, messages, counts=counts, cells=cells, genes=genes)


def _put_together(
    source: OpenInput,
    config: DataConfig,
    obs: pd.DataFrame,
    messages: list[str],
    *,
    counts: Csr | StoredCounts,
    cells: Array,
    genes: Array,
) -> ad.AnnData | StoredDataset:
    """What was read, with unique names, without empty cells and genes, checked."""
    cell_names, renamed_cells = unique_names(source.obs.index)
    gene_names, renamed_genes = unique_names(source.var.index)
    messages += [renamed_message("cell", renamed_cells)] if renamed_cells else []
    messages += [renamed_message("gene", renamed_genes)] if renamed_genes else []
    messages += left_out_messages(cells, genes)
    obs.index, var = pd.Index(cell_names, dtype=object), source.var.set_axis(pd.Index(gene_names, dtype=object))
    obs, var = obs[cells], var[genes]
    obs = obs.assign(**{key: columns.as_numbers(obs[key]) for key in config.numeric_keys})
    if len(obs) < 2:
        raise DataError(
            f"{source.path.name} has one cell with counts; scETM needs at least 2 cells, better some hundreds."
        )
    messages += _check_batches(obs, config)
    uns, obsm = _colors_of(source, obs), dict[str, Any]()
    if config.modality:
        features, feature_names, said = read_modality(source.path, config.modality, list(source.obs.index.astype(str)))
        messages += said
        obsm[keys.MODALITY], uns[keys.MODALITY] = features[cells], feature_names
    uns[MESSAGES] = messages
    if isinstance(counts, StoredCounts):
        messages.append("The counts stay on disk and are read in shuffled blocks as training goes.")
        return StoredDataset(X=counts, obs=obs.copy(), var=var.copy(), uns=uns, obsm=obsm)
    import anndata as ad

    return ad.AnnData(X=counts, obs=obs.copy(), var=var.copy(), uns=uns, obsm=obsm)


def _cell_table(source: OpenInput, config: DataConfig) -> pd.DataFrame:
    """Columns of obs, the batches and the label as categories of text."""
    obs = source.obs.copy()
    named = [(config.batch_key, "batch"), *((key, "batch") for key in config.extra_batch_keys)]
    for key, what in (*named, (config.label_key, "label")):
        if key:
            obs[key] = columns.as_categories(columns.find_column(obs, key, what=what))
    for key in config.numeric_keys:
        columns.find_column(obs, key, what="numeric covariate")
    return obs


def _counts_of(source: OpenInput, config: DataConfig) -> tuple[Csr | StoredCounts, Array, Array]:
    """Counts of the cells and genes that have any, and masks of those."""
    if stays_on_disk(source.matrix, config.memory):
        seen = see_counts(source)
        return StoredCounts(config, seen), seen.totals > 0, seen.genes
    counts = read_counts(source)
    cells, genes = np.diff(counts.indptr) > 0, np.bincount(counts.indices, minlength=counts.shape[1]) > 0
    return _subset(counts, cells, genes), cells, genes


def read_counts(source: OpenInput) -> Csr:
    """All counts of an open input as float32 CSR, refused at the first piece that holds something else.

    Raises
    ------
    DataError
        On fractions, negative or missing values, no cells, no genes, or nothing but zeros.
    """
    counts = source.matrix.to_csr(_refuse_all_but_counts(source))
    _refuse_nothing(source, counts.nnz)
    return counts


def see_counts(source: OpenInput) -> Seen:
    """Sums over all counts of an open input, which are not held; refused as by `read_counts`.

    Raises
    ------
    DataError
        As `read_counts`.
    """
    seen = look_through(source.matrix, _refuse_all_but_counts(source))
    _refuse_nothing(source, seen.n_nonzero)
    return seen


def _refuse_all_but_counts(source: OpenInput) -> Callable[[Array], None]:
    """A check of values, piece by piece; the size is checked right away."""
    if size := size_problem(*source.matrix.shape):
        raise DataError(f"{source.path.name} {size}")
    tally = ValueTally()

    def check(values: Array) -> None:
        tally.add(values)
        if problem := tally.problem():
            raise DataError(f"{source.place} {problem}; {counts_advice(source)}")

    return check


def _refuse_nothing(source: OpenInput, n_nonzero: int) -> None:
    if not n_nonzero:
        raise DataError(f"{source.place} holds no counts at all: every value is 0. {_pick(source)}")


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
    for key in {config.batch_key, config.label_key, *config.extra_batch_keys} - {None}:
        obs[key] = obs[key].cat.remove_unused_categories()
    messages = []
    for key in (config.batch_key, *config.extra_batch_keys):
        if not key:
            continue
        problem, advice = columns.batch_problem(obs[key], key)
        if problem:
            raise DataError(f"{problem}. {advice}")
        message = columns.one_batch_message(obs[key], key)
        messages += [message] if message else []
    return messages


def _colors_of(source: OpenInput, obs: pd.DataFrame) -> dict[str, Any]:
    """`<column>_colors` in the order of the categories that are left."""
    return {
        f"{column}_colors": [colors[str(category)] for category in obs[column].cat.categories]
        for column, colors in source.colors.items()
        if all(str(category) in colors for category in obs[column].cat.categories)
    }
