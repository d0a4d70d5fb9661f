"""Which readers are there, what are they given, and how is that spoilt? One line a reader."""

from __future__ import annotations

import json
import os
import shutil
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scetm_core import keys
from tests.fuzz import mutate, seeds
from tests.fuzz.choices import Choices


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader.

    Attributes
    ----------
    seeds
        Each writes a good input into an empty folder and gives its path.
    spoil
        Changes a copy of it.
    read
        Reads it in all the ways the project does; raises what the first of them raises.
    """

    seeds: tuple[Callable[[Path], Path], ...]
    spoil: Callable[[Choices, Path], None]
    read: Callable[[Path], object]


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _packed(name: str, content: bytes) -> Callable[[Path], Path]:
    import gzip

    return _file(f"{name}.gz", gzip.compress(content))


def _counts(*kinds: str) -> tuple[Callable[[Path], Path], ...]:
    return tuple((lambda folder, kind=kind: seeds.counts_in(kind, folder)) for kind in kinds)


def _spoil_json(choices: Choices, path: Path) -> None:
    path.write_bytes(mutate.mutate_json(choices, path.read_bytes()))


def _spoil_in_run(name: str, how: Callable[[Choices, Path], None] = _spoil_json) -> Callable[[Choices, Path], None]:
    return lambda choices, run: how(choices, run / name)


def _spoil_checkpoint(choices: Choices, folder: Path) -> None:
    mutate.mutate_files(choices, folder)


# ---- the ways of reading ------------------------------------------------------------------------------------------


def read_counts(path: Path) -> None:
    """As the data page, the training and the colours of a map do."""
    from scetm_core.config import DataConfig
    from scetm_core.data import check_dataset, load_dataset
    from scetm_core.data.describe import describe_dataset
    from scetm_core.data.expression import gene_expression, list_genes

    config = DataConfig(path=str(path), batch_key="batch" if path.suffix in (".h5ad", ".zarr") else None)
    plain = DataConfig(path=str(path))
    first: list[Callable[[], object]] = [lambda: describe_dataset(path), lambda: load_dataset(config)]
    more: list[Callable[[], object]] = [
        lambda: check_dataset(config).to_dict(),
        lambda: [gene_expression(plain, gene) for gene in list_genes(plain)[:1]],
    ]
    on_disk = [lambda: load_dataset(DataConfig(path=str(path), memory="on disk")).X[np.arange(2)]]
    if path.suffix == ".zarr":  # slow to open; what follows is the same code as for .h5ad
        _all_of([*first, *on_disk])
    else:
        _all_of([*first, *more, *(on_disk if path.suffix == ".h5ad" else [])])


def read_modality(path: Path) -> None:
    from scetm_core.comparison import embedding_in_input, embeddings_in_input
    from scetm_core.data.modality import read_modality as read

    cells = [f"cell{i}" for i in range(30)]
    import pandas as pd

    _all_of(
        [
            lambda: read(path, "proteins", cells),
            lambda: embedding_in_input(path, (embeddings_in_input(path) or [""])[0], pd.Index(cells)),
        ]
    )


def _all_of(answers: list[Callable[[], object]]) -> None:
    """Ask each, so that a refusal of one does not hide what another does; the first refusal is raised at the end.

    After two refusals the file is none, and the others would say the same.
    """
    from scetm_core.errors import ScetmError
    from tests.fuzz.guard import has_taken_memory

    refusals = []
    for answer in answers:
        try:
            answer()
        except ScetmError as error:
            if has_taken_memory(error):
                raise error
            refusals.append(error)
            if len(refusals) == 2:
                break
    if refusals:
        raise refusals[0]


def read_gene_sets(path: Path) -> None:
    from scetm_core.genesets import match_gene_sets
    from scetm_core.genesets import read_gene_sets as read

    found = read(path)
    match_gene_sets(found, ["INS", "GCG", "SST", "PPY", "CD19"])


def read_orthologs(path: Path) -> None:
    from scetm_core.orthologs import load_orthologs

    _all_of(
        [lambda: load_orthologs("human", "mouse", path), lambda: load_orthologs("rat", "pig", path, many_to_one=True)]
    )


def read_aliases(path: Path) -> None:
    from scetm_core.orthologs import check_table, read_pairs

    _all_of([lambda: check_table(path), lambda: read_pairs(path)])


def read_rho(path: Path) -> None:
    from scetm_core.data.embeddings import read_gene_embedding

    read_gene_embedding(path)


def read_settings(path: Path) -> None:
    from scetm_core.config import RunConfig, run_config_from_flat
    from scetm_core.json_text import parse_json

    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    answers: list[Callable[[], object]] = [lambda: RunConfig.from_json(text)]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        answers += [lambda: RunConfig.from_dict(value), lambda: run_config_from_flat(value)]
    _all_of(answers)
    parse_json(RunConfig.from_json(text).to_json())


def _in_run(*answers: Callable[[Any], object]) -> Callable[[Path], None]:
    """Ask a run as pages and lists do, after it was found by its name."""

    def read(path: Path) -> None:
        from scetm_core.runs import list_runs, open_run

        list_runs(path.parent)
        run = open_run(path.parent, path.name)
        _all_of([lambda answer=answer: answer(run) for answer in answers])  # type: ignore[misc]

    return read


def _curve(run: Any) -> None:
    from scetm_core.figures import training_frame

    training_frame(run.metrics())


def _dressed(run: Any) -> None:
    from scetm_core.dressing import dressed

    dressed(run, seeds.good_result())


def _board(run: Any) -> None:
    from scetm_core.board import load_panel_figure, read_board

    for panel in read_board(run.path).place().panels:
        load_panel_figure(run.path, panel)


def _selection(run: Any) -> None:
    from scetm_core.selection import in_words, selected_cells
    from scetm_core.selection_store import read_selection

    steps = read_selection(run, "a" * 12)
    in_words(steps, run.topic_names())
    selected_cells(steps, seeds.good_result(), numbers=_no_numbers)


def _task(run: Any) -> None:
    from scetm_core.tasks import Task

    task = Task(run.path / keys.TASKS_FOLDER / "enrichment-sets")
    _ = task.request, task.status(), task.table_path


def _no_numbers(what: str) -> Any:
    from scetm_core.errors import DataError

    if what != "topic_1":
        raise DataError(f"There is no number called {what!r}.")
    return np.linspace(0, 1, 60)


def read_tables(path: Path) -> None:
    """The tables of a run, as a page shows them."""
    from pages._shared.studio import _read_table

    _read_table(path, str(path.stat().st_mtime_ns))


def read_model(path: Path) -> None:
    from scetm_core.model import ScETM

    ScETM.load(path)


def read_checkpoints(path: Path) -> None:
    import torch

    from scetm_core.checkpoints import read_checkpoint

    read_checkpoint(path, names=json.dumps({"genes": ["INS"]}), device=torch.device("cpu"))


def read_names(path: Path) -> None:
    """A text as the name of an upload, of a file to look up, of a run, a table, a column, a label, a library."""
    from pages._shared.gene_sets import find_source
    from scetm_core.config import DataConfig
    from scetm_core.data import check_dataset
    from scetm_core.data.catalog import Catalog, safe_upload_name
    from scetm_core.files import table_name
    from scetm_core.runs import open_run
    from scetm_core.user_columns import clean_name

    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    catalog = Catalog({"mine": path.parent})
    _all_of(
        [
            lambda: safe_upload_name(text),
            lambda: catalog.resolve(text),
            lambda: catalog.resolve(f"mine/{text}"),
            lambda: open_run(path.parent, text),
            lambda: table_name(text),
            lambda: clean_name(text),
            lambda: find_source(text),
            lambda: check_dataset(DataConfig(path=text or "x")),
            catalog.files,
        ]
    )


def read_query(path: Path) -> None:
    """A page as its address asks for it: ``page?key=value``."""
    import dash

    page, _, query = path.read_text(encoding="utf-8", errors="surrogateescape").partition("?")
    parsed = urllib.parse.parse_qs(query, keep_blank_values=True)
    values = {key: found[0] if len(found) == 1 else found for key, found in parsed.items()}  # as dash.dash does
    shown = dash.page_registry[f"pages.{page}"]["layout"](**values)
    shown.to_plotly_json()


PAGES = (
    "home",
    "data",
    "train",
    "explore",
    "cells",
    "topics",
    "embedding",
    "enrichment",
    "differential",
    "pathways",
    "transfer",
    "evaluate",
    "compare",
    "figures",
    "server",
    "report",
)
KEYS = (
    "run",
    "topic",
    "set",
    "sets",
    "color",
    "label",
    "groupby",
    "beside",
    "zoom",
    "file",
    "gene",
    "points",
    "other",
    "labels",
    "batches",
    "selection",
    "self",
    "path",
    "_",
    "",
)


def _spoil_query(choices: Choices, path: Path) -> None:
    page, pairs = choices.pick(PAGES), []
    if not choices.once_in(6):
        pairs.append(("run", "done-run"))
    for _ in range(1 + choices.below(4)):
        text = choices.pick(mutate.TEXTS).encode("utf-8", "surrogatepass")
        pairs.append((choices.pick(KEYS), mutate.mutate_bytes(choices, text) if choices.once_in(3) else text))
    path.write_text(f"{page}?{urllib.parse.urlencode(pairs)}")


def _spoil_name(choices: Choices, path: Path) -> None:
    text = choices.pick(mutate.TEXTS).encode("utf-8", "surrogatepass")
    path.write_bytes(mutate.mutate_bytes(choices, text) if choices.once_in(2) else text)


def _run_file(
    name: str, *answers: Callable[[Any], object], how: Callable[[Choices, Path], None] = _spoil_json
) -> Target:
    return Target(seeds=(seeds.finished_run,), spoil=_spoil_in_run(name, how), read=_in_run(*answers))


TARGETS: dict[str, Target] = {
    "h5ad": Target(seeds=_counts("h5ad csr", "h5ad csc", "h5ad dense"), spoil=mutate.mutate_hdf5, read=read_counts),
    "zarr": Target(seeds=_counts("zarr v2", "zarr v3"), spoil=mutate.mutate_zarr, read=read_counts),
    "10x h5": Target(seeds=_counts("10x v2", "10x v3"), spoil=mutate.mutate_hdf5, read=read_counts),
    "10x mtx": Target(seeds=_counts("10x mtx", "10x mtx.gz"), spoil=mutate.mutate_files, read=read_counts),
    "csv": Target(seeds=_counts("csv", "csv.gz", "txt.gz of R"), spoil=mutate.mutate_packed, read=read_counts),
    "second modality": Target(seeds=_counts("h5ad csr"), spoil=mutate.mutate_hdf5, read=read_modality),
    "gmt": Target(
        seeds=(_file("a.gmt", seeds.GMT), _packed("a.gmt", seeds.GMT)), spoil=mutate.mutate_packed, read=read_gene_sets
    ),
    "marker table": Target(
        seeds=(_file("a.csv", seeds.MARKERS), _file("a.tsv", seeds.TWO_COLUMNS), _packed("a.csv", seeds.MARKERS)),
        spoil=mutate.mutate_packed,
        read=read_gene_sets,
    ),
    "orthologs": Target(seeds=(_file("a.csv", seeds.ORTHOLOGS),), spoil=mutate.mutate_packed, read=read_orthologs),
    "aliases": Target(seeds=(_file("a.tsv", seeds.ALIASES),), spoil=mutate.mutate_packed, read=read_aliases),
    "rho csv": Target(
        seeds=(_file("a.csv", seeds.RHO), _packed("a.csv", seeds.RHO)), spoil=mutate.mutate_packed, read=read_rho
    ),
    "rho npz": Target(seeds=(seeds.rho_npz,), spoil=mutate.mutate_packed, read=read_rho),
    "rho h5ad": Target(seeds=_counts("h5ad csr"), spoil=mutate.mutate_hdf5, read=read_rho),
    "settings": Target(seeds=(_file("a.json", seeds.settings()),), spoil=_spoil_json, read=read_settings),
    "config.json": _run_file(
        keys.CONFIG_FILE, lambda run: run.config, lambda run: (run.input, run.versions, run.created_at)
    ),
    "status.json": _run_file(keys.STATUS_FILE, lambda run: run.status().progress),
    "metrics.csv": _run_file(keys.METRICS_FILE, _curve, how=mutate.mutate_packed),
    "evaluation.json": _run_file(keys.EVALUATION_FILE, lambda run: run.evaluation()),
    "vocab.json": _run_file(keys.VOCAB_FILE, lambda run: run.vocab()),
    "topic_names.json": _run_file(keys.TOPIC_NAMES_FILE, lambda run: run.topic_names()),
    "colors.json": _run_file(keys.COLORS_FILE, _dressed),
    "figure_board.json": _run_file(keys.BOARD_FILE, _board),
    "user column": _run_file(f"{keys.COLUMNS_FOLDER}/state.json", _dressed),
    "selection": _run_file(f"{keys.SELECTIONS_FOLDER}/{'a' * 12}.json", _selection),
    "request.json": _run_file(f"{keys.TASKS_FOLDER}/enrichment-sets/{keys.REQUEST_FILE}", _task),
    "result.h5ad": _run_file(
        keys.RESULT_FILE, lambda run: run.open_result(), lambda run: run.load_result(), how=mutate.mutate_hdf5
    ),
    "table parquet": Target(
        seeds=(lambda folder: seeds.finished_run(folder) / "enrichment" / "sets.parquet",),
        spoil=mutate.mutate_packed,
        read=read_tables,
    ),
    "model": Target(seeds=(seeds.model_file,), spoil=mutate.mutate_packed, read=read_model),
    "checkpoint": Target(seeds=(seeds.checkpoint_folder,), spoil=_spoil_checkpoint, read=read_checkpoints),
    "names": Target(seeds=(_file("name", b"a.h5ad"),), spoil=_spoil_name, read=read_names),
    "address": Target(seeds=(_file("address", b"home?"),), spoil=_spoil_query, read=read_query),
}
"""Name -> reader."""


class Seeds:
    """The good inputs of a target, written once; each has a copy that is spoilt and put right again."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.places: list[tuple[Path, Path, Path]] = []  # the good folder, its copy, the input within
        for number, write in enumerate(target.seeds):
            good, box = folder / f"seed-{number}", folder / f"box-{number}"
            good.mkdir(parents=True)
            self.places.append((good, box, write(good).relative_to(good)))

    def copy(self, choices: Choices) -> tuple[Path, Path]:
        """One of them: the folder it is in, which holds nothing else, and its path there."""
        good, box, inside = choices.pick(self.places)
        _put_right(box, good)
        return box, box / inside


def _put_right(box: Path, good: Path) -> None:
    """Make a folder equal to another, touching only what differs in kind, size or time."""
    wanted, found = _described(good), _described(box)
    for name in sorted(found, reverse=True):  # what lies within a folder before the folder
        if wanted.get(name) != found[name]:
            (box / name).rmdir() if found[name] is None else (box / name).unlink()
    for name in sorted(wanted):
        if wanted[name] != found.get(name, "nothing"):
            (box / name).mkdir(parents=True) if wanted[name] is None else shutil.copy2(good / name, box / name)


def _described(folder: Path) -> dict[str, tuple[int, int, int] | None]:
    """Of each entry its kind, size and time of change; None of folders."""
    found: dict[str, tuple[int, int, int] | None] = {}
    for parent, folders, files in os.walk(folder):
        within = os.path.relpath(parent, folder)
        found[within] = None
        for name in (*files, *(name for name in folders if os.path.islink(os.path.join(parent, name)))):
            about = os.lstat(os.path.join(parent, name))
            found[os.path.normpath(os.path.join(within, name))] = (about.st_mode, about.st_size, about.st_mtime_ns)
    return found
