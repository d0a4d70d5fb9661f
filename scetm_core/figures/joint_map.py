"""Which genes lie near which topics? One map of both (the paper's Figure 5c), and the surroundings of one topic."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._labels import place_labels
from scetm_core.figures._result import empty_frame, reason_of, topic_label
from scetm_core.figures._theme import (
    ACCENT,
    LABEL_BACKGROUND,
    MUTED,
    add_annotations,
    empty_figure,
    new_figure,
    plain_text,
)

TOPIC = "topic"
NOUNS = {"gene": "Genes", "set": "Gene sets"}
POINT_COLOR = "#97a0ab"
TOPIC_COLOR = "#5c6773"
_MAP_WIDTH, _ZOOM_WIDTH = 560, 400
"""Pixels of figures of middling width, for keeping labels apart."""
_NEAREST_SHOWN = 30
_WIDEST_ZOOM = 0.16
"""A neighbourhood reaches to that many points, and to most leading ones if they are within this share of the map."""
_MOST_NAMES, _LONGEST_NAME = 45, 32


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """Some points of the map, and how they are marked."""

    name: str
    members: Collection[str] = field(repr=False)
    color: str
    symbol: str = "circle"
    size: float = 7


def joint_map_frame(
    table: pd.DataFrame | None, *, highlights: Sequence[Highlight] = (), labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Genes (or gene sets) and topics with their places, and who is highlighted.

    Parameters
    ----------
    table
        `name`, `kind`, `x`, `y` as `scetm_core.joint_map` works them out; None if that is still to be done.
    highlights
        Those that have a member on the map get a column of yes and no, called by their name; later ones are drawn
        over earlier ones.
    labels
        What points are called in the figure, where that is not their name: symbols of genes that are named by ids.

    Returns
    -------
    `name`, `label`, `kind`, `x`, `y`, then a column per highlight; `attrs["highlights"]` says how these look. Empty,
    with `attrs["reason"]`, if there is no map.
    """
    if table is None or table.empty:
        return empty_frame("There is no map yet. It is worked out once, in some seconds, and kept with the run.")
    frame = table[["name", "kind", "x", "y"]].reset_index(drop=True)
    shown = frame["name"].map(labels).fillna(frame["name"]) if labels else frame["name"]
    frame.insert(1, "label", shown)
    is_point, found = frame["kind"] != TOPIC, []
    for highlight in highlights:
        inside = frame["name"].isin(set(highlight.members)) & is_point
        if inside.any():
            frame[highlight.name] = inside
            found.append(highlight)
    frame.attrs = {"highlights": found}
    return frame


def topic_place(frame: pd.DataFrame, topic: int) -> tuple[float, float] | None:
    """Where a topic lies on the map; None if it has no place."""
    rows = frame[(frame["kind"] == TOPIC) & (frame["name"] == keys.topic_name(topic))]
    return None if rows.empty else (float(rows["x"].iloc[0]), float(rows["y"].iloc[0]))


def neighborhood(frame: pd.DataFrame, topic: int, *, leaders: Collection[str] = ()) -> tuple[float, ...] | None:
    """The square around a topic that holds its nearest points, and most of its leading ones if they are not far.

    Returns
    -------
    Left, right, bottom, top; None if the map is empty or the topic has no place on it.
    """
    if frame.empty or (place := topic_place(frame, topic)) is None:
        return None
    points = frame[frame["kind"] != TOPIC]
    distances = np.abs(points[["x", "y"]].to_numpy(dtype=float) - place).max(axis=1)
    nearest = float(np.sort(distances)[:_NEAREST_SHOWN][-1])
    led = distances[points["name"].isin(set(leaders)).to_numpy()]
    span = float(np.ptp(frame[["x", "y"]].to_numpy(dtype=float), axis=0).max()) or 1.0
    reach = float(np.quantile(led, 0.6)) if len(led) else 0.0
    half = 1.15 * max(nearest, reach if reach <= _WIDEST_ZOOM * span else 0.0, 0.01 * span)
    return place[0] - half, place[0] + half, place[1] - half, place[1] + half


