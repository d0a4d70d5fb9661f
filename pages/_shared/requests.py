"""How are the settings of a request filled in? Fields made from its declaration, and a request made from the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dash_mantine_components as dmc
from dash.development.base_component import Component

from scetm_core.errors import ConfigError
from scetm_core.settings import Config, SettingField, settings_of

R = TypeVar("R", bound=Config)

INPUT_ORDER = ["label", "input", "error", "description"]


def _id(task: str, entry: SettingField) -> dict[str, str]:
    kind = "request-switch" if entry.type is bool else "request"
    return {"type": kind, "task": task, "name": entry.name}


def request_field(
    task: str,
    request: type,
    name: str,
    *,
    data: Sequence[Any] | None = None,
    value: Any = None,
    width: int | None = None,
    with_help: bool = False,
) -> Component:
    """The field of one setting; its content is in `value`, of a switch in `checked`.

    Parameters
    ----------
    task
        Prefix of the page's task: part of the id ``{"type": "request", "task": task, "name": name}`` (of a switch,
        the type is "request-switch").
    data
        What can be chosen, for a setting whose choices depend on the run.
    value
        What it begins with; by default the setting's own default.
    with_help
        Write the meaning beneath; else it is shown on hover.
    """
    entry = next(entry for entry in settings_of(request) if entry.name == name)
    shown, start = entry.setting, entry.default if value is None else value
    meaning = shown.help if with_help else None
    if entry.type is bool:
        space = 0 if with_help else 8
        switch = dmc.Switch(
            id=_id(task, entry), label=shown.label, description=meaning, checked=start, size="sm", pb=space
        )
        return switch if with_help else dmc.Tooltip(switch, label=shown.help, multiline=True, w=260)
    common: dict[str, Any] = {"id": _id(task, entry), "label": shown.label, "value": start, "w": width}
    if with_help:
        common |= {"description": meaning, "inputWrapperOrder": INPUT_ORDER}
    if data is not None or shown.choices:
        return dmc.Select(**common, data=list(data or shown.choices), allowDeselect=False, searchable=data is not None)
    return dmc.NumberInput(**common, allowDecimal=entry.type is float, clampBehavior="none", thousandSeparator=",")


def folded_fields(
    task: str, request: type, names: Sequence[str], *, values: Mapping[str, Any] | None = None
) -> Component:
    """Fields that few need, behind a line to click, each with its meaning."""
    fields = [
        dmc.Box(request_field(task, request, name, value=(values or {}).get(name), with_help=True)) for name in names
    ]
    item = dmc.AccordionItem(
        [dmc.AccordionControl("Settings"), dmc.AccordionPanel(dmc.SimpleGrid(fields, cols={"base": 1, "sm": 3}))],
        value="settings",
    )
    return dmc.Accordion([item], variant="separated", mt="sm", value=None, className="folded")


def read_request(
    request: type[R], field_ids: Sequence[Mapping[str, str]], values: Sequence[Any], *, given: Mapping[str, Any]
) -> tuple[R | None, list[str | None]]:
    """The request that some fields ask for, or what is wrong with them.

    Parameters
    ----------
    given
        Settings that are no fields.

    Returns
    -------
    The request, None if a field is wrong; and a message for each field, None where it is right.

    Raises
    ------
    ConfigError
        If a setting that is no field is wrong, or a field means none of the settings that can be filled in.
    """
    entries = {entry.name: entry for entry in settings_of(request) if entry.name not in given}
    if strange := [str(field["name"])[:80] for field in field_ids if field["name"] not in entries]:
        raise ConfigError(f"{', '.join(strange)} cannot be filled in here. Load the page again.")
    errors: list[str | None] = [None] * len(field_ids)
    typed = dict(given)
    for place, (field, value) in enumerate(zip(field_ids, values, strict=True)):
        entry = entries[field["name"]]
        if value is None or value == "":
            errors[place] = f"{entry.setting.label} is empty. Fill it in."
        typed[entry.name] = float(value) if entry.type is int and isinstance(value, (int, float)) else value
    if any(errors):
        return None, errors
    try:
        return request.from_dict(typed), errors
    except ConfigError as error:
        names = [field["name"] for field in field_ids]
        if error.field not in names:
            raise
        errors[names.index(error.field)] = str(error)
        return None, errors
