"""How would other methods embed the same cells? Each under the settings its authors recommend.

Their packages are an optional extra (`requirements-compare.txt`); only the function of a method imports its package.
Started as ``python -m scetm_core.peers METHOD COUNTS.h5ad OUT.npz`` by `comparison`, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scetm_core.memory import peak_memory_mb
from scetm_core.presets import PRESETS

if TYPE_CHECKING:
    import anndata as ad

BATCH = "batch"
"""Column of obs that holds the batches, in what a method is given; absent where there are none."""
N_VARIABLE_GENES = 2000
N_COMPONENTS = 50
PROGRESS_SUFFIX = ".progress"

SCETM = "scetm"

Tell = Callable[[float], None]
"""Told the share done, 0 to 1."""
Embed = Callable[["ad.AnnData", int, Tell], np.ndarray]
"""Counts (float32 CSR, obs with `BATCH`), a seed, and whom to tell how far it is -> (n_cells, n_dimensions)."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A method that embeds cells: what it is called, what it needs, and how it is set up here."""

    name: str
    label: str
    packages: tuple[str, ...]
    """Modules it imports that are not among our own requirements."""
    settings: str
    """In words, as a methods section would say it."""
    source: str
    embed: Embed
    is_random: bool = True
    """Whether another seed gives another result."""
    needs_batches: bool = True

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed here."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]


def _normalised(counts: ad.AnnData) -> ad.AnnData:
    """log1p of counts per 10,000 of the variable genes, chosen within batches (scanpy, seurat flavour)."""
    import scanpy as sc

    data = counts.copy()
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    sc.pp.highly_variable_genes(
        data, n_top_genes=min(N_VARIABLE_GENES, data.n_vars), batch_key=BATCH if BATCH in data.obs else None
    )
    return data[:, data.var["highly_variable"].to_numpy()].copy()


def _components(counts: ad.AnnData, seed: int) -> np.ndarray:
    import scanpy as sc

    data = _normalised(counts)
    data.X = data.X.toarray()  # of the variable genes only
    sc.pp.scale(data, max_value=10)
    n_components = min(N_COMPONENTS, min(data.shape) - 1)
    sc.pp.pca(data, n_comps=n_components, random_state=seed)
    return np.asarray(data.obsm["X_pca"])


def embed_with_scetm(counts: ad.AnnData, seed: int, tell: Tell, *, settings: Mapping[str, Any]) -> np.ndarray:
    """Delta of our own model, trained with a preset's settings, or others by their flat names."""
    from scetm_core.build import build_model
    from scetm_core.config import run_config_from_flat
    from scetm_core.model.cells import cells_to_embed
    from scetm_core.model.passes import mean_delta
    from scetm_core.model.scetm import resolve_device
    from scetm_core.train import fit

    batch_key = BATCH if BATCH in counts.obs else None
    config = run_config_from_flat({"seed": seed, "batch_key": batch_key, **settings})
    model = build_model(counts, config, device=resolve_device(config.train.device))
    with contextlib.closing(fit(model, counts, config.train, batch_key=batch_key)) as records:
        for record in records:
            tell(record.step / config.train.max_steps)
    return mean_delta(model, cells_to_embed(counts, model, batch_key=batch_key))


