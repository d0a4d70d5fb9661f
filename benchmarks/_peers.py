"""How long is one training step of another package? Runs by itself, in whichever interpreter has that package.

`python _peers.py NAME counts.npz MINIBATCH` prints one line of JSON: {"seconds": seconds a step}. The file holds a
scipy CSR matrix (data, indices, indptr, shape) and `batch`, the code of each cell's batch.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

PEERS = {"LinearSCVI": "scvi", "SCVI": "scvi", "scetm 0.5.0": "scETM"}  # and the module each is imported from


def seconds_per_step(name: str, counts: sp.csr_matrix, batch: np.ndarray, size: int) -> float:
    """Median wall time of a training step on the CPU, with the package's own settings and loader."""
    return (_scetm_seconds if name == "scetm 0.5.0" else _scvi_seconds)(name, counts, batch, size)


def _scetm_seconds(name: str, counts: sp.csr_matrix, batch: np.ndarray, size: int) -> float:
    import anndata as ad
    import pandas as pd
    import torch
    from scETM import scETM
    from scETM.batch_sampler import CellSampler

    data = ad.AnnData(counts, obs=pd.DataFrame({"batch": batch}, index=[str(cell) for cell in range(len(batch))]))
    model = scETM(data.n_vars, int(batch.max()) + 1, device=torch.device("cpu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    minibatches = iter(CellSampler(data, size, sample_batch_id=True, batch_col="batch"))
    return _median(lambda: model.train_step(optimizer, next(minibatches), {"kl_weight": 1e-7}))


def _scvi_seconds(name: str, counts: sp.csr_matrix, batch: np.ndarray, size: int) -> float:
    """From the difference between a long and a short training, so that setting up does not count."""
    import anndata as ad
    import pandas as pd
    import scvi

    obs = pd.DataFrame({"batch": pd.Categorical(batch.astype(str))}, index=[str(cell) for cell in range(len(batch))])
    data = ad.AnnData(counts, obs=obs)
    kind = getattr(scvi.model, name)
    kind.setup_anndata(data, batch_key="batch")
    steps_per_epoch = math.ceil(len(batch) / size)
    epochs = max(1, 8 // steps_per_epoch)

    def train(n_epochs: int) -> float:
        model = kind(data)
        started = time.perf_counter()
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        model.train(max_epochs=n_epochs, accelerator="cpu", batch_size=size, train_size=1.0, **quiet)
        return time.perf_counter() - started

    train(1)
    return float(np.median([(train(4 * epochs) - train(epochs)) / (3 * epochs * steps_per_epoch) for _ in range(3)]))


def _median(step: Callable[[], object], *, repeats: int = 9, warm_up: int = 2) -> float:
    seconds = []
    for _ in range(warm_up + repeats):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[warm_up:]))


if __name__ == "__main__":
    with np.load(Path(sys.argv[2])) as file:
        found = sp.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
        codes = file["batch"]
    print(json.dumps({"seconds": seconds_per_step(sys.argv[1], found, codes, int(sys.argv[3]))}))
