"""Is the number of topics recommended that the rule names, and is each doubt said?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from scetm_core.choice import SCORES, Recommendation, recommend, summarise

SEED_NLL = (0.0, 0.13, -0.08)  # other cells are held out by each seed: differences between seeds, not between numbers


def trainings_of(
    nll: Mapping[int, float | Sequence[float]], *, n_seeds: int = 3, noise: float = 0.0, **scores: Sequence[float]
) -> pd.DataFrame:
    """Trainings with a held-out NLL of 7 plus that; the topics gain 1 nat, less that. Scores: one for each number."""
    rng, rows = np.random.default_rng(0), []
    for position, (k, excess) in enumerate(nll.items()):
        for seed in range(n_seeds):
            own = excess if isinstance(excess, (int, float)) else excess[seed]
            own += noise * rng.normal()
            row = dict.fromkeys(SCORES, np.nan) | {
                "n_topics": k, "seed": seed, "test_nll": 7 + SEED_NLL[seed] + own, "test_gain": 1 - own,
                "topic_coherence": 0.4, "n_topics_in_use": k,
            }  # fmt: skip
            rows.append(row | {name: values[position] for name, values in scores.items()})
    return pd.DataFrame(rows)


def choose(trainings: pd.DataFrame, stability: Sequence[float] | None = None) -> Recommendation:
    numbers = sorted(trainings["n_topics"].unique())
    known = [0.8] * len(numbers) if stability is None else stability
    return recommend(summarise(trainings, dict(zip(numbers, known, strict=True))))


def said(found: Recommendation) -> str:
    return " ".join([*found.reason, "|", *found.caveats])


# ---- the table ------------------------------------------------------------------------------------------------------


def test_differences_are_taken_within_seeds() -> None:
    table = summarise(trainings_of({10: [0.05, 0.04, 0.06], 20: 0.0}), {10: 0.9, 20: 0.7}).set_index("n_topics")
    assert table["test_nll_gap"].tolist() == pytest.approx([0.05, 0])
    assert table["test_nll_gap_se"].tolist() == pytest.approx([0.01 / 3**0.5, 0])
    assert table["explained"].tolist() == pytest.approx([0.95, 1])
    assert table["stability"].tolist() == [0.9, 0.7]
    assert table["test_nll_median"].tolist() == pytest.approx([7.05, 7.0])
    assert table["test_nll_min"].tolist() == pytest.approx([6.98, 6.92])
    assert table["test_nll_max"].tolist() == pytest.approx([7.17, 7.13])


def test_a_missing_training_does_not_tilt_the_comparison() -> None:
    trainings = trainings_of({10: 0.05, 20: 0.0})
    trainings.loc[(trainings["n_topics"] == 20) & (trainings["seed"] == 2), "test_nll"] = (
        np.nan
    )  # its NLL is the lowest
    table = summarise(trainings, {}).set_index("n_topics")
    assert table["test_nll_gap"].tolist() == pytest.approx([0.05, 0])
    assert table["n_seeds"].tolist() == [3, 2]


# ---- the rule -------------------------------------------------------------------------------------------------------


def test_the_smallest_number_within_one_percent_of_the_best_is_recommended() -> None:
    found = choose(trainings_of({10: 0.05, 20: 0.012, 30: 0.006, 50: 0.0, 80: 0.003}))
    assert found.n_topics == 30
    assert found.reason[:3] == [
        "50 topics describe cells kept out of training best: their held-out NLL is the lowest.",
        "30 topics explain 99.4% of what 50 topics do; less than 1% is not worth more topics.",
        "Fewer are clearly worse: 10 topics explain 95.0% and 20 topics 98.8% of what 50 topics do.",
    ]
    assert found.caveats == []


def test_a_difference_within_one_standard_error_counts_as_none() -> None:
    found = choose(trainings_of({10: 0.3, 20: [0.1, -0.06, 0.05], 50: 0.0}))
    assert found.n_topics == 20
    assert "20 topics explain 97.0% of what 50 topics do; the difference may be chance." in found.reason


def test_a_difference_seen_with_every_seed_counts() -> None:
    assert choose(trainings_of({10: 0.3, 20: [0.031, 0.03, 0.029], 50: 0.0})).n_topics == 50


def test_the_best_may_be_recommended_itself() -> None:
    found = choose(trainings_of({10: 0.2, 20: 0.0, 50: 0.1}))
    assert found.n_topics == 20
    assert found.reason[0].startswith("20 topics describe cells kept out of training best")
    assert found.reason[1] == "Fewer are clearly worse: 10 topics explain 80.0% of what 20 topics do."


def test_clearly_less_stable_topics_are_passed_over() -> None:
    trainings = trainings_of({10: 0.3, 20: 0.004, 30: 0.0, 50: 0.0})
    found = choose(trainings, [0.9, 0.5, 0.75, 0.7])
    assert found.n_topics == 30
    assert (
        "20 topics explain as much, but come back less when trained again: stability 0.50 instead of 0.75."
        in found.reason
    )
    assert choose(trainings, [0.9, 0.66, 0.75, 0.7]).n_topics == 20, "it is not clearly less"


def test_clearly_less_coherent_topics_are_passed_over() -> None:
    numbers = {10: 0.3, 20: 0.004, 30: 0.0}
    found = choose(trainings_of(numbers, topic_coherence=[0.5, 0.2, 0.4]))
    assert found.n_topics == 30
    assert "have leading genes that are found together less: coherence 0.20 instead of 0.40." in said(found)
    assert choose(trainings_of(numbers, topic_coherence=[0.5, 0.37, 0.4])).n_topics == 20


def test_where_each_is_worse_in_one_way_the_most_stable_is_taken() -> None:
    trainings = trainings_of({10: 0.3, 20: 0.004, 30: 0.0}, topic_coherence=[0.5, 0.2, 0.4])
    assert choose(trainings, [0.9, 0.9, 0.5]).n_topics == 20


def test_labels_change_nothing_but_are_reported() -> None:
    numbers = {10: 0.2, 20: 0.0, 30: 0.1}
    aris = [0.99, 0.5, 0.8]
    found = choose(trainings_of(numbers, ari=aris, best_ari=aris, nmi=aris))
    assert found.n_topics == choose(trainings_of(numbers)).n_topics == 20
    assert found.reason[-1] == (
        "The labels were not used. Clusters of the cells agree with them by an ARI of 0.50; over all numbers tried it "
        "is 0.50 to 0.99."
    )
    assert "labels" not in said(choose(trainings_of(numbers)))
    alone = choose(trainings_of({20: 0.0}, ari=[0.5]))
    assert alone.reason[-1].endswith("agree with them by an ARI of 0.50.")


def test_stability_is_explained() -> None:
    found = choose(trainings_of({10: 0.2, 20: 0.0, 30: 0.1}), [0.9, 0.83, 0.7])
    assert "Trained again with another seed, the topics come back with a mean similarity of 0.83 (1: " in said(found)


# ---- doubts ---------------------------------------------------------------------------------------------------------


def test_data_without_a_preference_get_the_smallest_number_and_are_told_so() -> None:
    found = choose(trainings_of({10: 0.001, 20: 0.0, 30: 0.002}, noise=0.001))
    assert found.n_topics == 10
    assert found.reason[:2] == [
        "All numbers tried explain cells kept out of training equally well: these data do not prefer a number of "
        "topics between 10 and 30.",
        "Fewer topics are easier to read.",
    ]
    assert "Fewer than 10 topics were not tried and may do as well. Try some." in found.caveats


def test_an_nll_that_falls_to_the_end_asks_for_more() -> None:
    found = choose(trainings_of({10: 0.3, 20: 0.1, 30: 0.0}))
    assert found.n_topics == 30
    assert found.caveats == ["The best held-out NLL is at the largest number tried, 30. Try more topics."]
    levelled = choose(trainings_of({10: 0.3, 20: 0.002, 30: 0.0}))
    assert (levelled.n_topics, levelled.caveats) == (20, []), "it has levelled out"


def test_one_seed_is_said_to_tell_nothing_of_stability() -> None:
    found = choose(trainings_of({10: 0.2, 20: 0.005, 30: 0.0}, n_seeds=1), [np.nan] * 3)
    assert found.n_topics == 20
    assert found.caveats == [
        "With one seed nothing is known of whether the topics come back, or which differences are chance. Use 3 seeds."
    ]
    assert "Trained again" not in said(found)


def test_two_seeds_are_said_to_be_few() -> None:
    found = choose(trainings_of({10: 0.2, 20: 0.0, 30: 0.05}, n_seeds=2))
    assert found.caveats == ["2 seeds tell little of which differences are chance. Use 3 or more."]


def test_one_number_is_no_choice() -> None:
    found = choose(trainings_of({20: 0.0}))
    assert (found.n_topics, found.reason[0]) == (20, "Only 20 topics were tried.")
    assert found.caveats == ["There is nothing to compare with. Try other numbers of topics as well."]


def test_numbers_that_failed_are_passed_over_and_named() -> None:
    trainings = trainings_of({10: 0.2, 20: 0.0, 30: 0.05, 80: np.nan})
    trainings.loc[(trainings["n_topics"] == 30) & (trainings["seed"] > 0), ["test_nll", "test_gain"]] = np.nan
    found = choose(trainings, [0.8, 0.8, np.nan, np.nan])
    assert found.n_topics == 20
    assert found.caveats == [
        "No training succeeded with 80 topics.",
        "Fewer trainings than with other numbers succeeded with 30 topics.",
    ]


def test_without_any_held_out_nll_there_is_no_recommendation() -> None:
    found = choose(trainings_of({10: np.nan, 20: np.nan}), [0.9, 0.9])
    assert found.n_topics is None
    assert "held-out NLL" in found.reason[0]
    assert found.caveats == ["No training succeeded with 10 and 20 topics."]


def test_unstable_and_unused_topics_are_said() -> None:
    trainings = trainings_of({10: 0.2, 20: 0.0, 30: 0.1}, n_topics_in_use=[10, 12, 15])
    assert choose(trainings, [0.6, 0.4, 0.3]).caveats == [
        "Many of the topics do not come back with another seed. Rely on those that do: see the stability of each.",
        "Only 12 of the 20 topics are used by the cells.",
    ]


def test_topics_that_explain_nothing_are_said_and_compared_by_their_nll() -> None:
    found = choose(trainings_of({10: 0.5, 20: 0.0, 30: 0.25}, test_gain=[-0.4, 0.01, -0.2]))
    assert found.n_topics == 20
    assert (
        "Fewer are clearly worse: the NLL lies above that of 20 topics, in nats per read: 10 topics 0.500."
        in found.reason
    )
    assert "explain next to nothing of the held-out cells" in found.caveats[0]


def test_no_topics_explain_less_than_nothing() -> None:
    assert "10 topics explain 0.0% of what 20 topics do" in said(choose(trainings_of({10: 1.5, 20: 0.0, 30: 0.1})))