def _scetm(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    return embed_with_scetm(counts, seed, tell, settings=PRESETS["standard"].values)


def _pca(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    return _components(counts, seed)


def _harmony(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    import harmonypy

    logging.getLogger("harmonypy").setLevel(logging.WARNING)
    components = _components(counts, seed)
    tell(0.5)
    found = harmonypy.run_harmony(components, counts.obs, BATCH, random_state=seed)
    corrected = np.asarray(found.Z_corr)
    return corrected if len(corrected) == len(components) else corrected.T  # older versions keep cells as columns


def _scanorama(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    import scanorama

    data = _normalised(counts)
    codes = data.obs[BATCH].cat.codes.to_numpy()
    places = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    genes = list(data.var_names)
    found, _ = scanorama.integrate(
        [data.X[rows] for rows in places], [genes] * len(places), seed=seed, verbose=False,
        dimred=min(100, min(data.shape) - 1),
    )  # fmt: skip
    return _in_order(places, found)


def _in_order(places: list[np.ndarray], pieces: list[np.ndarray]) -> np.ndarray:
    """What was found batch by batch as one table, each piece in the rows of its cells."""
    order = np.concatenate(places)
    table = np.empty((len(order), pieces[0].shape[1]), dtype=np.float32)
    table[order] = np.concatenate(pieces)
    return table


def _scvi(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    return _train_scvi(counts, seed, tell, linear=False)


def _linear_scvi(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    return _train_scvi(counts, seed, tell, linear=True)


def _train_scvi(counts: ad.AnnData, seed: int, tell: Tell, *, linear: bool) -> np.ndarray:
    import scvi
    from lightning.pytorch.callbacks import Callback

    scvi.settings.seed = seed
    data = counts[:, _normalised(counts).var_names].copy()
    kind = scvi.model.LinearSCVI if linear else scvi.model.SCVI
    kind.setup_anndata(data, batch_key=BATCH if BATCH in data.obs else None)
    if linear:
        model, n_epochs, plan = kind(data, n_latent=10), 250, {"lr": 5e-3}
    else:
        model = kind(data, n_layers=2, n_latent=30, gene_likelihood="nb")
        n_epochs, plan = max(1, min(round(20_000 / data.n_obs * 400), 400)), {}

    class Teller(Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            tell((trainer.current_epoch + 1) / n_epochs)

    model.train(
        max_epochs=n_epochs, plan_kwargs=plan, callbacks=[Teller()], enable_progress_bar=False,
        enable_model_summary=False, logger=False,
    )  # fmt: skip
    return np.asarray(model.get_latent_representation())


def _liger(counts: ad.AnnData, seed: int, tell: Tell) -> np.ndarray:
    import anndata as ad
    import pyliger

    pieces: list[ad.AnnData] = []
    places = []
    for batch in counts.obs[BATCH].cat.categories:
        rows = np.flatnonzero(counts.obs[BATCH] == batch)
        piece = ad.AnnData(
            counts.X[rows].copy(), obs=counts.obs.iloc[rows][[]].copy(), var=counts.var.iloc[:, :0].copy()
        )
        piece.obs.index.name, piece.var.index.name = "cell", "gene"
        piece.uns["sample_name"] = f"batch{len(pieces)}"
        pieces.append(piece)
        places.append(rows)
    liger = pyliger.create_liger(pieces, remove_missing=False)
    pyliger.normalize(liger)
    pyliger.select_genes(liger)
    pyliger.scale_not_center(liger)
    tell(0.1)
    pyliger.optimize_ALS(liger, k=20, rand_seed=seed + 1)  # 0 is refused
    pyliger.quantile_norm(liger, rand_seed=seed + 1)
    return _in_order(places, [np.asarray(found.obsm["H_norm"]) for found in liger.adata_list])


_GENES = f"{N_VARIABLE_GENES:,} highly variable genes chosen within batches"
_LOG = f"log1p of counts per 10,000, {_GENES}"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name=SCETM, label="scETM", packages=(), embed=_scetm, needs_batches=False,
            settings="preset Standard, 50 topics", source="Zhao et al. 2021, with the recipe of docs/method.md",
        ),
        Peer(
            name="pca", label="PCA", packages=(), embed=_pca, is_random=False, needs_batches=False,
            settings=f"{_LOG}, scaled (clipped at 10), {N_COMPONENTS} principal components; batches are not corrected",
            source="scanpy's defaults (Wolf et al. 2018)",
        ),
        Peer(
            name="harmony", label="Harmony", packages=("harmonypy",), embed=_harmony,
            settings=f"the {N_COMPONENTS} principal components of PCA, harmonypy's defaults",
            source="Korsunsky et al. 2019",
        ),
        Peer(
            name="scanorama", label="Scanorama", packages=("scanorama",), embed=_scanorama,
            settings=f"{_LOG}, 100 dimensions, defaults", source="Hie et al. 2019",
        ),
        Peer(
            name="scvi", label="scVI", packages=("scvi",), embed=_scvi, needs_batches=False,
            settings=f"counts of {_GENES}, 2 layers, 30 latent dimensions, negative binomial, epochs by its own rule ("
            "at most 400)",
            source="Lopez et al. 2018; the settings of scvi-tools' integration tutorial",
        ),
        Peer(
            name="linear_scvi", label="LinearSCVI", packages=("scvi",), embed=_linear_scvi, needs_batches=False,
            settings=f"counts of {_GENES}, 10 latent dimensions, 250 epochs at a learning rate of 0.005",
            source="Svensson et al. 2020; the settings of scvi-tools' tutorial",
        ),
        Peer(
            name="liger", label="LIGER", packages=("pyliger",), embed=_liger,
            settings="its own variable genes, 20 factors, lambda 5, quantile normalisation, defaults",
            source="Welch et al. 2019",
        ),
    )
}  # fmt: skip
"""The methods that can be asked for, by name."""


def main(arguments: list[str] | None = None) -> int:
    """Embed the cells of one file by one method; write the embedding, and what it took."""
    import anndata as ad

    parser = argparse.ArgumentParser(prog="scetm_core.peers", description="Embed cells by another method.")
    parser.add_argument("method", choices=sorted(PEERS))
    parser.add_argument("counts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, help="of scETM, by flat names, as JSON")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of packages that are not ours to mend
    counts, progress = ad.read_h5ad(options.counts), Path(f"{options.out}{PROGRESS_SUFFIX}")

    def tell(share: float) -> None:
        progress.write_text(f"{share:.3f}")

    started = time.monotonic()
    if options.settings is not None:
        embedding = embed_with_scetm(counts, options.seed, tell, settings=options.settings)
    else:
        embedding = PEERS[options.method].embed(counts, options.seed, tell)
    seconds = time.monotonic() - started
    peak = peak_memory_mb()
    np.savez(
        options.out,
        embedding=np.asarray(embedding, dtype=np.float32),
        seconds=seconds,
        peak_memory_mb=np.nan if peak is None else peak,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
