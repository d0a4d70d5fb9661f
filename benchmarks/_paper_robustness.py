"""How much does the result of Standard depend on each hyperparameter, varied one at a time?"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._paper_methods import data_sets, keep, known, standard
from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.evaluation import evaluate_embedding

VALUES: Mapping[str, tuple[float, ...]] = {  # Standard's own is measured once and counts for each
    "n_topics": (10, 25, 100),
    "n_emb": (25, 50, 400),
    "n_hidden": (32, 64, 256),
    "learning_rate": (0.001, 0.002, 0.02),
    "minibatch_size": (128, 256, 1024),
    "mmd_weight": (0.0, 1.0, 16.0),
    "anchor_weight": (0.0, 0.05, 1.0),
    "n_variable_genes": (1000, 2000, 5000),
}
SCORES = ("best_ari", "kbet", "test_nll", "seconds")
STANDARD = "Standard"


def robustness(options: argparse.Namespace) -> None:
    settings = [(STANDARD, np.nan), *((name, value) for name, values in VALUES.items() for value in values)]
    rows: list[dict[str, Any]] = []
    for data_name, data in data_sets(options):
        for name, value in settings:
            changes = {} if name == STANDARD else {name: value}
            for seed in range(options.seeds):
                scores = scored_run(data, {**standard(options), **changes}, seed=seed, options=options)
                rows.append({"data": data_name, "setting": name, "value": value, "seed": seed, **scores})
                keep("paper-robustness", rows)
    by = ["data", "setting", "value"]
    medians = pd.DataFrame(rows).groupby(by, sort=False, dropna=False)[list(SCORES)].median().reset_index()
    medians.insert(0, "run", medians["setting"] + " " + medians["value"].map("{:g}".format).replace("nan", ""))
    report("paper-robustness", medians.round(3), label="run", value="best_ari")
    report("paper-robustness-ranges", ranges(medians), label="setting", value="best_ari spread")


def scored_run(data: Any, settings: Mapping[str, Any], *, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Scores of scETM, trained in this process: the held-out NLL does not leave another one."""
    from scetm_core.build import build_model
    from scetm_core.model.cells import cells_to_embed
    from scetm_core.model.passes import mean_delta
    from scetm_core.model.scetm import resolve_device
    from scetm_core.train import fit

    config = run_config_from_flat({"seed": seed, "batch_key": options.batch_key, **settings})
    started = time.monotonic()
    model = build_model(data, config, device=resolve_device(config.train.device))
    with contextlib.closing(fit(model, data, config.train, batch_key=options.batch_key)) as records:
        nll = [record.test_nll for record in records][-1]
    delta = mean_delta(model, cells_to_embed(data, model, batch_key=options.batch_key))
    seconds = time.monotonic() - started
    labels, batches = data.obs[options.label_key], data.obs[options.batch_key]
    found = evaluate_embedding(delta, labels=labels, batches=batches, seed=0).scores
    values = (known(found["best_ari"]), known(found["kbet"]), nll, seconds)
    return {name: round(value, 4) for name, value in zip(SCORES, values, strict=True)}


def ranges(medians: pd.DataFrame) -> pd.DataFrame:
    """Least and largest score over the values of each setting, Standard's own among them; and how far they are apart.

    Parameters
    ----------
    medians
        `data`, `setting`, and `SCORES`; one row per value, one of Standard per data set.
    """
    rows = []
    for (data, setting), group in medians.groupby(["data", "setting"], sort=False):
        if setting == STANDARD:
            continue
        own = medians[(medians["data"] == data) & (medians["setting"] == STANDARD)]
        scores = pd.concat([own, group])[list(SCORES[:3])]
        row: dict[str, Any] = {"data": data, "setting": setting}
        for name in SCORES[:3]:
            low, high = scores[name].min(), scores[name].max()
            row |= {name: f"{low:.3f} to {high:.3f}", f"{name} spread": round(high - low, 3)}
        rows.append(row)
    return pd.DataFrame(rows)
