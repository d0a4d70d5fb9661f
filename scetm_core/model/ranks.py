"""How do several processes train one model? Each takes its share of every minibatch, and what they find is added up.

All processes ("ranks") hold the same weights and take the same steps. A minibatch is made of the cells that one
process alone would take; each rank loads its share, consecutive cells of it. Whatever is drawn at random is drawn for
the whole minibatch, or for groups of `GROUP` cells, and so does not depend on the number of ranks. The loss of a rank
is its share of the minibatch's loss, so gradients are summed, not averaged, and the result is that of one process up
to the order of float sums. What needs the whole minibatch gets it: the batch norm its sums (`SharedBatchNorm`), the
distance between batches and the adversary the delta of all cells (`Ranks.gather`).

Gradients are summed in one flat piece after the backward pass, rather than by `DistributedDataParallel`: the fused
likelihood finishes most of the gradient at once, so little would be gained by sending it earlier, and hooks, fixed
parameters and clipping stay as they are.

Within one process (`ALONE`) every method gives back what it was given.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from scetm_core import processes
from scetm_core.errors import ConfigError, TrainingError

GROUP = 16  # cells that are dealt out together, and thinned by one random generator
PATIENCE = datetime.timedelta(days=7)  # until the first process comes: it may wait in line
TIMEOUT = datetime.timedelta(hours=1)  # for what they do together; one that dies is noticed at once, one that hangs so
_FAILED = "failed"  # key of the store under which a process that fails leaves its last words
_DEVICE = "device"  # and that under which the first one says where to train

Value = TypeVar("Value")


class _AnotherEnded(TrainingError):
    """Another process that trains the same model has ended."""


class Share(NamedTuple):
    """The part of a minibatch that one process takes: cells `first` to `stop` of `n_cells`."""

    first: int
    stop: int
    n_cells: int

    @classmethod
    def whole(cls, n_cells: int) -> Share:
        """All of it."""
        return cls(0, n_cells, n_cells)

    @property
    def weight(self) -> float:
        """Its part of the cells, 0 to 1."""
        return (self.stop - self.first) / self.n_cells

    def own(self, rows: Any) -> Any:
        """Of what is known of all cells, an array or tensor, the rows of the share."""
        return rows[self.first : self.stop]

    def of_all(self, own: Tensor) -> Tensor:
        """An empty tensor like one of the share, for all cells: to be filled with random numbers."""
        return own.new_empty((self.n_cells, *own.shape[1:]))


class Ranks:
    """The processes that train together: here, one alone.

    Attributes
    ----------
    rank
        Number of this process, from 0 on.
    world
        How many there are.
    """

    rank, world = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    def share(self, n_cells: int) -> Share:
        """The part of a minibatch that this process takes."""
        return Share.whole(n_cells)

    def part(self, n: int) -> np.ndarray:
        """Places, of so many, that this process goes through, in ascending order; none if there are few."""
        return np.arange(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, in place and without a gradient."""
        return tensor

    def sum_with_gradient(self, tensor: Tensor) -> Tensor:
        """Sum over the processes; its gradient is the sum of theirs."""
        return tensor

    def gather(self, own: Tensor, share: Share) -> Tensor:
        """Rows of all cells of a minibatch, from those of each share.

        Only a process's own rows carry a gradient, which is whole: each process works out all of what follows.
        """
        return own

    def mean(self, values: np.ndarray) -> float:
        """Mean over the values of all processes."""
        return float(np.mean(values))

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the sum over the processes."""

    def agree(self, value: Value) -> Value:
        """What the first process says, whatever the others would."""
        return value

    def agree_on_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The named tensors of the first process."""
        return tensors

    def leave(self) -> None:
        """End the work together; what follows is done by each process alone."""


ALONE = Ranks()


