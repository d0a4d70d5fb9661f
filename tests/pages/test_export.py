"""Does a figure that is sent come back as the file that was asked for, and is all else refused in words?"""

from __future__ import annotations

import importlib
import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from dash import Dash
from flask.testing import FlaskClient

from pages._server import logs
from pages._shared import figure_store, studio
from scetm_core import keys
from tests.pages.by_hand import DONE


def umap() -> go.Figure:
    rng = np.random.default_rng(0)
    return go.Figure(
        [go.Scattergl(x=rng.normal(size=9), y=rng.normal(size=9), mode="markers", name=name) for name in ("beta", "mu")]
    )


@pytest.fixture
def client(app: Dash) -> FlaskClient:
    return app.server.test_client()


@pytest.fixture
def sent(client: FlaskClient) -> str:
    """Id of a figure that was sent."""
    return str(client.post("/export/figure?run=done-run&graph=cells-umap", data=umap().to_json()).get_json()["id"])


def words_of(answer: Any) -> str:
    return str(answer.get_json()["error"])


def test_the_same_figure_has_the_same_id_and_another_has_another(client: FlaskClient, sent: str) -> None:
    again = client.post("/export/figure", data=umap().to_json()).get_json()["id"]
    other = client.post("/export/figure", data=go.Figure().to_json()).get_json()["id"]
    assert re.fullmatch("[0-9a-f]{24}", sent)
    assert again == sent != other


@pytest.mark.parametrize(("file_format", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_figure_is_drawn_in_every_format_under_a_name_of_run_and_graph(
    file_format: str, start: bytes, client: FlaskClient, sent: str
) -> None:
    address = f"/export/figure/{sent}.{file_format}?run=done-run&graph=cells-umap&download=1&width_mm=60"
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.data.startswith(start)
    assert f'filename="done-run-cells-umap.{file_format}"' in answer.headers["Content-Disposition"]


def test_settings_of_the_query_shape_the_picture(client: FlaskClient, sent: str) -> None:
    def picture(query: str) -> str:
        return client.get(f"/export/figure/{sent}.svg?{query}").get_data(as_text=True)

    assert "beta" in picture("legend=right")
    assert "beta" not in picture("legend=off")
    assert "Islets" in picture("title=Islets&legend=off")


def test_a_preview_is_a_picture_that_the_browser_may_keep(client: FlaskClient, sent: str) -> None:
    answer = client.get(f"/export/figure/{sent}.png?width_mm=174&preview=1")
    assert int.from_bytes(answer.data[16:20], "big") < 1300
    assert "max-age" in answer.headers["Cache-Control"]
    assert "Content-Disposition" not in answer.headers
    assert "X-Bitmap" not in answer.headers


def test_a_preview_says_when_points_are_a_bitmap(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.zeros(50_001, "f4")
    figure = go.Figure(go.Scattergl(x=points, y=points, mode="markers"))
    figure_id = client.post("/export/figure", data=figure.to_json()).get_json()["id"]
    assert "bitmap" in client.get(f"/export/figure/{figure_id}.png?preview=1").headers["X-Bitmap"]


def test_an_interactive_page_needs_no_network(client: FlaskClient, sent: str) -> None:
    answer = client.get(f"/export/figure/{sent}.html?run=done-run&graph=cells-umap")
    page = answer.get_data(as_text=True)
    assert "<title>done-run-cells-umap</title>" in page
    assert not re.search(r"<script[^>]+src=", page)
    assert '"showSendToCloud": false' in page or '"showSendToCloud":false' in page
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_the_numbers_of_a_figure_leave_as_csv(client: FlaskClient, sent: str) -> None:
    table = pd.read_csv(io.BytesIO(client.get(f"/export/figure/{sent}.csv").data))
    assert list(table.columns) == ["series", "x", "y"]
    assert len(table) == 18


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no figure in this request"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "needs 'data'"),
        (b'{"data": [3], "layout": {}}', "needs 'data'"),
        (b'{"data": []}', "'layout'"),
    ],
)
def test_what_is_no_figure_is_refused(body: bytes, words: str, client: FlaskClient) -> None:
    answer = client.post("/export/figure", data=body)
    assert answer.status_code == 400
    assert words in words_of(answer)


def test_a_figure_that_is_too_large_is_refused(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_store, "LIMIT", 100)
    answer = client.post("/export/figure", data=umap().to_json())
    assert answer.status_code == 413
    assert "100 B" in words_of(answer)


def test_pages_of_other_servers_cannot_send(client: FlaskClient) -> None:
    headers = {"Origin": "http://evil.example"}
    assert client.post("/export/figure", data=umap().to_json(), headers=headers).status_code == 403


@pytest.mark.parametrize("name", ["0" * 24, "..%2f..%2fetc%2fpasswd", "..", "x", "A" * 24, "0" * 23 + "%0A"])
def test_an_unknown_figure_is_said_in_words(name: str, client: FlaskClient) -> None:
    answer = client.get(f"/export/figure/{name}.svg")
    assert answer.status_code == 404
    assert re.search("not kept any more|nothing at this address", words_of(answer))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("width_mm=9999", "at most 400"),
        ("width_mm=nan", "at most 400"),
        ("width_mm=wide", "must be a number"),
        ("height_mm=3", "between 20 and 400 mm"),
        ("dpi=1e9", "at most 1200"),
        ("dpi=99.5", "whole number"),
        ("legend=up", "must be one of"),
        ("font_family=../x", "not installed"),
        ("unheard=of", "does not know"),
    ],
)
def test_settings_out_of_range_are_said_in_words(query: str, words: str, client: FlaskClient, sent: str) -> None:
    answer = client.get(f"/export/figure/{sent}.png?{query}")
    assert answer.status_code == 400
    assert words in words_of(answer)


