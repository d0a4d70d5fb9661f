"""Is the discrepancy between batches the textbook's, and are only like cells compared?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scetm_core.model.mmd import WIDTHS, batch_discrepancy, composition_ratios


def points(n_cells: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_cells, 3, generator=torch.Generator().manual_seed(seed))


def test_batches_that_lie_alike_have_no_discrepancy() -> None:
    one = points(20)
    both, batch = torch.cat([one, one]), torch.arange(40) // 20
    assert batch_discrepancy(both, batch, torch.ones(40, 2)).item() == pytest.approx(0, abs=1e-6)
    shifted = torch.cat([one, one + 1])
    assert batch_discrepancy(shifted, batch, torch.ones(40, 2)).item() > 0.01


def test_the_discrepancy_equals_a_plain_double_loop() -> None:
    x, batch = points(12), torch.tensor([0, 1, 2] * 4)
    weights = torch.rand(12, 3, generator=torch.Generator().manual_seed(1))
    weights[4] = 0
    median = float(np.median([(x[i] - x[j]).square().sum() for i in range(12) for j in range(i)]))  # 66 pairs
    lower = sorted(float((x[i] - x[j]).square().sum()) for i in range(12) for j in range(i))[32]
    assert lower <= median
    total = 0.0
    for b in range(3):
        own = [float(weights[d, b]) * (batch[d] == b).item() for d in range(12)]
        pool = [float(weights[d, b] > 0) for d in range(12)]
        contrast = [own[d] / sum(own) - pool[d] / sum(pool) for d in range(12)]
        for d in range(12):
            for e in range(12):
                squared = float((x[d] - x[e]).square().sum())
                kernel = sum(math.exp(-squared / (width * lower)) for width in WIDTHS) / len(WIDTHS)
                total += contrast[d] * contrast[e] * kernel
    assert batch_discrepancy(x, batch, weights).item() == pytest.approx(total / 3, rel=1e-4)


def test_a_batch_that_is_not_there_counts_for_nothing() -> None:
    x, batch = points(10), torch.tensor([0, 2] * 5)
    two = batch_discrepancy(x, batch // 2, torch.ones(10, 2))
    torch.testing.assert_close(batch_discrepancy(x, batch, torch.ones(10, 3)), two)


def test_batches_of_other_composition_lie_alike_once_weighed() -> None:
    """Batch 0 holds kinds 0 and 1 as 3 : 1, batch 1 as 1 : 3; cells of a kind lie in one place."""
    kind, batch = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.repeat([0, 1], 4)
    x = torch.from_numpy(kind)[:, None].float() * 5
    ratio = composition_ratios(kind, batch, n_batches=2)
    np.testing.assert_allclose(ratio, [[2 / 3, 2], [2, 2 / 3]], rtol=1e-6)
    weights = torch.from_numpy(ratio[:, kind].T)
    assert batch_discrepancy(x, torch.from_numpy(batch), weights).item() == pytest.approx(0, abs=1e-6)
    assert batch_discrepancy(x, torch.from_numpy(batch), torch.ones(8, 2)).item() > 0.01


def test_a_kind_that_a_batch_lacks_is_left_out_of_its_comparison() -> None:
    kind, batch = np.array([0, 0, 1, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1])
    ratio = composition_ratios(kind, batch, n_batches=2)
    assert ratio[1, 1] == 0
    x = torch.from_numpy(kind)[:, None].float() * 5
    in_second = batch_discrepancy(x, torch.from_numpy(batch), torch.from_numpy(ratio[:, kind].T))
    assert in_second.item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_brings_batches_together() -> None:
    x, batch = torch.cat([points(15), points(15, seed=1) + 2]).requires_grad_(), torch.arange(30) // 15
    (grad,) = torch.autograd.grad(batch_discrepancy(x, batch, torch.ones(30, 2)), x)
    assert torch.isfinite(grad).all()
    assert (grad[batch == 1].mean(dim=0) > 0).all()  # downhill is towards the first batch
    assert (grad[batch == 0].mean(dim=0) < 0).all()


def test_cells_in_one_place_give_a_finite_gradient() -> None:
    x = torch.zeros(6, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(batch_discrepancy(x, torch.arange(6) % 2, torch.ones(6, 2)), x)
    assert torch.isfinite(grad).all()
