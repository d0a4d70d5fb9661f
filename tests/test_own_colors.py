"""Do the user's colours stay with the run, and is nonsense refused before it is kept?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scetm_core.errors import RunError
from scetm_core.own_colors import merged_colors, own_colors_stamp, read_own_colors, write_own_colors


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a-run"
    folder.mkdir()
    (folder / "result.h5ad").write_bytes(b"as it was")
    return folder


def test_what_is_written_is_read_again_column_by_column(run: Path) -> None:
    assert read_own_colors(run) == {}
    write_own_colors(run, "cell_type", {"β cell": "#0072B2", "α": "#E69F00"})
    write_own_colors(run, "batch", {"b0": "#000000"})
    assert read_own_colors(run) == {"cell_type": {"β cell": "#0072b2", "α": "#e69f00"}, "batch": {"b0": "#000000"}}
    assert json.loads((run / "colors.json").read_text(encoding="utf-8")) == read_own_colors(run)


def test_no_colours_for_a_column_are_the_defaults_again(run: Path) -> None:
    write_own_colors(run, "cell_type", {"a": "#0072b2"})
    write_own_colors(run, "batch", {"b0": "#000000"})
    write_own_colors(run, "cell_type", {})
    assert read_own_colors(run) == {"batch": {"b0": "#000000"}}
    write_own_colors(run, "batch", {})
    assert not (run / "colors.json").exists()


def test_the_result_is_never_touched_and_nothing_else_is_left_behind(run: Path) -> None:
    write_own_colors(run, "cell_type", {"a": "#0072b2"})
    assert (run / "result.h5ad").read_bytes() == b"as it was"
    assert sorted(path.name for path in run.iterdir()) == ["colors.json", "result.h5ad"]


def test_the_stamp_changes_with_the_colours(run: Path) -> None:
    assert own_colors_stamp(run) == 0
    write_own_colors(run, "cell_type", {"a": "#0072b2"})
    first = own_colors_stamp(run)
    write_own_colors(run, "cell_type", {"a": "#ffffff"})
    assert 0 < first < own_colors_stamp(run)


@pytest.mark.parametrize("color", ["red", "#fff", "#12345g", "#1234567", "", "url(x)", 7, None])
def test_what_is_no_colour_is_refused_and_nothing_is_kept(color: object, run: Path) -> None:
    with pytest.raises(RunError, match="is no colour for 'a': write it as #rrggbb"):
        write_own_colors(run, "cell_type", {"a": color})  # type: ignore[dict-item]
    assert not (run / "colors.json").exists()


@pytest.mark.parametrize(("column", "category"), [("", "a"), ("x" * 501, "a"), ("cell_type", ""), ("c", "x" * 501)])
def test_names_that_cannot_be_names_are_refused(column: str, category: str, run: Path) -> None:
    with pytest.raises(RunError, match="cannot name a"):
        write_own_colors(run, column, {category: "#000000"})


def test_more_colours_than_anybody_chooses_are_refused(run: Path) -> None:
    with pytest.raises(RunError, match="too many"):
        write_own_colors(run, "c", {str(i): "#000000" for i in range(5001)})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cell_type": 3}', '{"cell_type": {"a": "red"}}', '{"cell_type": {"a": ["#000000"]}}', "\xff"]
)
def test_a_damaged_file_is_told_with_the_way_out(text: str, run: Path) -> None:
    (run / "colors.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"a-run/colors\.json .*Delete it to go back to the default colours"):
        read_own_colors(run)


def test_what_cannot_be_written_is_told(run: Path) -> None:
    (run / "colors.json").mkdir()
    with pytest.raises(RunError, match=r"a-run/colors\.json"):
        write_own_colors(run, "c", {"a": "#000000"})


def test_chosen_colours_go_before_defaults_in_the_order_of_the_categories() -> None:
    defaults = {"a": "#111111", "b": "#222222", "c": "#333333"}
    assert merged_colors(["c", "a", "b"], defaults, {"b": "#ffffff", "gone": "#000000"}) == [
        "#333333", "#111111", "#ffffff",
    ]  # fmt: skip
