"""How strong is each topic in single cells, side by side with what is known about them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._colors import MISSING_COLOR, category_colors
from scetm_core.figures._heatmap import TOP, outline_topic, topic_heatmap
from scetm_core.figures._result import empty_frame, reason_of, topic_values
from scetm_core.figures._theme import empty_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

MIN_MEAN = 0.15
"""Topics whose mean absolute delta is lower are left out: the paper's sum of 1,500 over 10,000 cells."""
MISSING = "missing"
N_NAMED = 24
"""Categories of a colour bar that its legend lists; hovering over the bar names all."""
_LEAF = 16
"""Cells that are no longer split; a hundredth of all, if that is more: less than the eye tells apart."""
_HEIGHT = 520
_BAR_WIDTH = 0.025
_LEGEND_ROW = 19


def cell_topic_frame(
    result: ad.AnnData,
    *,
    n_cells: int = 10_000,
    annotations: Sequence[str] = (),
    topics: Sequence[int] | None = None,
    min_mean: float = MIN_MEAN,
    seed: int = 0,
) -> pd.DataFrame:
    """Values of delta of sampled cells in the topics that matter (the paper's Figure 6b).

    Parameters
    ----------
    result
        With delta in obsm.
    n_cells
        Sample of cells, drawn without regard to groups; all if there are fewer.
    annotations
        Columns of obs shown as colour bars; the first groups the cells. Unknown ones are passed over.
    topics
        Numbers of the topics to show, whatever `min_mean`; by default those above it.
    min_mean
        Topics with a lower mean absolute delta are left out; if that leaves none, all stay.
    seed
        Of the sample.

    Returns
    -------
    Cells x topics; the index has the levels "cell" and one for each annotation. Within a group (of the first
    annotation; without one, of cells with the same strongest topic) cells are clustered by `_clustered`; topics
    follow the group in which they are strongest. `attrs`: `n_cells_in_all`, `n_topics_in_all`, `colors` (annotation
    -> category -> colour).
    """
    delta = topic_values(result, keys.DELTA)
    if delta.empty:
        return delta if len(result) else empty_frame("The result holds no cells.")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(delta), min(n_cells, len(delta)), replace=False))
    shown = [column for column in dict.fromkeys(annotations) if column in result.obs]
    marks = {
        column: result.obs[column].iloc[rows].astype("category").cat.remove_unused_categories() for column in shown
    }
    values = delta.to_numpy()[rows]
    chosen = _strong(values, min_mean) if topics is None else np.array(topics, dtype=int)
    if not len(chosen):
        return empty_frame("No topic was chosen. Pick at least one.")
    values = values[:, chosen]
    groups = _last_if_missing(marks[shown[0]]) if shown else values.argmax(axis=1)
    columns = _by_group(values, groups)
    values = values[:, columns]
    leaf = max(_LEAF, len(values) // 100)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    order = np.concatenate([_clustered(values, cells, leaf) for cells in members])
    names = [delta.index[rows].to_numpy()[order], *(_texts(marks[column])[order] for column in shown)]
    frame = pd.DataFrame(
        values[order],
        index=pd.MultiIndex.from_arrays(names, names=["cell name" if "cell" in shown else "cell", *shown]),
        columns=delta.columns[chosen[columns]],
    )
    colors = {column: _colors(result, column, marks[column]) for column in shown}
    frame.attrs |= {"n_cells_in_all": delta.shape[0], "n_topics_in_all": delta.shape[1], "colors": colors}
    return frame


def _strong(values: np.ndarray, min_mean: float) -> np.ndarray:
    strong = np.flatnonzero(np.abs(values).mean(axis=0) >= min_mean)
    return strong if len(strong) else np.arange(values.shape[1])


def _clustered(values: np.ndarray, rows: np.ndarray, leaf: int) -> np.ndarray:
    """The rows in the order of a divisive clustering: similar cells stand together.

    Principal direction divisive partitioning (Boley 1998): cells are split at their mean along their leading
    principal component, each half again along its own, down to `leaf` cells, which are sorted along theirs. It needs
    no distances between all pairs of cells: 10,000 cells x 50 topics take a tenth of a second.
    """
    scores = _leading_component(values[rows])
    low, high = rows[scores < 0], rows[scores >= 0]
    if len(rows) <= leaf or not len(low) or not len(high):
        return np.asarray(rows[np.argsort(scores, kind="stable")])
    return np.concatenate([_clustered(values, low, leaf), _clustered(values, high, leaf)])


def _leading_component(values: np.ndarray) -> np.ndarray:
    """Scores along the leading component, pointing to more of the topic that varies most along it."""
    centred = values - values.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    return np.asarray(centred @ direction * (1 if direction[np.abs(direction).argmax()] > 0 else -1))


def _last_if_missing(marks: pd.Series) -> np.ndarray:
    codes = marks.cat.codes.to_numpy().astype(int)
    return np.where(codes < 0, len(marks.cat.categories), codes)


def _by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Order of the columns: by the group in whose cells they are strongest on average, strongest first."""
    present, numbers = np.unique(groups, return_inverse=True)
    members = np.zeros((len(present), len(values)), dtype=np.float32)
    members[numbers, np.arange(len(values))] = 1
    means = (members @ values) / members.sum(axis=1, keepdims=True)
    order: np.ndarray = np.lexsort((-means.max(axis=0), means.argmax(axis=0)))
    return order


def _texts(marks: pd.Series) -> np.ndarray:
    names = np.array([*(str(name) for name in marks.cat.categories), MISSING], dtype=object)
    texts: np.ndarray = names[_last_if_missing(marks)]
    return texts


def _colors(result: ad.AnnData, column: str, marks: pd.Series) -> dict[str, str]:
    """Colours as on the map of cells: by the categories of the whole column where it has some."""
    whole = result.obs[column].astype("category").cat.categories
    own = result.uns.get(f"{column}_colors")
    colors = category_colors([str(name) for name in whole], list(own) if isinstance(own, (list, np.ndarray)) else None)
    shown = {str(name): colors[str(name)] for name in marks.cat.categories}
    return {**shown, MISSING: MISSING_COLOR} if marks.isna().any() else shown


def plot_cell_topic_heatmap(
    frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None, selected_topic: int | None = None
) -> go.Figure:
    """Draw cells x topics with a colour bar per annotation at the left; how many cells were sampled is said.

    Names of cells are not part of the picture, which keeps it small: 10,000 cells x 50 topics are 2.7 MB.

    Parameters
    ----------
    frame
        From `cell_topic_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    selected_topic
        Number of the topic whose column gets a frame.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    n_all, n_topics = frame.attrs["n_cells_in_all"], frame.attrs["n_topics_in_all"]
    cells = f"{len(frame):,} cells sampled of {n_all:,}" if len(frame) < n_all else f"all {n_all:,} cells"
    topics = f", {frame.shape[1]} of {n_topics} topics" if frame.shape[1] < n_topics else ""
    figure = topic_heatmap(
        frame,
        topic_names=topic_names,
        uirevision="cell-topic",
        signed=True,
        unit=f"delta ({cells}{topics})",
        hover="topic_%{x}: delta %{z:.2f}",
    )
    figure.data[0].y = None  # by its place
    figure.update_yaxes(showticklabels=False)
    annotations = list(frame.index.names[1:])
    figure.update_xaxes(domain=[_BAR_WIDTH * 1.2 * len(annotations), 1])
    for place, column in enumerate(annotations):
        _add_side_bar(figure, frame, column=str(column), place=place)
    if selected_topic is not None:
        outline_topic(figure, frame, selected_topic)
    names_below = 12 + 7 * max((len(str(column)) for column in annotations), default=0)
    n_rows = max((min(len(colors), N_NAMED + 1) + 2 for colors in frame.attrs["colors"].values()), default=0)
    below = names_below + _LEGEND_ROW * n_rows
    figure.update_layout(
        height=(figure.layout.margin.t or TOP) + _HEIGHT + below,
        margin={"b": below},
        legend={"orientation": "h", "y": -names_below / _HEIGHT, "yanchor": "top", "x": 0},
    )
    figure.update_layout(legend={"itemclick": False, "itemdoubleclick": False, "grouptitlefont": {"size": 12}})
    return figure


def _add_side_bar(figure: go.Figure, frame: pd.DataFrame, *, column: str, place: int) -> None:
    """One annotation as a narrow column of colours, with its categories in the legend."""
    colors: Mapping[str, str] = frame.attrs["colors"][column]
    marks = frame.index.get_level_values(column)
    codes = pd.Categorical(marks, categories=list(colors)).codes
    starts = np.flatnonzero(np.diff(codes, prepend=-1))  # a row for each run of equal cells keeps the figure small
    axis = f"xaxis{place + 2}"
    steps = np.repeat(np.linspace(0, 1, len(colors) + 1), 2)[1:-1]
    scale = [[float(at), color] for at, color in zip(steps, np.repeat(list(colors.values()), 2), strict=True)]
    figure.add_trace(
        go.Heatmap(
            z=codes[starts, None].astype(np.int16),
            x=[plain_text(column)],
            y=np.append(starts, len(codes)) - 0.5,  # edges
            xaxis=axis.replace("axis", ""),
            colorscale=scale,
            zmin=-0.5,
            zmax=len(colors) - 0.5,
            showscale=False,
            text=np.array([plain_text(name) for name in colors])[codes[starts], None],
            hovertemplate=f"{plain_text(column)}: %{{text}}<extra></extra>",
            name=plain_text(column),
        )
    )
    start = _BAR_WIDTH * 1.2 * place
    bare = {"ticks": "", "showgrid": False, "showline": False, "automargin": False, "fixedrange": True}
    names_axis = {"tickangle": -90, "tickfont": {"size": 11}, "domain": [start, start + _BAR_WIDTH], "anchor": "y"}
    figure.update_layout({axis: {**bare, **names_axis}})
    for row, (name, color) in enumerate(_named(colors).items()):
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                marker={"color": color, "size": 9, "symbol": "square"},
                name=plain_text(name),
                legendgroup=column,
                legendgrouptitle={"text": plain_text(column)} if row == 0 else {},
                hoverinfo="skip",
            )
        )


def _named(colors: Mapping[str, str]) -> dict[str, str]:
    """What the legend lists: the first `N_NAMED`, and how many more there are."""
    if len(colors) <= N_NAMED + 1:
        return dict(colors)
    return {**dict(list(colors.items())[:N_NAMED]), f"and {len(colors) - N_NAMED:,} more": "rgba(0, 0, 0, 0)"}
