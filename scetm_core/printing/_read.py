"""What does a figure hold? Traces and layout as plain dictionaries, arrays decoded, the template filled in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from scetm_core.errors import FigureError

Json = dict[str, Any]
KINDS = ("scatter", "scattergl", "heatmap", "bar", "histogram", "violin", "box")
MAX_VECTOR_POINTS = 50_000
"""Of more points a vector file would be slow to open: they become a bitmap."""


@dataclass(frozen=True)
class Scene:
    """A figure ready to draw: what is visible of it.

    Attributes
    ----------
    traces
        With what the template says of their kind; each has a "type", and under "_place" its place in the figure.
    layout
        With what the template says.
    """

    traces: list[Json]
    layout: Json

    @property
    def n_points(self) -> int:
        """Points of all scatter traces drawn with markers."""
        return sum(n_points_of(trace) for trace in self.traces)

    @property
    def is_rasterised(self) -> bool:
        """Whether points are drawn as a bitmap."""
        return self.n_points > MAX_VECTOR_POINTS

    @property
    def may_hold_bitmap(self) -> bool:
        """Whether a part of it may be drawn as a bitmap."""
        has_heatmap = any(trace["type"] == "heatmap" for trace in self.traces)
        return self.is_rasterised or has_heatmap or bool(self.layout.get("images"))

    def axis(self, name: str) -> Json:
        """The options of an axis called "x", "y2"."""
        return dict(merged(self._default(f"{name[0]}axis"), self.layout.get(axis_key(name)) or {}))

    def _default(self, key: str) -> Json:
        return (self.layout.get("_template") or {}).get(key) or {}


def read_scene(figure: go.Figure | Mapping[str, Any], *, prefix: str = "") -> Scene:
    """Read a figure, or the JSON of one as a browser has it.

    Parameters
    ----------
    figure
        Either.
    prefix
        Begins the names that its traces get in an SVG, so that several figures share one.

    Raises
    ------
    FigureError
        If it is no figure, has a trace of a kind that cannot be printed, or an array that cannot be decoded.
    """
    content = figure.to_dict() if isinstance(figure, go.Figure) else figure
    if not isinstance(content, Mapping) or not isinstance(content.get("data", []), Sequence):
        raise FigureError(f"A figure must have 'data' and 'layout', got {type(figure).__name__}.")
    layout = decoded(content.get("layout") or {}, "the layout")
    template = _template(layout.pop("template", None))
    base = {key: value for key, value in (template.get("layout") or {}).items() if key not in ("xaxis", "yaxis")}
    layout = merged(base, layout)
    layout["_template"] = template.get("layout") or {}
    traces = []
    for place, raw in enumerate(content.get("data") or []):
        if not isinstance(raw, Mapping):
            raise FigureError(f"Trace {place + 1} of the figure is no object but {type(raw).__name__}.")
        if raw.get("visible", True) in (False, "legendonly"):
            continue
        kind = raw.get("type") or "scatter"
        if kind not in KINDS:
            raise FigureError(f"Trace {place + 1} is of the kind '{kind}', which cannot be printed; {list(KINDS)} can.")
        default: Json = next(iter((template.get("data") or {}).get(kind) or ()), {})
        own = {"type": kind, "_place": place, "_id": f"{prefix}{place}", **_spacing(layout, kind)}
        traces.append({**merged(default, _trace(raw, place)), **own})
    return Scene(traces=traces, layout=layout)


def _spacing(layout: Json, kind: str) -> Json:
    """How bars of a kind stand together."""
    if kind not in ("bar", "histogram"):
        return {}
    mode, gap = ("group", 0.2) if kind == "bar" else ("overlay", 0.0)
    return {"_barmode": layout.get("barmode") or mode, "_bargap": layout.get("bargap", gap)}


def _trace(raw: Mapping[str, Any], place: int) -> Json:
    """A trace without what only a pointer sees."""
    shown = {key: value for key, value in raw.items() if key not in ("customdata", "hovertemplate", "hovertext", "ids")}
    kind = shown.get("type") or "scatter"
    is_written = "text" in str(raw.get("mode") or "") if kind.startswith("scatter") else bool(raw.get("texttemplate"))
    if not is_written:
        shown.pop("text", None)  # for the pointer only
    found: Json = decoded(shown, f"trace {place + 1}")
    return found


def decoded(value: Any, where: str) -> Any:
    """A copy with typed arrays (`dtype`, base64 `bdata`, `shape`) as numpy arrays."""
    if isinstance(value, Mapping):
        if "bdata" in value and "dtype" in value:
            return _array(value, where)
        return {str(key): decoded(inner, where) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and any(isinstance(inner, (Mapping, list, tuple)) for inner in value[:1]):
        return [decoded(inner, where) for inner in value]
    return value


def _array(spec: Mapping[str, Any], where: str) -> np.ndarray:
    try:
        content = base64.b64decode(spec["bdata"], validate=True)
        array = np.frombuffer(content, dtype=np.dtype(str(spec["dtype"]).replace("uint8c", "u1")))
        shape = spec.get("shape")
        if isinstance(shape, str):
            shape = [int(part) for part in shape.split(",")]
        return array.reshape(shape) if shape is not None else array
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise FigureError(f"An array in {where} cannot be decoded ({error}). Draw the figure anew.") from error


def _template(value: Any) -> Json:
    """The template's options; a name is looked up among those registered."""
    if isinstance(value, str):
        import plotly.io as pio

        import scetm_core.figures  # noqa: F401 - registers the house's

        known = [name for name in value.split("+") if name in pio.templates]
        found: Json = {}
        for name in known:
            found = merged(found, pio.templates[name].to_plotly_json())
        return found
    return dict(value) if isinstance(value, Mapping) else {}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    """`base` with what `over` says, level by level."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
        elif value is not None:
            result[key] = value
    return result


def inside(value: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """`inside(trace, "marker.line.width")`, or the default where a step is missing."""
    found: Any = value
    for key in path.split("."):
        if not isinstance(found, Mapping) or found.get(key) is None:
            return default
        found = found[key]
    return found


def axis_key(name: str) -> str:
    """Answers "xaxis2" for "x2"."""
    return f"{name[0]}axis{name[1:]}"


def n_points_of(trace: Json) -> int:
    """How many points a trace draws with markers."""
    if trace["type"] not in ("scatter", "scattergl") or "markers" not in mode_of(trace):
        return 0
    return _length(trace)


def mode_of(trace: Json) -> str:
    """How a scatter trace is drawn: "markers", "lines+markers+text"."""
    if mode := trace.get("mode"):
        return str(mode)
    return "lines+markers" if _length(trace) < 20 else "lines"


def _length(trace: Json) -> int:
    column = trace.get("x") if trace.get("x") is not None else trace.get("y")
    return len(column) if column is not None else 0
