"""Which topics does each group of cells use?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._heatmap import name_rows, outline_topic, topic_heatmap
from scetm_core.figures._result import empty_frame, group_colors, reason_of, topic_values
from scetm_core.figures._theme import empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

N_GROUPS_AT_MOST = 500


def topic_mean_frame(
    result: ad.AnnData, *, groupby: str, use_rep: str = keys.THETA, topics: Sequence[int] | None = None
) -> pd.DataFrame:
    """Mean of each topic over the cells of each group.

    Parameters
    ----------
    result
        With theta or delta in obsm.
    groupby
        Column of obs with categories; cells without one are left out.
    use_rep
        "theta": share of the topic in a cell, between 0 and 1. "delta": its unnormalised strength, signed.
    topics
        Numbers of the topics to show; by default all.

    Returns
    -------
    Groups x topics; theta's rows sum to 1 over all topics. Groups as the column orders them; topics follow the group
    that uses them most, which makes the picture nearly block-diagonal. `attrs`: `groupby`, `use_rep`, `sizes` (group
    -> cells), `n_missing`, `n_topics_in_all`. Empty, with `attrs["reason"]`, if there is no such column or it is no
    grouping.
    """
    values = topic_values(result, use_rep)
    if values.empty:
        return values
    if groupby not in result.obs:
        return empty_frame(f"The cells have no column '{groupby}'. Pick another grouping.")
    groups = result.obs[groupby]
    n_groups = groups.nunique()
    if n_groups == 0 or n_groups > N_GROUPS_AT_MOST:
        return empty_frame(f"'{groupby}' has {n_groups:,} different values and is no grouping. Pick another column.")
    shown = values.columns if topics is None else values.columns[list(topics)]
    if not len(shown):
        return empty_frame("No topic was chosen. Pick at least one.")
    groups = groups.astype("category").cat.remove_unused_categories()
    means = values[shown].groupby(groups, observed=True).mean()
    order = np.lexsort((-means.to_numpy().max(axis=0), means.to_numpy().argmax(axis=0)))
    frame = means.iloc[:, order]
    frame.index = pd.Index([str(name) for name in frame.index], name=groupby)
    sizes = groups.value_counts(sort=False)
    frame.attrs |= {
        "groupby": groupby,
        "use_rep": use_rep,
        "sizes": {str(name): int(size) for name, size in sizes.items()},
        "n_missing": int(groups.isna().sum()),
        "n_topics_in_all": values.shape[1],
    }
    return frame


def topic_by_group_frame(result: ad.AnnData, topic: int, *, groupby: str) -> pd.DataFrame:
    """Mean theta of one topic in each group of cells.

    Returns
    -------
    `group`, `mean` (0 to 1), `n_cells`, `color` as on the map; the highest mean first. Empty, with `attrs["reason"]`,
    if there is no such topic or grouping.
    """
    means = topic_mean_frame(result, groupby=groupby, topics=[topic])
    if means.empty:
        return means
    colors = group_colors(result, groupby)
    frame = pd.DataFrame({"group": means.index.astype(str), "mean": means.iloc[:, 0].to_numpy()})
    frame["n_cells"] = [means.attrs["sizes"][name] for name in means.index]
    frame["color"] = [colors[name] for name in frame["group"]]
    frame = frame.sort_values("mean", ascending=False, kind="stable").reset_index(drop=True)
    frame.attrs = {"groupby": groupby}
    return frame


def plot_topic_by_group(frame: pd.DataFrame) -> go.Figure:
    """Bars, the highest on top; of more than 20 groups the first 20, which is said."""
    if frame.empty:
        return empty_figure(reason_of(frame))
    shown = frame.head(20)
    figure = new_figure(uirevision="topic-by-group")
    figure.add_trace(
        go.Bar(
            x=shown["mean"], y=np.arange(len(shown))[::-1], orientation="h", marker={"color": list(shown["color"])},
            customdata=shown["n_cells"], hovertemplate="%{x:.3f}, %{customdata:,} cells<extra></extra>",
        )
    )  # fmt: skip
    names = [plain_text(name) for name in shown["group"]]
    figure.update_yaxes(tickvals=np.arange(len(shown))[::-1], ticktext=names, ticks="", showgrid=False)
    left_out = f" (highest 20 of {len(frame)} groups)" if len(frame) > len(shown) else ""
    figure.update_xaxes(title=f"mean theta{left_out}", rangemode="tozero", nticks=4, tickangle=0)
    figure.update_layout(bargap=0.25, dragmode=False, margin={"l": 8, "r": 12, "t": 4, "b": 8}, showlegend=False)
    return figure


def plot_topic_heatmap(
    frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None, selected_topic: int | None = None
) -> go.Figure:
    """Draw groups x topics, with the number of cells beside each group's name.

    Parameters
    ----------
    frame
        From `topic_mean_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    selected_topic
        Number of the topic whose column gets a frame.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    attrs = frame.attrs
    what, n_topics = f"mean {attrs['use_rep']}", attrs["n_topics_in_all"]
    some = f" ({frame.shape[1]} of {n_topics} topics)" if frame.shape[1] < n_topics else ""
    left_out = (
        f" ({attrs['n_missing']:,} cells without {plain_text(attrs['groupby'])} left out)" if attrs["n_missing"] else ""
    )
    figure = topic_heatmap(
        frame,
        topic_names=topic_names,
        uirevision=f"topic-mean-{attrs['use_rep']}",
        signed=attrs["use_rep"] != keys.THETA,
        unit=what + some + left_out,
        hover="%{text}<br>topic_%{x}: " + what + " %{z:.3f}",
    )
    names = [plain_text(name) for name in frame.index]
    figure.data[0].text = [[name] * frame.shape[1] for name in names]
    shown = [f"{text} ({attrs['sizes'][name]:,})" for name, text in zip(frame.index, names, strict=True)]
    name_rows(figure, shown, row_height=20)
    if selected_topic is not None:
        outline_topic(figure, frame, selected_topic)
    return figure
