"""What stands in the sections of a report? Data, settings, scores, topics, tests, methods, recipe: from the facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.config import SECTIONS
from scetm_core.figures import gene_weights, mark_differential, pathway_name, topics_with_cells
from scetm_core.figures.differential import MIN_DIFFERENCE_CONDITIONS, MIN_DIFFERENCE_TYPES, SIGNIFICANCE
from scetm_core.recipe import SAME, as_script, command_line
from scetm_core.report._facts import Facts
from scetm_core.report._html import Html, facts, sentences, table, tag
from scetm_core.report._methods import CITATION, DOI, methods_paragraphs, preset_of
from scetm_core.score_words import SCORE_GROUPS, SCORE_WORDS, TRANSFER_WORDS, number_in_words
from scetm_core.settings import SettingField, settings_of

N_GENES, N_HITS = 10, 30
Q_SHOWN = 0.05
MAX_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report with its heading."""

    title: str
    content: Sequence[Html | str]

    @property
    def anchor(self) -> str:
        """Name of the place, for links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def sections_of(known: Facts, drawn: Mapping[str, Sequence[Html]], left_out: Sequence[str]) -> list[Section]:
    """All sections that have something to say, in the order in which one reads.

    Parameters
    ----------
    drawn
        Section of the gallery -> its figures.
    left_out
        Sentences about figures that there are none of.
    """
    written: dict[str, Iterator[Html | str | None]] = {
        "Data": _data(known),
        "Settings": _settings(known),
        "Training": iter(()),
        "Scores": _scores(known),
        "Cells": iter(()),
        "Topics": _topics(known),
        "Gene sets": _gene_sets(known),
        "Differential topics": _differential(known),
        "Pathways": iter(()),
        "Transfer": _transfer(known),
        "Other methods": iter(()),
        "Number of topics": iter(()),
        "Methods": _methods(known),
        "How to reproduce this": _recipe(known),
        "What is not shown": iter([sentences(left_out)]),
    }
    found = []
    for title, parts in written.items():
        content = [part for part in parts if part is not None]
        if figures := drawn.get(title):
            content.append(tag("div", *figures, class_="figures"))
        if content:
            found.append(Section(title=title, content=content))
    return found


# ---- data and settings --------------------------------------------------------------------------------------------


def _data(known: Facts) -> Iterator[Html | None]:
    config, source = known.config, known.input
    rows = [
        ("Cells", f"{known.n_cells:,}"),
        ("Genes", f"{known.n_genes:,}"),
        ("Batches", _groups(known, config.data.batch_key)),
        ("Labels", _groups(known, config.data.label_key)),
        ("Counts", config.data.layer or "X"),
        ("Input", str(source.get("path", config.data.path))),
        ("Size", f"{source.get('size', 0):,} bytes"),
        ("SHA-256", str(source.get("sha256", "not recorded"))),
    ]
    yield facts(rows)
    yield sentences(known.said_of_data())


def _groups(known: Facts, column: str | None) -> str:
    """A column with its groups and their sizes, the largest first."""
    if not column or column not in known.result.obs:
        return "none given"
    sizes = known.result.obs[column].value_counts()
    sizes = sizes[sizes > 0]
    named = ", ".join(f"{name} ({size:,})" for name, size in sizes.head(MAX_NAMED).items())
    more = f" and {len(sizes) - MAX_NAMED:,} more" if len(sizes) > MAX_NAMED else ""
    return f"{len(sizes):,} in the column {column}: {named}{more}"


def _settings(known: Facts) -> Iterator[Html]:
    config = known.config
    parts = {name: getattr(config, name) for name in SECTIONS}
    if config.transfer is not None:
        parts["transfer"] = config.transfer
    rows = {name: [_setting(entry, getattr(part, entry.name)) for entry in settings_of(type(part))]
            for name, part in parts.items()}  # fmt: skip
    preset = preset_of(config)
    opening = f"These are the settings of the preset {preset}. " if preset else ""
    yield tag("p", f"{opening}Where they differ from the defaults:")
    yield table(["Setting", "Value", "Default"], [row for found in rows.values() for row in found if row[2]])
    tables = [part for name, found in rows.items() for part in (tag("h3", name.capitalize()), table(_HEAD, found))]
    yield tag("details", tag("summary", "All settings"), *tables)


_HEAD = ("Setting", "Value", "Default, where it differs")


def _setting(entry: SettingField, value: object) -> list[str]:
    """Label, value and, where it differs, the default."""
    differs = value != entry.default and entry.name not in ("path", "source_run")
    said = _value(value)
    return [entry.setting.label, tag("b", said) if differs else said, _value(entry.default) if differs else ""]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


# ---- scores -------------------------------------------------------------------------------------------------------


def _scores(known: Facts) -> Iterator[Html | None]:
    for question, names in SCORE_GROUPS.items():
        rows = [
            [
                SCORE_WORDS[name].label,
                tag("b", number_in_words(known.scores[name])),
                _good(name),
                SCORE_WORDS[name].meaning,
            ]
            for name in names
            if isinstance(known.scores.get(name), (int, float))
        ]
        if rows:
            yield tag("h3", question)
            yield table(["Score", "Value", "Good", "Meaning"], rows, class_="scores")
    found = known.scores.get("findings", [])
    yield sentences(f"{finding['message']} {finding.get('advice', '')}".strip() for finding in found)


def _good(name: str) -> str:
    score = SCORE_WORDS[name]
    return f"{score.good.split()[0]}, {score.range}"


# ---- topics -------------------------------------------------------------------------------------------------------


def _topics(known: Facts) -> Iterator[Html]:
    result, n_topics = known.result, known.config.model.n_topics
    shown = topics_with_cells(result)
    theta = np.asarray(result.obsm[keys.THETA]).mean(axis=0)  # (n_topics,)
    groups = known.config.data.label_key if known.config.data.label_key in result.obs else keys.LEIDEN
    leading, best = _strongest_groups(known, str(groups)), _best_sets(known)
    beta = gene_weights(result)
    rows = []
    for topic in sorted(shown, key=lambda number: -theta[number]):
        name = keys.topic_name(topic)
        genes = tag("span", ", ".join(map(str, beta[name].nlargest(N_GENES).index)), class_="genes")
        given = [known.names.get(name, "")] if known.names else []
        found = [best.get(name, "")] if best else []
        rows.append([str(topic), *given, f"{theta[topic]:.1%}", genes, leading.get(topic, ""), *found])
    words = (
        f"{len(shown)} of {n_topics} topics are used by more than two cells; those that explain most reads come first. "
        f"Leading genes by beta; strongest in: the {groups} with the largest mean share."
    )
    yield tag("p", words)
    head = ["Topic", *(["Name"] if known.names else []), "Of all reads", "Leading genes", "Strongest in"]
    head += ["Best gene set"] if best else []
    yield table(head, rows, class_="topics")


def _strongest_groups(known: Facts, column: str) -> dict[int, str]:
    theta = pd.DataFrame(np.asarray(known.result.obsm[keys.THETA]), index=known.result.obs_names)
    if column not in known.result.obs or known.result.obs[column].isna().all():
        return {}
    means = theta.groupby(known.result.obs[column], observed=True).mean()
    return {int(topic): f"{means[topic].idxmax()} ({means[topic].max():.0%})" for topic in means.columns}


def _best_sets(known: Facts) -> dict[str, str]:
    """Topic -> its best gene set of the first table, where q is below `Q_SHOWN`."""
    for hits in known.enrichment.values():
        rows = _hits(hits).groupby("topic", sort=False).head(1)
        return {
            str(topic): f"{pathway_name(name)}, q = {q:.2g}"
            for topic, name, q in zip(rows["topic"], rows["gene_set"], rows["q_value"], strict=True)
        }
    return {}


def _hits(found: pd.DataFrame) -> pd.DataFrame:
    """The tests that say something, the best first."""
    is_up = (found["es"] > 0) | (found.attrs.get("request", {}).get("tail") == "either")
    hits: pd.DataFrame = found[is_up & (found["q_value"] < Q_SHOWN)]
    return hits.sort_values(["q_value", "nes"], ascending=[True, False])


# ---- tests --------------------------------------------------------------------------------------------------------


def _gene_sets(known: Facts) -> Iterator[Html | None]:
    for name, found in known.enrichment.items():
        hits = _hits(found)
        yield tag("h3", name)
        yield sentences(found.attrs.get("sentences", []))
        if hits.empty:
            yield tag("p", f"No set has a q below {Q_SHOWN:g} in any topic.")
            continue
        few = hits.groupby("topic", sort=False).head(3).head(N_HITS)
        yield tag(
            "p",
            f"{len(hits):,} of {len(found):,} tests have a q below {Q_SHOWN:g}, in {hits['topic'].nunique():,} topics. "
            f"The {len(few):,} best, at most three of a topic:",
        )
        yield table(
            ["Topic", "Gene set", "Genes", "NES", "q"],
            (
                [
                    _topic(known, str(row.topic)),
                    pathway_name(str(row.gene_set)),
                    f"{row.size_:,}",
                    f"{row.nes:.2f}",
                    f"{row.q_value:.2g}",
                ]
                for row in few.rename(columns={"size": "size_"}).itertuples()
            ),
        )


def _topic(known: Facts, name: str) -> str:
    number, given = name.removeprefix("topic_"), known.names.get(name)
    return f"{number} {given}" if given else number


def _differential(known: Facts) -> Iterator[Html | None]:
    for name, tests in known.differential.items():
        groupby = str(tests.attrs.get("request", {}).get("groupby", name))
        is_type = groupby in (known.config.data.label_key, keys.LEIDEN)
        least = MIN_DIFFERENCE_TYPES if is_type else MIN_DIFFERENCE_CONDITIONS
        marked = mark_differential(tests, significance=SIGNIFICANCE, min_difference=least)
        yield tag("h3", groupby)
        yield sentences(tests.attrs.get("sentences", []))
        called = marked[marked["differential"]].sort_values("mean_difference", ascending=False)
        if called.empty:
            yield tag("p", f"No topic passes q < {SIGNIFICANCE:g} with a difference above {least:g}.")
            continue
        rows = [
            [
                str(label),
                f"{int(part['n_cells'].iloc[0]):,}",
                ", ".join(f"{_topic(known, str(row.topic))} ({row.mean_difference:+.1f})" for row in part.itertuples()),
            ]
            for label, part in called.groupby("label", sort=False, observed=True)
        ]
        yield tag(
            "p", f"Topics with q < {SIGNIFICANCE:g} and a difference of mean delta (in brackets) above {least:g}:"
        )
        yield table(["Group", "Cells", "Topics"], rows)


def _transfer(known: Facts) -> Iterator[Html | None]:
    report = known.transfer
    if not report:
        return
    rows = [
        [label, tag("b", f"{known.scores[name]:.0%}"), meaning]
        for name, (label, meaning) in TRANSFER_WORDS.items()
        if isinstance(known.scores.get(name), (int, float))
    ]
    if rows:
        yield table(["Score", "Value", "Meaning"], rows)
    yield sentences(report.get("sentences", []))
    genes = report.get("genes", {})
    if genes:
        yield tag("h3", "How the genes fit")
        yield sentences([*genes.get("warnings", []), *genes.get("sentences", [])])


# ---- methods and recipe -------------------------------------------------------------------------------------------


def _methods(known: Facts) -> Iterator[Html]:
    yield tag("p", "Ready to be taken into a paper; every number is from the settings and tables of this run.")
    yield tag("blockquote", *(tag("p", text) for text in methods_paragraphs(known)))
    link = tag("a", f"doi.org/{DOI}", href=f"https://doi.org/{DOI}", rel="noreferrer")
    yield tag("p", CITATION, " ", link)
    rows = [[name, version] for name, version in known.versions.items()]
    if rows:
        yield tag("h3", "Versions when the run was made")
        yield table(["Library", "Version"], rows)


def _recipe(known: Facts) -> Iterator[Html]:
    yield tag("p", f"The command line makes the run anew; the script does so step by step, with the tests. {SAME}")
    yield tag("pre", tag("code", command_line(known.run)))
    summary = tag("summary", f"The script ({Path(known.run.id).name}.py)")
    yield tag("details", summary, tag("pre", tag("code", as_script(known.run))))
