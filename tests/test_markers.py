"""Are known markers well-formed, and do topics get the names that their genes speak for, and no others?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scetm_core.errors import DataError
from scetm_core.gene_names import species_of
from scetm_core.markers import load_markers, marker_table, suggest_topic_names

OTHERS = [f"OTHER{number}" for number in range(12_000)]


def beta_with(*leading: list[str], seed: int = 0, genes: list[str] | None = None) -> pd.DataFrame:
    """Noise, in which some genes lead each topic, the first of them most."""
    markers = [gene for members in load_markers().values() for gene in members]
    names = genes or list(dict.fromkeys([*markers, *OTHERS]))
    beta = pd.DataFrame(np.random.default_rng(seed).normal(size=(len(names), len(leading))), index=names)
    for topic, members in enumerate(leading):
        beta.loc[members, topic] = np.arange(20.0, 20 - len(members), -1)
    return beta.set_axis([f"topic_{topic}" for topic in range(len(leading))], axis=1)


# ---- the table --------------------------------------------------------------------------------------------------


def test_every_cell_type_has_several_human_markers_and_a_source() -> None:
    table = marker_table()
    assert list(table.columns) == ["tissue", "cell_type", "genes", "source"]
    assert len(table) > 70
    assert not table.duplicated(["tissue", "cell_type"]).any()
    assert table["source"].str.fullmatch(r"10\.\d{4}/[\w.-]+").all()
    assert table["genes"].map(len).between(5, 12).all()
    for genes in table["genes"]:
        assert len(set(genes)) == len(genes)
        assert all(gene == gene.strip() and gene for gene in genes)
    assert species_of([gene for genes in table["genes"] for gene in genes]) == "human"


def test_what_a_caller_does_to_its_table_is_its_own_business() -> None:
    marker_table()["genes"].iloc[0].clear()
    load_markers()["Alpha cell"].clear()
    assert load_markers()["Alpha cell"]


def test_markers_can_be_had_of_some_tissues_only() -> None:
    some = load_markers(["pancreas", "general"])
    assert "INS" in some["Beta cell"]
    assert "Fibroblast" in some
    assert "Microglia" not in some
    assert "Microglia" in load_markers()
    with pytest.raises(DataError, match=r"no markers for \['moon'\].*'pancreas'"):
        load_markers(["pancreas", "moon"])


# ---- names of topics --------------------------------------------------------------------------------------------


def test_topics_are_named_by_the_markers_that_lead_them() -> None:
    beta = beta_with(["GCG", "ARX", "IRX2", "GC"], OTHERS[:4], ["CDH5", "PECAM1", "VWF", "KDR", "GCG"])
    names = suggest_topic_names(beta, load_markers())
    assert names["cell_type"].to_dict() == {"topic_0": "Alpha cell", "topic_1": "", "topic_2": "Endothelial cell"}
    assert names.index.name == "topic"
    assert names.loc["topic_0", "genes"][:4] == ["GCG", "ARX", "IRX2", "GC"], "the highest beta first"
    assert names.loc["topic_1", "genes"] == []
    assert names.loc["topic_2", "genes"][:4] == ["CDH5", "PECAM1", "VWF", "KDR"]
    assert (names["q_value"] >= names["p_value"]).all()


def test_noise_gets_no_name() -> None:
    names = suggest_topic_names(beta_with(*[[]] * 40, seed=3), load_markers())
    assert (names["cell_type"] != "").sum() <= 1
    assert names["q_value"].median() > 0.1


def test_one_marker_names_no_topic_however_rare_it_is() -> None:
    beta = beta_with(["GHRL"], genes=["GHRL", "GCG", "ARX", *OTHERS])
    names = suggest_topic_names(beta, {"Epsilon cell": ["GHRL"], "Alpha cell": ["GCG", "ARX"]}, n_top=1)
    assert names.loc["topic_0", "p_value"] < 0.001
    assert names.loc["topic_0", "cell_type"] == ""


def test_the_p_value_is_that_of_drawing_the_leading_genes_at_random() -> None:
    beta = beta_with(["A", "B"], genes=["A", "B", "C", *OTHERS[:17]])
    names = suggest_topic_names(beta, {"type": ["A", "B", "C"]}, n_top=2)
    assert names.loc["topic_0", "p_value"] == pytest.approx(3 / 190), "3 pairs of the markers of 190 of all"


def test_markers_of_human_name_topics_of_mouse_and_of_ids() -> None:
    mouse = [gene.capitalize() for gene in ("GCG", "ARX", "IRX2", "GC", "DPP4", "CDH5", "PECAM1", "KDR", "SST", "HHEX")]
    genes = [*mouse, *(f"Other{number}" for number in range(2000))]
    beta = beta_with(mouse[:4], genes=genes)
    assert suggest_topic_names(beta, load_markers()).loc["topic_0", "cell_type"] == "Alpha cell"
    ids = beta.set_axis([f"ENSMUSG{number:011d}" for number in range(len(beta))], axis=0)
    named = suggest_topic_names(ids, load_markers(), symbols=genes)
    assert named.loc["topic_0", "cell_type"] == "Alpha cell"
    assert named.loc["topic_0", "genes"][:2] == ["ENSMUSG00000000000", "ENSMUSG00000000001"]


def test_the_order_of_genes_changes_nothing() -> None:
    beta = beta_with(["GCG", "ARX", "IRX2"], seed=1)
    pd.testing.assert_frame_equal(
        suggest_topic_names(beta, load_markers()), suggest_topic_names(beta[::-1], load_markers())
    )
