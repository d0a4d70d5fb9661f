"""Does the judgement find what was spoilt on purpose, and keep quiet where nothing is wrong?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scetm_core.data.simulate import TRUE_BETA, TRUE_DELTA, TRUE_LAMBDA, simulate, softmax
from scetm_core.errors import DataError
from scetm_core.judgement import Finding, duplicate_groups, idle_topics, judge
from scetm_core.metrics import neighbour_stability

N_STEPS, N_REPORTS = 1000, 100
STEPS = np.linspace(N_STEPS / N_REPORTS, N_STEPS, N_REPORTS)
TRUTH = simulate(n_cells=400, n_genes=120, n_topics=8, median_counts=100, seed=3)
DELTA, BETA, LAMBDA = TRUTH.obsm[TRUE_DELTA], TRUTH.varm[TRUE_BETA], TRUTH.uns[TRUE_LAMBDA]


def healthy_curve(*, seed: int = 0) -> pd.DataFrame:
    """An NLL that falls and levels out, with the noise of 512 cells a step; held out every 50 steps."""
    noise = np.random.default_rng(seed).normal(scale=1.1 / np.sqrt(512 * N_STEPS / N_REPORTS), size=N_REPORTS)
    nll = 6.7 + 0.8 * np.exp(-STEPS / 80) + noise
    test_nll = np.where(STEPS % 50 == 0, 6.8 + 0.7 * np.exp(-STEPS / 80), np.nan)
    return pd.DataFrame(
        {"step": STEPS, "nll": nll, "kl_weight": 1e-4 * np.minimum(1, 3 * STEPS / N_STEPS), "test_nll": test_nll,
         "grad_norm": 0.3}
    )  # fmt: skip


HEALTHY: dict[str, Any] = {
    "theta": softmax(DELTA), "delta": DELTA, "beta": BETA, "lambda_": LAMBDA, "curve": healthy_curve(),
    "minibatch_size": 512, "max_grad_norm": 50.0, "nll_model": 6.7, "nll_intercept_only": 7.1,
}  # fmt: skip


def found(**changes: Any) -> list[Finding]:
    values = {**HEALTHY, **changes}
    if "delta" in changes and "theta" not in changes:
        values["theta"] = softmax(values["delta"])
    return judge(**values)


def topics_of(findings: list[Finding]) -> list[str]:
    return [finding.topic for finding in findings]


def late(size: float) -> np.ndarray:
    """0 for three quarters of training, then this."""
    return np.where(STEPS > 0.75 * N_STEPS, size, 0.0)


def curve_with(**columns: Any) -> pd.DataFrame:
    return healthy_curve().assign(**columns)


# ---- nothing wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_result_gives_no_finding(seed: int) -> None:
    assert found(curve=healthy_curve(seed=seed)) == []
    assert found(curve=healthy_curve(seed=seed), lambda_=None) == []


def test_noise_of_small_minibatches_is_no_finding() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        noisy = healthy_curve().assign(nll=6.7 + rng.normal(scale=1.1 / np.sqrt(8 * 10), size=N_REPORTS))
        assert found(curve=noisy.drop(columns="test_nll"), minibatch_size=8) == []


def test_a_nll_that_rises_with_the_kl_weight_is_no_finding() -> None:
    warm = np.minimum(1, 3 * STEPS / N_STEPS)
    curve = curve_with(nll=6.7 + 0.3 * warm, test_nll=np.where(STEPS % 50 == 0, 6.8 + 0.3 * warm, np.nan))
    assert found(curve=curve) == []


@pytest.mark.parametrize(
    "curve",
    [
        pd.DataFrame({"step": pd.Series(dtype=int)}),
        healthy_curve().iloc[:1],
        healthy_curve().iloc[:2],
        healthy_curve()[["step", "nll"]],
    ],
    ids=["empty", "one report", "two reports", "NLL only"],
)
def test_a_curve_of_little_says_little(curve: pd.DataFrame) -> None:
    assert found(curve=curve) == []


# ---- topics -------------------------------------------------------------------------------------------------------


def test_dead_topics_are_counted_and_named() -> None:
    delta = DELTA.copy()
    delta[:, 2] = -4
    (finding,) = found(delta=delta)
    assert (finding.topic, finding.level) == ("dead topics", "info")
    assert "1 of 8 topics is idle" in finding.message
    assert "(topic_2)" in finding.message

    delta[:, [5, 6]] = -5
    (finding,) = found(delta=delta)
    assert (finding.topic, finding.level) == ("dead topics", "warning")
    assert "3 of 8 topics are idle" in finding.message
    assert "(topic_2, topic_5, topic_6)" in finding.message


def test_a_topic_of_three_cells_is_alive_one_of_two_is_not() -> None:
    theta = np.full((50, 4), [0.4, 0.35, 0.2, 0.05])
    theta[:3, 3] = 0.3
    theta[:2, 2] = 0.3
    assert idle_topics(theta).tolist() == [False, False, True, False]


def test_topics_with_the_same_genes_are_grouped() -> None:
    beta = BETA.copy()
    beta[:, 4] = beta[:, 1] + np.random.default_rng(0).normal(scale=0.1, size=len(beta))
    beta += np.random.default_rng(1).normal(scale=5, size=(len(beta), 1))  # a gene's own level is no likeness
    (finding,) = found(beta=beta)
    assert (finding.topic, finding.level) == ("duplicated topics", "info")
    assert "8 topics in use come to 7 different ones" in finding.message
    assert "(topic_1, topic_4)" in finding.message


def test_topics_that_go_together_over_cells_are_grouped() -> None:
    delta = DELTA + np.random.default_rng(0).normal(scale=5, size=(len(DELTA), 1))  # softmax does not see this
    delta[:, [0, 6]] = delta[:, [3]] + 0.05 * np.random.default_rng(1).normal(size=(len(DELTA), 2))
    (finding,) = found(delta=delta)
    assert "8 topics in use come to 6 different ones" in finding.message
    assert "(topic_0, topic_3, topic_6)" in finding.message


def test_many_duplicates_are_a_warning_with_the_number_of_topics_to_choose() -> None:
    copies = np.repeat(np.arange(8), 3)
    noise = 0.02 * np.random.default_rng(0).normal(size=(len(DELTA), 24))
    (finding,) = found(delta=DELTA[:, copies] + noise, beta=BETA[:, copies])
    assert finding.level == "warning"
    assert "24 topics in use come to 8 different ones" in finding.message
    assert "and 3 more" in finding.message
    assert "Number of topics (n_topics) to about 8" in finding.advice


def test_dead_topics_do_not_count_as_copies_of_each_other() -> None:
    delta, beta = DELTA.copy(), BETA.copy()
    delta[:, [2, 5]], beta[:, [2, 5]] = -6, 0
    assert topics_of(found(delta=delta, beta=beta)) == ["dead topics"]


def test_groups_equal_pairwise_correlations() -> None:
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(300, 10)) @ rng.normal(size=(10, 10)) * 0.1 + rng.normal(size=(300, 1))
    delta[:, 7] = delta[:, 2] + 0.01 * rng.normal(size=300)
    centred = pd.DataFrame(delta).sub(delta.mean(axis=1), axis=0).corr().to_numpy()
    pairs = [(i, j) for i in range(10) for j in range(i) if centred[i, j] > 0.98]
    assert pairs == [(7, 2)]
    assert [group.tolist() for group in duplicate_groups(delta, rng.normal(size=(80, 10)))] == [[2, 7]]


def test_one_topic_that_takes_all_cells_is_found_but_not_a_flat_mixture() -> None:
    delta = DELTA.copy()
    delta[:, 3] += 12
    topics = topics_of(found(delta=delta))
    assert "one topic for all" in topics
    message = next(finding.message for finding in found(delta=delta) if finding.topic == "one topic for all")
    assert message.startswith("topic_3 leads 100% of the cells")

    flat = 0.01 * np.random.default_rng(0).normal(size=DELTA.shape)
    flat[:, 3] += 0.1
    assert "one topic for all" not in topics_of(found(delta=flat))


def test_a_majority_of_one_kind_is_no_finding() -> None:
    order = np.argsort(DELTA.argmax(axis=1) != 3)
    mostly = np.concatenate([np.repeat(DELTA[order[:50]], 10, axis=0), DELTA])  # 500 of 900 cells more of one kind
    assert found(delta=mostly) == []


def test_intercepts_that_explain_everything_are_found() -> None:
    (finding,) = found(nll_model=6.700, nll_intercept_only=6.705)
    assert (finding.topic, finding.level) == ("intercept explains all", "warning")
    assert "6.705 instead of 6.700" in finding.message
    assert "batches' intercepts" in finding.message
    assert "mean expression" in found(nll_model=6.7, nll_intercept_only=6.69, lambda_=None)[0].message
    assert found(nll_model=None, nll_intercept_only=None) == []


def test_results_that_are_not_finite_are_told_and_not_judged_further() -> None:
    beta = BETA.copy()
    beta[0, 0] = np.nan
    (finding,) = found(beta=beta, lambda_=np.full_like(LAMBDA, np.inf))
    assert (finding.topic, finding.level) == ("not finite", "warning")
    assert finding.message.startswith("beta, lambda hold")


# ---- the training curve -------------------------------------------------------------------------------------------


def test_a_nll_that_rises_late_is_a_rate_too_high() -> None:
    (finding,) = found(curve=curve_with(nll=healthy_curve()["nll"] + late(0.2)))
    assert (finding.topic, finding.level) == ("learning rate", "warning")
    assert "the NLL rose from 6.70" in finding.message
    assert "Learning rate (learning_rate)" in finding.advice


def test_a_nll_that_swings_late_is_a_rate_too_high() -> None:
    swings = np.where(np.arange(N_REPORTS) % 2, 0.4, -0.4)
    (finding,) = found(curve=curve_with(nll=healthy_curve()["nll"] + swings))
    assert finding.topic == "learning rate"
    assert "swings by about 0.8" in finding.message
    early = np.where(STEPS < N_STEPS / 3, swings, 0)
    assert found(curve=curve_with(nll=healthy_curve()["nll"] + early)) == []


def test_a_gradient_clipped_most_of_the_time_is_a_rate_too_high() -> None:
    (finding,) = found(curve=curve_with(grad_norm=80.0))
    assert finding.topic == "learning rate"
    assert "clipped at 50 in 100% of the late reports" in finding.message
    assert found(curve=curve_with(grad_norm=np.where(STEPS < N_STEPS / 3, 80, 1))) == []


def test_training_that_ended_early_is_found() -> None:
    falling = 7.5 - 0.3 * STEPS / N_STEPS
    (finding,) = found(curve=curve_with(test_nll=np.where(STEPS % 50 == 0, falling, np.nan)))
    assert (finding.topic, finding.level) == ("not converged", "warning")
    assert "the held-out NLL still fell" in finding.message
    (finding,) = found(curve=curve_with(nll=falling - 0.5 * STEPS / N_STEPS, test_nll=np.nan))
    assert "the training NLL still fell" in finding.message


def test_overfitting_is_found_and_says_from_which_step() -> None:
    rising = 6.8 + 0.3 * np.maximum(0, STEPS - 400) / N_STEPS
    curve = curve_with(
        nll=7 - 0.3 * STEPS / N_STEPS, test_nll=np.where(STEPS % 50 == 0, rising + 0.001 * (STEPS < 400), np.nan)
    )
    (finding,) = found(curve=curve)
    assert (finding.topic, finding.level) == ("overfitting", "warning")
    assert "rose from 6.800 at step 400" in finding.message
    assert "Training steps (max_steps) to about 400" in finding.advice


def test_both_curves_rising_is_no_overfitting() -> None:
    test_nll = np.where(STEPS % 50 == 0, 6.8 + late(0.5), np.nan)
    assert topics_of(found(curve=curve_with(nll=6.7 + late(0.5), test_nll=test_nll))) == ["learning rate"]


def test_a_rollback_is_told() -> None:
    (finding,) = found(n_rollbacks=1)
    assert (finding.topic, finding.level) == ("rollbacks", "info")
    assert "not finite once" in finding.message


def test_warnings_come_first_and_findings_can_be_stored_as_json() -> None:
    delta = DELTA.copy()
    delta[:, 2] = -4
    findings = found(delta=delta, n_rollbacks=1, curve=curve_with(grad_norm=80.0))
    assert [finding.level for finding in findings] == ["warning", "info", "info"]
    stored = json.loads(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    assert stored[0].keys() == {"level", "topic", "message", "advice"}
    assert all(finding.message.endswith(".") and finding.advice.endswith(".") for finding in findings)


def test_arrays_that_do_not_match_are_refused() -> None:
    with pytest.raises(DataError, match=r"got \(400, 8\), \(400, 7\) and \(120, 8\)"):
        found(delta=DELTA[:, 1:], theta=softmax(DELTA))


# ---- stability of neighbours --------------------------------------------------------------------------------------


def overlap_by_sets(before: np.ndarray, after: np.ndarray, k: int) -> float:
    scores = []
    for cell in range(len(before)):
        near = []
        for points in (before, after):
            distances = np.linalg.norm(points - points[cell], axis=1)
            distances[cell] = np.inf
            near.append(set(np.argsort(distances)[:k].tolist()))
        scores.append(len(near[0] & near[1]) / len(near[0] | near[1]))
    return float(np.mean(scores))


POINTS = np.random.default_rng(0).normal(size=(300, 6))


def test_stability_equals_the_overlap_of_sets() -> None:
    after = POINTS + np.random.default_rng(1).normal(scale=0.3, size=POINTS.shape)
    expected = overlap_by_sets(POINTS, after, 15)
    assert 0.2 < expected < 0.8
    assert neighbour_stability(POINTS, after) == pytest.approx(expected)
    assert neighbour_stability(POINTS.astype(np.float32), after + 1000) == pytest.approx(expected, abs=1e-3)


def test_what_keeps_distances_keeps_neighbours() -> None:
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    assert neighbour_stability(POINTS, POINTS) == 1
    assert neighbour_stability(POINTS, 3 * POINTS @ turned + 7) == pytest.approx(1, abs=1e-3)
    assert neighbour_stability(np.zeros((50, 2)), np.zeros((50, 2))) == 1


def test_unrelated_embeddings_share_as_many_neighbours_as_chance_has_it() -> None:
    other = np.random.default_rng(3).normal(size=POINTS.shape)
    assert neighbour_stability(POINTS, other) == pytest.approx(15 / (2 * 299), abs=0.01)


def test_stability_falls_with_the_size_of_the_change() -> None:
    change = np.random.default_rng(1).normal(size=POINTS.shape)
    scores = [neighbour_stability(POINTS, POINTS + size * change) for size in (0.01, 0.1, 0.5, 2)]
    assert scores == sorted(scores, reverse=True)


def test_a_seeded_sample_is_enough() -> None:
    rng = np.random.default_rng(4)
    before = rng.normal(size=(6000, 6))
    after = before + rng.normal(scale=0.1, size=before.shape)
    scores = [neighbour_stability(before, after, n_cells=300, max_reference=2000, seed=seed) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]
    assert scores[0] == pytest.approx(scores[2], abs=0.03)


def test_few_cells_have_few_neighbours_and_one_has_none() -> None:
    assert neighbour_stability(POINTS[:5], -POINTS[:5]) == 1
    assert np.isnan(neighbour_stability(POINTS[:1], POINTS[:1]))


def test_embeddings_of_other_cells_are_refused() -> None:
    with pytest.raises(DataError, match=r"got \(300, 6\) and \(299, 6\)"):
        neighbour_stability(POINTS, POINTS[1:])
    with pytest.raises(DataError, match="of 300 cells is not finite"):
        neighbour_stability(POINTS, np.full_like(POINTS, np.nan))


# ---- a real training -----------------------------------------------------------------------------------------------


def test_a_small_training_raises_no_warning(tiny_config: Callable[..., Any], recipe: dict[str, Any]) -> None:
    """A real one, by the recipe, with as many topics as there are kinds of cells."""
    from scetm_core.infer import infer
    from scetm_core.model import ScETM
    from scetm_core.model.cells import batch_names
    from scetm_core.train import fit

    data = simulate(n_cells=600, n_genes=200, n_topics=6, median_counts=600, seed=1)
    config = tiny_config(**recipe, n_topics=6, n_hidden=32, max_steps=120, minibatch_size=128, evaluate_every=20)
    model = ScETM(config.model, genes=list(data.var_names), batches=batch_names(data, "batch"), seed=0)
    curve = pd.DataFrame([dataclasses.asdict(record) for record in fit(model, data, config.train, batch_key="batch")])
    result = infer(model, data, config)
    arrays = {"theta": result.obsm["theta"], "delta": result.obsm["delta"], "beta": result.varm["beta"]}
    options = {"minibatch_size": config.train.minibatch_size, "max_grad_norm": config.train.max_grad_norm}
    findings = judge(**arrays, lambda_=result.uns["scetm"]["lambda"], curve=curve, **options)
    assert [finding for finding in findings if finding.level == "warning"] == []
