"""Is a map that is a picture on screen drawn anew for paper, and does its table hold every cell?"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dash import Dash
from PIL import Image

from pages._shared import cell_maps, selecting, sharp_maps
from scetm_core.errors import FigureError, ScetmError
from scetm_core.printing import PrintSettings, render

DONE, N_CELLS = "done-run", 60


@pytest.fixture
def picture(app: Dash, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A map as the browser sends it, drawn as a picture."""
    monkeypatch.setattr("scetm_core.figures.umap.MAX_POINTS", 10)
    monkeypatch.setattr("scetm_core.figures.umap.MAX_POINTS_IN_VIEW", 5)

    def draw(color: str = "cell_type", **how: Any) -> dict[str, Any]:
        figure, _ = cell_maps.draw_map(DONE, color, None, True, graph="g", **how)
        assert figure.layout.meta["drawn"] == "picture"
        return dict(json.loads(figure.to_json()))

    return draw


def image_in(figure: dict[str, Any]) -> np.ndarray:
    content = figure["layout"]["images"][0]["source"].partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_it_is_drawn_at_the_resolution_of_the_print(picture: Callable[..., Any]) -> None:
    shown = picture()
    sharp = sharp_maps.sharpened(shown, PrintSettings(width_mm=50.8, dpi=600))
    assert image_in(sharp).shape[:2] == (1200, 1200)
    assert image_in(shown).shape[:2] == (840, 840)
    assert sharp["data"] == shown["data"]
    colors = {tuple(pixel[:3]) for pixel in image_in(sharp)[image_in(sharp)[..., 3] > 0]}
    assert colors <= {tuple(pixel[:3]) for pixel in image_in(shown)[image_in(shown)[..., 3] > 0]} | colors
    assert len(colors) >= 2


def test_what_is_hidden_or_not_selected_stays_so(picture: Callable[..., Any]) -> None:
    everything = sharp_maps.sharpened(picture(), PrintSettings(dpi=100))
    groups = [trace["name"].partition(" (")[0] for trace in picture()["data"]]
    nothing = sharp_maps.sharpened(picture(hidden=groups), PrintSettings(dpi=100))
    assert image_in(everything)[..., 3].any()
    assert not image_in(nothing)[..., 3].any()
    rule = {"kind": "named", "cells": ["nobody"]}
    store, _ = selecting.take_step(None, {"run": DONE, "how": "new", "rule": rule})
    faded = sharp_maps.sharpened(picture(selection=selecting.current(store, DONE)), PrintSettings(dpi=100))
    assert 0 < image_in(faded)[..., 3].max() < 80


def test_only_the_part_in_view_is_drawn(picture: Callable[..., Any]) -> None:
    shown = picture()
    shown["layout"]["xaxis"]["range"] = [-0.5, 0.5]
    shown["layout"]["yaxis"]["range"] = [-0.5, 0.5]
    image = sharp_maps.sharpened(shown, PrintSettings(dpi=100))["layout"]["images"][0]
    assert (image["x"], image["y"], image["sizex"], image["sizey"]) == (-0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize("file_format", ["svg", "pdf", "png"])
def test_it_prints_with_its_legend(picture: Callable[..., Any], file_format: str) -> None:
    sharp = sharp_maps.sharpened(picture(), PrintSettings(dpi=150))
    content = render(sharp, PrintSettings(dpi=150), file_format=file_format)
    assert len(content) > 1000
    if file_format == "svg":
        assert b"<image" in content
        assert picture()["data"][0]["name"].partition(" (")[0].encode() in content


def test_its_table_has_every_cell(picture: Callable[..., Any]) -> None:
    table = sharp_maps.table_of(picture("topic_2"))
    assert list(table.columns) == ["cell", "umap_1", "umap_2", "topic_2"]
    assert len(table) == N_CELLS


def test_points_are_left_as_they_are(app: Dash) -> None:
    figure, _ = cell_maps.draw_map(DONE, "cell_type", None, True, graph="drawn-as-points")
    assert not sharp_maps.is_picture(json.loads(figure.to_json()))
    assert not sharp_maps.is_picture({"data": [], "layout": {"meta": "picture"}})


@pytest.mark.parametrize(
    "change",
    [
        {"run": "../../etc"}, {"run": 7}, {"color": None}, {"selection": "../../x"}, {"hidden": 3}, {"size": "x"},
        {"selection": "0" * 12},
    ],
    ids=str,
)  # fmt: skip
def test_a_map_that_speaks_of_something_else_is_refused(picture: Callable[..., Any], change: dict[str, Any]) -> None:
    shown = picture()
    shown["layout"]["meta"]["redraw"].update(change)
    with pytest.raises(ScetmError):
        sharp_maps.sharpened(shown, PrintSettings(dpi=100))


@pytest.mark.parametrize("ends", [None, [1], ["a", "b"], [2, 1], [float("nan"), 1]])
def test_a_map_without_a_part_in_view_is_refused(picture: Callable[..., Any], ends: Any) -> None:
    shown = picture()
    shown["layout"]["xaxis"]["range"] = ends
    with pytest.raises(FigureError):
        sharp_maps.sharpened(shown, PrintSettings(dpi=100))
