"""Does the fused softmax likelihood equal the plain one, in value, gradients and memory?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from scetm_core.model import likelihood
from scetm_core.model.likelihood import has_fast_bfloat16, softmax_nll, softmax_nll_per_cell
from scetm_core.model.sparse import SparseRows


def problem(
    n_cells: int, n_genes: int, n_rows: int, *, normalised: bool = True, seed: int = 0, spread: float = 1.0
) -> tuple[Tensor, Tensor, sp.csr_matrix]:
    """Random weights, loadings and targets."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, size=(n_cells, n_genes)).astype(np.float32)
    counts[:, rng.integers(n_genes)] += 1
    if normalised:
        counts /= counts.sum(axis=1, keepdims=True)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(n_cells, n_rows, generator=generator)
    loadings = spread * torch.randn(n_rows, n_genes, generator=generator)
    return weights.requires_grad_(), loadings.requires_grad_(), sp.csr_matrix(counts)


def plain_nll_per_cell(weights: Tensor, loadings: Tensor, targets: sp.csr_matrix) -> Tensor:
    """The definition, dense and in double precision."""
    y = torch.from_numpy(targets.toarray()).double()
    return -(y * (weights.double() @ loadings.double()).log_softmax(dim=1)).sum(dim=1)


def assert_close_in_norm(found: Tensor, expected: Tensor, *, relative: float = 1e-5) -> None:
    assert torch.isfinite(found).all()
    distance = (found.double() - expected.double()).norm()
    assert distance <= relative * expected.double().norm() + 1e-7  # float32 round-off where nothing is expected


CASES = [
    pytest.param(problem(1, 1, 1), id="smallest"),
    pytest.param(problem(5, 17, 3), id="less than a chunk"),
    pytest.param(problem(256, 31, 4), id="exactly a chunk"),
    pytest.param(problem(300, 40, 5), id="a chunk and a part"),
    pytest.param(problem(513, 20, 6), id="two chunks and one cell"),
    pytest.param(problem(300, 40, 5, normalised=False), id="targets that do not sum to one"),
    pytest.param(problem(20, 30, 4, spread=100.0), id="logits that would overflow"),
]


@pytest.mark.parametrize("case", CASES)
def test_value_and_both_gradients_equal_the_plain_ones(case: tuple[Tensor, Tensor, sp.csr_matrix]) -> None:
    weights, loadings, targets = case
    expected = plain_nll_per_cell(weights, loadings, targets).mean()
    nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets))
    assert_close_in_norm(nll.detach(), expected.detach())
    for grad, expected_grad in zip(
        torch.autograd.grad(3 * nll, (weights, loadings)),  # 3: a gradient from above is passed on
        torch.autograd.grad(3 * expected, (weights, loadings)),
        strict=True,
    ):
        assert_close_in_norm(grad, expected_grad)


@pytest.mark.parametrize("case", CASES)
def test_cells_one_by_one_average_to_the_mean(case: tuple[Tensor, Tensor, sp.csr_matrix]) -> None:
    weights, loadings, targets = case
    per_cell = softmax_nll_per_cell(weights, loadings, SparseRows.from_scipy(targets))
    assert per_cell.shape == (targets.shape[0],)
    assert_close_in_norm(per_cell, plain_nll_per_cell(weights, loadings, targets).detach())
    mean = softmax_nll(weights, loadings, SparseRows.from_scipy(targets))
    torch.testing.assert_close(per_cell.mean(), mean.detach())


def test_an_empty_cell_adds_nothing_and_stays_finite() -> None:
    weights, loadings, targets = problem(6, 11, 3)
    dense = targets.toarray()
    dense[[0, 3]] = 0
    targets = sp.csr_matrix(dense)
    nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets))
    by_weights, by_loadings = torch.autograd.grad(nll, (weights, loadings))
    assert (softmax_nll_per_cell(weights, loadings, SparseRows.from_scipy(targets))[[0, 3]] == 0).all()
    assert (by_weights[[0, 3]] == 0).all()
    expected = torch.autograd.grad(plain_nll_per_cell(weights, loadings, targets).mean(), (weights, loadings))
    assert_close_in_norm(by_weights, expected[0])
    assert_close_in_norm(by_loadings, expected[1])


def test_the_size_of_the_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, loadings, targets = problem(23, 12, 3)
    found = []
    for size in (1, 4, 23, 100):
        monkeypatch.setattr(likelihood, "CHUNK_VALUES_CPU", 12 * size)
        nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets))
        found.append((nll.detach(), *torch.autograd.grad(nll, (weights, loadings))))
    for one, other in pairwise(found):
        for tensor, same in zip(one, other, strict=True):
            assert_close_in_norm(tensor, same)