def plot_joint_map(
    frame: pd.DataFrame,
    *,
    topic: int | None = None,
    topic_names: Mapping[str, str] | None = None,
    names: bool = True,
    window: Sequence[float] | None = None,
) -> go.Figure:
    """Draw genes (or gene sets) as grey points, highlights in colour, topics as labelled marks.

    Parameters
    ----------
    frame
        From `joint_map_frame`.
    topic
        Number of the topic in focus.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    names
        Write numbers and names beside the topics, as far as they find a place.
    window
        From `neighborhood`: outlined.

    Returns
    -------
    `customdata` of each point, and of each topic, is its row in `frame`.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="joint-map")
    kind = str(frame["kind"].iloc[0])
    points = np.flatnonzero((frame["kind"] != TOPIC).to_numpy())
    size = float(np.clip(40 * max(len(points), 1) ** -0.27, 3, 8))
    figure.add_trace(
        _points(frame, points, trace=go.Scattergl).update(
            name=f"{NOUNS.get(kind, 'Points')} ({len(points):,})",
            marker={"size": size, "color": POINT_COLOR, "opacity": 0.4},
        )
    )
    _add_highlights(figure, frame)
    _add_topics(figure, frame, topic=topic, topic_names=topic_names)
    low, high = frame[["x", "y"]].min().to_numpy(), frame[["x", "y"]].max().to_numpy()
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 0.5) * 1.06
    square = (middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half)
    _label_topics(figure, frame, square, topic=topic, topic_names=topic_names, names=names)
    _lay_out(figure, square)
    _name_axes(figure)
    if window is not None:
        left, right, bottom, top = window
        figure.add_shape(type="rect", x0=left, x1=right, y0=bottom, y1=top, line={"color": ACCENT, "width": 1.5})
    return figure


def plot_neighborhood(
    frame: pd.DataFrame,
    window: Sequence[float] | None,
    *,
    topic: int,
    topic_names: Mapping[str, str] | None = None,
    leaders: Sequence[str] = (),
) -> go.Figure:
    """Draw the part of the map around a topic, with as many names of points as find a place.

    Parameters
    ----------
    frame
        From `joint_map_frame`.
    window
        From `neighborhood`.
    leaders
        Points that are named first, in this order; then other highlighted ones, then the rest from the topic outwards.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    if window is None:
        return empty_figure(f"Topic {topic} has an embedding of zeros, and so no place on the map.")
    left, right, bottom, top = window
    inside = frame[frame["x"].between(left, right) & frame["y"].between(bottom, top)]
    figure = new_figure(uirevision=f"neighborhood-{topic}")
    points = inside.index[inside["kind"] != TOPIC].to_numpy()
    figure.add_trace(
        _points(frame, points, trace=go.Scatter).update(
            marker={"size": 5, "color": POINT_COLOR, "opacity": 0.6}, name="others", showlegend=False
        )
    )
    _add_highlights(figure, frame, within=points)
    _add_topics(figure, frame, topic=topic, topic_names=topic_names, within=inside.index.to_numpy())
    rows = inside.index.to_numpy()
    _label_points(figure, frame, window, rows=rows, topic=topic, topic_names=topic_names, leaders=leaders)
    _lay_out(figure, window)
    figure.update_layout(showlegend=False, margin={"t": 8})
    return figure


def _points(frame: pd.DataFrame, rows: np.ndarray, *, trace: type) -> go.Scatter | go.Scattergl:
    """Points of some rows of the frame, without their colour."""
    labels = frame["label"].to_numpy()[rows]
    return trace(
        x=frame["x"].to_numpy()[rows],
        y=frame["y"].to_numpy()[rows],
        mode="markers",
        customdata=rows.tolist(),  # a typed array would not come back with a click
        text=[plain_text(label) for label in labels],
        hovertemplate="<b>%{text}</b><extra></extra>",
    )


def _add_highlights(figure: go.Figure, frame: pd.DataFrame, *, within: np.ndarray | None = None) -> None:
    """One trace per highlight; real vectors, as they are few."""
    for highlight in frame.attrs["highlights"]:
        rows = np.flatnonzero(frame[highlight.name].to_numpy())
        rows = rows if within is None else np.intersect1d(rows, within)
        ring = {"line": {"width": 2}} if highlight.symbol.endswith("open") else {"line": {"width": 0}}
        figure.add_trace(
            _points(frame, rows, trace=go.Scatter).update(
                name=f"{plain_text(highlight.name)} ({len(rows):,})",
                marker={"size": highlight.size, "color": highlight.color, "symbol": highlight.symbol, **ring},
            )
        )


def _add_topics(
    figure: go.Figure,
    frame: pd.DataFrame,
    *,
    topic: int | None,
    topic_names: Mapping[str, str] | None,
    within: np.ndarray | None = None,
) -> None:
    """The marks of the topics, and a larger one for the topic in focus."""
    is_topic = (frame["kind"] == TOPIC).to_numpy()
    focused = is_topic & (frame["name"] == keys.topic_name(-1 if topic is None else topic)).to_numpy()
    for rows, color, size, name in (
        (np.flatnonzero(is_topic & ~focused), TOPIC_COLOR, 9, "Topics"),
        (np.flatnonzero(focused), ACCENT, 15, f"Topic {topic}"),
    ):
        rows = rows if within is None else np.intersect1d(rows, within)
        if not len(rows):
            continue
        texts = [f"topic {topic_label(name, topic_names)}" for name in frame["name"].to_numpy()[rows]]
        figure.add_trace(
            _points(frame, rows, trace=go.Scatter).update(
                name=name if len(rows) == 1 and color == ACCENT else f"{name} ({len(rows):,})",
                text=texts,
                marker={"size": size, "color": color, "symbol": "diamond", "line": {"color": "white", "width": 1}},
            )
        )


