"""Which colours has the user chosen for the categories of a run? Kept beside the result, which stays as it is.

``colors.json`` in the run's folder: ``{"cell_type": {"beta": "#0072b2"}}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import write_atomically
from scetm_core.json_text import read_json

MAX_NAME = 500
MAX_CATEGORIES = 5000

_COLOR = re.compile(r"#[0-9a-f]{6}")

OwnColors = dict[str, dict[str, str]]
"""Column -> category -> ``"#rrggbb"``."""


def read_own_colors(run: Path) -> OwnColors:
    """The colours chosen in a run's folder; empty if there are none.

    Raises
    ------
    RunError
        If the file cannot be read, or holds something else.
    """
    path = run / keys.COLORS_FILE
    try:
        found = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(
            f"{_where(run)} cannot be read ({error}). Delete it to go back to the default colours."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(colors, dict) for colors in found.values()):
        raise RunError(f"{_where(run)} holds no colours by column. Delete it to go back to the default colours.")
    try:
        return {column: _checked(column, colors) for column, colors in found.items()}
    except RunError as error:
        raise RunError(f"{_where(run)} is damaged: {error} Delete it to go back to the default colours.") from error


def write_own_colors(run: Path, column: str, colors: Mapping[str, str]) -> None:
    """Keep the colours of one column; an empty mapping goes back to the defaults.

    Raises
    ------
    RunError
        If a name is empty or overlong, a colour is none, or the file cannot be written.
    """
    checked = _checked(column, colors)
    known = read_own_colors(run)
    kept = {name: chosen for name, chosen in {**known, column: checked}.items() if chosen}
    try:
        if kept:
            write_atomically(run / keys.COLORS_FILE, json.dumps(kept, indent=2, ensure_ascii=False))
        else:
            (run / keys.COLORS_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"Cannot write {_where(run)}: {error.strerror or error}.") from error


def own_colors_stamp(run: Path) -> int:
    """Changes when the colours do; 0 while there are none."""
    try:
        return (run / keys.COLORS_FILE).stat().st_mtime_ns
    except OSError:
        return 0


def merged_colors(categories: Sequence[str], defaults: Mapping[str, str], own: Mapping[str, str]) -> list[str]:
    """A colour for each category in their order: the chosen one, else the default."""
    return [own.get(name, defaults[name]) for name in categories]


def _where(run: Path) -> str:
    return f"{run.name}/{keys.COLORS_FILE}"


def _checked(column: str, colors: Mapping[Any, Any]) -> dict[str, str]:
    """The colours in lower case.

    Raises
    ------
    RunError
        If a name or a colour cannot be one.
    """
    if not column or len(column) > MAX_NAME:
        raise RunError(f"{column[:40]!r} cannot name a column: 1 to {MAX_NAME} characters are needed.")
    if len(colors) > MAX_CATEGORIES:
        raise RunError(f"{len(colors):,} colours are too many for {column!r}: at most {MAX_CATEGORIES:,}.")
    checked = {}
    for name, color in colors.items():
        if not isinstance(name, str) or not name or len(name) > MAX_NAME:
            raise RunError(f"{str(name)[:40]!r} cannot name a category: 1 to {MAX_NAME} characters are needed.")
        if not isinstance(color, str) or not _COLOR.fullmatch(color.lower()):
            raise RunError(f"{str(color)[:40]!r} is no colour for {name!r}: write it as #rrggbb, e.g. #0072b2.")
        checked[name] = color.lower()
    return checked
