"""Does a printed figure say what the figure says?"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image
from plotly.colors import sample_colorscale

from scetm_core.errors import ConfigError, FigureError
from scetm_core.printing import (
    JOURNAL_WIDTHS,
    Panel,
    PrintSettings,
    font_families,
    rasterised,
    render,
    render_panels,
)

NAMES = [
    "umap", "umap with others", "umap of a topic", "genes by topics", "markers by topics", "groups by topics",
    "top genes", "cells by topics", "training", "histogram", "empty", "distribution", "pathways",
    "topics of a pathway", "topic use", "flagged", "confusion", "maps", "differential", "volcano", "manhattan",
    "running sum", "silhouettes", "agreement", "trade-off", "sweep", "topic match", "topic stability", "joint map",
    "neighbourhood",
]  # fmt: skip


def points(n: int = 30, **options: Any) -> go.Scatter:
    rng = np.random.default_rng(0)
    shown: dict[str, Any] = {"mode": "markers", "name": "cells", "marker": {"color": "#0072B2", "size": 5}}
    return go.Scatter(x=rng.normal(size=n), y=rng.normal(size=n), **{**shown, **options})


def svg(figure: Any, **settings: Any) -> str:
    return render(figure, PrintSettings(**settings), file_format="svg").decode()


def texts_of(drawing: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", text).strip() for text in re.findall(r"<text[^>]*>.*?</text>", drawing, re.S)]


def group(drawing: str, name: str) -> str:
    """What an SVG holds of one trace."""
    start = drawing.index(f'<g id="{name}"')
    depth = 0
    for tag in re.finditer(r"<g[ >]|</g>", drawing[start:]):
        depth += 1 if tag[0] != "</g>" else -1
        if depth == 0:
            return drawing[start : start + tag.end()]
    raise AssertionError(name)


def pdf_streams(content: bytes) -> str:
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.S)
    texts = []
    for stream in found:
        try:
            texts.append(zlib.decompress(stream).decode("latin-1"))
        except zlib.error:
            texts.append(stream.decode("latin-1"))
    return "\n".join(texts)


def test_the_list_of_figures_is_complete(printed: SimpleNamespace) -> None:
    assert sorted(printed.figures) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_prints_in_every_format_without_a_warning(printed: SimpleNamespace, name: str) -> None:
    figure = printed.figures[name]
    for width in JOURNAL_WIDTHS.values():
        assert "<svg" in svg(figure, width_mm=width)
    assert render(figure, PrintSettings(), file_format="pdf").startswith(b"%PDF")
    assert render(figure, PrintSettings(dpi=72), file_format="png").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["umap", "cells by topics", "volcano", "manhattan"])
def test_the_json_of_a_browser_prints_like_the_figure(printed: SimpleNamespace, name: str) -> None:
    content = json.loads(printed.figures[name].to_json())
    assert svg(content) == svg(printed.figures[name])


@pytest.mark.parametrize("name", ["umap", "cells by topics"])
def test_the_same_figure_gives_the_same_bytes(printed: SimpleNamespace, name: str) -> None:
    for file_format in ("svg", "pdf", "png"):
        first, second = (
            render(printed.figures[name], PrintSettings(dpi=100), file_format=file_format) for _ in range(2)
        )
        assert first == second, file_format


@pytest.mark.parametrize(("width", "height"), [(85.0, 60.0), (174.0, 120.5), (20.0, 20.0)])
def test_a_page_has_exactly_the_size_asked_for(width: float, height: float) -> None:
    figure, settings = go.Figure(points()), PrintSettings(width_mm=width, height_mm=height, dpi=254)
    head = render(figure, settings, file_format="svg").decode()
    assert f'width="{width:g}mm"' in head
    assert f'height="{height:g}mm"' in head
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", render(figure, settings, file_format="pdf"))
    assert box is not None
    assert [float(side) * 25.4 / 72 for side in box.groups()] == pytest.approx([width, height], abs=0.001)
    with Image.open(io.BytesIO(render(figure, settings, file_format="png"))) as image:
        assert image.size == (round(width * 10), round(height * 10))
        assert image.info["dpi"] == pytest.approx((254, 254), abs=0.1)


def test_nothing_is_drawn_on_the_rim_of_the_page(printed: SimpleNamespace) -> None:
    for name, figure in printed.figures.items():
        content = render(figure, PrintSettings(dpi=150), file_format="png")
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGB"))
        rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (rim == 255).all(), name


def test_small_type_and_a_low_resolution_cut_nothing_off() -> None:
    names = ["quiescent_stellate (47)", "activated_stellate (14)", "immune_other (8)"]
    figure = go.Figure(
        [
            points(name=name, marker={"color": color})
            for name, color in zip(names, ("red", "green", "blue"), strict=True)
        ]
    )
    for font_size in (4.0, 5.0, 7.0):
        content = render(figure, PrintSettings(dpi=150, font_size=font_size, height_mm=40), file_format="png")
        with Image.open(io.BytesIO(content)) as image:
            assert (np.asarray(image.convert("RGB"))[:, -1] == 255).all(), font_size


def test_words_are_text_in_svg_and_true_type_in_pdf(printed: SimpleNamespace) -> None:
    assert {"type 0 (70)", "type 1 (35)", "type 2 (15)"} <= set(texts_of(svg(printed.figures["umap"])))
    content = render(printed.figures["umap"], PrintSettings(), file_format="pdf")
    assert b"/FontFile2" in content or "/FontFile2" in pdf_streams(content)
    assert b"/Type3" not in content


@pytest.mark.parametrize("font_size", [5.0, 8.0])
def test_text_has_the_size_asked_for(font_size: float) -> None:
    figure = go.Figure([points(name="a"), points(name="b", marker={"color": "red"})])
    figure.update_layout(font={"size": 13}, legend={"font": {"size": 13}})
    entry = next(text for text in re.findall(r"<text[^>]*>", svg(figure, font_size=font_size)) if "start" in text)
    assert f"font-size: {font_size:g}px" in entry


def test_there_is_a_vector_point_for_each_cell_in_its_colour() -> None:
    drawn = group(svg(go.Figure(points(77))), "points-0")
    assert drawn.count("<use") == 77
    assert "#0072b2" in drawn.lower()


def test_points_of_many_colours_keep_theirs() -> None:
    drawn = group(svg(go.Figure(points(4, marker={"color": ["red", "#00ff00", "blue", "red"]}))), "points-0")
    assert re.findall(r"fill: (#\w{6})", drawn).count("#ff0000") == 2
    assert {"#00ff00", "#0000ff"} <= set(re.findall(r"fill: (#\w{6})", drawn))


def test_numbers_become_the_colours_of_the_scale_between_its_ends() -> None:
    marker = {"color": [0.0, 5.0, 20.0], "colorscale": "Viridis", "cmin": 0, "cmax": 10}
    drawn = group(svg(go.Figure(points(3, marker=marker))), "points-0")
    expected = [viridis(share) for share in (0, 0.5, 1)]
    assert re.findall(r"fill: (#\w{6})", drawn)[-3:] == expected


def viridis(share: float) -> str:
    (color,) = sample_colorscale("Viridis", [float(share)])
    return "#" + "".join(f"{round(float(part)):02x}" for part in re.findall(r"[\d.]+", color)[:3])


def test_points_outside_a_selection_fade() -> None:
    figure = go.Figure(points(5, selectedpoints=[1, 3], unselected={"marker": {"opacity": 0.1}}))
    drawn = group(svg(figure), "points-0")
    assert len(re.findall(r"fill-opacity: 0\.1\b", drawn)) == 3


def test_cells_of_a_heatmap_have_the_colours_of_the_scale_at_their_values() -> None:
    z = [[0.0, 0.25], [0.5, 1.0]]
    drawn = group(svg(go.Figure(go.Heatmap(z=z, colorscale="Viridis", zmin=0, zmax=1))), "heatmap-0")
    expected = [viridis(value) for value in (0, 0.25, 0.5, 1)]
    assert re.findall(r"fill: (#\w{6})", drawn) == expected


def test_bars_that_touch_show_no_seams() -> None:
    touching = go.Figure(go.Bar(x=[0, 1, 2], y=[3, 4, 5], marker={"color": "#0c8599", "line": {"width": 0}}))
    touching.update_layout(bargap=0)
    assert "stroke: #0c8599" in group(svg(touching), "bars-0")
    assert "stroke: #0c8599" not in group(svg(touching.update_layout(bargap=0.2)), "bars-0")


def test_cells_without_a_value_stay_empty() -> None:
    drawn = group(svg(go.Figure(go.Heatmap(z=[[0.0, None], [0.5, 1.0]]))), "heatmap-0")
    assert len(re.findall(r"fill: (#\w{6})", drawn)) == 3


def test_a_heatmap_of_very_many_cells_is_an_image_with_the_right_colours_in_the_right_order() -> None:
    z = np.zeros((100, 100))
    z[:50] = 1.0
    figure = go.Figure(go.Heatmap(z=z, colorscale=[[0, "#ff0000"], [1, "#0000ff"]], showscale=False))
    figure.update_yaxes(autorange="reversed", visible=False)
    figure.update_xaxes(visible=False)
    assert svg(figure).count("<image") == 1
    with Image.open(io.BytesIO(render(figure, PrintSettings(dpi=100), file_format="png"))) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    assert pixels[height // 4, width // 2].tolist() == [0, 0, 255]  # the first rows, on top
    assert pixels[3 * height // 4, width // 2].tolist() == [255, 0, 0]


def test_what_is_outside_the_range_on_the_screen_is_not_drawn() -> None:
    figure = go.Figure(go.Scatter(x=[0, 1, 2, 3], y=[0, 1, 2, 3], mode="markers"))
    figure.update_xaxes(range=[0.5, 2.5])
    assert group(svg(figure), "points-0").count("<use") == 2


def test_a_hidden_trace_is_neither_drawn_nor_listed() -> None:
    figure = go.Figure([points(name="seen"), points(name="too"), points(name="hidden", visible="legendonly")])
    drawing = svg(figure)
    assert "hidden" not in texts_of(drawing)
    assert {"seen", "too"} <= set(texts_of(drawing))
    assert 'id="points-2"' not in drawing


def test_the_legend_is_in_the_order_of_its_ranks_and_may_be_left_out() -> None:
    figure = go.Figure(
        [points(name="last", legendrank=2000), points(name="first", marker={"color": "red"}), points(name="second")]
    )
    words = [text for text in texts_of(svg(figure)) if text in ("first", "second", "last")]
    assert words == ["first", "second", "last"]
    assert "first" not in texts_of(svg(figure, legend="off"))


def test_a_legend_that_the_app_draws_itself_is_printed(printed: SimpleNamespace) -> None:
    figure = go.Figure(printed.figures["umap"]).update_layout(showlegend=False)
    assert "type 0 (70)" in texts_of(svg(figure))


def test_names_on_the_plot_are_not_written_twice(printed: SimpleNamespace) -> None:
    figure = go.Figure(printed.figures["umap"])
    assert texts_of(svg(figure, legend="on")).count("type 0") == 1
    figure.layout.annotations = ()
    assert texts_of(svg(figure, legend="on")).count("type 0") == 1


def test_a_long_legend_stays_on_the_page_in_columns() -> None:
    figure = go.Figure(
        [points(3, name=f"a rather long name {i}", marker={"color": f"#{i:02x}5080"}) for i in range(60)]
    )
    for legend in ("right", "below"):
        drawing = svg(figure, legend=legend)
        assert sum(text.startswith("a rather long name") for text in texts_of(drawing)) == 60
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)
        assert size is not None
        places = re.findall(r'<text[^>]*?(?: x="([-\d.]+)" y="([-\d.]+)"|translate\(([-\d.]+) ([-\d.]+)\))', drawing)
        for found in places:
            x, y = (float(part) for part in found if part)
            assert 0 <= x <= float(size[1])
            assert 0 <= y <= float(size[2])


def test_more_than_50000_points_are_one_bitmap_at_the_resolution_asked_for() -> None:
    figure = go.Figure(go.Scattergl(x=np.arange(60_000) % 300, y=np.arange(60_000) // 300, mode="markers"))
    assert rasterised(figure)
    assert not rasterised(go.Figure(points(100)))
    drawing = svg(figure)
    images = re.findall(r'<image[^>]*?width="([\d.]+)"[^>]*?>', drawing)
    assert drawing.count("<image") == len(images) == 1
    content = re.search(r'"data:image/png;base64,\s*([^"]+)"', drawing)
    assert content is not None
    with Image.open(io.BytesIO(base64.b64decode(content[1]))) as image:
        assert image.width / float(images[0]) * 72 == pytest.approx(600, rel=0.02)
    assert texts_of(drawing), "axes stay vectors"


def test_typed_arrays_of_a_browser_are_decoded() -> None:
    values = np.array([[0, 1, 2], [3, 4, 5]], dtype="<f4")
    spec = {"dtype": "f4", "bdata": base64.b64encode(values.tobytes()).decode(), "shape": "2, 3"}
    figure = {"data": [{"type": "heatmap", "z": spec, "colorscale": "Viridis"}], "layout": {}}
    drawn = group(svg(figure), "heatmap-0")
    assert len(re.findall(r"fill: (#\w{6})", drawn)) == 6
    assert viridis(1.0) in drawn


def test_tags_and_entities_become_words() -> None:
    figure = go.Figure(points()).update_xaxes(title={"text": "<b>A</b> &amp; 1 &lt; 2<br>10<sup>3</sup>"})
    words = texts_of(svg(figure))
    assert "A" in words
    assert any("1 &lt; 2" in word for word in words)
    assert not any("<b>" in word or "&amp;amp;" in word for word in words)


def test_dollars_in_a_name_are_no_mathematics() -> None:
    assert "cost $5 to $10_x" in texts_of(svg(go.Figure(points()).update_xaxes(title={"text": "cost $5 to $10_x"})))


def test_letters_that_no_typeface_has_do_not_stop_the_print() -> None:
    assert "<svg" in svg(go.Figure(points()).update_xaxes(title={"text": "細胞 \U0001f9ec"}))


def test_a_picture_in_the_figure_lies_below_its_points() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "green").save(stream, "png")
    source = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    figure = go.Figure(points())
    figure.add_layout_image(source=source, x=0, y=1, sizex=1, sizey=1, xref="paper", yref="paper", layer="below")
    drawing = svg(figure)
    assert drawing.index("<image") < drawing.index('id="points-0"')


@pytest.mark.parametrize("file_format", ["eps", "gif", "tiff", "jpeg"])
def test_a_picture_of_another_format_is_not_opened(file_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_ghostscript(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", start_ghostscript)
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "green").save(stream, file_format)
    source = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    figure = go.Figure(points())
    figure.add_layout_image(source=source, x=0, y=1, sizex=1, sizey=1, xref="paper", yref="paper")
    with pytest.raises(FigureError, match="cannot be decoded as PNG"):
        svg(figure)


def test_a_transparent_page_has_no_background() -> None:
    for transparent in (True, False):
        content = render(go.Figure(points()), PrintSettings(transparent=transparent, dpi=72), file_format="png")
        with Image.open(io.BytesIO(content)) as image:
            assert (np.asarray(image.convert("RGBA"))[0, 0, 3] == 0) == transparent


def test_panels_are_lettered_from_the_upper_left_and_share_the_page(printed: SimpleNamespace) -> None:
    figures = printed.figures
    panels = [
        Panel(figure=figures["umap"], title="Cells", row=0, column=0),
        Panel(figure=figures["volcano"], row=0, column=1),
        Panel(figure=figures["groups by topics"], row=1, column=0, column_span=2),
    ]
    settings = PrintSettings(width_mm=174, title="Figure 1")
    drawing = render_panels(panels, settings, file_format="svg").decode()
    words = texts_of(drawing)
    assert {"a", "b", "c", "Cells", "Figure 1", "type 0 (70)"} <= set(words)
    assert 'width="174mm"' in drawing
    plain = render_panels(panels, settings, file_format="svg", letters=False).decode()
    assert not {"a", "b", "c"} & set(texts_of(plain))
    exact = render_panels(panels, PrintSettings(width_mm=174, height_mm=150), file_format="svg").decode()
    assert 'height="150mm"' in exact


def test_names_of_things_in_a_page_of_panels_are_unique(printed: SimpleNamespace) -> None:
    panels = [Panel(figure=printed.figures[name], row=row) for row, name in enumerate(("umap", "umap", "manhattan"))]
    drawing = render_panels(panels, PrintSettings(), file_format="svg").decode()
    names = re.findall(r'id="([^"]+)"', drawing)
    assert len(names) == len(set(names))
    assert group(drawing, "points-b-0").count("<use") == group(drawing, "points-a-0").count("<use")


def test_a_name_steps_aside_for_a_small_group_and_stays_on_a_large_one() -> None:
    from scetm_core.printing._labels import keep_clear
    from scetm_core.printing._place import Written
    from scetm_core.printing._text import Type, chosen_family

    type = Type(chosen_family("automatic"), 0.5)
    rng = np.random.default_rng(0)
    small, large = rng.normal([50, 50], 2, size=(40, 2)), rng.uniform([120, 20], [190, 90], size=(900, 2))
    texts = [
        Written(type.block("a name", 13), at, "center", "middle", (0, 0, 0, 1), background=(1, 1, 1, 0.7))
        for at in ((50.0, 50.0), (155.0, 55.0))
    ]
    keep_clear(texts, np.concatenate([small, large]), (0, 0, 200, 100), held=set())
    left, bottom, right, top = texts[0].box
    hidden = ((small > (left, bottom)) & (small < (right, top))).all(axis=1)
    assert hidden.mean() <= 0.25
    assert texts[1].at == (155.0, 55.0)


def test_an_image_that_would_fill_the_memory_is_refused() -> None:
    settings = PrintSettings(width_mm=400, height_mm=400, dpi=1200)
    with pytest.raises(ConfigError, match="357 million pixels, over 150"):
        render(go.Figure(points()), settings, file_format="png")
    assert "<svg" in render(go.Figure(points()), settings, file_format="svg").decode()


def test_prints_at_the_same_time_do_not_disturb_each_other(printed: SimpleNamespace) -> None:
    figures = [printed.figures[name] for name in ("umap", "volcano", "groups by topics")]
    alone = [svg(figure) for figure in figures]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(svg, figures)) == alone


def test_a_page_without_panels_or_with_two_in_one_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="no panel to draw"):
        render_panels([], PrintSettings(), file_format="svg")
    figure = go.Figure(points())
    with pytest.raises(ConfigError, match="Panels a and b both take row 0, column 1"):
        render_panels(
            [Panel(figure=figure, column_span=2), Panel(figure=figure, column=1)], PrintSettings(), file_format="svg"
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width_mm": 19}, "at least 20, at most 400"),
        ({"height_mm": 500}, "at most 400"),
        ({"height_mm": 5}, "must be 0, or between 20 and 400 mm, got 5"),
        ({"dpi": 50}, "at least 72, at most 1200"),
        ({"dpi": 1300}, "at most 1200"),
        ({"legend": "left"}, "must be one of"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PrintSettings(**settings)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"data": [{"type": "surface"}]}, "Trace 1 is of the kind 'surface', which cannot be printed"),
        ({"data": [{"x": {"dtype": "f4", "bdata": "!!!"}, "y": [1]}]}, "array in trace 1 cannot be decoded"),
        ({"data": [{"x": {"dtype": "f4", "bdata": "AAAA"}, "y": [1]}]}, "array in trace 1 cannot be decoded"),
        ({"data": [{"x": {"dtype": "no", "bdata": ""}, "y": [1]}]}, "cannot be decoded"),
        ({"data": [3]}, "Trace 1 of the figure is no object"),
        ([1, 2], "must have 'data' and 'layout'"),
        ({"data": [{"x": [1], "y": [1], "mode": "markers", "marker": {"color": "no colour"}}]}, "is no colour"),
        ({"data": [{"type": "heatmap", "z": [[1]], "colorscale": "Nothing"}]}, "no colour scale called 'Nothing'"),
        ({"data": [{"x": [1], "y": [1]}], "layout": {"xaxis": {"domain": ["a", 1]}}}, "cannot be printed"),
        (
            {"data": [], "layout": {"images": [{"source": "http://localhost/x.png"}]}},
            "no data URI .* and none is fetched",
        ),
    ],
)
def test_a_figure_that_cannot_be_printed_is_refused_in_words(figure: Any, words: str) -> None:
    with pytest.raises(FigureError, match=words):
        svg(figure)


def test_an_unknown_format_or_typeface_is_refused() -> None:
    with pytest.raises(ConfigError, match="File format must be one of"):
        render(go.Figure(), PrintSettings(), file_format="gif")
    with pytest.raises(ConfigError, match="'Nothing Sans' is not installed"):
        svg(go.Figure(), font_family="Nothing Sans")
    assert font_families()


def test_importing_printing_imports_no_matplotlib() -> None:
    code = "import sys, scetm_core.printing; print('matplotlib' in sys.modules, 'PIL' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
