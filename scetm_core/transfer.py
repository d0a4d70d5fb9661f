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
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.aligned_data import AlignedCounts, AlignedData, align_dataset, covered, restrict_dataset
from scetm_core.config import DataConfig, RunConfig, TrainConfig
from scetm_core.data.formats import open_input
from scetm_core.data.names import unique_names
from scetm_core.data.scan import scan_counts
from scetm_core.errors import RunError, TransferError
from scetm_core.gene_alignment import GeneAlignment, GeneReport, align_genes, orthologs_for, read_aliases
from scetm_core.gene_names import symbols_of
from scetm_core.runs import Run
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES, TransferConfig

if TYPE_CHECKING:
    import anndata as ad

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

LOOKED_AT = "variable_genes.genes"  # tensor of the model's file
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

    from scetm_core.data.bounds import refuse_hostile_hdf5

    run = Run(path)
    vocab = run.vocab()
    seen = np.arange(len(vocab["genes"])) < int(vocab.get("n_known_genes", len(vocab["genes"])))
    try:
        with safe_open(run.model_path, framework="np") as model:
            if LOOKED_AT in model.keys():  # noqa: SIM118  no mapping
                seen = np.isin(np.arange(len(seen)), model.get_tensor(LOOKED_AT))
        with h5py.File(run.result_path, "r") as result:  # the rest of it may be large
            refuse_hostile_hdf5(result, run.result_path)
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
    return covered(found, scan.counts_per_gene[there], None if is_whole else len(scan.cells))


def advised(alignment: GeneAlignment, source: Run) -> GeneAlignment:
    """The same, its report with a word on the encoder where that was not made to be carried over."""
    model, species = source.config.model, alignment.report.species
    is_across = "unknown" not in species and species[0] != species[1]
    if not is_across or model.encoder_input != "hvg" or model.spread_floor >= PORTABLE:
        return alignment
    report = dataclasses.replace(alignment.report, notes=(*alignment.report.notes, NOT_PORTABLE))
    return dataclasses.replace(alignment, report=report)


def source_delta(run: Run, *, result: ad.AnnData | None = None) -> np.ndarray:
    """Delta of the source's cells by the model of a transfer, (n_source, n_topics).

    Parameters
    ----------
    result
        Of the source, if it is loaded already.

    Raises
    ------
    RunError
        If the source is gone, or a file is damaged.
    """
    path = run.source_delta_path
    if not path.is_file():
        return np.asarray((run.source.load_result() if result is None else result).obsm[keys.DELTA])
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise RunError(f"{path.parent.name}/{path.name} of run {run.id} cannot be read ({error}).") from error


def source_theta(run: Run, *, result: ad.AnnData | None = None) -> np.ndarray:
    """Topic mixtures of the source's cells by the model of a transfer, (n_source, n_topics); see `source_delta`."""
    from scipy.special import softmax

    return np.asarray(softmax(source_delta(run, result=result), axis=1))


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
