"""How do the cells of a target lie among those of the source, and what do they use and lack? Figures of a transfer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._result import empty_frame, reason_of, topic_label
from scetm_core.figures._theme import ACCENT, AXIS, MUTED, empty_figure, new_figure, plain_text
from scetm_core.figures.umap import umap_frame

ROW_HEIGHT = 22
"""Pixels of a row with its name."""
_MARGIN = 70


def side_frames(
    places: tuple[np.ndarray, np.ndarray],
    values: tuple[pd.Series, pd.Series],
    *,
    title: str,
    colors: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Place and colour of the cells of a source and of its target, in the same colours.

    Parameters
    ----------
    places
        (n_cells, 2) each, on one map.
    values
        What the cells are coloured by, indexed by cell name: both categories, or both numbers (not-a-number where
        there is none).
    title
        What that is called.
    colors
        Category -> colour, taken if it has one for each.

    Returns
    -------
    As `umap_frame` gives; categories that a side lacks are left out of its frame.
    """
    import anndata as ad

    joined = pd.concat([side.astype(object) for side in values])
    if all(pd.api.types.is_numeric_dtype(side) and not pd.api.types.is_bool_dtype(side) for side in values):
        column: pd.Series = joined.astype(np.float32)
    else:
        column = joined.where(joined.isna(), joined.astype(str)).astype("category")
    numbered = pd.Index([str(number) for number in range(len(joined))])  # both may have cells of one name
    both = ad.AnnData(obs=pd.DataFrame({title: column.array}, index=numbered))
    both.obsm[keys.X_UMAP] = np.concatenate([np.asarray(side, dtype=np.float32) for side in places])
    if colors is not None and column.dtype == "category" and set(column.cat.categories) <= set(colors):
        both.uns[f"{title}_colors"] = [colors[name] for name in column.cat.categories]
    frame = umap_frame(both, color=title)
    frame["cell"] = np.asarray(joined.index, dtype=object)
    n_source = len(values[0])
    return _side(frame, slice(0, n_source)), _side(frame, slice(n_source, None))


def _side(frame: pd.DataFrame, rows: slice) -> pd.DataFrame:
    side = frame.iloc[rows].reset_index(drop=True)
    side.attrs = dict(frame.attrs)
    if side.attrs["kind"] == "category":
        side["color"] = side["color"].cat.remove_unused_categories()
        kept = set(side["color"].cat.categories)
        side.attrs["background"] = [name for name in side.attrs["background"] if name in kept]
    return side


def topic_use_frame(source: np.ndarray, target: np.ndarray) -> pd.DataFrame:
    """How much of the reads does each topic explain in the source, and in the target?

    Parameters
    ----------
    source, target
        (n_cells, n_topics) theta of the cells that are compared.

    Returns
    -------
    One row per topic: `topic` ("topic_7"), `source`, `target` (mean theta), `difference` (target - source); the topic
    with the largest difference first. Empty, with `attrs["reason"]`, if either side has no cell.
    """
    if not len(source) or not len(target):
        return empty_frame("There are no such cells on both sides. Choose another group.")
    means = np.asarray(source).mean(axis=0), np.asarray(target).mean(axis=0)
    frame = pd.DataFrame(
        {
            "topic": [keys.topic_name(topic) for topic in range(len(means[0]))],
            "source": means[0],
            "target": means[1],
            "difference": means[1] - means[0],
        }
    )
    order = np.argsort(-np.abs(frame["difference"].to_numpy()), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def plot_topic_use(
    frame: pd.DataFrame, *, n_topics: int = 15, topic_names: Mapping[str, str] | None = None
) -> go.Figure:
    """Draw the topics that source and target use most differently, the more used in the target on top.

    Parameters
    ----------
    frame
        From `topic_use_frame`.
    n_topics
        How many.
    topic_names
        Names given to topics.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    shown = frame.head(n_topics).sort_values("difference")
    rows = np.arange(len(shown))
    figure = new_figure(uirevision="topic-use")
    for row, source, target in zip(rows, shown["source"], shown["target"], strict=True):
        line = {"color": AXIS, "width": 2}
        figure.add_shape(type="line", x0=source, x1=target, y0=row, y1=row, line=line, layer="below")
    for side, color, symbol in (("source", MUTED, "circle-open"), ("target", ACCENT, "circle")):
        figure.add_trace(
            go.Scatter(
                x=shown[side].to_numpy(np.float32), y=rows, mode="markers", name=side,
                marker={"color": color, "size": 10, "symbol": symbol},
                text=[topic_label(name, topic_names) for name in shown["topic"]],
                hovertemplate=f"%{{text}}, {side}: %{{x:.1%}}<extra></extra>",
            )
        )  # fmt: skip
    names = [topic_label(name, topic_names) for name in shown["topic"]]
    figure.update_yaxes(
        tickmode="array",
        tickvals=rows,
        ticktext=names,
        title={"text": "topic"},
        range=[-0.6, len(shown) - 0.4],
        ticks="",
    )
    figure.update_xaxes(title={"text": "mean share of a cell (theta)"}, tickformat=".0%", rangemode="tozero")
    figure.update_layout(
        height=_MARGIN + ROW_HEIGHT * max(len(shown), 4), dragmode=False, margin={"t": 40},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    return figure


def flagged_frame(groups: pd.Series, flagged: pd.Series) -> pd.DataFrame:
    """Which share of each group of cells is flagged as unlike the source?

    Parameters
    ----------
    groups
        (n_cells,) group of each cell; cells without one are left out.
    flagged
        (n_cells,) true or false.

    Returns
    -------
    One row per group: `group`, `n_cells`, `n_flagged`, `share`; the largest share first.
    """
    known = groups.notna().to_numpy()
    if not known.any():
        return empty_frame("No cell belongs to a group. Choose another column.")
    table = (
        pd.DataFrame({"group": groups[known].astype(str).to_numpy(), "flagged": flagged[known].to_numpy(dtype=bool)})
        .groupby("group")["flagged"]
        .agg(n_cells="size", n_flagged="sum")
        .reset_index()
    )
    table["share"] = table["n_flagged"] / table["n_cells"]
    return table.sort_values(["share", "n_cells"], ascending=False, kind="stable").reset_index(drop=True)


def plot_flagged(frame: pd.DataFrame, *, rate: float) -> go.Figure:
    """Draw the flagged share of each group, with a line at the share that is expected of cells like the source's.

    Parameters
    ----------
    frame
        From `flagged_frame`.
    rate
        The stated false-positive rate.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    shown = frame.iloc[::-1]
    names = [f"{plain_text(group)} ({n:,})" for group, n in zip(shown["group"], shown["n_cells"], strict=True)]
    figure = new_figure(uirevision="flagged")
    figure.add_trace(
        go.Bar(
            x=shown["share"].to_numpy(), y=names, orientation="h", marker={"color": ACCENT},
            customdata=shown["n_flagged"].to_numpy(),
            hovertemplate="%{y}: %{customdata:,} flagged, %{x:.1%}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=rate, line={"color": MUTED, "dash": "dot", "width": 1.5})
    figure.add_annotation(
        x=rate, y=1, yref="paper", yanchor="bottom", xanchor="left", xshift=2, showarrow=False,
        text=f"expected of known cells: {rate:.0%}", font={"size": 11, "color": MUTED},
    )  # fmt: skip
    figure.update_xaxes(title={"text": "share flagged"}, range=[0, 1], tickformat=".0%")
    figure.update_yaxes(ticks="", type="category")
    figure.update_layout(height=_MARGIN + ROW_HEIGHT * max(len(shown), 4), dragmode=False, bargap=0.35)
    return figure
