"""Are panels kept in order and place, do their figures outlive the browser's, and is damage said in words?"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from scetm_core import board, keys
from scetm_core.board import Board, BoardPanel, add_panel, load_panel_figure, read_board, remove_panel, write_board
from scetm_core.errors import ConfigError, RunError

FIGURE = json.dumps({"data": [], "layout": {}})
IDS = [f"{number:024x}" for number in range(4)]


def board_of(*spans: tuple[int, int], columns: int = 2) -> Board:
    """Panels "a", "b" and so on, with rows and columns as given."""
    panels = tuple(
        BoardPanel(key=chr(97 + place), figure=IDS[0], graph="g", row_span=rows, column_span=width)
        for place, (rows, width) in enumerate(spans)
    )
    return Board(columns=columns, panels=panels).place()


def places(shown: Board) -> list[tuple[int, int]]:
    return [(panel.row, panel.column) for panel in shown.panels]


def test_a_run_begins_with_an_empty_board(tmp_path: Path) -> None:
    assert read_board(tmp_path) == Board()


def test_a_figure_is_copied_beside_the_board_and_read_back(tmp_path: Path) -> None:
    add_panel(tmp_path, IDS[0], FIGURE, graph="cells-umap", title="Cells")
    (panel,) = read_board(tmp_path).panels
    assert (panel.graph, panel.title, panel.row, panel.column) == ("cells-umap", "Cells", 0, 0)
    assert load_panel_figure(tmp_path, panel) == json.loads(FIGURE)


def test_the_same_figure_may_be_several_panels(tmp_path: Path) -> None:
    for _ in range(3):
        shown = add_panel(tmp_path, IDS[0], FIGURE, graph="g")
    assert len({panel.key for panel in shown.panels}) == 3
    assert places(shown) == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("spans", "columns", "expected"),
    [
        ([(1, 1), (1, 2), (1, 1)], 2, [(0, 0), (1, 0), (2, 0)]),
        ([(2, 1), (1, 1), (1, 1), (1, 1)], 2, [(0, 0), (0, 1), (1, 1), (2, 0)]),
        ([(1, 3), (1, 1)], 1, [(0, 0), (1, 0)]),  # no wider than the grid
        ([(1, 1), (1, 1), (1, 1)], 3, [(0, 0), (0, 1), (0, 2)]),
    ],
)
def test_panels_flow_over_the_grid_in_their_order(
    spans: list[tuple[int, int]], columns: int, expected: list[tuple[int, int]]
) -> None:
    assert places(board_of(*spans, columns=columns)) == expected


def test_a_narrower_grid_does_not_forget_how_wide_a_panel_was_meant_to_be() -> None:
    shown = board_of((1, 2), (1, 1), columns=3)
    assert shown.with_columns(1).with_columns(3) == shown


def test_a_panel_moves_within_the_order_and_stays_at_its_ends() -> None:
    shown = board_of((1, 1), (1, 1), (1, 1))
    assert [panel.key for panel in shown.move("c", by=-1).panels] == ["a", "c", "b"]
    assert shown.move("a", by=-1) == shown
    assert shown.move("c", by=1) == shown


def test_a_removed_panel_comes_back_with_the_old_board(tmp_path: Path) -> None:
    add_panel(tmp_path, IDS[0], FIGURE, graph="g")
    before = add_panel(tmp_path, IDS[1], FIGURE, graph="h")
    file = tmp_path / keys.BOARD_FOLDER / f"{IDS[0]}.json"
    os.utime(file, (0, 0))
    remove_panel(tmp_path, before.panels[0].key)
    add_panel(tmp_path, IDS[2], FIGURE, graph="i")  # sweeps what is long unused
    assert [panel.graph for panel in read_board(tmp_path).panels] == ["h", "i"]
    write_board(tmp_path, before)
    assert load_panel_figure(tmp_path, read_board(tmp_path).panels[0]) == json.loads(FIGURE)


def test_figures_that_no_panel_has_shown_for_a_day_are_deleted(tmp_path: Path) -> None:
    shown = add_panel(tmp_path, IDS[0], FIGURE, graph="g")
    remove_panel(tmp_path, shown.panels[0].key)
    file = tmp_path / keys.BOARD_FOLDER / f"{IDS[0]}.json"
    long_ago = time.time() - board.KEPT_SECONDS - 9
    os.utime(file, (long_ago, long_ago))
    add_panel(tmp_path, IDS[1], FIGURE, graph="h")
    assert not file.exists()


def test_a_full_board_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MAX_PANELS", 1)
    add_panel(tmp_path, IDS[0], FIGURE, graph="g")
    with pytest.raises(RunError, match="no more fit"):
        add_panel(tmp_path, IDS[1], FIGURE, graph="g")


@pytest.mark.parametrize("figure_id", ["../../etc/passwd", "", "x" * 24, "0" * 23, f"{IDS[0]}/..", f"{IDS[0]}\n"])
def test_only_an_id_names_a_figure(figure_id: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the id of a stored figure"):
        add_panel(tmp_path, figure_id, FIGURE, graph="g")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("row_span", 9, "at most 4"),
        ("column_span", 0, "at least 1"),
        ("title", 3, "of type str"),
        ("no", 1, "not know"),
    ],
)
def test_a_wrong_change_is_said_in_words(name: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        board_of((1, 1)).change("a", name, value)


def test_a_panel_that_is_gone_is_said_in_words() -> None:
    with pytest.raises(ConfigError, match="no longer on the board"):
        board_of((1, 1)).remove("z")


@pytest.mark.parametrize("text", ["{", "[]", '{"columns": 99}', '{"panels": [{"figure": "../x"}]}', '{"panels": 3}'])
def test_a_damaged_board_is_said_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / keys.BOARD_FILE).write_text(text)
    with pytest.raises(RunError, match=r"figure_board\.json .* cannot be read"):
        read_board(tmp_path)


def test_a_figure_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    shown = add_panel(tmp_path, IDS[0], FIGURE, graph="cells-umap")
    (tmp_path / keys.BOARD_FOLDER / f"{IDS[0]}.json").unlink()
    with pytest.raises(RunError, match="'cells-umap' cannot be read"):
        load_panel_figure(tmp_path, shown.panels[0])


def test_what_changed_after_a_removal_stays_when_the_panel_comes_back(tmp_path: Path) -> None:
    add_panel(tmp_path, IDS[0], FIGURE, graph="g")
    before = add_panel(tmp_path, IDS[1], FIGURE, graph="h")
    after = remove_panel(tmp_path, before.panels[0].key)
    changed = after.change(after.panels[0].key, "title", "Later").with_columns(3)
    back = changed.put_back(before)
    assert [panel.graph for panel in back.panels] == ["g", "h"]
    assert (back.panels[1].title, back.columns) == ("Later", 3)
    assert back.put_back(before) == back
