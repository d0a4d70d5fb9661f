"""Which number of topics do repeated trainings speak for, and which of their topics come back?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scetm_core.figures._heatmap import name_rows, topic_heatmap
from scetm_core.figures._result import empty_frame, reason_of, topic_label
from scetm_core.figures._theme import ACCENT, MUTED, TEMPLATE, empty_figure, new_figure, plain_text

ALIGNED = "test_nll_aligned"
PANELS = {
    ALIGNED: ("held-out NLL", "nats, less is better"),
    "stability": ("stability", "1: same topics again"),
    "topic_coherence": ("coherence", "NPMI, more is better"),
    "topic_diversity": ("diversity", "more is better"),
    "ari": ("ARI", "agreement with labels"),
}
"""Column -> title of its panel, and what to read from it; short enough for half a phone."""
PANEL_HEIGHT, _ABOVE_PANEL = 190, 62
"""Pixels: of a panel with its titles, and from the axis above it to its own."""
_ROW = 18


class Matched(Protocol):
    """Topics of two trainings, paired one to one: `metrics.matching.Matching`."""

    @property
    def similarity(self) -> pd.DataFrame:
        """Cosines, first topics x second topics."""

    @property
    def pairs(self) -> pd.DataFrame:
        """Columns first, second, similarity; the most alike first."""


def sweep_frame(trainings: pd.DataFrame) -> pd.DataFrame:
    """Scores of the trainings of a sweep.

    Parameters
    ----------
    trainings
        `SweepResult.trainings`: one row per number of topics and seed. May be empty.

    Returns
    -------
    The trainings with a held-out NLL, by number of topics and seed, and `test_nll_aligned`: the held-out NLL without
    what seeds differ by throughout, since each holds out other cells. It is the NLL less the seed's mean, plus the mean
    of all seeds; means over the numbers of topics that every seed has finished. Empty, with `attrs["reason"]`, if there
    is none.
    """
    if trainings.empty or trainings["test_nll"].isna().all():
        return empty_frame("No training has finished yet. Scores appear with the first.")
    frame = trainings.dropna(subset="test_nll").sort_values(["n_topics", "seed"], ignore_index=True)
    complete = frame.groupby("n_topics")["seed"].transform("nunique") == frame["seed"].nunique()
    common = frame[complete] if complete.any() else frame
    means = common.groupby("seed")["test_nll"].mean()
    frame[ALIGNED] = frame["test_nll"] - frame["seed"].map(means) + means.mean()
    return frame


def plot_sweep(frame: pd.DataFrame, *, by_k: pd.DataFrame, chosen: int | None = None, n_columns: int = 5) -> go.Figure:
    """Draw each score against the number of topics: a dot for each seed, a line through the medians.

    Numbers of topics are evenly spaced, whatever their distance. Stability belongs to all seeds together and has one
    dot for a number. Scores that nobody knows have no panel.

    Parameters
    ----------
    frame
        From `sweep_frame`.
    by_k
        `SweepResult.by_k`, for the stability.
    chosen
        The number recommended, marked by a dotted line.
    n_columns
        Panels side by side: 5 on a wide page, 2 on a phone.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    numbers = sorted(int(k) for k in frame["n_topics"].unique())
    places = {k: place for place, k in enumerate(numbers)}
    steady = by_k[by_k["n_topics"].isin(numbers)]
    tables = {score: steady if score == "stability" else frame for score in PANELS}
    shown = [score for score, table in tables.items() if table[score].notna().any()]
    n_columns = min(n_columns, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = make_subplots(
        rows=n_rows,
        cols=n_columns,
        subplot_titles=[_panel_title(score) for score in shown],
        x_title="number of topics",
        vertical_spacing=_ABOVE_PANEL / (n_rows * PANEL_HEIGHT),
        horizontal_spacing=0.26 / n_columns if n_columns > 1 else 0,
    )
    figure.update_annotations(font={"size": 12})
    for annotation in figure.layout.annotations[: len(shown)]:
        annotation.update(xanchor="left", align="left", x=annotation.x - _half_width(n_columns))
    for number, score in enumerate(shown):
        row, column = number // n_columns + 1, number % n_columns + 1
        for trace in _panel(tables[score].dropna(subset=score), score, places):
            figure.add_trace(trace, row=row, col=column)
    if chosen in places:
        figure.add_vline(x=places[chosen], line={"color": MUTED, "width": 1.5, "dash": "dot"}, row="all", col="all")
    names = [f"<b>{k}</b>" if k == chosen else str(k) for k in numbers]
    figure.update_xaxes(
        tickvals=list(places.values()), ticktext=names, range=[-0.4, len(numbers) - 0.6], showgrid=False, tickangle=0
    )
    figure.update_yaxes(nticks=4)
    figure.update_layout(
        template=TEMPLATE,
        uirevision="sweep",
        height=n_rows * PANEL_HEIGHT + 100,
        margin={"t": 48, "b": 52, "l": 8, "r": 12},
        showlegend=False,
        dragmode=False,
    )
    return figure


def _panel_title(score: str) -> str:
    title, meaning = PANELS[score]
    return f"{title}<br><span style='font-size:11px;color:{MUTED}'>{meaning}</span>"


def _half_width(n_columns: int) -> float:
    """Of a panel, in paper coordinates: from its middle, where its title stands, to its left end."""
    spacing = 0.26 / n_columns if n_columns > 1 else 0.0
    return (1 - spacing * (n_columns - 1)) / n_columns / 2


def _panel(table: pd.DataFrame, score: str, places: Mapping[int, int]) -> list[go.Scatter]:
    """The dots of one score, and the line through their medians."""
    medians = table.groupby("n_topics")[score].median()
    line = go.Scatter(
        x=[places[int(k)] for k in medians.index], y=medians.to_numpy(), mode="lines", name=score,
        line={"color": ACCENT, "width": 1.4}, hoverinfo="skip",
    )  # fmt: skip
    texts = [f"{k} topics" for k in table["n_topics"]]
    if score != "stability":
        texts = [f"{text}, seed {seed}" for text, seed in zip(texts, table["seed"], strict=True)]
    if score == ALIGNED:
        texts = [
            f"{text}: {nll:.4f} on its own cells<br>aligned" for text, nll in zip(texts, table["test_nll"], strict=True)
        ]
    dots = go.Scatter(
        x=[places[int(k)] for k in table["n_topics"]], y=table[score].to_numpy(), mode="markers", name=score,
        marker={"color": ACCENT, "size": 7, "opacity": 0.6}, text=texts,
        hovertemplate="%{text}: %{y:.4f}<extra></extra>" if score == ALIGNED else "%{text}: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    return [line, dots]


# ---- the topics of two trainings ------------------------------------------------------------------------------------


def topic_match_frame(matching: Matched) -> pd.DataFrame:
    """Similarity of the topics of two trainings, in the order of their matches.

    Parameters
    ----------
    matching
        From `metrics.matching.match_topics`.

    Returns
    -------
    First topics x second topics: matched pairs along the diagonal, the most alike first, topics without a match after
    them. `attrs`: `n_matched`, `mean_similarity` of the matched. Empty, with `attrs["reason"]`, if one has no topics.
    """
    if matching.pairs.empty:
        return empty_frame("One of the two trainings has no topic that could be compared.")
    orders = []
    for side, names in (("first", matching.similarity.index), ("second", matching.similarity.columns)):
        matched = matching.pairs[side].tolist()
        orders.append([*matched, *(name for name in names if name not in set(matched))])
    frame = matching.similarity.loc[orders[0], orders[1]]
    frame.attrs |= {
        "n_matched": len(matching.pairs),
        "mean_similarity": float(matching.pairs["similarity"].mean()),
    }
    return frame


def plot_topic_match(frame: pd.DataFrame, *, first_name: str, second_name: str) -> go.Figure:
    """Draw how alike the topics of two trainings are: red for alike, blue for opposed, near white for unrelated.

    Parameters
    ----------
    frame
        From `topic_match_frame`.
    first_name, second_name
        Of the trainings, whose topics are the rows and the columns.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = topic_heatmap(
        frame,
        uirevision="topic-match",
        signed=True,
        unit=f"cosine of beta; {frame.attrs['n_matched']} pairs, mean {frame.attrs['mean_similarity']:.2f}",
        hover="%{text} and topic %{x} of %{meta[0]}: cosine %{z:.2f}",
    )
    first, second = plain_text(first_name), plain_text(second_name)
    rows = [topic_label(str(name)) for name in frame.index]
    texts = [[f"topic {row} of {first}"] * frame.shape[1] for row in rows]
    figure.data[0].update(zmin=-1, zmax=1, text=texts, meta=[second])
    figure.update_xaxes(title={"text": f"topics of {second}"})
    figure.update_yaxes(title={"text": f"topics of {first}", "standoff": 4})
    name_rows(figure, rows)
    return figure


# ---- each topic -----------------------------------------------------------------------------------------------------


def stability_frame(table: pd.DataFrame | None) -> pd.DataFrame:
    """How well each topic comes back, the steadiest first.

    Parameters
    ----------
    table
        One of `SweepResult.stability`, or from `metrics.matching.topic_stability`; None if there is none.

    Returns
    -------
    `topic` ("topic_7") and the columns of the table, sorted by `match_mean`, falling. Empty, with `attrs["reason"]`,
    if it is not known.
    """
    if table is None or table.empty or table["match_mean"].isna().all():
        return empty_frame(
            "With one training nothing is known of which topics come back. Train with two seeds or more."
        )
    return table.sort_values("match_mean", ascending=False, kind="stable").rename_axis("topic").reset_index()


def plot_topic_stability(frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None) -> go.Figure:
    """Draw how well each topic comes back in other trainings: 1 for the same topic, about 0 for none like it.

    The bar is the mean over the other trainings, the tick the lowest. A ring far to the right of the bar marks a topic
    whose best counterpart was matched to another: two topics share it.

    Parameters
    ----------
    frame
        From `stability_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    names = [topic_label(str(name), topic_names) for name in frame["topic"]]
    places, figure = np.arange(len(frame)), new_figure(uirevision="topic-stability")
    hover = "topic %{text}<br>match: mean %{customdata[0]:.2f}, lowest %{customdata[1]:.2f}"
    figure.add_trace(
        go.Bar(
            x=frame["match_mean"].to_numpy(), y=places, orientation="h", width=0.6, name="match",
            marker={"color": ACCENT, "line": {"width": 0}}, text=names, textposition="none",
            customdata=frame[["match_mean", "match_min", "best_mean"]].to_numpy(),
            hovertemplate=f"{hover}<br>best counterpart: mean %{{customdata[2]:.2f}}<extra></extra>",
        )
    )  # fmt: skip
    tick = {"symbol": "line-ns", "size": 9, "line": {"color": MUTED, "width": 2}}
    ring = {"symbol": "circle-open", "size": 7, "color": MUTED, "line": {"width": 1.5}}
    for column, marker, name in (("match_min", tick, "lowest match"), ("best_mean", ring, "best counterpart")):
        figure.add_trace(
            go.Scatter(x=frame[column].to_numpy(), y=places, mode="markers", marker=marker, name=name, hoverinfo="skip")
        )
    name_rows(figure, names, row_height=_ROW)
    low = min(0.0, float(frame["match_min"].min()))
    figure.update_xaxes(title={"text": "similarity in other trainings"}, range=[low, 1.03], nticks=6)
    figure.update_yaxes(title={"text": "topic"}, range=[len(frame) - 0.5, -0.5], showgrid=False, ticks="")
    figure.update_layout(
        height=110 + _ROW * len(frame),
        margin={"t": 36},
        hovermode="y",
        dragmode=False,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )
    return figure
