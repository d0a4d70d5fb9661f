"""Do genes lie near the topics they point to, in the space and on the map?"""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.errors import DataError
from scetm_core.joint_map import (
    gene_space,
    left_out_sentences,
    map_genes_and_topics,
    map_sets_and_topics,
    nearest_genes,
    nearest_topics,
    set_space,
    topics_near,
)

N_GROUPS, PER_GROUP = 4, 40


@pytest.fixture
def result() -> ad.AnnData:
    """160 genes in 4 directions, one topic in each; lengths have nothing to do with directions."""
    rng = np.random.default_rng(0)
    directions = np.eye(N_GROUPS, 10)
    rho = np.repeat(directions, PER_GROUP, axis=0) + rng.normal(scale=0.15, size=(N_GROUPS * PER_GROUP, 10))
    rho *= rng.uniform(0.1, 5, size=(len(rho), 1))
    genes = pd.DataFrame(index=[f"g{row // PER_GROUP}_{row % PER_GROUP}" for row in range(len(rho))])
    result = ad.AnnData(obs=pd.DataFrame(index=["cell"]), var=genes, varm={keys.RHO: rho.astype(np.float32)})
    result.uns[keys.ALPHA] = (20 * directions + rng.normal(scale=0.5, size=directions.shape)).astype(np.float32)
    result.uns[keys.UNS] = {}
    return result


def as_pathway_model(result: ad.AnnData, alpha: np.ndarray) -> ad.AnnData:
    """The result with rho fixed to as many gene sets as alpha has columns."""
    result = result.copy()
    result.uns[keys.ALPHA] = alpha
    result.uns[keys.UNS] = {keys.UNS_RHO_NAMES: np.array([f"SET_{column}" for column in range(alpha.shape[1])])}
    return result


def silent(share: float, message: str) -> None:
    assert 0 <= share <= 1
    assert message


# ---- nearest ------------------------------------------------------------------------------------------------------


def test_nearest_is_by_cosine(result: ad.AnnData) -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    expected = cosine_similarity(result.uns[keys.ALPHA], result.varm[keys.RHO])
    genes = nearest_genes(result, 2, 25)
    assert list(genes["name"]) == list(result.var_names[np.argsort(-expected[2])[:25]])
    np.testing.assert_allclose(genes["cosine"], np.sort(expected[2])[::-1][:25], rtol=1e-5)
    topics = nearest_topics(result, "g1_7", 99)
    place = result.var_names.get_loc("g1_7")
    assert list(topics["name"]) == [f"topic_{topic}" for topic in np.argsort(-expected[:, place])]
    np.testing.assert_allclose(topics["cosine"], np.sort(expected[:, place])[::-1], rtol=1e-5, atol=1e-7)


def test_the_length_of_a_gene_or_topic_does_not_matter(result: ad.AnnData) -> None:
    before = nearest_genes(result, 0, 30)
    result.varm[keys.RHO] = result.varm[keys.RHO] * np.linspace(0.01, 90, result.n_vars)[:, None].astype(np.float32)
    pd.testing.assert_frame_equal(nearest_genes(result, 0, 30), before, rtol=1e-4)


def test_unknown_names_are_told(result: ad.AnnData) -> None:
    with pytest.raises(DataError, match="no 'topic_9' among the genes"):
        nearest_genes(result, 9, 5)
    with pytest.raises(DataError, match="no 'nobody' among the genes"):
        nearest_topics(result, "nobody", 5)


# ---- what cannot be placed ----------------------------------------------------------------------------------------


def test_genes_and_topics_of_zeros_have_no_place_and_that_is_said(result: ad.AnnData) -> None:
    result.varm[keys.RHO][[0, 5]] = 0
    result.uns[keys.ALPHA][3] = 0
    said = " ".join(left_out_sentences(gene_space(result)))
    assert "2 genes have an embedding of zeros" in said
    assert "topic_3: an embedding of zeros" in said
    assert nearest_genes(result, 3, 5).empty
    assert nearest_topics(result, "g0_5", 5).empty
    assert "g0_5" not in set(nearest_genes(result, 0, 999)["name"])
    table = map_genes_and_topics(result, seed=0, on_progress=silent)
    assert not {"g0_0", "g0_5", "topic_3"} & set(table["name"])
    assert table.attrs["sentences"] == left_out_sentences(gene_space(result))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_told_by_name(bad: float, result: ad.AnnData) -> None:
    result.varm[keys.RHO][7, 2] = bad
    with pytest.raises(DataError, match=r"1 gene is not finite .*g0_7"):
        gene_space(result)
    result.varm[keys.RHO][7, 2] = 0
    result.uns[keys.ALPHA][1, 0] = bad
    with pytest.raises(DataError, match=r"1 topic is not finite .*topic_1"):
        gene_space(result)


