"""How long is one training step, against the published computation written plainly and against other packages?

All are timed in this run on the same counts, the demo data; what counts is the ratio. Peers are looked for in this
interpreter, or in another one: `python -m benchmarks.training --peers-python PATH`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from benchmarks import _peers
from benchmarks._report import median_seconds, report
from scetm_core.config import DataConfig, ModelConfig, TrainConfig
from scetm_core.data import load_dataset
from scetm_core.data.demo import write_demo
from scetm_core.model import ScETM
from scetm_core.model.cells import batch_names, prepare_cells
from scetm_core.model.gene_sums import GeneSums
from scetm_core.model.likelihood import has_fast_bfloat16
from scetm_core.model.variable_genes import most_variable
from scetm_core.trainer import Trainer

BATCH_KEY = "batch"
FEWER_GENES = 3000
RECIPE = ModelConfig(encoder_input="hvg", n_emb=100)  # the shape of the presets


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The counts everybody is given."""

    counts: sp.csr_matrix  # (n_cells, n_genes)
    fractions: sp.csr_matrix
    batch: np.ndarray  # (n_cells,) codes
    genes: list[str]
    batches: list[str]

    def variable(self, n_genes: int) -> Problem:
        """With its highly variable genes only, as scanpy finds them; cells empty without the others are left out."""
        pieces = [(self.fractions, self.batch)]
        sums = GeneSums.of_pieces(pieces, n_genes=len(self.genes), n_batches=len(self.batches))
        genes = most_variable(sums, n_top=n_genes)
        counts = self.counts[:, genes]
        kept = np.asarray(counts.sum(axis=1)).ravel() > 0
        return Problem(
            counts=counts[kept],
            fractions=_fractions(counts[kept]),
            batch=self.batch[kept],
            genes=[self.genes[gene] for gene in genes],
            batches=self.batches,
        )


class PlainScETM(nn.Module):
    """The published model, dense: the yardstick."""

    def __init__(self, n_genes: int, n_batches: int, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_genes, config.n_hidden), nn.ReLU(), nn.BatchNorm1d(config.n_hidden), nn.Dropout(config.dropout)
        )
        self.mu = nn.Linear(config.n_hidden, config.n_topics)
        self.log_sigma = nn.Linear(config.n_hidden, config.n_topics)
        self.alpha = nn.Parameter(torch.randn(config.n_topics, config.n_emb))
        self.rho = nn.Parameter(torch.randn(config.n_emb, n_genes))
        self.intercept = nn.Parameter(torch.randn(n_batches, n_genes))

    def forward(self, fractions: Tensor, batch: Tensor) -> Tensor:
        """Loss of a minibatch."""
        hidden = self.encoder(fractions)
        q = torch.distributions.Normal(self.mu(hidden), self.log_sigma(hidden).clamp(-10, 10).exp())
        theta = q.rsample().softmax(-1)
        log_r = (theta @ self.alpha @ self.rho + self.intercept[batch]).log_softmax(-1)
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
        return -(fractions * log_r).sum(-1).mean() + 1e-7 * kl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has scvi-tools or scetm")
    python = parser.parse_args().peers_python
    problem = _demo_problem()
    rows = [
        row
        for size in (256, 512, len(problem.batch))
        for row in _rows(problem, size, ["scetm 0.5.0"] if size >= 512 else [], python=python)
    ]
    rows += _rows(problem.variable(FEWER_GENES), 2000, ["LinearSCVI", "SCVI", "scetm 0.5.0"], python=python)
    report("training", pd.DataFrame(rows), label="what", value="ours is faster by")


def _demo_problem() -> Problem:
    with tempfile.TemporaryDirectory() as folder:
        path = write_demo(Path(folder))["mouse_pancreas.h5ad"]
        data = load_dataset(DataConfig(path=str(path), batch_key=BATCH_KEY))
    genes, batches = list(data.var_names), batch_names(data, BATCH_KEY)
    counts = sp.csr_matrix(data.X, dtype=np.float32)
    batch = pd.Index(batches).get_indexer(data.obs[BATCH_KEY].astype(str)).astype(np.int64)
    return Problem(counts=counts, fractions=_fractions(counts), batch=batch, genes=genes, batches=batches)


