"""How much may come out of a file? Bounds on what compressed and claimed data unpack to, and who may point elsewhere.

A few kilobytes can claim terabytes. What an input may unpack to is bounded by its own size, long before it is read:
no format that people keep counts in packs them two hundred times.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import stat
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from scetm_core.data.hdf5_chunks import is_measured_later, measure
from scetm_core.errors import DataError
from scetm_core.json_text import parse_json

FREE = 256_000_000
"""Bytes that any input may unpack to, however small it is."""
RATIO = 200
"""Beyond `FREE`, an input may unpack to that many times its size."""
MAX_LINE = 64_000_000
"""Bytes of one line of a text table."""
MAX_CHUNK = 1 << 30
"""Bytes of one chunk, which is unpacked whole for a single value."""
MAX_NODES = 200_000
"""Groups and arrays in one file."""
MAX_DESCRIPTION = 64_000_000
"""Bytes of the JSON that describes a part of a zarr."""

_ZARR_DESCRIPTIONS = frozenset({".zarray", ".zgroup", ".zattrs", ".zmetadata", "zarr.json"})
_AT_ONCE = 1 << 20
_KNOWN_GOOD: deque[tuple[object, ...]] = deque(maxlen=64)  # files looked at, as they were then
_TEXT_BYTES = 16  # what a text of any length is reckoned with: its place in memory


def most_bytes(size: int, *, free: int | None = None) -> int:
    """What an input of `size` bytes may unpack to."""
    return max(FREE if free is None else free, RATIO * size)


def plain_path(path: Path | str) -> Path:
    """A path as typed, with ``~`` put in full.

    Raises
    ------
    DataError
        If it cannot be one: a NUL in it, a user that is not known, overlong.
    """
    try:
        found = Path(path).expanduser()
        found.exists()
        os.fsencode(found)
    except (OSError, RuntimeError, ValueError) as error:
        detail = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)[:200]!r} cannot be a path ({detail}). Check it.") from error
    if "\0" in str(found):
        raise DataError(f"{str(path)[:200]!r} cannot be a path (it holds a NUL). Check it.")
    return found


# ---- text, also gzipped -------------------------------------------------------------------------------------------


class _Bounded(io.RawIOBase):
    """Bytes of a stream, refused beyond a bound or in overlong lines."""

    def __init__(self, stream: Any, name: str, bound: int) -> None:
        self._stream, self._name, self._left, self._bound = stream, name, bound, bound
        self._line = 0  # bytes since the last end of a line

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; see `io.RawIOBase`."""
        block = self._stream.read(min(len(buffer), _AT_ONCE))
        self._left -= len(block)
        if self._left < 0:
            raise DataError(
                f"{self._name} unpacks to more than {in_words(self._bound)}, far more than its size speaks for. "
                "It is damaged or made to fill the memory; unpack it yourself if you trust it."
            )
        first = block.find(b"\n")
        if self._line + (len(block) if first < 0 else first) > MAX_LINE:
            raise DataError(f"{self._name} has a line of more than {in_words(MAX_LINE)}. It is no table of text.")
        self._line = self._line + len(block) if first < 0 else len(block) - block.rfind(b"\n") - 1
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the file as well."""
        self._stream.close()
        super().close()


def open_bytes(path: Path, *, free: int | None = None) -> io.BufferedReader:
    """Open a file, unpacked if it ends in .gz; what comes out of it is bounded.

    Parameters
    ----------
    free
        What a small file may unpack to, `FREE` by default.

    Raises
    ------
    DataError
        Later, while reading: if far more comes out than the file's size speaks for, or a line has no end.
    """
    bound = most_bytes(path.stat().st_size, free=free)
    stream: Any = gzip.GzipFile(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")
    return io.BufferedReader(_Bounded(stream, path.name, bound), buffer_size=_AT_ONCE)


def open_text(path: Path, *, free: int | None = None) -> io.TextIOWrapper:
    """As `open_bytes`, as text."""
    return io.TextIOWrapper(open_bytes(path, free=free), encoding="utf-8-sig", newline="")


def in_words(n_bytes: float) -> str:
    """Bytes as one says them: ``"256 MB"``, ``"10.0 GB"``."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.0f} MB"


# ---- HDF5 ---------------------------------------------------------------------------------------------------------


