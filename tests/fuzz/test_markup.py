"""Is markup in the names of others shown as text, in figures, on paper and in tables, and can it do nothing?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scetm_core import figures as fig
from scetm_core import keys
from scetm_core.answers import answer
from scetm_core.config import run_config_from_flat
from scetm_core.figures.selected import plot_profile, profile_frame
from scetm_core.figures.topic_groups import plot_topic_by_group, topic_by_group_frame
from scetm_core.gallery import figures_of, write_figure_table
from scetm_core.genesets import write_gmt
from scetm_core.printing import PrintSettings, render
from scetm_core.requests import DifferentialRequest, EnrichmentRequest
from scetm_core.runs import Run
from tests.pages.by_hand import COLUMNS, N_TOPICS, finish, planted_data, result_of
from tests.published import write_map

MARKUP = (
    '<a href="javascript:alert(1)">click{}</a>', "<img src=x onerror=alert(1)>{}", "<script>alert(1)</script>{}",
    "<b>bold{}</b>", "age <20 or >40 ({})", "%{{customdata}}{}", "a&lt;b{}", "\u202etfel{}", "=cmd|' /C calc'!A{}",
    "<span style='position:fixed;top:0'>{}</span>", "{}<br>second line", "<sub>{}</sub>",
)  # fmt: skip
OWN = re.compile(r"</?b>|<br>|<span style='(color|font-size):[^<>;'\"]+(;color:[^<>;'\"]+)?'>|</span>|<extra></extra>")
NOT_OWN = re.compile(r"<b>bold|<br>second line|%\{customdata\}[a-z]")  # of the names, with tags as we use them
SHOWN = (
    "text",
    "name",
    "title",
    "ticktext",
    "hovertemplate",
    "hovertext",
    "texttemplate",
    "x",
    "y",
    "label",
    "subtitle",
)


def spoilt(names: Any, what: str) -> list[str]:
    """Each name with markup around its number, no two alike."""
    return [MARKUP[place % len(MARKUP)].format(f"{what}{place}") for place in range(len(names))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run whose genes, cells, batches, types, columns, topics and gene sets are all called in markup."""
    folder = tmp_path_factory.mktemp("markup")
    data = planted_data()
    for column, what in (("batch", "batch"), ("cell_type", "type")):
        data.obs[column] = data.obs[column].cat.rename_categories(spoilt(data.obs[column].cat.categories, what))
    data.obs_names, data.var_names = spoilt(data.obs_names, "cell"), spoilt(data.var_names, "gene")
    data.write_h5ad(folder / "data.h5ad")
    columns = {"path": str(folder / "data.h5ad"), **COLUMNS, "n_topics": N_TOPICS, "max_steps": 30}
    config = run_config_from_flat({"name": MARKUP[0].format("run"), **columns})
    made = Run.create(folder / "runs" / "one", config)
    result = result_of(data, config)
    result.obs[MARKUP[1].format("column")] = result.obs["cell_type"]
    finish(made, result)
    made.write_topic_names({keys.topic_name(topic): MARKUP[topic].format("") for topic in range(N_TOPICS)})
    genes = list(data.var_names)
    sets = {MARKUP[place].format(f"set{place}"): genes[3 * place : 3 * place + 9] for place in range(4)}
    write_gmt(sets, folder / "sets.gmt")
    for name, request in (
        ("sets", EnrichmentRequest(gene_sets=str(folder / "sets.gmt"), n_permutations=50)),
        ("cell_type", DifferentialRequest(groupby="cell_type", n_permutations=2000)),
    ):
        answer(made, name, request, on_progress=lambda share, words: None)
    write_map(made)
    return made


def shown_in(value: Any, key: str = "") -> Iterator[str]:
    """All that plotly would read as its markup: texts under keys that are shown, and what templates point to."""
    if isinstance(value, dict):
        is_pointed_at = "%{customdata" in str(value.get("hovertemplate"))
        for name, inner in value.items():
            if name != "customdata" or is_pointed_at:
                yield from shown_in(inner, name)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for inner in value:
            yield from shown_in(inner, key)
    elif isinstance(value, str) and key in SHOWN:
        yield value


def foreign_markup(figure: Any) -> list[str]:
    """Shown texts that hold tags or templates which are not of our own making."""
    texts = shown_in(figure.to_plotly_json())
    return [text for text in texts if "<" in OWN.sub("", text) or NOT_OWN.search(text)]


def plotted(run: Run) -> Iterator[tuple[str, Any]]:
    """Every figure of the gallery, and those that only pages draw."""
    for shown in figures_of(run):
        yield shown.name, shown.figure
    result, names = run.load_result(), run.topic_names()
    column = MARKUP[1].format("column")
    inside = np.arange(result.n_obs) < 20
    yield "column", fig.plot_umap(fig.umap_frame(result, color=column))
    yield "by group", plot_topic_by_group(topic_by_group_frame(result, 1, groupby=column))
    yield "means", fig.plot_topic_heatmap(fig.topic_mean_frame(result, groupby=column), topic_names=names)
    yield "cells", fig.plot_cell_topic_heatmap(fig.cell_topic_frame(result, annotations=[column, "batch"]))
    yield "profile", plot_profile(profile_frame(result, inside, ~inside), topic=1, names=names)
    yield "genes", fig.plot_top_genes(fig.top_genes_frame(result, 0), highlight={result.var_names[0]: MARKUP[0]})


def test_no_figure_takes_a_name_for_markup(run: Run) -> None:
    found = {name: foreign_markup(figure)[:2] for name, figure in plotted(run)}
    assert len(found) > 15
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_the_check_itself_sees_markup() -> None:
    figure = fig.plot_histogram([1, 2], title=MARKUP[0], unit="x")
    assert foreign_markup(figure)


@pytest.mark.parametrize("name", [text.format("") for text in MARKUP])
def test_a_name_is_readable_as_it_is_once_plotly_has_read_it(name: str) -> None:
    import html

    from scetm_core.figures._theme import plain_text

    assert html.unescape(plain_text(name)) == name
    assert not re.search(r"<|%\{", plain_text(name))


def test_paper_shows_the_letters_of_a_name(run: Run) -> None:
    (figure,) = (figure for name, figure in plotted(run) if name == "column")
    svg = render(figure, PrintSettings(), file_format="svg").decode()
    assert "<script" not in svg
    assert "javascript:" not in re.sub(r"<text.*?</text>|<!--.*?-->", "", svg, flags=re.DOTALL)


def test_a_table_holds_names_as_they_are(run: Run, tmp_path: Path) -> None:
    """Cells that a spreadsheet would take for formulas too: see docs/decisions.md."""
    shown = next(entry for entry in figures_of(run) if entry.name == "umap-cell_type")
    read = pd.read_csv(write_figure_table(shown, tmp_path), dtype=str)
    assert list(read["cell"]) == list(run.load_result().obs_names)
    assert any(name.startswith("=cmd") for name in read["cell"])


def test_a_result_with_such_names_is_read_as_it_was_written(run: Run) -> None:
    result = run.open_result()
    assert isinstance(result, ad.AnnData)
    assert list(result.var_names) == spoilt(result.var_names, "gene")
