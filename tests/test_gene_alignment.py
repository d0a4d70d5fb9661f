"""Is each gene of a model found in a target as the names allow, counted, and never guessed?"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from scetm_core.errors import DataError, TransferError
from scetm_core.gene_alignment import GeneAlignment, align_genes, orthologs_for, read_aliases
from scetm_core.gene_names import ALIAS, CASE, EXACT, ORTHOLOG, VERSION, match_names
from scetm_core.orthologs import load_orthologs, read_pairs

HUMAN = ["INS", "GCG", "SST", "PPY", "GHRL", "ACTB", "GAPDH", "NKX6-1", "CD3E", "PECAM1", "TP53", "KRT19"]
MOUSE = ["Ins2", "Gcg", "Sst", "Ppy", "Ghrl", "Actb", "Gapdh", "Nkx6-1", "Cd3e", "Pecam1", "Trp53", "Krt19"]

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("came") is None, reason="the table of orthologs is in the package of demo data"
)


def pairs_of(alignment: GeneAlignment) -> dict[str, str]:
    """Gene of the model -> gene of the target, for those that were found."""
    column = alignment.table["target_gene"]
    return dict(column[column != ""])


# ---- by name ----------------------------------------------------------------------------------------------------


def test_the_report_counts_what_is_matched_missing_and_unused() -> None:
    found = align_genes(
        ["XYZ", "gcg", "INS", "ENSG00000254647.7", "Sst"], ["INS", "GCG", "ENSG00000254647.2", "SST", "PPY"]
    )
    assert pairs_of(found) == {
        "INS": "INS",
        "GCG": "gcg",
        "ENSG00000254647.2": "ENSG00000254647.7",
        "SST": "Sst",
    }
    report = found.report
    assert (report.n_model, report.n_target, report.n_matched) == (5, 5, 4)
    assert report.how == {EXACT: 1, VERSION: 1, CASE: 2}
    assert (report.missing, report.unused) == (["PPY"], ["XYZ"])
    assert (report.n_summed, report.n_dropped) == (0, 0)
    assert found.table["way"].tolist() == [EXACT, CASE, VERSION, CASE, ""]
    assert found.matched.tolist() == [True, True, True, True, False]
    assert found.used.tolist() == [False, True, True, True, True]
    said = " ".join(report.sentences())
    assert "4 of the model's 5 genes are in the target: 2 ignoring letter case, 1 by name" in said
    assert "1 genes are missing in the target and count as 0, e.g. PPY." in said
    assert "1 genes of the target are not used, e.g. XYZ." in said


def test_counts_of_the_target_times_the_membership_are_counts_of_the_models_genes() -> None:
    found = align_genes(["c", "x", "a"], ["a", "b", "c"])
    counts = sp.csr_matrix(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
    assert (counts @ found.membership).toarray().tolist() == [[3, 0, 1], [6, 0, 4]]


def test_genes_that_the_encoder_looks_at_are_counted_apart() -> None:
    seen = np.array([True, True, False, True])
    report = align_genes(["a", "c"], ["a", "b", "c", "d"], seen=seen).report
    assert (report.n_seen, report.n_seen_matched) == (3, 1)
    assert "The encoder looks at 3 genes; the target has 1 of them." in report.sentences()


def test_a_better_way_to_a_gene_wins_over_a_worse_one() -> None:
    found = align_genes(["Ins", "INS", "GCG"], ["GCG", "INS"])
    assert pairs_of(found) == {"GCG": "GCG", "INS": "INS"}
    assert found.report.unused == ["Ins"], "its counts are not added"
    assert found.report.n_summed == 0


def test_an_ensembl_id_is_found_whichever_side_has_the_version() -> None:
    ids = [f"ENSG{number:011d}" for number in range(5)]
    versioned = [f"{name}.{place}" for place, name in enumerate(ids, start=1)]
    for target, model in ((ids, versioned), (versioned, ids)):
        found = align_genes(target, model)
        assert found.report.how == {VERSION: 5}
        assert pairs_of(found) == dict(zip(model, target, strict=True))


def test_aliases_are_tried_before_all_else() -> None:
    found = align_genes(["INS", "GCG"], ["INS", "IAPP", "GCG"], aliases={"INS": "IAPP"})
    assert pairs_of(found) == {"IAPP": "INS", "GCG": "GCG"}
    assert found.report.how == {ALIAS: 1, EXACT: 1}
    assert "1 by your table of aliases" in found.report.sentences()[0]


def test_an_alias_that_leads_nowhere_leaves_a_gene_to_the_other_ways() -> None:
    matching = match_names(["INS", "GCG"], ["INS", "GCG"], aliases={"INS": "unheard of", "other": "GCG"})
    assert matching.ways == {"INS": EXACT, "GCG": EXACT}


@pytest.mark.parametrize("side", ["target", "model"])
def test_symbols_are_used_where_one_side_has_ids(side: str) -> None:
    ids = [f"ENSG{number:011d}" for number in range(len(HUMAN))]
    if side == "target":
        found = align_genes(ids, HUMAN, target_symbols=HUMAN)
        assert pairs_of(found) == dict(zip(HUMAN, ids, strict=True)), "genes go by their names in the table"
    else:
        found = align_genes(HUMAN, ids, model_symbols=HUMAN)
        assert pairs_of(found) == dict(zip(ids, HUMAN, strict=True))
    assert found.report.how == {EXACT: len(HUMAN)}


def test_whichever_of_names_and_symbols_fit_best_are_matched() -> None:
    ids = [f"ENSG{number:011d}" for number in range(4)]
    found = align_genes(ids, ids, target_symbols=["A", "B", "", "D"], model_symbols=["A", "", "", ""])
    assert found.report.n_matched == 4


def test_a_symbol_of_two_genes_of_the_model_leads_to_neither() -> None:
    found = align_genes(["A", "B"], ["id1", "id2", "id3"], model_symbols=["A", "A", "B"])
    assert pairs_of(found) == {"id3": "B"}
    assert found.report.unused == ["A"]


def test_genes_of_the_target_with_one_symbol_are_summed() -> None:
    found = align_genes(["id1", "id2", "id3"], ["A", "B"], target_symbols=["A", "A", "B"])
    assert pairs_of(found) == {"A": "id1 + id2", "B": "id3"}


# ---- several for one --------------------------------------------------------------------------------------------


def test_several_genes_equally_good_for_one_are_summed_and_it_is_said() -> None:
    found = align_genes(["Ins", "ins", "GCG"], ["INS", "GCG"], several="sum")
    assert found.membership.toarray().tolist() == [[1, 0], [1, 0], [0, 1]]
    assert pairs_of(found) == {"INS": "Ins + ins", "GCG": "GCG"}
    assert (found.report.n_summed, found.report.n_dropped, found.report.n_matched) == (1, 0, 2)
    assert "1 genes of the model are each the sum of several genes of the target." in found.report.sentences()


def test_several_genes_equally_good_for_one_are_dropped_and_it_is_said() -> None:
    found = align_genes(["Ins", "ins", "GCG"], ["INS", "GCG"], several="drop")
    assert found.membership.toarray().tolist() == [[0, 0], [0, 0], [0, 1]]
    assert (found.report.n_summed, found.report.n_dropped, found.report.n_matched) == (0, 1, 1)
    assert (found.report.missing, found.report.unused) == (["INS"], ["Ins", "ins"])
    assert any("1 genes of the model" in text and "were left out" in text for text in found.report.sentences())


def test_another_way_to_treat_several_is_refused() -> None:
    with pytest.raises(TransferError, match="'sum' or 'drop', not 'first'"):
        align_genes(["a"], ["a"], several="first")


# ---- what is doubtful, and what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covered", "n_matched", "words"),
    [
        pytest.param(0.5, 5, [], id="half is enough"),
        pytest.param(0.49, 5, ["Only 49% of the target's counts"], id="few counts"),
        pytest.param(0.9, 4, ["Only 4 of the 10 genes that place a cell"], id="few genes of the encoder"),
        pytest.param(0.1, 1, ["Only 10% of the target's", "Only 1 of the 10 genes"], id="both"),
        pytest.param(None, 5, [], id="counts not measured"),
    ],
)
def test_less_than_half_is_warned_of(covered: float | None, n_matched: int, words: list[str]) -> None:
    model = [f"gene{number}" for number in range(10)]
    report = dataclasses.replace(align_genes(model[:n_matched], model).report, covered=covered)
    assert len(report.warnings) == len(words)
    assert all(text.startswith(word) for text, word in zip(report.warnings, words, strict=True))
    assert report.to_dict()["warnings"] == report.warnings


def test_the_sample_that_counts_were_measured_in_is_told_of() -> None:
    report = dataclasses.replace(align_genes(["a"], ["a"]).report, covered=0.875, covered_cells=1234)
    assert "87.5% of the target's counts are in genes that the model knows (in 1,234 cells)." in report.sentences()


def test_the_report_as_json_names_the_first_genes_only() -> None:
    model = [f"gene{number}" for number in range(100)]
    report = align_genes([*model[:40], *(f"x{number}" for number in range(50))], model).report.to_dict()
    assert len(report["missing"]) == len(report["unused"]) == 20
    assert (report["n_matched"], report["n_unused"]) == (40, 50)


@pytest.mark.parametrize(
    ("target", "model", "words"),
    [
        pytest.param(
            [f"ENSG{number:011d}" for number in range(12)],
            HUMAN,
            r"The target names its genes by Ensembl id: give it a column of symbols",
            id="ids in the target",
        ),
        pytest.param(
            HUMAN,
            [f"ENSG{number:011d}" for number in range(12)],
            r"The source names its genes by Ensembl id: give it a column of symbols",
            id="ids in the source",
        ),
        pytest.param(
            [f"a{number}" for number in range(9)],
            [f"b{number}" for number in range(9)],
            r"model: \['b0', 'b1', 'b2'\], target: \['a0', 'a1', 'a2'\]\).*table of orthologs.*one of aliases",
            id="other names",
        ),
    ],
)
def test_where_nothing_matches_it_is_said_what_to_do(target: list[str], model: list[str], words: str) -> None:
    with pytest.raises(TransferError, match=words):
        align_genes(target, model)


def test_a_table_of_orthologs_that_leads_nowhere_is_told_of() -> None:
    with pytest.raises(TransferError, match="does not lead from the target's genes to the model's"):
        align_genes(["a", "b"], ["c", "d"], orthologs={"x": "c"})


def test_hardly_any_gene_is_as_good_as_none() -> None:
    model = [f"gene{number}" for number in range(300)]
    with pytest.raises(TransferError, match="Hardly any gene"):
        align_genes(model[:2], model)
    assert align_genes(model[:3], model).report.n_matched == 3


# ---- orthologs --------------------------------------------------------------------------------------------------


@needs_package
@pytest.mark.parametrize("choice", ["auto", "human2mouse", "mouse2human"])
@pytest.mark.parametrize(("target", "model"), [("human", "mouse"), ("mouse", "human")])
def test_packaged_orthologs_lead_both_ways(choice: str, target: str, model: str) -> None:
    pairs = dict(list(load_orthologs(target, model).items())[:300])
    names, known = list(pairs), list(pairs.values())
    orthologs, notes = orthologs_for(choice, target=names, model=known)
    found = align_genes(names, known, orthologs=orthologs, notes=notes)
    assert pairs_of(found) == {partner: name for name, partner in pairs.items()}
    assert found.report.how == {ORTHOLOG: 300}
    assert found.report.species == (model, target)
    assert any(f"Genes of {target} were paired with those of {model}" in note for note in notes) == (choice == "auto")


@needs_package
def test_an_ortholog_is_preferred_to_a_gene_of_the_same_name() -> None:
    orthologs = load_orthologs("human", "mouse")
    found = align_genes(["TP53", "TRP53"], ["Trp53", "Gcg"], orthologs=orthologs)
    assert pairs_of(found) == {"Trp53": "TP53"}
    assert found.report.how == {ORTHOLOG: 1}
    assert found.report.unused == ["TRP53"]


@pytest.mark.parametrize(
    ("target", "model"),
    [
        pytest.param(HUMAN, HUMAN, id="one species"),
        pytest.param([f"g{number}" for number in range(20)], MOUSE, id="unknown species"),
    ],
)
def test_without_two_known_species_there_are_no_orthologs(target: list[str], model: list[str]) -> None:
    assert orthologs_for("auto", target=target, model=model) == (None, [])


def test_orthologs_can_be_left_out() -> None:
    assert orthologs_for("none", target=HUMAN, model=MOUSE) == (None, [])


@pytest.mark.parametrize("header", ["", "human_gene,mouse_gene\n"], ids=["no header", "header"])
@pytest.mark.parametrize("first", ["human", "mouse"])
@pytest.mark.parametrize("target", ["human", "mouse"])
def test_a_table_of_ones_own_leads_both_ways_in_either_order_of_columns(
    tmp_path: Path, target: str, first: str, header: str
) -> None:
    rows = list(zip(HUMAN, MOUSE, strict=True)) if first == "human" else list(zip(MOUSE, HUMAN, strict=True))
    named = header if first == "human" or not header else "mouse_gene,human_gene\n"
    path = tmp_path / "pairs.csv"
    path.write_text(named + "".join(f"{one},{other}\n" for one, other in rows))
    names, known = (HUMAN, MOUSE) if target == "human" else (MOUSE, HUMAN)
    orthologs, notes = orthologs_for(str(path), target=names, model=known)
    found = align_genes(names, known, orthologs=orthologs, notes=notes)
    assert pairs_of(found) == dict(zip(known, names, strict=True))
    assert found.report.how == {ORTHOLOG: 12}
    assert "12 pairs of genes from pairs.csv." in found.report.sentences()


@pytest.mark.parametrize("text", ["t0,s0\nt1,s1\n", "source,target\ns0,t0\ns1,t1\n"], ids=["order", "header"])
def test_a_table_between_unknown_species_leads_from_target_to_source(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    orthologs, _ = orthologs_for(str(path), target=["t0", "t1"], model=["s0", "s1"])
    assert orthologs == {"t0": "s0", "t1": "s1"}


@pytest.mark.parametrize("several", ["sum", "drop"])
def test_many_to_one_orthologs_are_summed_or_dropped_and_it_is_said(tmp_path: Path, several: str) -> None:
    target = [*MOUSE, "Ins1"]
    path = tmp_path / "pairs.csv"
    rows = [*zip(MOUSE, HUMAN, strict=True), ("Ins1", "INS")]
    path.write_text("mouse,human\n" + "".join(f"{mouse},{human}\n" for mouse, human in rows))
    orthologs, notes = orthologs_for(str(path), target=target, model=HUMAN, several=several)
    found = align_genes(target, HUMAN, orthologs=orthologs, several=several, notes=notes)
    if several == "sum":
        assert pairs_of(found)["INS"] == "Ins2 + Ins1"
        assert (found.report.n_matched, found.report.n_summed) == (12, 1)
        assert "1 genes of the model are each the sum of several genes of the target." in found.report.sentences()
    else:
        assert found.report.missing == ["INS"]
        assert found.report.unused == ["Ins2", "Ins1"]
        assert "11 pairs of genes from pairs.csv." in found.report.sentences()


def test_one_to_many_orthologs_are_no_pair_whatever_is_done_with_several(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("A,a1\nA,a2\nB,b\nC,b\n")
    assert load_orthologs("pig", "cow", path, many_to_one=True) == {"B": "b", "C": "b"}
    path.write_text("A,a1\nA,a2\nB,b\nC,b\nD,d\n\n")
    assert load_orthologs("pig", "cow", path) == {"D": "d"}


def test_a_table_of_orthologs_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file at .*nonsense\.csv\. Check the path of the table"):
        orthologs_for(str(tmp_path / "nonsense.csv"), target=MOUSE, model=HUMAN)


# ---- aliases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a,b\nc,b\n", "target,model\na,b\nc,b\n", "gene\tname\na\tb\nc\tb\n"])
def test_a_table_of_aliases_is_read_with_or_without_a_header(tmp_path: Path, text: str) -> None:
    path = tmp_path / "aliases.csv"
    path.write_text(text)
    assert read_pairs(path) == {"a": "b", "c": "b"}
    assert read_aliases(str(path)) == {"a": "b", "c": "b"}


def test_no_table_of_aliases_is_none() -> None:
    assert read_aliases(None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a,b\na,c\n", r"leaves open what \['a'\] are called: give each name one partner", id="two"),
        pytest.param("a,b\nd,\n", r"leaves open what \['d'\]", id="none"),
        pytest.param("a,b,c\n1,2,3\n", r"has 3 columns\. Keep two: name in the target, name in the model", id="wide"),
        pytest.param("", "cannot be read as a table of names", id="empty"),
    ],
)
def test_an_unclear_table_of_aliases_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "aliases.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_pairs(path)
