"""How do sparse counts enter the network without ever being made dense?"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


class SparseRows:
    """Some cells by all genes, as CSR.

    Parameters
    ----------
    matrix
        CSR tensor (n_cells, n_genes), float32.
    transposed
        CSR tensor (n_genes, n_cells) of the same values, where it is there already.
    """

    def __init__(self, matrix: Tensor, transposed: Tensor | None = None) -> None:
        self.matrix, self._given = matrix, transposed

    @classmethod
    def from_scipy(cls, rows: sp.csr_matrix, *, device: torch.device | str = "cpu") -> SparseRows:
        """Take a scipy CSR matrix (n_cells, n_genes) to `device`; on the CPU float32 values are shared, not copied."""
        return cls(_csr_tensor(rows, device))

    @functools.cached_property
    def transposed(self) -> Tensor:
        """CSR tensor (n_genes, n_cells) of the same values, made when first asked for and then kept.

        A thread that prepares minibatches ahead may ask for it there.
        """
        if self._given is not None:
            return self._given
        return _transpose_on_cpu(self.matrix) if self.device.type == "cpu" else _transpose_by_sorting(self.matrix)

    @property
    def n_cells(self) -> int:
        """Number of rows."""
        return int(self.matrix.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.matrix.device


def _csr_tensor(matrix: sp.csr_matrix, device: torch.device | str) -> Tensor:
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int32, copy=False)),
        torch.from_numpy(matrix.indices.astype(np.int32, copy=False)),
        torch.from_numpy(matrix.data.astype(np.float32, copy=False)),
        size=matrix.shape,
        check_invariants=False,  # scipy has kept them
    ).to(device)


def _transpose_on_cpu(matrix: Tensor) -> Tensor:
    n_cells, n_genes = matrix.shape
    values, columns, starts = (part.numpy() for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices()))
    turned: sp.csr_matrix = sp.csr_matrix((values, columns, starts), shape=(n_cells, n_genes)).T.tocsr()
    return torch.sparse_csr_tensor(
        torch.from_numpy(turned.indptr),
        torch.from_numpy(turned.indices),
        torch.from_numpy(turned.data),
        size=(n_genes, n_cells),
        check_invariants=False,
    )


def _transpose_by_sorting(matrix: Tensor) -> Tensor:
    """On any device, without waiting for it."""
    n_cells, n_genes = matrix.shape
    starts, columns = matrix.crow_indices(), matrix.col_indices()
    gene, order = columns.sort(stable=True)
    cell = torch.repeat_interleave(
        torch.arange(n_cells, device=matrix.device, dtype=columns.dtype), starts.diff(), output_size=len(columns)
    )
    genes = torch.arange(n_genes + 1, device=matrix.device, dtype=columns.dtype)
    return torch.sparse_csr_tensor(
        torch.searchsorted(gene, genes, out_int32=columns.dtype == torch.int32),
        cell[order],
        matrix.values()[order],
        size=(n_genes, n_cells),
        check_invariants=False,
    )


def sparse_product(matrix: Tensor, dense: Tensor) -> Tensor:
    """CSR matrix (n, m) by dense (m, k): (n, k), without a gradient.

    On the CPU each row is a weighted sum of rows of `dense`, which torch computes 2 to 4 times faster as an embedding
    bag than as a sparse product.
    """
    if matrix.device.type != "cpu":
        return matrix @ dense
    return torch.nn.functional.embedding_bag(
        matrix.col_indices(),
        dense.detach().contiguous(),
        matrix.crow_indices(),
        mode="sum",
        per_sample_weights=matrix.values(),
        include_last_offset=True,
    )


class _SparseLinear(torch.autograd.Function):
    """rows @ weight, with both products sparse; the data itself gets no gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weight: Tensor, rows: SparseRows) -> Tensor:
        ctx.rows = rows  # type: ignore[attr-defined]
        return sparse_product(rows.matrix, weight)  # (n_cells, n_hidden)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return sparse_product(ctx.rows.transposed, grad), None  # type: ignore[attr-defined]


def sparse_linear(rows: SparseRows, weight: Tensor) -> Tensor:
    """Product of sparse rows (n_cells, n_genes) and a weight (n_genes, n_hidden): (n_cells, n_hidden)."""
    product: Tensor = _SparseLinear.apply(weight, rows)  # type: ignore[no-untyped-call]
    return product
