"""What is scETM? The single-cell Embedded Topic Model, readable in one sitting.

Generative story: delta_d ~ N(0, I), theta_d = softmax(delta_d), and each read of cell d falls on gene g with
probability softmax_g(theta_d beta + lambda_s), where beta = alpha rho' and s is the cell's batch. The encoder
amortises q(delta_d) = N(mu_d, sigma_d^2). Symbols and sources: docs/method.md; Zhao et al., Nat. Commun. 2021.

Variants: where rho comes from (`rho`), what beside the batch is kept out of the topics (`intercepts`), topics
normalised before mixing (`mixture`), a second modality of the same cells that shares theta and alpha.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from scetm_core.config import ModelConfig
from scetm_core.errors import ConfigError, RunError
from scetm_core.json_text import parse_json
from scetm_core.model.cells import Minibatch
from scetm_core.model.intercepts import Intercepts
from scetm_core.model.likelihood import softmax_nll, softmax_nll_per_cell
from scetm_core.model.mixture import SMALLEST, mixture_nll, mixture_nll_per_cell
from scetm_core.model.ranks import Share, SharedBatchNorm
from scetm_core.model.rho import GeneEmbedding, GivenRho
from scetm_core.model.sparse import SparseRows, sparse_linear
from scetm_core.model.storage import read_tensors, write_tensors
from scetm_core.model.variable_genes import VariableGenes

LOG_SIGMA_RANGE = (-10.0, 10.0)


class Elbo(NamedTuple):
    """The terms of one minibatch; scalars, nats, lower is better. And q(delta), with the sample they were got at."""

    loss: Tensor  # nll + kl_weight * kl, and the weighted nll of the second modality
    nll: Tensor  # per read
    kl: Tensor  # per cell, summed over topics
    mu: Tensor  # (n_cells, n_topics)
    sigma: Tensor  # (n_cells, n_topics)
    delta: Tensor  # (n_cells, n_topics), the sample


class ScETM(nn.Module):
    """The model, and the names its rows and columns go by.

    Parameters
    ----------
    config
        Shape of the model.
    genes
        Gene names in column order.
    batches
        Batch names in row order of lambda.
    factors
        Further batch columns: column -> its categories.
    numbers
        Numeric covariates: column -> mean and spread it is standardised by.
    features
        Names of the second modality's features, in column order.
    rho
        What is known of rho beforehand, if anything.
    n_known_genes
        The encoder knows the first so many genes only, and sees shares of their counts; None for all. Further genes
        are those that a model was given after its training.
    seed
        Seed of the parameters' start.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        genes: Sequence[str],
        batches: Sequence[str] = ("all",),
        factors: Mapping[str, Sequence[str]] | None = None,
        numbers: Mapping[str, tuple[float, float]] | None = None,
        features: Sequence[str] = (),
        rho: GivenRho | None = None,
        n_known_genes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.genes, self.batches, self.features = config, list(genes), list(batches), list(features)
        self.factors = {column: list(names) for column, names in (factors or {}).items()}
        self.numbers = {column: (float(mean), float(spread)) for column, (mean, spread) in (numbers or {}).items()}
        self.n_known_genes = len(self.genes) if n_known_genes is None else n_known_genes
        self.encoder_is_fixed = False  # then training leaves its batch norm alone and drops nothing
        self.rho_names = None if rho is None else rho.names
        self._rho_description = None if rho is None else rho.description()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator))

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=generator))

        def intercepts(n_features: int) -> Intercepts:
            return Intercepts(
                n_features,
                n_batches=len(self.batches) if config.batch_intercept else 0,
                n_batch_factors=config.n_batch_factors,
                factor_sizes=[len(names) for names in self.factors.values()],
                n_numbers=len(self.numbers),
                normal=normal,
            )

        n_genes, n_hidden, n_topics = len(self.genes), config.n_hidden, config.n_topics
        has_choice = config.encoder_input == "hvg"
        n_variable, floor = config.n_variable_genes, config.spread_floor
        self.variable_genes = VariableGenes(self.n_known_genes, n_variable, floor) if has_choice else None
        n_inputs = n_genes if self.variable_genes is None else len(self.variable_genes.genes)
        self.input_weight = uniform(n_inputs, n_inputs, n_hidden)
        self.input_bias = uniform(n_inputs, n_hidden)
        self.norm = SharedBatchNorm(n_hidden) if config.batch_norm else nn.Identity()
        self.head_weight = uniform(n_hidden, n_hidden, 2 * n_topics)
        self.head_bias = uniform(n_hidden, 2 * n_topics)
        n_learnt = config.n_emb if rho is None else config.n_free_emb
        self.gene_embedding = GeneEmbedding(n_genes, n_learnt, given=rho, trainable=config.train_rho, normal=normal)
        self.alpha = normal(n_topics, self.gene_embedding.n_emb)
        self.intercepts = intercepts(n_genes)
        self.batch_input = uniform(n_inputs, len(self.batches), n_hidden) if config.encode_batch else None
        self.feature_rho, self.feature_intercepts, self.feature_input, self.feature_weight = None, None, None, None
        if self.features:
            self.feature_rho = normal(len(self.features), self.gene_embedding.n_emb)
            self.feature_intercepts = intercepts(len(self.features))
            self.feature_input = VariableGenes(len(self.features), n_variable, floor)
            n_seen = len(self.feature_input.genes)
            self.feature_weight = uniform(n_seen, n_seen, n_hidden)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.alpha.device

    @property
    def rho(self) -> Tensor:
        """Genes by dimensions of the embedding: (n_genes, n_emb)."""
        return self.gene_embedding.dense()

    @property
    def beta(self) -> Tensor:
        """Topics by genes, unnormalised: alpha rho'."""
        return self.gene_embedding(self.alpha)  # type: ignore[no-any-return]  # (n_topics, n_genes)

    @property
    def feature_beta(self) -> Tensor:
        """Topics by features of the second modality, unnormalised."""
        assert self.feature_rho is not None
        return self.alpha @ self.feature_rho.T  # (n_topics, n_features)

    @property
    def lambda_(self) -> Tensor | None:
        """Batches by genes; None without batch intercepts."""
        return self.intercepts.of_batches

    def activations(self, minibatch: Minibatch) -> Tensor:
        """Output of the encoder's first layer, before the batch norm: (n_cells, n_hidden)."""
        seen, total = minibatch.seen, minibatch.total
        if self.n_known_genes < len(self.genes):
            of_known = _sums(minibatch.cells, n_columns=self.n_known_genes)
            seen, total = _weighted(seen, 1 / of_known), total * of_known
        if self.variable_genes is None:
            hidden = sparse_linear(seen, self.input_weight)
            if self.config.encoder_input == "counts":
                hidden = total[:, None] * hidden  # counts are shares times the cell's total
            hidden = hidden + self.input_bias
        else:
            hidden = torch.addmm(self.input_bias, self.variable_genes(seen), self.input_weight)
        if self.feature_input is not None and minibatch.features is not None:
            has_any = minibatch.features.matrix.crow_indices().diff() > 0  # cells without follow the genes alone
            hidden = hidden + (self.feature_input(minibatch.features) * has_any[:, None]) @ self.feature_weight
        if self.batch_input is not None:
            is_known = minibatch.batch >= 0
            rows = self.batch_input[minibatch.batch.clamp(min=0)]
            hidden = hidden + torch.where(is_known[:, None], rows, self.batch_input.mean(dim=0))
        return hidden.relu()

    def train(self, mode: bool = True) -> ScETM:
        """Training mode, or evaluation mode; the batch norm of a fixed encoder stays in the latter."""
        super().train(mode)
        if self.encoder_is_fixed:
            self.norm.eval()
        return self

    def encode(
        self, minibatch: Minibatch, *, generator: torch.Generator | None = None, share: Share | None = None
    ) -> tuple[Tensor, Tensor]:
        """Parameters of q(delta) for each cell.

        Parameters
        ----------
        minibatch
            Its batch is looked at only if the encoder is told it; -1 stands for an unknown one.
        generator
            Source of the dropout's randomness; used in training mode only.
        share
            Where these cells are one process's share of a minibatch: which.

        Returns
        -------
        mu and log sigma, each (n_cells, n_topics).
        """
        hidden = self.norm(self.activations(minibatch))  # (n_cells, n_hidden)
        if self.training and self.config.dropout > 0 and not self.encoder_is_fixed:
            share = share or Share.whole(len(hidden))
            keep = share.of_all(hidden).bernoulli_(1 - self.config.dropout, generator=generator)
            hidden = hidden * share.own(keep) / (1 - self.config.dropout)
        mu, log_sigma = torch.addmm(self.head_bias, hidden, self.head_weight).chunk(2, dim=-1)
        return mu, log_sigma.clamp(*LOG_SIGMA_RANGE)  # (n_cells, n_topics) each

    def elbo(
        self,
        minibatch: Minibatch,
        *,
        kl_weight: float,
        generator: torch.Generator,
        low_precision: bool = False,
        share: Share | None = None,
    ) -> Elbo:
        """Negative evidence lower bound of a minibatch, from one reparameterised sample per cell.

        Parameters
        ----------
        low_precision
            Large products in bfloat16; see `likelihood.softmax_nll`.
        share
            Where the cells are one process's share of a minibatch: which. Random numbers are drawn for all of it.
        """
        share = share or Share.whole(minibatch.cells.n_cells)
        mu, log_sigma = self.encode(minibatch, generator=generator, share=share)
        sigma = log_sigma.exp()
        delta = mu + sigma * share.own(share.of_all(mu).normal_(generator=generator))
        theta = delta.softmax(dim=-1)  # (n_cells, n_topics)
        targets = minibatch.cells
        if self.config.likelihood == "counts":
            targets = _weighted(targets, minibatch.depth)
        beta = self._beta_in_bfloat16() if low_precision else self.beta
        nll = self._nll(theta, beta, self.intercepts, minibatch, targets, low_precision=low_precision)
        kl = 0.5 * (mu.square() + sigma.square() - 1 - 2 * log_sigma).sum(dim=-1).mean()
        loss = nll + kl_weight * kl
        if self.feature_intercepts is not None and minibatch.features is not None:
            beside = self._nll(theta, self.feature_beta, self.feature_intercepts, minibatch, minibatch.features)
            loss = loss + self.config.modality_weight * beside
        per_read = nll / minibatch.depth.mean() if self.config.likelihood == "counts" else nll
        return Elbo(loss, per_read, kl, mu, sigma, delta)

    def _beta_in_bfloat16(self) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.beta.float()

    def _nll(
        self,
        theta: Tensor,
        beta: Tensor,
        intercepts: Intercepts,
        minibatch: Minibatch,
        targets: SparseRows,
        *,
        low_precision: bool = False,
    ) -> Tensor:
        """Mean over cells, a scalar."""
        weights, loadings = intercepts.weights(minibatch), intercepts.loadings()
        if self.config.normalise_beta:
            return mixture_nll(theta, beta.softmax(dim=-1), _joined(weights, loadings, theta, beta), targets)
        weights_, loadings_ = torch.cat([theta, *weights], dim=1), torch.cat([beta, *loadings])
        return softmax_nll(weights_, loadings_, targets, low_precision=low_precision)

    @torch.no_grad()
    def expected_fractions(self, minibatch: Minibatch) -> Tensor:
        """Share of each gene in the reads of each cell, at delta = mu: (n_cells, n_genes), rows sum to 1."""
        theta = self.encode(minibatch)[0].softmax(dim=-1)  # (n_cells, n_topics)
        beta = self.beta
        weights, loadings = _joined(self.intercepts.weights(minibatch), self.intercepts.loadings(), theta, beta)
        if self.config.normalise_beta:
            topics = (theta @ beta.softmax(dim=-1)).clamp(min=SMALLEST)
            return (topics.log() + weights @ loadings).softmax(dim=-1)
        return (theta @ beta + weights @ loadings).softmax(dim=-1)

    @torch.no_grad()
    def nll_per_cell(self, minibatch: Minibatch, *, mean_mixture: bool = False) -> Tensor:
        """Reconstruction term of each cell (n_cells,), nats per read, at delta = mu.

        Parameters
        ----------
        mean_mixture
            Give every cell the mean theta of them all: what the intercepts alone explain.
        """
        mu, _ = self.encode(minibatch)
        theta = mu.softmax(dim=-1)  # (n_cells, n_topics)
        if mean_mixture:
            theta = theta.mean(dim=0, keepdim=True).expand_as(theta).contiguous()
        weights, loadings, beta = self.intercepts.weights(minibatch), self.intercepts.loadings(), self.beta
        if self.config.normalise_beta:
            others = _joined(weights, loadings, theta, beta)
            return mixture_nll_per_cell(theta, beta.softmax(dim=-1), others, minibatch.cells)
        return softmax_nll_per_cell(torch.cat([theta, *weights], dim=1), torch.cat([beta, *loadings]), minibatch.cells)

    def save(self, path: Path) -> None:
        """Write weights, settings and names as one safetensors file."""
        write_tensors(path, self.state_dict(), metadata=self.description())

    def names(self) -> dict[str, object]:
        """What rows and columns are called, as JSON: with the settings, all that shapes the weights."""
        return {
            "genes": self.genes,
            "batches": self.batches,
            "factors": self.factors,
            "numbers": {column: list(scale) for column, scale in self.numbers.items()},
            "features": self.features,
            "rho": self._rho_description,
            **({"n_known_genes": self.n_known_genes} if self.n_known_genes < len(self.genes) else {}),
        }

    def description(self) -> dict[str, str]:
        """What else than weights makes this model, as safetensors metadata."""
        return {"model_config": self.config.to_json(), "names": json.dumps(self.names())}

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> ScETM:
        """Read what `save` wrote, in evaluation mode.

        Raises
        ------
        RunError
            If the file is missing, damaged, or not a model of this version.
        """
        try:
            tensors, header = read_tensors(path, device=device)
            names = parse_json(header["names"])
            described = names.pop("rho")
            rho = GivenRho.placeholder(described, len(names["genes"])) if described else None
            model = cls(ModelConfig.from_json(header["model_config"]), rho=rho, **names)
            model.load_state_dict(tensors)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise RunError(f"The model {path} cannot be loaded ({error}). Train it again or resume its run.") from error
        return model.to(device).eval()


