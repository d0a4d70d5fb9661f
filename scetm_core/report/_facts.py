"""What does a report know of its run? Everything read once, from the run's own files."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from scetm_core import keys
from scetm_core.config import RunConfig
from scetm_core.dressing import dressed
from scetm_core.errors import RunError
from scetm_core.gallery import read_table
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

_OF_DATA = re.compile(r"left out|renamed|stay on disk|made unique", re.IGNORECASE)
_TIME = re.compile(r"^\d\d:\d\d:\d\d\s+")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run, opened for a report."""

    run: Run
    config: RunConfig
    result: ad.AnnData
    names: dict[str, str]
    scores: dict[str, Any]
    transfer: dict[str, Any]
    input: dict[str, Any]
    versions: dict[str, str]
    created_at: float

    @property
    def n_cells(self) -> int:
        """Cells of the result."""
        return int(self.result.n_obs)

    @property
    def n_genes(self) -> int:
        """Genes of the model."""
        return int(self.result.n_vars)

    @functools.cached_property
    def n_batches(self) -> int:
        """Batches among the cells; 0 without a batch column."""
        key = self.config.data.batch_key
        return int(self.result.obs[key].nunique()) if key and key in self.result.obs else 0

    @functools.cached_property
    def n_steps(self) -> int:
        """Steps that were trained, which an early stop makes fewer than asked for."""
        curve = self.run.metrics()
        return int(curve["step"].max()) if len(curve) else self.config.train.max_steps

    @functools.cached_property
    def enrichment(self) -> dict[str, pd.DataFrame]:
        """Tables of gene sets by name."""
        return self._tables(keys.ENRICHMENT_FOLDER)

    @functools.cached_property
    def differential(self) -> dict[str, pd.DataFrame]:
        """Tables of differential topics by grouping."""
        return self._tables(keys.DIFFERENTIAL_FOLDER)

    def _tables(self, folder: str) -> dict[str, pd.DataFrame]:
        return {name: read_table(self.run, folder, name) for name in self.run.tables(folder)}

    @property
    def source_name(self) -> str:
        """Name of the run that a transfer applied."""
        settings = self.config.transfer
        assert settings is not None
        try:
            return self.run.source.config.name
        except RunError:
            return Path(settings.source_run).name

    def said_of_data(self) -> list[str]:
        """Sentences of the log about what was left out or renamed while reading."""
        path = self.run.log_path
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        said = [_TIME.sub("", line).strip() for line in lines]
        return list(dict.fromkeys(line for line in said if _OF_DATA.search(line) and len(line) < 400))


def facts_of(run: Run, *, result: ad.AnnData | None = None) -> Facts:
    """Read what a report tells; the result, if it is loaded already, is not read again.

    Raises
    ------
    RunError
        If there is no result, or a file of the run is damaged.
    """
    return Facts(
        run=run,
        config=run.config,
        result=dressed(run, run.load_result()) if result is None else result,
        names=run.topic_names(),
        scores=run.evaluation(),
        transfer=run.transfer_report(),
        input=run.input,
        versions=run.versions,
        created_at=run.created_at,
    )
