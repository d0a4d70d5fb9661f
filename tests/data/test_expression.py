from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.data.expression import gene_expression, list_genes, search_genes
from scetm_core.errors import DataError

Save = Callable[[ad.AnnData], str]


@pytest.mark.parametrize("gene", ["G0", "G2", "G5", "G7"])
def test_expression_equals_a_hand_computation_in_every_format(any_file: Path, small: ad.AnnData, gene: str) -> None:
    found = gene_expression(DataConfig(path=str(any_file)), gene)
    counts = np.delete(small.X.toarray(), 3, axis=0)
    expected = np.log1p(10_000 * counts[:, int(gene[1:])] / counts.sum(axis=1))
    np.testing.assert_allclose(found.to_numpy(), expected)
    assert list(found.index) == list(load_dataset(DataConfig(path=str(any_file))).obs_names)
    assert found.name == gene


def test_reading_in_small_pieces_changes_nothing(any_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gene_expression(DataConfig(path=str(any_file)), "G2")
    monkeypatch.setattr("scetm_core.data.expression.MAX_BLOCK", 5)
    assert gene_expression(DataConfig(path=str(any_file)), "G2").equals(whole)


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_repeated_genes_go_by_the_names_that_loading_gives(small: ad.AnnData, save: Save) -> None:
    small.var_names = ["A", "A", *small.var_names[2:]]
    config = DataConfig(path=save(small))
    assert list_genes(config)[:2] == ["A", "A-1"]
    counts = load_dataset(config)
    raw = np.expm1(gene_expression(config, "A-1").to_numpy()) * counts.X.sum(axis=1).A1 / 10_000
    np.testing.assert_allclose(raw, counts[:, "A-1"].X.toarray().ravel(), atol=1e-9)


def test_a_layer_has_its_own_values(small: ad.AnnData, save: Save) -> None:
    small.layers["double"] = small.X * 2
    small.layers["double"][0, 0] += 10
    path = save(small)
    assert (
        gene_expression(DataConfig(path=path), "G0").iloc[0]
        != gene_expression(DataConfig(path=path, layer="double"), "G0").iloc[0]
    )


def test_an_unknown_gene_is_refused_with_close_names(small: ad.AnnData, save: Save) -> None:
    small.var_names = ["Ins1", "Ins2", "Gcg", "Sst", "Ppy", "Ghrl", "Krt19", "Pecam1"]
    with pytest.raises(DataError, match=r"no gene 'INS2'\. Close to it: \['Ins2'"):
        gene_expression(DataConfig(path=save(small)), "INS2")
    with pytest.raises(DataError, match=r"no gene 'QQQQ'\. Check its name"):
        gene_expression(DataConfig(path=save(small)), "QQQQ")


def test_a_changed_file_is_read_again(small: ad.AnnData, save: Save, tmp_path: Path) -> None:
    path = save(small)
    before = gene_expression(DataConfig(path=path), "G0")
    other = small.copy()
    counts = other.X.toarray()
    counts[:, 1] = 50
    other.X = sp.csr_matrix(counts)
    other.write_h5ad(tmp_path / "other.h5ad")
    shutil.move(tmp_path / "other.h5ad", path)
    assert not np.allclose(before.iloc[:3], gene_expression(DataConfig(path=path), "G0").iloc[:3])


def test_a_search_finds_beginnings_first() -> None:
    genes = ["AINS", "Ins2", "INS", "Gcg", "insr"]
    assert search_genes(genes, "ins") == ["INS", "Ins2", "insr", "AINS"]
    assert search_genes(genes, " CG ") == ["Gcg"]
    assert search_genes(genes, "ins", limit=2) == ["INS", "Ins2"]
    assert search_genes(genes, "") == genes
    assert search_genes(genes, "xyz") == []
