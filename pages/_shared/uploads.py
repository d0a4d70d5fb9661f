"""How does a file get from the browser into the home? As a stream to a route of its own, never through a callback.

The browser sends the raw bytes (assets/studio.js), which are written beside and renamed when whole and readable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import flask

from pages._shared import studio
from pages._shared.parts import size_in_words
from scetm_core.data.catalog import GENE_SET_ENDINGS, MARKER_ENDINGS, NAMES_ENDINGS, safe_upload_name
from scetm_core.data.describe import describe_dataset
from scetm_core.errors import DataError
from scetm_core.files import draft_of, system_error_in_words
from scetm_core.genesets import read_gene_sets
from scetm_core.orthologs import check_table

ROUTE = "/upload"
BLOCK = 1 << 20
SPARE = 200 << 20  # bytes that stay free on the disk


def add_route(server: flask.Flask) -> None:
    """Serve ``POST /upload?name=FILE[&kind=gene-sets|names]``.

    Answers JSON: the file's `ref`; or a `note`, if gene sets came where data were asked for; or an `error` in words.
    """
    server.add_url_rule(ROUTE, "upload", receive, methods=["POST"])


def receive() -> tuple[flask.Response, int]:
    """Store the request's body as a new upload."""
    try:
        name, kind = flask.request.args.get("name", ""), flask.request.args.get("kind", "")
        if not kind and name.lower().endswith(GENE_SET_ENDINGS):
            _store_gene_sets(name)
            return flask.jsonify(
                note=f"{name} holds gene sets. It is kept with them, for training and enrichment."
            ), 200
        store = {"gene-sets": _store_gene_sets, "names": _store_names}.get(kind, _store_data)
        return flask.jsonify(ref=store(name)), 200
    except DataError as error:
        return flask.jsonify(error=str(error)), 400
    except OSError as error:
        words = system_error_in_words(error) or f"{error.strerror or error}."
        return flask.jsonify(error=f"The file could not be stored. {words}"), 507


def _store_data(name: str) -> str:
    _store(safe_upload_name(name), studio.current().uploads_folder, check=describe_dataset)
    return f"uploads/{name}"


def _store_gene_sets(name: str) -> str:
    folder = studio.current().gene_sets_folder
    _store(safe_upload_name(name, (*GENE_SET_ENDINGS, *MARKER_ENDINGS)), folder, check=read_gene_sets)
    return f"{studio.GENE_SETS_ROOT}/{name}"


def _store_names(name: str) -> str:
    _store(safe_upload_name(name, NAMES_ENDINGS), studio.current().names_folder, check=check_table)
    return f"{studio.NAMES_ROOT}/{name}"


def _store(name: str, folder: Path, *, check: Callable[[Path], object]) -> None:
    """Write the request's body beside, and rename it once it is whole and `check` can read it."""
    limit = studio.current().upload_limit
    announced = flask.request.content_length
    flask.request.max_content_length = limit  # other requests are held to much less
    if announced is None or announced <= 0:
        raise DataError(f"{name} is empty. Choose another file.")
    if announced > limit:
        raise DataError(
            f"{name} has {size_in_words(announced)}; uploads may have {size_in_words(limit)}. "
            "Put it into a folder and start the app with --data-dir FOLDER instead."
        )
    if announced + SPARE > shutil.disk_usage(folder).free:
        raise DataError(f"There is not enough free disk space for {name} ({size_in_words(announced)}).")
    target = folder / name
    if target.exists():
        raise DataError(f"There is an upload called {name} already. Rename the file, or use the one that is there.")
    draft = draft_of(target, ending="".join(target.suffixes[-2:]))
    try:
        received = 0
        with draft.open("wb") as stream:
            while block := flask.request.stream.read(BLOCK):
                stream.write(block)
                received += len(block)
        if received != announced:
            raise DataError(f"{name} arrived incomplete ({received:,} of {announced:,} bytes). Try again.")
        _refuse_what_cannot_be_read(draft, name, check)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _refuse_what_cannot_be_read(draft: Path, name: str, check: Callable[[Path], object]) -> None:
    try:
        check(draft)
    except DataError as error:
        raise DataError(str(error).replace(str(draft), name).replace(draft.name, name)) from error
