"""Which panels make the figure of a run? A board in the run's folder: panels in their order, on a grid of columns.

Each panel's figure is copied beside the board, so that it outlives what the browser sent. All that changes is written
beside and renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scetm_core import keys
from scetm_core.errors import ConfigError, RunError
from scetm_core.files import write_atomically
from scetm_core.json_text import read_json
from scetm_core.settings import Config, setting

MAX_COLUMNS, MAX_PANELS, MAX_TITLE = 6, 24, 120
KEPT_SECONDS = 86_400
"""A figure that no panel shows is kept that long, so that a removal can be undone."""

_FIGURE_ID = re.compile(r"[0-9a-f]{24}")


def is_figure_id(text: object) -> bool:
    """Whether a text can name a stored figure: 24 hexadecimal digits, so never a path."""
    return isinstance(text, str) and _FIGURE_ID.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class BoardPanel(Config):
    """One panel: a stored figure, and its place on the grid (counted from 0)."""

    key: str = setting("", "Key", "Tells panels apart.")
    figure: str = setting("", "Figure", "Id of the stored figure.")
    graph: str = setting("", "Graph", "The graph it was taken from.")
    title: str = setting("", "Title", "Above the panel; empty: none.")
    row: int = setting(0, "Row", "Of its upper left corner.", ge=0, le=400)
    column: int = setting(0, "Column", "Of its upper left corner.", ge=0, le=MAX_COLUMNS - 1)
    row_span: int = setting(1, "Rows", "How many rows of the grid it takes.", ge=1, le=4)
    column_span: int = setting(1, "Columns", "How many columns of the grid it takes.", ge=1, le=MAX_COLUMNS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_figure_id(self.figure):
            raise ConfigError(f"Figure (figure) {self.figure[:40]!r} is not the id of a stored figure.", field="figure")


@dataclass(frozen=True, kw_only=True)
class Board(Config):
    """The panels in their order; their places follow from it, from their spans and the number of columns."""

    columns: int = setting(2, "Columns", "Of the grid.", ge=1, le=MAX_COLUMNS)
    panels: tuple[BoardPanel, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Board:
        """Build from a dictionary.

        Raises
        ------
        ConfigError
            If a key is unknown or a value fails its check.
        """
        if not isinstance(values, Mapping) or set(values) - {"columns", "panels"}:
            raise ConfigError("A board must be a JSON object with 'columns' and 'panels'.")
        panels = values.get("panels", [])
        if not isinstance(panels, (list, tuple)):
            raise ConfigError("The panels of a board must be a list.", field="panels")
        if len(panels) > MAX_PANELS:
            raise ConfigError(f"A board holds at most {MAX_PANELS} panels, got {len(panels):,}.", field="panels")
        return cls(columns=values.get("columns", 2), panels=tuple(BoardPanel.from_dict(panel) for panel in panels))

    def place(self) -> Board:
        """The same board, each panel at the first free place behind the one before it."""
        taken: set[tuple[int, int]] = set()
        placed = []
        start = (0, 0)
        for panel in self.panels:
            width = self.width_of(panel)
            row, column = start
            while True:
                cells = {(row + i, column + j) for i in range(panel.row_span) for j in range(width)}
                if column + width <= self.columns and not cells & taken:
                    break
                row, column = (row, column + 1) if column + 1 < self.columns else (row + 1, 0)
            taken |= cells
            start = (row, column)
            placed.append(dataclasses.replace(panel, row=row, column=column))
        return dataclasses.replace(self, panels=tuple(placed))

    def width_of(self, panel: BoardPanel) -> int:
        """Columns that a panel takes: no more than there are."""
        return min(panel.column_span, self.columns)

    def move(self, key: str, *, by: int) -> Board:
        """The panel moved by so many places in the order; at an end it stays."""
        panels = list(self.panels)
        place = self._place_of(key)
        panel = panels.pop(place)
        panels.insert(max(0, place + by), panel)
        return dataclasses.replace(self, panels=tuple(panels)).place()

    def remove(self, key: str) -> Board:
        """The board without a panel."""
        self._place_of(key)
        return dataclasses.replace(self, panels=tuple(panel for panel in self.panels if panel.key != key)).place()

    def put_back(self, earlier: Board) -> Board:
        """The board with the panels of an earlier one that are gone, each where it was; all else as it is now."""
        panels, known = list(self.panels), {panel.key for panel in self.panels}
        for place, panel in enumerate(earlier.panels):
            if panel.key not in known:
                panels.insert(place, panel)
        return dataclasses.replace(self, panels=tuple(panels)).place()

    def change(self, key: str, name: str, value: Any) -> Board:
        """The board with one setting of a panel changed.

        Raises
        ------
        ConfigError
            If the value is out of range, or there is no such panel.
        """
        panels = list(self.panels)
        place = self._place_of(key)
        panels[place] = BoardPanel.from_dict({**panels[place].to_dict(), name: value})
        return dataclasses.replace(self, panels=tuple(panels)).place()

    def with_columns(self, columns: int) -> Board:
        """The board on a grid of so many columns.

        Raises
        ------
        ConfigError
            If there cannot be so many.
        """
        return Board(columns=columns, panels=self.panels).place()

    def _place_of(self, key: str) -> int:
        for place, panel in enumerate(self.panels):
            if panel.key == key:
                return place
        raise ConfigError("That panel is no longer on the board. Reload the page.", field="key")


def read_board(run_folder: Path) -> Board:
    """The board of a run; empty before the first panel.

    Raises
    ------
    RunError
        If it is damaged.
    """
    file = run_folder / keys.BOARD_FILE
    try:
        return Board.from_dict(read_json(file)) if file.exists() else Board()
    except (OSError, ValueError) as error:  # a ConfigError is a ValueError
        raise RunError(
            f"{keys.BOARD_FILE} of run {run_folder.name} cannot be read ({error}). Delete it to begin anew."
        ) from error


def write_board(run_folder: Path, board: Board) -> None:
    """Replace the board of a run.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    try:
        write_atomically(run_folder / keys.BOARD_FILE, board.to_json())
    except OSError as error:
        raise RunError(f"Cannot write {keys.BOARD_FILE}: {error.strerror or error}.") from error


