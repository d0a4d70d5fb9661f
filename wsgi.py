"""scETM Studio for a WSGI server: ``gunicorn`` in this folder serves it, with settings in ``SCETM_...`` variables."""

from __future__ import annotations

import os
import sys

from app import open_app
from pages._server import serving
from scetm_core.errors import ScetmError

CANNOT_START = 3
"""Tells gunicorn that there is no use in trying again."""

try:
    application = open_app(serving.given_to_gunicorn(os.environ))[0].server
except (ScetmError, OSError) as error:
    print(f"error: {error} {serving.HINT}", file=sys.stderr, flush=True)
    sys.exit(CANNOT_START)
