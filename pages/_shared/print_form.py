"""How is a figure's print filled in? Fields made from the declaration of the print settings, and what they ask for.

The browser remembers them; the export dialog and the Figures page each have theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, clientside_callback, dcc, html
from dash.development.base_component import Component

from pages._shared.requests import INPUT_ORDER, read_request, request_field

LEGEND_WORDS = {"right": "Right", "below": "Below", "on": "On the figure", "off": "None"}
OWN = "own"
DEBOUNCE = 350  # milliseconds


def query_store(task: str) -> str:
    """Id of the store with the settings as the query of an address; None while one of them is wrong."""
    return f"{task}-print-query"


def _title(task: str) -> str:
    return f"{task}-print-title"


def _preset(task: str) -> str:
    return f"{task}-print-preset"


def _field(task: str, name: str) -> dict[str, str]:
    return {"type": "request", "task": task, "name": name}


def print_fields(task: str, *, with_title: bool, values: Mapping[str, Any] | None = None) -> Component:
    """The fields, for a narrow column.

    Parameters
    ----------
    task
        Prefix of their ids.
    with_title
        Whether the figure may have a title.
    values
        What fields begin with instead of the defaults.
    """
    from scetm_core.printing import JOURNAL_WIDTHS, PrintSettings

    def field(name: str, **look: Any) -> Any:
        shown: Any = request_field(task, PrintSettings, name, value=(values or {}).get(name), **look)
        shown.size = "sm"
        shown.persistence, shown.persistence_type = True, "local"
        if isinstance(shown, dmc.NumberInput):
            shown.debounce = DEBOUNCE
        return shown

    presets = [{"value": f"{width:g}", "label": f"{name}, {width:g} mm"} for name, width in JOURNAL_WIDTHS.items()]
    width, height, text = field("width_mm"), field("height_mm"), field("font_size")
    point, dpi = field("point_size"), field("dpi")
    for shown, unit in ((width, "mm"), (height, "mm"), (text, "pt"), (point, "pt"), (dpi, "dpi")):
        shown.suffix = f" {unit}"
    for shown in (height, point):
        shown.description = "0: automatic"
    dpi.description = "Of a PNG"
    for shown in (height, point, dpi):
        shown.inputWrapperOrder = INPUT_ORDER
    legend = field("legend", data=[{"value": value, "label": words} for value, words in LEGEND_WORDS.items()])
    font = field("font_family", data=[PrintSettings().font_family])
    legend.searchable = False
    see_through: Any = request_field(task, PrintSettings, "transparent", with_help=True)
    see_through.persistence, see_through.persistence_type = True, "local"
    title = dmc.TextInput(
        id=_title(task),
        label="Title",
        value="",
        placeholder="None",
        size="sm",
        debounce=DEBOUNCE,
        inputProps={"maxLength": 120},
    )
    return html.Div(
        [
            title if with_title else dcc.Input(id=_title(task), type="hidden", value=""),
            dmc.Select(
                id=_preset(task), label="Journal", size="sm", allowDeselect=False, comboboxProps={"zIndex": 400},
                data=[*presets, {"value": OWN, "label": "Own width"}], value=f"{PrintSettings().width_mm:g}",
            ),
            dmc.SimpleGrid([width, height, text, font, legend, point, dpi], cols=2, spacing="xs", verticalSpacing="xs"),
            see_through,
            dcc.Store(id=query_store(task)),
        ],
        className="print-fields",
    )  # fmt: skip


def preview(task: str, *, alt: str) -> Component:
    """Where the figure is drawn as it will be saved, and a line about it; assets/export.js fills both."""
    return html.Div(
        [
            html.Div(html.Img(id=f"{task}-preview", alt=alt), id=f"{task}-preview-box", className="preview-box"),
            html.Div(id=f"{task}-preview-words", className="preview-words", role="status"),
        ],
        className="preview",
    )


def query_of(field_ids: Sequence[Mapping[str, str]], values: Sequence[Any], transparent: bool, title: str) -> Any:
    """The query that some fields ask for, None if a field is wrong; and a message for each field."""
    from scetm_core.printing import PrintSettings

    given = {"transparent": bool(transparent), "title": (title or "").strip()}
    settings, errors = read_request(PrintSettings, field_ids, values, given=given)
    if settings is None:
        return None, errors
    plain = {name: int(value) if isinstance(value, bool) else value for name, value in settings.to_dict().items()}
    return urlencode(plain), errors


def follow_fields(task: str, *, opened: tuple[str, str]) -> None:
    """Register what keeps the query up to date, a preset and its width alike, and offers the fonts there are.

    Parameters
    ----------
    opened
        Component and property that change when the fields come into view.
    """

    @callback(
        Output(query_store(task), "data"),
        Output(_field(task, ALL), "error"),  # type: ignore[arg-type]
        Input(_field(task, ALL), "value"),  # type: ignore[arg-type]
        Input({"type": "request-switch", "task": task, "name": "transparent"}, "checked"),
        Input(_title(task), "value"),
        State(_field(task, ALL), "id"),  # type: ignore[arg-type]
    )
    def read_fields(values: list[Any], transparent: bool, title: str, field_ids: list[dict[str, str]]) -> Any:
        return query_of(field_ids, values, transparent, title)

    @callback(
        Output(_field(task, "font_family"), "data"),
        Input(*opened),
        State(_field(task, "font_family"), "data"),
    )
    def offer_fonts(seen: Any, offered: list[str]) -> list[str]:
        if not seen:
            return offered
        from scetm_core.printing import font_families

        return list(dict.fromkeys([*offered, *font_families()]))

    clientside_callback(
        "function (preset, width) { return window.scetmExport.agreeOnWidth(preset, width); }",
        Output(_preset(task), "value"),
        Output(_field(task, "width_mm"), "value"),
        Input(_preset(task), "value"),
        Input(_field(task, "width_mm"), "value"),
    )
