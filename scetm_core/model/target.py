"""How is a trained model given cells of another data set? The same encoder and topics, intercepts of the target's own.

A batch of the target is a new one, whatever it is called: it never gets an intercept of the source's batches. Its own
begins at their mean and is moved to where the target's cells are expected as they are (`fit_intercepts`); training, if
there is any, goes on from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from scetm_core.errors import TransferError
from scetm_core.model.cells import Cells, Minibatch, some_rows
from scetm_core.model.harmonise import find_centroids, squared_distances
from scetm_core.model.scetm import ScETM
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES

INTERCEPTS = ("intercepts.", "feature_intercepts.")  # how their parameters' names begin

MAX_FITTED = 20_000  # cells that intercepts are fitted to
N_GROUPS, MIN_GROUP = 12, 20  # of cells with like delta; smaller groups say little
FIT_ROUNDS = 3
FIT_CHUNK = 512  # cells by all genes in memory at once
SHARE_FLOOR = 1e-5  # added to shares before the log: of rarer genes a group of cells knows little
NEW_LEVEL = -10.0  # intercept that a gene begins with of which the source knows nothing
ABSENT = -30.0  # intercept of a gene that was not measured
NEW_SCALE = 0.01  # of the start of new genes' embeddings: at first their intercepts alone describe them


def model_for_target(source: ScETM, *, batches: Sequence[str], new_genes: Sequence[str] = (), seed: int = 0) -> ScETM:
    """A copy of a trained model for the cells of a target.

    Parameters
    ----------
    source
        Stays as it is.
    batches
        Of the target, in row order of lambda; their intercepts are the mean of the source's until they are fitted.
        Further batch columns and numeric covariates of the source are left out: the target may not have them.
    new_genes
        Genes that the source does not know; their embeddings start near 0, and the encoder does not see them.
    seed
        Of the start of what is new.

    Raises
    ------
    TransferError
        If genes are to be added and gene embeddings cannot be learnt.
    """
    if new_genes and source.gene_embedding.is_fixed:
        raise TransferError(
            "The source's gene embeddings are fixed to gene sets, so those of new genes cannot be learnt. "
            "Transfer without them."
        )
    model = ScETM(
        dataclasses.replace(source.config, n_batch_factors=0),
        genes=[*source.genes, *new_genes],
        batches=batches,
        features=source.features,
        rho=source.gene_embedding.given(source.rho_names or [], n_new=len(new_genes)),
        n_known_genes=source.n_known_genes,
        seed=seed,
    ).to(source.device)
    _copy_weights(source, model)
    return model.eval()


@torch.no_grad()
def _copy_weights(source: ScETM, model: ScETM) -> None:
    """All that does not belong to batches; rows of genes that the source does not know keep their start, made small."""
    known, own = source.state_dict(), model.state_dict()
    for name, tensor in own.items():
        if name.startswith(INTERCEPTS):
            continue
        if name == "batch_input":
            tensor.copy_(known[name].mean(dim=0, keepdim=True).expand_as(tensor))  # as the source sees an unknown batch
        elif name in known and known[name].shape == tensor.shape:
            tensor.copy_(known[name])
        elif tensor.is_floating_point():  # places of genes are as they were made
            n_known = len(known[name]) if name in known else 0
            tensor[n_known:] *= 0 if name == "input_weight" else NEW_SCALE
            if n_known:
                tensor[:n_known] = known[name]
    for mine, theirs in ((model.intercepts, source.intercepts), (model.feature_intercepts, source.feature_intercepts)):
        if mine is not None and theirs is not None and mine.batch is not None and theirs.of_batches is not None:
            mean = theirs.of_batches.mean(dim=0)
            mine.batch[:, : len(mean)] = mean
            mine.batch[:, len(mean) :] = NEW_LEVEL


@torch.no_grad()
def fit_intercepts(model: ScETM, cells: Cells, *, absent: np.ndarray | None = None, seed: int = 0) -> None:
    """Set lambda, batch by batch, so that the model expects of each gene what most groups of cells show.

    Cells are put into groups by delta. A gene's intercept moves by the median over the groups of the log of observed
    over expected share: what most groups have in common is the batch's doing, what some have is biology.
    Up to 20,000 cells are looked at. Nothing else of the model changes; without batch intercepts nothing does.

    Parameters
    ----------
    model
        In evaluation mode, its batches those of `cells`. Its intercepts are what the fit begins with.
    cells
        With a known batch each.
    absent
        (n_genes,) mask of genes that were not measured: no read is expected of them.
    seed
        Of the groups and the choice of cells.
    """
    if model.intercepts.batch is None:
        return
    model.eval()
    rng = np.random.default_rng(seed)
    if absent is not None:
        model.intercepts.batch[:, torch.from_numpy(absent)] = ABSENT
    most = max(MAX_FITTED // len(model.batches), MIN_GROUP)
    for code in range(len(model.batches)):
        rows = some_rows(np.flatnonzero(cells.codes == code), most, rng)
        if not len(rows):
            continue
        groups = [_on_device(model, cells.subset(rows[members])) for members in _groups(model, cells.subset(rows), rng)]
        observed = [_mean(chunk.cells.matrix.to_dense() for chunk in group) for group in groups]
        for _ in range(FIT_ROUNDS):
            expected = [_mean(model.expected_fractions(chunk) for chunk in group) for group in groups]
            shifts = [((o + SHARE_FLOOR) / (e + SHARE_FLOOR)).log() for o, e in zip(observed, expected, strict=True)]
            model.intercepts.batch[code] += torch.quantile(torch.stack(shifts), 0.5, dim=0)


def _groups(model: ScETM, cells: Cells, rng: np.random.Generator) -> list[np.ndarray]:
    """Places of cells with like delta, in groups that are large enough; all together where there is no such group."""
    delta = np.concatenate([model.encode(chunk)[0].cpu().numpy() for chunk in _on_device(model, cells)])
    nearest = squared_distances(delta, find_centroids(delta, N_GROUPS, rng=rng)).argmin(axis=1)
    groups = [np.flatnonzero(nearest == group) for group in range(N_GROUPS)]
    return [group for group in groups if len(group) >= MIN_GROUP] or [np.arange(len(cells))]


def _on_device(model: ScETM, cells: Cells) -> list[Minibatch]:
    return [chunk.to(model.device) for chunk in cells.chunks(FIT_CHUNK)]


def _mean(pieces: Iterable[Tensor]) -> Tensor:
    """Mean over the cells of some pieces (n_cells, n_genes): (n_genes,)."""
    total, n_cells = torch.zeros(()), 0
    for piece in pieces:
        total, n_cells = total.to(piece.device) + piece.sum(dim=0), n_cells + len(piece)
    return total / n_cells


def fix(model: ScETM, learnt: str, *, n_new: int = 0) -> list[str]:
    """Keep parameters as they are, according to what is to be learnt from the target.

    Parameters
    ----------
    learnt
        `ENCODER`: the encoder and the intercepts; topics and genes stay. `NEW_GENES`: embeddings of genes that the
        encoder does not know, and the intercepts; encoder, topics and known genes stay. `EVERYTHING`.
    n_new
        Number of genes that `model_for_target` has added, the last ones.

    Returns
    -------
    Names of the parameters that stay as they are; of rho, under `NEW_GENES`, the rows of known genes do.
    """
    if learnt == EVERYTHING:
        return []
    is_encoder = ("input_", "norm.", "head_", "feature_weight", "batch_input")
    fixed = []
    for name, parameter in model.named_parameters():
        if name.startswith(INTERCEPTS):
            continue
        is_learnt = name.startswith(is_encoder) if learnt == ENCODER else name.startswith("gene_embedding.")
        parameter.requires_grad_(is_learnt)
        fixed += [] if is_learnt else [name]
    if learnt == NEW_GENES:
        model.encoder_is_fixed = True
        for parameter in model.gene_embedding.parameters():
            _fix_rows(parameter, n_new=n_new)
    return fixed


def _fix_rows(parameter: nn.Parameter, *, n_new: int) -> None:
    """Let only the last rows, those of new genes, be learnt."""
    n_fixed = len(parameter) - n_new

    def without_fixed(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[:n_fixed] = 0
        return gradient

    parameter.register_hook(without_fixed)  # type: ignore[no-untyped-call]