class _Several(Ranks):
    """Processes that were started by torchrun; get them by `joined`."""

    def __init__(self, store: Any) -> None:
        self.rank, self.world, self._store = processes.rank(), processes.world(), store

    def share(self, n_cells: int) -> Share:
        n_groups = -(-n_cells // GROUP)
        first, stop = (GROUP * (n_groups * number // self.world) for number in (self.rank, self.rank + 1))
        return Share(first, min(stop, n_cells), n_cells)

    def sum(self, tensor: Tensor) -> Tensor:
        self._together(lambda: torch.distributed.all_reduce(tensor))
        return tensor

    def sum_with_gradient(self, tensor: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(tensor, self)  # type: ignore[no-untyped-call]
        return total

    def gather(self, own: Tensor, share: Share) -> Tensor:
        rows = torch.zeros_like(share.of_all(own))
        share.own(rows).copy_(own.detach())
        self.sum(rows)
        return torch.cat([rows[: share.first], own, rows[share.stop :]])

    def mean(self, values: np.ndarray) -> float:
        total, n = self.sum(torch.tensor([values.sum(dtype=np.float64), len(values)], dtype=torch.float64)).tolist()
        return float(total / n)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        first = 0
        for gradient in gradients:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()

    def agree(self, value: Value) -> Value:
        said = [value]
        self._together(lambda: torch.distributed.broadcast_object_list(said, src=0, device=torch.device("cpu")))
        return said[0]

    def agree_on_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        known = self.agree({name: (tuple(t.shape), t.dtype, t.device.type) for name, t in tensors.items()})
        if not self.is_first:
            tensors = {
                name: torch.empty(shape, dtype=dtype, device=kind) for name, (shape, dtype, kind) in known.items()
            }
        for tensor in tensors.values():
            self._together(functools.partial(torch.distributed.broadcast, tensor.contiguous(), src=0))
        return tensors

    def leave(self) -> None:
        torch.distributed.destroy_process_group()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _together(self, call: Callable[[], object]) -> None:
        """Something that all processes do; if one of them is gone, say so."""
        try:
            call()
        except RuntimeError as error:
            raise _AnotherEnded(_gone(self._store, self.world)) from error


class _Sum(torch.autograd.Function):
    """Sum over the processes, forward and backward."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.sum(gradient.clone(memory_format=torch.contiguous_format)), None


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch norm whose statistics are those of the whole minibatch, also where processes share it.

    torch's own `SyncBatchNorm` works on GPUs only. As there, the gradient goes through the statistics.

    Attributes
    ----------
    ranks
        The processes that train together.
    """

    ranks: Ranks = ALONE

    def forward(self, hidden: Tensor) -> Tensor:
        """Standardised, scaled and moved: (n_cells, n_hidden)."""
        if not self.training or self.ranks.world == 1:
            return super().forward(hidden)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        sums = torch.cat([hidden.sum(dim=0), hidden.new_tensor([len(hidden)])])
        *_, n_cells = total = self.ranks.sum_with_gradient(sums)
        n_cells = n_cells.detach()
        mean = total[:-1] / n_cells  # (n_hidden,)
        centred = hidden - mean
        variance = self.ranks.sum_with_gradient(centred.square().sum(dim=0)) / n_cells
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n_cells / (n_cells - 1).clamp(min=1), self.momentum)
        standardised: Tensor = centred * (variance + self.eps).rsqrt()
        return standardised * self.weight + self.bias


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """The processes that torchrun has started, of which this is one; `ALONE` if it has started none.

    Waits for them all. On leaving with an error the others are told what it was.

    Parameters
    ----------
    device
        As in `TrainConfig.device`, said by the first process alone: on GPUs each takes one of its own.

    Raises
    ------
    ConfigError
        If there are more processes than GPUs, or they cannot work together on such a device.
    TrainingError
        If another process has ended.
    """
    if processes.world() == 1:
        yield ALONE
        return
    is_kept_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = torch.distributed.PrefixStore(  # type: ignore[attr-defined]
        "scetm",
        torch.distributed.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            processes.world(),
            is_master=processes.rank() == 0 and not is_kept_by_torchrun,
            timeout=PATIENCE,
        ),
    )
    ranks = _Several(store)

    def say_that_another_ended(*_: object) -> None:  # torchrun ends all when one has failed
        raise _AnotherEnded(_gone(store, ranks.world))

    if ranks.is_first:
        signal.signal(signal.SIGTERM, say_that_another_ended)
    try:
        if device is not None:
            store.set(_DEVICE, device)
        torch.distributed.init_process_group(
            _backend(store.get(_DEVICE).decode()),
            store=store,
            rank=ranks.rank,
            world_size=ranks.world,
            timeout=TIMEOUT,
        )
        yield ranks
    except Exception as error:
        if ranks.is_first:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left is to write how it ended
        elif not isinstance(error, _AnotherEnded):  # the first to fail says why, not those who fail because of it
            store.set(_FAILED, f"Process {ranks.rank + 1} said: {error}")
        raise


def _backend(device: str) -> str:
    """How the processes talk to each other; each takes its GPU."""
    n_here = processes.local_world()
    if device == "mps":
        raise ConfigError(
            "Several processes (n_processes) cannot train together on 'mps'. Set Device (device) to 'cpu'.",
            field="n_processes",
        )
    if device == "cpu" or not torch.cuda.is_available():
        return "gloo"
    if torch.cuda.device_count() < n_here:
        raise ConfigError(
            f"{n_here} processes (n_processes) need as many GPUs; found: {torch.cuda.device_count()}. Start fewer, or "
            "set Device (device) to 'cpu'.",
            field="n_processes",
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cpu:gloo,cuda:nccl"


def _gone(store: Any, world: int) -> str:
    """What to say when another process is no longer there."""
    try:
        words = store.get(_FAILED).decode() if store.check([_FAILED]) else ""
    except RuntimeError:  # what keeps the store is gone too
        words = ""
    why = words or "It said nothing: it was killed, e.g. for want of memory."
    return f"Another of the {world} processes that train together has ended. {why} Resume goes on from its last state."
