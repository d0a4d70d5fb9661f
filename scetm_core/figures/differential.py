"""Which topics are higher in one group of cells than in the others?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._colors import OTHER_COLOR
from scetm_core.figures._heatmap import name_rows, topic_heatmap
from scetm_core.figures._result import empty_frame, reason_of, topic_label, topic_values
from scetm_core.figures._theme import ACCENT, MUTED, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

SIGNIFICANCE = 0.01
MIN_DIFFERENCE_TYPES, MIN_DIFFERENCE_CONDITIONS = 2.0, 0.2
"""The paper's thresholds: of q, and of the mean difference for cell types and for conditions."""
CORRECTIONS = {"q_bonferroni": "Bonferroni", "q_bh": "Benjamini-Hochberg"}
N_CELLS_AT_MOST = 20_000
UP, DOWN = ACCENT, "#b4530a"


def mark_differential(
    table: pd.DataFrame, *, significance: float, min_difference: float, correction: str = "q_bonferroni"
) -> pd.DataFrame:
    """A table of tests with a column more: whether the topic is differential for the label.

    Parameters
    ----------
    table
        From `differential.permutation_test`.
    significance
        q must be below it.
    min_difference
        The absolute mean difference must be above it.
    correction
        Column of the q-values: "q_bonferroni" or "q_bh".

    Returns
    -------
    The table with `q` (of the chosen correction) and `differential` (bool).
    """
    q_values = table[correction]
    is_large = table["mean_difference"].abs() > min_difference
    return table.assign(q=q_values, differential=(q_values < significance) & is_large)


def differential_frame(
    marked: pd.DataFrame, *, only_differential: bool = False, order: tuple[Sequence[str], Sequence[str]] | None = None
) -> pd.DataFrame:
    """Mean differences as labels x topics (the paper's Figure 6c).

    Parameters
    ----------
    marked
        From `mark_differential`.
    only_differential
        Leave out the topics that are differential for no label.
    order
        Labels and topics in the order to show them.

    Returns
    -------
    Labels x topics. `attrs`: the same shape each: `q`, `effect_size`, `differential`; and `sizes` (label -> cells),
    `n_topics_in_all`. Empty, with `attrs["reason"]`, if no topic is left.
    """
    if marked.empty:
        return empty_frame("Nothing was tested yet. Choose a grouping and press Test.")
    wide = {
        name: marked.pivot_table(index="label", columns="topic", values=name, sort=False, observed=True)
        for name in ("mean_difference", "q", "effect_size", "differential")
    }
    is_marked = wide["differential"].fillna(0).to_numpy().astype(bool)
    topics = [str(topic) for place, topic in enumerate(wide["q"]) if is_marked[:, place].any() or not only_differential]
    if not topics:
        return empty_frame("No topic is differential at these thresholds. Loosen them, or show all topics.")
    labels, columns = order or (list(wide["q"].index), topics)
    shown = [topic for topic in columns if topic in topics]
    frame = wide["mean_difference"].loc[list(labels), shown]
    frame.attrs = {
        **{name: wide[name].loc[list(labels), shown].to_numpy() for name in ("q", "effect_size", "differential")},
        "sizes": marked.groupby("label", sort=False, observed=True)["n_cells"].first().to_dict(),
        "n_topics_in_all": wide["q"].shape[1],
    }
    return frame


