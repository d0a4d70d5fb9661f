from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scetm_core.config import DataConfig, ModelConfig, TrainConfig
from scetm_core.data import check_dataset, load_dataset, simulate
from scetm_core.data.checks import CheckReport
from scetm_core.data.describe import describe_dataset
from scetm_core.data.estimate import estimate_cost, n_parameters
from scetm_core.data.matrix import StoredMatrix
from scetm_core.data.scan import scan_counts
from scetm_core.errors import DataError

Save = Callable[[ad.AnnData], str]


def said(report: CheckReport, topic: str) -> str:
    return " | ".join(f"{f.level}: {f.message} {f.advice}" for f in report.findings if f.topic == topic)


def test_every_format_gives_the_same_report(any_file: Path, small: ad.AnnData) -> None:
    report = check_dataset(DataConfig(path=str(any_file)))
    counts = small.X.toarray()
    assert report.ok
    assert (report.n_cells, report.n_genes, report.n_looked_at) == (30, 8, 30)
    assert report.n_nonzero == np.count_nonzero(counts)
    np.testing.assert_array_equal(report.counts_per_cell, counts.sum(axis=1))
    np.testing.assert_array_equal(report.genes_per_cell, (counts > 0).sum(axis=1))
    assert "1 cell without any count will be left out." in said(report, "Empty")
    assert "1 gene without a count in any cell will be left out." in said(report, "Empty")
    assert "ok: X holds whole, non-negative counts" in said(report, "Counts")


def test_the_report_is_ready_for_json(small: ad.AnnData, save: Save) -> None:
    report = check_dataset(DataConfig(path=save(small), batch_key="batch", label_key="cell_type"))
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["ok"] is True
    assert plain["batch_sizes"] == {"a": 10, "b": 10, "c": 10}
    assert plain["label_sizes"] == {"beta": 15, "alpha": 15}
    assert plain["counts_per_cell"]["0.5"] == np.median(small.X.toarray().sum(axis=1))
    assert {"memory_bytes", "seconds", "findings", "source"} <= set(plain)


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
@pytest.mark.parametrize("max_block", [1, 7, 50, 10**6])
def test_a_scan_in_pieces_equals_the_whole(small: ad.AnnData, layout: str, max_block: int) -> None:
    counts = small.X.toarray()
    if layout == "dense":
        matrix = StoredMatrix(layout=layout, shape=counts.shape, data=counts)
    else:
        c = getattr(sp, f"{layout}_matrix")(counts)
        matrix = StoredMatrix(layout=layout, shape=c.shape, data=c.data, indices=c.indices, indptr=c.indptr)
    scan = scan_counts(matrix, max_block=max_block)
    np.testing.assert_array_equal(scan.counts_per_cell, counts.sum(axis=1))
    np.testing.assert_array_equal(scan.genes_per_cell, (counts > 0).sum(axis=1))
    np.testing.assert_array_equal(scan.counts_per_gene, counts.sum(axis=0))
    np.testing.assert_array_equal(scan.genes_seen, counts.any(axis=0))
    assert scan.n_nonzero == np.count_nonzero(counts)
    assert scan.tally.largest == counts.max()