def test_a_result_without_an_embedding_or_with_none_that_fits_is_told(result: ad.AnnData) -> None:
    with pytest.raises(DataError, match="not fixed to gene sets"):
        set_space(result)
    result.uns[keys.ALPHA] = np.ones((4, 3))
    with pytest.raises(DataError, match="must have the same dimensions"):
        gene_space(result)
    result.uns[keys.ALPHA] = np.zeros((4, 10))
    with pytest.raises(DataError, match="nothing lies near"):
        gene_space(result)
    del result.uns[keys.ALPHA]
    with pytest.raises(DataError, match="no embedding of its genes"):
        gene_space(result)


# ---- the map ------------------------------------------------------------------------------------------------------


def nearest_on(table: pd.DataFrame, topic: str, n: int) -> list[str]:
    """Names of the points nearest to a topic on a map."""
    xy = table.set_index("name")[["x", "y"]]
    points = xy[(table["kind"] != "topic").to_numpy()]
    return list(np.square(points - xy.loc[topic]).sum(axis=1).nsmallest(n).index)


def test_on_the_map_a_topic_lies_among_its_genes(result: ad.AnnData) -> None:
    seen: list[float] = []
    table = map_genes_and_topics(result, seed=0, on_progress=lambda share, message: seen.append(share))
    assert list(table.columns) == ["name", "kind", "x", "y"]
    assert table[["x", "y"]].dtypes.tolist() == [np.float32, np.float32]
    assert list(table["name"]) == [*result.var_names, "topic_0", "topic_1", "topic_2", "topic_3"]
    assert table["kind"].value_counts().to_dict() == {"gene": 160, "topic": 4}
    for topic in range(N_GROUPS):
        assert {name[:2] for name in nearest_on(table, f"topic_{topic}", 10)} == {f"g{topic}"}
    assert seen == sorted(seen)
    assert len(seen) >= 3


def test_topics_that_are_alike_lie_among_their_genes_all_the_same(result: ad.AnnData) -> None:
    rng = np.random.default_rng(1)
    common = np.zeros(10)
    common[9] = 60  # topics are far more like each other than like any gene
    result.uns[keys.ALPHA] = (20 * np.eye(N_GROUPS, 10) + common + rng.normal(size=(N_GROUPS, 10))).astype(np.float32)
    table = map_genes_and_topics(result, seed=0, on_progress=silent)
    hits = [{name[:2] for name in nearest_on(table, f"topic_{topic}", 5)} == {f"g{topic}"} for topic in range(4)]
    assert sum(hits) >= 3


def test_the_same_seed_gives_the_same_map(result: ad.AnnData) -> None:
    first, again = (map_genes_and_topics(result, seed=3, on_progress=silent) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_work_stops_where_progress_raises(result: ad.AnnData) -> None:
    def stop(share: float, message: str) -> None:
        if share > 0.2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        map_genes_and_topics(result, seed=0, on_progress=stop)


@pytest.mark.parametrize("n_genes", [1, 3, 9])
def test_few_genes_have_a_map_too(n_genes: int, result: ad.AnnData) -> None:
    table = map_genes_and_topics(result[:, :n_genes].copy(), seed=0, on_progress=silent)
    assert len(table) == n_genes + N_GROUPS
    assert np.isfinite(table[["x", "y"]]).all(axis=None)


# ---- gene sets ----------------------------------------------------------------------------------------------------


def test_a_gene_set_lies_near_the_topics_that_weigh_it_more_than_others_do(result: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    alpha = rng.normal(scale=0.05, size=(4, 80)) + np.repeat(np.eye(4), 20, axis=1)
    alpha += rng.normal(scale=3, size=80)  # what all topics share says nothing
    model = as_pathway_model(result, alpha)
    space = set_space(model)
    for place in (0, 25, 79):
        assert topics_near(space, f"SET_{place}", 1)["name"].tolist() == [f"topic_{place // 20}"]
        centred = alpha[:, place] - alpha[:, place].mean()
        axis = np.eye(4)[place // 20] - 0.25
        expected = centred @ axis / np.linalg.norm(centred) / np.linalg.norm(axis)
        assert topics_near(space, f"SET_{place}", 1)["cosine"].iloc[0] == pytest.approx(expected, rel=1e-5)
    table = map_sets_and_topics(model, seed=0, on_progress=silent)
    assert table["kind"].value_counts().to_dict() == {"set": 80, "topic": 4}
    for topic in range(4):
        near = nearest_on(table, f"topic_{topic}", 8)
        assert {int(name.removeprefix("SET_")) // 20 for name in near} == {topic}


def test_the_nearest_need_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np, anndata as ad; from scetm_core.joint_map import nearest_genes;"
        "r = ad.AnnData(np.zeros((1, 3)), varm={'rho': np.eye(3)}, uns={'alpha': np.eye(3)[:2]});"
        "nearest_genes(r, 0, 2); print([m for m in ('sklearn', 'umap', 'numba', 'torch') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
