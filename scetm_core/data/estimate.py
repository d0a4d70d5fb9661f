"""How much memory and time will a training run take, roughly? A guess to plan by, made before the start."""

from __future__ import annotations

import os
from dataclasses import dataclass

from scetm_core.config import ModelConfig, TrainConfig

# Calibrated for a CPU, on two cores: 0.067 s a step of 512 cells x 14,877 genes x 50 topics.
REFERENCE_CORES = 2
MAX_USEFUL_CORES = 16  # beyond, memory bandwidth is the limit
SECONDS_PER_STEP = 0.005  # whatever the size
SECONDS_PER_LOGIT = 3.1e-9  # a minibatch's cells x genes: exp, sums
SECONDS_PER_LOGIT_AND_TOPIC = 1.0e-10  # forward and backward product with the topics

BYTES_PER_COUNT = 12  # value and position, with the working copy
BYTES_PER_PARAMETER = 28  # float32 weight, gradient, two moments of Adam, and the copy to go back to
STREAMED_BYTES = 600_000_000  # buffers and sums, where counts stay on disk; a million cells took 1.8 GB in all
LIBRARY_BYTES = 700_000_000  # torch, umap, scanpy
MAX_LOGIT_BYTES = 256_000_000  # logits are worked through in pieces of at most this size


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Peak memory in bytes and training time in seconds, on this machine's CPU."""

    memory_bytes: int
    seconds: float


def n_parameters(n_genes: int, model: ModelConfig, *, n_batches: int = 1) -> int:
    """Number of learnt values: encoder, its two heads, gene and topic embeddings, batch intercepts."""
    n_inputs = min(n_genes, model.n_variable_genes) if model.encoder_input == "hvg" else n_genes
    encoder = n_inputs * model.n_hidden + model.n_hidden * 2 * model.n_topics
    embeddings = (model.n_topics + n_genes) * model.n_emb
    return encoder + embeddings + (n_batches * n_genes if model.batch_intercept else 0)


def estimate_cost(
    n_cells: int,
    n_genes: int,
    n_nonzero: int,
    *,
    model: ModelConfig,
    train: TrainConfig,
    n_batches: int = 1,
    on_disk: bool = False,
) -> Cost:
    """Memory and time of training.

    Reading the file, the layout of the map and the evaluation come on top of the time; a GPU takes far less.
    """
    minibatch = min(train.minibatch_size, max(n_cells, 1))
    logits = minibatch * n_genes
    memory = (
        (min(STREAMED_BYTES, BYTES_PER_COUNT * n_nonzero) if on_disk else BYTES_PER_COUNT * n_nonzero)
        + BYTES_PER_PARAMETER * n_parameters(n_genes, model, n_batches=n_batches)
        + min(3 * 4 * logits, MAX_LOGIT_BYTES)
        + (8 * n_cells * model.n_topics if model.start == "data" else 0)  # the reference, and what it is made from
        + (32 * minibatch**2 if train.mmd_weight > 0 and n_batches > 1 else 0)  # kernels between cells
        + 32 * n_batches * n_genes  # sums of the genes
        + LIBRARY_BYTES
    )
    cores = min(os.cpu_count() or REFERENCE_CORES, MAX_USEFUL_CORES)
    per_logit = SECONDS_PER_LOGIT + SECONDS_PER_LOGIT_AND_TOPIC * model.n_topics
    step = SECONDS_PER_STEP + logits * per_logit * REFERENCE_CORES / cores
    return Cost(memory_bytes=int(memory), seconds=float(step * train.max_steps))
