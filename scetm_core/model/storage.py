"""How do weights get to the disk and back? As safetensors: no pickle, so a file holds nothing but numbers and text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: dict[str, Tensor], *, metadata: Mapping[str, str]) -> None:
    """Write beside, then rename: `path` holds the old file or the new one, never half of it.

    Raises
    ------
    OSError
        If it cannot be written, e.g. because the disk is full.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        save_file(tensors, draft, metadata=dict(metadata))
        draft.replace(path)
    except SafetensorError as error:  # hides the system's error in its text
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else 0
        raise OSError(code, os.strerror(code) if number else str(error), str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def read_tensors(path: Path, *, device: torch.device | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises
    ------
    OSError, ValueError
        If the file is missing, cut short, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except OSError:
        raise
    except Exception as error:  # safetensors' own exception derives from Exception directly
        raise ValueError(f"{path.name} is damaged: {error}") from error
