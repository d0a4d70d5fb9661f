"""What is expected of a command on a terminal?"""

from __future__ import annotations

import pytest


def assert_one_line_of_error(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Nothing on stdout, one line that begins with "error: " on stderr."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err
