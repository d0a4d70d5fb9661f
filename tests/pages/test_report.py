"""Does the page give away report, recipe, zip and result, each by a safe route, and say how far it is?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from dash import Dash

from pages._shared.studio import Studio
from scetm_core.answers import answer
from scetm_core.archive import published
from scetm_core.jobfolder import Status
from scetm_core.requests import PublishRequest
from scetm_core.runs import Run

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
DONE = "done-run"
BUTTONS = (
    "Read the report", "Download report (HTML)", "Everything (zip)", "Recipe as script", "Recipe as notebook",
    "Result for scanpy and cellxgene (.h5ad)",
)  # fmt: skip


@pytest.fixture
def get(app: Dash) -> Callable[[str], Any]:
    client = app.server.test_client()

    def read(address: str, **headers: str) -> Any:
        found = client.get(address, headers=headers or {"Sec-Fetch-Site": "same-origin"})
        found.get_data()
        found.close()  # the file behind it
        return found

    return read


@pytest.fixture
def run(shown_studio: Studio, app: Dash) -> Run:
    return Run(shown_studio.runs_folder / DONE)


def make(run: Run, what: str) -> None:
    answer(run, what, PublishRequest(what=what), on_progress=lambda share, words: None)


def test_the_page_offers_everything_with_a_sentence_each(page_module: PageModule, words_in: Words) -> None:
    text = words_in(page_module("report").layout(run=DONE))
    assert "How does this run go into a paper?" in text
    assert all(button in text for button in BUTTONS)
    assert "python -m scetm_core train" in text


def test_the_report_opens_in_a_tab_of_its_own(page_module: PageModule, components_in: Callable[..., Any]) -> None:
    links = [node for node in components_in(page_module("report").layout(run=DONE)) if type(node).__name__ == "A"]
    reading = [link for link in links if link.href == f"/publish/{DONE}/report.html"]
    assert [link.target for link in reading] == ["_blank"]
    assert all(link.href.startswith(f"/publish/{DONE}/") for link in links)


def test_the_report_is_served_as_a_document_without_rights(get: Callable[[str], Any], run: Run) -> None:
    make(run, "report")
    found = get(f"/publish/{DONE}/report.html")
    assert found.status_code == 200
    assert found.mimetype == "text/html"
    assert "attachment" not in found.headers.get("Content-Disposition", "")
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert found.data.startswith(b"<!doctype html>")
    download = get(f"/publish/{DONE}/report.html?download=1")
    assert f"{DONE}-report.html" in download.headers["Content-Disposition"]


class Asked:
    """Stands for `tasks.ask`: notes what was asked for, and says how far it is."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []

    def __call__(self, run: Run, name: str, request: Any) -> Any:
        self.requests.append((run.id, name, request))
        return SimpleNamespace(
            status=lambda: Status(state="running", step=340, max_steps=1000, message="<Drawing> it.")
        )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr("scetm_core.tasks.ask", found)
    return found


def test_a_report_that_is_not_there_is_made_while_its_tab_says_how_far_it_is(
    get: Callable[[str], Any], run: Run, asked: Asked
) -> None:
    published(run, "report").unlink(missing_ok=True)
    found = get(f"/publish/{DONE}/report.html")
    assert found.status_code == 202
    text = found.data.decode()
    assert '<meta http-equiv="refresh" content="1">' in text
    assert 'value="0.340"' in text
    assert "&lt;Drawing&gt; it." in text
    assert "<script" not in text
    assert asked.requests == [(DONE, "report", PublishRequest(what="report"))]


def test_the_report_is_made_anew_after_a_change(get: Callable[[str], Any], run: Run, asked: Asked) -> None:
    make(run, "report")
    assert get(f"/publish/{DONE}/report.html").status_code == 200
    assert asked.requests == []
    run.write_topic_names({"topic_2": "a new name"})
    try:
        assert get(f"/publish/{DONE}/report.html").status_code == 202
        make(run, "report")
        assert b"a new name" in get(f"/publish/{DONE}/report.html").data
    finally:
        run.write_topic_names({})


