"""Which numbers does a figure show? Its visible traces as one table, to be read instead of looked at."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.errors import FigureError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_DTYPES = ("i1", "u1", "u1c", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
_MARKUP = re.compile(r"<[^<>]*>")
SERIES, VALUE = "series", "value"


def figure_table(figure: go.Figure | Mapping[str, Any]) -> pd.DataFrame:
    """The numbers of a figure, hidden traces left out.

    One heatmap gives its matrix: a row for each row of it, named in the first column. All else gives a row for each
    point, bar or value: the name of its trace, if there are several, its position under the titles of the axes, and
    its number and text, if it has them.

    Parameters
    ----------
    figure
        A plotly figure, or its JSON as a browser has it.

    Raises
    ------
    FigureError
        If it is no figure, or an array in it cannot be read.
    """
    import pandas as pd

    content = figure if isinstance(figure, Mapping) else figure.to_plotly_json()
    traces, layout = content.get("data"), content.get("layout") or {}
    if not isinstance(traces, (list, tuple)) or not isinstance(layout, Mapping):
        raise FigureError("This is no figure: it needs 'data', a list of traces, and 'layout'.")
    shown = [trace for trace in traces if isinstance(trace, Mapping) and trace.get("visible", True) is True]
    if len(shown) == 1 and shown[0].get("type") == "heatmap":
        return _matrix(shown[0], layout)
    titles = {letter: _common_title(shown, layout, letter) for letter in "xy"}
    if titles["x"] == titles["y"] or {SERIES, VALUE, "text"} & set(titles.values()):
        titles = {letter: f"{letter}: {title}" for letter, title in titles.items()}
    frames = [frame for place, trace in enumerate(shown) if len(frame := _rows(trace, titles, place))]
    if not frames:
        return pd.DataFrame()
    table = pd.concat(frames, ignore_index=True)
    return table.drop(columns=SERIES) if len(frames) == 1 and SERIES in table else table


def _rows(trace: Mapping[str, Any], titles: Mapping[str, str], place: int) -> pd.DataFrame:
    """One trace, a row for each thing it draws."""
    import pandas as pd

    columns = {titles[letter]: values_of(trace.get(letter)) for letter in "xy"}
    name = plain(trace.get("name")) or f"{trace.get('type', 'scatter')} {place + 1}"
    if trace.get("type") == "heatmap":
        matrix = _matrix_values(trace)
        x, y = (
            _names(columns[titles[letter]], size) for letter, size in zip("xy", reversed(matrix.shape), strict=True)
        )
        columns = {
            titles["x"]: np.tile(x, len(y)),
            titles["y"]: np.repeat(y, len(x)),
            VALUE: matrix.ravel(),
        }
    else:
        given = trace.get("marker")
        marker = given if isinstance(given, Mapping) else {}
        columns |= {_color_title(marker): _numbers(marker.get("color")), "text": values_of(trace.get("text"))}
    size = max((len(values) for values in columns.values() if values is not None), default=0)
    kept = {label: values for label, values in columns.items() if values is not None and len(values) == size}
    table = pd.DataFrame({label: _cleaned(values) for label, values in kept.items()})
    table.insert(0, SERIES, name)
    return table


def _matrix(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    matrix = _matrix_values(trace)
    n_rows, n_columns = matrix.shape
    columns = [str(name) for name in _cleaned(_names(values_of(trace.get("x")), n_columns))]
    table = pd.DataFrame(matrix, columns=columns)
    heading = _common_title([trace], layout, "y")
    rows = _cleaned(_names(values_of(trace.get("y")), n_rows))
    table.insert(0, heading if heading != "y" else "row", rows, allow_duplicates=True)
    return table


def _matrix_values(trace: Mapping[str, Any]) -> np.ndarray:
    values = values_of(trace.get("z"))
    try:
        matrix = np.array([] if values is None else values.tolist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FigureError(f"The values of a heatmap are no table of numbers ({error}).") from error
    return matrix if matrix.ndim == 2 else np.empty((0, 0))


def values_of(value: Any) -> np.ndarray | None:
    """An array of a figure: a list, or ``{"dtype", "bdata", "shape"}`` as browsers and plotly write it; else None.

    Raises
    ------
    FigureError
        If it claims to be an array and is none.
    """
    if isinstance(value, Mapping) and "bdata" in value:
        dtype = value.get("dtype")
        if dtype not in _DTYPES:
            raise FigureError(f"An array of this figure is of type {str(dtype)[:20]!r}, which is unknown.")
        try:
            flat = np.frombuffer(base64.b64decode(str(value["bdata"]), validate=True), dtype=np.dtype(f"<{dtype[:2]}"))
            shape = [int(part) for part in str(value.get("shape", flat.size)).split(",")]
            return flat.reshape(shape)
        except (binascii.Error, ValueError) as error:
            raise FigureError(f"An array of this figure cannot be read ({error}). Draw the figure anew.") from error
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        rows = [values_of(row) if isinstance(row, Mapping) else row for row in value]
        array = np.empty(len(rows), dtype=object)
        array[:] = [list(row) if isinstance(row, np.ndarray) else row for row in rows]
        return array
    return None


def plain(text: Any) -> str:
    """A text of a figure without its markup."""
    return " ".join(html.unescape(_MARKUP.sub(" ", str(text))).split()) if text is not None else ""


def _numbers(value: Any) -> np.ndarray | None:
    """Values that stand for colours; names of colours are none."""
    values = values_of(value)
    return None if values is None or any(isinstance(entry, str) for entry in values[:1]) else values


def _names(values: np.ndarray | None, size: int) -> np.ndarray:
    return values if values is not None and len(values) == size else np.arange(size)


def _cleaned(values: np.ndarray) -> list[Any]:
    plain_values = values.tolist()
    return [plain(entry) if isinstance(entry, str) else entry for entry in plain_values]


def _title(holder: Any) -> str:
    title = holder.get("title") if isinstance(holder, Mapping) else None
    return plain(title.get("text")) if isinstance(title, Mapping) else plain(title)


def _color_title(marker: Mapping[str, Any]) -> str:
    return _title(marker.get("colorbar")) or VALUE


def _common_title(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], letter: str) -> str:
    """Title of the axis that the traces share; "x" or "y" where they do not, or where it has none."""
    names = {str(trace.get(f"{letter}axis", letter)) for trace in traces}
    titles = {_title(layout.get(f"{letter}axis{name[1:]}")) for name in names}
    return (titles.pop() or letter) if len(titles) == 1 else letter
