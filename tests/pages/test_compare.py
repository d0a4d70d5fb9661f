"""Does the page that compares lay the right runs and methods side by side?"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import no_update

from pages._shared import studio
from scetm_core import keys, tasks
from scetm_core.comparison import UMAP_COLUMNS, table_name_of
from scetm_core.files import table_name, write_table
from scetm_core.peers import PEERS
from scetm_core.requests import ComparisonRequest
from scetm_core.runs import Run
from tests.pages.by_hand import DONE, finish, planted_data, result_of


@pytest.fixture
def compare(page_module: Callable[[str], ModuleType]) -> ModuleType:
    return page_module("compare")


@pytest.fixture(scope="module")
def compared(app: Any, shown_studio: Any) -> Iterator[pd.DataFrame]:
    """Two seeds of one method and one of another, as the task leaves them."""
    run = studio.open_run_in(shown_studio.runs_folder, DONE)
    cells = run.load_result().obs_names
    folder = run.path / keys.COMPARISON_FOLDER
    folder.mkdir()
    positions = np.random.default_rng(0).normal(size=(len(cells), 2)).astype(np.float32)
    for method, seed, ari, kbet in (("harmony", 0, 0.8, 0.5), ("harmony", 1, 0.9, 0.7), ("pca", 0, 0.95, 0.1)):
        table = pd.DataFrame(positions + seed, index=cells, columns=UMAP_COLUMNS)
        scores = {"best_ari": ari, "kbet": kbet, "ari": None, "seconds": 3.0 + seed, "peak_memory_mb": 400.0}
        table.attrs = {"method": method, "label": PEERS[method].label, "seed": seed, "scores": scores}
        write_table(table, run.table_path(keys.COMPARISON_FOLDER, table_name(table_name_of(method, seed))))
    yield pd.DataFrame(positions)
    shutil.rmtree(folder)


@pytest.mark.usefixtures("compared")
def test_methods_stand_beside_the_run_with_the_median_over_their_seeds(compare: ModuleType) -> None:
    rows, said = compare.fill_table(None, [], DONE)
    assert said == []
    table = {row["label"]: row for row in rows}
    assert list(table) == ["mouse (this run)", "Harmony", "PCA"]
    assert table["Harmony"]["best_ari"] == pytest.approx(0.85)
    assert table["Harmony"]["n_seeds"] == 2
    assert table["Harmony"]["ari_range"] == ".80 to .90"
    assert table["Harmony"]["settings"] == PEERS["harmony"].settings
    assert table["Harmony"]["ari"] is None
    assert table["PCA"]["ari_range"] == ""


@pytest.mark.usefixtures("compared")
def test_scores_are_laid_against_each_other_and_leave_as_csv(compare: ModuleType, csv_of: Callable[[str], Any]) -> None:
    figure = compare.draw_tradeoff(None, [], "kbet", "best_ari", DONE)
    medians = figure.data[2]
    drawn = dict(zip(medians.text, zip(medians.x, medians.y, strict=True), strict=True))
    assert drawn["Harmony"] == (pytest.approx(0.6), pytest.approx(0.85))
    sent = csv_of("compare-tradeoff")(1, [], DONE)
    table = pd.read_csv(pd.io.common.StringIO(sent["content"]))
    assert len(table) == 4
    assert sorted(table["seed"][table["method"] == "harmony"]) == [0, 1]


def test_maps_stand_side_by_side_with_the_scores_beneath(compare: ModuleType, compared: pd.DataFrame) -> None:
    figure = compare.draw_maps(None, [], "cell_type", DONE)
    drawn = {trace.name: trace for trace in figure.data if trace.type == "scattergl"}
    assert list(drawn) == ["mouse (this run)", "Harmony", "PCA"]
    np.testing.assert_allclose(sorted(drawn["PCA"].x), np.sort(compared.iloc[:, 0]))
    assert figure.layout.xaxis2.title.text == "ARI .85 · kBET .60"


@pytest.fixture
def second_run(app: Any, shown_studio: Any) -> Iterator[Run]:
    """The same cells trained again with another seed: its topics are those of the first, in another order."""
    first = studio.open_run_in(shown_studio.runs_folder, DONE)
    config = first.config
    config = dataclasses.replace(config, name="again", train=dataclasses.replace(config.train, seed=5))
    run = Run.create(shown_studio.runs_folder / "second-run", config)
    result = result_of(planted_data(), config)
    result.varm[keys.BETA] = first.load_result().varm[keys.BETA][:, ::-1].copy()
    finish(run, result)
    yield run
    run.delete()


def test_topics_of_two_runs_are_matched_and_their_settings_compared(
    compare: ModuleType, second_run: Run, words_in: Any, csv_of: Callable[[str], Any]
) -> None:
    figure, rows, said, settings = compare.compare_topics(second_run.id, DONE)
    n_topics = studio.load_result(DONE).obsm[keys.DELTA].shape[1]
    pairs = {row["first"]: row["second"] for row in rows}
    assert pairs == {f"topic {k}": f"topic {n_topics - 1 - k}" for k in range(n_topics)}
    assert all(row["similarity"] == pytest.approx(1, abs=1e-5) for row in rows)
    np.testing.assert_allclose(np.diag(np.asarray(figure.data[0].z, dtype=float)), 1, atol=1e-5)
    assert f"{n_topics} of {n_topics} pairs" in words_in(said)
    assert "Seed" in words_in(settings)
    assert "5" in words_in(settings)
    sent = csv_of("compare-topic-match")(1, second_run.id, DONE)
    assert sent["content"].count("topic_") == 2 * n_topics


def test_a_run_on_other_genes_is_said_in_the_figure_and_its_settings_are_still_compared(
    compare: ModuleType, second_run: Run, words_of_figure: Any, words_in: Any
) -> None:
    result = second_run.load_result()
    result.var_names = [f"other{gene}" for gene in range(result.n_vars)]
    second_run.write_result(result)
    figure, rows, said, settings = compare.compare_topics(second_run.id, DONE)
    assert "Genes shared by name: 0" in words_of_figure(figure)
    assert (rows, said) == ([], None)
    assert "Seed" in words_in(settings)


def test_runs_on_the_same_cells_are_offered_for_the_table(compare: ModuleType, second_run: Run, find: Any) -> None:
    shown = compare.layout(run=DONE)
    assert [entry["value"] for entry in find(shown, "compare-runs").data] == [second_run.id]
    assert find(shown, "compare-other-run").value == second_run.id
    rows, _ = compare.fill_table(None, [second_run.id], DONE)
    assert any(row["label"].startswith("again") for row in rows)


def test_before_anything_was_compared_the_page_says_what_to_do(
    compare: ModuleType, make_shown_run: Callable[..., Run], words_in: Any
) -> None:
    run = make_shown_run()
    finish(run, result_of(planted_data(), run.config))
    rows, said = compare.fill_table("", [], run.id)
    assert len(rows) == 1
    assert "press Run methods" in words_in(said)


def test_without_another_run_the_page_says_so(compare: ModuleType, words_of_figure: Any) -> None:
    figure, rows, said, settings = compare.compare_topics(None, DONE)
    assert "Choose another run" in words_of_figure(figure)
    assert (rows, said, settings) == ([], None, None)


def test_methods_chosen_are_asked_for_and_mistakes_said(compare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks, "ask", lambda run, name, request: asked.append((name, request)))
    assert compare.start_methods(1, ["pca", "obsm:X_other"], 3, DONE) == (False, None, None)
    assert asked == [(keys.METHODS_TABLE, ComparisonRequest(methods=("pca", "obsm:X_other"), n_seeds=3))]
    assert compare.start_methods(1, [], 3, DONE)[1] == "Choose a method."
    assert "at most 20" in compare.start_methods(1, ["pca"], 50, DONE)[2]
    assert compare.start_methods(None, ["pca"], 1, DONE) == (no_update,) * 3
    assert len(asked) == 1


def test_methods_without_their_package_are_greyed_and_say_how_to_get_it(
    compare: ModuleType, monkeypatch: pytest.MonkeyPatch, find: Any, words_in: Any
) -> None:
    absent = dataclasses.replace(PEERS["scvi"], packages=("no_such_package",))
    monkeypatch.setitem(PEERS, "scvi", absent)
    field = find(compare.layout(run=DONE), "compare-methods")
    option = next(entry for entry in field.data if entry["value"] == "scvi")
    assert option["disabled"]
    assert "not installed" in option["label"]
    assert "requirements-compare.txt" in field.description
