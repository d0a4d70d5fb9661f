"""Does the shell lead everywhere, and carry the run along?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dash
import dash_mantine_components as dmc
import pytest
from dash import Dash, no_update
from dash.development.base_component import Component

from pages._shared import access, errors, shell, studio
from pages._shared.access import Visitor
from pages._shared.studio import Studio
from scetm_core import __version__
from scetm_core.errors import DataError, RunError
from scetm_core.runs import Run

DONE = "done-run"
Trigger = Callable[..., Any]


def links() -> list[dict[str, str]]:
    return [{"type": "nav-link", "path": entry["path"]} for entry in dash.page_registry.values()]


def test_the_server_answers_and_says_that_it_is_well(app: Dash) -> None:
    client = app.server.test_client()
    assert client.get("/").status_code == 200
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json is not None
    assert health.json["status"] == "ok"
    assert health.json["version"] == __version__


def test_the_navigation_is_the_page_registry_group_by_group(
    app: Dash, components_in: Callable[[Any], list[Component]]
) -> None:
    with app.server.test_request_context():
        access.admit(Visitor(is_in=True, is_admin=True))
        shown = [node.href for node in components_in(shell.shell()) if isinstance(node, dmc.NavLink)]
    entries = sorted(dash.page_registry.values(), key=lambda entry: entry["order"])
    assert shown == [entry["path"] for group in shell.GROUPS for entry in entries if entry["group"] == group]
    assert set(shown) == {entry["path"] for entry in dash.page_registry.values()}


def test_pages_for_admins_are_listed_for_nobody_else(
    app: Dash, components_in: Callable[[Any], list[Component]]
) -> None:
    with app.server.test_request_context():
        access.admit(Visitor(name="bo", is_in=True))
        shown = {node.href for node in components_in(shell.shell()) if isinstance(node, dmc.NavLink)}
    assert {entry["path"] for entry in dash.page_registry.values()} - shown == {"/server"}


def test_controls_of_the_header_have_names(app: Dash, components_in: Callable[[Any], list[Component]]) -> None:
    controls = (dmc.Select, dmc.Burger, dmc.ColorSchemeToggle)
    found = [node for node in components_in(shell._header()) if isinstance(node, controls)]
    assert len(found) == 3
    assert all(getattr(node, "aria-label") for node in found)


def test_the_page_is_marked_and_links_carry_the_run(app: Dash) -> None:
    options, chosen, hrefs, active = shell.follow_url("/cells", f"?run={DONE}&color=batch", links())
    assert [option["value"] for option in options] == [DONE]
    assert options[0]["label"].startswith("mouse · ")
    assert chosen == DONE
    assert f"/topics?run={DONE}" in hrefs
    assert {"/", "/data", "/train"} <= set(hrefs)
    assert [link["path"] for link, is_active in zip(links(), active, strict=True) if is_active] == ["/cells"]


def test_links_carry_what_is_chosen_in_the_run_and_nothing_else(app: Dash) -> None:
    chosen = "topic=3&set=A%26B+%3C1%3E&sets=Reactome&label=%CE%B2&groupby=batch"
    _, _, hrefs, _ = shell.follow_url("/cells", f"?run={DONE}&{chosen}&color=Ins1&beside=x", links())
    assert f"/topics?run={DONE}&{chosen}" in hrefs


def test_the_browser_carries_the_same_names(app: Dash) -> None:
    script = (Path(__file__).parents[2] / "assets" / "studio.js").read_text(encoding="utf-8")
    listed = re.search(r"const CARRIED = (\[.*?\]);", script)
    assert listed is not None
    assert tuple(json.loads(listed[1])) == shell.CARRIED


def test_without_a_run_in_the_url_the_picker_names_the_one_that_is_shown(app: Dash) -> None:
    _, chosen, hrefs, _ = shell.follow_url("/cells", None, links())
    assert chosen == DONE
    assert all("?" not in href for href in hrefs)


@pytest.mark.parametrize("search", ["?run=../../etc", "?run=no-such-run", "?run=%00", "?color=x&&=", "?" + "x" * 9999])
def test_an_odd_query_leaves_the_shell_standing(app: Dash, search: str) -> None:
    _, chosen, hrefs, _ = shell.follow_url("/cells", search, links())
    assert chosen in (None, DONE)
    assert not any("etc" in href for href in hrefs)


def test_an_unknown_run_is_not_passed_off_as_another(app: Dash) -> None:
    assert shell.follow_url("/cells", "?run=no-such-run", links())[1] is None


def test_an_empty_home_offers_no_run(own_studio: Studio) -> None:
    options, chosen, _, _ = shell.follow_url("/", "", links())
    assert options == []
    assert chosen is None


@pytest.mark.parametrize(
    ("pathname", "target"), [("/cells", "/cells"), ("/topics", "/topics"), ("/", "/train"), ("/data", "/train")]
)
def test_picking_a_run_shows_it_on_the_page_or_its_training(
    pathname: str, target: str, make_shown_run: Callable[..., Run], triggered: Trigger
) -> None:
    make_shown_run("older")
    make_shown_run("newer")
    with triggered("run-picker.value"):
        assert shell.go_to_run("older", "", pathname) == f"{target}?run=older"


@pytest.mark.parametrize("search", [f"?run={DONE}", ""])
def test_the_picker_that_follows_the_url_leads_nowhere(search: str, triggered: Trigger) -> None:
    with triggered("run-picker.value"):
        assert shell.go_to_run(DONE, search, "/cells") is no_update
        assert shell.go_to_run(None, search, "/cells") is no_update


def test_what_follows_the_url_never_leads_back_to_it(app: Dash) -> None:
    """Dash keeps circles waiting until nothing else is under way: a background callback may be, for minutes."""
    app.server.test_client().get("/_dash-dependencies")
    follows: dict[str, set[str]] = {}
    for known in app._callback_list:
        outputs = {name.split("@")[0] for name in known["output"].strip(".").split("...")}
        for given in known["inputs"]:
            follows.setdefault(f"{given['id']}.{given['property']}", set()).update(outputs)
    for start in ("url.search", "url.pathname"):
        reached, left = set(), list(follows[start])
        while left:
            name = left.pop()
            reached.add(name)
            left += follows.get(name, set()) - reached
        assert "run-picker.value" in reached
        assert start not in reached


def test_a_page_shows_the_newest_run_that_has_a_result(app: Dash) -> None:
    shown = studio.find_run(None)
    assert shown is not None
    assert shown.id == DONE
    with pytest.raises(RunError, match="no-such-run"):
        studio.find_run("no-such-run")


def test_a_result_is_read_once_and_again_when_its_file_has_changed(
    make_shown_run: Callable[..., Run], app: Dash, shown_studio: Studio
) -> None:
    run = make_shown_run()
    with pytest.raises(RunError, match="no result yet"):
        studio.load_result(run.id)
    first = Run(shown_studio.runs_folder / DONE).load_result()
    run.write_result(first)
    assert studio.load_result(run.id) is studio.load_result(run.id)
    before = studio.load_result(run.id)
    run.write_result(first[:10].copy())
    assert studio.load_result(run.id).n_obs == 10
    assert before.n_obs == first.n_obs


def test_our_own_errors_are_shown_as_they_are(triggered: Trigger) -> None:
    with triggered("x.value") as context:
        errors.show_error(DataError("X holds non-integer values. Pick a layer."))
    (note,) = context.updated_props["notifications"]["sendNotifications"]
    assert note["message"] == "X holds non-integer values. Pick a layer."
    assert note["title"] == "That did not work"


def test_other_errors_are_told_as_a_defect_and_logged(triggered: Trigger, caplog: pytest.LogCaptureFixture) -> None:
    with triggered("x.value") as context:
        errors.show_error(KeyError("delta"))
    (note,) = context.updated_props["notifications"]["sendNotifications"]
    assert note["title"] == "Something unexpected went wrong"
    assert "delta" not in note["message"]
    mark = note["message"].rstrip(".").split()[-1]
    assert f"A callback failed [{mark}]" in caplog.text
    assert "KeyError: 'delta'" in caplog.text


def test_a_callback_that_prevents_its_update_is_no_error(triggered: Trigger) -> None:
    with triggered("x.value"), pytest.raises(dash.exceptions.PreventUpdate):
        errors.show_error(dash.exceptions.PreventUpdate())
