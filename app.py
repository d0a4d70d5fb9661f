"""scETM Studio: ``python app.py [FILE.h5ad] [--host H] [--port P] [--home DIR] [--data-dir DIR] [--demo]``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import diskcache
import multiprocess
from dash import Dash, DiskcacheManager

from pages._access import bodies, guard, options
from pages._report import routes
from pages._shared import access, figure_store, search, studio, uploads
from pages._shared.errors import answer_errors, show_error
from scetm_core import __version__, keys
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
    """
    studio.configure(dataclasses.replace(settings, has_accounts=Accounts(settings.home).exist))
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

    app.layout = shell
    guard.add_to(app, who or options.AccessSettings())
    answer_errors(app.server)
    app.server.add_url_rule("/health", view_func=health)
    uploads.add_route(app.server)
    search.add_route(app.server)
    routes.add_route(app.server)
    figure_store.add_routes(app.server)
    return app


def health() -> dict[str, str]:
    """That the server answers; which version it is, is nobody's business outside."""
    return {"status": "ok", **({"version": __version__} if access.is_in() else {})}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line of the server."""
    parser = argparse.ArgumentParser(prog="app.py", description="Serve scETM Studio.")
    parser.add_argument("file", nargs="?", type=Path, help="a data set to start with")
    parser.add_argument("--port", type=int, default=8050)
    parser.add_argument("--home", type=Path, default=Path(os.environ.get(studio.HOME_VARIABLE, "~/.scetm")))
    parser.add_argument("--data-dir", type=Path, action="append", default=[], help="folder the file browser may show")
    parser.add_argument("--demo", action="store_true", help="write the demo data at the start")
    parser.add_argument("--slots", type=int, default=1, help="runs that may train beside each other (default: 1)")
    options.add_arguments(parser)
    return parser.parse_args(arguments)


def main() -> int:
    """Serve until interrupted."""
    import waitress

    given = parse_arguments()
    keep_heap_compact()
    folders = [*given.data_dir, *([given.file.parent] if given.file else [])]
    try:
        for path in [*folders, *([given.file] if given.file else [])]:
            if not path.exists():
                raise ScetmError(f"{path} does not exist.")
        settings = studio.Studio(
            home=given.home.expanduser().resolve(),
            data_dirs=tuple(folder.resolve() for folder in folders),
            n_slots=given.slots,
        )
        who = options.settle(given, home=settings.home, data_dirs=settings.data_dirs)
        app = create_app(settings, who)
        if given.demo:
            from scetm_core.data.demo import write_demo

            write_demo(settings.demo_folder)
        bodies.limit_bodies(app.server, upload_limit=settings.upload_limit)
        server = waitress.create_server(
            app.server,
            host=who.host,
            port=who.port,
            threads=16,
            connection_limit=1000,  # a browser keeps six open
            asyncore_use_poll=True,
            max_request_body_size=settings.upload_limit,
            clear_untrusted_proxy_headers=not who.behind_proxy,
            ident="",
        )
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
    finally:  # runs go on by themselves; what only relays them must not hold up the exit
        for relay in multiprocess.active_children():
            relay.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
