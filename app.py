"""scETM Studio: ``python app.py [FILE.h5ad] [--host H] [--port P] [--home DIR] [--data-dir DIR] [--demo]``."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import diskcache
import multiprocess
from dash import Dash, DiskcacheManager

from pages._report import routes
from pages._shared import figure_store, queries, search, studio, uploads
from pages._shared.errors import show_error
from scetm_core import __version__, keys
from scetm_core.errors import ScetmError

DOCUMENT = """<!DOCTYPE html>
<html lang="en">
    <head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
    <body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def create_app(settings: studio.Studio) -> Dash:
    """The app on a home folder; `app.server` is the WSGI application.

    Raises
    ------
    RunError
        If the home cannot be written to.
    """
    studio.configure(settings)
    cache = diskcache.Cache(str(settings.home / keys.CACHE_FOLDER / "callbacks"))
    app = Dash(
        __name__,
        use_pages=True,
        title="scETM Studio",
        update_title="",
        background_callback_manager=DiskcacheManager(cache),
        on_error=show_error,
        suppress_callback_exceptions=True,
        compress=True,  # what the browser takes: zstd, Brotli or gzip
        index_string=DOCUMENT,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    from pages._shared.shell import shell  # after the pages have registered themselves

    queries.take_plain_queries()
    app.layout = shell
    app.server.secret_key = secrets.token_bytes(32)
    app.server.add_url_rule("/health", view_func=lambda: {"status": "ok", "version": __version__})
    uploads.add_route(app.server)
    search.add_route(app.server)
    routes.add_route(app.server)
    figure_store.add_routes(app.server)
    return app


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line of the server."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve scETM Studio.")
    parser.add_argument("file", nargs="?", type=Path, help="a data set to start with")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8050)
    parser.add_argument("--home", type=Path, default=Path(os.environ.get(studio.HOME_VARIABLE, "~/.scetm")))
    parser.add_argument("--data-dir", type=Path, action="append", default=[], help="folder the file browser may show")
    parser.add_argument("--demo", action="store_true", help="write the demo data at the start")
    parser.add_argument("--slots", type=int, default=1, help="runs that may train beside each other (default: 1)")
    return parser.parse_args(arguments)


def main() -> int:
    """Serve until interrupted."""
    import waitress

    options = parse_arguments()
    folders = [*options.data_dir, *([options.file.parent] if options.file else [])]
    try:
        for path in [*folders, *([options.file] if options.file else [])]:
            if not path.exists():
                raise ScetmError(f"{path} does not exist.")
        settings = studio.Studio(
            home=options.home.expanduser().resolve(),
            data_dirs=tuple(folder.resolve() for folder in folders),
            n_slots=options.slots,
        )
        app = create_app(settings)
        if options.demo:
            from scetm_core.data.demo import write_demo

            write_demo(settings.demo_folder)
        server = waitress.create_server(app.server, host=options.host, port=options.port, threads=8,
                                        max_request_body_size=settings.upload_limit)  # fmt: skip
    except (ScetmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    start = f"data?file={quote(settings.ref_of(options.file))}" if options.file else ""
    print(f"scETM Studio is at http://{options.host}:{options.port}/{start}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run()
    except KeyboardInterrupt:
        print()
    finally:  # runs go on by themselves; what only relays them must not hold up the exit
        for relay in multiprocess.active_children():
            relay.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
