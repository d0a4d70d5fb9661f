"""Which gene sets can be chosen, and how do more of them come in? The same choice wherever gene sets are needed.

Built in are Reactome and the known markers; the others are files: `.gmt` anywhere in the app's folders, and whatever
was uploaded or fetched into the home's `gene_sets`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import Input, Output, State, callback, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.errors import inform
from pages._shared.parts import upload_box
from scetm_core import keys
from scetm_core.data.catalog import GENE_SET_ENDINGS, MARKER_ENDINGS
from scetm_core.data.demo import REACTOME, package_file
from scetm_core.errors import DataError
from scetm_core.files import table_name
from scetm_core.genesets import read_gene_sets, read_gmt, write_gmt
from scetm_core.libraries import ORGANISMS, fetch_library, list_libraries
from scetm_core.markers import load_markers
from scetm_core.runs import Run

BUILT_IN = "Reactome"
MARKERS = "Cell type markers"
UPLOADED = "uploaded-gene-sets"  # named in assets/studio.js
MODAL = "gene-sets-modal"
OPEN = "gene-sets-open"
ORGANISM = "gene-sets-organism"
LIBRARY = "gene-sets-library"
LIST = "gene-sets-list"
FETCH = "gene-sets-fetch"
SAID = "gene-sets-said"
ADDED = "gene-sets-added"  # name of the source that was added last


@dataclass(frozen=True, kw_only=True)
class Source:
    """Some gene sets: under which name their table is kept, how they are listed, and where they lie (if anywhere)."""

    name: str
    label: str
    path: Path | None


def sources(run: Run | None = None) -> list[Source]:
    """All that can be chosen: built-in ones, files, and tables of the run whose sets came from elsewhere."""
    found = [
        Source(name=BUILT_IN, label="Reactome (built in, human)", path=_bundled_reactome()),
        Source(name=MARKERS, label="Cell type markers (built in)", path=_markers_file()),
    ]
    catalog = studio.current().catalog()
    own, taken = catalog.roots[studio.GENE_SETS_ROOT], {source.name.lower() for source in found}
    for file in catalog.files((*GENE_SET_ENDINGS, *MARKER_ENDINGS)):
        is_sets = file.name.lower().endswith(GENE_SET_ENDINGS) or file.root == studio.GENE_SETS_ROOT
        if is_sets and file.ref != f"demo/{REACTOME}":
            path = catalog.resolve(file.ref)
            label = path.relative_to(own).as_posix() if file.root == studio.GENE_SETS_ROOT else file.ref
            name = table_name(path.stem)
            name = table_name(file.ref) if name.lower() in taken else name  # no other file's tests under its name
            taken.add(name.lower())
            found.append(Source(name=name, label=label, path=path))
    if run is not None:
        known = {source.name for source in found}
        tables = (name for name in run.tables(keys.ENRICHMENT_FOLDER) if name not in known)
        found += [Source(name=name, label=f"{name} (tested before)", path=None) for name in tables]
    return found


def find_source(name: str, run: Run | None = None) -> Source | None:
    """The source of that name."""
    return next((source for source in sources(run) if source.name == name), None)


def _name_of(path: Path) -> str:
    """Name of the source that a file is."""
    wanted = path.resolve()
    return next(source.name for source in sources() if source.path is not None and source.path.resolve() == wanted)


def _bundled_reactome() -> Path | None:
    try:
        return package_file("vega", "data/reactomes.gmt")
    except DataError:  # not installed: the choice says so when it is tested
        return None


@functools.lru_cache(maxsize=4)
def _written_markers(folder: Path) -> Path:
    path = folder / "markers.gmt"
    write_gmt(load_markers(), path)
    return path


def _markers_file() -> Path:
    path = _written_markers(studio.current().home / "cache")
    if not path.is_file():
        _written_markers.cache_clear()
        path = _written_markers(studio.current().home / "cache")
    return path


def options(offered: Iterable[Source]) -> list[dict[str, str]]:
    """Choices of a Select."""
    return [{"value": source.name, "label": source.label} for source in offered]


def tested_sets(run: Run, name: str) -> dict[str, list[str]]:
    """The sets that a table of enrichment is about, in the names of the run's genes.

    Raises
    ------
    DataError
        If they are gone from beside the table.
    """
    path = run.table_path(keys.ENRICHMENT_FOLDER, name).with_suffix(".gmt")
    return _read_once(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=8)
def _read_once(path: Path, stamp: int) -> dict[str, list[str]]:
    return read_gmt(path)


# ---- more of them -------------------------------------------------------------------------------------------------


def adding() -> Component:
    """The button that opens "Add gene sets", and what opens; once a page. `ADDED` then holds the new source's name."""
    endings = ", ".join((*GENE_SET_ENDINGS, *MARKER_ENDINGS))
    library = dmc.Group(
        [
            dmc.Select(id=ORGANISM, label="Organism", data=list(ORGANISMS), value="Human", allowDeselect=False, w=120),
            dmc.Button("List libraries", id=LIST, variant="default"),
            dmc.Select(id=LIBRARY, label="Library", data=[], searchable=True, placeholder="list them first", w=260,
                       limit=300, nothingFoundMessage="No library of that name"),
            dmc.Button("Fetch", id=FETCH),
        ],
        align="flex-end",
    )  # fmt: skip
    content = dmc.Stack(
        [
            dmc.Text("From a file", fw=600, size="sm"),
            upload_box("gene-sets"),
            dmc.Text(
                f"Readable: {endings}. A .gmt, or a table of markers as PanglaoDB and CellMarker offer them, or with "
                "two columns: cell type, gene. It stays on this computer.",
                size="xs", c="dimmed",
            ),
            dmc.Divider(),
            dmc.Text("From a library", fw=600, size="sm"),
            dmc.Text(
                "Listing and fetching ask a server of the Enrichr project over the network; nothing of your data is "
                "sent. What was fetched is kept.",
                size="xs", c="dimmed",
            ),
            library,
            html.Div(id=SAID, role="status"),
        ],
        gap="sm",
    )  # fmt: skip
    return html.Div(
        [
            dmc.Button("Add gene sets", id=OPEN, variant="subtle", color="gray"),
            dmc.Modal(content, id=MODAL, title="Add gene sets", size="lg", opened=False),
            dcc.Store(id=UPLOADED),
            dcc.Store(id=ADDED),
        ]
    )


