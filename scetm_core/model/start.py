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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scetm_core.model.cells import CHUNK_CELLS, Cells, row_chunks
from scetm_core.model.gene_sums import GeneSums, add_group_sums
from scetm_core.model.harmonise import find_centroids, harmonise, squared_distances
from scetm_core.model.mmd import composition_ratios
from scetm_core.model.scetm import ScETM
from scetm_core.model.variable_genes import VariableGenes

MAX_FITTED = 10_000  # cells the components and the ridge regression are fitted on

N_COMPONENTS = 30  # in which cells are clustered
N_LOOKED_AT = 50  # by the first layer, each in both directions
N_COMPOSITION_CLUSTERS = 20
FLOOR_QUANTILE = 0.05  # far clusters are all equally far
REFERENCE_MAXIMUM = 2.5  # mean over cells of the largest delta
PRIOR_CELLS = 10  # of a cluster, with the expression expected from its batches
RATIO_FLOOR = 3e-5  # added to every mean fraction before the ratio: no topic is led by a gene of a few chance reads
SPARE_SCALE = 0.05  # of embedding dimensions the clusters do not need
FIT_ROUNDS = 30  # of conjugate gradients, where rho is given
RIDGE = 1e-3  # of the head's regression, relative to the number of cells
LOG_SIGMA_SCALE, LOG_SIGMA_BIAS = 0.1, -1.0
HARMONISED, OBSERVED = "harmonised", "observed"  # groups of `survey`
NORM_FLOOR = 1e-5  # added to a hidden unit's variance, as torch's batch norm does


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
    sums: GeneSums


def start_model(
    model: ScETM, cells: Cells, *, needs_reference: bool, seed: int, groups: str = HARMONISED
) -> Reference | None:
    """Start from the training cells whatever the settings do not want started from N(0, 1).

    Parameters
    ----------
    needs_reference
        Whether training holds on to the reference even if the topics start from N(0, 1).
    groups
        See `survey`.

    Returns
    -------
    The reference, if it was looked for.
    """
    config = model.config
    wants_survey = needs_reference or config.start == "data"
    if not (wants_survey or config.lambda_init == "data" or model.variable_genes is not None or model.features):
        return None
    sums = GeneSums.of(cells, len(model.batches))
    if config.lambda_init == "data":
        model.intercepts.start_from(sums.mean)
    if model.variable_genes is not None:
        model.variable_genes.choose(sums)
    _start_features(model, cells)
    if not wants_survey:
        return None
    found = survey(model, cells, seed=seed, sums=sums, groups=groups)
    if config.start == "data":
        start_parameters(model, cells, found, seed=seed)
    return found.reference


def _start_features(model: ScETM, cells: Cells) -> None:
    """Scale the second modality for the encoder, and start its intercepts at the batches' means."""
    if model.feature_input is None or model.feature_intercepts is None or cells.features is None:
        return
    has_any = cells.rows[np.diff(cells.features.indptr)[cells.rows] > 0]
    chunks = (has_any[places] for places in row_chunks(len(has_any), CHUNK_CELLS))
    pieces = ((cells.features[rows], cells.batch[rows]) for rows in chunks)
    sums = GeneSums.of_pieces(pieces, n_genes=cells.features.shape[1], n_batches=len(model.batches))
    model.feature_input.choose(sums)
    if model.config.lambda_init == "data":
        model.feature_intercepts.start_from(sums.mean)


def survey(model: ScETM, cells: Cells, *, seed: int, sums: GeneSums | None = None, groups: str = HARMONISED) -> Survey:
    """Look at the training cells before training: components, one cluster per topic, coarser clusters.

    Parameters
    ----------
    model
        Says how many topics, variable genes and batches there are, and where to compute. Not changed.
    cells
        Training cells only.
    seed
        Same seed and cells, same survey.
    sums
        Of these cells, where they are known already.
    groups
        The coarser clusters, within which batches are compared, are those of the components after harmonisation, or of
        the components as they are (`OBSERVED`). Harmonisation may lay a type that one batch alone has onto another
        type; as observed it is a cluster of its own, which `composition_ratios` leaves out.
    """
    rng = np.random.default_rng([seed, 4])
    sums = GeneSums.of(cells, len(model.batches)) if sums is None else sums
    components = _find_components(model, cells, sums, rng=rng)
    observed = _scores(components, cells)
    points = harmonise(observed, cells.codes, rng=rng)
    delta = _closeness(points, find_centroids(points, model.config.n_topics, rng=rng), model.config.n_topics)
    compared = observed if groups == OBSERVED else points
    cluster = _nearest(compared, find_centroids(compared, N_COMPOSITION_CLUSTERS, rng=rng))
    ratio = composition_ratios(cluster, cells.codes, n_batches=len(model.batches))
    found = (torch.from_numpy(array).to(model.device) for array in (delta, cluster, ratio))
    return Survey(components, Reference(*found), sums)


