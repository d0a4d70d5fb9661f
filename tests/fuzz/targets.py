"""Which readers are there, what are they given, and how is that spoilt? One line a reader."""

from __future__ import annotations

import json
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
    answers: list[Callable[[], object]] = [
        lambda: describe_dataset(path),
        lambda: check_dataset(config).to_dict(),
        lambda: load_dataset(config),
        lambda: load_dataset(DataConfig(path=str(path), memory="on disk")),
        lambda: gene_expression(DataConfig(path=str(path)), list_genes(DataConfig(path=str(path)))[0]),
    ]
    _all_of(answers)


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
    """Ask each, so that a refusal of one does not hide what another does; the first refusal is raised at the end."""
    from scetm_core.errors import ScetmError

    refusals = []
    for answer in answers:
        try:
            answer()
        except ScetmError as error:
            if isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from None
            refusals.append(error)
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


def read_run(path: Path) -> None:
    """Everything that lists and pages read of a run."""
    from scetm_core.board import load_panel_figure, read_board
    from scetm_core.dressing import dressed
    from scetm_core.figures import plot_training, training_frame
    from scetm_core.own_colors import read_own_colors
    from scetm_core.runs import Run, list_runs, open_run
    from scetm_core.selection import in_words, selected_cells
    from scetm_core.selection_store import read_selection
    from scetm_core.tasks import Task
    from scetm_core.user_columns import read_columns

    list_runs(path.parent)
    run: Run = open_run(path.parent, path.name)
    task = Task(path / keys.TASKS_FOLDER / "enrichment-sets")
    _all_of(
        [
            lambda: (run.config, run.input, run.versions, run.created_at),
            lambda: (run.status().progress, run.log_tail()),
            lambda: plot_training(training_frame(run.metrics())).to_json(),
            run.evaluation,
            run.vocab,
            run.transfer_report,
            run.topic_names,
            lambda: read_own_colors(path),
            lambda: [load_panel_figure(path, panel) for panel in read_board(path).place().panels],
            lambda: read_columns(run),
            lambda: dressed(run, run.open_result()),
            lambda: [in_words(read_selection(run, "a" * 12), run.topic_names())],
            lambda: selected_cells(read_selection(run, "a" * 12), run.load_result(), numbers=_no_numbers),
            lambda: (task.request, task.status(), task.table_path),
        ]
    )


def _no_numbers(what: str) -> Any:
    from scetm_core.errors import DataError

    if what != "topic_1":
        raise DataError(f"There is no {what!r}.")
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
    from scetm_core.runs import open_run, table_name
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
    from dash._utils import AttributeDict  # noqa: F401

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


def _run_files(name: str, how: Callable[[Choices, Path], None] = _spoil_json) -> Target:
    return Target(seeds=(seeds.finished_run,), spoil=_spoil_in_run(name, how), read=read_run)


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
    "config.json": _run_files(keys.CONFIG_FILE),
    "status.json": _run_files(keys.STATUS_FILE),
    "metrics.csv": _run_files(keys.METRICS_FILE, mutate.mutate_packed),
    "evaluation.json": _run_files(keys.EVALUATION_FILE),
    "vocab.json": _run_files(keys.VOCAB_FILE),
    "topic_names.json": _run_files(keys.TOPIC_NAMES_FILE),
    "colors.json": _run_files(keys.COLORS_FILE),
    "figure_board.json": _run_files(keys.BOARD_FILE),
    "user column": _run_files(f"{keys.COLUMNS_FOLDER}/state.json"),
    "selection": _run_files(f"{keys.SELECTIONS_FOLDER}/{'a' * 12}.json"),
    "request.json": _run_files(f"{keys.TASKS_FOLDER}/enrichment-sets/{keys.REQUEST_FILE}"),
    "result.h5ad": _run_files(keys.RESULT_FILE, mutate.mutate_hdf5),
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
    """The good inputs of a target, written once, copied for each input."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.folders: list[tuple[Path, Path]] = []
        for number, write in enumerate(target.seeds):
            place = folder / f"seed-{number}"
            place.mkdir(parents=True)
            self.folders.append((place, write(place).relative_to(place)))

    def copy(self, choices: Choices, box: Path) -> Path:
        """One of them, in an empty folder; its path there."""
        place, inside = choices.pick(self.folders)
        shutil.copytree(place, box)
        return box / inside
