"""Are libraries fetched once, only when asked, and is a missing network told in words and in time?"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scetm_core import libraries
from scetm_core.errors import DataError
from scetm_core.genesets import read_gmt
from scetm_core.libraries import fetch_library, list_libraries

SETS = {"Insulin  secretion": ["INS", "GCG"], "tab\tname": ["SST"], "empty": []}


class Service:
    """Stands in for gseapy's functions; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.fault: Callable[[], None] = lambda: None

    def get_library_name(self, *, organism: str) -> list[str]:
        self.asked.append(("list", organism))
        self.fault()
        return ["Reactome_2022", "GO_2021"]

    def download_library(self, name: str, *, organism: str) -> dict[str, list[str]]:
        self.asked.append((name, organism))
        self.fault()
        return SETS


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    stand_in, package, parser = Service(), ModuleType("gseapy"), ModuleType("gseapy.parser")
    functions: dict[str, Any] = {
        "get_library_name": stand_in.get_library_name,
        "download_library": stand_in.download_library,
    }
    vars(parser).update(functions)
    vars(package).update(parser=parser)
    monkeypatch.setitem(sys.modules, "gseapy", package)
    monkeypatch.setitem(sys.modules, "gseapy.parser", parser)
    return stand_in


def test_names_of_libraries_are_listed_in_order(service: Service) -> None:
    assert list_libraries("Mouse") == ["GO_2021", "Reactome_2022"]
    assert service.asked == [("list", "Mouse")]


def test_a_library_is_fetched_once_and_can_be_read(service: Service, tmp_path: Path) -> None:
    path = fetch_library("GO_2021", tmp_path / "sets")
    assert read_gmt(path) == {"Insulin secretion": ["INS", "GCG"], "tab name": ["SST"]}
    assert service.asked == [("list", "Human"), ("GO_2021", "Human")]
    assert fetch_library("GO_2021", tmp_path / "sets") == path
    assert len(service.asked) == 2, "what is there is not asked for again"
    assert fetch_library("GO_2021", tmp_path / "sets", organism="Mouse") != path
    assert len(list(path.parent.iterdir())) == 2, "nothing else is left behind"


@pytest.mark.parametrize("name", ["../escape", "", "a/b", "name\n"])
def test_names_that_are_no_names_reach_neither_disk_nor_network(service: Service, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="is no name of a gene-set library"):
        fetch_library(name, tmp_path)
    assert not service.asked


def test_unknown_libraries_and_organisms_are_refused(service: Service, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no gene-set library 'GO_2099' for Human. Near it: \['GO_2021'\]"):
        fetch_library("GO_2099", tmp_path)
    with pytest.raises(DataError, match=r"'Unicorn'\. Pick one of: \['Human'"):
        list_libraries("Unicorn")


def test_no_network_is_told_in_words_and_leaves_nothing(service: Service, tmp_path: Path) -> None:
    def offline() -> None:
        raise ConnectionError("host and port of something")

    service.fault = offline
    with pytest.raises(DataError, match=r"not reached: no network.*\(ConnectionError\)\. Use a file") as caught:
        fetch_library("GO_2021", tmp_path)
    assert "host and port" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_answer_that_makes_no_sense_is_told_as_such(service: Service) -> None:
    def broken() -> None:
        raise KeyError("statistics")

    service.fault = broken
    with pytest.raises(DataError, match=r"gave no usable answer .'statistics'.*Use a file"):
        list_libraries()


def test_what_does_not_answer_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def hang() -> None:
        done.wait(30)

    service.fault = hang
    monkeypatch.setattr(libraries, "LIST_SECONDS", 0.05)
    started = time.monotonic()
    with pytest.raises(DataError, match=r"not reached.*no answer within 0\.05 s"):
        list_libraries()
    assert time.monotonic() - started < 10
    done.set()


def test_a_folder_that_cannot_be_written_is_told_in_words(service: Service, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="Cannot write the gene sets to"):
        fetch_library("GO_2021", tmp_path / "file" / "folder")


def test_a_missing_package_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gseapy", None)
    with pytest.raises(DataError, match=r"needs the package gseapy\. Install it"):
        list_libraries()
