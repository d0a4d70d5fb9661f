"""How is a file read that may be longer than it should be? Block by block, up to a limit.

``stream.read(limit)`` takes memory for the whole limit at once, however short the file is.
"""

from __future__ import annotations

from typing import IO, AnyStr

BLOCK = 1 << 20


def read_up_to(stream: IO[AnyStr], limit: int) -> AnyStr:
    """What a stream holds, at most `limit` bytes or letters of it."""
    blocks, left = [stream.read(min(BLOCK, limit))], limit
    while blocks[-1]:
        left -= len(blocks[-1])
        blocks.append(stream.read(min(BLOCK, left)))
    return blocks[-1].join(blocks)
