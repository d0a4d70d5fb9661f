"""How long does gene-set enrichment of all topics take, beside gseapy.prerank on the same machine in the same run?

``python -m benchmarks.enrichment [--topics 100] [--sets 2900] [--permutations 1000] [--genes 15000]``: random weights
and sets (sizes log-normal, median 37, 5 to 500, as Reactome's), two threads each. gseapy is timed on one topic, with
scores compared; its time for all topics is that times their number.
"""

from __future__ import annotations

import argparse
import os
import time

import gseapy
import numpy as np
import pandas as pd

from benchmarks._report import report
from scetm_core.enrichment import prerank


def make_case(n_genes: int, n_topics: int, n_sets: int) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Random weights of genes in topics, and random sets."""
    rng = np.random.default_rng(0)
    genes = [f"gene{i}" for i in range(n_genes)]
    beta = pd.DataFrame(rng.normal(size=(n_genes, n_topics)), index=genes).add_prefix("topic_")
    sizes = np.clip(rng.lognormal(3.6, 1.0, n_sets).astype(int), 5, 500)
    return beta, {f"set {s}": list(rng.choice(genes, size, replace=False)) for s, size in enumerate(sizes)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("topics", 100), ("sets", 2900), ("permutations", 1000), ("genes", 15_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    beta, sets = make_case(options.genes, options.topics, options.sets)
    prerank(beta.iloc[:, :1], {"a": list(beta.index[:20])}, n_permutations=100)  # compiles, once and for all
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        ours = prerank(beta, sets, n_permutations=options.permutations)
        seconds.append(time.perf_counter() - started)
    ours_seconds = float(np.median(seconds))

    started = time.perf_counter()
    theirs = gseapy.prerank(
        beta.iloc[:, 0], sets, min_size=5, max_size=500, permutation_num=options.permutations, outdir=None,
        threads=os.cpu_count() or 1, seed=0,
    ).res2d.set_index("Term")  # fmt: skip
    gseapy_seconds = time.perf_counter() - started
    first = ours[ours["topic"] == "topic_0"].set_index("gene_set")
    apart = (first["es"] - theirs.loc[first.index, "ES"].astype(float)).abs().max()
    print(f"Largest difference of an enrichment score between the two: {apart:.1e}")
    table = pd.DataFrame(
        {
            "method": ["gseapy.prerank", "ours"],
            "topics timed": [1, options.topics],
            "seconds": [gseapy_seconds, ours_seconds],
            "seconds a topic": [gseapy_seconds, ours_seconds / options.topics],
        }
    )
    table["times faster"] = gseapy_seconds / table["seconds a topic"]
    report("enrichment", table.round(4), label="method", value="seconds a topic")


if __name__ == "__main__":
    main()
