"""How well does a trained model carry over to another species, and does it notice cells that it never saw?

Zhao et al. 2021, figure 4: mouse to human pancreas and back, on the demo data. scVI needs requirements-compare.txt and
is left out without it. Examples::

    python -m benchmarks.transfer                                         ours and scVI, three seeds
    python -m benchmarks.transfer --methods scetm --fine-tune nothing --seeds 1
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks._paper_methods import keep, known
from benchmarks._report import report
from scetm_core.config import DataConfig, run_config_from_flat
from scetm_core.data import load_dataset
from scetm_core.data.demo import BATCH_KEY, HUMAN, LABEL_KEY, MOUSE, write_demo
from scetm_core.evaluation import evaluate_embedding
from scetm_core.gene_names import ORTHOLOG
from scetm_core.jobs import threads_per_run
from scetm_core.label_transfer import LABEL, same_label, score_transfer, transfer_labels
from scetm_core.novelty import NOVEL
from scetm_core.peers import BATCH, N_VARIABLE_GENES, PEERS
from scetm_core.presets import PRESETS
from scetm_core.runs import Run
from scetm_core.transfer import ModelGenes, align, transfer_config
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NOTHING, TransferConfig
from scetm_core.worker import run_analysis

if TYPE_CHECKING:
    import anndata as ad

SPECIES = {"mouse": MOUSE, "human": HUMAN}
DIRECTIONS = list(permutations(SPECIES))
INSULIN = {"mouse": "INS,Ins2\n", "human": "Ins1,INS\nIns2,INS\n"}
"""Source -> aliases: mice have two genes of insulin, so that it is in no table of one-to-one orthologs."""
TYPE = "beta"
"""Cell type that a source lacks where cells it never saw are to be noticed."""
SCORES = (
    "best_ari", "ari", "kbet", "asw", "label_accuracy", "label_balanced_accuracy", "share_unlike_source",
    f"flagged_{TYPE}", "flagged_known", "flagged_new", "seconds",
)  # fmt: skip
"""`flagged_*`: share of cells flagged as unlike the source among those of `TYPE`, of the other types that the source
has, and of the other types that it lacks. `seconds`: of what is done with the target; training of the source not."""

Row = dict[str, Any]


def main() -> None:
    options = parsed()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_inputs(Path(folder))
        for method in options.methods:
            for seed in range(options.seeds):
                found = (
                    scetm_rows(files, seed=seed, presets=options.presets, fine_tune=options.fine_tune)
                    if method == "scetm"
                    else scvi_rows(files, seed=seed)
                )
                for row in found:
                    rows.append(row)
                    keep("transfer", rows)
    table = pd.DataFrame(rows)
    print(f"\nall seeds\n{table.to_string(index=False)}")
    report("transfer", median_and_range(table), label="run", value="best_ari")


def parsed() -> argparse.Namespace:
    """What to run; scVI only where it is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["scetm", "scvi"], choices=["scetm", "scvi"])
    ways = [NOTHING, ENCODER, EVERYTHING]
    parser.add_argument("--fine-tune", nargs="+", default=ways, choices=ways, help="what scETM learns from the target")
    parser.add_argument("--presets", nargs="+", default=["portable", "standard"], choices=list(PRESETS))
    options = parser.parse_args()
    if "scvi" in options.methods and PEERS["scvi"].missing:
        print("scVI is left out, as it is not installed. Install it: pip install -r requirements-compare.txt")
        options.methods = [name for name in options.methods if name != "scvi"]
    if not options.methods:
        parser.exit()
    return options


def write_inputs(folder: Path) -> dict[str, Path]:
    """The demo data by species, and beside each a file without the cells of `TYPE`."""
    import anndata as ad

    demo = write_demo(folder)
    files = {}
    for species, name in SPECIES.items():
        cells = ad.read_h5ad(demo[name])
        files[species] = demo[name]
        files[without(species)] = folder / f"{without(species)}.h5ad"
        cells[(cells.obs[LABEL_KEY] != TYPE).to_numpy()].write_h5ad(files[without(species)])
    return files


def without(species: str) -> str:
    """What a source without cells of `TYPE` is called."""
    return f"{species} without {TYPE}"


