"""What happens in a training step, and between steps? Minibatch, loss, update; reports, checks, and the way back.

Everything random in step t follows from (seed, t): the order of cells from the seed and the epoch, dropout and the
sampled delta from the seed and the step. A checkpoint therefore needs no random state, only the weights, the
optimiser's moments and the reference found before the first step; a resumed run repeats the losses of an undisturbed
one exactly (on one device).

Beside the ELBO the loss may hold cells near that reference (anchor), the batches near each other (MMD), and the
encoder at odds with a discriminator (adversary); all are off in the published scETM.

Several processes may train together (`scetm_core.model.ranks`): each works on its share of every minibatch.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scetm_core.checkpoints import Checkpoint
from scetm_core.config import TrainConfig
from scetm_core.errors import DataError, TrainingError
from scetm_core.metrics.stability import neighbour_stability
from scetm_core.model import ScETM
from scetm_core.model.adversary import Adversary
from scetm_core.model.cells import Cells, Minibatch
from scetm_core.model.loader import Loader
from scetm_core.model.mmd import batch_discrepancy
from scetm_core.model.optimiser import clip_gradients, make_optimizer
from scetm_core.model.passes import mean_delta, nll_per_cell
from scetm_core.model.ranks import ALONE, Ranks, Share, SharedBatchNorm
from scetm_core.model.scetm import Elbo
from scetm_core.model.start import Reference, start_model
from scetm_core.training_checks import refuse_empty_shares, say_what_has_no_effect, uses_low_precision

LOWERED_RATE = 0.1  # of the learning rate, after a loss that was not finite
STABLE = 0.7  # share of a cell's neighbours that stay the same from one check to the next, of a settled embedding
N_WATCHED = 2000  # cells whose neighbours are watched

log = logging.getLogger("scetm")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One point of the training curve: means over the steps since the last one.

    NLL in nats per read, KL in nats per cell; lower is better. `stability` is the share of a cell's 15 neighbours
    that stayed the same since the last check. `test_nll` and `stability` are NaN where they were not measured.
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
    stability: float
    rollbacks: int


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


class Trainer:
    """Model, optimiser and position of one training.

    Parameters
    ----------
    cells
        All of them; some are held out.
    ranks
        The processes that train this model together.
    """

    def __init__(self, model: ScETM, cells: Cells, config: TrainConfig, *, ranks: Ranks = ALONE) -> None:
        self.model, self.config, self.ranks = model, config, ranks
        say_what_has_no_effect(model, config)
        train_rows, test_rows = split_cells(len(cells), config.test_fraction, seed=config.seed)
        self.train, self.test = cells.subset(train_rows), cells.subset(test_rows)
        if config.early_stop and not len(test_rows):
            raise DataError(
                f"A held-out share of {config.test_fraction:g} of {len(cells)} cells leaves no cell to stop by. Raise "
                "Held-out share (test_fraction), or turn off Stop on a plateau (early_stop)."
            )
        self.steps_per_epoch = math.ceil(len(self.train) / config.minibatch_size)
        refuse_empty_shares(len(self.train) // self.steps_per_epoch, ranks.world)
        if isinstance(model.norm, SharedBatchNorm):
            model.norm.ranks = ranks
        self.optimizer = make_optimizer(model, config)
        self.adversary: Adversary | None = None
        if config.adversary_weight > 0 and len(model.batches) > 1:
            self.adversary = Adversary(model.config.n_topics, len(model.batches), seed=config.seed, device=model.device)
        self.low_precision = uses_low_precision(model, config)
        self.block_size: int | None = getattr(cells.counts, "block_size", None)  # of the order of cells
        self.generator = torch.Generator(device=model.device)
        self.reference: Reference | None = None
        self.loader: Loader | None = None
        self.step = 0
        self.best_test_nll, self.checks_without_progress, self.stability = math.inf, 0, math.nan
        self.watched: np.ndarray | None = None  # (n_watched, n_topics), at the last check
        self.rate_scale, self.rollbacks = 1.0, 0
        self.last_good: dict[str, Tensor] | None = None
        self.seconds = 0.0

    def initialise(self) -> None:
        """Start from the training cells whatever the settings do not want started from N(0, 1)."""
        started = time.perf_counter()
        needs_reference = self.config.anchor_weight > 0 or self._mixes_batches
        self.reference = start_model(
            self.model,
            self.train,
            needs_reference=needs_reference,
            seed=self.config.seed,
            groups=self.config.mmd_groups,
        )
        self.seconds += time.perf_counter() - started

    @property
    def _mixes_batches(self) -> bool:
        return self.config.mmd_weight > 0 and len(self.model.batches) > 1

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the held-out NLL is on a plateau and the neighbours have settled."""
        plateau = self.config.early_stop and self.checks_without_progress >= self.config.patience
        return (plateau and not self.stability < STABLE) or self.step >= self.config.max_steps

    def close(self) -> None:
        """End the threads that prepare minibatches."""
        if self.loader is not None:
            self.loader.close()
            self.loader = None

    def follow_first(self) -> None:
        """Bring all processes to where the first one stands."""
        if self.ranks.world > 1:
            own = self.checkpoint() if self.ranks.is_first else Checkpoint({}, {})
            found = Checkpoint(self.ranks.agree_on_tensors(own.tensors), self.ranks.agree(own.position))
            if not self.ranks.is_first:
                self.restore(found)

    def advance(self) -> Record:
        """Train up to the next report; after a loss that is not finite, once more from the last report, slower."""
        first = self.step
        if self.last_good is None:
            self._keep()
        while True:
            started = time.perf_counter()
            n_cells, sums = self.train_to_report()
            nll, kl, grad_norm = (sums / (self.step - first)).tolist()
            if all(math.isfinite(value) for value in (nll, kl, grad_norm)) and self._is_finite():
                break
            self._roll_back(first, f"NLL {nll:g}, KL {kl:g}, gradient norm {grad_norm:g}")
        elapsed = time.perf_counter() - started
        self._keep()
        test_nll, stability = self._check_held_out()
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
            stability=stability,
            rollbacks=self.rollbacks,
        )

    def train_to_report(self) -> tuple[int, Tensor]:
        """Number of cells seen, and the sums of nll, kl and gradient norm, fetched once from the device."""
        sums, n_cells = torch.zeros(3, device=self.model.device), 0
        every = self.config.report_every
        last = min(self.step - self.step % every + every, self.config.max_steps)
        if self.loader is None:
            self.loader = Loader(
                self.train,
                minibatch_size=self.config.minibatch_size,
                seed=self.config.seed,
                device=self.model.device,
                first_step=self.step,
                n_steps=self.config.max_steps - self.step,
                block_size=self.block_size,
                min_depth=self.config.min_depth,
                seen_genes=_seen_genes(self.model),
                ranks=self.ranks,
            )
        self.model.train()
        while self.step < last:
            places, minibatch = next(self.loader)
            sums += self._update(places, minibatch)
            n_cells += len(places)
            self.step += 1
        return n_cells, self.ranks.sum(sums)

    def _update(self, places: np.ndarray, minibatch: Minibatch) -> Tensor:
        """One step on some training cells, all of them or this process's share; asks nothing of the device.

        Returns nll, kl and the gradient's norm, of which those of all processes add up to the minibatch's.
        """
        share = self.ranks.share(len(places))
        self.generator.manual_seed(_mix(self.config.seed, self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.step)
        elbo = self.model.elbo(
            minibatch,
            kl_weight=self._kl_weight(self.step),
            generator=self.generator,
            low_precision=self.low_precision,
            share=share,
        )
        loss = share.weight * elbo.loss + self._pull(elbo, minibatch.batch, places, share)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.ranks.add_gradients(self.model.parameters())
        grad_norm = clip_gradients(self.model, self.config.max_grad_norm)
        self.optimizer.step()
        if self.adversary is not None:
            n_updates = self.config.adversary_updates
            of_all = (
                self.ranks.gather(part, share) for part in (elbo.mu.detach(), elbo.sigma.detach(), minibatch.batch)
            )
            self.adversary.learn(*of_all, n_updates=n_updates, generator=self.generator)
        of_reads = share.weight if self.model.config.likelihood == "fraction" else self._share_of_reads(minibatch)
        return torch.stack([of_reads * elbo.nll.detach(), share.weight * elbo.kl.detach(), share.weight * grad_norm])

    def _share_of_reads(self, minibatch: Minibatch) -> Tensor:
        """Of a minibatch's reads, those in this process's share; where the NLL is one per read."""
        reads = minibatch.depth.sum()
        return reads / self.ranks.sum(reads.clone())

    def _pull(self, elbo: Elbo, batch: Tensor, places: np.ndarray, share: Share) -> Tensor:
        """What holds cells near their reference and batches near each other; a scalar."""
        pull, config = elbo.mu.new_zeros(()), self.config
        if self.adversary is not None:
            likelihood = share.weight * self.adversary.log_likelihood(elbo.delta, batch)
            pull = pull + config.adversary_weight * likelihood
        if self.reference is None:
            return pull
        rows = torch.from_numpy(places).to(batch.device)
        if config.anchor_weight > 0:
            distance = (elbo.mu - self.reference.delta[share.own(rows)]).square().mean() / self._reference_spread
            pull = pull + config.anchor_weight * share.weight * distance
        if self._mixes_batches:
            weights = self.reference.ratio[:, self.reference.cluster[rows]].T  # (n_cells, n_batches)
            mu, batch = self.ranks.gather(elbo.mu, share), self.ranks.gather(batch, share)
            pull = pull + config.mmd_weight * batch_discrepancy(mu, batch, weights)
        return pull

    @functools.cached_property
    def _reference_spread(self) -> Tensor:
        assert self.reference is not None
        return self.reference.delta.var(correction=0).clamp(min=1e-6)

    def _learning_rate(self, step: int) -> float:
        config = self.config
        rate = config.learning_rate * self.rate_scale
        if config.learning_rate_schedule == "cosine":
            return rate * 0.5 * (1 + math.cos(math.pi * step / config.max_steps))
        return rate * math.exp(-config.learning_rate_decay * step)

    def _kl_weight(self, step: int) -> float:
        """Linear from 0 to its maximum over the warm-up."""
        warmup_steps = self.config.kl_warmup * self.config.max_steps
        return self.config.max_kl_weight * min(1.0, step / warmup_steps if warmup_steps else 1.0)

    def _check_held_out(self) -> tuple[float, float]:
        """Held-out NLL and stability of the neighbours at checks, NaN between them."""
        previous = self.step - self.config.report_every
        due = self.step // self.config.evaluate_every > max(previous, 0) // self.config.evaluate_every
        if not len(self.test) or not (due or self.step >= self.config.max_steps):
            return math.nan, math.nan
        value = self.ranks.mean(nll_per_cell(self.model, self.test.subset(self.ranks.part(len(self.test)))))
        self.checks_without_progress = 0 if value < self.best_test_nll else self.checks_without_progress + 1
        self.best_test_nll = min(value, self.best_test_nll)
        if self.ranks.is_first:
            self._watch_neighbours()
        self.stability = self.ranks.agree(self.stability)
        return value, self.stability

    def _watch_neighbours(self) -> None:
        """See how far the neighbours of held-out cells have stayed the same since the last check."""
        places = np.unique(np.linspace(0, len(self.test) - 1, N_WATCHED).astype(np.int64))
        watched = mean_delta(self.model, self.test.subset(places))
        if self.watched is not None and len(watched) > 1:
            self.stability = neighbour_stability(self.watched, watched, seed=self.config.seed)
        self.watched = watched

    # ---- going back, stopping and going on ----------------------------------------------------------------------

    def _parts(self) -> Iterator[tuple[str, torch.nn.Module, torch.optim.Optimizer]]:
        """What is trained, with the prefix of its names in a checkpoint."""
        yield "", self.model, self.optimizer
        if self.adversary is not None:
            yield "adversary.", self.adversary.discriminator, self.adversary.optimizer

    def _tensors(self) -> dict[str, Tensor]:
        """All that training changes, by name: the tensors themselves."""
        tensors: dict[str, Tensor] = {}
        for prefix, module, optimizer in self._parts():
            tensors |= {f"{prefix}model.{name}": value for name, value in module.state_dict().items()}
            for name, parameter in module.named_parameters():
                for slot, value in optimizer.state[parameter].items():
                    tensors[f"{prefix}optimizer.{slot}.{name}"] = value
        return tensors

    def _is_finite(self) -> bool:
        """Whether every weight is a number after the last update."""
        sums = torch.stack([parameter.detach().sum() for parameter in self.model.parameters()])
        return self.ranks.agree(bool(sums.isfinite().all()))

    def _keep(self) -> None:
        """Remember this state as one to come back to."""
        tensors = self._tensors()
        if self.last_good is None or self.last_good.keys() != tensors.keys():
            self.last_good = {name: tensor.clone() for name, tensor in tensors.items()}
            return
        for name, tensor in tensors.items():
            self.last_good[name].copy_(tensor)

    def _roll_back(self, step: int, what: str) -> None:
        """Return to the last good state and go on at a lower rate; the second time, give up."""
        if self.rollbacks:
            raise TrainingError(
                f"The loss is no longer finite (after step {step}: {what}), and was not at a tenth of the learning "
                "rate either. Lower the learning rate, and check that the counts are raw counts."
            )
        log.warning("The loss is not finite after step %d (%s): going on at a tenth of the learning rate.", step, what)
        assert self.last_good is not None
        self.close()
        self._load(self.last_good)
        self.step, self.rollbacks, self.rate_scale = step, self.rollbacks + 1, LOWERED_RATE

    def checkpoint(self) -> Checkpoint:
        """State and position, for `restore`."""
        tensors = self._tensors()
        if self.reference is not None:
            tensors |= {f"reference.{name}": value for name, value in self.reference._asdict().items()}
        if self.watched is not None:
            tensors["watched"] = torch.from_numpy(self.watched)
        finite = {"best_test_nll": self.best_test_nll, "stability": self.stability}
        position = {
            "step": self.step,
            **{name: value if math.isfinite(value) else None for name, value in finite.items()},
            "checks_without_progress": self.checks_without_progress,
            "block_size": self.block_size,
            "rollbacks": self.rollbacks,
            "rate_scale": self.rate_scale,
            "seconds": self.seconds,
        }
        return Checkpoint(tensors, position)

    def restore(self, found: Checkpoint) -> None:
        """Go to where a checkpoint was written."""
        tensors, position = found
        self._load(tensors)
        if "reference.delta" in tensors:
            self.reference = Reference(*(tensors[f"reference.{name}"] for name in Reference._fields))
        if "watched" in tensors:
            self.watched = tensors["watched"].cpu().numpy()
        self.step, self.seconds, self.block_size = position["step"], position["seconds"], position["block_size"]
        self.rollbacks, self.rate_scale = position["rollbacks"], position["rate_scale"]
        self.checks_without_progress = position["checks_without_progress"]
        self.best_test_nll = math.inf if position["best_test_nll"] is None else position["best_test_nll"]
        self.stability = math.nan if position["stability"] is None else position["stability"]

    def _load(self, tensors: dict[str, Tensor]) -> None:
        for prefix, module, optimizer in self._parts():
            module.load_state_dict({name: tensors[f"{prefix}model.{name}"] for name in module.state_dict()})
            for name, parameter in module.named_parameters():
                slots = {slot: f"{prefix}optimizer.{slot}.{name}" for slot in ("step", "exp_avg", "exp_avg_sq")}
                optimizer.state[parameter] = {
                    slot: tensors[key].clone() for slot, key in slots.items() if key in tensors
                }


def _seen_genes(model: ScETM) -> np.ndarray | None:
    """Mask (n_genes,) of the genes the encoder looks at; None for all."""
    if model.variable_genes is None:
        return None
    mask = np.zeros(len(model.genes), dtype=bool)
    mask[model.variable_genes.genes.cpu().numpy()] = True
    return mask


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed from two numbers, well mixed."""
    return int(np.random.SeedSequence([seed, 3, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
