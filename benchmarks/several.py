"""Is the model that several processes train the one that one process trains, and how fast are they?

Trains on demo data with the Standard preset in float32: in one process with one thread, in one with as many threads as
there are processors, and in several with one thread each (on GPUs: in one process, and in one for each GPU). Prints
the largest differences from the first along the whole curve, and cells per second.

    python -m benchmarks.several --processes 2
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._report import report
from scetm_core import processes
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.presets import PRESETS

MODULE = "benchmarks.several"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mouse_pancreas", choices=("mouse_pancreas", "human_pancreas"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--minibatch-size", type=int, default=512)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--measure", nargs=3, metavar=("PATH", "OUT", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        path, out, threads = options.measure
        measure(Path(path), Path(out), n_threads=int(threads), options=options)
        return
    n_threads = os.cpu_count() or 1
    settings = {"1 process, 1 thread": (1, 1), f"1 process, {n_threads} threads": (1, n_threads)}
    settings[f"{options.processes} processes, 1 thread each"] = (options.processes, 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = next(path for path in write_demo(folder).values() if path.stem == options.data)
        found = {}
        for name, (n_processes, n_each) in settings.items():
            out = folder / f"{name}.npz"
            given = ["--measure", str(path), str(out), str(n_each), *_passed_on(options)]
            command = processes.command(MODULE, *given, n_processes=n_processes)
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(n_each)})
            with np.load(out) as arrays:
                found[name] = dict(arrays)
    first = next(iter(found.values()))
    report(
        "several", pd.DataFrame([_row(name, one, first) for name, one in found.items()]), label="run", value="cells/s"
    )


def _passed_on(options: argparse.Namespace) -> list[str]:
    names = ("steps", "minibatch_size", "device")
    return [text for name in names for text in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]


def _row(name: str, one: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> dict[str, object]:
    def largest(what: str) -> float:
        known = ~np.isnan(first[what])
        return float(np.max(np.abs(one[what][known] / first[what][known] - 1)))

    apart = np.abs(one["theta"] - first["theta"])
    return {
        "run": name,
        "NLL": f"{largest('nll'):.1e}",
        "held-out NLL": f"{largest('test_nll'):.1e}",
        "KL": f"{largest('kl'):.1e}",
        "theta, largest": f"{apart.max():.1e}",
        "theta, mean": f"{apart.mean():.1e}",
        "best ARI": round(float(one["ari"]), 4),
        "cells/s": round(float(np.median(one["pace"][1:]))),
    }


def measure(path: Path, out: Path, *, n_threads: int, options: argparse.Namespace) -> None:
    """Train, alone or together with the processes beside this one; the first writes what came out."""
    import torch

    from scetm_core.build import build_model
    from scetm_core.data import load_dataset
    from scetm_core.evaluation import evaluate_embedding
    from scetm_core.infer import infer
    from scetm_core.model.ranks import joined
    from scetm_core.model.scetm import resolve_device
    from scetm_core.train import fit

    torch.set_num_threads(n_threads)
    settings = {"path": str(path), "batch_key": "batch", "label_key": "cell_type", "precision": "full"}
    given = {"max_steps": options.steps, "minibatch_size": options.minibatch_size, "device": options.device}
    config = run_config_from_flat({**PRESETS["standard"].values, **settings, **given})
    data = load_dataset(config.data)
    with joined(options.device if processes.rank() == 0 else None) as ranks:
        model = build_model(data, config, device=resolve_device(options.device))
        records = list(fit(model, data, config.train, batch_key="batch", ranks=ranks))
        ranks.leave()
    if not ranks.is_first:
        sys.exit()
    result = infer(model, data, config)
    scores = evaluate_embedding(result.obsm["delta"], labels=data.obs["cell_type"], batches=data.obs["batch"]).scores
    curves = {name: [getattr(record, name) for record in records] for name in ("nll", "kl", "test_nll")}
    pace = [record.cells_per_second for record in records]
    np.savez(out, theta=result.obsm["theta"], ari=scores["best_ari"], pace=pace, **curves)


if __name__ == "__main__":
    main()
