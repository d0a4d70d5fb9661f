"""How many topics do these cells need, and do they come back with another seed? One training for each of both.

What each training found is kept in a folder, so that a sweep that was stopped goes on where it stood.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import scetm_core
from scetm_core import keys, metrics
from scetm_core.choice import SCORES, summarise
from scetm_core.config import RunConfig
from scetm_core.errors import ConfigError, RunError, TrainingError
from scetm_core.files import is_disk_full, replacing, scores_as_json, write_atomically
from scetm_core.metrics.matching import score_stability, topic_stability

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.model import ScETM
    from scetm_core.model.cells import CellData

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""

HELD_OUT = 0.1
"""Held-out share where the settings ask for none: without held-out cells numbers of topics cannot be compared."""
N_CELLS_HASHED = 1000
TRAINING_SHARE = 0.95  # of one training's time; the rest goes into its scores

log = logging.getLogger("scetm")


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What a sweep found.

    `trainings` has one row per number of topics and seed: n_topics, seed and `choice.SCORES`, not-a-number where there
    are no labels or batches, or the training failed. `by_k` is that of `choice.summarise`. `stability`: number of
    topics -> the table of `metrics.matching.topic_stability`, for the topics of the first seed. `sentences` are to be
    shown with it.
    """

    trainings: pd.DataFrame
    by_k: pd.DataFrame
    stability: Mapping[int, pd.DataFrame]
    sentences: list[str]


@dataclass(frozen=True, kw_only=True)
class _Training:
    """One finished training: its scores, beta as genes x topics, and which topics the cells use."""

    scores: dict[str, float | None]
    beta: pd.DataFrame
    in_use: np.ndarray  # (n_topics,) booleans


def sweep(
    data: CellData,
    config: RunConfig,
    *,
    n_topics: Sequence[int],
    seeds: Sequence[int],
    folder: Path | None,
    on_progress: Progress,
) -> SweepResult:
    """Train a model for every number of topics and every seed, and score each.

    The first seed goes through all numbers of topics before the second begins. Trainings with one seed hold out the
    same cells, whatever the number of topics.

    Parameters
    ----------
    data
        What `load_dataset(config.data)` returns; loaded once for all.
    config
        Settings of every training; its number of topics and seed are replaced.
    n_topics, seeds
        To try. Two seeds at least tell how far topics come back, three how much scores differ by chance.
    folder
        Where finished trainings are kept; those of the same data, settings and version are not trained again. Made if
        it is not there. None: nothing is kept.
    on_progress
        See `Progress`; called at every report of a training. What it raises ends the sweep; finished trainings stay.

    Raises
    ------
    ConfigError
        If there is no number of topics or seed, or one is out of range.
    DataError
        If data and settings do not fit.
    RunError
        If the folder cannot be made or written.
    """
    configs, sentences = _configs(config, n_topics, seeds)
    digest = ""
    if folder is not None:
        with _writing_to(folder):  # hours of training must not end in a folder that cannot be made
            folder.mkdir(parents=True, exist_ok=True)
        digest = _digest_of(data)
    found: dict[tuple[int, int], _Training] = {}
    for number, each in enumerate(configs):
        key = each.model.n_topics, each.train.seed
        name = f"{key[0]} topics, seed {key[1]} (training {number + 1} of {len(configs)})"
        path = None if folder is None else folder / f"{key[0]}-topics-seed-{key[1]}-{_key_of(each, digest)}"

        def report(share: float, *, number: int = number, name: str = name) -> None:
            on_progress((number + share) / len(configs), f"{name}.")

        report(0.0)
        training = None if path is None else _read(path)
        if training is None:
            try:
                training = _train(data, each, on_progress=report)
            except TrainingError as error:
                sentences.append(f"{name} failed and is left out: {error}")
                log.warning("%s", sentences[-1])
                continue
            if path is not None:
                _write(training, path)
        found[key] = training
    on_progress(1.0, "Comparing the topics of the trainings.")
    return _gather(found, configs, sentences)


