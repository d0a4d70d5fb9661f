"""A point of a training curve, for tests that need nothing but its step."""

from __future__ import annotations

from scetm_core.trainer import Record


def record_at(step: int) -> Record:
    return Record(
        step=step, epoch=1.0, nll=1.0, kl=1.0, kl_weight=1.0, test_nll=1.0, learning_rate=1.0, grad_norm=1.0,
        cells_per_second=1.0, seconds=1.0, stability=1.0, rollbacks=0,
    )  # fmt: skip
