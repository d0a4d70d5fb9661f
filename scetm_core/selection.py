"""Which cells are selected? A rule in steps, as people make it: lasso, box, categories, a range of numbers, names.

Only the rule is sent and kept; the cells are worked out from it. Steps are taken one after the other, from nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.json_text import parse_json

if TYPE_CHECKING:
    import anndata as ad

WAYS = ("new", "add", "subtract", "intersect", "invert")
"""How a step changes what is selected so far; "invert" has no rule."""

MAX_CORNERS = 5_000
MAX_STEPS = 500
_WORDS_OF = {"new": "", "add": "and", "subtract": "without", "intersect": "within", "invert": "inverted"}

Mask = npt.NDArray[np.bool_]
Numbers = Callable[[str], npt.NDArray[np.floating[Any]]]
"""Gives a number per cell for "topic_7", a gene or a numeric column; raises DataError if there is nothing so called."""


@dataclass(frozen=True, kw_only=True)
class Lasso:
    """The cells inside a polygon on the map; where it crosses itself, by the even-odd rule."""

    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Box:
    """The cells inside a rectangle on the map, its edges included."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True, kw_only=True)
class Among:
    """The cells of some categories of a column of obs."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Between:
    """The cells with low <= number <= high; None leaves a side open. Cells without a number are outside."""

    what: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Named:
    """The cells with these names."""

    cells: tuple[str, ...]


Rule = Lasso | Box | Among | Between | Named
_KINDS: dict[str, type[Rule]] = {"lasso": Lasso, "box": Box, "among": Among, "between": Between, "named": Named}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of the selection: how, and by which rule."""

    how: str
    rule: Rule | None = None


Steps = tuple[Step, ...]


# ---- to JSON and back ---------------------------------------------------------------------------------------------


def steps_to_json(steps: Steps) -> str:
    """JSON text that `steps_from_json` reads back; equal steps give equal text."""
    return json.dumps([_record_of(step) for step in steps], separators=(",", ":"), ensure_ascii=False)


def _record_of(step: Step) -> dict[str, Any]:
    if step.rule is None:
        return {"how": step.how}
    kind = next(name for name, cls in _KINDS.items() if isinstance(step.rule, cls))
    return {"how": step.how, "rule": {"kind": kind, **vars(step.rule)}}


def steps_from_json(text: str) -> Steps:
    """Read steps.

    Raises
    ------
    DataError
        If it is no selection.
    """
    try:
        records = parse_json(text)
    except ValueError as error:
        raise DataError(f"This is no selection: {error}.") from error
    if not isinstance(records, list) or len(records) > MAX_STEPS:
        raise DataError(f"A selection is a list of at most {MAX_STEPS} steps. Begin a new one.")
    return tuple(step_from(record) for record in records)


def step_from(record: object) -> Step:
    """A step from its JSON object, e.g. ``{"how": "add", "rule": {"kind": "between", "what": "topic_7", "low": .1}}``.

    Raises
    ------
    DataError
        If a part is missing, unknown, or not what it should be.
    """
    try:
        given = dict(record)  # type: ignore[call-overload]
        how, rule = given.pop("how"), given.pop("rule", None)
        if given or how not in WAYS or (rule is None) != (how == "invert"):
            raise ValueError(f"how is {how!r}")
        return Step(how=how, rule=None if rule is None else _rule_from(dict(rule)))
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"This is no step of a selection ({error}).") from error


def _rule_from(given: dict[str, Any]) -> Rule:
    kind = given.pop("kind")
    if kind == "lasso":
        corners = tuple((_finite(x), _finite(y)) for x, y in given.pop("corners"))
        if not 3 <= len(corners) <= MAX_CORNERS:
            raise ValueError(f"a lasso has 3 to {MAX_CORNERS:,} corners, not {len(corners):,}")
        rule: Rule = Lasso(corners=corners)
    elif kind == "box":
        sides = {name: _finite(given.pop(name)) for name in ("left", "right", "bottom", "top")}
        low, high = sorted((sides["left"], sides["right"])), sorted((sides["bottom"], sides["top"]))
        rule = Box(left=low[0], right=low[1], bottom=high[0], top=high[1])
    elif kind == "among":
        rule = Among(column=_text(given.pop("column")), values=tuple(map(_text, given.pop("values"))))
    elif kind == "between":
        low_end, high_end = (
            None if (end := given.pop(name, None)) is None else _finite(end) for name in ("low", "high")
        )
        rule = Between(what=_text(given.pop("what")), low=low_end, high=high_end)
    elif kind == "named":
        rule = Named(cells=tuple(map(_text, given.pop("cells"))))
    else:
        raise ValueError(f"kind is {kind!r}")
    if given:
        raise ValueError(f"unknown: {', '.join(map(str, given))}")
    return rule


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def selection_id(steps: Steps) -> str:
    """A short name of a selection: the same steps have the same."""
    return hashlib.sha256(steps_to_json(steps).encode()).hexdigest()[:12]


def with_step(steps: Steps, step: Step) -> Steps:
    """The steps, and one more; what a new beginning makes void is left out.

    Raises
    ------
    DataError
        If there are too many.
    """
    if step.how == "new":
        return (step,)
    if step.how == "invert" and steps and steps[-1].how == "invert":
        return steps[:-1]
    if len(steps) >= MAX_STEPS:
        raise DataError(f"This selection has {MAX_STEPS} steps. Keep it under a name, and go on from that.")
    return (*steps, step)


