"""How long is one training step, against the published computation written plainly in dense PyTorch?

Both are timed in this run, on the demo data, with the same sizes; what counts is the ratio.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._report import median_seconds, report
from scetm_core.config import DataConfig, ModelConfig, TrainConfig
from scetm_core.data import load_dataset
from scetm_core.data.demo import write_demo
from scetm_core.model import ScETM
from scetm_core.train import _Trainer, batch_names, minibatch_rows, prepare_cells

BATCH_KEY = "batch"


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
    with tempfile.TemporaryDirectory() as folder:
        path = write_demo(Path(folder))["mouse_pancreas.h5ad"]
        data = load_dataset(DataConfig(path=str(path), batch_key=BATCH_KEY))
    rows = []
    for size in (256, 512, data.n_obs):
        ours, plain = _times(data, size)
        rows.append(
            {
                "cells a step": size,
                "ours, s": round(ours, 4),
                "plain, s": round(plain, 4),
                "ratio": round(plain / ours, 2),
            }
        )
    report("step_time", pd.DataFrame(rows), label="cells a step", value="ratio")


def _times(data: object, size: int) -> tuple[float, float]:
    """Seconds a step of ours (from sparse counts on) and of the plain model (from dense fractions on)."""
    config = TrainConfig(minibatch_size=size, test_fraction=0.0, max_steps=10_000)
    batches = batch_names(data, BATCH_KEY)  # type: ignore[arg-type]
    model = ScETM(ModelConfig(), genes=list(data.var_names), batches=batches)  # type: ignore[attr-defined]
    cells = prepare_cells(data, model, batch_key=BATCH_KEY)  # type: ignore[arg-type]
    trainer = _Trainer(model, cells, config)
    trainer.initialise()
    model.train()

    def our_step() -> None:
        trainer._update(minibatch_rows(len(cells), size, trainer.step, seed=0))
        trainer.step += 1

    plain = PlainScETM(len(model.genes), len(batches), ModelConfig())
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.005)
    dense, batch = torch.from_numpy(cells.fractions.toarray()), torch.from_numpy(cells.batch)
    generator = torch.Generator().manual_seed(0)

    def plain_step() -> None:
        rows = torch.randperm(len(cells), generator=generator)[:size]
        loss = plain(dense[rows], batch[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 50)
        optimizer.step()

    return median_seconds(our_step), median_seconds(plain_step)


if __name__ == "__main__":
    main()
