"""How good are the presets on the demo data? Scores over seeds, as the app itself would report them."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.presets import PRESETS
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

SCORES = ("best_ari", "ari", "best_nmi", "kbet", "asw", "test_nll")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"], choices=sorted(PRESETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=["mouse_pancreas"], help="names of demo data sets")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_demo(Path(folder))
        for data in options.data:
            for preset in options.presets:
                for seed in range(options.seeds):
                    path = files[f"{data}.h5ad"]
                    rows.append({"run": f"{data} {preset} {seed}", **_scores(path, preset, seed, Path(folder))})
                    print(rows[-1], flush=True)
    report("quality", pd.DataFrame(rows), label="run", value="best_ari")


def _scores(path: Path, preset: str, seed: int, folder: Path) -> dict[str, float]:
    settings = {"name": "quality", "path": str(path), "batch_key": "batch", "label_key": "cell_type", "seed": seed}
    config = run_config_from_flat({**PRESETS[preset].values, **settings})
    run = Run.create(folder / f"{path.stem}-{preset}-{seed}", config)
    started = time.perf_counter()
    assert run_analysis(run) == "done", run.status().message
    seconds = time.perf_counter() - started
    scores = {name: round(run.evaluation()[name], 3) for name in SCORES}
    return {**scores, "train_s": round(run.metrics()["seconds"].iloc[-1], 1), "all_s": round(seconds, 1)}


if __name__ == "__main__":
    main()