def _fractions(counts: sp.csr_matrix) -> sp.csr_matrix:
    totals = np.asarray(counts.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(1 / totals) @ counts, dtype=np.float32)


def _rows(problem: Problem, size: int, peers: list[str], *, python: str) -> list[dict[str, object]]:
    """One row for each way to take a step of `size` cells; ratios are to ours in the published settings."""
    size = min(size, len(problem.batch))
    published = ModelConfig()
    seconds: dict[str, float | None] = {
        "ours": _our_seconds(problem, size, published),
        "ours, recipe": _our_seconds(problem, size, RECIPE),
        "plain": _plain_seconds(problem, size, published),
    }
    if has_fast_bfloat16():
        seconds["ours, mixed precision"] = _our_seconds(problem, size, published, precision="mixed")
        seconds["ours, recipe, mixed"] = _our_seconds(problem, size, RECIPE, precision="mixed")
    seconds |= {name: _peer_seconds(problem, size, name, python=python) for name in peers}
    return [_row(problem, size, name, value, ours=seconds["ours"]) for name, value in seconds.items()]


def _row(problem: Problem, size: int, name: str, value: float | None, *, ours: float | None) -> dict[str, object]:
    row: dict[str, object] = {"what": f"{name}, {len(problem.genes)} genes, {size} cells"}
    if value is None or ours is None:
        return {**row, "ms a step": "not installed"}
    per_second = round(size / value, -2)
    return {
        **row,
        "ms a step": round(1e3 * value, 1),
        "cells/s": per_second,
        "ours is faster by": round(value / ours, 2),
    }


def _our_seconds(problem: Problem, size: int, config: ModelConfig, *, precision: str = "full") -> float:
    """Seconds a step of ours, from the sparse counts of all cells on, as `fit` takes them."""
    model = ScETM(config, genes=problem.genes, batches=problem.batches)
    data = ad.AnnData(
        X=problem.counts,
        obs=pd.DataFrame({BATCH_KEY: np.array(problem.batches)[problem.batch]}, index=_names("cell", problem.batch)),
        var=pd.DataFrame(index=problem.genes),
    )
    cells = prepare_cells(data, model, batch_key=BATCH_KEY)
    train = TrainConfig(minibatch_size=size, test_fraction=0.0, max_steps=10_000, report_every=1, precision=precision)
    trainer = Trainer(model, cells, train)
    trainer.initialise()
    try:
        return median_seconds(trainer.train_to_report)
    finally:
        trainer.close()


def _names(what: str, values: np.ndarray) -> list[str]:
    return [f"{what}{number}" for number in range(len(values))]


def _plain_seconds(problem: Problem, size: int, config: ModelConfig) -> float:
    """Seconds a step of the plain model, from the dense fractions of all cells on."""
    model = PlainScETM(len(problem.genes), len(problem.batches), config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    dense, batch = torch.from_numpy(problem.fractions.toarray()), torch.from_numpy(problem.batch)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        rows = torch.randperm(len(batch), generator=generator)[:size]
        _update(optimizer, model(dense[rows], batch[rows]))

    return median_seconds(step)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([one for group in optimizer.param_groups for one in group["params"]], 50)
    optimizer.step()


def _peer_seconds(problem: Problem, size: int, name: str, *, python: str) -> float | None:
    """Seconds a step of another package; None where it is not installed."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({_peers.PEERS[name]!r}) is None)"
    if subprocess.run([python, "-c", probe]).returncode:
        return None
    counts = problem.counts
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.npz"
        parts = {"data": counts.data, "indices": counts.indices, "indptr": counts.indptr, "shape": counts.shape}
        np.savez(path, batch=problem.batch, **parts)
        command = [python, "-W", "ignore", _peers.__file__, name, str(path), str(size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


if __name__ == "__main__":
    main()
