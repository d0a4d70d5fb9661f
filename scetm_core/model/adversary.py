"""Can the batch be told from delta? A discriminator that tries, for an encoder that learns to fool it (scETM + adv).

Each step first updates the model on its loss minus the weight times the discriminator's log-likelihood, then the
discriminator alone, several times. Zhao et al., Nat. Commun. 2021, Methods.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

N_HIDDEN = 128
LEARNING_RATE = 1e-3


class Adversary:
    """Two-layer discriminator with its own optimiser.

    Parameters
    ----------
    n_topics, n_batches
        Width of its input, and of its output.
    """

    def __init__(self, n_topics: int, n_batches: int, *, seed: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = nn.Linear(n_topics, N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, n_batches)
        self.discriminator = nn.Sequential(*layers).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=LEARNING_RATE)

    def log_likelihood(self, delta: Tensor, batch: Tensor) -> Tensor:
        """Mean log-probability given to the true batch; delta (n_cells, n_topics), batch (n_cells,); a scalar."""
        return -cross_entropy(self.discriminator(delta), batch)

    def learn(self, mu: Tensor, sigma: Tensor, batch: Tensor, *, n_updates: int, generator: torch.Generator) -> None:
        """Update the discriminator on fresh samples of delta; the encoder is left alone."""
        mu, sigma = mu.detach(), sigma.detach()
        for _ in range(n_updates):
            noise = torch.empty_like(mu).normal_(generator=generator)
            loss = -self.log_likelihood(mu + sigma * noise, batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
