"""How does a figure that a browser shows become a file? It is sent here, kept a while, and drawn for paper on demand.

The browser posts what it shows (assets/export.js) and gets an id made from the content; pictures and tables are then
had under that id, so the browser may keep them. Ids and runs from outside are only ever names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask

from pages._shared import sharp_maps, studio
from pages._shared.parts import size_in_words
from scetm_core import board, keys
from scetm_core.errors import ConfigError, RunError, ScetmError
from scetm_core.figures import GRAPH_CONFIG
from scetm_core.files import write_atomically
from scetm_core.printing_table import figure_table, plain
from scetm_core.settings import settings_of

if TYPE_CHECKING:
    import pandas as pd

    from scetm_core.printing import PrintSettings

ROUTE = "/export/figure"
LIMIT = 64 << 20  # bytes of one figure
BLOCK = 1 << 20
N_KEPT, SECONDS_KEPT = 50, 86_400
PREVIEW_PIXELS = 1200
NOT_SETTINGS = ("run", "graph", "download", "preview", "stamp", "letters")
TYPES = {
    "svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}  # fmt: skip
_ALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
POLICIES = {
    "svg": f"{_ALONE}; sandbox",
    "html": f"{_ALONE}; script-src 'unsafe-inline' 'unsafe-eval'; sandbox allow-scripts allow-downloads",
    "pdf": _ALONE,  # a sandbox would keep the browser's own viewer out
}
"""What a figure may do where a browser opens it from here: an interactive one runs its script, as nobody's page."""
MM_PER_INCH = 25.4
BITMAP_WORDS = "So many points are drawn as a bitmap (600 dpi) between axes and words of vectors."

log = logging.getLogger("scetm.app")
_drawing = threading.Lock()  # one picture at a time: drawing takes a whole core, and fonts are shared


class RequestRefusedError(ScetmError):
    """A request that is answered with a status of its own, and with words."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def add_routes(server: flask.Flask) -> None:
    """Serve the routes of figures; each problem is answered as JSON, ``{"error": words}``.

    ``POST /export/figure`` keeps a figure and answers its `id`; ``GET /export/figure/ID.FORMAT?SETTINGS`` draws it
    as svg, pdf or png, or gives it as html or csv; ``GET /export/board/RUN.FORMAT?SETTINGS`` draws a run's board.
    """
    server.add_url_rule(ROUTE, "export-receive", _in_words(receive), methods=["POST"])
    server.add_url_rule("/export/figure/<name>.<file_format>", "export-figure", _in_words(send_figure))
    server.add_url_rule("/export/board/<name>.<file_format>", "export-board", _in_words(send_board))
    server.add_url_rule("/export/<path:_>", "export-nothing", _in_words(refuse_address))


def _in_words(view: Callable[..., flask.Response]) -> Callable[..., flask.Response | tuple[flask.Response, int]]:
    @functools.wraps(view)
    def answer(**names: str) -> flask.Response | tuple[flask.Response, int]:
        try:
            return view(**names)
        except RequestRefusedError as error:
            return flask.jsonify(error=str(error)), error.status
        except ScetmError as error:
            return flask.jsonify(error=str(error)), 400
        except OSError as error:
            return flask.jsonify(error=f"The figure could not be stored: {error.strerror or error}."), 507

    return answer


def refuse_address(**_: str) -> flask.Response:
    """Any other address below ``/export``: paths with more parts than a name has."""
    raise RequestRefusedError("There is nothing at this address.", status=404)


# ---- keeping ------------------------------------------------------------------------------------------------------


def receive() -> flask.Response:
    """Keep the request's body, a figure as JSON."""
    content = _body()
    return flask.jsonify(id=keep(content))


def _body() -> bytes:
    flask.request.max_content_length = LIMIT
    announced = flask.request.content_length
    if announced is None or announced <= 0:
        raise RequestRefusedError("There is no figure in this request.", status=400)
    too_large = f"figures may have {size_in_words(LIMIT)}. Show fewer points, then export again."
    if announced > LIMIT:
        raise RequestRefusedError(f"This figure has {size_in_words(announced)}; {too_large}", status=413)
    blocks, received = [], 0
    while block := flask.request.stream.read(BLOCK):
        blocks.append(block)
        received += len(block)
        if received > LIMIT:
            raise RequestRefusedError(f"This figure is too large; {too_large}", status=413)
    return b"".join(blocks)


