"""Does it hurt that counts on disk are shuffled in blocks, not one by one?

Trains on the demo data with the Standard preset in minibatches of 128 cells, three seeds, in the order of counts in
memory and in that of counts on disk. There 128 blocks of neighbouring cells are shuffled together, as with data of any
size; here they are of 4 cells each, so that the data are some buffers and a buffer is some minibatches. Once with the
cells in their own order, and once sorted by batch and cell type, the worst case.

    python -m benchmarks.block_order
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._report import report
from scetm_core.config import run_config_from_flat
from scetm_core.data.demo import write_demo
from scetm_core.presets import PRESETS

BLOCK_SIZE, MINIBATCH_SIZE = 4, 128
ORDERS = {
    "in memory": (False, False),
    "in blocks": (True, False),
    "sorted, in memory": (False, True),
    "sorted, in blocks": (True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["mouse_pancreas"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {path.stem: path for path in write_demo(Path(folder)).values()}
        for name in options.data:
            for order in ORDERS:
                for seed in options.seeds:
                    scores = scored(paths[name], order, seed=seed, n_steps=options.steps)
                    rows.append({"data": name, "order": order, "seed": seed, **scores})
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.groupby(["data", "order"], sort=False)[["best ARI", "kBET", "held-out NLL"]].median().to_string())
    table["run"] = table["order"] + ", seed " + table["seed"].astype(str)
    report("block_order", table, label="run", value="best ARI")


def scored(path: Path, order: str, *, seed: int, n_steps: int) -> dict[str, float]:
    """Train in one order, and score the cells."""
    import torch

    from scetm_core.build import build_model
    from scetm_core.data import load_dataset
    from scetm_core.evaluation import evaluate_embedding
    from scetm_core.model.cells import prepare_cells
    from scetm_core.model.passes import mean_delta, nll_per_cell
    from scetm_core.trainer import Trainer

    settings = {"path": str(path), "batch_key": "batch", "label_key": "cell_type", "seed": seed, "device": "cpu"}
    changes = {"max_steps": n_steps, "minibatch_size": MINIBATCH_SIZE, "evaluate_every": 10 * n_steps}
    config = run_config_from_flat({**PRESETS["standard"].values, **settings, **changes})
    in_blocks, is_sorted = ORDERS[order]
    data = load_dataset(config.data)
    if is_sorted:
        data = data[np.lexsort([data.obs["cell_type"].cat.codes, data.obs["batch"].cat.codes])].copy()
    model = build_model(data, config, device=torch.device("cpu"))
    cells = prepare_cells(data, model, batch_key="batch")
    trainer = Trainer(model, cells, config.train)
    if in_blocks:
        trainer.block_size = BLOCK_SIZE
    trainer.initialise()
    while not trainer.finished:
        trainer.advance()
    trainer.close()
    delta = mean_delta(model, cells)
    scores = evaluate_embedding(delta, labels=data.obs["cell_type"], batches=data.obs["batch"]).scores
    return {
        "best ARI": round(float(scores["best_ari"]), 3),
        "kBET": round(float(scores["kbet"]), 3),
        "held-out NLL": round(float(nll_per_cell(model, trainer.test).mean()), 4),
    }


if __name__ == "__main__":
    main()