def add_panel(run_folder: Path, figure_id: str, text: str, *, graph: str, title: str = "") -> Board:
    """Put a figure on the board, behind the others.

    Parameters
    ----------
    figure_id
        24 hexadecimal digits.
    text
        The figure as JSON, copied into the run's folder.

    Raises
    ------
    ConfigError
        If the id cannot be one.
    RunError
        If the board is full, damaged or cannot be written.
    """
    board = read_board(run_folder)
    if len(board.panels) >= MAX_PANELS:
        raise RunError(f"The board holds {MAX_PANELS} panels, and no more fit. Remove one on the Figures page first.")
    panel = BoardPanel(key=uuid.uuid4().hex[:8], figure=figure_id, graph=graph[:MAX_TITLE], title=title[:MAX_TITLE])
    folder = run_folder / keys.BOARD_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{figure_id}.json", text)
    except OSError as error:
        raise RunError(f"Cannot write {keys.BOARD_FOLDER}/{figure_id}.json: {error.strerror or error}.") from error
    board = dataclasses.replace(board, panels=(*board.panels, panel)).place()
    write_board(run_folder, board)
    _sweep(folder, board)
    return board


def remove_panel(run_folder: Path, key: str) -> Board:
    """Take a panel off the board; its figure stays for a day, so that writing the old board brings it back.

    Raises
    ------
    ConfigError
        If there is no such panel.
    RunError
        If the board is damaged or cannot be written.
    """
    before = read_board(run_folder)
    after = before.remove(key)
    for panel in before.panels:
        with contextlib.suppress(OSError):
            if panel.key == key:
                (run_folder / keys.BOARD_FOLDER / f"{panel.figure}.json").touch(exist_ok=True)
    write_board(run_folder, after)
    return after


def load_panel_figure(run_folder: Path, panel: BoardPanel) -> dict[str, Any]:
    """The figure of a panel as JSON.

    Raises
    ------
    RunError
        If it is gone or damaged.
    """
    file = run_folder / keys.BOARD_FOLDER / f"{panel.figure}.json"
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"The figure of panel {panel.title or panel.graph!r} cannot be read ({error}). "
            "Remove the panel and add it anew."
        ) from error


def _sweep(folder: Path, board: Board) -> None:
    """Delete figures that no panel has shown for a day."""
    shown = {panel.figure for panel in board.panels}
    for file in folder.glob("*.json"):
        if file.stem not in shown and file.stat().st_mtime < time.time() - KEPT_SECONDS:
            file.unlink(missing_ok=True)
