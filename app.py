"""scETM Studio: ``python app.py [FILE.h5ad] [--host H] [--port P] [--home DIR] [--data-dir DIR] [--demo]``."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from urllib.parse import quote

from dash import Dash

from pages._access import bodies, guard, options
from pages._report import routes
from pages._server import logs, serving, watch
from pages._server import routes as told
from pages._shared import background, figure_store, queries, search, studio, uploads
from pages._shared.errors import answer_errors, show_error
from scetm_core.accounts import Accounts
from scetm_core.errors import ScetmError
from scetm_core.memory import keep_heap_compact

DOCUMENT = """<!DOCTYPE html>
<html lang="en">
    <head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
    <body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def create_app(settings: studio.Studio, who: options.AccessSettings | None = None) -> Dash:
    """The app on a home folder; `app.server` is the WSGI application. By default it is for this machine only.

    Raises
    ------
    RunError
        If the home cannot be written to.
    AccessError
        If the secret of the home cannot be used.
    ConfigError
        If a broker is set and Celery is not installed.
    """
    settings = dataclasses.replace(settings, has_accounts=Accounts(settings.home).exist)
    studio.configure(settings)
    app = Dash(
        __name__,
        use_pages=True,
        title="scETM Studio",
        update_title="",
        background_callback_manager=background.manager(settings.cache_folder),
        on_error=show_error,
        suppress_callback_exceptions=True,
        compress=True,  # what the browser takes: zstd, Brotli or gzip
        index_string=DOCUMENT,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    from pages._shared.shell import shell  # after the pages have registered themselves

    queries.take_plain_queries()
    app.layout = shell
    guard.add_to(app, who or options.AccessSettings())
    watch.add_to(app)
    answer_errors(app.server)
    told.add_to(app.server)
    uploads.add_route(app.server)
    search.add_route(app.server)
    routes.add_route(app.server)
    figure_store.add_routes(app.server)
    return app


def open_app(given: argparse.Namespace) -> tuple[Dash, studio.Studio, options.AccessSettings]:
    """The app as the command line asks for it, on what, and who may come in; from here on its log is written.

    Raises
    ------
    ScetmError
        If it cannot be served so.
    OSError
        If the log cannot be written.
    """
    keep_heap_compact()
    settings, who = serving.settle(given)
    app = create_app(settings, who)
    logs.set_up(settings.home if settings.is_writable else None)
    if given.demo:
        from scetm_core.data.demo import write_demo

        write_demo(settings.demo_folder)
    return app, settings, who


def main() -> int:
    """Serve until interrupted."""
    given = serving.parser().parse_args()
    try:
        app, settings, who = open_app(given)
        limits = {uploads.ROUTE: settings.upload_limit, figure_store.ROUTE: figure_store.LIMIT}
        server = bodies.create_server(app.server, who, limits=limits)
    except (ScetmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    start = f"data?file={quote(settings.ref_of(given.file))}" if given.file else ""
    print(
        f"scETM Studio is at {options.address_to_open(who, path=start, with_token=given.token == 'auto')}",
        flush=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run()
    except KeyboardInterrupt:
        print()
    finally:
        serving.end_relays()
    return 0


if __name__ == "__main__":
    sys.exit(main())
