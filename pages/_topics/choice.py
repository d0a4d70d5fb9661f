"""Which topics do the heatmaps show? Those chosen by hand, those that differ between groups, or those in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.opened import Opened
from pages._topics.ids import GROUPBY, SHOWN
from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.figures import differential_topics
from scetm_core.files import table_name

PICKED = "topics-picked"
DIFFERENTIAL = "topics-only-differential"
ABOUT_DIFFERENTIAL = "topics-about-differential"


def controls(opened: Opened, groupby: str) -> list[Component]:
    """Choice by hand, and the switch."""
    is_known, about = differential_words(opened.run.id, groupby)
    return [
        dcc.Store(id=SHOWN),
        dmc.MultiSelect(
            id=PICKED,
            label="Topics shown",
            data=opened.topic_options(),
            placeholder="all in use",
            searchable=True,
            clearable=True,
            w=240,
        ),
        html.Div(
            [
                dmc.Switch(id=DIFFERENTIAL, label="Only differential topics", size="sm", disabled=not is_known),
                html.Div(about, id=ABOUT_DIFFERENTIAL, className="topics-hint"),
            ]
        ),
    ]


def differential_words(run_id: str, groupby: str) -> tuple[bool, Component]:
    """Whether it is known which topics differ between groups, and what is said of it."""
    try:
        table = studio.load_table(run_id, keys.DIFFERENTIAL_FOLDER, table_name(groupby))
    except RunError as error:
        return False, dmc.Text(str(error), size="xs", c="dimmed")
    if table is None:
        href = f"/differential?{urlencode({'run': run_id, 'groupby': groupby})}"
        link = dmc.Anchor("Test it", href=href, size="xs", refresh=False)
        return False, dmc.Text(["Not tested by this grouping yet. ", link], size="xs", c="dimmed")
    topics, difference = differential_topics(table)
    text = f"{len(topics)} topics: q < .01, mean difference > {difference:g}"
    return True, dmc.Text(text, size="xs", c="dimmed")


@callback(
    Output(DIFFERENTIAL, "disabled"),
    Output(DIFFERENTIAL, "checked"),
    Output(ABOUT_DIFFERENTIAL, "children"),
    Input(GROUPBY, "value"),
    State(DIFFERENTIAL, "checked"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def offer_differential(groupby: str, checked: bool | None, run_id: str) -> tuple[bool, bool, Component]:
    """Switch on only what is known for the grouping."""
    is_known, about = differential_words(run_id, groupby)
    return not is_known, bool(checked) and is_known, about


@callback(
    Output(SHOWN, "data"),
    Input(PICKED, "value"),
    Input(DIFFERENTIAL, "checked"),
    Input(GROUPBY, "value"),
    State(SHOWN, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def choose_topics(
    picked: Sequence[str] | None, only_differential: bool | None, groupby: str, shown: list[int] | None, run_id: str
) -> Any:
    """Numbers of the topics to show; None leaves it to each heatmap."""
    chosen = sorted(int(topic) for topic in picked) if picked else None
    table = studio.load_table(run_id, keys.DIFFERENTIAL_FOLDER, table_name(groupby)) if only_differential else None
    if table is not None:
        differing, _ = differential_topics(table)
        chosen = differing if chosen is None else [topic for topic in chosen if topic in differing]
    return chosen if chosen != shown else no_update
