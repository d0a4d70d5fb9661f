"""Which genes tell most about one topic: the likely ones, or those that are its own? Ranked by relevance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._heatmap import name_rows
from scetm_core.figures._result import empty_frame, gene_weights, reason_of, topic_values
from scetm_core.figures._theme import ACCENT, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

OVERALL = "rgba(123, 135, 148, 0.55)"
_ROW = 18


def top_genes_frame(result: ad.AnnData, topic: int, *, n_genes: int = 20, weight: float = 1.0) -> pd.DataFrame:
    """The genes that matter most in one topic, by relevance (Sievert and Shirley 2014).

    relevance = weight * log p(gene | topic) + (1 - weight) * log(p(gene | topic) / p(gene)). p(gene | topic) is the
    softmax of the topic's beta over the genes, so without batch effects; p(gene) is its mean over all topics, each
    weighted by its mean theta (equally, if the result has no theta).

    Parameters
    ----------
    result
        With varm["beta"], and obsm["theta"].
    topic
        Its number.
    n_genes
        Genes listed.
    weight
        The lambda of the paper, 0 to 1. 1: the most likely genes first, the order of beta. 0: first those which the
        topic makes likelier than all topics together do, however rare.

    Returns
    -------
    `gene`, `beta` (unnormalised), `probability` (p(gene | topic)), `overall` (p(gene)), `relevance` (nats), `rank`
    (from 1), the most relevant first; `attrs`: `topic`, `weight`. Empty, with `attrs["reason"]`, if there is no such
    topic or weight.
    """
    beta = gene_weights(result)
    if beta.empty:
        return beta
    if not 0 <= topic < beta.shape[1]:
        return empty_frame(f"There is no {keys.topic_name(topic)}: topics run from 0 to {beta.shape[1] - 1}.")
    if not 0 <= weight <= 1:
        return empty_frame(f"Lambda is {weight:g}; it must lie between 0 and 1.")
    log_p = _log_softmax(beta.to_numpy(dtype=np.float64))
    log_overall = np.logaddexp.reduce(log_p + np.log(_usage(result, beta.shape[1])), axis=1)
    chosen = log_p[:, topic]
    relevance = weight * chosen + (1 - weight) * (chosen - log_overall)
    rows = np.argsort(-relevance, kind="stable")[:n_genes]
    frame = pd.DataFrame(
        {
            "gene": beta.index[rows],
            "beta": beta.iloc[rows, topic].to_numpy(),
            "probability": np.exp(chosen[rows]),
            "overall": np.exp(log_overall[rows]),
            "relevance": relevance[rows],
            "rank": np.arange(1, len(rows) + 1),
        }
    )
    frame.attrs |= {"topic": topic, "weight": weight}
    return frame


def _log_softmax(values: np.ndarray) -> np.ndarray:
    """Of each column."""
    shifted = values - values.max(axis=0)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=0)))


def _usage(result: ad.AnnData, n_topics: int) -> np.ndarray:
    """(n_topics,) share of the cells' reads, mean of theta; sums to 1, none is 0."""
    theta = topic_values(result, keys.THETA)
    share = np.ones(n_topics) if theta.empty else theta.to_numpy().mean(axis=0, dtype=np.float64)
    return np.asarray(np.maximum(share / share.sum(), np.finfo(np.float64).tiny))


def plot_top_genes(frame: pd.DataFrame, *, highlight: Mapping[str, str] | None = None) -> go.Figure:
    """Draw two bars per gene: its probability in the topic, and, wider and grey behind it, in all topics.

    Parameters
    ----------
    frame
        From `top_genes_frame`.
    highlight
        Known markers, written in bold: gene -> of which cell type.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    topic, marked = frame.attrs["topic"], highlight or {}
    genes = [plain_text(gene) for gene in frame["gene"]]
    hover = [
        [text + (f" (marker of {plain_text(marked[gene])})" if gene in marked else ""), overall, beta]
        for gene, text, overall, beta in zip(frame["gene"], genes, frame["overall"], frame["beta"], strict=True)
    ]
    figure = new_figure(uirevision=f"top-genes-{topic}")
    for column, color, width in (("overall", OVERALL, 0.84), ("probability", ACCENT, 0.5)):
        figure.add_trace(
            go.Bar(
                x=frame[column].to_numpy(),
                y=np.arange(len(frame)),
                orientation="h",
                marker={"color": color, "line": {"width": 0}},
                width=width,
                customdata=hover if column == "probability" else None,
                name="",
                hoverinfo="skip" if column == "overall" else None,
                hovertemplate="%{customdata[0]}<br>%{x:.3%} of the topic, %{customdata[1]:.3%} of all topics<br>"
                "beta %{customdata[2]:.3f}<extra></extra>"
                if column == "probability"
                else None,
            )
        )
    texts = [f"<b>{text}</b>" if gene in marked else text for gene, text in zip(frame["gene"], genes, strict=True)]
    name_rows(figure, texts, row_height=_ROW)
    figure.update_xaxes(
        title={"text": f"p(gene | topic {topic}); grey: p(gene)"}, nticks=6, tickformat=".2~%", rangemode="tozero"
    )
    figure.update_yaxes(range=[len(frame) - 0.5, -0.5], showgrid=False, ticks="")
    figure.update_layout(barmode="overlay", showlegend=False, hovermode="y", margin={"t": 12}, dragmode=False)
    figure.update_layout(height=80 + _ROW * len(frame))
    return figure
