"""Do several processes train the model that one would train, and do they end together?"""

from __future__ import annotations

import datetime
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from scetm_core import jobs, processes
from scetm_core.data import simulate
from scetm_core.errors import ConfigError
from scetm_core.model.ranks import ALONE, GROUP, Share, SharedBatchNorm, _Several, joined
from scetm_core.runs import Run
from scetm_core.training_checks import refuse_empty_shares
from tests import together

ROOT = Path(__file__).parents[2]
Shares = Callable[[int, int], list[Share]]
Found = dict[str, dict[str, np.ndarray]]


# ---- shares -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> Shares:
    """The share of each of some processes."""

    def of(n_cells: int, world: int) -> list[Share]:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a test")
        monkeypatch.setenv("WORLD_SIZE", str(world))
        found = []
        for rank in range(world):
            monkeypatch.setenv("RANK", str(rank))
            found.append(_Several(store=None).share(n_cells))
        return found

    return of


@pytest.mark.parametrize(("n_cells", "world"), [(512, 2), (500, 2), (41, 3), (33, 3), (2000, 7), (17, 2)])
def test_shares_cut_a_minibatch_between_groups_and_leave_nobody_without(
    shares: Shares, n_cells: int, world: int
) -> None:
    found = shares(n_cells, world)
    assert [found[0].first, found[-1].stop] == [0, n_cells]
    assert all(one.stop == other.first for one, other in itertools.pairwise(found))
    assert all(share.first % GROUP == 0 for share in found)
    sizes = [share.stop - share.first for share in found]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) < 2 * GROUP
    assert sum(share.weight for share in found) == pytest.approx(1)
    refuse_empty_shares(n_cells, world)


@pytest.mark.parametrize(("n_cells", "world"), [(16, 2), (32, 3), (3, 2)])
def test_more_processes_than_a_minibatch_has_groups_are_refused(n_cells: int, world: int) -> None:
    with pytest.raises(ConfigError, match=rf"{world} processes .* of {n_cells} cells.*Raise Minibatch size") as told:
        refuse_empty_shares(n_cells, world)
    assert told.value.field == "n_processes"


def test_a_process_of_its_own_has_all_of_it() -> None:
    rows = torch.arange(5)
    assert ALONE.share(5) == Share(0, 5, 5)
    assert ALONE.share(5).weight == 1
    assert ALONE.gather(rows, ALONE.share(5)) is rows
    assert ALONE.agree("this") == "this"
    assert ALONE.part(5).tolist() == [0, 1, 2, 3, 4]


def test_alone_the_batch_norm_is_that_of_torch() -> None:
    hidden = torch.randn(20, 6)
    ours, theirs = SharedBatchNorm(6), torch.nn.BatchNorm1d(6)
    assert torch.equal(ours(hidden), theirs(hidden))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_the_command_of_one_process_needs_no_torchrun() -> None:
    assert processes.command("a.module", "x", n_processes=1) == [sys.executable, "-m", "a.module", "x"]
    several = processes.command("a.module", "x", n_processes=3)
    assert several[1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m", "a.module", "x",
    ]  # fmt: skip


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # as other launchers and clusters set it for their own ends
    monkeypatch.setenv("RANK", "2")
    assert (processes.rank(), processes.world(), processes.local_world()) == (0, 1, 1)


def test_the_first_process_is_waited_for_for_days_one_that_hangs_for_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"TORCHELASTIC_RUN_ID": "a test", "WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    waits: dict[str, datetime.timedelta] = {}

    class Store:
        def __init__(self, *_: Any, timeout: datetime.timedelta, **__: Any) -> None:
            waits["the first"] = timeout

        def get(self, _: str) -> bytes:
            return b"cpu"

    def init(*_: Any, timeout: datetime.timedelta, **__: Any) -> None:
        waits["each other"] = timeout

    monkeypatch.setattr(torch.distributed, "TCPStore", Store)
    monkeypatch.setattr(torch.distributed, "PrefixStore", lambda _, store: store)
    monkeypatch.setattr(torch.distributed, "init_process_group", init)
    with joined() as ranks:
        assert ranks.world == 2
    assert waits == {"the first": datetime.timedelta(days=7), "each other": datetime.timedelta(hours=1)}


# ---- two processes and one --------------------------------------------------------------------------------------


