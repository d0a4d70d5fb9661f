"""Is this process one of several that train one model together? What torchrun has told it; needs no torch.

``python -m torch.distributed.run --standalone --nproc-per-node N -m MODULE ...`` (torchrun) starts N times the same
program and numbers them. The first one, number 0, holds the run, reports and writes; the others only help to train.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

LAUNCHER = "torch.distributed.run"


def rank() -> int:
    """Number of this process, from 0 on; 0 where there is one only."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def world() -> int:
    """How many processes train together; 1 for a process of its own."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def local_world() -> int:
    """How many of them share this computer, its memory and its processors."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


def command(module: str, *arguments: str, n_processes: int) -> list[str]:
    """The command that starts a module as so many processes of this computer; a single one without torchrun."""
    if n_processes == 1:
        return [sys.executable, "-m", module, *arguments]
    launcher = ["-m", LAUNCHER, "--standalone", "--nproc-per-node", str(n_processes)]
    return [sys.executable, *launcher, "-m", module, *arguments]


def is_launcher(command: Sequence[str]) -> bool:
    """Whether a command, of `command`, starts several processes, which are its children."""
    return LAUNCHER in command
