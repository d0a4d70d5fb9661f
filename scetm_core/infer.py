"""What does a trained model say of the cells? Fitted model + data -> result AnnData."""

from __future__ import annotations

from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from scetm_core import keys
from scetm_core.config import RunConfig
from scetm_core.errors import DataError
from scetm_core.model import ScETM
from scetm_core.model.cells import normalise, row_chunks
from scetm_core.model.sparse import SparseRows


def infer(model: ScETM, data: ad.AnnData, config: RunConfig, *, chunk_size: int = 4096) -> ad.AnnData:
    """Embed every cell and gather what the model learnt.

    Parameters
    ----------
    model
        Trained; put into evaluation mode.
    data
        Counts in X with the model's genes in its order, no empty cells.
    config
        Stored with the result.

    Returns
    -------
    AnnData without X: obs as in `data` with the cell's total counts, obsm delta / theta / X_scetm, varm rho / beta,
    uns alpha and scetm (settings as JSON text, batch names, lambda). See `scetm_core.keys`.

    Raises
    ------
    DataError
        If the genes differ from the model's or a cell is empty.
    """
    if list(data.var_names) != model.genes:
        raise DataError("The data's genes differ from the model's in name or order. Select the model's genes first.")
    delta = np.concatenate(list(_delta_chunks(model, normalise(data), chunk_size)))  # (n_cells, n_topics)
    result = ad.AnnData(obs=data.obs.copy(), var=pd.DataFrame(index=data.var_names.copy()))
    result.obs[keys.N_COUNTS] = np.asarray(sp.csr_matrix(data.X).sum(axis=1, dtype=np.float64)).ravel()
    result.obsm[keys.DELTA] = delta
    result.obsm[keys.THETA] = softmax(delta)
    result.obsm[keys.X_SCETM] = delta
    with torch.no_grad():
        result.varm[keys.RHO] = model.rho.cpu().numpy().copy()
        result.varm[keys.BETA] = model.beta.cpu().numpy().T.copy()
        result.uns[keys.ALPHA] = model.alpha.cpu().numpy().copy()
        result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), keys.UNS_BATCHES: np.array(model.batches, dtype=str)}
        if model.lambda_ is not None:
            result.uns[keys.UNS][keys.UNS_LAMBDA] = model.lambda_.cpu().numpy().copy()
    for name, value in data.uns.items():
        if name.endswith("_colors"):
            result.uns[name] = value
    return result


def softmax(delta: np.ndarray) -> np.ndarray:
    """Topic mixture of each cell: rows sum to 1. (n_cells, n_topics)."""
    shifted = np.exp(delta - delta.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)


@torch.no_grad()
def _delta_chunks(model: ScETM, fractions: sp.csr_matrix, chunk_size: int) -> Iterator[np.ndarray]:
    model.eval()
    for rows in row_chunks(fractions.shape[0], chunk_size):
        mu, _ = model.encode(SparseRows.from_scipy(fractions[rows], device=model.device))
        yield mu.cpu().numpy()
