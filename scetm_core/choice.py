"""Which number of topics do these trainings speak for, and how sure is that? No label is looked at for the choice.

The rule: of the numbers of topics that explain cells kept out of training as well as the best one does, take the
smallest whose topics are not clearly less stable or less coherent than those of the others.

"As well" is to within one standard error of the difference (the one-standard-error rule of Breiman et al. 1984, here
paired, since trainings with one seed hold out the same cells) or to within `SMALL` of what the best one explains: with
many cells even a thousandth is more than chance. The held-out NLL decides first, because stability and coherence alone
would take very few topics: in tissue both fall as topics are added. To weigh stability against the error of the fit is
the way of cNMF (Kotliar et al. 2019), to look at coherence as well that of pycisTopic.

Seen (3 seeds, preset Quick look): in simulated cells of 6 and of 20 topics just these are recommended, and stability is
1.00 there and .80 to .86 above; in mouse pancreas 30 and in human pancreas 20 of 10 to 80, each with two sets of seeds.
These data also served to set `SMALL`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

SCORES = (
    "test_nll", "test_gain", "ari", "best_ari", "nmi", "kbet", "topic_coherence", "topic_diversity", "n_topics_in_use",
    "seconds",
)  # fmt: skip
"""Of one training. `test_gain`: by how much its own mixture of topics, instead of the mean one, lowers the NLL of a
held-out cell; the others as in the evaluation of a run, `n_topics_in_use` by `judgement.idle_topics`."""

SMALL = 0.01
"""Share of the best one's `test_gain` that is not worth more topics. Seen: its standard error over three seeds is .001
to .006 where topics are not far too few or too many, up to .02 there."""
LESS_STABLE = 0.1
"""By how much a stability is clearly lower. Seen: with three other seeds it moves by .04 at most from 20 topics on, by
.11 with 10."""
LESS_COHERENT = 0.1
"""By how much a coherence is clearly lower. Seen: with three other seeds its median moves by .05 at most from 20 topics
on, by .11 with 10."""
UNSTABLE = 0.5
"""Stability below which most topics cannot be relied on. Seen: .6 to .9 in mouse and human pancreas."""
MANY_IDLE = 0.25
"""Share of idle topics worth a word, as in `judgement`."""
LEAST_GAIN = 0.02
"""`test_gain`, in nats per read, below which topics explain next to nothing, as in `judgement`."""
FEWEST_SEEDS = 3
"""Seeds from which a standard error means something."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A number of topics, why it, and what to keep in mind; sentences to be shown as they are.

    `n_topics` is None where no training has a held-out NLL.
    """

    n_topics: int | None
    reason: list[str]
    caveats: list[str]


def summarise(trainings: pd.DataFrame, stability: Mapping[int, float]) -> pd.DataFrame:
    """One row per number of topics.

    Parameters
    ----------
    trainings
        One row per number of topics and seed: n_topics, seed and `SCORES`, not-a-number where nothing is known.
    stability
        Number of topics -> `metrics.matching.score_stability` over its seeds.

    Returns
    -------
    `n_topics`, rising; `n_seeds`, trainings with a held-out NLL; `stability`; of each score `<score>_median`, `_min`
    and `_max` over the seeds. `test_nll_gap`: by how much the held-out NLL exceeds that of the best number of topics
    (lowest mean), in nats per read: the mean over seeds of the difference within a seed, since each seed holds out
    other cells. `test_nll_gap_se`: its standard error, not-a-number with one seed. `explained`: how much of the best
    one's `test_gain` is reached: 1 for all of it, not-a-number if it is below `LEAST_GAIN`.
    """
    grouped = trainings.groupby("n_topics", sort=True)
    table = pd.DataFrame({"n_seeds": grouped["test_nll"].count()})
    table["stability"] = [float(stability.get(int(k), math.nan)) for k in table.index]
    for score in SCORES:
        for name in ("median", "min", "max"):
            table[f"{score}_{name}"] = grouped[score].agg(name)
    nll = trainings.pivot_table(index="seed", columns="n_topics", values="test_nll", dropna=False)
    measured = nll.dropna(axis="columns", how="all")
    complete = measured if measured.dropna().empty else measured.dropna()
    best = int(complete.mean().idxmin() if len(complete.columns) else table.index[0])  # type: ignore[arg-type]
    gaps = nll.sub(nll[best], axis="index")
    table["test_nll_gap"], table["test_nll_gap_se"] = gaps.mean(), gaps.sem()
    gain = float(grouped["test_gain"].mean().loc[best])
    table["explained"] = 1 - table["test_nll_gap"] / (gain if gain >= LEAST_GAIN else math.nan)
    return table.reset_index()


def recommend(by_k: pd.DataFrame) -> Recommendation:
    """The number of topics to use, by the rule at the top of this module.

    Parameters
    ----------
    by_k
        From `summarise`, or `SweepResult.by_k`. Numbers of topics without a held-out NLL are passed over; with one
        seed nothing is known of stability, and a difference counts from `SMALL` on.
    """
    table = by_k.set_index("n_topics").sort_index()
    measured = table[table["test_nll_gap"].notna()]
    if measured.empty:
        words = "No training has a held-out NLL, so that numbers of topics cannot be compared."
        return Recommendation(n_topics=None, reason=[words], caveats=_on_failures(table))
    gaps = measured["test_nll_gap"]
    best = _number(gaps.idxmin())
    is_as_good = (gaps <= measured["test_nll_gap_se"]) | (measured["explained"] >= 1 - SMALL) | (gaps <= gaps[best])
    as_good = measured[is_as_good]
    chosen = _smallest_sound(as_good)
    reason = [
        *_on_fit(measured, as_good, best=best, chosen=chosen),
        *_on_passed_over(as_good, chosen=chosen),
        *_on_stability(measured["stability"][chosen]),
        *_on_labels(measured, chosen=chosen),
    ]
    caveats = [
        *_on_range(measured, as_good, best=best, chosen=chosen),
        *_on_seeds(measured),
        *_on_failures(table),
        *_on_topics(measured, chosen=chosen),
    ]
    return Recommendation(n_topics=chosen, reason=reason, caveats=caveats)


def _smallest_sound(as_good: pd.DataFrame) -> int:
    """The smallest number whose topics are not clearly worse; the most stable if each is in one way or the other."""
    is_sound = ~(_falls_short(as_good, "stability", LESS_STABLE))
    is_sound &= ~(_falls_short(as_good, "topic_coherence_median", LESS_COHERENT))
    if is_sound.any():
        return _number(as_good.index[is_sound][0])
    return _number(as_good["stability"].idxmax())


def _falls_short(as_good: pd.DataFrame, column: str, clearly: float) -> pd.Series[bool]:
    """Which are clearly below the best of them; none where nothing is known."""
    values: pd.Series[float] = as_good[column]
    return values < float(values.max()) - clearly


def _number(label: object) -> int:
    return int(str(label))


# ---- why ------------------------------------------------------------------------------------------------------------


def _on_fit(measured: pd.DataFrame, as_good: pd.DataFrame, *, best: int, chosen: int) -> list[str]:
    """What the held-out cells say."""
    if len(measured) == 1:
        return [f"Only {chosen} topics were tried."]
    if len(as_good) == len(measured):
        words = f"these data do not prefer a number of topics between {measured.index[0]} and {measured.index[-1]}."
        return [
            f"All numbers tried explain cells kept out of training equally well: {words}",
            "Fewer topics are easier to read.",
        ]
    said = [f"{best} topics describe cells kept out of training best: their held-out NLL is the lowest."]
    if chosen != best:
        is_small = measured["explained"][chosen] >= 1 - SMALL
        why = f"less than {SMALL:.0%} is not worth more topics" if is_small else "the difference may be chance"
        said.append(f"{_compared(measured, [chosen], best=best)}; {why}.")
    if worse := [k for k in measured.index if k < chosen and k not in as_good.index]:
        said.append(f"Fewer are clearly worse: {_compared(measured, worse, best=best)}.")
    return said


def _compared(measured: pd.DataFrame, numbers: list[int], *, best: int) -> str:
    """How well some numbers of topics do: ``"10 topics explain 92.9% and 20 topics 97.8% of what 50 topics do"``."""
    rows = measured.loc[numbers]
    if rows["explained"].notna().all():
        first, *others = rows["explained"].clip(lower=0).items()
        shares = [f"{first[0]} topics explain {first[1]:.1%}", *(f"{k} topics {share:.1%}" for k, share in others)]
        return f"{_listed(shares)} of what {best} topics do"
    gaps = [f"{k} topics {gap:.3f}" for k, gap in rows["test_nll_gap"].items()]
    return f"the NLL lies above that of {best} topics, in nats per read: {_listed(gaps)}"


def _on_passed_over(as_good: pd.DataFrame, *, chosen: int) -> list[str]:
    """Why a smaller number that explains as much is not recommended."""
    said, smaller = [], as_good[as_good.index < chosen]
    for column, clearly, what in (
        ("stability", LESS_STABLE, "come back less when trained again: stability"),
        ("topic_coherence_median", LESS_COHERENT, "have leading genes that are found together less: coherence"),
    ):
        short = _falls_short(as_good, column, clearly)
        said += [
            f"{k} topics explain as much, but {what} {smaller[column][k]:.2f} instead of {as_good[column][chosen]:.2f}."
            for k in smaller.index
            if short[k]
        ]
    return said


def _on_stability(stability: float) -> list[str]:
    if math.isnan(stability):
        return []
    return [
        f"Trained again with another seed, the topics come back with a mean similarity of {stability:.2f} "
        "(1: the same topics each time; 0: unrelated ones)."
    ]


def _on_labels(measured: pd.DataFrame, *, chosen: int) -> list[str]:
    """What the labels say, for comparison only."""
    aris = measured["ari_median"].dropna()
    if chosen not in aris.index:
        return []
    said = f"The labels were not used. Clusters of the cells agree with them by an ARI of {aris[chosen]:.2f}"
    if len(aris) == 1:
        return [f"{said}."]
    return [f"{said}; over all numbers tried it is {aris.min():.2f} to {aris.max():.2f}."]


# ---- what to keep in mind -------------------------------------------------------------------------------------------


def _on_range(measured: pd.DataFrame, as_good: pd.DataFrame, *, best: int, chosen: int) -> list[str]:
    """Whether the numbers tried reach far enough."""
    if len(measured) == 1:
        return ["There is nothing to compare with. Try other numbers of topics as well."]
    largest, smallest = _number(measured.index[-1]), _number(measured.index[0])
    if best == largest and _number(measured.index[-2]) not in as_good.index:
        return [f"The best held-out NLL is at the largest number tried, {largest}. Try more topics."]
    if chosen == smallest:
        return [f"Fewer than {smallest} topics were not tried and may do as well. Try some."]
    return []


def _on_seeds(measured: pd.DataFrame) -> list[str]:
    """Whether there were enough repeats."""
    most = int(measured["n_seeds"].max())
    if most < 2:
        return [
            "With one seed nothing is known of whether the topics come back, or which differences are chance. Use "
            f"{FEWEST_SEEDS} seeds."
        ]
    if most < FEWEST_SEEDS:
        return [f"{most} seeds tell little of which differences are chance. Use {FEWEST_SEEDS} or more."]
    return []


def _on_failures(table: pd.DataFrame) -> list[str]:
    """Numbers of topics without a training, or with fewer than others."""
    said, most = [], int(table["n_seeds"].max())
    if missing := [f"{k}" for k in table.index[table["n_seeds"] == 0]]:
        said.append(f"No training succeeded with {_listed(missing)} topics.")
    if fewer := [f"{k}" for k in table.index[(table["n_seeds"] > 0) & (table["n_seeds"] < most)]]:
        said.append(f"Fewer trainings than with other numbers succeeded with {_listed(fewer)} topics.")
    return said


def _on_topics(measured: pd.DataFrame, *, chosen: int) -> list[str]:
    """What is wrong with the topics of the number recommended."""
    said, row = [], measured.loc[[chosen]].iloc[0]
    if row["stability"] < UNSTABLE:
        said.append(
            "Many of the topics do not come back with another seed. Rely on those that do: see the stability of each."
        )
    if row["n_topics_in_use_median"] <= (1 - MANY_IDLE) * chosen:
        said.append(f"Only {row['n_topics_in_use_median']:.0f} of the {chosen} topics are used by the cells.")
    if row["test_gain_median"] < LEAST_GAIN:
        said.append(
            "The topics explain next to nothing of the held-out cells. Unless the cells are all of one kind, training "
            "failed."
        )
    return said


def _listed(parts: list[str]) -> str:
    """`"a, b and c"`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
