"""One of every figure there is, drawn from a small planted result."""

from __future__ import annotations

from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core import figures as fig
from scetm_core import keys
from scetm_core.metrics.matching import match_topics, topic_stability

SETS = [f"REACTOME_SET_{name}_OF_SOMETHING_RATHER_LONG" for name in "ABCDEFGH"]


def small_result() -> ad.AnnData:
    """120 cells of three types in six topics, 40 genes, rho fixed to eight gene sets."""
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], [70, 35, 15])
    delta = rng.normal(scale=0.3, size=(120, 6))
    delta[np.arange(120), types] += 3
    theta = np.exp(delta) / np.exp(delta).sum(axis=1, keepdims=True)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type {i}" for i in types]),
            "batch": np.where(np.arange(120) % 2, "b1", "b0"),
            "n_counts": rng.integers(500, 5000, 120),
        },
        index=[f"cell {i}" for i in range(120)],
    )
    return ad.AnnData(
        obs=obs,
        var=pd.DataFrame(index=[f"Gene{i}" for i in range(40)]),
        obsm={
            keys.DELTA: delta.astype(np.float32),
            keys.THETA: theta.astype(np.float32),
            keys.X_UMAP: (types[:, None] * [5.0, 3.0] + rng.normal(size=(120, 2))).astype(np.float32),
        },
        varm={keys.BETA: rng.normal(size=(40, 6)).astype(np.float32)},
        uns={
            keys.ALPHA: rng.normal(size=(6, len(SETS))).astype(np.float32),
            keys.UNS: {keys.UNS_RHO_NAMES: np.array(SETS), keys.UNS_CONFIG: '{"model": {"rho_file": null}}'},
        },
    )


def of_cells(result: ad.AnnData) -> dict[str, go.Figure]:
    metrics = pd.DataFrame(
        {"step": np.arange(12) * 10, "nll": np.linspace(8, 7, 12), "kl": np.linspace(1, 2, 12), "kl_weight": 1e-7,
         "test_nll": [np.nan, 7.9] * 6, "learning_rate": 0.005, "cells_per_second": 9000.0}
    )  # fmt: skip
    distribution = fig.topic_distribution_frame(result, topic=1, groupby="cell_type", label="type 1")
    umap = fig.umap_frame(result, color="cell_type")
    markers = {"beta cell": ["Gene1", "Gene2"], "ductal": ["Gene7", "Gene8", "Gene9"]}
    theta = result.obsm[keys.THETA]
    maps = {"scETM": result.obsm[keys.X_UMAP], "PCA": result.obsm[keys.DELTA][:, :2]}
    return {
        "umap": fig.plot_umap(umap),
        "umap with others": fig.plot_umap(umap, behind=result.obsm[keys.X_UMAP][:10]),
        "umap of a topic": fig.plot_umap(fig.umap_frame(result, color="topic_1"), for_print=True),
        "genes by topics": fig.plot_gene_topic_heatmap(
            fig.gene_topic_frame(result), highlight={"Gene0": "x"}, selected_topic=1, topic_names={"topic_1": "a < b"}
        ),
        "markers by topics": fig.plot_gene_topic_heatmap(fig.marker_topic_frame(result, markers)),
        "groups by topics": fig.plot_topic_heatmap(fig.topic_mean_frame(result, groupby="cell_type")),
        "top genes": fig.plot_top_genes(fig.top_genes_frame(result, 0), highlight={"Gene3": "x"}),
        "cells by topics": fig.plot_cell_topic_heatmap(
            fig.cell_topic_frame(result, annotations=["cell_type", "batch"])
        ),
        "training": fig.plot_training(fig.training_frame(metrics)),
        "histogram": fig.plot_histogram(result.obs["n_counts"], title="Library size", unit="counts per cell"),
        "empty": fig.plot_training(fig.training_frame(pd.DataFrame())),
        "distribution": fig.plot_topic_distribution(distribution),
        "pathways": fig.plot_pathway_topic_heatmap(fig.pathway_topic_frame(result), keywords=["set_a"]),
        "topics of a pathway": fig.plot_topics_of_pathway(fig.topics_of_pathway_frame(result, SETS[0])),
        "topic use": fig.plot_topic_use(fig.topic_use_frame(theta[:60], theta[60:])),
        "flagged": fig.plot_flagged(
            fig.flagged_frame(result.obs["cell_type"], pd.Series(np.arange(120) % 5 == 0, index=result.obs_names)),
            rate=0.05,
        ),
        "confusion": fig.plot_confusion(fig.confusion_frame(result.obs["cell_type"], result.obs["batch"])),
        "maps": fig.plot_maps(maps, result.obs["cell_type"], beneath={"PCA": "ARI .70"}),
    }  # fmt: skip


