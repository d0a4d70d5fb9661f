"""What is scETM? The single-cell Embedded Topic Model, readable in one sitting.

Generative story: delta_d ~ N(0, I), theta_d = softmax(delta_d), and each read of cell d falls on gene g with
probability softmax_g(theta_d beta + lambda_s), where beta = alpha rho' and s is the cell's batch. The encoder
amortises q(delta_d) = N(mu_d, sigma_d^2). Symbols and sources: docs/method.md; Zhao et al., Nat. Commun. 2021.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scetm_core.config import ModelConfig
from scetm_core.errors import ConfigError, RunError
from scetm_core.model.likelihood import softmax_nll, softmax_nll_per_cell
from scetm_core.model.sparse import SparseRows, sparse_linear
from scetm_core.model.storage import read_tensors, write_tensors
from scetm_core.model.variable_genes import VariableGenes

LOG_SIGMA_RANGE = (-10.0, 10.0)
MEAN_FLOOR = 1e-6  # added to a batch's mean fraction before the log: a gene absent from a batch stays finite


class Elbo(NamedTuple):
    """The two terms of one minibatch; scalars, nats, lower is better. And the mean of q(delta) they were got at."""

    loss: Tensor  # nll + kl_weight * kl
    nll: Tensor  # per read
    kl: Tensor  # per cell, summed over topics
    mu: Tensor  # (n_cells, n_topics)


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
    seed
        Seed of the parameters' start.
    """

    def __init__(
        self, config: ModelConfig, *, genes: Sequence[str], batches: Sequence[str] = ("all",), seed: int = 0
    ) -> None:
        super().__init__()
        self.config, self.genes, self.batches = config, list(genes), list(batches)
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator))

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=generator))

        n_genes, n_hidden, n_topics = len(self.genes), config.n_hidden, config.n_topics
        has_choice = config.encoder_input == "hvg"
        self.variable_genes = VariableGenes(n_genes, config.n_variable_genes) if has_choice else None
        n_inputs = n_genes if self.variable_genes is None else len(self.variable_genes.genes)
        self.input_weight = uniform(n_inputs, n_inputs, n_hidden)
        self.input_bias = uniform(n_inputs, n_hidden)
        self.norm = nn.BatchNorm1d(n_hidden)
        self.head_weight = uniform(n_hidden, n_hidden, 2 * n_topics)
        self.head_bias = uniform(n_hidden, 2 * n_topics)
        self.alpha = normal(n_topics, config.n_emb)
        self.rho = normal(n_genes, config.n_emb)
        self.lambda_ = normal(len(self.batches), n_genes) if config.batch_intercept else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.alpha.device

    @property
    def beta(self) -> Tensor:
        """Topics by genes, unnormalised: alpha rho'."""
        return self.alpha @ self.rho.T  # (n_topics, n_genes)

    def start_from(self, fractions: np.ndarray) -> None:
        """Start lambda at the log of each batch's mean normalised expression.

        Otherwise the first thousands of steps go into learning these means.

        Parameters
        ----------
        fractions
            Mean of counts / total counts over the cells of each batch, (n_batches, n_genes).
        """
        assert self.lambda_ is not None
        assert fractions.shape == tuple(self.lambda_.shape)
        with torch.no_grad():
            self.lambda_.copy_(torch.from_numpy(np.log(fractions + MEAN_FLOOR)))

    def activations(self, cells: SparseRows) -> Tensor:
        """Output of the encoder's first layer, before the batch norm: (n_cells, n_hidden)."""
        if self.variable_genes is None:
            return (sparse_linear(cells, self.input_weight) + self.input_bias).relu()
        return torch.addmm(self.input_bias, self.variable_genes(cells), self.input_weight).relu()

    def encode(self, cells: SparseRows, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Parameters of q(delta) for each cell.

        Parameters
        ----------
        cells
            Normalised counts, (n_cells, n_genes).
        generator
            Source of the dropout's randomness; used in training mode only.

        Returns
        -------
        mu and log sigma, each (n_cells, n_topics).
        """
        hidden = self.norm(self.activations(cells))  # (n_cells, n_hidden)
        if self.training and self.config.dropout > 0:
            keep = torch.empty_like(hidden).bernoulli_(1 - self.config.dropout, generator=generator)
            hidden = hidden * keep / (1 - self.config.dropout)
        mu, log_sigma = torch.addmm(self.head_bias, hidden, self.head_weight).chunk(2, dim=-1)
        return mu, log_sigma.clamp(*LOG_SIGMA_RANGE)  # (n_cells, n_topics) each

    def mixture(self, theta: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Left and right factor of the logits of all genes: [theta, one_hot(batch)] and [beta; lambda].

        Parameters
        ----------
        theta
            (n_cells, n_topics).
        batch
            Row of lambda for each cell, (n_cells,); not looked at without intercepts.
        """
        if self.lambda_ is None:
            return theta, self.beta
        one_hot = nn.functional.one_hot(batch, len(self.batches)).to(theta.dtype)
        return torch.cat([theta, one_hot], dim=1), torch.cat([self.beta, self.lambda_])

    def elbo(self, cells: SparseRows, batch: Tensor, *, kl_weight: float, generator: torch.Generator) -> Elbo:
        """Negative evidence lower bound of a minibatch, from one reparameterised sample per cell."""
        mu, log_sigma = self.encode(cells, generator=generator)
        noise = torch.empty_like(mu).normal_(generator=generator)
        theta = (mu + log_sigma.exp() * noise).softmax(dim=-1)  # (n_cells, n_topics)
        nll = softmax_nll(*self.mixture(theta, batch), cells)
        kl = 0.5 * (mu.square() + (2 * log_sigma).exp() - 1 - 2 * log_sigma).sum(dim=-1).mean()
        return Elbo(nll + kl_weight * kl, nll, kl, mu)

    @torch.no_grad()
    def nll_per_cell(self, cells: SparseRows, batch: Tensor) -> Tensor:
        """Reconstruction term of each cell (n_cells,), nats per read, at delta = mu."""
        mu, _ = self.encode(cells)
        return softmax_nll_per_cell(*self.mixture(mu.softmax(dim=-1), batch), cells)

    def save(self, path: Path) -> None:
        """Write weights, settings and names as one safetensors file."""
        write_tensors(path, self.state_dict(), metadata=self.description())

    def description(self) -> dict[str, str]:
        """What else than weights makes this model, as safetensors metadata."""
        names = {"genes": self.genes, "batches": self.batches}
        return {"model_config": self.config.to_json(), "names": json.dumps(names)}

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
            model = cls(ModelConfig.from_json(header["model_config"]), **json.loads(header["names"]))
            model.load_state_dict(tensors)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise RunError(f"The model {path} cannot be loaded ({error}). Train it again or resume its run.") from error
        return model.to(device).eval()


def resolve_device(name: str) -> torch.device:
    """The torch device for a `TrainConfig.device`; ``"auto"`` takes a GPU where there is one.

    Raises
    ------
    ConfigError
        If the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there[name]:
        found = [kind for kind, is_there in there.items() if is_there]
        raise ConfigError(f"Device (device) {name!r} is not available here; found: {found}.", field="device")
    return torch.device(name)
