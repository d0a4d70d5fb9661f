"""Do sparse products equal the dense ones?"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scetm_core.model.sparse import SparseRows, _transpose_by_sorting, sparse_linear


def random_rows(n_cells: int, n_genes: int, *, density: float, seed: int = 0) -> sp.csr_matrix:
    return sp.random(n_cells, n_genes, density=density, format="csr", dtype=np.float32, random_state=seed)


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "n_hidden", "density"),
    [
        pytest.param(1, 1, 1, 1.0, id="smallest"),
        pytest.param(7, 30, 5, 0.2, id="sparse"),
        pytest.param(40, 3, 8, 1.0, id="dense, more cells than genes"),
        pytest.param(6, 9, 4, 0.0, id="all zero"),
    ],
)
def test_product_and_gradient_equal_the_dense_ones(n_cells: int, n_genes: int, n_hidden: int, density: float) -> None:
    counts = random_rows(n_cells, n_genes, density=density)
    dense = torch.from_numpy(counts.toarray())
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n_genes, n_hidden, generator=generator, requires_grad=True)
    upstream = torch.randn(n_cells, n_hidden, generator=generator)
    expected = dense @ weight
    (expected_grad,) = torch.autograd.grad((expected * upstream).sum(), weight)

    product = sparse_linear(SparseRows.from_scipy(counts), weight)
    (grad,) = torch.autograd.grad((product * upstream).sum(), weight)

    torch.testing.assert_close(product, expected)
    torch.testing.assert_close(grad, expected_grad)


def test_gradient_is_right_when_it_arrives_transposed() -> None:
    counts = random_rows(6, 9, density=0.5)
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    upstream = torch.arange(24.0).reshape(4, 6).T  # not contiguous
    (grad,) = torch.autograd.grad(sparse_linear(SparseRows.from_scipy(counts), weight), weight, upstream)
    torch.testing.assert_close(grad, torch.from_numpy(counts.toarray()).T @ upstream)


def test_rows_and_their_transpose_hold_the_same_values() -> None:
    counts = random_rows(8, 5, density=0.4)
    rows = SparseRows.from_scipy(counts)
    assert rows.n_cells == 8
    np.testing.assert_array_equal(rows.matrix.to_dense().numpy(), counts.toarray())
    np.testing.assert_array_equal(rows.transposed.to_dense().numpy(), counts.toarray().T)


def test_unsorted_columns_and_integer_counts_are_taken_as_they_are() -> None:
    counts = sp.csr_matrix((np.array([3, 1, 2]), np.array([2, 0, 1]), np.array([0, 2, 3])), shape=(2, 3))
    weight = torch.eye(3)
    product = sparse_linear(SparseRows.from_scipy(counts), weight)
    torch.testing.assert_close(product, torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]))


def test_the_transpose_is_made_once_and_only_when_asked_for() -> None:
    rows = SparseRows.from_scipy(random_rows(8, 5, density=0.4))
    assert "transposed" not in vars(rows)
    assert rows.transposed is rows.transposed


def test_float32_values_are_shared_with_the_counts() -> None:
    counts = random_rows(8, 5, density=0.4)
    assert SparseRows.from_scipy(counts).matrix.values().data_ptr() == counts.data.ctypes.data


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_the_transpose_taken_on_a_gpu_is_the_same(density: float) -> None:
    counts = random_rows(8, 5, density=density)
    turned = _transpose_by_sorting(SparseRows.from_scipy(counts).matrix)
    np.testing.assert_array_equal(turned.to_dense().numpy(), counts.toarray().T)
