"""How likely are the counts? The softmax over all genes, fused with its gradient.

For cell d with normalised counts y_d (total t_d, usually 1), weights w_d = [theta_d, one_hot(s)] and loadings
L = [beta; lambda] the negative log-likelihood is

    nll_d = - sum_g y_dg log r_dg = t_d log sum_g exp(w_d L_g) - w_d (L y_d'),    r_d = softmax(w_d L).

Its gradients are what the model expects minus what was observed: by w_d, t_d L r_d' - L y_d'; by L, W' (t r - y).
What was observed are two sparse products. What is expected needs all genes: rows are taken a few dozen at a time, and
no (n_cells, n_genes) tensor is ever held.

Each chunk is passed over as little as can be: two dense products and an exponential before the last product. With
any m and c = m L, exp(w_d L_g) = exp(c_g) exp((w_d - m) L_g): m is the minibatch's mean of w, so the second factor is
near 1 and needs no row maximum, and the first is put on the small side of the products. A chunk whose sums leave the
safe range is done again with its row maxima. On a GPU all are, as looking would make it wait.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from scetm_core.model.sparse import SparseRows, sparse_product

CHUNK_VALUES_CPU = 1 << 20  # 4 MB of logits in float32; at 15,000 genes twice or half as many rows are slower
CHUNK_VALUES_LOW = 1 << 21  # the same in bfloat16
CHUNK_VALUES_GPU = 1 << 28  # at most 1 GiB of logits at a time
SAFE_SUMS = (1e-20, 1e30)  # of exponentials whose largest factors are 1: within, float32 loses nothing that counts
GRID = 128  # m is rounded to 1/128, so that one_hot(s) - m is exact in bfloat16


def softmax_nll(weights: Tensor, loadings: Tensor, targets: SparseRows, *, low_precision: bool = False) -> Tensor:
    """Mean negative log-likelihood per cell, differentiable by `weights` and `loadings`.

    Parameters
    ----------
    weights
        (n_cells, n_rows): theta, beside it the one-hot batch where there are intercepts.
    loadings
        (n_rows, n_genes): beta, below it lambda.
    targets
        (n_cells, n_genes), normalised counts.
    low_precision
        Expected counts in bfloat16, observed ones in float32; on the CPU only, and worth it where
        `has_fast_bfloat16`. The value is good to 1e-4; gradients to 1 % early in training and to some 3 % when what
        is expected and observed have come within a hundredth of each other.

    Returns
    -------
    Scalar, in nats per read.
    """
    nll: Tensor = _FusedSoftmaxNll.apply(weights, loadings, targets, low_precision)  # type: ignore[no-untyped-call]
    return nll


@torch.no_grad()
def softmax_nll_per_cell(weights: Tensor, loadings: Tensor, targets: SparseRows) -> Tensor:
    """Negative log-likelihood of each cell (n_cells,), in nats per read; arguments as `softmax_nll`."""
    observed = _Observed.of(weights, loadings, targets)
    chunks = torch.split(weights, _chunk_rows(weights, loadings))
    log_sum = torch.cat([(chunk @ loadings).logsumexp(dim=1) for chunk in chunks])
    return observed.total * log_sum - observed.logit(weights)


def has_fast_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older torch
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16"))


class _Observed(NamedTuple):
    """What the targets alone say."""

    total: Tensor  # (n_cells,), 1 for normalised counts
    loadings: Tensor  # (n_cells, n_rows), y L'

    @classmethod
    def of(cls, weights: Tensor, loadings: Tensor, targets: SparseRows) -> _Observed:
        total = torch.mv(targets.matrix, weights.new_ones(loadings.shape[1]))
        return cls(total, sparse_product(targets.matrix, loadings.T))

    def logit(self, weights: Tensor) -> Tensor:
        """Sum of y times logit of each cell, (n_cells,)."""
        return (weights * self.loadings).sum(dim=1)


class _FusedSoftmaxNll(torch.autograd.Function):
    """Both gradients are computed in the forward pass, chunk by chunk, and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        weights: Tensor,
        loadings: Tensor,
        targets: SparseRows,
        low_precision: bool,
    ) -> Tensor:
        n_cells, on_cpu = targets.n_cells, weights.device.type == "cpu"
        observed = _Observed.of(weights, loadings, targets)
        expected = _Expected(weights, loadings, observed)
        if on_cpu:
            expected.add_centred(low_precision=low_precision)
        else:
            expected.add_safely(slice(0, n_cells))
        nll = (observed.total * expected.log_sum - observed.logit(weights)).sum() / n_cells
        by_weights = expected.by_weights.sub_(observed.loadings)
        by_loadings = expected.by_loadings.sub_(sparse_product(targets.transposed, weights).T)
        ctx.save_for_backward(by_weights.div_(n_cells), by_loadings.div_(n_cells))
        return nll

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_weights, by_loadings = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * by_weights, grad * by_loadings, None, None


