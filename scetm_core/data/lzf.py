"""How much comes out of a chunk packed by LZF? A compiled loop; importing this loads numba.

LZF is what h5py packs with where ``compression="lzf"`` was said. Its stream is a row of runs: a byte below 32 is
followed by that many bytes and one more; any other byte says how many to copy from before, 2 more than its upper three
bits, and if these are all set, as many more as the next byte says; the distance follows.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt


@numba.njit(cache=True)
def unpacked_length(packed: npt.NDArray[np.uint8], limit: int) -> int:
    """Bytes that come out; -1 of a damaged stream, and anything above `limit` where it is too much."""
    place, found = 0, 0
    while place < len(packed) and found <= limit:
        control = int(packed[place])
        place += 1
        if control < 32:
            place += control + 1
            found += control + 1
        else:
            length = control >> 5
            if length == 7:
                if place >= len(packed):
                    return -1
                length += int(packed[place])
                place += 1
            if place >= len(packed):
                return -1
            distance = ((control & 31) << 8) + int(packed[place]) + 1
            if distance > found:
                return -1
            place += 1
            found += length + 2
    return found if place <= len(packed) else -1