def _sums(rows: SparseRows, *, n_columns: int) -> Tensor:
    """Sum of each row over its first columns, (n_cells,); 1 where there is nothing to sum."""
    matrix = rows.matrix
    values = torch.where(matrix.col_indices() < n_columns, matrix.values(), 0.0)
    row = torch.repeat_interleave(
        torch.arange(rows.n_cells, device=rows.device), matrix.crow_indices().diff(), output_size=len(values)
    )
    sums = values.new_zeros(rows.n_cells).index_add_(0, row, values)
    return torch.where(sums > 0, sums, 1.0)


def _weighted(rows: SparseRows, weights: Tensor) -> SparseRows:
    """Each row times its weight, (n_cells,)."""
    matrix = rows.matrix
    values = matrix.values() * torch.repeat_interleave(
        weights, matrix.crow_indices().diff(), output_size=len(matrix.values())
    )
    weighted = torch.sparse_csr_tensor(
        matrix.crow_indices(), matrix.col_indices(), values, size=matrix.shape, check_invariants=False
    )
    return SparseRows(weighted)


def _joined(weights: list[Tensor], loadings: list[Tensor], theta: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Blocks of intercepts as one pair of factors, of no rows where there are none."""
    return (
        torch.cat([theta.new_zeros(len(theta), 0), *weights], dim=1),
        torch.cat([beta.new_zeros(0, beta.shape[1]), *loadings]),
    )


def resolve_device(name: str) -> torch.device:
    """The torch device for a `TrainConfig.device`; ``"auto"`` takes a GPU where there is one.

    Raises
    ------
    ConfigError
        If the device asked for is not there.
    """
    has_mps = torch.backends.mps.is_available() and _holds_sparse_rows("mps")
    there = {"cuda": torch.cuda.is_available(), "mps": has_mps, "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there[name]:
        found = [kind for kind, is_there in there.items() if is_there]
        raise ConfigError(f"Device (device) {name!r} is not available here; found: {found}.", field="device")
    return torch.device(name)


def _holds_sparse_rows(device: str) -> bool:
    """Whether torch has sparse rows on this kind of device; on Apple's it long had not."""
    try:
        rows = SparseRows.from_scipy(sp.identity(2, format="csr", dtype=np.float32), device=device)
        return bool((rows.matrix @ torch.ones(2, 1, device=device)).sum() == 2)
    except (RuntimeError, NotImplementedError):
        return False
