"""What happens in a run, top to bottom? Load, train, infer, embed, evaluate, write the result.

Started as ``python -m scetm_core.worker RUN_DIR --slots N`` by `jobs.start`, or called as `run_analysis` by the
command line. It reports into the run folder only; whoever wants to watch reads the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core import jobs, keys
from scetm_core.errors import RunError
from scetm_core.jobfolder import Status
from scetm_core.memory import peak_memory_mb
from scetm_core.reporter import Cancelled, Reporter, set_up_process
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.model import ScETM
    from scetm_core.model.cells import CellData
    from scetm_core.trainer import Record

JUDGED_CELLS = 4000  # cells whose NLL is compared with that of the mean mixture: one chunk, seconds at most

# Read by OpenMP when torch is loaded: threads that spin while they wait take the processor from each other as soon as
# anything else runs on it. Measured on two busy cores: 3.4 times as many steps; on idle ones no difference.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

log = logging.getLogger("scetm")


def run_analysis(run: Run, *, n_slots: int = 0, on_change: Callable[[Status], None] | None = None) -> str:
    """Take a run from where it stands to its end.

    Parameters
    ----------
    n_slots
        How many runs beside each other may train; wait for a free slot. 0: do not queue up.
    on_change
        Called with every new status, e.g. to draw a progress bar.

    Returns
    -------
    The final state: ``"done"``, ``"failed"`` or ``"cancelled"``; the status says why.

    Raises
    ------
    RunError
        If another process works on the run.
    """
    with jobs.hold(run), Reporter(run, on_change) as report:

        def work() -> None:
            if not n_slots:
                _analyse(run, report, n_threads=jobs.threads_per_run(1))
                return
            with jobs.take_turn(run, n_slots=n_slots) as is_our_turn:
                if not is_our_turn:
                    raise Cancelled
                _analyse(run, report, n_threads=jobs.threads_per_run(n_slots))

        return report.finish(work, cancelled="Cancelled. Resume continues from the last step.")


def _analyse(run: Run, report: Reporter, *, n_threads: int) -> None:
    report.update(state="running", started_at=time.time(), message="Starting.")
    config = run.config
    report.stage("loading", "Loading PyTorch.")
    import torch

    torch.set_num_threads(n_threads)
    from scetm_core.data import load_dataset
    from scetm_core.infer import infer

    report.stage("loading", f"Reading {Path(config.data.path).name}.")
    data: CellData = load_dataset(config.data)
    for message in data.uns["messages"]:
        log.info(message)
    is_whole, started = run.metrics().empty, time.monotonic()
    model = _train(run, report, data)
    report.stage("inferring", "Embedding the cells.")
    result = infer(model, data, config)
    seconds = time.monotonic() - started if is_whole else None  # of a resumed run only a part is known
    _embed_and_score(run, report, result, seconds=seconds)
    report.update(message="Judging the topics and the training.")
    run.write_evaluation({**run.evaluation(), **_judge(run, model, data, result)})


def _train(run: Run, report: Reporter, data: CellData) -> ScETM:
    from scetm_core.build import build_model
    from scetm_core.model.scetm import resolve_device
    from scetm_core.train import fit

    config = run.config
    device = resolve_device(config.train.device)
    model = build_model(data, config, device=device)
    known = run.vocab() if run.has_vocab else {}
    if differing := [what for what, value in model.names().items() if what in known and known[what] != value]:
        raise RunError(
            f"{config.data.path} has other {', '.join(differing)} than when this run began. "
            "Restore the file as it was, or start a new run."
        )
    run.write_vocab(model.names())
    report.update(device=str(device))
    report.stage("training", f"Training on {len(data.obs):,} cells and {len(model.genes):,} genes ({device}).")
    records = fit(
        model, data, config.train, batch_key=config.data.batch_key, checkpoints=run.checkpoint_path, resume=True
    )
    eta = _Eta(config.train.max_steps)
    with contextlib.closing(records):  # leaving early keeps a checkpoint
        for record in records:
            run.append_metrics([dataclasses.asdict(record)])
            report.update(step=record.step, epoch=record.epoch, eta_seconds=eta.after(record))
            if run.cancel_requested:
                raise Cancelled
    model.save(run.model_path)
    return model


def _embed_and_score(run: Run, report: Reporter, result: ad.AnnData, *, seconds: float | None) -> None:
    from scetm_core.embedding import FIXED_RESOLUTION, embed
    from scetm_core.metrics import N_NEIGHBORS_LISI, evaluate, find_neighbors

    config, delta = run.config, result.obsm[keys.DELTA]
    report.stage("embedding", "Laying out neighbours, clusters and UMAP." if config.umap else "Finding clusters.")
    neighbors = find_neighbors(delta, N_NEIGHBORS_LISI, seed=config.train.seed)
    clusters = embed(result, neighbors=neighbors, seed=config.train.seed, umap=config.umap)
    report.stage("evaluating", "Scoring the result.")
    scores = evaluate(
        delta,
        clusters_by_resolution=clusters,
        neighbors=neighbors,
        labels=result.obs[config.data.label_key] if config.data.label_key else None,
        batches=result.obs[config.data.batch_key] if config.data.batch_key else None,
        fixed_resolution=FIXED_RESOLUTION,
    )
    measured = run.metrics().get("test_nll")
    scores["test_nll"] = None if measured is None or measured.isna().all() else float(measured.dropna().iloc[-1])
    scores |= {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}
    run.write_result(result)
    run.write_evaluation(scores)


def _judge(run: Run, model: ScETM, data: CellData, result: ad.AnnData) -> dict[str, Any]:
    """Scores of the topics, and what looks wrong with them or with the training."""
    from scetm_core.judgement import judge
    from scetm_core.metrics import score_topic_coherence, score_topic_diversity
    from scetm_core.model.cells import prepare_cells
    from scetm_core.trainer import nll_per_cell

    config, curve = run.config, run.metrics()
    beta, n_genes = result.varm[keys.BETA], result.n_vars
    rows = np.random.default_rng(config.train.seed).permutation(result.n_obs)[:JUDGED_CELLS]
    cells = prepare_cells(data, model, batch_key=config.data.batch_key).subset(np.sort(rows))
    findings = judge(
        theta=result.obsm[keys.THETA],
        delta=result.obsm[keys.DELTA],
        beta=beta,
        lambda_=result.uns[keys.UNS].get(keys.UNS_LAMBDA),
        curve=curve,
        minibatch_size=config.train.minibatch_size,
        max_grad_norm=config.train.max_grad_norm,
        n_rollbacks=int(curve["rollbacks"].max()) if "rollbacks" in curve else 0,
        nll_model=float(nll_per_cell(model, cells).mean()),
        nll_intercept_only=float(nll_per_cell(model, cells, mean_mixture=True).mean()),
    )
    for finding in findings:
        log.info("%s: %s %s", finding.level.capitalize(), finding.message, finding.advice)
    finite = np.isfinite(beta).all()
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "topic_diversity": score_topic_diversity(beta, n_top=min(25, n_genes)) if finite else None,
        "topic_coherence": score_topic_coherence(beta, data.X, n_top=min(10, n_genes)) if finite else None,
    }


class _Eta:
    """Seconds left, from the pace since this process began training."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self.first: tuple[int, float] | None = None

    def after(self, record: Record) -> float | None:
        now = time.monotonic()
        if self.first is None:
            self.first = record.step, now
            return None
        step, then = self.first
        return (now - then) / (record.step - step) * (self.max_steps - record.step)


def main(arguments: list[str] | None = None) -> int:
    """Entry of the worker process; exit status 0 if the run is done."""
    parser = argparse.ArgumentParser(prog="scetm_core.worker", description="Run the analysis of one run folder.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--slots", type=int, default=1, help="runs that may train beside each other")
    options = parser.parse_args(arguments)
    set_up_process()
    try:
        return 0 if run_analysis(Run(options.run), n_slots=options.slots) == "done" else 1
    except RunError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
