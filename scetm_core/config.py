"""What can be set, within which range, and what does it mean?

`DataConfig`, `ModelConfig` and `TrainConfig` together make a `RunConfig`. Each setting is declared once, with its
label, meaning, unit and range; the checks, the command line and the Train form are all generated from that
declaration. Configs are frozen, passed whole and stored whole (`to_json` / `from_json`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from scetm_core.errors import ConfigError

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one setting is shown and checked; stored in the metadata of its dataclass field."""

    label: str
    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()
    advanced: bool = False

    def range_in_words(self) -> str:
        """The allowed range, e.g. ``"at least 2, at most 2000"``; empty if anything goes."""
        bounds = [("at least", self.ge), ("more than", self.gt), ("at most", self.le), ("less than", self.lt)]
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def problem_with(self, value: float) -> str:
        """Why a number is out of range, or an empty string."""
        outside = (
            not math.isfinite(value)
            or (self.ge is not None and value < self.ge)
            or (self.gt is not None and value <= self.gt)
            or (self.le is not None and value > self.le)
            or (self.lt is not None and value >= self.lt)
        )
        return f"must be {self.range_in_words() or 'a finite number'}, got {value:g}" if outside else ""


def setting(default: Any, label: str, help: str, **shown: Any) -> Any:
    """A dataclass field that carries its `Setting`."""
    return field(default=default, metadata={"setting": Setting(label=label, help=help, **shown)})


class _Config:
    """Checks and JSON round trip shared by the configs below."""

    def __post_init__(self) -> None:
        for entry in settings_of(type(self)):
            _check_value(entry, getattr(self, entry.name))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary, ready for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def to_json(self) -> str:
        """JSON text that `from_json` reads back to an equal config."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a dictionary.

        Raises
        ------
        ConfigError
            If a key is unknown or a value fails its check.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__} must be a JSON object, got {type(values).__name__}.")
        known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"{cls.__name__} does not know {unknown}; known settings: {sorted(known)}.")
        hints = typing.get_type_hints(cls)
        nested = {
            name: hints[name].from_dict(value)
            for name, value in values.items()
            if isinstance(hints[name], type) and issubclass(hints[name], _Config)
        }
        whole = {  # JSON written elsewhere may say 5.0
            entry.name: int(values[entry.name])
            for entry in settings_of(cls)
            if entry.type is int and isinstance(values.get(entry.name), float) and values[entry.name].is_integer()
        }
        return cls(**{**values, **nested, **whole})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            If the text is no JSON, or `from_dict` refuses it.
        """
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise ConfigError(f"Settings are not valid JSON ({error}).") from error


@dataclass(frozen=True, kw_only=True)
class SettingField:
    """One setting of a config class, resolved: what a form or a command line needs to offer it."""

    name: str
    type: type
    optional: bool
    default: Any
    setting: Setting


def settings_of(config: type) -> list[SettingField]:
    """The settings a config class declares, in order; nested configs are left out."""
    hints = typing.get_type_hints(config)
    found = []
    for entry in dataclasses.fields(config):
        if "setting" not in entry.metadata:
            continue
        hint, optional = hints[entry.name], False
        if isinstance(hint, types.UnionType):
            hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
            optional = True
        found.append(
            SettingField(
                name=entry.name, type=hint, optional=optional, default=entry.default, setting=entry.metadata["setting"]
            )
        )
    return found


