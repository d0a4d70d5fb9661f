"""What does a trained model say of cells that it never saw? Genes by name first; then counts in the model's order.

Torch is loaded by nothing here: a page reports on the genes before anything runs. What follows - model, labels,
novelty, map - is put together in `scetm_core.transfer_analysis`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.config import DataConfig, RunConfig, TrainConfig
from scetm_core.data.formats import open_input
from scetm_core.data.names import count, unique_names
from scetm_core.data.scan import scan_counts
from scetm_core.errors import RunError, TransferError
from scetm_core.gene_alignment import GeneAlignment, GeneReport, align_genes, orthologs_for, read_aliases
from scetm_core.gene_names import SYMBOL, symbols_of
from scetm_core.runs import Run
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES, TransferConfig

__all__ = [
    "AlignedCounts",
    "AlignedData",
    "ModelGenes",
    "advised",
    "align",
    "align_dataset",
    "gene_report",
    "genes_of_run",
    "restrict_dataset",
    "source_delta",
    "source_labels",
    "source_theta",
    "transfer_config",
]

CHUNK_CELLS = 4096  # cells looked at together where counts stay on disk
LOOKED_AT = "variable_genes.genes"  # tensor of the model's file
N_LOUDEST = 5  # unused genes whose share of the counts is told
PORTABLE = 0.1  # softening of the encoder's input below which it carries over badly
NOT_PORTABLE = (
    "This encoder was not made for another species: train the source with the preset Portable, or let the encoder "
    "learn from the target."
)
MAX_VALUES = 50_000_000  # counts looked at for the report; of more, a sample of cells

FINE_TUNING: Mapping[str, Mapping[str, float]] = {
    ENCODER: {"max_steps": 200, "learning_rate": 1e-3},
    NEW_GENES: {"max_steps": 300, "learning_rate": 1e-2},
    EVERYTHING: {"max_steps": 200, "learning_rate": 5e-4},
}
"""Steps and learning rate of each way to learn from the target, where they are not given."""


@dataclass(frozen=True, kw_only=True)
class ModelGenes:
    """The genes of a trained model.

    Attributes
    ----------
    names
        In column order.
    symbols
        Of each, "" where there is none; None where the names are all there is.
    seen
        (n_genes,) mask of those that the encoder looks at.
    """

    names: list[str]
    symbols: list[str] | None
    seen: np.ndarray


def genes_of_run(source: Run) -> ModelGenes:
    """The genes that the model of a run knows, read from its folder.

    Raises
    ------
    TransferError
        If the run is not done, so that there is no model yet.
    RunError
        If its files are damaged, or of another format.
    """
    source.config  # noqa: B018  says so if the run is of another format
    if not source.model_path.is_file() or not source.has_result:
        raise TransferError(f"Run {source.id} has no trained model yet. Wait until it is done, or resume it.")
    return _genes_of(source.path, source.model_path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _genes_of(path: Path, stamp: int) -> ModelGenes:
    import h5py
    from anndata.io import read_elem
    from safetensors import safe_open

    run = Run(path)
    vocab = run.vocab()
    seen = np.arange(len(vocab["genes"])) < int(vocab.get("n_known_genes", len(vocab["genes"])))
    try:
        with safe_open(run.model_path, framework="np") as model:
            if LOOKED_AT in model.keys():  # noqa: SIM118  no mapping
                seen = np.isin(np.arange(len(seen)), model.get_tensor(LOOKED_AT))
        with h5py.File(run.result_path, "r") as result:  # the rest of it may be large
            symbols = symbols_of(read_elem(result["var"]))
    except Exception as error:  # safetensors, h5py and anndata raise many kinds for a damaged file
        raise RunError(f"Model or result of run {run.id} cannot be read ({error}). Resume the run.") from error
    return ModelGenes(names=vocab["genes"], symbols=symbols, seen=seen)


def align(genes: ModelGenes, var: pd.DataFrame, settings: TransferConfig) -> GeneAlignment:
    """Find the genes of a model in a target, as the settings of a transfer ask for it.

    Parameters
    ----------
    var
        The target's gene table, named by its genes.

    Raises
    ------
    TransferError, DataError
        If hardly any gene is found, or a table of orthologs or aliases cannot be used.
    """
    names, symbols = [str(name) for name in var.index], symbols_of(var)
    orthologs, notes = orthologs_for(
        settings.orthologs,
        target=_telling(names, symbols),
        model=_telling(genes.names, genes.symbols),
        several=settings.several,
    )
    return align_genes(
        names,
        genes.names,
        target_symbols=symbols,
        model_symbols=genes.symbols,
        seen=genes.seen,
        orthologs=orthologs,
        aliases=read_aliases(settings.aliases),
        several=settings.several,
        notes=notes,
    )


def _telling(names: list[str], symbols: list[str] | None) -> list[str]:
    """Names that tell the species: symbols where there are any, else the names."""
    return names if symbols is None else [symbol for symbol in symbols if symbol]


def gene_report(source: Run, data: DataConfig, settings: TransferConfig) -> GeneReport:
    """How the genes of a data set fit those of a trained run, without loading either.

    Counts are looked at in all cells up to 50 million values, beyond that in a sample that is told of.

    Raises
    ------
    ScetmError
        If the run has no model, the file cannot be read, or hardly any gene is found.
    """
    genes = genes_of_run(source)
    with open_input(data) as target:
        names, _ = unique_names(target.var.index)
        var = target.var.set_axis(pd.Index(names, dtype=object))
        scan = scan_counts(target.matrix, max_values=MAX_VALUES)
        n_cells = target.matrix.shape[0]
    is_whole = len(scan.cells) == n_cells
    there = scan.genes_seen if is_whole else np.ones(len(var), dtype=bool)  # a gene without counts is left out
    found = advised(align(genes, var[there], settings), source)
    return _covered(found, scan.counts_per_gene[there], None if is_whole else len(scan.cells))


def advised(alignment: GeneAlignment, source: Run) -> GeneAlignment:
    """The same, its report with a word on the encoder where that was not made to be carried over."""
    model, species = source.config.model, alignment.report.species
    is_across = "unknown" not in species and species[0] != species[1]
    if not is_across or model.encoder_input != "hvg" or model.spread_floor >= PORTABLE:
        return alignment
    report = dataclasses.replace(alignment.report, notes=(*alignment.report.notes, NOT_PORTABLE))
    return dataclasses.replace(alignment, report=report)


def _covered(alignment: GeneAlignment, per_gene: np.ndarray, n_cells: int | None) -> GeneReport:
    total = max(float(per_gene.sum()), 1.0)
    unused = np.flatnonzero(~alignment.used)
    loudest = np.argsort(-per_gene[unused], kind="stable")
    report = alignment.report
    return dataclasses.replace(
        report,
        covered=float(per_gene[alignment.used].sum()) / total,
        covered_cells=n_cells,
        unused=[report.unused[place] for place in loudest],
        unused_shares=tuple(float(per_gene[unused[place]]) / total for place in loudest[:N_LOUDEST]),
    )


class AlignedCounts:
    """Counts of a target in the columns of a model, made some rows at a time from counts on disk.

    Parameters
    ----------
    counts
        (n_all, n_target), gives out rows as CSR.
    membership
        (n_target, n_model)
    rows, totals
        Cells that have counts then, and their total counts, (n_cells,).
    """

    def __init__(self, counts: Any, membership: sp.csr_matrix, *, rows: np.ndarray, totals: np.ndarray) -> None:
        self._counts, self._membership, self._rows, self.totals = counts, membership, rows, totals
        self.shape = (len(rows), membership.shape[1])
        self.block_size: int | None = getattr(counts, "block_size", None)

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Some cells, in the order asked for."""
        return _times(self._counts[self._rows[rows]], self._membership)


