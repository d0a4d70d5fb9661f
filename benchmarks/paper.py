"""Do the paper's experiments come out alike with our code, and on other data? Each is a command.

Peers need requirements-compare.txt. Examples::

    python -m benchmarks.paper tables --seeds 1 --paper-steps 1000
    python -m benchmarks.paper ablation --data mouse_pancreas --paper-steps 300 --paper-minibatch 512
    python -m benchmarks.paper overcorrection --data human_pancreas --cell-type beta --methods scetm scetm_adv harmony
    python -m benchmarks.paper robustness --data cells.h5ad --batch-key donor --label-key cluster
    python -m benchmarks.paper scalability --cells 1000 10000 100000 1000000 --limit 60
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from benchmarks._paper_methods import (
    NO_LAMBDA,
    Method,
    add_length_options,
    attempt,
    chosen_methods,
    data_sets,
    keep,
    published,
    standard,
)
from benchmarks._paper_overcorrection import overcorrection
from benchmarks._paper_robustness import robustness
from benchmarks._paper_scalability import scalability
from benchmarks._report import report
from benchmarks.compare import SCORES, add_data_options, median_and_range, score_method
from scetm_core.peers import SCETM

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {  # score -> data set -> method, Zhao et al. 2021
    "best_ari": {
        "mouse_pancreas": {
            "Harmony": 0.969, "Scanorama": 0.915, "scVI": 0.932, "LIGER": 0.914, "LinearSCVI": 0.875, "scETM": 0.946,
            "scETM - lambda": 0.851, "scETM + adv": 0.944,
        },
        "human_pancreas": {
            "Harmony": 0.955, "Scanorama": 0.859, "scVI": 0.759, "LIGER": 0.911, "LinearSCVI": 0.656, "scETM": 0.943,
            "scETM - lambda": 0.474, "scETM + adv": 0.946,
        },
    },
    "kbet": {
        "mouse_pancreas": {
            "Harmony": 0.390, "Scanorama": 0.439, "scVI": 0.516, "LIGER": 0.602, "LinearSCVI": 0.148, "scETM": 0.270,
            "scETM - lambda": 0.217, "scETM + adv": 0.546,
        },
        "human_pancreas": {
            "Harmony": 0.342, "Scanorama": 0.155, "scVI": 0.140, "LIGER": 0.660, "LinearSCVI": 0.034, "scETM": 0.163,
            "scETM - lambda": 0.000, "scETM + adv": 0.443,
        },
    },
}  # fmt: skip
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "without lambda": NO_LAMBDA,
    "without batch norm": {"batch_norm": False},
    "raw counts as input": {"encoder_input": "counts"},
}
EXPERIMENTS = ("tables", "ablation", "overcorrection", "robustness", "scalability")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    commands = (tables, ablation, overcorrection, robustness, scalability)
    dict(zip(EXPERIMENTS, commands, strict=True))[options.experiment](options)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    experiments = parser.add_subparsers(dest="experiment", required=True)
    for name in EXPERIMENTS:
        experiment = experiments.add_parser(name)
        add_data_options(experiment)
        add_length_options(experiment)
        if name in ("tables", "overcorrection", "scalability"):
            experiment.add_argument("--methods", nargs="+", help="by default ours and all that are installed")
        if name == "overcorrection":
            experiment.add_argument("--cell-type", default="beta")
            experiment.add_argument("--keep-batch", help="by default the one with most cells of the type")
        if name == "scalability":
            experiment.add_argument("--cells", nargs="+", type=int, default=[1000, 3000, 10_000, 30_000])
            experiment.add_argument("--limit", type=float, default=30, help="minutes a method may take on one size")
    return parser.parse_args(arguments)


def tables(options: argparse.Namespace) -> None:
    """Tables 1 and 2."""
    methods = chosen_methods(options, ["scetm", "paper", "paper_no_lambda", "paper_adv"])
    medians = scored("paper-tables", methods, options)
    report("paper-tables", medians, label="run", value="best_ari")
    for number, score in ((1, "best_ari"), (2, "kbet")):
        wide = wide_table(medians, score)
        report(f"paper-table{number}", wide, label="method", value=str(wide.columns[1]))


def ablation(options: argparse.Namespace) -> None:
    """Supplementary Table 3."""
    settings = {"published": published(options), "Standard": standard(options)}
    methods = [
        Method(peer=SCETM, label=f"{name}, {what}", settings={**values, **changes})
        for name, values in settings.items()
        for what, changes in WITHOUT.items()
    ]
    report("paper-ablation", scored("paper-ablation", methods, options), label="run", value="best_ari")


def scored(name: str, methods: Sequence[Method], options: argparse.Namespace) -> pd.DataFrame:
    """Medians and ranges over the seeds of each method on each data set; columns of `compare.median_and_range`."""
    rows: list[dict[str, Any]] = []
    for data_name, data in data_sets(options):
        for method in methods:
            for seed in range(options.seeds):
                score = partial(score_method, data, method.peer, seed=seed, options=options, settings=method.settings)
                found = attempt(score, SCORES)
                rows.append({"data": data_name, "method": method.label, "seed": seed, **found})
                keep(name, rows)
    return median_and_range(pd.DataFrame(rows), by=["data", "method"])


def wide_table(medians: pd.DataFrame, score: str) -> pd.DataFrame:
    """Methods x data sets as the paper's tables, with the paper's own number beside ours where it has one."""
    wide = pd.DataFrame({"method": medians["method"].unique()})
    for data, group in medians.groupby("data", sort=False):
        wide[data] = wide["method"].map(group.set_index("method")[score])
        if numbers := PUBLISHED[score].get(str(data)):
            wide[f"{data}, paper"] = wide["method"].map(numbers)
    return wide


if __name__ == "__main__":
    main()
