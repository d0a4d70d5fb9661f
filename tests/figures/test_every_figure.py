"""Does every figure keep to the house rules?"""

from __future__ import annotations

import json
from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core import figures as fig

METRICS = pd.DataFrame(
    {
        "step": [20, 10, 30],
        "epoch": [2.0, 1, 3],
        "nll": [7.0, 8, 6.9],
        "kl": [2.0, 1, 3],
        "kl_weight": [2e-8, 1e-8, 3e-8],
        "test_nll": [np.nan, np.nan, 6.95],
        "learning_rate": [0.004, 0.005, 0.003],
        "cells_per_second": [9000.0, 100, 9100],
        "grad_norm": [1.0, 2, 1],
        "seconds": [2.0, 1, 3],
    }
)


def every_figure(result: ad.AnnData) -> dict[str, go.Figure]:
    return {
        "umap": fig.plot_umap(fig.umap_frame(result, color="cell_type")),
        "umap topic": fig.plot_umap(fig.umap_frame(result, color="topic_1"), for_print=True),
        "gene topic": fig.plot_gene_topic_heatmap(
            fig.gene_topic_frame(result), highlight={"Gene0": "x"}, selected_topic=1
        ),
        "topic": fig.plot_topic_heatmap(fig.topic_mean_frame(result, groupby="cell_type")),
        "genes": fig.plot_top_genes(fig.top_genes_frame(result, 0)),
        "cells": fig.plot_cell_topic_heatmap(fig.cell_topic_frame(result, annotations=["cell_type", "batch"])),
        "training": fig.plot_training(fig.training_frame(METRICS)),
        "histogram": fig.plot_histogram(result.obs["n_counts"], title="Library size", unit="counts per cell"),
        "empty": fig.plot_training(fig.training_frame(pd.DataFrame())),
    }


def texts_in(value: object) -> Iterator[str]:
    """Every text under a key called text, name or title."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("text", "name", "title") and isinstance(inner, (str, type(None))):
                yield str(inner)
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def test_every_figure_serialises_and_has_no_empty_title(result: ad.AnnData) -> None:
    for name, figure in every_figure(result).items():
        content = json.loads(figure.to_json())
        assert not {"None", "undefined", "nan"} & set(texts_in(content)), name


def test_every_figure_is_transparent_in_the_house_font_and_keeps_the_users_zoom(result: ad.AnnData) -> None:
    for name, figure in every_figure(result).items():
        template = figure.layout.template.layout
        assert template.paper_bgcolor == template.plot_bgcolor == "rgba(0, 0, 0, 0)", name
        assert "system-ui" in template.font.family, name
        assert figure.layout.uirevision, name


def test_the_training_curve_is_sorted_and_shows_what_was_measured() -> None:
    frame = fig.training_frame(METRICS)
    assert frame["step"].tolist() == [10, 20, 30]
    traces = {trace.name: trace for trace in fig.plot_training(frame).data}
    assert list(traces["training"].y) == [8, 7, 6.9]
    assert (list(traces["held out"].x), list(traces["held out"].y)) == ([30], [6.95])
    assert list(traces["KL"].customdata) == [1e-8, 2e-8, 3e-8]


def test_a_training_without_held_out_cells_has_no_such_curve() -> None:
    names = [trace.name for trace in fig.plot_training(fig.training_frame(METRICS.drop(columns="test_nll"))).data]
    assert "held out" not in names
    assert "training" in names


def test_training_that_has_not_reported_says_so() -> None:
    text = fig.plot_training(fig.training_frame(pd.DataFrame({"step": []}))).layout.annotations[0].text
    assert "not reported yet" in text


@pytest.mark.parametrize("log", [True, False])
def test_a_histogram_counts_every_cell_once(log: bool) -> None:
    values = np.random.default_rng(0).lognormal(8, 1, 1000)
    (bars,) = fig.plot_histogram(values, title="Library size", unit="counts per cell", log=log).data
    assert sum(bars.y) == 1000
    inside = (values >= bars.customdata[3][0]) & (values < bars.customdata[3][1])
    assert bars.y[3] == inside.sum()


def test_a_histogram_of_few_whole_numbers_has_a_bin_for_each() -> None:
    (bars,) = fig.plot_histogram([1, 1, 2, 3, 3, 3], title="Genes", unit="genes per cell").data
    assert list(bars.y) == [2, 1, 3]


def test_cells_that_a_logarithmic_axis_cannot_show_are_said() -> None:
    figure = fig.plot_histogram([0, 0, 5, 50], title="Library size", unit="counts")
    assert figure.layout.xaxis.title.text == "Library size (counts; 2 cells with 0 not shown)"


@pytest.mark.parametrize("values", [[], [0, 0], [np.nan]])
def test_a_histogram_of_nothing_says_so(values: list[float]) -> None:
    figure = fig.plot_histogram(values, title="Library size", unit="counts")
    assert "no cells" in figure.layout.annotations[0].text.replace("<br>", " ")


def test_equal_values_make_one_bar() -> None:
    (bars,) = fig.plot_histogram([7, 7, 7], title="Library size", unit="counts").data
    assert list(bars.y) == [3]


def test_figures_import_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, scetm_core.figures;"
        "print([m for m in ('torch', 'umap', 'scanpy', 'sklearn', 'anndata', 'dash') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
