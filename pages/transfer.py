"""What does a trained model say of cells that it never saw? Apply it, and look at both data sets side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dash
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, clientside_callback, dcc, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.legend import legend_of
from pages._shared.opened import is_grouping
from pages._shared.parts import broken_run, legend_id, no_run_state, page
from pages._shared.task_view import follow_task, stamp_of, tick_of
from pages._transfer import form, parts, progress
from scetm_core import keys, tasks
from scetm_core.errors import RunError
from scetm_core.figures import (
    confusion_frame,
    default_point_size,
    empty_figure,
    flagged_frame,
    plot_confusion,
    plot_flagged,
    plot_topic_use,
    plot_umap,
    side_frames,
    topic_use_frame,
)
from scetm_core.requests import TransferMapRequest
from scetm_core.runs import Run
from scetm_core.transfer import source_labels, source_theta

if TYPE_CHECKING:
    import anndata as ad

dash.register_page(
    __name__, path="/transfer", name="Transfer", title="Transfer · scETM Studio", order=105, group="Explain"
)

TITLE, QUESTION = "Transfer", "What does this model say of cells that it never saw?"
BY_LABEL, BY_KNOWN, BY_BATCH = "labels", "known labels", "batches"
COLOR_WORDS = {
    BY_LABEL: "Labels: source's own, given to the target",
    BY_KNOWN: "Labels: known on both sides",
    BY_BATCH: "Batches",
    keys.TRANSFER_CONFIDENCE: "Confidence of the label",
    keys.UNLIKE_SOURCE: "Unlike the source",
}
ADDED = (keys.TRANSFERRED_LABEL, keys.TRANSFER_CONFIDENCE, keys.NEAREST_CENTROID, keys.NOVELTY_P, keys.NOVELTY_P_NLL,
         keys.NOVELTY_P_EXPRESSION)  # fmt: skip
"""Columns that a transfer adds; a source that is one itself has its own, of another model."""
SOURCE_CELL, LIKE, UNLIKE = "source", "like the source", "unlike the source"
FLAG_COLORS = {SOURCE_CELL: "#b8c0ca", LIKE: "#56B4E9", UNLIKE: "#D55E00"}
NO_SOURCE = "The source run is gone, so its cells cannot be shown. Put its folder back."
NO_JOINT = "There is no joint map yet. Press Lay out both together."


def layout(run: str | None = None, file: str | None = None, color: str | None = None, **_: str) -> Component:
    """The form for a trained run; progress, then the result, of a transfer."""
    try:
        shown = studio.find_run(run)
        if shown is None:
            return page(TITLE, QUESTION, no_run_state())
        if shown.config.transfer is None:
            return _form_page(shown, file)
        if not shown.has_result or not shown.evaluation():
            return page(TITLE, QUESTION, progress.layout(shown), actions=progress.buttons(shown))
        return _result_page(shown, color)
    except RunError as error:
        return broken_run(TITLE, QUESTION, error)


def _form_page(source: Run, file: str | None) -> Component:
    if not source.has_result:
        return page(TITLE, QUESTION, no_run_state())
    return page(
        TITLE,
        QUESTION,
        dcc.Store(id=ids.ACTIVE_RUN, data=source.id),
        parts.transfers_card(source),
        form.layout(source, file),
    )


def _result_page(run: Run, color: str | None) -> Component:
    result, source = studio.load_result(run.id), source_of(run)
    config = run.config
    label_key = config.data.label_key
    options = color_options(run, result)
    known = {item["value"] for group in options for item in group["items"]}
    groups = [str(name) for name, values in result.obs.items() if is_grouping(values) and name != keys.UNLIKE_SOURCE]
    labels = [str(name) for name in result.obs[keys.TRANSFERRED_LABEL].cat.categories]
    names = ("gone" if source is None else source.config.name, config.name)
    return page(
        TITLE,
        QUESTION,
        dcc.Store(id=ids.ACTIVE_RUN, data=run.id),
        parts.scores_card(run, source),
        parts.maps_section(options, color if color and color in known else BY_LABEL, names=names),
        parts.figures_section(
            labels=labels,
            groups=groups,
            group=label_key or keys.TRANSFERRED_LABEL,
            has_known=label_key is not None,
            has_flags=keys.UNLIKE_SOURCE in result.obs,
        ),
        actions=parts.source_button(source),
    )


def source_of(run: Run) -> Run | None:
    """The run that a transfer applied; None if it is gone."""
    try:
        return run.source
    except RunError:
        return None  # told where its cells would be


def color_options(run: Run, result: ad.AnnData) -> list[dict[str, Any]]:
    """What both sides can be coloured by, in groups."""
    data = run.config.data
    offered = [BY_LABEL, *([BY_KNOWN] if data.label_key else []), *([BY_BATCH] if data.batch_key else [])]
    offered += [name for name in (keys.TRANSFER_CONFIDENCE, keys.UNLIKE_SOURCE) if name in result.obs]
    columns = [str(name) for name in result.obs.columns if name not in COLOR_WORDS]
    names = run.topic_names()
    topics = [
        {"value": keys.topic_name(topic), "label": studio.topic_label(topic, names)}
        for topic in range(result.obsm[keys.DELTA].shape[1])
    ]
    return [
        {"group": "Transfer", "items": [{"value": name, "label": COLOR_WORDS[name]} for name in offered]},
        {"group": "Topics", "items": topics},
        {"group": "Columns of the target", "items": [{"value": name, "label": name} for name in columns]},
    ]


def values_of(run: Run, source: Run, color: str) -> tuple[tuple[pd.Series, pd.Series], str, Mapping[str, str] | None]:
    """What the cells of the source, and of the target, are coloured by; its title; colours of categories."""
    result, origin = studio.load_result(run.id), studio.result_of(source)
    own, transfer = run.config.data, run.config.transfer
    assert transfer is not None
    column = source_labels(source, origin.obs, transfer)
    colors = origin.uns.get(f"{column}_colors")
    palette = None if colors is None else dict(zip(origin.obs[column].cat.categories.astype(str), colors, strict=False))
    if color == BY_LABEL:
        return (origin.obs[column], result.obs[keys.TRANSFERRED_LABEL]), column, palette
    if color == BY_KNOWN:
        return (origin.obs[column], result.obs[own.label_key]), column, palette
    if color == BY_BATCH:
        return _batches(source, origin, run, result), "batch", None
    if color == keys.UNLIKE_SOURCE:
        flags = result.obs[color].map({True: UNLIKE, False: LIKE})
        return (_constant(origin, SOURCE_CELL), flags), "target's cells", FLAG_COLORS
    if color.startswith("topic_") and color not in result.obs:
        topic = int(color.removeprefix("topic_"))
        thetas = (
            pd.Series(source_theta(run, result=origin)[:, topic], index=origin.obs_names),
            pd.Series(np.asarray(result.obsm[keys.THETA])[:, topic], index=result.obs_names),
        )
        return thetas, f"{studio.topic_label(topic, run.topic_names())}, theta", None
    values = result.obs[color]
    if (
        color in origin.obs
        and color not in (keys.LEIDEN, *ADDED)
        and is_grouping(values) == is_grouping(origin.obs[color])
    ):
        return (origin.obs[color], values), color, None
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if is_number:
        return (pd.Series(np.nan, index=origin.obs_names), values), color, None
    return (_constant(origin, SOURCE_CELL), values), color, None


def _constant(result: ad.AnnData, value: str) -> pd.Series:
    return pd.Series([value] * result.n_obs, index=result.obs_names, dtype=object)


def _batches(source: Run, origin: ad.AnnData, run: Run, result: ad.AnnData) -> tuple[pd.Series, pd.Series]:
    """Batches of both sides, each with the side it is of."""
    key = source.config.data.batch_key
    of_source = origin.obs[key].astype(str) if key else _constant(origin, "all")
    of_target = result.obs[run.config.data.batch_key].astype(str)
    return "source " + of_source, "target " + of_target


def places_of(run: Run, source: Run, layout_name: str) -> tuple[np.ndarray, np.ndarray] | str:
    """Where the cells of both lie on the map asked for, or why there is none."""
    result, origin = studio.load_result(run.id), studio.result_of(source)
    if layout_name == parts.JOINT:
        table = studio.load_table(run.id, parts.KIND, keys.JOINT_MAP_TABLE)
        if table is None or len(table) != result.n_obs + origin.n_obs:
            return NO_JOINT
        places = table[["x", "y"]].to_numpy(np.float32)
        return places[: origin.n_obs], places[origin.n_obs :]
    if keys.X_UMAP not in origin.obsm or keys.X_UMAP not in result.obsm:
        return "The source, or this transfer, has no map. The joint map can be laid out all the same."
    return np.asarray(origin.obsm[keys.X_UMAP]), np.asarray(result.obsm[keys.X_UMAP])


follow_task(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))


@callback(
    Output(parts.SOURCE_MAP, "figure"),
    Output(parts.TARGET_MAP, "figure"),
    Output(legend_id(parts.SOURCE_MAP), "children"),
    Output(legend_id(parts.TARGET_MAP), "children"),
    Output(parts.JOINT_BOX, "style"),
    Input(parts.COLOR, "value"),
    Input(parts.LAYOUT, "value"),
    Input(parts.NAMES, "checked"),
    Input(stamp_of(parts.TASK), "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_maps(color: str, layout_name: str, labels: bool, _stamp: str | None, run_id: str) -> tuple[Any, ...]:
    """Source and target on one map, in the same colours."""
    run = studio.open_run(run_id)
    source = source_of(run)
    if source is None:
        return empty_figure(NO_SOURCE), empty_figure(NO_SOURCE), None, None, {"display": "none"}
    places = places_of(run, source, layout_name)
    if isinstance(places, str):
        box = {} if places == NO_JOINT else {"display": "none"}
        return empty_figure(places), empty_figure(places), None, None, box
    values, title, colors = values_of(run, source, color)
    frames = side_frames(places, values, title=title, colors=colors)
    size = default_point_size(sum(map(len, frames)))
    figures = [
        plot_umap(frame, point_size=size, labels=labels, behind=other)
        for frame, other in zip(frames, reversed(places), strict=True)
    ]
    for figure in figures:
        figure.update_layout(uirevision=layout_name)
    graphs = (parts.SOURCE_MAP, parts.TARGET_MAP)
    legends = [legend_of(figure, graph) for figure, graph in zip(figures, graphs, strict=True)]
    return (*figures, *legends, {"display": "none"})


@callback(
    Output(tick_of(parts.TASK), "disabled", allow_duplicate=True),
    Input(parts.LAY_OUT, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def lay_out_jointly(n_clicks: int | None, run_id: str) -> Any:
    """Lay source and target out together."""
    if not n_clicks:
        return no_update
    tasks.ask(studio.open_run(run_id), keys.JOINT_MAP_TABLE, TransferMapRequest())
    return False


@callback(Output(parts.CONFUSION, "figure"), Input(ids.ACTIVE_RUN, "data"))
def draw_confusion(run_id: str) -> go.Figure:
    """Labels given against labels known."""
    return plot_confusion(_confusion(run_id), column="label given")


def _confusion(run_id: str) -> pd.DataFrame:
    obs, label_key = studio.load_result(run_id).obs, studio.open_run(run_id).config.data.label_key
    return confusion_frame(obs[label_key], obs[keys.TRANSFERRED_LABEL])


def _topic_use(run_id: str, group: str) -> pd.DataFrame:
    run, result = studio.open_run(run_id), studio.load_result(run_id)
    source, transfer = run.source, run.config.transfer
    assert transfer is not None
    origin = studio.result_of(source)
    theta, own = source_theta(run, result=origin), np.asarray(result.obsm[keys.THETA])
    if group == parts.EVERY:
        return topic_use_frame(theta, own)
    labels = origin.obs[source_labels(source, origin.obs, transfer)].astype(str)
    chosen = result.obs[keys.TRANSFERRED_LABEL].astype(str) == group
    return topic_use_frame(theta[(labels == group).to_numpy()], own[chosen.to_numpy()])


@callback(Output(parts.TOPIC_USE, "figure"), Input(parts.USE_GROUP, "value"), State(ids.ACTIVE_RUN, "data"))
def draw_topic_use(group: str, run_id: str) -> go.Figure:
    """Topics that source and target use differently."""
    try:
        return plot_topic_use(_topic_use(run_id, group), topic_names=studio.open_run(run_id).topic_names())
    except RunError as error:
        return empty_figure(str(error))


def _flags(run_id: str, group: str) -> pd.DataFrame:
    obs = studio.load_result(run_id).obs
    return flagged_frame(obs[group], obs[keys.UNLIKE_SOURCE])


@callback(Output(parts.FLAGGED, "figure"), Input(parts.FLAG_GROUP, "value"), State(ids.ACTIVE_RUN, "data"))
def draw_flagged(group: str, run_id: str) -> go.Figure:
    """The share of each group that is flagged."""
    transfer = studio.open_run(run_id).config.transfer
    assert transfer is not None
    return plot_flagged(_flags(run_id, group), rate=transfer.false_positive_rate)


@callback(
    Output(parts.GENES_DOWNLOAD, "data"),
    Input(parts.GENES, "n_clicks"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_genes(n_clicks: int | None, run_id: str) -> Any:
    """The genes of the model, with those of the target that stand for them, as CSV."""
    if not n_clicks:
        return no_update
    return dcc.send_data_frame(studio.load_result(run_id).var.to_csv, f"{run_id}-genes.csv", index_label="gene")


def target_table(run_id: str) -> pd.DataFrame:
    """The target's cells with their places, labels and p-values."""
    return _cells_table(studio.load_result(run_id))


