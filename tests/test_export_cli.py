"""Do `export`, `report` and `recipe` write what they say, offline, with the promised exit statuses?"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from scetm_core.__main__ import main
from scetm_core.gallery import figures_of
from scetm_core.runs import Run
from tests.published import HOSTILE, hand_made_run
from tests.terminal import assert_one_line_of_error

SIGNATURES = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = hand_made_run(tmp_path_factory.mktemp("cli"))
    made.write_topic_names({"topic_0": HOSTILE})
    return made


def index_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("file_format", ["svg", "png", "pdf", "html"])
def test_every_figure_is_written_with_its_table_and_listed(
    file_format: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run.path), "--out", str(tmp_path), "--format", file_format]) == 0
    names = [shown.name for shown in figures_of(run)]
    rows = index_of(tmp_path)
    assert [row["figure"] for row in rows] == [f"{name}.{file_format}" for name in names]
    for row in rows:
        assert (tmp_path / row["figure"]).stat().st_size > 0
        assert len(pd.read_csv(tmp_path / row["table"])) > 0
        assert row["caption"]
        if file_format in SIGNATURES:
            assert SIGNATURES[file_format] in (tmp_path / row["figure"]).read_bytes()[:400]
    library = ["plotly.min.js"] if file_format == "html" else []
    listed = {row[kind] for row in rows for kind in ("figure", "table")}
    assert {path.name for path in tmp_path.iterdir()} == {*listed, "index.csv", *library}
    out = capsys.readouterr().out
    assert "left out: Map of genes and topics: it was not worked out yet." in out
    assert f"{len(names)} figures with their tables" in out


def test_interactive_figures_load_nothing_from_elsewhere_and_offer_no_cloud(run: Run, tmp_path: Path) -> None:
    assert main(["export", str(run.path), "--out", str(tmp_path), "--format", "html"]) == 0
    for path in tmp_path.glob("*.html"):
        text = path.read_text()
        assert re.findall(r'<script[^>]*\ssrc="([^"]*)"', text) == ["plotly.min.js"]
        assert not re.search(r'(?:href|src)="(?:https?:)?//', text)
        assert not re.search(r"<link|@import|cdn", text)
        assert "MathJax.js" not in text
        config = re.search(r'"showSendToCloud":\s*(\w+)', text)
        assert config is not None
        assert config[1] == "false"
        assert "http" not in text
        assert HOSTILE not in text
        head = text[: text.index('<div class="figure">')]
        assert "<script>" not in head.replace('<script src="plotly.min.js"></script>', "")


def test_settings_of_the_print_reach_the_figures(run: Run, tmp_path: Path) -> None:
    widths = []
    for width in ("60", "120"):
        folder = tmp_path / width
        assert main(["export", str(run.path), "--out", str(folder), "--width-mm", width]) == 0
        found = re.search(r'<svg[^>]*\swidth="([\d.]+)mm"', (folder / "umap-batch.svg").read_text())
        assert found is not None
        widths.append(float(found[1]))
    assert widths == [60, 120]


def test_print_settings_do_not_go_with_interactive_figures(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run.path), "--out", str(out), "--format", "html", "--width-mm", "60"]) == 1
    assert_one_line_of_error(capsys, "width_mm")
    assert not out.exists()


def test_a_width_out_of_range_is_one_line_of_error_before_anything_is_drawn(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run.path), "--out", str(out), "--width-mm", "5"]) == 1
    assert_one_line_of_error(capsys, "width_mm")
    assert not out.exists()


def test_the_report_is_written(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "report.html"
    assert main(["report", str(run.path), "--out", str(path)]) == 0
    assert path.read_text().startswith("<!doctype html>")
    assert str(path) in capsys.readouterr().out


def test_the_recipe_is_written_as_its_ending_says(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", str(run.path), "--out", str(tmp_path / "r.py")]) == 0
    compile((tmp_path / "r.py").read_text(), "r.py", "exec")
    assert main(["recipe", str(run.path), "--out", str(tmp_path / "r.ipynb")]) == 0
    assert json.loads((tmp_path / "r.ipynb").read_text())["nbformat"] == 4
    assert "python -m scetm_core train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "out", "words"),
    [
        pytest.param("report", "report.txt", "is an .html file", id="report"),
        pytest.param("recipe", "recipe.txt", "a script (.py) or a notebook (.ipynb)", id="recipe"),
    ],
)
def test_another_ending_is_refused(
    command: str, out: str, words: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(run.path), "--out", str(tmp_path / out)]) == 1
    assert_one_line_of_error(capsys, words)


@pytest.mark.parametrize(("command", "out"), [("export", "out"), ("report", "r.html"), ("recipe", "r.py")])
def test_a_folder_that_holds_no_run_is_one_line_of_error(
    command: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path), "--out", str(tmp_path / out)]) == 1
    assert_one_line_of_error(capsys, "No run at")


def test_a_run_without_a_result_is_one_line_of_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = hand_made_run(tmp_path, tables=False)
    made.result_path.unlink()
    assert main(["export", str(made.path), "--out", str(tmp_path / "out")]) == 1
    assert_one_line_of_error(capsys, "has no result yet")


@pytest.mark.parametrize(
    "arguments", [["export"], ["report", "x"], ["recipe", "x"], ["export", "x", "--out", "y", "--format", "gif"]]
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
