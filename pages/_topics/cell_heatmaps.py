"""Which topics do cells use: groups of them on average, and a sample of them one by one?"""

from __future__ import annotations

from collections.abc import Sequence

import dash_mantine_components as dmc
import pandas as pd
from dash import Input, Output, State, callback, no_update
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.opened import Opened
from pages._shared.parts import figure_card
from pages._topics.drawing import show_heatmap
from pages._topics.ids import CELLS, GROUPBY, MEANS, SHOWN
from scetm_core.figures import (
    cell_topic_frame,
    empty_frame,
    plot_cell_topic_heatmap,
    plot_topic_heatmap,
    topic_mean_frame,
    topics_with_cells,
)
from scetm_core.figures.cell_topics import MIN_MEAN

BARS = "topics-bars"
LEAST_SUM = "topics-least-sum"

N_CELLS = 10_000
MAX_BARS = 4
NONE_LEFT = "None of these topics differs between the groups. Switch off 'Only differential topics', or choose others."

HOW_MEANS = (
    "How much of a group's reads each topic explains, on average (theta; a row sums to 1 over all topics). A topic "
    "bright in one row only belongs to that group; one bright everywhere is common to all. Click a column to look at "
    "its topic."
)
HOW_CELLS = (
    "A row is a cell, a column a topic, the colour delta: the topic's strength before the softmax. The first bar at "
    "the left groups the cells; within a group similar cells stand together. At most 10,000 cells are drawn, a random "
    "sample. Topics whose absolute values sum to less than the limit, per 10,000 cells, are left out unless you choose "
    "topics above. Names of cells are in the table (Export)."
)


def means_card() -> Component:
    """Groups x topics."""
    return figure_card(MEANS, title="Topics by group of cells", how_to_read=HOW_MEANS, height=None)


def cells_card(opened: Opened, groupby: str) -> Component:
    """Cells x topics."""
    batch = opened.run.config.data.batch_key
    groups = opened.grouping_columns()
    bars = [name for name in dict.fromkeys([groupby, batch]) if name in groups]
    controls = [
        dmc.MultiSelect(
            id=BARS,
            label="Colour bars",
            description="The first groups the cells.",
            data=groups,
            value=bars,
            maxValues=MAX_BARS,
            searchable=True,
            miw=240,
            maw=420,
        ),
        dmc.NumberInput(
            id=LEAST_SUM,
            label="Least sum of |delta|",
            description="Per 10,000 cells.",
            value=round(1e4 * MIN_MEAN),
            min=0,
            step=500,
            thousandSeparator=",",
            w=170,
            debounce=400,
        ),
    ]
    return figure_card(CELLS, title="Topics by cell", how_to_read=HOW_CELLS, controls=controls, height=None)


def mean_frame(run_id: str, groupby: str, shown: Sequence[int] | None) -> pd.DataFrame:
    """Groups x the topics chosen, or those that cells use."""
    result = studio.load_result(run_id)
    if shown is not None and not shown:
        return empty_frame(NONE_LEFT)
    return topic_mean_frame(result, groupby=groupby, topics=topics_with_cells(result) if shown is None else shown)


def cell_frame(
    run_id: str, bars: Sequence[str] | None, least_sum: float | str | None, shown: Sequence[int] | None
) -> pd.DataFrame:
    """A sample of cells x the topics chosen, or those above the limit."""
    if shown is not None and not shown:
        return empty_frame(NONE_LEFT)
    least = float(least_sum or 0) / 1e4
    annotations = list(bars or [])[:MAX_BARS]
    return cell_topic_frame(
        studio.load_result(run_id), n_cells=N_CELLS, annotations=annotations, topics=shown, min_mean=least
    )


@callback(Output(BARS, "value"), Input(GROUPBY, "value"), State(BARS, "value"), prevent_initial_call=True)
def group_cells(groupby: str, bars: Sequence[str] | None) -> object:
    """Put the page's grouping first, in the place of the one before."""
    bars = list(bars or [])
    wanted = [groupby, *[name for name in bars[1:] if name != groupby]][:MAX_BARS]
    return wanted if wanted != bars else no_update


show_heatmap(MEANS, [(GROUPBY, "value"), (SHOWN, "data")], mean_frame, plot_topic_heatmap)
show_heatmap(CELLS, [(BARS, "value"), (LEAST_SUM, "value"), (SHOWN, "data")], cell_frame, plot_cell_topic_heatmap)
