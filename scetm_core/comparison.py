"""How do other methods do on the same cells? Each in a process of its own, scored as our runs are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.config import RunConfig
from scetm_core.embedding import nearest, neighbor_graph, umap_layout
from scetm_core.errors import DataError
from scetm_core.evaluation import evaluate_embedding
from scetm_core.metrics.matching import Matching, match_topics
from scetm_core.peers import BATCH, PEERS, PROGRESS_SUFFIX
from scetm_core.settings import settings_of

if TYPE_CHECKING:
    import anndata as ad

LOOK_SECONDS = 0.2
N_LINES_SAID = 3
SLOT = "obsm:"
"""Begins the name of a method that is a slot of the input's obsm: "obsm:X_seurat"."""
COSTS = ("seconds", "peak_memory_mb")
UMAP_COLUMNS = ["umap_1", "umap_2"]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What a method made of the cells: (n_cells, n_dimensions), and what it took.

    `seconds` are those of the method alone, without starting Python and reading the counts; `peak_memory_mb` is of its
    whole process. Both are not-a-number where the embedding was there already.
    """

    embedding: np.ndarray
    seconds: float = np.nan
    peak_memory_mb: float = np.nan


def counts_for_peers(data: Any, *, batch_key: str | None) -> ad.AnnData:
    """Counts, gene names and batches of a loaded data set: all that a method is given.

    Raises
    ------
    DataError
        If the counts stay on disk, which the other methods cannot work with.
    """
    import anndata as ad
    from scipy import sparse

    if not sparse.issparse(data.X):
        raise DataError(
            "The counts of this run stay on disk. Other methods need them in memory: compare on a sample of the cells."
        )
    obs = pd.DataFrame(index=data.obs_names)
    if batch_key:
        if data.obs[batch_key].isna().any():
            raise DataError(f"Some cells have no {batch_key!r}. Other methods need the batch of every cell.")
        obs[BATCH] = pd.Categorical(data.obs[batch_key].astype(str))
    return ad.AnnData(X=data.X, obs=obs, var=pd.DataFrame(index=data.var_names))


def run_peer(
    method: str,
    counts: Path,
    *,
    seed: int,
    on_progress: Callable[[float], None],
    settings: Mapping[str, Any] | None = None,
) -> Embedded:
    """Embed the cells of a file by another method, in a process of its own.

    Parameters
    ----------
    method
        A key of `peers.PEERS`.
    counts
        .h5ad written from `counts_for_peers`.
    on_progress
        Told the share done, several times a second; what it raises ends the process.
    settings
        Of scETM, by flat names; None for the preset Standard.

    Raises
    ------
    DataError
        If the method's package is missing, or the method fails; the text ends with what it said last.
    """
    peer = PEERS[method]
    if missing := peer.missing:
        raise DataError(
            f"{peer.label} needs {', '.join(missing)}, which is not installed. Install the methods to compare with: "
            "make compare, or pip install -r requirements-compare.txt"
        )
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder) / "out.npz", Path(folder) / "said.txt"
        command = [sys.executable, "-m", "scetm_core.peers", method, str(counts), str(out), "--seed", str(seed)]
        if settings is not None:
            command += ["--settings", json.dumps(dict(settings))]
        started = time.monotonic()
        _watch(command, said, Path(f"{out}{PROGRESS_SUFFIX}"), on_progress)
        if not out.is_file():
            words = " ".join(said.read_text(errors="replace").strip().splitlines()[-N_LINES_SAID:])
            raise DataError(f"{peer.label} failed after {time.monotonic() - started:.0f} s: {words[-400:]}")
        with np.load(out, allow_pickle=False) as arrays:
            embedding, costs = arrays["embedding"], {name: float(arrays[name]) for name in COSTS}
    if not np.isfinite(embedding).all():
        raise DataError(f"{peer.label} gave values that are not finite. It cannot be scored.")
    return Embedded(embedding=embedding, **costs)


def _watch(command: Sequence[str], said: Path, progress: Path, on_progress: Callable[[float], None]) -> None:
    """Run a command to its end; if `on_progress` raises, end it at once."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "MPLBACKEND": "Agg"}
    root = Path(__file__).parent.parent
    with said.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=root, env=environment
        )
        try:
            while process.poll() is None:
                on_progress(_share_in(progress))
                time.sleep(LOOK_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()


def _share_in(progress: Path) -> float:
    try:
        return float(progress.read_text())
    except (OSError, ValueError):  # not begun, or just being written
        return 0.0


def scored_table(
    embedded: Embedded,
    cells: pd.Index,
    *,
    labels: pd.Series | None,
    batches: pd.Series | None,
    seed: int,
    umap: bool = True,
) -> pd.DataFrame:
    """An embedding as a table, with its scores in `attrs["scores"]`.

    Parameters
    ----------
    cells
        Their names, in the order of the embedding.

    Returns
    -------
    Cells x dimensions ("dim_0", ...), and `UMAP_COLUMNS` with `umap`. `attrs["scores"]` as of `metrics.evaluate`, with
    `seconds` and `peak_memory_mb`; None for what is not known.
    """
    points = embedded.embedding
    evaluated = evaluate_embedding(points, labels=labels, batches=batches, seed=seed)
    table = pd.DataFrame(points, index=cells, columns=[f"dim_{i}" for i in range(points.shape[1])])
    if umap:
        layout = umap_layout(points, neighbor_graph(nearest(evaluated.neighbors)), seed=seed)
        table[UMAP_COLUMNS] = layout
    costs = {"seconds": embedded.seconds, "peak_memory_mb": embedded.peak_memory_mb}
    known = {name: None if value is None or not np.isfinite(value) else float(value)
             for name, value in {**evaluated.scores, **costs}.items()}  # fmt: skip
    table.attrs["scores"] = known
    return table


def embedding_in_input(path: Path, slot: str, cells: pd.Index) -> np.ndarray:
    """A slot of the input's obsm for some of its cells, (n_cells, n_dimensions).

    Raises
    ------
    DataError
        If the input holds no such table, or lacks some cells.
    """
    from anndata.io import read_elem

    from scetm_core.data.formats import open_store, readable
    from scetm_core.data.hdf5_chunks import measure
    from scetm_core.data.names import unique_names
    from scetm_core.data.stored import AnnDataStore

    with readable(path), open_store(path) as root:
        found = embeddings_in_input(path)
        if slot not in found:
            raise DataError(f"{path.name} has no embedding {slot!r} in obsm; found: {found}.")
        measure(root["obsm"][slot])
        values = np.asarray(read_elem(root["obsm"][slot]), dtype=np.float32)
        names, _ = unique_names(AnnDataStore(root).obs().index)
    places = pd.Index(names).get_indexer(cells)
    if (places < 0).any():
        raise DataError(f"{path.name} lacks {int((places < 0).sum()):,} of the run's cells. Has it changed?")
    return np.asarray(values[places])


def embeddings_in_input(path: Path) -> list[str]:
    """Slots of the input's obsm that hold a table of numbers with at least two columns; none for other formats."""
    from scetm_core.data.formats import open_store, readable
    from scetm_core.data.stored import AnnDataStore

    if path.suffix.lower() not in (".h5ad", ".zarr"):
        return []
    with readable(path), open_store(path) as root:
        slots = {name: root["obsm"][name] for name in AnnDataStore(root).obsm()}
        return sorted(
            name for name, node in slots.items()
            if hasattr(node, "shape") and len(node.shape) == 2 and node.shape[1] >= 2 and node.dtype.kind in "fiu"
        )  # fmt: skip


def label_of(method: str) -> str:
    """A method as tables and figures name it."""
    if method.startswith(SLOT):
        return f"{method.removeprefix(SLOT)} (in the input)"
    return PEERS[method].label


def table_name_of(method: str, seed: int) -> str:
    """Name of the table of a method with a seed, see `runs.table_path`."""
    return f"{method.replace(':', ' ')} seed {seed}"


def match_runs(first: ad.AnnData, second: ad.AnnData) -> Matching:
    """Which topic of one result is which of another, by their genes; see `metrics.matching.match_topics`.

    Raises
    ------
    DataError
        If they share too few genes.
    """
    betas = [
        pd.DataFrame(
            np.asarray(result.varm[keys.BETA]),
            index=result.var_names.astype(str),
            columns=[keys.topic_name(topic) for topic in range(result.varm[keys.BETA].shape[1])],
        )
        for result in (first, second)
    ]
    return match_topics(*betas)


def settings_that_differ(first: RunConfig, second: RunConfig) -> pd.DataFrame:
    """The settings in which two runs differ: `setting` (its label), `first`, `second`, as text."""
    rows = []
    parts = ((first, second), (first.data, second.data), (first.model, second.model), (first.train, second.train))
    for one, other in parts:
        for entry in settings_of(type(one)):
            values = [getattr(config, entry.name) for config in (one, other)]
            if values[0] != values[1] and entry.name != "name":
                rows.append((entry.setting.label, *("" if value is None else str(value) for value in values)))
    return pd.DataFrame(rows, columns=["setting", "first", "second"])
