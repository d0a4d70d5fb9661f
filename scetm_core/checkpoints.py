"""Where can an interrupted training go on? Numbered safetensors files, the newest readable one counts."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scetm_core.errors import RunError
from scetm_core.json_text import parse_json
from scetm_core.model.storage import read_tensors, write_tensors

KEPT = 2

log = logging.getLogger("scetm")


class Checkpoint(NamedTuple):
    """Tensors by name, and the position of the training as JSON has it."""

    tensors: dict[str, Tensor]
    position: dict[str, Any]


def checkpoint_files(folder: Path) -> list[Path]:
    """Checkpoints in a folder, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def write_checkpoint(folder: Path, found: Checkpoint, *, description: Mapping[str, str]) -> None:
    """Write beside, rename, and delete all but the newest few."""
    folder.mkdir(exist_ok=True)  # not its parents: a run that was deleted meanwhile must not come back
    path = folder / f"step-{found.position['step']:08d}.safetensors"
    write_tensors(path, found.tensors, metadata={**description, "position": json.dumps(found.position)})
    for old in checkpoint_files(folder)[KEPT:]:
        old.unlink()


def read_checkpoint(folder: Path, *, names: str, device: torch.device) -> Checkpoint | None:
    """The newest readable checkpoint; None if there is none.

    Parameters
    ----------
    names
        The model's, as in its description; a checkpoint of other genes or batches is refused.

    Raises
    ------
    RunError
        If there are checkpoints and none can be read, or the newest was trained on other genes or batches.
    """
    problems = []
    for path in checkpoint_files(folder):
        try:
            tensors, header = read_tensors(path, device=device)
            position, stored = parse_json(header["position"]), parse_json(header["names"])
            if not isinstance(position, dict) or not isinstance(stored, dict):
                raise ValueError("it does not say where it stands")
        except (OSError, ValueError, KeyError) as error:
            problems.append(f"{path.name}: {error}")
            log.warning("A checkpoint cannot be used, the one before it is tried (%s).", problems[-1])
            continue
        wanted = json.loads(names)
        if differing := [what for what, value in wanted.items() if stored.get(what) != value]:
            raise RunError(
                f"{path} was trained on other {', '.join(differing)} than the input now has. "
                "Restore the files as they were, or start a new run."
            )
        return Checkpoint(tensors, position)
    if problems:
        raise RunError(
            f"No checkpoint in {folder} can be read ({'; '.join(problems)}). Put a copy back, or put them aside with "
            "`python -m scetm_core doctor HOME --mend` (or delete them), and resume: the training then starts anew."
        )
    return None
