"""Is the enrichment right? Against a hand calculation, gseapy, exhaustive nulls, and rankings without meaning."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import gseapy
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scetm_core.enrichment import TAILS, enrichment_score, prerank, running_sum
from scetm_core.enrichment_null import draw_sets, score_draws
from scetm_core.errors import ConfigError, DataError


def random_beta(n_genes: int = 400, n_topics: int = 3, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    genes = [f"G{gene}" for gene in range(n_genes)]
    topics = [f"topic_{topic}" for topic in range(n_topics)]
    return pd.DataFrame(rng.normal(size=(n_genes, n_topics)), index=genes, columns=topics)


def random_sets(
    beta: pd.DataFrame, n_sets: int = 30, seed: int = 1, *, sizes: tuple[int, int] = (5, 60)
) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    return {f"set {s}": list(rng.choice(beta.index, rng.integers(*sizes), replace=False)) for s in range(n_sets)}


def row_of(table: pd.DataFrame, topic: str, gene_set: str) -> pd.Series:
    return table[(table["topic"] == topic) & (table["gene_set"] == gene_set)].iloc[0]


# ---- the score ----------------------------------------------------------------------------------------------------


def test_the_running_sum_equals_a_calculation_by_hand() -> None:
    scores = np.array([4.0, 2.0, 1.0, -1.0, -2.0])
    # weights of the hits 4 and 1 sum to 5; three misses take a third each
    np.testing.assert_allclose(
        running_sum(scores, np.array([0, 2])), [4 / 5, 4 / 5 - 1 / 3, 1 - 1 / 3, 1 / 3, 0], atol=1e-12
    )
    assert enrichment_score(scores, np.array([2, 0])) == pytest.approx(4 / 5)


def test_genes_at_the_bottom_give_a_score_below_zero() -> None:
    assert enrichment_score(np.array([3.0, 2.0, 1.0, -1.0, -5.0]), np.array([3, 4])) == pytest.approx(-1.0)


@pytest.mark.parametrize("hits", [[], [-1], [5], [1, 1]])
def test_hits_that_are_no_positions_are_refused(hits: list[int]) -> None:
    with pytest.raises(DataError, match="hits"):
        enrichment_score(np.arange(5.0)[::-1], np.array(hits, dtype=int))


def test_hits_without_any_weight_count_alike() -> None:
    assert enrichment_score(np.array([2.0, 0.0, 0.0, -1.0]), np.array([1, 2])) == pytest.approx(0.5)


def test_all_genes_in_the_set_score_one() -> None:
    assert enrichment_score(np.array([3.0, 1.0, -1.0]), np.arange(3)) == pytest.approx(1.0)


def test_compiled_scores_equal_those_of_the_running_sum() -> None:
    rng = np.random.default_rng(0)
    scores = np.sort(rng.normal(size=300))[::-1].copy()
    drawn = draw_sets(300, 17, np.arange(50, dtype=np.uint64) * np.uint64(7919))
    fast = score_draws(np.abs(scores)[None], drawn)[0]
    np.testing.assert_allclose(fast, [enrichment_score(scores, hits) for hits in drawn], atol=1e-12)


@pytest.fixture(scope="module")
def both() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same table by gseapy and by us, of one topic in which some sets are planted."""
    beta = random_beta(n_genes=1000, n_topics=1, seed=3)
    sets = random_sets(beta, 60, sizes=(15, 90))
    order = beta["topic_0"].sort_values(ascending=False).index
    sets |= {"planted up": list(order[:40:2]), "planted down": list(order[-40::2]), "half way": list(order[5:300:12])}
    theirs = gseapy.prerank(
        beta["topic_0"], sets, min_size=5, max_size=500, permutation_num=4000, outdir=None, seed=1, threads=1
    ).res2d.set_index("Term")
    return theirs, prerank(beta, sets, n_permutations=4000, tail="either", seed=2).set_index("gene_set")


