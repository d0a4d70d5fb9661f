"""How does the methods section of a paper tell of this run? Sentences from the actual settings and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scetm_core import __version__, keys
from scetm_core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from scetm_core.errors import RunError
from scetm_core.figures.differential import MIN_DIFFERENCE_CONDITIONS, MIN_DIFFERENCE_TYPES, SIGNIFICANCE
from scetm_core.gene_names import CASE, EXACT, VERSION
from scetm_core.presets import PRESETS
from scetm_core.report._facts import Facts, facts_of
from scetm_core.settings import settings_of
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES, NOTHING, TransferConfig

CITATION = (
    "Zhao Y., Cai H., Zhang Z., Tang J., Li Y. Learning interpretable cellular and gene signature embeddings from "
    "single-cell transcriptomic data. Nature Communications 12, 5261 (2021)."
)
DOI = "10.1038/s41467-021-25534-2"
SHORT = "Zhao et al., 2021"
WAY_WORDS = {EXACT: "name", CASE: "name in another letter case", VERSION: "name but for its version"}
FREE = (
    "n_topics",
    "seed",
    "device",
    "test_fraction",
    "report_every",
    "evaluate_every",
    "checkpoint_every",
    "precision",
)
"""Settings that may differ from a preset's without making it another recipe."""


def methods_paragraphs(facts: Facts) -> list[str]:
    """The methods of a run in words: the model, its training, the cells, each kind of test, the software."""
    return [
        *_opening(facts),
        _cells(facts),
        *(_enrichment(name, table) for name, table in facts.enrichment.items()),
        *(_differential(table, facts) for table in facts.differential.values()),
        _software(facts),
    ]


def _opening(facts: Facts) -> list[str]:
    """How the model was trained; in a transfer, how its source was, and how it was applied."""
    settings = facts.config.transfer
    if settings is None:
        return [" ".join([*_model(facts), *_training(facts, facts.config.train)])]
    try:
        before = _opening(facts_of(facts.run.source))
    except RunError:  # the source is gone: what is known of it is its name
        before = []
    return [*before, _transfer(facts, settings)]


def preset_of(config: RunConfig) -> str:
    """Name of the preset whose settings a run has, but for those that presets leave to the user; empty if of none."""
    parts = (config.model, config.train)
    defaults = {entry.name: entry.default for part in parts for entry in settings_of(type(part))}
    given = {**config.model.to_dict(), **config.train.to_dict()}
    for preset in PRESETS.values():
        expected = {**defaults, **preset.values}
        if all(given[name] == value for name, value in expected.items() if name not in FREE):
            return preset.label
    return ""


def amount(value: float) -> str:
    """A number as a paper has it: ``"1e-07"``, ``"0.005"``, ``"6,000"``."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def count(n: int, noun: str, plural: str = "") -> str:
    """``"1 topic"``, ``"2 topics"``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


# ---- model and training -------------------------------------------------------------------------------------------


def _model(facts: Facts) -> Iterator[str]:
    config = facts.config
    model = config.model
    yield (
        f"Raw counts of {facts.n_cells:,} cells and {facts.n_genes:,} genes were modelled with scETM, the single-cell "
        f"embedded topic model ({SHORT}), with {count(model.n_topics, 'topic')}."
    )
    yield _genes(model)
    yield _batches(facts, config.data, model)
    yield _encoder(facts, model, config.train)
    likelihood = {
        "fraction": "the counts of each cell divided by their sum",
        "counts": "the counts themselves (multinomial)",
    }
    mixture = (
        "each topic was a distribution over genes, and cells mixed these"
        if model.normalise_beta
        else "cells mixed the topics' unnormalised gene weights before a softmax over all genes"
    )
    yield f"In the decoder {mixture}; the likelihood was that of {likelihood[model.likelihood]}."
    if config.data.modality:
        yield (
            f"A second modality, {config.data.modality}, was described by the same topics, its likelihood weighing "
            f"{amount(model.modality_weight)}."
        )


def _genes(model: ModelConfig) -> str:
    learnt = f" beside {count(model.n_free_emb, 'learnt dimension')}" if model.n_free_emb else ""
    if model.rho_gmt:
        return (
            f"The gene embedding was fixed to membership in the gene sets of {Path(model.rho_gmt).name}{learnt} "
            "(p-scETM), so that only the topics' weights of the sets were learnt."
        )
    if model.rho_file:
        kept = "and trained further" if model.train_rho else "and kept fixed"
        return f"Gene embeddings were taken from {Path(model.rho_file).name} {kept}{learnt}."
    return f"Genes and topics shared an embedding of {count(model.n_emb, 'dimension')}."


