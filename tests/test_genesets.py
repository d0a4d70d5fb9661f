"""Are gene sets read as they are written, and broken files told in words?"""

from __future__ import annotations

from pathlib import Path

import pytest

from scetm_core.errors import DataError
from scetm_core.genesets import read_gmt


def test_sets_are_read_by_name_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("B\thttp://x\tINS\tGCG\tINS\n\nA b\t\tSST \tPPY\t\n", encoding="utf-8")
    assert read_gmt(path) == {"B": ["INS", "GCG"], "A b": ["SST", "PPY"]}
    assert list(read_gmt(path)) == ["B", "A b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "holds no gene set", id="empty"),
        pytest.param("A\tb\tINS\nno tabs here\n", r"line 2: a gene set needs a name.*got 'no tabs here'", id="no tabs"),
        pytest.param("A\tb\n", "line 1: a gene set needs", id="no genes"),
        pytest.param("A\tb\tINS\nA\tb\tGCG\n", "line 2: the set 'A' is there twice", id="twice"),
    ],
)
def test_broken_files_are_told_by_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_gmt(path)


def test_a_missing_or_binary_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file at"):
        read_gmt(tmp_path / "none.gmt")
    (tmp_path / "binary.gmt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read as gene sets"):
        read_gmt(tmp_path / "binary.gmt")
