"""How is a long stretch of an array on disk read without loss of time? Chunks are unpacked into one piece of memory.

zarr makes new memory for every chunk, unpacks into it, and copies from there. The memory alone takes a third of the
time: the system has to clear it each time. HDF5 unpacks while all other threads wait, and trusts what comes out
(`hdf5_chunks`). What is read here are one-dimensional arrays as anndata writes them: in zarr packed by zstd, by blosc
or not at all, in HDF5 by gzip. Any other is left to the library.
"""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scetm_core.data import hdf5_chunks
from scetm_core.errors import DataError
from scetm_core.json_text import read_json

PACKINGS = (None, "zstd", "blosc")


class PackedVector(abc.ABC):
    """A stored array of one dimension, to be sliced like that of the library; by one thread at a time.

    Parameters
    ----------
    array
        That of the library, for all that is said of it.
    fill
        What stands where no chunk is stored.
    """

    def __init__(self, array: Any, *, fill: Any) -> None:
        self.dtype, self.shape, self.chunks = np.dtype(array.dtype), tuple(array.shape), tuple(array.chunks)
        self._fill = fill
        self._unpacked = np.empty(0, dtype=self.dtype)
        self._there = -1  # the chunk that is unpacked

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.shape[0])

    def __getitem__(self, wanted: slice) -> npt.NDArray[Any]:
        """Values `start` to `stop`."""
        start, stop, step = wanted.indices(self.size)
        found = np.empty(max(stop - start, 0), dtype=self.dtype)
        self.read_into(found, start)
        return found[::step]

    def read_into(self, place: npt.NDArray[Any], start: int) -> None:
        """Fill `place` with the values from `start` on; short pieces after one another unpack a chunk once."""
        stop, length = start + len(place), self.chunks[0]
        for number in range(start // length, -(-stop // length) if len(place) else 0):
            first = number * length
            low, high = max(start, first), min(stop, first + length)
            place[low - start : high - start] = self._chunk(number)[low - first : high - first]

    def _chunk(self, number: int) -> npt.NDArray[Any]:
        """A whole chunk, good until the next one is asked for."""
        if number == self._there:
            return self._unpacked
        self._there = -1
        if len(self._unpacked) != self.chunks[0]:
            self._unpacked = np.empty(self.chunks[0], dtype=self.dtype)
        if not self._unpack(number, self._unpacked.view(np.uint8)):
            self._unpacked[:] = self._fill
        self._there = number
        return self._unpacked

    @abc.abstractmethod
    def _unpack(self, number: int, place: npt.NDArray[np.uint8]) -> bool:
        """Fill `place` with a chunk; False where it is not stored.

        Raises
        ------
        DataError
            If something else comes out of it than a whole chunk.
        """


class ZarrVector(PackedVector):
    """A vector of a .zarr.

    Parameters
    ----------
    folder
        Where its chunks are, files numbered from 0 on.
    packing
        ``"zstd"``, ``"blosc"``, or None for none.
    """

    def __init__(self, array: Any, folder: Path, *, packing: str | None) -> None:
        super().__init__(array, fill=array.fill_value)
        self._folder, self._packing = folder, packing

    def _unpack(self, number: int, place: npt.NDArray[np.uint8]) -> bool:
        from numcodecs import blosc, zstd

        try:
            packed = (self._folder / str(number)).read_bytes()
        except FileNotFoundError:  # a chunk of nothing but the fill value
            return False
        size, unpack = len(packed), None
        if self._packing == "zstd":
            size, unpack = _unpacked_size(packed), zstd.decompress
        elif self._packing == "blosc":
            is_whole = int.from_bytes(packed[12:16], "little") == len(packed)  # blosc itself would read on behind it
            size, unpack = int.from_bytes(packed[4:8], "little") if is_whole else 0, blosc.decompress
        if size == -1 and unpack is not None:
            packed, unpack = unpack(packed), None
            size = len(packed)
        if size != len(place):
            raise _cut_short()
        if unpack is None:
            place[:] = np.frombuffer(packed, dtype=np.uint8)
        else:
            unpack(packed, place)
        return True


class Hdf5Vector(PackedVector):
    """A vector of an HDF5 file, in chunks that are deflated or not, their bytes shuffled before that or not."""

    def __init__(self, array: Any) -> None:
        super().__init__(array, fill=array.fillvalue)
        self._array, self._filters = array.id, hdf5_chunks.filters_of(array)

    def _unpack(self, number: int, place: npt.NDArray[np.uint8]) -> bool:
        from numcodecs.shuffle import Shuffle

        offset = (number * self.chunks[0],)
        if self._array.get_chunk_info_by_coord(offset).byte_offset is None:
            return False
        left_out, content = self._array.read_direct_chunk(offset)
        applied = [kind for place_, kind in enumerate(self._filters) if not left_out >> place_ & 1]
        if hdf5_chunks.DEFLATE in applied:
            content = hdf5_chunks.inflated(content, len(place))
        if len(content) != len(place):
            raise _cut_short()
        if hdf5_chunks.SHUFFLE in applied:
            Shuffle(self.dtype.itemsize).decode(content, place)
        else:
            place[:] = np.frombuffer(content, dtype=np.uint8)
        return True


def _cut_short() -> DataError:
    return DataError("A chunk of the counts is cut short or damaged. Copy or download the data again.")


def _unpacked_size(packed: bytes) -> int:
    """Bytes in a zstd frame once it is unpacked, as its header says; -1 where it says nothing (RFC 8878, 3.1.1.1)."""
    if len(packed) < 5:
        return -1
    is_single, kind = packed[4] >> 5 & 1, packed[4] >> 6
    length = (is_single, 2, 4, 8)[kind]
    first = 6 - is_single + (0, 1, 2, 4)[packed[4] & 3]
    size = int.from_bytes(packed[first : first + length], "little") + (256 if length == 2 else 0)
    return size if length else -1


def packed_vector(array: Any) -> Any:
    """A faster stand-in for an array of zarr or HDF5; the array itself, its chunks measured, where there is none."""
    if type(array).__module__.startswith("h5py"):
        return _of_hdf5(array)
    root = getattr(getattr(array, "store", None), "root", None)
    if root is None or len(array.shape) != 1 or not all(array.chunks) or np.dtype(array.dtype).byteorder == ">":
        return array
    folder = Path(root) / array.path
    described = folder / ("zarr.json" if array.metadata.zarr_format == 3 else ".zarray")
    if not described.is_file():
        return array
    said = read_json(described)
    if array.metadata.zarr_format == 2:
        packing = (said.get("compressor") or {}).get("id")
        return array if said.get("filters") or packing not in PACKINGS else ZarrVector(array, folder, packing=packing)
    first, *rest = (codec["name"] for codec in said["codecs"])
    keys = said["chunk_key_encoding"]
    is_plain = first == "bytes" and len(rest) < 2 and keys["name"] == "default"
    is_plain = is_plain and keys.get("configuration", {}).get("separator", "/") == "/"
    packing = rest[0] if rest else None
    return ZarrVector(array, folder / "c", packing=packing) if is_plain and packing in PACKINGS else array


def _of_hdf5(array: Any) -> Any:
    import h5py

    is_plain = (
        array.chunks is not None
        and array.ndim == 1
        and array.dtype.kind in "iuf"
        and array.dtype.isnative
        and array.id.get_type().equal(h5py.h5t.py_create(array.dtype))
        and hdf5_chunks.filters_of(array) in ([], [hdf5_chunks.DEFLATE], [hdf5_chunks.SHUFFLE, hdf5_chunks.DEFLATE])
    )
    if is_plain:
        return Hdf5Vector(array)
    hdf5_chunks.measure(array)
    return array
