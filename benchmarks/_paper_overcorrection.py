"""Is a cell type that only one batch has kept apart, or blended into others for the sake of mixing?"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._paper_methods import Method, attempt, chosen_methods, data_sets, embed, keep, known
from benchmarks._report import report
from scetm_core.errors import DataError
from scetm_core.evaluation import evaluate_embedding
from scetm_core.metrics import score_ari, score_asw_per_label

SCORES = ("best_ari", "kbet", "asw", "asw of the type", "share in one cluster", "purity of it", "seconds")


def overcorrection(options: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for name, whole in data_sets(options):
        data, batch = in_one_batch_only(
            whole, options.cell_type, batch_key=options.batch_key, label_key=options.label_key, batch=options.keep_batch
        )
        print(f"{name}: {options.cell_type!r} is left in {batch!r} only; {data.n_obs:,} of {whole.n_obs:,} cells")
        for method in chosen_methods(options, ["scetm", "scetm_adv"]):
            for seed in range(options.seeds):
                found = attempt(partial(_scores, data, method, seed=seed, options=options), SCORES)
                rows.append({"data": name, "method": method.label, "seed": seed, **found})
                keep("paper-overcorrection", rows)
    medians = pd.DataFrame(rows).groupby(["data", "method"], sort=False)[list(SCORES)].median().round(3).reset_index()
    medians.insert(0, "run", medians["data"] + ", " + medians["method"])
    report("paper-overcorrection", medians, label="run", value="purity of it")


def in_one_batch_only(
    data: Any, cell_type: str, *, batch_key: str, label_key: str, batch: str | None = None
) -> tuple[Any, str]:
    """The cells without those of a type in all batches but one, and that batch: the one with most of them by default.

    Raises
    ------
    DataError
        If the type, or the batch among its batches, is not there.
    """
    is_type = (data.obs[label_key].astype(object) == cell_type).to_numpy()
    batches = data.obs[batch_key].astype(str).to_numpy()
    if not is_type.any():
        raise DataError(f"No cell is of type {cell_type!r}; found: {sorted(data.obs[label_key].dropna().unique())}.")
    names, sizes = np.unique(batches[is_type], return_counts=True)
    kept = str(names[sizes.argmax()]) if batch is None else batch
    if kept not in names:
        raise DataError(f"Batch {kept!r} has no cell of type {cell_type!r}; found: {list(names)}.")
    return data[~is_type | (batches == kept)].copy(), kept


def fate_of_type(labels: pd.Series, clusters: np.ndarray, cell_type: str) -> tuple[float, float]:
    """Share of a type's cells in the cluster that has most of them, and share of that cluster that is of the type."""
    is_type = (labels.astype(object) == cell_type).to_numpy()
    codes, sizes = np.unique(clusters[is_type], return_counts=True)
    in_cluster = clusters == codes[sizes.argmax()]
    together = (is_type & in_cluster).sum()
    return float(together / is_type.sum()), float(together / in_cluster.sum())


def _scores(data: Any, method: Method, *, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Clusters are those of the resolution with the best ARI, as in the paper."""
    embedded = embed(data, method, seed=seed, batch_key=options.batch_key)
    labels, batches = data.obs[options.label_key], data.obs[options.batch_key]
    found = evaluate_embedding(embedded.embedding, labels=labels, batches=batches, seed=0)
    clusters = max(found.clusters.values(), key=lambda codes: score_ari(labels, codes))
    together, purity = fate_of_type(labels, np.asarray(clusters), options.cell_type)
    width = score_asw_per_label(embedded.embedding, labels)[options.cell_type]
    overall = [known(found.scores[name]) for name in ("best_ari", "kbet", "asw")]
    values = (*overall, float(width), together, purity, embedded.seconds)
    return {name: round(value, 4) for name, value in zip(SCORES, values, strict=True)}
