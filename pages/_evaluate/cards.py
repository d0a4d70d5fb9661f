"""What does each score say? Its name, meaning and direction, and the card that shows it with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import html
from dash.development.base_component import Component

HIGHER, LOWER = "higher is better", "lower is better"


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a score is called and read."""

    label: str
    meaning: str
    good: str = HIGHER
    range: str = "0 to 1"


SCORES: Mapping[str, Score] = {
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

GROUPS: Mapping[str, Sequence[str]] = {
    "Are kinds of cells told apart?": (
        "ari", "best_ari", "nmi", "best_nmi", "asw", "clisi", "graph_connectivity",
    ),
    "Are batches mixed?": ("kbet", "ilisi", "ebm", "batch_asw"),
    "Do the topics describe new cells, and read well?": ("test_nll", "topic_coherence", "topic_diversity"),
}  # fmt: skip


def number(value: float | None) -> str:
    """A score as it is written: ``".94"``, ``"-.03"``, ``"6.80"``."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def score_cards(values: Mapping[str, Any], errors: Mapping[str, float]) -> Component:
    """A card for each score that is known, under the question it answers.

    Parameters
    ----------
    values
        Score -> value; those that are None or missing are left out.
    errors
        Score -> standard error, where there is one.
    """
    sections = []
    for question, names in GROUPS.items():
        known = [name for name in names if values.get(name) is not None and not pd.isna(values[name])]
        if known:
            cards = [_card(SCORES[name], values[name], errors.get(name)) for name in known]
            sections.append(
                html.Div([dmc.Title(question, order=2, className="card-title"), html.Div(cards, className="cards")])
            )
    return dmc.Stack(sections, gap="md")


def _card(score: Score, value: float, error: float | None) -> Component:
    has_error = error is not None and not pd.isna(error)
    interval = f"± {number(2 * error)}" if has_error and error is not None else ""
    return dmc.Paper(
        [
            dmc.Text(score.label, size="sm", fw=500),
            dmc.Group(
                [dmc.Text(number(value), className="score"), dmc.Text(interval, size="sm", c="dimmed")],
                gap=8,
                align="baseline",
            ),
            dmc.Text(f"{score.good} · {score.range}", size="xs", c="dimmed"),
            dmc.Text(score.meaning, size="xs", mt=6),
        ],
        className="card numbers",
    )
