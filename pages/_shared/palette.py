"""Which colour shall each category have? The dialog behind "Colours…" in a legend, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, clientside_callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.colors import category_column
from scetm_core.dressing import GIVEN_COLORS
from scetm_core.errors import RunError
from scetm_core.figures import category_colors, hard_to_tell_apart, palette
from scetm_core.figures.umap import N_CATEGORIES_SHOWN
from scetm_core.own_colors import read_own_colors, write_own_colors

DIALOG = "palette"
ASKED = "palette-asked"  # {"column", "at"}: assets/legend.js writes it
SUBJECT = "palette-subject"  # {"run", "column", "names"}: what the dialog is about
BODY = "palette-body"
WARNING = "palette-warning"
PROBLEM = "palette-problem"
SAVE = "palette-save"
SAFE = "palette-safe"
GIVEN = "palette-given"
CANCEL = "palette-cancel"
DONE = "palette-done"

N_SWATCHES = 16
N_PAIRS_SAID = 4
FALLBACK = "#8a8f98"


def field(place: int) -> dict[str, Any]:
    """Id of the colour of the category at a place of the list."""
    return {"type": "palette-color", "place": place}


def palette_dialog() -> Component:
    """The dialog, and the stores it works with."""
    buttons = dmc.Group(
        [
            dmc.Button("Default colours", id=SAFE, variant="default", size="sm"),
            dmc.Button("Colours of the data", id=GIVEN, variant="default", size="sm"),
            html.Div(className="spacer"),
            dmc.Button("Cancel", id=CANCEL, variant="default", size="sm"),
            dmc.Button("Save colours", id=SAVE, size="sm"),
        ],
        gap="xs",
    )
    return html.Div(
        [
            dcc.Store(id=ASKED),
            dcc.Store(id=SUBJECT),
            dcc.Store(id=DONE),
            dmc.Modal(
                dmc.Stack(
                    [
                        html.Div(id=BODY),
                        html.Div(id=WARNING, role="status", className="palette-warning"),
                        html.Div(id=PROBLEM, role="alert", className="upload-error"),
                        buttons,
                    ],
                    gap="sm",
                ),
                id=DIALOG,
                title="Colours",
                opened=False,
                size="lg",
                closeButtonProps={"aria-label": "Close"},
            ),
        ]
    )


def shown_colors(run_id: str, column: str) -> dict[str, str]:
    """Category -> the colour it is shown in, the largest categories first.

    Raises
    ------
    RunError
        If there is no such run, or its result cannot be read.
    """
    result = studio.load_result(run_id)
    own = result.uns.get(f"{column}_colors")
    return _colors_by_size(run_id, column, None if own is None else list(own))


def given_colors(run_id: str, column: str) -> dict[str, str] | None:
    """The colours that came with the data, under whatever the user has chosen; None if there are none."""
    result = studio.load_result(run_id)
    known = result.uns.get(GIVEN_COLORS, {})
    given = known[column] if column in known else result.uns.get(f"{column}_colors")
    return None if given is None else _colors_by_size(run_id, column, list(given))


def default_colors(run_id: str, column: str) -> dict[str, str]:
    """The colour-blind-considerate defaults."""
    return _colors_by_size(run_id, column, None)


def _colors_by_size(run_id: str, column: str, colors: Sequence[str] | None) -> dict[str, str]:
    values = studio.load_result(run_id).obs[column].astype("category")
    names = [str(name) for name in values.cat.categories]
    sizes = values.cat.codes.value_counts()
    order = sorted(range(len(names)), key=lambda code: -int(sizes.get(code, 0)))
    order = [code for code in order if sizes.get(code, 0)]
    by_size = [names[code] for code in order]
    whole = len(order) == len(names) and len(order) <= N_CATEGORIES_SHOWN
    of_all = category_colors(names, colors) if colors is not None or whole else category_colors(by_size)  # as the map
    return {name: _as_hex(of_all[name]) for name in by_size}


def _as_hex(color: str) -> str:
    """Colours of data may be named, or short; the editor knows ``#rrggbb`` only."""
    color = color.lower()
    if color.startswith("#") and len(color) == 4:
        return "#" + "".join(2 * digit for digit in color[1:])
    return color if color.startswith("#") and len(color) == 7 else NAMED.get(color, FALLBACK)


NAMED = {
    "black": "#000000", "white": "#ffffff", "red": "#ff0000", "green": "#008000", "blue": "#0000ff",
    "yellow": "#ffff00", "orange": "#ffa500", "purple": "#800080", "pink": "#ffc0cb", "brown": "#a52a2a",
    "gray": "#808080", "grey": "#808080", "cyan": "#00ffff", "magenta": "#ff00ff", "teal": "#008080",
    "navy": "#000080", "gold": "#ffd700", "olive": "#808000", "lightgray": "#d3d3d3", "lightgrey": "#d3d3d3",
}  # fmt: skip