def refuse_hostile_hdf5(root: Any, path: Path, *, counts_later: bool = False) -> None:
    """Look at every group and array of an open HDF5 file, and measure their chunks, without reading any.

    Parameters
    ----------
    counts_later
        Whether large arrays that may be counts are left to who reads them: `measure`, or `packed_vector`.

    Raises
    ------
    DataError
        If something lies outside the file (links, external storage, virtual arrays), is reached in two ways, is stored
        as lists of unequal length, the arrays claim far more than the file can hold, or a chunk holds something else
        than it says.
    """
    import h5py

    about = path.stat()
    stamp = (counts_later, str(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if stamp in _KNOWN_GOOD:
        return
    _refuse_lists(root, "attributes of the file")
    total, largest, seen = 0, (0, ""), {_address(root)}
    waiting: list[tuple[Any, str]] = [(root, "")]
    n_nodes, unmeasured = 0, []
    while waiting:
        group, where = waiting.pop()
        for name in group:
            n_nodes += 1
            if n_nodes > MAX_NODES:
                raise DataError(f"It holds more than {MAX_NODES:,} groups and arrays. It is no file of counts.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _outside(name)
            node = group[name]
            _refuse_lists(node, name)
            if isinstance(node, h5py.Group):
                if (address := _address(node)) in seen:
                    raise DataError(f"{name!r} is reached in two ways. Save the file anew, each part in one place.")
                seen.add(address)
                waiting.append((node, f"{where}/{name}" if len(where) < 200 else where))
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise _outside(name)
                claimed = _claims(node.shape, node.chunks, node.dtype.itemsize, name)
                if not (counts_later and is_measured_later(node)):
                    unmeasured.append(node)
                total, largest = total + claimed, max(largest, (claimed, f"{where}/{name}"))
    _refuse_claims(total, largest, about.st_size)
    for node in unmeasured:
        measure(node)
    _KNOWN_GOOD.append(stamp)


def _refuse_lists(node: Any, name: str) -> None:
    """Refuse arrays and attributes of lists: anndata writes none, and HDF5 crashes the process on damaged ones."""
    import h5py

    kinds = [node.id.get_type()] if isinstance(node, h5py.Dataset) else []
    kinds += [node.attrs.get_id(attribute).get_type() for attribute in node.attrs]
    while kinds:
        kind = kinds.pop()
        if isinstance(kind, h5py.h5t.TypeVlenID):
            raise DataError(f"{name!r} is stored as lists of unequal length, or damaged. Save it as text or numbers.")
        if isinstance(kind, h5py.h5t.TypeCompoundID):
            kinds += [kind.get_member_type(place) for place in range(kind.get_nmembers())]
        elif isinstance(kind, h5py.h5t.TypeArrayID):
            kinds.append(kind.get_super())


def _outside(name: str) -> DataError:
    return DataError(f"{name!r} is a link or is stored outside the file. Copy the file so that it holds its own data.")


def _address(node: Any) -> tuple[int, ...]:
    import h5py

    return (h5py.h5o.get_info(node.id).addr,)


def _claims(shape: Any, chunks: Any, itemsize: int, name: str) -> int:
    """Bytes that an array would take, refused if a single chunk of it is too large."""
    chunk = math.prod(int(n) for n in chunks) * itemsize if chunks else 0
    if chunk > MAX_CHUNK:
        raise DataError(
            f"{name!r} is stored in chunks of {in_words(chunk)}, too large to unpack for a single value. Save it anew "
            f"in chunks of at most {in_words(MAX_CHUNK)}."
        )
    return max(math.prod(int(n) for n in shape or ()) * itemsize, chunk)


def _refuse_claims(total: int, largest: tuple[int, str], size: int) -> None:
    if total > most_bytes(size):
        raise DataError(
            f"The file has {in_words(size)} and claims to hold {in_words(total)}, most of it in "
            f"{largest[1].lstrip('/')[-80:]!r}. It is damaged or made to fill the memory; save it anew."
        )


# ---- zarr ---------------------------------------------------------------------------------------------------------


def refuse_hostile_zarr(path: Path) -> None:
    """Look at every file of a zarr folder, reading the descriptions only.

    Raises
    ------
    DataError
        If there are links or other things than files, an array is stored with pickle (reading it would run foreign
        code), or the arrays claim far more than the folder can hold.
    """
    total, largest, size, n_nodes = 0, (0, ""), 0, 0
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        n_nodes += 1
        if n_nodes > MAX_NODES:
            raise DataError(f"It holds more than {MAX_NODES:,} folders. It is no zarr of counts.")
        with os.scandir(folder) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(Path(entry.path))
                    continue
                if not stat.S_ISREG(about.st_mode):
                    raise _outside(entry.name)
                size += about.st_size
                if entry.name in _ZARR_DESCRIPTIONS:
                    claimed = _claims_of_zarr(Path(entry.path), about.st_size)
                    total, largest = total + claimed, max(largest, (claimed, folder.relative_to(path).as_posix()))
    _refuse_claims(total, largest, size)


def _claims_of_zarr(file: Path, size: int) -> int:
    """Bytes that an array claims by its description; 0 of a group."""
    if size > MAX_DESCRIPTION:
        raise DataError(f"{file.parent.name}/{file.name} has {in_words(size)}, far too much to describe an array.")
    described = parse_json(file.read_text(encoding="utf-8"))
    name = file.parent.name
    if '"pickle"' in json.dumps(described):
        raise DataError(f"{name!r} is stored with pickle, which is unsafe to read. Save it as text.")
    if not isinstance(described, Mapping) or "shape" not in described or file.name in (".zattrs", ".zmetadata"):
        return 0
    return _claims(described["shape"], _chunks_of(described), _itemsize_of(described), name)


def _chunks_of(described: Mapping[str, Any]) -> Any:
    """Of version 2 ("chunks") or 3 ("chunk_grid"); a shard of version 3 is made of chunks that are read one by one."""
    if "chunks" in described:
        return described["chunks"]
    codecs = described.get("codecs", [])
    shards = [codec for codec in codecs if codec.get("name") == "sharding_indexed"]
    where = shards[0] if shards else described["chunk_grid"]
    return where["configuration"]["chunk_shape"]


def _itemsize_of(described: Mapping[str, Any]) -> int:
    if "dtype" in described:
        kind = described["dtype"]
        return np.dtype(kind if isinstance(kind, str) else [tuple(part) for part in kind]).itemsize or _TEXT_BYTES
    kind = described["data_type"]
    if isinstance(kind, Mapping):
        return int(kind.get("configuration", {}).get("length_bytes", _TEXT_BYTES))
    return _TEXT_BYTES if kind in ("string", "bytes", "variable_length_bytes") else np.dtype(kind).itemsize


# ---- what is read whole -------------------------------------------------------------------------------------------


def refuse_what_does_not_fit(node: Any, what: str) -> None:
    """Refuse a part of an open store that is read whole, beyond `FREE`, if it takes half of the memory that is left.

    Its chunks are measured, where that was left for later.

    Raises
    ------
    DataError
        Before anything is read.
    """
    free = max(psutil.virtual_memory().available // 2, FREE)
    if (needed := _bytes_of(node)) > free:
        raise DataError(
            f"{what} takes {in_words(needed)}, and {in_words(free)} of memory can be spared here. "
            "Use a larger machine, or keep fewer columns or cells."
        )
    measure(node)


def _bytes_of(node: Any) -> int:
    if hasattr(node, "keys"):
        return sum(_bytes_of(node[name]) for name in node)
    return math.prod(int(n) for n in node.shape or ()) * (np.dtype(node.dtype).itemsize or _TEXT_BYTES)


# ---- numpy's .npz -------------------------------------------------------------------------------------------------


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, by name; nothing is unpickled, and none may claim more than it holds.

    Raises
    ------
    DataError
        If the arrays claim far more than the file can hold, or are stored with pickle.
    """
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        total = sum(member.file_size for member in members)
        largest = max(((member.file_size, member.filename) for member in members), default=(0, ""))
        _refuse_claims(total, largest, path.stat().st_size)
        found = {}
        for member in members:
            with archive.open(member) as stream:
                found[member.filename.removesuffix(".npy")] = _array_of(stream, member.file_size, member.filename)
        return found


def _array_of(stream: Any, size: int, name: str) -> np.ndarray:
    major, _ = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{name!r} is stored with pickle, which is unsafe to read. Save it as text or numbers.")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size:
        raise DataError(f"{name!r} claims {in_words(claimed)} and holds {in_words(size)}. Save the file anew.")
    content = stream.read(claimed)
    if len(content) != claimed:
        raise DataError(f"{name!r} is cut short. Copy the file again.")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if by_column else "C")
