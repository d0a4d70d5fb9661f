"""A finished run with everything in it, made by hand: tables as the worker writes them, names with markup in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.answers import answer
from scetm_core.config import run_config_from_flat
from scetm_core.genesets import write_gmt
from scetm_core.requests import DifferentialRequest, EnrichmentRequest
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of

HOSTILE = "<script>alert('x')</script> & co"
SETS = {"UP_SET": [f"gene_{number}" for number in range(8)], HOSTILE: [f"gene_{number}" for number in range(4, 14)]}


def hand_made_run(folder: Path, *, name: str = "by hand", tables: bool = True, umap: bool = True) -> Run:
    """A run of 60 cells, 30 genes and 6 topics in a folder; `tables`: gene sets and differential topics tested."""
    folder.mkdir(parents=True, exist_ok=True)
    data, path = planted_data(), folder / "planted.h5ad"
    data.write_h5ad(path)
    config = run_config_from_flat({"name": name, "path": str(path), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30})
    run = Run.create(folder / "runs" / "by-hand", config)
    finish(run, result_of(data, config, umap=umap))
    run.log_path.write_text("10:00:00  3 genes without a count in any cell left out.\n10:00:01  Training.\n")
    if tables:
        gmt = folder / "sets.gmt"
        genes = list(data.var_names)
        write_gmt({title: genes[first : first + 9] for first, title in enumerate(SETS)}, gmt)
        request = EnrichmentRequest(gene_sets=str(gmt), n_permutations=50)
        answer(run, "sets", request, on_progress=lambda share, words: None)
        differential = DifferentialRequest(groupby="cell_type", n_permutations=2000)
        answer(run, "cell_type", differential, on_progress=lambda share, words: None)
    return run


def write_map(run: Run) -> None:
    """A map of genes and topics, as if it had been worked out."""
    result = run.load_result()
    names = [*result.var_names, *(keys.topic_name(topic) for topic in range(N_TOPICS))]
    xy = np.random.default_rng(0).normal(size=(len(names), 2)).astype(np.float32)
    kinds = ["gene"] * result.n_vars + ["topic"] * N_TOPICS
    path = run.table_path(keys.MAP_FOLDER, "genes")
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame({"name": names, "kind": kinds, "x": xy[:, 0], "y": xy[:, 1]}).to_parquet(path)