def of_tests() -> dict[str, go.Figure]:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        [
            {"label": f"type {label}", "topic": f"topic_{topic}", "mean_difference": rng.normal(scale=3),
             "effect_size": 1.0, "q_bonferroni": 10 ** -rng.uniform(0, 5), "q_bh": 0.01, "n_cells": 40}
            for label in range(3)
            for topic in range(6)
        ]
    )  # fmt: skip
    marked = fig.mark_differential(table, significance=0.01, min_difference=1)
    enriched = pd.DataFrame(
        [
            {"topic": f"topic_{topic}", "gene_set": name, "q_value": 10 ** -rng.uniform(0.4, 7), "es": 0.5,
             "nes": 1.7, "size": 20}
            for topic in range(14)
            for name in SETS
        ]
    )  # fmt: skip
    scores = np.sort(rng.normal(size=300))[::-1]
    hits = np.sort(rng.choice(300, 20, replace=False))
    is_hit = np.isin(np.arange(300), hits)
    curve = np.cumsum(np.where(is_hit, 1 / 20, -1 / 280))
    running = fig.running_sum_frame(curve, hits, scores, np.array([f"G{i}" for i in range(300)]))
    silhouettes = pd.DataFrame({"all batches": [0.4, -0.1], "b0": [0.5, np.nan]}, index=["type 0", "type 1"])
    silhouettes.attrs["n_cells"] = np.array([[9, 5], [4, 0]])
    agreement = pd.DataFrame(
        {"resolution": [0.1, 0.5, 1.0, 2.0], "ari": [0.3, 0.6, 0.5, 0.4], "nmi": [0.4, 0.6, 0.6, 0.5]}
    )
    agreement.attrs |= {"fixed": 1.0, "best": 0.5}
    methods = pd.DataFrame(
        {"label": ["scETM", "PCA", "PCA"], "seed": [0, 0, 1], "is_own": [True, False, False], "kbet": [0.6, 0.4, 0.5],
         "best_ari": [0.9, 0.8, 0.7]}
    )  # fmt: skip
    return {
        "differential": fig.plot_differential_heatmap(fig.differential_frame(marked), selected=("type 1", "topic_2")),
        "volcano": fig.plot_volcano(marked, significance=0.01, min_difference=1, selected=("type 1", "topic_2")),
        "manhattan": fig.plot_manhattan(fig.manhattan_frame(enriched), topic="topic_3", gene_set=SETS[1]),
        "running sum": fig.plot_running_sum(running, title=["Set A", "topic 3"]),
        "silhouettes": fig.plot_silhouettes(silhouettes),
        "agreement": fig.plot_agreement(agreement, resolution=2.0),
        "trade-off": fig.plot_tradeoff(fig.tradeoff_frame(methods), x_title="kBET", y_title="ARI"),
    }


def of_repeats() -> dict[str, go.Figure]:
    rng = np.random.default_rng(2)
    trainings = pd.DataFrame(
        [
            {"n_topics": k, "seed": seed, "test_nll": 7 + rng.normal() / 10, "topic_coherence": 0.1 * seed,
             "topic_diversity": 0.5, "ari": 0.7}
            for k in (10, 30, 80)
            for seed in (0, 1)
        ]
    )  # fmt: skip
    by_k = pd.DataFrame({"n_topics": [10, 30, 80], "stability": [0.9, 0.8, 0.6]})
    base = rng.normal(size=(50, 5))
    betas = [
        pd.DataFrame(base + rng.normal(scale=s, size=base.shape), columns=[f"topic_{t}" for t in range(5)],
                     index=[f"g{i}" for i in range(50)])
        for s in (0.1, 0.5, 0.9)
    ]  # fmt: skip
    joint = pd.DataFrame(
        {"name": [*(f"Gene{i}" for i in range(60)), "topic_0", "topic_1"], "kind": ["gene"] * 60 + ["topic"] * 2,
         "x": rng.normal(size=62), "y": rng.normal(size=62)}
    )  # fmt: skip
    highlight = fig.Highlight(name="leading", members=["Gene1", "Gene2"], color="#E69F00", symbol="circle-open")
    frame = fig.joint_map_frame(joint, highlights=[highlight])
    window = fig.neighborhood(frame, 0)
    return {
        "sweep": fig.plot_sweep(fig.sweep_frame(trainings), by_k=by_k, chosen=30, n_columns=2),
        "topic match": fig.plot_topic_match(
            fig.topic_match_frame(match_topics(*betas[:2])), first_name="run A", second_name="run B"
        ),
        "topic stability": fig.plot_topic_stability(fig.stability_frame(topic_stability(betas))),
        "joint map": fig.plot_joint_map(frame, topic=0, window=window, topic_names={"topic_1": "liver"}),
        "neighbourhood": fig.plot_neighborhood(frame, window, topic=0, leaders=["Gene1"]),
    }


def every_figure() -> dict[str, go.Figure]:
    return {**of_cells(small_result()), **of_tests(), **of_repeats()}


@pytest.fixture(scope="session")
def printed() -> SimpleNamespace:
    """One of every figure, by name, under `figures`."""
    return SimpleNamespace(figures=every_figure())
