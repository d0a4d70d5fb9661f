"""Which cells make up each step, and how are they ready before the model asks for them?

`minibatch_rows` says which; it follows from (seed, epoch) alone. `Loader` prepares minibatches a few steps ahead, in
threads. Counts on disk are read in buffers: blocks of neighbouring cells from all over the file, shuffled together,
so that the disk is read in long stretches and yet every minibatch is a mixture of the whole data set.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from scetm_core.model.cells import Cells, LoadedCells, Minibatch
from scetm_core.model.ranks import ALONE, GROUP, Ranks, Share
from scetm_core.model.sparse import SparseRows

BLOCKS_PER_BUFFER = 128  # stretches of neighbouring cells that are shuffled together
MINIBATCHES_AHEAD = 2  # prepared while the model is at work on another
BUFFERS_AHEAD = 1  # read while another is used up

PREPARING, READING = "prepare minibatches", "read counts"  # what the threads are called

Result = TypeVar("Result")


def minibatch_rows(n_cells: int, size: int, step: int, *, seed: int, block_size: int | None = None) -> np.ndarray:
    """Rows of the minibatch of a step (numbered from 0), in ascending order.

    Each epoch visits every cell once, in minibatches of equal size up to one cell and of at most `size`, so that no
    small rest disturbs the batch norm.

    Parameters
    ----------
    block_size
        Neighbouring cells that are read together, for counts on disk; None draws from all cells at once.
    """
    per_epoch = math.ceil(n_cells / size)
    epoch, place = divmod(step, per_epoch)
    first, last = _first_cell(n_cells, per_epoch, place), _first_cell(n_cells, per_epoch, place + 1)
    return np.sort(_order_of_cells(n_cells, size, epoch, seed, block_size)[first:last])


def _first_cell(n_cells: int, n_minibatches: int, place: int) -> int:
    """Where a minibatch begins in the order of its epoch; the larger ones come first."""
    size, n_larger = divmod(n_cells, n_minibatches)
    return place * size + min(place, n_larger)


@functools.lru_cache(maxsize=2)
def _order_of_cells(n_cells: int, size: int, epoch: int, seed: int, block_size: int | None) -> np.ndarray:
    """Order in which an epoch visits the cells, (n_cells,)."""
    rng = np.random.default_rng([seed, 2, epoch])
    if block_size is None:
        return rng.permutation(n_cells)
    shift = int(rng.integers(block_size))  # so that cells change neighbours from epoch to epoch
    starts = rng.permutation(math.ceil((n_cells + shift) / block_size)) * block_size - shift
    order = (starts[:, None] + np.arange(block_size)).ravel()
    order = order[(order >= 0) & (order < n_cells)]
    n_minibatches, together = math.ceil(n_cells / size), minibatches_per_buffer(size, block_size)
    for place in range(0, n_minibatches, together):
        last = min(place + together, n_minibatches)
        rng.shuffle(order[_first_cell(n_cells, n_minibatches, place) : _first_cell(n_cells, n_minibatches, last)])
    return order


def minibatches_per_buffer(size: int, block_size: int) -> int:
    """Minibatches whose cells are read and shuffled together, where counts are on disk."""
    return max(1, BLOCKS_PER_BUFFER * block_size // size)


class Loader:
    """Minibatches of the steps to come, in order: an iterator over (places, minibatch).

    `places` are positions among `cells`, of the whole minibatch where several processes share it; `minibatch` is the
    share of this one. The same whatever the number of threads; a resumed training that asks from
    its step on gets what an undisturbed one would have got. An error in a thread is raised when its minibatch is
    asked for. `close`, or leaving the `with` block, ends the threads.

    Parameters
    ----------
    cells
        Training cells.
    minibatch_size
        At most so many cells a step.
    seed
        Of the order of cells.
    device
        Where minibatches go.
    first_step, n_steps
        The steps to prepare.
    block_size
        Of the order of cells, see `minibatch_rows`; where the counts are on disk, buffers of blocks are read.
    min_depth
        Least share of its counts that the encoder sees of a cell, see `LoadedCells.thinned`.
    seen_genes
        (n_genes,), true for those the encoder looks at; None for all.
    n_threads
        That prepare minibatches; one more reads, where counts are on disk.
    ranks
        The processes that train together.
    """

    def __init__(
        self,
        cells: Cells,
        *,
        minibatch_size: int,
        seed: int,
        device: torch.device,
        first_step: int,
        n_steps: int,
        block_size: int | None = None,
        min_depth: float = 1.0,
        seen_genes: np.ndarray | None = None,
        n_threads: int = 1,
        ranks: Ranks = ALONE,
    ) -> None:
        self._cells, self._size, self._seed, self._device = cells, minibatch_size, seed, device
        self._ranks, self._block_size, self._min_depth, self._seen_genes = ranks, block_size, min_depth, seen_genes
        self._preparers = ThreadPoolExecutor(n_threads, thread_name_prefix=PREPARING)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=READING)
        steps = range(first_step, first_step + n_steps)
        in_buffers = block_size is not None and hasattr(cells.counts, "block_size")
        found = self._from_disk(steps) if in_buffers else self._from_memory(steps)
        self._minibatches = _ahead(self._preparers, found, MINIBATCHES_AHEAD + n_threads - 1)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[np.ndarray, Minibatch]:
        places, minibatch = next(self._minibatches)
        if self._device.type == "cuda":  # queued on the stream of the model; the host does not wait
            minibatch = _with_tensors(minibatch, lambda tensor: tensor.to(self._device, non_blocking=True))
        return places, minibatch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what they have not begun is dropped."""
        for pool in (self._reader, self._preparers):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._reader, self._preparers):
            pool.shutdown(wait=True)

    def _rows(self, step: int) -> np.ndarray:
        return minibatch_rows(len(self._cells), self._size, step, seed=self._seed, block_size=self._block_size)

    def _from_memory(self, steps: range) -> Iterator[Callable[[], tuple[np.ndarray, Minibatch]]]:
        """What is to be done for each step."""
        for step in steps:
            yield functools.partial(self._prepare, step)

    def _prepare(self, step: int) -> tuple[np.ndarray, Minibatch]:
        places = self._rows(step)
        share = self._ranks.share(len(places))
        return places, self._ready(self._cells.load(share.own(places)), step, share)

    def _from_disk(self, steps: range) -> Iterator[Callable[[], tuple[np.ndarray, Minibatch]]]:
        """What is to be done for each step, its buffer being there already."""
        reads = (functools.partial(self._read, group) for group in self._groups(steps))
        for group, places, buffer in _ahead(self._reader, reads, BUFFERS_AHEAD):
            for step, rows in zip(group, places, strict=True):
                yield functools.partial(self._take, step, rows, buffer)

    def _groups(self, steps: range) -> Iterator[range]:
        """Steps that share a buffer."""
        assert self._block_size is not None
        per_epoch = math.ceil(len(self._cells) / self._size)
        together = minibatches_per_buffer(self._size, self._block_size)
        first = steps.start
        while first < steps.stop:
            place = first % per_epoch
            stop = min(first - place % together + together, first - place + per_epoch, steps.stop)
            yield range(first, stop)
            first = stop

    def _read(self, steps: range) -> tuple[range, list[np.ndarray], tuple[np.ndarray, LoadedCells]]:
        """The steps, places of each, and the cells of all of them (of the shares) in the order of the file."""
        places = [self._rows(step) for step in steps]
        buffered = np.sort(np.concatenate([self._ranks.share(len(some)).own(some) for some in places]))
        return steps, places, (buffered, self._cells.load(buffered))

    def _take(
        self, step: int, places: np.ndarray, buffer: tuple[np.ndarray, LoadedCells]
    ) -> tuple[np.ndarray, Minibatch]:
        (buffered, loaded), share = buffer, self._ranks.share(len(places))
        return places, self._ready(loaded.take(np.searchsorted(buffered, share.own(places))), step, share)

    def _ready(self, loaded: LoadedCells, step: int, share: Share) -> Minibatch:
        """On the device; for a GPU in pinned memory, from which it is copied while the host goes on."""
        if self._min_depth < 1:
            groups = itertools.count(share.first // GROUP)
            rngs = (np.random.default_rng([self._seed, 6, step, group]) for group in groups)
            loaded = loaded.thinned(self._min_depth, genes=self._seen_genes, rngs=rngs)
        else:
            loaded = loaded.seen_by(self._seen_genes)
        if self._device.type == "cuda":
            return _with_tensors(loaded.to(torch.device("cpu")), Tensor.pin_memory)
        minibatch = loaded.to(self._device)
        for rows in (minibatch.cells, minibatch.features):
            if rows is not None and self._device.type == "cpu":
                _ = rows.transposed  # kept once asked for: better here than in the step
        return minibatch


def _ahead(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], Result]], n_ahead: int) -> Iterator[Result]:
    """Results of tasks in their order, while the pool is at work on the next few."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(task))
        if len(waiting) > n_ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _with_tensors(minibatch: Minibatch, change: Callable[[Tensor], Tensor]) -> Minibatch:
    """The same with each tensor pinned or moved, the parts of sparse ones too."""

    def of_rows(rows: SparseRows) -> SparseRows:
        parts = (rows.matrix.crow_indices(), rows.matrix.col_indices(), rows.matrix.values())
        crow, col, values = (change(part) for part in parts)
        return SparseRows(torch.sparse_csr_tensor(crow, col, values, size=rows.matrix.shape, check_invariants=False))

    cells = of_rows(minibatch.cells)
    return Minibatch(
        cells=cells,
        seen=cells if minibatch.seen is minibatch.cells else of_rows(minibatch.seen),
        batch=change(minibatch.batch),
        factors=change(minibatch.factors),
        numbers=change(minibatch.numbers),
        total=change(minibatch.total),
        depth=change(minibatch.depth),
        features=None if minibatch.features is None else of_rows(minibatch.features),
    )
