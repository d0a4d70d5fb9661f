"""How good are the presets, and what is each ingredient of the recipe worth? Scores as the app itself reports them.

Examples::

    python -m benchmarks.quality                                       presets on the demo data, three seeds
    python -m benchmarks.quality --data path/to/cells.h5ad             the same on a file with obs batch, cell_type
    python -m benchmarks.quality --presets standard --ablation         the preset, and without each ingredient
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.presets import PRESETS
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

SCORES = ("best_ari", "ari", "best_nmi", "kbet", "asw", "test_nll", "topic_diversity", "topic_coherence")
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "fraction as input": {"encoder_input": "fraction"},
    "no thinning": {"min_depth": 1.0},
    "no batch mixing": {"mmd_weight": 0.0},
    "no anchor": {"anchor_weight": 0.0},
    "anchor of 1": {"anchor_weight": 1.0},
    "weight decay of 0.5": {"weight_decay": 0.5},
    "published KL weight": {"max_kl_weight": 1e-7},
    "topics from N(0, 1)": {"start": "normal"},
    "lambda from N(0, 1)": {"lambda_init": "normal"},
    "float32 throughout": {"precision": "full"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"], choices=sorted(PRESETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=["mouse_pancreas"], help="names of demo data sets, or files")
    parser.add_argument("--ablation", action="store_true", help="also without each ingredient of the recipe")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_demo(Path(folder))
        for data in options.data:
            for preset in options.presets:
                for name, changes in (WITHOUT if options.ablation else {"as it is": {}}).items():
                    for seed in range(options.seeds):
                        path = files.get(f"{data}.h5ad", Path(data))
                        scores = _scores(path, {**PRESETS[preset].values, **changes}, seed=seed, folder=Path(folder))
                        rows.append({"run": f"{path.stem}, {preset}, {name}", "seed": seed, **scores})
                        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    medians = table.drop(columns="seed").groupby("run", sort=False).median().round(3).reset_index()
    print(f"\nall seeds\n{table.to_string(index=False)}\n\nmedians over {options.seeds} seeds")
    report("ablation" if options.ablation else "quality", medians, label="run", value="best_ari")


def _scores(path: Path, values: Mapping[str, Any], *, seed: int, folder: Path) -> dict[str, float]:
    columns = {"path": str(path.resolve()), "batch_key": "batch", "label_key": "cell_type"}
    config = run_config_from_flat({**values, "name": "quality", "seed": seed, "umap": False, **columns})
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run = Run.create(Path(place) / "run", config)
        started = time.perf_counter()
        assert run_analysis(run) == "done", run.status().message
        seconds = time.perf_counter() - started
        scores = {name: round(run.evaluation()[name], 3) for name in SCORES}
        return {**scores, "train s": round(float(run.metrics()["seconds"].iloc[-1]), 1), "whole s": round(seconds, 1)}


if __name__ == "__main__":
    main()