@dataclass(frozen=True, kw_only=True)
class AlignedData:
    """A target in the columns of a model, in memory or on disk; the surface of a loaded data set."""

    X: sp.csr_matrix | AlignedCounts
    obs: pd.DataFrame
    var: pd.DataFrame
    uns: Mapping[str, Any]
    obsm: Mapping[str, Any]

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes, those of the model."""
        return self.var.index


def align_dataset(
    data: Any, alignment: GeneAlignment, *, symbols: list[str] | None = None, new_genes: bool = False
) -> tuple[AlignedData, GeneReport, list[str]]:
    """A loaded data set in the columns of a model.

    Parameters
    ----------
    data
        From `load_dataset`.
    alignment
        Of its genes.
    symbols
        Of the model's genes, for the gene table.
    new_genes
        Whether genes that the model does not know come after its own.

    Returns
    -------
    The data; `var` names the model's genes, with `target_gene` and `way` as in the alignment. The report with the
    share of counts. And sentences about cells that are left out for having no counts in these genes.

    Raises
    ------
    TransferError
        If hardly any cell is left.
    """
    table, membership = alignment.table.copy(), alignment.membership
    if symbols is not None:
        table[SYMBOL] = symbols
    if new_genes:
        rows = np.flatnonzero(~alignment.used)
        membership = sp.csr_matrix(sp.hstack([membership, sp.identity(len(alignment.used), format="csr")[:, rows]]))
        table = pd.concat([table, _new_rows(table, [str(name) for name in data.var_names[rows]])])
    aligned, left, per_gene = _in_columns(data, membership, table, n_known=alignment.membership.shape[1])
    n_lost = len(data.obs) - len(left)
    said = [f"{count(n_lost, 'cell')} without counts in the model's genes left out."] if n_lost else []
    return aligned, _covered(alignment, per_gene, None), said


def restrict_dataset(data: Any, genes: np.ndarray) -> tuple[AlignedData, np.ndarray]:
    """A loaded data set without the counts of some genes, which keep their columns.

    Parameters
    ----------
    genes
        (n_genes,) mask of those whose counts stay.

    Returns
    -------
    The data; and the rows that are left, those with counts in these genes.

    Raises
    ------
    TransferError
        If hardly any cell is left.
    """
    aligned, left, _ = _in_columns(data, sp.csr_matrix(sp.diags(genes.astype(np.float32))), data.var)
    return aligned, left


def _in_columns(
    data: Any, membership: sp.csr_matrix, var: pd.DataFrame, *, n_known: int | None = None
) -> tuple[AlignedData, np.ndarray, np.ndarray]:
    """Data in new columns, the rows that have counts in the first `n_known` of them, and sums of the old columns."""
    counts, totals, of_known, per_gene = _look_through(data.X, membership, n_known or membership.shape[1])
    left = np.flatnonzero(of_known > 0)
    if len(left) < 2:
        raise TransferError("No cell of the target has counts in the genes that the model knows. Look at its genes.")
    aligned = AlignedData(
        X=AlignedCounts(data.X, membership, rows=left, totals=totals[left]) if counts is None else counts[left],
        obs=data.obs.iloc[left],
        var=var,
        uns=data.uns,
        obsm={name: values[left] for name, values in data.obsm.items()},
    )
    return aligned, left, per_gene


def _new_rows(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Rows of genes that the model does not know; one that is called like a gene of the model is renamed."""
    taken = set(table.index)
    index = pd.Index([f"{name} (target)" if name in taken else name for name in names], dtype=object)
    new = pd.DataFrame({keys.TARGET_GENE: names, keys.WAY: "new"}, index=index, dtype=object)
    return new if SYMBOL not in table else new.assign(**{SYMBOL: ""})


