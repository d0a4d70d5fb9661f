"""Has a callback's message the form that this app's own pages send? Looked at before Dash takes it apart.

Names are looked at: of the outputs, inputs and states, in their order, with the ids that were declared; and values
of properties that mean the same everywhere, such as clicks. All other values are the callbacks' business. What does
not fit was not sent by a page of this version of the app.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import flask
from dash import Dash
from dash._utils import split_callback_id

ROUTE = "/_dash-update-component"
MANY = ("ALL", "ALLSMALLER")
MAX_ID, MAX_CHANGED = 2000, 2000
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("n_clicks", "n_intervals"), (int,)),
    **dict.fromkeys(("checked", "opened"), (bool,)),
    **dict.fromkeys(("pathname", "search", "href", "hash"), (str,)),
    **dict.fromkeys(("clickData", "hoverData", "selectedData", "relayoutData", "cellClicked"), (dict,)),
    **dict.fromkeys(("rowData", "selectedRows"), (list,)),
}
"""What a property can hold besides nothing, where that is the same for every component."""
MAX_COUNT = 1 << 53
STALE = {"error": "This page is of another version of the app, or was tampered with. Load it again."}


def add_to(app: Dash) -> None:
    """Refuse messages of another form with 400."""

    def look() -> tuple[flask.Response, int] | None:
        if flask.request.path != ROUTE or flask.request.method != "POST":
            return None
        try:
            body = flask.request.get_json(silent=True)
            is_well = isinstance(body, dict) and is_well_formed(body, app.callback_map)
        except RecursionError:  # a thousand brackets
            is_well = False
        return None if is_well else (flask.jsonify(STALE), 400)

    app.server.before_request(look)


def is_well_formed(body: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a message names a callback, and all that belongs to it."""
    output, changed = body.get("output"), body.get("changedPropIds", [])
    if not isinstance(output, str) or "callback" not in known.get(output, {}):  # some are the browser's own
        return False
    declared = known[output]
    if (
        not isinstance(changed, list)
        or len(changed) > MAX_CHANGED
        or not all(isinstance(name, str) for name in changed)
    ):
        return False
    if not _all_fit(body.get("inputs", []), declared["inputs"]) or not _all_fit(
        body.get("state", []), declared["state"]
    ):
        return False
    if declared.get("no_output"):
        return True
    outputs = split_callback_id(output)
    if isinstance(outputs, dict):
        return _fits(body.get("outputs"), outputs)
    return _all_fit(body.get("outputs"), outputs)


def _all_fit(sent: Any, declared: list[dict[str, Any]]) -> bool:
    return (
        isinstance(sent, list)
        and len(sent) == len(declared)
        and all(_fits(one, spec) for one, spec in zip(sent, declared, strict=True))
    )


def _fits(sent: Any, declared: Mapping[str, Any]) -> bool:
    """Whether one input, state or output is the declared one; of a pattern that means many, a list of them."""
    pattern = _pattern(declared["id"])
    prop = declared["property"].partition("@")[0]  # outputs that several callbacks share carry a mark
    if isinstance(pattern, dict) and any(value in ([kind] for kind in MANY) for value in pattern.values()):
        return isinstance(sent, list) and all(_is(one, pattern, prop) for one in sent)
    return _is(sent, pattern, prop)


def _pattern(declared: str) -> str | dict[str, Any]:
    return dict(json.loads(declared)) if declared.startswith("{") else declared.replace("\\.", ".")


def _is(sent: Any, pattern: str | dict[str, Any], prop: str) -> bool:
    if not isinstance(sent, dict) or not isinstance(sent.get("property"), str):
        return False
    if sent["property"].partition("@")[0] != prop:
        return False
    given = sent.get("id")
    if not _can_hold(sent, prop):
        return False
    if isinstance(pattern, str):
        return bool(given == pattern)
    return (
        isinstance(given, dict)
        and given.keys() == pattern.keys()
        and all(
            _is_plain(given[name]) if isinstance(value, list) else given[name] == value
            for name, value in pattern.items()
        )
    )


def _can_hold(sent: Mapping[str, Any], prop: str) -> bool:
    """Whether a value is of the kind that its property has; the id that an entry tells is its own."""
    value = sent.get("value")
    if prop == "id":
        return "value" not in sent or bool(value == sent["id"])
    if value is None or prop not in KINDS:
        return True
    return isinstance(value, KINDS[prop]) and not (isinstance(value, int) and abs(value) > MAX_COUNT)


def _is_plain(value: Any) -> bool:
    """Whether a value can stand where a pattern has a wildcard."""
    return isinstance(value, (int, str)) and len(str(value)) <= MAX_ID
