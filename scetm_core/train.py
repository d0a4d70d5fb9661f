"""How is the model trained? `fit` is a generator: every few steps it yields a record, and the caller decides what next.

Everything random in step t follows from (seed, t): the order of cells from the seed and the epoch, dropout and the
sampled delta from the seed and the step. A checkpoint therefore needs no random state, only the weights, the
optimiser's moments and the reference found before the first step; a resumed run repeats the losses of an undisturbed
one exactly (on one device).

Beside the ELBO the loss may hold cells near that reference (anchor) and the batches near each other (MMD); both are
off in the published settings.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from torch import Tensor

from scetm_core.config import TrainConfig
from scetm_core.errors import DataError, RunError, TrainingError
from scetm_core.model import ScETM
from scetm_core.model.cells import Cells, batch_means, batch_names, normalise, prepare_cells, row_chunks
from scetm_core.model.mmd import batch_discrepancy
from scetm_core.model.start import Reference, start_parameters, survey
from scetm_core.model.storage import read_tensors, write_tensors

__all__ = ["Cells", "Record", "batch_means", "batch_names", "fit", "normalise", "prepare_cells", "row_chunks"]

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class Record:
    """One point of the training curve: means over the steps since the last one.

    NLL in nats per read, KL in nats per cell; lower is better. `test_nll` is NaN where it was not measured.
    """

    step: int
    epoch: float
    nll: float
    kl: float
    kl_weight: float
    test_nll: float
    learning_rate: float
    grad_norm: float
    cells_per_second: float
    seconds: float


def split_cells(n_cells: int, test_fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and rows held out, each in ascending order.

    Raises
    ------
    DataError
        If fewer than two cells are left for training.
    """
    n_test = round(n_cells * test_fraction)
    if n_cells - n_test < 2:
        raise DataError(f"{n_cells - n_test} of {n_cells} cells would be left for training; at least 2 are needed.")
    order = np.random.default_rng([seed, 1]).permutation(n_cells)
    return np.sort(order[n_test:]), np.sort(order[:n_test])


def minibatch_rows(n_cells: int, size: int, step: int, *, seed: int) -> np.ndarray:
    """Rows of the minibatch of a step (numbered from 0).

    Each epoch visits every cell once, in minibatches of equal size up to one cell and of at most `size`, so that no
    small rest disturbs the batch norm.
    """
    per_epoch = math.ceil(n_cells / size)
    epoch, place = divmod(step, per_epoch)
    return np.array_split(_order_of_cells(n_cells, epoch, seed), per_epoch)[place]


@functools.lru_cache(maxsize=2)
def _order_of_cells(n_cells: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 2, epoch]).permutation(n_cells)


def fit(
    model: ScETM,
    data: ad.AnnData,
    config: TrainConfig,
    *,
    batch_key: str | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
) -> Generator[Record, None, None]:
    """Train `model` in place, yielding a `Record` every `config.report_every` steps and at the end.

    Closing the generator stops training; with `checkpoints` the state is kept at the first yield at least
    `config.checkpoint_every` steps after the last checkpoint, at the end, and when the generator is closed.

    Parameters
    ----------
    model
        On the device to train on.
    data
        Counts in X with the model's genes in its order, no empty cells (what `load_dataset` returns).
    batch_key
        Column of obs with the batches the model knows; None for a model of one batch.
    checkpoints
        Folder for checkpoints; none are written without it.
    resume
        Go on from the newest readable checkpoint there, if any.

    Raises
    ------
    DataError
        If data and model do not fit.
    TrainingError
        If the loss is no longer finite.
    """
    trainer = _Trainer(model, prepare_cells(data, model, batch_key=batch_key), config)
    if not (resume and checkpoints is not None and trainer.restore(checkpoints)):
        trainer.initialise()
    saved = trainer.step
    try:
        while not trainer.finished:
            record = trainer.advance()
            if checkpoints is not None and (trainer.finished or trainer.step - saved >= config.checkpoint_every):
                trainer.save(checkpoints)
                saved = trainer.step
            yield record
    except GeneratorExit:
        if checkpoints is not None and trainer.step > saved:
            trainer.save(checkpoints)
        raise
    finally:
        model.eval()


