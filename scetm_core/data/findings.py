"""What does the pre-flight report say? One function per topic, each giving findings in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import psutil

from scetm_core.config import DataConfig
from scetm_core.data import columns
from scetm_core.data.estimate import Cost
from scetm_core.data.formats import OpenInput
from scetm_core.data.names import ENSEMBL, count, renamed_message, share_matching, symbol_column, unique_names
from scetm_core.data.read import counts_advice, left_out_messages, size_problem
from scetm_core.data.scan import Scan
from scetm_core.data.stream import stays_on_disk
from scetm_core.errors import DataError

_FEW_CELLS = 100
_SMALL_BATCH = 10
_NO_VALUE_NAMES = {"nan", "na", "none", "null", "n/a", "", "unknown", "unassigned"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report: how grave, about what, what was found, what to do."""

    level: Literal["ok", "note", "warning", "error"]
    topic: str
    message: str
    advice: str = ""


def the_counts(source: OpenInput, scan: Scan) -> list[Finding]:
    """Sizes, kinds of values, sampling, what the reader left out, empty cells and genes."""
    found = [Finding(level="note", topic="File", message=message) for message in source.messages]
    if size := size_problem(*source.matrix.shape):
        problem, _, advice = size.partition(". ")
        return [*found, Finding(level="error", topic="Counts", message=f"The file {problem}.", advice=advice)]
    problem, tally = scan.tally.problem(), scan.tally
    if problem:
        guess = "; it looks log-normalised" if tally.looks_log_normalised else ""
        message, advice = f"{source.place} {problem}{guess}.", counts_advice(source)
        found.append(Finding(level="error", topic="Counts", message=message, advice=advice))
    elif not scan.n_nonzero:
        advice = "Pick a layer with counts, or another file."
        found.append(Finding(level="error", topic="Counts", message=f"{source.place} holds only zeros.", advice=advice))
    else:
        message = f"{source.place} holds whole, non-negative counts (largest: {tally.largest:,.0f})."
        found.append(Finding(level="ok", topic="Counts", message=message))
    n_cells = source.matrix.shape[0]
    if len(scan.cells) < n_cells:
        message = f"{len(scan.cells):,} of {n_cells:,} cells looked at, in stretches spread evenly over the file."
        found.append(Finding(level="note", topic="Sample", message=message))
    return found + _empties(scan, sampled=len(scan.cells) < n_cells)


def _empties(scan: Scan, *, sampled: bool) -> list[Finding]:
    if not scan.n_nonzero:
        return []
    genes = np.ones(1, dtype=bool) if sampled else scan.genes_seen
    messages = left_out_messages(scan.genes_per_cell > 0, genes)
    where = "Among the cells looked at: " if sampled else ""
    return [
        Finding(level="note", topic="Empty", message=f"{where}{m.replace(' left', ' will be left')}") for m in messages
    ]


def the_size(scan: Scan) -> list[Finding]:
    """Whether there are enough cells with counts."""
    n_cells = int((scan.genes_per_cell > 0).sum())
    if n_cells >= _FEW_CELLS or not scan.n_nonzero:
        return []
    if n_cells < 2:
        advice = "scETM needs at least 2 cells, better some hundreds."
        return [Finding(level="error", topic="Cells", message="Only one cell holds counts.", advice=advice)]
    message = f"Only {count(n_cells, 'cell')}: topics will follow single cells."
    return [Finding(level="warning", topic="Cells", message=message, advice="Some hundreds of cells are better.")]


def the_names(source: OpenInput) -> list[Finding]:
    """Repeated names; Ensembl ids or symbols."""
    found = []
    for what, names in (("gene", source.var.index), ("cell", source.obs.index)):
        renamed = unique_names(names)[1]
        if renamed:
            found.append(Finding(level="note", topic="Names", message=renamed_message(what, renamed)))
    genes = [str(name) for name in source.var.index[:2000]]
    if not genes:
        return found
    if share_matching(genes, ENSEMBL) <= 0.5:
        return [*found, Finding(level="ok", topic="Names", message=f"Genes go by symbols (e.g. {genes[0]}).")]
    column = symbol_column(source.var)
    there = f"Their symbols are in var[{column!r}]. " if column else ""
    message = f"Genes go by Ensembl ids (e.g. {genes[0]}). {there}".strip()
    advice = "Gene sets list symbols: use those as gene names for enrichment and pathways."
    return [*found, Finding(level="note", topic="Names", message=message, advice=advice)]


