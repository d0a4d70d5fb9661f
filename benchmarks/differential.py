"""How long do the permutation tests of all topics take, beside scipy.stats.permutation_test in the same run?

``python -m benchmarks.differential [--cells 70000] [--topics 100] [--labels 8] [--permutations 100000]``: random
values and labels, two threads for ours; scipy tests all topics of one label at once, a few permutations at a time
(its fastest way here), on one core. It is timed on few permutations and one label; the rest is proportional.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks._report import report
from scetm_core.differential import permutation_test

FEW = 40


def mean_difference(inside: np.ndarray, outside: np.ndarray, axis: int) -> np.ndarray:
    """Of the last axis."""
    return np.asarray(inside.mean(axis=axis) - outside.mean(axis=axis))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("cells", 70_000), ("topics", 100), ("labels", 8), ("permutations", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(options.cells, options.topics)).astype(np.float32)
    delta = pd.DataFrame(values, index=[f"c{i}" for i in range(options.cells)]).add_prefix("topic_")
    shares = rng.dirichlet(np.ones(options.labels) * 3)
    labels = pd.Series(rng.choice([f"label {j}" for j in range(options.labels)], options.cells, p=shares), delta.index)
    permutation_test(delta.iloc[:100], labels.iloc[:100], n_permutations=100)  # compiles, once and for all
    started = time.perf_counter()
    ours = permutation_test(delta, labels, n_permutations=options.permutations)
    ours_seconds = time.perf_counter() - started

    inside = (labels == "label 0").to_numpy()
    columns = values.T.astype(np.float64)
    started = time.perf_counter()
    theirs = stats.permutation_test(
        (columns[:, inside], columns[:, ~inside]), mean_difference, vectorized=True, batch=1, axis=-1, n_resamples=FEW,
        permutation_type="independent", alternative="greater", rng=rng,
    )  # fmt: skip
    per_permutation = (time.perf_counter() - started) / FEW
    scipy_seconds = per_permutation * options.permutations * options.labels
    first = ours[ours["label"] == "label 0"]["mean_difference"].to_numpy()
    print(f"Largest difference of a mean difference between the two: {np.abs(first - theirs.statistic).max():.1e}")
    table = pd.DataFrame({"method": ["scipy", "ours"], "seconds": [scipy_seconds, ours_seconds]})
    table["times faster"] = scipy_seconds / table["seconds"]
    table["measured"] = [f"{FEW} permutations of 1 label", "all"]
    report("differential", table.round(2), label="method", value="seconds")


if __name__ == "__main__":
    main()
