"""Can a biologist train on the demo data and look at what came out, with nothing but a browser?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from tests.browser.actions import QUICK_STEPS, exported

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

N_CELLS, N_STEPS = 1886, 120
ADDRESS_OF_RUN = re.compile(r"/train\?run=[a-z0-9-]+$")


def step_of(page: playwright.Page) -> int:
    found = re.search(r"step ([\d,]+) of", status(page).inner_text())
    return int(found[1].replace(",", "")) if found else 0


def status(page: playwright.Page) -> playwright.Locator:
    return page.locator(".status-line")


def choose_color(page: playwright.Page, label: str, name: str, *, option: str | None = None) -> None:
    """Type a name into a choice of colours and take it."""
    page.get_by_label(label, exact=True).first.fill(name)
    page.get_by_role("option", name=option or name, exact=True).click()


def n_points(page: playwright.Page, graph: str) -> int:
    return page.evaluate(
        "id => (document.querySelector(`#${id} .js-plotly-plot`)?.data ?? [])"
        ".reduce((count, trace) => count + (trace.x?._inputArray ?? trace.x ?? []).length, 0)",
        graph,
    )


def wait_for_title(page: playwright.Page, graph: str, words: str) -> None:
    """Until a map's colour bar says what it is coloured by."""
    expect(page.locator(f"#{graph}")).to_contain_text(words)


@pytest.mark.slow
def test_demo_data_train_cancel_resume_and_look(fresh_context: playwright.BrowserContext) -> None:
    page = fresh_context.new_page()
    page.goto("/")
    page.get_by_role("button", name="Use demo data").click()
    page.wait_for_url(re.compile(r"/train\?file=demo"), wait_until="commit")

    # the form: the preset is in, and the data are found fit
    expect(page.get_by_label("Training steps")).to_have_value(QUICK_STEPS)
    expect(page.get_by_text("The counts are fit for training.")).to_be_visible()
    page.get_by_label("Training steps").fill(str(N_STEPS))
    page.get_by_label("Minibatch size").fill("128")
    page.get_by_label("Number of topics").fill("12")
    page.get_by_role("button", name="Checks and reports").click()
    page.get_by_label("Report interval").fill("5")
    page.get_by_label("Report interval").press("Tab")
    train = page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_enabled()
    expect(page.get_by_text("it sees each cell about 8 times")).to_be_visible()
    train.click()
    page.wait_for_url(ADDRESS_OF_RUN, wait_until="commit")

    # it moves, and a reloaded page and a second tab see the same
    expect(status(page)).to_contain_text(re.compile(r"step \d+ of 120"))
    expect(page.locator("#run-picker")).to_have_value(re.compile("pancreas"))
    assert "run=" in str(page.get_by_role("link", name="Cells", exact=True).get_attribute("href"))
    first = step_of(page)
    page.wait_for_function(
        "before => Number((document.querySelector('.status-line').innerText.match(/step (\\d+)/) ?? [])[1]) > before",
        arg=first,
    )
    second_tab = fresh_context.new_page()
    second_tab.goto(page.url)
    expect(status(second_tab)).to_contain_text("of 120")
    assert step_of(second_tab) > first
    page.reload()
    expect(status(page)).to_contain_text("of 120")

    # Cancel in one tab is seen in the other
    second_tab.get_by_role("button", name="Cancel").click()
    for tab in (page, second_tab):
        expect(status(tab)).to_contain_text("Cancelled")
        expect(tab.get_by_role("button", name="Cancel")).to_be_hidden()
        expect(tab.get_by_role("button", name="Resume")).to_be_visible()
    stopped_at = step_of(page)
    assert first <= stopped_at <= N_STEPS
    second_tab.close()

    # Resume goes on from there, to the end
    page.get_by_role("button", name="Resume").click()
    expect(status(page)).not_to_contain_text("Cancelled")
    expect(status(page)).to_contain_text("Done")
    assert step_of(page) == N_STEPS
    for score in ("ARI", "NMI", "kBET", "ASW", "Held-out NLL"):
        expect(page.get_by_text(score, exact=True)).to_be_visible()
    curve = pd.read_csv(exported(page, "training-curve", "Table"))
    assert list(curve["step"]) == sorted(set(curve["step"]))
    assert curve["step"].iloc[-1] == N_STEPS

    # its cells, by a topic and by a gene
    page.get_by_role("link", name="Look at the cells").click()
    page.wait_for_url(re.compile("/cells"), wait_until="commit")
    expect(page.get_by_text("1,886 cells, all of them shown")).to_be_visible()
    expect(page.locator("#cells-umap-beside-legend")).to_contain_text("beta (894)")
    choose_color(page, "Colour by", "topic 3")
    wait_for_title(page, "cells-umap", "theta, topic 3")
    choose_color(page, "Beside it, colour by", "Ins1")
    wait_for_title(page, "cells-umap-beside", "Ins1")
    page.wait_for_url(re.compile("color=topic_3&beside=Ins1|beside=Ins1&color=topic_3"), wait_until="commit")
    assert n_points(page, "cells-umap") == n_points(page, "cells-umap-beside") == N_CELLS

    # a figure for the paper: one vector shape a cell
    picture = ET.parse(exported(page, "cells-umap", "SVG"))
    assert len(picture.findall(".//{*}use")) >= N_CELLS
    table = pd.read_csv(exported(page, "cells-umap", "Table"))
    assert len(table) == N_CELLS
    assert table["topic_3"].between(0, 1).all()

    # a link to exactly this view
    again = fresh_context.new_page()
    again.goto(page.url)
    wait_for_title(again, "cells-umap", "theta, topic 3")
    wait_for_title(again, "cells-umap-beside", "Ins1")
    again.close()

    # its run stands on the home page
    page.get_by_role("link", name="Home").click()
    row = page.locator(".ag-row", has_text="mouse pancreas")
    expect(row).to_contain_text("done")