@callback(
    Output(DIALOG, "opened"),
    Output(DIALOG, "title"),
    Output(BODY, "children"),
    Output(SUBJECT, "data"),
    Output(GIVEN, "style"),
    Output(PROBLEM, "children", allow_duplicate=True),
    Input(ASKED, "data"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
)
def open_palette(asked: Mapping[str, Any] | None, run_id: str) -> Any:
    """Open the dialog on the column whose legend asked for it."""
    column = (asked or {}).get("column", "")
    if not asked or category_column(run_id, column) is None:
        return (no_update,) * 6
    shown = shown_colors(run_id, column)
    edited = list(shown)[: n_edited(len(shown))]
    subject = {"run": run_id, "column": column, "names": edited}
    given = {} if given_colors(run_id, column) else {"display": "none"}
    return True, f"Colours of {column}", fields_of(shown), subject, given, ""


def n_edited(n_categories: int) -> int:
    """How many categories have a colour of their own on a map: all, or all but those put together as "other"."""
    return n_categories if n_categories <= N_CATEGORIES_SHOWN else N_CATEGORIES_SHOWN - 1


def fields_of(shown: Mapping[str, str]) -> Component:
    """A field a category."""
    swatches = list(palette(N_SWATCHES))
    inputs = [
        dmc.ColorInput(
            id=field(place),
            label=name,
            value=color,
            format="hex",
            swatches=swatches,
            swatchesPerRow=8,
            withEyeDropper=False,
            size="sm",
        )
        for place, (name, color) in enumerate(list(shown.items())[: n_edited(len(shown))])
    ]
    left = len(shown) - len(inputs)
    words = f"The {left:,} smallest categories share the grey of “other”." if left else ""
    about = (
        "The swatches are the colours that people with the common colour blindnesses tell apart best. What you save "
        f"stays with the run and colours every map of this column. {words}"
    )
    return html.Div(
        [dmc.Text(about, size="sm", c="dimmed"), html.Div(inputs, className="palette-fields")], className="palette"
    )


@callback(
    Output(WARNING, "children"),
    Input({"type": "palette-color", "place": ALL}, "value"),
    State(SUBJECT, "data"),
    prevent_initial_call=True,
)
def warn(values: Sequence[str], subject: Mapping[str, Any] | None) -> str:
    """Say which categories get colours that some people cannot tell apart."""
    names = (subject or {}).get("names", [])
    return warning_of(dict(zip(names, values, strict=False)))


def warning_of(colors: Mapping[str, str]) -> str:
    """The pairs of categories that are hard to tell apart, in words; "" if there are none."""
    valid = {name: color.lower() for name, color in colors.items() if _is_hex(color)}
    pairs = hard_to_tell_apart(valid)
    if not pairs:
        return ""
    said = "; ".join(f"{one} and {other}" for one, other in pairs[:N_PAIRS_SAID])
    more = f" and {len(pairs) - N_PAIRS_SAID} more pairs" if len(pairs) > N_PAIRS_SAID else ""
    return f"Hard to tell apart with red-green colour blindness: {said}{more}."


def _is_hex(color: object) -> bool:
    text = color.lower() if isinstance(color, str) else ""
    return len(text) == 7 and text[0] == "#" and all(digit in "0123456789abcdef" for digit in text[1:])


@callback(
    Output({"type": "palette-color", "place": ALL}, "value"),
    Input(SAFE, "n_clicks"),
    Input(GIVEN, "n_clicks"),
    State(SUBJECT, "data"),
    prevent_initial_call=True,
)
def fill_in(_safe: int | None, _given: int | None, subject: Mapping[str, Any]) -> Any:
    """Put the default colours, or those of the data, into the fields; Save keeps them."""
    choose = default_colors if ctx.triggered_id == SAFE else given_colors
    chosen = choose(subject["run"], subject["column"]) or {}
    return [chosen.get(name, FALLBACK) for name in subject["names"]]


@callback(
    Output(DIALOG, "opened", allow_duplicate=True),
    Output(PROBLEM, "children", allow_duplicate=True),
    Output(DONE, "data"),
    Input(SAVE, "n_clicks"),
    State({"type": "palette-color", "place": ALL}, "value"),
    State(SUBJECT, "data"),
    prevent_initial_call=True,
)
def save(n_clicks: int | None, values: Sequence[str], subject: Mapping[str, Any]) -> Any:
    """Keep the colours with the run; the defaults need no keeping."""
    if not n_clicks:
        return no_update, no_update, no_update
    run_id, column = subject["run"], subject["column"]
    chosen = dict(zip(subject["names"], values, strict=True))
    base = given_colors(run_id, column) or default_colors(run_id, column)
    is_base = all(chosen[name].lower() == base[name] for name in chosen)
    path = studio.open_run(run_id).path
    try:
        write_own_colors(path, column, {} if is_base else {**read_own_colors(path).get(column, {}), **chosen})
    except RunError as error:
        return no_update, str(error), no_update
    return False, "", {"run": run_id, "at": n_clicks}


clientside_callback(
    "function (_) { return false; }",
    Output(DIALOG, "opened", allow_duplicate=True),
    Input(CANCEL, "n_clicks"),
    prevent_initial_call=True,
)
clientside_callback(  # all that is drawn of a run listens to its store
    "function (done) { if (done) window.dash_clientside.set_props('active-run', {data: done.run}); }",
    Input(DONE, "data"),
    prevent_initial_call=True,
)
