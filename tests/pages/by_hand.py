"""A finished run made by hand: 60 cells, 30 genes, 6 topics; nothing is trained, so it takes no time."""

from __future__ import annotations

import time

import anndata as ad
import numpy as np

from scetm_core import keys
from scetm_core.config import RunConfig
from scetm_core.data.simulate import simulate
from scetm_core.jobfolder import Status
from scetm_core.runs import Run

N_CELLS, N_GENES, N_TOPICS = 60, 30, 6
DONE = "done-run"
COLUMNS = {"batch_key": "batch", "label_key": "cell_type"}


def planted_data() -> ad.AnnData:
    return simulate(n_cells=N_CELLS, n_genes=N_GENES, n_topics=N_TOPICS, n_emb=4, median_counts=400)


def result_of(data: ad.AnnData, config: RunConfig, *, umap: bool = True) -> ad.AnnData:
    """A result as the worker writes it, with the planted truth for what the model learnt."""
    rng = np.random.default_rng(0)
    delta = np.asarray(data.obsm["true_delta"], dtype=np.float32)
    result = ad.AnnData(obs=data.obs.copy(), var=data.var[[]].copy())
    result.obs[keys.N_COUNTS] = np.asarray(data.X.sum(axis=1), dtype=np.float64).ravel()
    result.obs[keys.LEIDEN] = result.obs["cell_type"].cat.codes.astype(str).astype("category")
    result.obsm[keys.DELTA] = result.obsm[keys.X_SCETM] = delta
    result.obsm[keys.THETA] = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    if umap:
        result.obsm[keys.X_UMAP] = rng.normal(size=(N_CELLS, 2)).astype(np.float32)
    result.varm[keys.BETA] = np.asarray(data.varm["true_beta"], dtype=np.float32)
    result.varm[keys.RHO] = rng.normal(size=(N_GENES, 4)).astype(np.float32)
    result.uns[keys.ALPHA] = rng.normal(size=(N_TOPICS, 4)).astype(np.float32)
    result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), keys.UNS_BATCHES: np.array(["b0", "b1"])}
    return result


def finish(run: Run, result: ad.AnnData) -> None:
    """Leave a run as its worker does at the end."""
    run.append_metrics(
        {"step": step, "epoch": step / 2, "nll": 8 - step / 100, "kl": 5.0, "kl_weight": 1e-7, "test_nll": 8.1,
         "learning_rate": 0.005, "grad_norm": 1.0, "cells_per_second": 900.0, "seconds": step / 9}
        for step in (10, 20, 30)
    )  # fmt: skip
    run.write_result(result)
    run.write_evaluation({"best_ari": 0.944, "best_nmi": 0.9, "kbet": 0.5, "asw": 0.4, "test_nll": 8.123})
    now = time.time()
    run.write_status(
        Status(state="done", stage="done", message="Done.", step=30, max_steps=30, pid=1, host="elsewhere",
               queued_at=now - 140, started_at=now - 130, finished_at=now)
    )  # fmt: skip
