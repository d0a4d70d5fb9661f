"""Which figures judge a run? Clusters against labels, scores in detail, other methods, numbers of topics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures import (
    agreement_frame,
    confusion_frame,
    empty_frame,
    plot_agreement,
    plot_confusion,
    plot_maps,
    plot_silhouettes,
    plot_sweep,
    plot_topic_stability,
    plot_tradeoff,
    plot_umap,
    silhouette_frame,
    stability_frame,
    sweep_frame,
    tradeoff_frame,
    umap_frame,
)
from scetm_core.gallery._entry import COMPARISON, SCORES, SWEEP, Entry, Opened, as_table, read_table, read_tables, stem
from scetm_core.judging import N_BATCHES_NEAR, scores_of_methods
from scetm_core.score_words import SCORE_WORDS, number_in_words

UMAP_COLUMNS = ["umap_1", "umap_2"]
NEAR = "effective number of batches nearby"


def judged_entries(opened: Opened) -> Iterator[Entry]:
    """Clusters against labels always; the rest where it was worked out."""
    label, result = opened.columns[1], opened.result
    if label is not None and keys.LEIDEN in result.obs:
        yield Entry(
            name=stem("clusters-by", label),
            section=SCORES,
            title=f"Clusters against {label}",
            caption=f"Which share of the cells of each {label} is in which Leiden cluster, at the resolution that was "
            "settled beforehand.",
            frame=lambda: confusion_frame(result.obs[label], result.obs[keys.LEIDEN]),
            draw=plot_confusion,
        )
    for name, read in read_tables(opened.run, keys.EVALUATION_FOLDER).items():
        yield from _evaluation_entries(opened, name, functools.cache(read))
    yield from _comparison_entries(opened)
    yield from _sweep_entries(opened)


# ---- scores in detail ---------------------------------------------------------------------------------------------


def _evaluation_entries(opened: Opened, name: str, read: Callable[[], pd.DataFrame]) -> Iterator[Entry]:
    yield Entry(
        name=stem("agreement", name),
        section=SCORES,
        title="Agreement by resolution",
        caption="ARI and NMI of Leiden clusters with the labels, by resolution. The best one is chosen by looking at "
        "the labels.",
        frame=lambda: agreement_frame(read()),
        draw=plot_agreement,
        is_wide=False,
    )
    yield Entry(
        name=stem("silhouettes", name),
        section=SCORES,
        title="Silhouettes by label and batch",
        caption="Mean silhouette width of each label in each batch: above 0 if cells are closest to their own kind.",
        frame=lambda: silhouette_frame(read()),
        draw=plot_silhouettes,
    )
    path = opened.run.table_path(keys.EVALUATION_FOLDER, name).with_suffix(".npz")
    yield Entry(
        name=stem("mixing", name),
        section=SCORES,
        title="Batches around each cell",
        caption="Effective number of batches among the neighbours of each cell: 1 where a batch is alone.",
        frame=functools.partial(_mixing_frame, opened, path),
        draw=plot_umap,
        is_wide=False,
    )


def _mixing_frame(opened: Opened, path: Path) -> pd.DataFrame:
    if not path.is_file():
        return empty_frame("the arrays beside the scores are gone. Evaluate again.")
    with np.load(path, allow_pickle=False) as arrays:
        near = arrays[N_BATCHES_NEAR] if N_BATCHES_NEAR in arrays.files else None
    if near is None or len(near) != opened.result.n_obs:
        return empty_frame("there are no batches to mix, or the scores are of other cells.")
    frame = umap_frame(opened.result, color=NEAR, values=pd.Series(near, index=opened.result.obs_names))
    frame.attrs["unit"] = ""
    return frame


# ---- other methods ------------------------------------------------------------------------------------------------


def _comparison_entries(opened: Opened) -> Iterator[Entry]:
    if not read_tables(opened.run, keys.COMPARISON_FOLDER):
        return
    x, y = "kbet", "best_ari"
    yield Entry(
        name="methods-tradeoff",
        section=COMPARISON,
        title="Mixing against agreement, by method",
        caption="Each method on the same cells: batches mixed to the right, labels told apart upwards. Filled: no "
        "other is at least as good in both.",
        frame=lambda: tradeoff_frame(_scores(opened), x=x, y=y),
        draw=functools.partial(plot_tradeoff, x_title=SCORE_WORDS[x].label, y_title=SCORE_WORDS[y].label),
        table=lambda _: as_table(_scores(opened).drop(columns="is_own")),
        is_wide=False,
    )
    yield Entry(
        name="methods-maps",
        section=COMPARISON,
        title="Maps by method",
        caption=f"The same cells laid out from each method's embedding, coloured by {opened.groups}.",
        frame=functools.partial(_maps_frame, opened),
        draw=functools.partial(_draw_maps, opened),
    )


def _scores(opened: Opened) -> pd.DataFrame:
    """A row for the run, and one for each method and seed."""
    own = {name: opened.run.evaluation().get(name) for name in (*SCORE_WORDS, "seconds", "peak_memory_mb")}
    config = opened.run.config
    row = {"label": f"{config.name} (this run)", "seed": config.train.seed, "method": "", "is_own": True, **own}
    others = [{**other, "is_own": False} for other in scores_of_methods(opened.run).to_dict("records")]
    return pd.DataFrame([row, *others])


def _maps_frame(opened: Opened) -> pd.DataFrame:
    """A row per method and cell: `method`, `cell`, its place and group; the run's own map first."""
    groups, cells = opened.result.obs[opened.groups], opened.result.obs_names
    maps: dict[str, np.ndarray] = {}
    if keys.X_UMAP in opened.result.obsm:
        maps[str(_scores(opened)["label"].iloc[0])] = np.asarray(opened.result.obsm[keys.X_UMAP])
    for name, read in read_tables(opened.run, keys.COMPARISON_FOLDER).items():
        if name == keys.METHODS_TABLE:
            continue
        table = read()
        label = str(table.attrs.get("label", name))
        if label not in maps and set(UMAP_COLUMNS) <= set(table.columns) and len(table) == len(cells):
            maps[label] = table[UMAP_COLUMNS].to_numpy()
    pieces = [
        pd.DataFrame({"method": label, "cell": cells, "umap_1": xy[:, 0], "umap_2": xy[:, 1], "group": groups.array})
        for label, xy in maps.items()
    ]
    return pd.concat(pieces, ignore_index=True) if pieces else empty_frame("no method has a map.")