def _batches(facts: Facts, data: DataConfig, model: ModelConfig) -> str:
    key, n_batches = data.batch_key, facts.n_batches
    if not key:
        return "No batch column was given."
    where = f"{key!r} ({count(n_batches, 'batch', 'batches')})"
    if not model.batch_intercept:
        return f"No intercept was learnt for the batches in {where} (scETM - lambda)."
    factors = f", written as {count(model.n_batch_factors, 'factor')}" if model.n_batch_factors else ""
    text = (
        f"Effects of the batch, column {where}, were kept out of the topics by an intercept per batch and gene{factors}"
    )
    if data.extra_batch_keys:
        text += f", and those of {', '.join(data.extra_batch_keys)} likewise"
    if data.numeric_keys:
        text += f"; {', '.join(data.numeric_keys)} entered as linear terms per gene"
    return text + (". The encoder was told the batch." if model.encode_batch else ".")


def _encoder(facts: Facts, model: ModelConfig, train: TrainConfig) -> str:
    inputs = {
        "hvg": f"standardised log expression of {min(model.n_variable_genes, facts.n_genes):,} highly variable genes",
        "fraction": "each gene's share of the counts of the cell",
        "counts": "raw counts",
    }
    norm = "batch normalisation" if model.batch_norm else "no batch normalisation"
    thinned = (
        f", each cell thinned at random to between {train.min_depth:.0%} and all of its counts in training"
        if train.min_depth < 1
        else ""
    )
    return (
        f"The encoder had one hidden layer of {model.n_hidden:,} units with {norm} and dropout of "
        f"{amount(model.dropout)}; its input was {inputs[model.encoder_input]}{thinned}."
    )


def _training(facts: Facts, train: TrainConfig) -> Iterator[str]:
    model = facts.config.model
    yield (
        "Topics began as clusters of the cells."
        if model.start == "data"
        else "Topic and gene embeddings began as draws from N(0, 1)."
    )
    optimiser = f"AdamW (weight decay {amount(train.weight_decay)})" if train.weight_decay else "Adam"
    rate = (
        "falling to 0 as a cosine"
        if train.learning_rate_schedule == "cosine"
        else f"multiplied by exp(-{amount(train.learning_rate_decay)}) each step"
    )
    early = ", stopped early on a plateau of the held-out loss" if train.early_stop else ""
    yield (
        f"Training took {count(facts.n_steps, 'step')} of {train.minibatch_size:,} cells{early}, by "
        f"{optimiser} with a learning rate of {amount(train.learning_rate)}, {rate}, and gradients clipped at a norm "
        f"of {amount(train.max_grad_norm)}."
    )
    yield (
        f"The weight of the Kullback-Leibler term rose linearly to {amount(train.max_kl_weight)} over the first "
        f"{train.kl_warmup:.0%} of training."
        if train.max_kl_weight
        else "The Kullback-Leibler term was left out."
    )
    if train.mmd_weight and facts.config.data.batch_key:
        yield (
            f"Batches were drawn together by a maximum mean discrepancy of weight {amount(train.mmd_weight)} between "
            f"their cells in topic space, within kinds of cells ({train.mmd_groups})."
        )
    if train.adversary_weight:
        yield (
            f"A discriminator of the batch, updated {train.adversary_updates:,} times after each step, was opposed "
            f"with weight {amount(train.adversary_weight)} (scETM + adv)."
        )
    if train.anchor_weight:
        yield f"Cells were held near the clusters they began from with weight {amount(train.anchor_weight)}."
    held = (
        f"{train.test_fraction:.0%} of the cells were held out of training"
        if train.test_fraction
        else "No cell was held out"
    )
    labels = facts.config.data.label_key
    unseen = f"; the labels in {labels!r} were not used" if labels else ""
    preset = preset_of(facts.config)
    settings = f" These are the settings of the preset {preset!r}." if preset else ""
    yield f"{held}{unseen}; the seed was {train.seed}.{settings}"


