"""Which figures show a transfer? Source and target on one map, labels given, cells flagged, topics used."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.figures import (
    confusion_frame,
    default_point_size,
    empty_frame,
    flagged_frame,
    plot_confusion,
    plot_flagged,
    plot_topic_use,
    plot_umap,
    side_frames,
    topic_use_frame,
)
from scetm_core.gallery._entry import TRANSFER, Entry, Opened, read_table, stem
from scetm_core.transfer import source_labels, source_theta

SIDES = ("source", "target")


def transfer_entries(opened: Opened) -> Iterator[Entry]:
    """Nothing for a run that was trained on its own data."""
    settings = opened.run.config.transfer
    if settings is None:
        return
    obs, label = opened.result.obs, opened.run.config.data.label_key
    yield from _map_entries(opened)
    if label is not None and label in obs:
        yield Entry(
            name="transfer-labels",
            section=TRANSFER,
            title="Labels given against labels known",
            caption=f"Which share of the cells of each {label} of the target was given which label of the source.",
            frame=lambda: confusion_frame(obs[label], obs[keys.TRANSFERRED_LABEL]),
            draw=functools.partial(plot_confusion, column="label given"),
        )
    groups = label if label is not None and label in obs else keys.TRANSFERRED_LABEL
    if keys.UNLIKE_SOURCE in obs:
        yield Entry(
            name="transfer-flagged",
            section=TRANSFER,
            title="Cells unlike the source",
            caption=f"Share of the target's cells, by {groups}, that are flagged as unlike the source's; dotted: what "
            "is expected of cells like them.",
            frame=lambda: flagged_frame(obs[groups], obs[keys.UNLIKE_SOURCE]),
            draw=functools.partial(plot_flagged, rate=settings.false_positive_rate),
            is_wide=False,
        )
    yield Entry(
        name="transfer-topics",
        section=TRANSFER,
        title="Topics used more or less in the target",
        caption="Mean theta over the cells of source and target: the 15 topics that differ most.",
        frame=lambda: topic_use_frame(source_theta(opened.run), np.asarray(opened.result.obsm[keys.THETA])),
        draw=functools.partial(plot_topic_use, topic_names=opened.names),
        is_wide=False,
    )


def _map_entries(opened: Opened) -> Iterator[Entry]:
    joint = keys.JOINT_MAP_TABLE in opened.run.tables(keys.TRANSFER_FOLDER)
    for is_joint in (False, True) if joint else (False,):
        where = "both laid out together" if is_joint else "the source's map"
        frames = functools.cache(functools.partial(_side_frames, opened, is_joint=is_joint))
        for place, side in enumerate(SIDES):

            def frame(*, place: int = place, frames: functools._lru_cache_wrapper[object] = frames) -> pd.DataFrame:
                return _frame_of(frames(), place)

            yield Entry(
                name=stem("transfer", "joint-map" if is_joint else "map", side),
                section=TRANSFER,
                title=f"Cells of the {side}, {where}",
                caption=f"Cells of the {side} by label (of the target: the label given), {where}; in grey the other "
                "side's cells.",
                frame=frame,
                draw=_draw_side,
                is_wide=False,
            )


def _frame_of(found: object, place: int) -> pd.DataFrame:
    """One side, with the places of the other."""
    if isinstance(found, str):
        return empty_frame(found)
    assert isinstance(found, tuple)
    frame: pd.DataFrame = found[place]
    frame.attrs["behind"] = found[1 - place][["x", "y"]].to_numpy(dtype=np.float32)
    frame.attrs["n_in_all"] = sum(map(len, found))
    return frame


def _side_frames(opened: Opened, *, is_joint: bool) -> tuple[pd.DataFrame, pd.DataFrame] | str:
    """Source and target on one map, or why not."""
    run, result = opened.run, opened.result
    settings = run.config.transfer
    assert settings is not None
    try:
        source = run.source
        origin = source.load_result()
    except RunError as error:
        return str(error)
    column = source_labels(source, origin.obs, settings)
    if is_joint:
        table = read_table(run, keys.TRANSFER_FOLDER, keys.JOINT_MAP_TABLE)
        if len(table) != origin.n_obs + result.n_obs:
            return "the joint map is of other cells. Lay them out again."
        xy = table[["x", "y"]].to_numpy(np.float32)
        places = xy[: origin.n_obs], xy[origin.n_obs :]
    elif keys.X_UMAP in origin.obsm and keys.X_UMAP in result.obsm:
        places = np.asarray(origin.obsm[keys.X_UMAP]), np.asarray(result.obsm[keys.X_UMAP])
    else:
        return "the source, or this transfer, has no map."
    stored = origin.uns.get(f"{column}_colors")
    names = origin.obs[column].astype("category").cat.categories.astype(str)
    colors = None if stored is None else dict(zip(names, map(str, stored), strict=False))
    values = origin.obs[column], result.obs[keys.TRANSFERRED_LABEL]
    return side_frames(places, values, title=column, colors=colors)


def _draw_side(frame: pd.DataFrame) -> go.Figure:
    size = default_point_size(frame.attrs["n_in_all"])
    return plot_umap(frame, point_size=size, behind=frame.attrs["behind"])
