"""What makes a gene's level differ between cells that is not biology? lambda, one row of intercepts per batch and more.

The logits of a cell get `weights(minibatch) @ loadings()`: a row for its batch, one for its value of each further batch
column, and a slope per gene for each numeric covariate. With many batches their rows may be written with few factors:
lambda = common + F G.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from scetm_core.model.cells import Minibatch

MEAN_FLOOR = 1e-6  # added to a batch's mean fraction before the log: a gene absent from a batch stays finite


class Intercepts(nn.Module):
    """Intercepts of the features of one modality.

    Parameters
    ----------
    n_features
        Genes, or features of the second modality.
    n_batches
        0 for none ('scETM - lambda').
    n_batch_factors
        G has this many rows; 0: lambda is learnt whole.
    factor_sizes
        Number of categories of each further batch column.
    n_numbers
        Numeric covariates.
    normal
        Draws start values of a shape from N(0, 1). Further columns and slopes start at 0.
    """

    def __init__(
        self,
        n_features: int,
        *,
        n_batches: int,
        n_batch_factors: int,
        factor_sizes: Sequence[int],
        n_numbers: int,
        normal: Callable[..., nn.Parameter],
    ) -> None:
        super().__init__()
        self.n_batches, self.factor_sizes = n_batches, list(factor_sizes)
        n_rank = n_batch_factors if n_batches else 0
        self.batch = normal(n_batches, n_rank or n_features) if n_batches else None  # lambda itself, or F
        self.common = normal(1, n_features) if n_rank else None
        self.profiles = normal(n_rank, n_features) if n_rank else None  # G
        n_extra = sum(self.factor_sizes) + n_numbers
        self.extra = nn.Parameter(torch.zeros(n_extra, n_features)) if n_extra else None

    @property
    def of_batches(self) -> Tensor | None:
        """lambda: (n_batches, n_features)."""
        if self.batch is None or self.profiles is None or self.common is None:
            return self.batch
        return self.common + self.batch @ self.profiles

    def start_from(self, fractions: np.ndarray) -> None:
        """Start lambda at the log of each batch's mean normalised expression.

        Otherwise the first thousands of steps go into learning these means.

        Parameters
        ----------
        fractions
            Mean of counts / total counts over the cells of each batch, (n_batches, n_features).
        """
        if self.batch is None:
            return
        levels = torch.from_numpy(np.log(fractions + MEAN_FLOOR).astype(np.float32)).to(self.batch.device)
        with torch.no_grad():
            if self.profiles is None or self.common is None:
                self.batch.copy_(levels)
                return
            self.common.copy_(levels.mean(dim=0, keepdim=True))
            left, sizes, right = torch.linalg.svd(levels - self.common, full_matrices=False)
            n_used = min(len(sizes), len(self.profiles))
            self.batch.zero_()[:, :n_used] = left[:, :n_used] * sizes[:n_used].sqrt()
            self.profiles.mul_(MEAN_FLOOR)[:n_used] = right[:n_used] * sizes[:n_used, None].sqrt()

    def weights(self, minibatch: Minibatch) -> list[Tensor]:
        """Of the rows of `loadings` for each cell; blocks of shape (n_cells, some rows)."""
        blocks = []
        if self.batch is not None:
            if self.profiles is None:
                blocks.append(one_hot(minibatch.batch, self.n_batches))
            else:
                blocks += [minibatch.depth.new_ones(len(minibatch.batch), 1), self.batch[minibatch.batch]]
        blocks += [one_hot(minibatch.factors[:, place], size) for place, size in enumerate(self.factor_sizes)]
        if minibatch.numbers.shape[1]:
            blocks.append(minibatch.numbers)
        return [block.to(minibatch.depth.dtype) for block in blocks]

    def loadings(self) -> list[Tensor]:
        """Blocks of shape (some rows, n_features), in step with `weights`."""
        batch = self.batch if self.profiles is None else None
        return [block for block in (batch, self.common, self.profiles, self.extra) if block is not None]
