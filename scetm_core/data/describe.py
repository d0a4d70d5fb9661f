"""What is in a file? Sizes, places of counts and columns, read without its counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scetm_core.config import DataConfig
from scetm_core.data import stored
from scetm_core.data.bounds import plain_path
from scetm_core.data.columns import BATCH_NAMES, LABEL_NAMES, suggest
from scetm_core.data.formats import is_anndata, open_input, open_store, readable

_N_TOP = 8


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """One column of the cell table.

    Attributes
    ----------
    kind
        ``"category"``, ``"text"``, ``"number"`` or ``"boolean"``.
    top
        The most frequent values with their numbers of cells, at most eight.
    """

    name: str
    kind: str
    n_unique: int
    n_missing: int
    top: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What is in a file.

    Attributes
    ----------
    sources
        Places where counts may be: ``"X"``, names of layers, ``"raw"``.
    modalities
        What may be a second modality of the same cells.
    suggested_batch_keys, suggested_label_keys
        Columns whose names suggest that meaning, best first.
    """

    path: Path
    n_cells: int
    n_genes: int
    sources: tuple[str, ...]
    columns: tuple[ColumnSummary, ...]
    obsm: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    suggested_batch_keys: tuple[str, ...] = ()
    suggested_label_keys: tuple[str, ...] = ()


def describe_dataset(path: Path) -> DatasetSummary:
    """Sizes, sources and columns of an input.

    Of .h5ad and .zarr only shapes and the cell table are read; smaller formats are read whole.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = plain_path(path)
    if is_anndata(path):
        with readable(path), open_store(path) as root:
            store = stored.AnnDataStore(root)
            sources = store.sources()
            n_genes = store.shape(sources[0])[1] if sources else len(store.var(stored.X))
            summary = _summary(path, store.obs(), n_genes, tuple(sources), tuple(store.obsm()))
            return dataclasses.replace(summary, modalities=tuple(store.modalities()))
    with open_input(DataConfig(path=str(path))) as source:
        return _summary(path, source.obs, source.matrix.shape[1], source.sources, ())


def _summary(
    path: Path, obs: pd.DataFrame, n_genes: int, sources: tuple[str, ...], obsm: tuple[str, ...]
) -> DatasetSummary:
    return DatasetSummary(
        path=path,
        n_cells=len(obs),
        n_genes=n_genes,
        sources=sources,
        columns=tuple(summarise_column(obs.iloc[:, position]) for position in range(obs.shape[1])),
        obsm=obsm,
        suggested_batch_keys=tuple(suggest(obs, BATCH_NAMES)),
        suggested_label_keys=tuple(suggest(obs, LABEL_NAMES)),
    )


def summarise_column(column: pd.Series[Any]) -> ColumnSummary:
    """Kind, number of values and the most frequent ones of a column."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kind = "category"
    elif pd.api.types.is_bool_dtype(column.dtype):
        kind = "boolean"
    else:
        kind = "number" if pd.api.types.is_numeric_dtype(column.dtype) else "text"
    values = column.value_counts()
    values = values[values > 0]
    return ColumnSummary(
        name=str(column.name),
        kind=kind,
        n_unique=len(values),
        n_missing=int(column.isna().sum()),
        top=tuple((str(value), int(n)) for value, n in values.head(_N_TOP).items()),
    )
