"""Does a picture of many cells count every one of them, and mix their colours by number?"""

from __future__ import annotations

import base64
import io

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scetm_core import keys
from scetm_core.figures import plot_umap, umap_frame
from scetm_core.figures.density import (
    color_steps,
    count_cells,
    over,
    pixels_of,
    png_address,
    rgb_of,
    shade_categories,
    shade_numbers,
)

WINDOW = (-2.0, 2.0, -1.0, 3.0)
SIZE = (40, 30)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5_000, 2)).astype(np.float32)


def test_counts_equal_a_histogram_and_sum_to_the_cells_in_view(places: np.ndarray) -> None:
    counts = count_cells(places, WINDOW, SIZE)
    edges = np.linspace(-1, 3, SIZE[1] + 1), np.linspace(-2, 2, SIZE[0] + 1)
    expected, _, _ = np.histogram2d(places[:, 1], places[:, 0], bins=edges)
    inside = (np.abs(places[:, 0]) <= 2) & (places[:, 1] >= -1) & (places[:, 1] <= 3)
    assert counts.sum() == inside.sum()
    assert np.abs(counts[::-1] - expected).sum() <= 2  # a place on an edge may fall either side


def test_the_edges_of_the_window_belong_to_it() -> None:
    corners = np.array([[-2, 3], [2, 3], [-2, -1], [2, -1], [2.001, 0], [0, 3.001]], dtype=np.float32)
    rows, pixels = pixels_of(corners, WINDOW, SIZE)
    assert rows.tolist() == [0, 1, 2, 3]
    assert pixels.tolist() == [0, 39, 29 * 40, 29 * 40 + 39]


def test_a_pixel_has_the_mean_colour_of_its_cells() -> None:
    places = np.zeros((4, 2), dtype=np.float32)
    colors = np.array([[255, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 255]])
    picture = shade_categories(places, colors, WINDOW, (1, 1))
    assert picture[0, 0].tolist() == [191, 0, 64, 255]


def test_a_pixel_of_numbers_has_the_colour_of_their_mean() -> None:
    scale = color_steps("Viridis")
    places, values = np.zeros((3, 2), dtype=np.float32), np.array([0.0, 1.0, 0.5])
    picture = shade_numbers(places, values, WINDOW, (1, 1), scale=scale, low=0, high=1)
    assert np.abs(picture[0, 0, :3].astype(int) - scale[round(0.5 * 255)]).max() <= 1


def test_more_cells_are_denser_and_none_is_empty() -> None:
    places = np.array([[-1.9, 2.9]] + [[1.9, -0.9]] * 50, dtype=np.float32)
    picture = shade_categories(places, np.tile([9, 9, 9], (51, 1)), WINDOW, SIZE)
    assert 0 < picture[0, 1, 3] < picture[-1, -1, 3] == 255
    assert np.count_nonzero(picture[..., 3]) == 2


def test_a_radius_makes_discs() -> None:
    place = np.array([[0.05, 0.95]], dtype=np.float32)
    for radius, n_pixels in ((0, 1), (1, 5), (2, 13)):
        picture = shade_categories(place, np.array([[9, 9, 9]]), WINDOW, SIZE, radius=radius)
        assert np.count_nonzero(picture[..., 3]) == n_pixels


def test_what_lies_over_covers_by_its_opacity() -> None:
    front, back = np.array([[[255, 0, 0, 255]]], dtype=np.uint8), np.array([[[0, 0, 255, 255]]], dtype=np.uint8)
    assert over(front, back)[0, 0].tolist() == [255, 0, 0, 255]
    half = front.copy()
    half[..., 3] = 128
    assert np.abs(over(half, back)[0, 0].astype(int) - [128, 0, 127, 255]).max() <= 1


@pytest.mark.parametrize(
    ("name", "rgb"), [("#0072B2", (0, 114, 178)), ("rgb(1, 2, 3)", (1, 2, 3)), ("teal", (0, 128, 128))]
)
def test_colours_are_read_as_plotly_names_them(name: str, rgb: tuple[int, int, int]) -> None:
    assert rgb_of(name) == rgb


def test_the_picture_survives_its_file() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    head, _, content = png_address(picture).partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), picture)


# ---- maps that are drawn as pictures ------------------------------------------------------------------------------