def run_together(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Have two processes do what `tests/together.py` says."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, together.__file__, *map(str, arguments)]
    around = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240, env=around)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "simulated.h5ad"
    simulate(n_cells=220, n_genes=80, n_topics=4, n_batches=2, seed=0).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def by_one(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    torch.set_num_threads(1)
    return together.all_of_it(path, tmp_path_factory.mktemp("one"), ALONE)


@pytest.fixture(scope="module")
def by_two(path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Path]:
    folder = tmp_path_factory.mktemp("two")
    torch.set_num_threads(1)
    recipe = together.config_of(path, together.SCENARIOS["recipe"])
    together.train(recipe, ALONE, checkpoints=folder / "begun by one", stop_at=8)
    done = run_together(path, folder, "train")
    assert done.returncode == 0, done.stderr
    found: Found = {}
    with np.load(folder / "found.npz") as arrays:
        for name in arrays:
            scenario, _, part = name.partition("/")
            found.setdefault(scenario, {})[part] = arrays[name]
    return found, folder


@pytest.mark.slow
def test_a_shared_batch_norm_is_that_of_the_whole_minibatch(by_one: Found, by_two: tuple[Found, Path]) -> None:
    one, two = by_one["batch norm"], by_two[0]["batch norm"]
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-10, atol=1e-12, err_msg=name)
    assert np.abs(one["gradient"]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", together.SCENARIOS)
def test_two_processes_train_the_model_of_one(scenario: str, by_one: Found, by_two: tuple[Found, Path]) -> None:
    assert_alike(by_two[0][scenario], by_one[scenario])


def assert_alike(two: dict[str, np.ndarray], one: dict[str, np.ndarray]) -> None:
    """The same up to the order of float sums, which Adam blows up where a gradient is next to nothing."""
    np.testing.assert_array_equal(two["curve"][0], one["curve"][0])
    np.testing.assert_allclose(two["curve"][1], one["curve"][1], rtol=1e-5, err_msg="nll")
    np.testing.assert_allclose(two["curve"][2], one["curve"][2], rtol=1e-3, err_msg="kl")
    np.testing.assert_allclose(two["curve"][3], one["curve"][3], rtol=1e-2, err_msg="gradient norm")
    np.testing.assert_allclose(two["curve"][4], one["curve"][4], rtol=1e-5, err_msg="held-out NLL")
    np.testing.assert_allclose(two["theta"], one["theta"], atol=2e-3, err_msg="theta")
    np.testing.assert_allclose(two["norm"], one["norm"], rtol=1e-3, atol=1e-4, err_msg="batch norm")


@pytest.mark.slow
def test_two_processes_resume_what_one_began(by_one: Found, by_two: tuple[Found, Path]) -> None:
    resumed, whole = by_two[0][together.RESUMED], by_one["recipe"]
    assert resumed["curve"][0].tolist() == [12, 16]
    assert_alike(resumed, {**whole, "curve": whole["curve"][:, 2:]})


@pytest.mark.slow
def test_one_process_resumes_what_two_began(path: Path, by_one: Found, by_two: tuple[Found, Path]) -> None:
    recipe = together.config_of(path, together.SCENARIOS["recipe"])
    resumed = together.train(recipe, ALONE, checkpoints=by_two[1] / "begun by several")
    whole = by_one["recipe"]
    assert resumed["curve"][0].tolist() == [12, 16]
    assert_alike(resumed, {**whole, "curve": whole["curve"][:, 2:]})


# ---- the end of one is the end of all ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_first_process_says_what_another_died_of(path: Path, tmp_path: Path) -> None:
    done = run_together(path, tmp_path, "fail")
    assert done.returncode == 1
    words = "Another of the 2 processes that train together has ended. Process 2 said: data.h5ad is gone."
    assert words in done.stderr


@pytest.mark.slow
def test_a_run_whose_helper_is_killed_fails_in_words_and_resumes_in_one_process(
    make_run: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    from scetm_core.analysis import analyse  # noqa: F401  # loaded before the clock runs
    from scetm_core.worker import run_analysis

    run = make_run(n_processes=2, max_steps=1_000_000, minibatch_size=64, checkpoint_every=5)
    jobs.start(run)
    wait_until(lambda: run.status().step >= 10)
    first = psutil.Process(run.status().pid)
    launcher = first.parent()
    assert launcher is not None
    others = [child for child in launcher.children() if child.pid != first.pid]
    assert [" ".join(child.cmdline()).count(str(run.path)) for child in others] == [1]
    others[0].kill()
    wait_until(lambda: jobs.state(run) == "failed")
    assert "Another of the 2 processes" in run.status().message
    assert "It said nothing: it was killed" in run.status().message
    assert jobs.can_resume(run)
    wait_until(lambda: not launcher.is_running())
    assert not first.is_running()
    reached = run.status().step
    run.request_cancel()
    assert run_analysis(run) == "cancelled"
    assert run.status().step == reached
