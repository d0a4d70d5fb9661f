from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest

from scetm_core.config import DataConfig
from scetm_core.data import load_dataset
from scetm_core.data.formats import open_input
from scetm_core.errors import DataError

Writer = Callable[[ad.AnnData, Path], Path]


class TestTextTable:
    def test_text_columns_and_chosen_ones_describe_the_cells(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("id,batch,G1,kind,G2\nc1,1,5,x,0\nc2,2,0,y,3\n")
        data = load_dataset(DataConfig(path=str(tmp_path / "t.csv"), batch_key="batch", label_key="kind"))
        assert list(data.var_names) == ["G1", "G2"]
        assert list(data.obs["batch"]) == ["1", "2"]
        assert list(data.obs["kind"]) == ["x", "y"]
        plain = load_dataset(DataConfig(path=str(tmp_path / "t.csv")))
        assert list(plain.var_names) == ["batch", "G1", "G2"]
        assert "['kind'] hold no numbers" in plain.uns["messages"][0]

    def test_genes_in_rows_are_noticed(self, tmp_path: Path) -> None:
        rows = "".join(f"ENSG{i:011d},1,2\n" for i in range(5))
        (tmp_path / "t.csv").write_text("gene,AACCTTGG-1,AACCTTGC-1\n" + rows)
        with pytest.raises(DataError, match=r"genes in rows. Transpose it"):
            load_dataset(DataConfig(path=str(tmp_path / "t.csv")))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "names no columns"),
            ("id\nc1\n", "names no columns"),
            ("id,G1\n", "0 cells"),
            ("id,G1\nc1,x\nc2,y\n", "no column of numbers"),
            ("id,G1,G2\nc1,1,2\nc2,,3\n", "missing or infinite"),
            ("id,G1,G2\nc1,1,2\nc2,1,2,3,4\n", "cannot be read"),
        ],
    )
    def test_a_bad_table_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            load_dataset(DataConfig(path=str(tmp_path / "t.csv")))

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(bytes(range(256)))
        with pytest.raises(DataError, match="cannot be read"):
            load_dataset(DataConfig(path=str(tmp_path / "t.csv")))


def test_other_feature_types_of_10x_are_left_out_with_a_message(
    tmp_path: Path, small: ad.AnnData, writers: dict[str, Writer]
) -> None:
    with open_input(DataConfig(path=str(writers["10x v3"](small, tmp_path)))) as source:
        assert source.messages == ("2 features of other types (Antibody Capture) were left out.",)
        assert list(source.var["gene_ids"][:2]) == ["id_G0", "id_G1"]


def test_samples_aggregated_by_10x_can_serve_as_batches(
    tmp_path: Path, small: ad.AnnData, writers: dict[str, Writer]
) -> None:
    small.obs_names = [f"ACGT{i}-{i % 2 + 1}" for i in range(30)]
    data = load_dataset(DataConfig(path=str(writers["10x v3"](small, tmp_path)), batch_key="gem_group"))
    assert dict(data.obs["gem_group"].value_counts()) == {"1": 15, "2": 14}


def test_a_10x_folder_with_a_missing_or_foreign_table_is_refused(
    tmp_path: Path, small: ad.AnnData, writers: dict[str, Writer]
) -> None:
    folder = writers["10x mtx"](small, tmp_path)
    (folder / "genes.tsv").write_text("a\tA\n")
    with pytest.raises(DataError, match="8 genes and 30 cells, but the tables beside it list 1 and 30"):
        load_dataset(DataConfig(path=str(folder)))
    (folder / "genes.tsv").unlink()
    with pytest.raises(DataError, match=r"holds no features\.tsv"):
        load_dataset(DataConfig(path=str(folder / "matrix.mtx")))
