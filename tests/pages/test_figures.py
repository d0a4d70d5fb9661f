"""Can panels be arranged, taken off and brought back, and does the page say what to do when there are none?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import plotly.graph_objects as go
import pytest
from dash import Dash, dcc, no_update
from dash._utils import AttributeDict

from scetm_core import board
from scetm_core.runs import Run
from tests.pages.by_hand import finish, planted_data, result_of

FIGURE = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="curve")).to_json()


@pytest.fixture
def page(page_module: Callable[[str], ModuleType]) -> Any:
    return page_module("figures")


@pytest.fixture
def run(make_shown_run: Callable[..., Run]) -> Run:
    """A finished run whose board has two panels."""
    run = make_shown_run()
    finish(run, result_of(planted_data(), run.config))
    for place, graph in enumerate(("first", "second")):
        board.add_panel(run.path, f"{place:024x}", FIGURE, graph=graph)
    return run


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, page: Any) -> Callable[..., None]:
    """`on(id, value)`: what has been clicked or changed."""

    def trigger(component_id: Any, value: Any = 1) -> None:
        event = AttributeDict(triggered_id=component_id, triggered=[{"value": value}])
        monkeypatch.setattr(page, "ctx", event)

    return trigger


def graphs(run: Run) -> list[str]:
    return [panel.graph for panel in board.read_board(run.path).panels]


def button(action: str, run: Run, place: int) -> dict[str, str]:
    return {"type": "board-action", "action": action, "panel": board.read_board(run.path).panels[place].key}


def test_without_panels_the_page_says_how_to_add_some_and_leads_to_cells(
    page: Any, run: Run, words_in: Callable[[Any], str], components_in: Callable[..., Any], find: Any
) -> None:
    board.write_board(run.path, board.Board())
    shown = page.layout(run=run.id)
    empty = find(shown, page.EMPTY)
    assert "Add to figure" in words_in(empty)
    assert any(isinstance(node, dcc.Link) and node.href == f"/cells?run={run.id}" for node in components_in(empty))
    assert not empty.hidden
    assert find(shown, page.CONTENT).hidden


def test_every_panel_has_a_row_with_named_controls(page: Any, run: Run, components_in: Callable[..., Any]) -> None:
    rows, content_hidden, empty_hidden = page.list_panels(None, run.id)
    assert (len(rows), content_hidden, empty_hidden) == (2, False, True)
    names = [getattr(node, "aria-label", None) for node in components_in(rows)]
    assert {"Move up panel b", "Remove panel a", "Title of panel b", "Columns of panel a"} <= set(names)


def test_a_panel_moves_and_a_removed_one_comes_back(page: Any, run: Run, on: Callable[..., None]) -> None:
    on(button("up", run, 1))
    page.act([1], run.id)
    assert graphs(run) == ["second", "first"]
    on(button("remove", run, 0))
    state, _, removed, undo_hidden = page.act([1], run.id)
    assert graphs(run) == ["first"]
    assert (state["count"], undo_hidden) == (1, False)
    page.undo(1, removed, run.id)
    assert graphs(run) == ["second", "first"]


def test_titles_spans_and_columns_are_kept(page: Any, run: Run, on: Callable[..., None]) -> None:
    key = board.read_board(run.path).panels[0].key
    for name, value in (("title", "Curve"), ("column_span", 2)):
        on({"type": "board-field", "name": name, "panel": key}, value)
        page.change(2, [], run.id)
    on(page.COLUMNS, 3)
    page.change(3, [], run.id)
    shown = board.read_board(run.path)
    assert (shown.columns, shown.panels[0].title, shown.panels[0].column_span) == (3, "Curve", 2)
    assert shown.panels[1].column == 2


@pytest.mark.parametrize("value", [None, ""])
def test_a_field_that_is_empty_for_the_moment_changes_nothing(
    value: Any, page: Any, run: Run, on: Callable[..., None]
) -> None:
    before = board.read_board(run.path)
    on({"type": "board-field", "name": "row_span", "panel": before.panels[0].key}, value)
    assert page.change(2, [], run.id) is no_update
    on(page.COLUMNS, value)
    assert page.change(value, [], run.id) is no_update
    assert board.read_board(run.path) == before


@pytest.mark.parametrize(("file_format", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_the_board_is_drawn(file_format: str, start: bytes, app: Dash, run: Run) -> None:
    address = f"/export/board/{run.id}.{file_format}?width_mm=120&letters=1&download=1&stamp=7"
    answer = app.server.test_client().get(address)
    assert answer.data.startswith(start)
    assert f"{run.id}-figure.{file_format}" in answer.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("no-such-run", "no run called"), ("..%2fx", "nothing at this address"), ("a%00b", "not the name of a run")],
)
def test_an_unknown_run_is_said_in_words(name: str, words: str, app: Dash, run: Run) -> None:
    answer = app.server.test_client().get(f"/export/board/{name}.png")
    assert answer.status_code == 404
    assert words in answer.get_json()["error"]


def test_an_empty_board_is_said_in_words(app: Dash, run: Run) -> None:
    board.write_board(run.path, board.Board())
    answer = app.server.test_client().get(f"/export/board/{run.id}.png")
    assert (answer.status_code, "no panel" in answer.get_json()["error"]) == (404, True)


def test_a_panel_whose_figure_is_gone_is_said_in_words(app: Dash, run: Run) -> None:
    for file in Path(run.path / "figure_board").glob("*.json"):
        file.write_text(json.dumps([1])[:-1])
    answer = app.server.test_client().get(f"/export/board/{run.id}.png")
    assert answer.status_code == 400
    assert "Remove the panel" in answer.get_json()["error"]
