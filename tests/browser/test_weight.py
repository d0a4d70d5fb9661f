"""How heavy is a first visit, and how light the next? Bytes on the wire and requests; both are the same every time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pages.by_hand import DONE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

PLOTLY = "plotly.min.js"
GRID = "async-community.js"
MOST_BYTES = 3_000_000
MOST_REQUESTS = 60

PAGES = {
    "home": ("/", ".ag-row"),
    "form": ("/train?file=lab/planted.h5ad", "text=Training takes about"),
    "cells": (f"/cells?run={DONE}", "#cells-umap-beside-legend"),
    "topics": (f"/topics?run={DONE}", "#cell-topic-heatmap .hm"),
}


class Wire:
    """Bytes that came over the wire, by address, as the browser counts them: compressed, with headers."""

    def __init__(self, page: playwright.Page) -> None:
        self.headers: dict[str, dict[str, str]] = {}
        self.counted: list[tuple[str, int]] = []
        self._urls: dict[str, str] = {}
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.responseReceived", self._began)
        session.on("Network.loadingFinished", self._ended)

    def _began(self, event: dict[str, Any]) -> None:
        answer = event["response"]
        self._urls[event["requestId"]] = answer["url"]
        self.headers[answer["url"]] = {name.lower(): value for name, value in answer["headers"].items()}

    def _ended(self, event: dict[str, Any]) -> None:
        self.counted.append((self._urls.get(event["requestId"], ""), int(event["encodedDataLength"])))

    def bytes_of(self, ending: str = "") -> int:
        return sum(size for url, size in self.counted if url.split("?")[0].endswith(ending))

    def forget(self) -> None:
        self.counted.clear()


@pytest.fixture
def visit(fresh_context: playwright.BrowserContext) -> tuple[playwright.Page, Wire]:
    page = fresh_context.new_page()
    return page, Wire(page)


def go(page: playwright.Page, name: str) -> None:
    address, sign_of_life = PAGES[name]
    page.goto(address)
    expect(page.locator(sign_of_life).first).to_be_visible()
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("name", list(PAGES))
def test_a_first_visit_is_light(name: str, visit: tuple[playwright.Page, Wire]) -> None:
    page, wire = visit
    go(page, name)
    weight = wire.bytes_of() - wire.bytes_of(PLOTLY)
    assert 200_000 < weight < MOST_BYTES
    assert len(wire.counted) <= MOST_REQUESTS
    large = [url for url, size in wire.counted if size > 20_000]
    assert [url for url in large if "content-encoding" not in wire.headers[url]] == []


def test_figures_and_tables_come_only_where_there_are_some(visit: tuple[playwright.Page, Wire]) -> None:
    page, wire = visit
    go(page, "form")
    assert wire.bytes_of(PLOTLY) == 0
    assert wire.bytes_of(GRID) == 0
    go(page, "cells")
    assert 0 < wire.bytes_of(PLOTLY) < 2_000_000
    assert len([url for url, _ in wire.counted if PLOTLY in url]) == 1


def test_a_second_visit_fetches_no_script_again(visit: tuple[playwright.Page, Wire]) -> None:
    page, wire = visit
    go(page, "topics")
    wire.forget()
    page.goto("/health")
    go(page, "topics")
    scripts = [(url, size) for url, size in wire.counted if "/_dash-component-suites/" in url]
    assert [url for url, size in scripts if size > 1_000] == []
    for url, headers in wire.headers.items():
        if "/_dash-component-suites/" in url and ".v" in url:
            assert "max-age=31536000" in headers["cache-control"], url