def _draw_maps(opened: Opened, frame: pd.DataFrame) -> go.Figure:
    scores = _scores(opened).groupby("label", sort=False)[["best_ari", "kbet"]].median()
    maps = {str(label): rows[["umap_1", "umap_2"]].to_numpy() for label, rows in frame.groupby("method", sort=False)}
    beneath = {
        label: f"ARI {number_in_words(scores['best_ari'].get(label))} · "
        f"kBET {number_in_words(scores['kbet'].get(label))}"
        for label in maps
    }
    colors = opened.result.uns.get(f"{opened.groups}_colors")
    groups = opened.result.obs[opened.groups]
    return plot_maps(maps, groups, beneath=beneath, uns_colors=None if colors is None else list(colors))


# ---- numbers of topics --------------------------------------------------------------------------------------------


def _sweep_entries(opened: Opened) -> Iterator[Entry]:
    if keys.TRAININGS_TABLE not in opened.run.tables(keys.SWEEP_FOLDER):
        return
    read = functools.cache(functools.partial(read_table, opened.run, keys.SWEEP_FOLDER, keys.TRAININGS_TABLE))

    def draw(frame: pd.DataFrame) -> go.Figure:
        attrs = read().attrs
        chosen = attrs["recommendation"]["n_topics"]
        return plot_sweep(frame, by_k=pd.DataFrame(attrs["by_k"]), chosen=chosen, n_columns=3)

    def stability() -> pd.DataFrame:
        records = read().attrs["stability"].get(str(opened.run.config.model.n_topics), [])
        found = pd.DataFrame(records)
        return stability_frame(found.set_index("topic").astype(float) if len(found) else None)

    yield Entry(
        name="number-of-topics",
        section=SWEEP,
        title="Scores by number of topics",
        caption="A dot for each training, a line through the medians over seeds; dotted: the number recommended.",
        frame=lambda: sweep_frame(read()),
        draw=draw,
    )
    yield Entry(
        name="topic-stability",
        section=SWEEP,
        title="Topics that come back",
        caption="How well each topic is found again with other seeds: 1 for the same topic, about 0 for none like it.",
        frame=stability,
        draw=functools.partial(plot_topic_stability, topic_names=opened.names),
    )
