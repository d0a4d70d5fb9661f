"""Which model do these data and settings ask for? Names from the data, what is known of rho from a file."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from scetm_core import keys
from scetm_core.config import ModelConfig, RunConfig
from scetm_core.data.embeddings import read_gene_embedding
from scetm_core.errors import DataError
from scetm_core.gene_names import symbols_of
from scetm_core.genesets import match_gene_sets, read_gene_sets
from scetm_core.model import ScETM
from scetm_core.model.cells import CellData, batch_names, number_scale
from scetm_core.model.rho import GivenRho, rho_of_gene_sets, rho_of_table

log = logging.getLogger("scetm")


def build_model(data: CellData, config: RunConfig, *, device: torch.device) -> ScETM:
    """An untrained model for a loaded data set; what was matched by name goes to the log.

    Raises
    ------
    DataError
        If a column is missing, or the gene sets or embeddings do not fit the data.
    """
    keys_wanted = config.data
    for column in (*keys_wanted.extra_batch_keys, *keys_wanted.numeric_keys):
        if column not in data.obs:
            raise DataError(f"obs has no column {column!r}; found: {list(data.obs.columns)}.")
    genes = [str(name) for name in data.var_names]
    rho = _given_rho(config.model, genes, symbols=symbols_of(data.var))
    for message in [] if rho is None else rho.messages:
        log.info(message)
    model = ScETM(
        config.model,
        genes=genes,
        batches=batch_names(data, keys_wanted.batch_key),
        factors={column: batch_names(data, column) for column in keys_wanted.extra_batch_keys},
        numbers={column: number_scale(data.obs[column]) for column in keys_wanted.numeric_keys},
        features=[str(name) for name in data.uns[keys.MODALITY]] if keys_wanted.modality else [],
        rho=rho,
        seed=config.train.seed,
    )
    return model.to(device)


def _given_rho(config: ModelConfig, genes: list[str], *, symbols: list[str] | None) -> GivenRho | None:
    if config.rho_gmt:
        matched = match_gene_sets(read_gene_sets(Path(config.rho_gmt)), genes, min_size=0, symbols=symbols)
        rho, report = rho_of_gene_sets(matched.gene_sets, genes), matched.report  # the former drops small sets
        return dataclasses.replace(rho, messages=[report.matched_sentence(), *report.notes, *rho.messages])
    if config.rho_file:
        return rho_of_table(read_gene_embedding(Path(config.rho_file)), genes)
    return None
