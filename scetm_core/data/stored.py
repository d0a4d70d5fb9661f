"""What is in an AnnData file? Reads single elements of an open .h5ad or .zarr, never the whole.

Files of others are not trusted: `formats.open_store` has refused links, pickled data and false claims before.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, cast

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.data.bounds import refuse_what_does_not_fit
from scetm_core.data.chunks import packed_vector
from scetm_core.data.hdf5_chunks import measure
from scetm_core.data.matrix import MAX_BLOCK, StoredMatrix, ValueTally
from scetm_core.errors import DataError

X = "X"
MODALITIES = "mod"  # group of a MuData file that holds one AnnData per modality
MAIN_MODALITIES = ("rna", "gex", "gene", "expression")  # names of the one with the genes, by what they contain
_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,25}")


class AnnDataStore:
    """An open AnnData file.

    Parameters
    ----------
    root
        h5py file or zarr group.
    """

    def __init__(self, root: Any) -> None:
        self.whole = root if MODALITIES in root else None
        self.root = _main_of(root) if MODALITIES in root else root
        if "obs" not in self.root or "var" not in self.root:
            raise DataError(f"It holds no AnnData: obs or var is missing; found: {sorted(self.root.keys())}.")

    def sources(self) -> list[str]:
        """Where counts may be: ``"X"``, layer names, ``"raw"``."""
        layers = [str(name) for name in self.root["layers"]] if "layers" in self.root else []
        raw = [keys.RAW] if self._has_raw() and keys.RAW not in layers else []
        return [*([X] if X in self.root else []), *layers, *raw]

    def source(self, layer: str | None) -> str:
        """The source that a `DataConfig.layer` means.

        Raises
        ------
        DataError
            If there is none such.
        """
        wanted, found = layer or X, self.sources()
        if wanted in found:
            return wanted
        others = [name for name in found if name != X]
        if wanted == X:
            raise DataError(f"There is no X. Pick a layer with counts; found: {others}.")
        raise DataError(f"There is no layer {wanted!r}. Pick one that exists, or none for X; found: {found}.")

    def matrix(self, source: str) -> StoredMatrix:
        """The counts of a source, still on disk."""
        return _stored_matrix(self._matrix_node(source))

    def _has_raw(self) -> bool:
        raw = self.root.get("raw")
        return "raw.X" in self.root or (hasattr(raw, "keys") and "X" in raw)

    def _matrix_node(self, source: str) -> Any:
        if source == X and X in self.root:
            return self.root[X]
        if source == keys.RAW and self._has_raw():
            return self.root["raw.X"] if "raw.X" in self.root else self.root["raw"]["X"]
        return self.root["layers"][source]

    def shape(self, source: str) -> tuple[int, int]:
        """(n_cells, n_genes) of a source, from its description alone."""
        return _shape(self._matrix_node(source))

    def obs(self) -> pd.DataFrame:
        """The cell table; of a MuData file with the columns that all modalities share."""
        own = self._frame(self.root, "obs")
        if self.whole is None or "obs" not in self.whole:
            return own
        shared = self._frame(self.whole, "obs")
        return own.join(shared[[column for column in shared if column not in own]])

    def var(self, source: str) -> pd.DataFrame:
        """The gene table that belongs to a source: raw has its own."""
        if source == keys.RAW and self._has_raw():
            return self._frame(self.root, "raw.var") if "raw.var" in self.root else self._frame(self.root["raw"], "var")
        return self._frame(self.root, "var")

    def _frame(self, parent: Any, name: str) -> pd.DataFrame:
        from anndata.io import read_elem

        node = parent[name]
        refuse_what_does_not_fit(node, f"The table {name}")
        if not hasattr(node, "keys"):
            return _frame_of_old_file(node[()], self.root.get("uns", {}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about the age of the file's format
            return cast("pd.DataFrame", read_elem(node))

    def obsm(self) -> list[str]:
        """Names of the embeddings present."""
        node = self.root.get("obsm", {})
        return [str(name) for name in node] if hasattr(node, "keys") else []

    def modalities(self) -> list[str]:
        """What may be a second modality: the others of a MuData file, and slots of obsm that no method has made."""
        others = [] if self.whole is None else list(self.whole[MODALITIES])
        main = _main_modality(others) if others else None
        slots = [name for name in self.obsm() if not name.startswith("X_")]
        return [*(str(name) for name in others if name != main), *slots]

    def colors(self, obs: pd.DataFrame) -> dict[str, dict[str, str]]:
        """Colour per category, for each categorical column that has valid ones in uns."""
        from anndata.io import read_elem

        found: dict[str, dict[str, str]] = {}
        uns = self.root.get("uns", {})
        for column in obs.columns:
            name = f"{column}_colors"
            if not isinstance(obs[column].dtype, pd.CategoricalDtype) or not hasattr(uns, "keys") or name not in uns:
                continue
            measure(uns[name])
            node, categories = uns[name], [str(entry) for entry in obs[column].cat.categories]
            colors = [str(entry) for entry in np.atleast_1d(read_elem(node))] if not hasattr(node, "keys") else []
            if len(colors) >= len(categories) and all(_COLOR.fullmatch(color) for color in colors):
                found[str(column)] = dict(zip(categories, colors, strict=False))
        return found

    def sources_with_counts(self, *, without: str) -> list[str]:
        """Sources whose first values are counts, to suggest one by name."""
        found = []
        for source in self.sources():
            tally = ValueTally()
            if source != without:
                for block in self.matrix(source).blocks(max_values=min(MAX_BLOCK, 200_000)):
                    tally.add(block.values)
                    break
            if tally.n_values and not tally.problem():
                found.append(source)
        return found


def _stored_matrix(node: Any) -> StoredMatrix:
    """View of an h5py or zarr node with counts."""
    shape = _shape(node)
    if not hasattr(node, "keys"):
        measure(node)
        return StoredMatrix(layout="dense", shape=shape, data=node)
    layout = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))[:3]
    if layout not in ("csr", "csc"):
        raise DataError(f"The counts are stored as {layout or 'something unknown'!r}. Save them as CSR, CSC or dense.")
    refuse_what_does_not_fit(node["indptr"], "indptr of the counts")
    return StoredMatrix(
        layout=layout,
        shape=shape,
        data=packed_vector(node["data"]),
        indices=packed_vector(node["indices"]),
        indptr=np.asarray(node["indptr"][:]),
    )


def _main_of(root: Any) -> Any:
    """The AnnData of a MuData file that holds the genes."""
    modalities = root[MODALITIES]
    return modalities[_main_modality(list(modalities))]


def _main_modality(names: list[str]) -> str:
    """The modality of a MuData file that holds the genes, by its name; else the first."""
    ranked = [name for part in MAIN_MODALITIES for name in names if part in name.lower()]
    if not names:
        raise DataError("The MuData file holds no modality. Write it again with the counts of the genes.")
    return (ranked or names)[0]


def _shape(node: Any) -> tuple[int, int]:
    stored = node.attrs.get("shape", node.attrs.get("h5sparse_shape")) if hasattr(node, "keys") else node.shape
    if stored is None or len(stored) != 2:
        raise DataError("The counts are no table of cells and genes. Save them as CSR, CSC or dense.")
    return int(stored[0]), int(stored[1])


def _frame_of_old_file(table: Any, uns: Any) -> pd.DataFrame:
    """Cell or gene table of anndata before 0.7: one compound array, its categories apart in uns."""
    columns = {name: table[name] for name in table.dtype.names or ()}
    if not columns:
        raise DataError("obs or var is no table. Open the file with the version that wrote it and save it again.")
    for name, values in columns.items():
        if values.dtype.kind in "SO":
            columns[name] = np.array([v.decode() if isinstance(v, bytes) else v for v in values], dtype=object)
        if f"{name}_categories" in uns:
            categories = [v.decode() if isinstance(v, bytes) else v for v in uns[f"{name}_categories"][()]]
            columns[name] = pd.Categorical.from_codes(values, categories=pd.Index(categories, dtype=object))
    first = next(name for name in ("index", "_index", *columns) if name in columns)
    return pd.DataFrame(columns).set_index(first)
