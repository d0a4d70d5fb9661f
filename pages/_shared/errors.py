"""What does the user see when a callback fails? Our own errors as they are; anything else, that it is a defect.

A disk that is full or read-only, and a file deleted meanwhile, are no defects: they are told in words as well.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import flask
from dash import ctx, no_update, set_props
from dash.exceptions import MissingCallbackContextException, PreventUpdate
from werkzeug.exceptions import HTTPException

from scetm_core.errors import ScetmError
from scetm_core.files import system_error_in_words

CLOSE = {"aria-label": "Close"}
"""Of the button that closes a notification."""

MAX_WORDS = 2000
"""Of an error that is shown."""

log = logging.getLogger("scetm.app")


def log_defect(error: Exception, what: str) -> str:
    """Write an error that nobody has foreseen into the log; what to tell instead, with the mark it is found by."""
    mark = secrets.token_hex(3)
    log.error("%s failed [%s]", what, mark, exc_info=error, extra={"mark": mark})
    return f"This is a defect of the app, not of your data. The server's log has it under {mark}."


def answer_errors(server: flask.Flask) -> None:
    """Say in words what fails in a route: no traceback, no path."""

    def answer(error: Exception) -> flask.typing.ResponseReturnValue:
        if isinstance(error, HTTPException):
            words, status = error.description or error.name, error.code or 500
            if error.response is not None or status < 400:
                return error
        elif isinstance(error, ScetmError):
            words, status = str(error), 400
        else:
            words, status = log_defect(error, flask.request.path[:100]), 500
        is_page = "text/html" in flask.request.headers.get("Accept", "")
        return (flask.Response(words, mimetype="text/plain") if is_page else flask.jsonify(error=words)), status

    server.register_error_handler(Exception, answer)


def show_error(error: Exception) -> list[Any] | None:
    """Tell of an error in a notification; the page stays as it is: no output is updated."""
    if isinstance(error, PreventUpdate):
        raise error
    words = system_error_in_words(error) if isinstance(error, OSError) else None
    known = isinstance(error, ScetmError) or words is not None
    text = (words or str(error)) if known else log_defect(error, "A callback")
    notification = {
        "action": "show",
        "id": f"error-{abs(hash(text))}",
        "title": "That did not work" if known else "Something unexpected went wrong",
        "message": text[:MAX_WORDS],
        "color": "red",
        "autoClose": 12_000,
        "closeButtonProps": CLOSE,
    }
    set_props("notifications", {"sendNotifications": [notification]})
    try:
        outputs = ctx.outputs_list
    except MissingCallbackContextException:  # nobody waits for an answer
        return None
    # of one output with many ids, Dash wants an answer for each
    return [no_update] * len(outputs) if outputs and all(isinstance(one, dict) for one in outputs) else None


def inform(message: str, *, title: str = "") -> None:
    """Say something went well."""
    note = {
        "action": "show",
        "title": title,
        "message": message,
        "color": "teal",
        "autoClose": 5_000,
        "closeButtonProps": CLOSE,
    }
    set_props("notifications", {"sendNotifications": [note]})