def _look_through(
    counts: Any, membership: sp.csr_matrix, n_known: int
) -> tuple[sp.csr_matrix | None, np.ndarray, np.ndarray, np.ndarray]:
    """Counts in the new columns if they are in memory, and sums over them.

    These are the total counts of each cell in the new columns and in the first `n_known` of them, (n_cells,) each, and
    the sum of each old column.
    """
    if sp.issparse(counts) or isinstance(counts, np.ndarray):
        whole: sp.csr_matrix = sp.csr_matrix(counts)  # type: ignore[arg-type]
        aligned = _times(whole, membership)
        of_known = _row_sums(aligned[:, :n_known])
        return aligned, _row_sums(aligned), of_known, np.asarray(whole.sum(axis=0, dtype=np.float64)).ravel()
    totals, of_known, per_gene = np.zeros(counts.shape[0]), np.zeros(counts.shape[0]), np.zeros(counts.shape[1])
    for first in range(0, counts.shape[0], CHUNK_CELLS):
        rows = np.arange(first, min(first + CHUNK_CELLS, counts.shape[0]))
        piece = counts[rows]
        aligned = _times(piece, membership)
        totals[rows], of_known[rows] = _row_sums(aligned), _row_sums(aligned[:, :n_known])
        per_gene += np.asarray(piece.sum(axis=0, dtype=np.float64)).ravel()
    return None, totals, of_known, per_gene


