"""Are the permutation tests right? Against scipy, exhaustive counts, labels without meaning, and planted topics."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scetm_core.differential import cluster_order, permutation_test
from scetm_core.differential_null import count_reaching
from scetm_core.errors import ConfigError, DataError


def cells(n: int, n_topics: int = 3, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(n, n_topics))
    return pd.DataFrame(values, index=[f"c{i}" for i in range(n)], columns=[f"topic_{k}" for k in range(n_topics)])


def named(values: list[str] | np.ndarray, delta: pd.DataFrame) -> pd.Series:
    return pd.Series(list(values), index=delta.index, name="group")


def mean_difference(inside: np.ndarray, outside: np.ndarray, axis: int = -1) -> np.ndarray:
    return inside.mean(axis=axis) - outside.mean(axis=axis)


def scipys_p(delta: pd.DataFrame, inside: np.ndarray, *, alternative: str, n_resamples: float = np.inf) -> np.ndarray:
    found = [
        stats.permutation_test(
            (delta.loc[inside, topic], delta.loc[~inside, topic]), mean_difference, vectorized=True,
            permutation_type="independent", alternative=alternative, n_resamples=n_resamples, rng=1,
        ).pvalue
        for topic in delta
    ]  # fmt: skip
    return np.array(found)


# ---- cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("two_sided", [False, True])
def test_small_cases_equal_scipys_exact_test(two_sided: bool) -> None:
    delta = cells(10)
    labels = named(list("aaaabbbbcc"), delta)
    table = permutation_test(delta, labels, two_sided=two_sided)
    for label in "abc":
        expected = scipys_p(delta, (labels == label).to_numpy(), alternative="two-sided" if two_sided else "greater")
        np.testing.assert_allclose(table.loc[table["label"] == label, "p_value"], expected, atol=1e-12)
    assert table["is_exact"].all()
    assert list(table.groupby("label")["n_permutations"].first()) == [210, 210, 45]


def test_ties_count_as_reached_as_in_scipy() -> None:
    delta = pd.DataFrame({"topic_0": [0.1, 0.2, 0.3, 0.3, 0.1, 0.2, 0.1]}, index=list("abcdefg"))
    inside = np.array([False, True, True, False, False, True, False])
    table = permutation_test(delta, pd.Series(np.where(inside, "in", "out"), index=delta.index))
    expected = scipys_p(delta, inside, alternative="greater")[0]
    assert table.set_index("label").loc["in", "p_value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("two_sided", [False, True])
def test_drawn_permutations_agree_with_scipys(two_sided: bool) -> None:
    delta = cells(60, seed=2)
    labels = named(np.repeat(["few", "some", "most"], [6, 14, 40]), delta)
    table = permutation_test(delta, labels, n_permutations=20_000, two_sided=two_sided, seed=3)
    assert not table["is_exact"].any()
    for label in labels.unique():
        alternative = "two-sided" if two_sided else "greater"
        expected = scipys_p(delta, (labels == label).to_numpy(), alternative=alternative, n_resamples=20_000)
        ours = table.loc[table["label"] == label, "p_value"]
        np.testing.assert_allclose(ours, expected, atol=6 * np.sqrt(0.25 * 2 / 20_000) * (1 + two_sided))


def test_random_groups_are_uniform_draws_of_their_size() -> None:
    values = (1 << np.arange(6)).astype(np.int32)[:, None]  # a sum tells which units are in it
    n_orders, bounds = 40_000, np.arange(64)
    states = np.random.SeedSequence(2).generate_state(n_orders, np.uint64)
    sizes = np.array([1, 2, 2, 4], dtype=np.int64)
    low = np.zeros((4, 1), dtype=np.int64)
    reached = np.array(
        [count_reaching(values, sizes, low + bound, low, states)[0][:, 0] for bound in bounds]
    )  # (64, 4)
    for place, size in enumerate(sizes):
        counts = reached[:, place] - np.append(reached[1:, place], 0)  # orders with exactly that sum
        groups = [sum(1 << unit for unit in group) for group in itertools.combinations(range(6), int(size))]
        assert set(np.flatnonzero(counts)) == set(groups)
        assert stats.chisquare(counts[groups]).pvalue > 1e-4
    np.testing.assert_array_equal(reached[:, 1], reached[:, 2])


def test_large_groups_are_judged_as_well_as_small_ones() -> None:
    delta = cells(50, seed=5)
    labels = named(np.repeat(["most", "few"], [42, 8]), delta)
    table = permutation_test(delta, labels, n_permutations=30_000).set_index(["label", "topic"])["p_value"]
    np.testing.assert_allclose(table["most"], 1 - table["few"], atol=0.001)  # one is up where the other is down


def test_p_values_of_labels_without_meaning_are_uniform() -> None:
    delta = cells(80, n_topics=200, seed=7)
    labels = named(np.random.default_rng(8).choice(["a", "b", "c"], size=80), delta)
    for two_sided in (False, True):
        p = permutation_test(delta, labels, n_permutations=2000, two_sided=two_sided).query("label == 'a'")["p_value"]
        assert stats.kstest(p, "uniform").pvalue > 1e-3
        assert (p > 0).all()


def test_planted_topics_are_found_and_no_others() -> None:
    delta = cells(400, n_topics=6, seed=9)
    labels = named(np.random.default_rng(1).choice(["a", "b", "c", "d"], size=400, p=[0.05, 0.15, 0.2, 0.6]), delta)
    delta.loc[labels == "a", "topic_3"] += 1.5
    delta.loc[labels == "d", "topic_5"] += 1.0
    table = permutation_test(delta, labels, n_permutations=20_000)
    found = table[(table["q_bonferroni"] < 0.01)]
    assert set(zip(found["topic"], found["label"], strict=True)) == {("topic_3", "a"), ("topic_5", "d")}


def test_differences_and_effects_equal_a_calculation_by_hand() -> None:
    delta = cells(30, seed=11)
    labels = named(np.repeat(["x", "y"], [12, 18]), delta)
    row = permutation_test(delta, labels, n_permutations=100).query("label == 'x' and topic == 'topic_1'").iloc[0]
    inside, outside = delta["topic_1"][:12], delta["topic_1"][12:]
    pooled = np.sqrt((11 * inside.var() + 17 * outside.var()) / 28)
    assert row["mean_difference"] == pytest.approx(inside.mean() - outside.mean())
    assert row["effect_size"] == pytest.approx((inside.mean() - outside.mean()) / pooled)
    assert (row["n_cells"], row["n_units"]) == (12, 12)
    assert row["mean_inside"] == pytest.approx(inside.mean())


def test_corrections_are_over_topics_and_labels() -> None:
    delta = cells(60, n_topics=5)
    table = permutation_test(delta, named(list("abc") * 20, delta), n_permutations=500)
    assert len(table) == 15
    np.testing.assert_allclose(table["q_bonferroni"], np.minimum(table["p_value"] * 15, 1))
    np.testing.assert_allclose(table["q_bh"], stats.false_discovery_control(table["p_value"]))


def test_a_seed_gives_the_same_table_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    delta = cells(60)
    labels = named(list("ab") * 30, delta)
    one = permutation_test(delta, labels, n_permutations=1000, seed=4)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        pd.testing.assert_frame_equal(permutation_test(delta, labels, n_permutations=1000, seed=4), one)
    finally:
        numba.set_num_threads(threads)
    assert not permutation_test(delta, labels, n_permutations=1000, seed=5)["p_value"].equals(one["p_value"])


def test_the_scale_and_the_order_of_cells_change_nothing_that_matters() -> None:
    delta = cells(12, seed=3)
    labels = named(list("aaabbbbbcccc"), delta)
    expected = permutation_test(delta, labels)
    large = permutation_test(delta * 1e6 + 1e5, labels)
    pd.testing.assert_series_equal(large["p_value"], expected["p_value"])
    shuffled = permutation_test(delta.sample(frac=1, random_state=1), labels.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, expected)


# ---- donors -------------------------------------------------------------------------------------------------------


def test_donors_of_one_condition_each_are_permuted_whole() -> None:
    delta = cells(60, seed=4)
    donors = named(np.repeat([f"d{i}" for i in range(6)], [5, 15, 10, 10, 8, 12]), delta)
    labels = donors.map({f"d{i}": "sick" if i < 3 else "well" for i in range(6)})
    table = permutation_test(delta, labels, unit=donors)
    means = delta.groupby(donors).mean()
    expected = scipys_p(means, np.array([True] * 3 + [False] * 3), alternative="greater")
    sick = table[table["label"] == "sick"]
    np.testing.assert_allclose(sick["p_value"], expected, atol=1e-12)
    np.testing.assert_allclose(sick["mean_difference"], means[:3].mean() - means[3:].mean())
    assert (sick["n_units"] == 3).all()
    assert (sick["n_permutations"] == 20).all()
    words = " ".join(table.attrs["sentences"])
    assert "All 20 different permutations" in words
    assert "Too few for a Bonferroni q below 0.01 in 2 labels" in words


def test_labels_within_donors_are_compared_donor_by_donor() -> None:
    rng = np.random.default_rng(6)
    delta = cells(200, seed=6)
    donors = named(rng.choice([f"d{i}" for i in range(7)], size=200), delta)
    labels = named(rng.choice(["alpha", "beta", "gamma"], size=200), delta)
    table = permutation_test(delta, labels, unit=donors)
    beta = table[table["label"] == "beta"]
    inside = delta[labels == "beta"].groupby(donors).mean()
    differences = inside - delta[labels != "beta"].groupby(donors).mean()
    expected = [
        stats.permutation_test(
            (differences[topic],), np.mean, vectorized=True, permutation_type="samples", alternative="greater",
            n_resamples=np.inf,
        ).pvalue
        for topic in delta
    ]  # fmt: skip
    np.testing.assert_allclose(beta["p_value"], expected, atol=1e-12)
    np.testing.assert_allclose(beta["mean_difference"], differences.mean())
    assert (beta["n_permutations"] == 128).all()


def test_cells_of_one_donor_do_not_pass_for_independent() -> None:
    """A donor effect without any effect of the condition: cells make it significant, donors do not."""
    rng = np.random.default_rng(0)
    delta = cells(600, n_topics=40, seed=1)
    donors = named(np.repeat([f"d{i}" for i in range(12)], 50), delta)
    delta += np.repeat(rng.normal(size=(12, 40)), 50, axis=0)
    labels = donors.map({f"d{i}": "sick" if i % 2 else "well" for i in range(12)})
    by_cell = permutation_test(delta, labels, n_permutations=2000, two_sided=True)["p_value"]
    by_donor = permutation_test(delta, labels, n_permutations=2000, two_sided=True, unit=donors)["p_value"]
    assert (by_cell < 0.01).mean() > 0.5
    assert (by_donor < 0.01).mean() < 0.1


def test_a_label_that_no_donor_has_beside_another_is_left_out_and_named() -> None:
    delta = cells(40)
    donors = named(np.repeat(["d0", "d1", "d2", "d3"], 10), delta)
    labels = named(["only"] * 10 + ["a", "b"] * 15, delta)
    table = permutation_test(delta, labels, unit=donors)
    assert set(table["label"]) == {"a", "b"}
    assert "no donor has cells on both sides: only" in " ".join(table.attrs["sentences"])
    assert table["q_bh"].notna().all()


# ---- what goes in -------------------------------------------------------------------------------------------------


def test_cells_without_a_label_are_left_out_and_counted() -> None:
    delta = cells(30)
    labels = named(["a", "b", None] * 10, delta)
    table = permutation_test(delta, labels, n_permutations=200)
    assert table.groupby("label")["n_cells"].first().tolist() == [10, 10]
    assert "20 cells of 2 labels; 10 without one are left out" in table.attrs["sentences"][0]
    alone = permutation_test(delta[labels.notna().to_numpy()], labels.dropna(), n_permutations=200)
    pd.testing.assert_frame_equal(table, alone)


@pytest.mark.parametrize("value", [3.25, 0.1, -3.7, 1 / 3, 0.0])
def test_a_constant_topic_is_not_different(value: float) -> None:
    delta = cells(2000).assign(topic_0=value)
    labels = named(["a"] * 800 + ["b"] * 1200, delta)
    table = permutation_test(delta, labels, n_permutations=100).query("topic == 'topic_0'")
    assert (table["p_value"] == 1).all()
    assert (table["effect_size"] == 0).all()


def test_a_level_that_two_sided_tests_cannot_reach_is_said() -> None:
    delta = cells(80, n_topics=4)
    labels = named(["a", "b"] * 40, delta)
    for n_permutations, two_sided, is_said in ((1000, False, False), (1000, True, True), (3000, True, False)):
        table = permutation_test(delta, labels, n_permutations=n_permutations, two_sided=two_sided)
        assert any("Too few" in sentence for sentence in table.attrs["sentences"]) == is_said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda delta, labels: (delta.assign(topic_0=np.inf), labels), "not finite"),
        (lambda delta, labels: (delta, labels.map(lambda _: "a")), "has 1 labels"),
        (lambda delta, labels: (delta, pd.Series(delta.index, index=delta.index)), "has 600 labels"),
        (lambda delta, labels: (delta, labels.rename(index=lambda name: f"x{name}")), "has 0 labels among 0 cells"),
        (lambda delta, labels: (pd.concat([delta, delta]), labels), "names cells twice"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(
    spoil: Callable[..., tuple[pd.DataFrame, pd.Series]], words: str
) -> None:
    delta = cells(600)
    with pytest.raises(DataError, match=words):
        permutation_test(*spoil(delta, named(["a", "b"] * 300, delta)), n_permutations=10)


def test_no_permutation_at_all_is_refused() -> None:
    delta = cells(10)
    with pytest.raises(ConfigError, match="at least 1"):
        permutation_test(delta, named(["a", "b"] * 5, delta), n_permutations=0)


def test_progress_rises_to_one_and_what_it_raises_ends_the_work() -> None:
    delta, shares = cells(60), list[float]()
    labels = named(["a", "b"] * 30, delta)
    permutation_test(delta, labels, n_permutations=5000, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        permutation_test(delta, labels, on_progress=stop)


# ---- order --------------------------------------------------------------------------------------------------------


def test_similar_rows_and_columns_stand_side_by_side() -> None:
    blocks = np.kron(np.eye(3), np.ones((2, 2)))
    table = pd.DataFrame(blocks, index=list("abcdef"), columns=list("uvwxyz"))
    rows, columns = cluster_order(table.sample(frac=1, random_state=3).sample(frac=1, axis=1, random_state=4))
    for order, pairs in ((rows, ("ab", "cd", "ef")), (columns, ("uv", "wx", "yz"))):
        assert sorted(order) == sorted("".join(pairs))
        assert all(abs(order.index(first) - order.index(second)) == 1 for first, second in pairs)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 5)])
def test_tables_without_any_order_keep_all_names(shape: tuple[int, int]) -> None:
    rows, columns = cluster_order(pd.DataFrame(np.zeros(shape)))
    assert (len(set(rows)), len(set(columns))) == shape
