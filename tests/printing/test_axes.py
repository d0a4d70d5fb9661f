"""Do axes show the right range, ticks and numbers, and stand where they should?"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from scetm_core.printing import PrintSettings, render
from scetm_core.printing._axes import axes_of
from scetm_core.printing._panels import _type_of
from scetm_core.printing._plot import Plot, plot_of
from scetm_core.printing._read import read_scene
from scetm_core.printing._ticks import number_text
from scetm_core.printing.settings import MM


def laid_out(figure: go.Figure, **settings: Any) -> Plot:
    asked = PrintSettings(**settings)
    width = asked.width_mm * MM
    plot = plot_of(read_scene(figure), asked, _type_of(asked), title="", width=width)
    plot.choose_legend(width, width)
    plot.lay_out((0, 0, width, plot.natural_height(width)))
    return plot


def words_of(figure: go.Figure, **settings: Any) -> list[str]:
    drawing = render(figure, PrintSettings(**settings), file_format="svg").decode()
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


@pytest.mark.parametrize(
    ("value", "pattern", "step", "text"),
    [
        (12345.0, ",d", 0, "12,345"),
        (0.25, ".0%", 0, "25%"),
        (0.005, ".2~%", 0, "0.5%"),
        (2000.0, ",~r", 0, "2,000"),
        (1.5, ".2f", 0, "1.50"),
        (5000.0, "~s", 0, "5k"),
        (-0.5, "", 0.1, "−0.5"),
        (-0.0, "", 0.5, "0.0"),
        (10000.0, "", 5000, "10,000"),
        (0.00002, "", 0.00001, "2×10<sup>−5</sup>"),
    ],
)
def test_numbers_are_written_as_the_screen_writes_them(value: float, pattern: str, step: float, text: str) -> None:
    assert number_text(value, pattern=pattern, step=step) == text


def test_an_axis_of_logarithms_shows_values_and_bars_of_the_right_width(printed: SimpleNamespace) -> None:
    axes = axes_of(read_scene(printed.figures["histogram"]))
    assert axes["x"].kind == "log"
    assert 10 ** axes["x"].low == pytest.approx(500, rel=0.2)
    places, texts = axes["x"].ticks(200, 7)
    assert [float(text.replace(",", "")) for text in texts] == pytest.approx(10**places)


def test_the_range_of_the_screen_is_kept_and_a_reversed_axis_runs_down() -> None:
    figure = go.Figure(go.Scatter(x=[0, 1, 2], y=[0, 1, 2]))
    figure.update_xaxes(range=[0.5, 1.5], autorange=True).update_yaxes(autorange="reversed")
    axes = axes_of(read_scene(figure))
    assert (axes["x"].low, axes["x"].high) == (0.5, 1.5)
    assert axes["y"].low > axes["y"].high


def test_a_map_is_square_in_its_units(printed: SimpleNamespace) -> None:
    for settings in ({"width_mm": 85.0}, {"width_mm": 174.0, "legend": "below"}):
        axes = laid_out(printed.figures["umap"], **settings).axes
        x, y = axes["x"], axes["y"]
        assert (x.stop - x.start) / (x.high - x.low) == pytest.approx((y.stop - y.start) / (y.high - y.low))


def test_every_row_of_a_heatmap_is_named_and_a_higher_one_has_more_rows() -> None:
    def rows(n_rows: int) -> go.Figure:
        figure = go.Figure(go.Heatmap(z=np.random.default_rng(0).random((n_rows, 5)), y=np.arange(n_rows)))
        names = [f"gene {row}" for row in range(n_rows)]
        figure.update_yaxes(tickvals=np.arange(n_rows), ticktext=names, range=[n_rows - 0.5, -0.5])
        return figure.update_layout(height=100 + 15 * n_rows, margin={"t": 80, "b": 8})

    assert laid_out(rows(60)).area[3] > laid_out(rows(20)).area[3]
    for n_rows in (20, 60, 180):
        assert {f"gene {row}" for row in range(n_rows)} <= set(words_of(rows(n_rows)))


def test_no_text_beside_the_axes_covers_another(printed: SimpleNamespace) -> None:
    for name, figure in printed.figures.items():
        for width in (85.0, 174.0):
            boxes = [text.box for text in laid_out(figure, width_mm=width).texts]
            for number, (left, bottom, right, top) in enumerate(boxes):
                for other in boxes[number + 1 :]:
                    wide, high = min(right, other[2]) - max(left, other[0]), min(top, other[3]) - max(bottom, other[1])
                    assert min(wide, high) < 0.5, name


def test_axes_and_their_texts_stay_on_the_page(printed: SimpleNamespace) -> None:
    for name, figure in printed.figures.items():
        plot = laid_out(figure)
        for text in plot.texts:
            left, bottom, right, top = text.box
            assert min(left - plot.outer[0], bottom - plot.outer[1]) > -0.5, (name, text.block.plain)
            assert min(plot.outer[2] - right, plot.outer[3] - top) > -0.5, (name, text.block.plain)


def test_bars_side_by_side_on_each_other_and_over_each_other() -> None:
    def ends(mode: str) -> tuple[float, float]:
        figure = go.Figure([go.Bar(x=["a", "b"], y=[1, 2], name="one"), go.Bar(x=["a", "b"], y=[3, 1], name="two")])
        axis = axes_of(read_scene(figure.update_layout(barmode=mode)))["y"]
        return axis.low, axis.high

    assert ends("group") == ends("overlay") == pytest.approx((0, 3.15))
    assert ends("stack") == pytest.approx((0, 4.2))


@pytest.mark.parametrize("kind", [go.Box, go.Violin])
def test_distributions_stand_at_their_names(kind: type) -> None:
    rng = np.random.default_rng(0)
    figure = go.Figure([kind(y=rng.normal(size=50), name="inside"), kind(y=rng.normal(size=50), name="outside")])
    assert {"inside", "outside"} <= set(words_of(figure))


def test_a_histogram_counts_what_it_is_given() -> None:
    figure = go.Figure(go.Histogram(x=[1, 1, 2, 2, 2, 3], xbins={"start": 0.5, "end": 3.5, "size": 1}))
    assert axes_of(read_scene(figure))["y"].high == pytest.approx(3 * 1.05)


def test_a_legend_on_a_plot_with_axes_stands_within_them(printed: SimpleNamespace) -> None:
    assert {"training", "held out"} <= set(words_of(printed.figures["training"], legend="on"))


def test_annotations_on_an_axis_of_logarithms_stand_at_their_values(printed: SimpleNamespace) -> None:
    assert any(word.startswith("median") for word in words_of(printed.figures["histogram"]))
