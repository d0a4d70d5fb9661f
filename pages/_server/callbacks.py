"""Who runs the background callbacks of an app on a cluster? A Celery worker that has the pages loaded.

Started as ``celery -A pages._server.callbacks worker -Q pages`` beside the app, with the same `SCETM_BROKER_URL` and
`SCETM_HOME`. It trains nothing, so one with a few processes does for a lab.
"""

from __future__ import annotations

from app import create_app
from pages._shared import studio
from scetm_core import broker, keys

app = broker.celery_app()
app.conf.update(worker_concurrency=8)
create_app(studio.Studio(home=keys.default_home().resolve()))
