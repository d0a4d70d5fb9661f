"""What does each score say? Its name, its meaning, and which way is good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HIGHER, LOWER = "higher is better", "lower is better"


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a score is called and read."""

    label: str
    meaning: str
    good: str = HIGHER
    range: str = "0 to 1"


SCORE_WORDS: Mapping[str, Score] = {
    "ari": Score(
        label="ARI, fixed resolution",
        meaning="Agreement of Leiden clusters with the labels, pair of cells by pair of cells; 0 is chance. The "
        "resolution was settled beforehand.",
        range="below 0 to 1",
    ),
    "best_ari": Score(
        label="ARI, best resolution",
        meaning="The same at the best of seven resolutions, as in the paper. Chosen by looking at the labels, so it "
        "flatters: compare methods by both.",
        range="below 0 to 1",
    ),
    "nmi": Score(
        label="NMI, fixed resolution",
        meaning="How much the clusters tell about the labels. Many small clusters score too well: read it beside the "
        "ARI.",
    ),
    "best_nmi": Score(
        label="NMI, best resolution", meaning="The same at the best of seven resolutions; chosen by the labels."
    ),
    "asw": Score(
        label="Silhouette of labels (ASW)",
        meaning="How far the labels lie apart, compared with their own width: above 0 if cells are closest to their "
        "own kind.",
        range="-1 to 1",
    ),
    "clisi": Score(
        label="cLISI",
        meaning="Neighbourhoods hold cells of one label (1) or of all at once (0). Hardly ever far from 1.",
    ),
    "graph_connectivity": Score(
        label="Graph connectivity",
        meaning="Share of a label's cells that are linked to each other by steps from neighbour to neighbour.",
    ),
    "kbet": Score(
        label="kBET",
        meaning="Share of cells whose neighbours come from the batches as all cells do, by a chi-square test at .05. "
        "A cell type that only one batch has can never be mixed.",
    ),
    "ilisi": Score(
        label="iLISI", meaning="Effective number of batches around a cell: all of them alike (1), or only one (0)."
    ),
    "ebm": Score(
        label="Entropy of batch mixing",
        meaning="Mean entropy of the batches among a cell's neighbours. Compare it only on the same cells.",
        range="0 to log(batches)",
    ),
    "batch_asw": Score(
        label="Silhouette of batches",
        meaning="Within each label: do the batches lie over each other (1) or apart (0)?",
    ),
    "test_nll": Score(
        label="Held-out NLL",
        meaning="Nats per read for cells kept out of training. Compare it between trainings on the same cells and "
        "genes only.",
        good=LOWER,
        range="above 0",
    ),
    "topic_coherence": Score(
        label="Topic coherence",
        meaning="Are a topic's ten leading genes found in the same cells (1), by chance (0), or never together (-1)?",
        range="-1 to 1",
    ),
    "topic_diversity": Score(
        label="Topic diversity",
        meaning="Share of different genes among the 25 leading genes of all topics. Low: topics repeat each other.",
    ),
}

SCORE_GROUPS: Mapping[str, Sequence[str]] = {
    "Are kinds of cells told apart?": (
        "ari", "best_ari", "nmi", "best_nmi", "asw", "clisi", "graph_connectivity",
    ),
    "Are batches mixed?": ("kbet", "ilisi", "ebm", "batch_asw"),
    "Do the topics describe new cells, and read well?": ("test_nll", "topic_coherence", "topic_diversity"),
}  # fmt: skip

TRANSFER_WORDS: Mapping[str, tuple[str, str]] = {
    "label_accuracy": (
        "Labels right", "Share of cells that were given their known label, of those whose label the source has."
    ),
    "label_balanced_accuracy": (
        "Right, by label", "The same for each label, averaged: rare labels count as much as frequent ones."
    ),
    "share_unlike_source": ("Unlike the source", "Share of cells that are flagged; see the figure by group."),
    "counts_covered": ("Counts covered", "Share of the target's counts in genes that the model knows."),
}  # fmt: skip
"""Of a transfer alone: label and meaning of each, all of them shares."""


def number_in_words(value: float | None) -> str:
    """A score as it is written: ``".94"``, ``"-.03"``, ``"6.80"``; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