def _label_topics(
    figure: go.Figure,
    frame: pd.DataFrame,
    square: Sequence[float],
    *,
    topic: int | None,
    topic_names: Mapping[str, str] | None,
    names: bool,
) -> None:
    """Numbers and names beside the marks: the topic in focus always, then those with names, then the others."""
    given, called = topic_names or {}, frame["name"].to_numpy()
    focus = keys.topic_name(-1 if topic is None else topic)
    rows = [
        row for row in np.flatnonzero((frame["kind"] == TOPIC).to_numpy()).tolist() if names or called[row] == focus
    ]
    rows.sort(key=lambda row: (called[row] != focus, called[row] not in given))
    texts = [topic_label(called[row], given) for row in rows]
    bold = [called[row] == focus for row in rows]
    _annotate(
        figure,
        frame.iloc[rows],
        [_bold(text, b) for text, b in zip(texts, bold, strict=True)],
        square,
        width=_MAP_WIDTH,
        always=sum(bold),
    )


def _label_points(
    figure: go.Figure,
    frame: pd.DataFrame,
    window: Sequence[float],
    *,
    rows: np.ndarray,
    topic: int,
    topic_names: Mapping[str, str] | None,
    leaders: Sequence[str],
) -> None:
    """Topics, then leading points, then other highlighted ones, then the rest from the middle outwards."""
    called, labels = frame["name"].to_numpy(), frame["label"].to_numpy()
    is_topic, xy = (frame["kind"] == TOPIC).to_numpy(), frame[["x", "y"]].to_numpy(dtype=float)
    columns = [highlight.name for highlight in frame.attrs["highlights"]]
    is_marked = frame[columns].any(axis=1).to_numpy() if columns else np.zeros(len(frame), dtype=bool)
    middle = np.array([(window[0] + window[1]) / 2, (window[2] + window[3]) / 2])
    distance = np.linalg.norm(xy - middle, axis=1)
    rank = {name: place for place, name in enumerate(leaders)}
    focus = keys.topic_name(topic)

    def urgency(row: int) -> tuple[bool, bool, int, bool, float]:
        name = called[row]
        return name != focus, not is_topic[row], rank.get(name, len(rank)), not is_marked[row], distance[row]

    order = sorted(rows.tolist(), key=urgency)[:_MOST_NAMES]
    texts = [
        _bold(f"topic {topic_label(called[row], topic_names)}", called[row] == focus)
        if is_topic[row]
        else _bold(
            plain_text(textwrap.shorten(str(labels[row]), _LONGEST_NAME, placeholder=" …")),
            bool(is_marked[row]) or called[row] in rank,
        )
        for row in order
    ]
    _annotate(figure, frame.iloc[order], texts, window, width=_ZOOM_WIDTH, always=1)


def _bold(text: str, wanted: bool) -> str:
    return f"<b>{text}</b>" if wanted else text


def _annotate(
    figure: go.Figure,
    places: pd.DataFrame,
    texts: Sequence[str],
    square: Sequence[float],
    *,
    width: float,
    always: int,
) -> None:
    """Write texts beside `places` (columns x, y), as many as find room in a figure of that width."""
    scale = width / max(square[1] - square[0], 1e-9)
    xy = places[["x", "y"]].to_numpy(dtype=float)
    plain = [html.unescape(text.removeprefix("<b>").removesuffix("</b>")) for text in texts]
    shifts = place_labels((xy - (square[0], square[2])) * scale, plain, size=(width, width), always=always)
    notes = [
        {
            "x": x, "y": y, "xshift": shift[0], "yshift": shift[1], "text": text, "font": {"size": 11},
            "bgcolor": LABEL_BACKGROUND, "borderpad": 0, "showarrow": False, "captureevents": False,
        }
        for (x, y), text, shift in zip(xy.tolist(), texts, shifts, strict=True)
        if shift is not None
    ]  # fmt: skip
    add_annotations(figure, notes)


def _lay_out(figure: go.Figure, square: Sequence[float]) -> None:
    """A square without ticks."""
    axis = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False, "constrain": "domain"}
    figure.update_xaxes(**axis, range=list(square[:2]))
    figure.update_yaxes(**axis, range=list(square[2:]), scaleanchor="x", scaleratio=1, constraintoward="top")
    below = {"orientation": "h", "yanchor": "top", "y": -0.04, "x": 0.5, "xanchor": "center"}
    figure.update_layout(dragmode="pan", legend=below, margin={"l": 4, "r": 4, "t": 28, "b": 4})


def _name_axes(figure: go.Figure) -> None:
    """Small arrows in the corner."""
    corner = {"xref": "x domain", "yref": "y domain", "x": 0, "y": 0, "showarrow": False}
    for text, place in (
        ("UMAP 1 \u2192", {"xanchor": "left", "yanchor": "bottom", "xshift": 12, "yshift": -6}),
        ("UMAP 2 \u2192", {"xanchor": "left", "yanchor": "bottom", "textangle": -90, "xshift": -6, "yshift": 12}),
    ):
        figure.add_annotation(text=text, font={"size": 11, "color": MUTED}, **place, **corner)