@pytest.mark.parametrize("address", ["figure/{}.exe", "board/done-run.html"])
def test_an_unknown_format_is_said_in_words(address: str, client: FlaskClient, sent: str) -> None:
    answer = client.get("/export/" + address.format(sent))
    assert answer.status_code == 404
    assert "There is no format" in words_of(answer)


@pytest.mark.parametrize(
    "figure",
    [
        {"data": [{"type": "scatter3d"}], "layout": {}},
        {"data": [{"type": "scatter", "x": {"dtype": "f8", "bdata": "%"}, "y": [1]}], "layout": {}},
        {"data": [{"type": "scatter", "x": [{}], "y": [[]], "marker": 3}], "layout": {"xaxis": 7}},
        {"data": [{"type": "heatmap", "z": [["a"]]}], "layout": {"font": []}},
    ],
)
def test_a_figure_that_cannot_be_drawn_is_said_in_words(figure: dict[str, Any], client: FlaskClient) -> None:
    figure_id = client.post("/export/figure", data=json.dumps(figure)).get_json()["id"]
    answer = client.get(f"/export/figure/{figure_id}.svg")
    assert 400 <= answer.status_code < 500
    assert len(words_of(answer)) > 20


def test_the_log_has_the_kind_of_what_went_wrong_and_not_its_words(
    client: FlaskClient, sent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gene = "GeneOfInterest"

    def fail(*_: object, **__: object) -> bytes:
        raise KeyError(gene)

    monkeypatch.setattr("scetm_core.printing.render", fail)
    assert client.get(f"/export/figure/{sent}.svg").status_code == 422
    (record,) = [one for one in caplog.records if one.message == "A figure could not be drawn"]
    for form in (logs.JsonLines(), logs.Words()):
        line = form.format(record)
        assert "KeyError" in line
        assert gene not in line


def test_only_the_newest_figures_are_kept(
    client: FlaskClient, own_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure_store, "N_KEPT", 3)
    for place in range(5):
        last = figure_store.keep(json.dumps({"data": [], "layout": {"place": place}}).encode())
    kept = list((own_studio.home / keys.CACHE_FOLDER / keys.FIGURES_FOLDER).glob("*.json"))
    assert len(kept) == 3
    assert last in {file.stem for file in kept}


@pytest.mark.parametrize(
    ("run", "graph", "stem"),
    [
        ("a-run", "cells-umap", "a-run-cells-umap"),
        ("../../x", 'g"\r\nX: y', "x-g-X-y"),
        ("", "", "figure"),
        ("", "größe", "gr-e"),
    ],
)
def test_names_of_files_are_plain(run: str, graph: str, stem: str) -> None:
    assert figure_store.file_stem(run, graph) == stem


# ---- dialogs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def dialog(app: Dash) -> Any:
    return importlib.import_module("pages._shared.export_dialog")


@pytest.fixture
def form(app: Dash) -> Any:
    return importlib.import_module("pages._shared.print_form")


def test_a_wrong_field_is_told_at_its_field_and_nothing_is_drawn(form: Any) -> None:
    fields = [{"name": "width_mm"}, {"name": "legend"}]
    query, errors = form.query_of(fields, [5, "right"], False, "")
    assert query is None
    assert "at least 20" in errors[0]
    assert errors[1] is None
    query, errors = form.query_of(fields, [None, "right"], False, None)
    assert "Fill it in" in errors[0]


def test_good_fields_make_a_query_that_reads_back_to_the_same_settings(form: Any) -> None:
    from urllib.parse import parse_qsl

    from scetm_core.printing import PrintSettings

    fields = [{"name": "width_mm"}, {"name": "dpi"}]
    query, errors = form.query_of(fields, [114, 300], True, " a & b ")
    assert errors == [None, None]
    wanted = PrintSettings(width_mm=114, dpi=300, transparent=True, title="a & b")
    assert figure_store.settings_from(dict(parse_qsl(query))) == wanted


def test_what_the_fields_begin_with_can_be_drawn(form: Any, components_in: Callable[[Any], list[Any]]) -> None:
    shown = components_in(form.print_fields("export", with_title=True))
    asked = [node for node in shown if isinstance(getattr(node, "id", None), dict) and node.id["type"] == "request"]
    query, errors = form.query_of([node.id for node in asked], [node.value for node in asked], False, "")
    assert not any(errors)
    assert "font_family=automatic" in query


def test_the_table_shows_a_thousand_rows_and_says_how_many_there_are(dialog: Any) -> None:
    values = np.linspace(0, 1, 1500)
    figure_id = figure_store.keep(go.Figure(go.Scatter(x=values, y=values)).to_json().encode())
    columns, rows, words = dialog.show_table({"id": figure_id})
    assert [column["headerName"] for column in columns] == ["x", "y"]
    assert len(rows) == 1000
    assert words == "1,000 of 1,500 rows shown"


def test_a_figure_of_nothing_says_so_in_its_table(dialog: Any) -> None:
    figure_id = figure_store.keep(go.Figure().to_json().encode())
    assert dialog.show_table({"id": figure_id}) == ([], [], "This figure shows no numbers.")


def test_the_shell_has_both_dialogs_once(app: Dash, components_in: Callable[..., Any]) -> None:
    ids = [getattr(node, "id", None) for node in components_in(app.layout())]
    assert ids.count("export-dialog") == ids.count("export-table-dialog") == 1


def test_a_figure_is_added_to_the_board_of_its_run(dialog: Any, triggered: Any, sent: str) -> None:
    from scetm_core.board import load_panel_figure, read_board, write_board

    folder = studio.open_run(DONE).path
    before = read_board(folder)
    figure = {"id": sent, "graph": "cells-umap", "run": DONE}
    try:
        with triggered("export-add.n_clicks") as context:
            dialog.add_to_board(1, figure, " Cells ")
        added = read_board(folder).panels[-1]
        assert (added.figure, added.graph, added.title) == (sent, "cells-umap", "Cells")
        assert load_panel_figure(folder, added) == figure_store.figure_of(sent)
        assert "Figures page" in str(context.updated_props)
    finally:
        write_board(folder, before)
