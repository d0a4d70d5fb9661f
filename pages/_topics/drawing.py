"""What do the heatmaps of the topics page share? Names and the frame of the chosen topic come without the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, Patch, State, callback, dcc, no_update

from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._topics.ids import NAMES, TOPIC

Prop = tuple[str, str]


def remembered(frame_of: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """The same, but the last frames are kept, each as long as its run has the same result."""

    @studio.remembered(maxsize=4)
    def kept(_stamp: int, run_id: str, *chosen: Any) -> pd.DataFrame:
        return frame_of(run_id, *chosen)

    def frame(run_id: str, *chosen: Any) -> pd.DataFrame:
        stamp = studio.open_run(run_id).result_path.stat().st_mtime_ns
        return kept(stamp, run_id, *[tuple(value) if isinstance(value, list) else value for value in chosen])

    return frame


def show_heatmap(graph: str, choices: Sequence[Prop], frame_of: Callable[..., pd.DataFrame], plot: Any) -> None:
    """Register the callbacks of a heatmap with topics along x.

    It is drawn anew when a choice changes. Names of topics, and the one in focus, are part of its layout: when they
    change, only that is sent, not 10,000 cells.

    Parameters
    ----------
    graph
        Id of the graph.
    choices
        Component and property of what the frame depends on.
    frame_of
        Takes the run's id and the choices.
    plot
        Takes the frame, `topic_names` and `selected_topic`.
    """
    frame_of = remembered(frame_of)

    def draw(run_id: str, names: dict[str, str], topic: str, *chosen: Any) -> go.Figure:
        figure: go.Figure = plot(frame_of(run_id, *chosen), topic_names=names, selected_topic=int(topic))
        return figure

    @callback(
        Output(graph, "figure"),
        State(ids.ACTIVE_RUN, "data"),
        State(NAMES, "data"),
        State(TOPIC, "value"),
        *[Input(*prop) for prop in choices],
    )
    def draw_anew(run_id: str, names: dict[str, str], topic: str, *chosen: Any) -> go.Figure:
        return draw(run_id, names, topic, *chosen)

    @callback(
        Output(graph, "figure", allow_duplicate=True),
        State(ids.ACTIVE_RUN, "data"),
        Input(NAMES, "data"),
        Input(TOPIC, "value"),
        *[State(*prop) for prop in choices],
        prevent_initial_call=True,
    )
    def relabel(run_id: str, names: dict[str, str], topic: str, *chosen: Any) -> Patch:
        change = Patch()
        change["layout"] = draw(run_id, names, topic, *chosen).layout.to_plotly_json()
        return change

    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        *[State(*prop) for prop in choices],
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, run_id: str, *chosen: Any) -> Any:
        if not n_clicks:
            return no_update
        return dcc.send_data_frame(frame_of(run_id, *chosen).to_csv, f"{run_id}-{graph}.csv")
