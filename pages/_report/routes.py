"""How does what a run gives away get to the browser? By a route of its own, file by file, never through a callback.

A report that is not there yet is made by a task; meanwhile its tab says how far it is, and looks again by itself. A
link on another site does not start that: whoever follows it is asked first.
"""

from __future__ import annotations

import html
import io

import flask

from pages._access import origins
from pages._shared import studio
from scetm_core import jobs, keys, tasks
from scetm_core.archive import ENDINGS, changed_at, is_current, published
from scetm_core.errors import RunError
from scetm_core.jobfolder import FINISHED
from scetm_core.recipe import as_notebook, as_script
from scetm_core.requests import PublishRequest
from scetm_core.runs import Run

REPORT, SCRIPT, NOTEBOOK = "report.html", "recipe.py", "recipe.ipynb"
FILES = {what: f"{what}{ending}" for what, ending in ENDINGS.items() if what != "report"}
NAMES_FOR_READERS = {"everything": "everything.zip", "viewers": "result.h5ad"}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox allow-scripts allow-popups allow-downloads"
)
"""Of the report: it needs nothing but itself; `default-src` lets no script in. The sandbox makes it nobody's page,
without a session (`allow-scripts` is for tests and extensions: they may look at it)."""
WAITING_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>Report</title>
<style>:root {{ color-scheme: light dark; }} body {{ margin: 20vh auto; max-width: 30em; padding: 0 1em;
font: 16px/1.5 system-ui, sans-serif; }} progress {{ width: 100%; accent-color: #0c8599; }}</style></head>
<body><h1>{title}</h1><p role="status">{words}</p>{bar}</body></html>
"""


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
    try:
        run = studio.open_run(run_id)
        if name == REPORT:
            return _send_report(run)
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


def _send_report(run: Run) -> flask.Response:
    """The report of the run as it is now; until it is made, how far it is."""
    if not is_current(run, "report"):
        return _waiting(run)
    answer = flask.send_file(
        published(run, "report"),
        mimetype="text/html",
        max_age=0,
        as_attachment=bool(flask.request.args.get("download")),
        download_name=f"{run.id}-report.html",
    )
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


def _waiting(run: Run) -> flask.Response:
    """Start making the report, unless that failed since the run last changed; a page that says so."""
    task = tasks.find_task(run, keys.PUBLISHED_FOLDER, "report")
    state = "lost" if task is None else jobs.state(task)
    if task is not None and state == "failed":
        status = task.status()
        if (status.finished_at or 0) * 1e9 >= changed_at(run) and not flask.request.args.get("again"):
            words = f'{html.escape(status.message)} <a href="?again=1">Try again</a>'
            return _page("The report could not be made", words, status=500)
    if state in (*FINISHED, "lost") and not origins.may_start_work(flask.request):
        link = html.escape(flask.request.full_path.rstrip("?"))
        words = f'Nobody has asked for it yet, or the run has changed since. <a href="{link}">Make it</a>'
        return _page("The report is not made yet", words, status=200)
    status = tasks.ask(run, "report", PublishRequest(what="report")).status()
    return _page("The report is being made", html.escape(status.message), status=202, share=status.progress)


def _page(title: str, words: str, *, status: int, share: float | None = None) -> flask.Response:
    """A page of a sentence; one that waits (202) looks again by itself."""
    url = "" if flask.request.args.get("again") is None else f"; url={flask.request.path}"
    again = f'<meta http-equiv="refresh" content="1{url}">' if status == 202 else ""
    bar = "" if share is None else f'<progress value="{share:.3f}" aria-label="Progress"></progress>'
    text = WAITING.format(refresh=again, title=title, words=words, bar=bar)
    answer = flask.Response(text, status=status, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = WAITING_POLICY
    answer.headers["Cache-Control"] = "no-store"
    return answer
