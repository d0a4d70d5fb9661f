"""What does each score say? Its name, meaning and direction, and the card that shows it with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
import pandas as pd
from dash import html
from dash.development.base_component import Component

from scetm_core.score_words import SCORE_GROUPS, SCORE_WORDS, Score, number_in_words

SCORES, GROUPS, number = SCORE_WORDS, SCORE_GROUPS, number_in_words
"""As pages call them."""


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
