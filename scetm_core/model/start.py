"""Where should training begin? At clusters of cells, turned into topics, embeddings and an encoder that finds them.

From N(0, 1) the first thousands of steps go into what a linear analysis sees at once. So, before the first step:

1. `survey`: principal components of the variable genes, freed from batch effects; k-means with one cluster per topic;
   the closeness of each cell to each cluster is the delta it should have, `Reference.delta`.
2. `start_parameters`: beta from the mean expression of the clusters, alpha and rho from beta's singular vectors; the
   encoder's first layer looks along the components, its head is the ridge regression of the reference.

The reference is also what training holds on to (anchor), and its coarser clusters are what the batches are compared
by (`mmd`). No label is used anywhere. The recipe, with every number measured: docs/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scetm_core.model.cells import Cells, batch_means, row_chunks
from scetm_core.model.harmonise import find_centroids, harmonise, squared_distances
from scetm_core.model.mmd import composition_ratios
from scetm_core.model.scetm import ScETM
from scetm_core.model.variable_genes import VariableGenes

CHUNK_CELLS = 4096  # cells whose variable genes are dense at a time
MAX_FITTED = 10_000  # cells the components and the ridge regression are fitted on

N_COMPONENTS = 30  # in which cells are clustered
N_LOOKED_AT = 50  # by the first layer, each in both directions
N_COMPOSITION_CLUSTERS = 20
FLOOR_QUANTILE = 0.05  # far clusters are all equally far
REFERENCE_MAXIMUM = 2.5  # mean over cells of the largest delta
PRIOR_CELLS = 10  # of a cluster, with the expression expected from its batches
RATIO_FLOOR = 3e-5  # added to every mean fraction before the ratio: no topic is led by a gene of a few chance reads
SPARE_SCALE = 0.05  # of embedding dimensions the clusters do not need
RIDGE = 1e-3  # of the head's regression, relative to the number of cells
LOG_SIGMA_SCALE, LOG_SIGMA_BIAS = 0.1, -1.0


class Reference(NamedTuple):
    """What was known of the training cells before training; kept in checkpoints."""

    delta: Tensor  # (n_cells, n_topics), rows sum to 0
    cluster: Tensor  # (n_cells,), for the comparison of batches
    ratio: Tensor  # (n_batches, n_clusters), from `composition_ratios`


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of standardised variable genes, the largest first."""

    genes: VariableGenes
    mean: Tensor  # (n_variable,)
    axes: Tensor  # (n_variable, n_components), unit columns
    spread: Tensor  # (n_components,), standard deviation of the scores


class Survey(NamedTuple):
    """What `survey` found."""

    components: Components
    reference: Reference


def survey(model: ScETM, cells: Cells, *, seed: int) -> Survey:
    """Look at the training cells before training: components, one cluster per topic, coarser clusters.

    Parameters
    ----------
    model
        Says how many topics, variable genes and batches there are, and where to compute. Not changed.
    cells
        Training cells only.
    seed
        Same seed and cells, same survey.
    """
    rng = np.random.default_rng([seed, 4])
    components = _find_components(model, cells, rng=rng)
    points = harmonise(_scores(components, cells)[:, :N_COMPONENTS], cells.batch, rng=rng)
    delta = _closeness(points, find_centroids(points, model.config.n_topics, rng=rng), model.config.n_topics)
    cluster = squared_distances(points, find_centroids(points, N_COMPOSITION_CLUSTERS, rng=rng)).argmin(axis=1)
    ratio = composition_ratios(cluster, cells.batch, n_batches=len(model.batches))
    found = (torch.from_numpy(array).to(model.device) for array in (delta, cluster, ratio))
    return Survey(components, Reference(*found))


@torch.no_grad()
def start_parameters(model: ScETM, cells: Cells, found: Survey, *, seed: int) -> None:
    """Set alpha, rho and the encoder so that each topic begins as a cluster of cells.

    Without variable genes as its input, the encoder's first layer stays at random.
    """
    rng = np.random.default_rng([seed, 5])
    delta = found.reference.delta
    _start_embeddings(model, _topic_profiles(cells, delta.argmax(dim=1).cpu().numpy(), model), rng=rng)
    if model.variable_genes is not None:
        _start_first_layer(model, found.components)
    rows = _sample(len(cells), rng=rng)
    _start_heads(model, cells.take(rows), delta[torch.from_numpy(rows).to(model.device)])


def _sample(n_cells: int, *, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(n_cells, min(n_cells, MAX_FITTED), replace=False))


# ---- survey -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def _find_components(model: ScETM, cells: Cells, *, rng: np.random.Generator) -> Components:
    """Randomised subspace iteration (Halko, Martinsson, Tropp 2011) on a sample of cells."""
    genes = VariableGenes(len(model.genes), model.config.n_variable_genes).to(model.device)
    genes.choose(cells)
    values = genes(cells.take(_sample(len(cells), rng=rng)).to(model.device)[0])  # (n_sample, n_variable)
    mean = values.mean(dim=0)
    values = values - mean
    n_tried = min(N_LOOKED_AT + 10, *values.shape)
    start = rng.standard_normal((values.shape[1], n_tried), dtype=np.float32)
    basis = torch.from_numpy(start).to(model.device)
    for _ in range(5):
        basis = torch.linalg.qr(values.T @ (values @ basis)).Q
    _, spread, axes = torch.linalg.svd(values @ basis, full_matrices=False)
    n_kept = min(N_LOOKED_AT, max(1, int((spread > 1e-3 * spread[0]).sum())))
    scale = max(len(values) - 1, 1) ** 0.5
    return Components(genes=genes, mean=mean, axes=(basis @ axes.T)[:, :n_kept], spread=spread[:n_kept] / scale)


