"""How fast, and in how much memory, is training on counts that stay on disk?

Writes an .h5ad or .zarr of made-up counts (some thousand random cells, repeated in random order) a few thousand cells
at a time, then reads, starts, trains, measures held-out cells, embeds and writes the result with the Standard preset:
once from disk, and once in memory with as many cells as fit easily. Each run is a process of its own, so that its peak
memory is its own. A million cells need 11 GB of disk without compression:

    python -m benchmarks.out_of_core --cells 1000000 --format zarr --folder /big/disk

`--write-only` makes the file and ends, so that a later run, on a quiet machine, finds it there.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.data import load_dataset
from scetm_core.presets import PRESETS

N_DISTINCT = 3000  # cells that are drawn; the others repeat them
N_BATCHES = 8
CELLS_AT_ONCE = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--cells-in-memory", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.07)
    parser.add_argument("--format", default="h5ad", choices=("h5ad", "zarr"))
    parser.add_argument(
        "--compression", choices=("none", "default", "lzf", "gzip"), help="zarr: none or its default; h5ad: the others"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the files are written, and reused if they are there")
    parser.add_argument("--write-only", action="store_true", help="make the file on disk, measure nothing")
    parser.add_argument("--measure", nargs=2, metavar=("PATH", "MEMORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), options.measure[1], n_steps=options.steps)))
        return
    compression = options.compression or ("default" if options.format == "zarr" else "none")
    if compression not in {"zarr": ("none", "default"), "h5ad": ("none", "lzf", "gzip")}[options.format]:
        parser.error(f"An .{options.format} is not written with the compression {compression!r}.")
    make = functools.partial(written, density=options.density, format=options.format, compression=compression)
    if options.write_only:
        print(make(options.folder or Path(), options.cells, options.genes))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        rows = []
        for memory, n_cells in (("in memory", options.cells_in_memory), ("on disk", options.cells)):
            path = make(folder, n_cells, options.genes)
            rows.append(_in_own_process(path, memory, n_steps=options.steps))
            print(rows[-1], flush=True)
    report("out_of_core", pd.DataFrame(rows), label="counts", value="cells/s")


def written(folder: Path, n_cells: int, n_genes: int, *, density: float, format: str, compression: str) -> Path:
    """A file of made-up counts, laid out as anndata writes them; the one that is there, if any."""
    path = folder / f"{n_cells}x{n_genes}-{density:g}-{compression}.{format}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    distinct = _distinct_cells(n_genes, density, rng=rng)
    chosen = rng.integers(distinct.shape[0], size=n_cells)
    indptr = np.concatenate([[0], np.cumsum(np.diff(distinct.indptr)[chosen], dtype=np.int64)])
    obs = pd.DataFrame(
        {"batch": pd.Categorical([f"batch {code}" for code in rng.integers(N_BATCHES, size=n_cells)])},
        index=[f"cell{number}" for number in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"gene{number}" for number in range(n_genes)])
    begun = path.with_suffix(".begun")
    empty = ad.AnnData(X=sp.csr_matrix((n_cells, n_genes), dtype=np.float32), obs=obs, var=var)
    with _store_of(empty, begun, format=format) as root:
        group = root["X"]
        for name, dtype in (("data", np.float32), ("indices", np.int32)):
            del group[name]
            if format == "zarr":
                kept = {} if compression == "default" else {"compressors": None}
                group.create_array(name, shape=(int(indptr[-1]),), dtype=dtype, **kept)
            else:
                kept = None if compression == "none" else compression
                group.create_dataset(name, (indptr[-1],), dtype, maxshape=(None,), compression=kept)
        group["indptr"][...] = indptr
        for first in range(0, n_cells, CELLS_AT_ONCE):
            cells = distinct[chosen[first : first + CELLS_AT_ONCE]]
            place = slice(int(indptr[first]), int(indptr[min(first + CELLS_AT_ONCE, n_cells)]))
            group["data"][place], group["indices"][place] = cells.data, cells.indices
    return begun.rename(path)


@contextlib.contextmanager
def _store_of(data: ad.AnnData, path: Path, *, format: str) -> Iterator[Any]:
    """The data written to a new file, which is open for changes."""
    data.X.indptr = data.X.indptr.astype(np.int64)  # as scipy has them where there are this many values
    if format == "zarr":
        import zarr

        shutil.rmtree(path, ignore_errors=True)
        with ad.settings.override(zarr_write_format=3):
            data.write_zarr(path)
        yield zarr.open_group(str(path), mode="r+", use_consolidated=False)
        zarr.consolidate_metadata(str(path), zarr_format=3)
        return
    data.write_h5ad(path)
    with h5py.File(path, "r+") as root:
        yield root


def _distinct_cells(n_genes: int, density: float, *, rng: np.random.Generator) -> sp.csr_matrix:
    """Poisson counts of gamma rates, twenty kinds of cells."""
    level = rng.gamma(0.3, size=n_genes) * rng.lognormal(sigma=1.0, size=(20, n_genes))
    low, high = 1e-6, 1e6
    for _ in range(60):  # scale the rates until the share of counts above 0 is as asked
        scale = np.sqrt(low * high)
        low, high = (scale, high) if (1 - np.exp(-scale * level)).mean() < density else (low, scale)
    kinds = rng.integers(20, size=N_DISTINCT)
    return sp.vstack([sp.csr_matrix(rng.poisson(scale * level[kind]).astype(np.float32)) for kind in kinds]).tocsr()


def _in_own_process(path: Path, memory: str, *, n_steps: int) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.out_of_core", "--measure", str(path), memory, "--steps", str(n_steps)]
    as_the_worker = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=as_the_worker)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(path: Path, memory: str, *, n_steps: int) -> dict[str, object]:
    """Seconds of each stage, cells per second of training, and peak memory of this process up to the end of each stage.

    The rate is that of all steps but the first ten, waits for a buffer included: let there be several buffers' worth.
    """
    import torch

    from scetm_core.build import build_model
    from scetm_core.infer import infer
    from scetm_core.model.cells import prepare_cells
    from scetm_core.model.passes import nll_per_cell
    from scetm_core.trainer import Trainer

    settings = {"path": str(path), "batch_key": "batch", "memory": memory}
    changes = {"max_steps": n_steps, "report_every": 10, "evaluate_every": 10_000, "device": "cpu"}
    config = run_config_from_flat({**PRESETS["standard"].values, **settings, **changes})
    seconds, peaks, started = {}, {}, time.perf_counter()

    def note(stage: str) -> None:
        nonlocal started
        seconds[f"{stage}, s"], started = round(time.perf_counter() - started, 1), time.perf_counter()
        print(stage, seconds[f"{stage}, s"], file=sys.stderr, flush=True)
        peaks[f"peak until {stage}, GB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)

    data = load_dataset(config.data)
    note("read")
    model = build_model(data, config, device=torch.device("cpu"))
    cells = prepare_cells(data, model, batch_key="batch")
    trainer = Trainer(model, cells, config.train)
    trainer.initialise()
    note("start")
    rates = []
    while trainer.step < n_steps - 10:  # the last report measures the held-out cells too
        rates.append(trainer.advance().cells_per_second)
    trainer.close()
    note("train")
    held_out = nll_per_cell(model, trainer.test)
    note("held out")
    result = infer(model, data, config)
    note("embed")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        result.write_h5ad(Path(folder) / "result.h5ad")
    note("write")
    return {
        "counts": memory,
        "format": path.suffix[1:],
        "compression": path.stem.rpartition("-")[2],
        "cells": len(cells),
        "file, GB": round(sum(part.stat().st_size for part in [path, *path.rglob("*")]) / 1e9, 2),
        "cells/s": round(len(rates[1:]) / sum(1 / rate for rate in rates[1:])),
        **seconds,
        "held-out NLL": round(float(held_out.mean()), 4),
        **peaks,
    }


if __name__ == "__main__":
    main()
