"""Does a transfer give what the source's model says of the new cells, whatever their genes and batches are called?"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core import keys
from scetm_core.config import DataConfig, RunConfig, run_config_from_flat
from scetm_core.data import load_dataset
from scetm_core.errors import RunError, TransferError
from scetm_core.gene_names import SYMBOL
from scetm_core.jobfolder import Status
from scetm_core.label_transfer import CENTROID, CONFIDENCE, LABEL
from scetm_core.novelty import NOVEL, NOVELTY
from scetm_core.runs import Run
from scetm_core.transfer import (
    align,
    align_dataset,
    gene_report,
    genes_of_run,
    restrict_dataset,
    source_delta,
    transfer_config,
)
from scetm_core.transfer_settings import ENCODER, EVERYTHING, NEW_GENES, NOTHING, TransferConfig
from scetm_core.worker import run_analysis

SMALL = {
    "n_topics": 4, "n_emb": 8, "n_hidden": 16, "max_steps": 30, "minibatch_size": 64, "evaluate_every": 10,
    "umap": False, "device": "cpu", "batch_key": "batch", "label_key": "cell_type",
}  # fmt: skip
Transfer = Callable[..., Run]


def write(data: ad.AnnData, path: Path) -> Path:
    """Data as a file, without what does not fit into one."""
    data = data.copy()
    data.uns.pop("messages", None)
    data.write_h5ad(path)
    return path


@contextlib.contextmanager
def light_runs(*, scored: bool = False) -> Iterator[None]:
    """Runs on one thread, that end with the result: neighbours and scores have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scetm_core.jobs.threads_per_run", lambda _: 1)
        for module in () if scored else ("transfer_analysis", "analysis"):  # the first imports from the second
            patch.setattr(f"scetm_core.{module}.embed_and_score", write_only)
        yield


@pytest.fixture(autouse=True)
def _light_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    with light_runs(scored="scored" in request.fixturenames):
        yield


def write_only(run: Run, report: object, result: ad.AnnData, *, seconds: float, place: object = None) -> None:
    run.write_result(result)


@pytest.fixture
def scored() -> None:
    """Neighbours, clusters and scores as well."""


def train(folder: Path, data: Path, **settings: Any) -> Run:
    run = Run.create(folder, run_config_from_flat({"name": folder.name, "path": str(data), **SMALL, **settings}))
    assert run_analysis(run) == "done", run.status().message
    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted_file: Path) -> Run:
    """A run on the planted cells, in a folder of its own."""
    with light_runs():
        return train(tmp_path_factory.mktemp("sources") / "source", planted_file)


@pytest.fixture
def transfer(source: Run, tmp_path: Path) -> Transfer:
    """Apply a source to data, of which a file is written, and return the run when it is done."""
    count = iter(range(100))

    def apply(
        target: ad.AnnData | Path,
        *,
        of: Run = source,
        data: dict[str, Any] | None = None,
        train: dict[str, Any] | None = None,
        umap: bool = False,
        is_done: bool = True,
        **settings: Any,
    ) -> Run:
        name = f"transfer{next(count)}"
        path = target if isinstance(target, Path) else write(target, tmp_path / f"{name}.h5ad")
        config = transfer_config(
            of,
            data=DataConfig(path=str(path), **{"batch_key": "batch", "label_key": "cell_type", **(data or {})}),
            transfer=TransferConfig(source_run=str(of.path), **settings),
            name=name,
            train=train,
            umap=umap,
        )
        run = Run.create(tmp_path / "runs" / name, config)
        assert run_analysis(run) == ("done" if is_done else "failed"), run.status().message
        return run

    return apply


def delta_of(run: Run) -> np.ndarray:
    return np.asarray(run.load_result().obsm[keys.DELTA])


# ---- exactness --------------------------------------------------------------------------------------------------


def test_a_target_equal_to_the_source_gets_the_sources_delta(
    transfer: Transfer, source: Run, planted_file: Path
) -> None:
    run = transfer(planted_file)
    np.testing.assert_allclose(delta_of(run), delta_of(source), rtol=0, atol=1e-6)
    mine, theirs = run.load_result(), source.load_result()
    for slot in (keys.BETA, keys.RHO):
        np.testing.assert_allclose(mine.varm[slot], theirs.varm[slot], rtol=0, atol=1e-6)
    np.testing.assert_allclose(mine.uns[keys.ALPHA], theirs.uns[keys.ALPHA], rtol=0, atol=1e-6)


