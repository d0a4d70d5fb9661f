"""What does a trained model say of the cells? Fitted model + data -> result AnnData."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch

from scetm_core import keys
from scetm_core.config import RunConfig
from scetm_core.gene_names import SYMBOL, symbols_of
from scetm_core.model import ScETM
from scetm_core.model.cells import CHUNK_CELLS, CellData, cells_to_embed
from scetm_core.model.passes import mean_delta


def infer(model: ScETM, data: CellData, config: RunConfig, *, chunk_size: int = CHUNK_CELLS) -> ad.AnnData:
    """Embed every cell and gather what the model learnt.

    Parameters
    ----------
    model
        Trained; put into evaluation mode.
    data
        Counts in X with the model's genes in its order, no empty cells.
    config
        Stored with the result.
    chunk_size
        Cells in memory at once.

    Returns
    -------
    AnnData without X: obs as in `data` with the cell's total counts, var with a column ``symbol`` where `data` has a
    column of symbols, obsm delta / theta / X_scetm, varm rho / beta, uns alpha and scetm (settings as JSON text, batch
    names, lambda; further intercepts and the second modality where the model has some). See `scetm_core.keys`.

    Raises
    ------
    DataError
        If the genes differ from the model's or a cell is empty.
    """
    cells = cells_to_embed(data, model, batch_key=config.data.batch_key)
    delta = mean_delta(model, cells, chunk_size=chunk_size)  # (n_cells, n_topics)
    result = ad.AnnData(obs=data.obs.copy(), var=_gene_table(data))
    result.obs[keys.N_COUNTS] = cells.totals
    result.obsm[keys.DELTA] = delta
    result.obsm[keys.THETA] = softmax(delta)
    result.obsm[keys.X_SCETM] = delta
    with torch.no_grad():
        result.varm[keys.RHO] = _array(model.rho)
        result.varm[keys.BETA] = _array(model.beta).T.copy()
        result.uns[keys.ALPHA] = _array(model.alpha)
        result.uns[keys.UNS] = {keys.UNS_CONFIG: config.to_json(), **_intercepts(model), **_modality(model)}
    for name, value in data.uns.items():
        if name.endswith("_colors"):
            result.uns[name] = value
    return result


def _gene_table(data: CellData) -> pd.DataFrame:
    """The genes, and their symbols where they have some beside their names."""
    symbols = symbols_of(data.var)
    table = pd.DataFrame(index=data.var_names.copy())
    return table if symbols is None else table.assign(**{SYMBOL: symbols})


def _intercepts(model: ScETM) -> dict[str, Any]:
    """What the model keeps out of the topics, and the names of the given dimensions of rho."""
    found: dict[str, Any] = {keys.UNS_BATCHES: _texts(model.batches)}
    if model.lambda_ is not None:
        found[keys.UNS_LAMBDA] = _array(model.lambda_)
    if model.intercepts.extra is not None:
        rows = [f"{column}={name}" for column, names in model.factors.items() for name in names]
        found[keys.UNS_COVARIATES] = _texts([*rows, *model.numbers])
        found[keys.UNS_COVARIATE_INTERCEPTS] = _array(model.intercepts.extra)
    if model.rho_names is not None:
        found[keys.UNS_RHO_NAMES] = _texts(model.rho_names)
    return found


def _modality(model: ScETM) -> dict[str, Any]:
    if model.feature_rho is None:
        return {}
    return {
        keys.UNS_FEATURES: _texts(model.features),
        keys.UNS_FEATURE_RHO: _array(model.feature_rho),
        keys.UNS_FEATURE_BETA: _array(model.feature_beta).T.copy(),
    }


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.cpu().numpy())


def _texts(names: list[str]) -> np.ndarray:
    return np.array(names, dtype=str)


def softmax(delta: np.ndarray) -> np.ndarray:
    """Topic mixture of each cell: rows sum to 1. (n_cells, n_topics)."""
    shifted = np.exp(delta - delta.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
