"""Does every epoch visit each cell once, and are minibatches ready in time, in order, and with little in memory?"""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scetm_core.config import DataConfig, ModelConfig
from scetm_core.data import load_dataset
from scetm_core.errors import DataError
from scetm_core.model import ScETM
from scetm_core.model import loader as loader_module
from scetm_core.model.cells import Cells, LoadedCells, Minibatch, normalise, prepare_cells
from scetm_core.model.loader import BLOCKS_PER_BUFFER, Loader, minibatch_rows, minibatches_per_buffer
from scetm_core.model.ranks import Share
from scetm_core.model.start import start_model

CPU = torch.device("cpu")
BLOCK_SIZES = [None, 1, 4, 16, 1000]


class SlowCounts:
    """Counts as if on disk: read in blocks, with a note of what is read and of what is still held."""

    def __init__(self, counts: sp.csr_matrix, *, block_size: int) -> None:
        self.counts, self.shape, self.block_size = counts, counts.shape, block_size
        self.read: list[np.ndarray] = []
        self.held: list[weakref.ref[np.ndarray]] = []
        self.fails_from = math.inf
        self.threads: set[str] = set()

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        if len(self.read) >= self.fails_from:
            raise DataError("data.h5ad is gone.")
        self.threads.add(threading.current_thread().name)
        self.read.append(rows)
        found = self.counts[rows]
        self.held.append(weakref.ref(found.indices))  # handed on as it is to the normalised counts
        return found

    @property
    def n_held(self) -> int:
        return sum(reference() is not None for reference in self.held)


def made_up_cells(n_cells: int = 600, *, block_size: int | None = None) -> Cells:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(1.0, size=(n_cells, 12)).astype(np.float32) + np.eye(n_cells, 12, dtype="f4"))
    counts += sp.csr_matrix((np.ones(n_cells, dtype="f4"), (np.arange(n_cells), np.zeros(n_cells, int))), counts.shape)
    return Cells(
        counts=counts if block_size is None else SlowCounts(counts, block_size=block_size),
        rows=np.arange(n_cells),
        batch=rng.integers(3, size=n_cells),
        factors=rng.integers(2, size=(n_cells, 1)),
        numbers=rng.normal(size=(n_cells, 2)).astype(np.float32),
        totals=np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel(),
        features=sp.csr_matrix(rng.random((n_cells, 3), dtype=np.float32)),
    )


def loader_of(cells: Cells, *, first_step: int = 0, n_steps: int = 25, n_threads: int = 1) -> Loader:
    return Loader(
        cells,
        minibatch_size=40,
        seed=3,
        device=CPU,
        first_step=first_step,
        n_steps=n_steps,
        block_size=getattr(cells.counts, "block_size", None),
        n_threads=n_threads,
    )


def our_threads() -> list[threading.Thread]:
    names = (loader_module.PREPARING, loader_module.READING)
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]


# ---- which cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize(("n_cells", "size"), [(1000, 64), (1000, 1000), (1000, 4000), (7, 3), (999, 500)])
def test_every_epoch_visits_each_cell_once_in_equal_minibatches(
    n_cells: int, size: int, block_size: int | None
) -> None:
    per_epoch = math.ceil(n_cells / size)
    for epoch in range(2):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        rows = [minibatch_rows(n_cells, size, step, seed=1, block_size=block_size) for step in steps]
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(n_cells))
        sizes = {len(some) for some in rows}
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= size


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_the_order_follows_from_seed_and_epoch(block_size: int | None) -> None:
    def first_of(epoch: int, seed: int) -> list[int]:
        return minibatch_rows(1000, 100, 10 * epoch, seed=seed, block_size=block_size).tolist()

    assert first_of(4, 1) == first_of(4, 1)
    assert first_of(4, 1) != first_of(5, 1)
    assert first_of(4, 1) != first_of(4, 2)


