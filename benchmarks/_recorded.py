"""What does a browser ask of the server while somebody looks around? Recorded once, for a benchmark to ask it again.

Chromium walks over the pages; each view keeps its requests with what the browser waited for before it sent them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._chromium import find_chromium

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TOPIC, GENE = 37, 1937  # shown while recording, others when it is asked again
WATCHED = 5000  # milliseconds that a live page is looked at
RECORD = """
    window.asked = []; window.atWork = 0; window.lastAsked = 0;
    const fetch_ = window.fetch;
    window.fetch = (what, options = {}) => {
        const entry = { url: String(what.url ?? what), method: options.method ?? what.method ?? "GET",
                        body: typeof options.body === "string" ? options.body : null, start: performance.now() };
        const isOfPage = new URL(entry.url, window.location.href).origin === window.location.origin;
        if (isOfPage) window.asked.push(entry);
        window.atWork += 1; window.lastAsked = performance.now();
        return fetch_(what, options).finally(() => {
            entry.end = performance.now(); window.lastAsked = entry.end; window.atWork -= 1; });
    };
"""
QUIET = "() => window.atWork === 0 && performance.now() - window.lastAsked > 400"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request of a view."""

    method: str
    path: str
    body: str | None
    name: str
    after: tuple[int, ...]  # requests of the view whose answers were there when it was sent

    def about(self, topic: int, gene: int) -> tuple[str, str | None]:
        """Path and body, about another topic and gene than those of the recording."""
        words = (
            (f"topic_{TOPIC}", f"topic_{topic}"),
            (f"topic={TOPIC}", f"topic={topic}"),
            (f'"value":{TOPIC},', f'"value":{topic},'),
            (f'"value":"{TOPIC}"', f'"value":"{topic}"'),
            (f"Gene{GENE}", f"Gene{gene}"),
        )
        path, body = self.path, self.body
        for old, new in words:
            path, body = path.replace(old, new), body and body.replace(old, new)
        return path, body


View = tuple[str, tuple[Asked, ...]]


def record_views(address: str, *, run_id: str, training_id: str) -> list[View]:
    """Walk over the pages of a run, and past one that trains; each view with its requests."""
    from playwright.sync_api import sync_playwright

    views: list[View] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.add_init_script(RECORD)
        page.set_default_timeout(120_000)
        for name, act, milliseconds in _steps(page, address, run_id=run_id, training_id=training_id):
            page.evaluate("window.asked = []")
            act()
            if milliseconds:
                page.wait_for_timeout(milliseconds)
            else:
                page.wait_for_timeout(100)
                page.wait_for_function(QUIET)
            views.append((name, _in_order(page.evaluate("window.asked"))))
        browser.close()
    return views


def _steps(
    page: Any, address: str, *, run_id: str, training_id: str
) -> Sequence[tuple[str, Callable[[], object], int]]:
    """Name, what is done, and how long a page that asks by itself is looked at (0: until it is quiet)."""

    def go(path: str) -> Callable[[], object]:
        mark = "&" if "?" in path else "?"
        return lambda: page.evaluate("path => window.scetmHere.go(path)", f"{path}{mark}run={run_id}")

    def choose(field: str, value: str) -> Callable[[], object]:
        return lambda: page.evaluate("([id, value]) => window.dash_clientside.set_props(id, {value})", [field, value])

    def search() -> None:
        page.keyboard.press("/")
        page.keyboard.type("Gene19", delay=120)

    page.goto(f"{address}/?run={run_id}")
    page.wait_for_function(QUIET)
    return (
        ("Home, loaded anew", lambda: page.goto(f"{address}/?run={run_id}"), 0),
        ("Explore", go("/explore"), 0),
        ("Explore by topic", choose("explore-color", f"topic_{TOPIC}"), 0),
        ("Explore by gene", choose("explore-color", f"Gene{GENE}"), 0),
        ("Explore by batch", choose("explore-color", "batch"), 0),
        ("Cells", go("/cells"), 0),
        ("Cells by topic", choose("cells-color", f"topic_{TOPIC}"), 0),
        ("Cells by gene", choose("cells-color", f"Gene{GENE}"), 0),
        ("Topics", go("/topics"), 0),
        ("Topics, one topic", go(f"/topics?topic={TOPIC}"), 0),
        ("Embedding", go("/embedding"), 0),
        ("Differential", go("/differential"), 0),
        ("Enrichment", go("/enrichment"), 0),
        ("Evaluate", go("/evaluate"), 0),
        ("Report", go("/report"), 0),
        ("Data", go("/data"), 0),
        ("Search", search, 0),
        ("Explore, loaded anew", lambda: page.goto(f"{address}/explore?run={run_id}"), 0),
        ("Watch a training", lambda: page.goto(f"{address}/train?run={training_id}"), WATCHED),
    )


def _in_order(found: list[dict[str, Any]]) -> tuple[Asked, ...]:
    """Requests in the order of their starts; those still at work when the view was left were answered last."""
    found = sorted(found, key=lambda entry: entry["start"])
    ends = [entry.get("end", float("inf")) for entry in found]
    return tuple(
        Asked(
            method=entry["method"].upper(),
            path=re.sub(r"^https?://[^/]+", "", entry["url"]),
            body=entry["body"],
            name=_name(entry),
            after=tuple(i for i in range(place) if ends[i] <= entry["start"]),
        )
        for place, entry in enumerate(found)
    )


def _name(entry: dict[str, Any]) -> str:
    """What a request is for: the first output of a callback, or the path."""
    path = re.sub(r"^https?://[^/]+|\?.*$", "", entry["url"])
    try:
        output = json.loads(entry["body"] or "")["output"]
    except (ValueError, KeyError, TypeError):
        return str(path)
    first = output.strip(".").split("...")[0].split("@")[0]
    return re.sub(r"\{.*\"type\":\"([^\"]+)\".*\}", r"\1", first)
