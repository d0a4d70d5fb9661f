"""Is a data set fit for training? The pre-flight report, worked out without loading the counts whole."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scetm_core.config import DataConfig, ModelConfig, TrainConfig
from scetm_core.data import findings as about
from scetm_core.data.estimate import estimate_cost
from scetm_core.data.findings import Finding
from scetm_core.data.formats import OpenInput, open_input
from scetm_core.data.scan import MAX_VALUES, Scan, scan_counts

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found about a data set.

    Attributes
    ----------
    n_cells, n_genes
        As in the file, empty ones included.
    n_nonzero
        Counts other than 0; projected from the cells looked at where `n_looked_at` is less than `n_cells`.
    source
        Where the counts were taken from: ``"X"``, a layer's name or ``"raw"``.
    counts_per_cell, genes_per_cell
        Of the cells looked at.
    batch_sizes, label_sizes
        Cells per value, the largest first; empty where no column is chosen.
    on_disk
        Whether the counts will be left in the file and read as training goes.
    memory_bytes, seconds
        Rough cost of training on this machine's CPU.
    """

    path: Path
    n_cells: int
    n_genes: int
    n_nonzero: int
    n_looked_at: int
    source: str
    sources: tuple[str, ...]
    findings: list[Finding]
    counts_per_cell: npt.NDArray[np.float64]
    genes_per_cell: npt.NDArray[np.int64]
    batch_sizes: dict[str, int]
    label_sizes: dict[str, int]
    on_disk: bool
    memory_bytes: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether training can start: nothing found is an error."""
        return all(finding.level != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, ready for JSON; the per-cell arrays become quantiles."""
        plain: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        plain |= {
            "ok": self.ok,
            "path": str(self.path),
            "sources": list(self.sources),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "counts_per_cell": _quantiles(self.counts_per_cell),
            "genes_per_cell": _quantiles(self.genes_per_cell),
        }
        return plain


def _quantiles(values: npt.NDArray[Any]) -> dict[str, float]:
    if not values.size:
        return {}
    return {f"{q:g}": float(v) for q, v in zip(_QUANTILES, np.quantile(values, _QUANTILES), strict=True)}


def check_dataset(
    config: DataConfig,
    *,
    model: ModelConfig | None = None,
    train: TrainConfig | None = None,
    max_values: int = MAX_VALUES,
) -> CheckReport:
    """The pre-flight report: values, names, empty cells and genes, batch and label columns, memory and time.

    Problems of the values or columns become findings of level ``"error"`` and are not raised.

    Parameters
    ----------
    model, train
        Settings for the estimate of memory and time; defaults if left out.
    max_values
        Beyond this many stored values a sample of the cells is looked at, and the report says so.

    Raises
    ------
    DataError
        If the file cannot be read, or holds no layer of the chosen name.
    """
    with open_input(config) as source:
        scan = scan_counts(source.matrix, max_values=max_values)
        found = about.the_counts(source, scan)
        memory = about.the_memory(source, config)
        batches, batch_findings = about.the_batches(source.obs, config.batch_key)
        labels, label_findings = about.the_labels(source.obs, config.label_key)
        found += [*about.the_size(scan), *about.the_names(source), *batch_findings, *label_findings]
        found += [*about.the_covariates(source.obs.iloc[scan.cells[scan.genes_per_cell > 0]], config), *memory]
    on_disk = any(finding.level == "note" for finding in memory)
    n_nonzero = _projected_nonzero(source, scan)
    cost = estimate_cost(
        source.matrix.shape[0],
        int(scan.genes_seen.sum()),
        n_nonzero,
        model=model or ModelConfig(),
        train=train or TrainConfig(),
        n_batches=max(len(batches), 1),
        on_disk=on_disk,
    )
    found.append(about.the_cost(cost))
    return CheckReport(
        path=source.path,
        n_cells=source.matrix.shape[0],
        n_genes=source.matrix.shape[1],
        n_nonzero=n_nonzero,
        n_looked_at=len(scan.cells),
        source=source.source,
        sources=source.sources,
        findings=found,
        counts_per_cell=scan.counts_per_cell,
        genes_per_cell=scan.genes_per_cell,
        batch_sizes=batches,
        label_sizes=labels,
        on_disk=on_disk,
        memory_bytes=cost.memory_bytes,
        seconds=cost.seconds,
    )


def _projected_nonzero(source: OpenInput, scan: Scan) -> int:
    n_cells, n_seen = source.matrix.shape[0], len(scan.cells)
    return scan.n_nonzero if n_seen in (0, n_cells) else round(scan.n_nonzero * n_cells / n_seen)