def _configs(config: RunConfig, n_topics: Sequence[int], seeds: Sequence[int]) -> tuple[list[RunConfig], list[str]]:
    """Settings of each training, seed by seed, and what was changed for the sweep."""
    if not n_topics:
        raise ConfigError("No number of topics was given. Name some, e.g. 10, 20, 50.", field="n_topics")
    if not seeds:
        raise ConfigError("No seed was given. Name some, e.g. 0, 1, 2.", field="seed")
    sentences, train = [], config.train
    if train.test_fraction == 0:
        train = replace(train, test_fraction=HELD_OUT)
        sentences.append(
            f"The settings hold out no cells; {HELD_OUT:.0%} of them were held out here, since without them numbers of "
            "topics cannot be compared."
        )
    configs = [
        replace(config, model=replace(config.model, n_topics=k), train=replace(train, seed=seed))
        for seed in dict.fromkeys(seeds)
        for k in sorted(set(n_topics))
    ]
    return configs, sentences


# ---- one training ---------------------------------------------------------------------------------------------------


def _train(data: CellData, config: RunConfig, *, on_progress: Callable[[float], None]) -> _Training:
    """Build, fit, infer, score."""
    from scetm_core.build import build_model
    from scetm_core.infer import infer
    from scetm_core.judgement import idle_topics
    from scetm_core.model.scetm import resolve_device
    from scetm_core.train import fit

    started, test_nll = time.monotonic(), math.nan
    model: ScETM = build_model(data, config, device=resolve_device(config.train.device))
    with contextlib.closing(fit(model, data, config.train, batch_key=config.data.batch_key)) as records:
        for record in records:
            test_nll = test_nll if math.isnan(record.test_nll) else record.test_nll
            on_progress(TRAINING_SHARE * record.step / config.train.max_steps)
    on_progress(TRAINING_SHARE)
    result = infer(model, data, config)
    in_use = ~idle_topics(result.obsm[keys.THETA])
    scores = _score(data, config, result) | {"test_nll": test_nll, "n_topics_in_use": int(in_use.sum())}
    scores["test_gain"] = _mean_mixture_nll(model, data, config) - test_nll
    scores["seconds"] = round(time.monotonic() - started, 2)
    names = [keys.topic_name(k) for k in range(config.model.n_topics)]
    beta = pd.DataFrame(result.varm[keys.BETA], index=result.var_names.astype(str), columns=names)
    return _Training(scores={score: scores[score] for score in SCORES}, beta=beta, in_use=in_use)


def _mean_mixture_nll(model: ScETM, data: CellData, config: RunConfig) -> float:
    """NLL of the held-out cells if each had the mean mixture of topics: what is known without topics."""
    from scetm_core.model.cells import prepare_cells
    from scetm_core.model.passes import nll_per_cell
    from scetm_core.trainer import split_cells

    _, held_out = split_cells(len(data.obs), config.train.test_fraction, seed=config.train.seed)
    cells = prepare_cells(data, model, batch_key=config.data.batch_key).subset(held_out)
    return float(nll_per_cell(model, cells, mean_mixture=True).mean()) if len(held_out) else math.nan


def _score(data: CellData, config: RunConfig, result: ad.AnnData) -> dict[str, float | None]:
    """Scores of the embedding and of the topics, as a run reports them."""
    from scetm_core.embedding import FIXED_RESOLUTION, N_NEIGHBORS, leiden_clusters, neighbor_graph

    label_key, batch_key, seed = config.data.label_key, config.data.batch_key, config.train.seed
    delta, beta = result.obsm[keys.DELTA], result.varm[keys.BETA]
    scores: dict[str, float | None] = dict.fromkeys(("ari", "best_ari", "nmi", "kbet"))
    neighbors = metrics.find_neighbors(delta, N_NEIGHBORS, seed=seed)
    if label_key:
        labels, clusters = result.obs[label_key], leiden_clusters(neighbor_graph(neighbors), seed=seed)
        aris = {resolution: metrics.score_ari(labels, found) for resolution, found in clusters.items()}
        scores |= {"ari": aris[FIXED_RESOLUTION], "best_ari": max(aris.values())}
        scores["nmi"] = metrics.score_nmi(labels, clusters[FIXED_RESOLUTION])
    if batch_key:
        scores["kbet"] = metrics.score_kbet(delta, result.obs[batch_key], neighbors=neighbors.indices)
    scores["topic_coherence"] = metrics.score_topic_coherence(beta, data.X, n_top=min(10, result.n_vars))
    scores["topic_diversity"] = metrics.score_topic_diversity(beta, n_top=min(25, result.n_vars))
    return scores


