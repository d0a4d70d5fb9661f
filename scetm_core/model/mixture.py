"""How likely are the counts where each topic is a distribution over genes, and cells mix those? ETM's own form.

    r_dg  proportional to  [ sum_k theta_dk softmax_g(beta_k) ] exp(intercepts_dg),    summing to 1 over the genes,

whereas scETM mixes beta itself and normalises afterwards (`likelihood`). Worked through some rows at a time, gradient
and all, so that no (n_cells, n_genes) tensor is held. Dieng, Ruiz, Blei, TACL 2020.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scetm_core.model.sparse import SparseRows

CHUNK_ROWS = 256
SMALLEST = 1e-30  # added before the logarithm: a gene no topic of the cell has


def mixture_nll(theta: Tensor, topics: Tensor, others: tuple[Tensor, Tensor], targets: SparseRows) -> Tensor:
    """Mean negative log-likelihood per cell, differentiable by the dense arguments.

    Parameters
    ----------
    theta
        (n_cells, n_topics), rows sum to 1.
    topics
        (n_topics, n_genes), rows sum to 1.
    others
        Weights (n_cells, n_rows) and loadings (n_rows, n_genes) of the intercepts; n_rows may be 0.
    targets
        (n_cells, n_genes), normalised counts.

    Returns
    -------
    Scalar, in nats per read.
    """
    nll: Tensor = _MixtureNll.apply(theta, topics, *others, targets)  # type: ignore[no-untyped-call]
    return nll


@torch.no_grad()
def mixture_nll_per_cell(theta: Tensor, topics: Tensor, others: tuple[Tensor, Tensor], targets: SparseRows) -> Tensor:
    """Negative log-likelihood of each cell (n_cells,), in nats per read; arguments as `mixture_nll`."""
    weights, loadings = others
    chunks = (_chunk_nll(theta[rows], topics, weights[rows], loadings, y) for rows, y in _chunks(targets))
    return torch.cat(list(chunks))


def _chunks(targets: SparseRows) -> Iterator[tuple[slice, Tensor]]:
    """Rows, and their normalised counts made dense."""
    starts, columns, values = targets.matrix.crow_indices(), targets.matrix.col_indices(), targets.matrix.values()
    n_cells, n_genes = targets.matrix.shape
    for first in range(0, n_cells, CHUNK_ROWS):
        rows = slice(first, min(first + CHUNK_ROWS, n_cells))
        inside = slice(int(starts[rows.start]), int(starts[rows.stop]))
        lengths = starts[rows.start : rows.stop + 1].diff()
        row = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
        dense = values.new_zeros(len(lengths), n_genes)
        dense[row, columns[inside].long()] = values[inside]
        yield rows, dense


def _chunk_nll(theta: Tensor, topics: Tensor, weights: Tensor, loadings: Tensor, y: Tensor) -> Tensor:
    logits = (theta @ topics + SMALLEST).log() + weights @ loadings  # (n_chunk, n_genes)
    return -(y * logits.log_softmax(dim=1)).sum(dim=1)  # (n_chunk,)


class _MixtureNll(torch.autograd.Function):
    """Gradients are worked out in the forward pass, chunk by chunk, and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        theta: Tensor,
        topics: Tensor,
        weights: Tensor,
        loadings: Tensor,
        targets: SparseRows,
    ) -> Tensor:
        whole = [tensor.detach().requires_grad_() for tensor in (topics, loadings)]
        by_theta, by_weights = torch.empty_like(theta), torch.empty_like(weights)
        by_whole = [torch.zeros_like(tensor) for tensor in whole]
        total = theta.new_zeros(())
        for rows, y in _chunks(targets):
            with torch.enable_grad():
                part = [theta[rows].detach().requires_grad_(), weights[rows].detach().requires_grad_()]
                nll = _chunk_nll(part[0], whole[0], part[1], whole[1], y).sum()
            by_theta[rows], by_weights[rows], *by_rest = torch.autograd.grad(nll, [*part, *whole])
            for sum_, piece in zip(by_whole, by_rest, strict=True):
                sum_ += piece
            total += nll.detach()
        gradients = [gradient / targets.n_cells for gradient in (by_theta, by_whole[0], by_weights, by_whole[1])]
        ctx.save_for_backward(*gradients)
        return total / targets.n_cells

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * gradient for gradient in ctx.saved_tensors), None  # type: ignore[attr-defined]
