"""What `tests/model/test_ranks.py` has several processes do: started by torchrun, or imported for one alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scetm_core import processes
from scetm_core.build import build_model
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.data import load_dataset
from scetm_core.errors import DataError
from scetm_core.infer import infer
from scetm_core.model.ranks import Ranks, SharedBatchNorm, joined
from scetm_core.train import fit

BASE = {
    "n_topics": 4, "n_emb": 8, "n_hidden": 16, "batch_key": "batch", "encoder_input": "hvg", "start": "data",
    "lambda_init": "data", "learning_rate": 1e-3, "max_steps": 16, "minibatch_size": 61, "report_every": 4,
    "evaluate_every": 8, "checkpoint_every": 4, "device": "cpu",
}  # fmt: skip
ALL = {"mmd_weight": 4.0, "anchor_weight": 0.2, "adversary_weight": 0.5, "min_depth": 0.2}
SCENARIOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without batch norm": {"batch_norm": False},
    "recipe": {**ALL, "adversary_weight": 0.0},
    "adversary": {"adversary_weight": 0.5, "adversary_updates": 2},
    "on disk": {**ALL, "memory": "on disk"},
    "counts": {"likelihood": "counts", "normalise_beta": True},
}
RESUMED = "resumed"
N_FEATURES = 5


def config_of(path: Path, changes: dict[str, Any]) -> RunConfig:
    return run_config_from_flat({**BASE, "path": str(path), **changes})


def train(
    config: RunConfig, ranks: Ranks, *, checkpoints: Path | None = None, stop_at: int | None = None
) -> dict[str, np.ndarray]:
    """Curve, theta and statistics of the batch norm of a short training; resumed if there are checkpoints."""
    data = load_dataset(config.data)
    model = build_model(data, config, device=torch.device("cpu"))
    records = []
    training = fit(
        model,
        data,
        config.train,
        batch_key="batch",
        checkpoints=checkpoints,
        resume=checkpoints is not None,
        ranks=ranks,
    )
    for record in training:
        records.append(record)
        if record.step == stop_at:
            training.close()
    curve = [[getattr(record, name) for record in records] for name in ("step", "nll", "kl", "grad_norm", "test_nll")]
    result = infer(model, data, config)
    statistics = [value.numpy() for name, value in model.state_dict().items() if name.startswith("norm.running")]
    return {
        "curve": np.array(curve),
        "theta": result.obsm["theta"],
        "norm": np.array(statistics),
        "weights": np.array([float(value.detach().double().sum()) for value in model.parameters()]),
    }


def normalised(ranks: Ranks) -> dict[str, np.ndarray]:
    """What a batch norm makes of a minibatch shared unevenly, with all gradients."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(41, N_FEATURES, generator=generator, dtype=torch.float64) * 3 + 2
    weights = torch.randn(41, N_FEATURES, generator=generator, dtype=torch.float64)
    share = ranks.share(len(hidden))
    norm = SharedBatchNorm(N_FEATURES).double()
    norm.ranks = ranks
    torch.nn.init.uniform_(norm.weight, 0.5, 2.0, generator=generator)
    own = share.own(hidden).clone().requires_grad_()
    out = norm(own)
    loss = (share.own(weights) * out.square()).sum() + 0.3 * ranks.gather(out, share).prod(dim=0).sum().tanh()
    loss.backward()
    ranks.add_gradients(norm.parameters())
    assert own.grad is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None

    def whole(part: Tensor) -> np.ndarray:
        return ranks.gather(part.detach(), share).numpy()

    gradients = {f"gradient of {name}": value.grad.numpy() for name, value in norm.named_parameters()}  # type: ignore[union-attr]
    return {
        "out": whole(out),
        "gradient": whole(own.grad),
        **gradients,
        "mean": norm.running_mean.numpy(),
        "variance": norm.running_var.numpy(),
        "seen": norm.num_batches_tracked.numpy(),
    }


def all_of_it(path: Path, folder: Path, ranks: Ranks) -> dict[str, dict[str, np.ndarray]]:
    """Everything that is compared, by scenario."""
    found = {"batch norm": normalised(ranks)}
    for name, changes in SCENARIOS.items():
        found[name] = train(config_of(path, changes), ranks)
    recipe = config_of(path, SCENARIOS["recipe"])
    found[RESUMED] = train(recipe, ranks, checkpoints=folder / "begun by one")
    train(recipe, ranks, checkpoints=folder / "begun by several", stop_at=8)
    return found


def main() -> None:
    path, folder, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    with joined("cpu" if processes.rank() == 0 else None) as ranks:
        if what == "fail":
            fail(ranks)
        found = all_of_it(path, folder, ranks)
        ranks.leave()
    if ranks.is_first:
        flat = {f"{scenario}/{name}": value for scenario, parts in found.items() for name, value in parts.items()}
        np.savez(folder / "found.npz", **flat)


def fail(ranks: Ranks) -> None:
    """The second process fails while the first waits for it."""
    if not ranks.is_first:
        raise DataError("data.h5ad is gone.")
    ranks.sum(torch.zeros(3))


if __name__ == "__main__":
    main()
