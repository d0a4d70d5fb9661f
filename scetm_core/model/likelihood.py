"""How likely are the counts? The softmax over all genes, fused with its gradient.

For cell d with normalised counts y_d (they sum to 1), topic mixture theta_d and batch s the negative log-likelihood is

    nll_d = - sum_g y_dg log r_dg,    r_d = softmax( theta_d beta + lambda_s ).

Written plainly, autograd would keep several dense (n_cells, n_genes) tensors. Here rows are taken a few hundred at a
time: logits, log-sum-exp and both gradients are worked out while the chunk is in the processor's cache, and one chunk
is all that is ever held. The gradient of nll_d by the logits is simply r_d - y_d. The batch intercept rides in the
same products as [theta, one_hot(batch)] [beta; lambda].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from scetm_core.model.sparse import SparseRows

CHUNK_ROWS_CPU = 256  # fits the second-level cache; twice or half as many is slower
CHUNK_VALUES_GPU = 1 << 28  # at most 1 GiB of logits at a time


def softmax_nll(weights: Tensor, loadings: Tensor, targets: SparseRows) -> Tensor:
    """Mean negative log-likelihood per cell, differentiable by `weights` and `loadings`.

    Parameters
    ----------
    weights
        (n_cells, n_rows): theta, beside it the one-hot batch where there are intercepts.
    loadings
        (n_rows, n_genes): beta, below it lambda.
    targets
        (n_cells, n_genes), normalised counts.

    Returns
    -------
    Scalar, in nats per read.
    """
    nll: Tensor = _FusedSoftmaxNll.apply(weights, loadings, targets)  # type: ignore[no-untyped-call]
    return nll


@torch.no_grad()
def softmax_nll_per_cell(weights: Tensor, loadings: Tensor, targets: SparseRows) -> Tensor:
    """Negative log-likelihood of each cell (n_cells,), in nats per read; arguments as `softmax_nll`."""
    return torch.cat([chunk.nll for chunk in _chunks(weights, loadings, targets)])


class _Chunk(NamedTuple):
    """Some rows on their way: where they are, and what is known of them."""

    rows: slice
    nll: Tensor  # (n_chunk,)
    excess: Tensor  # (n_chunk, n_genes): sum(y) r - y, the gradient by the logits; overwritten by the next chunk


def _chunks(weights: Tensor, loadings: Tensor, targets: SparseRows) -> Iterator[_Chunk]:
    n_cells, n_genes = targets.matrix.shape
    on_cpu = weights.device.type == "cpu"
    size = min(n_cells, CHUNK_ROWS_CPU if on_cpu else max(1, CHUNK_VALUES_GPU // n_genes))
    starts, columns, values = targets.matrix.crow_indices(), targets.matrix.col_indices(), targets.matrix.values()
    bounds = starts[torch.arange(0, n_cells + size, size, device=starts.device).clamp(max=n_cells)].tolist()
    buffer = weights.new_empty(size, n_genes)
    for number, first in enumerate(range(0, n_cells, size)):
        rows = slice(first, min(first + size, n_cells))
        inside = slice(bounds[number], bounds[number + 1])
        n_chunk, y = rows.stop - first, values[inside]
        lengths = starts[first + 1 : rows.stop + 1] - starts[first : rows.stop]
        row = torch.repeat_interleave(torch.arange(n_chunk, device=y.device), lengths, output_size=len(y))
        place = row * n_genes + columns[inside]
        total = y.new_zeros(n_chunk).index_add_(0, row, y)  # (n_chunk,), 1 for normalised counts

        logits = torch.mm(weights[rows], loadings, out=buffer[:n_chunk])  # (n_chunk, n_genes)
        peak = logits.amax(dim=1)
        at_targets = y.new_zeros(n_chunk).index_add_(0, row, y * logits.view(-1)[place])
        scale = logits.sub_(peak[:, None]).exp_().sum(dim=1)
        nll = total * (peak + scale.log()) - at_targets
        excess = logits.mul_((total / scale)[:, None])
        excess.view(-1)[place] -= y
        yield _Chunk(rows, nll, excess)


class _FusedSoftmaxNll(torch.autograd.Function):
    """Both gradients are computed in the forward pass, chunk by chunk, and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, weights: Tensor, loadings: Tensor, targets: SparseRows
    ) -> Tensor:
        n_cells = targets.n_cells
        by_weights, by_loadings = torch.empty_like(weights), torch.zeros_like(loadings)
        total = weights.new_zeros(())
        for chunk in _chunks(weights, loadings, targets):
            total += chunk.nll.sum()
            torch.mm(chunk.excess, loadings.T, out=by_weights[chunk.rows])
            by_loadings.addmm_(weights[chunk.rows].T, chunk.excess)
        ctx.save_for_backward(by_weights.div_(n_cells), by_loadings.div_(n_cells))
        return total / n_cells

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        by_weights, by_loadings = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * by_weights, grad * by_loadings, None