@torch.no_grad()
def start_parameters(model: ScETM, cells: Cells, found: Survey, *, seed: int) -> None:
    """Set alpha, rho and the encoder so that each topic begins as a cluster of cells.

    Without variable genes as its input, the encoder's first layer stays at random.
    """
    rng = np.random.default_rng([seed, 5])
    delta = found.reference.delta
    topic = delta.argmax(dim=1).cpu().numpy()
    pieces = (chunk.fractions for chunk in cells.chunks())
    _start_embeddings(model, _topic_profiles(pieces, topic, cells.codes, model=model, means=found.sums.mean), rng=rng)
    if cells.features is not None and model.feature_rho is not None:
        features = cells.features[cells.rows]
        has_any = np.diff(features.indptr) > 0
        features, codes = features[has_any], cells.codes[has_any]
        means = GeneSums.of_pieces([(features, codes)], n_genes=features.shape[1], n_batches=len(model.batches)).mean
        _start_feature_rho(model, _topic_profiles([features], topic[has_any], codes, model=model, means=means))
    if model.variable_genes is not None:
        _start_first_layer(model, found.components)
    rows = _sample(len(cells), rng=rng)
    _start_heads(model, cells.subset(rows), delta[torch.from_numpy(rows).to(model.device)])


def _sample(n_cells: int, *, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(n_cells, min(n_cells, MAX_FITTED), replace=False))


# ---- survey -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def _find_components(model: ScETM, cells: Cells, sums: GeneSums, *, rng: np.random.Generator) -> Components:
    """Randomised subspace iteration (Halko, Martinsson, Tropp 2011) on a sample of cells."""
    config = model.config
    genes = VariableGenes(len(model.genes), config.n_variable_genes, config.spread_floor).to(model.device)
    genes.choose(sums)
    values = genes(cells.load(_sample(len(cells), rng=rng)).to(model.device).cells)  # (n_sample, n_variable)
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
    """Of each cell on the components it is clustered by; (n_cells, N_COMPONENTS at most)."""
    axes = components.axes[:, :N_COMPONENTS]
    found = np.empty((len(cells), axes.shape[1]), dtype=np.float32)
    first = 0
    for chunk in cells.chunks():
        values = components.genes(chunk.to(axes.device).cells)  # (n_chunk, n_variable)
        found[first : first + len(chunk)] = ((values - components.mean) @ axes).cpu().numpy()
        first += len(chunk)
    return found


def _closeness(points: np.ndarray, centroids: np.ndarray, n_topics: int) -> np.ndarray:
    """Reference delta: minus the squared distance to each centroid, floored, centred and scaled; float32.

    Topics beyond the number of clusters, of which there are no more than cells, are as far as the farthest.
    """
    near = np.full((len(points), n_topics), -np.inf, dtype=np.float32)
    for rows in _slices(len(points)):
        chunk, found = near[rows], -squared_distances(points[rows], centroids)
        chunk[:, : len(centroids)] = found
        np.maximum(chunk, np.quantile(found, FLOOR_QUANTILE, axis=1, keepdims=True), out=chunk)
        chunk -= chunk.mean(axis=1, keepdims=True)
    peak = near.max(axis=1).mean()
    near *= REFERENCE_MAXIMUM / peak if peak > 0 else 0.0
    return near


