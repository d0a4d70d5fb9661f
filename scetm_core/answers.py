"""How is a request to a finished run answered? Load, work out, write the table: in a process of its own, or here.

Started as ``python -m scetm_core.answers TASK_DIR`` by `tasks.ask`, or called as `answer` by the command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core import jobs, judging, keys
from scetm_core.errors import DataError, RunError
from scetm_core.files import write_table
from scetm_core.jobfolder import JobFolder
from scetm_core.links import refuse_foreign_links_of
from scetm_core.reporter import Cancelled, Reporter, set_up_process
from scetm_core.requests import (
    ComparisonRequest,
    DifferentialRequest,
    EnrichmentRequest,
    EvaluationRequest,
    MapRequest,
    PublishRequest,
    Request,
    TransferMapRequest,
    kind_of,
)
from scetm_core.runs import Run
from scetm_core.tasks import Task
from scetm_core.user_columns import with_user_columns

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # see worker.py

log = logging.getLogger("scetm")

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""


def answer(run: Run, name: str, request: Request, *, on_progress: Progress) -> Path:
    """Work out the table that a request asks for, and write it into the run's folder.

    Parameters
    ----------
    run
        With a result.
    name
        Of the table, see `runs.table_name`.
    on_progress
        See `Progress`; what it raises ends the work, and an earlier table stays.

    Returns
    -------
    Path of the table, a parquet file. Its `attrs` hold `request`, `sentences` to be shown with it, and `seconds`.

    Raises
    ------
    ScetmError
        If the run, the files or the settings do not allow it; the text says what to do.
    """
    started = time.monotonic()
    path = run.table_path(kind_of(request), name)
    on_progress(0.0, "Reading the result.")
    result = with_user_columns(run, run.load_result())
    _make_folder(path.parent)
    if isinstance(request, EnrichmentRequest):
        table, sentences = _enrichment(path, result, request, on_progress)
    elif isinstance(request, DifferentialRequest):
        table, sentences = _differential(result, request, on_progress)
    elif isinstance(request, MapRequest):
        table, sentences = _map(result, request, on_progress)
    elif isinstance(request, TransferMapRequest):
        table, sentences = _joint_map_of_transfer(run, result, request, on_progress)
    elif isinstance(request, EvaluationRequest):
        table, sentences = judging.evaluation(path, result, request, on_progress)
    elif isinstance(request, ComparisonRequest):
        table, sentences = judging.comparison(run, result, request, on_progress)
    elif isinstance(request, PublishRequest):
        table, sentences = _published(run, path, request, on_progress)
    else:
        table, sentences = judging.sweep_of_run(run, request, on_progress)
    seconds = time.monotonic() - started
    table.attrs |= {"request": request.to_dict(), "sentences": sentences, "seconds": round(seconds, 2)}
    write_table(table, path)
    log.info("%s rows in %.1f s.", f"{len(table):,}", seconds)
    return path


def _enrichment(
    path: Path, result: ad.AnnData, request: EnrichmentRequest, on_progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    from scetm_core.enrichment import prerank
    from scetm_core.figures import gene_weights
    from scetm_core.gene_names import symbols_of
    from scetm_core.genesets import match_gene_sets, read_gene_sets, write_gmt

    if not request.gene_sets:
        raise DataError("No gene sets were named. Pick some.")
    on_progress(0.01, "Matching the gene sets.")
    matched = match_gene_sets(
        read_gene_sets(Path(request.gene_sets)),
        list(result.var_names),
        symbols=symbols_of(result.var),
        min_size=request.min_size,
        max_size=request.max_size,
    )
    if not matched.gene_sets:
        raise DataError(f"No set is left: {' '.join(matched.report.sentences())} Change the limits of size.")
    table = prerank(
        gene_weights(result),
        matched.gene_sets,
        n_permutations=request.n_permutations,
        refine_to=request.refine_to,
        tail=request.tail,
        min_size=request.min_size,
        max_size=request.max_size,
        seed=request.seed,
        on_progress=lambda share: on_progress(0.02 + 0.96 * share, "Comparing topics with gene sets."),
    )
    write_gmt(matched.gene_sets, path.with_suffix(".gmt"))
    return table, matched.report.sentences()


def _differential(
    result: ad.AnnData, request: DifferentialRequest, on_progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    from scetm_core.differential import permutation_test
    from scetm_core.figures import topic_values

    for column in (request.groupby, *([] if request.unit == "cell" else [request.unit])):
        if column not in result.obs:
            raise DataError(f"obs has no column {column!r}; found: {list(result.obs.columns)}.")
    table = permutation_test(
        topic_values(result, keys.DELTA),
        result.obs[request.groupby],
        n_permutations=request.n_permutations,
        unit=None if request.unit == "cell" else result.obs[request.unit],
        two_sided=request.two_sided,
        seed=request.seed,
        on_progress=lambda share: on_progress(0.02 + 0.96 * share, "Permuting labels."),
    )
    return table, list(table.attrs.pop("sentences"))


def _map(result: ad.AnnData, request: MapRequest, on_progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    from scetm_core.joint_map import map_genes_and_topics, map_sets_and_topics

    work_out = map_genes_and_topics if request.points == "genes" else map_sets_and_topics
    table = work_out(result, seed=request.seed, on_progress=on_progress)
    return table, list(table.attrs.pop("sentences"))


def _joint_map_of_transfer(
    run: Run, result: ad.AnnData, request: TransferMapRequest, on_progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    """Places of the source's cells, then the target's: `side`, `cell`, `x`, `y`."""
    import numpy as np
    import pandas as pd

    from scetm_core.embedding import N_NEIGHBORS, neighbor_graph, umap_layout
    from scetm_core.metrics import find_neighbors
    from scetm_core.transfer import source_delta

    origin = run.source.load_result()
    source = source_delta(run, result=origin)
    delta = np.concatenate([source, result.obsm[keys.DELTA]])
    on_progress(0.1, "Finding neighbours among the cells of both.")
    graph = neighbor_graph(find_neighbors(delta, N_NEIGHBORS, seed=request.seed))
    on_progress(0.3, "Laying the cells of both out.")
    places = umap_layout(delta, graph, seed=request.seed)
    is_source = np.arange(len(delta)) < len(source)
    cells = [*origin.obs_names, *result.obs_names]
    table = pd.DataFrame({"side": np.where(is_source, "source", "target"), "cell": cells})
    return table.assign(x=places[:, 0], y=places[:, 1]), []


def _published(run: Run, path: Path, request: PublishRequest, on_progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    """What is in the file that is written beside the table: `file`, `bytes`, `about`."""
    from scetm_core.archive import ENDINGS, publish

    return publish(run, path.with_suffix(ENDINGS[request.what]), what=request.what, on_progress=on_progress)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot create {folder}: {error.strerror}. Check the permissions there.") from error


def run_task(task: Task) -> str:
    """Answer the request of a task and report into its folder.

    Returns
    -------
    The final state: ``"done"``, ``"failed"`` or ``"cancelled"``; the status says why.

    Raises
    ------
    jobs.Held
        If another process works on the task.
    """
    with jobs.hold(task), Reporter(task) as report:

        def work() -> None:
            report.update(state="running", started_at=time.time(), max_steps=_Progress.STEPS)
            request = task.request
            refuse_foreign_links_of(task.run, *([request.gene_sets] if isinstance(request, EnrichmentRequest) else []))
            answer(task.run, task.name, request, on_progress=_Progress(task, report))

        return report.finish(work, cancelled="Cancelled.")


@dataclasses.dataclass
class _Progress:
    """Writes a task's progress, not oftener than a page looks, with the time left; raises if it is to stop."""

    task: Task
    report: Reporter
    started: float = dataclasses.field(default_factory=time.monotonic)
    written: float = -1.0
    message: str = ""

    STEPS = 1000

    def __call__(self, share: float, message: str) -> None:
        if self.task.cancel_requested:
            raise Cancelled
        now = time.monotonic()
        if message == self.message and now - self.written < 0.3:
            return
        passed = now - self.started
        eta = passed * (1 - share) / share if share > 0.05 and passed > 2 else None
        self.report.update(step=round(self.STEPS * share), message=message, eta_seconds=eta)
        self.written, self.message = now, message


def main(arguments: list[str] | None = None) -> int:
    """Entry of the process; exit status 0 if the task is done."""
    parser = argparse.ArgumentParser(prog="scetm_core.answers", description="Answer the request of one task folder.")
    parser.add_argument("task", type=Path)
    options = parser.parse_args(arguments)
    set_up_process(JobFolder(options.task))
    try:
        return 0 if run_task(Task(options.task)) == "done" else 1
    except RunError as error:
        log.error("%s", error)
        return jobs.HELD if isinstance(error, jobs.Held) else 1


if __name__ == "__main__":
    sys.exit(main())
