"""How do time, memory and quality grow with the number of cells?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import _report
from benchmarks._paper_methods import FAILED, Method, attempt, chosen_methods, data_sets, embed, keep, known
from scetm_core.data.simulate import simulate
from scetm_core.errors import DataError
from scetm_core.evaluation import evaluate_embedding

PANELS = {"seconds": "time, s", "peak_memory_mb": "peak memory, MB", "best_ari": "best ARI"}
N_SIMULATED_GENES, N_SIMULATED_BATCHES = 3000, 5
MAX_SCORED = 20_000  # cells the ARI is measured on, drawn at random
TOO_LONG = "Not done after"  # begins what is said of a method past its limit


class OutOfTimeError(DataError):
    """The method was ended at its time limit."""


def scalability(options: argparse.Namespace) -> None:
    methods, too_slow = chosen_methods(options, ["scetm"]), set[str]()
    rows: list[dict[str, Any]] = []
    for n_cells in sorted(options.cells):
        data, source = some_cells(n_cells, options)
        batch_key, label_key = (
            ("batch", "cell_type") if source == "simulated" else (options.batch_key, options.label_key)
        )
        for method in methods:
            if method.label in too_slow:
                print(f"{method.label} is not run on {n_cells:,} cells: it passed the limit on fewer.")
                continue
            for seed in range(options.seeds):
                score = partial(
                    _scores, data, method, seed=seed, batch_key=batch_key, label_key=label_key, limit=options.limit
                )
                found = attempt(score, list(PANELS))
                named = {"cells": n_cells, "genes": data.n_vars, "source": source, "method": method.label}
                rows.append({**named, "seed": seed, **found})
                keep("paper-scalability", rows)
                if found[FAILED].startswith(TOO_LONG):
                    too_slow.add(method.label)
                    break
    by = ["cells", "genes", "source", "method"]
    medians = pd.DataFrame(rows).groupby(by, sort=False)[list(PANELS)].median().round(3).reset_index()
    medians.insert(0, "run", medians["method"] + ", " + medians["cells"].map("{:,}".format))
    _report.report("paper-scalability", medians, label="run", value="seconds")
    draw(medians)


def some_cells(n_cells: int, options: argparse.Namespace) -> tuple[Any, str]:
    """That many cells and where they are from: the first data set that has so many, without replacement, or made up."""
    for name, data in data_sets(options):
        if data.n_obs >= n_cells:
            rows = np.random.default_rng(0).choice(data.n_obs, n_cells, replace=False)
            return data[np.sort(rows)].copy(), name
    made_up = simulate(n_cells=n_cells, n_genes=N_SIMULATED_GENES, n_batches=N_SIMULATED_BATCHES, seed=0)
    return made_up, "simulated"


def stopper(limit: float, *, clock: Callable[[], float] = time.monotonic) -> Callable[[float], None]:
    """To be told of progress: raises OutOfTimeError once so many minutes have passed since it was made."""
    end = clock() + 60 * limit

    def look(_: float) -> None:
        if clock() > end:
            raise OutOfTimeError(f"{TOO_LONG} {limit:g} minutes.")

    return look


def _scores(data: Any, method: Method, *, seed: int, batch_key: str, label_key: str, limit: float) -> dict[str, float]:
    embedded = embed(data, method, seed=seed, batch_key=batch_key, on_progress=stopper(limit))
    rows = np.random.default_rng(1).permutation(data.n_obs)[:MAX_SCORED]
    found = evaluate_embedding(embedded.embedding[rows], labels=data.obs[label_key].iloc[rows], seed=0).scores
    values = (embedded.seconds, embedded.peak_memory_mb, known(found["best_ari"]))
    return {name: round(value, 4) for name, value in zip(PANELS, values, strict=True)}


def draw(medians: pd.DataFrame) -> None:
    """The paper's figure 3: three panels over the number of cells, both axes logarithmic where values are above 0."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(PANELS), figsize=(13, 4))
    for axes, (score, title) in zip(panels, PANELS.items(), strict=True):
        for label, group in medians.groupby("method", sort=False):
            axes.plot(group["cells"], group[score], marker="o", label=label)
        axes.set(xscale="log", xlabel="cells", ylabel=title)
        if (medians[score].dropna() > 0).all() and medians[score].notna().any():
            axes.set_yscale("log")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(_report.RESULTS / "paper-figure3.png", dpi=150, bbox_inches="tight")
    plt.close(figure)
