"""Is this result good, and how sure is that? Scores with intervals, clusters against labels, batches around cells."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import dash
import dash_mantine_components as dmc
import numpy as np
import pandas as pd
from dash import Input, Output, State, callback, clientside_callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._evaluate import numbers, parts
from pages._evaluate.cards import number, score_cards
from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.legend import legend_of
from pages._shared.opened import Opened, open_result
from pages._shared.parts import legend_id, page
from pages._shared.requests import read_request
from pages._shared.tables import offer_table
from pages._shared.task_view import follow_task, stamp_of, task_view, tick_of
from scetm_core import keys, tasks
from scetm_core.figures import (
    agreement_frame,
    confusion_frame,
    empty_figure,
    plot_agreement,
    plot_confusion,
    plot_silhouettes,
    plot_umap,
    silhouette_frame,
    umap_frame,
)
from scetm_core.requests import EvaluationRequest
from scetm_core.runs import Run

dash.register_page(
    __name__, path="/evaluate", name="Evaluate", title="Evaluate · scETM Studio", order=120, group="Judge"
)  # fmt: skip

OF_THE_RUN = ("test_nll", "topic_coherence", "topic_diversity")
"""Scores of the training and its topics, which do not depend on the columns chosen here."""


def layout(run: str | None = None, labels: str | None = None, batches: str | None = None, **_: str) -> Component:
    """The page, for the run's own columns unless the URL names others."""
    question = "Is this result good, and how sure is that?"
    opened = open_result("Evaluate", question, run)
    if not isinstance(opened, Opened):
        return opened
    groups, data = opened.grouping_columns(), opened.run.config.data
    label_key, batch_key = (
        next((name for name in (asked, own) if name in (*groups, parts.NONE)), parts.NONE)
        for asked, own in ((labels, data.label_key), (batches, data.batch_key))
    )
    return page(
        "Evaluate",
        question,
        opened.store,
        dcc.Store(id=parts.TABLE_NAME, data=parts.name_of(keys.DELTA, label_key, batch_key)),
        parts.controls(opened, label_key=label_key, batch_key=batch_key),
        task_view(parts.TASK),
        html.Div(id=parts.SAID, role="status"),
        parts.scores_card(),
        html.Div(parts.before(), id=parts.BEFORE, style={"display": "none"}),
        html.Div(parts.after(), id=parts.AFTER, style={"display": "none"}),
        numbers.section(opened.run),
    )


follow_task(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))
offer_table(parts.TASK, parts.KIND, (parts.TABLE_NAME, "data"))


@callback(
    Output(parts.TABLE_NAME, "data"),
    Input(parts.USE_REP, "value"),
    Input(parts.LABEL, "value"),
    Input(parts.BATCH, "value"),
    prevent_initial_call=True,
)
def choose_columns(use_rep: str, label_key: str, batch_key: str) -> str:
    """Look at the scores of another choice of columns."""
    return parts.name_of(use_rep, label_key, batch_key)