@pytest.fixture
def atlas(monkeypatch: pytest.MonkeyPatch) -> ad.AnnData:
    """More cells than are drawn as points."""
    monkeypatch.setattr("scetm_core.figures.umap.MAX_POINTS", 1_000)
    monkeypatch.setattr("scetm_core.figures.umap.MAX_POINTS_IN_VIEW", 200)
    rng = np.random.default_rng(0)
    types = pd.Categorical.from_codes(rng.integers(0, 2, 3_000), ["a", "b"])
    obs = pd.DataFrame({"t": types, "depth": rng.normal(size=3_000) ** 2}, index=[f"c{i}" for i in range(3_000)])
    return ad.AnnData(obs=obs, obsm={keys.X_UMAP: rng.normal(size=(3_000, 2)).astype(np.float32)})


def pixels_in(figure: object) -> np.ndarray:
    content = figure.layout.images[0].source.partition(",")[2]  # type: ignore[attr-defined]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_many_cells_are_a_picture_with_the_same_legend(atlas: ad.AnnData) -> None:
    figure = plot_umap(umap_frame(atlas, color="t"))
    assert figure.layout.meta["drawn"] == "picture"
    sizes = atlas.obs["t"].value_counts()
    assert {trace.name for trace in figure.data} == {f"a ({sizes['a']:,})", f"b ({sizes['b']:,})"}
    assert all(trace.x[0] is None for trace in figure.data)
    image = figure.layout.images[0]
    assert [image.x, image.x + image.sizex] == list(figure.layout.xaxis.range)
    assert [image.y - image.sizey, image.y] == list(figure.layout.yaxis.range)


def test_a_picture_of_numbers_keeps_its_colour_bar(atlas: ad.AnnData) -> None:
    frame = umap_frame(atlas, color="depth")
    (trace,) = plot_umap(frame).data
    assert trace.marker.showscale
    assert trace.marker.cmax == pytest.approx(frame["color"].max())


def test_a_small_window_has_points_again_and_the_legend_still_counts_all(atlas: ad.AnnData) -> None:
    frame = umap_frame(atlas, color="t")
    figure = plot_umap(frame, window=(0.0, 0.3, 0.0, 0.3))
    inside = (frame[["x", "y"]] >= 0).all(axis=1) & (frame[["x", "y"]] <= 0.3).all(axis=1)
    assert figure.layout.meta["drawn"] == "window"
    assert sorted(np.concatenate([trace.customdata for trace in figure.data])) == np.flatnonzero(inside).tolist()
    assert sum(int(trace.name.partition("(")[2].rstrip(")").replace(",", "")) for trace in figure.data) == 3_000
    assert list(figure.layout.xaxis.range) == [0.0, 0.3]


def test_hidden_groups_leave_the_picture(atlas: ad.AnnData) -> None:
    frame = umap_frame(atlas, color="t")
    figure = plot_umap(frame, hidden=["a"])
    assert {trace.name[0]: trace.visible for trace in figure.data} == {"a": "legendonly", "b": None}
    shown = pixels_in(figure)
    color = np.array(rgb_of(frame.attrs["colors"]["b"]))
    assert (shown[shown[..., 3] > 0][:, :3] == color).all()


def test_cells_that_are_not_selected_fade(atlas: ad.AnnData) -> None:
    frame, selected = umap_frame(atlas, color="t"), np.zeros(3_000, dtype=bool)
    nothing = pixels_in(plot_umap(frame, selected=selected))
    assert nothing[..., 3].max() < 80
    selected[17] = True
    assert (pixels_in(plot_umap(frame, selected=selected))[..., 3] > 200).any()


def test_points_that_are_not_selected_fade_in_every_trace(atlas: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scetm_core.figures.umap.MAX_POINTS", 10_000)
    selected = np.random.default_rng(1).random(3_000) < 0.3
    figure = plot_umap(umap_frame(atlas, color="t"), selected=selected)
    found = [trace.customdata[np.asarray(trace.selectedpoints)] for trace in figure.data]
    assert sorted(np.concatenate(found)) == np.flatnonzero(selected).tolist()
    assert all(trace.unselected.marker.opacity < 0.2 for trace in figure.data)


def test_for_print_all_cells_are_points(atlas: ad.AnnData) -> None:
    figure = plot_umap(umap_frame(atlas, color="t"), for_print=True)
    assert sum(len(trace.x) for trace in figure.data) == 3_000
    assert not figure.layout.images
