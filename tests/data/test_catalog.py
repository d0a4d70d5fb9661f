from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest

from scetm_core.data.catalog import Catalog, safe_upload_name
from scetm_core.errors import DataError

Writer = Callable[[ad.AnnData, Path], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with files of all kinds, and something secret beside it."""
    folder = tmp_path / "data"
    (folder / "deep" / "er" / "est").mkdir(parents=True)
    for name in ("b.h5ad", "a.csv.gz", "note.md", ".hidden.h5ad", "deep/c.h5", "deep/er/d.txt", "deep/er/est/e.h5ad"):
        (folder / name).write_text("x" * 10)
    (tmp_path / "secret.h5ad").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f.h5ad").touch()
    (folder / "link.h5ad").symlink_to(tmp_path / "secret.h5ad")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    return folder


def test_readable_files_are_listed_and_nothing_else(root: Path) -> None:
    files = Catalog({"mine": root, "uploads": root / "not yet"}).files()
    assert [file.ref for file in files] == ["mine/a.csv.gz", "mine/b.h5ad", "mine/deep/c.h5", "mine/deep/er/d.txt"]
    assert (files[1].name, files[1].root, files[1].size) == ("b.h5ad", "mine", 10)
    assert files[1].modified == pytest.approx((root / "b.h5ad").stat().st_mtime)


@pytest.mark.parametrize("kind", ["zarr v3", "10x mtx.gz"])
def test_a_folder_that_is_one_data_set_is_one_entry(
    tmp_path: Path, small: ad.AnnData, writers: dict[str, Writer], kind: str
) -> None:
    path = writers[kind](small, tmp_path)
    catalog = Catalog({"mine": tmp_path})
    [file] = catalog.files()
    assert file.ref == f"mine/{path.name}"
    assert file.size == sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    assert catalog.resolve(file.ref) == path


def test_every_listed_file_can_be_resolved(root: Path) -> None:
    catalog = Catalog({"mine": root})
    assert all(catalog.resolve(file.ref).is_file() for file in catalog.files())


@pytest.mark.parametrize(
    "ref",
    [
        "mine/../secret.h5ad",
        "mine/deep/../../secret.h5ad",
        "mine//etc/passwd",
        "mine/",
        "mine",
        "mine/./b.h5ad",
        "mine/link.h5ad",
        "mine/linked/f.h5ad",
        "mine/b.h5ad\0",
        "mine/..\\secret.h5ad",
    ],
)
def test_a_path_outside_the_data_folder_is_refused(root: Path, ref: str) -> None:
    with pytest.raises(DataError, match="leads outside the data folder"):
        Catalog({"mine": root}).resolve(ref)


@pytest.mark.parametrize("ref", ["/etc/passwd", "", "other/b.h5ad", "../secret.h5ad"])
def test_an_unknown_root_is_refused(root: Path, ref: str) -> None:
    with pytest.raises(DataError, match="no data folder called"):
        Catalog({"mine": root}).resolve(ref)


def test_links_within_the_folder_are_followed_so_that_what_was_looked_at_is_what_is_read(root: Path) -> None:
    (root / "newest.h5ad").symlink_to("b.h5ad")
    (root / "store").mkdir()
    (root / "store" / "abc123").write_text("counts")
    (root / "managed.h5ad").symlink_to("store/abc123")
    (root.parent / "linked data").symlink_to(root)
    for folder in (root, root.parent / "linked data"):
        catalog = Catalog({"mine": folder})
        assert catalog.resolve("mine/newest.h5ad") == root / "b.h5ad"
        assert catalog.resolve("mine/managed.h5ad") == root / "managed.h5ad"  # by its ending it is known


def test_a_missing_file_is_told(root: Path) -> None:
    with pytest.raises(DataError, match=r"no file 'mine/none\.h5ad'"):
        Catalog({"mine": root}).resolve("mine/none.h5ad")
    with pytest.raises(DataError, match="cannot be looked up"):
        Catalog({"mine": root}).resolve("mine/" + "x" * 5000)


def test_a_root_needs_a_plain_name(root: Path) -> None:
    with pytest.raises(DataError, match="cannot name a data folder"):
        Catalog({"a/b": root})


def test_very_many_files_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        (tmp_path / f"{i}.csv").touch()
    monkeypatch.setattr("scetm_core.data.catalog.MAX_FILES", 3)
    assert len(Catalog({"mine": tmp_path}).files()) == 3


@pytest.mark.parametrize("name", ["a.h5ad", "My data (2).csv.gz", "x.H5AD", "GSM1-counts.tsv", "f.txt"])
def test_a_plain_name_may_be_uploaded(name: str) -> None:
    assert safe_upload_name(name) == name


@pytest.mark.parametrize(
    "name", ["../a.h5ad", "a/b.h5ad", "a\\b.h5ad", ".a.h5ad", "", "a\0.h5ad", "C:a.h5ad", "a..h5ad", "x" * 300 + ".csv"]
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot be a file name"):
        safe_upload_name(name)


@pytest.mark.parametrize("name", ["a.exe", "a.pkl", "a.h5ad.exe", "csv", "a.zarr", "a.mtx"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"ending that cannot be read. Allowed: \.h5ad"):
        safe_upload_name(name)
