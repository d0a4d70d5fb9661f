"""Which name in one list is which in another? Letter case, Ensembl versions, orthologs; species and kind of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from scetm_core.data.names import ENSEMBL, share_matching, symbol_column

Species = Literal["human", "mouse", "unknown"]
Kind = Literal["symbols", "ensembl", "unknown"]

SYMBOL = "symbol"  # var of a result: the symbols of genes that are named by ids
ALIAS, EXACT, VERSION, CASE, ORTHOLOG = "alias", "exact", "version suffix", "letter case", "ortholog"
WAYS = (ALIAS, EXACT, VERSION, CASE, ORTHOLOG)  # of one species, or where it is not known
ACROSS_SPECIES = (ALIAS, ORTHOLOG, EXACT, VERSION, CASE)  # a like-named gene of the other species is second best

_VERSIONED = re.compile(r"(ENS[A-Z]{0,6}[GT]\d{11})\.\d+")
_MITOCHONDRIAL = re.compile(r"mt-", re.IGNORECASE)
_HUMAN = re.compile(r"[A-Z][A-Z0-9]*[A-Z][A-Z0-9.-]*|C(\d+|X|Y)orf\d+")  # at least two capitals, none small
_MOUSE = re.compile(r"[A-Z]\d*[a-z][A-Za-z0-9.-]*|\d[A-Z0-9]+Rik\d?")
_NO_EVIDENCE = re.compile(r"ERCC-\d+|(LOC|LINC)\d+.*")  # spike-ins; written in capitals in any species
_MIN_TELLING = 10  # fewer names that tell a species are no evidence
_CLEAR_SHARE = 0.75  # of the names that tell one


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which wanted name is which known one.

    Attributes
    ----------
    places
        Wanted name -> known name; several may lead to the same.
    ways
        Wanted name -> the way it was found, one of `WAYS`.
    unmatched
        Wanted names that are nowhere, in their order.
    """

    places: dict[str, str]
    ways: dict[str, str]
    unmatched: list[str]

    @property
    def how(self) -> dict[str, int]:
        """Number of names found in each way, for those in which some were."""
        counted = Counter(self.ways.values())
        return {way: counted[way] for way in WAYS if counted[way]}


def match_names(
    wanted: Sequence[str],
    known: Sequence[str],
    *,
    orthologs: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    ways: Sequence[str] = WAYS,
) -> Matching:
    """Find each wanted name among the known ones.

    Parameters
    ----------
    orthologs
        Names as in `wanted` -> names as in `known`, of another species. Letter case is ignored on both sides.
    aliases
        Names as in `wanted` -> names as in `known`, of the same genes; read like `orthologs`.
    ways
        Tried in this order for each name. Of known names that differ in case or version only, the first is taken.
    """
    wanted = list(dict.fromkeys(wanted))
    finders = _finders(known, orthologs or {}, aliases or {})
    places: dict[str, str] = {}
    found_by: dict[str, str] = {}
    left = wanted
    for way in ways:
        find, missed = finders[way], list[str]()
        for name in left:
            place = find(name)
            if place is None:
                missed.append(name)
            else:
                places[name], found_by[name] = place, way
        left = missed
    return Matching(places=places, ways=found_by, unmatched=left)


def _finders(
    known: Sequence[str], orthologs: Mapping[str, str], aliases: Mapping[str, str]
) -> dict[str, Callable[[str], str | None]]:
    exact = {name: name for name in known}
    by_stem, by_lower = dict[str, str](), dict[str, str]()
    for name in known:
        by_stem.setdefault(without_version(name), name)
        by_lower.setdefault(without_version(name).lower(), name)

    def by_pairs(pairs: Mapping[str, str]) -> Callable[[str], str | None]:
        partners = {source.lower(): target for source, target in pairs.items()}

        def find(name: str) -> str | None:
            partner = partners.get(name.lower())
            return None if partner is None else exact.get(partner, by_lower.get(partner.lower()))

        return find

    return {
        ALIAS: by_pairs(aliases),
        EXACT: exact.get,
        VERSION: lambda name: by_stem.get(without_version(name)),
        CASE: lambda name: by_lower.get(without_version(name).lower()),
        ORTHOLOG: by_pairs(orthologs),
    }


def without_version(name: str) -> str:
    """``"ENSG00000254647"`` of ``"ENSG00000254647.7"``; other names as they are."""
    if not name.startswith("ENS"):
        return name
    versioned = _VERSIONED.fullmatch(name)
    return versioned[1] if versioned else name


def species_of(names: Iterable[str]) -> Species:
    """Species that gene names are written as: Ensembl prefixes, else ``INS`` (human) or ``Ins`` (mouse).

    Names of other species are taken by their style: a rat's for a mouse's. "unknown" for fewer than ten telling names,
    and where less than three quarters of them agree.
    """
    human = mouse = 0
    for name in names:
        if name.startswith(("ENSG0", "ENST0")):
            human += 1
        elif name.startswith("ENSMUS"):
            mouse += 1
        elif not name.startswith("ENS") and not _NO_EVIDENCE.fullmatch(name):
            stem = _MITOCHONDRIAL.sub("", name, count=1)
            human += bool(_HUMAN.fullmatch(stem))
            mouse += bool(_MOUSE.fullmatch(stem)) and not _HUMAN.fullmatch(stem)
    if human + mouse < _MIN_TELLING or max(human, mouse) < _CLEAR_SHARE * (human + mouse):
        return "unknown"
    return "human" if human > mouse else "mouse"


def kind_of_names(names: Sequence[str]) -> Kind:
    """What gene names are: Ensembl ids, symbols (most begin like words), or neither, e.g. numbers or positions."""
    if share_matching(names, ENSEMBL) > 0.5:
        return "ensembl"
    return "symbols" if share_matching(names, re.compile(r"[\w.-]*[A-Za-z][\w.-]*")) > 0.5 else "unknown"


def symbols_of(var: pd.DataFrame | None) -> list[str] | None:
    """Symbols of the genes of a gene table, in its order, empty where there is none; None if no column has any."""
    column = "" if var is None else symbol_column(var)
    if var is None or not column:
        return None
    values = var[column].astype(object)
    symbols = [str(value).strip() for value in values.where(values.notna(), "")]
    return symbols if any(symbols) else None
