"""Which figures come from tables that were asked for? Gene sets, differential topics, the map of genes and topics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.differential import cluster_order
from scetm_core.enrichment import rank_order, running_sum
from scetm_core.errors import RunError
from scetm_core.figures import (
    Highlight,
    differential_frame,
    empty_frame,
    gene_weights,
    joint_map_frame,
    manhattan_frame,
    mark_differential,
    neighborhood,
    pathway_name,
    pathway_weights,
    plot_differential_heatmap,
    plot_joint_map,
    plot_manhattan,
    plot_neighborhood,
    plot_running_sum,
    plot_volcano,
    running_sum_frame,
)
from scetm_core.figures.differential import MIN_DIFFERENCE_CONDITIONS, MIN_DIFFERENCE_TYPES, SIGNIFICANCE
from scetm_core.gallery._entry import DIFFERENTIAL, GENE_SETS, TOPICS, Entry, Opened, read_tables, stem
from scetm_core.genesets import read_gmt

N_LEADERS = 20
LEADER_COLOR = "#0c8599"


def table_entries(opened: Opened) -> Iterator[Entry]:
    """Figures of every table that there is; where none is, one entry that says so."""
    yield from _map_entries(opened)
    enrichment = read_tables(opened.run, keys.ENRICHMENT_FOLDER)
    for name, read in enrichment.items():
        yield from _enrichment_entries(opened, name, read)
    differential = read_tables(opened.run, keys.DIFFERENTIAL_FOLDER)
    for name, read in differential.items():
        yield from _differential_entries(opened, name, read)
    if not enrichment:
        yield _missing("enrichment", GENE_SETS, "Gene sets", "no gene sets were compared with the topics yet.")
    if not differential:
        yield _missing("differential", DIFFERENTIAL, "Differential topics", "no grouping was tested yet.")


def _missing(name: str, section: str, title: str, reason: str) -> Entry:
    """A figure that nobody has asked for."""
    return Entry(
        name=name,
        section=section,
        title=title,
        caption="",
        frame=lambda: empty_frame(reason),
        draw=lambda _: go.Figure(),
    )


# ---- the map of genes and topics ----------------------------------------------------------------------------------


def _map_entries(opened: Opened) -> Iterator[Entry]:
    tables = read_tables(opened.run, keys.MAP_FOLDER)
    if not tables:
        yield _missing("joint-map", TOPICS, "Map of genes and topics", "it was not worked out yet.")
    for points, read in tables.items():
        weights = gene_weights(opened.result) if points == "genes" else pathway_weights(opened.result)
        noun = "genes" if points == "genes" else "gene sets"
        topic = opened.leader
        leaders = list(weights[keys.topic_name(topic)].nlargest(N_LEADERS).index) if len(weights) else []
        frame = functools.partial(_map_frame, opened, points, read, leaders, f"Leading {noun} of topic {topic}")

        def near(found: pd.DataFrame, *, topic: int = topic, leaders: list[str] = leaders) -> go.Figure:
            window = neighborhood(found, topic, leaders=leaders)
            return plot_neighborhood(found, window, topic=topic, topic_names=opened.names, leaders=leaders)

        yield Entry(
            name=stem("joint-map", points),
            section=TOPICS,
            title=f"Map of {noun} and topics",
            caption=f"UMAP of {noun} (rows of rho) and topics (rows of alpha) by the cosine between them; the "
            f"{N_LEADERS} leading {noun} of {opened.called(topic)} are ringed.",
            frame=frame,
            draw=functools.partial(plot_joint_map, topic=topic, topic_names=opened.names),
            is_wide=False,
        )
        yield Entry(
            name=stem("joint-map", points, f"topic-{topic}"),
            section=TOPICS,
            title=f"Around {opened.called(topic)}",
            caption=f"The part of the map around {opened.called(topic)}.",
            frame=frame,
            draw=near,
            is_wide=False,
        )


def _map_frame(
    opened: Opened, points: str, read: Callable[[], pd.DataFrame], leaders: list[str], name: str
) -> pd.DataFrame:
    """The map of the result as it is now, its leading points marked."""
    path = opened.run.table_path(keys.MAP_FOLDER, points)
    if path.stat().st_mtime < opened.run.result_path.stat().st_mtime:
        return empty_frame("the map is older than the result. Work it out again on the Embedding page.")
    labels = {name: pathway_name(name) for name in leaders} if points != "genes" else None
    highlight = Highlight(name=name, members=leaders, color=LEADER_COLOR, symbol="circle-open", size=11)
    return joint_map_frame(read(), highlights=[highlight], labels=labels)


# ---- gene sets ----------------------------------------------------------------------------------------------------


def _enrichment_entries(opened: Opened, name: str, read: Callable[[], pd.DataFrame]) -> Iterator[Entry]:
    cached = functools.cache(read)
    leader = opened.leader
    yield Entry(
        name=stem("gene-sets", name, "manhattan"),
        section=GENE_SETS,
        title=f"{name}: all topics",
        caption=f"Gene sets of {name} by topic, preranked GSEA; the leading ones of {opened.called(leader)} by name. "
        f"Dotted: q = {SIGNIFICANCE:g}.",
        frame=lambda: manhattan_frame(cached(), only_up=cached().attrs["request"]["tail"] == "up"),
        draw=functools.partial(plot_manhattan, topic=keys.topic_name(leader), topic_names=opened.names),
    )
    for topic in opened.strongest:
        yield Entry(
            name=stem("gene-sets", name, f"topic-{topic}"),
            section=GENE_SETS,
            title=f"{name}: best set of {opened.called(topic)}",
            caption=f"Running sum of the set that {opened.called(topic)} follows best, down the topic's genes; "
            "shaded: the leading edge.",
            frame=functools.partial(_best_sum, opened, name, cached, topic),
            draw=lambda frame: plot_running_sum(frame, title=frame.attrs["title"]),
            is_wide=False,
        )


def _best_sum(opened: Opened, name: str, read: Callable[[], pd.DataFrame], topic: int) -> pd.DataFrame:
    """Running sum of a topic's best set; empty if no set leads it."""
    table = read()
    rows = table[table["topic"] == keys.topic_name(topic)]
    if table.attrs["request"]["tail"] == "up":
        rows = rows[rows["es"] > 0]
    if rows.empty:
        return empty_frame(f"no set leads {opened.called(topic)}.")
    best = rows.sort_values(["p_value", "nes"], ascending=[True, False], kind="stable").iloc[0]
    path = opened.run.table_path(keys.ENRICHMENT_FOLDER, name).with_suffix(".gmt")
    if not path.is_file():
        raise RunError(f"the sets beside the table {name} are gone. Test them again.")
    members = read_gmt(path)[best["gene_set"]]
    beta = gene_weights(opened.result)[keys.topic_name(topic)].astype(np.float64)
    beta = beta.iloc[rank_order(beta.to_numpy(), beta.index)]
    hits = np.sort(beta.index.get_indexer(pd.Index(members)))
    frame = running_sum_frame(
        running_sum(beta.to_numpy(), hits), hits, beta.to_numpy(), beta.index.to_numpy(dtype=object)
    )
    frame.attrs["title"] = (pathway_name(best["gene_set"]), f"in {opened.called(topic)}, q = {best['q_value']:.2g}")
    return frame


