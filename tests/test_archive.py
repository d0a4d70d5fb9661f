"""Is everything of a run in its zip, readable, and listed?"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest

from scetm_core import keys
from scetm_core.answers import answer
from scetm_core.archive import changed_at, published, write_archive
from scetm_core.errors import ConfigError, RunError
from scetm_core.gallery import figures_of
from scetm_core.requests import PublishRequest
from scetm_core.runs import Run
from tests.published import hand_made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return hand_made_run(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def packed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[zipfile.ZipFile, pd.DataFrame, list[str]]:
    path = tmp_path_factory.mktemp("zip") / "all.zip"
    table, said = write_archive(run, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["all.zip"]  # nothing is left beside it
    return zipfile.ZipFile(path), table, said


def test_every_figure_is_there_twice_with_its_table(
    run: Run, packed: tuple[zipfile.ZipFile, pd.DataFrame, list[str]]
) -> None:
    names = set(packed[0].namelist())
    for shown in figures_of(run):
        assert {f"by-hand/figures/{shown.name}.{ending}" for ending in ("svg", "pdf", "csv")} <= names


def test_all_else_is_there_and_readable(
    run: Run, packed: tuple[zipfile.ZipFile, pd.DataFrame, list[str]], tmp_path: Path
) -> None:
    archive = packed[0]
    assert archive.testzip() is None

    def read(name: str) -> str:
        return archive.read(f"by-hand/{name}").decode()

    assert json.loads(read("run/config.json"))["config"]["name"] == run.config.name
    assert json.loads(read("run/evaluation.json")) == run.evaluation()
    assert read("report.html").startswith("<!doctype html>")
    compile(read("recipe.py"), "recipe.py", "exec")
    assert json.loads(read("recipe.ipynb"))["nbformat"] == 4
    assert "Zhao et al., 2021" in read("methods.txt")
    assert "3 genes" in read("run/log.txt")
    table = pd.read_csv(io.StringIO(read("tables/differential/cell_type.csv")))
    assert len(table) == len(pd.read_parquet(run.table_path(keys.DIFFERENTIAL_FOLDER, "cell_type")))
    archive.extract("by-hand/result.h5ad", tmp_path)
    assert ad.read_h5ad(tmp_path / "by-hand" / "result.h5ad").n_obs == run.load_result().n_obs


def test_the_list_names_every_file(packed: tuple[zipfile.ZipFile, pd.DataFrame, list[str]]) -> None:
    archive, table, said = packed
    assert {f"by-hand/{name}" for name in table["file"]} == set(archive.namelist())
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    assert all(sizes[f"by-hand/{name}"] == size for name, size in zip(table["file"], table["bytes"], strict=True))
    readme = archive.read("by-hand/README.txt").decode()
    assert all(sentence in readme for sentence in said)
    assert any("Map of genes and topics" in sentence for sentence in said)


def test_what_progress_raises_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    def stop(share: float, words: str) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(run, tmp_path / "all.zip", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["everything", "viewers"])
def test_a_task_makes_it_beside_a_table_of_what_is_in_it(what: str, run: Run) -> None:
    shares: list[float] = []
    path = answer(run, what, PublishRequest(what=what), on_progress=lambda share, words: shares.append(share))
    assert published(run, what).is_file()
    table = pd.read_parquet(path)
    assert len(table) > 0
    assert table.attrs["sentences"]
    assert shares == sorted(shares)


def test_only_what_is_known_can_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="must be one of"):
        PublishRequest(what="../../etc/passwd")


def test_the_stamp_moves_with_names_tables_and_result(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    seen = [changed_at(made)]
    made.write_topic_names({"topic_0": "a"})
    seen.append(changed_at(made))
    path = made.table_path(keys.MAP_FOLDER, "genes")
    path.parent.mkdir()
    pd.DataFrame({"name": []}).to_parquet(path)
    seen.append(changed_at(made))
    assert seen == sorted(set(seen))


def test_a_run_without_a_result_is_refused(tmp_path: Path) -> None:
    made = hand_made_run(tmp_path, tables=False)
    made.result_path.unlink()
    with pytest.raises(RunError, match="has no result yet"):
        write_archive(made, tmp_path / "all.zip")
