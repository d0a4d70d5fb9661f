"""Are gene sets read as they are written, found in the data, and broken files told in words?"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest

from scetm_core import genesets, marker_tables
from scetm_core.config import RunConfig
from scetm_core.errors import DataError
from scetm_core.genesets import match_gene_sets, read_gene_sets, read_gmt, write_gmt
from scetm_core.orthologs import load_orthologs


def test_sets_are_read_by_name_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("B\thttp://x\tINS\tGCG\tINS\n\nA b\t\tSST \tPPY\t\n", encoding="utf-8")
    assert read_gmt(path) == {"B": ["INS", "GCG"], "A b": ["SST", "PPY"]}
    assert list(read_gmt(path)) == ["B", "A b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "holds no gene set", id="empty"),
        pytest.param(
            "A\tb\tINS\nno tabs here\n", r"line 2: a gene set needs a name.*begins with 'no tabs he'", id="no tabs"
        ),
        pytest.param("A\tb\n", "line 1: a gene set needs", id="no genes"),
        pytest.param("A\tb\tINS\nA\tb\tGCG\n", "line 2: the set 'A' is there twice", id="twice"),
    ],
)
def test_broken_files_are_told_by_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_gmt(path)


def test_a_missing_or_binary_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file at"):
        read_gmt(tmp_path / "none.gmt")
    (tmp_path / "binary.gmt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read as gene sets"):
        read_gmt(tmp_path / "binary.gmt")


def test_sets_written_are_read_again(tmp_path: Path) -> None:
    write_gmt({"A b": ["INS", "GCG"], "empty": [], "C": ["SST"]}, tmp_path / "sets.gmt")
    assert read_gmt(tmp_path / "sets.gmt") == {"A b": ["INS", "GCG"], "C": ["SST"]}
    assert [file.name for file in tmp_path.iterdir()] == ["sets.gmt"]


# ---- tables of markers ------------------------------------------------------------------------------------------

PANGLAO = (
    "species\tofficial gene symbol\tcell type\tnicknames\torgan\n"
    'Mm Hs\tCTRB1\tAcinar cells\tCTRB\tPancreas\nHs\tPRSS1\tAcinar cells\tTRY1|"lone quote\tPancreas\n'
    "Mm\tINS1\tBeta cells\tNA\tPancreas\nNone\tINS\tBeta cells\t\tPancreas\n"
)
CELLMARKER_1 = (
    "speciesType\ttissueType\tcellType\tcellName\tgeneSymbol\n"
    "Human\tPancreas\tNormal cell\tT cell\tCD2, [CD3D, CD3E], NA\nHuman\tBlood\tNormal cell\tT cell\tCD2, CD5\n"
    "Human\tBlood\tCancer cell\tNothing\tNA\n"
)
CELLMARKER_2 = (
    "species,tissue_type,cell_type,cell_name,marker,Symbol,Genename\n"
    'Human,Blood,Normal cell,T cell,OKT3,CD3D,"CD3, delta"\nMouse,Blood,Normal cell,T cell,x,Cd3d,y\n'
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "p.tsv", PANGLAO, {"Acinar cells": ["CTRB1", "PRSS1"], "Beta cells": ["INS1", "INS"]}, id="PanglaoDB"
        ),
        pytest.param("c.txt", CELLMARKER_1, {"T cell": ["CD2", "CD3D", "CD3E", "CD5"]}, id="CellMarker 1"),
        pytest.param(
            "c.csv", CELLMARKER_2, {"T cell (human)": ["CD3D"], "T cell (mouse)": ["Cd3d"]}, id="CellMarker 2"
        ),
        pytest.param(
            "t.csv", "Beta,INS\nBeta,IAPP\nAlpha,GCG\n", {"Beta": ["INS", "IAPP"], "Alpha": ["GCG"]}, id="bare"
        ),
        pytest.param(
            "t.csv", "gene;kind\nINS;Beta\nGCG;Alpha\n", {"Beta": ["INS"], "Alpha": ["GCG"]}, id="genes first"
        ),
        pytest.param("t.tsv", ",x\tcluster\tgene\n0\tBeta\tINS\n1\tBeta\tGCG\n", {"Beta": ["INS", "GCG"]}, id="index"),
        pytest.param("s.GMT", "A\tb\tINS\n", {"A": ["INS"]}, id="gmt"),
    ],
)
def test_tables_of_markers_are_recognised(tmp_path: Path, name: str, text: str, expected: dict[str, list[str]]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert read_gene_sets(tmp_path / name) == expected
    assert read_gene_sets(tmp_path / f"{name}.gz") == expected


def test_rows_of_other_species_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text(PANGLAO)
    assert read_gene_sets(tmp_path / "p.tsv", species="human") == {
        "Acinar cells": ["CTRB1", "PRSS1"],
        "Beta cells": ["INS"],
    }
    (tmp_path / "c.csv").write_text(CELLMARKER_2)
    assert read_gene_sets(tmp_path / "c.csv", species="mouse") == {"T cell": ["Cd3d"]}


def test_signs_of_another_encoding_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("cell type,gene,comment\nBeta,INS,Müller\n".encode("latin-1"))
    assert read_gene_sets(tmp_path / "t.csv") == {"Beta": ["INS"]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("t.csv", b"a,b,c\n1,2,3\n", r"columns: \['a', 'b', 'c'\]\. Expected: a \.csv", id="columns"),
        pytest.param("t.csv", b"", "holds no gene set: it is empty", id="empty"),
        pytest.param("t.csv", b"cell type,gene\nBeta,NA\n", "holds no cell type with genes", id="no genes"),
        pytest.param("t.csv", b"\x00\x01\x02,\n", "it is no text", id="binary"),
        pytest.param("t.pkl", b"", r"ending that cannot be read as gene sets\. Readable: \.gmt", id="pickle"),
        pytest.param("t.gmt.gz", b"no gzip", "cannot be read as gene sets", id="no gzip"),
    ],
)
def test_files_that_hold_no_sets_are_told_in_words(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_gene_sets(tmp_path / name)


def test_absurd_sizes_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker_tables, "MAX_BYTES", 1000)
    (tmp_path / "bomb.gmt.gz").write_bytes(gzip.compress(b"A\tb\tINS\n" * 100_000))
    with pytest.raises(DataError, match="too much for gene sets"):
        read_gene_sets(tmp_path / "bomb.gmt.gz")


# ---- matching ---------------------------------------------------------------------------------------------------

HUMAN_SETS = {
    "islet": ["GCG", "SST", "IAPP", "MAFA", "NKX6-1"],
    "muscle": ["ACTA1", "CKM", "MYH1"],
    "mitochondrial": ["MT-ND1", "MT-CYB"],
    "insulin": ["INS1", "INS2"],
}


def test_human_sets_fit_mouse_genes_through_orthologs_then_letter_case() -> None:
    genes = ["Gcg", "Sst", "Iapp", "mt-Nd1", "mt-Cytb", "Ins1", "Ins2", "Acta1", "Actb", "Gapdh", "Cd3e", "Trp53"]
    found = match_gene_sets(HUMAN_SETS, genes, min_size=2, max_size=2)
    assert found.gene_sets == {"mitochondrial": ["mt-Nd1", "mt-Cytb"], "insulin": ["Ins1", "Ins2"]}
    report = found.report
    assert (report.n_sets, report.n_kept, report.n_too_small, report.n_too_large) == (4, 2, 1, 1)
    assert report.how == {"letter case": 2, "ortholog": 6}
    assert (report.species_of_sets, report.species_of_genes) == ("human", "mouse")
    assert (report.n_genes_matched, report.n_genes_in_sets, report.n_genes_covered) == (8, 12, 4)
    assert report.sentences() == [
        "4 sets, 2 kept (2 to 2 matched genes), 1 too small, 1 too large.",
        "8 of 12 genes in the sets are in the data: 6 through human-mouse orthologs, 2 by letter case.",
        "The kept sets cover 4 of the data's 12 genes.",
        "Not found: MAFA, NKX6-1, CKM, MYH1.",
    ]


def test_mouse_sets_fit_human_genes() -> None:
    mouse = {"islet": ["Gcg", "Sst", "Iapp", "Mafa", "Nkx6-1", "mt-Cytb", "Actb", "Gapdh", "Cd3e", "Trp53"]}
    genes = ["GCG", "MT-CYB", "TP53", "ACTB", "GAPDH", "CD3E", "INS", "PPY", "KRT19", "CPA1", "HLA-A"]
    assert match_gene_sets(mouse, genes).gene_sets == {"islet": ["GCG", "MT-CYB", "ACTB", "GAPDH", "CD3E", "TP53"]}


def test_a_set_has_each_gene_once_and_sizes_count_what_is_matched() -> None:
    sets = {"A": ["INS", "ins", "Ins"], "B": ["INS", "GCG", "x", "y"]}
    assert match_gene_sets(sets, ["INS", "GCG"], min_size=2).gene_sets == {"B": ["INS", "GCG"]}
    assert match_gene_sets(sets, ["INS", "GCG"], min_size=0, max_size=1).gene_sets == {"A": ["INS"]}
    assert match_gene_sets({"C": ["x"], **sets}, ["INS"], min_size=0).gene_sets["C"] == []


def test_genes_named_by_ids_are_matched_by_their_symbols() -> None:
    genes, symbols = ["ENSG00000115263", "ENSG00000157005", "ENSG9", "ENSG8"], ["GCG", "SST", "", "GCG"]
    found = match_gene_sets({"A": ["GCG", "SST"], "B": ["ENSG00000157005.7"]}, genes, symbols=symbols)
    assert found.gene_sets == {"A": ["ENSG00000115263", "ENSG00000157005"], "B": ["ENSG00000157005"]}


def test_orthologs_of_ones_own_are_used() -> None:
    assert match_gene_sets({"A": ["gene1"]}, ["x9"], orthologs={"gene1": "x9"}).gene_sets == {"A": ["x9"]}


def test_without_the_table_letter_case_is_what_is_left_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> dict[str, str]:
        raise DataError("No table.")

    monkeypatch.setattr(genesets, "load_orthologs", missing)
    genes = ["Gcg", "Sst", "Iapp", "mt-Cytb", "Acta1", "Actb", "Gapdh", "Cd3e", "Trp53", "Krt19"]
    report = match_gene_sets(HUMAN_SETS, genes).report
    assert report.how == {"letter case": 4}
    assert report.sentences()[-1] == (
        "The sets name human genes, the data mouse genes, matched by letter case only. No table."
    )


@pytest.mark.parametrize(
    ("members", "genes", "words"),
    [
        pytest.param(
            ["GCG", "SST"], [f"ENSG{n:011d}" for n in range(9)], r"\['GCG', 'SST'\].*'ENSG0.*need a column of symbols",
            id="symbols for ids",
        ),
        pytest.param(
            [f"ENSG{n:011d}" for n in range(9)], ["GCG", "SST"], "by symbol: take sets with symbols",
            id="ids for symbols",
        ),
        pytest.param(
            [f"ENSG{n:011d}" for n in range(20)], [f"ENSMUSG{n:011d}" for n in range(20)], "Ids of two species",
            id="ids of two species",
        ),
        pytest.param(["a", "b"], ["x", "y"], "Hardly any gene .*same kind of gene names", id="anything else"),
    ],
)  # fmt: skip
def test_names_of_another_kind_are_refused_with_examples_of_both(
    members: list[str], genes: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        match_gene_sets({"A": members}, genes)


def test_a_small_panel_of_genes_fits_large_sets() -> None:
    sets = {"all": [f"GENE{number}" for number in range(10_000)]}
    assert match_gene_sets(sets, [f"GENE{number}" for number in range(20)]).report.n_genes_covered == 20


def test_human_sets_make_a_model_of_mouse_genes(
    planted: ad.AnnData, tiny_config: Callable[..., RunConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from scetm_core.build import build_model

    human = [pair[0] for pair in sorted(load_orthologs("human", "mouse").items()) if pair[0].lower() != pair[1].lower()]
    human = human[: planted.n_vars]
    write_gmt({"first": human[:10], "second": human[10:20], "small": human[:4]}, tmp_path / "sets.gmt")
    planted.var_names = [load_orthologs("human", "mouse")[gene] for gene in human]
    with caplog.at_level("INFO", logger="scetm"):
        model = build_model(planted, tiny_config(rho_gmt=str(tmp_path / "sets.gmt")), device=torch.device("cpu"))
    assert model.rho_names == ["first", "second"]
    assert (model.rho != 0).any(dim=1).sum() == 20
    assert "20 of 20 genes in the sets are in the data: 20 through human-mouse orthologs." in caplog.text
    assert "rho is fixed to 2 gene sets; 1 with fewer than 5 measured genes are left out." in caplog.text