@torch.no_grad()
def _scores(components: Components, cells: Cells) -> np.ndarray:
    """(n_cells, n_components)."""
    device = components.mean.device
    chunks = (components.genes(cells.take(rows).to(device)[0]) for rows in row_chunks(len(cells), CHUNK_CELLS))
    return np.concatenate([((chunk - components.mean) @ components.axes).cpu().numpy() for chunk in chunks])


def _closeness(points: np.ndarray, centroids: np.ndarray, n_topics: int) -> np.ndarray:
    """Reference delta: minus the squared distance to each centroid, floored, centred and scaled; float32.

    Topics beyond the number of clusters, of which there are no more than cells, are as far as the farthest.
    """
    near = np.full((len(points), n_topics), -np.inf, dtype=np.float32)
    near[:, : len(centroids)] = -squared_distances(points, centroids)
    near = np.maximum(near, np.quantile(near[:, : len(centroids)], FLOOR_QUANTILE, axis=1, keepdims=True))
    near -= near.mean(axis=1, keepdims=True)
    peak = near.max(axis=1).mean()
    return np.asarray(near * (REFERENCE_MAXIMUM / peak if peak > 0 else 0.0), dtype=np.float32)


# ---- parameters -------------------------------------------------------------------------------------------------


def _topic_profiles(cells: Cells, topic: np.ndarray, model: ScETM) -> np.ndarray:
    """Log ratio of each topic's mean expression to that expected from its cells' batches; (n_topics, n_genes)."""
    n_cells, n_topics = len(cells), model.config.n_topics
    is_in = sp.csr_matrix((np.ones(n_cells), (topic, np.arange(n_cells))), (n_topics, n_cells))
    n_in = np.asarray(is_in.sum(axis=1))  # (n_topics, 1)
    in_batch = np.zeros((n_topics, len(model.batches)))
    np.add.at(in_batch, (topic, cells.batch), 1)
    means = batch_means(cells, len(model.batches))
    expected = np.where(n_in > 0, in_batch / np.maximum(n_in, 1) @ means, means.mean(axis=0)) + RATIO_FLOOR
    mean = ((is_in @ cells.fractions).toarray() + n_in * RATIO_FLOOR + PRIOR_CELLS * expected) / (n_in + PRIOR_CELLS)
    return np.asarray(np.log(mean / expected), dtype=np.float32)


def _start_embeddings(model: ScETM, beta: np.ndarray, *, rng: np.random.Generator) -> None:
    """Split beta into alpha and rho, each with the root of the singular values; spare dimensions get small noise."""
    left, sizes, right = np.linalg.svd(beta, full_matrices=False)
    n_used = min(model.config.n_emb, int((sizes > 1e-5 * max(sizes[0], 1e-12)).sum()))
    for parameter, vectors in ((model.alpha, left), (model.rho, right.T)):
        start = SPARE_SCALE * rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        start[:, :n_used] = vectors[:, :n_used] * np.sqrt(sizes[:n_used])
        parameter.copy_(torch.from_numpy(start))


def _start_first_layer(model: ScETM, components: Components) -> None:
    """Hidden units look along the components, in pairs of both directions; those left over stay at random."""
    n_axes = min(components.axes.shape[1], 2 * model.config.n_hidden // 5)
    axes = components.axes[:, :n_axes] / components.spread[:n_axes].clamp(min=1e-6)  # scores of unit variance
    both = torch.cat([axes, -axes], dim=1)
    model.input_weight[:, : 2 * n_axes] = both
    model.input_bias[: 2 * n_axes] = -components.mean @ both


def _start_heads(model: ScETM, cells: Cells, delta: Tensor) -> None:
    """Let the mean of q(delta) be the ridge regression of the reference on the normalised hidden layer."""
    chunks = (cells.take(rows).to(model.device)[0] for rows in row_chunks(len(cells), CHUNK_CELLS))
    hidden = torch.cat([model.activations(chunk) for chunk in chunks])  # (n_cells, n_hidden)
    variance, mean = torch.var_mean(hidden, dim=0)
    model.norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    model.norm.running_var.copy_(variance)  # type: ignore[union-attr]
    hidden = (hidden - mean) / (variance + model.norm.eps).sqrt()
    n_topics = model.config.n_topics
    penalty = RIDGE * len(hidden) * torch.eye(hidden.shape[1], device=hidden.device)
    model.head_weight[:, :n_topics] = torch.linalg.solve(hidden.T @ hidden + penalty, hidden.T @ delta)
    model.head_bias[:n_topics] = delta.mean(dim=0)
    model.head_weight[:, n_topics:] *= LOG_SIGMA_SCALE
    model.head_bias[n_topics:] = LOG_SIGMA_BIAS