def test_scores_equal_gseapys(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    theirs, ours = both
    assert len(theirs) == len(ours) == 63
    np.testing.assert_allclose(ours["es"], theirs.loc[ours.index, "ES"].astype(float), atol=1e-6)


def test_p_values_and_normalised_scores_agree_with_gseapys(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    theirs, ours = both
    expected = theirs.loc[ours.index, "NOM p-val"].astype(float)
    spread = np.sqrt(expected * (1 - expected) / 1000)  # about half of 4,000 draws have the sign, in both
    assert (np.abs(ours["p_value"] - expected) < 5 * spread + 0.002).all()
    np.testing.assert_allclose(ours["nes"], theirs.loc[ours.index, "NES"].astype(float), rtol=0.06)


def test_leading_edges_are_gseapys(both: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    theirs, ours = both
    for name, row in ours.iterrows():
        assert set(row["leading_edge"].split(";")) == set(theirs.loc[name, "Lead_genes"].split(";")), name


def test_the_leading_edge_starts_at_the_outer_end() -> None:
    beta = pd.DataFrame({"topic_0": [5.0, 4.0, 3.0, 2.0, 1.0, -1.0, -2.0, -3.0]}, index=list("abcdefgh"))
    table = prerank(beta, {"up": ["c", "a", "b"], "down": ["g", "h", "f"]}, n_permutations=10, min_size=2)
    assert row_of(table, "topic_0", "up")["leading_edge"] == "a;b;c"
    assert row_of(table, "topic_0", "down")["leading_edge"] == "h;g;f"


# ---- the null -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_every_set_is_drawn_equally_often(size: int) -> None:
    states = np.random.SeedSequence(5).generate_state(30_000, np.uint64)
    drawn = draw_sets(6, size, states)
    assert (np.diff(drawn, axis=1) > 0).all()
    found = pd.Series(map(tuple, drawn.tolist())).value_counts()
    assert set(found.index) == set(itertools.combinations(range(6), size))
    assert len(found) == 1 or stats.chisquare(found).pvalue > 1e-4


def test_p_values_equal_those_of_all_sets_there_are() -> None:
    beta = random_beta(n_genes=9, n_topics=1, seed=4)
    scores = beta["topic_0"].sort_values(ascending=False)
    all_scores = np.array(
        [enrichment_score(scores.to_numpy(), np.array(c)) for c in itertools.combinations(range(9), 3)]
    )
    sets = {"a": list(scores.index[[0, 1, 4]]), "b": list(scores.index[[2, 5, 8]])}
    table = prerank(beta, sets, n_permutations=40_000, min_size=1).set_index("gene_set")
    for name, genes in sets.items():
        es = enrichment_score(scores.to_numpy(), scores.index.get_indexer(genes))
        assert table.loc[name, "p_value"] == pytest.approx((all_scores >= es - 1e-12).mean(), abs=0.01)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("refine_to", [0, 5000])
def test_p_values_of_rankings_without_meaning_are_uniform(tail: str, refine_to: int) -> None:
    beta = random_beta(n_genes=300, n_topics=100, seed=6)
    sets = {f"s{size}": list(beta.index[size : 2 * size]) for size in (7, 15, 40, 90)}  # any set will do: beta is noise
    table = prerank(beta, sets, n_permutations=500, refine_to=refine_to, tail=tail, seed=3)
    assert len(table) == 400
    assert stats.kstest(table["p_value"], "uniform").pvalue > 1e-3
    assert (table["p_value"] <= 0.05).mean() < 0.1


def test_p_is_a_count_over_the_draws_and_never_zero() -> None:
    beta = random_beta()
    top = {"top": list(beta["topic_0"].nlargest(20).index), **random_sets(beta)}
    table = prerank(beta, top, n_permutations=200)
    counts = table["p_value"] * 201
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert row_of(table, "topic_0", "top")["p_value"] == pytest.approx(1 / 201)
    assert (table["n_permutations"] == 200).all()


def test_refining_draws_more_only_where_p_is_coarse() -> None:
    beta = random_beta()
    sets = {"top": list(beta["topic_0"].nlargest(20).index), **random_sets(beta, 5)}
    coarse = prerank(beta, sets, n_permutations=100, seed=1)
    fine = prerank(beta, sets, n_permutations=100, refine_to=20_000, seed=1)
    assert row_of(fine, "topic_0", "top")["p_value"] == pytest.approx(1 / 20_001)
    assert row_of(fine, "topic_0", "top")["n_permutations"] == 20_000
    same = fine.merge(coarse, on=["topic", "gene_set"], suffixes=("", "_coarse"))
    untouched = same[same["n_permutations"] == 100]
    assert len(untouched) > 5
    assert (untouched["p_value"] == untouched["p_value_coarse"]).all()
    assert (untouched["p_value"] * 101 >= 11).all()


def test_q_values_are_benjamini_and_hochbergs_over_the_whole_table() -> None:
    beta = random_beta()
    table = prerank(beta, random_sets(beta), n_permutations=100)
    p = np.sort(table["p_value"].to_numpy())
    steps = p * len(p) / np.arange(1, len(p) + 1)
    expected = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    np.testing.assert_allclose(np.sort(table["q_value"]), expected)
    assert table.sort_values("p_value")["q_value"].is_monotonic_increasing


# ---- what goes in and out -----------------------------------------------------------------------------------------


def test_planted_sets_are_found_in_their_topics() -> None:
    beta = random_beta(n_genes=2000, n_topics=6, seed=8)
    sets = random_sets(beta, 50)
    for topic in beta.columns:
        members = list(beta.index[np.random.default_rng(len(sets)).choice(2000, 25, replace=False)])
        beta.loc[members, topic] += 2.0
        sets[f"of {topic}"] = members
    best = prerank(beta, sets, n_permutations=500, refine_to=50_000).groupby("topic").first()
    assert (best["gene_set"] == [f"of {topic}" for topic in best.index]).all()
    assert (best["q_value"] < 0.01).all()


def test_the_order_of_genes_topics_and_sets_changes_nothing() -> None:
    beta, by = random_beta(), ["topic", "gene_set"]
    sets = random_sets(beta)
    shuffled = beta.sample(frac=1, random_state=1)[["topic_2", "topic_0", "topic_1"]]
    other = prerank(shuffled, dict(reversed(sets.items())), n_permutations=100, seed=3)
    expected = prerank(beta, sets, n_permutations=100, seed=3)
    pd.testing.assert_frame_equal(
        other.sort_values(by).reset_index(drop=True), expected.sort_values(by).reset_index(drop=True)
    )


def test_genes_of_equal_weight_stand_in_no_order_that_a_file_could_give() -> None:
    beta = pd.DataFrame({"topic_0": np.zeros(600)}, index=[f"G{gene:03}" for gene in range(600)])
    families = {f"family {s}": list(beta.index[s : s + 20]) for s in range(0, 600, 20)}
    table = prerank(beta, families, n_permutations=500)
    assert stats.kstest(table["p_value"], "uniform").pvalue > 1e-3
    shuffled = prerank(beta.sample(frac=1, random_state=1), families, n_permutations=500)
    pd.testing.assert_frame_equal(table, shuffled)


def test_a_seed_gives_the_same_table_and_another_seed_another() -> None:
    beta = random_beta()
    tables = [prerank(beta, random_sets(beta), n_permutations=100, seed=seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0]["p_value"].equals(tables[2]["p_value"])


def test_sets_are_measured_by_the_genes_that_are_there() -> None:
    beta = random_beta()
    sets = {"five": [*beta.index[:5], "unknown", "G0"], "four": [*beta.index[:4], "other"], "many": list(beta.index)}
    table = prerank(beta, sets, n_permutations=10, min_size=5, max_size=100)
    assert set(table["gene_set"]) == {"five"}
    assert (table["size"] == 5).all()


def test_no_set_left_is_said_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"None of 1 gene sets has 5 to 500 genes .* .largest: 0"):
        prerank(random_beta(), {"other": ["X1", "X2"]})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda beta: beta.assign(topic_0=np.nan), "not finite"),
        (lambda beta: pd.concat([beta, beta.iloc[:1]]), "names genes twice"),
        (lambda beta: beta.iloc[:, :0], "no values"),
    ],
)
def test_a_beta_that_cannot_be_ranked_is_refused(spoil: Callable[[pd.DataFrame], pd.DataFrame], words: str) -> None:
    with pytest.raises(DataError, match=words):
        prerank(spoil(random_beta()), {"a": ["G1"] * 5})


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="tail one of"):
        prerank(random_beta(), {}, tail="sideways")


def test_progress_rises_to_one_and_what_it_raises_ends_the_work() -> None:
    beta, shares = random_beta(), list[float]()
    prerank(beta, random_sets(beta), n_permutations=50, refine_to=500, on_progress=shares.append)
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1.0 + 1e-9

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prerank(beta, random_sets(beta), n_permutations=50, on_progress=stop)
