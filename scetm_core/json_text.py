"""How is JSON that others may have written read, so that nothing but a ValueError comes out of a bad one?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scetm_core.bounded import read_up_to

MAX_BYTES = 256_000_000
_MAX_DIGITS = 25  # of a whole number: longer ones cannot become a float


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON, nested deeper than Python can follow, or holds overlong numbers or halves of letters.
    """
    try:
        value = json.loads(text, parse_int=_whole_number)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a letter cannot be written to any file
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises
    ------
    ValueError
        As `parse_json`; also if the file is far too large.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as stream:
        content = read_up_to(stream, max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes / 1e6:.0f} MB")
    return parse_json(content.decode("utf-8"))


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)
