"""What is in a figure, made here or sent by a browser? Plain dictionaries and arrays, the template worked in."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

from scetm_core.errors import FigureError

TRACE_TYPES = ("scatter", "scattergl", "heatmap", "bar", "histogram", "violin", "box")
COLORWAY = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8A8F98")
_DTYPES = {"i1", "u1", "u1c", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"}
_AXIS = re.compile(r"([xy])axis(\d*)")

Node = dict[str, Any]


@dataclass(frozen=True)
class Drawing:
    """A figure read: visible traces with all defaults, and the layout with those of its template."""

    traces: list[Node]
    layout: Node

    @property
    def n_points(self) -> int:
        """Markers that would be drawn."""
        return sum(number_of_points(trace) for trace in self.traces)

    def axes(self) -> Iterator[tuple[str, Node]]:
        """Short name ("x2") and settings of each axis in the layout."""
        for name, spec in self.layout.items():
            if match := _AXIS.fullmatch(name):
                yield match[1] + ("" if match[2] == "1" else match[2]), spec


def number_of_points(trace: Node) -> int:
    """Markers of one trace."""
    if not trace["type"].startswith("scatter") or "markers" not in mode_of(trace):
        return 0
    return max((len(trace[axis]) for axis in "xy" if trace.get(axis) is not None), default=0)


def mode_of(trace: Node) -> str:
    """Of a scatter: what is drawn."""
    given = trace.get("mode")
    if given is not None:
        return str(given)
    return "lines+markers" if max((len(trace.get(axis) or ()) for axis in "xy"), default=0) < 20 else "lines"


def read_figure(figure: go.Figure | Mapping[str, Any]) -> Drawing:
    """Read a figure or its JSON.

    Raises
    ------
    FigureError
        If it is no figure, holds a trace that cannot be printed, or an array that cannot be read.
    """
    content = figure.to_plotly_json() if isinstance(figure, go.Figure) else figure
    if not isinstance(content, Mapping):
        raise FigureError(f"This is no figure but {type(content).__name__}; it needs 'data' and 'layout'.")
    data, layout = content.get("data") or [], content.get("layout") or {}
    if not isinstance(data, (list, tuple)) or not all(isinstance(trace, Mapping) for trace in data):
        raise FigureError("The 'data' of this figure is no list of traces.")
    if not isinstance(layout, Mapping):
        raise FigureError("The 'layout' of this figure is no JSON object.")
    plain = _plain(layout, "layout")
    template = _template(plain.pop("template", None))
    merged_layout = _with_template(plain, template.get("layout", {}))
    colorway = merged_layout.get("colorway") or COLORWAY
    traces = []
    for place, given in enumerate(data):
        trace = _plain(given, f"trace {place + 1}")
        trace.setdefault("type", "scatter")
        if trace.get("visible", True) not in (True, None):
            continue
        if trace["type"] not in TRACE_TYPES:
            raise FigureError(f"Figures with '{trace['type']}' cannot be printed; known are {', '.join(TRACE_TYPES)}.")
        defaults = (template.get("data") or {}).get(trace["type"]) or [{}]
        trace = merged(defaults[place % len(defaults)], trace)
        trace["default_color"], trace["place"] = colorway[place % len(colorway)], place
        traces.append(_with_coloraxis(trace, merged_layout))
    return Drawing(traces, merged_layout)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Node:
    """`over`, with what it leaves open taken from `base`."""
    found = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        elif value is not None:
            found[key] = value
    return found


def _template(template: Any) -> Node:
    if isinstance(template, str):
        try:
            return dict(_plain(pio.templates[template].to_plotly_json(), "template"))
        except KeyError:
            return {}
    return template if isinstance(template, dict) else {}


def _with_template(layout: Node, base: Node) -> Node:
    """The layout over its template, whose axis is that of all axes, and likewise for annotations and shapes."""
    whole = merged({key: value for key, value in base.items() if not _AXIS.fullmatch(key)}, layout)
    names = {name for name in layout if _AXIS.fullmatch(name)} | {"xaxis", "yaxis"}
    for name in names:
        whole[name] = merged(base.get(f"{name[0]}axis") or {}, layout.get(name) or {})
    for kind in ("annotation", "shape", "image"):
        entries = [entry for entry in layout.get(f"{kind}s") or [] if isinstance(entry, Mapping)]
        whole[f"{kind}s"] = [merged(base.get(f"{kind}defaults") or {}, entry) for entry in entries]
    whole["title"] = text_node(whole.get("title"))
    return whole


def _with_coloraxis(trace: Node, layout: Node) -> Node:
    """A trace that refers to a shared colour axis, with the settings of that axis."""
    for owner in (trace, trace.get("marker")):
        if isinstance(owner, dict) and (name := owner.get("coloraxis")):
            shared = dict(layout.get(name) or {})
            if "cmin" in shared and owner is trace:
                shared["zmin"], shared["zmax"] = shared.get("cmin"), shared.get("cmax")
            shared.setdefault("showscale", True)
            owner.update({**shared, **{key: value for key, value in owner.items() if value is not None}})
    return trace


def text_node(value: Any) -> Node:
    """`{"text": ..., "font": ...}`, also where only the text was given."""
    if isinstance(value, Mapping):
        return dict(value)
    return {"text": str(value)} if value else {}


def _plain(value: Any, where: str) -> Any:
    """The same without typed arrays and without mappings that are no dictionaries."""
    if isinstance(value, Mapping):
        if "bdata" in value:
            return _decoded(value, where)
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if not any(isinstance(inner, (Mapping, list, tuple)) for inner in value):
            return list(value)
        return [_plain(inner, where) for inner in value]
    return value


def _decoded(spec: Mapping[str, Any], where: str) -> np.ndarray:
    """A typed array: `{"dtype": "f4", "bdata": "<base64>", "shape": "2, 3"}`."""
    dtype = str(spec.get("dtype"))
    if dtype not in _DTYPES:
        raise FigureError(f"The array in {where} is of type '{dtype}', which is unknown.")
    try:
        raw = base64.b64decode(spec["bdata"], validate=True)
        array = np.frombuffer(raw, dtype=np.dtype("<" + dtype[:2]))
        if (shape := spec.get("shape")) is not None:
            array = array.reshape([int(part) for part in str(shape).split(",")])
    except (binascii.Error, TypeError, ValueError) as error:
        raise FigureError(f"The array in {where} cannot be read ({error}). Draw the figure anew.") from error
    return array