def test_gradients_agree_with_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "CHUNK_VALUES_CPU", 2 * 6)
    weights, loadings, targets = problem(5, 6, 3)
    matrix = torch.from_numpy(targets.toarray()).double()
    rows = SparseRows(matrix.to_sparse_csr())
    inputs = [tensor.detach().double().requires_grad_() for tensor in (weights, loadings)]
    assert torch.autograd.gradcheck(lambda w, b: softmax_nll(w, b, rows), inputs)


def test_nothing_as_large_as_cells_by_genes_is_kept_for_the_backward_pass() -> None:
    n_cells, n_genes = 300, 200
    weights, loadings, targets = problem(n_cells, n_genes, 3)
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets))
    assert nll.grad_fn is not None
    kept += [value for value in vars(nll.grad_fn).values() if isinstance(value, Tensor)]
    assert kept
    assert max(tensor.numel() for tensor in kept) <= max(weights.numel(), loadings.numel())


def like_a_model_of_two_batches(n_cells: int = 200, n_genes: int = 500, n_topics: int = 6) -> tuple[Tensor, Tensor]:
    """Weights [theta, one-hot batch] and loadings [beta; log of each batch's mean expression]."""
    generator = torch.Generator().manual_seed(1)
    theta = (2 * torch.randn(n_cells, n_topics, generator=generator)).softmax(dim=1)
    batch = torch.nn.functional.one_hot(torch.arange(n_cells) % 2, 2)
    beta = torch.randn(n_topics, n_genes, generator=generator)
    means = (2 * torch.randn(2, n_genes, generator=generator)).softmax(dim=1)
    weights, loadings = torch.cat([theta, batch], dim=1), torch.cat([beta, (means + 1e-6).log()])
    return weights.requires_grad_(), loadings.requires_grad_()


def test_low_precision_keeps_the_value_to_a_thousandth_and_gradients_to_a_hundredth() -> None:
    weights, loadings = like_a_model_of_two_batches()
    targets = problem(200, 500, 1)[2]
    expected = plain_nll_per_cell(weights, loadings, targets).mean()
    nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets), low_precision=True)
    assert nll.dtype == torch.float32
    assert_close_in_norm(nll.detach(), expected.detach(), relative=1e-3)
    for grad, expected_grad in zip(
        torch.autograd.grad(nll, (weights, loadings)), torch.autograd.grad(expected, (weights, loadings)), strict=True
    ):
        assert grad.dtype == torch.float32
        assert_close_in_norm(grad, expected_grad, relative=0.01)


@pytest.mark.parametrize("low_precision", [False, True])
def test_a_cell_whose_logits_are_out_of_range_is_redone_safely(low_precision: bool) -> None:
    weights, loadings = like_a_model_of_two_batches()
    with torch.no_grad():
        weights[[3, 150]] *= 200  # exponentials of these would overflow, of the others not
    targets = problem(200, 500, 1)[2]
    expected = plain_nll_per_cell(weights, loadings, targets).mean()
    nll = softmax_nll(weights, loadings, SparseRows.from_scipy(targets), low_precision=low_precision)
    tolerance = 0.01 if low_precision else 1e-5
    assert_close_in_norm(nll.detach(), expected.detach(), relative=tolerance)
    for grad, expected_grad in zip(
        torch.autograd.grad(nll, (weights, loadings)), torch.autograd.grad(expected, (weights, loadings)), strict=True
    ):
        assert_close_in_norm(grad, expected_grad, relative=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_the_way_taken_on_a_gpu_gives_the_same_gradients(case: tuple[Tensor, Tensor, sp.csr_matrix]) -> None:
    weights, loadings, targets = case
    with torch.no_grad():
        observed = likelihood._Observed.of(weights, loadings, SparseRows.from_scipy(targets))
        expected = likelihood._Expected(weights, loadings, observed)
        expected.add_safely(slice(0, len(weights)))
    by_weights, by_loadings = torch.autograd.grad(
        plain_nll_per_cell(weights, loadings, targets).sum(), (weights, loadings)
    )
    y = torch.from_numpy(targets.toarray())
    assert_close_in_norm(expected.by_weights - observed.loadings, by_weights)
    assert_close_in_norm(expected.by_loadings - weights.detach().T @ y, by_loadings)


def test_whether_the_processor_knows_bfloat16_is_answered_also_by_a_torch_that_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_fast_bfloat16()