def _gather(
    found: Mapping[tuple[int, int], _Training], configs: Sequence[RunConfig], sentences: list[str]
) -> SweepResult:
    """The tables of a sweep from its trainings, in order of number of topics and seed."""
    order = sorted((each.model.n_topics, position, each.train.seed) for position, each in enumerate(configs))
    rows, nothing = [], dict.fromkeys(SCORES)
    trained: dict[int, list[_Training]] = {}
    for k, _, seed in order:
        training = found.get((k, seed))
        rows.append({"n_topics": k, "seed": seed} | (nothing if training is None else training.scores))
        trained.setdefault(k, []).extend([] if training is None else [training])
    trainings = pd.DataFrame(rows).astype(dict.fromkeys(SCORES, float))
    tables, scores = {}, {}
    for k, members in trained.items():
        betas, masks = [each.beta for each in members], [each.in_use for each in members]
        if members:
            tables[k], scores[k] = topic_stability(betas, in_use=masks), score_stability(betas, in_use=masks)
    return SweepResult(trainings=trainings, by_k=summarise(trainings, scores), stability=tables, sentences=sentences)


# ---- the folder -----------------------------------------------------------------------------------------------------


def _digest_of(data: CellData) -> str:
    """Tells these cells from others: names, columns of obs, and the counts of some cells, evenly spread."""
    digest = hashlib.sha256()
    for names in (data.obs.index, data.var_names, *(data.obs[column] for column in sorted(data.obs.columns))):
        digest.update("\n".join(map(str, names)).encode())
    rows = np.unique(np.linspace(0, len(data.obs) - 1, N_CELLS_HASHED).astype(np.int64))
    counts: Any = data.X
    some = counts[rows].tocsr()
    digest.update(some.indices.astype(np.int64).tobytes() + some.data.astype(np.float32).tobytes())
    return digest.hexdigest()


def _key_of(config: RunConfig, digest: str) -> str:
    """Same key, same training: of the data, all settings that its scores depend on, and our version."""
    settings = config.to_dict() | {"version": scetm_core.__version__, "data": digest}
    for irrelevant in ("name", "umap"):
        settings.pop(irrelevant)
    settings["data_settings"] = config.data.to_dict() | {"path": ""}  # the file may have moved
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = "the disk is full" if is_disk_full(error) else (error.strerror or str(error))
        raise RunError(f"Finished trainings cannot be kept in {folder}: {why}. Choose another folder.") from error


def _write(training: _Training, path: Path) -> None:
    """Beta first, then the scores, whose file says that the training is complete."""
    genes = training.beta.index.to_numpy(dtype=str)
    with _writing_to(path.parent):
        with replacing(path.with_name(f"{path.name}.npz")) as draft, draft.open("wb") as stream:
            np.savez(stream, beta=training.beta.to_numpy(), genes=genes, in_use=training.in_use)
        write_atomically(path.with_name(f"{path.name}.json"), scores_as_json(training.scores))


def _read(path: Path) -> _Training | None:
    """A training that is already there; None if it is not, or cannot be read."""
    try:
        scores = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
        with path.with_name(f"{path.name}.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            beta, genes, in_use = arrays["beta"], arrays["genes"], arrays["in_use"]
        names = [keys.topic_name(k) for k in range(beta.shape[1])]
        table = pd.DataFrame(beta, index=pd.Index(genes, dtype=object), columns=names)
        return _Training(scores={score: scores[score] for score in SCORES}, beta=table, in_use=in_use)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
