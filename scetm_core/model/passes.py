"""What does a model say of many cells? All are gone through, a chunk of them at a time."""

from __future__ import annotations

import numpy as np
import torch

from scetm_core.model.cells import CHUNK_CELLS, Cells
from scetm_core.model.scetm import ScETM


def nll_per_cell(model: ScETM, cells: Cells, *, mean_mixture: bool = False) -> np.ndarray:
    """Reconstruction term of each cell (n_cells,), nats per read; puts the model in evaluation mode.

    Parameters
    ----------
    mean_mixture
        As in `ScETM.nll_per_cell`.
    """
    model.eval()
    chunks = (chunk.to(model.device) for chunk in cells.chunks())
    found = [model.nll_per_cell(chunk, mean_mixture=mean_mixture).cpu().numpy() for chunk in chunks]
    return np.concatenate([np.zeros(0, dtype=np.float32), *found])


@torch.no_grad()
def mean_delta(model: ScETM, cells: Cells, *, chunk_size: int = CHUNK_CELLS) -> np.ndarray:
    """Delta of each cell (n_cells, n_topics), the mean of q; puts the model in evaluation mode."""
    model.eval()
    chunks = (chunk.to(model.device) for chunk in cells.chunks(chunk_size))
    return np.concatenate([model.encode(chunk)[0].cpu().numpy() for chunk in chunks])
