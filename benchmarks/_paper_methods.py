"""Which methods do the paper's experiments compare, under which settings, and what becomes of one that fails?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import _report
from benchmarks.compare import data_files
from scetm_core.comparison import Embedded, counts_for_peers, run_peer
from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.errors import DataError
from scetm_core.peers import PEERS, SCETM
from scetm_core.presets import PRESETS

FAILED = "failed"
"""Column that says why a method has no scores."""
NO_LAMBDA: Mapping[str, Any] = {"batch_intercept": False}
ADVERSARY: Mapping[str, Any] = {"adversary_weight": 1.0, "mmd_weight": 0.0}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A key of `PEERS`, and for scETM the settings by flat names."""

    peer: str
    label: str
    settings: Mapping[str, Any] | None = None


def add_length_options(parser: argparse.ArgumentParser) -> None:
    """How long scETM is trained."""
    parser.add_argument("--steps", type=int, default=300, help="of scETM Standard")
    parser.add_argument("--paper-steps", type=int, default=6000, help="of scETM with the published settings")
    parser.add_argument("--paper-minibatch", type=int, default=2000, help="cells a step with the published settings")


def standard(options: argparse.Namespace) -> dict[str, Any]:
    return {**PRESETS["standard"].values, "max_steps": options.steps}


def published(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **PRESETS["paper"].values, "max_steps": options.paper_steps, "minibatch_size": options.paper_minibatch,
    }  # fmt: skip


def all_methods(options: argparse.Namespace) -> dict[str, Method]:
    """Our variants and the peers that are installed here, by the names `--methods` takes."""
    ours = {
        "scetm": ("scETM Standard", standard(options)),
        "scetm_observed": ("scETM Standard, observed groups", {**standard(options), "mmd_groups": "observed"}),
        "scetm_adv": ("scETM Standard, adversary for MMD", {**standard(options), **ADVERSARY}),
        "paper": ("scETM", published(options)),
        "paper_no_lambda": ("scETM - lambda", {**published(options), **NO_LAMBDA}),
        "paper_adv": ("scETM + adv", {**published(options), **ADVERSARY}),
    }
    variants = {name: Method(peer=SCETM, label=label, settings=values) for name, (label, values) in ours.items()}
    others = {name: Method(peer=name, label=peer.label) for name, peer in PEERS.items() if not peer.missing}
    return {**others, **variants}


def chosen_methods(options: argparse.Namespace, default: Sequence[str]) -> list[Method]:
    """Those asked for, or the default ones of ours and all peers installed.

    Raises
    ------
    SystemExit
        If a name is unknown here.
    """
    there = all_methods(options)
    peers = [name for name in there if name in PEERS and name != SCETM]
    names = options.methods or [*default, *peers]
    if unknown := [name for name in names if name not in there]:
        raise SystemExit(f"Unknown or not installed: {unknown}. Choose among {sorted(there)}.")
    return [there[name] for name in names]


def data_sets(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Name and loaded cells of each data set asked for."""
    with tempfile.TemporaryDirectory() as folder:
        for path in data_files(options.data, Path(folder)):
            columns = {"batch_key": options.batch_key, "label_key": options.label_key}
            yield path.stem, load_dataset(DataConfig(path=str(path), **columns))


def embed(
    data: Any,
    method: Method,
    *,
    seed: int,
    batch_key: str,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Embedded:
    """Cells embedded by a method, in a process of its own; raises DataError as `run_peer` does."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.h5ad"
        counts_for_peers(data, batch_key=batch_key).write_h5ad(counts)
        return run_peer(method.peer, counts, seed=seed, on_progress=on_progress, settings=method.settings)


def attempt(score: Callable[[], dict[str, float]], names: Sequence[str]) -> dict[str, Any]:
    """Scores with an empty `FAILED`; if the method fails, not-a-number for each name, and why."""
    try:
        return {**score(), FAILED: ""}
    except DataError as error:
        return {**dict.fromkeys(names, np.nan), FAILED: str(error)}


def known(score: float | None) -> float:
    """A score as a number; not-a-number if there is none."""
    return np.nan if score is None else float(score)


def keep(name: str, rows: list[dict[str, Any]]) -> None:
    """Say the last row, and write all so far, so that a long benchmark can be stopped."""
    print(rows[-1], flush=True)
    _report.RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(_report.RESULTS / f"{name}-all.csv", index=False)
