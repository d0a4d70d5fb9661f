"""What are cells and genes called? Unique names, close matches, Ensembl ids or symbols."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import pandas as pd

ENSEMBL = re.compile(r"ENS[A-Z]{0,6}[GT]\d{11}(\.\d+)?")
BARCODE = re.compile(r"[ACGTN]{8,}([-_.][A-Za-z0-9]+)*")
SYMBOL_COLUMNS = ("gene_symbols", "gene_symbol", "feature_name", "gene_name", "gene_names", "symbol", "hgnc_symbol")


def unique_names(names: Iterable[object]) -> tuple[list[str], list[tuple[str, str]]]:
    """Make names unique: the first keeps its name, copies get ``-1``, ``-2``... (what is taken is passed over).

    Returns
    -------
    names, renamed
        All names in their order; the pairs (old, new) of those that changed.
    """
    old = [str(name) for name in names]
    taken = set(old)
    if len(taken) == len(old):
        return old, []
    seen: dict[str, int] = {}
    unique, renamed = [], []
    for name in old:
        if name not in seen:
            seen[name] = 0
            unique.append(name)
            continue
        fresh = name
        while fresh in taken:
            seen[name] += 1
            fresh = f"{name}-{seen[name]}"
        taken.add(fresh)
        unique.append(fresh)
        renamed.append((name, fresh))
    return unique, renamed


def renamed_message(what: str, renamed: Sequence[tuple[str, str]]) -> str:
    """Sentence about names that `unique_names` changed; `what` is ``"gene"`` or ``"cell"``."""
    old, new = renamed[0]
    return f"{count(len(renamed), f'repeated {what} name')} made unique with a suffix (e.g. {old!r} became {new!r})."


def count(n: int, noun: str) -> str:
    """A number and its noun: ``"1 cell"``, ``"1,886 cells"``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def close_matches(name: str, known: Sequence[str], *, limit: int = 10) -> list[str]:
    """Known names that resemble `name`, the closest first; letter case is ignored."""
    by_lower: dict[str, str] = {}
    for entry in known:
        by_lower.setdefault(entry.lower(), entry)
    wanted = name.lower()
    exact = [by_lower[wanted]] if wanted in by_lower else []
    near = [by_lower[entry] for entry in difflib.get_close_matches(wanted, list(by_lower), n=limit, cutoff=0.6)]
    within = [entry for entry in known if len(wanted) > 2 and wanted in entry.lower()]
    return list(dict.fromkeys([*exact, *near, *within]))[:limit]


def closest_first(name: str, known: Sequence[str], *, limit: int = 30) -> str:
    """All known names for an error text, close matches first, cut after `limit`."""
    listed = list(dict.fromkeys([*close_matches(name, known), *known]))
    rest = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return f"{listed[:limit]}{rest}" if listed else "none"


def share_matching(names: Sequence[str], pattern: re.Pattern[str]) -> float:
    """Share of names that match as a whole; of the first 2,000."""
    looked_at = names[:2000]
    return sum(bool(pattern.fullmatch(name)) for name in looked_at) / max(len(looked_at), 1)


def symbol_column(var: pd.DataFrame) -> str:
    """Column of the gene table that seems to hold symbols, or an empty string."""
    by_lower = {str(name).lower(): str(name) for name in var.columns}
    return next((by_lower[name] for name in SYMBOL_COLUMNS if name in by_lower), "")
