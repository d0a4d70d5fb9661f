"""Which pieces do all pages share? Header, cards, empty states, badges, notices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from pages._shared.export import export_menu
from scetm_core.errors import RunError
from scetm_core.figures import GRAPH_CONFIG, MAP_CONFIG

EMPTY_FIGURE = {
    "data": [],
    "layout": {
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
    },
}
"""What a graph shows until its figure comes."""

STATE_COLORS = {
    "queued": "gray",
    "running": "blue",
    "done": "teal",
    "failed": "red",
    "cancelled": "yellow",
    "lost": "orange",
}
STATE_WORDS = {
    "queued": "Waiting for its turn",
    "running": "Training",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "lost": "Stopped without a word: its process is gone",
}


def page(title: str, question: str, *children: Component | None, actions: Sequence[Component] = ()) -> Component:
    """A whole page: title, the one question it answers, then its content."""
    return dmc.Stack(
        [
            dmc.Group(
                [
                    html.Div(
                        [dmc.Title(title, order=1, className="page-title"), dmc.Text(question, c="dimmed", size="sm")]
                    ),
                    dmc.Group(list(actions), gap="xs"),
                ],
                justify="space-between",
                align="flex-end",
            ),
            *[child for child in children if child is not None],
        ],
        gap="md",
        className="page",
    )


def card(*children: Component | None, title: str | Component = "", actions: Sequence[Component] = ()) -> Component:
    """A quiet box, with a heading (words, or a control that stands for them) and buttons at its top if given."""
    left = dmc.Title(title, order=2, className="card-title") if isinstance(title, str) else title
    heading = dmc.Group(
        [left, dmc.Group(list(actions), gap=4, wrap="nowrap")],
        justify="space-between",
        align="start",
        wrap="nowrap",
        className="card-heading",
    )
    content = [child for child in children if child is not None]
    return dmc.Paper([heading, *content] if title or actions else content, className="card")


def figure_card(
    graph_id: str,
    *,
    title: str | Component,
    how_to_read: str,
    controls: Sequence[Component] = (),
    height: int | None = 480,
    scrolls: bool = False,
    is_map: bool = False,
    has_legend: bool = False,
    table: bool = True,
    name: str = "",
) -> Component:
    """A graph with its title, explanation and export menu. The space is held before the figure comes.

    Parameters
    ----------
    height
        Pixels; None for a figure that knows its own.
    scrolls
        Whether a tall figure scrolls in its card.
    is_map
        Whether the wheel zooms.
    has_legend
        Whether the page puts a legend into `legend_id` below the graph.
    table
        Whether the page offers the graph's table as CSV (see `export.csv_button`).
    name
        What assistive technology calls the figure, where its title is a control.
    """
    described = f"{graph_id}-description"
    named: dict[str, Any] = {
        **_name_of(title, name),
        "aria-describedby": described,
        **({"tabIndex": 0} if scrolls else {}),
    }
    return card(
        dmc.Group(list(controls), gap="sm", align="flex-end") if controls else None,
        html.Div(
            dcc.Graph(
                id=graph_id,
                config=cast("dcc.Graph.Config", MAP_CONFIG if is_map else GRAPH_CONFIG),
                responsive=True if height else "auto",
                style={"height": f"min({height}px, 100vw)" if is_map else f"{height}px"} if height else {},
                figure=EMPTY_FIGURE,
            ),
            className="graph" + (" graph-scrolls" if scrolls else "") + ("" if height else " graph-own-height"),
            role="figure",
            **named,
        ),
        html.Div(first_sentence(how_to_read), id=described, hidden=True),
        html.Div(id=legend_id(graph_id)) if has_legend else None,
        title=title,
        actions=[explanation(how_to_read), export_menu(graph_id, table=table)],
    )  # fmt: skip


def _name_of(title: str | Component, name: str) -> dict[str, str]:
    """What assistive technology calls a figure: the name given, its title, or what the title says at the time."""
    if name or isinstance(title, str):
        return {"aria-label": name or str(title)}
    label, title_id = getattr(title, "label", None), getattr(title, "id", None)
    return {"aria-labelledby": title_id} if label is None and isinstance(title_id, str) else {"aria-label": str(label)}


def first_sentence(text: str) -> str:
    """What a figure shows, in short: an explanation begins with it."""
    return re.split(r"(?<=\.) ", text, maxsplit=1)[0]


def legend_id(graph: str) -> str:
    """Id of the place for the legend of a graph."""
    return f"{graph}-legend"


def explanation(text: str) -> Component:
    """The small (i) that says how to read a figure; opens on click, so it works by keyboard and touch."""
    return dmc.Popover(
        [
            dmc.PopoverTarget(
                dmc.ActionIcon(
                    "i", variant="subtle", color="gray", className="info", **{"aria-label": "How to read this"}
                )
            ),
            dmc.PopoverDropdown(dmc.Text(text, size="sm")),
        ],
        width=300,
        position="bottom-end",
        shadow="md",
        withArrow=True,
    )


def empty_state(title: str, text: str, *buttons: Component) -> Component:
    """What stands where there is nothing yet: what is missing, and the button that makes it."""
    return dmc.Paper(
        dmc.Stack(
            [
                dmc.Title(title, order=2, className="card-title"),
                dmc.Text(text, c="dimmed", maw=520),
                dmc.Group(list(buttons)),
            ],
            align="center",
            gap="sm",
            className="empty-state",
        ),
        className="card",
    )


def no_run_state() -> Component:
    """For pages that show a result while there is none."""
    return empty_state(
        "No result to show yet",
        "This page shows what a trained model found. Train one first: the demo data take about a minute.",
        link_button("Go to Train", "/train"),
    )


def link_button(label: str, href: str, **look: Any) -> Component:
    """A link that looks like a button."""
    return dcc.Link(dmc.Button(label, **{"variant": "light", **look}, tabIndex=-1), href=href, className="button-link")


def upload_box(kind: str = "") -> Component:
    """Where a file is dropped or chosen to be uploaded; assets/studio.js does the rest.

    Parameters
    ----------
    kind
        Of file, as the upload route knows them; empty for a data set. The answer goes into the store
        "uploaded-KIND", or "uploaded".
    """
    attributes: dict[str, Any] = {"data-kind": kind} if kind else {}
    return html.Div(
        [
            html.Button("Upload a file: drop it here, or click to choose", className="upload-pick", type="button"),
            html.Div(className="upload-bar"),
            html.Div(className="upload-words", role="status"),
        ],
        className="upload-box",
        **attributes,
    )


def notice(message: str, *, title: str = "", color: str = "red") -> Component:
    """Something went wrong, or is worth knowing; the text of a ScetmError can go in as it is."""
    return dmc.Alert(message, title=title or None, color=color, variant="light")  # has role="alert" by itself


def broken_run(title: str, question: str, error: RunError, *actions: Component) -> Component:
    """The page that says why a run cannot be shown, with a way on."""
    return page(
        title, question, notice(str(error)), actions=[link_button("All runs", "/", variant="default"), *actions]
    )


def state_badge(state: str) -> Component:
    """State of a run in words and colour."""
    return dmc.Badge(state, color=STATE_COLORS[state], variant="light", **{"aria-label": STATE_WORDS[state]})


def duration(seconds: float | None) -> str:
    """A time span as one says it: ``"2 min 10 s"``."""
    if seconds is None:
        return ""
    total = max(0, round(seconds))  # the clock may have been set back meanwhile
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def age(seconds: float) -> str:
    """How long ago, roughly."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def size_in_words(n_bytes: float) -> str:
    """Bytes as one says it: ``"5.2 MB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            return f"{n_bytes:.0f} {unit}" if unit in ("B", "kB") else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    raise AssertionError


def score_in_words(value: float | None) -> str:
    """A score between 0 and 1 as papers print it: ``".94"``."""
    return "–" if value is None else f"{value:.2f}".replace("0.", ".", 1)


def score_card(label: str, value: str, meaning: str) -> Component:
    """One number, with what it means on hover and focus."""
    return dmc.Stack(
        [dmc.Text(label, size="xs", c="dimmed"), dmc.Text(value, className="score")],
        gap=0,
        className="score-card",
        tabIndex=0,
        **{"data-tip": meaning},
    )
