"""Is every chunk of an HDF5 array found to unpack to a whole one, or refused, whatever it went through?"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from scetm_core.config import DataConfig
from scetm_core.data import hdf5_chunks, load_dataset
from scetm_core.data.chunks import Hdf5Vector, packed_vector
from scetm_core.data.hdf5_chunks import is_measured_later, measure
from scetm_core.data.lzf import unpacked_length
from scetm_core.errors import DataError

RNG = np.random.default_rng(0)
VALUES = RNG.poisson(1.0, 1003)
STRETCHES = [(0, 1003), (0, 1), (99, 101), (100, 200), (250, 777), (1000, 1003), (5, 5), (900, 5000)]
HOW: dict[str, dict[str, Any]] = {
    "not packed": {},
    "gzip": {"compression": "gzip"},
    "gzip, shuffled": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "lzf, shuffled": {"compression": "lzf", "shuffle": True},
    "checksum": {"fletcher32": True},
    "gzip, checksum": {"compression": "gzip", "fletcher32": True},
    "all": {"compression": "lzf", "shuffle": True, "fletcher32": True},
}
PACKED = [how for how in HOW if how != "not packed"]
FAST = ("not packed", "gzip", "gzip, shuffled")
WORDS = "unpacks to something else"


def write(folder: Path, values: Any, **how: Any) -> h5py.Dataset:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=tuple(min(n, 100) for n in np.shape(values)), **how)
    return h5py.File(folder / "a.h5", "r")["x"]


def put_chunk(folder: Path, number: int, content: bytes, *, filter_mask: int = 0) -> h5py.Dataset:
    with h5py.File(folder / "a.h5", "r+") as file:
        file["x"].id.write_direct_chunk((100 * number,), content, filter_mask=filter_mask)
    return h5py.File(folder / "a.h5", "r")["x"]


@pytest.mark.parametrize("how", HOW)
def test_what_h5py_writes_is_good(tmp_path: Path, how: str) -> None:
    table, texts = RNG.poisson(1.0, (250, 130)), [f"cell {n}" for n in range(300)]
    for values in (VALUES, VALUES.astype("f4"), VALUES > 1, RNG.bytes(3000), table, texts):
        if not (values is texts and "fletcher32" in HOW[how]):  # HDF5 has no checksum of texts
            measure(write(tmp_path, np.frombuffer(values, "u1") if isinstance(values, bytes) else values, **HOW[how]))


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("change", ["cut", "grown", "garbage", "a single byte", "said not to be packed"])
def test_what_was_changed_is_refused(tmp_path: Path, how: str, change: str) -> None:
    node = write(tmp_path, VALUES, **HOW[how])
    mask, packed = node.id.read_direct_chunk((300,))
    node.file.close()
    whole = VALUES[300:400].tobytes()
    content = {
        "cut": packed[: len(packed) // 2], "grown": zlib.compress(whole * 2) if how.startswith("gzip") else packed * 2,
        "garbage": bytes([255]) * 50, "a single byte": b"0", "said not to be packed": packed + bytes(4),
    }[change]  # fmt: skip
    node = put_chunk(tmp_path, 3, content, filter_mask=mask if change != "said not to be packed" else 0b111)
    with pytest.raises(DataError, match=WORDS):
        measure(node)


def test_a_chunk_that_is_not_packed_is_measured_too(tmp_path: Path) -> None:
    write(tmp_path, VALUES).file.close()
    content = bytearray((tmp_path / "a.h5").read_bytes())
    first = content.index(b"TREE\x01") + 24  # the first key in the B-tree of chunks: bytes of the chunk, and so on
    assert int.from_bytes(content[first : first + 4], "little") == 800
    content[first : first + 4] = (8).to_bytes(4, "little")
    (tmp_path / "a.h5").write_bytes(content)
    node = h5py.File(tmp_path / "a.h5")["x"]
    with pytest.raises(DataError, match=WORDS):
        measure(node)


def test_chunks_that_are_not_stored_are_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        node = file.create_dataset("x", shape=(1000,), chunks=(100,), dtype="i4", fillvalue=7, compression="gzip")
        node[300:310] = 1
    node = h5py.File(tmp_path / "a.h5")["x"]
    measure(node)
    np.testing.assert_array_equal(packed_vector(node)[200:500], node[200:500])


def test_filters_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be checked"):
        measure(write(tmp_path, VALUES, scaleoffset=3))


def test_an_array_is_measured_again_once_its_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_chunks, "LATER", 0)
    node = write(tmp_path, VALUES, compression="gzip")
    measure(node)
    node.file.close()
    node = put_chunk(tmp_path, 2, zlib.compress(b"short"))
    with pytest.raises(DataError, match=WORDS):
        measure(node)


# ---- reading as it is measured --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "float32", "uint16", "int64"])
@pytest.mark.parametrize("how", FAST)
def test_any_stretch_is_that_of_h5py(tmp_path: Path, how: str, dtype: str) -> None:
    node = write(tmp_path, VALUES.astype(dtype), **HOW[how])
    ours = packed_vector(node)
    assert isinstance(ours, Hdf5Vector)
    assert (ours.dtype, ours.shape, ours.chunks) == (node.dtype, node.shape, node.chunks)
    for start, stop in STRETCHES:
        found = ours[start:stop]
        assert found.dtype == node.dtype
        np.testing.assert_array_equal(found, node[start:stop])
    np.testing.assert_array_equal(ours[10:400:7], VALUES[10:400:7])


@pytest.mark.parametrize(
    ("how", "dtype"), [*((how, "i4") for how in HOW if how not in FAST), ("gzip", ">i4"), ("gzip", "?")]
)
def test_other_kinds_are_left_to_h5py_once_measured(tmp_path: Path, how: str, dtype: str) -> None:
    node = write(tmp_path, VALUES.astype(dtype), **HOW[how])
    assert packed_vector(node) is node
    node.file.close()
    node = put_chunk(tmp_path, 3, b"0")
    with pytest.raises(DataError, match=WORDS):
        packed_vector(node)


@pytest.mark.parametrize("how", FAST[1:])
def test_a_stretch_with_a_wrong_chunk_is_refused(tmp_path: Path, how: str) -> None:
    write(tmp_path, VALUES, **HOW[how]).file.close()
    ours = packed_vector(put_chunk(tmp_path, 3, zlib.compress(b"short")))
    np.testing.assert_array_equal(ours[0:300], VALUES[0:300])
    with pytest.raises(DataError, match="cut short or damaged"):
        ours[250:310]


@pytest.mark.parametrize("layout", ["csr", "dense"])
def test_large_counts_are_measured_by_who_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(hdf5_chunks, "LATER", 100)
    import scipy.sparse as sp

    counts = RNG.poisson(1.0, (40, 30)).astype("f4")
    obs = pd.DataFrame(index=[f"c{n}" for n in range(40)])
    path, name = tmp_path / "a.h5ad", "X/data" if layout == "csr" else "X"
    ad.AnnData(sp.csr_matrix(counts) if layout == "csr" else counts, obs=obs).write_h5ad(path, compression="gzip")
    np.testing.assert_array_equal(load_dataset(DataConfig(path=str(path))).X.toarray(), counts)
    with h5py.File(path, "r+") as file:
        assert is_measured_later(file[name])
        file[name].id.write_direct_chunk((0,) * file[name].ndim, zlib.compress(b"short"))
    with pytest.raises(DataError, match="cut short or damaged|" + WORDS):
        load_dataset(DataConfig(path=str(path)))


# ---- LZF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zeros", "noise", "counts", "text"])
def test_the_length_of_lzf_is_that_of_what_was_packed(tmp_path: Path, kind: str) -> None:
    content = {
        "zeros": bytes(5000), "noise": RNG.bytes(5000), "text": b"scETM finds topics. " * 250,
        "counts": RNG.poisson(1.0, 5000).astype("u1").tobytes(),
    }[kind]  # fmt: skip
    with h5py.File(tmp_path / "a.h5", "w") as file:
        node = file.create_dataset("x", data=np.frombuffer(content, "u1"), chunks=(5000,), compression="lzf")
        left_out, packed = node.id.read_direct_chunk((0,))
    if left_out:  # noise does not get smaller
        assert kind == "noise"
        return
    assert unpacked_length(np.frombuffer(packed, "u1"), 5000) == 5000
    assert unpacked_length(np.frombuffer(packed[:-1], "u1"), 5000) != 5000


@pytest.mark.parametrize("packed", [[31], [32], [224, 1], [224], [32, 0], [0, 1, 33, 200]])
def test_a_damaged_lzf_has_no_length(packed: list[int]) -> None:
    assert unpacked_length(np.array(packed, dtype="u1"), 5000) == -1