@callback(Output(MODAL, "opened"), Input(OPEN, "n_clicks"), prevent_initial_call=True)
def open_modal(n_clicks: int | None) -> bool:
    """Show "Add gene sets"."""
    return bool(n_clicks)


@callback(
    Output(ADDED, "data"),
    Output(MODAL, "opened", allow_duplicate=True),
    Input(UPLOADED, "data"),
    prevent_initial_call=True,
)
def take_upload(ref: str | None) -> tuple[Any, Any]:
    """Choose what was uploaded."""
    if not ref:
        return no_update, no_update
    path = studio.current().catalog().resolve(ref)
    inform(f"{path.name}: {len(read_gene_sets(path)):,} gene sets.", title="Gene sets added")
    return _name_of(path), False


@callback(
    Output(LIBRARY, "data"),
    Output(SAID, "children"),
    Input(LIST, "n_clicks"),
    State(ORGANISM, "value"),
    prevent_initial_call=True,
    running=[(Output(LIST, "loading"), True, False)],
)
def show_libraries(n_clicks: int | None, organism: str) -> tuple[Any, Any]:
    """List the libraries there are, or say why that cannot be done."""
    if not n_clicks:
        return no_update, no_update
    try:
        return list_libraries(organism), None
    except DataError as error:
        return [], dmc.Alert(str(error), color="yellow", variant="light")


@callback(
    Output(ADDED, "data", allow_duplicate=True),
    Output(MODAL, "opened", allow_duplicate=True),
    Output(SAID, "children", allow_duplicate=True),
    Input(FETCH, "n_clicks"),
    State(LIBRARY, "value"),
    State(ORGANISM, "value"),
    prevent_initial_call=True,
    running=[(Output(FETCH, "loading"), True, False)],
)
def fetch(n_clicks: int | None, name: str | None, organism: str) -> tuple[Any, Any, Any]:
    """Fetch a library into the home, and choose it."""
    if not n_clicks:
        return no_update, no_update, no_update
    if not name:
        return no_update, no_update, dmc.Text("List the libraries, then pick one.", size="sm", c="dimmed")
    try:
        path = fetch_library(name, studio.current().gene_sets_folder, organism=organism)
    except DataError as error:
        return no_update, no_update, dmc.Alert(str(error), color="yellow", variant="light")
    return _name_of(path), False, None