class _Expected:
    """What the model expects of cells with these totals, filled in chunk by chunk.

    Attributes
    ----------
    log_sum
        (n_cells,), log of the sum over genes of exp(logit).
    by_weights
        (n_cells, n_rows), t r L'.
    by_loadings
        (n_rows, n_genes), W' t r.
    """

    def __init__(self, weights: Tensor, loadings: Tensor, observed: _Observed) -> None:
        self.weights, self.loadings, self.observed = weights, loadings, observed
        self.log_sum = weights.new_empty(len(weights))
        self.by_weights = torch.empty_like(weights)
        self.by_loadings = torch.zeros_like(loadings)

    def add_safely(self, rows: slice) -> None:
        """Some rows, with the row maximum taken off the logits."""
        size = _chunk_rows(self.weights, self.loadings)
        for first in range(rows.start, rows.stop, size):
            part = slice(first, min(first + size, rows.stop))
            weights = self.weights[part]
            logits = weights @ self.loadings  # (n_chunk, n_genes)
            peak = logits.amax(dim=1, keepdim=True)
            share = logits.sub_(peak).exp_()
            sums = share.sum(dim=1, keepdim=True)
            scale = self.observed.total[part, None] / sums
            self.log_sum[part] = (peak + sums.log()).squeeze(1)
            self.by_weights[part] = (share @ self.loadings.T) * scale
            self.by_loadings.addmm_((weights * scale).T, share)

    def add_centred(self, *, low_precision: bool) -> None:
        """All rows, with the mean logit of each gene taken off; rows where that is not safe, safely."""
        sides = _Sides.of(self.weights, self.loadings, self.observed, low_precision=low_precision)
        n_cells, n_genes = len(self.weights), self.loadings.shape[1]
        size = min(n_cells, max(1, (CHUNK_VALUES_LOW if low_precision else CHUNK_VALUES_CPU) // n_genes))
        buffer = sides.left.new_empty(size, n_genes)
        by_loadings = torch.zeros_like(self.loadings)
        for first in range(0, n_cells, size):
            rows = slice(first, min(first + size, n_cells))
            share = torch.mm(sides.left[rows], sides.right, out=buffer[: rows.stop - first]).exp_()
            back = torch.mm(share, sides.back.T).to(self.weights.dtype)  # (n_chunk, n_rows + 1)
            sums = back[:, -1:]
            if not ((sums > SAFE_SUMS[0]) & (sums < SAFE_SUMS[1])).all():
                self.add_safely(rows)
                continue
            scale = self.observed.total[rows, None] / sums
            self.log_sum[rows] = (sums.log() + sides.top).squeeze(1)
            self.by_weights[rows] = back[:, :-1] * scale + self.observed.total[rows, None] * sides.middle
            scaled = (self.weights[rows] * scale).to(share.dtype)
            if low_precision:
                by_loadings.add_(torch.mm(scaled.T, share))
            else:
                by_loadings.addmm_(scaled.T, share)
        self.by_loadings.addcmul_(by_loadings, sides.factor)


class _Sides(NamedTuple):
    """The small sides of the products of a chunk, so that it need not be scaled itself."""

    left: Tensor  # (n_cells, n), with `right` (n, n_genes) the logits less each gene's mean logit c
    right: Tensor
    back: Tensor  # (n_rows + 1, n_genes): loadings less `middle`, times `factor`; last `factor` alone, for the sums
    factor: Tensor  # (n_genes,), exp(c - top)
    top: Tensor  # scalar, the largest c
    middle: Tensor  # (n_rows,), near what is expected, so that the rest is small and rounding it does little

    @classmethod
    def of(cls, weights: Tensor, loadings: Tensor, observed: _Observed, *, low_precision: bool) -> _Sides:
        mean = (weights.mean(dim=0) * GRID).round_() / GRID
        common = mean @ loadings  # (n_genes,)
        top = common.max()
        factor = (common - top).exp_()
        middle = observed.loadings.sum(dim=0) / observed.total.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        back = torch.cat([(loadings - middle[:, None]).mul_(factor), factor[None]])
        left, right = weights - mean, loadings
        if low_precision:
            high = loadings.bfloat16()
            right = torch.cat([high, (loadings - high).bfloat16()])  # lambda, near -10, needs its lower digits
            left = torch.cat([left, left], dim=1).bfloat16()
            back = back.bfloat16()
        return cls(left, right, back, factor, top, middle)


def _chunk_rows(weights: Tensor, loadings: Tensor) -> int:
    n_values = CHUNK_VALUES_CPU if weights.device.type == "cpu" else CHUNK_VALUES_GPU
    return max(1, n_values // loadings.shape[1])