def test_a_large_file_is_sampled_evenly_and_says_so(save: Save) -> None:
    data = simulate(n_cells=1000, n_genes=50, n_topics=3, seed=1)
    report = check_dataset(DataConfig(path=save(data)), max_values=data.X.nnz // 4)
    assert 150 <= report.n_looked_at <= 250
    assert f"{report.n_looked_at} of 1,000 cells looked at" in said(report, "Sample")
    assert report.n_nonzero == pytest.approx(data.X.nnz, rel=0.05)
    scan = scan_counts(StoredMatrix.from_csr(data.X), max_values=data.X.nnz // 4)
    assert scan.cells.min() == 0
    assert scan.cells.max() == 999
    np.testing.assert_array_equal(scan.counts_per_cell, data.X[scan.cells].sum(axis=1).A1)


def test_log_normalised_values_are_an_error_that_names_a_layer(small: ad.AnnData, save: Save) -> None:
    small.raw = small.copy()
    small.layers["counts"] = small.X.copy()
    small.X = small.X.log1p()
    first = small.X.data[0]
    report = check_dataset(DataConfig(path=save(small)))
    assert not report.ok
    assert f"error: X holds non-integer values (e.g. {first:.3g}); it looks log-normalised." in said(report, "Counts")
    assert "Pick a layer with counts; found: ['counts', 'raw']" in said(report, "Counts")
    assert check_dataset(DataConfig(path=report.path.as_posix(), layer="raw")).ok


@pytest.mark.parametrize(("value", "text"), [(-2.0, "negative values (e.g. -2)"), (np.nan, "missing or infinite")])
def test_values_that_are_no_counts_are_found(small: ad.AnnData, save: Save, value: float, text: str) -> None:
    counts = small.X.toarray()
    counts[20, 2] = value
    small.X = sp.csr_matrix(counts)
    report = check_dataset(DataConfig(path=save(small)))
    assert text in said(report, "Counts")
    assert np.isfinite(report.counts_per_cell).all()
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("cells", "genes", "topic", "text"),
    [(0, 8, "Counts", "has 0 cells"), (30, 0, "Counts", "has 0 genes"), (1, 8, "Cells", "Only one cell")],
)
def test_too_small_a_table_is_an_error(
    small: ad.AnnData, save: Save, cells: int, genes: int, topic: str, text: str
) -> None:
    report = check_dataset(DataConfig(path=save(small[:cells, :genes].copy())))
    assert not report.ok
    assert text in said(report, topic)


def test_nothing_but_zeros_is_an_error(small: ad.AnnData, save: Save) -> None:
    small.X = sp.csr_matrix(small.shape, dtype=np.float32)
    report = check_dataset(DataConfig(path=save(small)))
    assert "error: X holds only zeros." in said(report, "Counts")


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_names_are_looked_at(small: ad.AnnData, save: Save) -> None:
    small.var_names = [f"ENSG{i // 2:011d}" for i in range(8)]
    small.var["feature_name"] = "x"
    names = said(check_dataset(DataConfig(path=save(small))), "Names")
    assert "4 repeated gene names made unique" in names
    assert "Genes go by Ensembl ids" in names
    assert "var['feature_name']" in names


def test_columns_are_looked_at(small: ad.AnnData, save: Save) -> None:
    small.obs["one"] = "x"
    small.obs["id"] = small.obs_names
    small.obs.loc["cell7", "cell_type"] = None
    path = save(small)
    one = check_dataset(DataConfig(path=path, batch_key="one", label_key="cell_type"))
    assert one.ok
    assert "note: Batch column 'one' has one value only ('x')" in said(one, "Batches")
    assert "1 cell of 30 without a label" in said(one, "Labels")
    assert "30 values for 30 cells" in said(check_dataset(DataConfig(path=path, batch_key="id")), "Batches")
    wrong = check_dataset(DataConfig(path=path, batch_key="nope", label_key="Batch"))
    assert "error: obs has no column 'nope'" in said(wrong, "Batches")
    assert "found: ['batch'" in said(wrong, "Labels")
    gaps = check_dataset(DataConfig(path=path, batch_key="cell_type"))
    assert "error: Batch column 'cell_type' has no value for 1 cell of 30" in said(gaps, "Batches")
    none = check_dataset(DataConfig(path=path))
    assert "Columns that may serve: ['batch']" in said(none, "Batches")
    assert "Columns that may serve: ['cell_type']" in said(none, "Labels")


def test_five_thousand_categories_are_an_error_for_batches_only(save: Save) -> None:
    counts = sp.csr_matrix(np.ones((11_000, 2), dtype=np.float32))
    obs = pd.DataFrame({"id": np.arange(11_000) % 5000}, index=[str(i) for i in range(11_000)])
    path = save(ad.AnnData(counts, obs=obs))
    assert "error: Batch column 'id' has 5,000 values" in said(
        check_dataset(DataConfig(path=path, batch_key="id")), "Batches"
    )
    labelled = check_dataset(DataConfig(path=path, label_key="id"))
    assert labelled.ok
    assert "warning: 'id' has 5,000 values." in said(labelled, "Labels")


def test_a_report_without_errors_means_that_loading_succeeds(any_file: Path) -> None:
    config = DataConfig(path=str(any_file))
    assert check_dataset(config).ok
    load_dataset(config)


def test_a_file_that_cannot_be_read_raises(tmp_path: Path) -> None:
    (tmp_path / "fake.h5ad").write_text("no")
    with pytest.raises(DataError, match="is not an HDF5 file"):
        check_dataset(DataConfig(path=str(tmp_path / "fake.h5ad")))
    with pytest.raises(DataError, match="is not an HDF5 file"):
        describe_dataset(tmp_path / "fake.h5ad")


def test_cost_counts_every_parameter_and_grows_with_the_work() -> None:
    model, train = ModelConfig(n_topics=10, n_emb=20, n_hidden=30), TrainConfig(max_steps=100, minibatch_size=64)
    assert n_parameters(1000, model, n_batches=3) == 1000 * 30 + 30 * 2 * 10 + (10 + 1000) * 20 + 3 * 1000
    small = estimate_cost(500, 1000, 10_000, model=model, train=train)
    large = estimate_cost(500, 1000, 1_010_000, model=model, train=train)
    assert large.memory_bytes - small.memory_bytes == 12 * 1_000_000
    twice = estimate_cost(500, 1000, 10_000, model=model, train=TrainConfig(max_steps=200, minibatch_size=64))
    assert twice.seconds == pytest.approx(2 * small.seconds)
    capped = TrainConfig(max_steps=100, minibatch_size=5000)
    assert estimate_cost(64, 1000, 10_000, model=model, train=capped).seconds == pytest.approx(small.seconds)


def test_every_format_is_described_alike(any_file: Path) -> None:
    summary = describe_dataset(any_file)
    assert (summary.n_cells, summary.n_genes, summary.sources) == (30, 8, ("X",))


def test_a_description_tells_columns_sources_and_embeddings(small: ad.AnnData, save: Save) -> None:
    small.raw = small.copy()
    small.layers["counts"] = small.X.copy()
    small.obsm["X_pca"] = np.zeros((30, 2))
    small.obs.loc["cell0", "batch"] = None
    small.obs["flag"] = small.obs["age"] > 5
    small.X = None
    summary = describe_dataset(Path(save(small)))
    assert summary.sources == ("counts", "raw")
    assert summary.obsm == ("X_pca",)
    columns = {column.name: column for column in summary.columns}
    assert {name: column.kind for name, column in columns.items()} == {
        "batch": "category",
        "cell_type": "category",
        "age": "number",
        "flag": "boolean",
    }
    assert (columns["batch"].n_unique, columns["batch"].n_missing) == (3, 1)
    assert columns["batch"].top == (("b", 10), ("c", 10), ("a", 9))
    assert summary.suggested_batch_keys == ("batch",)
    assert summary.suggested_label_keys == ("cell_type",)
