"""Can the result of a run be trusted? What its worker found wrong at the end, as notices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_mantine_components as dmc
from dash.development.base_component import Component

from pages._shared.parts import notice

COLORS = {"warning": "orange", "info": "gray"}
NO_WARNINGS = "No warnings: the topics differ, the cells use them, and the training curve has levelled out."
NOTHING_WRONG_FOUND = "No warnings; worth knowing when reading the topics:"


def findings_view(scores: Mapping[str, Any]) -> Component | None:
    """The findings of a run in words, warnings first.

    Parameters
    ----------
    scores
        What `Run.evaluation` returns; ``findings`` are dicts of level, topic, message and advice.

    Returns
    -------
    A notice per finding, below a calm line where none of them warns; None if the run was not judged.
    """
    found = scores.get("findings")
    if found is None:
        return None
    warns = any(finding["level"] == "warning" for finding in found)
    line = None if warns else dmc.Text(NOTHING_WRONG_FOUND if found else NO_WARNINGS, size="sm", c="dimmed")
    notices = [
        notice(
            f"{finding['message']} {finding['advice']}".strip(),
            title=str(finding["topic"]).capitalize(),
            color=COLORS[finding["level"]],
        )
        for finding in found
    ]
    return dmc.Stack([part for part in (line, *notices) if part is not None], gap="xs", mt="md")