# ---- differential topics ------------------------------------------------------------------------------------------


def least_difference(opened: Opened, groupby: str) -> float:
    """The least mean difference that counts: the paper's for cell types and clusters, or for conditions."""
    types = (opened.run.config.data.label_key, keys.LEIDEN)
    return MIN_DIFFERENCE_TYPES if groupby in types else MIN_DIFFERENCE_CONDITIONS


def _differential_entries(opened: Opened, name: str, read: Callable[[], pd.DataFrame]) -> Iterator[Entry]:
    cached = functools.cache(read)

    def groupby() -> str:
        return str(cached().attrs.get("request", {}).get("groupby", name))

    def marked() -> pd.DataFrame:
        least = least_difference(opened, groupby())
        return mark_differential(cached(), significance=SIGNIFICANCE, min_difference=least)

    def heatmap() -> pd.DataFrame:
        tests = marked()
        wide = tests.pivot_table(index="label", columns="topic", values="mean_difference", sort=False, observed=True)
        return differential_frame(tests, only_differential=bool(tests["differential"].any()), order=cluster_order(wide))

    def volcano(tests: pd.DataFrame) -> go.Figure:
        least = least_difference(opened, groupby())
        return plot_volcano(tests, significance=SIGNIFICANCE, min_difference=least, topic_names=opened.names)

    words = f"q (Bonferroni) below {SIGNIFICANCE:g} and a difference above {least_difference(opened, name):g}"
    yield Entry(
        name=stem("differential", name, "heatmap"),
        section=DIFFERENTIAL,
        title=f"Differential topics by {name}",
        caption=f"Difference of mean delta inside and outside each group; asterisks: {words}. Topics that differ in no "
        "group are left out where any does.",
        frame=heatmap,
        draw=functools.partial(plot_differential_heatmap, topic_names=opened.names),
        table=lambda _: marked(),
    )
    yield Entry(
        name=stem("differential", name, "volcano"),
        section=DIFFERENTIAL,
        title=f"All tests by {name}",
        caption=f"Every topic in every group; in colour: {words}.",
        frame=marked,
        draw=volcano,
        is_wide=False,
    )
