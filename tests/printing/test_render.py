"""Is a printed figure what the screen shows, in the size and the letters that were asked for?"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from scetm_core import figures as fig
from scetm_core.errors import ConfigError, FigureError
from scetm_core.printing import FORMATS, Panel, PrintSettings, font_families, rasterised, render, render_panels

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def result() -> ad.AnnData:
    rng = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], [70, 35, 15])
    obs = pd.DataFrame({"cell_type": pd.Categorical([f"t{i}" for i in types])}, index=[f"c{i}" for i in range(120)])
    delta = rng.normal(size=(120, 6)).astype(np.float32)
    return ad.AnnData(
        obs=obs,
        var=pd.DataFrame(index=[f"Gene{i}" for i in range(40)]),
        obsm={"delta": delta, "theta": np.abs(delta), "X_umap": rng.normal(size=(120, 2)).astype(np.float32)},
        varm={"beta": rng.normal(size=(40, 6)).astype(np.float32)},
    )


def svg(figure: object, **chosen: object) -> str:
    return render(figure, PrintSettings(**chosen), file_format="svg").decode()  # type: ignore[arg-type]


def texts(content: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", content)


def every_figure(result: ad.AnnData) -> dict[str, go.Figure]:
    return {
        "umap": fig.plot_umap(fig.umap_frame(result, color="cell_type")),
        "umap of a topic": fig.plot_umap(fig.umap_frame(result, color="topic_1")),
        "genes": fig.plot_gene_topic_heatmap(fig.gene_topic_frame(result), selected_topic=1),
        "means": fig.plot_topic_heatmap(fig.topic_mean_frame(result, groupby="cell_type")),
        "top genes": fig.plot_top_genes(fig.top_genes_frame(result, 0)),
        "cells": fig.plot_cell_topic_heatmap(fig.cell_topic_frame(result, annotations=["cell_type"])),
        "histogram": fig.plot_histogram(np.arange(1, 500), title="Library size", unit="counts"),
        "violins": fig.plot_topic_distribution(
            fig.topic_distribution_frame(result, topic=1, groupby="cell_type", label="t0")
        ),
        "empty": fig.empty_figure("Nothing here."),
    }


def test_every_figure_becomes_every_format(result: ad.AnnData) -> None:
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for figure in every_figure(result).values():
        for file_format in FORMATS:
            content = render(figure, PrintSettings(dpi=100), file_format=file_format)
            assert content.startswith(starts[file_format])


@pytest.mark.parametrize(("width", "height"), [(85.0, 60.0), (174.0, 120.0)])
def test_the_page_is_as_large_as_asked_for(result: ad.AnnData, width: float, height: float) -> None:
    figure = every_figure(result)["umap"]
    assert f'width="{width:g}mm" height="{height:g}mm"' in svg(figure, width_mm=width, height_mm=height)
    pdf = render(figure, PrintSettings(width_mm=width, height_mm=height), file_format="pdf")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert box is not None
    assert [float(side) for side in box.groups()] == pytest.approx([width * 72 / 25.4, height * 72 / 25.4], abs=0.01)


def test_text_and_legend_stay_text_and_points_are_counted(result: ad.AnnData) -> None:
    figure = every_figure(result)["umap"]
    figure.update_layout(showlegend=False)  # as the page does, which has buttons instead
    figure.layout.annotations = []
    content = svg(figure)
    assert {"t0 (70)", "t1 (35)", "t2 (15)"} <= set(texts(content))
    plain = svg(figure, legend="off")
    assert not {"t0 (70)"} & set(texts(plain))
    assert len(re.findall("<use ", plain)) == 120


def test_colours_are_those_of_the_figure_and_hidden_traces_are_left_out() -> None:
    figure = go.Figure(
        [
            go.Scatter(x=[0, 1], y=[0, 1], mode="markers", marker={"color": "#12ab34"}, name="seen"),
            go.Scatter(
                x=[0, 1], y=[1, 0], mode="markers", marker={"color": "#cd1267"}, name="gone", visible="legendonly"
            ),
        ]
    )
    content = svg(figure)
    assert "#12ab34" in content
    assert "#cd1267" not in content
    assert "gone" not in content


def test_cells_of_a_heatmap_have_the_colours_of_their_values() -> None:
    scale = [[0, "#330000"], [1, "#ff0000"]]
    heat = go.Heatmap(z=[[0.0, 0.2], [0.6, 1.0]], colorscale=scale, zmin=0, zmax=1, showscale=False)
    assert {"#330000", "#5c0000", "#ad0000", "#ff0000"} <= set(re.findall(r"fill: (#\w{6})", svg(go.Figure(heat))))


def test_typed_arrays_and_lists_are_drawn_alike() -> None:
    values = np.array([1.0, 2.0, 4.0], dtype="<f4")
    typed = {"dtype": "f4", "bdata": base64.b64encode(values.tobytes()).decode()}
    trace = {"type": "scatter", "mode": "markers", "y": [0, 1, 2]}
    assert svg({"data": [{**trace, "x": typed}]}) == svg({"data": [{**trace, "x": values.tolist()}]})


def test_the_range_on_screen_is_kept() -> None:
    figure = go.Figure(go.Scatter(x=[0, 100], y=[0, 100]))
    figure.update_xaxes(range=[20, 40])
    labels = texts(svg(figure))
    assert "20" in labels
    assert "100" not in labels or labels.count("100") == 1  # along y only


def test_many_points_become_one_bitmap_at_the_resolution_asked_for() -> None:
    rng = np.random.default_rng(0)
    figure = go.Figure(go.Scattergl(x=rng.random(60_000), y=rng.random(60_000), mode="markers"))
    assert rasterised(figure)
    content = svg(figure)
    pictures = re.findall(r"data:image/png;base64,\s*([^\"]+)\"", content)
    assert len(pictures) == 1
    assert "<use " not in re.sub(r"<g id=\"text.*", "", content)
    width = int.from_bytes(base64.b64decode(pictures[0])[16:20], "big")
    assert 0.75 < width / (85 / 25.4 * 600) < 1


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"data": [{"type": "pie"}]}, "'pie' cannot be printed"),
        ({"data": [{"type": "scatter", "x": {"dtype": "f4", "bdata": "?"}}]}, "cannot be read"),
        ({"data": [{"type": "scatter", "x": {"dtype": "zz", "bdata": ""}}]}, "unknown"),
        ({"data": 7}, "no list of traces"),
        ([], "no figure"),
    ],
)
def test_what_is_no_figure_is_refused(figure: object, words: str) -> None:
    with pytest.raises(FigureError, match=words):
        render(figure, PrintSettings(), file_format="svg")  # type: ignore[arg-type]


@pytest.mark.parametrize("chosen", [{"width_mm": 5}, {"height_mm": 5}, {"dpi": 5000}, {"legend": "left"}])
def test_sizes_are_kept_within_reason(chosen: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        PrintSettings(**chosen)  # type: ignore[arg-type]


def test_the_same_figure_gives_the_same_file(result: ad.AnnData) -> None:
    for file_format in FORMATS:
        first, second = (render(every_figure(result)["umap"], file_format=file_format) for _ in range(2))
        assert first == second


def test_panels_have_letters_and_no_two_stand_in_one_place(result: ad.AnnData) -> None:
    figure = every_figure(result)["umap"]
    panels = [Panel(figure, title="Cells", row=0, column=0), Panel(figure, row=0, column=1)]
    found = texts(render_panels(panels, PrintSettings(width_mm=174), file_format="svg").decode())
    assert {"a", "b", "Cells"} <= set(found)
    with pytest.raises(FigureError, match="both stand in row 1, column 1"):
        render_panels([panels[0], panels[0]])


def test_there_is_a_font_and_an_unknown_one_is_refused() -> None:
    assert "DejaVu Sans" in font_families()
    with pytest.raises(ConfigError, match="not installed"):
        render(go.Figure(), PrintSettings(font_family="No Such Letters"))


def test_matplotlib_waits_for_the_first_figure() -> None:
    code = "import sys, scetm_core.printing; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
