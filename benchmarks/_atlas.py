"""A home with one finished run of many simulated cells, made without training: what benchmarks of the pages open."""

from __future__ import annotations

import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.jobfolder import Status
from scetm_core.runs import Run

N_TOPICS, N_TYPES, N_BATCHES = 50, 25, 12
CHUNK = 20_000
NONZERO = 0.07


def make_atlas(home: Path, *, n_cells: int, n_genes: int = 2000, seed: int = 0) -> str:
    """Write the counts and the result of a run into `home`; the id of the run. Kept if it is there already."""
    run_id = f"atlas-{n_cells}"
    folder = home / keys.RUNS_FOLDER / run_id
    if (folder / keys.RESULT_FILE).is_file():
        return run_id
    rng = np.random.default_rng(seed)
    types, batches = rng.integers(N_TYPES, size=n_cells), rng.integers(N_BATCHES, size=n_cells)
    beta = rng.normal(size=(n_genes, N_TOPICS)).astype(np.float32)
    delta = (rng.normal(size=(N_TYPES, N_TOPICS)) * 2)[types] + rng.normal(size=(n_cells, N_TOPICS)) * 0.7
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical.from_codes(batches, [f"donor {i}" for i in range(N_BATCHES)]),
            "cell_type": pd.Categorical.from_codes(types, [f"type {i}" for i in range(N_TYPES)]),
        },
        index=[f"cell-{i:07d}" for i in range(n_cells)],
    )
    genes = pd.DataFrame(index=[f"Gene{i}" for i in range(n_genes)])
    data = home / "data" / f"{run_id}.h5ad"
    data.parent.mkdir(parents=True, exist_ok=True)
    totals = _write_counts(data, obs, genes, rates=_rates(beta, delta, types), rng=rng)
    config = run_config_from_flat(
        {"name": f"{n_cells:,} cells", "path": str(data), "batch_key": "batch", "label_key": "cell_type",
         "n_topics": N_TOPICS}
    )  # fmt: skip
    run = Run.create(folder, config)
    run.write_result(_result(obs, genes, delta=delta.astype(np.float32), beta=beta, types=types, totals=totals,
                             config=config, rng=rng))  # fmt: skip
    now = time.time()
    run.write_status(Status(state="done", stage="done", message="Done.", step=1, max_steps=1, pid=1, host="elsewhere",
                            queued_at=now, started_at=now, finished_at=now))  # fmt: skip
    return run_id


def _rates(beta: np.ndarray, delta: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Probability that a type has a gene, (n_types, n_genes), on average `NONZERO`."""
    means = np.stack([delta[types == t].mean(axis=0) for t in range(N_TYPES)])
    odds = np.exp(0.15 * means @ beta.T)
    return np.clip(NONZERO * odds / odds.mean(), 0.001, 0.9)


def _write_counts(
    path: Path, obs: pd.DataFrame, genes: pd.DataFrame, *, rates: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Counts drawn chunk by chunk into a CSR of an .h5ad; the total of each cell."""
    empty = ad.AnnData(obs=obs, var=genes)
    empty.write_h5ad(path)
    codes, totals, ends = obs["cell_type"].cat.codes.to_numpy(), np.zeros(len(obs)), [np.zeros(1, dtype=np.int64)]
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (len(obs), len(genes))}
        )
        values = group.create_dataset("data", shape=(0,), maxshape=(None,), dtype=np.float32, chunks=(1 << 20,))
        places = group.create_dataset("indices", shape=(0,), maxshape=(None,), dtype=np.int32, chunks=(1 << 20,))
        for low in range(0, len(obs), CHUNK):
            high = min(low + CHUNK, len(obs))
            has = rng.random((high - low, len(genes)), dtype=np.float32) < rates[codes[low:high]].astype(np.float32)
            cells, found = np.nonzero(has)
            counts = 1 + rng.poisson(0.6, size=len(found))
            totals[low:high] = np.bincount(cells, counts, high - low)
            start = values.shape[0]
            for dataset, written in ((values, counts), (places, found)):
                dataset.resize((start + len(found),))
                dataset[start:] = written
            ends.append(start + np.cumsum(has.sum(axis=1)))
        group.create_dataset("indptr", data=np.concatenate(ends))
    return totals


def _result(
    obs: pd.DataFrame, genes: pd.DataFrame, *, delta: np.ndarray, beta: np.ndarray, types: np.ndarray,
    totals: np.ndarray, config: RunConfig, rng: np.random.Generator,
) -> ad.AnnData:  # fmt: skip
    """A result as the worker writes it: types are clouds on the map."""
    result = ad.AnnData(obs=obs.copy(), var=genes)
    result.obs[keys.N_COUNTS] = totals
    result.obs[keys.LEIDEN] = pd.Categorical(types.astype(str))
    result.obsm[keys.DELTA] = result.obsm[keys.X_SCETM] = delta
    weights = np.exp(delta - delta.max(axis=1, keepdims=True))
    result.obsm[keys.THETA] = weights / weights.sum(axis=1, keepdims=True)
    centres, stretch = rng.uniform(-14, 14, size=(N_TYPES, 2)), rng.normal(size=(N_TYPES, 2, 2))
    noise = rng.normal(size=(len(obs), 2))
    places = centres[types] + np.einsum("nij,nj->ni", stretch[types], noise)
    result.obsm[keys.X_UMAP] = places.astype(np.float32)
    result.varm[keys.BETA] = beta
    result.varm[keys.RHO] = rng.normal(size=(len(genes), 16)).astype(np.float32)
    result.uns[keys.ALPHA] = rng.normal(size=(N_TOPICS, 16)).astype(np.float32)
    result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), keys.UNS_BATCHES: np.array(obs["batch"].cat.categories)}
    return result
