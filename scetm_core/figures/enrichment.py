"""Which gene sets does each topic follow, and where in its ranking do their genes stand?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scetm_core.figures._result import empty_frame, reason_of, topic_label
from scetm_core.figures._theme import ACCENT, LABEL_BACKGROUND, MUTED, TEMPLATE, empty_figure, new_figure, plain_text
from scetm_core.figures.pathways import pathway_name

if TYPE_CHECKING:
    import numpy.typing as npt

Q_CAP = 5.0
"""-log10 q is drawn up to here; higher ones as triangles at the cap (the paper's Figure 5a)."""
Q_DRAWN, MAX_DOTS = 0.5, 15_000
"""Sets with a larger q are not drawn, nor more dots than that; what is left out is said."""
SIGNIFICANCE = 0.01
N_LABELS = 4
N_TOPICS_LABELLED = 25
_TONES = ("#35607a", "#7c9cb0")  # topics of even and odd place
_FAINT = "rgba(123, 135, 148, 0.45)"
_UP, _DOWN = ACCENT, "#b4530a"
_RIBBON_POINTS = 600


def manhattan_frame(
    table: pd.DataFrame, *, only_up: bool = True, q_drawn: float = Q_DRAWN, max_dots: int = MAX_DOTS
) -> pd.DataFrame:
    """A dot for each gene set in each topic (the paper's Figure 5a).

    Parameters
    ----------
    table
        From `enrichment.prerank`.
    only_up
        Leave out sets with a score below 0: they do not lead the topic, even if random sets lead it still less.
    q_drawn
        Sets with a larger q are left out.
    max_dots
        Of more dots, those with the smallest q are kept.

    Returns
    -------
    `row` (in the table), `topic`, `gene_set`, `x` (place of the topic, from 0, plus the place of the set in its
    topic, within +-0.4; a set stands at the same place in each topic), `y` (-log10 q, capped at `Q_CAP`), `capped`,
    `q_value`, `nes`, `size`. `attrs`: `topics` in their order, `n_left_out`, `largest_q`. Empty, with
    `attrs["reason"]`, if no set is left.
    """
    if table.empty:
        return empty_frame("Nothing was tested yet. Choose gene sets and press Test.")
    topics = sorted(set(table["topic"]), key=lambda name: int(name.removeprefix("topic_")))
    is_drawn = (table["q_value"] <= q_drawn) & ((table["es"] > 0) | (not only_up))
    rows = np.flatnonzero(is_drawn.to_numpy())
    if not len(rows):
        smallest = float(table["q_value"].min())
        return empty_frame(f"No gene set has a q below {q_drawn:g}; the smallest is {smallest:.2g}.")
    if len(rows) > max_dots:
        rows = np.sort(rows[np.argsort(table["q_value"].to_numpy()[rows], kind="stable")[:max_dots]])
    shown = table.iloc[rows]
    places = pd.Index(topics).get_indexer(pd.Index(shown["topic"]))
    sets = pd.Index(sorted(set(table["gene_set"])))
    within = sets.get_indexer(pd.Index(shown["gene_set"])) / max(len(sets) - 1, 1) - 0.5
    height = -np.log10(shown["q_value"].to_numpy())
    frame = pd.DataFrame(
        {
            "row": rows,
            "topic": shown["topic"].to_numpy(),
            "gene_set": shown["gene_set"].to_numpy(),
            "x": (places + 0.8 * within).astype(np.float32),
            "y": np.minimum(height, Q_CAP).astype(np.float32),
            "capped": height > Q_CAP,
            "q_value": shown["q_value"].to_numpy(),
            "nes": shown["nes"].to_numpy(),
            "size": shown["size"].to_numpy(),
        }
    )
    frame.attrs = {"topics": topics, "n_left_out": len(table) - len(rows), "largest_q": float(shown["q_value"].max())}
    return frame


def plot_manhattan(
    frame: pd.DataFrame,
    *,
    topic: str | None = None,
    gene_set: str | None = None,
    topic_names: Mapping[str, str] | None = None,
) -> go.Figure:
    """Draw gene sets by topic, -log10 q upwards; depleted ones, if tested for, hollow.

    Parameters
    ----------
    frame
        From `manhattan_frame`.
    topic
        Drawn in the accent ("topic_7"), its leading sets with their names.
    gene_set
        Ringed in every topic.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".

    Returns
    -------
    Each point's `customdata` is its row in the table.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    topics: list[str] = frame.attrs["topics"]
    figure = new_figure(uirevision="manhattan")
    places = pd.Index(topics).get_indexer(pd.Index(frame["topic"]))
    is_sure, is_focus = (frame["q_value"] < SIGNIFICANCE).to_numpy(), (frame["topic"] == topic).to_numpy()
    groups = [
        (~is_sure & ~is_focus, _FAINT, 4),
        (is_sure & ~is_focus & (places % 2 == 0), _TONES[0], 6),
        (is_sure & ~is_focus & (places % 2 == 1), _TONES[1], 6),
        (is_focus, ACCENT, 8),
    ]
    for chosen, color, size in groups:
        if chosen.any():
            _add_dots(figure, frame[chosen], color=color, size=size)
    _add_ring(figure, frame, gene_set)
    _name_leaders(figure, frame[is_focus])
    figure.add_hline(y=-np.log10(SIGNIFICANCE), line={"color": MUTED, "width": 1, "dash": "dot"})
    step = -(-len(topics) // N_TOPICS_LABELLED)  # more labels than that would lie over each other on a phone
    labels = [topic_label(name, topic_names) if not i % step or name == topic else "" for i, name in enumerate(topics)]
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(topics))), ticktext=labels, tickangle=-90 if len(topics) > 12 else 0,
        title={"text": "topic"}, showgrid=False, range=[-0.7, len(topics) - 0.3], ticks="", tickfont={"size": 11},
    )  # fmt: skip
    figure.update_yaxes(title={"text": f"-log10 q, capped at {Q_CAP:g}"}, range=[0, Q_CAP * 1.06])
    n_left = frame.attrs["n_left_out"]
    largest = frame.attrs["largest_q"]
    said = f"drawn: {len(frame):,} of {n_left + len(frame):,} tests, q up to {largest:.2g}" if n_left else ""
    figure.update_layout(margin={"t": 30}, showlegend=False, dragmode="zoom")
    note = {"xref": "paper", "yref": "paper", "x": 1, "y": 1.0, "xanchor": "right", "yanchor": "bottom", "yshift": 6}
    figure.add_annotation(text=said, showarrow=False, font={"size": 11, "color": MUTED}, **note)
    return figure


def _add_dots(figure: go.Figure, dots: pd.DataFrame, *, color: str, size: int) -> None:
    is_up = (dots["nes"].fillna(0) >= 0).to_numpy()
    symbols = np.where(dots["capped"], "triangle-up", np.where(is_up, "circle", "circle-open"))
    shown = {name: plain_text(pathway_name(name)) for name in dots["gene_set"].unique()}
    texts = [
        f"<b>{shown[name]}</b><br>{topic.replace('_', ' ')}, NES {nes}, q = {q:.2g}, {size:,} genes"
        for name, topic, nes, q, size in zip(
            dots["gene_set"],
            dots["topic"],
            dots["nes"].map("{:.2f}".format).replace("nan", "not defined"),
            dots["q_value"],
            dots["size"],
            strict=True,
        )
    ]
    figure.add_trace(
        go.Scattergl(
            x=dots["x"].to_numpy(), y=dots["y"].to_numpy(), mode="markers", text=texts,
            customdata=dots["row"].tolist(), name="",
            marker={"color": color, "size": size, "symbol": symbols}, hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip


def _add_ring(figure: go.Figure, frame: pd.DataFrame, gene_set: str | None) -> None:
    ringed = frame[frame["gene_set"] == gene_set]
    if len(ringed):
        marker = {"color": "rgba(0,0,0,0)", "size": 13, "line": {"color": _DOWN, "width": 2}}
        figure.add_trace(
            go.Scatter(x=ringed["x"], y=ringed["y"], mode="markers", marker=marker, hoverinfo="skip", name="")
        )


def _name_leaders(figure: go.Figure, dots: pd.DataFrame) -> None:
    """Names of a topic's leading sets in a column beside it, the strongest on top, each with a line to its dot."""
    best = dots.sort_values(["q_value", "nes"], ascending=[True, False]).head(N_LABELS)
    n_topics = 1 + max((trace.x.max() for trace in figure.data), default=0)
    for place, (_, dot) in enumerate(best.iterrows()):
        is_right = dot["x"] > n_topics / 2
        figure.add_annotation(
            x=float(dot["x"]), y=float(dot["y"]), text=plain_text(_short(dot["gene_set"])),
            font={"size": 11}, bgcolor=LABEL_BACKGROUND, borderpad=1, showarrow=True, arrowhead=0, arrowwidth=1,
            arrowcolor=MUTED, ax=-40 if is_right else 40, axref="pixel", ay=Q_CAP * (1.0 - 0.075 * place), ayref="y",
            xanchor="right" if is_right else "left", captureevents=False,
        )  # fmt: skip


def _short(name: str, *, width: int = 34) -> str:
    text = pathway_name(name).partition(" (")[0]
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def running_sum_frame(
    curve: npt.NDArray[np.float64], hits: np.ndarray, scores: np.ndarray, genes: np.ndarray
) -> pd.DataFrame:
    """The corners of the running sum of one set in one topic (the paper's Figure 5b).

    Parameters
    ----------
    curve
        (n_genes,) from `enrichment.running_sum`.
    hits
        Places of the set's genes in the ranking.
    scores, genes
        (n_genes,) beta and gene names in the order of the ranking.

    Returns
    -------
    `place` (rank from 1; 0 is before the first gene), `sum`, `gene` and `beta` (of hits; empty else). Between two
    rows the sum falls evenly, so nothing is lost. `attrs`: `peak` (place of the extreme), `es`, `ribbon` (places and
    scores of some hundred genes, for the outline of beta), `n_genes`.
    """
    hits = np.sort(hits)
    corners = np.unique(np.concatenate([hits - 1, hits, [-1, len(curve) - 1]]))
    sums = np.where(corners < 0, 0.0, curve[np.maximum(corners, 0)])
    is_hit = np.isin(corners, hits)
    frame = pd.DataFrame(
        {
            "place": corners + 1,
            "sum": sums,
            "gene": np.where(is_hit, genes[np.maximum(corners, 0)].astype(object), ""),
            "beta": np.where(is_hit, scores[np.maximum(corners, 0)], np.nan),
        }
    )
    peak = int(np.abs(sums).argmax())
    ribbon = np.unique(np.linspace(0, len(curve) - 1, _RIBBON_POINTS).astype(int))
    frame.attrs = {
        "peak": int(frame["place"].iloc[peak]),
        "es": float(sums[peak]),
        "ribbon": (ribbon + 1, scores[ribbon].astype(np.float32)),
        "n_genes": len(curve),
    }
    return frame


def plot_running_sum(frame: pd.DataFrame, *, title: Sequence[str] = ()) -> go.Figure:
    """Draw the running sum, a tick for each gene of the set, and beta down the ranking; the leading edge is shaded.

    Parameters
    ----------
    frame
        From `running_sum_frame`.
    title
        Set and topic in words, line by line.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    attrs, lines = frame.attrs, "<br>".join(plain_text(part) for line in title for part in textwrap.wrap(line, 44))
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.62, 0.1, 0.28], vertical_spacing=0.03)
    figure.update_layout(template=TEMPLATE, uirevision="running-sum")
    color, peak, n_genes = _UP if attrs["es"] >= 0 else _DOWN, attrs["peak"], attrs["n_genes"]
    figure.add_trace(
        go.Scatter(
            x=frame["place"].to_numpy(), y=frame["sum"].to_numpy(), mode="lines", line={"color": color, "width": 2},
            hovertemplate="rank %{x:,}: %{y:.3f}<extra></extra>", name="",
        ),
        row=1, col=1,
    )  # fmt: skip
    hits = frame[frame["gene"] != ""]
    figure.add_trace(
        go.Scatter(
            x=hits["place"].to_numpy(), y=np.zeros(len(hits)), mode="markers", name="",
            marker={"symbol": "line-ns", "size": 18, "line": {"width": 1, "color": MUTED}},
            text=[f"{plain_text(gene)}: rank {place:,}, beta {beta:.2f}"
                  for gene, place, beta in zip(hits["gene"], hits["place"], hits["beta"], strict=True)],
            hovertemplate="%{text}<extra></extra>",
        ),
        row=2, col=1,
    )  # fmt: skip
    places, scores = attrs["ribbon"]
    figure.add_trace(
        go.Scatter(
            x=places, y=scores, mode="lines", line={"color": MUTED, "width": 1}, fill="tozeroy", fillcolor=_FAINT,
            hovertemplate="rank %{x:,}: beta %{y:.2f}<extra></extra>", name="",
        ),
        row=3, col=1,
    )  # fmt: skip
    edge = (0, peak) if attrs["es"] >= 0 else (peak, n_genes)
    figure.add_vrect(x0=edge[0], x1=edge[1], fillcolor=color, opacity=0.09, line_width=0)
    figure.add_vline(x=peak, line={"color": color, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_hline(y=0, line={"color": MUTED, "width": 1}, row=1, col=1)
    figure.update_xaxes(range=[0, n_genes], showgrid=False)
    figure.update_xaxes(title={"text": "rank of the gene in the topic"}, row=3, col=1)
    figure.update_yaxes(title={"text": "running sum"}, row=1, col=1)
    figure.update_yaxes(visible=False, range=[-1, 1], row=2, col=1)
    figure.update_yaxes(title={"text": "beta"}, nticks=4, row=3, col=1)
    figure.update_layout(
        margin={"t": 14 + 18 * (lines.count("<br>") + 1) if lines else 12},
        showlegend=False,
        dragmode="zoom",
        title={"text": lines, "font": {"size": 13}},
    )
    return figure