def the_batches(obs: pd.DataFrame, key: str | None) -> tuple[dict[str, int], list[Finding]]:
    """Cells per batch, and whether the column can be used."""
    if not key:
        return {}, [_none_chosen(obs, "batch", columns.BATCH_NAMES)]
    try:
        batches = columns.as_categories(columns.find_column(obs, key, what="batch"))
    except DataError as error:
        return {}, [Finding(level="error", topic="Batches", message=str(error))]
    sizes = columns.sizes(batches)
    problem, advice = columns.batch_problem(batches, key)
    if problem:
        return sizes, [Finding(level="error", topic="Batches", message=f"{problem}.", advice=advice)]
    if message := columns.one_batch_message(batches, key):
        return sizes, [Finding(level="note", topic="Batches", message=message)]
    found = [_sized("ok", "Batches", f"{count(len(sizes), 'batch').replace('batchs', 'batches')} in {key!r}", sizes)]
    small = [name for name, n in sizes.items() if n < _SMALL_BATCH]
    if small:
        message = f"Batches with fewer than {_SMALL_BATCH} cells: {small[:10]}; their intercepts will be unsure."
        found.append(Finding(level="warning", topic="Batches", message=message))
    return sizes, found


def the_memory(source: OpenInput, config: DataConfig) -> list[Finding]:
    """Whether counts that are to stay on disk can be read from there; nothing where they fit into memory."""
    try:
        stays = stays_on_disk(source.matrix, config.memory)
    except DataError as error:
        return [Finding(level="error", topic="Memory", message=str(error))]
    message = "The counts stay on disk and are read in shuffled blocks as training goes."
    return [Finding(level="note", topic="Memory", message=message)] if stays else []


def the_covariates(obs: pd.DataFrame, config: DataConfig) -> list[Finding]:
    """Whether the further batch columns and numeric covariates can be used; nothing where there are none."""
    found = []
    for key in config.extra_batch_keys:
        found += [dataclasses.replace(finding, topic="Further batches") for finding in the_batches(obs, key)[1]]
    for key in config.numeric_keys:
        try:
            numbers = columns.as_numbers(columns.find_column(obs, key, what="numeric covariate"))
        except DataError as error:
            found.append(Finding(level="error", topic="Covariates", message=str(error)))
            continue
        low, high = float(numbers.min()), float(numbers.max())
        message = f"{key!r} runs from {low:.4g} to {high:.4g}."
        found.append(Finding(level="ok" if high > low else "note", topic="Covariates", message=message))
    return found


def the_labels(obs: pd.DataFrame, key: str | None) -> tuple[dict[str, int], list[Finding]]:
    """Cells per label, and how many have none."""
    if not key:
        return {}, [_none_chosen(obs, "label", columns.LABEL_NAMES)]
    try:
        labels = columns.as_categories(columns.find_column(obs, key, what="label"))
    except DataError as error:
        return {}, [Finding(level="error", topic="Labels", message=str(error))]
    sizes, n_missing = columns.sizes(labels), int(labels.isna().sum())
    found = [_sized("ok", "Labels", f"{count(len(sizes), 'label')} in {key!r}", sizes)]
    if len(sizes) > max(columns.MAX_BATCHES, 2) or (len(sizes) > len(obs) / 2 and len(sizes) > 2):
        advice = "Scores that compare clusters with labels need a column of cell types."
        found = [Finding(level="warning", topic="Labels", message=f"{key!r} has {len(sizes):,} values.", advice=advice)]
    if n_missing:
        message = (
            f"{count(n_missing, 'cell')} of {len(obs):,} without a label: left out of the scores, not of training."
        )
        found.append(Finding(level="note", topic="Labels", message=message))
    if odd := [name for name in sizes if name.strip().lower() in _NO_VALUE_NAMES]:
        message = f"{odd} count as labels of their own; leave such cells empty if they mean 'not known'."
        found.append(Finding(level="note", topic="Labels", message=message))
    return sizes, found


def _sized(level: Literal["ok"], topic: str, start: str, sizes: dict[str, int]) -> Finding:
    if not sizes:
        return Finding(level="warning", topic=topic, message=f"{start}: every value is missing.")
    return Finding(
        level=level, topic=topic, message=f"{start}, of {min(sizes.values()):,} to {max(sizes.values()):,} cells."
    )


def _none_chosen(obs: pd.DataFrame, what: str, names: tuple[str, ...]) -> Finding:
    suggested = columns.suggest(obs, names)[:3]
    advice = f"Columns that may serve: {suggested}." if suggested else ""
    topic = {"batch": "Batches", "label": "Labels"}[what]
    return Finding(level="note", topic=topic, message=f"No {what} column chosen.", advice=advice)


def the_cost(cost: Cost) -> Finding:
    """Memory and time in words, with a warning where memory may not do."""
    free = psutil.virtual_memory().available
    gigabytes, minutes = cost.memory_bytes / 1e9, cost.seconds / 60
    duration = f"{minutes:.0f} min" if minutes >= 2 else f"{cost.seconds:.0f} s"
    message = f"Training takes about {gigabytes:.1f} GB of memory and {duration} on this machine's CPU."
    if cost.memory_bytes <= free:
        return Finding(level="ok", topic="Cost", message=message)
    advice = "Close other programs, use a larger machine, or choose fewer cells or genes."
    return Finding(
        level="warning", topic="Cost", message=f"{message} Only {free / 1e9:.1f} GB are free.", advice=advice
    )
