"""What can be asked of a finished run? Each question with its settings; command line and pages offer the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scetm_core import keys
from scetm_core.errors import ConfigError
from scetm_core.json_text import parse_json
from scetm_core.settings import Config, setting


@dataclass(frozen=True, kw_only=True)
class EnrichmentRequest(Config):
    """Which gene sets does each topic follow? Preranked GSEA of every topic against every set."""

    gene_sets: str = setting("", "Gene sets", "Path of a .gmt file, or of a table of markers.")
    n_permutations: int = setting(
        1000, "Permutations", "Random sets drawn for each topic and set size.", ge=10, le=1_000_000
    )
    refine_to: int = setting(
        0,
        "Refine to",
        "Draw up to that many where the first draws leave a p-value too coarse; 0: never. Small q-values need it.",
        ge=0,
        le=10_000_000,
    )
    min_size: int = setting(5, "Smallest set", "Sets with fewer genes in the data are left out.", ge=1)
    max_size: int = setting(500, "Largest set", "Sets with more genes in the data are left out.", ge=1)
    tail: str = setting(
        "up",
        "Tail",
        "'up': sets among the topic's leading genes, as in the paper. 'either': both ends, as GSEA does by default.",
        choices=("up", "either"),
    )
    seed: int = setting(0, "Seed", "Same seed, same result.", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_size > self.max_size:
            raise ConfigError(
                f"Smallest set (min_size) is {self.min_size}, Largest set (max_size) {self.max_size}. Swap them.",
                field="min_size",
            )


@dataclass(frozen=True, kw_only=True)
class DifferentialRequest(Config):
    """Which topics are higher in one group of cells than in the others? A permutation test."""

    groupby: str = setting("cell_type", "Group cells by", "Column of obs: cell types, conditions.")
    n_permutations: int = setting(
        100_000, "Permutations", "Random assignments of labels; all there are, if fewer.", ge=100, le=10_000_000
    )
    unit: str = setting(
        "cell", "Unit", "'cell', or a column of donors: then donors are permuted, whose cells are not independent."
    )
    two_sided: bool = setting(
        False, "Two-sided", "Ask for topics that are lower as well. Off: higher only, as published."
    )
    seed: int = setting(0, "Seed", "Same seed, same result.", ge=0)


@dataclass(frozen=True, kw_only=True)
class MapRequest(Config):
    """Which genes, or gene sets, lie near which topics? A map of both together."""

    points: str = setting(
        "genes", "Points", "'genes': rows of rho. 'sets': gene sets that rho was fixed to.", choices=("genes", "sets")
    )
    seed: int = setting(0, "Seed", "Same seed, same map.", ge=0)


@dataclass(frozen=True, kw_only=True)
class TransferMapRequest(Config):
    """How do the cells of a transfer and of its source lie together? One map laid out from both."""

    seed: int = setting(0, "Seed", "Same seed, same map.", ge=0)


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest(Config):
    """How good is an embedding of the run's cells, and how sure is that? Scores with standard errors."""

    use_rep: str = setting(keys.DELTA, "Representation", "Slot of obsm that is scored: delta, as in the paper.")
    label_key: str | None = setting(None, "Label column", "Column of obs with known cell types.")
    batch_key: str | None = setting(None, "Batch column", "Column of obs that tells experiments or donors apart.")
    n_repeats: int = setting(
        20, "Random halves", "Of the cells, each scored anew: their spread gives the intervals.", ge=2, le=1000
    )
    seed: int = setting(0, "Seed", "Of clusters and halves.", ge=0)


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest(Config):
    """How do other methods do on the run's cells? Each under the settings that its authors recommend."""

    methods: tuple[str, ...] = setting(
        ("pca",), "Methods", "Names as in `scetm_core.peers`, or 'obsm:SLOT' for an embedding in the input file."
    )
    n_seeds: int = setting(
        1, "Seeds", "Repeats of each method that depends on chance; three show how far its scores move.", ge=1, le=20
    )


@dataclass(frozen=True, kw_only=True)
class SweepRequest(Config):
    """How many topics do the run's cells need, and do the topics come back with another seed?"""

    n_topics_tried: tuple[str, ...] = setting(
        ("10", "20", "30", "50", "80"), "Numbers of topics", "One training for each, and each seed."
    )
    n_seeds: int = setting(3, "Seeds", "Trainings with each number, beginning with the run's own seed.", ge=1, le=20)

    def __post_init__(self) -> None:
        super().__post_init__()
        bad = [text for text in self.n_topics_tried if not text.strip().isdigit() or not 2 <= int(text) <= 2000]
        if bad or not self.n_topics_tried:
            raise ConfigError(
                f"Numbers of topics (n_topics_tried) must be whole numbers from 2 to 2000; got {bad or 'none'}.",
                field="n_topics_tried",
            )

    @property
    def numbers(self) -> list[int]:
        """The numbers of topics, rising, each once."""
        return sorted({int(text) for text in self.n_topics_tried})


@dataclass(frozen=True, kw_only=True)
class PublishRequest(Config):
    """All of a run to take away: a file beside the table that says what is in it."""

    what: str = setting(
        "everything",
        "What",
        "'everything': figures, tables, settings, report, recipe and result as a zip. 'report': one HTML document. "
        "'viewers': the result for scanpy and cellxgene.",
        choices=("everything", "report", "viewers"),
    )


Request = (
    EnrichmentRequest | DifferentialRequest | MapRequest | TransferMapRequest | EvaluationRequest | ComparisonRequest
    | SweepRequest | PublishRequest
)  # fmt: skip

KINDS: dict[str, type[Request]] = {
    keys.ENRICHMENT_FOLDER: EnrichmentRequest,
    keys.DIFFERENTIAL_FOLDER: DifferentialRequest,
    keys.MAP_FOLDER: MapRequest,
    keys.TRANSFER_FOLDER: TransferMapRequest,
    keys.EVALUATION_FOLDER: EvaluationRequest,
    keys.COMPARISON_FOLDER: ComparisonRequest,
    keys.SWEEP_FOLDER: SweepRequest,
    keys.PUBLISHED_FOLDER: PublishRequest,
}
"""Kind of a request, which is also the folder of its tables -> its class."""


def kind_of(request: Request) -> str:
    """The kind of a request: a key of `KINDS`."""
    return next(kind for kind, cls in KINDS.items() if isinstance(request, cls))


def request_as_json(request: Request) -> str:
    """JSON text that `request_from_json` reads back."""
    return json.dumps({"kind": kind_of(request), "settings": request.to_dict()}, indent=2)


def request_from_json(text: str) -> Request:
    """Read what `request_as_json` wrote.

    Raises
    ------
    ConfigError
        If it is no request, or a setting is unknown or out of range.
    """
    try:
        record: Mapping[str, Any] = parse_json(text)
        return KINDS[record["kind"]].from_dict(record["settings"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"This is no request ({error!r}).") from error
