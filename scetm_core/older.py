"""How is a run of an earlier version read? One step for each format that `config.json` has had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scetm_core.config import FORMAT_VERSION

Record = dict[str, Any]


def migrated(record: Mapping[str, Any], *, written_at: float) -> Record:
    """The content of a `config.json` as this version writes it; the file stays as it is.

    Parameters
    ----------
    written_at
        When the file was written, for records that do not say so; seconds since 1970.

    Raises
    ------
    ValueError
        If it holds no settings, or a newer version wrote it.
    """
    if not isinstance(record, Mapping):
        raise ValueError("it holds no settings of a run")
    current = dict(record)
    found = current.get("format", 0)
    if not isinstance(found, int) or found > FORMAT_VERSION:
        by = f" by scETM Studio {current['written_by']}" if current.get("written_by") else ""
        raise ValueError(
            f"it has format {found}{by and ', written' + by}; this version reads formats up to {FORMAT_VERSION}. "
            "Update scETM Studio to open it"
        )
    for number in range(found, FORMAT_VERSION):
        current = STEPS[number](current, written_at)
    return current


def _from_0(record: Record, written_at: float) -> Record:
    """Before formats were counted: settings alone, or with some of what is recorded today."""
    config = record.get("config")
    if config is None and "data" not in record:
        raise ValueError("it holds no settings of a run")
    if config is None:
        config = {name: value for name, value in record.items() if name not in ("format", "input", "versions")}
        record = {name: record[name] for name in ("input", "versions") if name in record}
    unknown = {"path": str(dict(config).get("data", {}).get("path", "")), "size": 0, "sha256": ""}
    return {"created_at": written_at, "input": unknown, "versions": {}, **record, "config": config, "format": 1}


STEPS: dict[int, Callable[[Record, float], Record]] = {0: _from_0}
