"""How does what a run gives away get to the browser? By a route of its own, file by file, never through a callback."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import flask

from pages._shared import studio
from scetm_core import keys
from scetm_core.archive import ENDINGS, changed_at, published
from scetm_core.errors import RunError
from scetm_core.recipe import as_notebook, as_script
from scetm_core.report import write_report
from scetm_core.runs import Run

REPORT, SCRIPT, NOTEBOOK = "report.html", "recipe.py", "recipe.ipynb"
FILES = {what: f"{what}{ending}" for what, ending in ENDINGS.items()}
NAMES_FOR_READERS = {"everything": "everything.zip", "viewers": "result.h5ad"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Of the report: it needs nothing but itself, and no script."""

_making = threading.Lock()


def add_route(server: flask.Flask) -> None:
    """Serve ``GET /publish/RUN/FILE``: the report, the recipes, and files that were made on demand.

    RUN is only ever the name of a folder of this home, FILE one of those listed here.
    """
    server.add_url_rule("/publish/<run_id>/<name>", "publish", send, methods=["GET"])


def address(run: Run, name: str, *, download: bool = True) -> str:
    """Where the browser gets a file of a run."""
    return f"/publish/{run.id}/{name}{'?download=1' if download else ''}"


def send(run_id: str, name: str) -> flask.Response:
    """A file of a run, or in words why there is none."""
    as_download = bool(flask.request.args.get("download"))
    try:
        run = studio.open_run(run_id)
        if name == REPORT:
            answer = flask.send_file(cached_report(run), mimetype="text/html", max_age=0, as_attachment=as_download,
                                     download_name=f"{run.id}-report.html")  # fmt: skip
            answer.headers["Content-Security-Policy"] = POLICY
            return answer
        if name in (SCRIPT, NOTEBOOK):
            return _send_text(as_script(run) if name == SCRIPT else as_notebook(run), f"{run.id}-{name}")
        for what, file in FILES.items():
            if name == file and published(run, what).is_file():
                shown = f"{run.id}-{NAMES_FOR_READERS[what]}"
                return flask.send_file(published(run, what), as_attachment=True, download_name=shown, max_age=0)
    except RunError as error:
        return flask.Response(str(error), status=404, mimetype="text/plain")
    return flask.Response("There is no such file. It may not have been made yet.", status=404, mimetype="text/plain")


def _send_text(text: str, name: str) -> flask.Response:
    kind = "application/x-ipynb+json" if name.endswith(".ipynb") else "text/x-python"
    return flask.send_file(io.BytesIO(text.encode()), mimetype=kind, as_attachment=True, download_name=name, max_age=0)


def cached_report(run: Run) -> Path:
    """The report of a run as it is now; written once for each version of result, scores, names and tables.

    Raises
    ------
    RunError
        If the run has no result, or is damaged.
    """
    folder = studio.current().home / keys.CACHE_FOLDER / "reports"
    path = folder / f"{run.id}@{changed_at(run)}.html"
    with _making:  # the second of two readers waits for the first one's
        if not path.is_file():
            write_report(run, path)
            for old in folder.glob(f"{run.id}@*.html"):
                if old != path:
                    old.unlink(missing_ok=True)
    return path
