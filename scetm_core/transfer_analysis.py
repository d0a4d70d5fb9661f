"""What happens in a transfer, top to bottom? Genes, model, perhaps fine-tuning, cells, labels, novelty, map, scores.

What the source knew is judged by the source's own model whatever is learnt afterwards: a cell is flagged as unlike the
source before any training on it.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.analysis import embed_and_score, judge_run, load_input, train_model, write_names
from scetm_core.data import load_dataset
from scetm_core.embedding import place_in_layout
from scetm_core.errors import RunError, ScetmError
from scetm_core.files import replacing
from scetm_core.infer import infer
from scetm_core.label_transfer import LABEL, score_transfer, transfer_labels
from scetm_core.model.cells import CellData, batch_names, cells_to_embed, prepare_cells, some_rows
from scetm_core.model.passes import mean_delta
from scetm_core.model.scetm import ScETM, resolve_device
from scetm_core.model.target import fit_intercepts, fix, model_for_target
from scetm_core.novelty import (
    MAX_HELD_OUT,
    MAX_REFERENCE,
    MIN_COMPARED,
    NOVEL,
    NOVELTY,
    P_EXPRESSION,
    P_NLL,
    NoveltyTest,
    genes_compared,
    judge_novelty,
    view,
)
from scetm_core.reporter import Reporter
from scetm_core.runs import Run
from scetm_core.trainer import split_cells
from scetm_core.transfer import (
    AlignedData,
    ModelGenes,
    advised,
    align,
    align_dataset,
    genes_of_run,
    restrict_dataset,
    source_labels,
)
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES, NOTHING, TransferConfig

if TYPE_CHECKING:
    import anndata as ad

log = logging.getLogger("scetm")

LEARNT = {
    NOTHING: "Nothing was learnt from the target: encoder, topics and genes are the source's.",
    ENCODER: "The encoder and the target's intercepts were learnt; topics (alpha) and genes (rho) are the source's.",
    NEW_GENES: "The embeddings of genes that the source does not know and the target's intercepts were learnt; "
    "encoder, topics and known genes are the source's.",
    EVERYTHING: "Encoder, topics, genes and the target's intercepts were all trained on, at a small rate.",
}


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The run that is applied: its model and genes, its result, and the column with its cells' labels."""

    run: Run
    model: ScETM
    genes: ModelGenes
    result: ad.AnnData
    labels: str


def analyse(run: Run, report: Reporter) -> None:
    """Apply a trained model to the target of a run, and work out its result.

    Raises
    ------
    ScetmError
        If source, target, the settings or the disk do not allow it.
    Cancelled
        If somebody asked for a stop.
    """
    config = run.config
    settings = config.transfer
    assert settings is not None
    started = time.monotonic()
    source = _open_source(run, settings, report)
    data = load_input(run, report)
    alignment = advised(align(source.genes, data.var, settings), source.run)
    aligned, gene_report, said = align_dataset(data, alignment, symbols=source.genes.symbols)
    for sentence in [*gene_report.sentences(), *said]:
        log.info(sentence)
    for warning in gene_report.warnings:
        log.warning(warning)
    run.write_transfer({"genes": gene_report.to_dict(), "sentences": said})
    report.update(device=str(source.model.device))
    report.stage("inferring", "Fitting intercepts to the target.")
    model = _fitted(source.model, aligned, config.data.batch_key)
    report.stage("inferring", "Comparing with the cells that the source was trained on.")
    novelty, about_novelty = _novelty(source, model, aligned, alignment.matched, run)
    if settings.fine_tune == NEW_GENES:
        aligned, _, _ = align_dataset(data, alignment, symbols=source.genes.symbols, new_genes=True)
        model = _fitted(source.model, aligned, config.data.batch_key)
    if config.is_trained:
        fix(model, settings.fine_tune, n_new=len(model.genes) - len(source.model.genes))
        train_model(run, report, model, aligned, start=False)
    else:
        write_names(run, model)
        model.save(run.model_path)
    report.stage("inferring", "Embedding the cells.")
    result = infer(model, aligned, config)
    result.var[[keys.TARGET_GENE, keys.WAY]] = aligned.var[[keys.TARGET_GENE, keys.WAY]]
    seconds = time.monotonic() - started
    reference = source.result.obsm[keys.DELTA]
    if settings.fine_tune in (ENCODER, EVERYTHING):
        report.stage("inferring", "Embedding the source's cells anew.")
        reference = _source_delta(source, model, alignment.matched)
        with replacing(run.source_delta_path) as draft, draft.open("wb") as stream:
            np.save(stream, reference)
    about_labels = _give_labels(result, source, reference)
    if novelty is not None:
        for column in (NOVELTY, P_NLL, P_EXPRESSION, NOVEL):
            result.obs[column] = novelty[column]
    has_map = keys.X_UMAP in source.result.obsm
    about_map = [] if has_map or not config.umap else ["The source has no map, so the target got one of its own."]
    place = functools.partial(_placed, source=source, reference=reference) if has_map else None
    embed_and_score(run, report, result, seconds=seconds, place=place)
    report.update(message="Judging the topics.")
    sentences = [LEARNT[settings.fine_tune], *said, *about_labels, *about_novelty, *about_map]
    run.write_transfer({"genes": gene_report.to_dict(), "sentences": sentences})
    run.write_evaluation(
        {
            **run.evaluation(),
            **judge_run(run, model, aligned, result, measured=~_is_absent(aligned)),
            **_scores(run, result),
            "n_genes_matched": gene_report.n_matched,
            "counts_covered": gene_report.covered,
        }
    )


