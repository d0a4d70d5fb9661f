"""Do the chosen gene sets fit the data? Said before training: sets kept, genes covered, or why they cannot be used."""

from __future__ import annotations

import functools
from pathlib import Path

import dash_mantine_components as dmc
from dash.development.base_component import Component

from pages._shared.parts import notice
from scetm_core.config import DataConfig, RunConfig
from scetm_core.data.expression import list_genes
from scetm_core.data.formats import is_anndata, open_input
from scetm_core.errors import DataError
from scetm_core.gene_names import symbols_of
from scetm_core.genesets import GeneSetReport, match_gene_sets, read_gene_sets

MIN_SET_SIZE = 5
"""As the model drops smaller ones."""


def coverage_note(config: RunConfig) -> tuple[Component | None, bool]:
    """What is to be said of the gene sets that rho is to be fixed to, and whether one can train with them.

    Nothing is said where none are chosen.
    """
    if not config.model.rho_gmt:
        return None, True
    sets = Path(config.model.rho_gmt)
    try:
        report = _report(config.data, _stamp(Path(config.data.path)), sets, _stamp(sets))
    except DataError as error:
        return notice(str(error), title="Gene sets as rho"), False
    if not report.n_kept:
        advice = f"No set of {sets.name} has {MIN_SET_SIZE} genes in the data. Take larger sets."
        return notice(advice, title="Gene sets as rho"), False
    learnt = "" if config.model.n_free_emb else " The other genes have their intercepts only."
    said = (
        f"Gene sets as rho: {report.n_kept:,} of {report.n_sets:,} sets are kept (those with at least {MIN_SET_SIZE} "
        f"genes in the data). They cover {report.n_genes_covered:,} of the file's {report.n_genes:,} genes, "
        f"those without any count included.{learnt}"
    )
    return dmc.Text(said, size="sm", mt="sm", className="numbers"), True


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@functools.lru_cache(maxsize=16)
def _report(data: DataConfig, data_stamp: int, sets: Path, sets_stamp: int) -> GeneSetReport:
    """How the sets fit; the stamps tell versions of the files apart."""
    symbols = None
    if is_anndata(Path(data.path).expanduser()):
        with open_input(data) as source:
            symbols = symbols_of(source.var)
    return match_gene_sets(read_gene_sets(sets), list_genes(data), min_size=MIN_SET_SIZE, symbols=symbols).report