def cells_in(path: Path) -> DataConfig:
    return DataConfig(path=str(path), batch_key=BATCH_KEY, label_key=LABEL_KEY)


def row_of(direction: tuple[str, str], method: str, *, seed: int, scores: Mapping[str, float | None]) -> Row:
    """A row of the long table; scores that there are not are not-a-number."""
    values = {name: round(known(scores.get(name)), 4) for name in SCORES}
    return {"direction": " -> ".join(direction), "method": method, "seed": seed, **values}


# ---- scETM -----------------------------------------------------------------------------------------------------------


def scetm_rows(
    files: Mapping[str, Path], *, seed: int, presets: Sequence[str], fine_tune: Sequence[str]
) -> Iterator[Row]:
    """Transfers between the species, a run on the target itself for comparison, and sources without `TYPE`."""
    for preset in presets:
        with tempfile.TemporaryDirectory() as folder:
            yield from rows_of_preset(files, Path(folder), seed=seed, preset=preset, fine_tune=fine_tune)


def rows_of_preset(
    files: Mapping[str, Path], folder: Path, *, seed: int, preset: str, fine_tune: Sequence[str]
) -> Iterator[Row]:
    """The same for sources that were trained by one preset."""
    name = f"scETM {PRESETS[preset].label}"
    whole = {species: train(files[species], folder / species, seed=seed, preset=preset) for species in SPECIES}
    for source, target in DIRECTIONS:
        itself = whole[target].evaluation()
        yield row_of((source, target), f"{name}, trained on the target", seed=seed, scores=itself)
        for way in fine_tune:
            scores = transfer(whole[source], files[target], fine_tune=way)
            yield row_of((source, target), f"{name}, learning {way}", seed=seed, scores=scores)
        aliases = folder / f"insulin of {source}.csv"
        aliases.write_text(INSULIN[source], encoding="utf-8")
        scores = transfer(whole[source], files[target], fine_tune=NOTHING, aliases=str(aliases))
        yield row_of((source, target), f"{name}, learning {NOTHING}, insulin named", seed=seed, scores=scores)
    for source in map(without, SPECIES):
        lacking = train(files[source], folder / source, seed=seed, preset=preset)
        for target in SPECIES:
            scores = transfer(lacking, files[target], fine_tune=NOTHING)
            yield row_of((source, target), f"{name}, learning {NOTHING}", seed=seed, scores=scores)


def train(path: Path, place: Path, *, seed: int, preset: str) -> Run:
    """A run of a preset."""
    values = {**PRESETS[preset].values, **cells_in(path).to_dict()}
    return finish(Run.create(place, run_config_from_flat({**values, "name": place.name, "seed": seed, "umap": False})))


def transfer(source: Run, path: Path, *, fine_tune: str, aliases: str | None = None) -> dict[str, float]:
    """Scores of a run's model on the cells of another file."""
    place = source.path.with_name(f"{source.id} to {path.stem}, {fine_tune}{', aliases' if aliases else ''}")
    settings = TransferConfig(source_run=source.id, fine_tune=fine_tune, aliases=aliases)
    config = transfer_config(source, data=cells_in(path), transfer=settings, name=place.name, umap=False)
    run = finish(Run.create(place, config))
    return {**run.evaluation(), **flagged(run)}


def finish(run: Run) -> Run:
    assert run_analysis(run) == "done", run.status().message
    return run


def flagged(run: Run) -> dict[str, float]:
    """Share of cells flagged as unlike the source: of `TYPE`, of the other types it has, and of those it lacks."""
    cells, source = run.load_result().obs, run.source.load_result().obs
    of_source = {same_label(label) for label in source[LABEL_KEY].dropna().unique()}
    labels = cells.loc[cells[LABEL_KEY].notna(), LABEL_KEY].astype(object).map(same_label)
    is_type, is_known = labels == TYPE, labels.isin(of_source)
    groups = {TYPE: is_type, "known": is_known & ~is_type, "new": ~is_known & ~is_type}
    flags = cells.loc[labels.index, NOVEL]
    return {f"flagged_{name}": float(flags[group].mean()) for name, group in groups.items()}


# ---- scVI ------------------------------------------------------------------------------------------------------------


