"""How do weights get to the disk and back? As safetensors: no pickle, so a file holds nothing but numbers and text."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scetm_core.files import replacing

CHECKSUM = "sha256"  # in the metadata
_DIGEST = re.compile(r"[0-9a-f]{64}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> None:
    """Write beside, flush, then rename: `path` holds the old file or the new one, never half of it.

    A checksum over names, numbers and metadata goes into the metadata, so that it can never belong to another file.

    Raises
    ------
    OSError
        If it cannot be written, e.g. because the disk is full.
    """
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {**metadata, CHECKSUM: _checksum(on_host, metadata)}
    with replacing(path) as draft:
        try:
            save_file(on_host, draft, metadata=header)
        except SafetensorError as error:  # hides the system's error in its text
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else 0
            raise OSError(code, os.strerror(code) if number else str(error), str(path)) from error


def read_tensors(path: Path, *, device: torch.device | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises
    ------
    OSError, ValueError
        If the file is missing, cut short, no safetensors file, or not what was written.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys()
            tensors, header = {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except OSError:
        raise
    except Exception as error:  # safetensors' own exception derives from Exception directly
        raise ValueError(f"{path.name} is damaged: {error}") from error
    written = header.pop(CHECKSUM, None)
    is_earlier = written is None and not any(_DIGEST.fullmatch(text) for text in header.values())  # none was written
    if not is_earlier and written != _checksum(tensors, header):
        raise ValueError(f"{path.name} is damaged: its content does not fit its checksum")
    return {name: tensor.to(device) for name, tensor in tensors.items()}, header


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over metadata and tensors, whatever their order in the file."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
