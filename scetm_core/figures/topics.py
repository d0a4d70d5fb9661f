"""Which genes make up each topic?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._heatmap import name_rows, outline_topic, topic_heatmap
from scetm_core.figures._result import empty_frame, gene_weights, reason_of
from scetm_core.figures._theme import ACCENT, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad


def gene_topic_frame(result: ad.AnnData, *, n_genes: int = 5, topics: Sequence[int] | None = None) -> pd.DataFrame:
    """The leading genes of each topic, and their weight in all topics shown (the paper's Figure 6a).

    Parameters
    ----------
    result
        With varm["beta"].
    n_genes
        Genes taken from the top of each topic by beta; a gene at the top of several is listed once.
    topics
        Numbers of the topics to show, in this order; by default all.

    Returns
    -------
    Genes x topics: beta divided by the topic's largest absolute value over all genes, so each column lies within
    -1 and 1. Genes follow the order of the topics they lead, which makes the picture nearly diagonal. Empty, with
    `attrs["reason"]`, if there is no beta or no such topic.
    """
    beta = gene_weights(result)
    if beta.empty:
        return beta
    names = list(beta.columns) if topics is None else [keys.topic_name(topic) for topic in topics]
    if unknown := [name for name in names if name not in beta.columns]:
        return empty_frame(f"There is no {', '.join(unknown)}: topics run from 0 to {beta.shape[1] - 1}.")
    beta = beta[names]
    values = beta.to_numpy()
    leaders = _top_rows(values, n_genes).T.ravel()  # topic by topic
    rows = list(dict.fromkeys(leaders.tolist()))
    largest = np.abs(values).max(axis=0)
    frame = beta.iloc[rows].div(np.where(largest > 0, largest, 1.0), axis="columns").rename_axis(index="gene")
    frame.attrs |= {"n_genes": n_genes}
    return frame if len(frame) else empty_frame("No topic was chosen. Pick at least one.")


def _top_rows(values: np.ndarray, n_rows: int) -> np.ndarray:
    """(n_rows, n_columns) rows of the largest values of each column, largest first; ties as listed."""
    return np.argsort(-values, axis=0, kind="stable")[:n_rows]


def plot_gene_topic_heatmap(
    frame: pd.DataFrame, *, highlight: Collection[str] = frozenset(), selected_topic: int | None = None
) -> go.Figure:
    """Draw genes x topics: red where beta is above 0, blue where below.

    Parameters
    ----------
    frame
        From `gene_topic_frame`.
    highlight
        Genes written in bold, e.g. known markers.
    selected_topic
        Number of the topic whose column gets a frame.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = topic_heatmap(
        frame,
        uirevision="gene-topic",
        signed=True,
        unit="beta, share of the topic's largest",
        hover="%{text} in topic_%{x}: %{z:.2f} of the topic's largest",
    )
    genes = [plain_text(gene) for gene in frame.index]
    figure.data[0].text = np.repeat(np.array(genes, dtype=object)[:, None], frame.shape[1], axis=1).tolist()
    marked = f"<b><span style='color:{ACCENT}'>{{}}</span></b>"
    name_rows(
        figure,
        [marked.format(text) if gene in highlight else text for gene, text in zip(frame.index, genes, strict=True)],
    )
    if selected_topic is not None:
        outline_topic(figure, frame, selected_topic)
    return figure


def top_genes_frame(result: ad.AnnData, topic: int, *, n_genes: int = 20) -> pd.DataFrame:
    """The genes with the largest beta in one topic.

    Returns
    -------
    `gene`, `beta` (unnormalised), `rank` (from 1), the largest first; `attrs["topic"]`. Empty, with
    `attrs["reason"]`, if there is no such topic.
    """
    beta = gene_weights(result)
    if beta.empty:
        return beta
    if not 0 <= topic < beta.shape[1]:
        return empty_frame(f"There is no {keys.topic_name(topic)}: topics run from 0 to {beta.shape[1] - 1}.")
    values = beta.iloc[:, topic].to_numpy()
    rows = _top_rows(values[:, None], n_genes)[:, 0]
    frame = pd.DataFrame({"gene": beta.index[rows], "beta": values[rows], "rank": np.arange(1, len(rows) + 1)})
    frame.attrs |= {"topic": topic}
    return frame


def plot_top_genes(frame: pd.DataFrame, *, highlight: Collection[str] = frozenset()) -> go.Figure:
    """Draw one bar per gene, the leading gene on top.

    Parameters
    ----------
    frame
        From `top_genes_frame`.
    highlight
        Genes written in bold, e.g. known markers.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    topic, genes = frame.attrs["topic"], [plain_text(gene) for gene in frame["gene"]]
    figure = new_figure(uirevision=f"top-genes-{topic}")
    figure.add_trace(
        go.Bar(
            x=frame["beta"].to_numpy(),
            y=np.arange(len(frame)),
            orientation="h",
            marker={"color": ACCENT},
            width=0.7,
            customdata=genes,
            name="",
            hovertemplate="%{customdata}: beta %{x:.3f}<extra></extra>",
        )
    )
    texts = [f"<b>{text}</b>" if gene in highlight else text for gene, text in zip(frame["gene"], genes, strict=True)]
    name_rows(figure, texts, row_height=18)
    figure.update_xaxes(title={"text": f"beta of topic {topic}"}, nticks=6)
    figure.update_yaxes(range=[len(frame) - 0.5, -0.5], showgrid=False, ticks="")
    figure.update_layout(height=80 + 18 * len(frame), margin={"t": 12}, dragmode=False)
    return figure
