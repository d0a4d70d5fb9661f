"""What can be set, within which range, and what does it mean?

`DataConfig`, `ModelConfig` and `TrainConfig` together make a `RunConfig`. Each setting is declared once, with its
label, meaning, unit and range; the checks, the command line and the Train form are all generated from that
declaration. Configs are frozen, passed whole and stored whole (`to_json` / `from_json`). A transfer has a section more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scetm_core.errors import ConfigError
from scetm_core.settings import Config, setting, settings_of
from scetm_core.transfer_settings import NOTHING, TransferConfig

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
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
    extra_batch_keys: tuple[str, ...] = setting(
        (),
        "Further batch columns",
        "More columns of obs whose effect is kept out of the topics, each with its own intercepts.",
        group="More about the data",
    )
    numeric_keys: tuple[str, ...] = setting(
        (),
        "Numeric covariates",
        "Columns of obs with numbers, e.g. the mitochondrial share, kept out of the topics as a linear term per gene.",
        group="More about the data",
    )
    modality: str | None = setting(
        None,
        "Second modality",
        "Counts of further features of the same cells, e.g. surface proteins: a slot of obsm, or a modality of a "
        "MuData file. The topics then describe both.",
        group="More about the data",
    )
    memory: str = setting(
        "auto",
        "Counts are kept",
        "'in memory', or 'on disk' and read in shuffled blocks as training goes. 'auto': in memory where they fit.",
        choices=("auto", "in memory", "on disk"),
        group="More about the data",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extra_batch_keys and not self.batch_key:
            raise ConfigError(
                "Further batch columns (extra_batch_keys) need a first one. Set Batch column (batch_key).",
                field="extra_batch_keys",
            )
        if self.label_key in self.numeric_keys:
            raise ConfigError(
                f"{self.label_key!r} cannot be both Label column (label_key) and a numeric covariate (numeric_keys).",
                field="numeric_keys",
            )
        named = [self.batch_key, *self.extra_batch_keys, *self.numeric_keys]
        if twice := sorted({key for key in named if key and named.count(key) > 1}):
            raise ConfigError(
                f"Further batch columns (extra_batch_keys) and Numeric covariates (numeric_keys) name {twice} twice. "
                "Name each column once.",
                field="extra_batch_keys",
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """Shape of the model; see docs/method.md for the symbols."""

    n_topics: int = setting(
        50, "Number of topics", "50 suits integration, 100 interpretation. More topics, finer programs.", ge=2, le=2000
    )
    n_emb: int = setting(
        400,
        "Embedding size",
        "Dimensions shared by gene and topic embeddings (rho, alpha). Where rho is given, Learnt dimensions count.",
        ge=1,
        le=10_000,
        group="Genes and topics",
    )
    n_hidden: int = setting(
        128, "Encoder width", "Units of the encoder's hidden layer.", ge=1, le=10_000, group="Encoder and likelihood"
    )
    dropout: float = setting(
        0.1,
        "Dropout",
        "Share of hidden units dropped in each training step.",
        ge=0,
        lt=1,
        group="Encoder and likelihood",
    )
    batch_norm: bool = setting(
        True,
        "Batch normalisation",
        "Standardise hidden units over the minibatch, as published. Off: left out, which the paper found worse.",
        group="Encoder and likelihood",
    )
    batch_intercept: bool = setting(
        True, "Batch intercept", "Learn one intercept per batch and gene (lambda). Off: the paper's 'scETM - lambda'."
    )
    n_batch_factors: int = setting(
        0,
        "Batch factors",
        "Write the batches' intercepts as that many factors, for hundreds of batches; 0: each batch its own.",
        ge=0,
        le=1000,
        group="Batch effects",
    )
    encode_batch: bool = setting(
        False,
        "Batch as encoder input",
        "Tell the encoder the batch of each cell. New batches are then encoded as an average one.",
        group="Batch effects",
    )
    likelihood: str = setting(
        "fraction",
        "Likelihood",
        "'fraction': every cell counts alike, as published. 'counts': cells count by their depth (multinomial).",
        choices=("fraction", "counts"),
        group="Encoder and likelihood",
    )
    normalise_beta: bool = setting(
        False,
        "Normalise topics before mixing",
        "Each topic is a distribution over genes and cells mix those (ETM). Off: cells mix logits, as in scETM.",
        group="Encoder and likelihood",
    )
    rho_gmt: str | None = setting(
        None,
        "Gene sets as rho",
        "A .gmt file: gene embeddings are fixed to set membership, and alpha says which sets a topic uses (p-scETM).",
        group="Genes and topics",
    )
    rho_file: str | None = setting(
        None,
        "Gene embeddings from a file",
        "A .csv (genes in the first column), .npz (genes, rho) or .h5ad (varm). Genes it lacks are learnt.",
        group="Genes and topics",
    )
    train_rho: bool = setting(
        False,
        "Keep learning rho",
        "Gene embeddings from a file are a start only, and are trained on.",
        group="Genes and topics",
    )
    n_free_emb: int = setting(
        0,
        "Learnt dimensions",
        "Learnt beside the given gene embeddings or gene sets; 0: only those given.",
        ge=0,
        le=10_000,
        group="Genes and topics",
    )
    modality_weight: float = setting(
        1.0, "Weight of the modality", "Of its likelihood in the loss.", ge=0, le=1000, group="Genes and topics"
    )
    encoder_input: str = setting(
        "fraction",
        "Encoder input",
        "'hvg': standardised log expression of highly variable genes. 'fraction': each gene's share of the cell's "
        "counts, as published. 'counts': raw, so that depth moves a cell. The topics describe all genes either way.",
        choices=("hvg", "fraction", "counts"),
        group="Encoder and likelihood",
    )
    n_variable_genes: int = setting(
        3000,
        "Variable genes",
        "Highly variable genes the encoder looks at, if that is its input; all of them where there are fewer.",
        ge=2,
        le=100_000,
        group="Encoder and likelihood",
    )
    spread_floor: float = setting(
        0.01,
        "Softening",
        "Added to a variable gene's standard deviation before the division by it. 0.01: all count alike. 1: those "
        "that vary much count more, and the encoder carries over to other data sets and species.",
        ge=1e-4,
        le=100,
        group="Encoder and likelihood",
    )
    start: str = setting(
        "normal",
        "Start of the topics",
        "'data': topics begin as clusters of cells, which saves thousands of steps. 'normal': N(0, 1), as published.",
        choices=("data", "normal"),
        group="Start",
    )
    lambda_init: str = setting(
        "data",
        "Start of the intercepts",
        "'data': log of each batch's mean expression, which saves thousands of steps. 'normal': N(0, 1), as published.",
        choices=("data", "normal"),
        group="Start",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho_gmt and self.rho_file:
            raise ConfigError(
                "Gene sets as rho (rho_gmt) and Gene embeddings from a file (rho_file) exclude each other. Pick one.",
                field="rho_file",
            )
        if self.train_rho and not self.rho_file:
            raise ConfigError(
                "Keep learning rho (train_rho) needs Gene embeddings from a file (rho_file).", field="train_rho"
            )
        if self.n_free_emb and not (self.rho_gmt or self.rho_file):
            raise ConfigError(
                "Learnt dimensions (n_free_emb) stand beside given ones. Set rho_gmt or rho_file, or use Embedding "
                "size (n_emb).",
                field="n_free_emb",
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How the model is trained."""

    max_steps: int = setting(
        3000, "Training steps", "Updates of the model. The paper advises at least 6,000.", ge=1, le=10_000_000
    )
    minibatch_size: int = setting(
        512, "Minibatch size", "Cells per step. Capped at the number of training cells.", ge=3, le=1_000_000
    )
    learning_rate: float = setting(
        0.005, "Learning rate", "Adam's step size at the start.", gt=0, le=1, group="Optimiser"
    )
    learning_rate_decay: float = setting(
        6e-5, "Learning rate decay", "The rate is multiplied by exp(-decay) each step.", ge=0, le=1, group="Optimiser"
    )
    learning_rate_schedule: str = setting(
        "exponential",
        "Learning rate schedule",
        "'cosine': to 0 at the last step, whatever the decay. 'exponential': as published.",
        choices=("cosine", "exponential"),
        group="Optimiser",
    )
    weight_decay: float = setting(
        0.0,
        "Weight decay",
        "Pull of topic and gene embeddings to 0 (AdamW). It clears chance genes out of the topics; 0 as published.",
        ge=0,
        le=100,
        group="Optimiser",
    )
    mmd_weight: float = setting(
        0.0,
        "Batch mixing",
        "Weight of the distance (MMD) between the cells of the Batch column in topic space. 4 mixes firmly; 0 as "
        "published.",
        ge=0,
        le=1000,
        group="Batch effects",
    )
    mmd_groups: str = setting(
        "harmonised",
        "Mixing compares",
        "Batches are compared within kinds of cells: 'harmonised', found after a correction, mixes firmly; 'observed', "
        "found before any, keeps types apart that one batch alone has, and mixes less.",
        choices=("harmonised", "observed"),
        group="Batch effects",
    )
    adversary_weight: float = setting(
        0.0,
        "Adversary",
        "Weight of a discriminator that guesses the Batch column, and that the encoder learns to fool (scETM + adv).",
        ge=0,
        le=1000,
        group="Batch effects",
    )
    adversary_updates: int = setting(
        8,
        "Adversary updates",
        "Of the discriminator after each step of the model.",
        ge=1,
        le=100,
        group="Batch effects",
    )
    anchor_weight: float = setting(
        0.0, "Anchor", "Weight that holds cells near the clusters they start from.", ge=0, le=1000, group="Start"
    )
    max_kl_weight: float = setting(
        1e-7, "KL weight", "Final weight of the KL term; 0 leaves the prior out.", ge=0, le=1000, group="Optimiser"
    )
    kl_warmup: float = setting(
        1 / 3, "KL warm-up", "Share of training over which the KL weight rises from 0.", ge=0, le=1, group="Optimiser"
    )
    max_grad_norm: float = setting(
        50.0, "Gradient clipping", "Gradients are scaled down to this norm.", gt=0, le=1e9, group="Optimiser"
    )
    test_fraction: float = setting(
        0.1,
        "Held-out share",
        "Share of cells kept out of training to measure the held-out NLL.",
        ge=0,
        le=0.9,
        group="Checks and reports",
    )
    early_stop: bool = setting(
        False, "Stop on a plateau", "End early once the held-out NLL has stopped improving.", group="Checks and reports"
    )
    patience: int = setting(
        10, "Patience", "Checks without improvement before an early stop.", ge=1, le=10_000, group="Checks and reports"
    )
    report_every: int = setting(
        10, "Report interval", "Steps between two points of the curve.", ge=1, le=100_000, group="Checks and reports"
    )
    evaluate_every: int = setting(
        100,
        "Held-out interval",
        "Steps between two measurements of the held-out NLL.",
        ge=1,
        le=1_000_000,
        group="Checks and reports",
    )
    checkpoint_every: int = setting(
        500,
        "Checkpoint interval",
        "Steps between two checkpoints; a run resumes from the last.",
        ge=1,
        le=1_000_000,
        group="Checks and reports",
    )
    seed: int = setting(0, "Seed", "Same seed, same settings, same device: same result.", ge=0, le=2**31 - 1)
    min_depth: float = setting(
        1.0,
        "Thinning",
        "In training the encoder sees each cell thinned at random to between this share of its counts and all, so that "
        "depth does not place a cell. 1: never, as published.",
        gt=0,
        le=1,
        group="Encoder and likelihood",
    )
    precision: str = setting(
        "full",
        "Precision",
        "'mixed': on a processor that is fast at it the large products in bfloat16, sums in float32. 'full': float32.",
        choices=("mixed", "full"),
        group="Optimiser",
    )
    device: str = setting(
        "auto", "Device", "'auto' takes a GPU where there is one.", choices=("auto", "cpu", "cuda", "mps")
    )

    n_processes: int = setting(
        1, "Processes", "That train the model together, e.g. one for each GPU.", ge=1, le=64, group="Optimiser"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early_stop and self.test_fraction == 0:
            raise ConfigError(
                "Stop on a plateau (early_stop) needs held-out cells: set Held-out share (test_fraction) above 0.",
                field="early_stop",
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Everything that defines a run; stored whole in its `config.json`."""

    name: str = setting("run", "Run name", "How the run is called in lists. Letters, digits, spaces.")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    transfer: TransferConfig | None = None
    umap: bool = setting(
        True, "Compute UMAP", "Lay the cells out in two dimensions after training.", group="Checks and reports"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.strip():
            raise ConfigError("Run name (name) must not be empty.", field="name")
        if len(self.name) > 120:
            raise ConfigError(f"Run name (name) must be at most 120 characters, got {len(self.name)}.", field="name")

    @property
    def is_trained(self) -> bool:
        """Whether anything is learnt: not in a zero-shot transfer."""
        return self.transfer is None or self.transfer.fine_tune != NOTHING


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
