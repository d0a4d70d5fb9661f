"""How is a trained model given to another data set? The settings of a transfer."""

from __future__ import annotations

from dataclasses import dataclass

from scetm_core.errors import ConfigError
from scetm_core.settings import Config, setting

NOTHING, ENCODER, NEW_GENES, EVERYTHING = "nothing", "encoder", "new genes", "everything"


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Which run is applied, how its genes are found in the target, and what is learnt from the target."""

    source_run: str = setting("", "Source run", "Name of a run in the same folder, or the path of one.")
    orthologs: str = setting(
        "auto",
        "Orthologs",
        "'auto': the packaged table of human and mouse where the names are of these two species. 'none'. "
        "'human2mouse' or 'mouse2human': that table. Or a table of your own (.csv, .tsv).",
    )
    aliases: str | None = setting(
        None,
        "Table of aliases",
        "A .csv or .tsv of two columns, name in the target and name in the source, for genes that go by other names.",
    )
    several: str = setting(
        "sum",
        "Several for one",
        "Where several genes of the target are equally good for one of the model: 'sum' their counts, or 'drop' it.",
        choices=("sum", "drop"),
    )
    source_label_key: str | None = setting(
        None,
        "Labels to give",
        "Column of the source's cells whose labels the target's cells get; by default its Label column, or its "
        "clusters where it has none.",
    )
    false_positive_rate: float = setting(
        0.05,
        "False-positive rate",
        "Share of cells like the source's that may be flagged as unlike them.",
        ge=0.001,
        le=0.5,
    )
    fine_tune: str = setting(
        NOTHING,
        "Learn from the target",
        "'nothing': the encoder as it is (zero-shot). 'encoder': it alone, topics stay. 'new genes': embeddings of "
        "genes that the model does not know; encoder, topics and known genes stay. 'everything': all, at a small rate.",
        choices=(NOTHING, ENCODER, NEW_GENES, EVERYTHING),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source_run:
            raise ConfigError("Source run (source_run) must name a run.", field="source_run")
        if not self.orthologs:
            raise ConfigError("Orthologs (orthologs) must not be empty; 'none' for none.", field="orthologs")
