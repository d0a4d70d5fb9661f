"""Which kind of input is it? Opens any readable one as an `OpenInput`; only `DataError` comes out of bad files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from scetm_core.config import DataConfig
from scetm_core.data import stored, table, tenx
from scetm_core.data.bounds import plain_path, refuse_hostile_hdf5, refuse_hostile_zarr
from scetm_core.data.matrix import StoredMatrix
from scetm_core.errors import DataError

HDF5_ENDINGS = (".h5ad", ".h5mu", ".h5")
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
MTX_ENDINGS = (".mtx", ".mtx.gz")
READABLE = ".h5ad, .h5mu, .zarr, 10x .h5, a 10x folder with matrix.mtx, .csv, .tsv, .txt (also .gz)"
_ZARR_MARKS = (".zgroup", ".zattrs", "zarr.json")


@dataclass(frozen=True, kw_only=True)
class OpenInput:
    """An input while it is open: small tables in memory, counts wherever they are.

    Attributes
    ----------
    obs, var
        Cell and gene tables, their names as stored (not yet unique).
    source, sources
        Where the counts were taken from (``"X"``, a layer's name or ``"raw"``), and where else there may be some.
    messages
        What the reader left out.
    colors
        Per categorical column of obs: category -> colour.
    sources_with_counts
        Looks into the other sources and names those that hold counts.
    """

    path: Path
    matrix: StoredMatrix
    obs: pd.DataFrame
    var: pd.DataFrame
    source: str = stored.X
    sources: tuple[str, ...] = (stored.X,)
    messages: tuple[str, ...] = ()
    colors: dict[str, dict[str, str]] = field(default_factory=dict)
    sources_with_counts: Callable[[], list[str]] = list

    @property
    def place(self) -> str:
        """The source as error texts call it."""
        return self.source if self.source in (stored.X, "raw") else f"Layer {self.source!r}"


def kind_of(path: Path) -> str:
    """``"hdf5"``, ``"zarr"``, ``"mtx"`` or ``"table"``.

    Raises
    ------
    DataError
        If there is nothing at `path`, or nothing readable.
    """
    path = plain_path(path)
    name = path.name.lower()
    if not path.exists():
        raise DataError(f"There is no file at {path}. Check the path.")
    if path.is_dir():
        if any((path / mark).is_file() for mark in _ZARR_MARKS):
            return "zarr"
        if tenx.matrix_file(path):
            return "mtx"
        raise DataError(
            f"The folder {path} is neither a .zarr nor a 10x output with one matrix.mtx. Pick an input file."
        )
    if not path.is_file():
        raise DataError(f"{path} is no plain file. Pick an input file.")
    for kind, endings in (("hdf5", HDF5_ENDINGS), ("table", TABLE_ENDINGS), ("mtx", MTX_ENDINGS)):
        if name.endswith(endings):
            return kind
    raise DataError(f"{path.name} has an ending that cannot be read. Readable: {READABLE}.")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever the libraries raise over a damaged file into a `DataError` that names it."""
    try:
        yield
    except DataError as error:
        error.args = (str(error) if str(path) in str(error) or path.name in str(error) else f"{path.name}: {error}",)
        raise
    except MemoryError as error:
        raise DataError(
            f"{path} does not fit into memory, or is damaged. Use a larger machine, or fewer cells."
        ) from error
    except Exception as error:  # h5py, zarr, anndata, pandas and gzip raise many kinds for a damaged file
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read: it is damaged, cut short or not what its ending says ({detail}). "
            "Copy or download it again, or save it anew."
        ) from error


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """Open an HDF5 file or zarr folder for reading.

    Raises
    ------
    DataError
        If the file is no HDF5 at all (a renamed text file, say), points outside itself, claims far more than it can
        hold, or a zarr holds pickled data.
    """
    if kind_of(path) == "zarr":
        import zarr

        refuse_hostile_zarr(path)
        yield zarr.open_group(str(path), mode="r", use_consolidated=False)
        return
    import h5py

    if not h5py.is_hdf5(path):
        raise DataError(
            f"{path} is not an HDF5 file, whatever its ending says. Save it as .h5ad from AnnData, or rename it."
        )
    with h5py.File(path, "r") as root:
        refuse_hostile_hdf5(root, path, counts_later=True)
        yield root


@contextlib.contextmanager
def open_input(config: DataConfig) -> Iterator[OpenInput]:
    """Open the input of `config` with the counts it names.

    Raises
    ------
    DataError
        If it cannot be read, holds no such counts, or contradicts itself. Errors raised in the body are told likewise.
    """
    path = plain_path(config.path)
    kind = kind_of(path)
    with readable(path):
        if kind in ("hdf5", "zarr"):
            with open_store(path) as root:
                is_anndata = "obs" in root or stored.MODALITIES in root
                is_tenx = kind == "hdf5" and not is_anndata and tenx.is_tenx_h5(root)
                yield _fitting(
                    _of_tenx(path, tenx.read_tenx_h5(root), config) if is_tenx else _of_store(path, root, config)
                )
        elif kind == "mtx":
            yield _fitting(_of_tenx(path, tenx.read_tenx_mtx(path if path.is_dir() else path.parent), config))
        else:
            named = (config.batch_key, config.label_key, *config.extra_batch_keys, *config.numeric_keys)
            chosen = [key for key in named if key]
            yield _fitting(_of_tenx(path, table.read_table(path, obs_columns=chosen), config))


def is_anndata(path: Path) -> bool:
    """Whether an input is an AnnData file, of which single elements can be read.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if kind_of(path) not in ("hdf5", "zarr"):
        return False
    with readable(path), open_store(path) as root:
        return "obs" in root or stored.MODALITIES in root or not tenx.is_tenx_h5(root)


@contextlib.contextmanager
def open_counts(config: DataConfig) -> Iterator[StoredMatrix]:
    """Only the counts of an AnnData file, without its tables.

    Raises
    ------
    DataError
        If it cannot be read, or holds no such counts.
    """
    path = plain_path(config.path)
    with readable(path), open_store(path) as root:
        store = stored.AnnDataStore(root)
        yield store.matrix(store.source(config.layer))


def _of_store(path: Path, root: Any, config: DataConfig) -> OpenInput:
    store = stored.AnnDataStore(root)
    source = store.source(config.layer)
    obs = store.obs()
    return OpenInput(
        path=path,
        matrix=store.matrix(source),
        obs=obs,
        var=store.var(source),
        source=source,
        sources=tuple(store.sources()),
        colors=store.colors(obs),
        sources_with_counts=lambda: store.sources_with_counts(without=source),
    )


def _of_tenx(path: Path, found: tenx.TenxTable | table.TextTable, config: DataConfig) -> OpenInput:
    if (config.layer or stored.X) != stored.X:
        raise DataError(
            f"There is no layer {config.layer!r}: {path.name} holds one table of counts. Leave the layer empty."
        )
    return OpenInput(path=path, matrix=found.matrix(), obs=found.obs, var=found.var, messages=tuple(found.messages))


def _fitting(source: OpenInput) -> OpenInput:
    """The same, refused if tables and counts differ in size."""
    if (len(source.obs), len(source.var)) != source.matrix.shape:
        raise DataError(
            f"The counts are {source.matrix.shape}, but obs has {len(source.obs):,} cells and var {len(source.var):,} "
            "genes. The file is damaged; write or download it again."
        )
    return source
