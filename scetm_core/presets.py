"""Which settings should one start from? Named bundles, each a full answer; the rest stays at its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named bundle of settings, for a start without reading."""

    label: str
    description: str
    values: Mapping[str, Any]


RECIPE: Mapping[str, Any] = {
    "encoder_input": "hvg",
    "start": "data",
    "lambda_init": "data",
    "n_emb": 100,
    "learning_rate_schedule": "cosine",
    "mmd_weight": 4.0,
    "anchor_weight": 0.2,
    "max_kl_weight": 1e-4,
    "min_depth": 0.2,
    "precision": "mixed",
}
"""Settings that make training short and its result steady; what each is worth: docs/method.md, Recipe."""

PRESETS: dict[str, Preset] = {
    "quick": Preset(
        label="Quick look",
        description="A first impression: 10 seconds of training on two cores, for a few thousand cells.",
        values={**RECIPE, "max_steps": 200, "minibatch_size": 256, "evaluate_every": 50},
    ),
    "standard": Preset(
        label="Standard",
        description="A result to work with: longer, in larger minibatches; half a minute on two cores.",
        values={**RECIPE, "max_steps": 300, "minibatch_size": 512, "evaluate_every": 50},
    ),
    "portable": Preset(
        label="Portable",
        description="As Standard, for a model that is to be applied to other data sets or another species (Transfer): "
        "its encoder carries over far better, batches mix a little less.",
        values={**RECIPE, "max_steps": 300, "minibatch_size": 512, "evaluate_every": 50, "spread_floor": 1.0},
    ),
    "topics": Preset(
        label="Topics",
        description="As Standard, with topics of fewer and clearer genes: more coherent, but less different from each "
        "other.",
        values={**RECIPE, "max_steps": 300, "minibatch_size": 512, "evaluate_every": 50, "weight_decay": 0.5},
    ),
    "paper": Preset(
        label="Paper",
        description="The published settings: 6,000 steps of 2,000 cells; topics, genes and intercepts from N(0, 1).",
        values={"max_steps": 6000, "minibatch_size": 2000, "lambda_init": "normal"},
    ),
}