def _times(counts: sp.csr_matrix, membership: sp.csr_matrix) -> sp.csr_matrix:
    product = sp.csr_matrix(counts @ membership, dtype=np.float32)
    product.sort_indices()
    return product


def _row_sums(counts: sp.csr_matrix) -> np.ndarray:
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def source_delta(run: Run) -> np.ndarray:
    """Delta of the source's cells by the model of a transfer, (n_source, n_topics).

    Raises
    ------
    RunError
        If the source is gone, or a file is damaged.
    """
    path = run.source_delta_path
    if not path.is_file():
        return np.asarray(run.source.load_result().obsm[keys.DELTA])
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise RunError(f"{path.parent.name}/{path.name} of run {run.id} cannot be read ({error}).") from error


def source_theta(run: Run) -> np.ndarray:
    """Topic mixtures of the source's cells by the model of a transfer, (n_source, n_topics); see `source_delta`."""
    from scipy.special import softmax

    return np.asarray(softmax(source_delta(run), axis=1))


def transfer_config(
    source: Run,
    *,
    data: DataConfig,
    transfer: TransferConfig,
    name: str,
    train: Mapping[str, Any] | None = None,
    umap: bool = True,
) -> RunConfig:
    """The settings of a transfer: the source's model, trained on as `transfer.fine_tune` says.

    Parameters
    ----------
    data
        The target. Its path should be absolute.
    train
        Settings of the training that are to differ, e.g. ``{"max_steps": 500}``.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    RunError
        If the source is damaged or of another format.
    """
    own = source.config
    values: dict[str, Any] = {
        **own.train.to_dict(),
        **{"mmd_weight": 0.0, "adversary_weight": 0.0, "anchor_weight": 0.0, "learning_rate_schedule": "cosine"},
        **({"weight_decay": 0.0} if transfer.fine_tune == NEW_GENES else {}),
        **FINE_TUNING.get(transfer.fine_tune, {}),
        **(train or {}),
    }
    return RunConfig(
        name=name,
        data=data,
        model=own.model,
        train=TrainConfig.from_dict(values),
        transfer=transfer,
        umap=umap,
    )


def source_labels(source: Run, obs: pd.DataFrame, settings: TransferConfig) -> str:
    """The column of the source's cells whose labels are given to the target's.

    Raises
    ------
    TransferError
        If there is no such column.
    """
    wanted = settings.source_label_key or source.config.data.label_key or keys.LEIDEN
    if wanted not in obs:
        raise TransferError(f"The source's cells have no column {wanted!r}; found: {list(obs.columns)}.")
    return wanted