def test_genes_in_another_order_change_nothing(transfer: Transfer, planted: ad.AnnData) -> None:
    order = np.random.default_rng(0).permutation(planted.n_vars)
    straight, shuffled = transfer(planted), transfer(planted[:, order].copy())
    np.testing.assert_allclose(delta_of(shuffled), delta_of(straight), rtol=0, atol=1e-6)
    assert list(shuffled.load_result().var_names) == list(straight.load_result().var_names)
    columns = [NOVELTY, LABEL]
    pd.testing.assert_frame_equal(shuffled.load_result().obs[columns], straight.load_result().obs[columns])


def test_further_genes_of_the_target_change_nothing(transfer: Transfer, planted: ad.AnnData) -> None:
    extra = sp.csr_matrix(np.random.default_rng(0).poisson(50, size=(planted.n_obs, 5)).astype(np.float32))
    wide = ad.AnnData(
        X=sp.csr_matrix(sp.hstack([extra, planted.X])),
        obs=planted.obs,
        var=pd.DataFrame(index=[*(f"other{number}" for number in range(5)), *planted.var_names]),
    )
    np.testing.assert_allclose(delta_of(transfer(wide)), delta_of(transfer(planted)), rtol=0, atol=1e-6)


def test_a_missing_gene_equals_a_column_of_zeros(transfer: Transfer, planted: ad.AnnData) -> None:
    zeroed, counts = planted.copy(), planted.X.toarray()
    counts[:, 7] = 0
    zeroed.X = sp.csr_matrix(counts)
    without = planted[:, np.arange(planted.n_vars) != 7].copy()
    runs = [transfer(data) for data in (zeroed, without)]
    np.testing.assert_allclose(delta_of(runs[0]), delta_of(runs[1]), rtol=0, atol=1e-6)
    assert np.abs(delta_of(runs[0]) - delta_of(transfer(planted))).max() > 1e-3
    for run in runs:
        assert run.transfer_report()["genes"]["missing"] == ["gene7"]
        assert run.load_result().var["target_gene"]["gene7"] == ""


