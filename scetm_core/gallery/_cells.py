"""Which figures come from training and result alone? The curve, the cells, the topics."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pandas as pd

from scetm_core import keys
from scetm_core.figures import (
    cell_topic_frame,
    empty_frame,
    gene_topic_frame,
    pathway_topic_frame,
    pathway_weights,
    plot_cell_topic_heatmap,
    plot_gene_topic_heatmap,
    plot_pathway_topic_heatmap,
    plot_top_genes,
    plot_topic_heatmap,
    plot_training,
    plot_umap,
    top_genes_frame,
    topic_mean_frame,
    topics_in_use,
    training_frame,
    umap_frame,
)
from scetm_core.gallery._entry import CELLS, PATHWAYS, TOPICS, TRAINING, Entry, Opened, stem


def training_entries(opened: Opened) -> Iterator[Entry]:
    """The training curve, where something was learnt."""
    config = opened.run.config
    if not config.is_trained:
        return

    def frame() -> pd.DataFrame:
        return training_frame(opened.run.metrics())

    yield Entry(
        name="training",
        section=TRAINING,
        title="Training curve",
        caption="Loss over the training steps. Held out: cells that were never trained on; the axis of the NLL leaves "
        "out the steep fall at the start.",
        frame=frame,
        draw=functools.partial(plot_training, max_steps=None),
    )


def cell_entries(opened: Opened) -> Iterator[Entry]:
    """Maps of the cells by batch, label, clusters, and the strongest topics."""
    batch, label = opened.columns
    words = {
        batch: "Cells of different batches should lie over each other wherever they are of one kind.",
        label: "The labels were not used in training.",
        keys.LEIDEN: "Clusters by Leiden at the resolution that was settled beforehand.",
    }
    columns = [column for column in (batch, label, keys.LEIDEN) if column is not None and column in opened.result.obs]
    for column in dict.fromkeys(columns):
        yield Entry(
            name=stem("umap", column),
            section=CELLS,
            title=f"Cells by {column}",
            caption=f"UMAP of the cells' topics (delta), coloured by {column}. {words[column]}",
            frame=functools.partial(umap_frame, opened.result, color=column),
            draw=plot_umap,
            table=functools.partial(_places, value=column),
            is_wide=False,
        )
    for topic in opened.strongest:
        name = keys.topic_name(topic)
        yield Entry(
            name=stem("umap", f"topic-{topic}"),
            section=CELLS,
            title=f"Cells by {opened.called(topic)}",
            caption=f"UMAP of the cells, coloured by theta: the share of a cell's reads that {opened.called(topic)} "
            "explains.",
            frame=functools.partial(_theta_frame, opened, topic),
            draw=plot_umap,
            table=functools.partial(_places, value=f"theta of {name}"),
            is_wide=False,
        )


def _theta_frame(opened: Opened, topic: int) -> pd.DataFrame:
    frame = umap_frame(opened.result, color=keys.topic_name(topic))
    if not frame.empty:
        frame.attrs["title"] = opened.called(topic)
    return frame


def _places(frame: pd.DataFrame, *, value: str) -> pd.DataFrame:
    """Cell, place, and what it is coloured by."""
    if value in ("cell", "umap_1", "umap_2"):
        value = f"{value} (column)"
    named = frame.rename(columns={"x": "umap_1", "y": "umap_2", "color": value})
    return named[["cell", "umap_1", "umap_2", value]]


def topic_entries(opened: Opened) -> Iterator[Entry]:
    """Genes and cells of the topics, and pathways where rho was fixed to them."""
    result, names, groups = opened.result, opened.names, opened.groups
    shown, n_topics = topics_in_use(result), result.obsm[keys.THETA].shape[1]
    some = f"the {len(shown)} topics of {n_topics} that explain most reads"
    yield Entry(
        name=stem("topics-by", groups),
        section=TOPICS,
        title=f"Topics by {groups}",
        caption=f"Mean theta of {some} over the cells of each group: rows sum to 1 over all topics.",
        frame=functools.partial(topic_mean_frame, result, groupby=groups, topics=shown),
        draw=functools.partial(plot_topic_heatmap, topic_names=names),
    )
    yield Entry(
        name="genes-by-topic",
        section=TOPICS,
        title="Leading genes by topic",
        caption=f"Five leading genes of {some}; beta divided by the topic's largest absolute value.",
        frame=functools.partial(gene_topic_frame, result, topics=shown),
        draw=functools.partial(plot_gene_topic_heatmap, topic_names=names),
    )
    for topic in opened.strongest:
        yield Entry(
            name=stem(f"topic-{topic}", "genes"),
            section=TOPICS,
            title=f"Genes of {opened.called(topic)}",
            caption=f"The 20 most likely genes of {opened.called(topic)}; in grey, how likely they are over all "
            "topics.",
            frame=functools.partial(top_genes_frame, result, topic),
            draw=plot_top_genes,
            is_wide=False,
        )
    marks = [column for column in dict.fromkeys((groups, opened.columns[0])) if column is not None]
    yield Entry(
        name="cells-by-topic",
        section=TOPICS,
        title="Topics of single cells",
        caption="Delta of single cells in the topics with a mean absolute value above .15, grouped by "
        f"{groups} and clustered within; at most 10,000 cells, drawn at random.",
        frame=functools.partial(cell_topic_frame, result, annotations=marks),
        draw=functools.partial(plot_cell_topic_heatmap, topic_names=names),
    )
    if not pathway_weights(result).empty:
        yield Entry(
            name="pathways-by-topic",
            section=PATHWAYS,
            title="Leading pathways by topic",
            caption=f"Five leading pathways of {some} by alpha: red where the topic makes a pathway's genes more "
            "likely, blue where less.",
            frame=functools.partial(pathway_topic_frame, result, topics=shown) if shown else _no_topic,
            draw=functools.partial(plot_pathway_topic_heatmap, topic_names=names),
        )


def _no_topic() -> pd.DataFrame:
    return empty_frame("No topic is in use.")
