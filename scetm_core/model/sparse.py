"""How do sparse counts enter the network without ever being made dense?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class SparseRows:
    """Some cells by all genes, as CSR, together with the transpose that the gradient needs.

    Attributes
    ----------
    matrix
        CSR tensor (n_cells, n_genes), float32.
    transposed
        CSR tensor (n_genes, n_cells) of the same values.
    """

    matrix: Tensor
    transposed: Tensor

    @classmethod
    def from_scipy(cls, rows: sp.csr_matrix, *, device: torch.device | str = "cpu") -> SparseRows:
        """Copy a scipy CSR matrix (n_cells, n_genes) to `device`."""
        return cls(_csr_tensor(rows, device), _csr_tensor(rows.T.tocsr(), device))

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


class _SparseLinear(torch.autograd.Function):
    """rows @ weight, with both products sparse; the data itself gets no gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weight: Tensor, rows: SparseRows) -> Tensor:
        ctx.rows = rows  # type: ignore[attr-defined]
        return rows.matrix @ weight  # (n_cells, n_hidden)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.rows.transposed @ grad.contiguous(), None  # type: ignore[attr-defined]


def sparse_linear(rows: SparseRows, weight: Tensor) -> Tensor:
    """Product of sparse rows (n_cells, n_genes) and a weight (n_genes, n_hidden): (n_cells, n_hidden)."""
    product: Tensor = _SparseLinear.apply(weight, rows)  # type: ignore[no-untyped-call]
    return product
