"""Does the data page say what is in a file, and does an upload leave either a good file or nothing?"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dash import Dash, no_update
from dash.development.base_component import Component

from pages._shared import studio, uploads
from pages._shared.studio import Studio
from scetm_core.errors import DataError

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
Upload = Callable[..., Any]


@pytest.fixture
def data(page_module: PageModule) -> ModuleType:
    return page_module("data")


# ---- report -------------------------------------------------------------------------------------------------------


def test_all_files_under_the_data_folders_are_listed(data: ModuleType, find: Callable[..., Any]) -> None:
    rows = find(data.layout(), "data-files").rowData
    assert {row["ref"] for row in rows} >= {"lab/planted.h5ad", "lab/logged.h5ad", "lab/text.h5ad"}
    assert all(row["href"] == f"/data?file={row['ref']}" for row in rows)
    assert all(row["size"].split()[1] in ("B", "kB", "MB") for row in rows)


def test_without_files_the_page_says_how_to_get_some(data: ModuleType, own_studio: Studio, words_in: Words) -> None:
    studio.configure(Studio(home=own_studio.home))
    text = words_in(data.layout())
    assert all(words in text for words in ("No data set yet", "Use demo data", "No file chosen", "--data-dir"))


def test_a_good_file_is_called_ready_and_leads_to_training(
    data: ModuleType, words_in: Words, components_in: Callable[[Any], list[Component]]
) -> None:
    report = data.show_report("lab/planted.h5ad")
    text = words_in(report)
    assert all(words in text for words in ("60 cells · 30 genes", "Ready to train.", "2 batches", "cell_type"))
    assert "/train?file=lab/planted.h5ad" in [getattr(node, "href", None) for node in components_in(report)]


def test_log_normalised_counts_are_refused_in_words(
    data: ModuleType, words_in: Words, components_in: Callable[[Any], list[Component]]
) -> None:
    report = data.show_report("lab/logged.h5ad")
    text = words_in(report)
    assert "cannot be trained on as it is" in text
    assert "log-normalised" in text
    assert not any("/train" in str(getattr(node, "href", "")) for node in components_in(report))


def test_a_text_file_named_h5ad_is_told_for_what_it_is(data: ModuleType, words_in: Words) -> None:
    assert words_in(data.show_report("lab/text.h5ad")).startswith("text.h5ad cannot be used")


@pytest.mark.parametrize("make", ["empty", "directory"])
def test_odd_things_in_a_data_folder_are_told(make: str, data: ModuleType, words_in: Words, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    (folder / "x.h5ad").mkdir(parents=True) if make == "directory" else folder.mkdir()
    if make == "empty":
        (folder / "x.h5ad").touch()
    studio.configure(Studio(home=tmp_path / "home", data_dirs=(folder,)))
    assert "x.h5ad cannot be used" in words_in(data.show_report("odd/x.h5ad"))


def test_the_columns_of_the_cells_are_shown_with_their_values(data: ModuleType, words_in: Words) -> None:
    text = words_in(data.show_report("lab/planted.h5ad"))
    assert "batch category 2" in text
    assert "type_0 (10)" in text


def test_a_page_without_a_file_checks_nothing(data: ModuleType) -> None:
    assert data.show_report(None) is no_update


@pytest.mark.parametrize(
    ("graph", "column"), [("counts-histogram", "counts_per_cell"), ("genes-histogram", "genes_per_cell")]
)
def test_histograms_come_as_csv_with_a_row_per_cell(
    graph: str, column: str, csv_of: Callable[..., Any], data_dir: Path
) -> None:
    import anndata as ad

    assert csv_of(graph)(None, "lab/planted.h5ad") is no_update
    sent = csv_of(graph)(1, "lab/planted.h5ad")
    counts = ad.read_h5ad(data_dir / "planted.h5ad").X
    expected = counts.sum(axis=1) if column == "counts_per_cell" else (counts > 0).sum(axis=1)
    shown = pd.read_csv(io.StringIO(sent["content"]))[column]
    np.testing.assert_array_equal(shown, np.asarray(expected).ravel())


def test_demo_data_and_uploads_lead_to_their_report(
    data: ModuleType, own_studio: Studio, triggered: Trigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(data, "write_demo", written.append)
    with triggered("data-demo.n_clicks"):
        assert data.add_data(1, None) == "/data?file=demo/mouse_pancreas.h5ad"
        assert data.add_data(None, None) is no_update
    with triggered("uploaded.data"):
        assert data.add_data(None, "uploads/mine.h5ad") == "/data?file=uploads/mine.h5ad"
    assert written == [own_studio.demo_folder]


# ---- uploads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def upload(app: Dash, own_studio: Studio) -> Upload:
    def send(name: str, content: bytes, **headers: str) -> Any:
        return app.server.test_client().post("/upload", query_string={"name": name}, data=content, headers=headers)

    return send


@pytest.fixture
def good_bytes(data_dir: Path) -> bytes:
    return (data_dir / "planted.h5ad").read_bytes()


@pytest.fixture
def left_behind(own_studio: Studio) -> Callable[[], list[str]]:
    return lambda: [path.name for path in own_studio.uploads_folder.iterdir()]


def test_a_good_file_is_stored_whole_and_listed(
    upload: Upload, good_bytes: bytes, own_studio: Studio, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload("my cells (1).h5ad", good_bytes)
    assert (answer.status_code, answer.json) == (200, {"ref": "uploads/my cells (1).h5ad"})
    assert own_studio.catalog().resolve(answer.json["ref"]).read_bytes() == good_bytes
    assert left_behind() == ["my cells (1).h5ad"]


def test_a_table_may_be_uploaded_too(upload: Upload) -> None:
    rows = ["cell,A,B,C", *(f"c{i},{i % 3},1,{i % 5}" for i in range(20))]
    assert upload("counts.csv", "\n".join(rows).encode()).status_code == 200


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cells.xlsx", "ending that cannot be read"),
        ("cells.h5ad.exe", "ending that cannot be read"),
        ("", "cannot be a file name"),
        ("../evil.h5ad", "cannot be a file name"),
        ("..\\evil.h5ad", "cannot be a file name"),
        ("/etc/evil.h5ad", "cannot be a file name"),
        (".hidden.h5ad", "cannot be a file name"),
        ("a\0b.h5ad", "cannot be a file name"),
        ("a\nb.h5ad", "cannot be a file name"),
        ("x" * 300 + ".h5ad", "cannot be a file name"),
    ],
)
def test_a_bad_name_is_refused(
    name: str, words: str, upload: Upload, good_bytes: bytes, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload(name, good_bytes)
    assert answer.status_code == 400
    assert words in answer.json["error"]
    assert left_behind() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"gene,count\nIns1,3\n", "cells.h5ad"), (b"\x89HDF\r\n\x1a\n" + b"\0" * 500, "cells.h5ad")],
    ids=["empty", "text", "broken HDF5"],
)
def test_what_is_no_data_set_leaves_nothing(
    content: bytes, words: str, upload: Upload, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload("cells.h5ad", content)
    assert answer.status_code == 400
    assert words in answer.json["error"]
    assert left_behind() == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_truncated_file_leaves_nothing(
    share: float, upload: Upload, good_bytes: bytes, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload("cells.h5ad", good_bytes[: int(len(good_bytes) * share)])
    assert answer.status_code == 400
    assert left_behind() == []


def test_a_transfer_that_breaks_off_leaves_nothing(
    app: Dash, own_studio: Studio, good_bytes: bytes, left_behind: Callable[[], list[str]]
) -> None:
    announced = {"CONTENT_LENGTH": str(len(good_bytes) + 1000), "wsgi.input": io.BytesIO(good_bytes)}
    answer = app.server.test_client().post("/upload", query_string={"name": "cells.h5ad"}, environ_overrides=announced)
    assert answer.status_code == 400
    assert left_behind() == []


def test_a_file_above_the_cap_is_refused_with_a_way_on(
    upload: Upload, own_studio: Studio, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload("cells.h5ad", b"\0" * (own_studio.upload_limit + 1))
    assert answer.status_code == 400
    assert "uploads may have 2.0 MB" in answer.json["error"]
    assert "--data-dir" in answer.json["error"]
    assert left_behind() == []


def test_a_full_disk_is_told(
    upload: Upload, good_bytes: bytes, left_behind: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    answer = upload("cells.h5ad", good_bytes)
    assert answer.status_code == 400
    assert "not enough free disk space" in answer.json["error"]
    monkeypatch.undo()
    monkeypatch.setattr(uploads.os, "replace", raise_disk_full)
    answer = upload("cells.h5ad", good_bytes)
    assert answer.status_code == 507
    assert "The disk is full" in answer.json["error"]


def raise_disk_full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_an_upload_never_replaces_another(
    upload: Upload, good_bytes: bytes, left_behind: Callable[[], list[str]]
) -> None:
    assert upload("cells.h5ad", good_bytes).status_code == 200
    answer = upload("cells.h5ad", good_bytes)
    assert answer.status_code == 400
    assert "already" in answer.json["error"]
    assert left_behind() == ["cells.h5ad"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost.evil.example", "https://localhost:81"]
)
def test_other_sites_cannot_upload(
    origin: str, upload: Upload, good_bytes: bytes, left_behind: Callable[[], list[str]]
) -> None:
    answer = upload("cells.h5ad", good_bytes, Origin=origin)
    assert answer.status_code == 403
    assert left_behind() == []


def test_the_apps_own_pages_can(upload: Upload, good_bytes: bytes) -> None:
    assert upload("cells.h5ad", good_bytes, Origin="http://localhost").status_code == 200


def test_uploads_are_posted_only(app: Dash) -> None:
    assert app.server.test_client().get("/upload").status_code in (200, 405)  # the page container answers paths


def test_a_ref_names_only_what_is_in_the_catalog(own_studio: Studio) -> None:
    for ref in ("uploads/../../x", "uploads//x", "uploads/./x", "/etc/passwd", ""):
        with pytest.raises(DataError):
            own_studio.catalog().resolve(ref)
