"""How does scETM do beside the methods people use instead? All on the same cells, scored alike, some seeds each.

Needs requirements-compare.txt. Each method runs in a process of its own. Examples::

    python -m benchmarks.compare                                      the demo data, three seeds
    python -m benchmarks.compare --data cells.h5ad --methods scetm pca scvi --seeds 1
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._report import RESULTS, report
from scetm_core.comparison import counts_for_peers, run_peer, scored_table
from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.data.demo import write_demo
from scetm_core.peers import PEERS

SCORES = (
    "best_ari", "ari", "best_nmi", "nmi", "asw", "clisi", "graph_connectivity", "kbet", "ebm", "ilisi", "batch_asw",
    "seconds", "peak_memory_mb",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--methods", nargs="+", default=[name for name in PEERS if not PEERS[name].missing])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in data_files(options.data, Path(folder)):
            data = load_dataset(DataConfig(path=str(path), batch_key=options.batch_key, label_key=options.label_key))
            for method in options.methods:
                for seed in range(options.seeds):
                    scores = score_method(data, method, seed=seed, options=options)
                    rows.append({"data": path.stem, "method": PEERS[method].label, "seed": seed, **scores})
                    print(rows[-1], flush=True)
                    RESULTS.mkdir(exist_ok=True)
                    pd.DataFrame(rows).to_csv(RESULTS / "compare-all.csv", index=False)
    summary = median_and_range(pd.DataFrame(rows), by=["data", "method"])
    report("compare", summary, label="run", value="best_ari")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which data sets, which of their columns, how many seeds."""
    parser.add_argument("--data", nargs="+", default=["mouse_pancreas", "human_pancreas"], help="demo data, or files")
    parser.add_argument("--batch-key", default="batch")
    parser.add_argument("--label-key", default="cell_type")
    parser.add_argument("--seeds", type=int, default=3)


def data_files(names: list[str], folder: Path) -> list[Path]:
    """Demo data by name, or files by path."""
    demo = write_demo(folder) if any(not Path(name).exists() for name in names) else {}
    return [demo.get(f"{name}.h5ad", Path(name)) for name in names]


def score_method(
    data: Any, method: str, *, seed: int, options: argparse.Namespace, settings: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Scores of one method with one seed on a loaded data set."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.h5ad"
        counts_for_peers(data, batch_key=options.batch_key).write_h5ad(counts)
        embedded = run_peer(method, counts, seed=seed, on_progress=lambda _: None, settings=settings)
    table = scored_table(
        embedded, data.obs_names, labels=data.obs[options.label_key], batches=data.obs[options.batch_key], seed=0,
        umap=False,
    )  # fmt: skip
    return {name: np.nan if (value := table.attrs["scores"].get(name)) is None else round(value, 4) for name in SCORES}


def median_and_range(rows: pd.DataFrame, *, by: list[str]) -> pd.DataFrame:
    """One row per group: the median of each score over the seeds, and its range in words."""
    grouped = rows.groupby(by, sort=False)[[name for name in SCORES if name in rows]]
    median, low, high = grouped.median().round(3), grouped.min().round(3), grouped.max().round(3)
    ranges = low.astype(str) + " to " + high.astype(str)
    table = median.join(ranges[["best_ari", "ari", "kbet"]], rsuffix=" range").reset_index()
    table.insert(0, "run", table[by].astype(str).agg(", ".join, axis="columns"))
    return table


if __name__ == "__main__":
    main()