def keep(content: bytes) -> str:
    """Keep a figure as JSON; its id, made from the content.

    Raises
    ------
    RequestRefusedError
        If it is no figure.
    """
    _checked(content)
    figure_id = hashlib.sha256(content).hexdigest()[:24]
    folder = _folder()
    write_atomically(folder / f"{figure_id}.json", content.decode("utf-8"))
    _sweep(folder)
    return figure_id


def _checked(content: bytes) -> dict[str, Any]:
    try:
        figure = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestRefusedError(f"This is no figure: it is not valid JSON ({error}).", status=400) from error
    data = figure.get("data") if isinstance(figure, dict) else None
    good = isinstance(data, list) and all(isinstance(trace, dict) for trace in data)
    if not good or not isinstance(figure.get("layout"), dict):
        raise RequestRefusedError(
            "This is no figure: it needs 'data', a list of traces, and 'layout', an object.", status=400
        )
    return dict(figure)


def _folder() -> Path:
    folder = studio.current().cache_folder / keys.FIGURES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sweep(folder: Path) -> None:
    """Keep the newest figures, and none older than a day."""
    ages: list[tuple[float, Path]] = []
    for file in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            ages.append((file.stat().st_mtime, file))
    ages.sort(reverse=True)
    for place, (written, file) in enumerate(ages):
        if place >= N_KEPT or written < time.time() - SECONDS_KEPT:
            file.unlink(missing_ok=True)


def text_of(figure_id: str) -> str:
    """A kept figure as the JSON text it came as.

    Raises
    ------
    RequestRefusedError
        If the id cannot be one, or nothing is kept under it.
    """
    file = _folder() / f"{figure_id}.json" if board.is_figure_id(figure_id) else None
    if file is None or not file.is_file():
        raise RequestRefusedError(
            "This figure is not kept any more. Open Export again on the page that shows it.", status=404
        )
    return file.read_text(encoding="utf-8")


@functools.lru_cache(maxsize=4)
def _figure(home: Path, figure_id: str) -> dict[str, Any]:
    return dict(json.loads(text_of(figure_id)))


def figure_of(figure_id: str) -> dict[str, Any]:
    """A kept figure. Shared between calls: never change it.

    Raises
    ------
    RequestRefusedError
        If nothing is kept under that id.
    """
    return _figure(studio.current().home, figure_id)


# ---- sending ------------------------------------------------------------------------------------------------------


def settings_from(query: Mapping[str, str]) -> Any:
    """The print settings that a query names, as text; the others keep their defaults.

    Raises
    ------
    ConfigError
        If one is unknown, no number, or out of range.
    """
    from scetm_core.printing import PrintSettings

    entries = {entry.name: entry for entry in settings_of(PrintSettings)}
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name in NOT_SETTINGS:
            continue
        entry = entries.get(name)
        if entry is not None and entry.type is bool:
            values[name] = text in ("1", "true")
        elif entry is not None and entry.type in (int, float):
            try:
                values[name] = float(text)
            except ValueError as error:
                raise ConfigError(
                    f"{entry.setting.label} ({name}) must be a number, got {text[:40]!r}.", field=name
                ) from error
        else:
            values[name] = text[:200]
    return PrintSettings.from_dict(values)


def numbers_of(figure: Mapping[str, Any]) -> pd.DataFrame:
    """The numbers of a figure; of a map that is a picture, every cell.

    Raises
    ------
    ScetmError
        If they cannot be read.
    """
    return sharp_maps.table_of(figure) if sharp_maps.is_picture(figure) else figure_table(figure)


def _for_print(figure: Mapping[str, Any], settings: PrintSettings) -> Mapping[str, Any]:
    return sharp_maps.sharpened(figure, settings) if sharp_maps.is_picture(figure) else figure


