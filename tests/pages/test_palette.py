"""Can the colours of a column be chosen, do they stay, and do all maps follow?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import Dash, no_update

from pages._shared import colors, palette, studio
from scetm_core.figures import palette as default_palette
from scetm_core.own_colors import read_own_colors, write_own_colors
from scetm_core.runs import Run
from tests.pages.by_hand import DONE

Trigger = Callable[..., Any]
COLUMN = "cell_type"


@pytest.fixture
def run(app: Dash, shown_studio: studio.Studio, make_shown_run: Callable[..., Run]) -> Run:
    """A run of the test's own, whose data bring no colours."""
    made = make_shown_run()
    made.write_result(Run(shown_studio.runs_folder / DONE).load_result())
    return made


def with_colors(run: Run, own: list[str]) -> None:
    """Let the data bring colours of their own."""
    result = run.load_result()
    result.uns[f"{COLUMN}_colors"] = np.array(own)
    run.write_result(result)


def save(run: Run, chosen: dict[str, str], column: str = COLUMN) -> Any:
    return palette.save(1, list(chosen.values()), {"run": run.id, "column": column, "names": list(chosen)})


def test_the_dialog_opens_with_the_colours_on_screen_the_largest_category_first(run: Run) -> None:
    opened, title, _, subject, _, _ = palette.open_palette({"column": COLUMN, "at": 1}, run.id)
    assert opened is True
    assert COLUMN in title
    sizes = run.load_result().obs[COLUMN].value_counts()
    assert [sizes[name] for name in subject["names"]] == sorted(sizes, reverse=True)
    shown = palette.shown_colors(run.id, COLUMN)
    on_map = colors.colored_frame(run.id, COLUMN).attrs["colors"]
    assert shown == {name: color.lower() for name, color in on_map.items()}


@pytest.mark.parametrize("column", ["scetm_n_counts", "topic_3", "no such column", ""])
def test_it_stays_shut_for_what_has_no_categories(column: str, run: Run) -> None:
    assert palette.open_palette({"column": column, "at": 1}, run.id)[0] is no_update


def test_saved_colours_are_those_of_the_map_and_the_result_file_stays(run: Run) -> None:
    before = run.result_path.read_bytes()
    names = list(palette.shown_colors(run.id, COLUMN))
    chosen = {name: f"#0000{i:02x}" for i, name in enumerate(names)}
    opened, problem, done = save(run, chosen)
    assert (opened, problem, done["run"]) == (False, "", run.id)
    assert colors.colored_frame(run.id, COLUMN).attrs["colors"] == chosen
    assert run.result_path.read_bytes() == before
    assert read_own_colors(run.path) == {COLUMN: chosen}


def test_one_changed_colour_leaves_the_others_as_they_were(run: Run) -> None:
    before = palette.shown_colors(run.id, COLUMN)
    first = next(iter(before))
    save(run, {**before, first: "#123456"})
    assert palette.shown_colors(run.id, COLUMN) == {**before, first: "#123456"}


def test_the_defaults_again_leave_no_trace(run: Run, triggered: Trigger) -> None:
    before = palette.shown_colors(run.id, COLUMN)
    save(run, dict.fromkeys(before, "#ff0000"))
    subject = {"run": run.id, "column": COLUMN, "names": list(before)}
    with triggered(f"{palette.SAFE}.n_clicks"):
        values = palette.fill_in(1, None, subject)
    assert values == list(before.values())
    save(run, dict(zip(before, values, strict=True)))
    assert not (run.path / "colors.json").exists()
    assert palette.shown_colors(run.id, COLUMN) == before


def test_the_colours_that_came_with_the_data_can_be_taken_over_again(run: Run, triggered: Trigger) -> None:
    assert palette.given_colors(run.id, COLUMN) is None
    n_types = run.load_result().obs[COLUMN].nunique()
    with_colors(run, ["red", "#0f0", *[f"#0000{i:02x}" for i in range(n_types - 2)]])
    given = palette.given_colors(run.id, COLUMN)
    assert given == palette.shown_colors(run.id, COLUMN)
    assert {"#ff0000", "#00ff00"} <= set(given.values())
    save(run, dict.fromkeys(given, "#123456"))
    assert palette.given_colors(run.id, COLUMN) == given
    with triggered(f"{palette.GIVEN}.n_clicks"):
        assert palette.fill_in(None, 1, {"run": run.id, "column": COLUMN, "names": list(given)}) == list(given.values())


def test_the_safe_defaults_can_be_kept_over_those_of_the_data(run: Run) -> None:
    n_types = run.load_result().obs[COLUMN].nunique()
    with_colors(run, ["#111111"] * n_types)
    safe = palette.default_colors(run.id, COLUMN)
    save(run, safe)
    assert colors.colored_frame(run.id, COLUMN).attrs["colors"] == safe
    assert set(safe.values()) == {color.lower() for color in default_palette(n_types)}


def test_a_colour_that_is_none_is_told_and_nothing_is_kept(run: Run) -> None:
    names = list(palette.shown_colors(run.id, COLUMN))
    opened, problem, done = save(run, {**dict.fromkeys(names, "#000000"), names[0]: "reddish"})
    assert opened is no_update
    assert done is no_update
    assert "'reddish' is no colour" in problem
    assert read_own_colors(run.path) == {}


def test_colours_that_look_alike_are_told_in_words() -> None:
    assert palette.warning_of({"beta": "#0072b2", "alpha": "#e69f00"}) == ""
    said = palette.warning_of({"beta": "#8c5a28", "alpha": "#5f6e28", "gamma": "#0072b2"})
    assert said == "Hard to tell apart with red-green colour blindness: beta and alpha."
    many = palette.warning_of({str(i): "#000000" for i in range(6)})
    assert "and 11 more pairs" in many
    assert palette.warning_of({"beta": "half typed", "alpha": "#5f6e28"}) == ""


def test_of_very_many_categories_those_with_a_colour_of_their_own_can_be_edited(run: Run) -> None:
    result = run.load_result()
    result.obs["clone"] = pd.Categorical([f"clone {i % 50}" for i in range(result.n_obs)])
    run.write_result(result)
    subject = palette.open_palette({"column": "clone", "at": 1}, run.id)[3]
    frame = colors.colored_frame(run.id, "clone")
    own = [name for name in frame.attrs["colors"] if name not in frame.attrs["background"]]
    assert subject["names"] == own
    before = {name: frame.attrs["colors"][name].lower() for name in own}
    save(run, {**before, own[0]: "#123456"}, column="clone")
    after = colors.colored_frame(run.id, "clone").attrs["colors"]
    assert {name: after[name] for name in own} == {**before, own[0]: "#123456"}


def test_damaged_colours_are_said_on_the_page_with_the_way_out(run: Run, page_module: Any, words_in: Any) -> None:
    (run.path / "colors.json").write_text("{")
    assert "Delete it to go back to the default colours" in words_in(page_module("cells").layout(run=run.id))


def test_columns_that_have_gone_are_left_aside(run: Run) -> None:
    write_own_colors(run.path, "gone", {"a": "#000000"})
    assert "gone_colors" not in studio.load_result(run.id).uns