def test_a_target_on_disk_gets_the_delta_of_one_in_memory(transfer: Transfer, planted: ad.AnnData) -> None:
    target = planted[:, planted.n_vars // 3 :].copy()
    runs = [transfer(target, data={"memory": memory}) for memory in ("in memory", "on disk")]
    np.testing.assert_allclose(delta_of(runs[1]), delta_of(runs[0]), rtol=0, atol=1e-6)
    in_memory, on_disk = (run.load_result() for run in runs)
    np.testing.assert_allclose(on_disk.obs[keys.N_COUNTS], in_memory.obs[keys.N_COUNTS])
    np.testing.assert_allclose(on_disk.uns["scetm"]["lambda"], in_memory.uns["scetm"]["lambda"], atol=1e-4)
    assert runs[0].transfer_report() == runs[1].transfer_report()


def test_names_of_another_species_are_led_back_by_a_table(
    transfer: Transfer, planted: ad.AnnData, tmp_path: Path
) -> None:
    renamed = planted.copy()
    renamed.var_names = [f"t{number}" for number in range(planted.n_vars)]
    (tmp_path / "pairs.csv").write_text("".join(f"t{number},gene{number}\n" for number in range(planted.n_vars)))
    table = str(tmp_path / "pairs.csv")
    expected = delta_of(transfer(planted))
    for settings in ({"orthologs": table}, {"aliases": table}):
        run = transfer(renamed, **settings)
        np.testing.assert_allclose(delta_of(run), expected, rtol=0, atol=1e-6)
        assert run.load_result().var["target_gene"]["gene3"] == "t3"
    assert set(run.load_result().var["way"]) == {"alias"}


@pytest.mark.parametrize("several", ["sum", "drop"])
def test_counts_of_several_genes_for_one_are_summed_or_count_as_zero(
    transfer: Transfer, planted: ad.AnnData, several: str
) -> None:
    counts = planted.X.toarray()
    half = np.floor(counts[:, 7] / 2)
    split = ad.AnnData(
        X=sp.csr_matrix(np.column_stack([counts[:, :7], counts[:, 7] - half, counts[:, 8:], half])),
        obs=planted.obs,
        var=pd.DataFrame(index=[*planted.var_names[:7], "GENE7", *planted.var_names[8:], "Gene7"]),
    )
    run = transfer(split, several=several)
    expected = planted if several == "sum" else planted[:, planted.var_names != "gene7"].copy()
    np.testing.assert_allclose(delta_of(run), delta_of(transfer(expected)), rtol=0, atol=1e-5)


# ---- batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"encode_batch": True}, {"n_batch_factors": 1}], ids=str)
def test_a_batch_called_as_one_of_the_sources_borrows_nothing_from_it(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    source = train(tmp_path / "runs" / "other", planted_file, **settings)
    renamed = planted.copy()
    renamed.obs["batch"] = renamed.obs["batch"].cat.rename_categories({"b0": "x", "b1": "y"})
    same, other = (transfer(data, of=source) for data in (planted, renamed))
    np.testing.assert_allclose(delta_of(other), delta_of(same), rtol=0, atol=1e-6)
    own = [run.load_result().uns["scetm"] for run in (same, other)]
    np.testing.assert_allclose(own[1]["lambda"], own[0]["lambda"], atol=1e-5)
    assert list(own[1]["batches"]) == ["x", "y"]
    assert not np.allclose(own[0]["lambda"], source.load_result().uns["scetm"]["lambda"], atol=1e-2)


def test_a_target_without_batches_has_one_row_of_intercepts(transfer: Transfer, planted: ad.AnnData) -> None:
    run = transfer(planted, data={"batch_key": None})
    assert run.load_result().uns["scetm"]["lambda"].shape == (1, planted.n_vars)
    np.testing.assert_allclose(delta_of(run), delta_of(transfer(planted)), rtol=0, atol=1e-6)


# ---- the gene report --------------------------------------------------------------------------------------------


def by_hand(planted: ad.AnnData) -> ad.AnnData:
    """Two thirds of the genes under their names, one in capitals, and ten that the source does not know."""
    extra = sp.csr_matrix(np.full((planted.n_obs, 10), 3.0, dtype=np.float32))
    return ad.AnnData(
        X=sp.csr_matrix(sp.hstack([planted.X[:, :41], extra])),
        obs=planted.obs,
        var=pd.DataFrame(index=["GENE0", *planted.var_names[1:41], *(f"other{number}" for number in range(10))]),
    )


def test_counts_and_shares_of_the_report_are_those_by_hand(
    transfer: Transfer, source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    target = by_hand(planted)
    known = float(planted.X[:, :41].sum())
    share = known / (known + 30 * planted.n_obs)
    data = DataConfig(path=str(write(target, tmp_path / "target.h5ad")))
    report = gene_report(source, data, TransferConfig(source_run="source"))
    assert (report.n_model, report.n_target, report.n_matched) == (60, 51, 41)
    assert report.how == {"exact": 40, "letter case": 1}
    assert report.missing == [f"gene{number}" for number in range(41, 60)]
    assert report.unused == [f"other{number}" for number in range(10)]
    assert report.covered == pytest.approx(share)
    assert report.covered_cells is None
    assert report.warnings == []
    run = transfer(target)
    assert run.transfer_report()["genes"] == report.to_dict(), "the page before and the run after say the same"


def test_few_covered_counts_are_warned_of(source: Run, planted: ad.AnnData, tmp_path: Path) -> None:
    target = by_hand(planted)
    target.X = target.X.multiply(np.where(target.var_names.str.startswith("other"), 1000, 1)).tocsr()
    path = write(target[:, 25:].copy(), tmp_path / "target.h5ad")
    report = gene_report(source, DataConfig(path=str(path)), TransferConfig(source_run="source"))
    assert report.covered is not None
    assert report.covered < 0.05
    assert [text[:10] for text in report.warnings] == ["Only 0% of", "Only 16 of"]


def test_of_many_counts_a_sample_of_cells_is_looked_at_and_told_of(
    source: Run, planted_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scetm_core.transfer.MAX_VALUES", 2000)
    report = gene_report(source, DataConfig(path=str(planted_file)), TransferConfig(source_run="source"))
    assert report.covered == 1
    assert report.covered_cells is not None
    assert 0 < report.covered_cells < 240
    assert report.n_matched == 60
    assert f"(in {report.covered_cells:,} cells)" in " ".join(report.sentences())


def test_symbols_lead_from_ids_to_a_source_of_names(transfer: Transfer, planted: ad.AnnData, tmp_path: Path) -> None:
    named = planted.copy()
    named.var["gene_symbols"] = list(planted.var_names)
    named.var_names = [f"ENSG{number:011d}.1" for number in range(planted.n_vars)]
    run = transfer(named)
    np.testing.assert_allclose(delta_of(run), delta_of(transfer(planted)), rtol=0, atol=1e-6)
    assert run.load_result().var["target_gene"]["gene5"] == "ENSG00000000005.1"


def test_symbols_of_the_source_are_known_to_a_transfer(transfer: Transfer, planted: ad.AnnData, tmp_path: Path) -> None:
    named = planted.copy()
    named.var["gene_symbols"] = list(planted.var_names)
    named.var_names = [f"ENSG{number:011d}" for number in range(planted.n_vars)]
    source = train(tmp_path / "runs" / "ids", write(named, tmp_path / "ids.h5ad"))
    assert genes_of_run(source).symbols == list(planted.var_names)
    run = transfer(planted, of=source)
    np.testing.assert_allclose(delta_of(run), delta_of(source), rtol=0, atol=1e-6)
    result = run.load_result()
    assert list(result.var_names) == list(named.var_names)
    assert list(result.var[SYMBOL]) == list(planted.var_names)


def test_the_genes_that_the_encoder_looks_at_are_read_from_the_model(
    planted_file: Path, source: Run, tmp_path: Path
) -> None:
    from scetm_core.model import ScETM

    assert genes_of_run(source).seen.all()
    run = train(tmp_path / "hvg", planted_file, encoder_input="hvg", n_variable_genes=25)
    model = ScETM.load(run.model_path)
    assert model.variable_genes is not None
    assert np.flatnonzero(genes_of_run(run).seen).tolist() == sorted(model.variable_genes.genes.tolist())


# ---- data in the columns of a model -----------------------------------------------------------------------------


def test_cells_without_counts_in_the_models_genes_are_left_out_and_it_is_said(
    transfer: Transfer, planted: ad.AnnData
) -> None:
    target = by_hand(planted)
    counts = target.X.toarray()
    counts[[3, 5], :41] = 0
    target.X = sp.csr_matrix(counts)
    run = transfer(target)
    kept = [name for place, name in enumerate(planted.obs_names) if place not in (3, 5)]
    assert list(run.load_result().obs_names) == kept
    assert "2 cells without counts in the model's genes left out." in run.transfer_report()["sentences"]


def test_a_target_whose_cells_have_no_count_in_known_genes_is_refused(
    source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    target = by_hand(planted)
    counts = target.X.toarray()
    counts[1:, :41] = 0
    target.X = sp.csr_matrix(counts)
    data = load_dataset(DataConfig(path=str(write(target, tmp_path / "target.h5ad"))))
    found = align(genes_of_run(source), data.var, TransferConfig(source_run="source"))
    with pytest.raises(TransferError, match="No cell of the target has counts in the genes that the model knows"):
        align_dataset(data, found)


def test_new_genes_come_after_the_models_own_and_keep_their_counts(
    source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    target = by_hand(planted)
    data = load_dataset(DataConfig(path=str(write(target, tmp_path / "target.h5ad"))))
    found = align(genes_of_run(source), data.var, TransferConfig(source_run="source"))
    wide, _, said = align_dataset(data, found, new_genes=True)
    assert list(wide.var_names) == [*planted.var_names, *(f"other{number}" for number in range(10))]
    assert wide.var["way"].tolist()[-10:] == ["new"] * 10
    assert said == []
    counts = wide.X[np.arange(planted.n_obs)].toarray()
    np.testing.assert_array_equal(counts[:, :41], planted.X.toarray()[:, :41])
    assert (counts[:, 41:60] == 0).all()
    assert (counts[:, 60:] == 3).all()


def test_a_new_gene_called_as_one_of_the_models_is_renamed(source: Run, planted: ad.AnnData, tmp_path: Path) -> None:
    (tmp_path / "aliases.csv").write_text("other0,gene50\n")
    target = by_hand(planted)
    target.var_names = [*target.var_names[:-1], "gene50"]
    data = load_dataset(DataConfig(path=str(write(target, tmp_path / "target.h5ad"))))
    settings = TransferConfig(source_run="source", aliases=str(tmp_path / "aliases.csv"))
    wide, _, _ = align_dataset(data, align(genes_of_run(source), data.var, settings), new_genes=True)
    assert wide.var["target_gene"]["gene50"] == "other0"
    assert wide.var["target_gene"]["gene50 (target)"] == "gene50"
    assert wide.var_names.is_unique


def test_data_are_restricted_to_some_genes_and_the_cells_with_counts_there(planted: ad.AnnData) -> None:
    counts = planted.X.toarray()
    counts[4, :10] = 0
    planted.X = sp.csr_matrix(counts)
    genes = np.arange(planted.n_vars) < 10
    data, left = restrict_dataset(planted, genes)
    assert left.tolist() == [row for row in range(planted.n_obs) if counts[row, :10].any()]
    assert 4 not in left
    np.testing.assert_array_equal(data.X[np.arange(len(left))].toarray()[:, :10], counts[left, :10])
    assert data.X[np.arange(len(left))][:, 10:].sum() == 0
    assert list(data.var_names) == list(planted.var_names)
    assert list(data.obs.index) == list(planted.obs_names[left])


# ---- a transfer is a run ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("scored")
def test_a_whole_transfer_leaves_every_slot_and_file_it_promises(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path
) -> None:
    source = train(tmp_path / "runs" / "mapped", planted_file, umap=True, max_steps=300, learning_rate=0.02)
    target = planted[::2].copy()
    target.obs["cell_type"] = pd.Categorical(target.obs["cell_type"].astype(str).str.upper().str.replace(" ", "-"))
    run = transfer(target, of=source, umap=True)
    status = run.status()
    assert (status.state, status.max_steps) == ("done", 0)
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith(".")} == {
        "checksums.json", "config.json", "vocab.json", "status.json", "model.safetensors", "result.h5ad",
        "evaluation.json", "transfer/report.json",
    }  # fmt: skip
    result = run.load_result()
    assert result.varm[keys.BETA].shape == (60, 4)
    assert result.varm[keys.RHO].shape == (60, 8)
    assert result.uns[keys.ALPHA].shape == (4, 8)
    for column in (LABEL, CONFIDENCE, CENTROID, NOVELTY, NOVEL, keys.LEIDEN, keys.N_COUNTS, "cell_type"):
        assert column in result.obs
    assert result.obs[CONFIDENCE].between(1 / 15, 1).all()
    assert result.var["way"].tolist() == ["exact"] * 60
    assert result.obsm[keys.X_UMAP].shape == (120, 2)
    off = np.linalg.norm(result.obsm[keys.X_UMAP] - source.load_result().obsm[keys.X_UMAP][::2], axis=1)
    assert np.median(off) < 2, "cells of the source's map lie where they lay"
    scores = run.evaluation()
    assert scores["label_accuracy"] > 0.9
    assert (scores["n_judged"], scores["n_unknown"], scores["n_genes_matched"]) == (120, 0, 60)
    assert scores["counts_covered"] == 1
    assert scores["share_unlike_source"] == pytest.approx(result.obs[NOVEL].mean())
    assert scores["test_nll"] is None
    said = " ".join(run.transfer_report()["sentences"])
    assert "Nothing was learnt from the target" in said
    assert "Labels were given from 'cell_type' of mapped." in said
    assert f"{result.obs[NOVEL].mean():.1%} of the cells are flagged" in said


@pytest.mark.slow
@pytest.mark.usefixtures("scored")
def test_a_source_without_a_map_leaves_the_target_one_of_its_own_and_it_is_said(
    transfer: Transfer, planted: ad.AnnData
) -> None:
    run = transfer(planted[:60].copy(), umap=True)
    assert run.load_result().obsm[keys.X_UMAP].shape == (60, 2)
    assert "The source has no map, so the target got one of its own." in run.transfer_report()["sentences"]


def test_labels_are_given_from_the_column_asked_for(transfer: Transfer, source: Run, planted: ad.AnnData) -> None:
    run = transfer(planted, source_label_key="batch")
    assert list(run.load_result().obs[LABEL].cat.categories) == ["b0", "b1"]
    failed = transfer(planted, source_label_key="mood", is_done=False)
    assert "The source's cells have no column 'mood'; found: " in failed.status().message


def test_a_target_without_labels_is_labelled_and_not_scored(transfer: Transfer, planted: ad.AnnData) -> None:
    del planted.obs["cell_type"]
    run = transfer(planted, data={"label_key": None})
    assert run.load_result().obs[LABEL].notna().all()
    assert "label_accuracy" not in run.evaluation()


def test_labels_keep_the_sources_colours(transfer: Transfer, planted: ad.AnnData, tmp_path: Path) -> None:
    colours = ["#111111", "#222222", "#333333", "#444444"]
    painted = planted.copy()
    painted.uns["cell_type_colors"] = np.array(colours)
    source = train(tmp_path / "runs" / "painted", write(painted, tmp_path / "painted.h5ad"))
    assert list(transfer(planted, of=source).load_result().uns[f"{LABEL}_colors"]) == colours


def test_a_source_whose_counts_are_gone_flags_no_cell_and_it_is_said(
    transfer: Transfer, source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    copied = Run(shutil.copytree(source.path, tmp_path / "runs" / "copied"))
    change_config(copied, lambda record: record["config"]["data"].update(path=str(tmp_path / "gone.h5ad")))
    run = transfer(planted, of=copied)
    assert NOVELTY not in run.load_result().obs
    said = [text for text in run.transfer_report()["sentences"] if text.startswith("No cell is flagged")]
    assert len(said) == 1
    assert "gone.h5ad" in said[0]
    assert "share_unlike_source" not in run.evaluation()


def change_config(run: Run, change: Callable[[dict[str, Any]], None]) -> None:
    path = run.path / keys.CONFIG_FILE
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_transfer_can_itself_be_a_source(transfer: Transfer, planted: ad.AnnData) -> None:
    first = transfer(planted[:, 10:].copy())
    second = transfer(planted, of=first)
    assert second.source.id == first.id
    assert list(second.load_result().var_names) == list(planted.var_names)
    np.testing.assert_allclose(delta_of(second), delta_of(transfer(planted)), rtol=0, atol=1e-6)
    assert NOVELTY in second.load_result().obs
    assert list(second.load_result().obs[LABEL].cat.categories) == [f"type {number}" for number in range(4)]


def test_a_transfer_with_new_genes_can_itself_be_a_source(transfer: Transfer, planted: ad.AnnData) -> None:
    first = transfer(by_hand(planted), fine_tune=NEW_GENES, train={"max_steps": 3}, data={"memory": "on disk"})
    second = transfer(by_hand(planted), of=first)
    assert list(second.load_result().var_names) == list(first.load_result().var_names)
    np.testing.assert_allclose(delta_of(second), delta_of(first), rtol=0, atol=1e-5)
    assert NOVELTY in second.load_result().obs, "the counts of the first target could be read anew"
    assert second.transfer_report()["genes"]["n_matched"] == 51


# ---- learning from the target -----------------------------------------------------------------------------------


def test_learning_the_encoder_leaves_topics_and_genes_to_the_bit(
    transfer: Transfer, source: Run, planted: ad.AnnData
) -> None:
    run, zero_shot = transfer(planted[::2].copy(), fine_tune=ENCODER, train={"max_steps": 10}), source.load_result()
    result = run.load_result()
    np.testing.assert_array_equal(result.varm[keys.RHO], zero_shot.varm[keys.RHO])
    np.testing.assert_array_equal(result.uns[keys.ALPHA], zero_shot.uns[keys.ALPHA])
    assert np.abs(result.obsm[keys.DELTA] - zero_shot.obsm[keys.DELTA][::2]).max() > 1e-3
    assert run.metrics()["step"].iloc[-1] == 10
    anew = source_delta(run)
    assert anew.shape == zero_shot.obsm[keys.DELTA].shape
    np.testing.assert_allclose(anew[::2], result.obsm[keys.DELTA], atol=1e-5)
    assert any(text.startswith("The encoder and the target's") for text in run.transfer_report()["sentences"])


def test_learning_new_genes_leaves_every_cell_where_it_was(
    transfer: Transfer, source: Run, planted: ad.AnnData
) -> None:
    target = by_hand(planted)
    zero_shot, run = transfer(target), transfer(target, fine_tune=NEW_GENES, train={"max_steps": 10})
    np.testing.assert_allclose(delta_of(run), delta_of(zero_shot), atol=1e-4)
    result, known = run.load_result(), source.load_result()
    assert result.n_vars == 70
    np.testing.assert_array_equal(result.varm[keys.RHO][:60], known.varm[keys.RHO])
    np.testing.assert_array_equal(result.uns[keys.ALPHA], known.uns[keys.ALPHA])
    assert result.uns["scetm"]["lambda"].shape == (2, 70)
    assert run.vocab()["n_known_genes"] == 60
    assert genes_of_run(run).seen.sum() == 60
    np.testing.assert_array_equal(source_delta(run), known.obsm[keys.DELTA])
    pd.testing.assert_series_equal(result.obs[NOVELTY], zero_shot.load_result().obs[NOVELTY])


def test_learning_everything_changes_everything_and_flags_as_before(
    transfer: Transfer, source: Run, planted: ad.AnnData
) -> None:
    run, zero_shot = transfer(planted, fine_tune=EVERYTHING, train={"max_steps": 10}), transfer(planted)
    result, known = run.load_result(), source.load_result()
    assert (result.varm[keys.RHO] != known.varm[keys.RHO]).all()
    assert (result.uns[keys.ALPHA] != known.uns[keys.ALPHA]).all()
    np.testing.assert_allclose(source_delta(run), result.obsm[keys.DELTA], atol=1e-5)
    pd.testing.assert_series_equal(result.obs[NOVELTY], zero_shot.load_result().obs[NOVELTY])


def test_a_transfer_that_was_cancelled_resumes_to_the_same_end(
    transfer: Transfer, planted: ad.AnnData, tmp_path: Path
) -> None:
    steps = {"max_steps": 20, "checkpoint_every": 5, "report_every": 5}
    undisturbed = transfer(planted, fine_tune=EVERYTHING, train=steps)
    run = Run.create(tmp_path / "runs" / "stopped", undisturbed.config)

    def stop_at_ten(status: Status) -> None:
        if status.step == 10:
            run.request_cancel()

    assert run_analysis(run, on_change=stop_at_ten) == "cancelled"
    assert not run.has_result
    run.clear_cancel()
    assert run_analysis(run) == "done"
    np.testing.assert_array_equal(delta_of(run), delta_of(undisturbed))
    pd.testing.assert_frame_equal(run.load_result().obs, undisturbed.load_result().obs)
    assert run.metrics()["step"].tolist() == [5, 10, 15, 20]


def test_the_source_is_left_as_it_was(transfer: Transfer, source: Run, planted: ad.AnnData) -> None:
    before = {path: path.read_bytes() for path in source.path.rglob("*") if path.is_file()}
    transfer(planted, fine_tune=EVERYTHING, train={"max_steps": 3})
    assert {path: path.read_bytes() for path in source.path.rglob("*") if path.is_file()} == before


def test_gene_sets_as_rho_refuse_new_genes_in_words(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path
) -> None:
    lines = ["\t".join([f"SET{place}", "", *(f"gene{gene}" for gene in range(place, 60, 6))]) for place in range(6)]
    (tmp_path / "sets.gmt").write_text("\n".join(lines) + "\n")
    source = train(tmp_path / "runs" / "sets", planted_file, rho_gmt=str(tmp_path / "sets.gmt"))
    np.testing.assert_allclose(delta_of(transfer(planted, of=source)), delta_of(source), rtol=0, atol=1e-6)
    failed = transfer(by_hand(planted), of=source, fine_tune=NEW_GENES, is_done=False)
    assert "fixed to gene sets, so those of new genes cannot be learnt" in failed.status().message


def test_settings_of_the_training_suit_what_is_learnt_and_can_be_given(source: Run) -> None:
    def config(fine_tune: str, **train: Any) -> RunConfig:
        return transfer_config(
            source,
            data=DataConfig(path="target.h5ad"),
            transfer=TransferConfig(source_run="source", fine_tune=fine_tune),
            name="target",
            train=train,
        )

    rates = {what: config(what).train.learning_rate for what in (ENCODER, NEW_GENES, EVERYTHING)}
    assert rates == {ENCODER: 1e-3, NEW_GENES: 1e-2, EVERYTHING: 5e-4}
    assert config(ENCODER, max_steps=7).train.max_steps == 7
    for what in (NOTHING, ENCODER, NEW_GENES, EVERYTHING):
        made = config(what)
        assert (made.train.mmd_weight, made.train.anchor_weight, made.train.adversary_weight) == (0, 0, 0)
        assert made.model == source.config.model
        assert made.is_trained == (what != NOTHING)
        assert RunConfig.from_json(made.to_json()) == made


# ---- what is refused --------------------------------------------------------------------------------------------


def test_an_unfinished_run_cannot_be_applied(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path
) -> None:
    config = run_config_from_flat({"path": str(planted_file), **SMALL})
    unfinished = Run.create(tmp_path / "runs" / "unfinished", config)
    with pytest.raises(TransferError, match=r"Run unfinished has no trained model yet\. Wait until it is done"):
        genes_of_run(unfinished)
    failed = transfer(planted, of=unfinished, is_done=False)
    assert "Run unfinished has no trained model yet." in failed.status().message


def test_a_source_of_another_format_is_refused(
    transfer: Transfer, source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    copied = Run(shutil.copytree(source.path, tmp_path / "runs" / "old"))
    run = transfer(planted, of=copied)
    change_config(copied, lambda record: record.update(format=2))
    with pytest.raises(RunError, match=r"run old cannot be read \(it has format 2, .* reads formats up to 1\. Update"):
        genes_of_run(copied)
    with pytest.raises(RunError, match="it has format 2"):
        run.source.config  # noqa: B018
    with pytest.raises(RunError, match="it has format 2"):
        transfer(planted, of=copied)


def test_runs_and_models_from_before_there_were_transfers_are_applied(
    transfer: Transfer, source: Run, planted: ad.AnnData, tmp_path: Path
) -> None:
    copied = Run(shutil.copytree(source.path, tmp_path / "runs" / "old"))
    change_config(copied, lambda record: record["config"].pop("transfer"))
    assert "n_known_genes" not in copied.vocab(), "as it was written then"
    assert copied.config.transfer is None
    np.testing.assert_allclose(delta_of(transfer(planted, of=copied)), delta_of(source), rtol=0, atol=1e-6)


def test_a_damaged_model_is_told_of(source: Run, tmp_path: Path) -> None:
    copied = Run(shutil.copytree(source.path, tmp_path / "damaged"))
    copied.model_path.write_bytes(b"no model")
    with pytest.raises(RunError, match="Model or result of run damaged cannot be read"):
        genes_of_run(copied)


def test_a_source_that_is_gone_is_told_of(transfer: Transfer, source: Run, planted: ad.AnnData, tmp_path: Path) -> None:
    copied = Run(shutil.copytree(source.path, tmp_path / "runs" / "copied"))
    run = transfer(planted, of=copied)
    assert run.source.path == copied.path
    delta = source_delta(run)
    np.testing.assert_array_equal(delta, delta_of(source))
    copied.delete()
    with pytest.raises(RunError, match=r"copied is gone\. Put its folder back, or transfer anew"):
        run.source  # noqa: B018
    with pytest.raises(RunError, match="is gone"):
        source_delta(run)
    assert run.load_result().n_obs == planted.n_obs, "the result of the transfer is there all the same"


def test_a_source_is_found_by_its_name_beside_the_transfer(source: Run, planted_file: Path) -> None:
    config = transfer_config(
        source,
        data=DataConfig(path=str(planted_file)),
        transfer=TransferConfig(source_run=source.path.name),
        name="beside",
    )
    assert Run.create(source.path.parent / "beside", config).source.id == source.id


def test_a_run_that_was_trained_has_no_source(source: Run) -> None:
    with pytest.raises(RunError, match="Run source is no transfer: it was trained on its own data"):
        source.source  # noqa: B018
    assert source.transfer_report() == {}


def test_a_target_of_other_genes_fails_in_words(transfer: Transfer, planted: ad.AnnData) -> None:
    planted.var_names = [f"x{number}" for number in range(planted.n_vars)]
    failed = transfer(planted, is_done=False)
    assert "Hardly any gene of the model is in the target" in failed.status().message
    assert "Unexpected" not in failed.status().message
    assert not failed.has_result


def test_a_report_that_is_damaged_is_told_of(transfer: Transfer, planted: ad.AnnData) -> None:
    run = transfer(planted)
    (run.path / keys.TRANSFER_FILE).write_text("{")
    with pytest.raises(RunError, match=r"report\.json of run transfer0 cannot be read"):
        run.transfer_report()


def test_a_known_label_that_no_cell_was_given_counts_as_wrong(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path
) -> None:
    source = train(tmp_path / "runs" / "good", planted_file, max_steps=300, learning_rate=0.02)
    target = planted[planted.obs["cell_type"].isin(["type 0", "type 1"])].copy()
    known = target.obs["cell_type"].astype(str).to_numpy()
    known[known == "type 1"] = "type 3"
    target.obs["cell_type"] = pd.Categorical(known)
    run = transfer(target, of=source)
    scores = run.evaluation()
    assert (scores["n_judged"], scores["n_unknown"]) == (120, 0)
    assert scores["label_accuracy"] == pytest.approx(0.5)
    assert list(run.load_result().obs[LABEL].cat.categories) == [f"type {number}" for number in range(4)]


def test_two_cells_are_enough(transfer: Transfer, planted: ad.AnnData) -> None:
    result = transfer(planted[:2].copy()).load_result()
    assert result.obs[LABEL].notna().all()


def test_no_cell_is_flagged_without_a_gene_to_judge_by(
    transfer: Transfer, planted: ad.AnnData, planted_file: Path, tmp_path: Path
) -> None:
    source = train(tmp_path / "runs" / "hvg", planted_file, encoder_input="hvg", n_variable_genes=10)
    run = transfer(planted[:, ~genes_of_run(source).seen].copy(), of=source)
    assert NOVEL not in run.load_result().obs
    assert any("No cell is flagged" in sentence for sentence in run.transfer_report()["sentences"])
    assert any("Only 0 of the 10 genes" in warning for warning in run.transfer_report()["genes"]["warnings"])


def test_genes_that_a_transfer_has_learnt_stay_in_the_next(transfer: Transfer, planted: ad.AnnData) -> None:
    first = transfer(by_hand(planted), fine_tune=NEW_GENES, train={"max_steps": 5})
    second = transfer(by_hand(planted), of=first, fine_tune=NEW_GENES, train={"max_steps": 5})
    np.testing.assert_array_equal(first.load_result().varm["rho"], second.load_result().varm["rho"])


def test_columns_of_the_target_that_are_called_like_ours_give_way(transfer: Transfer, planted: ad.AnnData) -> None:
    planted.obs[NOVELTY], planted.obs[LABEL] = "mine", "mine"
    result = transfer(planted).load_result()
    assert result.obs[NOVELTY].between(0, 1).all()
    assert set(result.obs[LABEL]) <= set(planted.obs["cell_type"])
