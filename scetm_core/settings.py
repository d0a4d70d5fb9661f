"""How is a setting declared once, and checked, shown and stored from that declaration alone?

A config is a frozen dataclass over `Config` whose fields are made by `setting`; a command line and a form offer what
`settings_of` finds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from scetm_core.errors import ConfigError
from scetm_core.json_text import parse_json

_LARGEST = 10**30


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one setting is shown and checked; stored in the metadata of its dataclass field.

    `group` is the heading it is folded under; empty for those that everybody needs.
    """

    label: str
    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()
    group: str = ""

    def range_in_words(self) -> str:
        """The allowed range, e.g. ``"at least 2, at most 2000"``; empty if anything goes."""
        bounds = [("at least", self.ge), ("more than", self.gt), ("at most", self.le), ("less than", self.lt)]
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def problem_with(self, value: float) -> str:
        """Why a number is out of range, or an empty string."""
        if isinstance(value, int) and abs(value) > _LARGEST:
            return f"must be {self.range_in_words() or 'a smaller number'}, got a far larger one"
        outside = (
            not math.isfinite(value)
            or (self.ge is not None and value < self.ge)
            or (self.gt is not None and value <= self.gt)
            or (self.le is not None and value > self.le)
            or (self.lt is not None and value >= self.lt)
        )
        return f"must be {self.range_in_words() or 'a finite number'}, got {value:g}" if outside else ""


def setting(default: Any, label: str, help: str, **shown: Any) -> Any:
    """A dataclass field that carries its `Setting`."""
    return field(default=default, metadata={"setting": Setting(label=label, help=help, **shown)})


class Config:
    """Checks and JSON round trip shared by all configs."""

    def __post_init__(self) -> None:
        for entry in settings_of(type(self)):
            _check_value(entry, getattr(self, entry.name))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary, ready for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def to_json(self) -> str:
        """JSON text that `from_json` reads back to an equal config."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a dictionary.

        Raises
        ------
        ConfigError
            If a key is unknown or a value fails its check.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__} must be a JSON object, got {type(values).__name__}.")
        known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"{cls.__name__} does not know {unknown}; known settings: {sorted(known)}.")
        hints = _types_of(cls)
        nested = {
            name: config.from_dict(value)
            for name, value in values.items()
            if (config := _config_in(hints[name], value)) is not None
        }
        plain: dict[str, Any] = {}
        for entry in settings_of(cls):
            value = values.get(entry.name)
            if entry.type is int and isinstance(value, float) and value.is_integer():
                plain[entry.name] = int(value)  # JSON written elsewhere may say 5.0
            elif entry.type is tuple and isinstance(value, list):
                plain[entry.name] = tuple(value)
        return cls(**{**values, **nested, **plain})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            If the text is no JSON, or `from_dict` refuses it.
        """
        try:
            return cls.from_dict(parse_json(text))
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"Settings are not valid JSON ({error}).") from error


@dataclass(frozen=True, kw_only=True)
class SettingField:
    """One setting of a config class, resolved: what a form or a command line needs to offer it.

    `type` is bool, int, float, str, or tuple for any number of texts.
    """

    name: str
    type: type
    optional: bool
    default: Any
    setting: Setting


def settings_of(config: type) -> tuple[SettingField, ...]:
    """The settings a config class declares, in order; nested configs are left out."""
    return _declared(config)[1]


def _types_of(config: type) -> dict[str, Any]:
    return _declared(config)[0]


@functools.cache
def _declared(config: type) -> tuple[dict[str, Any], tuple[SettingField, ...]]:
    """The type of each field of a config class, and its settings."""
    hints = typing.get_type_hints(config)
    found = []
    for entry in dataclasses.fields(config):
        if "setting" not in entry.metadata:
            continue
        hint, optional = hints[entry.name], False
        if isinstance(hint, types.UnionType):
            hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
            optional = True
        hint = typing.get_origin(hint) or hint
        found.append(
            SettingField(
                name=entry.name, type=hint, optional=optional, default=entry.default, setting=entry.metadata["setting"]
            )
        )
    return hints, tuple(found)


def _config_in(hint: Any, value: Any) -> type[Config] | None:
    """The config class to read a value with; None for a plain value, and where None may stand for a config and does."""
    arms = typing.get_args(hint) or (hint,)
    if value is None and type(None) in arms:
        return None
    return next((arm for arm in arms if isinstance(arm, type) and issubclass(arm, Config)), None)


def _check_value(entry: SettingField, value: Any) -> None:
    """Refuse a value of the wrong type or out of range, with a message that names the setting."""
    shown = entry.setting
    if value is None and entry.optional:
        return

    def refuse(problem: str) -> typing.NoReturn:
        raise ConfigError(f"{shown.label} ({entry.name}) {problem}.", field=entry.name)

    if entry.type in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(f"must be a number, got {value!r}")
        if problem := shown.problem_with(value):
            refuse(problem)
        if entry.type is int and not isinstance(value, int):
            refuse(f"must be a whole number, got {value!r}")
    elif not isinstance(value, entry.type):
        refuse(f"must be {'a list' if entry.type is tuple else f'of type {entry.type.__name__}'}, got {value!r}")
    if entry.type is tuple and not all(isinstance(part, str) and part for part in value):
        refuse(f"must be a list of names, got {list(value)!r}")
    if shown.choices and value not in shown.choices:
        refuse(f"must be one of {list(shown.choices)}, got {value!r}")
