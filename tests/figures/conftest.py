"""A small result with planted topics, as the figures read it."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys


@pytest.fixture
def result() -> ad.AnnData:
    """120 cells, 40 genes, 6 topics: type t0, t1, t2 uses topics (0, 3), (1, 4), (2, 5); gene 5k leads topic k."""
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], [70, 35, 15])
    delta = rng.normal(scale=0.3, size=(120, 6))
    delta[np.arange(120), types] += 3
    delta[np.arange(120), types + 3] += 2
    theta = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    beta = rng.normal(scale=0.1, size=(40, 6))
    beta[np.arange(6) * 5, np.arange(6)] = 4
    beta[np.arange(6) * 5 + 1, np.arange(6)] = 2
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"t{i}" for i in types], categories=["t2", "t1", "t0", "unused"]),
            "batch": np.where(np.arange(120) % 2, "b1", "b0"),
            "n_counts": rng.integers(500, 5000, 120),
            "score": rng.normal(size=120),
            "treated": np.arange(120) % 3 == 0,
            "patchy": [None if i % 4 == 0 else "known" for i in range(120)],
            "clone": [f"clone {i % 45}" for i in range(120)],
        },
        index=[f"cell {i}" for i in range(120)],
    )
    return ad.AnnData(
        obs=obs,
        var=pd.DataFrame(index=[f"Gene{i}" for i in range(40)]),
        obsm={
            keys.DELTA: delta.astype(np.float32),
            keys.THETA: theta.astype(np.float32),
            keys.X_UMAP: (types[:, None] * 5 + rng.normal(size=(120, 2))).astype(np.float32),
        },
        varm={keys.BETA: beta.astype(np.float32)},
    )
