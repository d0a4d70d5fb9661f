"""Are names of genes found in another list, and species told, without guessing?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core.config import RunConfig
from scetm_core.errors import DataError
from scetm_core.gene_names import ACROSS_SPECIES, SYMBOL, kind_of_names, match_names, species_of, symbols_of
from scetm_core.orthologs import load_orthologs

if TYPE_CHECKING:
    from scetm_core.model import ScETM

HUMAN = ["INS", "GCG", "SST", "MT-ND1", "HLA-A", "C1orf112", "NKX6-1", "CD3E", "ACTB", "RP11-34P13.7", "TP53", "GAPDH"]
MOUSE = ["Ins1", "Gcg", "Sst", "mt-Nd1", "H2-K1", "1110032F04Rik", "Nkx6-1", "Cd3e", "Actb", "Gm1234", "Trp53", "Gapdh"]


def test_each_name_is_found_in_the_first_way_that_leads_anywhere() -> None:
    known = ["INS", "ins", "Gcg", "ENSG00000157005.4", "Trp53"]
    found = match_names(
        ["INS", "GCG", "ENSG00000157005.11", "TP53", "nothing", "INS"], known, orthologs={"TP53": "Trp53"}
    )
    assert found.places == {"INS": "INS", "GCG": "Gcg", "ENSG00000157005.11": "ENSG00000157005.4", "TP53": "Trp53"}
    assert found.how == {"exact": 1, "version suffix": 1, "letter case": 1, "ortholog": 1}
    assert found.unmatched == ["nothing"], "each name once"


def test_across_species_an_ortholog_is_preferred_to_a_like_name() -> None:
    orthologs = {"PCDHB15": "Pcdhb22"}
    known = ["Pcdhb15", "Pcdhb22"]
    assert match_names(["PCDHB15"], known, orthologs=orthologs, ways=ACROSS_SPECIES).places == {"PCDHB15": "Pcdhb22"}
    assert match_names(["PCDHB15"], known, orthologs=orthologs).places == {"PCDHB15": "Pcdhb15"}


def test_orthologs_are_found_whatever_the_letter_case() -> None:
    assert match_names(["mt-cyb"], ["MT-CYTB"], orthologs={"MT-CYB": "mt-Cytb"}).places == {"mt-cyb": "MT-CYTB"}


def test_what_follows_a_dot_in_a_symbol_is_no_version() -> None:
    assert match_names(["AC129492.1"], ["AC129492.2"]).unmatched == ["AC129492.1"]


@pytest.mark.parametrize(
    ("names", "species"),
    [
        pytest.param(HUMAN, "human", id="human symbols"),
        pytest.param(MOUSE, "mouse", id="mouse symbols"),
        pytest.param([f"ENSG{number:011d}" for number in range(20)], "human", id="human ids"),
        pytest.param([f"ENSMUSG{number:011d}.3" for number in range(20)], "mouse", id="mouse ids"),
        pytest.param(HUMAN[:5], "unknown", id="few"),
        pytest.param([*HUMAN, *MOUSE], "unknown", id="both"),
        pytest.param([f"gene{number}" for number in range(50)], "unknown", id="made up"),
        pytest.param([f"ENSRNOG{number:011d}" for number in range(20)], "unknown", id="rat ids"),
        pytest.param([*MOUSE, *(f"ERCC-{number:05d}" for number in range(92))], "mouse", id="mouse with spike-ins"),
        pytest.param([], "unknown", id="none"),
    ],
)
def test_the_species_is_told_by_how_names_are_written(names: list[str], species: str) -> None:
    assert species_of(names) == species


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        pytest.param(HUMAN, "symbols", id="symbols"),
        pytest.param(["ENSG00000157005", "ENSMUSG00000157005.2", "INS"], "ensembl", id="ids"),
        pytest.param(["1234", "5678"], "unknown", id="numbers"),
        pytest.param([], "unknown", id="none"),
    ],
)
def test_ids_are_told_from_symbols(names: list[str], kind: str) -> None:
    assert kind_of_names(names) == kind


def test_symbols_come_from_the_usual_columns() -> None:
    var = pd.DataFrame({"Feature_Name": pd.Categorical(["INS ", np.nan, "SST"])}, index=["E1", "E2", "E3"])
    assert symbols_of(var) == ["INS", "", "SST"]
    assert symbols_of(var.rename(columns={"Feature_Name": "length"})) is None
    assert symbols_of(var.assign(Feature_Name=np.nan)) is None, "a column without any symbol"
    assert symbols_of(None) is None


@pytest.mark.parametrize("column", ["gene_symbols", None])
def test_a_result_keeps_the_symbols_of_its_genes(
    planted: ad.AnnData, model_for: Callable[..., ScETM], tiny_config: Callable[..., RunConfig], column: str | None
) -> None:
    from scetm_core.infer import infer

    if column:
        planted.var[column] = [f"SYMBOL{number}" for number in range(planted.n_vars)]
    result = infer(model_for(planted), planted, tiny_config())
    assert symbols_of(result.var) == (list(planted.var[column]) if column else None)
    assert list(result.var.columns) == ([SYMBOL] if column else [])


# ---- orthologs --------------------------------------------------------------------------------------------------


def test_human_and_mouse_are_paired_one_to_one_both_ways() -> None:
    there, back = load_orthologs("human", "mouse"), load_orthologs("mouse", "human")
    assert there["GCG"] == "Gcg"
    assert there["MT-ND1"] == "mt-Nd1"
    assert back == {mouse: human for human, mouse in there.items()}
    assert len(there) > 16_000


def test_what_a_caller_does_to_its_pairs_is_its_own_business() -> None:
    load_orthologs("human", "mouse").clear()
    assert load_orthologs("human", "mouse")


def test_species_without_a_table_are_refused() -> None:
    with pytest.raises(DataError, match=r"no table of orthologs from human to zebrafish.*a table of your own"):
        load_orthologs("human", "zebrafish")


def test_without_the_package_it_is_said_how_to_get_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from scetm_core import orthologs

    def missing(*_: object) -> Path:
        raise DataError("Install it: pip install it.")

    monkeypatch.setattr(orthologs, "package_file", missing)
    orthologs._packaged.cache_clear()
    with pytest.raises(DataError, match=r"comes with the demo data\. Install it.*a table of your own"):
        load_orthologs("human", "mouse")
    orthologs._packaged.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("score,mouse_symbol,Human gene name\n1,Gcg,GCG\n2,Sst,SST\n", id="named columns"),
        pytest.param("GCG\tGcg\nSST\tSst\n", id="two columns, no header"),
        pytest.param("gene_a;gene_b\nGCG;Gcg\nSST;Sst\n\n", id="two columns, header without species"),
        pytest.param("".join(f"{m},{h}\n" for h, m in zip(HUMAN, MOUSE, strict=True)), id="the other way round"),
    ],
)
def test_a_table_of_ones_own_is_understood(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    pairs = load_orthologs("human", "mouse", path)
    assert pairs["GCG"] == "Gcg"
    assert pairs["SST"] == "Sst"


def test_genes_with_several_partners_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("GCG,Gcg\nINS,Ins1\nINS,Ins2\nGCG,Gcg\nX,Y\nZ,Y\nEMPTY,\n", encoding="utf-8")
    assert load_orthologs("human", "mouse", path) == {"GCG": "Gcg"}


def test_a_table_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("A\tB\n")
    assert load_orthologs("pig", "cow", path) == {"A": "B"}
    path.write_text("C\tD\n")
    os.utime(path, ns=(1, 1))
    assert load_orthologs("pig", "cow", path) == {"C": "D"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"a,b,c\n1,2,3\n", r"does not say which columns.*\['a', 'b', 'c'\]", id="three columns"),
        pytest.param(b"", "cannot be read as a table of orthologs", id="empty"),
        pytest.param(b"\xff\xfe\x00", "cannot be read as a table of orthologs", id="binary"),
        pytest.param(b"A,B\nA,C\n", "holds no pair of genes that is clear", id="no pair"),
    ],
)
def test_broken_tables_are_told_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_orthologs("human", "mouse", path)
    with pytest.raises(DataError, match="There is no file at"):
        load_orthologs("human", "mouse", tmp_path / "none.csv")
