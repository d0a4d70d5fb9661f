"""How does gunicorn serve the app? It reads this file by itself when it is started in this folder, as ``gunicorn``.

One process with threads, not several: what has been read and drawn is kept once instead of once for each, /metrics
tells of all requests, and what is guarded by a lock (names, panels of figures) is guarded against everybody. Reading
and numpy leave the interpreter to the other threads; training is done by processes of its own.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from gunicorn import glogging

from pages._access import bodies
from pages._server import logs, serving


class Log(glogging.Logger):
    """Gunicorn's own lines look as ours do."""

    def setup(self, cfg):
        """Leave them to our handlers."""
        super().setup(cfg)
        logs.set_up(None)
        self.error_log.handlers, self.error_log.propagate = [], True


wsgi_app = "wsgi"
bind = serving.address(os.environ)
workers = 1
worker_class = "gthread"
threads = bodies.THREADS
timeout = 120  # seconds without a sign of life from the process, not the length of a request
graceful_timeout = 20
keepalive = 5
control_socket_disable = True
forwarded_allow_ips = ""  # whom to believe about the client is SCETM_BEHIND_PROXY's to say
logger_class = Log
on_starting = serving.on_starting
when_ready = serving.when_ready


def worker_exit(arbiter: object, worker: object) -> None:
    """What only relays runs must not hold up the exit."""
    serving.end_relays()