def plot_differential_heatmap(
    frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None, selected: tuple[str, str] | None = None
) -> go.Figure:
    """Draw labels x topics, red where the topic is higher inside the label, with an asterisk where it is differential.

    Parameters
    ----------
    frame
        From `differential_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    selected
        Label and topic ("topic_7") whose cell gets a frame.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    n_topics = frame.attrs["n_topics_in_all"]
    shown = f" ({frame.shape[1]} of {n_topics} topics)" if frame.shape[1] < n_topics else ""
    figure = topic_heatmap(
        frame,
        uirevision="differential",
        signed=True,
        unit=f"difference of mean delta{shown}; * differential",
        hover="%{customdata[0]}, topic_%{x}<br>mean difference %{z:.2f}, effect size %{customdata[1]:.2f}<br>"
        "q = %{customdata[2]:.2~g}",
        topic_names=topic_names,
    )
    labels = [plain_text(label) for label in frame.index]
    names = np.broadcast_to(np.array(labels, dtype=object)[:, None], frame.shape)
    attrs = frame.attrs
    figure.data[0].customdata = np.stack([names, attrs["effect_size"], attrs["q"]], axis=-1)
    figure.data[0].text = np.where(attrs["differential"].astype(bool), "*", "")
    figure.data[0].texttemplate = "%{text}"
    figure.data[0].textfont = {"size": 15}
    sizes = attrs["sizes"]
    name_rows(
        figure, [f"{text} ({sizes[label]:,})" for label, text in zip(frame.index, labels, strict=True)], row_height=22
    )
    if selected is not None and selected[0] in frame.index and selected[1] in frame.columns:
        row, column = list(frame.index).index(selected[0]), list(frame.columns).index(selected[1])
        figure.add_shape(
            type="rect", x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5,
            line={"color": ACCENT, "width": 2.5},
        )  # fmt: skip
    return figure


def topic_distribution_frame(
    result: ad.AnnData, *, topic: int, groupby: str, label: str, n_cells: int = N_CELLS_AT_MOST, seed: int = 0
) -> pd.DataFrame:
    """Values of one topic in the cells inside and outside a label.

    Parameters
    ----------
    result
        With delta in obsm.
    n_cells
        If there are more cells, a sample of this many is drawn, without regard to labels.
    seed
        Of the sample.

    Returns
    -------
    `delta`, `inside` (bool), a row a cell that has a label. `attrs`: `topic`, `label`, `n_inside`, `n_in_all`. Empty,
    with `attrs["reason"]`, if there is no such topic, column or label.
    """
    delta = topic_values(result, keys.DELTA)
    name = keys.topic_name(topic)
    if delta.empty or name not in delta or groupby not in result.obs:
        return empty_frame(f"There is no {name} or no column '{groupby}' in this result.")
    groups = result.obs[groupby]
    known = groups.notna().to_numpy()
    inside = (groups.astype(str) == label).to_numpy()[known]
    if not inside.any():
        return empty_frame(f"No cell of '{groupby}' is called '{label}'. Click a cell of the heatmap.")
    values = delta[name].to_numpy()[known]
    rows = np.arange(len(values))
    if len(rows) > n_cells:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n_cells, replace=False))
    frame = pd.DataFrame({"delta": values[rows], "inside": inside[rows]})
    frame.attrs = {"topic": name, "label": label, "n_inside": int(inside.sum()), "n_in_all": len(values)}
    return frame


def plot_topic_distribution(frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None) -> go.Figure:
    """Draw the topic's values inside and outside the label as two violins with their quartiles and means.

    Parameters
    ----------
    frame
        From `topic_distribution_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    attrs = frame.attrs
    figure = new_figure(uirevision="topic-distribution")
    n_outside = attrs["n_in_all"] - attrs["n_inside"]
    sides = ((True, attrs["label"], attrs["n_inside"], ACCENT), (False, "all others", n_outside, OTHER_COLOR))
    for inside, name, size, color in sides:
        figure.add_trace(
            go.Violin(
                y=frame["delta"].to_numpy()[frame["inside"].to_numpy() == inside],
                name=f"{plain_text(name)} ({size:,})",
                line={"color": color, "width": 1.5},
                box={"visible": True, "width": 0.12},
                meanline={"visible": True},
                points=False,
                spanmode="hard",
                showlegend=False,
                hoverinfo="y",
            )
        )
    sampled = f", {len(frame):,} cells sampled of {attrs['n_in_all']:,}" if len(frame) < attrs["n_in_all"] else ""
    label = topic_label(attrs["topic"], topic_names)
    figure.update_yaxes(title={"text": f"delta of topic {label}{sampled}"})
    figure.update_xaxes(ticks="", showgrid=False)
    figure.update_layout(margin={"t": 12}, dragmode=False, violingap=0.25)
    return figure


def plot_volcano(
    marked: pd.DataFrame,
    *,
    significance: float,
    min_difference: float,
    topic_names: Mapping[str, str] | None = None,
    selected: tuple[str, str] | None = None,
) -> go.Figure:
    """Draw every test: mean difference along x, -log10 q along y; what is differential in colour.

    Parameters
    ----------
    marked
        From `mark_differential`.
    significance, min_difference
        Drawn as thin lines.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    selected
        Label and topic ("topic_7") that get a ring.

    Returns
    -------
    Each point's `customdata` is its row in `marked`.
    """
    if marked.empty:
        return empty_figure("Nothing was tested yet. Choose a grouping and press Test.")
    figure = new_figure(uirevision="volcano")
    x, y = marked["mean_difference"].to_numpy(), -np.log10(marked["q"].to_numpy())
    is_marked = marked["differential"].to_numpy()
    kinds = (
        ("not differential", ~is_marked, OTHER_COLOR, 0.5),
        ("higher", is_marked & (x > 0), UP, 0.85),
        ("lower", is_marked & (x < 0), DOWN, 0.85),
    )
    texts = [
        f"{plain_text(label)}, topic {topic_label(topic, topic_names)}"
        for label, topic in zip(marked["label"], marked["topic"], strict=True)
    ]
    for name, chosen, color, opacity in kinds:
        if rows := np.flatnonzero(chosen).tolist():
            figure.add_trace(
                go.Scattergl(
                    x=x[rows], y=y[rows], mode="markers", customdata=rows, text=[texts[row] for row in rows],
                    name=f"{name} ({len(rows):,})", marker={"color": color, "size": 7, "opacity": opacity},
                    hovertemplate="<b>%{text}</b><br>difference %{x:.2f}, -log10 q %{y:.2f}<extra></extra>",
                )
            )  # fmt: skip
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    figure.add_hline(y=-np.log10(significance), line=line)
    for at in (min_difference, -min_difference) if (x < -min_difference).any() else (min_difference,):
        figure.add_vline(x=at, line=line)
    if selected is not None:
        ring = np.flatnonzero((marked["label"] == selected[0]) & (marked["topic"] == selected[1]))
        marker = {"color": "rgba(0,0,0,0)", "size": 14, "line": {"color": ACCENT, "width": 2.5}}
        figure.add_trace(
            go.Scatter(x=x[ring], y=y[ring], mode="markers", marker=marker, hoverinfo="skip", showlegend=False)
        )
    figure.update_xaxes(title={"text": "difference of mean delta"})
    figure.update_yaxes(title={"text": "-log10 q"}, rangemode="tozero")
    figure.update_layout(margin={"t": 12}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return figure
