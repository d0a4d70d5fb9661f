"""What happens in a run, top to bottom? Load, train, infer, embed, evaluate, write the result."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core import keys
from scetm_core.build import build_model
from scetm_core.data import load_dataset
from scetm_core.errors import RunError
from scetm_core.infer import infer
from scetm_core.memory import peak_memory_mb
from scetm_core.model.cells import CellData, prepare_cells
from scetm_core.model.passes import nll_per_cell
from scetm_core.model.ranks import ALONE, Ranks
from scetm_core.model.scetm import ScETM, resolve_device
from scetm_core.reporter import Cancelled, Reporter
from scetm_core.runs import Run
from scetm_core.train import fit
from scetm_core.trainer import Record

if TYPE_CHECKING:
    import anndata as ad

JUDGED_CELLS = 4000  # cells whose NLL is compared with that of the mean mixture: one chunk, seconds at most

log = logging.getLogger("scetm")


def analyse(run: Run, report: Reporter, ranks: Ranks = ALONE) -> None:
    """Train a run on its own data, and work out its result.

    Parameters
    ----------
    ranks
        The processes that train together; this is the first. The others call `help_train`, and end when it is trained.

    Raises
    ------
    ScetmError
        If the input, the settings or the disk do not allow it.
    Cancelled
        If somebody asked for a stop; what is done is kept.
    """
    config = run.config
    data = load_input(run, report)
    is_whole, started = run.metrics().empty, time.monotonic()
    device = resolve_device(config.train.device)
    model = build_model(data, config, device=device)
    train_model(run, report, model, data, start=True, ranks=ranks)
    ranks.leave()
    report.stage("inferring", "Embedding the cells.")
    result = infer(model, data, config)
    seconds = time.monotonic() - started if is_whole else None  # of a resumed run only a part is known
    embed_and_score(run, report, result, seconds=seconds)
    report.update(message="Judging the topics and the training.")
    run.write_evaluation({**run.evaluation(), **judge_run(run, model, data, result)})


def help_train(run: Run, ranks: Ranks) -> None:
    """Train a run's model together with the process that analyses the run; nothing is written.

    Raises
    ------
    ScetmError
        As `analyse`.
    """
    config = run.config
    if config.transfer is not None:  # which the first process does alone
        ranks.leave()
        return
    data = load_dataset(config.data)
    model = build_model(data, config, device=resolve_device(config.train.device))
    records = fit(model, data, config.train, batch_key=config.data.batch_key, ranks=ranks)
    with contextlib.closing(records):
        for _ in records:
            if ranks.agree(False):  # asked by the first process: is the run cancelled?
                return
    ranks.leave()


def load_input(run: Run, report: Reporter) -> CellData:
    """The counts of a run's input; what was left out goes to the log."""
    config = run.config
    report.stage("loading", f"Reading {Path(config.data.path).name}.")
    data: CellData = load_dataset(config.data)
    for message in data.uns["messages"]:
        log.info(message)
    return data


def train_model(run: Run, report: Reporter, model: ScETM, data: CellData, *, start: bool, ranks: Ranks = ALONE) -> None:
    """Train a model in place, or go on where the run's last checkpoint is; writes vocabulary, curve and weights.

    Parameters
    ----------
    start, ranks
        As in `fit`.
    """
    config = run.config
    write_names(run, model)
    report.update(device=str(model.device))
    report.stage("training", f"Training on {len(data.obs):,} cells and {len(model.genes):,} genes ({model.device}).")
    records = fit(
        model,
        data,
        config.train,
        batch_key=config.data.batch_key,
        checkpoints=run.checkpoint_path,
        resume=True,
        start=start,
        ranks=ranks,
    )
    eta = _Eta(config.train.max_steps)
    with contextlib.closing(records):  # leaving early keeps a checkpoint
        for record in records:
            run.append_metrics([dataclasses.asdict(record)])
            report.update(step=record.step, epoch=record.epoch, eta_seconds=eta.after(record))
            if ranks.agree(run.cancel_requested):
                raise Cancelled
    model.save(run.model_path)


def write_names(run: Run, model: ScETM) -> None:
    """Record what rows and columns of the model are called.

    Raises
    ------
    RunError
        If they were others when this run began.
    """
    known = run.vocab() if run.has_vocab else {}
    if differing := [what for what, value in model.names().items() if what in known and known[what] != value]:
        raise RunError(
            f"{run.config.data.path} has other {', '.join(differing)} than when this run began. "
            "Restore the file as it was, or start a new run."
        )
    run.write_vocab(model.names())


def embed_and_score(
    run: Run,
    report: Reporter,
    result: ad.AnnData,
    *,
    seconds: float | None,
    place: Callable[[ad.AnnData], np.ndarray] | None = None,
) -> None:
    """Clusters, map and scores of a result, which is written with them.

    Parameters
    ----------
    seconds
        That training and inference took; None if it is not known.
    place
        Gives the cells' places on a map that is there already, (n_cells, 2); None to lay out a new one.
    """
    from scetm_core.embedding import FIXED_RESOLUTION, embed
    from scetm_core.metrics import N_NEIGHBORS_LISI, evaluate, find_neighbors

    config, delta = run.config, result.obsm[keys.DELTA]
    report.stage("embedding", "Laying out neighbours, clusters and UMAP." if config.umap else "Finding clusters.")
    neighbors = find_neighbors(delta, N_NEIGHBORS_LISI, seed=config.train.seed)
    clusters = embed(result, neighbors=neighbors, seed=config.train.seed, umap=config.umap and place is None)
    if config.umap and place is not None:
        result.obsm[keys.X_UMAP] = place(result)
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
    color_groups(result, [config.data.batch_key, config.data.label_key, keys.LEIDEN])
    run.write_result(result)
    run.write_evaluation(scores)


def color_groups(result: ad.AnnData, columns: Sequence[str | None]) -> None:
    """Keep the colours in which the app shows some columns, where scanpy and others look for them.

    A column that brings colours keeps them.
    """
    from scetm_core.figures import category_colors

    for column in columns:
        if column is None or column not in result.obs or f"{column}_colors" in result.uns:
            continue
        names = [str(name) for name in result.obs[column].astype("category").cat.categories]
        result.uns[f"{column}_colors"] = list(category_colors(names).values())


def judge_run(
    run: Run, model: ScETM, data: CellData, result: ad.AnnData, *, measured: np.ndarray | None = None
) -> dict[str, Any]:
    """Scores of the topics, and what looks wrong with them or with the training.

    Parameters
    ----------
    measured
        (n_genes,) mask of the genes that lead a topic where its coherence is judged; None for all.
    """
    from scetm_core.judgement import judge
    from scetm_core.metrics import score_topic_coherence, score_topic_diversity

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
    led_by = beta if measured is None else np.where(measured[:, None], beta, beta.min(axis=0))  # (n_genes, n_topics)
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "topic_diversity": score_topic_diversity(beta, n_top=min(25, n_genes)) if finite else None,
        "topic_coherence": score_topic_coherence(led_by, data.X, n_top=min(10, n_genes)) if finite else None,
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