def test_a_report_that_failed_says_why_and_is_not_asked_for_again_by_itself(
    get: Callable[[str], Any], run: Run, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(run, "report").unlink(missing_ok=True)
    status = Status(state="failed", message="The disk is <full>.", finished_at=time.time() + 60)
    task = SimpleNamespace(status=lambda: status)
    monkeypatch.setattr("scetm_core.tasks.find_task", lambda *_: task)
    found = get(f"/publish/{DONE}/report.html")
    assert found.status_code == 500
    assert "The disk is &lt;full&gt;." in found.data.decode()
    assert "refresh" not in found.data.decode()
    assert asked.requests == []
    again = get(f"/publish/{DONE}/report.html?again=1")
    assert again.status_code == 202
    assert f"url=/publish/{DONE}/report.html" in again.data.decode()
    assert len(asked.requests) == 1


FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
    {"Referer": "http://evil.org/"},
    {"Origin": "null"},
    {"Accept": "text/html"},  # a browser over plain http, which was told to send no referrer
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
@pytest.mark.parametrize("query", ["", "?again=1&download=1"])
def test_a_link_from_elsewhere_starts_no_work_but_asks(
    query: str, headers: dict[str, str], get: Callable[..., Any], run: Run, asked: Asked
) -> None:
    published(run, "report").unlink(missing_ok=True)
    found = get(f"/publish/{DONE}/report.html{query}", **headers)
    assert found.status_code == 200
    text = found.data.decode()
    assert f'<a href="/publish/{DONE}/report.html{query.replace("&", "&amp;")}">Make it</a>' in text
    assert "refresh" not in text
    assert asked.requests == []


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "none"}, {"Referer": "http://localhost/report?run=x"}, {"Origin": "http://localhost"}],
)
def test_who_types_the_address_or_clicks_here_is_not_asked(
    headers: dict[str, str], get: Callable[..., Any], run: Run, asked: Asked
) -> None:
    published(run, "report").unlink(missing_ok=True)
    assert get(f"/publish/{DONE}/report.html", **headers).status_code == 202
    assert len(asked.requests) == 1


def test_a_link_from_elsewhere_shows_how_far_a_report_is_that_is_being_made(
    get: Callable[..., Any], run: Run, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(run, "report").unlink(missing_ok=True)
    monkeypatch.setattr("scetm_core.tasks.find_task", lambda *_: SimpleNamespace())
    monkeypatch.setattr("scetm_core.jobs.state", lambda _: "running")
    assert get(f"/publish/{DONE}/report.html", **FROM_ELSEWHERE[0]).status_code == 202


def test_recipes_are_served_as_files(get: Callable[[str], Any]) -> None:
    script = get(f"/publish/{DONE}/recipe.py")
    compile(script.data.decode(), "recipe.py", "exec")
    assert "attachment" in script.headers["Content-Disposition"]
    assert json.loads(get(f"/publish/{DONE}/recipe.ipynb").data)["nbformat"] == 4


@pytest.mark.parametrize(
    "address",
    [
        f"/publish/{DONE}/config.json",
        f"/publish/{DONE}/everything",
        f"/publish/{DONE}/..%2Fconfig.json",
        "/publish/no-such-run/report.html",
        "/publish/../report.html",
        "/publish/..%2F..%2Fetc/report.html",
        "/publish/a%00b/report.html",
        f"/publish/{'x' * 5000}/report.html",
        "/publish/.hidden/recipe.py",
    ],
)
def test_nothing_else_is_served(address: str, get: Callable[[str], Any]) -> None:
    found = get(address)
    served = found.status_code == 200 and b"_dash-app-content" not in found.data and b"react-entry" not in found.data
    assert not served
    assert b"sha256" not in found.data


def test_what_was_not_made_yet_is_said(get: Callable[[str], Any], run: Run) -> None:
    published(run, "everything").unlink(missing_ok=True)
    found = get(f"/publish/{DONE}/everything.zip")
    assert found.status_code == 404
    assert "may not have been made yet" in found.data.decode()


@pytest.mark.parametrize(
    ("what", "file", "name"),
    [("everything", "everything.zip", "everything.zip"), ("viewers", "viewers.h5ad", "result.h5ad")],
)
def test_a_file_that_was_made_is_offered_and_served(
    what: str, file: str, name: str, page_module: PageModule, words_in: Words, get: Callable[[str], Any], run: Run
) -> None:
    module = page_module("report")
    make(run, what)
    shown = words_in(module.offer(f"{what}:1", what, DONE))
    assert "Download (" in shown
    assert "made just now" in shown
    found = get(f"/publish/{DONE}/{file}?download=1")
    assert found.status_code == 200
    assert f"{DONE}-{name}" in found.headers["Content-Disposition"]
    assert found.data == published(run, what).read_bytes()


def test_a_file_older_than_the_run_s_latest_change_is_offered_with_a_warning(
    page_module: PageModule, words_in: Words, run: Run
) -> None:
    module = page_module("report")
    make(run, "viewers")
    time.sleep(0.01)
    run.write_topic_names({"topic_1": "later"})
    try:
        assert "make it again" in words_in(module.offer("viewers:1", "viewers", DONE))
    finally:
        run.write_topic_names({})


def test_the_button_starts_a_task_that_outlives_the_tab(page_module: PageModule, asked: Asked) -> None:
    module = page_module("report")
    assert module.start(1, "everything", DONE) is False  # the page looks how far it is
    assert asked.requests == [(DONE, "everything", PublishRequest(what="everything"))]
    module.start(None, "everything", DONE)
    assert len(asked.requests) == 1


def test_the_methods_are_on_the_page(page_module: PageModule, words_in: Words) -> None:
    text = words_in(page_module("report").show_methods(DONE))
    assert "60 cells and 30 genes" in text
    assert "Zhao et al., 2021" in text
