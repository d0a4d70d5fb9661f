"""Where do genes lie in the embedding space? rho: learnt, fixed to gene sets, given by a file, or some of each.

Dimensions are made of parts side by side. alpha has the same dimensions, so that

    beta = alpha rho' = sum over parts of  alpha[:, part] rho[:, part]'.

Of gene sets only the sparse membership S is held: rho is S with each gene standardised over the sets, and
alpha . rho_g = (alpha . S_g - mean_g sum(alpha)) / spread_g.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scetm_core.errors import DataError
from scetm_core.model.sparse import SparseRows, sparse_linear

MIN_SET_SIZE = 5  # smaller sets, counted in the genes measured, are dropped; as published
MIN_MATCHED = 0.01  # of the genes; fewer, and the names are of another kind


@dataclass(frozen=True, kw_only=True)
class GivenRho:
    """What is known of rho beforehand, aligned with the model's genes.

    Attributes
    ----------
    membership
        (n_genes, n_sets) 0/1, of gene sets; None otherwise.
    table
        (n_genes, n_dimensions), of a file; NaN in the rows of genes to learn. None otherwise.
    names
        Of the sets, or dimensions.
    messages
        Sentences about what was matched.
    """

    names: list[str]
    membership: sp.csr_matrix | None = None
    table: np.ndarray | None = None
    messages: list[str] = field(default_factory=list)

    def description(self) -> dict[str, Any]:
        """Shapes and names, as JSON; the numbers themselves are saved with the weights."""
        if self.membership is not None:
            return {"kind": "gene sets", "names": self.names, "n_stored": int(self.membership.nnz)}
        assert self.table is not None
        return {"kind": "table", "names": self.names, "n_missing": int(np.isnan(self.table[:, 0]).sum())}

    @classmethod
    def placeholder(cls, described: dict[str, Any], n_genes: int) -> GivenRho:
        """Something of the described shape, whose numbers are to be loaded."""
        names = list(described["names"])
        if described["kind"] == "gene sets":
            stored = np.arange(described["n_stored"])
            parts = (np.ones(len(stored)), (stored % n_genes, stored // n_genes))
            return cls(names=names, membership=sp.csr_matrix(parts, shape=(n_genes, len(names))))
        table = np.zeros((n_genes, len(names)), dtype=np.float32)
        table[: described["n_missing"]] = np.nan
        return cls(names=names, table=table)


def rho_of_gene_sets(gene_sets: dict[str, list[str]], genes: Sequence[str]) -> GivenRho:
    """Membership of the model's genes in sets, matched by name, where needed ignoring letter case.

    Raises
    ------
    DataError
        If hardly any gene or no set of at least five genes is found.
    """
    places = {gene: place for place, gene in enumerate(genes)}
    anyhow = {gene.upper(): place for place, gene in reversed(list(enumerate(genes)))}
    found: dict[str, list[int]] = {}
    for name, members in gene_sets.items():
        inside = {places.get(member, anyhow.get(member.upper(), -1)) for member in members} - {-1}
        if len(inside) >= MIN_SET_SIZE:
            found[name] = sorted(inside)
    n_dropped, n_genes = len(gene_sets) - len(found), len({place for inside in found.values() for place in inside})
    if n_genes < MIN_MATCHED * len(genes):
        raise DataError(
            f"Only {n_genes:,} of the data's {len(genes):,} genes are in a gene set (data: {list(genes)[:3]}, sets: "
            f"{[member for members in gene_sets.values() for member in members][:3]}). "
            "Take gene sets with the same kind of gene names."
        )
    rows = np.concatenate([np.asarray(inside) for inside in found.values()])
    columns = np.repeat(np.arange(len(found)), [len(inside) for inside in found.values()])
    membership = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), (len(genes), len(found)))
    membership.sort_indices()
    return GivenRho(
        names=list(found),
        membership=membership,
        messages=[
            f"rho is fixed to {len(found):,} gene sets; {n_dropped:,} with fewer than {MIN_SET_SIZE} measured genes "
            f"are left out. {n_genes:,} of {len(genes):,} genes are in a set; the others have the intercepts only."
        ],
    )


def rho_of_table(table: pd.DataFrame, genes: Sequence[str]) -> GivenRho:
    """Rows of a table (genes, dimensions) in the order of the model's genes, each dimension scaled to unit spread.

    Raises
    ------
    DataError
        If hardly any gene is found, or a value is no finite number.
    """
    table = table[~table.index.duplicated()]
    aligned = table.reindex(list(genes))
    there = aligned.index.isin(table.index)
    if there.sum() < max(MIN_MATCHED * len(genes), 1):
        raise DataError(
            f"Only {int(there.sum()):,} of the data's {len(genes):,} genes have an embedding (data: {list(genes)[:3]}, "
            f"file: {[str(name) for name in table.index[:3]]}). Take embeddings with the same kind of gene names."
        )
    values = aligned.to_numpy(dtype=np.float32)
    if not np.isfinite(values[there]).all():
        raise DataError("The gene embeddings hold missing or infinite values. Leave such genes out of the file.")
    spread = values[there].std(axis=0)
    values = values / np.where(spread > 0, spread, 1.0)
    n_missing = int((~there).sum())
    learnt = f"; the {n_missing:,} others are learnt" if n_missing else ""
    return GivenRho(
        names=[str(name) for name in table.columns],
        table=values,
        messages=[f"{int(there.sum()):,} of {len(genes):,} genes have a given embedding{learnt}."],
    )


class Unknown(NamedTuple):
    """Genes whose embedding is learnt while that of others is given."""

    genes: Tensor  # (n_unknown,), positions
    rows: nn.Parameter  # (n_unknown, n_given)


class GeneEmbedding(nn.Module):
    """rho, made of parts; `forward` turns alpha into beta."""

    def __init__(
        self,
        n_genes: int,
        n_learnt: int,
        *,
        given: GivenRho | None = None,
        trainable: bool = False,
        normal: Callable[..., nn.Parameter],
    ) -> None:
        super().__init__()
        parts: list[_Part] = []
        if given is not None and given.membership is not None:
            parts.append(_GeneSets(given.membership))
        elif given is not None and given.table is not None:
            parts.append(_Table(given.table, trainable=trainable, normal=normal))
        if n_learnt or not parts:
            parts.append(_Learnt(normal(n_genes, n_learnt)))
        self.parts = nn.ModuleList(parts)
        self.sizes = [part.n_emb for part in parts]

    @property
    def n_emb(self) -> int:
        """Number of dimensions."""
        return sum(self.sizes)

    @property
    def learnt(self) -> nn.Parameter | None:
        """The dimensions that are wholly learnt, (n_genes, n_learnt); None if all are given."""
        last = self.parts[-1]
        return last.weight if isinstance(last, _Learnt) else None

    @property
    def unknown(self) -> Unknown | None:
        """Genes that a given table lacks, and their learnt rows; None if it lacks none."""
        first = self.parts[0]
        return Unknown(first.missing, first.rest) if isinstance(first, _Table) and first.rest is not None else None

    @property
    def n_given(self) -> int:
        """Number of dimensions that are given; they come first."""
        return self.n_emb - (0 if self.learnt is None else self.learnt.shape[1])

    def given(self, names: Sequence[str], *, n_new: int = 0) -> GivenRho | None:
        """What is given, as another model can be made with it; None if nothing is.

        Parameters
        ----------
        names
            Of the given dimensions.
        n_new
            Further genes, which come last: in no set, and without an embedding in a table.
        """
        first = self.parts[0]
        if isinstance(first, _GeneSets):
            return GivenRho(names=list(names), membership=first.sparse(n_new))
        if isinstance(first, _Table):
            table = first.table.detach().cpu().numpy().copy()
            table[first.missing.cpu().numpy()] = np.nan
            new = np.full((n_new, table.shape[1]), np.nan, dtype=table.dtype)
            return GivenRho(names=list(names), table=np.vstack([table, new]))
        return None

    @property
    def is_fixed(self) -> bool:
        """Whether all of rho is gene sets, so that nothing of it can be learnt."""
        return all(isinstance(part, _GeneSets) for part in self.parts)

    def forward(self, alpha: Tensor) -> Tensor:
        """Beta (n_topics, n_genes) of alpha (n_topics, n_emb)."""
        slices = torch.split(alpha, self.sizes, dim=1)
        products = [part(piece) for part, piece in zip(self.parts, slices, strict=True)]
        return products[0] if len(products) == 1 else torch.stack(products).sum(dim=0)

    def dense(self) -> Tensor:
        """Rho itself, (n_genes, n_emb)."""
        dense: list[Tensor] = [part.dense() for part in self.parts]  # type: ignore[operator]
        return dense[0] if len(dense) == 1 else torch.cat(dense, dim=1)


class _Part(nn.Module):
    """Some dimensions of rho."""

    n_emb: int

    def dense(self) -> Tensor:
        """(n_genes, n_emb)."""
        raise NotImplementedError

    def forward(self, alpha: Tensor) -> Tensor:
        return alpha @ self.dense().T  # (n_topics, n_genes)


class _Learnt(_Part):
    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.n_emb = weight, weight.shape[1]

    def dense(self) -> Tensor:
        return self.weight


class _Table(_Part):
    """Given by a file, a start or for good; rows of NaN are learnt."""

    missing: Tensor  # (n_missing,), rows

    def __init__(self, table: np.ndarray, *, trainable: bool, normal: Callable[..., nn.Parameter]) -> None:
        super().__init__()
        self.n_emb = table.shape[1]
        missing = np.flatnonzero(np.isnan(table[:, 0]))
        values = torch.from_numpy(np.ascontiguousarray(np.nan_to_num(table), dtype=np.float32))
        self.register_buffer("missing", torch.from_numpy(missing))
        if trainable:
            self.table: Tensor = nn.Parameter(values)
        else:
            self.register_buffer("table", values)
        self.rest = normal(len(missing), self.n_emb) if len(missing) else None

    def dense(self) -> Tensor:
        return self.table if self.rest is None else self.table.index_copy(0, self.missing, self.rest)


class _GeneSets(_Part):
    """Membership, standardised gene by gene; nothing is learnt, and only the places of the ones are held."""

    starts: Tensor  # of the CSR form, genes by sets
    sets: Tensor
    starts_of_sets: Tensor  # of its transpose
    genes: Tensor

    def __init__(self, membership: sp.csr_matrix) -> None:
        super().__init__()
        self.n_genes, self.n_emb = membership.shape
        transposed = membership.T.tocsr()
        for name, array in (
            ("starts", membership.indptr), ("sets", membership.indices),
            ("starts_of_sets", transposed.indptr), ("genes", transposed.indices),
        ):  # fmt: skip
            self.register_buffer(name, torch.from_numpy(array.astype(np.int32)))

    def sparse(self, n_new: int) -> sp.csr_matrix:
        """Membership (n_genes + n_new, n_sets); the new genes are in no set."""
        starts, sets = self.starts.cpu().numpy(), self.sets.cpu().numpy()
        starts = np.concatenate([starts, np.full(n_new, starts[-1])])
        return sp.csr_matrix((np.ones(len(sets), np.float32), sets, starts), (self.n_genes + n_new, self.n_emb))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each gene over the sets, (n_genes,); spread 1 for a gene that is constant."""
        mean = self.starts.diff() / self.n_emb
        spread = (mean * (1 - mean)).sqrt()
        return mean, torch.where(spread > 0, spread, torch.ones_like(spread))

    def _membership(self) -> SparseRows:
        def tensor(starts: Tensor, columns: Tensor, shape: tuple[int, int]) -> Tensor:
            ones = torch.ones(len(columns), device=columns.device)
            return torch.sparse_csr_tensor(starts, columns, ones, size=shape, check_invariants=False)

        return SparseRows(
            tensor(self.starts, self.sets, (self.n_genes, self.n_emb)),
            tensor(self.starts_of_sets, self.genes, (self.n_emb, self.n_genes)),
        )

    def forward(self, alpha: Tensor) -> Tensor:
        mean, spread = self._moments()
        inside = sparse_linear(self._membership(), alpha.T.contiguous())  # (n_genes, n_topics)
        return ((inside - mean[:, None] * alpha.sum(dim=1)) / spread[:, None]).T

    def dense(self) -> Tensor:
        mean, spread = self._moments()
        return self._membership().matrix.to_dense().sub_(mean[:, None]).div_(spread[:, None])
