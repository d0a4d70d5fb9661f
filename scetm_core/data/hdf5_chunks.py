"""Does each chunk of an HDF5 array unpack to as much as it has to?

HDF5 takes whatever comes out of a chunk and copies a whole one from there: where too much comes out it fills the
memory, where too little does it gives out what else the process has in memory, or ends it. So the chunks of a file
that somebody else has made are measured before HDF5 reads them, with our own count of what comes out.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from scetm_core.errors import DataError

LATER = 64_000_000
"""Bytes from which counts are measured as they are read, not at the opening of their file."""

DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
"""Numbers of the filters that a chunk may go through."""

_CHECKSUM = 4  # bytes that FLETCHER32 puts behind
_measured: deque[tuple[object, ...]] = deque(maxlen=256)  # arrays that were found good, with their file as it was then


def is_measured_later(node: Any) -> bool:
    """Whether an array is large and may be of counts: a table, or values or positions of a compressed one."""
    if node.chunks is None or node.dtype.kind not in "biuf" or node.size * node.dtype.itemsize <= LATER:
        return False
    return node.ndim == 2 or (node.ndim == 1 and "indptr" in node.parent)


def measure(node: Any) -> None:
    """Measure all chunks of an array, or of all arrays in a group; each once, as long as the file stays as it is.

    Nothing is done about what is not of HDF5.

    Raises
    ------
    DataError
        If one unpacks to something else than a whole chunk, or goes through filters that are not known.
    """
    if not type(node).__module__.startswith("h5py"):
        return
    if hasattr(node, "keys"):
        for name in node:
            measure(node[name])
        return
    about = Path(node.file.filename).stat()
    stamp = (node.file.filename, node.name, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if stamp not in _measured:
        _measure(node)
        if (node.size or 0) * node.dtype.itemsize > LATER:
            _measured.append(stamp)


def _measure(node: Any) -> None:
    itemsize = _size_on_disk(node.id.get_type())
    if node.chunks is None:
        if node.id.get_storage_size() not in (0, (node.size or 0) * itemsize):
            raise _damaged(node)
        return
    filters, whole = filters_of(node), math.prod(node.chunks) * itemsize

    def look(chunk: Any) -> None:
        applied = [kind for place, kind in enumerate(filters) if not chunk.filter_mask >> place & 1]
        if not {DEFLATE, LZF}.intersection(applied):  # what is in it need not be looked at
            found = chunk.size - _CHECKSUM * applied.count(FLETCHER32)
        else:
            found = _length(node.id.read_direct_chunk(chunk.chunk_offset)[1], applied, whole)
        if found != whole:
            raise _damaged(node)

    node.id.chunk_iter(look)


def _size_on_disk(kind: Any) -> int:
    """Bytes of a value in the file: a text of any length takes 16 there (how long it is, and where), 8 in memory."""
    import h5py

    size = int(kind.get_size())
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        return 16
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        members = [kind.get_member_type(place) for place in range(kind.get_nmembers())]
        return size + sum(_size_on_disk(member) - int(member.get_size()) for member in members)
    if isinstance(kind, h5py.h5t.TypeArrayID):
        return size // int(kind.get_super().get_size()) * _size_on_disk(kind.get_super())
    return size


def filters_of(node: Any) -> list[int]:
    """The filters that chunks of an array went through, in the order in which they were applied.

    Raises
    ------
    DataError
        If one of them is not known, or there is more than one that packs.
    """
    plist = node.id.get_create_plist()
    found = [plist.get_filter(place)[0] for place in range(plist.get_nfilters())]
    if not set(found) <= {DEFLATE, SHUFFLE, FLETCHER32, LZF} or found.count(DEFLATE) + found.count(LZF) > 1:
        raise DataError(
            f"{node.name!r} is packed in a way that cannot be checked (HDF5 filters {found}). Save the file anew, "
            "with gzip or unpacked."
        )
    return found


def _length(packed: bytes, applied: list[int], whole: int) -> int:
    """Bytes that come out of a packed chunk; of too many, some number above `whole`."""
    place = next(place for place, kind in enumerate(applied) if kind in (DEFLATE, LZF))
    n_behind = _CHECKSUM * applied[place + 1 :].count(FLETCHER32)
    n_within = _CHECKSUM * applied[:place].count(FLETCHER32)
    content = packed[: len(packed) - n_behind] if n_behind else packed
    n_bytes = whole + n_within
    found = len(inflated(content, n_bytes)) if applied[place] == DEFLATE else _lzf_length(content, n_bytes)
    return found - n_within


def inflated(packed: bytes, n_bytes: int) -> bytes:
    """What comes out of a deflated chunk, cut one byte behind what is expected; nothing of one without an end."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(packed, n_bytes + 1)
    except zlib.error:
        return b""
    return found if stream.eof or len(found) > n_bytes else b""


def _lzf_length(packed: bytes, n_bytes: int) -> int:
    from scetm_core.data.lzf import unpacked_length

    return int(unpacked_length(np.frombuffer(packed, dtype=np.uint8), n_bytes))


def _damaged(node: Any) -> DataError:
    return DataError(
        f"{node.name!r} has a chunk that unpacks to something else than it has to hold. The file is damaged, or made "
        "to do harm; copy or download it again, or save it anew."
    )