def _cells_table(result: ad.AnnData) -> pd.DataFrame:
    table: pd.DataFrame = result.obs.copy()
    if keys.X_UMAP in result.obsm:
        table[["umap_1", "umap_2"]] = np.asarray(result.obsm[keys.X_UMAP])
    return table


def _offer_csv(graph: str, make: Any, *inputs: State) -> None:
    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(ids.ACTIVE_RUN, "data"),
        *inputs,
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, run_id: str, *chosen: str) -> Any:
        if not n_clicks:
            return no_update
        return dcc.send_data_frame(make(run_id, *chosen).to_csv, f"{run_id}-{graph}.csv")


def source_table(run_id: str) -> pd.DataFrame:
    """The source's cells with their places."""
    return _cells_table(studio.result_of(studio.open_run(run_id).source))


_offer_csv(parts.TARGET_MAP, target_table)
_offer_csv(parts.SOURCE_MAP, source_table)
_offer_csv(parts.CONFUSION, _confusion)
_offer_csv(parts.TOPIC_USE, _topic_use, State(parts.USE_GROUP, "value"))
_offer_csv(parts.FLAGGED, _flags, State(parts.FLAG_GROUP, "value"))

for _from, _to in ((parts.SOURCE_MAP, parts.TARGET_MAP), (parts.TARGET_MAP, parts.SOURCE_MAP)):
    clientside_callback(
        f"function (moved) {{ window.scetm.followZoom(moved, '{_to}'); }}",
        Input(_from, "relayoutData"),
        prevent_initial_call=True,
    )

clientside_callback(
    "function (color, run) { window.scetm.keepInUrl({run: run, color: color}, ['file', 'done']); }",
    Input(parts.COLOR, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