# ---- the cells ----------------------------------------------------------------------------------------------------


def selected_cells(steps: Steps, result: ad.AnnData, *, numbers: Numbers) -> Mask:
    """The cells that some steps select.

    Parameters
    ----------
    steps
        Taken in order, from nothing.
    result
        With obs, and obsm["X_umap"] for lasso and box.
    numbers
        See `Numbers`.

    Returns
    -------
    (n_cells,) in the order of the result.

    Raises
    ------
    DataError
        If a rule speaks of something the result does not have.
    """
    mask = np.zeros(result.n_obs, dtype=bool)
    for step in steps:
        if step.rule is None:
            mask = ~mask
            continue
        found = cells_of_rule(step.rule, result, numbers=numbers)
        if step.how == "new":
            mask = found
        elif step.how == "add":
            mask = mask | found
        elif step.how == "subtract":
            mask = mask & ~found
        else:
            mask = mask & found
    return mask


def cells_of_rule(rule: Rule, result: ad.AnnData, *, numbers: Numbers) -> Mask:
    """The cells of one rule; see `selected_cells`."""
    if isinstance(rule, (Lasso, Box)):
        if keys.X_UMAP not in result.obsm:
            raise DataError("This run has no UMAP to draw on. Select by a column, a topic or a gene.")
        places = np.asarray(result.obsm[keys.X_UMAP])
        return _inside_box(places, rule) if isinstance(rule, Box) else _inside_polygon(places, rule.corners)
    if isinstance(rule, Among):
        return _among(result, rule)
    if isinstance(rule, Named):
        found = np.zeros(result.n_obs, dtype=bool)
        places = result.obs_names.get_indexer(list(rule.cells))
        found[places[places >= 0]] = True
        return found
    values = np.asarray(numbers(rule.what))
    inside = np.isfinite(values)
    if rule.low is not None:
        inside &= values >= rule.low
    if rule.high is not None:
        inside &= values <= rule.high
    return inside


def unknown_names(rule: Named, result: ad.AnnData) -> list[str]:
    """Names that no cell of the result has."""
    places = result.obs_names.get_indexer(list(rule.cells))
    return [name for name, place in zip(rule.cells, places, strict=True) if place < 0]


def _among(result: ad.AnnData, rule: Among) -> Mask:
    if rule.column not in result.obs:
        raise DataError(f"The cells have no column {rule.column!r}. Pick another.")
    values = result.obs[rule.column].astype("category").cat
    wanted = {i for i, name in enumerate(values.categories) if str(name) in rule.values}
    if missing := set(rule.values) - {str(name) for name in values.categories}:
        raise DataError(f"{rule.column} has no {', '.join(sorted(missing)[:5])}. It may have been renamed.")
    return np.isin(values.codes.to_numpy(), list(wanted))


def _inside_box(places: np.ndarray, box: Box) -> Mask:
    x, y = places[:, 0], places[:, 1]
    return np.asarray((x >= box.left) & (x <= box.right) & (y >= box.bottom) & (y <= box.top))


def _inside_polygon(places: np.ndarray, corners: Sequence[tuple[float, float]]) -> Mask:
    """Even-odd rule: a ray to the right crosses the outline an odd number of times.

    Points are sorted by height once, so that each edge only meets those at its own height: the work grows with the
    outline's crossings, not with corners x points.
    """
    polygon = np.asarray(corners, dtype=np.float64)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero(np.all((places >= low) & (places <= high), axis=1))
    near = near[np.argsort(places[near, 1], kind="stable")]
    x, y = places[near].astype(np.float64).T
    odd = np.zeros(len(near), dtype=bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        first, stop = np.searchsorted(y, sorted((y1, y2)))  # low <= y < high: a corner counts once
        part = slice(int(first), int(stop))
        odd[part] ^= x[part] < x1 + (y[part] - y1) * (x2 - x1) / (y2 - y1)
    inside = np.zeros(len(places), dtype=bool)
    inside[near[odd]] = True
    return inside


# ---- in words -----------------------------------------------------------------------------------------------------


def in_words(steps: Steps, names: Mapping[str, str] | None = None) -> str:
    """What was selected, as one says it: ``"lasso, without cell_type beta"``.

    Parameters
    ----------
    names
        Names given to topics.
    """
    said = []
    for step in steps:
        rule = "" if step.rule is None else _rule_in_words(step.rule, names or {})
        said.append(" ".join(part for part in (_WORDS_OF[step.how], rule) if part))
    return ", ".join(said)


def _rule_in_words(rule: Rule, names: Mapping[str, str]) -> str:
    if isinstance(rule, Lasso):
        return "lasso"
    if isinstance(rule, Box):
        return "box"
    if isinstance(rule, Among):
        shown = ", ".join(rule.values[:3]) + (f" and {len(rule.values) - 3} more" if len(rule.values) > 3 else "")
        return f"{rule.column} {shown}"
    if isinstance(rule, Named):
        return f"{len(rule.cells):,} names"
    what = rule.what.replace("topic_", "topic ") if rule.what.startswith("topic_") else rule.what
    what = f"{what} {names[rule.what]}" if rule.what in names else what
    if rule.low is not None and rule.high is not None:
        return f"{rule.low:g} ≤ {what} ≤ {rule.high:g}"
    return f"{what} ≤ {rule.high:g}" if rule.low is None and rule.high is not None else f"{what} ≥ {rule.low or 0:g}"