def test_a_buffer_is_made_of_blocks_from_all_over_the_data_and_its_minibatches_are_mixed() -> None:
    n_cells, size, block_size = 100_000, 512, 16
    together = minibatches_per_buffer(size, block_size)
    assert together == BLOCKS_PER_BUFFER * block_size // size == 4
    rows = [minibatch_rows(n_cells, size, step, seed=0, block_size=block_size) for step in range(together)]
    buffer = np.sort(np.concatenate(rows))
    assert (np.diff(buffer) > 1).sum() <= BLOCKS_PER_BUFFER + 2
    for some in rows:
        quarters = np.bincount(4 * some // n_cells, minlength=4)
        assert quarters.min() > size / 8  # the whole data set, as far as 128 blocks go
        assert len(np.unique(some // block_size)) > 100


def test_cells_change_neighbours_from_epoch_to_epoch() -> None:
    edges = set()
    for epoch in range(12):
        rows = [minibatch_rows(1000, 100, 10 * epoch + step, seed=0, block_size=200) for step in range(10)]
        edges.add(tuple(np.sort(rows[0])))
    assert len(edges) == 12


# ---- ready in time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("block_size", [None, 1, 5])
def test_minibatches_are_those_loaded_by_hand_in_order(block_size: int | None, n_threads: int) -> None:
    cells = made_up_cells(block_size=block_size)
    some = cells.subset(np.arange(1, 600, 2))  # places are among these
    with loader_of(some, n_threads=n_threads) as loader:
        for step, (places, minibatch) in enumerate(loader):
            expected_places = minibatch_rows(300, 40, step, seed=3, block_size=block_size)
            np.testing.assert_array_equal(places, expected_places)
            expected = some.load(expected_places).to(CPU)
            torch.testing.assert_close(minibatch.cells.matrix.to_dense(), expected.cells.matrix.to_dense())
            torch.testing.assert_close(minibatch.cells.transposed.to_dense(), expected.cells.matrix.to_dense().T)
            torch.testing.assert_close(minibatch.features.matrix.to_dense(), expected.features.matrix.to_dense())
            for name in ("batch", "factors", "numbers", "depth"):
                torch.testing.assert_close(getattr(minibatch, name), getattr(expected, name))
    assert step == 24


@pytest.mark.parametrize("block_size", [None, 1, 5])
def test_who_resumes_gets_what_would_have_come(block_size: int | None) -> None:
    cells = made_up_cells(block_size=block_size)
    with loader_of(cells, n_steps=40) as whole, loader_of(cells, first_step=18, n_steps=22) as resumed:
        expected = [places for places, _ in whole][18:]
        for places, one in zip(expected, resumed, strict=True):
            np.testing.assert_array_equal(places, one[0])


@pytest.mark.parametrize("block_size", [None, 1])
def test_a_few_minibatches_are_ready_and_no_more(
    block_size: int | None, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    cells, prepared = made_up_cells(block_size=block_size), []
    ready = Loader._ready

    def counted(self: Loader, loaded: LoadedCells, step: int, share: Share) -> Minibatch:
        prepared.append(len(loaded))
        return ready(self, loaded, step, share)

    monkeypatch.setattr(Loader, "_ready", counted)
    with loader_of(cells) as loader:
        for n_taken in range(1, 6):
            next(loader)
            wait_until(lambda: len(prepared) >= n_taken + loader_module.MINIBATCHES_AHEAD)  # noqa: B023
            time.sleep(0.01)
            assert len(prepared) == n_taken + loader_module.MINIBATCHES_AHEAD


def test_what_is_on_disk_is_read_once_an_epoch_in_few_buffers_by_a_thread_of_its_own() -> None:
    cells = made_up_cells(20_000, block_size=5)
    assert isinstance(cells.counts, SlowCounts)
    n_held = []
    with loader_of(cells, n_steps=500) as loader:  # one epoch; 16 minibatches a buffer
        for _ in loader:
            n_held.append(cells.counts.n_held)
    assert len(cells.counts.read) == math.ceil(500 / 16)
    assert max(len(rows) for rows in cells.counts.read) == BLOCKS_PER_BUFFER * 5
    assert all((np.diff(rows) > 0).all() for rows in cells.counts.read)  # in the order of the file
    np.testing.assert_array_equal(np.sort(np.concatenate(cells.counts.read)), np.arange(20_000))
    assert max(n_held) <= 3
    assert all(name.startswith(loader_module.READING) for name in cells.counts.threads)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_in_a_thread_is_raised_when_its_minibatch_is_asked_for(n_threads: int) -> None:
    cells = made_up_cells(block_size=1)  # three minibatches a buffer
    assert isinstance(cells.counts, SlowCounts)
    cells.counts.fails_from = 2
    with loader_of(cells, n_threads=n_threads) as loader:
        places = [next(loader)[0] for _ in range(6 - loader_module.MINIBATCHES_AHEAD - (n_threads - 1))]
        assert all(len(some) == 40 for some in places)
        with pytest.raises(DataError, match="gone"):
            list(loader)
    assert not our_threads()


def test_an_error_in_memory_is_raised_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = made_up_cells()
    broken = dataclasses.replace(cells, rows=np.full(600, 10_000))
    with loader_of(broken) as loader, pytest.raises(IndexError):
        next(loader)


@pytest.mark.parametrize("block_size", [None, 1])
@pytest.mark.parametrize("n_taken", [0, 1, 7, 25])
def test_closing_ends_the_threads_wherever_one_is(block_size: int | None, n_taken: int) -> None:
    loader = loader_of(made_up_cells(block_size=block_size), n_threads=2)
    for _ in range(n_taken):
        next(loader)
    loader.close()
    loader.close()
    assert not our_threads()


def test_torchs_own_threads_are_left_alone() -> None:
    torch.set_num_threads(2)
    with loader_of(made_up_cells()) as loader:
        list(loader)
        assert torch.get_num_threads() == 2


# ---- from the file to the start -----------------------------------------------------------------------------------


def test_a_model_starts_from_disk_as_from_memory(
    planted_file: Path, model_for: Callable[..., ScETM], recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of 50 cells of the 240."""
    chunks = Cells.chunks
    monkeypatch.setattr(Cells, "chunks", lambda self: chunks(self, 50))
    models, references = [], []
    for memory in ("in memory", "on disk"):
        data = load_dataset(DataConfig(path=str(planted_file), batch_key="batch", memory=memory))
        assert isinstance(data, ad.AnnData) == (memory == "in memory")
        models.append(model_for(data, **recipe))
        cells = prepare_cells(data, models[-1], batch_key="batch")
        references.append(start_model(models[-1], cells, needs_reference=True, seed=0))
    assert torch.equal(references[0].delta, references[1].delta)
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name


# ---- thinning ---------------------------------------------------------------------------------------------------


def loaded_of(counts: np.ndarray) -> LoadedCells:
    n_cells = len(counts)
    return LoadedCells(
        fractions=normalise(sp.csr_matrix(counts.astype(np.float32))),
        batch=np.zeros(n_cells, dtype=np.int64),
        factors=np.zeros((n_cells, 0), dtype=np.int64),
        numbers=np.zeros((n_cells, 0), dtype=np.float32),
        totals=counts.sum(axis=1),
        depth=np.ones(n_cells, dtype=np.float32),
        features=None,
    )


def test_the_encoder_sees_thinned_cells_the_likelihood_whole_ones() -> None:
    loaded = loaded_of(np.random.default_rng(1).poisson(0.5, size=(100, 80)) + np.eye(100, 80))
    plain = loaded.to(CPU)
    whole = plain.cells.matrix.to_dense().clone()
    thinned = loaded.thinned(0.2, rngs=itertools.repeat(np.random.default_rng(0))).to(CPU)
    assert plain.seen is plain.cells
    assert torch.equal(plain.cells.matrix.to_dense(), whole), "thinning leaves the counts alone"
    assert torch.equal(thinned.cells.matrix.to_dense(), whole)
    seen = thinned.seen.matrix.to_dense()
    assert ((seen > 0) <= (whole > 0)).all()
    assert 0.5 < (seen > 0).sum() / (whole > 0).sum() < 0.8


def test_thinning_keeps_each_read_with_the_chance_of_its_cell() -> None:
    """A gene of 1,000 reads and one of 1: chances are even over [0.5, 1], and what is seen is scaled back."""
    thinned = loaded_of(np.full((2000, 2), [1000.0, 1.0])).thinned(0.5, rngs=itertools.repeat(np.random.default_rng(0)))
    assert thinned.seen is not None
    shares = thinned.seen.toarray()
    np.testing.assert_allclose(shares.mean(axis=0), [1000 / 1001, 1 / 1001], rtol=0.1)
    spread = np.sqrt(np.mean(1 / np.linspace(0.5, 1, 999) - 1) / 1000)
    np.testing.assert_allclose(shares[:, 0].std(), spread, rtol=0.1)
    assert (shares[:, 1] > 0).mean() == pytest.approx(0.75, abs=0.04)


def test_thinning_follows_from_seed_and_step_alone() -> None:
    cells = made_up_cells()

    def seen(first_step: int, n_threads: int) -> torch.Tensor:
        loader = Loader(
            cells, minibatch_size=40, seed=3, device=CPU, first_step=first_step, n_steps=6 - first_step, min_depth=0.3,
            n_threads=n_threads,
        )  # fmt: skip
        with loader:
            return list(loader)[-1][1].seen.matrix.to_dense()

    assert torch.equal(seen(0, 1), seen(4, 3))


def test_the_encoder_is_given_the_genes_it_looks_at_thinned_or_not() -> None:
    loaded = loaded_of(np.random.default_rng(1).poisson(2.0, size=(50, 30)) + 1)
    genes = np.arange(30) % 3 == 0
    whole = loaded.fractions.toarray()
    some = loaded.seen_by(genes).seen
    assert some is not None
    np.testing.assert_array_equal(some.toarray(), np.where(genes, whole, 0))
    thinned = loaded.thinned(0.5, genes=genes, rngs=itertools.repeat(np.random.default_rng(0))).seen
    assert thinned is not None
    assert not thinned.toarray()[:, ~genes].any()
    assert loaded.seen_by(None).seen is None


def test_a_model_of_variable_genes_encodes_alike_whether_given_all_genes_or_those(planted: ad.AnnData) -> None:
    config = ModelConfig(n_topics=4, n_emb=8, n_hidden=16, encoder_input="hvg", n_variable_genes=20)
    model = ScETM(config, genes=list(planted.var_names), batches=["b0", "b1"])
    cells = prepare_cells(planted, model, batch_key="batch")
    start_model(model, cells, needs_reference=False, seed=0)
    assert model.variable_genes is not None
    mask = np.isin(np.arange(planted.n_vars), model.variable_genes.genes.numpy())
    loaded = cells.load(np.arange(100))
    whole, some = (model.eval().encode(given.to(CPU))[0] for given in (loaded, loaded.seen_by(mask)))
    torch.testing.assert_close(whole, some, rtol=0, atol=0)