class _Trainer:
    """Model, optimiser and position of one training."""

    def __init__(self, model: ScETM, cells: Cells, config: TrainConfig) -> None:
        self.model, self.config = model, config
        train_rows, test_rows = split_cells(len(cells), config.test_fraction, seed=config.seed)
        self.train, self.test = cells.take(train_rows), cells.take(test_rows)
        self.steps_per_epoch = math.ceil(len(self.train) / config.minibatch_size)
        self.optimizer = _optimizer(model, config)
        self.generator = torch.Generator(device=model.device)
        self.reference: Reference | None = None
        self.step = 0
        self.best_test_nll, self.checks_without_progress = math.inf, 0
        self.seconds = 0.0

    def initialise(self) -> None:
        """Start from the training cells whatever the settings do not want started from N(0, 1)."""
        started = time.perf_counter()
        model, config = self.model, self.config
        if model.lambda_ is not None and model.config.lambda_init == "data":
            model.start_from(batch_means(self.train, len(model.batches)))
        if model.variable_genes is not None:
            model.variable_genes.choose(self.train)
        if model.config.start == "data" or config.anchor_weight > 0 or self._mixes_batches:
            found = survey(model, self.train, seed=config.seed)
            self.reference = found.reference
            if model.config.start == "data":
                start_parameters(model, self.train, found, seed=config.seed)
        self.seconds += time.perf_counter() - started

    @property
    def _mixes_batches(self) -> bool:
        return self.config.mmd_weight > 0 and len(self.model.batches) > 1

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the plateau is reached."""
        plateau = self.config.early_stop and self.checks_without_progress >= self.config.patience
        return plateau or self.step >= self.config.max_steps

    def advance(self) -> Record:
        """Train up to the next report."""
        started, first = time.perf_counter(), self.step
        sums = torch.zeros(3, device=self.model.device)  # nll, kl, gradient norm: fetched once, at the report
        n_cells = 0
        last = min(self.step - self.step % self.config.report_every + self.config.report_every, self.config.max_steps)
        self.model.train()
        while self.step < last:
            rows = minibatch_rows(len(self.train), self.config.minibatch_size, self.step, seed=self.config.seed)
            sums += self._update(rows)
            n_cells += len(rows)
            self.step += 1
        nll, kl, grad_norm = (sums / (self.step - first)).tolist()
        if not all(math.isfinite(value) for value in (nll, kl, grad_norm)):
            raise TrainingError(
                f"The loss is no longer finite (step {self.step}: NLL {nll:g}, KL {kl:g}). "
                "Lower the learning rate, and check that the counts are raw counts."
            )
        elapsed = time.perf_counter() - started
        test_nll = self._measure_test_nll()
        self.seconds += time.perf_counter() - started
        return Record(
            step=self.step,
            epoch=self.step / self.steps_per_epoch,
            nll=nll,
            kl=kl,
            kl_weight=self._kl_weight(self.step - 1),
            test_nll=test_nll,
            learning_rate=self._learning_rate(self.step - 1),
            grad_norm=grad_norm,
            cells_per_second=n_cells / elapsed,
            seconds=self.seconds,
        )

    def _update(self, rows: np.ndarray) -> Tensor:
        """One step on some training cells; returns nll, kl and the gradient's norm without waiting for the device."""
        self.generator.manual_seed(_mix(self.config.seed, self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.step) * group["rate"]
        cells, batch = self.train.take(rows).to(self.model.device)
        elbo = self.model.elbo(cells, batch, kl_weight=self._kl_weight(self.step), generator=self.generator)
        loss = elbo.loss
        if self.reference is not None:
            loss = loss + self._pull(elbo.mu, batch, torch.from_numpy(rows).to(batch.device), self.reference)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return torch.stack([elbo.nll.detach(), elbo.kl.detach(), grad_norm])

    def _pull(self, mu: Tensor, batch: Tensor, rows: Tensor, reference: Reference) -> Tensor:
        """What holds cells near their reference and batches near each other; a scalar."""
        pull = mu.new_zeros(())
        if self.config.anchor_weight > 0:
            spread = reference.delta.var(correction=0).clamp(min=1e-6)
            pull = pull + self.config.anchor_weight * (mu - reference.delta[rows]).square().mean() / spread
        if self._mixes_batches:
            weights = reference.ratio[:, reference.cluster[rows]].T  # (n_cells, n_batches)
            pull = pull + self.config.mmd_weight * batch_discrepancy(mu, batch, weights)
        return pull

    def _learning_rate(self, step: int) -> float:
        config = self.config
        if config.learning_rate_schedule == "cosine":
            return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.max_steps))
        return config.learning_rate * math.exp(-config.learning_rate_decay * step)

    def _kl_weight(self, step: int) -> float:
        """Linear from 0 to its maximum over the warm-up."""
        warmup_steps = self.config.kl_warmup * self.config.max_steps
        return self.config.max_kl_weight * min(1.0, step / warmup_steps if warmup_steps else 1.0)

    def _measure_test_nll(self) -> float:
        """Held-out NLL at checks, NaN between them."""
        previous = self.step - self.config.report_every
        due = self.step // self.config.evaluate_every > max(previous, 0) // self.config.evaluate_every
        if not len(self.test) or not (due or self.step >= self.config.max_steps):
            return math.nan
        value = float(np.mean(nll_per_cell(self.model, self.test)))
        self.checks_without_progress = 0 if value < self.best_test_nll else self.checks_without_progress + 1
        self.best_test_nll = min(value, self.best_test_nll)
        return value

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write a checkpoint beside, rename it, and delete all but the newest few."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for slot, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{slot}.{name}"] = value
        if self.reference is not None:
            tensors |= {f"reference.{name}": value for name, value in self.reference._asdict().items()}
        position = {
            "step": self.step,
            "best_test_nll": self.best_test_nll if math.isfinite(self.best_test_nll) else None,
            "checks_without_progress": self.checks_without_progress,
            "seconds": self.seconds,
        }
        path = folder / f"step-{self.step:08d}.safetensors"
        write_tensors(path, tensors, metadata={**self.model.description(), "position": json.dumps(position)})
        for old in checkpoint_files(folder)[KEPT_CHECKPOINTS:]:
            old.unlink()

    def restore(self, folder: Path) -> bool:
        """Go to the newest readable checkpoint; False if there is none.

        Raises
        ------
        RunError
            If there are checkpoints and none can be read.
        """
        problems = []
        for path in checkpoint_files(folder):
            try:
                tensors, header = read_tensors(path, device=self.model.device)
                position, names = json.loads(header["position"]), header["names"]
            except (OSError, ValueError, KeyError) as error:
                problems.append(f"{path.name}: {error}")
                continue
            if names != self.model.description()["names"]:
                raise RunError(
                    f"{path} was trained on other genes or batches than the data now have. "
                    "Restore the input as it was, or start a new run."
                )
            self._load(tensors)
            self.step, self.seconds = position["step"], position["seconds"]
            best = position["best_test_nll"]
            self.best_test_nll = math.inf if best is None else best
            self.checks_without_progress = position["checks_without_progress"]
            return True
        if problems:
            raise RunError(f"No checkpoint in {folder} can be read ({'; '.join(problems)}). Delete it to start anew.")
        return False

    def _load(self, tensors: dict[str, Tensor]) -> None:
        state = {name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")}
        self.model.load_state_dict(state)
        if "reference.delta" in tensors:
            self.reference = Reference(*(tensors[f"reference.{name}"] for name in Reference._fields))
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                slot: tensors[f"optimizer.{slot}.{name}"] for slot in ("step", "exp_avg", "exp_avg_sq")
            }


def _optimizer(model: ScETM, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with decay of the embeddings only, hence Adam without; each group's `rate` is its share of the rate."""
    first, embeddings = [model.input_weight, model.input_bias], [model.alpha, model.rho]
    special = {id(parameter) for parameter in (*first, *embeddings)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in special]
    groups = [
        {"params": first, "rate": config.first_layer_rate, "weight_decay": 0.0},
        {"params": embeddings, "rate": 1.0, "weight_decay": config.weight_decay},
        {"params": rest, "rate": 1.0, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=model.device.type != "mps")


def checkpoint_files(folder: Path) -> list[Path]:
    """Checkpoints in a folder, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def nll_per_cell(model: ScETM, cells: Cells, *, chunk_size: int = 4096) -> np.ndarray:
    """Reconstruction term of each cell (n_cells,) at delta = mu, nats per read; puts the model in evaluation mode."""
    model.eval()
    chunks = (cells.take(rows).to(model.device) for rows in row_chunks(len(cells), chunk_size))
    return np.concatenate([model.nll_per_cell(rows, batch).cpu().numpy() for rows, batch in chunks])


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed from two numbers, well mixed."""
    return int(np.random.SeedSequence([seed, 3, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
