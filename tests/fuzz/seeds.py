"""What does a good input look like? Small files and run folders, made by our own code."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.board import add_panel
from scetm_core.config import run_config_from_flat
from scetm_core.own_colors import write_own_colors
from scetm_core.requests import EnrichmentRequest, request_as_json
from scetm_core.runs import Run
from scetm_core.selection import Among, Between, Box, Lasso, Named, Step, steps_to_json
from scetm_core.user_columns import new_column, write_column
from tests.data.conftest import WRITERS
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of

GMT = b"first set\ta description\tINS\tGCG\tSST\nsecond set\thttp://x\tPPY\tINS\n"
MARKERS = b'cell name,species,gene symbol\nB cell,human,CD19\nB cell,mouse,Cd19\nT cell,human,"CD3D, CD3E"\n'
TWO_COLUMNS = b"cell type\tgene\nbeta\tINS\nalpha\tGCG\n"
ORTHOLOGS = b"human_gene,mouse_gene\nINS,Ins2\nGCG,Gcg\nSST,Sst\nACTB,Actb\n"
ALIASES = b"name in target\tname in model\nINS\tENSG1\nGCG\tENSG2\n"
RHO = b"gene,d0,d1\nINS,0.5,1\nGCG,-1,2.5\nSST,3,4\n"
STEPS = (
    Step(how="new", rule=Among(column="cell_type", values=("type_1",))),
    Step(how="add", rule=Lasso(corners=((0.0, 0.0), (1.0, 0.0), (0.5, 2.0)))),
    Step(how="subtract", rule=Box(left=0, right=1, bottom=0, top=1)),
    Step(how="intersect", rule=Between(what="topic_1", low=0.1, high=None)),
    Step(how="add", rule=Named(cells=("cell_1", "cell_2"))),
    Step(how="invert"),
)


def small() -> ad.AnnData:
    """30 cells x 8 genes with an embedding, a second modality, colours and a raw."""
    counts = np.random.default_rng(0).poisson(1.0, size=(30, 8)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["a", "b", "c"] * 10),
            "cell_type": pd.Categorical(["beta"] * 15 + ["alpha"] * 15),
            "age": np.arange(30),
        },
        index=[f"cell{i}" for i in range(30)],
    )
    data = ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(8)]))
    data.layers["counts"] = data.X.copy()
    data.obsm["proteins"] = np.arange(60.0).reshape(30, 2)
    data.varm["rho"] = np.arange(16.0).reshape(8, 2)
    data.uns["cell_type_colors"] = np.array(["#ff0000", "#00ff00"])
    return data


def counts_in(kind: str, folder: Path) -> Path:
    """`small` as a file of one kind of `tests.data.conftest`, or ``"csv.gz"``."""
    if kind == "csv.gz":
        path = WRITERS["csv"](small(), folder)
        packed = folder / "data.csv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        return packed
    return WRITERS[kind](small(), folder)


def rho_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "rho.npz", genes=np.array(["INS", "GCG"]), rho=np.ones((2, 3), dtype=np.float32))
    return folder / "rho.npz"


def finished_run(runs: Path) -> Path:
    """A run as its worker and its user leave it, with every file that a page reads."""
    data = planted_data()
    counts = runs / "planted.h5ad"
    data.write_h5ad(counts)
    config = run_config_from_flat(
        {"name": "seed", "path": str(counts), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    )
    run = Run.create(runs / "seed", config)
    result = result_of(data, config)
    finish(run, result)
    run.write_vocab({"genes": list(data.var_names), "batches": ["b0", "b1"]})
    run.write_topic_names({"topic_1": "beta cells"})
    run.write_transfer({"genes": {"n": 3}, "sentences": ["a", "b"]})
    write_own_colors(run.path, "cell_type", {"type_0": "#0072b2"})
    add_panel(run.path, "0" * 24, '{"data": [], "layout": {}}', graph="cells-umap", title="one")
    column = new_column("state", result, rest="rest")
    chosen = np.arange(result.n_obs) % 3 == 0
    write_column(run, column.with_edit(chosen, "resting", words="lasso").with_edit(~chosen, "active", words="box"))
    folder = run.path / keys.SELECTIONS_FOLDER
    folder.mkdir()
    (folder / f"{'a' * 12}.json").write_text(steps_to_json(STEPS))
    task = run.path / keys.TASKS_FOLDER / "enrichment-sets"
    task.mkdir(parents=True)
    (task / keys.REQUEST_FILE).write_text(request_as_json(EnrichmentRequest(gene_sets="x.gmt")))
    (task / keys.STATUS_FILE).write_bytes((run.path / keys.STATUS_FILE).read_bytes())
    table = pd.DataFrame({"topic": ["topic_0"], "gene_set": ["a"], "q_value": [0.5]})
    (run.path / "enrichment").mkdir()
    table.to_parquet(run.path / "enrichment" / "sets.parquet")
    counts.unlink()
    return run.path


@functools.lru_cache
def good_result() -> ad.AnnData:
    """What the result of `finished_run` holds."""
    data = planted_data()
    flat = {"path": "x.h5ad", **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    return result_of(data, run_config_from_flat(flat))


def model_file(folder: Path) -> Path:
    """A tiny untrained model."""
    from scetm_core.model import ScETM

    config = run_config_from_flat({"path": "x.h5ad", "n_topics": 2, "n_emb": 2, "n_hidden": 4}).model
    ScETM(config, genes=["INS", "GCG", "SST"], batches=["a", "b"], seed=0).save(folder / "model.safetensors")
    return folder / "model.safetensors"


def checkpoint_folder(folder: Path) -> Path:
    """Two checkpoints of it."""
    import torch

    from scetm_core.checkpoints import Checkpoint, write_checkpoint

    for step in (1, 2):
        found = Checkpoint({"weight": torch.ones(3)}, {"step": step, "best": 0.5})
        write_checkpoint(folder / "checkpoint", found, description={"names": json.dumps({"genes": ["INS"]})})
    return folder / "checkpoint"


def settings() -> bytes:
    """All settings of a run as JSON."""
    config = run_config_from_flat({"path": "x.h5ad", "batch_key": "batch", "extra_batch_keys": ("donor",)})
    return json.dumps(dataclasses.asdict(config)).encode()