def _transfer(facts: Facts, settings: TransferConfig) -> str:
    learnt = {
        NOTHING: "without any training on the target (zero-shot)",
        ENCODER: "and its encoder was trained on the target, topics and gene embeddings kept",
        NEW_GENES: "and embeddings of genes that it did not know were learnt from the target, all else kept",
        EVERYTHING: "and all of it was trained further on the target at a small learning rate",
    }[settings.fine_tune]
    trained = f" for {count(facts.n_steps, 'step')}" if facts.config.is_trained else ""
    genes = facts.transfer.get("genes", {})
    matched = ""
    if genes:
        how = {way: number for way, number in dict(genes.get("how", {})).items() if number}
        ways = ", ".join(f"{number:,} by {WAY_WORDS.get(way, way)}" for way, number in how.items())
        matched = (
            f" {genes['n_matched']:,} of the model's {genes['n_model']:,} genes were found in the target"
            f"{f' ({ways})' if ways else ''}; the others counted as 0."
        )
    rate = f"; it was flagged as unlike the source at a false-positive rate of {settings.false_positive_rate:.0%}"
    flagged = rate if keys.UNLIKE_SOURCE in facts.result.obs else ""
    several = "summed" if settings.several == "sum" else "left out"
    return (
        f"The scETM ({SHORT}) of the run {facts.source_name!r} was applied to raw counts of {facts.n_cells:,} cells, "
        f"{learnt}{trained}.{matched} Where several genes stood for one, their counts were {several}. Each cell "
        f"was given the label of its nearest cells of the source by vote{flagged}."
    )


# ---- what came after ----------------------------------------------------------------------------------------------


def _cells(facts: Facts) -> str:
    scores = facts.scores
    text = (
        "Cells were embedded by the variational mean of their topic mixture (delta) and clustered by Leiden on their "
        "15 nearest neighbours"
    )
    if scores.get("fixed_resolution") is not None:
        text += f" (resolution {scores['fixed_resolution']:g}, settled beforehand)"
    if keys.X_UMAP not in facts.result.obsm:
        text += "."
    elif facts.config.transfer is not None:
        text += ", and placed on the UMAP of the source."
    else:
        text += ", and laid out by UMAP (minimal distance 0.3)."
    judged = []
    if scores.get("ari") is not None:
        judged.append("agreement with the labels by the adjusted Rand index and normalised mutual information")
    if scores.get("kbet") is not None:
        judged.append("mixing of the batches by kBET (15 neighbours, significance 0.05)")
    return f"{text} We measured {' and '.join(judged)}." if judged else text


def _enrichment(name: str, table: pd.DataFrame) -> str:
    request: Mapping[str, Any] = table.attrs.get("request", {})
    n_sets = table["gene_set"].nunique()
    draws = f"{request.get('n_permutations', 1000):,} random sets for each topic and set size"
    if request.get("refine_to", 0) > request.get("n_permutations", 0):
        draws += f", up to {request['refine_to']:,} where the p-value was too coarse"
    tail = "the upper tail" if request.get("tail", "up") == "up" else "either tail"
    return (
        f"Topics were compared with {count(n_sets, 'gene set')} of {name} ({request.get('min_size', 5)} to "
        f"{request.get('max_size', 500)} genes among the model's) by preranked gene set enrichment analysis of the "
        f"topics' gene weights (beta), {tail} against {draws}; q-values by Benjamini-Hochberg over all topics and sets."
    )


def _differential(table: pd.DataFrame, facts: Facts) -> str:
    request: Mapping[str, Any] = table.attrs.get("request", {})
    groupby, unit = str(request.get("groupby", "")), str(request.get("unit", "cell"))
    least = MIN_DIFFERENCE_TYPES if groupby in (facts.config.data.label_key, keys.LEIDEN) else MIN_DIFFERENCE_CONDITIONS
    over = "cells" if unit == "cell" else f"{unit!r}, whose cells are not independent"
    exact = bool(table["is_exact"].all()) if "is_exact" in table else False
    draws = "all permutations" if exact else f"{request.get('n_permutations', 0):,} random permutations"
    sided = "two-sided" if request.get("two_sided") else "one-sided"
    topics, groups = count(table["topic"].nunique(), "topic"), count(table["label"].nunique(), "group")
    return (
        f"A topic was called differential for a group of {groupby!r} if its mean delta inside differed from that "
        f"outside by more than {least:g} with q < {SIGNIFICANCE:g}: {sided} p-values from {draws} of the labels over "
        f"{over}, corrected by Bonferroni over {topics} and {groups}."
    )


def _software(facts: Facts) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"scETM Studio {__version__} was used{f', with {libraries}' if libraries else ''}."
