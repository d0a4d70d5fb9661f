"""How do gradients become updates? The optimiser of a model, and the clipping before it."""

from __future__ import annotations

import torch
from torch import Tensor

from scetm_core.config import TrainConfig
from scetm_core.model.scetm import ScETM


def make_optimizer(model: ScETM, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with decay of the embeddings only, hence Adam without."""
    embeddings = [model.alpha, *model.gene_embedding.parameters()]
    special = {id(parameter) for parameter in embeddings}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in special]
    groups = [{"params": embeddings, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=model.device.type != "mps")


def clip_gradients(model: ScETM, max_norm: float) -> Tensor:
    """Norm of all gradients, which are scaled down to `max_norm`; the host waits for no device."""
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])  # type: ignore[misc]
    if norm.device.type != "cpu" or norm > max_norm:  # where looking costs nothing, needless work is spared
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
