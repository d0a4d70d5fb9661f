"""How is a question about the quality of a run answered? Scores, other methods, numbers of topics: tables from results.

Called by `answers`; what is worked out here lies beside the table that it belongs to.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.errors import DataError, RunError
from scetm_core.files import replacing, table_name, write_table
from scetm_core.requests import ComparisonRequest, EvaluationRequest, SweepRequest
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

Progress = Callable[[float, str], None]

INDICES, DISTANCES, N_BATCHES_NEAR = "indices", "distances", "n_batches_near"
"""Arrays beside a table of scores: the nearest cells of each cell with their distances, (n_cells, 15), and the
effective number of batches around each cell, (n_cells,), if there are batches."""
TRAINING_FOLDER = "trainings"


def evaluation(
    path: Path, result: ad.AnnData, request: EvaluationRequest, on_progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    """Scores with standard errors; beside them, in `path` ending on .npz, the neighbours that clusters come from."""
    from scetm_core.embedding import nearest
    from scetm_core.evaluation import evaluate_embedding, evaluation_table
    from scetm_core.metrics import inverse_simpson
    from scetm_core.metrics._labels import label_codes

    if request.use_rep not in result.obsm:
        raise DataError(f"obsm has no {request.use_rep!r}; found: {sorted(result.obsm)}.")
    labels, batches = (column_of(result, name) for name in (request.label_key, request.batch_key))
    points, sentences = np.asarray(result.obsm[request.use_rep]), _left_out(labels, batches)
    on_progress(0.02, "Finding neighbours and clusters.")
    found = evaluate_embedding(points, labels=labels, batches=batches, seed=request.seed)
    table = evaluation_table(
        points,
        found,
        labels=labels,
        batches=batches,
        n_repeats=request.n_repeats,
        seed=request.seed,
        on_progress=lambda share: on_progress(0.2 + 0.75 * share, "Scoring random halves of the cells."),
    )
    near = nearest(found.neighbors)
    arrays = {INDICES: near.indices.astype(np.int32), DISTANCES: near.distances}
    if batches is not None:
        codes, names = label_codes(batches)
        arrays[N_BATCHES_NEAR] = inverse_simpson(found.neighbors, codes, len(names)).astype(np.float32)
    _write_arrays(path.with_suffix(".npz"), arrays)
    return table, sentences


def column_of(result: ad.AnnData, name: str | None) -> pd.Series | None:
    """A column of obs, None if none is asked for.

    Raises
    ------
    DataError
        If there is no such column.
    """
    if not name:
        return None
    if name not in result.obs:
        raise DataError(f"obs has no column {name!r}; found: {list(result.obs.columns)}.")
    column: pd.Series = result.obs[name]
    return column


def _left_out(labels: pd.Series | None, batches: pd.Series | None) -> list[str]:
    """Which cells are missing from which scores."""
    return [
        f"{int(values.isna().sum()):,} cells without {values.name} are left out of the scores of {what}."
        for values, what in ((labels, "labels"), (batches, "batches"))
        if values is not None and values.isna().any()
    ]


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    try:
        with replacing(path) as draft, draft.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise RunError(f"Cannot write {path.parent.name}/{path.name}: {error.strerror or error}.") from error


def comparison(
    run: Run, result: ad.AnnData, request: ComparisonRequest, on_progress: Progress
) -> tuple[pd.DataFrame, list[str]]:
    """One row per method and seed with its scores; each method's embedding becomes a table of its own at once.

    A method that fails does not stop the others; it is said.
    """
    from scetm_core.comparison import (
        SLOT,
        Embedded,
        counts_for_peers,
        embedding_in_input,
        label_of,
        run_peer,
        scored_table,
        table_name_of,
    )
    from scetm_core.data import load_dataset
    from scetm_core.peers import PEERS

    config = run.config.data
    if unknown := [name for name in request.methods if not name.startswith(SLOT) and name not in PEERS]:
        raise DataError(f"There is no method called {unknown[0]!r}; there are {', '.join(PEERS)}, and obsm:SLOT.")
    labels, batches = (column_of(result, name) for name in (config.label_key, config.batch_key))
    jobs = [
        (method, seed)
        for method in request.methods
        for seed in range(request.n_seeds if method in PEERS and PEERS[method].is_random else 1)
    ]
    sentences: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.h5ad"
        for number, (method, seed) in enumerate(jobs):
            label = label_of(method)

            def tell(share: float, *, number: int = number, label: str = label) -> None:
                on_progress((number + 0.95 * share) / len(jobs), f"{label} ({number + 1} of {len(jobs)}).")

            tell(0.0)
            try:
                if method.startswith(SLOT):
                    slot = method.removeprefix(SLOT)
                    embedded = Embedded(embedding=embedding_in_input(Path(config.path), slot, result.obs_names))
                else:
                    if PEERS[method].needs_batches and (batches is None or batches.nunique() < 2):
                        raise DataError(f"{label} corrects batches, and this run has no two of them.")
                    if not counts.exists():
                        data = load_dataset(config)
                        peers_data = counts_for_peers(data, batch_key=config.batch_key)
                        peers_data[result.obs_names].write_h5ad(counts)
                    embedded = run_peer(method, counts, seed=seed, on_progress=tell)
                table = scored_table(embedded, result.obs_names, labels=labels, batches=batches, seed=0)
            except DataError as error:
                sentences.append(str(error))
                continue
            table.attrs |= {"method": method, "label": label, "seed": seed}
            write_table(table, run.table_path(keys.COMPARISON_FOLDER, table_name(table_name_of(method, seed))))
    if len(sentences) == len(jobs):
        raise DataError(" ".join(sentences))
    return scores_of_methods(run), sentences


def scores_of_methods(run: Run) -> pd.DataFrame:
    """One row per method and seed that was ever compared with this run: `method`, `label`, `seed`, its scores."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for path in run.tables(keys.COMPARISON_FOLDER).values():
        attrs = json.loads(pq.read_schema(path).metadata.get(b"PANDAS_ATTRS", b"{}"))
        if "method" in attrs:
            rows.append({name: attrs[name] for name in ("method", "label", "seed")} | attrs["scores"])
    return pd.DataFrame(rows)


def sweep_of_run(run: Run, request: SweepRequest, on_progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    """The trainings of a sweep with the settings of a run; in `attrs` stability and recommendation."""
    from scetm_core.data import load_dataset
    from scetm_core.sweep import sweep

    config = run.config
    on_progress(0.0, "Reading the counts.")
    first = config.train.seed
    found = sweep(
        load_dataset(config.data),
        config,
        n_topics=request.numbers,
        seeds=range(first, first + request.n_seeds),
        folder=run.path / keys.SWEEP_FOLDER / TRAINING_FOLDER,
        on_progress=on_progress,
    )
    return sweep_table(found), found.sentences


def sweep_table(found: Any) -> pd.DataFrame:
    """The trainings of a `SweepResult`, with `by_k`, `stability` and `recommendation` as plain records in `attrs`."""
    import dataclasses

    from scetm_core.choice import recommend

    table: pd.DataFrame = found.trainings.copy()
    table.attrs = {
        "by_k": json.loads(found.by_k.to_json(orient="records")),
        "stability": {
            str(k): json.loads(t.rename_axis("topic").reset_index().to_json(orient="records"))
            for k, t in found.stability.items()
        },
        "recommendation": dataclasses.asdict(recommend(found.by_k)),
    }
    return table
