"""How is a result opened for looking at, when it may hold a million cells? Numbers per cell stay on disk, mapped.

`anndata` writes the arrays of obsm in one piece, so that they can be mapped into memory from the file as it is: a
column is read when it is asked for, and the system forgets it when memory is short.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core import keys
from scetm_core.data.bounds import refuse_hostile_hdf5
from scetm_core.errors import RunError

if TYPE_CHECKING:
    import anndata as ad


def load_result(path: Path) -> ad.AnnData:
    """Read `result.h5ad` whole.

    Raises
    ------
    RunError
        If it is damaged.
    """
    import anndata as ad

    with _looked_through(path):
        return ad.read_h5ad(path)


def open_result(path: Path) -> ad.AnnData:
    """Read `result.h5ad` with obsm mapped from the file.

    Returns
    -------
    AnnData without X, as the worker wrote it. Arrays of obsm that are compressed or in chunks are read whole;
    `X_scetm` is `delta` where the worker wrote both.

    Raises
    ------
    RunError
        If it is damaged.
    """
    import anndata as ad
    from anndata.io import read_elem

    with _looked_through(path) as file:
        parts = {name: read_elem(file[name]) for name in ("obs", "var", "varm", "uns") if name in file}
        obsm = {name: _mapped(path, node) for name, node in file.get("obsm", {}).items() if name != keys.X_SCETM}
        if keys.X_SCETM in file.get("obsm", {}):
            obsm[keys.X_SCETM] = obsm.get(keys.DELTA, _mapped(path, file["obsm"][keys.X_SCETM]))
        return ad.AnnData(**parts, obsm=obsm)


@contextlib.contextmanager
def _looked_through(path: Path) -> Iterator[Any]:
    """The open file, which points nowhere else and claims no more than it holds; what goes wrong is a RunError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            refuse_hostile_hdf5(file, path)
            yield file
    except Exception as error:  # anndata and h5py raise many kinds for a damaged file
        raise RunError(f"{path.name} of run {path.parent.name} cannot be read ({error}).") from error


def _mapped(path: Path, node: Any) -> Any:
    """An array of the file: mapped where it lies there in one piece, else read."""
    import h5py
    from anndata.io import read_elem

    if not isinstance(node, h5py.Dataset) or node.chunks is not None or node.external or node.is_virtual:
        return read_elem(node)
    offset = node.id.get_offset()  # None while nothing is stored
    if offset is None or not node.size or node.dtype.kind not in "fiu":
        return read_elem(node)
    return np.asarray(np.memmap(path, dtype=node.dtype, mode="r", offset=offset, shape=node.shape))