def _nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the nearest centroid, (n_points,)."""
    chunks = [squared_distances(points[rows], centroids).argmin(axis=1) for rows in _slices(len(points))]
    return np.concatenate(chunks)


def _slices(n: int) -> Iterator[slice]:
    return (slice(first, first + CHUNK_CELLS) for first in range(0, n, CHUNK_CELLS))


# ---- parameters -------------------------------------------------------------------------------------------------


def _topic_profiles(
    pieces: Iterable[sp.csr_matrix], topic: np.ndarray, batch: np.ndarray, *, model: ScETM, means: np.ndarray
) -> np.ndarray:
    """Log ratio of each topic's mean expression to that expected from its cells' batches; (n_topics, n_features).

    Without batch intercepts, which otherwise hold the features' levels, those are added.

    Parameters
    ----------
    pieces
        Normalised counts of the cells, some at a time.
    topic, batch
        (n_cells,) codes.
    means
        (n_batches, n_features), of all cells of a batch.
    """
    n_topics, n_batches = model.config.n_topics, len(means)
    in_batch = np.bincount(topic * n_batches + batch, minlength=n_topics * n_batches).reshape(n_topics, n_batches)
    n_in = in_batch.sum(axis=1, keepdims=True)  # (n_topics, 1)
    total = np.zeros((n_topics, means.shape[1]))
    first = 0
    for piece in pieces:
        add_group_sums(total, piece, topic[first : first + piece.shape[0]])
        first += piece.shape[0]
    expected = np.where(n_in > 0, in_batch / np.maximum(n_in, 1) @ means, means.mean(axis=0)) + RATIO_FLOOR
    mean = (total + n_in * RATIO_FLOOR + PRIOR_CELLS * expected) / (n_in + PRIOR_CELLS)
    levels = np.log(means.mean(axis=0) + RATIO_FLOOR) if model.lambda_ is None else 0.0
    return np.asarray(np.log(mean / expected) + levels, dtype=np.float32)


def _start_embeddings(model: ScETM, beta: np.ndarray, *, rng: np.random.Generator) -> None:
    """Split beta into alpha and rho.

    Given dimensions of rho take what they can of it, by ridge regression. The rest goes to the learnt ones, each side
    with the root of the singular values; spare dimensions get small noise.
    """
    n_given, rest = model.gene_embedding.n_given, torch.from_numpy(beta).to(model.device)
    if n_given:
        model.alpha.zero_()
        unknown = model.gene_embedding.unknown
        if unknown is not None:
            unknown.rows.zero_()
        model.alpha[:, :n_given] = _fitted(model, rest)[:, :n_given]
        if unknown is not None:
            unknown.rows.copy_(_rows_for(model.alpha[:, :n_given], rest[:, unknown.genes]))
        rest = rest - model.beta
    if model.gene_embedding.learnt is None:
        return
    left, sizes, right = np.linalg.svd(rest.cpu().numpy(), full_matrices=False)
    rho = model.gene_embedding.learnt
    n_used = min(rho.shape[1], int((sizes > 1e-5 * max(sizes[0], 1e-12)).sum()))
    for parameter, vectors in ((model.alpha[:, n_given:], left), (rho, right.T)):
        start = SPARE_SCALE * rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        start[:, :n_used] = vectors[:, :n_used] * np.sqrt(sizes[:n_used])
        parameter.copy_(torch.from_numpy(start))


def _fitted(model: ScETM, beta: Tensor) -> Tensor:
    """The alpha whose beta comes nearest to the one wanted; (n_topics, n_emb), by conjugate gradients.

    rho may be known as a product only, so what is solved is the normal equation (R' R + ridge) alpha' = R' beta'.
    """
    n_given = model.gene_embedding.n_given

    def transposed(target: Tensor) -> Tensor:  # R' times something: the gradient of a linear map
        with torch.enable_grad():
            point = torch.zeros_like(model.alpha, requires_grad=True)
            found = torch.autograd.grad(model.gene_embedding(point), point, target)[0].detach()
        found[:, n_given:] = 0
        return found

    alpha = torch.zeros_like(model.alpha)
    residual = transposed(beta)
    ridge = RIDGE * beta.shape[1]
    direction, size = residual.clone(), residual.square().sum(dim=1, keepdim=True)
    for _ in range(FIT_ROUNDS):
        applied = transposed(model.gene_embedding(direction)) + ridge * direction
        step = size / (direction * applied).sum(dim=1, keepdim=True).clamp(min=1e-30)
        alpha, residual = alpha + step * direction, residual - step * applied
        size, before = residual.square().sum(dim=1, keepdim=True), size
        direction = residual + size / before.clamp(min=1e-30) * direction
    return alpha


def _start_feature_rho(model: ScETM, profiles: np.ndarray) -> None:
    """Place the second modality's features so that alpha, as it is, gives them the clusters' profiles."""
    assert model.feature_rho is not None
    wanted = torch.from_numpy(profiles).to(model.device)  # (n_topics, n_features)
    model.feature_rho.copy_(_rows_for(model.alpha, wanted))


def _rows_for(alpha: Tensor, beta: Tensor) -> Tensor:
    """Rows of an embedding (n_features, n_emb) that with this alpha give a beta; the smallest ones."""
    inverse: Tensor = torch.linalg.pinv(alpha, rtol=1e-3)
    return (inverse @ beta).T


def _start_first_layer(model: ScETM, components: Components) -> None:
    """Hidden units look along the components, in pairs of both directions; those left over stay at random."""
    n_axes = min(components.axes.shape[1], 2 * model.config.n_hidden // 5)
    axes = components.axes[:, :n_axes] / components.spread[:n_axes].clamp(min=1e-6)  # scores of unit variance
    both = torch.cat([axes, -axes], dim=1)
    model.input_weight[:, : 2 * n_axes] = both
    model.input_bias[: 2 * n_axes] = -components.mean @ both


def _start_heads(model: ScETM, cells: Cells, delta: Tensor) -> None:
    """Let the mean of q(delta) be the ridge regression of the reference on the normalised hidden layer.

    Without batch norm the heads do its part.
    """
    hidden = torch.cat([model.activations(chunk.to(model.device)) for chunk in cells.chunks()])  # (n_cells, n_hidden)
    variance, mean = torch.var_mean(hidden, dim=0)
    spread = (variance + NORM_FLOOR).sqrt()
    hidden = (hidden - mean) / spread
    n_topics = model.config.n_topics
    penalty = RIDGE * len(hidden) * torch.eye(hidden.shape[1], device=hidden.device)
    model.head_weight[:, :n_topics] = torch.linalg.solve(hidden.T @ hidden + penalty, hidden.T @ delta)
    model.head_bias[:n_topics] = delta.mean(dim=0)
    model.head_weight[:, n_topics:] *= LOG_SIGMA_SCALE
    model.head_bias[n_topics:] = LOG_SIGMA_BIAS
    if isinstance(model.norm, torch.nn.BatchNorm1d):
        model.norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        model.norm.running_var.copy_(variance)  # type: ignore[union-attr]
    else:
        model.head_weight.div_(spread[:, None])
        model.head_bias.sub_(mean @ model.head_weight)