def scvi_rows(files: Mapping[str, Path], *, seed: int) -> Iterator[Row]:
    """Latents of one species by scVI of the other, without training on it."""
    for source, target in DIRECTIONS:
        cells = [load_dataset(cells_in(files[species])) for species in (source, target)]
        scores = scvi_scores(*cells, seed=seed)
        yield row_of((source, target), "scVI zero-shot", seed=seed, scores=scores)


def scvi_scores(source: Any, target: Any, *, seed: int) -> dict[str, float | None]:
    """Of the target's latent means, and of labels given by the source's."""
    own, new = in_common(source, target)
    model = train_scvi(own, seed=seed)
    # The encoder does not see the batch (encode_covariates=False, scVI's default), so the target's cells, whose
    # batches scVI does not know, are said to be of any of the source's: which one makes no difference to their latent.
    new.obs[BATCH] = pd.Categorical(
        [own.obs[BATCH].cat.categories[0]] * new.n_obs, categories=own.obs[BATCH].cat.categories
    )
    reference = model.get_latent_representation(own)
    started = time.perf_counter()
    latent = model.get_latent_representation(new[:, own.var_names].copy())
    seconds = time.perf_counter() - started
    known_labels, batches = target.obs[LABEL_KEY], target.obs[BATCH_KEY]
    found = evaluate_embedding(latent, labels=known_labels, batches=batches, seed=seed)
    given, _ = transfer_labels(reference, source.obs[LABEL_KEY], latent)
    judged = score_transfer(known_labels.reset_index(drop=True), given[LABEL])
    return {**found.scores, **judged, "seconds": seconds}


def in_common(source: Any, target: Any) -> tuple[ad.AnnData, ad.AnnData]:
    """Counts of both in the source's names: the variable genes of the source among its one-to-one orthologs."""
    import anndata as ad
    import scanpy as sc
    import scipy.sparse as sp

    names = [str(name) for name in source.var_names]
    genes = ModelGenes(names=names, symbols=None, seen=np.ones(len(names), dtype=bool))
    alignment = align(genes, target.var, TransferConfig(source_run="any"))  # by the settings that scETM's transfer has
    paired = np.flatnonzero(alignment.table["way"] == ORTHOLOG)
    var = alignment.table.iloc[paired, :0]
    own = ad.AnnData(source.X[:, paired], obs=pd.DataFrame(index=source.obs_names), var=var)
    own.obs[BATCH] = pd.Categorical(source.obs[BATCH_KEY].astype(str))
    counts = sp.csr_matrix(target.X @ alignment.membership[:, paired])
    new = ad.AnnData(counts, obs=pd.DataFrame(index=target.obs_names), var=var)
    logged = own.copy()  # variable genes as in scetm_core.peers
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=min(N_VARIABLE_GENES, own.n_vars), batch_key=BATCH)
    print(f"scVI: {len(paired):,} one-to-one orthologs, the {int(logged.var['highly_variable'].sum()):,} most variable")
    return own[:, logged.var["highly_variable"].to_numpy()].copy(), new


def train_scvi(cells: ad.AnnData, *, seed: int) -> Any:
    """A trained SCVI, by the settings of scetm_core.peers."""
    import scvi
    import torch

    torch.set_num_threads(threads_per_run(1))
    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(cells, batch_key=BATCH)
    model = scvi.model.SCVI(cells, n_layers=2, n_latent=30, gene_likelihood="nb")
    model.train(
        max_epochs=max(1, min(round(20_000 / cells.n_obs * 400), 400)), enable_progress_bar=False,
        enable_model_summary=False, logger=False,
    )  # fmt: skip
    return model


# ---- summary ---------------------------------------------------------------------------------------------------------


def median_and_range(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per direction and method: the median of each score over the seeds, then its range in words."""
    grouped = rows.groupby(["direction", "method"], sort=False)[list(SCORES)]
    median, low, high = grouped.median().round(3), grouped.min().round(3), grouped.max().round(3)
    ranges = (low.astype(str) + " to " + high.astype(str)).where(median.notna(), "")
    table = median.join(ranges, rsuffix=" range").reset_index().sort_values("direction", kind="stable")
    table.insert(0, "run", table["direction"] + ", " + table["method"])
    return table


if __name__ == "__main__":
    main()