def send_figure(name: str, file_format: str) -> flask.Response:
    """A kept figure in a format."""
    _known(file_format, tuple(TYPES))
    figure = figure_of(name)
    stem = file_stem(flask.request.args.get("run", ""), flask.request.args.get("graph", "figure"))
    if file_format == "html":
        return _answer(as_page(figure, stem).encode(), file_format, stem)
    if file_format == "csv":
        return _answer(numbers_of(figure).to_csv(index=False).encode(), file_format, stem)
    from scetm_core.printing import rasterised, render

    settings = _for_preview(settings_from(flask.request.args))
    answer = _answer(
        _drawn(lambda: render(_for_print(figure, settings), settings, file_format=file_format)), file_format, stem
    )
    if "preview" in flask.request.args and (rasterised(figure) or sharp_maps.is_picture(figure)):
        answer.headers["X-Bitmap"] = BITMAP_WORDS
    return answer


def send_board(name: str, file_format: str) -> flask.Response:
    """The board of a run, drawn."""
    _known(file_format, ("svg", "pdf", "png"))
    try:
        run = studio.open_run(name)
    except RunError as error:
        raise RequestRefusedError(str(error), status=404) from error
    shown = board.read_board(run.path).place()
    if not shown.panels:
        raise RequestRefusedError("There is no panel on this board yet.", status=404)
    from scetm_core.printing import Panel, render_panels

    settings = _for_preview(settings_from(flask.request.args))
    drawn = [
        Panel(
            figure=_for_print(board.load_panel_figure(run.path, panel), settings),
            title=panel.title,
            row=panel.row,
            column=panel.column,
            row_span=panel.row_span,
            column_span=shown.width_of(panel),
        )
        for panel in shown.panels
    ]
    letters = flask.request.args.get("letters", "1") == "1"
    content = _drawn(lambda: render_panels(drawn, settings, file_format=file_format, letters=letters))
    return _answer(content, file_format, file_stem(run.id, "figure"))


def _known(file_format: str, formats: tuple[str, ...]) -> None:
    if file_format not in formats:
        raise RequestRefusedError(f"There is no format {file_format[:20]!r}; take one of {list(formats)}.", status=404)


def _for_preview(settings: Any) -> Any:
    """The settings with as many dots as a screen can show, where a preview is asked for."""
    import dataclasses

    if "preview" not in flask.request.args:
        return settings
    return dataclasses.replace(settings, dpi=int(min(300, max(72, PREVIEW_PIXELS * MM_PER_INCH / settings.width_mm))))


def _drawn(draw: Callable[[], bytes]) -> bytes:
    try:
        with _drawing:
            return draw()
    except ScetmError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        log.warning("A figure could not be drawn", exc_info=error)  # its words may quote what is drawn
        raise RequestRefusedError(
            f"This figure cannot be drawn for paper ({type(error).__name__}: {str(error)[:200]}). "
            "Save it as an interactive page or as a table.",
            status=422,
        ) from error


def as_page(figure: Mapping[str, Any], title: str) -> str:
    """A page that holds the figure and all it needs: it works without a network, by double click."""
    import html

    from plotly.io import to_html

    layout = {
        name: value for name, value in figure["layout"].items() if name not in ("width", "height", "autosize")
    } | {"paper_bgcolor": "#ffffff", "autosize": True}
    config = {**GRAPH_CONFIG, "scrollZoom": True, "displayModeBar": "hover"}
    page = to_html(
        {"data": figure["data"], "layout": layout}, config=config, include_plotlyjs=True, validate=False,
        default_height="96vh",
    )  # fmt: skip
    return str(page).replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)


def file_stem(run: str, graph: str) -> str:
    """Name of a file without its ending, of plain letters only."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", plain(text))[:80].strip("-.") for text in (run, graph)]
    return "-".join(filter(None, words)) or "figure"


def _answer(content: bytes, file_format: str, stem: str) -> flask.Response:
    answer = flask.Response(content, content_type=TYPES[file_format])
    answer.headers["Cache-Control"] = "private, max-age=3600"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = POLICIES.get(file_format, POLICIES["svg"])
    if "download" in flask.request.args or file_format in ("html", "svg"):  # what could run a script is never shown
        answer.headers["Content-Disposition"] = f'attachment; filename="{stem}.{file_format}"'
    return answer