def _check_value(entry: SettingField, value: Any) -> None:
    """Refuse a value of the wrong type or out of range, with a message that names the setting."""
    shown = entry.setting
    if value is None and entry.optional:
        return

    def refuse(problem: str) -> typing.NoReturn:
        raise ConfigError(f"{shown.label} ({entry.name}) {problem}.", field=entry.name)

    if entry.type in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(f"must be a number, got {value!r}")
        if problem := shown.problem_with(value):
            refuse(problem)
        if entry.type is int and not isinstance(value, int):
            refuse(f"must be a whole number, got {value!r}")
    elif not isinstance(value, entry.type):
        refuse(f"must be of type {entry.type.__name__}, got {value!r}")
    if shown.choices and value not in shown.choices:
        refuse(f"must be one of {list(shown.choices)}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(_Config):
    """Which counts to read, and which columns of the cell table mean what."""

    path: str = setting(".", "Input file", "An .h5ad, .zarr, 10x .h5, 10x .mtx folder, or .csv / .tsv (may be .gz).")
    layer: str | None = setting(
        None, "Counts", "Where the raw counts are: empty for X, a layer's name, or 'raw' for adata.raw."
    )
    batch_key: str | None = setting(
        None,
        "Batch column",
        "Column of obs that tells experiments, donors or technologies apart. Its effect is kept out of the topics.",
    )
    label_key: str | None = setting(
        None, "Label column", "Column of obs with known cell types. Never used in training, only to judge the result."
    )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(_Config):
    """Shape of the model; see docs/method.md for the symbols."""

    n_topics: int = setting(
        50, "Number of topics", "50 suits integration, 100 interpretation. More topics, finer programs.", ge=2, le=2000
    )
    n_emb: int = setting(
        400,
        "Embedding size",
        "Dimensions shared by gene and topic embeddings (rho, alpha).",
        ge=1,
        le=10_000,
        advanced=True,
    )
    n_hidden: int = setting(
        128, "Encoder width", "Units of the encoder's hidden layer.", ge=1, le=10_000, advanced=True
    )
    dropout: float = setting(
        0.1, "Dropout", "Share of hidden units dropped in each training step.", ge=0, lt=1, advanced=True
    )
    batch_intercept: bool = setting(
        True, "Batch intercept", "Learn one intercept per batch and gene (lambda). Off: the paper's 'scETM - lambda'."
    )
    encoder_input: str = setting(
        "fraction",
        "Encoder input",
        "'hvg': standardised log expression of highly variable genes. 'fraction': each gene's share of the cell's "
        "counts, as published. The topics describe all genes either way.",
        choices=("hvg", "fraction"),
        advanced=True,
    )
    n_variable_genes: int = setting(
        3000,
        "Variable genes",
        "Highly variable genes the encoder looks at, if that is its input; all of them where there are fewer.",
        ge=2,
        le=100_000,
        advanced=True,
    )
    start: str = setting(
        "normal",
        "Start of the topics",
        "'data': topics begin as clusters of cells, which saves thousands of steps. 'normal': N(0, 1), as published.",
        choices=("data", "normal"),
        advanced=True,
    )
    lambda_init: str = setting(
        "data",
        "Start of the intercepts",
        "'data': log of each batch's mean expression, which saves thousands of steps. 'normal': N(0, 1), as published.",
        choices=("data", "normal"),
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Config):
    """How the model is trained."""

    max_steps: int = setting(
        3000, "Training steps", "Updates of the model. The paper advises at least 6,000.", ge=1, le=10_000_000
    )
    minibatch_size: int = setting(
        512, "Minibatch size", "Cells per step. Capped at the number of training cells.", ge=3, le=1_000_000
    )
    learning_rate: float = setting(0.005, "Learning rate", "Adam's step size at the start.", gt=0, le=1, advanced=True)
    learning_rate_decay: float = setting(
        6e-5, "Learning rate decay", "The rate is multiplied by exp(-decay) each step.", ge=0, le=1, advanced=True
    )
    learning_rate_schedule: str = setting(
        "exponential",
        "Learning rate schedule",
        "'cosine': to 0 at the last step, whatever the decay. 'exponential': as published.",
        choices=("cosine", "exponential"),
        advanced=True,
    )
    first_layer_rate: float = setting(
        1.0, "Rate of the first layer", "Of the encoder, as a share of the learning rate.", ge=0, le=1, advanced=True
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        "Pull of topic and gene embeddings to 0 (AdamW). It clears chance genes out of the topics; 0 as published.",
        ge=0,
        le=100,
        advanced=True,
    )
    mmd_weight: float = setting(
        0.0,
        "Batch mixing",
        "Weight of the distance (MMD) between the batches' cells in topic space. 2 mixes firmly; 0 as published.",
        ge=0,
        le=1000,
        advanced=True,
    )
    anchor_weight: float = setting(
        0.0, "Anchor", "Weight that holds cells near the clusters they start from.", ge=0, le=1000, advanced=True
    )
    max_kl_weight: float = setting(
        1e-7, "KL weight", "Final weight of the KL term; 0 leaves the prior out.", ge=0, le=1000, advanced=True
    )
    kl_warmup: float = setting(
        1 / 3, "KL warm-up", "Share of training over which the KL weight rises from 0.", ge=0, le=1, advanced=True
    )
    max_grad_norm: float = setting(
        50.0, "Gradient clipping", "Gradients are scaled down to this norm.", gt=0, le=1e9, advanced=True
    )
    test_fraction: float = setting(
        0.1,
        "Held-out share",
        "Share of cells kept out of training to measure the held-out NLL.",
        ge=0,
        le=0.9,
        advanced=True,
    )
    early_stop: bool = setting(
        False, "Stop on a plateau", "End early once the held-out NLL has stopped improving.", advanced=True
    )
    patience: int = setting(
        10, "Patience", "Held-out checks without improvement before an early stop.", ge=1, le=10_000, advanced=True
    )
    report_every: int = setting(
        10, "Report interval", "Steps between two points of the training curve.", ge=1, le=100_000, advanced=True
    )
    evaluate_every: int = setting(
        100,
        "Held-out interval",
        "Steps between two measurements of the held-out NLL.",
        ge=1,
        le=1_000_000,
        advanced=True,
    )
    checkpoint_every: int = setting(
        500,
        "Checkpoint interval",
        "Steps between two checkpoints; a run resumes from the last.",
        ge=1,
        le=1_000_000,
        advanced=True,
    )
    seed: int = setting(0, "Seed", "Same seed, same settings, same device: same result.", ge=0, le=2**31 - 1)
    device: str = setting(
        "auto", "Device", "'auto' takes a GPU where there is one.", choices=("auto", "cpu", "cuda", "mps")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early_stop and self.test_fraction == 0:
            raise ConfigError(
                "Stop on a plateau (early_stop) needs held-out cells: set Held-out share (test_fraction) above 0.",
                field="early_stop",
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig(_Config):
    """Everything that defines a run; stored whole in its `config.json`."""

    name: str = setting("run", "Run name", "How the run is called in lists. Letters, digits, spaces.")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    umap: bool = setting(True, "Compute UMAP", "Lay the cells out in two dimensions after training.", advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.strip():
            raise ConfigError("Run name (name) must not be empty.", field="name")
        if len(self.name) > 120:
            raise ConfigError(f"Run name (name) must be at most 120 characters, got {len(self.name)}.", field="name")


SECTIONS: dict[str, type] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}
"""The nested configs of a `RunConfig`, by field name. Setting names are unique across them."""


def run_config_from_flat(values: Mapping[str, Any]) -> RunConfig:
    """Build a `RunConfig` from one flat mapping of setting names to values, as a form or a command line has it.

    Raises
    ------
    ConfigError
        As `RunConfig.from_dict`; its `field` names the setting.
    """
    nested: dict[str, Any] = {name: {} for name in SECTIONS}
    homes = {entry.name: section for section, cls in SECTIONS.items() for entry in settings_of(cls)}
    for name, value in values.items():
        (nested[homes[name]] if name in homes else nested)[name] = value
    return RunConfig.from_dict(nested)


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
    "first_layer_rate": 0.1,
    "weight_decay": 1.0,
    "mmd_weight": 2.0,
    "anchor_weight": 1.0,
    "max_kl_weight": 1e-4,
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
        description="A result to work with: longer, in larger minibatches; a minute or two on two cores.",
        values={**RECIPE, "max_steps": 600, "minibatch_size": 512, "evaluate_every": 50},
    ),
    "paper": Preset(
        label="Paper",
        description="The published settings: 6,000 steps of 2,000 cells; topics, genes and intercepts from N(0, 1).",
        values={"max_steps": 6000, "minibatch_size": 2000, "lambda_init": "normal"},
    ),
}
