"""Are chunks of .zarr arrays read as zarr reads them, and is everything else left to it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Blosc, Delta, GZip, Zstd, zstd

from scetm_core.data.chunks import PackedVector, _unpacked_size, packed_vector
from scetm_core.errors import DataError

VALUES = np.random.default_rng(0).poisson(1.0, 1003)
STRETCHES = [(0, 1003), (0, 1), (99, 101), (100, 200), (250, 777), (1000, 1003), (5, 5), (900, 5000)]
KINDS: dict[str, dict[str, Any]] = {
    "v2, as it comes": {"zarr_format": 2},
    "v2, zstd": {"zarr_format": 2, "compressors": Zstd(level=3)},
    "v2, not packed": {"zarr_format": 2, "compressors": None},
    "v3, as it comes": {"zarr_format": 3},
    "v3, not packed": {"zarr_format": 3, "compressors": None},
    "v3, blosc": {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec()},
}
LEFT_TO_ZARR: dict[str, dict[str, Any]] = {
    "v2, gzip": {"zarr_format": 2, "compressors": GZip()},
    "v2, filtered": {"zarr_format": 2, "filters": [Delta(dtype="<i4")]},
    "v3, sharded": {"zarr_format": 3, "shards": (500,)},
    "v3, gzip": {"zarr_format": 3, "compressors": zarr.codecs.GzipCodec()},
    "v3, keys like v2": {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
}


def stored(folder: Path, options: dict[str, Any], *, dtype: str = "int32", fill_value: int = 0) -> zarr.Array:
    group = zarr.open_group(str(folder), mode="w", zarr_format=options["zarr_format"])
    given = {name: value for name, value in options.items() if name != "zarr_format"}
    array = group.create_array("inside/data", shape=(1003,), chunks=(100,), dtype=dtype, fill_value=fill_value, **given)
    array[:] = VALUES.astype(dtype)
    return zarr.open_group(str(folder), mode="r")["inside/data"]


@pytest.mark.parametrize("dtype", ["int32", "float32", "uint16", "int64"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_stretch_is_that_of_zarr(tmp_path: Path, kind: str, dtype: str) -> None:
    array = stored(tmp_path, KINDS[kind], dtype=dtype)
    ours = packed_vector(array)
    assert isinstance(ours, PackedVector)
    assert (ours.dtype, ours.shape, ours.chunks) == (array.dtype, array.shape, array.chunks)
    for start, stop in STRETCHES:
        found = ours[start:stop]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array[start:stop])
    np.testing.assert_array_equal(ours[:], VALUES)
    np.testing.assert_array_equal(ours[10:400:7], VALUES[10:400:7])


def test_what_was_given_out_stays_as_it_is(tmp_path: Path) -> None:
    ours = packed_vector(stored(tmp_path, KINDS["v3, as it comes"]))
    first = ours[0:50]
    _ = ours[100:150]
    np.testing.assert_array_equal(first, VALUES[:50])


@pytest.mark.parametrize("kind", LEFT_TO_ZARR)
def test_other_kinds_are_left_to_zarr(tmp_path: Path, kind: str) -> None:
    array = stored(tmp_path, LEFT_TO_ZARR[kind])
    assert packed_vector(array) is array
    np.testing.assert_array_equal(array[:], VALUES)


def test_arrays_that_are_no_zarr_of_one_dimension_stay() -> None:
    array = np.arange(5)
    assert packed_vector(array) is array
    in_memory = zarr.create_array(zarr.storage.MemoryStore(), shape=(5,), dtype="i4")
    assert packed_vector(in_memory) is in_memory


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_that_is_not_there_holds_the_fill_value(tmp_path: Path, kind: str) -> None:
    array = stored(tmp_path, KINDS[kind], fill_value=7)
    chunk = next(path for path in tmp_path.rglob("3") if path.is_file())
    chunk.unlink()
    np.testing.assert_array_equal(packed_vector(array)[290:410], array[290:410])
    assert (packed_vector(array)[300:400] == 7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_of_another_length_is_refused(tmp_path: Path, kind: str) -> None:
    array = stored(tmp_path, KINDS[kind])
    short = VALUES[:60].astype(np.int32).tobytes()
    chunk = next(path for path in tmp_path.rglob("3") if path.is_file())
    is_blosc = kind in ("v2, as it comes", "v3, blosc")
    packed = short if "not packed" in kind else Blosc().encode(short) if is_blosc else zstd.compress(short)
    chunk.write_bytes(packed)
    ours = packed_vector(array)
    np.testing.assert_array_equal(ours[200:300], VALUES[200:300])
    with pytest.raises(DataError, match="cut short or damaged"):
        ours[250:350]
    np.testing.assert_array_equal(ours[200:300], VALUES[200:300])


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_that_is_something_else_raises(tmp_path: Path, kind: str) -> None:
    array = stored(tmp_path, KINDS[kind])
    next(path for path in tmp_path.rglob("3") if path.is_file()).write_bytes(b"nothing of the kind")
    with pytest.raises((DataError, RuntimeError)):
        packed_vector(array)[300:310]


@pytest.mark.parametrize("length", [0, 1, 100, 255, 256, 300, 65_791, 65_792, 70_000, 1_000_000])
def test_the_header_tells_the_size(length: int) -> None:
    assert _unpacked_size(zstd.compress(bytes(length))) == length
