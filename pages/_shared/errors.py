"""What does the user see when a callback fails? Our own errors as they are; anything else, that it is a defect.

A disk that is full or read-only, and a file deleted meanwhile, are no defects: they are told in words as well.
"""

from __future__ import annotations

import logging

from dash import set_props
from dash.exceptions import PreventUpdate

from scetm_core.errors import ScetmError
from scetm_core.files import system_error_in_words

CLOSE = {"aria-label": "Close"}
"""Of the button that closes a notification."""

log = logging.getLogger("scetm.app")


def show_error(error: Exception) -> None:
    """Tell of an error in a notification; the page stays as it is."""
    if isinstance(error, PreventUpdate):
        raise error
    words = system_error_in_words(error) if isinstance(error, OSError) else None
    known = isinstance(error, ScetmError) or words is not None
    if not known:
        log.exception("A callback failed", exc_info=error)
    text = (words or str(error)) if known else f"{type(error).__name__}: {error}. The server's log has the details."
    notification = {
        "action": "show",
        "id": f"error-{abs(hash(text))}",
        "title": "That did not work" if known else "Something unexpected went wrong",
        "message": text,
        "color": "red",
        "autoClose": 12_000,
        "closeButtonProps": CLOSE,
    }
    set_props("notifications", {"sendNotifications": [notification]})


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
