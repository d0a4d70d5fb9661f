"""Can categories be told apart, and are the user's own colours honoured?"""

from __future__ import annotations

import numpy as np
import pytest

from scetm_core.figures import (
    GRAPH_CONFIG,
    MAP_CONFIG,
    category_colors,
    empty_figure,
    hard_to_tell_apart,
    palette,
)
from scetm_core.figures._colors import _oklab


def as_oklab(colors: tuple[str, ...]) -> np.ndarray:
    return _oklab(np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in colors]))


def test_oklab_has_its_published_values() -> None:
    # Ottosson (2020): white is (1, 0, 0); red (0.628, 0.225, 0.126)
    np.testing.assert_allclose(
        _oklab(np.array([[1.0, 1, 1], [1, 0, 0]])), np.array([[1, 0, 0], [0.628, 0.225, 0.126]]), atol=1e-3
    )


@pytest.mark.parametrize("n_colors", [1, 8, 13, 30, 100])
def test_colours_are_distinct_and_neither_black_nor_white(n_colors: int) -> None:
    colors = palette(n_colors)
    assert len(set(colors)) == n_colors
    points = as_oklab(colors)
    assert ((points[:, 0] > 0.35) & (points[:, 0] < 0.92)).all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(n_colors)
    assert apart.min() > (0.08 if n_colors <= 30 else 0.03)


def test_the_first_colours_are_okabe_and_itos() -> None:
    assert palette(20)[:7] == palette(8)[:7]
    assert {"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"} == set(palette(7))


def test_more_categories_than_colours_repeat() -> None:
    assert len(palette(400)) == 400


def test_the_users_own_colours_are_taken() -> None:
    assert category_colors(["a", "b"], ["#ff0000", "teal", "#00f"]) == {"a": "#ff0000", "b": "teal"}
    assert category_colors(["a"], ["#11223344"]) == {"a": "#112233"}


@pytest.mark.parametrize("own", [["#ff0000"], ["#ff0000", "no colour"], []])
def test_colours_that_cannot_be_used_are_left_aside(own: list[str]) -> None:
    assert category_colors(["a", "b"], own) == dict(zip("ab", palette(2), strict=True))


def test_colours_that_only_red_green_blindness_mixes_up_are_found_and_the_most_alike_come_first() -> None:
    # chosen on a line of confusion: clearly red-brown and green to most people
    brown, green = "#8c5a28", "#5f6e28"
    apart = np.linalg.norm(np.diff(as_oklab((brown, green)), axis=0))
    assert apart > 0.08
    assert hard_to_tell_apart({"a": brown, "b": "#0072b2", "c": green}) == [("a", "c")]
    assert hard_to_tell_apart({"a": brown, "b": green, "c": brown}) == [("a", "c"), ("a", "b"), ("b", "c")]


def test_our_first_colours_can_be_told_apart_with_red_green_blindness() -> None:
    assert hard_to_tell_apart(dict(zip("abcdefgh", palette(8), strict=True))) == []
    assert hard_to_tell_apart({"a": "#ffffff"}) == hard_to_tell_apart({}) == []


@pytest.mark.parametrize("config", [GRAPH_CONFIG, MAP_CONFIG])
def test_no_graph_offers_to_send_figures_to_a_cloud(config: dict[str, object]) -> None:
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False


def test_an_empty_figure_says_why() -> None:
    figure = empty_figure("There are <no> cells.")
    assert figure.layout.annotations[0].text == "There are &lt;no&gt; cells."
    assert not figure.data
