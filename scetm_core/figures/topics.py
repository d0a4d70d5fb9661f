"""Which genes make up each topic? Their leading genes, or known markers of cell types, as rows of a heatmap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._colors import category_colors
from scetm_core.figures._heatmap import name_rows, outline_topic, topic_heatmap
from scetm_core.figures._result import empty_frame, gene_weights, reason_of
from scetm_core.figures._theme import ACCENT, empty_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

CELL_TYPE = "cell_type"
N_TYPES_NAMED = 3


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
    -1 and 1. Genes follow the order of the topics they lead, which makes the picture nearly diagonal. `attrs`:
    `n_topics_in_all`. Empty, with `attrs["reason"]`, if there is no beta or no such topic.
    """
    scaled = _scaled(result, topics)
    if scaled.empty:
        return scaled
    leaders = np.argsort(-scaled.to_numpy(), axis=0, kind="stable")[:n_genes].T.ravel()  # topic by topic
    return scaled.iloc[list(dict.fromkeys(leaders.tolist()))]


def _scaled(result: ad.AnnData, topics: Sequence[int] | None) -> pd.DataFrame:
    """All genes x the topics chosen, each divided by its largest absolute value."""
    beta = gene_weights(result)
    if beta.empty:
        return beta
    n_topics = beta.shape[1]
    names = list(beta.columns) if topics is None else [keys.topic_name(topic) for topic in topics]
    if unknown := [name for name in names if name not in beta.columns]:
        return empty_frame(f"There is no {', '.join(unknown)}: topics run from 0 to {n_topics - 1}.")
    if not names:
        return empty_frame("No topic was chosen. Pick at least one.")
    beta = beta[names]
    largest = np.abs(beta.to_numpy()).max(axis=0)
    scaled = beta.div(np.where(largest > 0, largest, 1.0), axis="columns").rename_axis(index="gene")
    scaled.attrs |= {"n_topics_in_all": n_topics}
    return scaled


def marker_topic_frame(
    result: ad.AnnData,
    markers: Mapping[str, Sequence[str]],
    *,
    n_genes: int = 5,
    topics: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Known markers of cell types, and their weight in the topics (the paper's Figure 6a, markers only).

    Parameters
    ----------
    result
        With varm["beta"].
    markers
        Cell type -> genes; those that are not in the result are passed over.
    n_genes
        Markers taken of each type: those with the largest value in any topic shown.
    topics
        Numbers of the topics to show, in this order; by default all.

    Returns
    -------
    As `gene_topic_frame`, with the levels "cell_type" and "gene" in the index: a gene that marks several types is
    listed for each. Types follow the topic in which their markers weigh most, genes of a type their weight.
    `attrs`: `colors` (cell type -> colour), `n_topics_in_all`. Empty, with `attrs["reason"]`, if no marker is there.
    """
    scaled = _scaled(result, topics)
    if scaled.empty:
        return scaled
    blocks = {}
    for cell_type, genes in markers.items():
        block = scaled.loc[scaled.index.intersection(pd.Index(list(dict.fromkeys(genes))), sort=False)]
        if len(block):
            order = np.argsort(-block.to_numpy().max(axis=1), kind="stable")[:n_genes]
            blocks[cell_type] = block.iloc[order]
    if not blocks:
        return empty_frame("None of these markers is among the genes of the model. Choose other cell types.")
    means = {cell_type: block.to_numpy().mean(axis=0) for cell_type, block in blocks.items()}
    ordered = sorted(blocks, key=lambda cell_type: (means[cell_type].argmax(), -means[cell_type].max()))
    frame = pd.concat({cell_type: blocks[cell_type] for cell_type in ordered}, names=[CELL_TYPE, "gene"])
    frame.attrs |= {"colors": category_colors(ordered), "n_topics_in_all": scaled.attrs["n_topics_in_all"]}
    return frame


def types_marked(markers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Gene -> the cell types it marks, in words: ``"Beta cell, Delta cell and 2 more"``."""
    types: dict[str, list[str]] = {}
    for cell_type, genes in markers.items():
        for gene in dict.fromkeys(genes):
            types.setdefault(gene, []).append(cell_type)
    return {gene: _list_in_words(found) for gene, found in types.items()}


def _list_in_words(names: Sequence[str]) -> str:
    more = len(names) - N_TYPES_NAMED
    return ", ".join(names[:N_TYPES_NAMED]) + (f" and {more} more" if more > 0 else "")


def plot_gene_topic_heatmap(
    frame: pd.DataFrame,
    *,
    highlight: Mapping[str, str] | None = None,
    selected_topic: int | None = None,
    topic_names: Mapping[str, str] | None = None,
) -> go.Figure:
    """Draw genes x topics: red where beta is above 0, blue where below.

    Parameters
    ----------
    frame
        From `gene_topic_frame`, or `marker_topic_frame`: then each cell type has a heading and a colour.
    highlight
        Known markers, written in bold: gene -> of which cell type.
    selected_topic
        Number of the topic whose column gets a frame.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    if frame.index.nlevels > 1:
        shown, names, hover = _with_headings(frame)
    else:
        marked = highlight or {}
        shown, genes = frame, [plain_text(gene) for gene in frame.index]
        kinds = [marked.get(gene) for gene in frame.index]
        bold = f"<b><span style='color:{ACCENT}'>{{}}</span></b>"
        names = [bold.format(text) if kind else text for text, kind in zip(genes, kinds, strict=True)]
        hover = [
            f"{text}, marker of {plain_text(kind)}," if kind else text for text, kind in zip(genes, kinds, strict=True)
        ]
    n_topics = frame.attrs.get("n_topics_in_all", frame.shape[1])
    some = f" ({frame.shape[1]} of {n_topics} topics)" if frame.shape[1] < n_topics else ""
    figure = topic_heatmap(
        shown,
        topic_names=topic_names,
        uirevision="gene-topic",
        signed=True,
        unit=f"beta, share of the topic's largest{some}",
        hover="%{text} in topic_%{x}: %{z:.2f} of the topic's largest",
    )
    figure.data[0].text = np.repeat(np.array(hover, dtype=object)[:, None], frame.shape[1], axis=1).tolist()
    figure.data[0].hoverongaps = False
    name_rows(figure, names)
    if selected_topic is not None:
        outline_topic(figure, shown, selected_topic)
    return figure


def _with_headings(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Values with an empty row above each cell type, names of all rows, and what hovering tells."""
    types, genes = (frame.index.get_level_values(level) for level in (CELL_TYPE, "gene"))
    values, rows, names, hover = frame.to_numpy(), [], list[str](), list[str]()
    for place, (cell_type, gene) in enumerate(zip(types, genes, strict=True)):
        square = f"<span style='color:{frame.attrs['colors'][cell_type]}'>■</span>"
        if place == 0 or types[place - 1] != cell_type:
            rows.append(np.full(frame.shape[1], np.nan))
            names.append(f"<b>{plain_text(cell_type)}</b> {square}")
            hover.append("")
        rows.append(values[place])
        names.append(f"{plain_text(gene)} {square}")
        hover.append(f"{plain_text(gene)}, marker of {plain_text(cell_type)},")
    return pd.DataFrame(np.stack(rows), columns=frame.columns), names, hover