def _open_source(run: Run, settings: TransferConfig, report: Reporter) -> _Source:
    source = run.source
    report.stage("loading", f"Reading the model of {source.config.name}.")
    genes = genes_of_run(source)  # says what is wrong with a run that is not done
    source.check_result()
    result = source.load_result()
    labels = source_labels(source, result.obs, settings)
    model = ScETM.load(source.model_path, device=resolve_device(run.config.train.device))
    return _Source(run=source, model=model, genes=genes, result=result, labels=labels)


def _fitted(source: ScETM, data: AlignedData, batch_key: str | None) -> ScETM:
    """The source's model with intercepts of the target's own, and with the genes that come after the source's."""
    new_genes = [str(name) for name in data.var_names[len(source.genes) :]]
    model = model_for_target(source, batches=batch_names(data, batch_key), new_genes=new_genes)
    fit_intercepts(model, prepare_cells(data, model, batch_key=batch_key), absent=_is_absent(data))
    return model


def _is_absent(data: AlignedData) -> np.ndarray:
    """Mask (n_genes,) of the genes that the target lacks."""
    return np.asarray(data.var[keys.TARGET_GENE].to_numpy() == "")


def _source_data(run: Run) -> CellData:
    """The counts that a run was trained on, in the columns of its model.

    Raises
    ------
    RunError
        If the input has changed since.
    """
    config = run.config
    data: CellData = load_dataset(config.data)
    if config.transfer is not None:  # a transfer can be a source as well
        genes = genes_of_run(run.source)
        is_wider = config.transfer.fine_tune == NEW_GENES
        data, _, _ = align_dataset(data, align(genes, data.var, config.transfer), new_genes=is_wider)
    if list(data.var_names) != run.vocab()["genes"]:
        raise RunError(f"{config.data.path} has changed since {config.name} was trained on it.")
    return data


def _source_delta(source: _Source, model: ScETM, matched: np.ndarray) -> np.ndarray:
    """Delta of the source's cells by a model that was trained on, over the genes that the target has.

    Raises
    ------
    RunError
        If the source's counts are not what they were.
    """
    data, left = restrict_dataset(_source_data(source.run), matched)
    delta = np.asarray(source.result.obsm[keys.DELTA]).copy()  # of cells with no count in these genes
    delta[left] = mean_delta(model, cells_to_embed(data, model))
    return delta


def _novelty(
    source: _Source, zero_shot: ScETM, target: AlignedData, matched: np.ndarray, run: Run
) -> tuple[pd.DataFrame | None, list[str]]:
    """p-values of the target's cells, by name; None, with the reason, where the source's counts cannot be read."""
    config, settings = source.run.config, run.config.transfer
    assert settings is not None
    try:
        data, left = restrict_dataset(_source_data(source.run), matched)
    except ScetmError as error:
        return None, [f"No cell is flagged, as the source's counts cannot be looked at. {error}"]
    model = model_for_target(source.model, batches=batch_names(data, config.data.batch_key))
    cells = prepare_cells(data, model, batch_key=config.data.batch_key)
    is_kept = np.zeros(source.result.n_obs, dtype=bool)
    is_kept[left] = True
    place = np.cumsum(is_kept) - 1  # row of the source -> row among those left
    held_out_share = config.train.test_fraction if config.is_trained else 0.0
    train_rows, test_rows = split_cells(source.result.n_obs, held_out_share, seed=config.train.seed)
    rng = np.random.default_rng(run.config.train.seed)
    train_rows, test_rows = (
        place[some_rows(rows[is_kept[rows]], most, rng)]
        for rows, most in ((train_rows, MAX_REFERENCE), (test_rows, MAX_HELD_OUT))
    )
    reference = cells.subset(train_rows)
    fit_intercepts(model, reference, absent=~matched)
    genes = genes_compared(model, matched, reference)
    if len(genes) < MIN_COMPARED:
        return None, [f"No cell is flagged: the target has {len(genes)} of the genes that the encoder looks at."]
    held_out = view(model, cells.subset(test_rows), genes) if len(test_rows) else None
    test = NoveltyTest(view(model, reference, genes), held_out, false_positive_rate=settings.false_positive_rate)
    cells = prepare_cells(target, zero_shot, batch_key=run.config.data.batch_key)
    table, said = judge_novelty(test, zero_shot, cells, genes)
    return table.set_index(target.obs.index), said


def _give_labels(result: ad.AnnData, source: _Source, reference: np.ndarray) -> list[str]:
    """Columns of transferred labels, in the source's colours; sentences about them."""
    labels = source.result.obs[source.labels]
    table, said = transfer_labels(reference, labels, result.obsm[keys.DELTA])
    for column in table:
        result.obs[column] = table[column].set_axis(result.obs.index)  # with labels that no cell got
    colors = source.result.uns.get(f"{source.labels}_colors")
    if colors is not None and len(colors) == len(table[LABEL].cat.categories):
        result.uns[f"{LABEL}_colors"] = list(colors)
    return [f"Labels were given from {source.labels!r} of {source.run.config.name}.", *said]


def _placed(result: ad.AnnData, *, source: _Source, reference: np.ndarray) -> np.ndarray:
    return place_in_layout(reference, source.result.obsm[keys.X_UMAP], result.obsm[keys.DELTA])


def _scores(run: Run, result: ad.AnnData) -> dict[str, Any]:
    """How many labels are right, where they are known, and how many cells are flagged."""
    label_key = run.config.data.label_key
    scores: dict[str, Any] = score_transfer(result.obs[label_key], result.obs[LABEL]) if label_key else {}
    if NOVEL in result.obs:
        scores["share_unlike_source"] = float(result.obs[NOVEL].mean())
    return scores