@callback(
    Output(tick_of(parts.TASK), "disabled", allow_duplicate=True),
    Output({"type": "request", "task": parts.TASK, "name": dash.ALL}, "error"),
    Input(parts.START, "n_clicks"),
    State(parts.USE_REP, "value"),
    State(parts.LABEL, "value"),
    State(parts.BATCH, "value"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "id"),
    State({"type": "request", "task": parts.TASK, "name": dash.ALL}, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def start_evaluation(
    n_clicks: int | None, use_rep: str, label_key: str, batch_key: str, ids_: list[Any], values: list[Any], run_id: str
) -> tuple[Any, list[Any]]:
    """Ask for the scores; what is wrong with a field is said beside it."""
    if not n_clicks:
        return no_update, [no_update] * len(ids_)
    given = {
        "use_rep": use_rep, "label_key": parts.column_in(label_key), "batch_key": parts.column_in(batch_key)
    }  # fmt: skip
    request, errors = read_request(EvaluationRequest, ids_, values, given=given)
    if request is not None:
        tasks.ask(studio.open_run(run_id), parts.name_of(use_rep, label_key, batch_key), request)
    return (no_update if request is None else False), errors


@callback(
    Output(parts.CARDS, "children"),
    Output(parts.SAID, "children"),
    Output(parts.BEFORE, "style"),
    Output(parts.AFTER, "style"),
    Output(parts.START, "children"),
    Input(stamp_of(parts.TASK), "data"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def show_scores(stamp: str | None, name: str, run_id: str) -> tuple[Any, Any, dict[str, str], dict[str, str], str]:
    """The cards: with intervals once evaluated; before, the scores the run ended with."""
    hidden: dict[str, str] = {"display": "none"}
    run = studio.open_run(run_id)
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None:
        values = scores_of_run(run, name)
        before = hidden if stamp is None else {}
        return score_cards(values, {}), None, before, hidden, "Evaluate"
    overall = table[table["label"] == ""].set_index("score")
    values, errors = ({str(score): value for score, value in overall[column].items()} for column in ("value", "se"))
    values |= scores_of_topics(run)
    request = table.attrs["request"]
    said = " ".join(
        [
            *table.attrs["sentences"],
            f"{request['n_repeats']} random halves of {len(studio.load_result(run_id)):,} cells, "
            f"{table.attrs['seconds']:.1f} s.",
        ]
    )
    text = dmc.Text(said, size="sm", c="dimmed", className="numbers")
    return score_cards(values, errors), text, hidden, {}, "Evaluate again"


def scores_of_run(run: Run, name: str) -> dict[str, Any]:
    """What the run itself reported: all its scores if they are about these columns, else those of its topics."""
    data = run.config.data
    is_about_these = name == parts.name_of(keys.DELTA, data.label_key, data.batch_key)
    return run.evaluation() if is_about_these else scores_of_topics(run)


def scores_of_topics(run: Run) -> dict[str, Any]:
    """What the run reported of its training and topics, whatever the columns."""
    scores = run.evaluation()
    return {score: scores.get(score) for score in OF_THE_RUN}


@callback(
    Output(parts.CONFUSION, "figure"),
    Output(parts.CLUSTER_MAP, "figure"),
    Output(legend_id(parts.CLUSTER_MAP), "children"),
    Output(parts.CLUSTERS_SAID, "children"),
    Output(parts.AGREEMENT, "figure"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.AFTER, "style"),
    Input(parts.RESOLUTION, "value"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_clusters(
    stamp: str | None, _shown: dict[str, str], step: int, name: str, run_id: str
) -> tuple[Any, Any, Any, Any, Any]:
    """Cluster the cells at the slider's resolution, and lay the clusters against the labels."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None:
        return (no_update,) * 5
    resolution = parts.RESOLUTIONS[int(step)]
    result, request = studio.load_result(run_id), table.attrs["request"]
    clusters = clusters_at(run_id, name, resolution, request["seed"])
    said = f"{resolution:.3g}: {clusters.max() + 1} clusters"
    names = pd.Series(clusters.astype(str), index=result.obs_names)
    label_key = request["label_key"]
    if label_key:
        from scetm_core.evaluation import agreement

        ari, nmi = agreement(result.obs[label_key], clusters)
        said += f", ARI {number(ari)}, NMI {number(nmi)}"
    labels = result.obs[label_key] if label_key else pd.Series(None, index=result.obs_names, dtype=object)
    cells = plot_umap(cluster_frame(run_id, clusters))
    return (
        plot_confusion(confusion_frame(labels, names)),
        cells,
        legend_of(cells, parts.CLUSTER_MAP),
        said,
        plot_agreement(agreement_frame(table), resolution=resolution),
    )


def clusters_at(run_id: str, name: str, resolution: float, seed: int) -> np.ndarray:
    """Clusters of the neighbours that lie beside a table of scores; kept, since the slider goes to and fro."""
    path = studio.open_run(run_id).table_path(parts.KIND, name).with_suffix(".npz")
    return _clusters_at(path, path.stat().st_mtime_ns, resolution, seed)


@functools.lru_cache(maxsize=64)
def _clusters_at(path: Path, stamp: int, resolution: float, seed: int) -> np.ndarray:
    from scetm_core.evaluation import recluster

    return recluster(*_read_neighbors(path, stamp), resolution=resolution, seed=seed)


@functools.lru_cache(maxsize=2)
def _read_neighbors(path: Path, stamp: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["indices"], arrays["distances"]


def cluster_frame(run_id: str, clusters: np.ndarray) -> pd.DataFrame:
    """The map of cells, coloured by clusters that are no column of the result."""
    import anndata as ad

    result = studio.load_result(run_id)
    order = pd.Index([str(cluster) for cluster in range(int(clusters.max()) + 1)], dtype=object)
    categories = pd.Categorical.from_codes(clusters, order)
    shown = ad.AnnData(obs=pd.DataFrame({"cluster": categories}, index=result.obs_names))
    if keys.X_UMAP in result.obsm:
        shown.obsm[keys.X_UMAP] = result.obsm[keys.X_UMAP]
    return umap_frame(shown, color="cluster")


@callback(
    Output(parts.SILHOUETTES, "figure"),
    Output(parts.MIX_MAP, "figure"),
    Input(stamp_of(parts.TASK), "data"),
    Input(parts.AFTER, "style"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
)
def draw_mixing(stamp: str | None, _shown: dict[str, str], name: str, run_id: str) -> tuple[Any, Any]:
    """Silhouettes of each label in each batch, and the batches around each cell."""
    table = studio.load_table(run_id, parts.KIND, name) if stamp else None
    if table is None:
        return no_update, no_update
    path = studio.open_run(run_id).table_path(parts.KIND, name).with_suffix(".npz")
    with np.load(path, allow_pickle=False) as arrays:
        mix = arrays["n_batches_near"] if "n_batches_near" in arrays.files else None
    if mix is None:
        cells = empty_figure("No batch column is chosen, so that there is nothing to mix.")
    else:
        result = studio.load_result(run_id)
        title = "effective number of batches nearby"
        frame = umap_frame(result, color=title, values=pd.Series(mix, index=result.obs_names))
        frame.attrs["unit"] = ""
        cells = plot_umap(frame)
    return plot_silhouettes(silhouette_frame(table)), cells


clientside_callback(
    "function (label, batch, run) { window.scetm.keepInUrl({run: run, labels: label, batches: batch}, []); }",
    Input(parts.LABEL, "value"),
    Input(parts.BATCH, "value"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)


@callback(
    Output(csv_download(parts.CONFUSION), "data"),
    Input(csv_button(parts.CONFUSION), "n_clicks"),
    State(parts.RESOLUTION, "value"),
    State(parts.TABLE_NAME, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def download_confusion(n_clicks: int | None, step: int, name: str, run_id: str) -> Any:
    """Labels x clusters, numbers of cells, as CSV."""
    table = studio.load_table(run_id, parts.KIND, name) if n_clicks else None
    if table is None:
        return no_update
    request, resolution = table.attrs["request"], parts.RESOLUTIONS[int(step)]
    if not request["label_key"]:
        return no_update
    clusters = clusters_at(run_id, name, resolution, request["seed"])
    labels = studio.load_result(run_id).obs[request["label_key"]]
    counts = confusion_frame(labels, pd.Series(clusters.astype(str), index=labels.index))
    return dcc.send_data_frame(counts.to_csv, f"{run_id}-clusters-{resolution:g}.csv")
