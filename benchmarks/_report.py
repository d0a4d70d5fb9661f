"""How does a benchmark tell its result? A table on the terminal, the same as .csv, and a bar chart as .png."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"


def report(name: str, table: pd.DataFrame, *, label: str, value: str) -> None:
    """Print a table and keep it; the chart shows column `value` by column `label`."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    print(f"\n{name}\n{table.to_string(index=False)}")
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False)
    figure, axes = plt.subplots(figsize=(7, 0.5 + 0.4 * len(table)))
    axes.barh(table[label].astype(str), table[value], color="#0c8599")
    axes.invert_yaxis()
    axes.set_xlabel(value)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / f"{name}.png", dpi=150, bbox_inches="tight")
    plt.close(figure)


def median_seconds(work: Callable[[], object], *, repeats: int = 7, warm_up: int = 2) -> float:
    """Median wall time of a piece of work, after some rounds that do not count."""
    seconds = []
    for round_ in range(warm_up + repeats):
        started = time.perf_counter()
        work()
        if round_ >= warm_up:
            seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
