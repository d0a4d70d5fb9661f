"""Do the pathway figures show alpha, with names one can read?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from scetm_core import keys
from scetm_core.figures import (
    pathway_name,
    pathway_topic_frame,
    pathway_weights,
    plot_pathway_topic_heatmap,
    plot_topics_of_pathway,
    topics_in_use,
    topics_of_pathway_frame,
)

SETS = [
    "REACTOME_GLYCOGEN_BREAKDOWN_GLYCOGENOLYSIS", "REACTOME_REGULATION_OF_INSULIN_SECRETION", "REACTOME_TRANSLATION",
    "REACTOME_DIGESTION_OF_DIETARY_LIPID", "REACTOME_MRNA_SPLICING", "REACTOME_SIGNALING_BY_FGFR4_IN_DISEASE",
    "REACTOME_A", "REACTOME_B",
]  # fmt: skip


@pytest.fixture
def pathways(result: ad.AnnData) -> ad.AnnData:
    """Six topics; set k leads topic k; topic 5 makes set 0 less likely; two dimensions beyond the sets are learnt."""
    alpha = np.random.default_rng(0).normal(scale=0.1, size=(6, len(SETS) + 2)).astype(np.float32)
    alpha[np.arange(6), np.arange(6)] = 3
    alpha[5, 0] = -4
    alpha[:, -2:] = 50
    result.uns[keys.ALPHA] = alpha
    result.uns[keys.UNS] = {keys.UNS_RHO_NAMES: np.array(SETS), keys.UNS_CONFIG: '{"model": {"rho_file": null}}'}
    return result


def test_weights_are_alpha_of_the_gene_sets_only(pathways: ad.AnnData) -> None:
    weights = pathway_weights(pathways)
    assert list(weights.index) == SETS
    assert weights.loc[SETS[0], "topic_5"] == -4
    np.testing.assert_array_equal(weights.to_numpy(), pathways.uns[keys.ALPHA][:, : len(SETS)].T)


def test_each_topic_brings_its_leading_pathways_in_the_order_of_topics(pathways: ad.AnnData) -> None:
    assert list(pathway_topic_frame(pathways, n_sets=1).index) == SETS[:6]
    frame = pathway_topic_frame(pathways, n_sets=1, topics=[4, 1])
    assert list(frame.columns) == ["topic_4", "topic_1"]
    assert list(frame.index) == [SETS[4], SETS[1]]
    assert frame.loc[SETS[1], "topic_1"] == 3


def test_no_or_unknown_topics_are_said(pathways: ad.AnnData) -> None:
    assert "Pick at least one" in pathway_topic_frame(pathways, topics=[]).attrs["reason"]
    assert "no topic_9" in pathway_topic_frame(pathways, topics=[9]).attrs["reason"]
    assert "no gene set called 'nobody'" in topics_of_pathway_frame(pathways, "nobody").attrs["reason"]


def test_a_learnt_gene_embedding_or_one_of_a_file_has_no_pathways(pathways: ad.AnnData) -> None:
    pathways.uns[keys.UNS][keys.UNS_CONFIG] = '{"model": {"rho_file": "vectors.csv"}}'
    assert pathway_weights(pathways).empty
    del pathways.uns[keys.UNS][keys.UNS_RHO_NAMES]
    for frame in (
        pathway_weights(pathways), pathway_topic_frame(pathways), topics_of_pathway_frame(pathways, SETS[0])
    ):  # fmt: skip
        assert "not fixed to gene sets" in frame.attrs["reason"]
    assert "not fixed" in plot_pathway_topic_heatmap(frame).layout.annotations[0].text.replace("<br>", " ")
    assert "not fixed" in plot_topics_of_pathway(frame).layout.annotations[0].text.replace("<br>", " ")


def test_the_heatmap_is_signed_and_frames_the_topic_in_focus(pathways: ad.AnnData) -> None:
    frame = pathway_topic_frame(pathways, n_sets=1)
    figure = plot_pathway_topic_heatmap(frame, selected_topic=2)
    (heatmap,) = figure.data
    np.testing.assert_array_equal(heatmap.z, frame.to_numpy())
    assert (heatmap.zmin, heatmap.zmax) == (-4, 4)
    (outline,) = figure.layout.shapes
    assert (outline.x0, outline.x1) == (1.5, 2.5)
    assert heatmap.text[0][0] == "Glycogen breakdown glycogenolysis (Reactome)"


def test_names_with_a_keyword_are_bold_in_any_letter_case(pathways: ad.AnnData) -> None:
    figure = plot_pathway_topic_heatmap(pathway_topic_frame(pathways, n_sets=1), keywords=["inSULin", " ", "lipid "])
    bold = [text for text in figure.layout.yaxis.ticktext if text.startswith("<b>")]
    assert len(bold) == 2
    assert "insulin secretion" in bold[0].replace("<br>", " ")
    assert "lipid" in bold[1]


def test_names_beside_the_heatmap_are_wrapped_and_leave_out_a_collection_that_all_share(pathways: ad.AnnData) -> None:
    names = plot_pathway_topic_heatmap(pathway_topic_frame(pathways, n_sets=1)).layout.yaxis.ticktext
    assert not any("Reactome" in name for name in names)
    assert max(len(line) for name in names for line in name.split("<br>")) <= 34
    pathways.uns[keys.UNS][keys.UNS_RHO_NAMES] = np.array(["HALLMARK_G2M_CHECKPOINT", *SETS[1:]])
    names = plot_pathway_topic_heatmap(pathway_topic_frame(pathways, n_sets=1)).layout.yaxis.ticktext
    assert "G2M checkpoint (Hallmark)" in names


def test_the_topics_of_a_pathway_come_by_falling_alpha(pathways: ad.AnnData) -> None:
    frame = topics_of_pathway_frame(pathways, SETS[0])
    assert frame["topic"].iloc[0] == "topic_0"
    assert frame["topic"].iloc[-1] == "topic_5"
    assert (np.diff(frame["alpha"]) <= 0).all()
    figure = plot_topics_of_pathway(frame, topic_names={"topic_0": "liver"})
    (bars,) = figure.data
    assert list(bars.x) == list(frame["alpha"])
    assert figure.layout.yaxis.ticktext[0] == "0 liver"
    assert bars.marker.color[0] != bars.marker.color[-1]  # above and below 0


def test_topics_in_use_are_those_that_explain_most(result: ad.AnnData) -> None:
    share = result.obsm[keys.THETA].mean(axis=0)
    chosen = topics_in_use(result, n_topics=3)
    assert chosen == sorted(np.argsort(-share)[:3])
    assert all(share[topic] > 0.5 / 6 for topic in topics_in_use(result))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("REACTOME_GLYCOGEN_BREAKDOWN_GLYCOGENOLYSIS", "Glycogen breakdown glycogenolysis (Reactome)"),
        ("REACTOME_SIGNALING_BY_FGFR4", "Signaling by FGFR4 (Reactome)"),
        ("REACTOME_MRNA_SPLICING", "mRNA splicing (Reactome)"),
        ("REACTOME_RNA_POL_III_CHAIN_ELONGATION", "RNA pol III chain elongation (Reactome)"),
        ("REACTOME_GLUCAGON_LIKE_PEPTIDE1", "Glucagon like peptide1 (Reactome)"),
        ("GOBP_RESPONSE_TO_A_DRUG", "Response to a drug (GO process)"),
        ("KEGG_MEDICUS_WNT_SIGNALING", "WNT signaling (KEGG Medicus)"),
        ("REACTOME_UNCOUPLING_PROTEINS_", "Uncoupling proteins (Reactome)"),
        ("MY_OWN_SET", "My own set"),
        ("Beta cells", "Beta cells"),
        ("beta_cells", "beta cells"),
        ("INS", "INS"),
        ("_", " "),
    ],
)
def test_pathways_are_called_as_one_reads_them(name: str, shown: str) -> None:
    assert pathway_name(name) == shown
