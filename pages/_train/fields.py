"""How do settings become a form, and a form settings? Both from the config's own declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash.development.base_component import Component

from pages._shared import studio
from scetm_core.config import ModelConfig, RunConfig, TrainConfig, run_config_from_flat
from scetm_core.data.catalog import EMBEDDING_ENDINGS, GENE_SET_ENDINGS
from scetm_core.errors import ConfigError
from scetm_core.settings import SettingField, settings_of

FORM_SETTINGS: dict[str, SettingField] = {
    entry.name: entry for config in (ModelConfig, TrainConfig, RunConfig) for entry in settings_of(config)
}
"""The settings of the form by name, without those about the data, whose choices depend on the file."""

FILE_SETTINGS = {"rho_gmt": GENE_SET_ENDINGS, "rho_file": EMBEDDING_ENDINGS}
"""Settings that name a file: the form offers those of the app's folders with these endings."""

INPUT_ORDER = ["label", "input", "error", "description"]


def field_id(name: str) -> dict[str, str]:
    """Id of the field of a setting; its content is in `value`, of a switch in `checked`."""
    kind = "switch" if FORM_SETTINGS[name].type is bool else "setting"
    return {"type": kind, "name": name}


def field(name: str, value: Any = None) -> Component:
    """The form field of a setting, with its meaning beneath; filled with `value`, or else its default."""
    entry = FORM_SETTINGS[name]
    shown, value = entry.setting, entry.default if value is None else value
    if entry.type is bool:
        return dmc.Switch(id=field_id(name), label=shown.label, description=shown.help, checked=value)
    common: dict[str, Any] = {
        "id": field_id(name),
        "label": shown.label,
        "description": shown.help,
        "inputWrapperOrder": INPUT_ORDER,
    }
    if name in FILE_SETTINGS:
        files = studio.current().catalog().files(FILE_SETTINGS[name])
        return dmc.Select(
            **common, data=[entry.ref for entry in files], value=value, clearable=True, searchable=True,
            placeholder="none",
        )  # fmt: skip
    if shown.choices:
        return dmc.Select(**common, data=list(shown.choices), value=value, allowDeselect=False)
    if entry.type is int:
        return dmc.NumberInput(**common, value=value, allowDecimal=False, clampBehavior="none", thousandSeparator=",")
    return dmc.TextInput(**common, value=_shown_value(entry, value), debounce=300)


def values_for(preset: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """What the fields of some settings show under a preset: its values, else the defaults."""
    return [_shown_value(FORM_SETTINGS[name], preset.get(name, FORM_SETTINGS[name].default)) for name in names]


def _shown_value(entry: SettingField, value: Any) -> Any:
    return f"{value:.6g}" if entry.type is float else value


def read_fields(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Values of settings as typed into their fields.

    Raises
    ------
    ConfigError
        If a number is none; `field` names the setting.
    DataError
        If a file is not one of the app's folders.
    """
    settings: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        entry = FORM_SETTINGS[name]
        if entry.optional and not value:
            settings[name] = None
            continue
        if value is None or value == "":
            raise ConfigError(f"{entry.setting.label} is empty. Fill it in.", field=name)
        if name in FILE_SETTINGS:
            settings[name] = str(studio.current().catalog().resolve(value))
            continue
        try:
            settings[name] = float(value) if entry.type in (int, float) else value
        except ValueError as error:
            raise ConfigError(f"{entry.setting.label} must be a number, got {value!r}.", field=name) from error
    return settings


def build_config(settings: Mapping[str, Any], data: Mapping[str, Any]) -> RunConfig:
    """The `RunConfig` of a filled-in form.

    Raises
    ------
    ConfigError
        With `field` naming the setting whose field shows the message.
    """
    return run_config_from_flat({**settings, **data})
