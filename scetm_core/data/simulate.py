"""What do counts with a known truth look like? Cells drawn from the model itself, with the truth kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from scetm_core.errors import DataError

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.data.matrix import Csr

Floats = npt.NDArray[np.float64]

TRUE_DELTA = "true_delta"  # obsm, (n_cells, n_topics)
TRUE_THETA = "true_theta"  # obsm, (n_cells, n_topics), rows sum to 1
TRUE_BETA = "true_beta"  # varm, (n_genes, n_topics)
TRUE_LAMBDA = "true_lambda"  # uns, (n_batches, n_genes)

_BASE_SPREAD = 1.0  # of the genes' log abundance, shared by all topics and batches
_VALUES_AT_ONCE = 2_000_000


def simulate(
    *,
    n_cells: int = 2000,
    n_genes: int = 1000,
    n_topics: int = 10,
    n_batches: int = 2,
    seed: int = 0,
    n_emb: int = 32,
    median_counts: int = 2000,
    topic_spread: float = 1.5,
    batch_spread: float = 0.5,
    dominance: float = 3.0,
) -> ad.AnnData:
    """Counts drawn from scETM's generative model, with planted structure that a good fit finds again.

    Each cell has one dominant topic, its ``cell_type``; cell types and batches are independent and of equal size.
    Each read of cell d in batch s falls on gene g with probability softmax_g(theta_d . beta_g + lambda_sg); the number
    of reads is log-normal.

    Parameters
    ----------
    n_emb
        Dimensions of the embeddings behind beta.
    median_counts
        Reads of a typical cell.
    topic_spread, batch_spread
        Standard deviation of beta, and of a batch's intercepts around the genes' own level, in log units.
    dominance
        How far the dominant topic's delta lies above log(n_topics); 3 gives it a theta of about 0.9.

    Returns
    -------
    AnnData
        `X` counts as CSR; obs ``batch``, ``cell_type`` (``type_3`` is dominated by topic 3); obsm ``true_delta``,
        ``true_theta``; varm ``true_beta`` (n_genes, n_topics); uns ``true_lambda`` (n_batches, n_genes).

    Raises
    ------
    DataError
        If a size is too small to make sense.
    """
    import anndata as ad

    _check_sizes(n_cells=n_cells, n_genes=n_genes, n_topics=n_topics, n_batches=n_batches, n_emb=n_emb)
    rng = np.random.default_rng(seed)
    types = rng.permutation(np.arange(n_cells) % n_topics)
    batches = rng.permutation(np.arange(n_cells) % n_batches)
    delta = rng.normal(size=(n_cells, n_topics))
    delta[np.arange(n_cells), types] += np.log(n_topics) + dominance
    theta = softmax(delta)  # (n_cells, n_topics)
    alpha = rng.normal(size=(n_topics, n_emb)) / np.sqrt(n_emb)
    rho = rng.normal(size=(n_genes, n_emb))
    beta = topic_spread * alpha @ rho.T  # (n_topics, n_genes)
    base = rng.normal(scale=_BASE_SPREAD, size=n_genes)
    lambda_ = base + rng.normal(scale=batch_spread, size=(n_batches, n_genes))
    n_reads = np.maximum(rng.lognormal(np.log(median_counts), 0.35, size=n_cells), 10).astype(np.int64)
    obs = pd.DataFrame(
        {
            "batch": _named("batch", batches, n_batches),
            "cell_type": _named("type", types, n_topics),
        },
        index=[f"cell_{cell}" for cell in range(n_cells)],
    )
    return ad.AnnData(
        X=_draw(theta, beta, lambda_, batches=batches, n_reads=n_reads, rng=rng),
        obs=obs,
        var=pd.DataFrame(index=[f"gene_{gene}" for gene in range(n_genes)]),
        obsm={TRUE_DELTA: delta, TRUE_THETA: theta},
        varm={TRUE_BETA: beta.T.copy()},
        uns={TRUE_LAMBDA: lambda_},
    )


def softmax(values: Floats) -> Floats:
    """Softmax over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _check_sizes(**sizes: int) -> None:
    least = {"n_cells": 2, "n_genes": 2, "n_topics": 1, "n_batches": 1, "n_emb": 1}
    for name, value in sizes.items():
        if value < least[name]:
            raise DataError(f"{name} must be at least {least[name]}, got {value}.")
    for name in ("n_topics", "n_batches"):
        if sizes[name] > sizes["n_cells"]:
            raise DataError(f"{name} must be at most n_cells ({sizes['n_cells']}), got {sizes[name]}.")


def _named(what: str, codes: npt.NDArray[np.int64], n: int) -> pd.Categorical[str]:
    return pd.Categorical.from_codes(
        codes.tolist(), categories=pd.Index([f"{what}_{i}" for i in range(n)], dtype=object)
    )


def _draw(
    theta: Floats,
    beta: Floats,
    lambda_: Floats,
    *,
    batches: npt.NDArray[np.int64],
    n_reads: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Csr:
    """Multinomial counts, some cells at a time: each read looks its gene up in the cell's cumulative probabilities."""
    n_genes = beta.shape[1]
    step = max(1, _VALUES_AT_ONCE // n_genes)
    pieces = []
    for start in range(0, len(theta), step):
        cells = slice(start, start + step)
        rates = softmax(theta[cells] @ beta + lambda_[batches[cells]])  # (cells of the piece, n_genes)
        n_rows = len(rates)
        edges = np.cumsum(rates, axis=1)
        edges /= edges[:, -1:]
        rows = np.repeat(np.arange(n_rows), n_reads[cells])
        found = np.searchsorted(
            (edges + np.arange(n_rows)[:, None]).ravel(), rows + rng.random(len(rows)), side="right"
        )
        genes = np.clip(found - rows * n_genes, 0, n_genes - 1)
        piece = sp.coo_matrix((np.ones(len(rows), dtype=np.float32), (rows, genes)), shape=(n_rows, n_genes))
        pieces.append(piece.tocsr())  # adds up the reads of one gene
    counts = sp.csr_matrix(sp.vstack(pieces, format="csr"))
    counts.sort_indices()
    return counts
