"""Where is a selection kept, so that a short name in an address is enough? Its rule, in the run's folder."""

from __future__ import annotations

import re

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.files import write_atomically
from scetm_core.runs import Run
from scetm_core.selection import Steps, selection_id, steps_from_json, steps_to_json

_ID = re.compile(r"[0-9a-f]{12}")


def write_selection(run: Run, steps: Steps) -> str:
    """Keep the rule of a selection; its short name, which is always the same for the same steps.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    name = selection_id(steps)
    path = run.path / keys.SELECTIONS_FOLDER / f"{name}.json"
    if not path.is_file():
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, steps_to_json(steps))
        except OSError as error:
            raise RunError(f"Cannot keep the selection: {error.strerror or error}.") from error
    return name


def read_selection(run: Run, name: str) -> Steps:
    """The rule behind a short name.

    Raises
    ------
    RunError
        If the name is not allowed, or there is no such selection.
    DataError
        If the file is damaged.
    """
    path = run.path / keys.SELECTIONS_FOLDER / f"{name}.json"
    if not _ID.fullmatch(name) or not path.is_file():
        raise RunError(
            f"Run {run.id} has no selection {name[:40]!r}. It may have been made in another copy of the run."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"Selection {name} of run {run.id} cannot be read ({error}). Select the cells anew.") from error
    return steps_from_json(text)
