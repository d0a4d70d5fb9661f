"""Is a damaged checkpoint, model or result noticed, and is there a way on?"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from scetm_core import jobs, keys
from scetm_core.checkpoints import Checkpoint, checkpoint_files, read_checkpoint, write_checkpoint
from scetm_core.errors import RunError
from scetm_core.jobfolder import Status
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

MakeRun = Callable[..., Run]
CURVE = ["step", "nll", "kl", "test_nll", "grad_norm"]


def flip_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << (place % 8)
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture
def stopped(make_run: MakeRun) -> Run:
    """A run cancelled after its second checkpoint."""
    run = make_run("stopped")

    def stop(status: Status) -> None:
        if status.step == 20:
            run.request_cancel()

    assert run_analysis(run, on_change=stop) == "cancelled"
    assert [path.name for path in checkpoint_files(run.checkpoint_path)] == [
        "step-00000020.safetensors", "step-00000010.safetensors",
    ]  # fmt: skip
    run.clear_cancel()
    return run


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("damage", [cut_short, lambda path: flip_bit(path, path.stat().st_size - 200)])
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    stopped: Run, make_run: MakeRun, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    damage(checkpoint_files(stopped.checkpoint_path)[0])
    with caplog.at_level(logging.INFO, logger="scetm"):
        assert run_analysis(stopped) == "done"
    assert "step-00000020.safetensors is damaged" in caplog.text
    assert "the one before it is tried" in caplog.text
    undisturbed = make_run("undisturbed")
    assert run_analysis(undisturbed) == "done"
    assert stopped.metrics()[CURVE].equals(undisturbed.metrics()[CURVE])
    assert (stopped.load_result().obsm["delta"] == undisturbed.load_result().obsm["delta"]).all()


@pytest.mark.usefixtures("unscored")
def test_without_any_good_checkpoint_the_way_on_is_told_and_works(stopped: Run) -> None:
    from scetm_core.doctor import examine

    for path in checkpoint_files(stopped.checkpoint_path):
        cut_short(path)
    assert run_analysis(stopped) == "failed"
    assert "No checkpoint in" in stopped.status().message
    assert "doctor" in stopped.status().message
    examine(stopped.path.parent.parent, mend=True)
    assert len(list((stopped.path / keys.DAMAGED_FOLDER).iterdir())) == 2, "put aside, not deleted"
    assert run_analysis(stopped) == "done"
    assert stopped.metrics()["step"].tolist() == [5, 10, 15, 20, 25, 30]


def test_whichever_bit_is_flipped_a_checkpoint_is_refused_and_the_one_before_it_used(tmp_path: Path) -> None:
    import torch

    names, generator = json.dumps({"genes": ["a", "b"]}), torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(40, generator=generator) for name in ("weight", "moment")} | {"n": torch.tensor(3)}
    for step in (1, 2):
        write_checkpoint(tmp_path, Checkpoint(tensors, {"step": step}), description={"names": names})
    newest = checkpoint_files(tmp_path)[0]
    good = newest.read_bytes()
    places = random.Random(0).sample(range(len(good)), 300)
    for place in places:
        newest.write_bytes(good)
        flip_bit(newest, place)
        found = read_checkpoint(tmp_path, names=names, device=torch.device("cpu"))
        assert found is not None
        assert found.position == {"step": 1}, f"bit {place % 8} of byte {place}"
        assert found.tensors["weight"].equal(tensors["weight"])


@pytest.mark.usefixtures("unscored")
def test_a_changed_model_or_result_is_not_transferred(make_run: MakeRun) -> None:
    from scetm_core.model import ScETM

    run = make_run()
    assert run_analysis(run) == "done"
    run.check_result()
    flip_bit(run.model_path, run.model_path.stat().st_size - 50)
    with pytest.raises(RunError, match=r"does not fit its checksum\)\. Train it again or resume"):
        ScETM.load(run.model_path)
    flip_bit(run.result_path, run.result_path.stat().st_size // 2)
    with pytest.raises(RunError, match="is not what was written: it was changed, or the disk is failing"):
        run.check_result()
    run.result_path.unlink()
    assert jobs.can_resume(run)
    assert run_analysis(run) == "done"
    run.check_result()
    ScETM.load(run.model_path)


def test_a_result_written_twice_fits_its_checksum_at_every_moment(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the note of the new checksum and the new file, the old file is still good."""
    import anndata as ad
    import numpy as np

    from scetm_core import files

    run, seen, original = make_run(), [], files.os.replace
    run.write_result(ad.AnnData(obsm={"delta": np.zeros((3, 2))}))

    def look(source: str, target: str) -> None:
        run.check_result()
        seen.append(Path(target).name)
        original(source, target)
        run.check_result()

    monkeypatch.setattr(files.os, "replace", look)
    run.write_result(ad.AnnData(obsm={"delta": np.ones((3, 2))}))
    assert seen == ["checksums.json", "result.h5ad"]


def test_files_of_an_earlier_version_without_checksums_are_read(make_run: MakeRun, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    names, tensors = json.dumps({"genes": ["a"]}), {"weight": torch.ones(3)}
    save_file(tensors, tmp_path / "step-00000001.safetensors", metadata={"names": names, "position": '{"step": 1}'})
    found = read_checkpoint(tmp_path, names=names, device=torch.device("cpu"))
    assert found is not None
    assert found.tensors["weight"].equal(tensors["weight"])
    run = make_run()
    run.result_path.write_bytes(b"any")
    run.check_result()
