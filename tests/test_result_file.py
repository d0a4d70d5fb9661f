"""Is a result that is mapped from its file the same as one that is read, and is it left on disk?"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.result_file import open_result


def write(path: Path, **how: str) -> ad.AnnData:
    rng = np.random.default_rng(0)
    cells = [f"c{i}" for i in range(50)]
    frame = pd.DataFrame({"a": range(50)}, index=cells)
    delta = rng.normal(size=(50, 6)).astype(np.float32)
    result = ad.AnnData(
        obs=pd.DataFrame({"t": pd.Categorical(["a", "b"] * 25)}, index=cells),
        var=pd.DataFrame(index=["g0", "g1", "g2"]),
        obsm={keys.DELTA: delta, keys.X_SCETM: delta, keys.THETA: delta**2, "frame": frame},
        varm={keys.BETA: rng.normal(size=(3, 6))},
        uns={"t_colors": np.array(["#000000", "#ffffff"]), keys.UNS: {"config": "{}"}},
    )  # fmt: skip
    result.write_h5ad(path, **how)
    return result


def test_it_equals_what_anndata_reads(tmp_path: Path) -> None:
    write(tmp_path / "result.h5ad")
    opened, read = open_result(tmp_path / "result.h5ad"), ad.read_h5ad(tmp_path / "result.h5ad")
    pd.testing.assert_frame_equal(opened.obs, read.obs)
    pd.testing.assert_frame_equal(opened.obsm["frame"], read.obsm["frame"])
    for name in (keys.DELTA, keys.X_SCETM, keys.THETA):
        assert np.array_equal(opened.obsm[name], read.obsm[name])
    assert np.array_equal(opened.varm[keys.BETA], read.varm[keys.BETA])
    assert list(opened.uns["t_colors"]) == list(read.uns["t_colors"])
    assert opened.uns[keys.UNS]["config"] == "{}"


def test_numbers_of_cells_stay_on_disk_and_cannot_be_changed(tmp_path: Path) -> None:
    write(tmp_path / "result.h5ad")
    opened = open_result(tmp_path / "result.h5ad")
    assert isinstance(opened.obsm[keys.THETA].base, np.memmap)
    assert opened.obsm[keys.X_SCETM] is opened.obsm[keys.DELTA]
    with pytest.raises(ValueError, match="read-only"):
        opened.obsm[keys.THETA][0, 0] = 1


def test_compressed_arrays_are_read(tmp_path: Path) -> None:
    written = write(tmp_path / "result.h5ad", compression="gzip")
    assert np.array_equal(open_result(tmp_path / "result.h5ad").obsm[keys.THETA], written.obsm[keys.THETA])


@pytest.mark.parametrize("content", [b"", b"no such format", None])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "run" / "result.h5ad"
    path.parent.mkdir()
    write(path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(RunError, match=r"result\.h5ad of run run cannot be read"):
        open_result(path)
